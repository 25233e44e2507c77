//! One person: everything that is kept of them is shown, and they are erased, whoever else is at work meanwhile.

use std::fs;

use serde_json::{Value, json};

use crate::{
    county::{County, DEADLINE, PLANTED, VILLAGE, careless, verify},
    program::{self, process::until, run, site},
};

fn imported(county: &County, rows: &str, more: &[&str]) -> Value {
    let file = county.home.path().join("again.csv");
    fs::write(&file, format!("id,area,name,role,phone\n{rows}")).unwrap();
    let arguments = [&["registry", "import", file.to_str().unwrap(), "--data", county.data.to_str().unwrap()], more].concat();
    program::json(&arguments, 0)
}

fn row(id: &str, name: &str, phone: &str) -> String {
    format!("{id},{VILLAGE},{name},household,{phone}\n")
}

fn left_out(report: &Value) -> usize {
    report["warnings"].as_array().unwrap().iter().filter(|warning| warning["rule"] == "erased-person").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_erased_while_an_alert_goes_out_is_not_told_and_is_left_out_of_later_imports() {
    // One message in ten seconds: the third is far away when its person is erased.
    let county = County::with("per_minute = 6\nburst = 1\n");
    let (bureau, duty, admin) = (county.key("met", "bureau"), county.key("duty", "duty"), county.key("admin", "admin"));
    let mut gateway = county.serve().await;
    let (status, answer) = gateway.post(&bureau, "/v1/alerts", "application/json", site::alert(1, VILLAGE).to_string()).await;
    assert_eq!(status, 202, "{answer}");
    let alert = format!("/v1/alerts/{}", answer["id"].as_str().unwrap());
    until("it goes out", DEADLINE, async || gateway.get(&duty, &alert).await["progress"]["deliveries"] == 3).await;
    let note = json!({ "answered": false, "note": "敲门无人应" }).to_string();
    let (status, said) = gateway.post(&duty, &format!("{alert}/calls/p3"), "application/json", note).await;
    assert_eq!(status, 204, "{said}");

    let shown = gateway.get(&admin, "/v1/people/13955501203").await;
    assert_eq!((shown["registry"][0]["id"].as_str(), shown["registry"][0]["phone"].as_str()), (Some("p3"), Some(PLANTED[2].2)));
    assert_eq!(shown["alerts"][0]["deliveries"][0]["channel"], "sms");
    assert_eq!(gateway.text(&admin, "/v1/people/p3/export").await.0, 400, "without a reason nothing is taken out");
    assert_eq!(gateway.text(&admin, "/v1/people/nobody").await.0, 404);
    let (status, taken_out) = gateway.text(&admin, "/v1/people/p3/export?reason=asked").await;
    assert!(status == 200 && taken_out.contains(PLANTED[2].2), "{status} {taken_out}");
    assert_eq!(gateway.delete(&admin, "/v1/people/p3?raison=asked").await, 422);
    assert_eq!(gateway.delete(&admin, "/v1/people/p3").await, 400);
    assert_eq!(gateway.delete(&admin, "/v1/people/p3?reason=moved%20away").await, 200);
    until("the others are told", DEADLINE, async || {
        let progress = &gateway.get(&duty, &alert).await["progress"];
        progress["queued"] == 0 && progress["in_flight"] == 0
    })
    .await;
    let sent = fs::read_to_string(county.home.path().join("out.jsonl")).unwrap();
    let told: Vec<bool> = PLANTED.iter().map(|(_, _, phone)| sent.contains(phone)).collect();
    assert_eq!(told, [true, true, false]);
    let shown = gateway.get(&admin, "/v1/people/p3").await;
    assert_eq!(shown["registry"][0]["gone"], true, "{shown}");
    assert_eq!(shown["alerts"].as_array().unwrap().len(), 1, "that there was somebody stays in the figures");

    let person = json!({ "area": VILLAGE, "name": PLANTED[2].1, "role": "household", "phone": PLANTED[2].2 });
    assert_eq!(gateway.put(&admin, "/v1/subscribers/p9", &person).await, 422);
    assert_eq!(gateway.put(&admin, "/v1/subscribers/p9?allow_erased=1", &person).await, 200);
    assert_eq!(gateway.delete(&admin, "/v1/people/p9?reason=moved%20away").await, 200);
    let file = county.home.path().join("remote.csv");
    fs::write(&file, format!("id,area,name,role,phone\n{}", row("p9", PLANTED[2].1, PLANTED[2].2))).unwrap();
    let remote = ["registry", "import", file.to_str().unwrap(), "--url", &gateway.url, "--key", &admin];
    assert_eq!(left_out(&program::json(&remote, 0)), 1);
    assert_eq!(left_out(&program::json(&[&remote[..], &["--allow-erased"]].concat(), 0)), 0);
    assert_eq!(gateway.delete(&admin, "/v1/people/p9?reason=moved%20away").await, 200);
    let audit = gateway.get(&admin, "/v1/audit?what=person").await;
    let lines: Vec<_> = audit["items"].as_array().unwrap().iter().map(|line| (line["what"].clone(), line["object"].clone())).collect();
    assert_eq!(lines.iter().filter(|line| **line == (json!("person-erase"), json!("p3"))).count(), 1, "{audit}");
    assert_eq!(audit["items"].as_array().unwrap().iter().find(|line| line["what"] == "person-erase").unwrap()["reason"], "moved away");
    assert!(!audit.to_string().contains(PLANTED[2].2), "whoever was looked for by telephone is named by id");
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
    verify(&county.data, 0);

    let report = imported(&county, &(row("p3", PLANTED[2].1, PLANTED[2].2) + &row("p4", "闻人听雨", "13955501204")), &[]);
    assert_eq!((left_out(&report), report["counts"][0]["added"].as_u64()), (1, Some(1)), "{report}");
    let report = imported(&county, &row("p3", PLANTED[2].1, PLANTED[2].2), &["--allow-erased"]);
    assert_eq!((left_out(&report), report["counts"][0]["added"].as_u64()), (0, Some(1)), "{report}");
    let report = imported(&county, &row("p3", PLANTED[2].1, PLANTED[2].2), &[]);
    assert_eq!(left_out(&report), 0, "whoever was let in again stays: {report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_share_a_telephone_one_is_erased_and_the_other_is_still_told_also_after_a_restore() {
    let county = County::imported();
    let (bureau, duty) = (county.key("met", "bureau"), county.key("duty", "duty"));
    let (home, data) = (county.home.path(), county.data.to_str().unwrap());
    let mut gateway = county.serve().await;
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
    imported(&county, &row("p2", PLANTED[1].1, PLANTED[0].2), &[]);
    let backup = home.join("before.backup");
    careless(&["store", "backup", backup.to_str().unwrap(), "--data", data]);
    // By the telephone it is not clear who is meant.
    run(&["person", "erase", PLANTED[0].2, "--reason", "asked", "--data", data], 2);
    let out = home.join("p2.json");
    run(&["person", "export", "p2", "--reason", "asked", "--out", out.to_str().unwrap(), "--data", data], 0);
    assert!(fs::read_to_string(&out).unwrap().contains("透析病人p2"));
    let said = program::json(&["person", "erase", "p2", "--reason", "asked", "--data", data], 0);
    assert_eq!(said["erased"], json!(["p2"]));
    let both = row("p1", PLANTED[0].1, PLANTED[0].2) + &row("p2", PLANTED[1].1, PLANTED[0].2);
    let report = imported(&county, &both, &["--replace"]);
    assert_eq!((left_out(&report), report["counts"][0]["removed"].as_u64()), (1, Some(1)), "p1 stays, p3 goes: {report}");
    imported(&county, &row("p3", PLANTED[2].1, PLANTED[2].2), &[]);

    let other = home.join("other");
    let key = home.join("data.seal-key");
    let restore = ["store", "restore", backup.to_str().unwrap(), "--data", other.to_str().unwrap(), "--seal-key", key.to_str().unwrap()];
    let said = run(&restore, 0);
    assert!(said.contains("whoever was erased after it was made is in it again"), "{said}");
    fs::remove_dir_all(&other).unwrap();
    let said = run(&[&restore[..], &["--erased-of", data]].concat(), 0);
    assert!(said.contains(": p2"), "{said}");
    let listed = program::json(&["person", "show", PLANTED[0].2, "--data", other.to_str().unwrap()], 0);
    let ids: Vec<_> = listed["registry"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, [json!("p1")]);

    let mut gateway = county.serve().await;
    let (status, answer) = gateway.post(&bureau, "/v1/alerts", "application/json", site::alert(2, VILLAGE).to_string()).await;
    assert_eq!(status, 202, "{answer}");
    let alert = format!("/v1/alerts/{}", answer["id"].as_str().unwrap());
    until("p1 is told", DEADLINE, async || {
        let sent = fs::read_to_string(home.join("out.jsonl")).unwrap_or_default();
        sent.contains(PLANTED[0].2)
    })
    .await;
    assert_eq!(gateway.get(&duty, &alert).await["progress"]["deliveries"], 2);
    assert_eq!(gateway.stop(DEADLINE).await, Some(0));
    let listed = run(&["audit", "list", "--what", "person", "--data", data], 0);
    assert!(listed.contains("person-erase  p2  begun  (asked)") && listed.contains("person-export  p2  begun  (asked)"), "{listed}");
}
