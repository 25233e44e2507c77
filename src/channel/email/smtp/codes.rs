//! Owns what an SMTP reply means for a letter (RFC 5321, 3463): the error table, by the step that was answered.
//! Refuses to know connections. Pure.
//! Invariant: a refusal of our account (password, sender, relaying) never counts against the reader's address.

use std::time::Duration;

use crate::channel::{
    Class::{self, Misconfigured, Reject, Retry, Throttled, Unknown},
    Concerns::{self, Account, Message, Provider, Recipient, Request},
    Failure, Meaning, Said,
};

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
/// Servers that limit letters count by the minute or longer.
const LIMITED_FOR: Duration = Duration::from_secs(60);
/// Texts of servers are long and sometimes quote the address; the code says what matters.
const TEXT_CHARS_MAX: usize = 160;

/// What speaks of how often we send, in lower case: in plain words, and as the large Chinese mailbox providers write it.
const OF_RATE: [&str; 16] = [
    "frequen",
    "too many",
    "too fast",
    "too often",
    "rate limit",
    "ratelimit",
    "throttl",
    "mi:sfq",
    "mi:stc",
    "mi:rqc",
    "mi:dmc",
    "mi:cel",
    "rp:qrc",
    "rp:cel",
    "hl:ifc",
    "hl:icc",
];
/// What speaks of us: our address, our name, our sender.
const OF_US: [&str; 21] = [
    "client host",
    "helo command",
    "sender address",
    "sender rejected",
    "blocked using",
    "blacklist",
    "blocklist",
    "block list",
    "spamhaus",
    "dnsbl",
    "rbl",
    "spf",
    "dmarc",
    "reverse dns",
    "ptr record",
    "reputation",
    "hl:ipb",
    "hl:rep",
    "hl:itc",
    "mi:spb",
    "mi:spf",
];
const OF_SIZE: [&str; 6] = ["too big", "too large", "size limit", "message size", "maximum size", "exceeds size"];
const OF_WORDS: [&str; 5] = ["spam", "dt:spm", "content", "virus", "junk"];
const OF_MAILBOX: [&str; 11] = [
    "recipient address rejected",
    "user unknown",
    "unknown user",
    "no such user",
    "no such mailbox",
    "no such recipient",
    "user not found",
    "does not exist",
    "mailbox unavailable",
    "mailbox not found",
    "user doesn't exist",
];

/// The failure that a negative (or misplaced) reply means.
pub(super) fn judge(step: Step, reply: &Reply) -> Failure {
    let (class, concerns, reason) = class_of(step, reply);
    let retry_after = match reason {
        "greylisted" => Some(GREYLISTED_FOR),
        "too-often" => Some(LIMITED_FOR),
        _ => None,
    };
    let detail = format!("{} to {}: {}", reply.code, step.name(), without_addresses(&reply.text));
    Failure { retry_after, ..Failure::new(class, concerns, reason, detail) }
}

type Judged = (Class, Concerns, &'static str);

fn class_of(step: Step, reply: &Reply) -> Judged {
    let text = reply.text.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let status = reply.status().map_or((0, 0), |(_, subject, detail)| (subject, detail));
    match (step, reply.code) {
        (_, 421) => (Retry, Provider, "closing"),
        (_, 530 | 538) => (Misconfigured, Account, "login-wanted"),
        (Step::Auth, 500..=599) | (_, 534 | 535) => (Misconfigured, Account, "bad-login"),
        (_, 450 | 451) if text.contains("grey") => (Retry, Recipient, "greylisted"),
        (_, 400..=599) if says(&OF_RATE) || status == (7, 28) => (Throttled, Provider, "too-often"),
        (_, 500..=599) if says(&OF_SIZE) || status == (3, 4) => (Reject, Message, "too-big"),
        (_, 400..=499) => for_now(step, reply.code, status, says(&OF_US)),
        (_, 500..=599) => for_good(step, reply.code, status, &says),
        // A 2yz or 3yz where another was due: the talk is out of step and the connection is given up.
        (Step::End, _) => (Unknown, Provider, "protocol"),
        _ => (Retry, Provider, "protocol"),
    }
}

/// 4yz: what may be otherwise in a while.
const fn for_now(step: Step, code: u16, status: (u16, u16), is_of_us: bool) -> Judged {
    match (code, status) {
        // It has the letter or the address in hand and says that it is we: the account is left alone, and the next is asked.
        (_, _) if is_of_us => (Retry, Account, "refused-us"),
        (_, (1, 7 | 8)) => (Retry, Account, "sender-refused"),
        (450 | 451, (7, _)) => (Retry, Recipient, "greylisted"),
        (452, (3, _)) => (Retry, Provider, "server-full"),
        (452, _) if !matches!(step, Step::Recipient | Step::Data | Step::End) => (Retry, Provider, "server-full"),
        (452, (5, _)) => (Retry, Provider, "server-full"),
        (452, _) => (Retry, Recipient, "mailbox-full"),
        (450, _) => (Retry, Recipient, "mailbox-busy"),
        _ => (Retry, Provider, "smtp-4yz"),
    }
}

/// 5yz: what will not be otherwise, for whom the step and the words say.
fn for_good(step: Step, code: u16, status: (u16, u16), says: &dyn Fn(&[&str]) -> bool) -> Judged {
    match (step, code, status) {
        (Step::StartTls, ..) => (Misconfigured, Account, "tls"),
        _ if says(&["relay", "authentication required"]) => (Misconfigured, Account, "relay-denied"),
        _ if says(&OF_US) => (Misconfigured, Account, "refused-us"),
        (Step::Greeting | Step::Hello, ..) => (Misconfigured, Account, "refused-us"),
        // Nobody's mailbox has been named yet.
        (Step::Sender, 552, _) => (Reject, Message, "too-big"),
        (Step::Sender, ..) | (_, _, (1, 7 | 8)) => (Misconfigured, Account, "sender-refused"),
        (_, 552, (2 | 0, _)) | (_, _, (2, 2)) => (Retry, Recipient, "mailbox-full"),
        (_, 552, (3, _)) => (Retry, Provider, "server-full"),
        (_, _, (2, _)) => (Reject, Recipient, "recipient-refused"),
        (_, _, (1, _)) => (Reject, Recipient, "no-such-mailbox"),
        _ if says(&OF_MAILBOX) => (Reject, Recipient, "no-such-mailbox"),
        (Step::Recipient, _, (7, _)) => (Misconfigured, Account, "refused-us"),
        (Step::Recipient, 550 | 551 | 553, _) => (Reject, Recipient, "no-such-mailbox"),
        // It says no and not why: the next account may hear a yes.
        (Step::Recipient, ..) => (Reject, Request, "recipient-refused"),
        _ if says(&OF_WORDS) => (Reject, Message, "words-refused"),
        _ => (Reject, Message, "letter-refused"),
    }
}

/// Details go to logs and pages; mailboxes do not.
pub(in crate::channel::email) fn without_addresses(text: &str) -> String {
    let words = text.split_whitespace().map(|word| if word.contains('@') { "<…>" } else { word });
    let joined = words.collect::<Vec<_>>().join(" ");
    joined.chars().filter(|letter| !letter.is_control()).take(TEXT_CHARS_MAX).collect()
}

const fn reply(example: &'static str, (class, concerns, reason): Judged) -> Meaning {
    Meaning { said: Said::Words(example), class, concerns, reason }
}

/// Examples of every kind, each with its step before it; the test holds them to what is judged.
pub(super) const REPLIES: [Meaning; 43] = [
    reply("CONNECT 421 too many connections", (Retry, Provider, "closing")),
    reply("CONNECT 554 5.7.1 your address is listed", (Misconfigured, Account, "refused-us")),
    reply("EHLO 550 5.7.1 Helo command rejected: need a name", (Misconfigured, Account, "refused-us")),
    reply("AUTH 535 5.7.8 bad credentials", (Misconfigured, Account, "bad-login")),
    reply("AUTH 454 4.7.0 temporary authentication failure", (Retry, Provider, "smtp-4yz")),
    reply("AUTH 534 5.7.9 too weak", (Misconfigured, Account, "bad-login")),
    reply("MAIL 530 5.7.0 authentication required", (Misconfigured, Account, "login-wanted")),
    reply("MAIL 538 encryption required", (Misconfigured, Account, "login-wanted")),
    reply("MAIL 550 5.7.1 not your domain", (Misconfigured, Account, "sender-refused")),
    reply("MAIL 452 4.5.3 enough for one connection", (Retry, Provider, "server-full")),
    reply("MAIL 452 too many messages in this connection", (Throttled, Provider, "too-often")),
    reply("MAIL 552 no", (Reject, Message, "too-big")),
    reply("MAIL 550 Message too big!", (Reject, Message, "too-big")),
    reply("MAIL 450 MI:SFQ sender frequency", (Throttled, Provider, "too-often")),
    reply("RCPT 550 Connection frequency limited", (Throttled, Provider, "too-often")),
    reply("RCPT 450 4.2.1 busy", (Retry, Recipient, "mailbox-busy")),
    reply("RCPT 450 4.7.1 please come back", (Retry, Recipient, "greylisted")),
    reply("RCPT 451 Greylisted, try again", (Retry, Recipient, "greylisted")),
    reply("RCPT 450 4.7.1 Client host rejected: cannot find your hostname", (Retry, Account, "refused-us")),
    reply("RCPT 452 4.2.2 over quota", (Retry, Recipient, "mailbox-full")),
    reply("RCPT 452 4.3.1 no space", (Retry, Provider, "server-full")),
    reply("RCPT 552 5.2.2 over quota", (Retry, Recipient, "mailbox-full")),
    reply("RCPT 550 5.1.1 user unknown", (Reject, Recipient, "no-such-mailbox")),
    reply("RCPT 550 no such user here", (Reject, Recipient, "no-such-mailbox")),
    reply("RCPT 553 syntax", (Reject, Recipient, "no-such-mailbox")),
    reply("RCPT 550 5.2.1 disabled", (Reject, Recipient, "recipient-refused")),
    reply("RCPT 554 5.7.1 Recipient address rejected: access denied", (Reject, Recipient, "no-such-mailbox")),
    reply("RCPT 554 5.7.1 relay access denied", (Misconfigured, Account, "relay-denied")),
    reply("RCPT 554 5.7.1 Client host rejected: access denied", (Misconfigured, Account, "refused-us")),
    reply("RCPT 554 5.7.1 Sender address rejected: access denied", (Misconfigured, Account, "refused-us")),
    reply("RCPT 504 5.5.2 Helo command rejected", (Misconfigured, Account, "refused-us")),
    reply("RCPT 550 5.7.1 no", (Misconfigured, Account, "refused-us")),
    reply("RCPT 550 5.1.8 no such sender domain", (Misconfigured, Account, "sender-refused")),
    reply("RCPT 554 no", (Reject, Request, "recipient-refused")),
    reply("DATA 451 4.3.0 later", (Retry, Provider, "smtp-4yz")),
    reply("DATA 250 what", (Retry, Provider, "protocol")),
    reply("END 552 5.3.4 no", (Reject, Message, "too-big")),
    reply("END 554 DT:SPM", (Reject, Message, "words-refused")),
    reply("END 554 MI:SFQ", (Throttled, Provider, "too-often")),
    reply("END 554 5.7.1 no", (Reject, Message, "letter-refused")),
    reply("END 550 5.7.26 unauthenticated: dmarc", (Misconfigured, Account, "refused-us")),
    reply("END 451 4.7.1 later", (Retry, Recipient, "greylisted")),
    reply("END 354 what", (Unknown, Provider, "protocol")),
];

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [(&str, Step); 8] = [
        ("CONNECT", Step::Greeting),
        ("EHLO", Step::Hello),
        ("STARTTLS", Step::StartTls),
        ("AUTH", Step::Auth),
        ("MAIL", Step::Sender),
        ("RCPT", Step::Recipient),
        ("DATA", Step::Data),
        ("END", Step::End),
    ];

    #[test]
    fn every_reply_has_its_class_and_whom_it_concerns_by_the_step_it_answers() {
        for meaning in &REPLIES {
            let Said::Words(example) = meaning.said else { panic!("{meaning:?}") };
            let (step, line) = example.split_once(' ').expect("a step");
            let step = STEPS.iter().find(|(name, _)| *name == step).expect("a known step").1;
            let reply = Reply { code: line[..3].parse().expect("a code"), text: line[4..].to_owned() };
            let failure = judge(step, &reply);
            assert_eq!((failure.class, failure.concerns, failure.reason), (meaning.class, meaning.concerns, meaning.reason), "{example}");
        }
    }

    #[test]
    fn no_mailbox_stands_in_a_failure() {
        let reply = Reply { code: 550, text: "5.1.1 <chen.wei@example.com>: unknown\u{7} here".to_owned() };
        let detail = judge(Step::Recipient, &reply).detail;
        assert!(!detail.contains("chen") && detail.contains("unknown here"), "{detail}");
    }
}
