//! Owns instants and clocks: `Timestamp` (milliseconds, UTC inside, a fixed offset outside) and `Clock`.
//! Refuses to know alerts, storage or schedules.
//! Invariant: nothing else in the crate reads the machine's clock (`std::time` clocks are banned by lint outside this file).

mod guarded;

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::tz::Offset;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Seconds east of UTC used for output; Beijing unless `[server] utc_offset` says otherwise.
static OUTPUT_OFFSET_S: AtomicI32 = AtomicI32::new(8 * 3600);

/// An instant, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not an RFC 3339 time with an offset, such as 2026-07-23T10:15:00+08:00")]
pub struct BadTimestamp {
    text: String,
}

impl Timestamp {
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    pub const fn as_ms(self) -> i64 {
        self.0
    }

    pub fn plus(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(duration_ms(delay)))
    }

    pub fn minus(self, delay: Duration) -> Self {
        Self(self.0.saturating_sub(duration_ms(delay)))
    }

    /// Time from `earlier` to this instant; zero when this is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Without its fraction: CAP has none, and an alert must be the same in every form.
    pub const fn whole_seconds(self) -> Self {
        Self(self.0 - self.0.rem_euclid(1_000))
    }

    /// Whole seconds, in the offset of output: the only date form CAP 1.2 allows (`2026-07-23T10:15:00+08:00`).
    pub fn to_seconds_string(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%S%:z")
    }

    /// `strftime` form in the offset of output, for texts that people read.
    pub fn format(self, pattern: &str) -> String {
        let instant = self.instant();
        let zone = output_offset().to_time_zone();
        instant.to_zoned_datetime(zone).strftime(pattern).to_string()
    }

    fn instant(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(if self.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX })
    }
}

/// Sets the offset of every time that is printed; called once, when the configuration has been read.
pub fn set_output_offset(seconds_east: i32) {
    OUTPUT_OFFSET_S.store(seconds_east, Ordering::Relaxed);
}

fn output_offset() -> Offset {
    Offset::from_seconds(OUTPUT_OFFSET_S.load(Ordering::Relaxed)).unwrap_or(Offset::UTC)
}

fn duration_ms(delay: Duration) -> i64 {
    i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)
}

impl FromStr for Timestamp {
    type Err = BadTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Jiff also reads bracketed zones and a missing offset; the contract wants RFC 3339 alone.
        let bad = || BadTimestamp { text: text.to_owned() };
        if text.len() > 40 || text.contains('[') {
            return Err(bad());
        }
        let instant: jiff::Timestamp = text.parse().map_err(|_| bad())?;
        Ok(Self(instant.as_millisecond()))
    }
}

/// Years that a document may name: every form in which times are written has four digits, in any offset.
const YEARS: std::ops::RangeInclusive<i16> = 1900..=9998;
/// `xs:dateTime`: no place is further from Greenwich.
const OFFSET_MINUTES_MAX: u32 = 14 * 60;

impl Timestamp {
    /// As documents from outside write times, and no stricter than their forms: 24:00:00 is the end of a day; a second 60, an offset of more than
    /// 14 hours and years of other ages are none. What this program has kept itself is read by `from_str`.
    pub fn from_document(text: &str) -> Result<Self, BadTimestamp> {
        let bad = || BadTimestamp { text: text.chars().take(60).collect() };
        let midnight = text.get(11..19) == Some("24:00:00");
        let plain = if midnight {
            format!("{}00:00:00{}", text.get(..11).unwrap_or_default(), text.get(19..).unwrap_or_default())
        } else {
            text.to_owned()
        };
        // Some write no seconds.
        let zone_at = if plain.as_bytes().get(16) == Some(&b':') { 19 } else { 16 };
        let rest = plain.get(zone_at..).ok_or_else(bad)?;
        let is_past_midnight = midnight
            && rest.strip_prefix('.').is_some_and(|rest| rest.trim_start_matches('0').starts_with(|digit: char| digit.is_ascii_digit()));
        if is_past_midnight || (zone_at == 19 && plain.get(17..19).is_none_or(|second| second > "59")) {
            return Err(bad());
        }
        if let Some((hours, minutes)) =
            rest.rfind(['+', '-']).and_then(|sign| rest.get(sign + 1..)).and_then(|offset| offset.split_once(':'))
        {
            let minutes = hours
                .parse::<u32>()
                .ok()
                .zip(minutes.parse::<u32>().ok())
                .map(|(hours, minutes)| hours.saturating_mul(60).saturating_add(minutes));
            if minutes.is_none_or(|minutes| minutes > OFFSET_MINUTES_MAX) {
                return Err(bad());
            }
        }
        let read: Self = plain.parse().map_err(|_| bad())?;
        let read = if midnight { read.plus(Duration::from_secs(24 * 3_600)) } else { read };
        let year = Offset::UTC.to_datetime(read.instant()).year();
        if YEARS.contains(&year) { Ok(read) } else { Err(bad()) }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pattern = if self.0 % 1000 == 0 { "%Y-%m-%dT%H:%M:%S%:z" } else { "%Y-%m-%dT%H:%M:%S%.3f%:z" };
        f.write_str(&self.format(pattern))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where "now" comes from; passed in wherever a decision depends on it.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;

    /// By how much the machine's clock has jumped that this one does not follow yet; forward is positive.
    fn held_jump_ms(&self) -> Option<i64> {
        None
    }
}

pub use guarded::GuardedClock;

pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A clock before 1970 is a broken machine; the epoch keeps order and is visible in every log line.
        Timestamp(since_epoch.map(duration_ms).unwrap_or(0))
    }
}

/// A clock that stands still until it is moved; for tests and simulations.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub fn at(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.0))
    }

    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(duration_ms(by), Ordering::SeqCst);
    }

    /// As a clock that is set: also backwards.
    pub fn advance_ms(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_end_their_days_at_24_and_have_no_second_60() {
        let read = |text: &str| Timestamp::from_document(text).map(|time| time.as_ms());
        let next_day = "2026-07-24T00:00:00+08:00".parse::<Timestamp>().expect("a time").as_ms();
        for text in ["2026-07-23T24:00:00+08:00", "2026-07-23T24:00:00.000+08:00", "2026-07-24T00:00:00+08:00", "2026-07-23T16:00:00Z"] {
            assert_eq!(read(text).ok(), Some(next_day), "{text}");
        }
        for text in [
            "2026-07-23T24:00:01+08:00",
            "2026-07-23T24:00:00.5+08:00",
            "2026-07-23T25:00:00+08:00",
            "2026-07-23T08:59:60+08:00",
            "2026-07-23T09:00:00+24:00",
            "2026-07-23T09:00:00+14:01",
            "0000-07-23T09:00:00+08:00",
            "9999-12-31T23:00:00-08:00",
            "2026-07-23T09:00:00",
            "2026-07-23",
            "",
            "暴雨暴雨暴雨暴雨",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_is_printed_in_beijing_time_whatever_offset_it_came_with() {
        let noon_utc: Timestamp = "2026-07-23T02:15:00-00:00".parse().expect("valid");
        assert_eq!(noon_utc.to_string(), "2026-07-23T10:15:00+08:00");
        assert_eq!("2026-07-23T10:15:00.250+08:00".parse::<Timestamp>().expect("valid").to_string(), "2026-07-23T10:15:00.250+08:00");
    }

    #[test]
    fn a_time_without_offset_or_with_a_zone_name_is_refused() {
        for text in ["2026-07-23T10:15:00", "2026-07-23", "2026-07-23T10:15:00+08:00[Asia/Shanghai]", "", "now"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text:?} was read as a time");
        }
    }

    #[test]
    fn time_between_never_runs_backwards() {
        let (early, late) = (Timestamp::from_ms(1_000), Timestamp::from_ms(3_500));
        assert_eq!(late.since(early), Duration::from_millis(2_500));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
