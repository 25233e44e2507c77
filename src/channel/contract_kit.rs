//! What every provider behind HTTP owes the engine, asked of each over the wire: classes, one verdict per message,
//! nothing secret in a failure, and no callback of a stranger believed.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::IntoResponse,
};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{Callback, Channel, Class, Concerns, Context, Failure, Kind, News, Verdict, common, drivers};
use crate::{
    channel::email::test_letter,
    message::Outgoing,
    time::{ManualClock, Timestamp},
};

pub(crate) const NOW: Timestamp = Timestamp::from_ms(1_784_772_960_000);
pub(crate) const PHONE: &str = "13800138000";
const SECRET: &str = "s3cret-W0rd";

/// One request as the far end saw it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

#[derive(Default)]
struct Script {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: String,
    asked: Vec<Asked>,
}

/// A far end on loopback that answers every request as it was last told to.
pub(crate) struct FarEnd {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: JoinHandle<()>,
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FarEnd {
    pub(crate) async fn open(status: u16, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let script = Arc::new(Mutex::new(Script { status, body: body.to_owned(), ..Script::default() }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&script));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self { address, script, task }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn says(&self, status: u16, body: &str) {
        let mut script = self.script.lock().expect("script");
        (script.status, script.body) = (status, body.to_owned());
    }

    fn adds(&self, name: &'static str, value: &'static str) {
        self.script.lock().expect("script").headers.push((name, value));
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script.lock().expect("script").asked.clone()
    }
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let mut script = script.lock().expect("script");
    script.asked.push(Asked { method, uri, headers, body: String::from_utf8(body.to_vec()).expect("text") });
    let added: HeaderMap = script
        .headers
        .iter()
        .map(|(name, value)| (axum::http::HeaderName::from_static(name), axum::http::HeaderValue::from_static(value)))
        .collect();
    (StatusCode::from_u16(script.status).expect("a status"), added, script.body.clone())
}

pub(crate) fn context() -> Context {
    Context {
        clock: Arc::new(ManualClock::at(NOW)),
        public_url: "https://alert.county.example".to_owned(),
        callback_key: Arc::new([7; 32]),
        base_dir: std::env::temp_dir(),
        seed: 1,
        builtin_broker: None,
    }
}

pub(crate) fn build(kind: Kind, provider: &str, table: &str) -> Arc<dyn Channel> {
    let driver = drivers::find(kind, provider).expect("a provider of the list");
    let table: toml::Table = table.parse().expect("toml");
    let prepared = (driver.check)("acc-1", &table).unwrap_or_else(|faults| panic!("{provider}: {faults:?}"));
    (prepared.build)(context()).expect("builds")
}

pub(crate) fn faults(kind: Kind, provider: &str, table: &str) -> Vec<String> {
    let driver = drivers::find(kind, provider).expect("a provider of the list");
    match (driver.check)("acc-1", &table.parse().expect("toml")) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.into_iter().map(|fault| fault.path).collect(),
    }
}

pub(crate) fn message(index: u32, to: &str) -> Outgoing {
    Outgoing { to: to.to_owned(), text: "【北川预警】暴雨红色预警，请立即转移。".to_owned(), ..test_letter(index) }
}

pub(crate) fn called(what: &str, query: &str, content_type: Option<&str>, body: &str) -> Callback {
    Callback {
        what: what.to_owned(),
        method: "POST".to_owned(),
        query: query.to_owned(),
        content_type: content_type.map(str::to_owned),
        body: body.to_owned().into(),
    }
}

pub(crate) async fn send_one(channel: &dyn Channel, message: Outgoing) -> Verdict {
    let mut verdicts = channel.send(&[message]).await;
    assert_eq!(verdicts.len(), 1);
    verdicts.remove(0)
}

pub(crate) fn failure(verdict: Verdict) -> Failure {
    match verdict {
        Verdict::Failed(failure) => failure,
        Verdict::Accepted { .. } => panic!("was accepted"),
    }
}

/// A provider, how to reach it, and where it means something else by a status than the common table.
struct Provider {
    kind: Kind,
    provider: &'static str,
    table: fn(&str) -> String,
    /// What the account holds that must never be told; a robot's secret is its address.
    secret: &'static str,
    to: fn(u32) -> String,
    accepted: (u16, &'static str),
    differs: &'static [(u16, Class)],
}

fn providers() -> Vec<Provider> {
    vec![kannel(), wecom_robot(), gateway()]
}

fn gateway() -> Provider {
    let table = |base: &str| {
        format!(
            "url = \"{base}/send?to={{{{ to|urlencode }}}}&key={{{{ secret|urlencode }}}}\"\nsecret = \"{SECRET}\"\ntimeout = \"1s\"\n\
             ok = {{ path = \"/code\", equals = [\"0\"] }}\nbody = \"{{{{ text|urlencode }}}}\""
        )
    };
    Provider {
        kind: Kind::Sms,
        provider: "http",
        table,
        secret: SECRET,
        to: |_| PHONE.to_owned(),
        accepted: (200, r#"{"code":0}"#),
        differs: &[],
    }
}

fn kannel() -> Provider {
    Provider {
        kind: Kind::Sms,
        provider: "kannel",
        table: |base| format!("url = \"{base}/cgi-bin/sendsms\"\nusername = \"gw\"\npassword = \"{SECRET}\"\ntimeout = \"1s\""),
        secret: SECRET,
        to: |_| PHONE.to_owned(),
        accepted: (202, "0: Accepted for delivery"),
        differs: &[],
    }
}

fn wecom_robot() -> Provider {
    Provider {
        kind: Kind::Wechat,
        provider: "wecom_robot",
        table: |base| format!("url = \"{base}\"\ntimeout = \"1s\""),
        secret: "nothing",
        to: |index| format!("693a91f6-7aoc-4bc4-97a0-1234567890-{index}"),
        accepted: (200, r#"{"errcode":0,"errmsg":"ok"}"#),
        differs: &[],
    }
}

/// What a status means by itself; under a good one the odd words of the body are what is wrong.
fn class_of(status: u16) -> Class {
    match status {
        429 => Class::Throttled,
        300..=399 | 401..=407 | 410..=412 | 415 => Class::Misconfigured,
        408 | 425 | 500..=503 | 505..=599 => Class::Retry,
        400..=499 => Class::Reject,
        _ => Class::Unknown,
    }
}

fn assert_clean(failure: &Failure, to: &str) {
    let printed = format!("{failure} {failure:?}");
    assert!(!printed.contains(SECRET) && !printed.contains(PHONE) && !printed.contains(to), "{printed}");
    assert!(failure.detail.chars().count() <= 300, "{printed}");
    assert!(!failure.reason.is_empty() && failure.reason.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
}

#[tokio::test]
async fn every_status_has_its_class_and_no_failure_tells_a_secret() {
    for provider in providers() {
        let far_end = FarEnd::open(200, "").await;
        let channel = build(provider.kind, provider.provider, &(provider.table)(&far_end.base()));
        for status in 200..=599_u16 {
            let to = (provider.to)(u32::from(status));
            far_end.says(status, &format!("odd {} at {to} and {PHONE} {}", provider.secret, "x".repeat(400)));
            let failure = failure(send_one(channel.as_ref(), message(u32::from(status), &to)).await);
            let expected = provider.differs.iter().find(|(known, _)| *known == status).map_or(class_of(status), |&(_, class)| class);
            assert_eq!(failure.class, expected, "{} {status}: {failure}", provider.provider);
            assert_clean(&failure, &to);
        }
    }
}

/// Everything that is logged on this thread, down to the finest level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_line_tells_a_secret_or_a_whole_number() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    let _kept = tracing::subscriber::set_default(subscriber);
    for provider in providers() {
        let far_end = FarEnd::open(200, "").await;
        let channel = build(provider.kind, provider.provider, &(provider.table)(&far_end.base()));
        let to = (provider.to)(1);
        for status in [200, 302, 400, 403, 429, 500] {
            far_end.says(status, &format!("odd {} at {to} and {PHONE}", provider.secret));
            failure(send_one(channel.as_ref(), message(1, &to)).await);
        }
        for what in ["status", "reply"] {
            let call = called(what, &format!("k={SECRET}&from={PHONE}&text=1&to={to}"), None, PHONE);
            if let Ok(reception) = channel.receive(&call) {
                assert!(reception.reports.is_empty(), "{reception:?}");
            }
        }
        let told = String::from_utf8(log.0.lock().expect("log").clone()).expect("text");
        assert!(!told.contains(SECRET) && !told.contains(PHONE) && !told.contains(&to), "{}: {told}", provider.provider);
    }
    assert!(!log.0.lock().expect("log").is_empty(), "the refused callbacks are logged");
}

#[tokio::test]
async fn a_batch_gets_one_verdict_for_each_message_and_is_asked_once_each() {
    for provider in providers() {
        let far_end = FarEnd::open(provider.accepted.0, provider.accepted.1).await;
        let channel = build(provider.kind, provider.provider, &(provider.table)(&far_end.base()));
        let batch: Vec<Outgoing> = (0..5).map(|index| message(index, &(provider.to)(index))).collect();
        let verdicts = channel.send(&batch).await;
        assert_eq!(verdicts.len(), batch.len());
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Accepted { .. })), "{}: {verdicts:?}", provider.provider);
        assert_eq!(far_end.asked().len(), batch.len());
        assert!(channel.send(&[]).await.is_empty());
    }
}

#[tokio::test]
async fn a_door_that_is_shut_may_be_tried_again_and_a_silent_far_end_is_unknown() {
    for provider in providers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let to = (provider.to)(1);
        let channel = build(provider.kind, provider.provider, &(provider.table)(&format!("http://{address}")));
        let silent = failure(send_one(channel.as_ref(), message(1, &to)).await);
        assert_eq!((silent.class, silent.reason), (Class::Unknown, "timeout"), "{silent}");
        assert_clean(&silent, &to);

        let hangs_up = tokio::spawn(async move {
            // The connection of the silent try, then the one that is cut after its request has come.
            for _ in 0..2 {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.readable().await.expect("a request");
            }
        });
        let cut = failure(send_one(channel.as_ref(), message(2, &to)).await);
        assert_eq!((cut.class, cut.reason), (Class::Unknown, "reset"), "{cut}");
        hangs_up.await.expect("hung up");

        let refused = failure(send_one(channel.as_ref(), message(3, &to)).await);
        assert_eq!((refused.class, refused.reason), (Class::Retry, "connect"), "{refused}");
        assert_clean(&refused, &to);
    }
}

#[tokio::test]
async fn a_far_end_says_how_long_to_wait_and_an_endless_answer_is_cut() {
    for provider in providers() {
        let far_end = FarEnd::open(429, "slow down").await;
        far_end.adds("retry-after", "17");
        let channel = build(provider.kind, provider.provider, &(provider.table)(&far_end.base()));
        let throttled = failure(send_one(channel.as_ref(), message(1, &(provider.to)(1))).await);
        assert_eq!((throttled.class, throttled.retry_after), (Class::Throttled, Some(Duration::from_secs(17))));
        far_end.says(200, &"{".repeat(1 << 20));
        assert_eq!(failure(send_one(channel.as_ref(), message(2, &(provider.to)(2))).await).class, Class::Unknown);
    }
}

#[test]
fn strangers_calls_report_nothing() {
    for provider in providers() {
        let channel = build(provider.kind, provider.provider, &(provider.table)("http://127.0.0.1:9"));
        for what in ["status", "reply", "", "other"] {
            for query in ["", "id=00000007000c1&k=0&d=1", "id=0000003g00001&k=00000000000000000000000000000000&d=1", "from=1&text=1&k="] {
                match channel.receive(&called(what, query, None, "")) {
                    Ok(reception) => assert!(reception.reports.is_empty() && reception.status == 403, "{what}?{query}: {reception:?}"),
                    Err(failure) => assert_eq!(failure.reason, "bad-callback", "{what}?{query}"),
                }
            }
        }
    }
}

/// What a driver does with a call that brings no secret, or a wrong one.
enum Strangers {
    /// Nobody calls it.
    NotCalled,
    /// 403 and no report, with and without a secret in its table. What each is called with, and what with.
    Refused { tables: &'static [&'static str], whats: &'static [&'static str], body: &'static str },
}

/// A new driver has no rule here, and the test below fails until it has one.
fn strangers(kind: Kind, provider: &str) -> Strangers {
    const KANNEL: &str = "url = \"http://127.0.0.1:9/\"\nusername = \"gw\"\npassword = \"s3cret-W0rd\"";
    const KANNEL_TOKEN: &str = "url = \"http://127.0.0.1:9/\"\nusername = \"gw\"\npassword = \"s3cret-W0rd\"\ncallback_token = \"tok\"";
    const HTTP: &str = "url = \"http://127.0.0.1:9/\"\ncallback_token = \"tok\"\n[receipt]\nid = \"/id\"\nstatus = \"/d\"\ndelivered = [\"1\"]\n\
                        [answer]\nform = \"query\"\nfrom = \"/from\"\ntext = \"/text\"";
    const MAIL: &str = "host = \"127.0.0.1\"\nfrom = \"alert@county.example\"\ntls = \"none\"";
    const MAIL_DSN: &str = "host = \"127.0.0.1\"\nfrom = \"alert@county.example\"\ntls = \"none\"\ndsn = true\naccepted_is = \"relay\"";
    const MAIL_TOKEN: &str = "host = \"127.0.0.1\"\nfrom = \"alert@county.example\"\ntls = \"none\"\ndsn = true\ncallback_token = \"tok\"";
    const REPORT: &str = "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n\
                          Original-Envelope-Id: 0000003g00001\r\n\r\nFinal-Recipient: rfc822; a@b.example\r\nAction: delivered\r\nStatus: 2.0.0\r\n\r\n\
                          --b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <0000003g00001@county.example>\r\n\r\n--b--\r\n";
    match (kind, provider) {
        (Kind::Sms, "kannel") => Strangers::Refused { tables: &[KANNEL, KANNEL_TOKEN], whats: &["status", "reply"], body: "" },
        (Kind::Sms, "http") => {
            Strangers::Refused { tables: &[HTTP], whats: &["status", "reply"], body: "{\"id\":\"0000003g00001\",\"d\":\"1\"}" }
        }
        (Kind::Email, "smtp") => Strangers::Refused { tables: &[MAIL, MAIL_DSN, MAIL_TOKEN], whats: &["", "status"], body: REPORT },
        (_, "file" | "sandbox") | (Kind::Speaker, "mqtt") | (Kind::Wechat, "wecom_robot") => Strangers::NotCalled,
        (kind, provider) => panic!("say here what {}/{provider} does with a call of a stranger", kind.name()),
    }
}

#[test]
fn every_driver_has_a_rule_for_calls_without_its_secret() {
    let queries = [
        "",
        "k=",
        "k=wrong",
        "id=0000003g00001&d=1&from=13800138000&text=1",
        "id=0000003g00001&k=00000000000000000000000000000000&d=1&from=13800138000&text=1",
    ];
    for driver in drivers::drivers() {
        let Strangers::Refused { tables, whats, body } = strangers(driver.kind, driver.provider) else { continue };
        for table in tables {
            let channel = build(driver.kind, driver.provider, table);
            for (what, query) in whats.iter().flat_map(|what| queries.map(|query| (what, query))) {
                let reception = channel.receive(&called(what, query, None, body)).expect("an answer");
                assert_eq!((reception.status, reception.reports.len()), (403, 0), "{} {what}?{query}: {table}", driver.provider);
            }
        }
    }
}

#[test]
fn every_provider_here_names_its_faults_and_knows_the_common_keys() {
    for provider in providers() {
        let good = (provider.table)("http://127.0.0.1:9");
        assert!(faults(provider.kind, provider.provider, &format!("{good}\npriority = 2\nper_second = 10")).is_empty());
        assert_eq!(faults(provider.kind, provider.provider, &format!("{good}\nsurprise = 1")), ["channel.acc-1.surprise"]);
        let table: toml::Table = good.parse().expect("toml");
        assert_eq!(common::common(&mut common::keys("acc-1", &table)).concurrency, 8);
    }
}

/// What a callback reported, when it is about one thing.
pub(crate) fn only_news(reception: &super::Reception) -> &News {
    assert_eq!(reception.reports.len(), 1, "{reception:?}");
    &reception.reports[0].news
}

/// The commented tables of a file: `# [channel.NAME]` and what follows it, each as TOML.
fn examples(text: &str) -> Vec<String> {
    let mut tables: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let Some(line) = line.strip_prefix("# ") else {
            open = false;
            continue;
        };
        if line.starts_with("[channel.") && !open {
            open = true;
            tables.push(String::new());
        }
        if let Some(table) = tables.last_mut().filter(|_| open) {
            table.push_str(line);
            table.push('\n');
        }
    }
    tables
}

#[test]
fn the_examples_of_accounts_are_without_fault() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/channels");
    let mut seen = Vec::new();
    for file in std::fs::read_dir(&folder).expect("a folder of examples") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("an example");
        for example in examples(&text) {
            // The configuration reads the file of a secret before a driver sees its table.
            let whole: toml::Table = example.replace("_file = ", " = ").parse().unwrap_or_else(|error| panic!("{error}\n{example}"));
            for (name, table) in whole["channel"].as_table().expect("tables") {
                let table = table.as_table().expect("a table");
                let (kind, provider) = (table["kind"].as_str().expect("kind"), table["provider"].as_str().expect("provider"));
                let driver = Kind::from_name(kind).and_then(|kind| drivers::find(kind, provider)).expect("a provider of the list");
                if let Err(faults) = (driver.check)(name, table) {
                    panic!("{faults:?}\n{example}");
                }
                seen.push(provider.to_owned());
            }
        }
    }
    seen.sort();
    assert_eq!(seen, ["file", "http", "kannel", "sandbox", "wecom_robot"]);
}

/// `docs/answers.md`, as the tables of the drivers say it.
fn answers() -> String {
    let mut out = String::from(ABOUT_ANSWERS);
    for driver in drivers::drivers().iter().filter(|driver| driver.provider != "sandbox") {
        out.push_str(&format!(
            "\n## `{}`, `{}`\n| Answer | Class | Concerns | Reason |\n|---|---|---|---|\n",
            driver.kind.name(),
            driver.provider
        ));
        for meaning in driver.answers.iter().copied().flatten() {
            let class = serde_json::to_value(meaning.class).expect("a word");
            let class = class.as_str().expect("a word").replace('_', " ");
            out.push_str(&format!("| {} | {class} | {} | `{}` |\n", meaning.said, meaning.concerns.name(), meaning.reason));
        }
    }
    out
}

const ABOUT_ANSWERS: &str = "# What providers answer, and whom it concerns
Each driver decides by these tables, line by line from above; the first that fits counts. The provider's own code and words stand in the log.

| Class | What becomes of the message |
|---|---|
| retry | tried again by `retry`, then the next account, then the next channel |
| throttled | tried again soon, not counted as a try; an account that only throttles is passed over for a while |
| unknown | may have been taken: once more under the same id, then the next account; without one after ever longer pauses |
| reject | this account will not take it: closed where it concerns the recipient, else the next account is asked |
| opted out | closed: this person wants no messages this way |
| misconfigured | the account is parked with an alarm, the next takes over; nothing is closed |

| Concerns | Who has to do something |
|---|---|
| recipient | whoever keeps the registry: the number, mailbox, group or loudspeaker |
| account | whoever has the contract: password, balance, sender, signature, template, leave |
| provider | the provider, or time |
| message | whoever writes: the words are refused or too many |
| request | whoever describes the account: the request is not as the provider wants it, or nobody knows whom it means |

Whatever the table says, an account that refuses ten different recipients in a row and takes none is passed over with the alarm `account-refuses-all`;
those that it refused are asked of the next account and are not closed. An account without a next one is not passed over: what it refuses at once
is tried again by `retry` and then closed, and the alarm stands until it takes something.
";

#[test]
fn every_driver_has_a_table_and_it_is_the_one_that_is_shown() {
    for driver in drivers::drivers() {
        let lines: Vec<_> = driver.answers.iter().copied().flatten().collect();
        assert!(!lines.is_empty(), "{} has no table of what its far end answers", driver.provider);
        for line in lines {
            let is_sound = match line.class {
                Class::Misconfigured => line.concerns == Concerns::Account,
                Class::OptedOut => line.concerns == Concerns::Recipient,
                Class::Unknown => line.concerns == Concerns::Provider,
                Class::Retry | Class::Throttled | Class::Reject => true,
            };
            assert!(is_sound, "{}: {line:?}", driver.provider);
        }
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/answers.md");
    let shown = std::fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("LASTMILE_WRITE_DOCS").is_some() {
        std::fs::write(&path, answers()).expect("written");
    } else {
        assert!(shown == answers(), "{} is not what the drivers do; LASTMILE_WRITE_DOCS=1 writes it", path.display());
    }
}

#[tokio::test]
async fn no_status_alone_blames_a_reader() {
    for provider in providers() {
        let far_end = FarEnd::open(200, "").await;
        let channel = build(provider.kind, provider.provider, &(provider.table)(&far_end.base()));
        for status in 300..=599_u16 {
            far_end.says(status, "no");
            let failure = failure(send_one(channel.as_ref(), message(u32::from(status), &(provider.to)(u32::from(status)))).await);
            assert_ne!(failure.concerns, Concerns::Recipient, "{} {status}: {failure}", provider.provider);
        }
    }
}
