//! `lastmile`: a county's early-warning dissemination gateway.
//!
//! Rooms in reading order; arrows run one way only and `tests/it/walls.rs` holds them:
//! `time, area, fault -> alert, registry -> matching, policy, message -> channel -> delivery -> store -> engine -> http, cli -> app -> main`.
#![forbid(unsafe_code)]

pub mod access;
pub mod alert;
pub mod app;
pub mod area;
pub mod channel;
pub mod cli;
pub mod config;
pub mod datum;
pub mod delivery;
pub mod engine;
pub mod fault;
pub mod http;
pub mod inlet;
mod keys;
pub mod matching;
pub mod message;
mod net;
pub mod network;
pub mod policy;
pub mod registry;
pub mod relay;
pub mod seal;
pub mod store;
pub mod telemetry;
pub mod time;
