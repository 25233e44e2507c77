//! Owns logs, metrics and alarms: how they are set up, the closed list of metric names, the list of what needs a person.
//! Refuses to know what is measured. Invariant: no label is a person, a number, an address or an alert; logs go to stderr.

pub mod alarm_kinds;
pub mod alarms;
mod families;
pub mod metrics;

use tracing_subscriber::EnvFilter;

/// Sets up logging; a second call (tests, demo) keeps the first.
pub fn start_logging(format: &str, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if format == "json" { builder.json().try_init() } else { builder.with_ansi(false).try_init() };
    if started.is_err() {
        tracing::debug!("logging was set up before");
    }
}
