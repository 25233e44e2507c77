//! Owns the configuration: layers (defaults, file, environment), secrets from files, and the checked value that the program runs on.
//! Refuses to know providers: a channel's table is handed to the checker that comes in. Invariant: every fault is told at once, with file, line and key path.

mod certificates;
mod checked;
mod completeness;
mod exposed;
mod layers;
mod show;
mod source;
#[cfg(test)]
mod tests;

pub use certificates::Certificates;
pub use checked::{BrokerSettings, Checked, HttpTls, Judges, Log, Server};
pub use completeness::Completeness;
pub use layers::{ConfigFault, DEFAULTS, Layers};
pub use source::{SignatureSettings, SourceSettings};
