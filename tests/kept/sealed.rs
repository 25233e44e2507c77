//! What is kept of people is sealed: in the data directory, in backups, and gone when they are deleted.

use std::{fs, path::Path, process::Command};

use crate::{
    county::{County, DEADLINE, PLANTED, all_below, careless, verify},
    program::{Gateway, new_key, run},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lastmile");

/// What of a person stands readable in any file there.
fn traces(path: &Path, people: &[(&str, &str, &str)]) -> Vec<String> {
    let mut found = Vec::new();
    for file in all_below(path).into_iter().filter(|path| path.is_file()) {
        let bytes = fs::read(&file).unwrap();
        for (id, name, phone) in people {
            for word in [(*name).to_owned(), (*phone).to_owned(), format!("{id}@planted.example"), format!("透析病人{id}")] {
                if bytes.windows(word.len()).any(|window| window == word.as_bytes()) {
                    found.push(format!("{word} in {}", file.display()));
                }
            }
        }
    }
    found
}

fn refused(arguments: &[&str], word: &str) {
    let done = Command::new(PROGRAM).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(3), "{arguments:?}: {said}");
    assert!(said.contains(word), "{arguments:?}: {said}");
}

/// A provider that brings replies.
const BACK: &str = r#"
[channel.back]
kind = "sms"
provider = "http"
priority = 2
url = "http://127.0.0.1:9/send"
body = "{{ to|urlencode }}"
callback_token = "the token of back"
[channel.back.answer]
form = "query"
from = "/from"
text = "/text"
"#;
/// What was noted of a call, what somebody registered answered, and what came from a telephone that nobody knows.
const NOTE: &str = "敲门时看见院墙已塌";
const ANSWER: &str = "求助 水淹到二楼窗台";
const STRANGER: (&str, &str) = ("13955507777", "桥头的独居老人没有撤");

/// Everything that is said and noted while an alert is out.
async fn spoken(gateway: &Gateway, duty: &str, alert: &str) {
    let note = serde_json::json!({ "answered": true, "note": NOTE }).to_string();
    let (status, said) = gateway.post(duty, &format!("{alert}/calls/p2"), "application/json", note).await;
    assert_eq!(status, 204, "{said}");
    for (from, text) in [(PLANTED[0].2, ANSWER), STRANGER] {
        let query = [("k", "the token of back"), ("from", from), ("text", text)];
        let asked = crate::program::http().get(format!("{}/v1/callbacks/sms/back/reply", gateway.url)).query(&query);
        assert_eq!(asked.send().await.unwrap().status(), 200);
    }
    // Whoever may read it reads it.
    let help = gateway.get(duty, "/v1/help").await.to_string();
    assert!(help.contains("二楼窗台") && help.contains(STRANGER.0) && help.contains(STRANGER.1), "{help}");
}

/// Where words of people stand readable.
fn words_in(path: &Path) -> Vec<String> {
    let words = [NOTE, "水淹到二楼", STRANGER.0, STRANGER.1];
    let files = all_below(path).into_iter().filter(|path| path.is_file());
    let found = |path: &std::path::PathBuf| {
        let bytes = fs::read(path).unwrap();
        words.iter().any(|word| bytes.windows(word.len()).any(|window| window == word.as_bytes()))
    };
    files.filter(found).map(|path| path.display().to_string()).collect()
}

/// Used in every way that writes people down: an import, a change, an alert with its deliveries, a backup.
async fn used(county: &County) -> (Gateway, String, String) {
    let (bureau, duty, admin) = (county.key("met", "bureau"), county.key("duty", "duty"), county.key("admin", "admin"));
    let gateway = county.serve().await;
    let alert = county.told(&gateway, &bureau, &duty).await;
    spoken(&gateway, &duty, &alert).await;
    let mut person = gateway.get(&admin, "/v1/subscribers/p2").await;
    person["people"] = 7.into();
    assert_eq!(gateway.put(&admin, "/v1/subscribers/p2", &person).await, 200);
    assert_eq!(gateway.text(&duty, &format!("/v1/subscribers?q={}", PLANTED[0].2)).await.0, 200);
    (gateway, admin, alert)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_or_number_stands_readable_in_the_data_directory_or_a_backup() {
    let county = County::with(BACK);
    let (mut gateway, admin, _) = used(&county).await;
    // Alarms name who asks for help, and are written down beside.
    let alarms = county.data.join("documents/alarms.json");
    crate::program::process::until("alarms are written down", DEADLINE, async || alarms.exists()).await;
    assert_eq!(traces(&county.data, &PLANTED), Vec::<String>::new());
    assert_eq!(words_in(&county.data), Vec::<String>::new());
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
    verify(&county.data, 0);
    let (home, data) = (county.home.path(), county.data.to_str().unwrap());
    let (backup, key, other) = (home.join("a.backup"), home.join("data.seal-key"), home.join("other"));
    let (backup, key, other) = (backup.to_str().unwrap(), key.to_str().unwrap(), other.to_str().unwrap());
    careless(&["store", "backup", backup, "--data", data]);
    assert_eq!(traces(Path::new(backup), &PLANTED), Vec::<String>::new());
    assert_eq!(traces(&county.data, &PLANTED), Vec::<String>::new());
    assert_eq!(words_in(home), Vec::<String>::new());

    // The key is changed; the backup of before still opens with the file, and not without it.
    run(&["store", "seal-key", "--data", data], 0);
    let text = fs::read_to_string(key).unwrap();
    assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), 2);
    refused(&["store", "restore", backup, "--data", other], "other.seal-key");
    assert!(!Path::new(other).exists());
    run(&["store", "restore", backup, "--data", other, "--seal-key", key], 0);
    verify(Path::new(other), 0);
    let exported = home.join("exported");
    run(&["registry", "export", exported.to_str().unwrap(), "--data", other], 0);
    assert!(fs::read_to_string(exported.join("subscribers.csv")).unwrap().contains(PLANTED[0].1));

    // A lost key and another's key are told by name, and change nothing.
    let before: Vec<_> = all_below(&county.data.join("registry")).into_iter().filter_map(|path| fs::read(path).ok()).collect();
    let config = county.config.to_str().unwrap();
    fs::remove_file(key).unwrap();
    refused(&["serve", "--config", config], "data.seal-key is not there");
    run(&["registry", "generate", "--households", "1", "--data", home.join("third").to_str().unwrap()], 0);
    fs::copy(home.join("third.seal-key"), key).unwrap();
    refused(&["serve", "--config", config], "does not hold");
    let after: Vec<_> = all_below(&county.data.join("registry")).into_iter().filter_map(|path| fs::read(path).ok()).collect();
    assert!(before == after, "nothing is moved aside or written");
    fs::write(key, text).unwrap();
    let mut gateway = county.serve().await;
    assert_eq!(gateway.get(&admin, "/v1/subscribers/p2").await["people"], 7);
    let help = gateway.get(&admin, "/v1/help").await.to_string();
    assert!(help.contains(STRANGER.0) && help.contains(STRANGER.1), "what was sealed before opens after a change of keys: {help}");
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_deleted_is_gone_from_disk_and_an_unsealed_backup_is_not_believed() {
    let county = County::with(&format!("{BACK}[seal]\ndangerous_unsealed = true\n"));
    let (mut gateway, admin, alert) = used(&county).await;
    assert!(!words_in(&county.data).is_empty());
    let (gone, left) = (&PLANTED[1..2], &PLANTED[..1]);
    assert!(!traces(&county.data, gone).is_empty() && !traces(&county.data, left).is_empty(), "unsealed by the county's own word");
    assert_eq!(gateway.delete(&admin, "/v1/subscribers/p2").await, 204);
    assert_eq!(traces(&county.data, gone), Vec::<String>::new());
    assert!(!traces(&county.data, left).is_empty());
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
    let (home, data) = (county.home.path(), county.data.to_str().unwrap());
    let (backup, other, third) = (home.join("a.backup"), home.join("other"), home.join("third"));
    run(&["store", "backup", backup.to_str().unwrap(), "--data", data], 0);
    let said = run(&["store", "restore", backup.to_str().unwrap(), "--data", other.to_str().unwrap()], 0);
    assert!(said.contains("key   admin  admin") && said.contains("were disabled"), "{said}");
    let keys = run(&["key", "list", "--data", other.to_str().unwrap()], 0);
    assert!(keys.lines().count() == 3 && keys.lines().all(|line| line.contains("revoked")), "{keys}");
    run(&["store", "restore", backup.to_str().unwrap(), "--data", third.to_str().unwrap(), "--keep-access"], 0);
    assert!(run(&["key", "list", "--data", third.to_str().unwrap()], 0).lines().all(|line| line.contains("valid")));

    // Without that word in the configuration, the next start seals what it finds.
    let text = fs::read_to_string(&county.config).unwrap();
    fs::write(&county.config, text.replace("dangerous_unsealed = true", "dangerous_unsealed = false")).unwrap();
    let mut gateway = county.serve().await;
    crate::program::process::until("everything is sealed", DEADLINE, async || traces(&county.data, &PLANTED).is_empty()).await;
    assert_eq!(gateway.get(&admin, "/v1/subscribers/p1").await["name"], PLANTED[0].1);
    // Words of before stand as they were written, and are read.
    let help = gateway.get(&admin, "/v1/help").await.to_string();
    assert!(help.contains(STRANGER.1), "{help}");
    assert_eq!(gateway.text(&admin, &format!("{alert}/calls")).await.0, 200);
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
    new_key(&county.config, "after", "viewer", None);
    verify(&county.data, 0);
}
