//! Owns the letter: headers, threading and encoding of one message (RFC 5322, 2047, 2156, 3834).
//! Refuses to know servers: the bytes are good for any of them, 7 bits wide and with lines under 80 characters.
//! Invariant: the same delivery always has the same Message-ID, so a resent letter is recognised as the same one.

use std::time::{Duration, UNIX_EPOCH};

use lettre::{
    Address, Message,
    message::{
        Body, Mailbox, MessageBuilder,
        header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0},
    },
};

use crate::{
    alert::Level,
    channel::{
        Class, Concerns, Failure, Meaning,
        answers::{self, happens},
    },
    message::Outgoing,
    time::Timestamp,
};

/// A subject beyond this is no subject; RFC 2047 words of it would fill a screen of headers.
const SUBJECT_CHARS_MAX: usize = 200;

/// Who writes.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    pub(super) from: Mailbox,
}

impl Sender {
    pub(super) fn address(&self) -> &Address {
        &self.from.email
    }

    /// The right-hand side of our Message-IDs.
    pub(super) fn domain(&self) -> &str {
        self.from.email.domain()
    }
}

/// The address of `mail`, or why it will never be one.
pub(super) fn recipient(mail: &Outgoing) -> Result<Address, Failure> {
    mail.to.parse().map_err(|_| reject("bad-address", "the registered mailbox is not a mail address"))
}

/// The letter, ready for DATA (dots not yet doubled). `name` is the left-hand side of its Message-ID.
pub(super) fn compose(mail: &Outgoing, name: &str, sender: &Sender, to: &Address, now: Timestamp) -> Result<Vec<u8>, Failure> {
    if mail.subject.chars().any(char::is_control) {
        return Err(reject("bad-subject", "the subject holds a line break or another control character"));
    }
    let subject: String = mail.subject.chars().take(SUBJECT_CHARS_MAX).collect();
    let domain = sender.domain();
    let sent = UNIX_EPOCH + Duration::from_millis(u64::try_from(now.as_ms()).unwrap_or(0));
    let thread = |alert: crate::alert::AlertId| format!("<{alert}@{domain}>");
    let own = thread(mail.facts.alert);
    let mut builder = Message::builder()
        .from(sender.from.clone())
        .to(Mailbox::new(None, to.clone()))
        .subject(subject)
        .date(sent)
        .message_id(Some(format!("<{name}@{domain}>")));
    // No letter carries a thread's own id; mail programs still join letters that name the same one,
    // which keeps an update beside the warning without knowing which letter this reader got.
    builder = match mail.facts.replaces.first().copied().map(thread) {
        Some(earlier) => builder.in_reply_to(earlier.clone()).references(format!("{earlier} {own}")),
        None => builder.references(own),
    };
    builder = raw(builder, "Auto-Submitted", "auto-generated");
    if matches!(mail.facts.level, Level::Red | Level::Orange) {
        for (name, value) in [("Importance", "high"), ("X-Priority", "1"), ("Priority", "urgent")] {
            builder = raw(builder, name, value);
        }
    }
    let body = Body::new_with_encoding(mail.text.clone(), ContentTransferEncoding::Base64)
        .map_err(|_| reject("bad-text", "the text cannot be encoded"))?;
    let letter = builder
        .header(MIME_VERSION_1_0)
        .header(ContentType::TEXT_PLAIN)
        .body(body)
        .map_err(|error| reject("bad-letter", &error.to_string()))?;
    Ok(letter.formatted())
}

fn raw(builder: MessageBuilder, name: &'static str, value: &str) -> MessageBuilder {
    builder.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned()))
}

/// Only the address is the reader's; the rest is ours, and every account would write the same letter.
pub(super) const ANSWERS: [Meaning; 4] = [
    happens("the registered mailbox is no address", Class::Reject, Concerns::Recipient, "bad-address"),
    happens("the subject cannot be a subject", Class::Reject, Concerns::Message, "bad-subject"),
    happens("the text cannot be encoded", Class::Reject, Concerns::Message, "bad-text"),
    happens("the letter cannot be written", Class::Reject, Concerns::Message, "bad-letter"),
];

fn reject(reason: &'static str, detail: &str) -> Failure {
    Failure::new(Class::Reject, answers::concerns(&ANSWERS, reason), reason, detail)
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        alert::{AlertId, AlertNo, MsgType, Status},
        message::{DeliveryId, Facts},
    };

    pub(in crate::channel) fn letter(index: u32) -> Outgoing {
        let facts = Facts {
            alert: AlertId(uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001)),
            status: Status::Actual,
            msg_type: MsgType::Alert,
            replaces: Vec::new(),
            event: serde_json::from_value(serde_json::json!("11B03")).expect("a code"),
            event_name: "暴雨".to_owned(),
            level: Level::Red,
            headline: "北川羌族自治县气象台发布暴雨红色预警".to_owned(),
            issuer: "北川羌族自治县气象台".to_owned(),
            effective: Timestamp::from_ms(1_784_772_900_000),
            expires: Timestamp::from_ms(1_784_794_500_000),
            repeat: 3,
        };
        Outgoing {
            id: DeliveryId { alert: AlertNo(7), index },
            to: "chen.wei@example.com".to_owned(),
            area: "510726102201".parse().expect("a code"),
            whole_area: None,
            subject: "暴雨红色预警：擂鼓镇请立即转移到安置点，远离河道与陡坡".to_owned(),
            text: "擂鼓镇：预计未来三小时降雨一百毫米以上。\n.请立即转移。\n".to_owned(),
            answer_url: None,
            facts: Arc::new(facts),
            attempt: 1,
        }
    }

    pub(in crate::channel::email) fn sender() -> Sender {
        Sender { from: "北川预警 <alert@county.example>".parse().expect("a mailbox") }
    }

    fn written(mail: &Outgoing) -> String {
        let to = recipient(mail).expect("an address");
        let now = Timestamp::from_ms(1_784_772_960_000);
        String::from_utf8(compose(mail, &mail.id.to_string(), &sender(), &to, now).expect("a letter")).expect("seven bits")
    }

    #[test]
    fn a_red_warning_reads_as_a_letter_that_any_server_takes() {
        let text = written(&letter(3));
        assert!(text.is_ascii() && text.split("\r\n").all(|line| line.len() <= 998), "{text}");
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "a lone line break in {text}");
        insta::assert_snapshot!(text.replace("\r\n", "\n"));
        let read = mail_parser::MessageParser::default().parse(text.as_bytes()).expect("a message");
        assert_eq!(read.subject(), Some(letter(3).subject.as_str()));
        assert_eq!(
            read.body_text(0).map(|body| body.replace("\r\n", "\n").trim_end().to_owned()),
            Some(letter(3).text.trim_end().to_owned())
        );
    }

    #[test]
    fn an_update_stands_in_the_thread_of_the_warning_it_changes() {
        let mut update = letter(4);
        let first = update.facts.alert;
        let mut facts = (*update.facts).clone();
        facts.replaces = vec![first];
        facts.alert = AlertId(uuid::Uuid::from_u128(2));
        facts.level = Level::Blue;
        update.facts = Arc::new(facts);
        let text = written(&update);
        let root = format!("<{first}@county.example>");
        assert!(written(&letter(3)).contains(&format!("References: {root}")));
        assert!(text.contains(&format!("In-Reply-To: {root}")) && text.contains(&format!("References: {root}")), "{text}");
        assert!(!text.contains("X-Priority"), "a blue warning is not urgent");
    }

    #[test]
    fn a_line_break_in_a_subject_or_an_address_never_becomes_a_header() {
        let mut mail = letter(1);
        mail.subject = "预警\r\nBcc: all@example.com".to_owned();
        let to = recipient(&mail).expect("an address");
        let refused = compose(&mail, "1", &sender(), &to, Timestamp::from_ms(0)).expect_err("refused");
        assert_eq!((refused.class, refused.reason), (Class::Reject, "bad-subject"));
        for address in ["a@b.example\r\nRCPT TO:<x@y.example>", "a b@c.example", "nobody", "a@b.example>", "", "a@b\n.example"] {
            mail.to = address.to_owned();
            assert_eq!(recipient(&mail).expect_err("refused").reason, "bad-address", "{address:?}");
        }
    }
}
