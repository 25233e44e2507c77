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

/// Used in every way that writes people down: an import, a change, an alert with its deliveries, a backup.
async fn used(county: &County) -> (Gateway, String) {
    let (bureau, duty, admin) = (county.key("met", "bureau"), county.key("duty", "duty"), county.key("admin", "admin"));
    let gateway = county.serve().await;
    county.told(&gateway, &bureau, &duty).await;
    let mut person = gateway.get(&admin, "/v1/subscribers/p2").await;
    person["people"] = 7.into();
    assert_eq!(gateway.put(&admin, "/v1/subscribers/p2", &person).await, 200);
    assert_eq!(gateway.text(&duty, &format!("/v1/subscribers?q={}", PLANTED[0].2)).await.0, 200);
    (gateway, admin)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_or_number_stands_readable_in_the_data_directory_or_a_backup() {
    let county = County::imported();
    let (mut gateway, admin) = used(&county).await;
    assert_eq!(traces(&county.data, &PLANTED), Vec::<String>::new());
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
    verify(&county.data, 0);
    let (home, data) = (county.home.path(), county.data.to_str().unwrap());
    let (backup, key, other) = (home.join("a.backup"), home.join("data.seal-key"), home.join("other"));
    let (backup, key, other) = (backup.to_str().unwrap(), key.to_str().unwrap(), other.to_str().unwrap());
    careless(&["store", "backup", backup, "--data", data]);
    assert_eq!(traces(Path::new(backup), &PLANTED), Vec::<String>::new());
    assert_eq!(traces(&county.data, &PLANTED), Vec::<String>::new());

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
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_deleted_is_gone_from_disk_and_an_unsealed_backup_is_not_believed() {
    let county = County::with("[seal]\ndangerous_unsealed = true\n");
    let (mut gateway, admin) = used(&county).await;
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
    assert_eq!(traces(&county.data, &PLANTED), Vec::<String>::new());
    assert_eq!(gateway.get(&admin, "/v1/subscribers/p1").await["name"], PLANTED[0].1);
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
    new_key(&county.config, "after", "viewer", None);
    verify(&county.data, 0);
}
