//! Owns what an SMTP reply means for a letter (RFC 5321, 3463): the error table, by the step that was answered.
//! Refuses to know connections. Pure.
//! Invariant: a refusal of our account (password, sender, relaying) never counts against the reader's address.

use std::time::Duration;

use crate::channel::{Class, Failure};

/// Where in the talk a reply came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Greeting,
    Hello,
    StartTls,
    Auth,
    Sender,
    Recipient,
    Data,
    /// The letter is being written; its end has not been handed over.
    Letter,
    /// The final dot went out: from here on silence means "perhaps taken".
    End,
}

impl Step {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Greeting => "the greeting",
            Self::Hello => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Sender => "MAIL",
            Self::Recipient => "RCPT",
            Self::Data => "DATA",
            Self::Letter => "the letter",
            Self::End => "the end of the letter",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    /// The text after the code of each line, joined by one space.
    pub(super) text: String,
}

impl Reply {
    pub(super) const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// The enhanced status (`4.7.1`) that the text starts with, as far as it is one.
    pub(super) fn status(&self) -> Option<(u8, u16, u16)> {
        let mut parts = self.text.split_whitespace().next()?.splitn(3, '.');
        let class = parts.next()?.parse().ok()?;
        let subject = parts.next()?.parse().ok()?;
        let detail = parts.next()?.parse().ok()?;
        matches!(class, 2 | 4 | 5).then_some((class, subject, detail))
    }
}

/// Greylisting opens after a minute or more as a rule; asking sooner only burns tries.
const GREYLISTED_FOR: Duration = Duration::from_secs(60);
/// Texts of servers are long and sometimes quote the address; the code says what matters.
const TEXT_CHARS_MAX: usize = 160;

/// The failure that a negative (or misplaced) reply means.
pub(super) fn judge(step: Step, reply: &Reply) -> Failure {
    let (class, reason) = class_of(step, reply);
    let retry_after = (reason == "greylisted").then_some(GREYLISTED_FOR);
    Failure { class, reason, detail: format!("{} to {}: {}", reply.code, step.name(), without_addresses(&reply.text)), retry_after }
}

fn class_of(step: Step, reply: &Reply) -> (Class, &'static str) {
    use Class::{Misconfigured, Reject, Retry};
    let status = reply.status();
    let (subject, detail) = status.map_or((0, 0), |(_, subject, detail)| (subject, detail));
    match (step, reply.code) {
        (_, 421) => (Retry, "closing"),
        (_, 530 | 538) => (Misconfigured, "login-wanted"),
        (Step::Auth, 500..=599) => (Misconfigured, "bad-login"),
        (_, 534 | 535) => (Misconfigured, "bad-login"),
        (_, 450 | 451) if subject == 7 || reply.text.to_ascii_lowercase().contains("grey") => (Retry, "greylisted"),
        (_, 452 | 552) if (subject, detail) != (3, 4) => (Retry, if subject == 3 { "server-full" } else { "mailbox-full" }),
        (_, 450) => (Retry, "mailbox-busy"),
        (_, 400..=499) => (Retry, "smtp-4yz"),
        (_, 552) => (Reject, "too-big"),
        (Step::Greeting | Step::Hello, 500..=599) => (Misconfigured, "refused-us"),
        (Step::StartTls, 500..=599) => (Misconfigured, "tls"),
        (Step::Sender, 500..=599) => (Misconfigured, "sender-refused"),
        (_, 500..=599) if refuses_relaying(reply) => (Misconfigured, "relay-denied"),
        (Step::Recipient, 550 | 551 | 553) => (Reject, "no-such-mailbox"),
        (Step::Recipient, 500..=599) => (Reject, "recipient-refused"),
        (_, 500..=599) => (Reject, "letter-refused"),
        // A 2yz or 3yz where another was due: the talk is out of step and the connection is given up.
        (Step::End, _) => (Class::Unknown, "protocol"),
        _ => (Retry, "protocol"),
    }
}

fn refuses_relaying(reply: &Reply) -> bool {
    let text = reply.text.to_ascii_lowercase();
    text.contains("relay") || text.contains("authentication required")
}

/// Details go to logs and pages; mailboxes do not.
pub(in crate::channel::email) fn without_addresses(text: &str) -> String {
    let words = text.split_whitespace().map(|word| if word.contains('@') { "<…>" } else { word });
    let joined = words.collect::<Vec<_>>().join(" ");
    joined.chars().filter(|letter| !letter.is_control()).take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_class_by_the_step_it_answers() {
        use Class::{Misconfigured, Reject, Retry, Unknown};
        let table = [
            (Step::Greeting, "421 too many connections", Retry, "closing"),
            (Step::Greeting, "554 5.7.1 your address is listed", Misconfigured, "refused-us"),
            (Step::Auth, "535 5.7.8 bad credentials", Misconfigured, "bad-login"),
            (Step::Auth, "454 4.7.0 temporary authentication failure", Retry, "smtp-4yz"),
            (Step::Auth, "534 5.7.9 too weak", Misconfigured, "bad-login"),
            (Step::Sender, "530 5.7.0 authentication required", Misconfigured, "login-wanted"),
            (Step::Sender, "538 encryption required", Misconfigured, "login-wanted"),
            (Step::Sender, "550 5.7.1 not your domain", Misconfigured, "sender-refused"),
            (Step::Recipient, "450 4.2.1 busy", Retry, "mailbox-busy"),
            (Step::Recipient, "450 4.7.1 please come back", Retry, "greylisted"),
            (Step::Recipient, "451 Greylisted, try again", Retry, "greylisted"),
            (Step::Recipient, "452 4.2.2 over quota", Retry, "mailbox-full"),
            (Step::Recipient, "452 4.3.1 no space", Retry, "server-full"),
            (Step::Recipient, "552 5.2.2 over quota", Retry, "mailbox-full"),
            (Step::Recipient, "550 5.1.1 user unknown", Reject, "no-such-mailbox"),
            (Step::Recipient, "553 syntax", Reject, "no-such-mailbox"),
            (Step::Recipient, "554 5.7.1 relay access denied", Misconfigured, "relay-denied"),
            (Step::Recipient, "554 no", Reject, "recipient-refused"),
            (Step::Data, "451 4.3.0 later", Retry, "smtp-4yz"),
            (Step::End, "552 5.3.4 too big", Reject, "too-big"),
            (Step::End, "554 5.7.1 spam", Reject, "letter-refused"),
            (Step::End, "451 4.7.1 later", Retry, "greylisted"),
            (Step::End, "354 what", Unknown, "protocol"),
            (Step::Data, "250 what", Retry, "protocol"),
        ];
        for (step, line, class, reason) in table {
            let reply = Reply { code: line[..3].parse().expect("a code"), text: line[4..].to_owned() };
            let failure = judge(step, &reply);
            assert_eq!((failure.class, failure.reason), (class, reason), "{line} to {step:?}");
        }
    }

    #[test]
    fn no_mailbox_stands_in_a_failure() {
        let reply = Reply { code: 550, text: "5.1.1 <chen.wei@example.com>: unknown\u{7} here".to_owned() };
        let detail = judge(Step::Recipient, &reply).detail;
        assert!(!detail.contains("chen") && detail.contains("unknown here"), "{detail}");
    }
}
