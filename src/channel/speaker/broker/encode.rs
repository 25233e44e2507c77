//! Owns writing the bytes of MQTT 5 and 3.1.1.
//! Refuses to know sessions and sockets. Pure.

use bytes::{BufMut, Bytes, BytesMut};

use super::packet::{Bad, Publish, Version};

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

/// What a client is told as it is let in, where that is other than it asked or than the standard supposes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Welcome<'a> {
    pub(super) resumed: bool,
    pub(super) given_id: Option<&'a str>,
    pub(super) bytes_max: u32,
    pub(super) receive_max: u16,
    pub(super) keep_alive_s: Option<u16>,
    pub(super) kept_for_s: Option<u32>,
}

pub(super) fn connack(version: Version, welcome: Welcome<'_>) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u8(u8::from(welcome.resumed));
    body.put_u8(0);
    if version == Version::V5 {
        let mut list = BytesMut::new();
        // No subscription identifiers, no shared subscriptions.
        list.extend_from_slice(&[0x29, 0, 0x2a, 0, 0x27]);
        list.put_u32(welcome.bytes_max);
        list.put_u8(0x21);
        list.put_u16(welcome.receive_max);
        if let Some(seconds) = welcome.keep_alive_s {
            list.put_u8(0x13);
            list.put_u16(seconds);
        }
        if let Some(seconds) = welcome.kept_for_s {
            list.put_u8(0x11);
            list.put_u32(seconds);
        }
        if let Some(id) = welcome.given_id {
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
        Bad::NotAllowed => 5,
        _ => 3,
    };
    packet(0x20, &[0, code])
}

/// The answer to a publish of quality 1, or the first one to a publish of quality 2.
pub(super) fn taken(version: Version, once: bool, packet_id: u16, reason: u8) -> Bytes {
    let (first, id) = (if once { 0x50 } else { 0x40 }, packet_id.to_be_bytes());
    if version == Version::V5 && reason != 0 { packet(first, &[id[0], id[1], reason, 0]) } else { packet(first, &id) }
}

/// The last answer to a publish of quality 2.
pub(super) fn pubcomp(version: Version, packet_id: u16, known: bool) -> Bytes {
    let id = packet_id.to_be_bytes();
    if version == Version::V5 && !known { packet(0x70, &[id[0], id[1], 0x92, 0]) } else { packet(0x70, &id) }
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

    use super::{
        super::{decode::decode, packet::Packet},
        *,
    };

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
                let (topic, payload) = (topic.clone(), payload.clone().into());
                let message = Publish { topic, packet_id: id, once: false, retain, payload, expiry_s, properties: Bytes::new() };
                let mut wire = BytesMut::from(&forward(version, &message, false)[..]);
                prop_assert_eq!(decode(&mut wire, Some(version), 10_000), Ok(Some(Packet::Publish(message))));
                prop_assert!(wire.is_empty());
            }
        }
    }
}
