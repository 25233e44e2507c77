//! Owns the small county of the test: six villages of one township, who lives there, the configuration and the alert.
//! Refuses to know the peers beyond their addresses.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use lastmile::time::{Clock as _, SystemClock};

use crate::program::site::{self, SENDER};

/// 擂鼓镇 in the fixture's table.
pub(crate) const TOWNSHIP: &str = "510726101";
const VILLAGES: usize = 6;
const HOUSEHOLDS: usize = 3;
const SPEAKERS: usize = 3;
const ROBOT: &str = "693a91f6-7xxx-4bc4-97a0-0ec2sifa5aaa";
/// The real alert that the test re-addresses, when the collection is there.
const REAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus/cap/real/cn-cma-baoding-thunder-update.xml");
pub(crate) const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) area: String,
    pub(crate) role: &'static str,
    pub(crate) phone: String,
    pub(crate) mail: Option<String>,
    backup: Option<String>,
    hazard_point: &'static str,
}

pub(crate) struct County {
    pub(crate) people: Vec<Person>,
    /// Id and village.
    pub(crate) speakers: Vec<(String, String)>,
    villages: Vec<String>,
}

impl County {
    pub(crate) fn new() -> Self {
        let villages: Vec<String> = fs::read_to_string(format!("{FIXTURES}/beichuan/areas.csv"))
            .unwrap()
            .lines()
            .filter(|line| line.starts_with(TOWNSHIP) && line.contains(",village,"))
            .take(VILLAGES)
            .map(|line| line.split(',').next().unwrap().to_owned())
            .collect();
        assert_eq!(villages.len(), VILLAGES);
        let mut county = Self { people: Vec::new(), speakers: Vec::new(), villages: villages.clone() };
        county.add("county-duty", "510726", "county_duty", true);
        county.add("town-duty", TOWNSHIP, "town_duty", true);
        for (no, village) in (1..).zip(&villages) {
            county.add(&format!("grid-{no}"), village, "grid_worker", false);
            let leader = county.add(&format!("leader-{no}"), village, "village_leader", true);
            leader.backup = Some(format!("grid-{no}"));
            for house in 1..=HOUSEHOLDS {
                county.add(&format!("house-{no}-{house}"), village, "household", house == 1).hazard_point =
                    if no == 1 && house > 1 { "510726090001" } else { "" };
            }
        }
        county.add("monitor-1", &villages[0], "monitor", false);
        county.speakers = villages.iter().take(SPEAKERS).enumerate().map(|(no, village)| (format!("horn-{no}"), village.clone())).collect();
        county
    }

    fn add(&mut self, id: &str, area: &str, role: &'static str, has_mail: bool) -> &mut Person {
        // 154 is a segment that no operator is known to have been given.
        let phone = format!("154{:08}", self.people.len() + 1);
        let mail = has_mail.then(|| format!("{id}@beichuan.example"));
        self.people.push(Person { id: id.into(), area: area.into(), role, phone, mail, backup: None, hazard_point: "" });
        self.people.last_mut().unwrap()
    }

    pub(crate) fn person(&self, id: &str) -> &Person {
        self.people.iter().find(|person| person.id == id).unwrap()
    }

    /// The files that `lastmile registry import` reads.
    pub(crate) fn write(&self, dir: &Path) -> Vec<String> {
        let mut areas = String::from("code,name,level,parent,lon,lat\n");
        for line in fs::read_to_string(format!("{FIXTURES}/beichuan/areas.csv")).unwrap().lines().skip(1) {
            let code = line.split(',').next().unwrap();
            if TOWNSHIP.starts_with(code) || self.villages.iter().any(|village| village == code) {
                areas.push_str(&format!("{line}\n"));
            }
        }
        let mut people = String::from("id,area,name,role,phone,email,hazard_point,backup\n");
        for person in &self.people {
            let (mail, backup) = (person.mail.as_deref().unwrap_or_default(), person.backup.as_deref().unwrap_or_default());
            let Person { id, area, role, phone, hazard_point, .. } = person;
            people.push_str(&format!("{id},{area},某{id},{role},{phone},{mail},{hazard_point},{backup}\n"));
        }
        let mut speakers = String::from("id,area,name,kind\n");
        for (id, village) in &self.speakers {
            speakers.push_str(&format!("{id},{village},村口,horn\n"));
        }
        let village = &self.villages[0];
        let points = format!(
            "code,name,kind,area,people,monitor,sign,alarm,route,shelter\n\
             510726090001,后山滑坡,滑坡,{village},8,monitor-1,裂缝,敲锣,沿村道向东,村小学操场\n"
        );
        let endpoints = format!("id,area,kind,name,address\ngroup,{TOWNSHIP},wecom_robot,防汛群,{ROBOT}\n");
        let files =
            [("areas", areas), ("hazard_points", points), ("subscribers", people), ("speakers", speakers), ("endpoints", endpoints)];
        let written = files.map(|(name, text)| {
            let path = dir.join(format!("{name}.csv"));
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        });
        written.to_vec()
    }
}

/// Where the peers are.
pub(crate) struct Peers<'a> {
    pub(crate) sendsms: &'a str,
    pub(crate) smtp: u16,
    pub(crate) mqtt: u16,
    pub(crate) robots: &'a str,
}

/// Nobody waits five minutes for a test.
const POLICY: &str = r#"
[[rule]]
events = ["*"]
roles = ["*"]
channels = ["speaker", "sms", "wechat", "email"]
answer = { roles = ["town_duty", "village_leader", "monitor"], within = "3s", then = ["backup", "town_duty", "county_duty"] }
retry_until = "expires"
repeat_speaker = 2
"#;

pub(crate) fn configure(dir: &Path, port: u16, token: &str, peers: &Peers<'_>) -> PathBuf {
    let Peers { sendsms, smtp, mqtt, robots } = peers;
    let channels = format!(
        r#"
[channel.mas]
kind = "sms"
provider = "kannel"
url = "{sendsms}"
username = "lastmile"
password = "kannel"
from = "10620000"
dlr = true
callback_token = "{token}"
retry = ["500ms", "1s", "2s"]

[channel.post]
kind = "email"
provider = "smtp"
host = "127.0.0.1"
port = {smtp}
tls = "none"
from = "北川预警 <alert@county.example>"

[channel.speakers]
kind = "speaker"
provider = "mqtt"
broker = "mqtt://127.0.0.1:{mqtt}"
prefix = "lastmile/v1"

[channel.groups]
kind = "wechat"
provider = "wecom_robot"
url = "{robots}"
"#
    );
    site::configure(dir, &dir.join("data"), port, "", POLICY, &channels)
}

/// A CAP 1.2 alert for the township, sent now; a real one re-addressed where the collection is there.
pub(crate) fn alert() -> String {
    let text = fs::read_to_string(REAL).unwrap_or_else(|_| {
        eprintln!("NOTE: no collection of real alerts beside the project: the fixture's alert is posted instead");
        fs::read_to_string(format!("{FIXTURES}/alerts/rainstorm-red.cap.xml")).unwrap()
    });
    let now = SystemClock.now().whole_seconds();
    let (sent, expires) = (now.to_seconds_string(), now.plus(Duration::from_secs(3 * 3_600)).to_seconds_string());
    let identifier = format!("{SENDER}_{}", now.format("%Y%m%d%H%M%S"));
    let mut text = without(&text, "references");
    for (element, value) in [
        ("identifier", identifier.as_str()),
        ("sender", SENDER),
        ("sent", &sent),
        ("msgType", "Alert"),
        ("effective", &sent),
        ("onset", &sent),
        ("expires", &expires),
        ("senderName", "北川羌族自治县气象台"),
        ("areaDesc", "擂鼓镇"),
    ] {
        text = with(&text, element, value);
    }
    if !text.contains("<eventCode>") {
        text = text.replace("<effective>", "<eventCode><valueName>12379</valueName><value>11B14</value></eventCode><effective>");
    }
    ["130602000000", "510726102000"].into_iter().fold(text, |text, code| text.replace(code, &format!("{TOWNSHIP}000")))
}

/// Every `<element>` with this content instead of its own.
pub(crate) fn with(text: &str, element: &str, value: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let mut pieces = text.split(&open);
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.split_once(&close).map_or(piece, |(_, rest)| rest);
        whole.push_str(&format!("{open}{value}{close}{rest}"));
    }
    whole
}

fn without(text: &str, element: &str) -> String {
    let close = format!("</{element}>");
    match text.split_once(&format!("<{element}>")).and_then(|(before, rest)| Some((before, rest.split_once(&close)?.1))) {
        Some((before, after)) => format!("{before}{after}"),
        None => text.to_owned(),
    }
}
