//! Owns what the packets of MQTT 5 and 3.1.1 say, as far as a broker reads them, and which topics and filters are sound.
//! Refuses to know bytes, sessions and sockets. Pure.

use bytes::Bytes;

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
    NotAllowed = 0x87,
    Stopping = 0x8B,
    Silent = 0x8D,
    TakenOver = 0x8E,
    ReceiveMax = 0x93,
    TooBig = 0x95,
    Full = 0x97,
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
    /// Present for quality 1 and 2.
    pub(super) packet_id: Option<u16>,
    /// Quality 2: taken in once however often it comes; handed on at quality 1.
    pub(super) once: bool,
    pub(super) retain: bool,
    pub(super) payload: Bytes,
    pub(super) expiry_s: Option<u32>,
    /// Properties that go through unread: payload format, content type, response topic, correlation, user.
    pub(super) properties: Bytes,
}

/// What a subscription wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) quality: u8,
    /// MQTT 5: not what the subscriber itself publishes.
    pub(super) no_local: bool,
    /// MQTT 5: the mark of a retained message stays on it.
    pub(super) as_published: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Filter {
    pub(super) text: String,
    pub(super) wish: Wish,
    /// MQTT 5: 0 sends what is retained, 1 only to a new subscription, 2 never.
    pub(super) retain_handling: u8,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Packet {
    Connect(Box<Connect>),
    Publish(Publish),
    PubAck(u16),
    PubRel(u16),
    Subscribe(u16, Vec<Filter>),
    Unsubscribe(u16, Vec<String>),
    Ping,
    Disconnect { with_will: bool },
}

pub(super) fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#'])
}

/// Whether a filter asks for a share of what others read too; such subscriptions are not had here.
pub(super) fn is_shared(filter: &str) -> bool {
    filter.starts_with("$share/")
}

/// Whether a subscription may have this filter.
pub(super) fn is_filter(filter: &str) -> bool {
    let levels: Vec<&str> = filter.split('/').collect();
    let sound = |(place, level): (usize, &&str)| match *level {
        "+" => true,
        "#" => place + 1 == levels.len(),
        other => !other.contains(['+', '#']),
    };
    !filter.is_empty() && !is_shared(filter) && levels.iter().enumerate().all(sound)
}

pub(super) fn matches(filter: &str, topic: &str) -> bool {
    // A wildcard in the first place does not mean the topics of the broker itself.
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
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

#[cfg(test)]
mod tests {
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
            ("#", "$SYS/uptime", false),
            ("+/uptime", "$SYS/uptime", false),
            ("$SYS/#", "$SYS/uptime", true),
            ("a/#", "a/$b", true),
        ] {
            assert_eq!(matches(filter, topic), fits, "{filter} {topic}");
        }
        for (filter, sound) in [("a/+/b", true), ("#", true), ("a/#/b", false), ("a+", false), ("", false), ("$share/g/a", false)] {
            assert_eq!(is_filter(filter), sound, "{filter}");
        }
    }
}
