//! Owns the way to village loudspeakers over MQTT: the gateway's end (`mqtt`), a broker of our own (`broker`),
//! the reference loudspeaker (`device`) and fleets of them (`fleet`).
//! Refuses to know alerts' meaning, who is told, and retries.
//! Invariant: a broker's acknowledgement is never taken for a speaker's.

mod answers;
pub mod broker;
mod command;
pub mod device;
pub mod fleet;
mod heed;
pub mod jws;
pub mod line;
mod mqtt;
mod player;
mod reports;
mod sound;
mod spent;

pub use mqtt::DRIVER as MQTT;
pub use player::Voice;

#[cfg(test)]
mod tests;
