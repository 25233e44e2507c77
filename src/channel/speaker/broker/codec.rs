//! Owns the bytes of MQTT 5 and 3.1.1 as far as a broker of quality 0 and 1 reads and writes them.
//! Refuses to know sessions and sockets. Pure.
//! Invariant: no input makes it panic or hold more than one packet of the agreed size.

use bytes::{Buf, BufMut, Bytes, BytesMut};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V311,
    V5,
}

/// Why a connection ends, as the reason code that MQTT 5 tells the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    Malformed = 0x81,
    Protocol = 0x82,
    Version = 0x84,
    ClientId = 0x85,
    Login = 0x86,
    Full = 0x97,
    Stopping = 0x8B,
    Silent = 0x8D,
    TakenOver = 0x8E,
    TooBig = 0x95,
    QualityTwo = 0x9B,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Connect {
    pub(super) version: Version,
    pub(super) client: String,
    pub(super) clean: bool,
    pub(super) keep_alive_s: u16,
    /// Seconds; `u32::MAX` is never.
    pub(super) session_expiry_s: u32,
    pub(super) receive_max: u16,
    pub(super) will: Option<(Publish, u32)>,
    pub(super) login: Option<(String, Bytes)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Publish {
    pub(super) topic: String,
    /// Present for quality 1.
    pub(super) packet_id: Option<u16>,
    pub(super) retain: bool,
    pub(super) payload: Bytes,
    pub(super) expiry_s: Option<u32>,
    /// Properties that go through unread: payload format, content type, response topic, correlation, user.
    pub(super) properties: Bytes,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Filter {
    pub(super) text: String,
    pub(super) quality: u8,
    /// MQTT 5: 0 sends what is retained, 1 only to a new subscription, 2 never.
    pub(super) retain_handling: u8,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Packet {
    Connect(Box<Connect>),
    Publish(Publish),
    PubAck(u16),
    Subscribe(u16, Vec<Filter>),
    Unsubscribe(u16, Vec<String>),
    Ping,
    Disconnect { with_will: bool },
}

/// The next whole packet of `input`, if there is one. `version` is `None` until CONNECT has told it.
pub(super) fn decode(input: &mut BytesMut, version: Option<Version>, bytes_max: usize) -> Result<Option<Packet>, Bad> {
    let Some((header, length)) = frame(input)? else { return Ok(None) };
    if length > bytes_max {
        return Err(Bad::TooBig);
    }
    if input.len() < header + length {
        return Ok(None);
    }
    let first = input[0];
    input.advance(header);
    let mut body = Reader(input.split_to(length).freeze());
    let v5 = version == Some(Version::V5);
    let packet = match (first >> 4, version) {
        (1, None) => Packet::Connect(Box::new(connect(&mut body)?)),
        (_, None) | (1, Some(_)) => return Err(Bad::Protocol),
        (3, _) => Packet::Publish(publish(&mut body, first & 0x0f, v5)?),
        (4, _) => Packet::PubAck(body.u16()?),
        (8, _) => subscribe(&mut body, v5)?,
        (10, _) => unsubscribe(&mut body, v5)?,
        (12, _) => Packet::Ping,
        // Reason 4 asks for the will although the goodbye was polite.
        (14, _) => Packet::Disconnect { with_will: v5 && body.0.first() == Some(&4) },
        (5..=7, _) => return Err(Bad::QualityTwo),
        _ => return Err(Bad::Protocol),
    };
    Ok(Some(packet))
}

/// Bytes of the fixed header and of what follows it.
fn frame(input: &BytesMut) -> Result<Option<(usize, usize)>, Bad> {
    let mut length = 0_usize;
    for place in 0..4 {
        let Some(&byte) = input.get(1 + place) else { return Ok(None) };
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((2 + place, length)));
        }
    }
    Err(Bad::Malformed)
}

struct Reader(Bytes);

impl Reader {
    fn u8(&mut self) -> Result<u8, Bad> {
        self.0.try_get_u8().map_err(|_| Bad::Malformed)
    }

    fn u16(&mut self) -> Result<u16, Bad> {
        self.0.try_get_u16().map_err(|_| Bad::Malformed)
    }

    fn u32(&mut self) -> Result<u32, Bad> {
        self.0.try_get_u32().map_err(|_| Bad::Malformed)
    }

    fn varint(&mut self) -> Result<usize, Bad> {
        let mut value = 0;
        for place in 0..4 {
            let byte = self.u8()?;
            value |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Bad::Malformed)
    }

    fn take(&mut self, length: usize) -> Result<Bytes, Bad> {
        if self.0.len() < length { Err(Bad::Malformed) } else { Ok(self.0.split_to(length)) }
    }

    fn binary(&mut self) -> Result<Bytes, Bad> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    fn text(&mut self) -> Result<String, Bad> {
        let bytes = self.binary()?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Bad::Malformed)?;
        if text.contains('\0') { Err(Bad::Malformed) } else { Ok(text.to_owned()) }
    }
}

/// The properties that a broker acts on; the rest is passed on or ignored.
#[derive(Default)]
struct Properties {
    expiry_s: Option<u32>,
    session_expiry_s: Option<u32>,
    receive_max: Option<u16>,
    will_delay_s: u32,
    alias: bool,
    passed_on: BytesMut,
}

fn properties(body: &mut Reader) -> Result<Properties, Bad> {
    let length = body.varint()?;
    let mut list = Reader(body.take(length)?);
    let mut found = Properties::default();
    while !list.0.is_empty() {
        let whole = list.0.clone();
        let id = list.u8()?;
        match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => drop(list.u8()?),
            0x02 => found.expiry_s = Some(list.u32()?),
            0x11 => found.session_expiry_s = Some(list.u32()?),
            0x18 => found.will_delay_s = list.u32()?,
            0x27 => drop(list.u32()?),
            0x21 => found.receive_max = Some(list.u16()?),
            0x23 => {
                list.u16()?;
                found.alias = true;
            }
            0x13 | 0x22 => drop(list.u16()?),
            0x0b => drop(list.varint()?),
            0x03 | 0x08 | 0x12 | 0x15 | 0x1a | 0x1c | 0x1f => drop(list.text()?),
            0x09 | 0x16 => drop(list.binary()?),
            0x26 => {
                list.text()?;
                list.text()?;
            }
            _ => return Err(Bad::Malformed),
        }
        if matches!(id, 0x01 | 0x03 | 0x08 | 0x09 | 0x26) {
            found.passed_on.extend_from_slice(&whole[..whole.len() - list.0.len()]);
        }
    }
    Ok(found)
}

fn connect(body: &mut Reader) -> Result<Connect, Bad> {
    let name = body.text()?;
    let version = match (name.as_str(), body.u8()?) {
        ("MQTT", 4) => Version::V311,
        ("MQTT", 5) => Version::V5,
        _ => return Err(Bad::Version),
    };
    let v5 = version == Version::V5;
    let flags = body.u8()?;
    if flags & 1 != 0 {
        return Err(Bad::Malformed);
    }
    let keep_alive_s = body.u16()?;
    let asked = if v5 { properties(body)? } else { Properties::default() };
    let client = body.text()?;
    let clean = flags & 0x02 != 0;
    let will = if flags & 0x04 != 0 {
        let wish = if v5 { properties(body)? } else { Properties::default() };
        let topic = body.text()?;
        let payload = body.binary()?;
        if !is_topic(&topic) {
            return Err(Bad::Malformed);
        }
        let packet_id = (flags & 0x18 != 0).then_some(0);
        let will =
            Publish { topic, packet_id, retain: flags & 0x20 != 0, payload, expiry_s: wish.expiry_s, properties: wish.passed_on.freeze() };
        Some((will, wish.will_delay_s))
    } else {
        None
    };
    let user = if flags & 0x80 != 0 { Some(body.text()?) } else { None };
    let password = if flags & 0x40 != 0 { body.binary()? } else { Bytes::new() };
    let kept_for = if v5 {
        asked.session_expiry_s.unwrap_or(0)
    } else if clean {
        0
    } else {
        u32::MAX
    };
    Ok(Connect {
        version,
        client,
        clean,
        keep_alive_s,
        session_expiry_s: kept_for,
        receive_max: asked.receive_max.unwrap_or(u16::MAX),
        will,
        login: user.map(|user| (user, password)),
    })
}

fn publish(body: &mut Reader, flags: u8, v5: bool) -> Result<Publish, Bad> {
    let topic = body.text()?;
    let packet_id = match (flags >> 1) & 3 {
        0 => None,
        1 => Some(body.u16()?),
        _ => return Err(Bad::QualityTwo),
    };
    let said = if v5 { properties(body)? } else { Properties::default() };
    // No alias was offered, so none may be used.
    if said.alias || !is_topic(&topic) || packet_id == Some(0) {
        return Err(Bad::Protocol);
    }
    let payload = body.0.clone();
    Ok(Publish { topic, packet_id, retain: flags & 1 != 0, payload, expiry_s: said.expiry_s, properties: said.passed_on.freeze() })
}

fn subscribe(body: &mut Reader, v5: bool) -> Result<Packet, Bad> {
    let packet_id = body.u16()?;
    if v5 {
        properties(body)?;
    }
    let mut filters = Vec::new();
    while !body.0.is_empty() {
        let text = body.text()?;
        let options = body.u8()?;
        let retain_handling = if v5 { (options >> 4) & 3 } else { 0 };
        filters.push(Filter { text, quality: (options & 3).min(1), retain_handling });
    }
    if filters.is_empty() { Err(Bad::Protocol) } else { Ok(Packet::Subscribe(packet_id, filters)) }
}

fn unsubscribe(body: &mut Reader, v5: bool) -> Result<Packet, Bad> {
    let packet_id = body.u16()?;
    if v5 {
        properties(body)?;
    }
    let mut filters = Vec::new();
    while !body.0.is_empty() {
        filters.push(body.text()?);
    }
    Ok(Packet::Unsubscribe(packet_id, filters))
}

fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#'])
}

/// Whether a subscription may have this filter.
pub(super) fn is_filter(filter: &str) -> bool {
    let levels: Vec<&str> = filter.split('/').collect();
    let sound = |(place, level): (usize, &&str)| match *level {
        "+" => true,
        "#" => place + 1 == levels.len(),
        other => !other.contains(['+', '#']),
    };
    !filter.is_empty() && !filter.starts_with("$share/") && levels.iter().enumerate().all(sound)
}

pub(super) fn matches(filter: &str, topic: &str) -> bool {
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        match (level, topic.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

fn packet(first: u8, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(body.len() + 5);
    out.put_u8(first);
    put_varint(&mut out, body.len());
    out.extend_from_slice(body);
    out.freeze()
}

fn put_varint(out: &mut BytesMut, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        out.put_u8(if value > 0 { low | 0x80 } else { low });
        if value == 0 {
            return;
        }
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.extend_from_slice(text.as_bytes());
}

pub(super) fn connack(version: Version, session_present: bool, given_id: Option<&str>, bytes_max: u32) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(u8::from(session_present));
    body.put_u8(0);
    if version == Version::V5 {
        let mut list = BytesMut::new();
        // Quality at most 1, no subscription identifiers, no shared subscriptions.
        list.extend_from_slice(&[0x24, 1, 0x29, 0, 0x2a, 0, 0x27]);
        list.put_u32(bytes_max);
        if let Some(id) = given_id {
            list.put_u8(0x12);
            put_text(&mut list, id);
        }
        put_varint(&mut body, list.len());
        body.extend_from_slice(&list);
    }
    packet(0x20, &body)
}

pub(super) fn refusal(version: Version, bad: Bad) -> Bytes {
    if version == Version::V5 {
        return packet(0x20, &[0, bad as u8, 0]);
    }
    let code = match bad {
        Bad::Version => 1,
        Bad::ClientId => 2,
        Bad::Login => 4,
        _ => 3,
    };
    packet(0x20, &[0, code])
}

pub(super) fn puback(version: Version, packet_id: u16, reason: u8) -> Bytes {
    let id = packet_id.to_be_bytes();
    if version == Version::V5 && reason != 0 { packet(0x40, &[id[0], id[1], reason, 0]) } else { packet(0x40, &id) }
}

pub(super) fn suback(version: Version, packet_id: u16, codes: &[u8]) -> Bytes {
    acknowledgement(0x90, version, packet_id, codes)
}

pub(super) fn unsuback(version: Version, packet_id: u16, codes: &[u8]) -> Bytes {
    acknowledgement(0xb0, version, packet_id, if version == Version::V5 { codes } else { &[] })
}

fn acknowledgement(first: u8, version: Version, packet_id: u16, codes: &[u8]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u16(packet_id);
    if version == Version::V5 {
        body.put_u8(0);
    }
    body.extend_from_slice(codes);
    packet(first, &body)
}

pub(super) fn pong() -> Bytes {
    Bytes::from_static(&[0xd0, 0])
}

pub(super) fn disconnect(bad: Bad) -> Bytes {
    packet(0xe0, &[bad as u8, 0])
}

/// A publish to a subscriber; `message.packet_id` is the subscriber's, `message.expiry_s` what is left.
pub(super) fn forward(version: Version, message: &Publish, again: bool) -> Bytes {
    let mut body = BytesMut::with_capacity(message.topic.len() + message.payload.len() + message.properties.len() + 16);
    put_text(&mut body, &message.topic);
    if let Some(id) = message.packet_id {
        body.put_u16(id);
    }
    if version == Version::V5 {
        let expiry = message.expiry_s.map_or(0, |_| 5);
        put_varint(&mut body, message.properties.len() + expiry);
        if let Some(seconds) = message.expiry_s {
            body.put_u8(0x02);
            body.put_u32(seconds);
        }
        body.extend_from_slice(&message.properties);
    }
    body.extend_from_slice(&message.payload);
    let quality = u8::from(message.packet_id.is_some()) << 1;
    packet(0x30 | (u8::from(again) << 3) | quality | u8::from(message.retain), &body)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn filters_match_as_the_standard_says() {
        for (filter, topic, fits) in [
            ("a/+/c", "a/b/c", true),
            ("a/+/c", "a/b/d", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/+", "a", false),
            ("a/+", "a/b/c", false),
            ("#", "a/b", true),
            ("a/b", "a/b", true),
        ] {
            assert_eq!(matches(filter, topic), fits, "{filter} {topic}");
        }
        for (filter, sound) in [("a/+/b", true), ("#", true), ("a/#/b", false), ("a+", false), ("", false), ("$share/g/a", false)] {
            assert_eq!(is_filter(filter), sound, "{filter}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0_usize..3) {
            let version = [None, Some(Version::V311), Some(Version::V5)][version];
            let mut input = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = decode(&mut input, version, 1_000) {}
        }

        #[test]
        fn a_forwarded_message_reads_back_in_both_versions(
            topic in "[a-z]{1,8}(/[a-z]{1,8}){0,3}", payload in proptest::collection::vec(any::<u8>(), 0..300),
            id in proptest::option::of(1_u16..), expiry in proptest::option::of(any::<u32>()), retain: bool,
        ) {
            for version in [Version::V311, Version::V5] {
                let expiry_s = expiry.filter(|_| version == Version::V5);
                let message = Publish { topic: topic.clone(), packet_id: id, retain, payload: payload.clone().into(), expiry_s, properties: Bytes::new() };
                let mut wire = BytesMut::from(&forward(version, &message, false)[..]);
                prop_assert_eq!(decode(&mut wire, Some(version), 10_000), Ok(Some(Packet::Publish(message))));
                prop_assert!(wire.is_empty());
            }
        }
    }
}
