//! Owns timeliness: reach and acknowledgement curves and percentiles of one book (contract §2).
//! Refuses to know clocks and names. Invariant: every duration counts from clock zero (the signing of the warning), and only from evidence.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{book::Book, plan::RecipientKind, slot::Moment};
use crate::{alert::AlertId, area::AreaLevel, time::Timestamp};

/// Steps of the curves, in seconds after clock zero: fine while minutes count, coarse afterwards.
const STEPS_S: [u64; 16] = [10, 20, 30, 60, 90, 120, 180, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400];

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timeliness {
    pub alert: AlertId,
    pub clock_zero: Timestamp,
    /// Seconds from issue to receipt, acceptance, release, plan, first and last message.
    pub steps_s: BTreeMap<&'static str, f64>,
    pub curve: Vec<CurvePoint>,
    pub reached: Percentiles,
    pub acknowledged: Percentiles,
    pub by_level: BTreeMap<&'static str, LevelTimes>,
    pub by_channel: BTreeMap<String, Percentiles>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CurvePoint {
    pub after_s: u64,
    pub reached: usize,
    pub acknowledged: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LevelTimes {
    pub reached: Percentiles,
    pub acknowledged: Percentiles,
}

/// Seconds after clock zero; `None` where nothing is proven yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    pub count: usize,
    pub p50_s: Option<f64>,
    pub p90_s: Option<f64>,
    pub p95_s: Option<f64>,
    pub max_s: Option<f64>,
}

pub fn timeliness(book: &Book) -> Timeliness {
    let mut reached = Vec::new();
    let mut acknowledged = Vec::new();
    let mut levels: BTreeMap<&'static str, (Vec<i64>, Vec<i64>)> = BTreeMap::new();
    for (number, place) in book.places.iter().enumerate() {
        if place.kind != RecipientKind::Person {
            continue;
        }
        let end = book.places.get(number + 1).map_or(book.recipients.len(), |next| next.first as usize);
        let level = level_of(book.areas[usize::from(place.area)].level(), &book.roles[usize::from(place.role)]);
        let (level_reached, level_acknowledged) = levels.entry(level).or_default();
        for (number, recipient) in (place.first..).zip(&book.recipients[place.first as usize..end]) {
            if let Some(ms) = since_zero(book, recipient.reached) {
                reached.push(ms);
                level_reached.push(ms);
            }
            if let Some(ms) = since_zero(book, book.answered_at(number)) {
                acknowledged.push(ms);
                level_acknowledged.push(ms);
            }
        }
    }
    reached.sort_unstable();
    acknowledged.sort_unstable();
    let within = |sorted: &[i64], after_s: u64| sorted.partition_point(|&ms| ms <= i64::try_from(after_s * 1_000).unwrap_or(i64::MAX));
    let curve = STEPS_S
        .iter()
        .map(|&after_s| CurvePoint { after_s, reached: within(&reached, after_s), acknowledged: within(&acknowledged, after_s) })
        .collect();
    let by_level = levels
        .into_iter()
        .map(|(level, (mut reached, mut acknowledged))| {
            (level, LevelTimes { reached: percentiles(&mut reached), acknowledged: percentiles(&mut acknowledged) })
        })
        .collect();
    Timeliness {
        alert: book.accepted.id,
        clock_zero: book.zero,
        steps_s: steps(book),
        curve,
        reached: percentiles(&mut reached),
        acknowledged: percentiles(&mut acknowledged),
        by_level,
        by_channel: by_channel(book),
    }
}

/// Rows of the published indicators: county, town, village, household.
const fn level_word(level: AreaLevel) -> &'static str {
    match level {
        AreaLevel::Province | AreaLevel::City | AreaLevel::County => "county",
        AreaLevel::Township => "township",
        AreaLevel::Village => "village",
    }
}

fn level_of(level: AreaLevel, role: &str) -> &'static str {
    if role == super::coverage::HOUSEHOLD { "household" } else { level_word(level) }
}

fn since_zero(book: &Book, moment: Moment) -> Option<i64> {
    Some(book.time_of(moment)?.as_ms() - book.zero.as_ms())
}

fn by_channel(book: &Book) -> BTreeMap<String, Percentiles> {
    let mut kinds: BTreeMap<u8, Vec<i64>> = BTreeMap::new();
    for leg in &book.legs {
        let times = kinds.entry(book.routes[usize::from(leg.route)].kind).or_default();
        times.extend((leg.first..leg.first + leg.count).filter_map(|index| since_zero(book, book.reached_at(index))));
    }
    kinds.into_iter().map(|(kind, mut times)| (book.kinds[usize::from(kind)].clone(), percentiles(&mut times))).collect()
}

fn steps(book: &Book) -> BTreeMap<&'static str, f64> {
    let line = &book.timeline;
    let steps = [
        ("received", line.received),
        ("accepted", line.accepted),
        ("released", line.released),
        ("planned", line.planned),
        ("first_sent", line.first_sent),
        ("last_sent", line.last_sent),
        ("completed", line.completed),
    ];
    steps.into_iter().filter_map(|(name, at)| Some((name, seconds(at?.as_ms() - book.zero.as_ms())))).collect()
}

fn percentiles(times_ms: &mut [i64]) -> Percentiles {
    times_ms.sort_unstable();
    // Nearest rank: the smallest time within which this share of people was reached.
    let rank = |percent: usize| {
        let place = (times_ms.len() * percent).div_ceil(100).saturating_sub(1);
        times_ms.get(place).copied().map(seconds)
    };
    Percentiles { count: times_ms.len(), p50_s: rank(50), p90_s: rank(90), p95_s: rank(95), max_s: rank(100) }
}

#[expect(clippy::cast_precision_loss, reason = "a duration of an alert has far fewer than 2^52 milliseconds")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let mut times: Vec<i64> = (1..=100).rev().map(|second| second * 1_000).collect();
        let got = percentiles(&mut times);
        assert_eq!((got.count, got.p50_s, got.p90_s, got.p95_s, got.max_s), (100, Some(50.0), Some(90.0), Some(95.0), Some(100.0)));
        assert_eq!(percentiles(&mut []), Percentiles::default());
    }
}
