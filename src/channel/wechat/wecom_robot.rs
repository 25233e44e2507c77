//! Owns `wechat/wecom_robot`: posts to WeCom group robots by webhook, and what their error codes mean.
//! Refuses to know who reads the group: a robot has no receipts of any kind.
//! Invariant: a robot that is gone or wrong is that endpoint's fault and never parks the account; only what is said of our address does.

use std::sync::Arc;

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesOrdered};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::json;

use super::robot_pace::Pace;
use crate::{
    channel::{
        Batching, BuildError, Callback, Channel,
        Class::{Misconfigured, Reject, Retry, Throttled, Unknown},
        Common,
        Concerns::{Account, Message, Provider, Recipient, Request},
        Context, Driver, Failure, Kind, Meaning, Prepared, Proof, Reach, Reception, ReportSink, Verdict,
        answers::{code, codes, happens, of_number},
        callback, common,
        http_client::{Answer, HttpClient, STATUSES, TALKS},
    },
    fault::Fault,
    message::{Form, Outgoing},
    net::web_url,
    time::SharedClock,
};

pub const DRIVER: Driver = Driver { kind: Kind::Wechat, provider: "wecom_robot", check, answers: &[&CODES, &REST, &STATUSES, &TALKS] };

const REACHES: [Reach; 1] = [Reach::Endpoints("wecom_robot")];
const WECOM: &str = "https://qyapi.weixin.qq.com";
const PATH: &str = "/cgi-bin/webhook/send";
/// What WeCom lets one robot post.
const POSTS_PER_MINUTE: u64 = 20;
/// Keys are UUIDs; this leaves room for a successor and none for an essay.
const KEY_BYTES_MAX: usize = 128;
/// "Back off to the next minute, do not drop."
const BACK_OFF: std::time::Duration = std::time::Duration::from_secs(60);

#[derive(Clone, Copy)]
struct Format {
    name: &'static str,
    bytes_max: u32,
}

const FORMATS: [Format; 3] = [
    Format { name: "markdown", bytes_max: 4_096 },
    Format { name: "markdown_v2", bytes_max: 4_096 },
    Format { name: "text", bytes_max: 2_048 },
];

struct Robots {
    name: String,
    url: Url,
    format: Format,
    pace: Pace,
    http: HttpClient,
    clock: SharedClock,
}

struct Settings {
    url: Url,
    format: Format,
    posts: usize,
    ca: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    errcode: i64,
    #[serde(default)]
    errmsg: String,
}

fn check(name: &str, table: &toml::Table) -> Result<Prepared, Vec<Fault>> {
    let mut keys = common::keys(name, table);
    let common = common::common(&mut keys);
    let url = web_url::or_default(&mut keys, "url", WECOM);
    let word = keys.word("format", &FORMATS.map(|format| format.name), FORMATS[0].name);
    let format = FORMATS.into_iter().find(|format| format.name == word).unwrap_or(FORMATS[0]);
    let posts = usize::try_from(keys.number("robot_per_minute", 1..=1_000, POSTS_PER_MINUTE)).unwrap_or(1);
    let ca = keys.text("ca");
    let name = name.to_owned();
    keys.finish(Settings { url, format, posts, ca }).map(|settings| Prepared {
        name: name.clone(),
        kind: Kind::Wechat,
        provider: "wecom_robot",
        common: common.clone(),
        build: Box::new(move |context| build(name, &common, settings, context)),
    })
}

fn build(name: String, common: &Common, settings: Settings, context: Context) -> Result<Arc<dyn Channel>, BuildError> {
    let http = HttpClient::of_account(&name, common, settings.ca.as_deref(), Vec::new(), &context)?;
    let Settings { mut url, format, posts, .. } = settings;
    let path = format!("{}{PATH}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(Arc::new(Robots { name, url, format, pace: Pace::new(posts), http, clock: context.clock }))
}

impl Robots {
    async fn send_one(&self, post: &Outgoing) -> Verdict {
        match self.hand_over(post).await {
            Ok(()) => Verdict::Accepted { provider_ref: None },
            Err(failure) => Verdict::Failed(failure),
        }
    }

    async fn hand_over(&self, post: &Outgoing) -> Result<(), Failure> {
        let key = self.key(&post.to)?;
        if post.text.len() > usize::try_from(self.format.bytes_max).unwrap_or(usize::MAX) {
            let detail = format!("{} bytes, of which the robot takes {}", post.text.len(), self.format.bytes_max);
            return Err(self.http.failure(Reject, Message, "too-long", &detail));
        }
        self.pace.take(&key, self.clock.now()).map_err(|wait| {
            let detail = "this robot has posted as often as it may within a minute";
            Failure { retry_after: Some(wait), ..self.http.failure(Throttled, Recipient, "robot-pace", detail) }
        })?;
        let mut url = self.url.clone();
        url.query_pairs_mut().append_pair("key", &key);
        let body = json!({ "msgtype": self.format.name, self.format.name: { "content": post.text } });
        let mut answer = self.http.send(self.http.request(Method::POST, url).json(&body)).await?;
        answer.hide(&key);
        self.judge(&answer)
    }

    /// The robot's key, given bare or in the webhook address that WeCom shows; a foreign address gets nothing from us.
    fn key(&self, address: &str) -> Result<String, Failure> {
        let bad = |detail| self.http.failure(Reject, Recipient, "bad-address", detail);
        let key = if address.contains("://") {
            let url: Url = address.parse().map_err(|_| bad("the endpoint's address is neither a robot's key nor a webhook address"))?;
            if url.origin() != self.url.origin() {
                return Err(bad("the endpoint's webhook address has another host than this account's url"));
            }
            let key = url.query_pairs().find(|(name, _)| name == "key").map(|(_, value)| value.into_owned());
            key.ok_or_else(|| bad("the endpoint's webhook address has no key"))?
        } else {
            address.to_owned()
        };
        let is_key =
            (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if is_key { Ok(key) } else { Err(bad("the endpoint's address is not a robot's key")) }
    }

    fn judge(&self, answer: &Answer) -> Result<(), Failure> {
        if let Some(failure) = self.http.judge_status(answer) {
            return Err(failure);
        }
        let said: Said = serde_json::from_slice(&answer.body)
            .map_err(|_| self.http.failure(Unknown, Provider, "garbage", &format!("{}: {}", answer.status, answer.text())))?;
        match meaning(said.errcode) {
            None => Ok(()),
            Some(&Meaning { class, concerns, reason, .. }) => {
                let failure = self.http.failure(class, concerns, reason, &format!("errcode {}: {}", said.errcode, said.errmsg));
                Err(Failure { retry_after: (class == Throttled).then_some(answer.retry_after.unwrap_or(BACK_OFF)), ..failure })
            }
        }
    }
}

/// WeCom's codes for a robot's post (§ global error codes of its documentation). What is not listed is no last word about a group.
const CODES: [Meaning; 29] = [
    code(-1, Retry, Provider, "busy"),
    // A robot has no token that could be fetched anew: its key is wrong.
    code(40001, Reject, Recipient, "bad-key"),
    codes(40013, 40014, Reject, Recipient, "bad-key"),
    code(40008, Reject, Request, "bad-type"),
    code(40058, Reject, Request, "bad-parameter"),
    codes(40002, 40999, Reject, Request, "bad-parameter"),
    codes(41000, 41999, Reject, Request, "bad-parameter"),
    code(42014, Reject, Request, "bad-task-id"),
    codes(43000, 43999, Reject, Request, "bad-parameter"),
    codes(44000, 44999, Reject, Message, "words-refused"),
    code(45002, Reject, Message, "too-long"),
    codes(45003, 45008, Reject, Message, "too-long"),
    // By the robot and by the minute; the others by our address or by the second.
    code(45009, Throttled, Recipient, "too-often"),
    code(45011, Throttled, Provider, "too-often"),
    code(45033, Throttled, Provider, "too-often"),
    code(45047, Throttled, Recipient, "too-often"),
    code(46004, Reject, Recipient, "no-recipient"),
    code(48002, Misconfigured, Account, "forbidden"),
    code(48004, Misconfigured, Account, "forbidden"),
    codes(50001, 50003, Misconfigured, Account, "forbidden"),
    code(60011, Misconfigured, Account, "forbidden"),
    // Our address is not one of those that may post.
    code(60020, Misconfigured, Account, "address-not-allowed"),
    codes(81011, 81013, Reject, Recipient, "no-recipient"),
    code(93000, Reject, Recipient, "robot-removed"),
    code(93004, Reject, Recipient, "robot-removed"),
    code(93008, Reject, Recipient, "robot-removed"),
    code(301002, Misconfigured, Account, "forbidden"),
    code(302003, Reject, Message, "words-refused"),
    code(301056, Throttled, Provider, "too-often"),
];
const UNLISTED: Meaning = happens("any other errcode", Retry, Request, "unlisted-code");
const REST: [Meaning; 5] = [
    UNLISTED,
    happens("2xx without an errcode", Unknown, Provider, "garbage"),
    happens("the text is longer than a robot takes", Reject, Message, "too-long"),
    happens("the address is no robot's", Reject, Recipient, "bad-address"),
    happens("the robot has posted as often as it may", Throttled, Recipient, "robot-pace"),
];

fn meaning(errcode: i64) -> Option<&'static Meaning> {
    (errcode != 0).then(|| of_number(&CODES, errcode).unwrap_or(&UNLISTED))
}

impl Channel for Robots {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> Kind {
        Kind::Wechat
    }

    fn reaches(&self) -> &[Reach] {
        &REACHES
    }

    fn form(&self) -> Form {
        Form::Post { bytes_max: self.format.bytes_max, markdown: self.format.name != "text" }
    }

    fn proof(&self) -> Proof {
        Proof::AcceptedOnly
    }

    fn batching(&self) -> Batching {
        Batching::One
    }

    fn send<'a>(&'a self, batch: &'a [Outgoing]) -> BoxFuture<'a, Vec<Verdict>> {
        Box::pin(batch.iter().map(|post| self.send_one(post)).collect::<FuturesOrdered<_>>().collect())
    }

    fn receive(&self, _callback: &Callback) -> Result<Reception, Failure> {
        Err(callback::malformed("a group robot reports nothing"))
    }

    fn start(&self, _reports: ReportSink) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::contract_kit::{FarEnd, build, failure, faults, message, send_one};

    const KEY: &str = "693a91f6-7aoc-4bc4-97a0-0ec2sifa5aaa";

    #[tokio::test]
    async fn a_post_carries_its_text_to_the_robot_of_its_key() {
        for format in FORMATS {
            let far_end = FarEnd::open(200, r#"{"errcode":0,"errmsg":"ok"}"#).await;
            let channel = build(Kind::Wechat, "wecom_robot", &format!("url = \"{}/\"\nformat = \"{}\"", far_end.base(), format.name));
            let whole = format!("{}/cgi-bin/webhook/send?key={KEY}", far_end.base());
            for to in [KEY, &whole] {
                assert_eq!(send_one(channel.as_ref(), message(1, to)).await, Verdict::Accepted { provider_ref: None });
            }
            for asked in far_end.asked() {
                assert_eq!(
                    (asked.method.as_str(), asked.uri.path(), asked.uri.query()),
                    ("POST", PATH, Some(format!("key={KEY}").as_str()))
                );
                let body: serde_json::Value = serde_json::from_str(&asked.body).expect("json");
                assert_eq!(body, json!({ "msgtype": format.name, format.name: { "content": message(1, KEY).text } }));
                assert!(asked.headers["content-type"].to_str().expect("text").starts_with("application/json"));
            }
        }
    }

    #[tokio::test]
    async fn every_error_code_has_its_class_and_no_robot_parks_the_account() {
        let far_end = FarEnd::open(200, "").await;
        let channel = build(Kind::Wechat, "wecom_robot", &format!("url = \"{}\"", far_end.base()));
        for (index, (errcode, class, reason)) in [
            (-1, Retry, "busy"),
            (40001, Reject, "bad-key"),
            (40014, Reject, "bad-key"),
            (40008, Reject, "bad-type"),
            (40058, Reject, "bad-parameter"),
            (42014, Reject, "bad-task-id"),
            (45009, Throttled, "too-often"),
            (81013, Reject, "no-recipient"),
            (93000, Reject, "robot-removed"),
            (45033, Throttled, "too-often"),
            (45011, Throttled, "too-often"),
            (60020, Misconfigured, "address-not-allowed"),
            (40039, Reject, "bad-parameter"),
            (99999, Retry, "unlisted-code"),
        ]
        .into_iter()
        .enumerate()
        {
            let key = format!("key-{index}-of-a-robot");
            far_end.says(200, &json!({ "errcode": errcode, "errmsg": format!("hint {key}") }).to_string());
            let failure = failure(send_one(channel.as_ref(), message(1, &key)).await);
            assert_eq!((failure.class, failure.reason), (class, reason), "{errcode}");
            assert_eq!(failure.retry_after, (class == Throttled).then_some(BACK_OFF));
            assert!(!failure.to_string().contains(&key), "{failure}");
        }
    }

    #[tokio::test]
    async fn a_robot_is_not_asked_more_than_twenty_times_a_minute() {
        let far_end = FarEnd::open(200, r#"{"errcode":0}"#).await;
        let channel = build(Kind::Wechat, "wecom_robot", &format!("url = \"{}\"", far_end.base()));
        let batch: Vec<Outgoing> = (0..25).map(|index| message(index, KEY)).collect();
        let verdicts = channel.send(&batch).await;
        assert_eq!(verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Accepted { .. })).count(), 20);
        assert_eq!(far_end.asked().len(), 20);
        let over = failure(verdicts[24].clone());
        assert_eq!((over.class, over.retry_after), (Throttled, Some(BACK_OFF)));
        assert_eq!(send_one(channel.as_ref(), message(30, "another")).await, Verdict::Accepted { provider_ref: None });
    }

    #[tokio::test]
    async fn what_cannot_be_posted_is_refused_without_asking() {
        let far_end = FarEnd::open(200, r#"{"errcode":0}"#).await;
        let channel = build(Kind::Wechat, "wecom_robot", &format!("url = \"{}\"\nformat = \"text\"", far_end.base()));
        let long = Outgoing { text: "预".repeat(683), ..message(1, KEY) };
        assert_eq!(failure(send_one(channel.as_ref(), long).await).reason, "too-long");
        let foreign = format!("https://evil.example/cgi-bin/webhook/send?key={KEY}");
        for address in [foreign.as_str(), "http://", "", "a b", &far_end.base()] {
            let failure = failure(send_one(channel.as_ref(), message(1, address)).await);
            assert_eq!((failure.class, failure.reason), (Reject, "bad-address"), "{address}");
            assert!(!failure.detail.contains(KEY));
        }
        assert!(far_end.asked().is_empty());
    }

    #[test]
    fn a_strange_address_or_format_is_at_fault_and_an_empty_table_is_not() {
        assert!(faults(Kind::Wechat, "wecom_robot", "").is_empty());
        let paths = faults(Kind::Wechat, "wecom_robot", "url = \"qyapi\"\nformat = \"card\"");
        assert_eq!(paths, ["channel.acc-1.url", "channel.acc-1.format"]);
    }
}
