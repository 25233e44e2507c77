//! Owns the name of a month, by which journal and trail are cut so that old space can be given back.
//! Refuses to know what is kept in a month.
//! Invariant: names sort as their months do, and read back as what they were written from.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::dropping::MARK;
use crate::time::Timestamp;

/// A month such as `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: u16,
    month: u8,
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a month such as 2026-11")]
pub struct BadMonth(String);

impl Month {
    /// The month of an instant, in the offset that times are printed with.
    pub fn of(instant: Timestamp) -> Self {
        // A clock outside the years 0..=9999 is a broken machine; the first month sorts before all others and is replaced by them.
        instant.format("%Y-%m").parse().unwrap_or(Self { year: 0, month: 1 })
    }

    pub(super) fn journal_path(self, data: &Path) -> PathBuf {
        data.join(JOURNAL).join(self.to_string())
    }

    pub(super) fn trail_path(self, data: &Path) -> PathBuf {
        data.join(TRAIL).join(format!("{self}.log"))
    }

    /// The month so many months before.
    pub fn back(self, months: u32) -> Self {
        let number = (u32::from(self.year) * 12 + u32::from(self.month - 1)).saturating_sub(months);
        Self::of_number(number)
    }

    /// The month after.
    pub(super) fn next(self) -> Self {
        Self::of_number(u32::from(self.year) * 12 + u32::from(self.month))
    }

    fn of_number(number: u32) -> Self {
        let (year, month) = (number / 12, number % 12 + 1);
        Self { year: u16::try_from(year).unwrap_or(u16::MAX), month: u8::try_from(month).expect("twelve at most") }
    }

    /// Months that have a journal or a trail, or were given back, oldest first.
    pub(super) fn all(data: &Path) -> io::Result<Vec<Self>> {
        let mut months = Vec::new();
        for (folder, ending) in [(JOURNAL, ""), (JOURNAL, MARK), (TRAIL, ".log")] {
            let listing = match fs::read_dir(data.join(folder)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            for item in listing {
                let name = item?.file_name();
                // Anything else there (moved-aside directories) has another name, and is left alone.
                if let Some(month) = name.to_str().and_then(|name| name.strip_suffix(ending)).and_then(|name| name.parse().ok()) {
                    months.push(month);
                }
            }
        }
        months.sort_unstable();
        months.dedup();
        Ok(months)
    }
}

pub(super) const JOURNAL: &str = "journal";
pub(super) const TRAIL: &str = "trail";

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Month {
    type Err = BadMonth;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (year, month) = text.split_once('-')?;
            let digits = year.len() == 4 && month.len() == 2 && (year.bytes().chain(month.bytes())).all(|byte| byte.is_ascii_digit());
            let read = Self { year: year.parse().ok()?, month: month.parse().ok()? };
            (digits && (1..=12).contains(&read.month)).then_some(read)
        };
        read().ok_or_else(|| BadMonth(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_told_in_local_time() {
        let last_evening_utc: Timestamp = "2026-11-30T20:00:00Z".parse().expect("valid");
        assert_eq!(Month::of(last_evening_utc).to_string(), "2026-12");
    }

    #[test]
    fn months_are_counted_over_the_turn_of_the_year() {
        let month: Month = "2027-02".parse().expect("valid");
        assert_eq!(
            (month.back(1).to_string(), month.back(2).to_string(), month.back(14).to_string()),
            ("2027-01".into(), "2026-12".into(), "2025-12".into())
        );
        assert_eq!(month.back(2).next().to_string(), "2027-01");
        assert_eq!(month.back(99_999).to_string(), "0000-01");
    }

    #[test]
    fn only_whole_month_names_are_read() {
        assert_eq!("2026-11".parse::<Month>().expect("valid").to_string(), "2026-11");
        for text in ["2026-13", "2026-1", "2026-11.damaged-5", "+026-11", "2026-00", ""] {
            assert!(text.parse::<Month>().is_err(), "{text:?} was read as a month");
        }
    }
}
