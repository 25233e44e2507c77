//! The after-action report as a workbook, read back by another library.

use std::io::Cursor;

use calamine::{Data, Reader as _, Xlsx};
use lastmile::access::Role;
use reqwest::{Method, StatusCode};

use crate::http_kit::{Holder, QUSHAN, Site, rainstorm};

async fn workbook(site: &Site, id: &str, who: &Holder) -> Xlsx<Cursor<Vec<u8>>> {
    let answer = site.call(Method::GET, &format!("/v1/alerts/{id}/report.xlsx"), who).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    Xlsx::new(Cursor::new(answer.bytes().await.expect("the file").to_vec())).expect("a workbook")
}

fn cells(book: &mut Xlsx<Cursor<Vec<u8>>>, sheet: &str) -> Vec<Vec<String>> {
    let range = book.worksheet_range(sheet).unwrap_or_else(|error| panic!("{sheet}: {error}"));
    range.rows().map(|row| row.iter().map(Data::to_string).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workbook_holds_what_the_report_says_and_no_formula() {
    let site = Site::start().await;
    let (met, duty, viewer) = (site.bureau(), site.role(Role::Duty), site.role(Role::Viewer));
    let mut alert = rainstorm(1, &["510726"]);
    alert["headline"] = "=1+1".into();
    let id = site.accepted(&alert, &met).await;
    let view = site.wait_until_told(&id, &duty).await;
    let mut book = workbook(&site, &id, &duty).await;
    assert_eq!(book.sheet_names(), ["概况", "乡镇", "叫应", "失败原因", "发送明细"]);
    let summary = cells(&mut book, "概况");
    assert_eq!(summary[0][..2], ["标题".to_owned(), "=1+1".to_owned()]);
    assert!(book.worksheet_formula("概况").is_ok_and(|formulas| formulas.is_empty()));
    let targeted = summary.iter().find(|row| row[0] == "应到人数").map(|row| row[1].clone());
    assert_eq!(targeted, Some(view["people"]["targeted"].to_string()));
    assert_eq!(cells(&mut book, "乡镇").len(), 1 + 19);
    let deliveries = cells(&mut book, "发送明细");
    assert_eq!(deliveries.len() as u64, 1 + view["progress"]["deliveries"].as_u64().expect("a number"));
    let phones = |rows: &[Vec<String>]| rows[1..].iter().filter(|row| row[5].len() > 7 && !row[5].contains('*')).count();
    assert!(phones(&deliveries) > 0);
    let masked = cells(&mut workbook(&site, &id, &viewer).await, "发送明细");
    assert_eq!((masked.len(), phones(&masked)), (deliveries.len(), 0));
    let limited = site.key("qushan", Role::Viewer, None, &[QUSHAN]);
    let own = cells(&mut workbook(&site, &id, &limited).await, "发送明细");
    assert!(own.len() > 1 && own[1..].iter().all(|row| row[1].starts_with(QUSHAN)), "{} rows", own.len());
    site.stop().await;
}
