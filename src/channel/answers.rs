//! Owns the form of a driver's table: what its far end may answer, what that means for the debt, and whom it concerns.
//! Refuses to know providers: each keeps its own table beside the code that reads its answers. Pure.
//! Invariant: a table is what the driver reads its answers by, and what `docs/answers.md` shows; the contract kit holds both together.

use std::fmt;

use super::{Class, Concerns};

/// What a far end says, as its table names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// HTTP statuses from the one to the other.
    Statuses(u16, u16),
    Code(i64),
    /// Codes from the one to the other.
    Codes(i64, i64),
    /// Words within an answer, in lower case; or an example of one.
    Words(&'static str),
    /// Nothing at all, or what is ours: an address that cannot be written, a file that cannot.
    Happens(&'static str),
}

/// One line of a table.
#[derive(Clone, Copy, Debug)]
pub struct Meaning {
    pub said: Said,
    pub class: Class,
    pub concerns: Concerns,
    pub reason: &'static str,
}

impl fmt::Display for Said {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Statuses(from, to) if from == to => write!(out, "{from}"),
            Self::Statuses(from, to) => write!(out, "{from} to {to}"),
            Self::Code(code) => write!(out, "{code}"),
            Self::Codes(from, to) => write!(out, "{from} to {to}"),
            Self::Words(words) => write!(out, "`{words}`"),
            Self::Happens(what) => write!(out, "{what}"),
        }
    }
}

pub(crate) const fn status(from: u16, to: u16, class: Class, concerns: Concerns, reason: &'static str) -> Meaning {
    Meaning { said: Said::Statuses(from, to), class, concerns, reason }
}

pub(crate) const fn code(code: i64, class: Class, concerns: Concerns, reason: &'static str) -> Meaning {
    Meaning { said: Said::Code(code), class, concerns, reason }
}

pub(crate) const fn codes(from: i64, to: i64, class: Class, concerns: Concerns, reason: &'static str) -> Meaning {
    Meaning { said: Said::Codes(from, to), class, concerns, reason }
}

pub(crate) const fn words(words: &'static str, class: Class, concerns: Concerns, reason: &'static str) -> Meaning {
    Meaning { said: Said::Words(words), class, concerns, reason }
}

pub(crate) const fn happens(what: &'static str, class: Class, concerns: Concerns, reason: &'static str) -> Meaning {
    Meaning { said: Said::Happens(what), class, concerns, reason }
}

/// The first line that is about this code or status.
pub(crate) fn of_number(table: &[Meaning], number: i64) -> Option<&Meaning> {
    table.iter().find(|meaning| match meaning.said {
        Said::Statuses(from, to) => (i64::from(from)..=i64::from(to)).contains(&number),
        Said::Code(code) => code == number,
        Said::Codes(from, to) => (from..=to).contains(&number),
        Said::Words(_) | Said::Happens(_) => false,
    })
}

/// The first line whose words stand in the text, which is in lower case.
pub(crate) fn of_words<'a>(table: &'a [Meaning], text: &str) -> Option<&'a Meaning> {
    table.iter().find(|meaning| matches!(meaning.said, Said::Words(words) if text.contains(words)))
}

/// Whom a reason concerns, for drivers whose reasons each stand for one thing. What is not listed is taken for a matter of the request,
/// which blames neither account nor reader.
pub(crate) fn concerns(table: &[Meaning], reason: &str) -> Concerns {
    table.iter().find(|meaning| meaning.reason == reason).map_or(Concerns::Request, |meaning| meaning.concerns)
}
