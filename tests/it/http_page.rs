//! Owns the tests of the web page as people of each role see it: what it shows, in which language, and what it lets them do.

use lastmile::access::Role;
use reqwest::{Method, StatusCode};

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
    for wanted in ["targeted", "Calls", "no address", "&lang=en\" data-events", "href=\"/?lang=en\""] {
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
