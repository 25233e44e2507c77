//! Owns administrative division codes (GB/T 2260 county + GB/T 10114 township + village part) and their levels.
//! Refuses to know which areas exist: that is the registry's area tree.
//! Invariant: a code is cut and padded only at level boundaries (2, 4, 6, 9, 12 digits), never by stray zeros.

use std::{borrow::Cow, fmt, ops::RangeInclusive, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A division code, kept padded to 12 digits; `Display` gives the short form of its level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AreaCode(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AreaLevel {
    Province,
    City,
    County,
    Township,
    Village,
}

impl AreaLevel {
    /// Digits of the short form.
    pub const fn digits(self) -> usize {
        match self {
            Self::Province => 2,
            Self::City => 4,
            Self::County => 6,
            Self::Township => 9,
            Self::Village => 12,
        }
    }

    /// How many 12-digit codes lie in one area of this level.
    const fn span(self) -> u64 {
        match self {
            Self::Province => 10_000_000_000,
            Self::City => 100_000_000,
            Self::County => 1_000_000,
            Self::Township => 1_000,
            Self::Village => 1,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Province => "province",
            Self::City => "city",
            Self::County => "county",
            Self::Township => "township",
            Self::Village => "village",
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a division code of 2, 4, 6, 9 or 12 digits")]
pub struct BadAreaCode {
    text: String,
}

impl AreaCode {
    /// From the 12-digit number; `None` when it is not between 11 and 99 in its province part.
    pub fn from_padded(code: u64) -> Option<Self> {
        (110_000_000_000..=999_999_999_999).contains(&code).then_some(Self(code))
    }

    /// The 12-digit number, for sorting and storing.
    pub const fn padded(self) -> u64 {
        self.0
    }

    pub const fn level(self) -> AreaLevel {
        if !self.0.is_multiple_of(1_000) {
            AreaLevel::Village
        } else if !self.0.is_multiple_of(1_000_000) {
            AreaLevel::Township
        } else if !self.0.is_multiple_of(100_000_000) {
            AreaLevel::County
        } else if !self.0.is_multiple_of(10_000_000_000) {
            AreaLevel::City
        } else {
            AreaLevel::Province
        }
    }

    /// Every 12-digit code at or below this area.
    pub const fn range(self) -> RangeInclusive<u64> {
        self.0..=self.0 + self.level().span() - 1
    }

    /// Whether `other` is this area or lies in it.
    pub fn contains(self, other: Self) -> bool {
        self.range().contains(&other.0)
    }

    /// The area of `level` that this one lies in; itself when it is at or above that level.
    pub const fn at_level(self, level: AreaLevel) -> Self {
        Self(self.0 - self.0 % level.span())
    }

    /// The next area above; a province has none.
    pub const fn parent(self) -> Option<Self> {
        let level = match self.level() {
            AreaLevel::Village => AreaLevel::Township,
            AreaLevel::Township => AreaLevel::County,
            AreaLevel::County => AreaLevel::City,
            AreaLevel::City => AreaLevel::Province,
            AreaLevel::Province => return None,
        };
        Some(self.at_level(level))
    }
}

/// The name as people say it: registers of divisions name the office, and a village is not its committee.
/// 擂鼓村村民委员会 is 擂鼓村, 大坪社区居民委员会 is 大坪社区, 曲山镇人民政府 is 曲山镇.
pub fn called(name: &str) -> Cow<'_, str> {
    let name = name.trim();
    for (office, kind) in [("村民委员会", "村"), ("居民委员会", "社区"), ("村委会", "村"), ("居委会", "社区")] {
        let Some(bare) = name.strip_suffix(office).filter(|bare| !bare.is_empty()) else { continue };
        let has_kind = bare.ends_with(['村', '寨']) || bare.ends_with("社区");
        return if has_kind { Cow::Borrowed(bare) } else { Cow::Owned(format!("{bare}{kind}")) };
    }
    for office in ["人民政府", "办事处"] {
        if let Some(bare) = name.strip_suffix(office).filter(|bare| bare.ends_with(['镇', '乡', '道', '县', '区', '市'])) {
            return Cow::Borrowed(bare);
        }
    }
    Cow::Borrowed(name)
}

impl FromStr for AreaCode {
    type Err = BadAreaCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadAreaCode { text: text.chars().take(40).collect() };
        let digits = text.len();
        if !matches!(digits, 2 | 4 | 6 | 9 | 12) || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let short: u64 = text.parse().map_err(|_| bad())?;
        let padded = short * 10_u64.pow(u32::try_from(12 - digits).map_err(|_| bad())?);
        Self::from_padded(padded).ok_or_else(bad)
    }
}

impl fmt::Display for AreaCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 / self.level().span())
    }
}

impl fmt::Debug for AreaCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for AreaCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AreaCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> AreaCode {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_village_is_not_its_committee() {
        for (written, said) in [
            ("擂鼓村村民委员会", "擂鼓村"),
            ("向阳村民委员会", "向阳村"),
            ("大坪社区居民委员会", "大坪社区"),
            ("曲山居民委员会", "曲山社区"),
            ("擂鼓村委会", "擂鼓村"),
            ("曲山镇人民政府", "曲山镇"),
            ("朝阳街道办事处", "朝阳街道"),
            ("擂鼓村", "擂鼓村"),
            ("村民委员会", "村民委员会"),
        ] {
            assert_eq!(called(written), said);
        }
    }

    #[test]
    fn long_and_short_forms_of_one_area_are_equal() {
        for (long, short) in [
            ("510726000000", "510726"),
            ("510726102000", "510726102"),
            ("110100000000", "1101"),
            ("130200", "1302"),
            ("510000000000", "51"),
        ] {
            assert_eq!(code(long), code(short));
            assert_eq!(code(long).to_string(), short);
        }
    }

    #[test]
    fn what_is_no_code_is_refused() {
        for text in ["", "5", "51072", "5107261", "51072610220", "5107261022011", "51072X", "００", "00", "000000000000", "+51072"] {
            assert!(text.parse::<AreaCode>().is_err(), "{text:?} was taken for a code");
        }
    }

    #[test]
    fn an_area_contains_itself_and_what_lies_below_and_nothing_beside() {
        let county = code("510726");
        assert!(county.contains(code("510726102201")) && county.contains(county));
        assert!(!county.contains(code("5107")) && !county.contains(code("510727")) && !code("510726102").contains(code("510726103201")));
        assert_eq!(code("510726102201").at_level(AreaLevel::Township), code("510726102"));
        assert_eq!(code("5107").at_level(AreaLevel::Village), code("5107"));
        assert_eq!(code("510726102").parent(), Some(county));
    }
}
