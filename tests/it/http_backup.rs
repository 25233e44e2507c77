//! The one backup command, of a gateway that goes on working.

use std::fs;

use lastmile::{access::Role, app, store};
use reqwest::{Method, StatusCode};

use crate::http_kit::{LEIGU, Site, rainstorm};

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_gateway_restores_to_what_it_had_and_only_an_admin_gets_it() {
    let site = Site::start().await;
    let (met, duty, admin) = (site.bureau(), site.role(Role::Duty), site.role(Role::Admin));
    let first = site.accepted(&rainstorm(1, &[LEIGU]), &met).await;
    site.wait_until_told(&first, &duty).await;
    assert_eq!(site.status(Method::GET, "/v1/backup", &duty).await, StatusCode::FORBIDDEN);
    let answer = site.call(Method::GET, "/v1/backup", &admin).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let bytes = answer.bytes().await.expect("the file");
    let later = site.accepted(&rainstorm(2, &[LEIGU]), &met).await;
    let home = tempfile::tempdir().expect("a directory");
    let (file, data) = (home.path().join("backup"), home.path().join("data"));
    fs::write(&file, &bytes).expect("written");
    store::restore(&file, &data, Some(&site.home.path().join("data.seal-key"))).expect("restored");
    let restored = app::open_stopped(&data).expect("opened");
    let had = |id: &str| restored.ledger().find(id.parse().expect("an id"));
    let shelf = had(&first).expect("the alert before");
    assert!(shelf.read().slots.iter().all(|slot| slot.attempts() > 0) && !shelf.read().slots.is_empty());
    assert!(had(&later).is_none());
    assert!(restored.snapshot().subscriber_count() > 0, "the registry is in it");
    site.stop().await;
}
