//! Owns the tasks that make the gateway go: intake, planner, senders, receipts, escalator, janitor, behind one handle (`Gateway`).
//! Refuses to know HTTP, providers and byte forms. Invariant: nothing is promised before it is durable, and nothing is sent that is not leased in the journal.

mod account;
mod alarm_book;
mod alike;
mod all_clear;
pub mod answer;
mod answer_pace;
mod approvals;
pub mod audit;
mod authority;
mod clock_watch;
pub mod decide;
pub mod devices;
mod early_alerts;
mod early_receipts;
mod escalator;
pub mod filed;
mod fold;
pub mod gateway;
mod health;
pub mod help;
pub mod intake;
mod janitor;
mod keep;
mod lease;
pub mod look;
pub mod months;
pub mod owed;
mod pace;
mod parts;
pub mod person;
pub(crate) mod place;
mod planner;
mod planning;
pub mod preview;
mod queue;
mod queueing;
mod receipts;
mod references;
mod refusals;
mod refused;
mod render;
mod replies;
mod reply_words;
mod revised;
mod rings;
mod route;
mod sealed_words;
mod send;
mod settle;
mod starting;
mod told_before;
mod unmatched;

pub use authority::{Approval, Source};
pub use gateway::{Gateway, Setup};

use crate::store::NoSpace;

/// The store cannot take it: nothing was promised, the caller may come again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("the store cannot take it: {0}")]
    Failed(String),
    /// As long as the disk is full.
    #[error(transparent)]
    NoSpace(NoSpace),
}
