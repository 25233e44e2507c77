//! The built program on a machine that runs out of something: room on its disk, descriptors. It says so, keeps what it has promised,
//! and goes on by itself when there is enough again.

#![allow(clippy::unwrap_used, reason = "a fault in a test is told by its panic")]

mod broken_disk;
mod descriptors;
mod disk;
mod failed_write;
mod far_end;
mod far_ends;
#[path = "../forgetful/mod.rs"]
#[allow(dead_code, reason = "only the crash tests cut the power at a beat")]
mod forgetful;
mod moody;
mod power;
#[path = "../program/mod.rs"]
#[allow(dead_code, reason = "each program of tests needs another part of it")]
mod program;
mod receipts;
mod running;
mod sigterm;
mod tmpfs;
