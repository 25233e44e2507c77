//! Owns the metrics: one function for each thing that is counted.
//! Refuses to know who reads them. Invariant: labels come from closed lists or configuration, so their number is bounded.

use std::sync::OnceLock;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::families::{Kind, Name};
use crate::time::Timestamp;

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Seconds of a request, from what a phone does not notice to the longest that one may take.
const SECONDS: [f64; 10] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 20.0, 60.0, 120.0];

/// Installs the recorder; a second call keeps the first.
pub fn install() {
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new().set_buckets(&SECONDS);
        let installed = builder.and_then(PrometheusBuilder::install_recorder);
        Name::ALL.iter().for_each(|&family| describe(family));
        installed.map_err(|error| tracing::warn!(%error, "metrics are not recorded")).ok()
    });
}

fn describe(family: Name) {
    match family.kind() {
        Kind::Counter => describe_counter!(family.text(), family.help()),
        Kind::Gauge => describe_gauge!(family.text(), family.help()),
        Kind::Histogram => describe_histogram!(family.text(), family.help()),
    }
}

/// Sorts what was timed into its buckets; until then each time is kept by itself, and where nobody reads the metrics that would go on for ever.
pub fn tidy() {
    if let Some(handle) = HANDLE.get().and_then(Option::as_ref) {
        handle.run_upkeep();
    }
}

/// The page that Prometheus reads.
pub fn render() -> String {
    HANDLE.get().and_then(Option::as_ref).map_or_else(String::new, PrometheusHandle::render)
}

pub fn accepted(level: &'static str, drill: bool) {
    counter!(Name::Accepted.text(), "level" => level, "drill" => if drill { "yes" } else { "no" }).increment(1);
}

/// What a far end said to one message: `accepted`, or the closed word of its failure.
pub fn delivery(kind: &'static str, outcome: &'static str) {
    counter!(Name::Deliveries.text(), "channel" => kind, "outcome" => outcome).increment(1);
}

pub fn receipt(account: &str, word: &'static str) {
    counter!(Name::Receipts.text(), "account" => account.to_owned(), "news" => word).increment(1);
}

pub fn answer(via: &str) {
    counter!(Name::Answers.text(), "via" => via.to_owned()).increment(1);
}

pub fn call(word: &'static str) {
    counter!(Name::Calls.text(), "end" => word).increment(1);
}

/// Something that a person must look at.
pub fn alarm(word: &'static str) {
    counter!(Name::Alarms.text(), "what" => word).increment(1);
}

/// `route` is the pattern of the path, never the path.
pub fn request(route: &str, status: u16, seconds: f64) {
    counter!(Name::Requests.text(), "route" => route.to_owned(), "status" => status.to_string()).increment(1);
    histogram!(Name::RequestSeconds.text(), "route" => route.to_owned()).record(seconds);
}

/// A connection that found no place.
pub fn connection_refused() {
    counter!(Name::Refused.text()).increment(1);
}

pub fn queue(route: &str, ready: usize, later: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge of a queue needs no more than 52 bits")]
    let (ready, later) = (ready as f64, later as f64);
    gauge!(Name::QueueReady.text(), "route" => route.to_owned()).set(ready);
    gauge!(Name::QueueLater.text(), "route" => route.to_owned()).set(later);
}

pub fn in_flight(account: &str, messages: u32) {
    gauge!(Name::InFlight.text(), "account" => account.to_owned()).set(f64::from(messages));
}

pub fn calls_waiting(calls: u32) {
    gauge!(Name::Overdue.text()).set(f64::from(calls));
}

/// The head of the audit as numbers: how many frames its month has, and the first 48 bits of the hash it ends in.
#[expect(clippy::cast_precision_loss, reason = "48 bits are exact, and a month has fewer frames")]
pub fn audit_head(frames: u64, sha256: &str) {
    gauge!(Name::AuditFrames.text()).set(frames as f64);
    if let Some(first) = sha256.get(..12).and_then(|first| u64::from_str_radix(first, 16).ok()) {
        gauge!(Name::AuditHead.text()).set(first as f64);
    }
}

/// What the disk of the data directory has left.
pub fn store_free(bytes: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge of free space needs no more than 52 bits")]
    gauge!(Name::StoreFree.text()).set(bytes as f64);
}

/// When the first certificate of a file that the configuration names ends.
pub fn certificate_not_after(file: &str, not_after: Timestamp) {
    #[expect(clippy::cast_precision_loss, reason = "seconds of any year with four digits are exact")]
    gauge!(Name::Certificate.text(), "file" => file.to_owned()).set((not_after.as_ms() / 1_000) as f64);
}

/// What became of a document that a way in has brought: `accepted`, `repeat`, `refused` or `put-off`; of a message that
/// brought none: `seen`, `deletion` or `no-alert`.
pub fn inlet_document(inlet: &str, outcome: &'static str) {
    counter!(Name::InletDocuments.text(), "inlet" => inlet.to_owned(), "outcome" => outcome).increment(1);
}

/// Whether a way in reaches what it watches.
pub fn inlet_up(inlet: &str, up: bool) {
    gauge!(Name::InletUp.text(), "inlet" => inlet.to_owned()).set(if up { 1.0 } else { 0.0 });
}

/// What a platform above said to a document (`alert`, `state`, `coverage`): `taken`, `refused` or `later`.
pub fn relay_post(relay: &str, document: &'static str, outcome: &'static str) {
    counter!(Name::RelayPosts.text(), "relay" => relay.to_owned(), "document" => document, "outcome" => outcome).increment(1);
}

/// Alerts that a platform above does not have, for how many seconds the oldest of them, and whether it took the last document.
pub fn relay(relay: &str, waiting: usize, lag_s: u64, up: bool) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge of a queue needs no more than 52 bits")]
    let (waiting, lag_s) = (waiting as f64, lag_s as f64);
    gauge!(Name::RelayWaiting.text(), "relay" => relay.to_owned()).set(waiting);
    gauge!(Name::RelayLag.text(), "relay" => relay.to_owned()).set(lag_s);
    gauge!(Name::RelayUp.text(), "relay" => relay.to_owned()).set(if up { 1.0 } else { 0.0 });
}
