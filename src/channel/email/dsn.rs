//! Owns reading a delivery status notification (RFC 3464, RFC 6533) as a mail server pipes it to us.
//! Refuses to know accounts and what a verdict leads to; bounces in free text are not guessed at.
//! Invariant: only `delivered` is delivery, and only where no other server is named that took it; `relayed` and `expanded` say that the letter
//! went on, not that it arrived. Nothing is read of a report that does not prove which letter it is about.

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
    /// Who was written to, and who it went to in the end.
    addresses: Vec<String>,
    action: Action,
    /// Whether another server took it: what that did with it this one cannot say.
    went_on: bool,
    /// `Status`, as its three numbers.
    status: Option<(u8, u16, u16)>,
    diagnostic: String,
    at: Option<Timestamp>,
}

/// What one notification says.
#[derive(Debug, PartialEq)]
struct Notification {
    envelope_id: Option<String>,
    /// Message-IDs of the returned letter, without their brackets.
    message_ids: Vec<String>,
    outcomes: Vec<Outcome>,
}

/// Who reads, and what he believes.
pub(super) struct Reader<'a> {
    pub(super) domain: &'a str,
    /// Whether a name of this delivery, with the key that stood beside it, is one that we gave.
    pub(super) is_ours: &'a dyn Fn(DeliveryId, Option<&str>) -> bool,
    /// Reports of success were asked for; without, only what came back is news.
    pub(super) asked: bool,
}

/// The reports that a raw message holds about a letter of ours; `None` when it proves no such.
pub(super) fn read(raw: &[u8], reader: &Reader<'_>, now: Timestamp) -> Result<Option<Vec<Report>>, Failure> {
    let notification = parse(raw)
        .ok_or_else(|| Failure::new(Class::Reject, Concerns::Request, "not-a-report", "the message holds no delivery status (RFC 3464)"))?;
    let Some(id) = delivery_of(&notification, reader) else { return Ok(None) };
    let report = |outcome: &Outcome| Report {
        about: About::Handed { id, attempt: None, readers: outcome.addresses.clone() },
        news: news_of(outcome),
        // A relay whose clock runs ahead must not put evidence into the future.
        at: outcome.at.filter(|&at| at <= now),
    };
    let told = notification.outcomes.iter().filter(|outcome| reader.asked || outcome.action == Action::Failed);
    Ok(Some(told.map(report).collect()))
}

fn delivery_of(notification: &Notification, reader: &Reader<'_>) -> Option<DeliveryId> {
    let local = |message_id: &'_ str| {
        let (local, at) = message_id.split_once('@')?;
        at.eq_ignore_ascii_case(reader.domain).then(|| local.to_owned())
    };
    let by_message = notification.message_ids.iter().filter_map(|id| local(id));
    notification.envelope_id.iter().cloned().chain(by_message).find_map(|name| {
        let (id, mac) = name.split_once('.').map_or((name.as_str(), None), |(id, mac)| (id, Some(mac)));
        id.parse().ok().filter(|&id| (reader.is_ours)(id, mac))
    })
}

fn news_of(outcome: &Outcome) -> News {
    match outcome.action {
        Action::Delivered if !outcome.went_on => News::Delivered,
        // Some servers say so of what they passed on (Exim); whoever has it now may say more.
        Action::Delivered => News::Accepted,
        Action::Relayed | Action::Expanded | Action::Delayed => News::Accepted,
        Action::Failed => {
            let (class, reason) = match outcome.status {
                Some((4, _, _)) => (Class::Retry, "gave-up"),
                Some((_, 2, 2)) => (Class::Retry, "mailbox-full"),
                // 5.1.7 and 5.1.8 speak of the sender.
                Some((_, 1, detail)) if !matches!(detail, 7 | 8) => (Class::Reject, "no-such-mailbox"),
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
    let is_status =
        |part: &MessagePart<'_>| is_type(part, "message", "delivery-status") || is_type(part, "message", "global-delivery-status");
    let status = find(&message, 0, &is_status)?;
    let mut blocks = blocks(&status);
    let about_message = if blocks.is_empty() { Vec::new() } else { blocks.remove(0) };
    let reporting = typed(&about_message, "reporting-mta").unwrap_or_default();
    let mut outcomes: Vec<Outcome> = blocks.iter().take(RECIPIENTS_MAX).filter_map(|block| outcome(block, &reporting)).collect();
    // Some servers write one block for each try.
    outcomes.dedup();
    if outcomes.is_empty() {
        return None;
    }
    let named = std::iter::once(&about_message).chain(&blocks).filter_map(|block| field(block, "x-original-message-id"));
    let named = named.map(|id| id.trim_matches(['<', '>', ' ']).to_owned());
    Some(Notification {
        envelope_id: field(&about_message, "original-envelope-id").map(unxtext),
        message_ids: returned_id(&message).into_iter().chain(named).collect(),
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

/// Message-ID of the letter that came back, whole (`message/rfc822`, `message/global`) or as its headers (`text/rfc822-headers`,
/// `message/global-headers`).
fn returned_id(message: &Message<'_>) -> Option<String> {
    message.parts.iter().find_map(|part| match &part.body {
        PartType::Message(returned) => returned.message_id().map(ToOwned::to_owned),
        _ if [("text", "rfc822-headers"), ("message", "global-headers"), ("message", "global")]
            .iter()
            .any(|(main, sub)| is_type(part, main, sub)) =>
        {
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

/// A field's value behind its type (`rfc822; `, `dns; `).
fn typed(block: &[(String, String)], name: &str) -> Option<String> {
    field(block, name).map(|value| value.split_once(';').map_or(value, |(_, rest)| rest).trim().to_owned())
}

fn outcome(block: &[(String, String)], reporting: &str) -> Option<Outcome> {
    let diagnostic = typed(block, "diagnostic-code").unwrap_or_default();
    // What a server calls "other" its talk with the next may say more exactly.
    let said = field(block, "status").and_then(status);
    let status = match said {
        Some((_, 0, 0)) | None => diagnostic.split([' ', '-', '#']).find_map(enhanced).or(said),
        exact => exact,
    };
    let action = match field(block, "action")?.split_whitespace().next()?.to_ascii_lowercase().as_str() {
        "failed" | "failure" => Action::Failed,
        "delayed" => Action::Delayed,
        "delivered" => Action::Delivered,
        "relayed" => Action::Relayed,
        "expanded" => Action::Expanded,
        // A word of its own, beside a status that leaves no doubt.
        _ if matches!(status, Some((5, ..))) => Action::Failed,
        _ => return None,
    };
    let addresses = ["original-recipient", "final-recipient"].iter().filter_map(|name| typed(block, name)).map(|text| plain_address(&text));
    let at = field(block, "last-attempt-date")
        .and_then(DateTime::parse_rfc822)
        .map(|date| Timestamp::from_ms(date.to_timestamp().saturating_mul(1_000)));
    Some(Outcome {
        addresses: addresses.filter(|address| !address.is_empty()).collect(),
        action,
        went_on: typed(block, "remote-mta").is_some_and(|remote| is_elsewhere(&remote, reporting)),
        status,
        diagnostic,
        at,
    })
}

/// Whether a server is another than the one that reports: the store behind its own socket (LMTP) is not.
fn is_elsewhere(remote: &str, reporting: &str) -> bool {
    let host = remote.split_whitespace().next().unwrap_or_default().trim_end_matches('.');
    let is_here = host.is_empty() || host.contains('/') || host.eq_ignore_ascii_case(reporting.trim_end_matches('.'));
    !is_here && !matches!(host.to_ascii_lowercase().as_str(), "localhost" | "127.0.0.1" | "[127.0.0.1]" | "::1" | "[::1]")
}

/// An enhanced code that is one word of a server's reply.
fn enhanced(word: &str) -> Option<(u8, u16, u16)> {
    let word = word.trim_matches(|letter: char| !letter.is_ascii_digit());
    let code = status(word)?;
    matches!(code.0, 2 | 4 | 5).then_some(code)
}

/// An address as it is registered: out of its brackets, xtext (RFC 3461) and `\x{…}` (RFC 6533).
fn plain_address(text: &str) -> String {
    let text = unxtext(text.trim_matches(['<', '>']));
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("\\x{") {
        out.push_str(before);
        let letter = after.split_once('}').and_then(|(hex, tail)| Some((char::from_u32(u32::from_str_radix(hex, 16).ok()?)?, tail)));
        let Some((letter, tail)) = letter else {
            out.push_str("\\x{");
            rest = after;
            continue;
        };
        out.push(letter);
        rest = tail;
    }
    out + rest
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

    /// Whoever believes everything of the county's.
    fn anything() -> Reader<'static> {
        Reader { domain: "county.example", is_ours: &|_, _| true, asked: true }
    }

    /// Nothing, too, where it is about nobody's letter.
    fn told(raw: &str) -> Vec<Report> {
        read(raw.as_bytes(), &anything(), now()).expect("a report").unwrap_or_default()
    }

    fn id() -> DeliveryId {
        DeliveryId { alert: AlertNo(7), index: 41 }
    }

    /// The class and word of the only failure, and whom it names.
    fn failed(raw: &str) -> (Class, &'static str, Vec<String>) {
        let mut reports = told(raw);
        assert_eq!(reports.len(), 1, "{raw}");
        match reports.remove(0) {
            Report { about: About::Handed { id: of, readers, .. }, news: News::Failed(failure), .. } => {
                assert_eq!(of, id());
                (failure.class, failure.reason, readers)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn internationalized_reports_are_read_and_letters_found_by_whatever_names_them() {
        let returned = format!("Message-ID: <{}@county.example>\r\nSubject: x\r\n", id());
        let fields = "Reporting-MTA: dns; mx.c.example\r\n\r\nFinal-Recipient: utf-8; 王@c.example\r\nAction: failed\r\nStatus: 5.1.1\r\n";
        let global = notification(fields, &returned)
            .replace("message/delivery-status", "message/global-delivery-status")
            .replace("text/rfc822-headers", "message/global-headers");
        assert_eq!(failed(&global), (Class::Reject, "no-such-mailbox", vec!["王@c.example".to_owned()]));
        let whole = notification(fields, &format!("{returned}\r\nThe text.\r\n")).replace("text/rfc822-headers", "message/global");
        assert_eq!(failed(&whole).1, "no-such-mailbox");
        let escaped = fields.replace('王', "\\x{738B}");
        assert_eq!(failed(&notification(&escaped, &returned)).2, ["王@c.example"]);
        for place in ["Reporting-MTA: dns; mx.c.example\r\n", "Action: failed\r\n"] {
            let named = fields.replace(place, &format!("{place}X-Original-Message-ID: <{}@county.example>\r\n", id()));
            assert_eq!(failed(&notification(&named, "X-Note: none\r\n")).1, "no-such-mailbox", "{place}");
        }
    }

    #[test]
    fn where_the_status_says_nothing_the_talk_with_the_next_server_does() {
        let returned = format!("Message-ID: <{}@county.example>\r\n", id());
        for (status, diagnostic, class, reason) in [
            ("5.0.0", "smtp; 552 5.2.2 Mailbox full", Class::Retry, "mailbox-full"),
            ("5.0.0", "smtp; 550-5.1.1 <a@b.example> unknown", Class::Reject, "no-such-mailbox"),
            ("5.0.0", "smtp; 550 no", Class::Reject, "letter-refused"),
            ("5.7.1", "smtp; 550 5.1.1 unknown", Class::Reject, "letter-refused"),
            ("5.1.8", "smtp; 550 5.1.8 sender", Class::Reject, "letter-refused"),
            ("4.0.0", "smtp; 451 4.4.1 no answer from 192.0.2.1", Class::Retry, "gave-up"),
        ] {
            let fields = format!(
                "Reporting-MTA: dns; mx\r\n\r\nFinal-Recipient: rfc822; a@b.example\r\nAction: failed\r\nStatus: {status}\r\nDiagnostic-Code: {diagnostic}\r\n"
            );
            let (got, word, _) = failed(&notification(&fields, &returned));
            assert_eq!((got, word), (class, reason), "{status} {diagnostic}");
        }
        let odd = "Reporting-MTA: dns; mx\r\n\r\nFinal-Recipient: rfc822; a@b.example\r\nAction: error\r\nStatus: 5.1.1\r\n";
        assert_eq!(failed(&notification(odd, &returned)).1, "no-such-mailbox");
    }

    #[test]
    fn what_another_server_took_is_not_delivered_yet() {
        let returned = format!("Message-ID: <{}@county.example>\r\n", id());
        for (remote, news) in [
            ("Remote-MTA: dns; mx.far.example\r\n", News::Accepted),
            ("Remote-MTA: dns; MX.example.\r\n", News::Delivered),
            ("Remote-MTA: dns; private/dovecot-lmtp\r\n", News::Delivered),
            ("Remote-MTA: dns; localhost\r\n", News::Delivered),
            ("", News::Delivered),
        ] {
            let fields = format!(
                "Reporting-MTA: dns; mx.example\r\n\r\nFinal-Recipient: rfc822; a@b.example\r\nAction: delivered\r\nStatus: 2.0.0\r\n{remote}"
            );
            assert_eq!(told(&notification(&fields, &returned))[0].news, news, "{remote}");
        }
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
        let reports = told(&notification(&fields, "Subject: x"));
        let at = "2026-07-23T10:15:00+08:00".parse().ok();
        let readers = vec!["a+b@c.example".to_owned(), "x@c.example".to_owned()];
        let about = About::Handed { id, attempt: None, readers };
        assert_eq!(reports, [Report { about, news: News::Delivered, at }]);
    }

    #[test]
    fn without_an_envelope_id_the_returned_headers_name_the_delivery_and_only_under_our_domain() {
        let id = DeliveryId { alert: AlertNo(7), index: 41 };
        let fields = "Reporting-MTA: dns; mx.example\r\n\r\nFinal-Recipient: rfc822; chen@c.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\
                      Diagnostic-Code: smtp; 550 5.1.1 <chen@c.example>:\r\n user unknown\r\n";
        for (domain, ours) in [("County.Example", true), ("elsewhere.example", false)] {
            let raw = notification(fields, &format!("Message-ID: <{id}@{domain}>\r\nSubject: x\r\n"));
            let reports = told(&raw);
            assert_eq!(reports.len(), usize::from(ours), "{domain}");
            if let Some(Report { news: News::Failed(failure), .. }) = reports.first() {
                assert_eq!((failure.class, failure.reason), (Class::Reject, "no-such-mailbox"));
                assert!(!failure.detail.contains("chen") && failure.detail.contains("user unknown"), "{failure}");
            }
        }
    }

    #[test]
    fn only_delivered_is_delivery() {
        let outcome = |action, status| {
            news_of(&Outcome { addresses: Vec::new(), action, went_on: false, status, diagnostic: String::new(), at: None })
        };
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
        assert_eq!(read(raw.as_bytes(), &anything(), now()).expect_err("refused").reason, "not-a-report");
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
                read.outcomes.iter().flat_map(|outcome| &outcome.addresses).any(|address| address.eq_ignore_ascii_case(column[2])),
                "{}: {:?}",
                column[0],
                read.outcomes
            );
            let codes: Vec<String> =
                read.outcomes.iter().filter_map(|outcome| outcome.status).map(|(a, b, c)| format!("{a}.{b}.{c}")).collect();
            let code = codes.first().map_or("", String::as_str);
            // Where the report has no status of its own, its code is the one that the next server said.
            if column[6].is_empty() {
                let said = read.outcomes.first().map_or("", |outcome| outcome.diagnostic.as_str());
                assert!(!code.is_empty() && said.contains(code), "{}: {code} of {said:?}", column[0]);
            } else {
                assert_eq!(code, column[6], "{}", column[0]);
            }
        }
        assert!(structured >= 6, "only {structured} structured reports were found");
    }
}
