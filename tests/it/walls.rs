//! Holds the walls of ARCHITECTURE.md: which room may import which, and where the words of far ends may stand.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Rooms in reading order, with what each may import. A room that is missing here fails the test.
const ROOMS: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("area", &[]),
    ("datum", &[]),
    ("fault", &[]),
    ("telemetry", &["time"]),
    ("network", &[]),
    ("keys", &["fault"]),
    ("net", &["fault", "keys"]),
    ("alert", &["time", "area", "fault", "keys"]),
    ("seal", &[]),
    ("registry", &["time", "area", "datum", "fault", "seal", "store"]),
    ("access", &["time", "area", "fault", "telemetry", "network", "store"]),
    ("matching", &["area", "fault", "alert", "registry"]),
    ("policy", &["time", "area", "fault", "keys", "alert", "registry"]),
    ("message", &["time", "area", "fault", "alert", "registry"]),
    ("channel", &["time", "area", "fault", "keys", "alert", "registry", "message", "telemetry", "net"]),
    ("delivery", &["time", "area", "fault", "alert", "registry", "channel"]),
    ("store", &["time", "fault", "seal", "telemetry"]),
    (
        "engine",
        &[
            "time",
            "area",
            "datum",
            "fault",
            "seal",
            "telemetry",
            "alert",
            "registry",
            "matching",
            "policy",
            "message",
            "channel",
            "delivery",
            "store",
        ],
    ),
    (
        "http",
        &[
            "time",
            "area",
            "datum",
            "fault",
            "telemetry",
            "network",
            "alert",
            "registry",
            "access",
            "channel",
            "delivery",
            "engine",
            "relay",
        ],
    ),
    ("inlet", &["time", "area", "access", "fault", "keys", "telemetry", "net", "alert", "store", "engine"]),
    ("relay", &["time", "fault", "keys", "telemetry", "net", "alert", "store", "delivery", "engine"]),
    ("config", &["time", "area", "datum", "fault", "keys", "network", "alert", "matching", "policy"]),
];

/// Rooms that wire everything together may import anything.
const WIRING: &[&str] = &["app", "cli", "main", "lib", "demo"];

/// Words of far ends stand below `channel/` only.
const FAR_END_WORDS: &[&str] = &["sms", "email", "mqtt", "wechat", "kannel", "smtp", "wecom_robot"];

/// Where such a word may stand all the same, and why.
const WORD_EXCEPTIONS: &[(&str, &str)] = &[
    ("registry/", "names of columns in the CSV files of the contract"),
    ("alert/", "vocabulary of alert documents: per-channel texts of JSON and 12379"),
    ("config/", "names of sections and keys in the configuration file"),
    ("policy/", "words of the policy file, in its documentation and tests"),
    ("cli/", "commands that are about one kind of device, and the demo's own configuration"),
    ("app", "wires the built-in broker, which belongs to one kind"),
    ("net/broker", "a connection that both speakers and a way in use"),
    ("inlet/", "one way in is a broker of the world's weather services, which is no far end of ours"),
    ("demo/", "the demo's own configuration"),
];

fn source_files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("source folder") {
            let path: PathBuf = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&path).expect("source file")));
            }
        }
    }
    files.sort();
    files
}

fn room_of(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// Code without its tests: those may build what they need from anywhere to the left and right.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

fn imports(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (place, _) in text.match_indices("crate::") {
        let rest = &text[place + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            rooms.extend(top_names(list));
        } else {
            rooms.push(word_at(rest));
        }
    }
    rooms
}

/// First names inside a braced import, whatever is nested in it.
fn top_names(list: &str) -> Vec<String> {
    let (mut depth, mut names, mut fresh) = (1, Vec::new(), true);
    for (place, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => fresh = true,
            letter if letter.is_alphabetic() && fresh && depth == 1 => {
                names.push(word_at(&list[place..]));
                fresh = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn word_at(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

#[test]
fn arrows_between_rooms_run_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let mut broken = Vec::new();
    for (file, text) in source_files() {
        let room = room_of(&file);
        if WIRING.contains(&room) {
            continue;
        }
        let Some(may) = allowed.get(room) else {
            broken.push(format!("{file}: room {room} has no place in the order"));
            continue;
        };
        for import in imports(without_tests(&text)) {
            let is_room = allowed.contains_key(import.as_str()) || WIRING.contains(&import.as_str());
            if is_room && import != room && !may.contains(&import.as_str()) {
                broken.push(format!("{file} imports {import}"));
            }
        }
    }
    broken.dedup();
    assert!(broken.is_empty(), "walls are broken:\n{}", broken.join("\n"));
}

#[test]
fn words_of_far_ends_stand_below_channel_only() {
    let mut found = Vec::new();
    for (file, text) in source_files() {
        let is_allowed = file.starts_with("channel/") || WORD_EXCEPTIONS.iter().any(|(place, _)| file.starts_with(place));
        if is_allowed || file.ends_with("_tests.rs") {
            continue;
        }
        for (number, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            let words = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            let hit = words.map(str::to_lowercase).find(|word| FAR_END_WORDS.contains(&word.as_str()));
            if let Some(word) = hit {
                found.push(format!("{file}:{}: {word}", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "words of far ends outside channel/:\n{}", found.join("\n"));
}

#[test]
fn every_module_says_what_it_owns() {
    let silent: Vec<String> = source_files().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(file, _)| file).collect();
    assert!(silent.is_empty(), "modules without a word on what they own:\n{}", silent.join("\n"));
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let marks = ["TO".to_owned() + "DO", "FIX".to_owned() + "ME", "to".to_owned() + "do!(", "unimple".to_owned() + "mented!("];
    let left: Vec<String> = source_files()
        .into_iter()
        .filter(|(_, text)| marks.iter().any(|mark| text.contains(mark.as_str())))
        .map(|(file, _)| file)
        .collect();
    assert!(left.is_empty(), "left for later in:\n{}", left.join("\n"));
}

#[test]
fn every_alarm_that_is_raised_has_a_name_on_duty_and_an_advice() {
    let mut unknown = Vec::new();
    for (file, text) in source_files() {
        let code = without_tests(&text);
        for call in [".raise(", "::alarm("] {
            for (place, _) in code.match_indices(call) {
                let argument = code[place + call.len()..].trim_start();
                let Some(word) = argument.strip_prefix('"').and_then(|rest| rest.split('"').next()) else { continue };
                if lastmile::telemetry::alarm_kinds::find(word).is_none() {
                    unknown.push(format!("{file}: {word}"));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "alarms without a line in telemetry/alarm_kinds.rs:\n{}", unknown.join("\n"));
}

#[test]
fn only_families_that_are_described_are_recorded() {
    let mut astray = Vec::new();
    for (file, text) in source_files() {
        let code = without_tests(&text);
        for call in ["counter!(", "gauge!(", "histogram!("] {
            let named = |place: usize| file == "telemetry/metrics.rs" && code[place + call.len()..].starts_with("Name::");
            let described = |place: usize| code[..place].ends_with("describe_");
            astray.extend(
                code.match_indices(call).filter(|(place, _)| !named(*place) && !described(*place)).map(|_| format!("{file}: {call}")),
            );
        }
    }
    assert!(astray.is_empty(), "families beside telemetry/families.rs:\n{}", astray.join("\n"));
}
