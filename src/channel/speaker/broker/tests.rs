//! The broker over real sockets, spoken to in bytes: who is let in, what each may say and hear, what is bounded.

use std::{collections::HashMap, net::SocketAddr, sync::Mutex, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// Two loudspeakers of two villages, each with its credential.
struct Two(Mutex<HashMap<&'static str, (&'static str, u64)>>);

impl Two {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(HashMap::from([("A", ("secret-a", 1)), ("B", ("secret-b", 1))]))))
    }

    fn guest(&self, id: &str) -> Option<(Guest, &'static str)> {
        let (secret, mark) = *self.0.lock().expect("no panic").get(id)?;
        let area = if id == "A" { "510726102201" } else { "510726103201" };
        Some((Guest { id: id.to_owned(), area: area.parse().expect("a code"), mark }, secret))
    }
}

impl Devices for Two {
    fn admit(&self, id: &str, credential: &[u8]) -> Option<Guest> {
        self.guest(id).filter(|(_, secret)| secret.as_bytes() == credential).map(|(guest, _)| guest)
    }

    fn stands(&self, guest: &Guest) -> Option<Guest> {
        self.guest(&guest.id).map(|(now, _)| now).filter(|now| now.mark == guest.mark)
    }
}

async fn guarded(devices: Arc<Two>, shared: Option<SharedLogin>) -> Broker {
    let gateway = ("gateway".to_owned(), "ours".to_owned().into());
    let guard = Guard { prefix: "lastmile/v1".to_owned(), gateway, devices, shared };
    let config = BrokerConfig { entry: Entry::Guarded(guard), ..BrokerConfig::on("127.0.0.1:0".parse().expect("an address")) };
    Broker::start(config).await.expect("a broker")
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).expect("short").to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (mut bytes, mut left) = (vec![first], body.len());
    loop {
        let low = u8::try_from(left & 0x7f).expect("seven bits");
        left >>= 7;
        bytes.push(if left > 0 { low | 0x80 } else { low });
        if left == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// A client of MQTT 5 that is its bytes.
struct Raw(TcpStream);

impl Raw {
    async fn open(at: SocketAddr) -> Self {
        Self(TcpStream::connect(at).await.expect("connects"))
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("written");
    }

    /// The next packet; empty when the connection has ended.
    async fn hear(&mut self) -> Vec<u8> {
        let reading = async {
            let mut head = vec![0; 2];
            if self.0.read_exact(&mut head).await.is_err() {
                return Vec::new();
            }
            let mut length = usize::from(head[1] & 0x7f);
            let mut shift = 7;
            while head[head.len() - 1] & 0x80 != 0 {
                head.push(self.0.read_u8().await.expect("a length"));
                length |= usize::from(head[head.len() - 1] & 0x7f) << shift;
                shift += 7;
            }
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await.expect("a whole packet");
            head.extend(body);
            head
        };
        tokio::time::timeout(DEADLINE, reading).await.expect("the broker answers")
    }

    async fn ask(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.say(bytes).await;
        self.hear().await
    }

    /// The reason of CONNACK, and the connection.
    async fn come(at: SocketAddr, client: &str, login: Option<(&str, &str)>) -> (u8, Self) {
        Self::come_with(at, client, login, 30).await
    }

    async fn come_with(at: SocketAddr, client: &str, login: Option<(&str, &str)>, keep_alive_s: u16) -> (u8, Self) {
        let mut body = text("MQTT");
        body.extend([5, if login.is_some() { 0xc2 } else { 2 }]);
        body.extend(keep_alive_s.to_be_bytes());
        body.push(0);
        body.extend(text(client));
        if let Some((user, password)) = login {
            body.extend(text(user));
            body.extend(text(password));
        }
        let mut raw = Self::open(at).await;
        let answer = raw.ask(&packet(0x10, &body)).await;
        (answer.get(3).copied().unwrap_or(0xff), raw)
    }

    async fn publish(&mut self, topic: &str, payload: &[u8], retain: bool) -> u8 {
        let mut body = text(topic);
        body.extend([0, 7, 0]);
        body.extend(payload);
        let answer = self.ask(&packet(0x32 | u8::from(retain), &body)).await;
        assert_eq!(answer[0], 0x40, "{answer:?}");
        answer.get(4).copied().unwrap_or(0)
    }

    async fn subscribe(&mut self, filter: &str) -> u8 {
        let mut body = vec![0, 9, 0];
        body.extend(text(filter));
        body.push(1);
        let answer = self.ask(&packet(0x82, &body)).await;
        assert_eq!(answer[0], 0x90, "{answer:?}");
        answer[5]
    }
}

const A: Option<(&str, &str)> = Some(("A", "secret-a"));
const B: Option<(&str, &str)> = Some(("B", "secret-b"));
const GATEWAY: Option<(&str, &str)> = Some(("gateway", "ours"));
const LOGIN: Option<(&str, &str)> = Some(("county", "together"));

#[tokio::test]
async fn a_credential_is_bound_to_its_client_id_and_the_gateways_id_is_nobody_elses() {
    let shared = SharedLogin::Given("county".to_owned(), "together".to_owned().into());
    let broker = guarded(Two::new(), Some(shared)).await;
    let (_, _gateway) = Raw::come(broker.address(), "lastmile-speakers", GATEWAY).await;
    for (client, login, reason) in [
        ("A", A, 0),
        ("speaker-A", A, 0),
        ("", A, 0),
        ("B", A, 0x85),
        ("speaker-B", A, 0x85),
        ("lastmile-speakers", A, 0x85),
        ("A", Some(("A", "secret-b")), 0x86),
        ("A", Some(("C", "secret-a")), 0x86),
        ("A", Some(("gateway", "secret-a")), 0x86),
        ("A", None, 0x86),
        ("x", LOGIN, 0),
        ("lastmile-speakers", LOGIN, 0x85),
        ("lastmile-speakers", GATEWAY, 0),
    ] {
        assert_eq!(Raw::come(broker.address(), client, login).await.0, reason, "{client:?} {login:?}");
    }
    broker.stop().await;
}

#[tokio::test]
async fn without_a_credential_nobody_comes_in_unless_the_county_says_so() {
    let closed = guarded(Two::new(), None).await;
    assert_eq!(Raw::come(closed.address(), "x", None).await.0, 0x86);
    assert_eq!(Raw::come(closed.address(), "x", LOGIN).await.0, 0x86);
    let open = guarded(Two::new(), Some(SharedLogin::Anyone)).await;
    let (reason, mut anyone) = Raw::come(open.address(), "x", None).await;
    assert_eq!(reason, 0);
    assert_eq!(anyone.publish("lastmile/v1/area/510726/cmd", b"{}", false).await, 0x87);
    assert_eq!(anyone.subscribe("#").await, 0x87);
    assert_eq!(Raw::come(open.address(), "x", Some(("A", "wrong"))).await.0, 0x86, "a wrong credential is not none");
    closed.stop().await;
    open.stop().await;
}

#[tokio::test]
async fn one_village_hears_and_says_nothing_of_another() {
    let broker = guarded(Two::new(), None).await;
    let (_, mut a) = Raw::come(broker.address(), "A", A).await;
    let (_, mut b) = Raw::come(broker.address(), "B", B).await;
    let (_, mut gateway) = Raw::come(broker.address(), "lastmile-speakers", GATEWAY).await;
    for what in ["ack", "report", "status"] {
        assert_eq!(gateway.subscribe(&format!("lastmile/v1/speaker/+/{what}")).await, 1);
        assert_eq!(a.publish(&format!("lastmile/v1/speaker/B/{what}"), b"{}", false).await, 0x87, "{what}");
        assert_eq!(a.subscribe(&format!("lastmile/v1/speaker/B/{what}")).await, 0x87, "{what}");
    }
    for topic in ["speaker/B/cmd", "area/510726103201/cmd", "area/510726103/cmd"] {
        assert_eq!(a.subscribe(&format!("lastmile/v1/{topic}")).await, 0x87, "{topic}");
        assert_eq!(b.subscribe(&format!("lastmile/v1/{topic}")).await, 1, "{topic}");
        assert_eq!(a.publish(&format!("lastmile/v1/{topic}"), b"{}", false).await, 0x87, "{topic}");
        assert_eq!(gateway.publish(&format!("lastmile/v1/{topic}"), b"{}", true).await, 0x87, "a command is never retained");
    }
    assert_eq!(a.publish("lastmile/v1/speaker/A/ack", b"mine", false).await, 0);
    let heard = gateway.hear().await;
    assert!(heard.ends_with(b"mine"), "the first that the gateway hears: {heard:?}");
    assert_eq!(gateway.publish("lastmile/v1/area/510726103/cmd", b"go", false).await, 0);
    assert!(b.hear().await.ends_with(b"go"));
    broker.stop().await;
}

#[tokio::test]
async fn a_will_speaks_for_its_own_device_alone() {
    let broker = guarded(Two::new(), None).await;
    for (topic, reason) in
        [("lastmile/v1/speaker/A/status", 0), ("lastmile/v1/speaker/B/status", 0x87), ("lastmile/v1/area/510726/cmd", 0x87)]
    {
        let mut body = text("MQTT");
        body.extend([5, 0xee, 0, 30, 0]);
        body.extend(text("A"));
        body.push(0);
        [topic, "{}", "A", "secret-a"].iter().for_each(|part| body.extend(text(part)));
        let mut raw = Raw::open(broker.address()).await;
        assert_eq!(raw.ask(&packet(0x10, &body)).await[3], reason, "{topic}");
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_credential_that_was_taken_back_ends_the_connection() {
    let devices = Two::new();
    let broker = guarded(Arc::clone(&devices), None).await;
    let (_, mut a) = Raw::come(broker.address(), "A", A).await;
    assert_eq!(a.ask(&packet(0xc0, &[])).await, [0xd0, 0]);
    devices.0.lock().expect("no panic").insert("A", ("another", 2));
    assert_eq!(a.ask(&packet(0xc0, &[])).await, [0xe0, 2, 0x87, 0]);
    assert_eq!(Raw::come(broker.address(), "A", A).await.0, 0x86);
    broker.stop().await;
}

#[tokio::test]
async fn what_a_device_says_is_bounded() {
    let broker = guarded(Two::new(), None).await;
    let (_, mut a) = Raw::come(broker.address(), "A", A).await;
    let (_, mut gateway) = Raw::come(broker.address(), "lastmile-speakers", GATEWAY).await;
    gateway.subscribe("lastmile/v1/speaker/+/report").await;
    assert_eq!(a.publish("lastmile/v1/speaker/A/report", &vec![b'x'; 16 << 10], false).await, 0);
    assert_eq!(a.publish("lastmile/v1/speaker/A/report", &vec![b'x'; (16 << 10) + 1], false).await, 0x83);
    assert_eq!(a.publish("lastmile/v1/speaker/A/status", &vec![b'x'; (4 << 10) + 1], true).await, 0x83);
    let mut body = text("lastmile/v1/speaker/A/report");
    body.extend([0, 7, 0]);
    body.extend(vec![b'x'; 40 << 10]);
    a.say(&packet(0x32, &body)).await;
    assert_eq!(a.hear().await, [0xe0, 2, 0x95, 0]);
    broker.stop().await;
}

#[tokio::test]
async fn a_client_that_promises_no_sign_of_life_is_told_when_one_is_wanted() {
    let broker = guarded(Two::new(), None).await;
    for (asked, told) in [(0, Some(300)), (3_600, Some(300)), (30, None)] {
        let mut body = text("MQTT");
        body.extend([5, 0xc2]);
        body.extend(u16::to_be_bytes(asked));
        body.push(0);
        ["A", "A", "secret-a"].iter().for_each(|part| body.extend(text(part)));
        let mut raw = Raw::open(broker.address()).await;
        let answer = raw.ask(&packet(0x10, &body)).await;
        let keep_alive = answer.windows(3).find(|bytes| bytes[0] == 0x13).map(|bytes| u16::from_be_bytes([bytes[1], bytes[2]]));
        assert_eq!(keep_alive, told, "{asked}: {answer:?}");
    }
    broker.stop().await;
}

#[tokio::test]
async fn quality_two_is_taken_once_however_often_it_comes() {
    let broker = guarded(Two::new(), None).await;
    let (_, mut gateway) = Raw::come(broker.address(), "lastmile-speakers", GATEWAY).await;
    gateway.subscribe("lastmile/v1/speaker/+/ack").await;
    let (_, mut a) = Raw::come(broker.address(), "A", A).await;
    let mut body = text("lastmile/v1/speaker/A/ack");
    body.extend([0, 7, 0]);
    body.extend(b"once");
    assert_eq!(a.ask(&packet(0x34, &body)).await, [0x50, 2, 0, 7]);
    assert_eq!(a.ask(&packet(0x3c, &body)).await, [0x50, 2, 0, 7], "again, before it was released");
    assert_eq!(a.ask(&packet(0x62, &[0, 7])).await, [0x70, 2, 0, 7]);
    assert_eq!(a.ask(&packet(0x62, &[0, 7])).await, [0x70, 4, 0, 7, 0x92, 0], "nothing is there to release");
    assert_eq!(a.publish("lastmile/v1/speaker/A/ack", b"next", false).await, 0);
    assert!(gateway.hear().await.ends_with(b"once"));
    gateway.say(&packet(0x40, &[0, 1])).await;
    assert!(gateway.hear().await.ends_with(b"next"));
    broker.stop().await;
}

#[tokio::test]
async fn what_the_standard_forbids_ends_the_connection_with_its_reason() {
    let broker = Broker::start(BrokerConfig::on("127.0.0.1:0".parse().expect("an address"))).await.expect("a broker");
    let filter = [vec![0, 9, 0], text("a"), vec![1]].concat();
    let bad_options = [vec![0, 9, 0], text("a"), vec![3]].concat();
    for (bytes, reason) in [
        (packet(0x80, &filter), 0x81),
        (packet(0x82, &bad_options), 0x81),
        (packet(0x82, &[0, 9, 0]), 0x82),
        (packet(0x36, &[text("a"), vec![0, 7, 0]].concat()), 0x81),
        (packet(0x32, &[text("a/+"), vec![0, 7, 0]].concat()), 0x82),
        (packet(0x50, &[0, 7]), 0x82),
    ] {
        let (_, mut raw) = Raw::come(broker.address(), "x", None).await;
        assert_eq!(raw.ask(&bytes).await, [0xe0, 2, reason, 0], "{bytes:?}");
    }
    let (_, mut raw) = Raw::come(broker.address(), "x", None).await;
    assert_eq!(raw.subscribe("$share/group/a").await, 0x9e);
    // A Will of quality 3, and MQTT 3.1.
    let mut body = text("MQTT");
    body.extend([4, 0x1e, 0, 30]);
    ["x", "t", "p"].iter().for_each(|part| body.extend(text(part)));
    assert!(Raw::open(broker.address()).await.ask(&packet(0x10, &body)).await.is_empty());
    let old = [text("MQIsdp"), vec![3, 2, 0, 30], text("x")].concat();
    assert_eq!(Raw::open(broker.address()).await.ask(&packet(0x10, &old)).await, [0x20, 2, 0, 1]);
    broker.stop().await;
}
