//! Owns the names under which speakers' drivers reach their broker; the connection itself is one that inlets use too.

pub(super) use crate::net::broker::{Backoff, KEEP_ALIVE, Standing, is_connack};
pub use crate::net::broker::{BadBrokerAddress, BrokerAddress, Far};
