//! The account, the broker and the reference loudspeaker together, over real sockets on loopback.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

use super::{
    broker::{Broker, BrokerConfig},
    device::{self, Counts, DeviceConfig},
    fleet::{self, FleetConfig},
    jws,
    line::Far,
    player::Voice,
};
use crate::{
    alert::{AlertId, AlertNo, Level, MsgType, Status},
    area::AreaCode,
    channel::{About, BuiltinBroker, Channel, Class, Context, Failure, News, Report, Verdict},
    message::{DeliveryId, Facts, Outgoing},
    time::{Clock, SystemClock},
};

/// Far longer than anything here takes; only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(20);
const VILLAGE: &str = "510726102201";

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    within(what, async {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while !done() {
            look.tick().await;
        }
    })
    .await;
}

async fn broker() -> Broker {
    broker_at("127.0.0.1:0".parse().expect("an address")).await
}

async fn broker_at(address: SocketAddr) -> Broker {
    Broker::start(BrokerConfig::on(address)).await.expect("a broker")
}

fn outgoing(index: u32, to: &str) -> Outgoing {
    let now = SystemClock.now();
    let facts = Facts {
        alert: AlertId(uuid::Uuid::from_u128(0xa1)),
        status: Status::Actual,
        msg_type: MsgType::Alert,
        replaces: Vec::new(),
        event: serde_json::from_value(serde_json::json!("11B03")).expect("a code"),
        event_name: "暴雨".to_owned(),
        level: Level::Red,
        headline: "暴雨红色预警".to_owned(),
        issuer: "北川羌族自治县气象台".to_owned(),
        effective: now,
        expires: now.plus(Duration::from_secs(3_600)),
        repeat: 2,
    };
    Outgoing {
        id: DeliveryId { alert: AlertNo(1), index },
        to: to.to_owned(),
        area: VILLAGE.parse().expect("a code"),
        whole_area: None,
        subject: String::new(),
        text: "立即转移".to_owned(),
        answer_url: None,
        facts: Arc::new(facts),
        attempt: 1,
    }
}

fn with_facts(message: Outgoing, change: impl FnOnce(&mut Facts)) -> Outgoing {
    let mut facts = (*message.facts).clone();
    change(&mut facts);
    Outgoing { facts: Arc::new(facts), ..message }
}

fn context(builtin_broker: Option<SocketAddr>) -> Context {
    Context {
        clock: Arc::new(SystemClock),
        public_url: String::new(),
        callback_key: Arc::new([0; 32]),
        base_dir: std::env::temp_dir(),
        seed: 1,
        builtin_broker: builtin_broker.map(|address| BuiltinBroker {
            address,
            prefix: "lastmile/v1".to_owned(),
            login: ("gateway".to_owned(), "ours".to_owned().into()),
        }),
    }
}

/// An account under test and what it reported.
struct Account {
    channel: Arc<dyn Channel>,
    reports: mpsc::Receiver<Report>,
}

impl Account {
    async fn at(address: SocketAddr, more: &str) -> Self {
        Self::of(&format!("broker = \"mqtt://{address}\"\n{more}"), None).await
    }

    async fn of(table: &str, builtin: Option<SocketAddr>) -> Self {
        let table: toml::Table = table.parse().expect("toml");
        let prepared = (super::MQTT.check)("loud", &table).unwrap_or_else(|faults| panic!("{faults:?}"));
        let channel = (prepared.build)(context(builtin)).expect("builds");
        let (sink, reports) = mpsc::channel(2_000);
        channel.start(sink).await.expect("starts");
        Self { channel, reports }
    }

    /// Sends once the account is connected.
    async fn send(&self, batch: &[Outgoing]) -> Vec<Verdict> {
        within("a connected account", async {
            let mut again = tokio::time::interval(Duration::from_millis(5));
            loop {
                again.tick().await;
                let verdicts = self.channel.send(batch).await;
                let down =
                    |failure: &Failure| failure.class == Class::Retry && matches!(failure.reason, "not-connected" | "connect" | "lost");
                if !verdicts.iter().any(|verdict| matches!(verdict, Verdict::Failed(failure) if down(failure))) {
                    return verdicts;
                }
            }
        })
        .await
    }

    async fn next(&mut self, what: &str, fits: impl Fn(&Report) -> bool) -> Report {
        within(what, async {
            loop {
                let report = self.reports.recv().await.expect("the account reports");
                if fits(&report) {
                    return report;
                }
            }
        })
        .await
    }
}

fn device(address: SocketAddr, id: &str) -> DeviceConfig {
    DeviceConfig {
        id: id.to_owned(),
        area: VILLAGE.parse().expect("a code"),
        far: Far::at(address),
        prefix: "lastmile/v1".to_owned(),
        voice: Voice { ms_per_char: 1, ..Voice::default() },
        firmware: "test".to_owned(),
        will_delay: Duration::ZERO,
        ack_delay: Duration::ZERO,
        mute: false,
        clock: Arc::new(SystemClock),
        seed: 3,
        counts: Arc::new(Counts::default()),
        program: None,
        memory: None,
        notices: None,
    }
}

/// Starts a speaker and waits until the account has heard that it is there (its subscription is then in place).
async fn run_device(config: DeviceConfig, account: &mut Account) -> CancellationToken {
    let stop = CancellationToken::new();
    let id = config.id.clone();
    tokio::spawn(device::run(config, stop.clone()));
    account
        .next("a speaker online", |report| {
            report.about == About::DeviceStatus { id: id.clone() } && matches!(report.news, News::Online { online: true, .. })
        })
        .await;
    stop
}

fn about(id: &str) -> About {
    About::Device { id: id.to_owned(), msg_id: AlertId(uuid::Uuid::from_u128(0xa1)).to_string() }
}

fn class_of(verdict: &Verdict) -> (Class, &'static str) {
    match verdict {
        Verdict::Failed(failure) => (failure.class, failure.reason),
        Verdict::Accepted { .. } => panic!("was accepted"),
    }
}

const ACCEPTED: Verdict = Verdict::Accepted { provider_ref: None };

/// A plain client that collects what its filters bring.
async fn listener(address: SocketAddr, filters: &[&str]) -> (AsyncClient, mpsc::Receiver<rumqttc::Publish>) {
    let (host, port) = (address.ip().to_string(), address.port());
    let (client, mut events) = AsyncClient::builder(MqttOptions::new("listener", (host, port))).build();
    let (found, publishes) = mpsc::channel(1_000);
    let (up, mut ready) = mpsc::channel(10);
    tokio::spawn(async move {
        while let Ok(event) = events.poll().await {
            let gone = match event {
                Event::Incoming(Incoming::Publish(publish)) => found.send(publish).await.is_err(),
                Event::Incoming(Incoming::SubAck(_)) => up.send(()).await.is_err(),
                _ => false,
            };
            if gone {
                return;
            }
        }
    });
    for filter in filters {
        client.subscribe(*filter, QoS::AtLeastOnce).await.expect("queued");
        within("a subscription", ready.recv()).await.expect("subscribed");
    }
    (client, publishes)
}

#[tokio::test]
async fn a_command_has_the_fields_and_properties_of_the_contract() {
    let broker = broker().await;
    let (_client, mut publishes) = listener(broker.address(), &["lastmile/v1/speaker/S1/cmd"]).await;
    let account = Account::of("broker = \"builtin\"\nvolume = 80\ninterval = \"3s\"", Some(broker.address())).await;
    let message = outgoing(1, "S1");
    assert_eq!(account.send(std::slice::from_ref(&message)).await, [ACCEPTED]);
    let publish = within("the command", publishes.recv()).await.expect("a publish");
    assert!(!publish.retain && publish.qos == QoS::AtLeastOnce);
    let properties = publish.properties.expect("properties");
    assert_eq!((properties.payload_format_indicator, properties.content_type.as_deref()), (Some(1), Some("application/json")));
    assert!((3_590..=3_600).contains(&properties.message_expiry_interval.expect("an expiry")));
    let mut command: serde_json::Value = serde_json::from_slice(&publish.payload).expect("json");
    command["expires"] = "…".into();
    command["sent"] = "…".into();
    insta::assert_json_snapshot!(command);

    let cancel = with_facts(message, |facts| {
        facts.msg_type = MsgType::Cancel;
        facts.replaces = vec![facts.alert];
        facts.alert = AlertId(uuid::Uuid::from_u128(0xc1));
    });
    account.send(&[cancel]).await;
    let publish = within("the all-clear", publishes.recv()).await.expect("a publish");
    let command: serde_json::Value = serde_json::from_slice(&publish.payload).expect("json");
    assert_eq!((&command["action"], &command["repeat"]), (&"stop".into(), &1.into()));
    assert_eq!(command["alert"], AlertId(uuid::Uuid::from_u128(0xa1)).to_string());
    assert_eq!(command["msg_id"], AlertId(uuid::Uuid::from_u128(0xc1)).to_string());
    account.channel.stop().await;
    broker.stop().await;
}

#[tokio::test]
async fn a_speaker_acknowledges_and_says_it_to_its_end_and_a_second_time_it_only_acknowledges() {
    let broker = broker().await;
    let mut account = Account::at(broker.address(), "").await;
    let config = device(broker.address(), "S1");
    let counts = Arc::clone(&config.counts);
    let stop = run_device(config, &mut account).await;
    assert_eq!(account.send(&[outgoing(1, "S1")]).await, [ACCEPTED]);
    account.next("an acknowledgement", |report| report.about == about("S1") && report.news == News::Delivered).await;
    let played = account.next("played", |report| report.news == News::Played).await;
    assert!(played.at.is_some(), "{played:?}");
    account.send(&[outgoing(1, "S1")]).await;
    account.next("a second acknowledgement", |report| report.about == about("S1") && report.news == News::Delivered).await;
    let seen = counts.snapshot();
    assert_eq!((seen.accepted, seen.duplicates, seen.played), (1, 1, 1));
    stop.cancel();
    account.next("the will", |report| matches!(report.news, News::Online { online: false, .. })).await;
    broker.stop().await;
}

#[tokio::test]
async fn one_publish_tells_a_whole_village() {
    let broker = broker().await;
    let topic = format!("lastmile/v1/area/{VILLAGE}/cmd");
    let (_client, mut publishes) = listener(broker.address(), &[&topic]).await;
    let mut account = Account::at(broker.address(), "").await;
    let mut batch = Vec::new();
    for (index, id) in (0..).zip(["S1", "S2", "S3"]) {
        run_device(device(broker.address(), id), &mut account).await;
        batch.push(Outgoing { whole_area: VILLAGE.parse().ok(), ..outgoing(index, id) });
    }
    let before = broker.stats().published;
    assert_eq!(account.send(&batch).await, [ACCEPTED, ACCEPTED, ACCEPTED]);
    let mut left = vec![about("S1"), about("S2"), about("S3")];
    while !left.is_empty() {
        let report = account.next("all three", |report| report.news == News::Played).await;
        left.retain(|one| *one != report.about);
    }
    within("the command", publishes.recv()).await.expect("a publish");
    assert!(publishes.try_recv().is_err(), "the village was told more than once");
    // One command; an acknowledgement, "playing" and "played" of each speaker.
    until("all reports at the broker", || broker.stats().published == before + 10).await;
    broker.stop().await;
}

#[tokio::test]
async fn a_topic_that_nobody_listens_to_is_no_success() {
    let broker = broker().await;
    let account = Account::at(broker.address(), "").await;
    let in_area = Outgoing { whole_area: VILLAGE.parse().ok(), ..outgoing(2, "S9") };
    for message in [outgoing(1, "S9"), in_area] {
        assert_eq!(class_of(&account.send(&[message]).await[0]), (Class::Retry, "nobody-listens"));
    }
    let verdicts = account
        .send(&[outgoing(1, "a/b"), outgoing(2, "#"), with_facts(outgoing(3, "S9"), |facts| facts.expires = SystemClock.now())])
        .await;
    assert_eq!(
        verdicts.iter().map(class_of).collect::<Vec<_>>(),
        [(Class::Reject, "bad-device-id"), (Class::Reject, "bad-device-id"), (Class::Retry, "expired")]
    );
    broker.stop().await;
}

#[tokio::test]
async fn a_broker_that_restarts_loses_nothing_silently() {
    let first = broker().await;
    let address = first.address();
    let mut account = Account::at(address, "timeout = \"2s\"").await;
    let config = device(address, "S1");
    let counts = Arc::clone(&config.counts);
    run_device(config, &mut account).await;
    let verdicts = account.send(&[outgoing(1, "S1")]).await;
    assert_eq!(verdicts, [ACCEPTED]);
    account.next("played", |report| report.news == News::Played).await;
    first.stop().await;
    let second_alert = |index| with_facts(outgoing(index, "S1"), |facts| facts.alert = AlertId(uuid::Uuid::from_u128(0xa2)));
    let verdict = account.channel.send(&[second_alert(2)]).await.remove(0);
    assert!(matches!(class_of(&verdict).0, Class::Retry | Class::Unknown), "{verdict:?}");
    let second = broker_at(address).await;
    account.next("the speaker is back", |report| matches!(report.news, News::Online { online: true, .. })).await;
    assert_eq!(account.send(&[second_alert(2)]).await, [ACCEPTED]);
    account.next("the second alert played", |report| report.news == News::Played).await;
    assert_eq!(counts.snapshot().played, 2);
    second.stop().await;
}

#[tokio::test]
async fn what_speakers_said_while_the_gateway_was_away_arrives_when_it_is_back() {
    let broker = broker().await;
    let account = Account::at(broker.address(), "client_id = \"county\"").await;
    account.send(&[outgoing(1, "S1")]).await;
    account.channel.stop().await;
    until("the gateway is away", || broker.stats().connected == 0).await;
    let (speaker, _publishes) = listener(broker.address(), &["x"]).await;
    let ack =
        serde_json::json!({"msg_id": AlertId(uuid::Uuid::from_u128(0xa1)).to_string(), "state": "accepted", "reason": null}).to_string();
    let bad = "no json";
    for payload in [bad, ack.as_str()] {
        let options = rumqttc::PublishOptions::at_least_once();
        let notice = speaker.publish_tracked("lastmile/v1/speaker/S1/ack", payload, options).await.expect("queued");
        within("the broker has it", notice.wait_completion_async()).await.expect("taken");
    }
    let mut account = Account::at(broker.address(), "client_id = \"county\"").await;
    let report = account.next("the late acknowledgement", |_| true).await;
    assert_eq!((report.about, report.news), (about("S1"), News::Delivered));
    broker.stop().await;
}

/// A broker that takes connections and subscriptions and never acknowledges a publish.
async fn mute_broker() -> SocketAddr {
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = server.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 4_096];
                while let Ok(read) = stream.read(&mut bytes).await {
                    let answer: Vec<u8> = match bytes[0] >> 4 {
                        _ if read == 0 => return,
                        1 => vec![0x20, 3, 0, 0, 0],
                        // The subscription is short: its packet identifier follows a one-byte length.
                        8 => vec![0x90, 6, bytes[2], bytes[3], 0, 1, 1, 1],
                        _ => continue,
                    };
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_broker_of_the_older_protocol_alone_is_named_as_the_fault() {
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = server.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            let mut bytes = [0; 1_024];
            // "Unacceptable protocol version", in the form of 3.1.1.
            if stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {
                stream.write_all(&[0x20, 2, 0, 1]).await.ok();
            }
        }
    });
    let account = Account::at(address, "").await;
    assert_eq!(class_of(&account.send(&[outgoing(1, "S1")]).await[0]), (Class::Misconfigured, "protocol-version"));
}

#[tokio::test]
async fn two_gateways_under_one_client_id_are_named_as_the_fault() {
    let broker = broker().await;
    let first = Account::at(broker.address(), "client_id = \"county\"").await;
    first.send(&[outgoing(1, "S1")]).await;
    let _second = Account::at(broker.address(), "client_id = \"county\"").await;
    within("the fault has its name", async {
        let mut again = tokio::time::interval(Duration::from_millis(5));
        while class_of(&first.channel.send(&[outgoing(1, "S1")]).await[0]) != (Class::Retry, "client-id-taken") {
            again.tick().await;
        }
    })
    .await;
    broker.stop().await;
}

#[tokio::test]
async fn a_broker_that_falls_silent_leaves_the_outcome_unknown() {
    let account = Account::at(mute_broker().await, "timeout = \"300ms\"\nprefix = \"p\"").await;
    assert_eq!(class_of(&account.send(&[outgoing(1, "S1")]).await[0]), (Class::Unknown, "timeout"));
}

#[tokio::test]
async fn without_a_broker_nothing_is_sent_and_the_debt_stays() {
    let free = broker().await;
    let address = free.address();
    free.stop().await;
    let account = Account::at(address, "").await;
    let verdict = account.channel.send(&[outgoing(1, "S1")]).await.remove(0);
    assert_eq!(class_of(&verdict).0, Class::Retry);
}

#[tokio::test]
async fn only_speakers_that_hold_our_key_say_what_we_signed() {
    let broker = broker().await;
    let seed = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, [7_u8; 32]);
    let ours = jws::signing_key(&seed).expect("a key").verifying_key();
    let theirs = ed25519_dalek::SigningKey::from_bytes(&[8; 32]).verifying_key();
    let mut account = Account::at(broker.address(), &format!("signing_key = \"{seed}\"")).await;
    for (id, key) in [("S1", ours), ("S2", theirs)] {
        let config = device(broker.address(), id);
        run_device(DeviceConfig { voice: Voice { verify_keys: vec![key], ..config.voice.clone() }, ..config }, &mut account).await;
    }
    account.send(&[outgoing(1, "S1"), outgoing(2, "S2")]).await;
    let refused = account.next("a refusal", |report| report.about == about("S2")).await;
    assert!(matches!(refused.news, News::Failed(Failure { reason: "bad-signature", .. })), "{refused:?}");
    account.send(&[outgoing(1, "S1")]).await;
    account.next("an acknowledgement", |report| report.about == about("S1")).await;
    broker.stop().await;
}

#[tokio::test]
async fn the_connection_to_a_broker_behind_tls_is_checked() {
    let broker = broker().await;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let authority = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(authority.path(), made.cert.pem()).expect("written");
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a pair");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let front = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = front.local_addr().expect("an address").port();
    let behind = broker.address();
    tokio::spawn(async move {
        while let Ok((stream, _)) = front.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let (Ok(mut clear), Ok(mut back)) = (acceptor.accept(stream).await, TcpStream::connect(behind).await) {
                    drop(tokio::io::copy_bidirectional(&mut clear, &mut back).await);
                }
            });
        }
    });
    let table = format!("broker = \"mqtts://localhost:{port}\"\n");
    let trusting = Account::of(&format!("{table}ca = \"{}\"", authority.path().display()), None).await;
    assert_eq!(class_of(&trusting.send(&[outgoing(1, "S1")]).await[0]), (Class::Retry, "nobody-listens"));
    let doubting = Account::of(&table, None).await;
    assert_eq!(class_of(&doubting.send(&[outgoing(1, "S1")]).await[0]), (Class::Misconfigured, "certificate"));
    broker.stop().await;
}

#[tokio::test]
async fn a_speaker_of_the_older_protocol_hears_the_same_command() {
    let broker = broker().await;
    let mut old = TcpStream::connect(broker.address()).await.expect("connects");
    let mut connect = vec![0x10, 12 + 2, 0, 4];
    connect.extend_from_slice(b"MQTT\x04\x02\x00\x3c\x00\x02S1");
    old.write_all(&connect).await.expect("written");
    let mut connack = [0; 4];
    within("CONNACK", old.read_exact(&mut connack)).await.expect("read");
    assert_eq!(connack, [0x20, 2, 0, 0]);
    let topic = b"lastmile/v1/speaker/S1/cmd";
    let length = u8::try_from(topic.len()).expect("short");
    let mut subscribe = vec![0x82, length + 5, 0, 9, 0, length];
    subscribe.extend_from_slice(topic);
    subscribe.push(1);
    old.write_all(&subscribe).await.expect("written");
    let mut suback = [0; 5];
    within("SUBACK", old.read_exact(&mut suback)).await.expect("read");
    assert_eq!(suback, [0x90, 3, 0, 9, 1]);
    let account = Account::at(broker.address(), "").await;
    assert_eq!(account.send(&[outgoing(1, "S1")]).await, [ACCEPTED]);
    let mut publish = Vec::new();
    within("the command", async {
        while !publish.ends_with(b"}") {
            old.read_buf(&mut publish).await.expect("read");
        }
    })
    .await;
    assert_eq!(publish[0], 0x32);
    let start = publish.windows(2).position(|pair| pair == b"{\"").expect("json");
    // Topic and packet identifier, then at once the payload: no properties in 3.1.1.
    assert_eq!(&publish[start - 2 - topic.len()..start - 2], topic);
    let command: serde_json::Value = serde_json::from_slice(&publish[start..]).expect("json");
    assert_eq!(command["action"], "play");
    broker.stop().await;
}

#[tokio::test]
async fn a_client_that_floods_or_lies_ends_only_itself() {
    let broker = broker().await;
    let mut account = Account::at(broker.address(), "").await;
    run_device(device(broker.address(), "S1"), &mut account).await;
    let hostile: [&[u8]; 5] =
        [b"GET / HTTP/1.1\r\n\r\n", &[0x10, 0xff, 0xff, 0xff, 0x7f], &[0x30, 2, 0, 0], &[0x10, 4, 0, 9, b'M', b'Q'], &[0xff; 64]];
    for bytes in hostile {
        for _ in 0..3 {
            let mut stream = TcpStream::connect(broker.address()).await.expect("connects");
            stream.write_all(bytes).await.expect("written");
            stream.shutdown().await.expect("half closed");
            let mut rest = Vec::new();
            within("the broker hangs up", stream.read_to_end(&mut rest)).await.ok();
        }
    }
    assert_eq!(account.send(&[outgoing(1, "S1")]).await, [ACCEPTED]);
    account.next("played", |report| report.news == News::Played).await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_speakers_hear_one_publish_and_every_share_of_faults_shows() {
    const SPEAKERS: u64 = 500;
    let broker = broker().await;
    let mut account = Account::at(broker.address(), "").await;
    let area: AreaCode = VILLAGE.parse().expect("a code");
    let speakers: Vec<(String, AreaCode)> = (0..SPEAKERS).map(|number| (format!("S{number}"), area)).collect();
    let config = FleetConfig {
        voice: Voice { ms_per_char: 1, ..Voice::default() },
        offline: 0.1,
        mute: 0.1,
        broken: 0.1,
        ack_delay_ms: 0..=50,
        seed: 11,
        ..FleetConfig::at(Far::at(broker.address()), Arc::new(SystemClock))
    };
    let counts = Arc::clone(&config.counts);
    let stop = CancellationToken::new();
    let running = tokio::spawn(fleet::run(config, speakers, stop.clone()));
    // Nine in ten are online; how many exactly is the seed's choice. Each says so once its filters are in place.
    let mut online = 0;
    while online < SPEAKERS * 8 / 10 || online < counts.connected.load(Ordering::Relaxed) {
        account.next("speakers online", |report| matches!(report.news, News::Online { online: true, .. })).await;
        online += 1;
    }
    let batch: Vec<Outgoing> = (0..SPEAKERS)
        .map(|number| Outgoing { whole_area: Some(area), ..outgoing(u32::try_from(number).expect("small"), &format!("S{number}")) })
        .collect();
    assert!(account.send(&batch).await.iter().all(|verdict| *verdict == ACCEPTED));
    until("all who can have said it", || {
        let seen = counts.snapshot();
        seen.played + seen.failed >= online
    })
    .await;
    let seen = counts.snapshot();
    assert!((400..500).contains(&online) && (20..90).contains(&seen.failed), "{online} {seen:?}");
    // One in ten says it and tells nobody: the account hears of clearly fewer than have said it.
    for _ in 0..seen.played - SPEAKERS / 5 {
        account.next("played", |report| report.news == News::Played).await;
    }
    stop.cancel();
    let stats = within("the fleet ends", running).await.expect("the fleet");
    assert_eq!(stats.connected, 0);
    assert_eq!(broker.stats().dropped, 0);
    broker.stop().await;
}

#[test]
fn every_fault_of_the_table_is_named() {
    let text = "broker = \"http://x\"\npassword = \"p\"\nprefix = \"a/#\"\nsigning_key = \"k\"\nvolume = 101\nack_withn = \"5s\"";
    let table: toml::Table = text.parse().expect("toml");
    let Err(faults) = (super::MQTT.check)("loud", &table) else { panic!("was taken") };
    let mut paths: Vec<&str> = faults.iter().map(|fault| fault.path.trim_start_matches("channel.loud.")).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["ack_withn", "broker", "prefix", "signing_key", "username", "volume"]);
    for broker in ["mqtt://h", "mqtt://h:1", "mqtts://h", "mqtt://[::1]:1883", "mqtt://[::1]", "builtin"] {
        let table: toml::Table = format!("broker = \"{broker}\"\ndangerous_unsigned = true").parse().expect("toml");
        assert!((super::MQTT.check)("loud", &table).is_ok(), "{broker}");
    }
}

#[test]
fn commands_leave_the_machine_unsigned_only_by_name() {
    let told = |broker: &str, more: &str| {
        let table: toml::Table = format!("broker = \"{broker}\"\n{more}").parse().expect("toml");
        let faults = (super::MQTT.check)("loud", &table).err().unwrap_or_default();
        faults.iter().map(|fault| format!("{} {}", fault.path, fault.rule)).collect::<Vec<_>>()
    };
    let seed = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, [7_u8; 32]);
    for outside in ["mqtt://10.1.2.3", "mqtts://broker.example:8883", "mqtt://[2001:db8::1]", "mqtt://0.0.0.0", "mqtt://localhost.example"]
    {
        assert_eq!(told(outside, ""), ["channel.loud.signing_key unsigned"], "{outside}");
        assert_eq!(told(outside, "dangerous_unsigned = true"), Vec::<String>::new());
        assert_eq!(told(outside, &format!("signing_key = \"{seed}\"")), Vec::<String>::new());
        assert_eq!(told(outside, "signing_key = \"k\""), ["channel.loud.signing_key bad-key"], "one fault, not two");
    }
    for here in ["mqtt://127.0.0.1:1884", "mqtt://localhost", "mqtt://[::1]", "builtin"] {
        assert_eq!(told(here, ""), Vec::<String>::new(), "{here}");
    }
}
