//! Owns the way to mailboxes: writing a letter once (`compose`), handing it over (`smtp`, `maildir`), reading what comes back (`dsn`).
//! Refuses to know alerts' meaning, who is told, and retries.
//! Invariant: no header of a letter can be made by its text: line breaks in a subject or an address are refused.

mod compose;
mod dsn;
mod maildir;
pub mod smtp;

pub use maildir::DRIVER as MAILDIR;
pub use smtp::DRIVER as SMTP;

#[cfg(test)]
pub(in crate::channel) use compose::tests::letter as test_letter;

use super::Reach;

/// A mail account writes to people by their mailbox, and to mailing lists and duty rooms.
const REACHES: [Reach; 2] = [Reach::People("mail"), Reach::Endpoints("email")];
