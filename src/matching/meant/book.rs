//! Owns the two lists by which a source's codes are understood: codes that were given up, and the table that a source itself uses.
//! Refuses to know alerts and the registry. Invariant: a list with any fault is not used; every fault has its line.

use std::collections::BTreeMap;

use crate::{
    area::{AreaCode, AreaLevel},
    fault::{Fault, Faults},
};

/// All codes of a province that ever changed are a few thousand; the table of a city has some ten thousand rows.
const ROWS_MAX: usize = 100_000;
/// A code was changed a handful of times since 1980; more steps are a ring.
const STEPS_MAX: usize = 8;

/// What a source's codes stand for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CodeBook {
    moved: BTreeMap<AreaCode, AreaCode>,
    table: BTreeMap<AreaCode, Box<str>>,
}

impl CodeBook {
    /// From the two CSV files; `history` has the columns old and new, `table` code and name.
    pub fn read(history: &str, table: Option<&str>) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let mut book = Self::default();
        for [line, old, new] in rows(history, "code_history", &[["old", "旧代码"], ["new", "新代码"]], &mut faults) {
            if let (Some(old), Some(new)) = (code(&line, &old, &mut faults), code(&line, &new, &mut faults)) {
                book.moved.insert(old, new);
            }
        }
        for [line, of, name] in rows(table.unwrap_or_default(), "code_table", &[["code", "代码"], ["name", "名称"]], &mut faults) {
            if let Some(of) = code(&line, &of, &mut faults) {
                book.table.insert(of, name.into());
            }
        }
        let rings: Vec<AreaCode> = book.moved.keys().copied().filter(|&old| book.newest(old).is_none()).collect();
        for old in rings {
            faults.add("code_history", "ring", format!("{old} becomes itself again"));
        }
        faults.into_result(book)
    }

    /// What the source's own table calls this code.
    pub(super) fn name(&self, code: AreaCode) -> Option<&str> {
        self.table.get(&code).map(AsRef::as_ref)
    }

    /// The code that took this one's place, where it or an area above it was given up.
    pub(super) fn successor(&self, code: AreaCode) -> Option<AreaCode> {
        let newest = self.newest(code)?;
        (newest != code).then_some(newest)
    }

    /// `None` when the list goes round in a ring.
    fn newest(&self, mut code: AreaCode) -> Option<AreaCode> {
        for _ in 0..STEPS_MAX {
            match self.step(code) {
                Some(next) => code = next,
                None => return Some(code),
            }
        }
        None
    }

    fn step(&self, code: AreaCode) -> Option<AreaCode> {
        if let Some(&next) = self.moved.get(&code) {
            return Some(next);
        }
        // A county that was given another code kept the numbers of its townships and villages.
        let county = code.at_level(AreaLevel::County);
        let next = self.moved.get(&county).filter(|next| code != county && next.level() == AreaLevel::County)?;
        AreaCode::from_padded(next.padded() + (code.padded() - county.padded()))
    }
}

/// Line word and two cells of each row; the columns are found by either of their headings.
fn rows(text: &str, file: &str, columns: &[[&str; 2]; 2], faults: &mut Faults) -> Vec<[String; 3]> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Vec::new();
    }
    let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let heads = reader.headers().cloned().unwrap_or_default();
    let places = columns.map(|names| heads.iter().position(|head| names.contains(&head)));
    let [Some(first), Some(second)] = places else {
        faults.add(file, "missing-column", format!("needs the columns {} and {}", columns[0][0], columns[1][0]));
        return Vec::new();
    };
    let mut rows = Vec::new();
    for (record, number) in reader.records().zip(2_usize..) {
        let line = format!("{file}, line {number}");
        match record {
            Ok(_) if rows.len() == ROWS_MAX => {
                faults.add(line, "too-many", format!("more than {ROWS_MAX} rows"));
                break;
            }
            Ok(record) => {
                let cell = |place: usize| record.get(place).unwrap_or_default().to_owned();
                rows.push([line, cell(first), cell(second)]);
            }
            Err(error) => faults.add(line, "bad-row", error.to_string()),
        }
    }
    rows
}

fn code(line: &str, text: &str, faults: &mut Faults) -> Option<AreaCode> {
    text.parse().map_err(|error| faults.add(line, "bad-code", format!("{error}"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> AreaCode {
        text.parse().expect("a code")
    }

    #[test]
    fn a_code_is_followed_through_every_change_and_townships_go_with_their_county() {
        let book = CodeBook::read(include_str!("../../../config/code-history.csv"), None).expect("a sound list");
        assert_eq!(book.successor(at("510724")), Some(at("510705")));
        assert_eq!(book.successor(at("512823")), Some(at("510705")));
        assert_eq!(book.successor(at("510724101202")), Some(at("510705101202")));
        assert_eq!(book.successor(at("512824")), Some(at("510781")));
        assert_eq!(book.successor(at("510726")), None);
    }

    #[test]
    fn every_fault_of_both_files_is_told_with_its_line() {
        let faults = CodeBook::read("old,new\n510724,x\n5107,510701\n510701,5107\n", Some("code,title\n1,2\n")).expect_err("faults");
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 4, "{told:#?}");
        assert!(told[0].starts_with("code_history, line 2") && told[1].starts_with("code_table"), "{told:#?}");
        assert!(told[2].contains("becomes itself again"), "{told:#?}");
    }
}
