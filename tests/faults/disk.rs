//! A disk that fills up under a gateway that works, and is emptied again: the same process goes on, and nobody is told twice.

use std::{
    fs::{self, File},
    sync::Arc,
};

use lastmile::{
    store::{AppendError, Entry, Journal, Options, verify},
    time::SystemClock,
};
use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    failed_write::Kept,
    far_end::FarEnd,
    program::process::until,
    running::{AT_ONCE, DEADLINE, PLAIN, Running},
    tmpfs::{Disk, MB},
};

const DISK: u64 = 320 * MB;
const HOUSEHOLDS: usize = 300;
/// Not a byte; too little for anything with the usual reserve of 64 MB; enough for what has happened but not for anything new.
const NOTHING: u64 = 0;
const LITTLE: u64 = 16 * MB;
const OUTCOMES: u64 = 48 * MB;
/// The reserve and as much as an alert costs, but not the plan of many people.
const ONE_ALERT: u64 = 64 * MB + MB / 16;
const MANY_HOUSEHOLDS: usize = 20_000;
/// The reserve and the eighth more that a store wants which is well; a file that finds no second time its size beside the reserve there,
/// and is put by before the next look at the disk.
const READY: u64 = 72 * MB;
const BEYOND: u64 = 5 * MB;
const PIECE: u64 = 8 * MB;
const INODES: u64 = 100;
/// Exit code of a store that cannot be opened.
const NOT_OPENED: i32 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_and_survived_without_a_restart() {
    let Some(mut disk) = Disk::mounted(DISK) else { return };
    let (home, far, data) = (TempDir::new().unwrap(), FarEnd::start().await, disk.data());
    let mut gateway = Running::start(home.path(), &data, HOUSEHOLDS, &far, PLAIN);
    gateway.until_ready_says(StatusCode::OK).await;
    far.close();
    let first = gateway.accepted(1).await;
    until("messages are at the far end", DEADLINE, async || far.distinct() >= AT_ONCE).await;

    disk.leave(NOTHING);
    gateway.until_ready_says(StatusCode::SERVICE_UNAVAILABLE).await;
    let (_, why) = gateway.text("/readyz").await;
    assert!(why.contains("not-ready") && why.contains("the disk of the store is full: 0 MB are free"), "{why}");
    storage_is_full(&gateway, 2).await;
    gateway.until_alarm("storage-full").await;
    let row = gateway.json(&format!("{first}/deliveries?limit=1")).await["items"][0].clone();
    let person = row["recipient"]["id"].as_str().unwrap();
    assert_eq!(gateway.answered(&first, person).await, StatusCode::SERVICE_UNAVAILABLE);
    far.open();
    gateway.until_alarm("outcomes-held").await;
    assert_eq!(gateway.progress(&first, "accepted").await, 0, "an outcome counts before it is kept");

    // Some room: what has happened is kept, and still nothing new is begun.
    disk.leave(OUTCOMES);
    until("outcomes are kept", DEADLINE, async || gateway.progress(&first, "accepted").await >= AT_ONCE as u64).await;
    assert_eq!(gateway.answered(&first, person).await, StatusCode::NO_CONTENT, "an answer may use the reserve");
    storage_is_full(&gateway, 2).await;
    assert!(far.distinct() < HOUSEHOLDS / 2, "leased on a full disk: {} were sent", far.distinct());

    disk.empty();
    gateway.until_ready_says(StatusCode::OK).await;
    let second = gateway.accepted(2).await;
    gateway.until_told(&first).await;
    gateway.until_told(&second).await;
    let deliveries = gateway.progress(&first, "deliveries").await + gateway.progress(&second, "deliveries").await;
    let came = far.came();
    assert_eq!(came.len() as u64, deliveries);
    assert!(came.values().all(|times| *times == 1), "somebody was told twice: {came:?}");
    gateway.stop_and_verify(&data).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_starts_on_a_full_disk_says_so_and_goes_on_when_there_is_room() {
    let Some(mut disk) = Disk::mounted(DISK) else { return };
    let (home, far, data) = (TempDir::new().unwrap(), FarEnd::start().await, disk.data());
    let mut gateway = Running::start(home.path(), &data, HOUSEHOLDS, &far, PLAIN);
    gateway.until_ready_says(StatusCode::OK).await;
    far.close();
    let alert = gateway.accepted(1).await;
    until("messages are at the far end", DEADLINE, async || far.distinct() >= AT_ONCE).await;
    gateway.process.signal("-KILL");
    assert_eq!(gateway.process.wait(DEADLINE).await, None, "a killed process has no exit code");

    // Not a byte, and then as much as sled would begin to write and not end: it says why and leaves everything as it is.
    for free in [NOTHING, MB] {
        disk.leave(free);
        gateway.start_again();
        assert_eq!(gateway.process.wait(DEADLINE).await, Some(NOT_OPENED));
        until("it says why", DEADLINE, async || gateway.process.tail().contains("the disk is full")).await;
    }
    disk.leave(LITTLE);
    gateway.start_again();
    gateway.until_ready_says(StatusCode::SERVICE_UNAVAILABLE).await;
    gateway.until_alarm("outcomes-held").await;
    storage_is_full(&gateway, 2).await;
    // It ends well without a byte, too: what is held is what a start takes up.
    disk.leave(NOTHING);
    gateway.process.signal("-TERM");
    assert_eq!(gateway.process.wait(DEADLINE).await, Some(0), "{}", gateway.process.tail());
    disk.leave(LITTLE);
    gateway.start_again();
    gateway.until_ready_says(StatusCode::SERVICE_UNAVAILABLE).await;
    disk.empty();
    far.open();
    gateway.until_ready_says(StatusCode::OK).await;
    gateway.until_told(&alert).await;
    let came = far.came();
    let twice = came.values().filter(|times| **times > 1).count();
    assert_eq!(came.len() as u64, gateway.progress(&alert, "deliveries").await);
    // One lease is at the far end when the process is killed.
    assert!(twice <= AT_ONCE && came.values().all(|times| *times <= 2), "{twice} were told twice");
    gateway.stop_and_verify(&data).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_whose_plan_finds_no_room_is_planned_when_there_is_some() {
    let Some(mut disk) = Disk::mounted(DISK) else { return };
    let (home, far, data) = (TempDir::new().unwrap(), FarEnd::start().await, disk.data());
    let mut gateway = Running::start(home.path(), &data, MANY_HOUSEHOLDS, &far, PLAIN);
    gateway.until_ready_says(StatusCode::OK).await;
    disk.leave(ONE_ALERT);
    let alert = gateway.accepted(1).await;
    gateway.until_alarm("plan-held").await;
    assert_eq!(gateway.progress(&alert, "deliveries").await, 0);
    disk.empty();
    until("it is planned and told", DEADLINE, async || gateway.progress(&alert, "accepted").await > 0).await;
    gateway.stop_and_verify(&data).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_leaves_the_reserve_to_alerts_and_is_taken_when_there_is_room() {
    let Some(mut disk) = Disk::mounted(DISK) else { return };
    let (home, far, data) = (TempDir::new().unwrap(), FarEnd::start().await, disk.data());
    let mut gateway = Running::start(home.path(), &data, HOUSEHOLDS, &far, PLAIN);
    gateway.until_ready_says(StatusCode::OK).await;
    let admin = gateway.admin_key();
    let row = |number: usize| {
        format!("q{number},510726100201,户主{number},household,139{number:08},{}\n", "独居老人，行动不便，需要上门通知".repeat(2))
    };
    let people: String = (0..MANY_HOUSEHOLDS * 2).map(row).collect();
    let file = format!("id,area,name,role,phone,needs\n{people}");
    let few = format!("id,area,name,role,phone,needs\n{}", row(1));
    assert!((BEYOND..PIECE).contains(&(file.len() as u64)), "{} bytes do not show what they should", file.len());

    // Where there is room for the store to be well but not for the file, where only an alert finds room, and without a byte.
    for (free, sent) in [(READY + MB, &file), (ONE_ALERT, &few), (NOTHING, &few)] {
        disk.leave(free);
        let answer = gateway.import(&admin, "subscribers.csv", sent).await;
        let (status, again) = (answer.status(), answer.headers().contains_key("retry-after"));
        let said: Value = answer.json().await.unwrap();
        assert_eq!((status, &said["type"], again), (StatusCode::SERVICE_UNAVAILABLE, &"/problems/storage-full".into(), true), "{said:#}");
        until("what was put by is given back", DEADLINE, async || disk.free() + 2 * MB >= free).await;
        assert!(gateway.json("/v1/subscribers?q=q1").await["items"].as_array().unwrap().is_empty(), "a refused import left something");
    }
    // What an import was refused for, an alert has.
    disk.leave(ONE_ALERT);
    let alert = gateway.accepted(1).await;
    disk.empty();
    gateway.until_ready_says(StatusCode::OK).await;
    gateway.until_told(&alert).await;
    let answer = gateway.import(&admin, "subscribers.csv", &file).await;
    assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
    assert_eq!(gateway.json("/v1/subscribers?q=q39999").await["items"].as_array().unwrap().len(), 1);
    gateway.stop_and_verify(&data).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_inodes_is_full_too() {
    let Some(disk) = Disk::mounted_with(DISK, INODES) else { return };
    let (journal, _) = Journal::open(&disk.data(), Options::default(), Arc::new(SystemClock), Kept::default()).unwrap();
    let (files, entry) = (disk.path().join("files"), || vec![Entry::on_trail(b"something".to_vec())]);
    fs::create_dir(&files).unwrap();
    journal.append(entry()).await.unwrap();
    let taken = (0..).take_while(|number| File::create(files.join(number.to_string())).is_ok()).count();
    assert!(taken > 0 && journal.free_bytes() == Some(0), "{taken} files, {:?} bytes", journal.free_bytes());
    assert!(matches!(journal.append(entry()).await, Err(AppendError::NoSpace(_))));
    fs::remove_dir_all(&files).unwrap();
    journal.append(entry()).await.unwrap();
    journal.close().await.unwrap();
    assert!(verify(&disk.data()).unwrap().ok);
}

/// The answer to whoever posts: what it is, that nothing was kept, and when to come again.
async fn storage_is_full(gateway: &Running, number: u32) {
    let answer = gateway.post(number).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["retry-after"], "10");
    let said: Value = answer.json().await.unwrap();
    eprintln!("{said}");
    assert_eq!((&said["type"], &said["title"]), (&"/problems/storage-full".into(), &"The disk is full".into()));
    let detail = said["detail"].as_str().unwrap();
    assert!(detail.contains("MB are free") && detail.ends_with("nothing was kept or promised: send it again"), "{detail}");
    let known = gateway.json("/v1/alerts").await;
    assert_eq!(known["items"].as_array().unwrap().len(), 1, "a refused alert is there: {known:#}");
}
