//! Owns reading the bytes of MQTT 5 and 3.1.1.
//! Refuses to know sessions, sockets and who may say what. Pure.
//! Invariant: no input makes it panic or hold more than one packet of the agreed size.

use bytes::{Buf, Bytes, BytesMut};

use super::packet::{Bad, Connect, Filter, Packet, Publish, Version, Wish, is_topic};

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
        // These three say in their first byte that they are what they are.
        (6 | 8 | 10, _) if first & 0x0f != 2 => return Err(Bad::Malformed),
        (6, _) => Packet::PubRel(body.u16()?),
        (8, _) => subscribe(&mut body, v5)?,
        (10, _) => unsubscribe(&mut body, v5)?,
        (12, _) => Packet::Ping,
        // Reason 4 asks for the will although the goodbye was polite.
        (14, _) => Packet::Disconnect { with_will: v5 && body.0.first() == Some(&4) },
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
    // `MQIsdp` was the name in MQTT 3.1.
    let version = match (name.as_str(), body.u8()?) {
        ("MQTT", 4) => Version::V311,
        ("MQTT", 5) => Version::V5,
        ("MQTT" | "MQIsdp", _) => return Err(Bad::Version),
        _ => return Err(Bad::Malformed),
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
    if flags & 0x04 == 0 && flags & 0x38 != 0 {
        return Err(Bad::Malformed);
    }
    let will = if flags & 0x04 != 0 {
        let wish = if v5 { properties(body)? } else { Properties::default() };
        let topic = body.text()?;
        let payload = body.binary()?;
        if !is_topic(&topic) {
            return Err(Bad::Malformed);
        }
        if flags & 0x18 == 0x18 {
            return Err(Bad::Malformed);
        }
        let packet_id = (flags & 0x18 != 0).then_some(0);
        let (retain, properties) = (flags & 0x20 != 0, wish.passed_on.freeze());
        let will = Publish { topic, packet_id, once: false, retain, payload, expiry_s: wish.expiry_s, properties };
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
    let quality = (flags >> 1) & 3;
    let packet_id = match quality {
        0 => None,
        1 | 2 => Some(body.u16()?),
        _ => return Err(Bad::Malformed),
    };
    let said = if v5 { properties(body)? } else { Properties::default() };
    // No alias was offered, so none may be used.
    if said.alias || !is_topic(&topic) || packet_id == Some(0) {
        return Err(Bad::Protocol);
    }
    let payload = body.0.clone();
    let (retain, properties) = (flags & 1 != 0, said.passed_on.freeze());
    Ok(Publish { topic, packet_id, once: quality == 2, retain, payload, expiry_s: said.expiry_s, properties })
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
        let (quality, retain_handling) = (options & 3, (options >> 4) & 3);
        let unknown = if v5 { 0xc0 } else { 0xfc };
        if quality == 3 || retain_handling == 3 || options & unknown != 0 {
            return Err(Bad::Malformed);
        }
        let wish = Wish { quality: quality.min(1), no_local: options & 4 != 0, as_published: options & 8 != 0 };
        filters.push(Filter { text, wish, retain_handling });
    }
    if filters.is_empty() || packet_id == 0 { Err(Bad::Protocol) } else { Ok(Packet::Subscribe(packet_id, filters)) }
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
    if filters.is_empty() || packet_id == 0 { Err(Bad::Protocol) } else { Ok(Packet::Unsubscribe(packet_id, filters)) }
}
