//! Owns one client's connection: it is let in, heard, answered and given what waits for it.
//! Refuses to know routes and rights; it asks the hub and the door.
//! Invariant: whoever is silent, slow or says what it may not costs itself alone.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{
    Shared,
    decode::decode,
    door::Identity,
    encode::{self, Welcome},
    guests::Place,
    hub::{Attached, Opening, Routed},
    packet::{Bad, Connect, Filter, Packet, Publish, Version},
    session::{Room, UNRELEASED_MAX},
};

/// A CONNECT that takes longer is a port scanner.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A client that takes longer to read is gone, and must not hold what waits for others.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// A CONNECT with its Will, and everything of a device: 16 kB of payload and what stands around it.
const SMALL_BYTES_MAX: usize = 20 * 1024;
/// Commands have a few kB; pictures and recordings come by address.
pub(super) const PACKET_BYTES_MAX: usize = 64 * 1024;
/// Whoever is silent for half as long again is gone, whatever it asked for; a device pings twice a minute.
const KEEP_ALIVE_MAX_S: u16 = 300;
/// A device that was away for longer is told by the gateway anew.
const SESSION_KEPT_MAX_S: u32 = 7 * 86_400;
/// What one device may publish in a second before it must wait; a warning makes it say four things.
const PACE: u32 = 50;

/// One client's connection.
struct Line {
    stream: TcpStream,
    from: SocketAddr,
    input: BytesMut,
    version: Option<Version>,
    bytes_max: usize,
}

impl Line {
    /// The next packet; `None` when the client closed. Cancel-safe: what was read stays in `input`.
    async fn read(&mut self) -> Result<Option<Packet>, Bad> {
        loop {
            if let Some(packet) = decode(&mut self.input, self.version, self.bytes_max)? {
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

    async fn refuse(&mut self, version: Version, bad: Bad) {
        if self.write(&encode::refusal(version, bad)).await.is_err() {
            tracing::debug!(from = %self.from, "a refused client had gone already");
        }
    }
}

pub(super) async fn serve(stream: TcpStream, from: SocketAddr, mut place: Place, shared: Arc<Shared>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut line = Line { stream, from, input: BytesMut::with_capacity(1_024), version: None, bytes_max: SMALL_BYTES_MAX };
    let Some(first) = shared.stop.run_until_cancelled(timeout(CONNECT_WITHIN, line.read())).await else { return };
    let connect = match first {
        Ok(Ok(Some(Packet::Connect(connect)))) => connect,
        Ok(Err(Bad::Version)) => {
            shared.refusals.count("version", || format!("{from} speaks neither MQTT 5 nor 3.1.1"));
            // The answer to an unknown version has the form that the oldest clients read.
            return line.refuse(Version::V311, Bad::Version).await;
        }
        Ok(Err(bad)) => return shared.refusals.count("no-connect", || format!("{from} does not begin as a client of MQTT does: {bad:?}")),
        Ok(Ok(_)) => return,
        Err(_) => return shared.refusals.count("silent", || format!("{from} said nothing for {CONNECT_WITHIN:?}")),
    };
    let version = connect.version;
    line.version = Some(version);
    match admit(*connect, from, &mut place, &shared) {
        Ok(client) => {
            line.bytes_max = client.bytes_max();
            converse(line, client, version, &shared).await;
        }
        Err(bad) => line.refuse(version, bad).await,
    }
}

/// A client that was let in.
struct Client {
    identity: Identity,
    /// How the hub calls its session.
    session: Arc<str>,
    id: String,
    given_id: bool,
    asked_keep_alive_s: u16,
    asked_kept_for_s: u32,
    kept_for_s: u32,
    attached: Attached,
}

impl Client {
    const fn bytes_max(&self) -> usize {
        if self.identity.is_small() { SMALL_BYTES_MAX } else { PACKET_BYTES_MAX }
    }

    fn keep_alive_s(&self) -> u16 {
        if self.asked_keep_alive_s == 0 { KEEP_ALIVE_MAX_S } else { self.asked_keep_alive_s.min(KEEP_ALIVE_MAX_S) }
    }

    fn welcome(&self) -> Welcome<'_> {
        Welcome {
            resumed: self.attached.resumed,
            given_id: self.given_id.then_some(self.id.as_str()),
            bytes_max: u32::try_from(self.bytes_max()).unwrap_or(u32::MAX),
            receive_max: UNRELEASED_MAX,
            keep_alive_s: Some(self.keep_alive_s()).filter(|&seconds| seconds != self.asked_keep_alive_s),
            kept_for_s: Some(self.kept_for_s).filter(|&seconds| seconds != self.asked_kept_for_s),
        }
    }
}

fn admit(mut connect: Connect, from: SocketAddr, place: &mut Place, shared: &Shared) -> Result<Client, Bad> {
    let user = connect.login.as_ref().map(|(user, _)| user.chars().take(64).collect::<String>());
    let identity = shared.entry.identify(connect.login.take()).inspect_err(|_| {
        shared.refusals.count("bad-login", || format!("{from} with the name {user:?}: not the credential of a registered speaker"));
    })?;
    let (id, given_id) = shared.entry.client_id(&identity, &connect).inspect_err(|_| {
        shared.refusals.count("bad-client-id", || format!("{from}, {identity}: {:?} is not its client id", short(&connect.client)));
    })?;
    if identity != Identity::Gateway && shared.hub.is_connected(&Identity::gateway_session(&id)) {
        shared.refusals.count("client-id-of-the-gateway", || format!("{from}, {identity}: {id:?} is the gateway's own client id"));
        return Err(Bad::ClientId);
    }
    if connect.receive_max == 0 {
        return Err(Bad::Protocol);
    }
    if let Some((will, _)) = &connect.will
        && let Some(bad) = shared.entry.forbids_publish(&identity, will)
    {
        shared.refusals.count("will-not-allowed", || format!("{from}, {identity}: a Will on {:?}", short(&will.topic)));
        return Err(bad);
    }
    if !place.is_known(identity != Identity::Shared) {
        shared.refusals.count("no-place", || format!("{from}: too many clients without a credential of their own"));
        return Err(Bad::Full);
    }
    let is_small = identity.is_small();
    let kept_for_s = if is_small { connect.session_expiry_s.min(SESSION_KEPT_MAX_S) } else { connect.session_expiry_s };
    let session = identity.session(&id);
    let opening = Opening {
        session: Arc::clone(&session),
        clean: connect.clean,
        kept_for_s,
        receive_max: connect.receive_max,
        will: connect.will,
        room: if is_small { Room::SMALL } else { Room::LARGE },
        is_counted: identity != Identity::Gateway,
    };
    let attached = shared.hub.attach(opening, |filter| shared.entry.forbids_filter(&identity, filter).is_none()).ok_or_else(|| {
        shared.refusals.count("sessions-full", || format!("{from}, {identity}: there are as many sessions as there may be"));
        Bad::Full
    })?;
    let (asked_keep_alive_s, asked_kept_for_s) = (connect.keep_alive_s, connect.session_expiry_s);
    Ok(Client { identity, session, id, given_id, asked_keep_alive_s, asked_kept_for_s, kept_for_s, attached })
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

async fn converse(mut line: Line, mut client: Client, version: Version, shared: &Arc<Shared>) {
    let end = talk(&mut line, &mut client, version, shared).await;
    let polite = matches!(end, Ok(Goodbye::Polite));
    if let Err(bad) = end {
        tracing::debug!(from = %line.from, identity = %client.identity, client = %client.id, ?bad, "a client's connection ends");
        if version == Version::V5 && line.write(&encode::disconnect(bad)).await.is_err() {
            tracing::debug!("a client had gone before it was told why");
        }
    }
    let due = shared.hub.detach(&client.session, client.attached.turn, polite);
    // A broker that stops says nothing in its clients' names: they are not gone, it is.
    if let Some((will, delay)) = due.filter(|_| !shared.stop.is_cancelled()) {
        let (shared, stop) = (Arc::clone(shared), shared.stop.clone());
        shared.clone().tasks.spawn(stop.run_until_cancelled_owned(async move {
            tokio::time::sleep(delay).await;
            if shared.hub.is_away(&client.session) {
                shared.hub.publish(will, &client.session);
            }
        }));
    }
}

enum Goodbye {
    Polite,
    Lost,
}

async fn talk(line: &mut Line, client: &mut Client, version: Version, shared: &Shared) -> Result<Goodbye, Bad> {
    line.write(&encode::connack(version, client.welcome())).await?;
    // The standard gives a client half as long again as it promised.
    let patience = Duration::from_millis(u64::from(client.keep_alive_s()) * 1_500);
    let (mut heard, mut pace) = (Instant::now(), Pace::new());
    loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => return Err(Bad::Stopping),
            packet = line.read() => {
                heard = Instant::now();
                match packet? {
                    None => return Ok(Goodbye::Lost),
                    Some(Packet::Disconnect { with_will }) => return Ok(if with_will { Goodbye::Lost } else { Goodbye::Polite }),
                    Some(packet) => {
                        if client.identity.is_small() && matches!(packet, Packet::Publish(_)) {
                            pace.rest().await;
                        }
                        if !matches!(packet, Packet::PubAck(_)) {
                            client.identity = shared.entry.stands(&client.identity).ok_or(Bad::NotAllowed)?;
                        }
                        if let Some(answer) = answer(packet, client, version, shared)? {
                            line.write(&answer).await?;
                        }
                    }
                }
            }
            () = client.attached.wake.notified() => {
                if !shared.hub.is_current(&client.session, client.attached.turn) {
                    return Err(Bad::TakenOver);
                }
                let mut out = BytesMut::new();
                for (publish, again) in shared.hub.next(&client.session, client.attached.turn) {
                    out.extend_from_slice(&encode::forward(version, &publish, again));
                }
                line.write(&out).await?;
            }
            () = tokio::time::sleep_until(heard + patience) => return Err(Bad::Silent),
        }
    }
}

/// How fast a device publishes; one that floods waits, and the kernel holds what it says.
struct Pace {
    since: Instant,
    count: u32,
}

impl Pace {
    fn new() -> Self {
        Self { since: Instant::now(), count: 0 }
    }

    async fn rest(&mut self) {
        if self.count >= PACE {
            tokio::time::sleep_until(self.since + Duration::from_secs(1)).await;
        }
        if self.since.elapsed() >= Duration::from_secs(1) {
            *self = Self::new();
        }
        self.count += 1;
    }
}

fn answer(packet: Packet, client: &Client, version: Version, shared: &Shared) -> Result<Option<Bytes>, Bad> {
    let turn = client.attached.turn;
    Ok(match packet {
        Packet::Publish(publish) => publish_answer(publish, client, version, shared)?,
        Packet::PubAck(id) => {
            shared.hub.acknowledged(&client.session, turn, id);
            None
        }
        Packet::PubRel(id) => Some(encode::pubcomp(version, id, shared.hub.release(&client.session, turn, id))),
        Packet::Subscribe(id, filters) => Some(encode::suback(version, id, &subscribe(&filters, client, version, shared))),
        Packet::Unsubscribe(id, filters) => {
            // 0x11: there was no such subscription.
            let removed = shared.hub.unsubscribe(&client.session, &filters);
            let codes: Vec<u8> = removed.into_iter().map(|removed| if removed { 0 } else { 0x11 }).collect();
            Some(encode::unsuback(version, id, &codes))
        }
        Packet::Ping => Some(encode::pong()),
        Packet::Connect(_) | Packet::Disconnect { .. } => return Err(Bad::Protocol),
    })
}

fn subscribe(filters: &[Filter], client: &Client, version: Version, shared: &Shared) -> Vec<u8> {
    const QUOTA: u8 = 0x97;
    let refused = |code: u8| if version == Version::V5 { code } else { 0x80 };
    let judged: Vec<Option<u8>> = filters.iter().map(|filter| shared.entry.forbids_filter(&client.identity, &filter.text)).collect();
    let allowed: Vec<&Filter> = filters.iter().zip(&judged).filter(|(_, code)| code.is_none()).map(|(filter, _)| filter).collect();
    let mut granted = shared.hub.subscribe(&client.session, &allowed).into_iter();
    let codes = filters.iter().zip(judged).map(|(filter, code)| match code {
        Some(code) => {
            shared.refusals.count("subscription", || format!("{}: {:?} is not for it to hear", client.identity, short(&filter.text)));
            refused(code)
        }
        None => granted.next().flatten().unwrap_or_else(|| refused(QUOTA)),
    });
    codes.collect()
}

fn publish_answer(publish: Publish, client: &Client, version: Version, shared: &Shared) -> Result<Option<Bytes>, Bad> {
    let (packet_id, once) = (publish.packet_id, publish.once);
    let turn = client.attached.turn;
    if let Some(bad) = shared.entry.forbids_publish(&client.identity, &publish) {
        shared.refusals.count("publish", || format!("{}: {:?} is not for it to say ({bad:?})", client.identity, short(&publish.topic)));
        // 3.1.1 has no word for a refusal but the end of the connection, and devices would come back for ever: it is taken and goes nowhere.
        // Of the codes that a PUBACK may have, none says that it is too big.
        let code = if bad == Bad::NotAllowed { 0x87 } else { 0x83 };
        return Ok(packet_id.map(|id| encode::taken(version, once, id, code)));
    }
    if let (true, Some(id)) = (once, packet_id) {
        match shared.hub.begin_once(&client.session, turn, id) {
            None => return Err(Bad::ReceiveMax),
            Some(false) => return Ok(Some(encode::taken(version, once, id, 0))),
            Some(true) => {}
        }
    }
    let reason = match shared.hub.publish(publish, &client.session) {
        Routed::Taken => 0,
        Routed::NobodyListens => 0x10,
        Routed::QueuesFull => 0x97,
    };
    if let (true, 0x97, Some(id)) = (once, reason, packet_id) {
        // Refused, so it is not begun.
        shared.hub.release(&client.session, turn, id);
    }
    Ok(packet_id.map(|id| encode::taken(version, once, id, reason)))
}
