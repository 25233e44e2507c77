//! Owns the way to village loudspeakers over MQTT, and a broker of our own (`broker`).
//! Refuses to know alerts' meaning, who is told, and retries.
//! Invariant: a broker's acknowledgement is never taken for a speaker's.

pub mod broker;
