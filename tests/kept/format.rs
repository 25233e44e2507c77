//! What a newer program wrote is refused by name, before anything is touched.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    county::{County, DEADLINE, all_below, verify},
    program::{process::until, run},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lastmile");

fn contents(county: &County) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    all_below(&county.data).into_iter().map(|path| (path.clone(), fs::read(&path).ok())).collect()
}

fn refused(arguments: &[&str], word: &str) {
    let done = Command::new(PROGRAM).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(3), "{arguments:?}: {said}");
    assert!(said.contains(word), "{arguments:?}: {said}");
}

#[test]
fn a_directory_of_a_newer_program_is_refused_by_every_command_and_stays_as_it_is() {
    let county = County::imported();
    county.key("met", "bureau");
    fs::write(county.data.join("format"), "lastmile data 9999\n").unwrap();
    let before = contents(&county);
    let (data, config, home) = (county.data.to_str().unwrap(), county.config.to_str().unwrap(), county.home.path());
    let (backup, out) = (home.join("b"), home.join("o"));
    for arguments in [
        &["serve", "--config", config][..],
        &["key", "new", "--name", "x", "--role", "duty", "--config", config],
        &["key", "list", "--data", data],
        &["user", "list", "--data", data],
        &["registry", "check", "--data", data],
        &["registry", "export", out.to_str().unwrap(), "--data", data],
        &["store", "verify", "--data", data],
        &["store", "stats", "--data", data],
        &["store", "backup", backup.to_str().unwrap(), "--data", data],
        &["store", "drop", "2026-01", "--data", data],
    ] {
        refused(arguments, "newer lastmile (format 9999");
        assert_eq!(contents(&county), before, "{arguments:?}");
    }
    run(&["key", "list", "--data", home.join("elsewhere").to_str().unwrap()], 0);
}

fn only(folder: &Path, ending: &str) -> PathBuf {
    let files = all_below(folder).into_iter().filter(|path| path.to_string_lossy().ends_with(ending));
    files.max().unwrap_or_else(|| panic!("{} has no {ending}", folder.display()))
}

/// A directory that was used: imported, told, edited, closed.
async fn used() -> County {
    let county = County::imported();
    let (bureau, duty, admin) = (county.key("met", "bureau"), county.key("duty", "duty"), county.key("admin", "admin"));
    let mut gateway = county.serve().await;
    county.told(&gateway, &bureau, &duty).await;
    let mut person = gateway.get(&admin, "/v1/subscribers/p1").await;
    person["people"] = 7.into();
    assert_eq!(gateway.put(&admin, "/v1/subscribers/p1", &person).await, 200);
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
    verify(&county.data, 0);
    county
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_a_later_version_is_a_newer_programs_and_no_damage() {
    let county = used().await;
    for (folder, ending, at) in [("checkpoint", ".checkpoint", 7), ("registry", ".bin", 7), ("registry", ".log", 7)] {
        let path = only(&county.data.join(folder), ending);
        let whole = fs::read(&path).unwrap();
        let mut later = whole.clone();
        later[at] += 1;
        fs::write(&path, &later).unwrap();
        let before = contents(&county).into_keys().collect::<Vec<_>>();
        refused(&["serve", "--config", county.config.to_str().unwrap()], "newer lastmile");
        assert_eq!(fs::read(&path).unwrap(), later, "{folder} {ending}");
        assert_eq!(contents(&county).into_keys().collect::<Vec<_>>(), before, "nothing is moved aside");
        fs::write(&path, &whole).unwrap();
    }
    verify(&county.data, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_judges_whatever_the_next_start_reads() {
    let county = used().await;
    let files = ["documents/access.json", "documents/access.json.twin", "documents/installation.bin", "documents/installation.bin.twin"];
    let registry = [only(&county.data.join("registry"), ".bin"), only(&county.data.join("registry"), ".log")];
    for path in files.map(|name| county.data.join(name)).into_iter().chain(registry) {
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 3] ^= 0x10;
        fs::write(&path, &flipped).unwrap();
        let said: Value = serde_json::from_str(&verify(&county.data, 1)).unwrap();
        let name = path.strip_prefix(&county.data).unwrap().to_str().unwrap();
        assert!(said["beside"].as_array().unwrap().iter().any(|fault| fault["path"] == name), "{name}: {said}");
        fs::write(&path, &whole).unwrap();
        verify(&county.data, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_keys_or_installation_is_healed_with_an_alarm() {
    let county = used().await;
    let admin = county.key("second", "admin");
    for name in ["documents/access.json", "documents/installation.bin"] {
        let path = county.data.join(name);
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0x01;
        fs::write(&path, &flipped).unwrap();
        let mut gateway = county.serve().await;
        assert_eq!(gateway.text(&admin, "/v1/accounts").await.0, 200);
        until("it says so", DEADLINE, async || gateway.lines().iter().any(|line| line.contains("healed from its twin"))).await;
        assert_eq!(fs::read(&path).unwrap(), whole);
        assert_eq!(gateway.stop(DEADLINE).await, Some(0));
    }
}
