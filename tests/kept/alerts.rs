//! What is known of alerts is shown from a data directory without a gateway, in the words of a running one.

use std::process::Command;

use serde_json::Value;

use crate::{
    county::{County, DEADLINE, verify},
    program::{self, run},
};

/// What a command says when it comes to nothing.
fn refused(arguments: &[&str], code: i32) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_lastmile")).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_of_a_stopped_gateway_are_listed_and_shown_as_it_said_itself() {
    let county = County::imported();
    let (bureau, duty) = (county.key("met", "bureau"), county.key("night", "duty"));
    let mut gateway = county.serve().await;
    let (first, second) = (county.told(&gateway, &bureau, &duty).await, county.told(&gateway, &bureau, &duty).await);
    let (first_id, second_id) = (first.rsplit('/').next().unwrap(), second.rsplit('/').next().unwrap());
    let data = county.data.to_str().unwrap();

    // While a gateway runs on it the directory is that one's alone, and the message says so.
    for arguments in [&["alert", "list", "--data", data][..], &["alert", "show", first_id, "--data", data]] {
        assert!(refused(arguments, 3).contains("in use by another process"), "{arguments:?}");
    }
    let from_gateway = |arguments: &[&str]| program::json(&[arguments, &["--json", "--url", &gateway.url, "--key", &duty]].concat(), 0);
    let (list, one) = (from_gateway(&["alert", "list"]), from_gateway(&["alert", "show", first_id]));
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));

    let ids =
        |list: &Value| list["items"].as_array().unwrap().iter().map(|alert| alert["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let kept = program::json(&["alert", "list", "--data", data, "--json"], 0);
    assert_eq!((ids(&kept), &kept["next"]), (vec![second_id.to_owned(), first_id.to_owned()], &Value::Null));
    assert_eq!(ids(&kept), ids(&list));
    let shown = program::json(&["alert", "show", first_id, "--data", data, "--json"], 0);
    for part in ["id", "identifier", "headline", "level", "event_name", "sent", "expires", "timeline", "source", "posted_by"] {
        assert_eq!(shown[part], one[part], "{part}");
    }
    assert_eq!(shown["progress"]["deliveries"], 3, "{shown:#}");

    // As text, filtered, and for words that nothing has.
    let lines = run(&["alert", "list", "--data", data], 0);
    let headline = one["headline"].as_str().unwrap();
    assert!(lines.lines().count() == 2 && lines.lines().all(|line| line.contains("  red  ") && line.ends_with(headline)), "{lines}");
    assert_eq!(run(&["alert", "list", "--data", data, "--state", "rejected"], 0), "");
    assert_eq!(run(&["alert", "list", "--data", data, "--state", shown["state"].as_str().unwrap()], 0), lines);
    assert!(refused(&["alert", "list", "--data", data, "--state", "begun"], 2).contains("states are held, released"));
    assert!(run(&["alert", "show", first_id, "--data", data], 0).contains("progress: "));
    assert!(refused(&["alert", "show", "01a01a01-0000-7000-8000-000000000000", "--data", data], 3).contains("no such alert"));
    assert!(refused(&["alert", "show", "first", "--data", data], 2).contains("is not an alert's id"));
    let nowhere = county.home.path().join("nowhere");
    assert!(refused(&["alert", "list", "--data", nowhere.to_str().unwrap()], 3).contains("is not a data directory"));
    assert!(!nowhere.exists(), "looking made a directory");
    verify(&county.data, 0);

    // Looking has changed nothing that a gateway goes on from.
    let mut gateway = county.serve().await;
    assert_eq!(ids(&gateway.get(&duty, "/v1/alerts").await), ids(&list));
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
}
