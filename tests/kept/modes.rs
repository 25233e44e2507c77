//! Nobody but the gateway's own user reads what it keeps, whichever command came first and whatever the umask was.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use crate::{
    county::{County, DEADLINE, all_below, careless},
    program::process::until,
};

fn assert_closed(path: &Path) {
    for path in all_below(path) {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_of_a_used_data_directory_is_readable_by_others() {
    let county = County::imported();
    assert_closed(&county.data);
    let (bureau, duty, admin) = (county.key("met", "bureau"), county.key("duty", "duty"), county.key("admin", "admin"));
    let mut gateway = county.serve().await;
    county.told(&gateway, &bureau, &duty).await;
    let edited = gateway.text(&admin, "/v1/subscribers/p1").await;
    assert_eq!(edited.0, 200);
    assert_closed(&county.data);
    assert_closed(&county.home.path().join("out.jsonl"));
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
    assert_closed(&county.data);
    let (backup, data) = (county.home.path().join("a.backup"), county.data.to_str().unwrap());
    careless(&["store", "backup", backup.to_str().unwrap(), "--data", data]);
    assert_closed(&backup);
    careless(&["registry", "export", county.home.path().join("out").to_str().unwrap(), "--data", data]);
    assert_closed(&county.home.path().join("out"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_directory_of_before_is_closed_by_the_start_which_says_so() {
    let county = County::imported();
    for path in all_below(&county.data) {
        fs::set_permissions(&path, Permissions::from_mode(if path.is_dir() { 0o755 } else { 0o644 })).unwrap();
    }
    let mut gateway = county.serve().await;
    until("it says so", DEADLINE, async || gateway.lines().iter().any(|line| line.contains("could be read by others"))).await;
    assert_closed(&county.data);
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
}
