//! Owns what is owed and what is proven: events and their bytes, plans, each alert's book, counters, calls, the retry decision.
//! Refuses to know far ends, sled, HTTP, names and phones; pure, on times and chance handed in.
//! Invariant: state is nothing but the fold of events; phase and evidence are never mixed.

pub mod book;
pub mod call;
pub mod counters;
pub mod coverage;
pub mod early;
pub mod event;
pub mod filed;
pub mod help;
#[cfg(test)]
pub(crate) mod kit;
pub mod ledger;
pub mod plan;
mod refs;
pub mod retry;
pub mod slot;
pub mod timeliness;
pub mod waiting;
mod wire;

pub use wire::Damaged;
