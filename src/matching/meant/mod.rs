//! Owns what a source means by the codes that it writes: codes long given up, the other official table, and the name beside a code.
//! Refuses to widen: a code is replaced by the one that stands for the same place now, or kept as it is.
//! Invariant: an area whose name and code disagree is never told without a person's word (two official tables give one township code
//! to different towns).

mod book;
mod names;

pub use book::CodeBook;

use self::names::{Verdict, compare, is_same};
use crate::{
    alert::Area,
    area::{AreaCode, AreaLevel},
    fault::Fault,
    registry::Snapshot,
};

/// What was found out about the codes of an alert.
#[derive(Debug, Default)]
pub struct Meant {
    pub warnings: Vec<Fault>,
    /// What only a person can settle; the alert is held until one does.
    pub doubts: Vec<Doubt>,
}

#[derive(Clone, Debug)]
pub struct Doubt {
    pub fault: Fault,
    /// For whoever must settle it, who reads neither paths nor English.
    pub words: String,
}

/// Brings every code to the registry's table.
pub fn meant(areas: &mut [Area], book: &CodeBook, snapshot: &Snapshot) -> Meant {
    let mut meant = Meant::default();
    for (at, area) in areas.iter_mut().enumerate() {
        let codes = std::mem::take(&mut area.codes);
        for (nth, code) in codes.into_iter().enumerate() {
            let path = format!("areas[{at}].codes[{nth}]");
            let Some(here) = translate(code, &path, book, snapshot, &mut meant) else { continue };
            // The source's own table has told which place is meant: its name needs no second witness.
            if book.name(code).is_none() {
                hold_against_name(here, &area.name, &path, snapshot, &mut meant);
            }
            if !area.codes.contains(&here) {
                area.codes.push(here);
            }
        }
    }
    meant
}

/// The registry's code of the place; `None` where a source's table names a place that the registry has not.
fn translate(code: AreaCode, path: &str, book: &CodeBook, snapshot: &Snapshot, meant: &mut Meant) -> Option<AreaCode> {
    if let Some(theirs) = book.name(code).filter(|_| code.level() > AreaLevel::County) {
        return by_name(code, theirs, path, book, snapshot, meant);
    }
    if snapshot.areas().get(code).is_some() {
        return Some(code);
    }
    let Some(now) = book.successor(code) else { return Some(code) };
    meant.warnings.push(Fault::new(path, "obsolete-code", format!("{code} was given up; {now} is in its place")));
    Some(now)
}

/// The area of this name in the same county, or for a village in the township that the source means.
fn by_name(code: AreaCode, theirs: &str, path: &str, book: &CodeBook, snapshot: &Snapshot, meant: &mut Meant) -> Option<AreaCode> {
    let areas = snapshot.areas();
    let is_theirs = |node: &crate::registry::AreaNode| {
        let above: Vec<&str> = areas.ancestors(node.code).map(|above| &*above.name).collect();
        is_same(&node.name, theirs, &above)
    };
    if areas.get(code).is_some_and(is_theirs) {
        return Some(code);
    }
    let within = match code.level() {
        AreaLevel::Village => {
            let township = code.at_level(AreaLevel::Township);
            match book.name(township) {
                Some(name) => by_name(township, name, path, book, snapshot, meant)?,
                None => township,
            }
        }
        _ => {
            let county = code.at_level(AreaLevel::County);
            book.successor(county).filter(|_| areas.get(county).is_none()).unwrap_or(county)
        }
    };
    let of_level = |node: &&crate::registry::AreaNode| node.code.level() == code.level();
    let mut found = areas.descends(within).filter(of_level).filter(|node| is_theirs(node));
    match (found.next(), found.next()) {
        (Some(only), None) => {
            let message = format!("{code} is {theirs} in the source's table, which is {} here", only.code);
            meant.warnings.push(Fault::new(path, "code-of-another-table", message));
            Some(only.code)
        }
        (first, _) => {
            let (why, words) = match first {
                Some(_) => ("several areas here have this name", "本县有几处同名"),
                None => ("no area here has this name", "本县没有这个地名"),
            };
            meant.doubts.push(Doubt {
                fault: Fault::new(path, "code-without-area", format!("{code} is {theirs} in the source's table, but {why}: left out")),
                words: format!("区划代码{code}在发布单位的表中是“{theirs}”，{words}：这一处未列入发布范围"),
            });
            None
        }
    }
}

/// Only towns and villages: above them the tables agree.
fn hold_against_name(code: AreaCode, words: &str, path: &str, snapshot: &Snapshot, meant: &mut Meant) {
    if code.level() < AreaLevel::Township {
        return;
    }
    let Some(name) = snapshot.areas().name(code) else { return };
    let above = snapshot.areas().ancestors(code).map(|node| &*node.name);
    match compare(words, name, above) {
        Verdict::Named | Verdict::NothingToCompare => {}
        Verdict::AmongOthers => {
            meant.warnings.push(Fault::new(path, "area-not-named", format!("{code} is {name}, which the name of the area leaves out")));
        }
        Verdict::Another => {
            let words: String = words.chars().take(60).collect();
            let message = format!("{code} is {name} here, but the area is named {words:?}");
            meant.doubts.push(Doubt {
                fault: Fault::new(path, "area-name-mismatch", message),
                words: format!("区划代码{code}在本县是“{name}”，来文写的地名是“{words}”：请核实要发给哪里"),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fixture::beichuan_snapshot;

    const HISTORY: &str = "old,new\n510799,510726\n";

    fn area(name: &str, codes: &[&str]) -> Area {
        let codes = codes.iter().map(|code| code.parse().expect("a code")).collect();
        Area { name: name.into(), codes, polygons: Vec::new(), circles: Vec::new() }
    }

    fn told(area: Area, table: Option<&str>) -> (Vec<String>, Vec<&'static str>, Vec<&'static str>) {
        let book = CodeBook::read(HISTORY, table).expect("a sound book");
        let mut areas = [area];
        let meant = meant(&mut areas, &book, &beichuan_snapshot(10, 1));
        let rules = |faults: &[Fault]| faults.iter().map(|fault| fault.rule).collect();
        let doubts: Vec<Fault> = meant.doubts.into_iter().map(|doubt| doubt.fault).collect();
        (areas[0].codes.iter().map(ToString::to_string).collect(), rules(&meant.warnings), rules(&doubts))
    }

    #[test]
    fn what_name_and_code_agree_on_goes_out_and_what_not_waits_for_a_person() {
        assert_eq!(told(area("通泉镇", &["510726104"]), None), (vec!["510726104".into()], vec![], vec![]));
        // The code of Yong'an in the table of civil affairs is that of Tongquan in the statistics table.
        assert_eq!(told(area("永安镇", &["510726104"]), None), (vec!["510726104".into()], vec![], vec!["area-name-mismatch"]));
        assert_eq!(told(area("永安镇", &["510726"]), None), (vec!["510726".into()], vec![], vec![]));
    }

    #[test]
    fn a_source_with_a_table_of_its_own_means_the_town_of_that_name() {
        let table = "code,name\n510726104,永安镇\n510726105,永昌镇\n510726216,无人乡\n";
        let (codes, warnings, doubts) = told(area("永安镇", &["510726104000"]), Some(table));
        assert_eq!((codes, warnings, doubts), (vec!["510726105".into()], vec!["code-of-another-table"], vec![]));
        let (codes, _, doubts) = told(area("无人乡", &["510726216"]), Some(table));
        assert_eq!((codes, doubts), (vec![], vec!["code-without-area"]));
    }

    #[test]
    fn a_code_that_was_given_up_stands_for_its_successor() {
        let (codes, warnings, doubts) = told(area("擂鼓镇", &["510799101"]), None);
        assert_eq!((codes, warnings, doubts), (vec!["510726101".into()], vec!["obsolete-code"], vec![]));
        let (codes, warnings, _) = told(area("北川县", &["510799"]), None);
        assert_eq!((codes, warnings), (vec!["510726".into()], vec!["obsolete-code"]));
    }
}
