//! A disk that fails or hangs under a gateway that works: nobody is answered yes for what is not safe, the process ends by itself with
//! a clear word, and the next one finds all that was acknowledged, also when the power is cut in between.

use reqwest::StatusCode;
use tempfile::TempDir;

use crate::{
    far_end::FarEnd,
    forgetful::{Forgetful, Trouble},
    program::process::until,
    running::{AT_ONCE, DEADLINE, PLAIN, Running},
};

const HOUSEHOLDS: usize = 100;
/// Exit code of a command that could not be carried out.
const NOT_DONE: i32 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_ends_the_process_and_loses_nothing() {
    fails_in_mid_work(Trouble::WriteFails).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_ends_the_process_and_loses_nothing() {
    fails_in_mid_work(Trouble::SyncFails).await;
}

async fn fails_in_mid_work(trouble: Trouble) {
    for with_cut in [false, true] {
        let Some(disk) = Forgetful::mounted() else { return };
        let (home, far, data) = (TempDir::new().unwrap(), FarEnd::start().await, disk.data());
        let mut gateway = Running::start(home.path(), &data, HOUSEHOLDS, &far, PLAIN);
        gateway.until_ready_says(StatusCode::OK).await;
        far.close();
        let alert = gateway.accepted(1).await;
        until("messages are at the far end", DEADLINE, async || far.distinct() >= AT_ONCE).await;

        disk.trouble(Some(trouble));
        assert_eq!(gateway.post(2).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(gateway.process.wait(DEADLINE).await, Some(NOT_DONE), "{}", gateway.process.tail());
        until("it says why", DEADLINE, async || {
            let said = gateway.process.tail();
            said.contains("cannot be written") && said.contains("Input/output error")
        })
        .await;
        // A supervisor tries again, and as long as the disk is broken nothing is taken for a damaged store.
        gateway.start_again();
        assert_eq!(gateway.process.wait(DEADLINE).await, Some(NOT_DONE), "{}", gateway.process.tail());

        disk.trouble(None);
        if with_cut {
            disk.cut(None);
        }
        gateway.start_again();
        gateway.until_ready_says(StatusCode::OK).await;
        let said = gateway.process.tail();
        assert!(!said.contains("was mended at start"), "an error of the disk is no damage: {said}");
        far.open();
        gateway.until_told(&alert).await;
        // What was answered 503 may be posted again.
        let again = gateway.post(2).await.status();
        assert!(matches!(again, StatusCode::ACCEPTED | StatusCode::OK), "{again}");
        let known = gateway.json("/v1/alerts").await;
        for alert in known["items"].as_array().unwrap() {
            gateway.until_told(&format!("/v1/alerts/{}", alert["id"].as_str().unwrap())).await;
        }
        // What the broken disk never took, and the process after it could still read, must be safe by now.
        gateway.process.signal("-KILL");
        assert_eq!(gateway.process.wait(DEADLINE).await, None, "a killed process has no exit code");
        disk.cut(None);
        gateway.start_again();
        gateway.until_ready_says(StatusCode::OK).await;
        let said = gateway.process.tail();
        assert!(!said.contains("was mended at start"), "a cut of the power is no damage: {said}");
        let after = gateway.json("/v1/alerts").await;
        let ids = |list: &serde_json::Value| list["items"].as_array().unwrap().iter().map(|alert| alert["id"].clone()).collect::<Vec<_>>();
        assert_eq!(ids(&after), ids(&known));
        for alert in known["items"].as_array().unwrap() {
            gateway.until_told(&format!("/v1/alerts/{}", alert["id"].as_str().unwrap())).await;
        }
        let twice = far.came().values().filter(|times| **times > 1).count();
        // What was at the far end when the store failed, and one lease at most that was on its way there.
        assert!(twice <= 2 * AT_ONCE, "{twice} were told twice");
        gateway.stop_and_verify(&data).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_promised_while_a_sync_hangs() {
    let Some(disk) = Forgetful::mounted() else { return };
    let (home, far, data) = (TempDir::new().unwrap(), FarEnd::start().await, disk.data());
    let mut gateway = Running::start(home.path(), &data, HOUSEHOLDS, &far, PLAIN);
    gateway.until_ready_says(StatusCode::OK).await;
    let first = gateway.accepted(1).await;
    gateway.until_told(&first).await;

    disk.trouble(Some(Trouble::SyncHangs));
    let mut posting = Box::pin(gateway.post(2));
    tokio::select! {
        answer = &mut posting => panic!("answered {} before it was safe", answer.status()),
        () = until("a sync hangs", DEADLINE, async || disk.hanging() > 0) => {}
    }
    // Whoever only reads does not wait for the disk.
    tokio::select! {
        answer = &mut posting => panic!("answered {} before it was safe", answer.status()),
        known = gateway.json("/v1/alerts") => assert_eq!(known["items"].as_array().unwrap().len(), 1, "{known:#}"),
    }
    disk.trouble(None);
    assert_eq!(posting.await.status(), StatusCode::ACCEPTED);

    disk.trouble(Some(Trouble::SyncHangs));
    let mut posting = Box::pin(gateway.try_post(3));
    tokio::select! {
        answer = &mut posting => panic!("answered {answer:?} before it was safe"),
        () = until("a sync hangs", DEADLINE, async || disk.hanging() > 0) => {}
    }
    drop(posting);
    gateway.process.signal("-KILL");
    disk.cut(None);
    disk.trouble(None);
    assert_eq!(gateway.process.wait(DEADLINE).await, None, "a killed process has no exit code");
    gateway.start_again();
    gateway.until_ready_says(StatusCode::OK).await;
    let known = gateway.json("/v1/alerts").await["items"].as_array().unwrap().len();
    assert_eq!(known, 2, "what was promised is there, and the third was not");
    let third = gateway.accepted(3).await;
    gateway.until_told(&third).await;
    gateway.stop_and_verify(&data).await;
}
