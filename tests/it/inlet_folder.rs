//! A folder as a way in: real files dropped into a running gateway, and where they lie afterwards.

use std::{
    fs,
    io::{Cursor, Write as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use lastmile::{
    access::Role,
    time::{Clock as _, SystemClock, Timestamp},
};
use reqwest::Method;
use serde_json::Value;
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::http_kit::{Holder, LEIGU, Site, new_home, rainstorm};

const TABLE: &str = "[inlet.drop]\nkind = \"folder\"\nsource = \"met\"\npath = \"drop\"\nevery = \"20ms\"\npatience = \"1s\"\n";

fn folder(home: &Path) -> PathBuf {
    let folder = home.join("drop");
    if !folder.exists() {
        fs::create_dir(&folder).expect("made");
    }
    folder
}

async fn watched() -> (Site, PathBuf) {
    let home = new_home();
    let folder = folder(home.path());
    (Site::at(home, "none", TABLE).await, folder)
}

/// A red rainstorm as the 12379 platform writes it, with its file name; `change` spoils it or not.
fn cn12379(number: u32, change: impl Fn(String) -> String) -> (String, String) {
    let now = SystemClock.now().whole_seconds();
    let stamp = |at: Timestamp| at.format("%Y-%m-%d %H:%M:%S%:z");
    let until = stamp(now.plus(Duration::from_secs(3_600)));
    let entered = now.minus(Duration::from_secs(u64::from(number))).format("%Y%m%d%H%M%S");
    let now = stamp(now);
    let text = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<alert xmlns="http://com.icss.amp">
<identifier>51072641600000_{entered}</identifier><sender>北川羌族自治县气象台</sender><senderCode>51072641600000</senderCode>
<sendTime>{now}</sendTime><status>Actual</status><msgType>Alert</msgType><scope>Public</scope>
<code><method><methodName>SMS</methodName><message></message></method></code>
<info><language>zh-CN</language><eventType>11B03</eventType><urgency>Unknown</urgency><severity>Red</severity><certainty>Unknown</certainty>
<effective>{now}</effective><expires>{until}</expires><senderName>张三</senderName>
<headline>北川羌族自治县气象台发布暴雨红色预警</headline><description>过去3小时累积雨量已达100毫米以上。</description>
<instruction>按明白卡路线转移到避险地点。</instruction>
<area><areaDesc>擂鼓镇</areaDesc><geocode>{LEIGU}000</geocode></area></info></alert>"#
    );
    (format!("51072641600000_{entered}_11B03_RED_ALERT.XML"), change(text))
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, SimpleFileOptions::default()).expect("started");
        writer.write_all(bytes).expect("written");
    }
    writer.finish().expect("finished").into_inner()
}

async fn appears(site: &Site, path: &Path) {
    site.until(&path.display().to_string(), async || path.exists()).await;
}

fn problems(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("a reason")).expect("json")
}

async fn alerts(site: &Site, duty: &Holder) -> Vec<Value> {
    site.get("/v1/alerts", duty).await["items"].as_array().expect("items").clone()
}

#[tokio::test]
async fn warnings_dropped_as_files_and_archives_go_out_and_are_put_away() {
    let (site, folder) = watched().await;
    let (name, text) = cn12379(1, |text| text);
    let (packed, inner) = cn12379(2, |text| text);
    let zip = packed.replace(".XML", ".ZIP");
    fs::write(folder.join(&name), text).expect("dropped");
    fs::write(folder.join(&zip), archive(&[(&packed, inner.as_bytes()), ("scan_P_00.jpg", b"scan")])).expect("dropped");
    fs::write(folder.join("alert.json"), rainstorm(3, &[LEIGU]).to_string()).expect("dropped");
    fs::write(folder.join(name.replace(".XML", "_P_00.jpg")), b"scan").expect("dropped");
    for name in [name.as_str(), &zip, "alert.json", &name.replace(".XML", "_P_00.jpg")] {
        appears(&site, &folder.join("done").join(name)).await;
        assert!(!folder.join(name).exists(), "{name} lies in two places");
    }
    let duty = site.role(Role::Duty);
    let known = alerts(&site, &duty).await;
    assert_eq!(known.len(), 3, "{known:?}");
    for alert in known {
        assert_eq!(alert["posted_by"], "inlet:drop", "{alert}");
        let told = site.wait_until_told(alert["id"].as_str().expect("an id"), &duty).await;
        assert!(told["people"]["reached"].as_u64().is_some_and(|reached| reached > 0), "{told}");
    }
    assert!(!folder.join("refused").exists());
    site.stop().await;
}

#[tokio::test]
async fn a_warning_that_breaks_rules_is_put_aside_with_every_fault() {
    let (site, folder) = watched().await;
    let duty = site.role(Role::Duty);
    let spoil = |text: String| text.replace("<sendTime>", "<sendTime>soon ").replace(">Red<", ">Pink<");
    let (name, text) = cn12379(1, spoil);
    fs::write(folder.join(&name), &text).expect("dropped");
    let (good, whole) = cn12379(2, |text| text);
    fs::write(folder.join("city.zip"), archive(&[(&good, whole.as_bytes()), (&name, text.as_bytes())])).expect("dropped");
    fs::write(folder.join("bomb.zip"), archive(&[("a.xml", &vec![b' '; 4 << 20])])).expect("dropped");
    appears(&site, &folder.join("refused").join(&name)).await;
    let posted = site.call(Method::POST, "/v1/alerts", &site.bureau()).body(text.clone()).send().await.expect("an answer");
    let posted: Value = posted.json().await.expect("json");
    let kept = problems(&folder.join("refused").join(format!("{name}.problems.json")));
    assert_eq!((&kept["problems"], &kept["type"], &kept["detail"]), (&posted["problems"], &posted["type"], &posted["detail"]));
    assert!(kept["problems"].as_array().is_some_and(|list| list.len() > 1), "{kept}");
    appears(&site, &folder.join("refused/city.zip")).await;
    let of_archive = problems(&folder.join("refused/city.zip.problems.json"));
    let path = of_archive["problems"][0]["path"].as_str().unwrap_or_default();
    assert!(path.starts_with(&format!("{name}: ")), "{of_archive}");
    appears(&site, &folder.join("refused/bomb.zip")).await;
    assert_eq!(problems(&folder.join("refused/bomb.zip.problems.json"))["problems"][0]["rule"], "packed-too-tightly");
    assert_eq!(alerts(&site, &duty).await.len(), 1, "the sound warning of the archive was taken");
    site.stop().await;
}

#[tokio::test]
async fn a_file_that_is_still_being_written_is_waited_for() {
    let (site, folder) = watched().await;
    let (name, text) = cn12379(1, |text| text);
    let (first, second) = text.split_at(text.len() / 2);
    let mut file = fs::File::create(folder.join(&name)).expect("created");
    file.write_all(first.as_bytes()).expect("begun");
    // The pause outlasts several looks: the half was read, found to have no form, and left.
    fs::write(folder.join("torn.xml"), "<alert>").expect("dropped");
    fs::write(folder.join("part.xml.filepart"), "<alert>").expect("dropped");
    fs::write(folder.join("later.json"), rainstorm(7, &[LEIGU]).to_string()).expect("dropped");
    appears(&site, &folder.join("done/later.json")).await;
    assert!(folder.join(&name).exists() && !folder.join("refused").exists());
    file.write_all(second.as_bytes()).expect("ended");
    drop(file);
    appears(&site, &folder.join("done").join(&name)).await;
    appears(&site, &folder.join("refused/torn.xml")).await;
    assert_eq!(problems(&folder.join("refused/torn.xml.problems.json"))["type"], "/problems/not-parseable");
    assert!(folder.join("part.xml.filepart").exists());
    site.stop().await;
}

#[tokio::test]
async fn a_cancel_that_overtook_its_warning_waits_for_it() {
    let (site, folder) = watched().await;
    let duty = site.role(Role::Duty);
    let (first, text) = cn12379(60, |text| text);
    let identifier = text.split_once("<identifier>").and_then(|(_, rest)| rest.split_once('<')).expect("an identifier").0.to_owned();
    let refer = |text: String| {
        text.replace("<msgType>Alert", "<msgType>Cancel").replace("<info>", &format!("<references>{identifier}</references><info>"))
    };
    let (update, later) = cn12379(1, refer);
    fs::write(folder.join(&update), later).expect("dropped");
    fs::write(folder.join("other.json"), rainstorm(7, &[LEIGU]).to_string()).expect("dropped");
    appears(&site, &folder.join("done/other.json")).await;
    // Put away, since the gateway itself keeps it until its warning comes.
    appears(&site, &folder.join("done").join(&update)).await;
    assert_eq!(alerts(&site, &duty).await.len(), 1);
    fs::write(folder.join(&first), text).expect("dropped");
    appears(&site, &folder.join("done").join(&first)).await;
    site.until("the cancel is taken in", async || alerts(&site, &duty).await.len() == 3).await;
    site.stop().await;
}

#[tokio::test]
async fn an_answer_that_could_not_be_acted_on_leads_to_a_repeat_and_nothing_is_overwritten() {
    let home = new_home();
    let folder = folder(home.path());
    // Where the shelf should be lies a file: warnings are taken, and cannot be moved.
    fs::write(folder.join("done"), "").expect("in the way");
    let site = Site::at(home, "none", TABLE).await;
    let duty = site.role(Role::Duty);
    let (name, text) = cn12379(1, |text| text);
    fs::write(folder.join(&name), &text).expect("dropped");
    site.until("the warning is known", async || alerts(&site, &duty).await.len() == 1).await;
    let home = site.into_home().await;
    assert!(folder.join(&name).exists());
    fs::remove_file(folder.join("done")).expect("removed");
    let site = Site::at(home, "none", TABLE).await;
    appears(&site, &folder.join("done").join(&name)).await;
    fs::write(folder.join(&name), &text).expect("dropped again");
    appears(&site, &folder.join("done").join(name.replace(".XML", "-2.XML"))).await;
    assert_eq!(alerts(&site, &duty).await.len(), 1, "taken once");
    site.stop().await;
}

#[tokio::test]
async fn files_wait_while_the_store_takes_nothing_and_while_the_folder_is_away() {
    let home = new_home();
    let folder = folder(home.path());
    let away = home.path().join("away");
    fs::rename(&folder, &away).expect("unmounted");
    let site = Site::at(home, "none", &TABLE.replace("inlet.drop", "inlet.away")).await;
    let said = |line: &str| lastmile::telemetry::metrics::render().contains(line);
    site.until("the loss is told", async || said("lastmile_inlet_up{inlet=\"away\"} 0")).await;
    fs::rename(&away, &folder).expect("mounted");
    let (name, text) = cn12379(1, |text| text);
    fs::write(folder.join(&name), &text).expect("dropped");
    appears(&site, &folder.join("done").join(&name)).await;
    site.app.gateway.stop(Duration::from_secs(5)).await.expect("the store is closed under the inlet");
    let (late, text) = cn12379(2, |text| text);
    fs::write(folder.join(&late), text).expect("dropped");
    site.until("it was tried", async || said("inlet=\"away\",outcome=\"put-off\"")).await;
    assert!(folder.join(&late).exists() && !folder.join("refused").exists());
}

#[tokio::test]
async fn links_lead_nothing_in_and_nothing_out_and_people_are_told() {
    let (site, folder) = watched().await;
    let admin = site.role(Role::Admin);
    let outside = new_home();
    let (done, secret) = (outside.path().join("theirs"), outside.path().join("warning.json"));
    fs::create_dir(&done).expect("made");
    fs::write(&secret, rainstorm(1, &[LEIGU]).to_string()).expect("written");
    symlink(&done, folder.join("done")).expect("linked");
    symlink(&secret, folder.join("linked.json")).expect("linked");
    fs::write(folder.join("own.json"), rainstorm(2, &[LEIGU]).to_string()).expect("dropped");
    let stuck = async |site: &Site| {
        let alarms = site.get("/v1/alarms", &admin).await;
        let open =
            alarms["items"].as_array().expect("items").iter().filter(|alarm| alarm["what"] == "inlet-stuck" && alarm["ended"].is_null());
        open.map(|alarm| format!("{} {}", alarm["about"].as_str().unwrap_or_default(), alarm["text"].as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    site.until("both are told", async || stuck(&site).await.len() == 2).await;
    let told = stuck(&site).await.join("\n");
    assert!(
        told.contains("drop 目录中有2个链接，不跟随：done、linked.json") && told.contains("drop own.json cannot be put away"),
        "{told}"
    );
    let duty = site.role(Role::Duty);
    assert_eq!(alerts(&site, &duty).await.len(), 1, "the file itself was taken, what the link leads to was not");
    assert!(folder.join("own.json").exists() && fs::read_dir(&done).expect("listed").next().is_none());

    fs::remove_file(folder.join("done")).expect("unlinked");
    fs::remove_file(folder.join("linked.json")).expect("unlinked");
    appears(&site, &folder.join("done/own.json")).await;
    site.until("the links are over", async || !stuck(&site).await.iter().any(|told| told.contains("链接"))).await;
    assert_eq!(alerts(&site, &duty).await.len(), 1);
    site.stop().await;
}
