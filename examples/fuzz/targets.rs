//! Owns what must hold of any bytes: nothing panics, and every alert that is read survives being kept, and being written as CAP and read again.
//! Refuses to know where the bytes come from. Invariant: every public reader of documents is tried.

use std::sync::LazyLock;

use lastmile::{
    alert::{
        self, Alert, Limits, Vocabulary, cap, json,
        mapping::{BUILT_IN, Mapping},
        validate, wrapped,
    },
    area::AreaCode,
    channel::speaker::broker,
};

static MAPPINGS: LazyLock<Vec<Mapping>> = LazyLock::new(|| {
    let mappings = BUILT_IN.iter().filter_map(|(name, _)| Mapping::built_in(name));
    mappings.map(|mapping| mapping.for_areas("510726".parse::<AreaCode>().into_iter().collect())).collect()
});

/// How many alerts were read, or what did not hold.
pub(crate) fn judge(bytes: &[u8]) -> Result<u64, String> {
    let (limits, vocabulary) = (Limits::default(), Vocabulary::default());
    let mut read = 0;
    let mut whole = |alert: &Alert| {
        read += 1;
        survives(alert)
    };
    if let Ok(alert) = &alert::read(bytes, None, &limits, &vocabulary).outcome {
        whole(alert)?;
    }
    let report = validate::report("any", bytes);
    validate::text(&report);
    wrapped::is_wrapper(bytes);
    for entry in wrapped::entries(bytes, &limits).unwrap_or_default() {
        if let Some(inner) = entry.alert
            && let Ok(alert) = &alert::read(&inner, None, &limits, &vocabulary).outcome
        {
            whole(alert)?;
        }
    }
    for mapping in MAPPINGS.iter() {
        for reading in mapping.read(bytes, &limits).unwrap_or_default() {
            if let Ok(alert) = &reading.outcome {
                whole(alert)?;
            }
        }
    }
    // Packets are no alerts: that reading them ends is all that is asked.
    std::hint::black_box(packets(bytes));
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(mapping) = Mapping::parse(text)
    {
        mapping.read(b"{\"warning\":[{\"id\":\"1\"}]}", &limits).ok();
    }
    Ok(read)
}

/// First bytes of every packet that a client of MQTT sends.
const PACKETS: [u8; 12] = [0x10, 0x30, 0x32, 0x34, 0x3d, 0x40, 0x62, 0x82, 0xa2, 0xc0, 0xe0, 0xf0];
/// Longer ones hold nothing else.
const PACKET_BYTES_MAX: usize = 2_000;

/// The bytes as they are, and as the body of every packet of MQTT, behind the beginning of a sound CONNECT too; how many packets were read.
fn packets(bytes: &[u8]) -> u64 {
    let body = &bytes[..bytes.len().min(PACKET_BYTES_MAX)];
    let connect = [b"\0\x04MQTT\x05\xc2\0\x1e", body].concat();
    let framed = |first: u8, body: &[u8]| {
        let (low, high) = (u8::try_from(body.len() & 0x7f).unwrap_or(0), u8::try_from(body.len() >> 7).unwrap_or(0));
        [&[first, low | 0x80, high], body].concat()
    };
    let all = PACKETS.into_iter().map(|first| framed(first, body));
    all.chain([framed(0x10, &connect), body.to_vec()]).map(|packet| broker::packets_read(&packet)).sum()
}

fn survives(alert: &Alert) -> Result<(), String> {
    // By way of text, as a journal keeps it.
    let kept = json::to_value(alert).to_string();
    let value = serde_json::from_str(&kept).map_err(|error| format!("the normalised form is not JSON: {error}"))?;
    match json::from_kept(&value) {
        Ok(back) if back == *alert => {}
        other => return Err(format!("kept and read back: {other:?}\nwas {alert:?}")),
    }
    match json::from_value(&value) {
        Ok(back) if back == *alert => {}
        other => return Err(format!("posted again: {other:?}\nwas {alert:?}")),
    }
    let xml = cap::write(alert);
    match alert::read(xml.as_bytes(), None, &Limits { bytes_max: usize::MAX, ..Limits::default() }, &Vocabulary::default()).outcome {
        Ok(back) if back == *alert => Ok(()),
        other => Err(format!("written as CAP and read back: {other:?}\nwas {alert:?}\n{xml}")),
    }
}
