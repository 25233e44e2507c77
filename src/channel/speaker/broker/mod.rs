//! Owns the built-in MQTT broker (5 and 3.1.1, quality 0 and 1): for the demo, tests and small sites.
//! Refuses to know speakers and alerts, to store anything on disk, and to speak TLS: it listens where only the county's own devices reach it.
//! Invariant: it says "nobody listens" (0x10) when nobody does, and ends every task when it is stopped.

mod codec;
mod hub;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    codec::{Bad, Connect, Packet, Publish, Version, decode},
    hub::{Attached, Hub, Limits, Routed},
};

/// A CONNECT that takes longer is a port scanner.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A client that takes longer to read is gone, and must not hold what waits for others.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// Commands and reports have a few kB; pictures and recordings come by address.
const PACKET_BYTES_MAX: usize = 64 * 1024;
/// Identifiers are the index of every session.
const CLIENT_ID_BYTES_MAX: usize = 256;

/// `[builtin_broker]`.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    pub listen: SocketAddr,
    /// Sessions, connected or kept.
    pub sessions_max: usize,
    /// When set, every client must give these.
    pub login: Option<(String, SecretString)>,
}

impl BrokerConfig {
    pub const fn on(listen: SocketAddr) -> Self {
        Self { listen, sessions_max: 10_000, login: None }
    }
}

/// What a running broker has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerStats {
    pub connected: u64,
    pub sessions: u64,
    pub published: u64,
    /// Messages that found a full queue, or a client of quality 0 that was away.
    pub dropped: u64,
}

pub struct Broker {
    address: SocketAddr,
    hub: Arc<Hub>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct Shared {
    hub: Arc<Hub>,
    login: Option<(String, SecretString)>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Broker {
    /// Binds and serves; port 0 takes a free one.
    pub async fn start(config: BrokerConfig) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let hub = Arc::new(Hub::new(Limits { sessions: config.sessions_max }));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let shared = Arc::new(Shared { hub: Arc::clone(&hub), login: config.login, stop: stop.clone(), tasks: tasks.clone() });
        tasks.spawn(stop.clone().run_until_cancelled_owned(accept(listener, shared)));
        Ok(Self { address, hub, stop, tasks })
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn stats(&self) -> BrokerStats {
        let [connected, sessions, published, dropped] = self.hub.counts();
        BrokerStats { connected, sessions, published, dropped }
    }

    /// Says goodbye to every client and waits until the last connection has closed.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = serve(stream, Arc::clone(&shared));
                shared.tasks.spawn(connection);
            }
            Err(error) => {
                // Out of descriptors: the pause lets some close instead of spinning.
                tracing::warn!(%error, "the built-in broker could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One client's connection.
struct Line {
    stream: TcpStream,
    input: BytesMut,
    version: Option<Version>,
}

impl Line {
    /// The next packet; `None` when the client closed. Cancel-safe: what was read stays in `input`.
    async fn read(&mut self) -> Result<Option<Packet>, Bad> {
        loop {
            if let Some(packet) = decode(&mut self.input, self.version, PACKET_BYTES_MAX)? {
                return Ok(Some(packet));
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return Ok(None),
                Ok(_) => {}
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Bad> {
        match timeout(WRITE_WITHIN, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Bad::Silent),
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut line = Line { stream, input: BytesMut::with_capacity(1_024), version: None };
    let first = shared.stop.run_until_cancelled(timeout(CONNECT_WITHIN, line.read())).await;
    let Some(Ok(Ok(Some(Packet::Connect(connect))))) = first else {
        // The answer to an unknown version has the form that the oldest clients read.
        if let Some(Ok(Err(Bad::Version))) = first
            && line.write(&codec::refusal(Version::V311, Bad::Version)).await.is_err()
        {
            tracing::debug!("a client of another protocol version had gone already");
        }
        return;
    };
    let version = connect.version;
    line.version = Some(version);
    match admit(*connect, &shared) {
        Ok(client) => converse(line, client, version, &shared).await,
        Err(bad) => {
            if line.write(&codec::refusal(version, bad)).await.is_err() {
                tracing::debug!("a refused client had gone already");
            }
        }
    }
}

/// A client that was let in.
struct Client {
    id: String,
    given_id: bool,
    keep_alive_s: u16,
    attached: Attached,
}

fn admit(mut connect: Connect, shared: &Shared) -> Result<Client, Bad> {
    if let Some((user, password)) = &shared.login {
        let (given_user, given_password) = connect.login.take().unwrap_or_default();
        let right = given_user.as_bytes().ct_eq(user.as_bytes()) & given_password.ct_eq(password.expose_secret().as_bytes());
        if !bool::from(right) {
            return Err(Bad::Login);
        }
    }
    let given_id = connect.client.is_empty();
    if given_id {
        if !connect.clean && connect.version == Version::V311 {
            return Err(Bad::ClientId);
        }
        connect.client = format!("auto-{}", uuid::Uuid::now_v7().simple());
    }
    if connect.client.len() > CLIENT_ID_BYTES_MAX {
        return Err(Bad::ClientId);
    }
    if connect.receive_max == 0 {
        return Err(Bad::Protocol);
    }
    let attached =
        shared.hub.attach(&connect.client, connect.clean, connect.session_expiry_s, connect.receive_max, connect.will).ok_or(Bad::Full)?;
    Ok(Client { id: connect.client, given_id, keep_alive_s: connect.keep_alive_s, attached })
}

async fn converse(mut line: Line, client: Client, version: Version, shared: &Arc<Shared>) {
    let end = talk(&mut line, &client, version, shared).await;
    let polite = matches!(end, Ok(Goodbye::Polite));
    if let (Err(bad), Version::V5) = (end, version)
        && line.write(&codec::disconnect(bad)).await.is_err()
    {
        tracing::debug!("a client had gone before it was told why");
    }
    let due = shared.hub.detach(&client.id, client.attached.turn, polite);
    // A broker that stops says nothing in its clients' names: they are not gone, it is.
    if let Some((will, delay)) = due.filter(|_| !shared.stop.is_cancelled()) {
        let (hub, stop) = (Arc::clone(&shared.hub), shared.stop.clone());
        shared.tasks.spawn(stop.run_until_cancelled_owned(async move {
            tokio::time::sleep(delay).await;
            if hub.is_away(&client.id) {
                hub.publish(will);
            }
        }));
    }
}

enum Goodbye {
    Polite,
    Lost,
}

async fn talk(line: &mut Line, client: &Client, version: Version, shared: &Shared) -> Result<Goodbye, Bad> {
    let given_id = client.given_id.then_some(client.id.as_str());
    let bytes_max = u32::try_from(PACKET_BYTES_MAX).unwrap_or(u32::MAX);
    line.write(&codec::connack(version, client.attached.resumed, given_id, bytes_max)).await?;
    // The standard gives a client half as long again as it promised.
    let patience = (client.keep_alive_s > 0).then(|| Duration::from_millis(u64::from(client.keep_alive_s) * 1_500));
    let mut heard = Instant::now();
    loop {
        let deadline = heard + patience.unwrap_or(Duration::from_secs(86_400));
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return Err(Bad::Stopping),
            packet = line.read() => {
                heard = Instant::now();
                match packet? {
                    None => return Ok(Goodbye::Lost),
                    Some(Packet::Disconnect { with_will }) => return Ok(if with_will { Goodbye::Lost } else { Goodbye::Polite }),
                    Some(packet) => {
                        if let Some(answer) = answer(packet, client, version, shared)? {
                            line.write(&answer).await?;
                        }
                    }
                }
            }
            () = client.attached.wake.notified() => {
                if !shared.hub.is_current(&client.id, client.attached.turn) {
                    return Err(Bad::TakenOver);
                }
                let mut out = BytesMut::new();
                for (publish, again) in shared.hub.next(&client.id, client.attached.turn) {
                    out.extend_from_slice(&codec::forward(version, &publish, again));
                }
                line.write(&out).await?;
            }
            () = tokio::time::sleep_until(deadline), if patience.is_some() => return Err(Bad::Silent),
        }
    }
}

fn answer(packet: Packet, client: &Client, version: Version, shared: &Shared) -> Result<Option<Bytes>, Bad> {
    Ok(match packet {
        Packet::Publish(publish) => publish_answer(publish, version, shared),
        Packet::PubAck(id) => {
            shared.hub.acknowledged(&client.id, id);
            None
        }
        Packet::Subscribe(id, filters) => {
            let refused = if version == Version::V5 { 0x8f } else { 0x80 };
            let codes: Vec<u8> = shared.hub.subscribe(&client.id, &filters).into_iter().map(|granted| granted.unwrap_or(refused)).collect();
            Some(codec::suback(version, id, &codes))
        }
        Packet::Unsubscribe(id, filters) => {
            // 0x11: there was no such subscription.
            let codes: Vec<u8> =
                shared.hub.unsubscribe(&client.id, &filters).into_iter().map(|removed| if removed { 0 } else { 0x11 }).collect();
            Some(codec::unsuback(version, id, &codes))
        }
        Packet::Ping => Some(codec::pong()),
        Packet::Connect(_) | Packet::Disconnect { .. } => return Err(Bad::Protocol),
    })
}

fn publish_answer(publish: Publish, version: Version, shared: &Shared) -> Option<Bytes> {
    let packet_id = publish.packet_id;
    let reason = match shared.hub.publish(publish) {
        Routed::Taken => 0,
        Routed::NobodyListens => 0x10,
        Routed::QueuesFull => 0x97,
    };
    packet_id.map(|id| codec::puback(version, id, reason))
}
