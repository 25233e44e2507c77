//! Owns people's answers as they come through a real Kannel from an operator's line: in UCS-2 and in the network's own letters.
//! Refuses to know how the program reads them. Invariant: what was sent from a handset is what the program says of that person.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    county::County,
    kannel::Kannel,
    program::{
        Gateway, new_key,
        process::{free_port, until},
        run, site,
    },
    smpp::Centre,
};

const DEADLINE: Duration = Duration::from_secs(30);
const TOKEN: &str = "reply-token-of-the-test";
const UCS2: u8 = 8;
const DEFAULT_ALPHABET: u8 = 0;
const POLICY: &str = r#"
[[rule]]
events = ["*"]
roles = ["*"]
channels = ["sms"]
answer = { roles = ["village_leader"], within = "10m" }
"#;

#[tokio::test]
async fn answers_of_handsets_are_understood_through_kannel_and_smpp() {
    let (dir, port, centre) = (TempDir::new().unwrap(), free_port(), Centre::start().await);
    let kannel = Kannel::bound_to(centre.port, &format!("http://127.0.0.1:{port}/v1/callbacks/sms/mas/reply?k={TOKEN}")).await;
    until("Kannel is bound", DEADLINE, async || centre.is_bound()).await;
    let county = County::new();
    let files = county.write(dir.path());
    let data = dir.path().join("data");
    let words = ["registry", "import"].into_iter().chain(files.iter().map(String::as_str));
    run(&words.chain(["--data", data.to_str().unwrap()]).collect::<Vec<_>>(), 0);
    let channel = format!(
        r#"
[channel.mas]
kind = "sms"
provider = "kannel"
url = "{}"
username = "lastmile"
password = "kannel"
from = "10620000"
callback_token = "{TOKEN}"
"#,
        kannel.sendsms
    );
    let config = site::configure(dir.path(), &data, port, "", POLICY, &channel);
    let (bureau, duty) = (new_key(&config, "met", "bureau", Some("met")), new_key(&config, "duty", "duty", None));
    let gateway = Gateway::start(&config, port).await;
    let (status, said) = gateway.post(&bureau, "/v1/alerts", "application/json", site::alert(1, site::COUNTY).to_string()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{said:#}");
    let alert = said["id"].as_str().unwrap();

    // Letters that hold the octets of a space, a plus, a percent sign and a zero are among them: 上 is 4E 0A, 不 4E 0D, 三 4E 09.
    let answers = [
        ("leader-1", UCS2, "收到", "received"),
        ("leader-2", UCS2, "3 求助", "help"),
        ("leader-3", UCS2, "2", "moved"),
        ("leader-4", UCS2, "3 我在山上，三个人，走不了", "help"),
        ("leader-5", DEFAULT_ALPHABET, "1", "received"),
    ];
    for (id, coding, text, _) in answers {
        let phone = &county.person(id).phone;
        until("the leader is told", DEADLINE, async || centre.has_taken_for(phone)).await;
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        centre.reply(phone, coding, if coding == UCS2 { &wide } else { text.as_bytes() }).await;
    }
    let house = &county.person("house-1-1").phone;
    let cry = "救命，河水进屋了，老人走不动";
    until("the household is told", DEADLINE, async || centre.has_taken_for(house)).await;
    centre.reply(house, UCS2, &cry.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>()).await;

    let answer_of = |calls: &Value, id: &str| {
        let mut items = calls["items"].as_array().unwrap().iter();
        items.find(|call| call["recipient"]["id"] == id).map(|call| call["choice"].clone()).unwrap_or_default()
    };
    let path = format!("/v1/alerts/{alert}/calls");
    until("all have answered", DEADLINE, async || {
        let calls = gateway.get(&duty, &path).await;
        answers.iter().all(|(id, ..)| answer_of(&calls, id).is_string())
    })
    .await;
    let calls = gateway.get(&duty, &path).await;
    for (id, _, text, choice) in answers {
        assert_eq!(answer_of(&calls, id), choice, "{text} of {id}: {calls:#}");
    }
    let help = gateway.get(&duty, "/v1/help").await;
    let words: Vec<&str> = help["items"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|item| item["spoken"].as_array().unwrap())
        .filter_map(|said| said["words"].as_str())
        .collect();
    for (wanted, is_there) in [("3 求助", true), ("3 我在山上，三个人，走不了", true), (cry, true), ("收到", false)] {
        assert_eq!(words.contains(&wanted), is_there, "{wanted}: {help:#}");
    }
}
