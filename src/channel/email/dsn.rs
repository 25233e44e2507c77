//! Owns reading a delivery status notification (RFC 3464) as a mail server pipes it to us.
//! Refuses to know accounts and what a verdict leads to; bounces in free text are not guessed at.
//! Invariant: only `delivered` is delivery; `relayed` and `expanded` say that the letter went on, not that it arrived.

use mail_parser::{DateTime, Message, MessageParser, MessagePart, MimeHeaders, PartType};

use super::smtp::without_addresses;
use crate::{
    channel::{About, Class, Concerns, Failure, News, Report},
    message::DeliveryId,
    time::Timestamp,
};

/// One letter of ours has one reader; a report that names more than this is not about one of ours.
const RECIPIENTS_MAX: usize = 100;
/// Messages nest reports in reports; ours are at the top or one below.
const DEPTH_MAX: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Failed,
    Delayed,
    Delivered,
    Relayed,
    Expanded,
}

#[derive(Debug, PartialEq)]
struct Outcome {
    address: String,
    action: Action,
    /// `Status`, as its three numbers.
    status: Option<(u8, u16, u16)>,
    diagnostic: String,
    at: Option<Timestamp>,
}

/// What one notification says.
#[derive(Debug, PartialEq)]
struct Notification {
    envelope_id: Option<String>,
    /// Message-ID of the returned letter, without its brackets.
    message_id: Option<String>,
    outcomes: Vec<Outcome>,
}

/// The reports that a raw message holds about letters of `domain`; empty when it is about somebody else's letter.
pub(super) fn read(raw: &[u8], domain: &str, now: Timestamp) -> Result<Vec<Report>, Failure> {
    let notification = parse(raw)
        .ok_or_else(|| Failure::new(Class::Reject, Concerns::Request, "not-a-report", "the message holds no delivery status (RFC 3464)"))?;
    let Some(delivery) = delivery_of(&notification, domain) else { return Ok(Vec::new()) };
    let report = |outcome: &Outcome| Report {
        about: About::Delivery(delivery),
        news: news_of(outcome),
        // A relay whose clock runs ahead must not put evidence into the future.
        at: outcome.at.filter(|&at| at <= now),
    };
    Ok(notification.outcomes.iter().map(report).collect())
}

fn delivery_of(notification: &Notification, domain: &str) -> Option<DeliveryId> {
    let by_envelope = notification.envelope_id.as_deref().and_then(|id| id.parse().ok());
    by_envelope.or_else(|| {
        let (local, at) = notification.message_id.as_deref()?.split_once('@')?;
        if at.eq_ignore_ascii_case(domain) { local.parse().ok() } else { None }
    })
}

fn news_of(outcome: &Outcome) -> News {
    match outcome.action {
        Action::Delivered => News::Delivered,
        Action::Relayed | Action::Expanded | Action::Delayed => News::Accepted,
        Action::Failed => {
            let (class, reason) = match outcome.status {
                Some((4, _, _)) => (Class::Retry, "gave-up"),
                Some((_, 2, 2)) => (Class::Retry, "mailbox-full"),
                Some((_, 1, _)) => (Class::Reject, "no-such-mailbox"),
                _ => (Class::Reject, "letter-refused"),
            };
            let status = outcome.status.map_or_else(String::new, |(class, subject, detail)| format!("{class}.{subject}.{detail} "));
            let detail = format!("{status}{}", without_addresses(&outcome.diagnostic));
            // A letter that was refused on its way says nothing about the mailbox at its end.
            let concerns = if reason == "letter-refused" { Concerns::Message } else { Concerns::Recipient };
            News::Failed(Failure::new(class, concerns, reason, detail))
        }
    }
}

fn parse(raw: &[u8]) -> Option<Notification> {
    let message = MessageParser::default().parse(raw)?;
    let status = find(&message, 0, &|part| is_type(part, "message", "delivery-status"))?;
    let mut blocks = blocks(&status);
    let about_message = if blocks.is_empty() { Vec::new() } else { blocks.remove(0) };
    let mut outcomes: Vec<Outcome> = blocks.iter().take(RECIPIENTS_MAX).filter_map(|block| outcome(block)).collect();
    // Some servers write one block for each try.
    outcomes.dedup();
    if outcomes.is_empty() {
        return None;
    }
    Some(Notification {
        envelope_id: field(&about_message, "original-envelope-id").map(unxtext),
        message_id: returned_id(&message),
        outcomes,
    })
}

/// The bytes of the first part, at any depth, that `fits`.
fn find(message: &Message<'_>, depth: usize, fits: &dyn Fn(&MessagePart<'_>) -> bool) -> Option<String> {
    for part in &message.parts {
        if fits(part) {
            return Some(String::from_utf8_lossy(part.contents()).into_owned());
        }
        if let PartType::Message(inner) = &part.body
            && depth < DEPTH_MAX
            && let Some(found) = find(inner, depth + 1, fits)
        {
            return Some(found);
        }
    }
    None
}

fn is_type(part: &MessagePart<'_>, main: &str, sub: &str) -> bool {
    part.content_type().is_some_and(|kind| {
        kind.ctype().eq_ignore_ascii_case(main) && kind.subtype().is_some_and(|subtype| subtype.eq_ignore_ascii_case(sub))
    })
}

/// Message-ID of the letter that came back, whole (`message/rfc822`) or as its headers (`text/rfc822-headers`).
fn returned_id(message: &Message<'_>) -> Option<String> {
    message.parts.iter().find_map(|part| match &part.body {
        PartType::Message(returned) => returned.message_id().map(ToOwned::to_owned),
        _ if is_type(part, "text", "rfc822-headers") => {
            MessageParser::default().parse(part.contents())?.message_id().map(ToOwned::to_owned)
        }
        _ => None,
    })
}

/// Groups of fields between empty lines, unfolded; names in lower case.
fn blocks(text: &str) -> Vec<Vec<(String, String)>> {
    let mut blocks: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for line in text.lines() {
        let current = blocks.last_mut().expect("starts with one block and never loses it");
        if line.trim().is_empty() {
            if !current.is_empty() {
                blocks.push(Vec::new());
            }
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = current.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            current.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    blocks.retain(|block| !block.is_empty());
    // Some servers leave the per-message fields out; what names a recipient is never about the message.
    if blocks.first().is_some_and(|first| field(first, "action").is_some()) {
        blocks.insert(0, Vec::new());
    }
    blocks
}

fn field<'a>(block: &'a [(String, String)], name: &str) -> Option<&'a str> {
    block.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn outcome(block: &[(String, String)]) -> Option<Outcome> {
    let action = match field(block, "action")?.split_whitespace().next()?.to_ascii_lowercase().as_str() {
        "failed" | "failure" => Action::Failed,
        "delayed" => Action::Delayed,
        "delivered" => Action::Delivered,
        "relayed" => Action::Relayed,
        "expanded" => Action::Expanded,
        _ => return None,
    };
    let typed = |name| field(block, name).map(|value| value.split_once(';').map_or(value, |(_, address)| address).trim().to_owned());
    let address = typed("original-recipient").or_else(|| typed("final-recipient")).unwrap_or_default();
    let at = field(block, "last-attempt-date")
        .and_then(DateTime::parse_rfc822)
        .map(|date| Timestamp::from_ms(date.to_timestamp().saturating_mul(1_000)));
    let diagnostic = typed("diagnostic-code").unwrap_or_default();
    Some(Outcome {
        address: unxtext(address.trim_matches(['<', '>'])),
        action,
        status: field(block, "status").and_then(status),
        diagnostic,
        at,
    })
}

fn status(text: &str) -> Option<(u8, u16, u16)> {
    let mut parts = text.split_whitespace().next()?.splitn(3, '.').map(str::parse::<u16>);
    let (class, subject, detail) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    Some((u8::try_from(class).ok()?, subject, detail))
}

/// RFC 3461 xtext back to text; what is no escape stays as it is.
fn unxtext(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, escaped) {
            (b'+', Some(value)) => {
                out.push(value);
                rest = &tail[2..];
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::alert::AlertNo;

    fn notification(fields: &str, returned: &str) -> String {
        format!(
            "From: MAILER-DAEMON@mx.example\r\nTo: alert@county.example\r\nSubject: Report\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n\
             --b\r\nContent-Type: text/plain\r\n\r\nIn words.\r\n\
             --b\r\nContent-Type: message/delivery-status\r\n\r\n{fields}\r\n\
             --b\r\nContent-Type: text/rfc822-headers\r\n\r\n{returned}\r\n--b--\r\n"
        )
    }

    fn now() -> Timestamp {
        "2026-07-23T12:00:00+08:00".parse().expect("a time")
    }

    #[test]
    fn a_report_is_about_the_delivery_that_its_envelope_id_names() {
        let id = DeliveryId { alert: AlertNo(7), index: 41 };
        let fields = format!(
            "Reporting-MTA: dns; mx.example\r\nOriginal-Envelope-Id: {id}\r\n\r\nOriginal-Recipient: rfc822;a+2Bb@c.example\r\n\
             Final-Recipient: rfc822; x@c.example\r\nAction: delivered\r\nStatus: 2.0.0\r\nLast-Attempt-Date: Thu, 23 Jul 2026 10:15:00 +0800\r\n"
        );
        let reports = read(notification(&fields, "Subject: x").as_bytes(), "county.example", now()).expect("a report");
        let at = "2026-07-23T10:15:00+08:00".parse().ok();
        assert_eq!(reports, [Report { about: About::Delivery(id), news: News::Delivered, at }]);
    }

    #[test]
    fn without_an_envelope_id_the_returned_headers_name_the_delivery_and_only_under_our_domain() {
        let id = DeliveryId { alert: AlertNo(7), index: 41 };
        let fields = "Reporting-MTA: dns; mx.example\r\n\r\nFinal-Recipient: rfc822; chen@c.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\
                      Diagnostic-Code: smtp; 550 5.1.1 <chen@c.example>:\r\n user unknown\r\n";
        for (domain, ours) in [("County.Example", true), ("elsewhere.example", false)] {
            let raw = notification(fields, &format!("Message-ID: <{id}@{domain}>\r\nSubject: x\r\n"));
            let reports = read(raw.as_bytes(), "county.example", now()).expect("a report");
            assert_eq!(reports.len(), usize::from(ours), "{domain}");
            if let Some(Report { news: News::Failed(failure), .. }) = reports.first() {
                assert_eq!((failure.class, failure.reason), (Class::Reject, "no-such-mailbox"));
                assert!(!failure.detail.contains("chen") && failure.detail.contains("user unknown"), "{failure}");
            }
        }
    }

    #[test]
    fn only_delivered_is_delivery() {
        let outcome = |action, status| news_of(&Outcome { address: String::new(), action, status, diagnostic: String::new(), at: None });
        for action in [Action::Relayed, Action::Expanded, Action::Delayed] {
            assert_eq!(outcome(action, Some((2, 0, 0))), News::Accepted);
        }
        assert_eq!(outcome(Action::Delivered, None), News::Delivered);
        let class = |status| match outcome(Action::Failed, status) {
            News::Failed(failure) => failure.class,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            [class(Some((4, 4, 7))), class(Some((5, 2, 2))), class(Some((5, 7, 1))), class(None)],
            [Class::Retry, Class::Retry, Class::Reject, Class::Reject]
        );
    }

    #[test]
    fn a_vacation_note_is_not_a_report() {
        let raw = "From: chen@c.example\r\nAuto-Submitted: auto-replied\r\nSubject: away\r\n\r\nI am away.\r\n";
        assert_eq!(read(raw.as_bytes(), "county.example", now()).expect_err("refused").reason, "not-a-report");
    }

    #[test]
    fn every_bounce_of_the_corpus_is_read_as_its_index_says_or_refused() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus/receipts/dsn"));
        let Ok(index) = std::fs::read_to_string(folder.join("index.tsv")) else {
            eprintln!("CORPUS MISSING: {} was not tested", folder.display());
            return;
        };
        let mut structured = 0;
        for row in index.lines().skip(1) {
            let column: Vec<&str> = row.split('\t').collect();
            let raw = std::fs::read(folder.join(column[0])).expect("the index names a file");
            let read = parse(&raw);
            assert_eq!(read.is_some(), !column[5].is_empty(), "{}: {read:?}", column[0]);
            let Some(read) = read else { continue };
            structured += 1;
            let seen: Vec<String> = read.outcomes.iter().map(|outcome| format!("{:?}", outcome.action).to_ascii_lowercase()).collect();
            assert!(seen.iter().all(|action| action == column[5]), "{}: {seen:?}", column[0]);
            assert!(
                read.outcomes.iter().any(|outcome| outcome.address.eq_ignore_ascii_case(column[2])),
                "{}: {:?}",
                column[0],
                read.outcomes
            );
            let codes: Vec<String> =
                read.outcomes.iter().filter_map(|outcome| outcome.status).map(|(a, b, c)| format!("{a}.{b}.{c}")).collect();
            assert_eq!(codes.first().map_or("", String::as_str), column[6], "{}", column[0]);
        }
        assert!(structured >= 6, "only {structured} structured reports were found");
    }
}
