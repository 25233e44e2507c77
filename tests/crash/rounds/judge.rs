//! Owns what is held after a round: the far end's memory against what the program says of each alert.
//! Refuses to know how the round went.

use std::{
    collections::{HashMap, HashSet},
    ops::AddAssign,
};

use serde_json::Value;

use super::Run;
use crate::{
    fickle::{TIMEOUT, Take},
    number, program,
};

/// The longest way of an outcome into the journal on a busy machine: whoever was answered this long before a kill is known.
const UNKNOWN_MS: i64 = 3_000;
/// What was on the wire when the end of its alert was answered, on cores that are busy.
const ON_THE_WIRE_MS: i64 = 1_000;
const STATES: [&str; 9] = ["queued", "in_flight", "accepted", "delivered", "answered", "failed", "expired", "cancelled", "suppressed"];

/// Messages that came again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Doubled {
    pub(super) all: usize,
    /// Those that had been plainly taken and were in flight at a kill; the rest had an answer that left it in doubt.
    pub(super) by_kill: usize,
}

impl AddAssign for Doubled {
    fn add_assign(&mut self, other: Self) {
        self.all += other.all;
        self.by_kill += other.by_kill;
    }
}

/// An alert that was answered 202.
pub(super) struct Told {
    pub(super) id: String,
    pub(super) document: Value,
    /// When an Update or Cancel of it was answered.
    pub(super) ended_ms: Option<i64>,
}

impl Run {
    /// Messages that came again, among the alerts from this one on.
    pub(super) async fn judge(&self, from: usize) -> Doubled {
        let (took, promised, reported) = (self.far.took(), self.far.promised(), self.far.reported());
        let (mut doubled, mut known) = (Doubled::default(), HashSet::new());
        for told in &self.told[from..] {
            let path = format!("/v1/alerts/{}", told.id);
            let view = self.gateway.get(&self.duty, &path).await;
            assert_eq!(view["identifier"], told.document["identifier"], "an alert that was answered 202 is there");
            let coverage = self.gateway.get(&self.duty, &format!("{path}/coverage")).await;
            let rows = program::rows(&self.gateway, &self.duty, &path).await;
            recount(&coverage, &rows);
            for row in &rows {
                let id = row["id"].as_str().unwrap();
                let takes = took.get(id).map_or(&[][..], Vec::as_slice);
                let is_there = row["delivered_at"].is_string();
                assert!(is_there || !promised.contains(id), "its receipt was answered 200 and is not there: {row:#} {takes:?}");
                assert!(!is_there || reported.contains(id), "evidence that nobody gave: {row:#} {takes:?}");
                doubled.by_kill += self.row(told, row, takes);
                known.insert(id.to_owned());
            }
            let again: usize = rows.iter().filter_map(|row| took.get(row["id"].as_str()?)).map(|takes| takes.len() - 1).sum();
            let repeated = number(&coverage, "repeated");
            assert!(again <= repeated, "{again} came twice, but only {repeated} are counted as repeated: {}", told.id);
            doubled.all += again;
        }
        if from == 0 {
            let strange: Vec<_> = took.keys().filter(|id| !known.contains(*id)).collect();
            assert!(strange.is_empty(), "sent, but never planned: {strange:?}");
            assert!(promised.iter().all(|id| known.contains(id)), "a receipt of a delivery that nobody knows was answered 200");
        }
        doubled
    }

    /// How often it came again because of a kill.
    fn row(&self, told: &Told, row: &Value, takes: &[Take]) -> usize {
        let state = row["state"].as_str().unwrap();
        let has_reason = row["reason"].as_str().is_some_and(|reason| !reason.is_empty());
        match state {
            "accepted" | "delivered" | "answered" => {
                assert!(!takes.is_empty(), "said to be taken, never was: {row:#}");
            }
            "failed" | "expired" | "cancelled" | "suppressed" => assert!(has_reason, "closed without a reason: {row:#}"),
            other => panic!("{other} is no end: {row:#}"),
        }
        if let (Some(ended), Some(last)) = (told.ended_ms, takes.last()) {
            let late = last.at_ms - ended;
            assert!(late <= ON_THE_WIRE_MS, "sent {late} ms after the end of its alert was durable: {row:#}");
        }
        takes.windows(2).filter(|pair| self.is_by_kill(pair[0], pair[1], row)).count()
    }

    /// Whoever is told twice was in doubt: the answer was unclear, or it was in flight at a kill.
    fn is_by_kill(&self, first: Take, second: Take, row: &Value) -> bool {
        if !first.is_plain {
            return false;
        }
        // A machine that stood still for longer than the account waits: the program says that no answer came in time, and the repeat is counted.
        let was_late = row["reason"] == "timeout" && i128::from(second.at_ms - first.at_ms) >= i128::try_from(TIMEOUT.as_millis()).unwrap();
        if first.life == second.life && was_late {
            return false;
        }
        assert_ne!(first.life, second.life, "sent again although it was plainly taken: {row:#} {first:?} {second:?}");
        let killed = self.kills[first.life as usize];
        let before = killed - first.at_ms;
        assert!(before <= UNKNOWN_MS, "taken {before} ms before the kill, and sent again after it: {row:#}");
        true
    }
}

fn recount(coverage: &Value, rows: &[Value]) {
    let progress = &coverage["progress"];
    let mut counted: HashMap<&str, usize> = HashMap::new();
    for row in rows {
        *counted.entry(row["state"].as_str().unwrap()).or_default() += 1;
    }
    for state in STATES {
        let count = counted.remove(state).unwrap_or_default();
        assert_eq!(number(progress, state), count, "{state} differs from a recount: {progress:#}");
    }
    assert!(counted.is_empty(), "states that nobody counts: {counted:?}");
    assert_eq!(number(progress, "deliveries"), rows.len(), "{progress:#}");
}
