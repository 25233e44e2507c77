//! The built program and what it keeps: who may read it, which format it says, what stands in it after a person is gone.

#![allow(clippy::unwrap_used, reason = "a fault in a test is told by its panic")]

mod alerts;
mod audit;
mod county;
mod format;
mod modes;
mod person;
#[path = "../program/mod.rs"]
#[allow(dead_code, reason = "each program of tests needs another part of it")]
mod program;
mod sealed;
mod users;
