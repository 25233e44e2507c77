//! Owns what a broker and a loudspeaker may answer, and whom each answer concerns. A pure table.
//! Refuses to read anything. Invariant: one loudspeaker's word never blames the account of all the others.

use crate::channel::{
    Class::{Misconfigured, Reject, Retry, Throttled, Unknown},
    Concerns::{self, Account, Message, Provider, Recipient, Request},
    Meaning,
    answers::{self, happens},
};

pub(super) const ALL: &[&[Meaning]] = &[&ANSWERS];

const ANSWERS: [Meaning; 28] = [
    happens("nobody subscribes (0x10)", Retry, Recipient, "nobody-listens"),
    happens("the loudspeaker failed", Retry, Recipient, "failed-at-device"),
    happens("no report in time", Retry, Recipient, "no-report"),
    happens("the loudspeaker refuses the signature", Reject, Recipient, "bad-signature"),
    happens("the loudspeaker's clock says it is over", Reject, Recipient, "expired-at-device"),
    happens("the loudspeaker refuses", Reject, Recipient, "refused-by-device"),
    happens("the id cannot stand in a topic", Reject, Recipient, "bad-device-id"),
    happens("the warning is over", Retry, Message, "expired"),
    happens("the command is too long", Reject, Message, "too-big"),
    happens("the command cannot be written", Reject, Message, "bad-command"),
    happens("topic or payload are refused (0x90, 0x99)", Reject, Request, "refused"),
    happens("forbidden (0x87)", Misconfigured, Account, "not-authorized"),
    happens("CONNECT is refused for its login", Misconfigured, Account, "bad-login"),
    happens("CONNECT is refused: banned (0x8A)", Misconfigured, Account, "banned"),
    happens("CONNECT is refused for its client id", Misconfigured, Account, "bad-client-id"),
    happens("the certificate is not trusted", Misconfigured, Account, "certificate"),
    happens("the settings make no connection", Misconfigured, Account, "bad-options"),
    happens("the broker's quota is used up (0x97)", Throttled, Provider, "quota"),
    happens("any other refusal of a publish", Retry, Provider, "broker-error"),
    happens("CONNECT is refused otherwise", Retry, Provider, "refused"),
    happens("no connection", Retry, Provider, "connect"),
    happens("not connected yet, or not any more", Retry, Provider, "not-connected"),
    happens("not started", Retry, Provider, "not-started"),
    happens("the connection is full", Retry, Provider, "busy"),
    happens("no acknowledgement in time", Unknown, Provider, "timeout"),
    happens("the connection broke before the acknowledgement", Unknown, Provider, "lost"),
    happens("an acknowledgement of another kind", Unknown, Provider, "protocol"),
    happens("a publish ended without a verdict", Unknown, Provider, "no-verdict"),
];

pub(super) fn concerns(reason: &str) -> Concerns {
    answers::concerns(&ANSWERS, reason)
}
