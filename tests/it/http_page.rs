//! Owns the tests of the web page as people of each role see it: what it shows, in which language, and what it lets them do.

use lastmile::access::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http_kit::{LEIGU, PASSWORD, QUSHAN, Site, rainstorm};

/// Signs somebody in; the cookie.
async fn cookie_of(site: &Site, name: &str, role: Role, areas: &[&str]) -> String {
    let areas = areas.iter().map(|area| area.parse().expect("a code")).collect();
    site.app.access.add_user(name, role, areas, &PASSWORD.into()).expect("a user");
    let form = [("name", name), ("password", PASSWORD)];
    let answer = site.plain(Method::POST, "/sign-in").header("origin", site.url("")).form(&form).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    answer.headers()["set-cookie"].to_str().expect("text").split(';').next().expect("a cookie").to_owned()
}

async fn page(site: &Site, path: &str, cookie: &str) -> (StatusCode, String) {
    let request = site.plain(Method::GET, path).header("cookie", cookie).header("accept", "text/html");
    let answer = request.send().await.expect("an answer");
    (answer.status(), answer.text().await.expect("a page"))
}

#[tokio::test]
async fn duty_sees_who_has_not_answered_with_their_numbers_and_can_act_and_a_viewer_cannot() {
    let site = Site::start().await;
    let (bureau, viewer_key) = (site.bureau(), site.role(Role::Viewer));
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &bureau).await;
    site.wait_until_told(&id, &viewer_key).await;
    let duty = cookie_of(&site, "duty", Role::Duty, &[]).await;
    let viewer = cookie_of(&site, "viewer", Role::Viewer, &[]).await;
    let (status, first) = page(&site, "/", &duty).await;
    assert!(status == StatusCode::OK && first.contains("发布暴雨红色预警") && first.contains(&format!("/alerts/{id}")), "{first}");
    let (_, shown) = page(&site, &format!("/alerts/{id}"), &duty).await;
    for wanted in ["叫应", "等待应答", "村负责人", "href=\"tel:1", "data-decide=\"cancel\"", "data-call=\"", "发送中", "<svg"]
    {
        assert!(shown.contains(wanted), "{wanted} is missing: {shown}");
    }
    let (_, looked) = page(&site, &format!("/alerts/{id}"), &viewer).await;
    for unwanted in ["tel:", "data-decide", "data-call=", "<th scope=\"col\">电话"] {
        assert!(!looked.contains(unwanted), "a viewer is shown {unwanted}");
    }
    // The policy of the page takes neither styles nor scripts that stand in it.
    for text in [&first, &shown] {
        assert!(!text.contains("style=") && !text.contains("<script>") && !text.contains("onclick"), "{text}");
    }
    site.stop().await;
}

#[tokio::test]
async fn the_page_speaks_english_when_asked_and_goes_on_doing_so() {
    let site = Site::start().await;
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &site.bureau()).await;
    let cookie = cookie_of(&site, "viewer", Role::Viewer, &[]).await;
    let (_, first) = page(&site, "/?lang=en", &cookie).await;
    assert!(first.contains("lang=\"en\"") && first.contains(&format!("/alerts/{id}?lang=en")), "{first}");
    let (_, shown) = page(&site, &format!("/alerts/{id}?lang=en"), &cookie).await;
    for wanted in ["targeted", "Calls", "no address", "&lang=en\" data-alert", "href=\"/?lang=en\""] {
        assert!(shown.replace("&#38;", "&").contains(wanted), "{wanted} is missing: {shown}");
    }
    site.stop().await;
}

#[tokio::test]
async fn what_the_script_renews_is_what_the_page_was_sent_with_and_needs_the_same_right() {
    let site = Site::start().await;
    let (bureau, viewer_key) = (site.bureau(), site.role(Role::Viewer));
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &bureau).await;
    site.wait_until_told(&id, &viewer_key).await;
    let cookie = cookie_of(&site, "viewer", Role::Viewer, &[]).await;
    for path in [format!("/alerts/{id}/live"), "/alerts".to_owned()] {
        let (status, part) = page(&site, &path, &cookie).await;
        assert!(status == StatusCode::OK && part.contains("发布暴雨红色预警") && !part.contains("<html"), "{part}");
        assert_eq!(page(&site, &path, "").await.0, StatusCode::UNAUTHORIZED);
    }
    site.stop().await;
}

#[tokio::test]
async fn an_account_of_two_townships_chooses_between_them_and_sees_no_third() {
    let site = Site::start().await;
    let id = site.accepted(&rainstorm(1, &["510726"]), &site.bureau()).await;
    let cookie = cookie_of(&site, "both", Role::Duty, &[LEIGU, QUSHAN]).await;
    let (_, shown) = page(&site, &format!("/alerts/{id}"), &cookie).await;
    assert!(shown.contains(&format!("?area={LEIGU}")) && shown.contains(&format!("?area={QUSHAN}")), "{shown}");
    // What is the whole county's is not theirs to end.
    assert!(!shown.contains("data-decide=\"cancel\""), "{shown}");
    assert_eq!(page(&site, &format!("/alerts/{id}?area={QUSHAN}"), &cookie).await.0, StatusCode::OK);
    assert_eq!(page(&site, &format!("/alerts/{id}?area=510726"), &cookie).await.0, StatusCode::FORBIDDEN);
    site.stop().await;
}

#[tokio::test]
async fn what_an_alert_says_cannot_become_part_of_the_page() {
    let site = Site::start().await;
    let mut alert = rainstorm(1, &[LEIGU]);
    alert["headline"] = "<img src=x onerror=alert(1)>暴雨".into();
    let id = site.accepted(&alert, &site.bureau()).await;
    let cookie = cookie_of(&site, "viewer", Role::Viewer, &[]).await;
    for path in ["/".to_owned(), format!("/alerts/{id}"), format!("/v1/alerts/{id}/report.html")] {
        let (_, shown) = page(&site, &path, &cookie).await;
        assert!(shown.contains("暴雨") && !shown.contains("<img"), "{path}: {shown}");
    }
    site.stop().await;
}

/// Presses a button of the page: what its script posts, with the cookie and the origin of our own page.
async fn press(site: &Site, path: &str, cookie: &str, body: &Value) -> StatusCode {
    let request = site.plain(Method::POST, path).header("cookie", cookie).header("origin", site.url(""));
    request.json(body).send().await.expect("an answer").status()
}

/// The elements of the page that begin so, up to their end.
fn pieces<'a>(shown: &'a str, begin: &str, end: &str) -> Vec<&'a str> {
    shown.split(begin).skip(1).map(|rest| rest.split(end).next().unwrap_or_default()).collect()
}

#[tokio::test]
async fn an_open_page_holds_no_connection_and_every_question_has_an_end() {
    let site = Site::start().await;
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &site.bureau()).await;
    let cookie = cookie_of(&site, "duty", Role::Duty, &[]).await;
    let (status, script) = page(&site, "/page.js", "").await;
    assert_eq!(status, StatusCode::OK);
    // A browser has six connections to a host for all its pages: one that is held by each is missing where somebody cancels.
    assert!(!script.contains("EventSource") && !script.contains("WebSocket"), "{script}");
    assert_eq!((script.matches("fetch(").count(), script.matches("signal: ender.signal").count()), (1, 1), "{script}");
    // What offices have cannot read this.
    assert!(!script.contains("?.") && !script.contains("??") && !script.contains(".submitter"), "{script}");
    let (_, shown) = page(&site, &format!("/alerts/{id}"), &cookie).await;
    assert!(
        shown.contains("data-every=\"2\"") && shown.contains("内容未更新") && shown.contains("data-no-answer=\"没有及时得到答复"),
        "{shown}"
    );
    site.stop().await;
}

#[tokio::test]
async fn a_recorded_call_has_no_outcome_by_itself_and_its_notes_stand_in_its_row() {
    let site = Site::start().await;
    let (bureau, key) = (site.bureau(), site.role(Role::Duty));
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &bureau).await;
    site.wait_until_told(&id, &key).await;
    let (li, wang) = (cookie_of(&site, "li", Role::Duty, &[]).await, cookie_of(&site, "wang", Role::Duty, &[LEIGU]).await);
    let (_, shown) = page(&site, &format!("/alerts/{id}"), &li).await;
    let outcomes = pieces(&shown, "name=\"outcome\"", "</label>");
    let wanted = [("received", "收到"), ("moved", "已转移"), ("help", "需要帮助"), ("nobody", "未接通")];
    assert_eq!(outcomes.len(), wanted.len(), "{shown}");
    for (outcome, (value, word)) in outcomes.iter().zip(wanted) {
        assert!(outcome.contains(&format!("value=\"{value}\" required")) && outcome.contains(word), "{outcome}");
        assert!(!outcome.contains("checked"), "{outcome}");
    }
    let whom = pieces(&shown, "data-call=\"", "\"")[0].to_owned();
    let path = format!("/v1/alerts/{id}/calls/{whom}");
    assert_eq!(press(&site, &path, &li, &json!({ "method": "call", "note": "?" })).await, StatusCode::BAD_REQUEST);
    for (who, made) in [
        (&li, json!({ "answered": false, "method": "call", "note": "关机" })),
        (&li, json!({ "answered": true, "choice": "received", "method": "radio", "note": "对讲机里答的" })),
        (&wang, json!({ "answered": true, "choice": "moved", "method": "visit", "note": "到安置点点过名" })),
    ] {
        assert_eq!(press(&site, &path, who, &made).await, StatusCode::NO_CONTENT);
    }
    let (_, shown) = page(&site, &format!("/alerts/{id}"), &li).await;
    let rows = pieces(&shown, "<tr class=\"call-", "</tr>");
    let row = *rows.iter().find(|row| row.contains(&format!("data-call=\"{whom}\""))).expect("the row");
    assert!(row.contains("收到 → 已转移"), "{row}");
    for (line, record) in ["上门 已转移 wang：到安置点点过名", "对讲机 收到 li：对讲机里答的", "电话 未接通 li：关机"]
        .iter()
        .zip(pieces(row, "<div>", "</div>"))
    {
        assert!(record.ends_with(line) && record.contains('月') && record.contains(':'), "{record} is not {line}");
    }
    let calls = site.get(&format!("/v1/alerts/{id}/calls"), &key).await;
    let call = calls["items"].as_array().and_then(|calls| calls.iter().find(|call| call["recipient"]["id"] == *whom)).expect("the call");
    assert_eq!((&call["note"], &call["last_choice"]), (&json!("对讲机里答的"), &json!("moved")), "{call}");
    let tries = call["tries"].as_array().expect("tries");
    let told: Vec<_> = tries.iter().map(|tried| (tried["by"].as_str(), tried["note"].as_str(), tried["choice"].as_str())).collect();
    assert_eq!(told, [(Some("li"), Some("关机"), None), (Some("wang"), Some("到安置点点过名"), Some("moved"))], "{call}");
    site.stop().await;
}

#[tokio::test]
async fn places_are_named_with_their_town_and_the_number_to_call_comes_first() {
    let site = Site::start().await;
    let (bureau, key) = (site.bureau(), site.role(Role::Duty));
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &bureau).await;
    site.wait_until_told(&id, &key).await;
    let cookie = cookie_of(&site, "duty", Role::Duty, &[]).await;
    let (_, shown) = page(&site, &format!("/alerts/{id}"), &cookie).await;
    let rows = pieces(&shown, "<tr class=\"call-waiting\">", "</tr>");
    assert!(!rows.is_empty(), "{shown}");
    for row in rows {
        let (number, area, button) = (row.find("href=\"tel:"), row.find("<td>擂鼓镇"), row.find("data-call="));
        assert!(number.is_some() && number < area && area < button, "{row}");
    }
    let names = pieces(&shown, "<ul class=\"names\">", "</ul>").concat();
    assert!(pieces(&names, "<li>", "</li>").iter().all(|name| name.starts_with("擂鼓镇")), "{names}");
    site.stop().await;
}

#[tokio::test]
async fn only_what_is_to_be_feared_has_the_colour_of_its_level() {
    let site = Site::start().await;
    let (met, duty) = (site.bureau(), cookie_of(&site, "duty", Role::Duty, &[]).await);
    let live = site.accepted(&rainstorm(1, &[LEIGU]), &met).await;
    let mut drill = rainstorm(2, &[LEIGU]);
    (drill["status"], drill["headline"]) = ("Exercise".into(), "演练用的暴雨红色预警".into());
    let drill = site.accepted(&drill, &met).await;
    let ended = site.accepted(&rainstorm(3, &[QUSHAN]), &met).await;
    let cancelled = site
        .plain(Method::POST, &format!("/v1/alerts/{ended}/cancel"))
        .header("cookie", &duty)
        .header("origin", site.url(""))
        .json(&json!({ "reason": "误报" }))
        .send()
        .await
        .expect("an answer");
    assert_eq!(cancelled.status(), StatusCode::OK);
    let cancelled: Value = cancelled.json().await.expect("json");
    let all_clear = cancelled["cancel"]["id"].as_str().expect("an id").to_owned();
    let (_, list) = page(&site, "/", &duty).await;
    for (id, class, badge) in [(&live, "red", "红色"), (&drill, "drill", "演练"), (&ended, "ended", "红色"), (&all_clear, "over", "解除")]
    {
        let cards = pieces(&list, "<article class=\"card ", "</article>");
        let card = *cards.iter().find(|card| card.contains(&format!("/alerts/{id}\""))).expect("a card");
        assert!(card.starts_with(&format!("{class}\"")) && card.contains(&format!("<span class=\"level\">{badge}</span>")), "{card}");
        let (_, shown) = page(&site, &format!("/alerts/{id}"), &duty).await;
        assert!(shown.contains(&format!("<section class=\"card {class}\">\n<h1><span class=\"level\">{badge}</span>")), "{shown}");
    }
    site.stop().await;
}

#[tokio::test]
async fn an_alarm_is_acknowledged_on_the_page_by_who_may_act_and_from_our_own_page_alone() {
    let site = Site::start().await;
    let (met, key) = (site.bureau(), site.role(Role::Duty));
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &met).await;
    site.wait_until_told(&id, &key).await;
    let (duty, viewer) = (cookie_of(&site, "duty", Role::Duty, &[]).await, cookie_of(&site, "viewer", Role::Viewer, &[]).await);
    let (_, shown) = page(&site, &format!("/alerts/{id}"), &duty).await;
    let whom = pieces(&shown, "data-call=\"", "\"")[0].to_owned();
    let help = json!({ "answered": true, "choice": "help", "method": "call", "note": "水进屋了" });
    assert_eq!(press(&site, &format!("/v1/alerts/{id}/calls/{whom}"), &duty, &help).await, StatusCode::NO_CONTENT);
    let (_, list) = page(&site, "/", &duty).await;
    let alarms = pieces(&list, "data-alarm=\"", "\"");
    assert!(!alarms.is_empty() && list.contains(">已知悉</button>"), "{list}");
    assert!(!page(&site, "/", &viewer).await.1.contains("data-alarm"));
    let path = format!("/v1/alarms/{}/acknowledge", alarms[0]);
    assert_eq!(press(&site, &path, &viewer, &json!({ "note": "" })).await, StatusCode::FORBIDDEN);
    let foreign = site.plain(Method::POST, &path).header("cookie", &duty).header("origin", "http://elsewhere.example");
    assert_eq!(foreign.json(&json!({ "note": "" })).send().await.expect("an answer").status(), StatusCode::FORBIDDEN);
    assert_eq!(press(&site, &path, &duty, &json!({ "note": "已派人" })).await, StatusCode::OK);
    let (_, list) = page(&site, "/", &duty).await;
    assert!(!pieces(&list, "data-alarm=\"", "\"").contains(&alarms[0]), "{list}");
    assert_eq!(press(&site, &path, &duty, &json!({ "note": "" })).await, StatusCode::CONFLICT);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_approves_reads_first_what_is_sent_to_whom() {
    let site = Site::with_approval("red").await;
    let (met, key) = (site.bureau(), site.role(Role::Duty));
    let id = site.accepted(&rainstorm(1, &[LEIGU]), &met).await;
    let preview = site.call(Method::POST, "/v1/alerts/preview", &key).json(&rainstorm(2, &[LEIGU])).send().await.expect("an answer");
    let preview: Value = preview.json().await.expect("json");
    assert!(preview["people"].as_u64() > Some(0) && preview["villages"].as_u64() > Some(1), "{preview}");
    let of_town = preview["by_area"].as_array().expect("a list").iter().find(|area| area["name"] == "擂鼓镇").expect("the township");
    let text = preview["messages"][0]["text"].as_str().expect("a text");
    let chief = cookie_of(&site, "chief", Role::Approver, &[]).await;
    let duty = cookie_of(&site, "duty", Role::Duty, &[]).await;
    let viewer = cookie_of(&site, "viewer", Role::Viewer, &[]).await;
    let other = cookie_of(&site, "other", Role::Approver, &[QUSHAN]).await;
    let path = format!("/alerts/{id}");
    for (who, decides) in [(&chief, true), (&duty, false)] {
        let (_, shown) = page(&site, &path, who).await;
        let (people, villages) = (&preview["people"], &preview["villages"]);
        let numbers = [
            format!("人员 <b>{people}</b>"),
            format!("村（社区） <b>{villages}</b>"),
            "短信 · ".into(),
            text.into(),
            format!("擂鼓镇 {}", of_town["people"]),
        ];
        for wanted in numbers.iter().map(String::as_str).chain([
            "按明白卡路线转移到避险地点。",
            "过去3小时累积雨量已达100毫米以上。",
            "<h2>范围</h2><p>擂鼓镇</p>",
        ]) {
            assert!(shown.contains(wanted), "{wanted} is missing: {shown}");
        }
        assert_eq!(shown.contains("data-decide=\"approve\""), decides, "{shown}");
        assert!(shown.find("批准后将这样发布") < shown.find("data-decide=\"approve\"").or(Some(usize::MAX)), "{shown}");
    }
    // Numbers of the whole are for those who may decide over it.
    let (_, looked) = page(&site, &path, &viewer).await;
    assert!(looked.contains("按明白卡路线转移到避险地点。") && !looked.contains("data-decide"), "{looked}");
    assert!(!looked.contains("批准后将这样发布"), "{looked}");
    assert_eq!(page(&site, &path, &other).await.0, StatusCode::NOT_FOUND);
    assert_eq!(press(&site, &format!("/v1/alerts/{id}/approve"), &chief, &json!({})).await, StatusCode::OK);
    site.wait_until_told(&id, &key).await;
    assert_eq!(press(&site, &format!("/v1/alerts/{id}/cancel"), &duty, &json!({ "reason": "误报" })).await, StatusCode::OK);
    let (_, shown) = page(&site, &path, &chief).await;
    assert!(shown.contains("批准人 chief") && shown.contains("解除人 duty") && !shown.contains("批准后将这样发布"), "{shown}");
    let view = site.get(&format!("/v1{path}"), &key).await;
    assert_eq!((&view["approved_by"], &view["cancelled_by"]), (&json!("chief"), &json!("duty")), "{view}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubt_is_told_in_the_words_of_whoever_settles_it() {
    let site = Site::start().await;
    let mut odd = rainstorm(1, &["510726104"]);
    odd["areas"][0]["name"] = "永安镇".into();
    let id = site.accepted(&odd, &site.bureau()).await;
    let chief = cookie_of(&site, "chief", Role::Approver, &[]).await;
    let (_, shown) = page(&site, &format!("/alerts/{id}"), &chief).await;
    let doubt = "区划代码510726104在本县是“通泉镇”，来文写的地名是“永安镇”：请核实要发给哪里";
    assert!(shown.contains(doubt) && !shown.contains("areas[0]"), "{shown}");
    site.stop().await;
}
