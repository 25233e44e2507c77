//! Owns reading what speakers say: topic and payload to a `Report`.
//! Refuses to know which speakers exist; whoever may publish may say anything, so everything is bounded and checked.
//! Invariant: no payload makes it panic, and what is not understood is named, not guessed.

use serde::Deserialize;

use crate::{
    channel::{About, Class, Failure, News, Report},
    time::Timestamp,
};

/// Reports have a few hundred bytes.
const PAYLOAD_BYTES_MAX: usize = 16 * 1024;
const ID_CHARS_MAX: usize = 64;
const DETAIL_CHARS_MAX: usize = 200;
/// A clock further ahead than this is wrong, and its time is not taken over.
const CLOCK_AHEAD_MAX: std::time::Duration = std::time::Duration::from_secs(60);

#[derive(Deserialize)]
struct Ack {
    msg_id: String,
    state: String,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Playback {
    msg_id: String,
    state: String,
    #[serde(default)]
    started_at: Option<Timestamp>,
    #[serde(default)]
    ended_at: Option<Timestamp>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Deserialize)]
struct Health {
    online: bool,
    #[serde(default)]
    at: Option<Timestamp>,
}

/// The report that `payload` on `topic` is; otherwise a closed word for what is wrong with it.
pub(super) fn read(prefix: &str, topic: &[u8], payload: &[u8], now: Timestamp) -> Result<Report, &'static str> {
    let topic = std::str::from_utf8(topic).map_err(|_| "bad-topic")?;
    let rest = topic.strip_prefix(prefix).and_then(|rest| rest.strip_prefix("/speaker/")).ok_or("bad-topic")?;
    let (id, what) = rest.split_once('/').ok_or("bad-topic")?;
    if !is_id(id) {
        return Err("bad-device-id");
    }
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err("too-big");
    }
    match what {
        "ack" => ack(id, payload),
        "report" => playback(id, payload, now),
        "status" => health(id, payload, now),
        _ => Err("bad-topic"),
    }
}

/// Whether a device id can be part of a topic and of a log line.
pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.chars().count() <= ID_CHARS_MAX && !id.contains(['/', '+', '#']) && !id.chars().any(char::is_control)
}

fn ack(id: &str, payload: &[u8]) -> Result<Report, &'static str> {
    let ack: Ack = serde_json::from_slice(payload).map_err(|_| "bad-payload")?;
    let news = match ack.state.as_str() {
        // A duplicate is a command that had arrived before: it is at the device either way.
        "accepted" | "duplicate" => News::Delivered,
        "rejected" => {
            let said = ack.reason.unwrap_or_default();
            // Never `Misconfigured`: one speaker's word must not park the account of all the others.
            let (class, reason) = match said.as_str() {
                "bad-signature" => (Class::Reject, "bad-signature"),
                "expired" => (Class::Reject, "expired-at-device"),
                "not-for-this-speaker" => (Class::Reject, "not-for-this-speaker"),
                // It lay at the broker while the speaker was away: sent anew it is fresh.
                "too-old" => (Class::Retry, "too-old-at-device"),
                _ => (Class::Reject, "refused-by-device"),
            };
            News::Failed(failure(class, reason, &said))
        }
        _ => return Err("bad-state"),
    };
    about(id, ack.msg_id, news, None)
}

fn playback(id: &str, payload: &[u8], now: Timestamp) -> Result<Report, &'static str> {
    let said: Playback = serde_json::from_slice(payload).map_err(|_| "bad-payload")?;
    let (news, at) = match said.state.as_str() {
        "played" => (News::Played, said.ended_at),
        // Begun, or cut off: the command is at the device, but nobody can say that it was heard to its end.
        "playing" | "stopped" => (News::Delivered, said.started_at),
        "failed" => (News::Failed(failure(Class::Retry, "failed-at-device", &said.error.unwrap_or_default())), said.ended_at),
        _ => return Err("bad-state"),
    };
    about(id, said.msg_id, news, at.filter(|&at| at <= now.plus(CLOCK_AHEAD_MAX)))
}

fn health(id: &str, payload: &[u8], now: Timestamp) -> Result<Report, &'static str> {
    let detail: serde_json::Value = serde_json::from_slice(payload).map_err(|_| "bad-payload")?;
    let health: Health = serde_json::from_value(detail.clone()).map_err(|_| "bad-payload")?;
    let at = health.at.filter(|&at| at <= now.plus(CLOCK_AHEAD_MAX));
    Ok(Report {
        about: About::DeviceStatus { id: id.to_owned() },
        news: News::Online { online: health.online, said_now: true, detail },
        at,
    })
}

fn about(id: &str, msg_id: String, news: News, at: Option<Timestamp>) -> Result<Report, &'static str> {
    if !is_id(&msg_id) {
        return Err("bad-msg-id");
    }
    Ok(Report { about: About::Device { id: id.to_owned(), msg_id }, news, at })
}

fn failure(class: Class, reason: &'static str, said: &str) -> Failure {
    let detail = said.chars().filter(|letter| !letter.is_control()).take(DETAIL_CHARS_MAX).collect();
    Failure { detail, ..Failure::new(class, super::answers::concerns(reason), reason, "") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> Timestamp {
        "2026-07-23T10:20:00+08:00".parse().expect("a time")
    }

    fn news(what: &str, payload: &str) -> Result<News, &'static str> {
        read("lastmile/v1", format!("lastmile/v1/speaker/S1/{what}").as_bytes(), payload.as_bytes(), now()).map(|report| report.news)
    }

    #[test]
    fn each_state_is_the_evidence_that_it_is_and_no_more() {
        assert_eq!(news("ack", r#"{"msg_id":"m","state":"accepted"}"#), Ok(News::Delivered));
        assert_eq!(news("ack", r#"{"msg_id":"m","state":"duplicate","reason":null}"#), Ok(News::Delivered));
        assert_eq!(news("report", r#"{"msg_id":"m","state":"playing"}"#), Ok(News::Delivered));
        assert_eq!(news("report", r#"{"msg_id":"m","state":"stopped"}"#), Ok(News::Delivered));
        assert_eq!(news("report", r#"{"msg_id":"m","state":"played","times":3}"#), Ok(News::Played));
        let class = |payload, what| match news(what, payload) {
            Ok(News::Failed(failure)) => failure.class,
            other => panic!("{other:?}"),
        };
        assert_eq!(class(r#"{"msg_id":"m","state":"rejected","reason":"bad-signature"}"#, "ack"), Class::Reject);
        assert_eq!(class(r#"{"msg_id":"m","state":"rejected","reason":"expired"}"#, "ack"), Class::Reject);
        assert_eq!(class(r#"{"msg_id":"m","state":"rejected","reason":"too-old"}"#, "ack"), Class::Retry);
        assert_eq!(class(r#"{"msg_id":"m","state":"failed","error":"amplifier"}"#, "report"), Class::Retry);
        assert!(matches!(news("status", r#"{"online":false,"battery":12}"#), Ok(News::Online { online: false, .. })));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert_eq!(news("ack", r#"{"msg_id":"m","state":"heard"}"#), Err("bad-state"));
        assert_eq!(news("ack", r#"{"state":"accepted"}"#), Err("bad-payload"));
        assert_eq!(news("ack", r#"{"msg_id":"a/b","state":"accepted"}"#), Err("bad-msg-id"));
        assert_eq!(news("status", "[]"), Err("bad-payload"));
        assert_eq!(news("shout", "{}"), Err("bad-topic"));
        assert_eq!(news("report", &format!("{}{}", " ".repeat(20_000), r#"{"msg_id":"m","state":"played"}"#)), Err("too-big"));
        assert_eq!(read("lastmile/v1", b"other/speaker/S/ack", b"{}", now()), Err("bad-topic"));
    }

    #[test]
    fn a_clock_that_runs_ahead_is_not_believed() {
        let at = |text: &str| {
            let payload = format!(r#"{{"msg_id":"m","state":"played","ended_at":"{text}"}}"#);
            read("p", b"p/speaker/S1/report", payload.as_bytes(), now()).expect("a report").at
        };
        assert_eq!(at("2026-07-23T10:19:00+08:00"), "2026-07-23T10:19:00+08:00".parse().ok());
        assert_eq!(at("2036-07-23T10:19:00+08:00"), None);
    }

    proptest! {
        #[test]
        fn no_topic_or_payload_makes_it_panic(what in ".{0,40}", payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(read("p", format!("p/speaker/{what}").as_bytes(), &payload, now()));
        }
    }
}
