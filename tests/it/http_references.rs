//! Owns the tests of what an Update or Cancel refers to, over real HTTP: several alerts, statuses, what is held, what is alike, whose key it is.

use std::{collections::BTreeMap, fs, path::Path};

use lastmile::access::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http_kit::{Holder, LEIGU, QUSHAN, Site, new_home, problem, rainstorm};

const POLICY: &str = "[[rule]]\nevents = [\"*\"]\nroles = [\"household\", \"village_leader\", \"county_duty\"]\nchannels = [\"sms\"]\n";
const BOX: &str = "[channel.box]\nkind = \"sms\"\nprovider = \"file\"\npath = \"messages.jsonl\"\n";

async fn site() -> Site {
    Site::configured(new_home(), "none", "", BOX, &[("policy.toml", POLICY)]).await
}

fn alert(number: u32, area: &str, changes: &[(&str, Value)]) -> Value {
    let mut alert = rainstorm(number, &[area]);
    for (field, value) in changes {
        alert[*field] = value.clone();
    }
    alert
}

fn change(number: u32, kind: &str, of: &[&Value], changes: &[(&str, Value)]) -> Value {
    let reference = |of: &&Value| json!({ "sender": of["sender"], "identifier": of["identifier"], "sent": of["sent"] });
    let base = [("msgType", json!(kind)), ("references", of.iter().map(reference).collect())];
    alert(number, LEIGU, &[&base[..], changes].concat())
}

/// What each number got, in order.
fn got(home: &Path) -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(home.join("messages.jsonl")).unwrap_or_default();
    let mut got: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let message: Value = serde_json::from_str(line).expect("a line of JSON");
        let word = |name: &str| message[name].as_str().expect("a text").to_owned();
        got.entry(word("to")).or_default().push(word("text"));
    }
    got
}

async fn taken(site: &Site, alert: &Value, who: &Holder) -> (Value, Vec<String>) {
    let answer = site.post(alert, who).await;
    let status = answer.status();
    let body: Value = answer.json().await.expect("json");
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    let rules = body["warnings"].as_array().expect("warnings").iter().filter_map(|one| one["rule"].as_str().map(str::to_owned));
    let rules = rules.filter(|rule| !rule.starts_with("no")).collect();
    (body, rules)
}

async fn told(site: &Site, alert: &Value, who: &Holder, duty: &Holder) -> String {
    let id = taken(site, alert, who).await.0["id"].as_str().expect("an id").to_owned();
    site.wait_for_state(&id, "completed", duty).await;
    id
}

async fn refusal(site: &Site, alert: &Value, who: &Holder) -> (u16, String, Vec<(String, String)>) {
    let answer = site.post(alert, who).await;
    let status = answer.status().as_u16();
    let told = problem(answer).await;
    let fault =
        |fault: &Value| (fault["path"].as_str().unwrap_or_default().to_owned(), fault["rule"].as_str().unwrap_or_default().to_owned());
    let faults = told["problems"].as_array().expect("a list").iter().map(fault).collect();
    (status, told["type"].as_str().expect("a type").trim_start_matches("/problems/").to_owned(), faults)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_of_several_ends_all_and_each_hears_once_what_they_were_told() {
    let site = site().await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let home = site.home.path().to_owned();
    let rain = alert(1, LEIGU, &[]);
    let wind = alert(2, QUSHAN, &[("event", json!("11B06")), ("level", json!("blue"))]);
    let (first, second) = (told(&site, &rain, &met, &duty).await, told(&site, &wind, &met, &duty).await);
    let before = got(&home);
    let unknown = alert(99, LEIGU, &[]);
    // No event, level or end of its own that anybody could mean; one reference leads nowhere.
    let words =
        [("event", json!("11B99")), ("level", json!("blue")), ("expires", rain["sent"].clone()), ("effective", rain["sent"].clone())];
    let cancel = change(3, "Cancel", &[&rain, &unknown, &wind], &words);
    let preview = site.call(Method::POST, "/v1/alerts/preview", &duty).json(&cancel).send().await.expect("an answer");
    let preview: Value = preview.json().await.expect("json");
    assert_eq!((&preview["deliveries"], &preview["level"]), (&json!(before.len()), &json!("red")), "{preview}");
    let (end, rules) = taken(&site, &cancel, &met).await;
    assert_eq!(rules, ["unknown-reference"], "{end}");
    let end = site.wait_for_state(end["id"].as_str().expect("an id"), "completed", &duty).await;
    assert_eq!((&end["level"], &end["event"], &end["targets"]), (&json!("red"), &json!("11B03"), &json!([first, second])), "{end}");
    for id in [&first, &second] {
        assert_eq!(site.get(&format!("/v1/alerts/{id}"), &duty).await["state"], "cancelled");
    }
    let after = got(&home);
    let mut both = 0;
    for (to, texts) in &before {
        let last = after[to].last().expect("a text");
        assert_eq!(after[to].len(), texts.len() + 1, "{to} hears the end once: {:?}", after[to]);
        let heard = |word: &str| texts.iter().any(|text| text.contains(word));
        assert!(last.contains("解除"), "{last}");
        assert_eq!((last.contains("红色"), last.contains("蓝色")), (heard("红色"), heard("蓝色")), "{texts:?} then {last}");
        both += usize::from(heard("红色") && heard("蓝色"));
    }
    assert!(both > 0, "the county's duty heard of both");
    // One that is over beside one that is not.
    let later = alert(4, QUSHAN, &[]);
    let third = told(&site, &later, &met, &duty).await;
    let (again, rules) = taken(&site, &change(5, "Cancel", &[&rain, &later], &[]), &met).await;
    assert_eq!(rules, ["already-ended"], "{again}");
    site.wait_for_state(&third, "cancelled", &duty).await;
    site.wait_for_state(again["id"].as_str().expect("an id"), "completed", &duty).await;
    let once_more = got(&home);
    for (to, texts) in &once_more {
        let known = after.get(to).map_or(0, Vec::len);
        let new = &texts[known..];
        assert!(new.is_empty() || (new.len() == 2 && new[1].contains("解除")), "{to}: {new:?}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_of_several_replaces_all_through_a_restart_and_one_that_says_all_clear_ends_it() {
    let site = site().await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let (rain, other) = (alert(1, LEIGU, &[]), alert(2, QUSHAN, &[]));
    let ids = [told(&site, &rain, &met, &duty).await, told(&site, &other, &met, &duty).await];
    let update = change(3, "Update", &[&rain, &other], &[("level", json!("blue"))]);
    let joined = told(&site, &update, &met, &duty).await;
    let site = site.restarted().await;
    for id in &ids {
        assert_eq!(site.get(&format!("/v1/alerts/{id}"), &duty).await["state"], "superseded");
    }
    let lowered = got(site.home.path());
    assert!(lowered.values().all(|texts| texts.len() >= 2));
    assert!(lowered.values().any(|texts| texts.last().is_some_and(|text| text.contains("红色变更为蓝色"))), "{lowered:?}");
    assert!(
        lowered.values().any(|texts| texts.last().is_some_and(|text| text.contains("不在预警范围") && text.contains("红色"))),
        "{lowered:?}"
    );
    // By the name of the oldest link, in the manner of countries that end a warning so.
    let says = [("responseTypes", json!(["AllClear"])), ("urgency", json!("Past")), ("level", json!("yellow"))];
    let end = told(&site, &change(4, "Update", &[&rain], &says), &met, &duty).await;
    let end = site.get(&format!("/v1/alerts/{end}"), &duty).await;
    assert_eq!((&end["level"], &end["targets"], &end["all_clear"]), (&json!("blue"), &json!([joined]), &json!(true)), "{end}");
    assert_eq!(site.get(&format!("/v1/alerts/{joined}"), &duty).await["state"], "cancelled");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_neither_ends_nor_changes_what_is_real_and_the_end_of_a_drill_is_one() {
    let site = site().await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let (real, drill) = (alert(1, LEIGU, &[]), alert(2, QUSHAN, &[("status", json!("Exercise"))]));
    let (first, second) = (told(&site, &real, &met, &duty).await, told(&site, &drill, &met, &duty).await);
    let mut number = 10;
    for status in ["Exercise", "System", "Test"] {
        for kind in ["Update", "Cancel"] {
            number += 1;
            let (code, _, faults) = refusal(&site, &change(number, kind, &[&real], &[("status", json!(status))]), &met).await;
            assert_eq!((code, faults), (422, vec![("references[0]".to_owned(), "status-differs".to_owned())]), "{status} {kind}");
        }
    }
    assert_eq!(refusal(&site, &change(20, "Update", &[&drill], &[]), &met).await.0, 422);
    let (code, _, faults) = refusal(&site, &change(21, "Cancel", &[&real, &drill], &[]), &met).await;
    assert_eq!((code, faults[0].0.as_str()), (422, "references[1]"), "one of both would be neither");
    assert_eq!(site.get(&format!("/v1/alerts/{first}"), &duty).await["state"], "completed");
    let (end, rules) = taken(&site, &change(22, "Cancel", &[&drill], &[]), &met).await;
    assert_eq!(rules, ["status-taken-over"]);
    let end = site.wait_for_state(end["id"].as_str().expect("an id"), "completed", &duty).await;
    assert_eq!((&end["status"], &end["drill"]), (&json!("Exercise"), &json!(true)));
    assert_eq!(site.get(&format!("/v1/alerts/{second}"), &duty).await["state"], "cancelled");
    let texts = got(site.home.path());
    assert!(texts.values().flatten().all(|text| !text.contains("解除") || text.contains("演练")), "{texts:?}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_of_what_is_held_withdraws_it_and_nobody_can_approve_it_afterwards() {
    let site = Site::with_approval("always").await;
    let (met, duty, approver) = (site.bureau(), site.role(Role::Duty), site.role(Role::Approver));
    let out = alert(1, LEIGU, &[]);
    let first = site.accepted(&out, &met).await;
    let approve = async |id: &str| site.status(Method::POST, &format!("/v1/alerts/{id}/approve"), &approver).await;
    assert_eq!(approve(&first).await, StatusCode::OK);
    site.wait_until_told(&first, &duty).await;
    let held = alert(2, QUSHAN, &[]);
    let second = site.accepted(&held, &met).await;
    // One that is out and one that is not: the second is withdrawn at once, the end of the first waits for its second person.
    let end = site.accepted(&change(3, "Cancel", &[&out, &held], &[]), &met).await;
    assert_eq!(site.get(&format!("/v1/alerts/{end}"), &duty).await["state"], "held");
    assert_eq!(site.get(&format!("/v1/alerts/{second}"), &duty).await["state"], "cancelled");
    assert_eq!(approve(&second).await, StatusCode::CONFLICT);
    assert_eq!(approve(&end).await, StatusCode::OK);
    site.wait_for_state(&first, "cancelled", &duty).await;
    let third = alert(4, LEIGU, &[]);
    let third_id = site.accepted(&third, &met).await;
    let (withdrawal, _) = taken(&site, &change(5, "Cancel", &[&third], &[]), &met).await;
    assert_eq!(withdrawal["state"], "released", "to say nothing needs no second person");
    let seen = site.wait_for_state(withdrawal["id"].as_str().expect("an id"), "completed", &duty).await;
    assert_eq!((&seen["progress"]["deliveries"], approve(&third_id).await), (&json!(0), StatusCode::CONFLICT));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_one_town_posts_changes_ends_and_previews_there_alone() {
    let site = Site::start().await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    let town = site.key("town", Role::Bureau, Some("met"), &[LEIGU]);
    let own = alert(1, LEIGU, &[]);
    site.accepted(&own, &town).await;
    let elsewhere = alert(2, QUSHAN, &[]);
    site.accepted(&elsewhere, &met).await;
    let cases =
        [alert(3, QUSHAN, &[]), change(4, "Cancel", &[&elsewhere], &[]), change(5, "Update", &[&elsewhere], &[]), elsewhere.clone()];
    for case in &cases {
        let (status, kind, _) = refusal(&site, case, &town).await;
        assert_eq!((status, kind.as_str()), (403, "area-not-allowed"), "{case}");
    }
    let preview = site.call(Method::POST, "/v1/alerts/preview", &town).json(&alert(6, QUSHAN, &[])).send().await.expect("an answer");
    assert_eq!(preview.status(), StatusCode::FORBIDDEN);
    let people = async |who: &Holder| {
        let answer = site.call(Method::POST, "/v1/alerts/preview", who).json(&alert(7, "510726", &[])).send().await.expect("an answer");
        answer.json::<Value>().await.expect("json")
    };
    let (all, part) = (people(&duty).await, people(&site.key("town-duty", Role::Duty, None, &[LEIGU])).await);
    let areas = part["by_area"].as_array().expect("areas");
    assert!(areas.len() == 1 && areas[0]["code"] == LEIGU && part["people"].as_u64() < all["people"].as_u64(), "{part}");
    site.accepted(&change(8, "Cancel", &[&own], &[]), &town).await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_with_another_time_is_told_apart_from_a_change_that_names_nothing() {
    let site = Site::start().await;
    let met = site.bureau();
    let first = alert(1, LEIGU, &[]);
    site.accepted(&first, &met).await;
    let later = |number: u32, changes: &[(&str, Value)]| {
        let mut again = first.clone();
        again["identifier"] = rainstorm(number, &[LEIGU])["identifier"].clone();
        again["sent"] = again["effective"].clone();
        again["sent"] = json!(
            again["sent"]
                .as_str()
                .expect("a time")
                .parse::<lastmile::time::Timestamp>()
                .expect("a time")
                .minus(std::time::Duration::from_secs(60))
        );
        changes.iter().for_each(|(field, value)| again[*field] = value.clone());
        again
    };
    let (status, kind, _) = refusal(&site, &later(1, &[]), &met).await;
    assert_eq!((status, kind.as_str()), (409, "likely-repeat-of"));
    let (_, rules) = taken(&site, &later(1, &[("description", json!("雨更大了。"))]), &met).await;
    assert_eq!(rules, ["likely-update-of"]);
    let (_, rules) = taken(&site, &later(2, &[("level", json!("orange"))]), &met).await;
    assert_eq!(rules, ["likely-update-of"]);
    let (_, rules) = taken(&site, &alert(3, QUSHAN, &[("event", json!("11B06"))]), &met).await;
    assert_eq!(rules, Vec::<String>::new());
    // Another source never learns what it was taken in as.
    let land = site.key("land-bureau", Role::Bureau, Some("land"), &[]);
    let (status, kind, _) = refusal(&site, &first, &land).await;
    assert_eq!((status, kind.as_str()), (403, "sender-not-allowed"));
    site.stop().await;
}
