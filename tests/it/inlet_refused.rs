//! Owns the tests of what a way in brings and the gateway does not take as it stands: told to a person, kept, tried again, revised.

use std::fs;

use lastmile::access::Role;
use serde_json::{Value, json};

use crate::http_kit::{LEIGU, Site, new_home, rainstorm};

const TABLE: &str = "[inlet.drop]\nkind = \"folder\"\nsource = \"met\"\npath = \"drop\"\nevery = \"20ms\"\npatience = \"1s\"\n";
const YELLOW_ALONE: &str = "[[rule]]\nevents = [\"*\"]\nlevels = [\"yellow\"]\nroles = [\"*\"]\nchannels = [\"sms\"]\n";
const EVERYTHING: &str =
    "[[rule]]\nevents = [\"*\"]\nlevels = [\"blue\", \"yellow\", \"orange\", \"red\"]\nroles = [\"*\"]\nchannels = [\"sms\"]\n";

async fn watched() -> Site {
    let home = new_home();
    fs::create_dir(home.path().join("drop")).expect("made");
    Site::at(home, "none", TABLE).await
}

fn policy(site: &Site, text: &str) {
    fs::write(site.home.path().join("policy.toml"), text).expect("written");
    site.app.reload();
}

fn drop_in(site: &Site, name: &str, alert: &Value) {
    fs::write(site.home.path().join("drop").join(name), alert.to_string()).expect("dropped");
}

async fn alarms(site: &Site, what: &str) -> Vec<Value> {
    let list = site.get("/v1/alarms", &site.role_of("alarms", Role::Duty)).await;
    list["items"].as_array().expect("a list").iter().filter(|alarm| alarm["what"] == what).cloned().collect()
}

async fn known(site: &Site, number: usize) -> Vec<Value> {
    let viewer = site.role_of("viewer", Role::Viewer);
    site.until(&format!("{number} alerts"), async || {
        site.get("/v1/alerts", &viewer).await["items"].as_array().is_some_and(|list| list.len() >= number)
    })
    .await;
    site.get("/v1/alerts", &viewer).await["items"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn what_the_policy_has_no_rule_for_is_told_kept_and_taken_when_it_has() {
    let site = watched().await;
    policy(&site, YELLOW_ALONE);
    drop_in(&site, "red.json", &rainstorm(1, &[LEIGU]));
    site.until("the alarm", async || alarms(&site, "inlet-refused").await.len() == 1).await;
    let alarm = alarms(&site, "inlet-refused").await.remove(0);
    let text = alarm["text"].as_str().expect("a text");
    assert!(
        alarm["about"] == "drop red.json" && text.contains("no rule of the policy fits 11B03 at level red") && text.contains("自动重试"),
        "{alarm}"
    );
    let waiting = site.get("/v1/alerts/waiting", &site.role_of("viewer", Role::Viewer)).await;
    assert!(waiting["items"][0]["refused"][0].as_str().is_some_and(|why| why.contains("no-policy-rule")), "{waiting}");
    policy(&site, EVERYTHING);
    let taken = known(&site, 1).await;
    assert_eq!((&taken[0]["level"], &taken[0]["posted_by"]), (&json!("red"), &json!("inlet:drop")));
    let viewer = site.role_of("viewer", Role::Viewer);
    site.until("nothing waits", async || site.get("/v1/alerts/waiting", &viewer).await["items"] == json!([])).await;
    site.stop().await;
}

#[tokio::test]
async fn what_was_refused_is_tried_again_by_the_next_start_and_not_beyond_a_real_fault() {
    let site = watched().await;
    policy(&site, YELLOW_ALONE);
    drop_in(&site, "red.json", &rainstorm(1, &[LEIGU]));
    let spoiled = json!({ "identifier": "x" });
    drop_in(&site, "spoiled.json", &spoiled);
    site.until("both alarms", async || alarms(&site, "inlet-refused").await.len() == 2).await;
    let waiting = site.get("/v1/alerts/waiting", &site.role_of("viewer", Role::Viewer)).await;
    assert_eq!(waiting["items"].as_array().map(Vec::len), Some(1), "a document that is wrong itself is told, not kept: {waiting}");
    // The next start finds the usual policy of these tests.
    let site = Site::at(site.into_home().await, "none", TABLE).await;
    known(&site, 1).await;
    assert_eq!(alarms(&site, "inlet-refused").await.len(), 2, "alarms outlive the process");
    site.stop().await;
}

#[tokio::test]
async fn a_warning_revised_under_its_name_reaches_people_as_an_update_once() {
    let site = watched().await;
    let first = rainstorm(1, &[LEIGU]);
    drop_in(&site, "a.json", &first);
    known(&site, 1).await;
    let mut longer = first.clone();
    longer["description"] = json!("强降雨持续，预计还有100毫米。");
    for name in ["b.json", "c.json", "d.json"] {
        drop_in(&site, name, if name == "c.json" { &first } else { &longer });
        let done = site.home.path().join("drop/done").join(name);
        site.until(name, async || done.exists()).await;
    }
    let list = known(&site, 2).await;
    assert_eq!(list.len(), 2, "the same revision again is a repeat, and so is the first form: {list:?}");
    let viewer = site.role_of("viewer", Role::Viewer);
    let old = site.get("/v1/alerts", &viewer).await["items"][1]["id"].as_str().expect("an id").to_owned();
    assert_eq!(site.wait_for_state(&old, "superseded", &viewer).await["state"], "superseded");
    let alarm = alarms(&site, "inlet-conflict").await.remove(0);
    assert!(alarm["text"].as_str().is_some_and(|text| text.contains("改动了文字") && text.contains("已按更新发布")), "{alarm}");
    site.stop().await;
}

#[tokio::test]
async fn a_publisher_that_never_stops_revising_is_shown_to_a_person() {
    let site = watched().await;
    let mut alert = rainstorm(1, &[LEIGU]);
    for number in 0..8 {
        alert["description"] = json!(format!("第{number}次观测"));
        let name = format!("{number}.json");
        drop_in(&site, &name, &alert);
        let drop = site.home.path().join("drop");
        site.until(&name, async || drop.join("done").join(&name).exists() || drop.join("refused").join(&name).exists()).await;
    }
    assert_eq!(known(&site, 6).await.len(), 6, "the first and five revisions");
    let told =
        alarms(&site, "inlet-conflict").await.iter().any(|alarm| alarm["text"].as_str().is_some_and(|text| text.contains("人工核对")));
    assert!(told, "{:?}", alarms(&site, "inlet-conflict").await);
    site.stop().await;
}
