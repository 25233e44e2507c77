//! Owns what Kannel and the centres behind it may answer, and whom each answer concerns. Pure tables.
//! Refuses to read anything. Invariant: only what names the number itself counts against the number.

use crate::channel::{
    Class::{Misconfigured, Reject, Retry, Throttled, Unknown},
    Concerns::{Account, Message, Provider, Recipient, Request},
    Meaning,
    answers::{code, codes, happens, words},
    http_client::{STATUSES, TALKS},
};

pub(super) const ALL: &[&[Meaning]] = &[&REFUSALS, &NACKS, &STATES, &REST, &STATUSES, &TALKS];

/// sendsms answers 4xx or 5xx and says these words.
pub(super) const REFUSALS: [Meaning; 15] = [
    words("authorization failed", Misconfigured, Account, "auth"),
    words("black", Reject, Recipient, "denied-number"),
    words("denied by", Reject, Recipient, "denied-number"),
    // No line takes it: `smsc` names none, or its time of validity is beyond what lines take. Another account has other lines.
    words("not routable", Reject, Provider, "not-routable"),
    // A Kannel without iconv refuses every text that we could send.
    words("charset or body misformed", Misconfigured, Account, "charset"),
    words("missing receiver", Reject, Recipient, "bad-number"),
    words("'to' field", Reject, Recipient, "bad-number"),
    words("sender missing", Misconfigured, Account, "no-sender"),
    words("'from' field", Misconfigured, Account, "no-sender"),
    // An address of reports or an account that Kannel cannot read is ours, not the number's.
    words("field misformed", Misconfigured, Account, "bad-request"),
    words("body misformed", Reject, Message, "words-refused"),
    words("queue full", Throttled, Provider, "queue-full"),
    words("too many", Throttled, Provider, "queue-full"),
    words("validity", Reject, Request, "bad-validity"),
    words("temporal failure", Retry, Provider, "http-5xx"),
];

/// A report of kind 16: the centre's status (SMPP 3.4 §5.1.3) to the submission.
pub(super) const NACKS: [Meaning; 27] = [
    code(0x0b, Reject, Recipient, "bad-number"),
    codes(0x50, 0x51, Reject, Recipient, "bad-number"),
    code(0x04, Misconfigured, Account, "smsc-account"),
    code(0x05, Retry, Provider, "smsc-busy"),
    code(0x08, Retry, Provider, "smsc-error"),
    code(0x0a, Misconfigured, Account, "smsc-sender"),
    codes(0x0d, 0x0f, Misconfigured, Account, "smsc-account"),
    code(0x14, Throttled, Provider, "smsc-throttled"),
    code(0x15, Misconfigured, Account, "smsc-account"),
    codes(0x48, 0x49, Misconfigured, Account, "smsc-sender"),
    code(0x53, Misconfigured, Account, "smsc-account"),
    code(0x58, Throttled, Provider, "smsc-throttled"),
    codes(0x01, 0x03, Reject, Request, "smsc-request"),
    codes(0x06, 0x07, Reject, Request, "smsc-request"),
    code(0x33, Reject, Request, "smsc-request"),
    codes(0x40, 0x44, Reject, Request, "smsc-request"),
    code(0x45, Reject, Provider, "smsc-reject"),
    codes(0x61, 0x62, Reject, Request, "smsc-request"),
    code(0x63, Reject, Request, "smsc-request"),
    code(0x64, Retry, Provider, "smsc-error"),
    codes(0x65, 0x66, Reject, Provider, "smsc-reject"),
    codes(0xc0, 0xc4, Reject, Request, "smsc-request"),
    code(0xfe, Reject, Provider, "smsc-reject"),
    code(0xff, Reject, Provider, "smsc-reject"),
    // Each operator's own: their meaning is in its contract, and never surely the number.
    codes(0x400, 0x4ff, Reject, Provider, "smsc-reject"),
    words("expired", Reject, Provider, "expired-in-queue"),
    words("no such", Reject, Provider, "smsc-reject"),
];
pub(super) const OTHER_NACK: Meaning = happens("kind 16 with any other status, or with none", Reject, Provider, "smsc-reject");

/// A report of kind 2: the state in the operator's receipt, after `stat:`.
pub(super) const STATES: [Meaning; 8] = [
    words("expired", Reject, Recipient, "expired"),
    words("undeliv", Reject, Recipient, "undeliverable"),
    words("mk:0001", Reject, Recipient, "bad-number"),
    words("deleted", Reject, Provider, "deleted"),
    // Operators refuse words, unregistered signatures and those who have complained, all by this one word.
    words("rejectd", Reject, Provider, "rejected"),
    // The operator does not know what became of it: no proof, and no reason to send it again for ever.
    words("unknown", Unknown, Provider, "unknown-state"),
    words("acceptd", Unknown, Provider, "unknown-state"),
    words("enroute", Unknown, Provider, "unknown-state"),
];
/// Carriers' own codes (`MB:1042`, `DB:0141`): more of them speak of signatures, filters and rates than of numbers.
pub(super) const OTHER_STATE: Meaning = happens("kind 2 with any other state", Reject, Provider, "failed");
pub(super) const GARBAGE: Meaning = happens("2xx without Kannel's words", Unknown, Provider, "garbage");
const REST: [Meaning; 3] = [OTHER_NACK, OTHER_STATE, GARBAGE];
