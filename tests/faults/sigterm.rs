//! SIGTERM while a county is being told: what is at the far end is waited for, nothing more is handed over, the process ends well within
//! its grace, and the next one goes on with the rest.

use std::time::Duration;

use reqwest::StatusCode;
use tempfile::TempDir;

use crate::{
    far_end::FarEnd,
    program::process::until,
    running::{AT_ONCE, DEADLINE, PATIENT, PLAIN, Running, SMS, Setting, gateway_table},
};

const HOUSEHOLDS: usize = 300;
const SHORT_GRACE: &str = "shutdown_grace = \"6s\"";
/// The grace and what a process needs to end on a busy machine; less than twice the grace.
const ENDED: Duration = Duration::from_secs(11);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_in_mid_fan_out_drains_and_the_next_start_goes_on() {
    let (home, far) = (TempDir::new().unwrap(), FarEnd::start().await);
    let data = home.path().join("data");
    let mut gateway = Running::start(home.path(), &data, HOUSEHOLDS, &far, PLAIN);
    gateway.until_ready_says(StatusCode::OK).await;
    far.close();
    let alert = gateway.accepted(1).await;
    until("messages are at the far end", DEADLINE, async || far.distinct() >= AT_ONCE).await;
    gateway.process.signal("-TERM");
    until("it stops", DEADLINE, async || gateway.process.tail().contains("stopping")).await;
    // Only now do those that are out get their answer.
    far.open();
    assert_eq!(gateway.process.wait(DEADLINE).await, Some(0), "{}", gateway.process.tail());
    let before = far.distinct();
    assert_eq!(before, AT_ONCE, "it handed messages over after SIGTERM");

    gateway.start_again();
    gateway.until_ready_says(StatusCode::OK).await;
    gateway.until_told(&alert).await;
    let (came, coverage) = (far.came(), gateway.json(&format!("{alert}/coverage")).await);
    assert_eq!(came.len() as u64, coverage["progress"]["deliveries"].as_u64().unwrap());
    assert!(came.values().all(|times| *times == 1), "somebody was told twice: {came:?}");
    assert_eq!(coverage["repeated"], 0);
    gateway.stop_and_verify(&data).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_far_end_that_never_answers_does_not_hold_up_the_end() {
    let (home, far) = (TempDir::new().unwrap(), FarEnd::start().await);
    let data = home.path().join("data");
    let channels = gateway_table("mas", &far.url, PATIENT);
    let setting = Setting { households: HOUSEHOLDS, server: SHORT_GRACE, channels, kinds: SMS, shell: PLAIN };
    let mut gateway = Running::start_as(home.path(), &data, &setting);
    gateway.until_ready_says(StatusCode::OK).await;
    far.close();
    let alert = gateway.accepted(1).await;
    until("messages are at the far end", DEADLINE, async || far.distinct() >= AT_ONCE).await;
    gateway.process.signal("-TERM");
    assert_eq!(gateway.process.wait(ENDED).await, Some(0), "{}", gateway.process.tail());

    far.open();
    gateway.start_again();
    gateway.until_ready_says(StatusCode::OK).await;
    gateway.until_told(&alert).await;
    let (came, coverage) = (far.came(), gateway.json(&format!("{alert}/coverage")).await);
    assert_eq!(came.len() as u64, coverage["progress"]["deliveries"].as_u64().unwrap());
    let again: u32 = came.values().map(|times| times - 1).sum();
    // What was at the far end is in doubt, and nobody else.
    assert_eq!((u64::from(again), coverage["repeated"].as_u64().unwrap()), (AT_ONCE as u64, AT_ONCE as u64));
    gateway.stop_and_verify(&data).await;
}
