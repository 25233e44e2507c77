//! Tests of the whole crate in one binary: walls between rooms, and the real application in process, asked over its own socket.

mod config;
mod http;
mod http_access;
mod http_alerts;
mod http_edge;
mod http_kit;
mod kit;
mod walls;
