//! Owns the way from a village's name, as people write it in lists, to its code.
//! Refuses to know files. Invariant: a name that several areas bear is never settled by chance: the town decides, or it is a fault.

use super::{area_record::AreaRecord, merge::Placed, tree::AreaTree};
use crate::area::{AreaCode, called};

/// Places of one name that a fault lists.
const LISTED_MAX: usize = 5;

/// The area that is meant by `name`, with the town that stands beside it; among those kept and those read before.
pub(super) fn find(name: &str, town: &str, kept: &AreaTree, read: &[Placed<AreaRecord>]) -> Result<AreaCode, String> {
    let (name, town) = (plain(name), plain(town));
    let all =
        || kept.iter().map(|node| (node.code, &*node.name)).chain(read.iter().map(|placed| (placed.record.code, &*placed.record.name)));
    let name_of = |code: AreaCode| all().find(|(known, _)| *known == code).map(|(_, name)| plain(name)).unwrap_or_default();
    let above = |code: AreaCode| code.parent().map(name_of).unwrap_or_default();
    let mut found: Vec<AreaCode> = Vec::new();
    for (code, written) in all() {
        let own = plain(written);
        let fits = own == name || name.ends_with(&own) && ends_in_places(&name[..name.len() - own.len()], code, &name_of);
        if fits && !found.contains(&code) {
            found.push(code);
        }
    }
    // 北川县 is a place, and so is 擂鼓镇 in 北川县擂鼓镇: the lowest is meant.
    if let Some(lowest) = found.iter().map(|code| code.level()).max() {
        found.retain(|code| code.level() == lowest);
    }
    if found.len() > 1 && !town.is_empty() {
        found.retain(|code| above(*code) == town || town.ends_with(&above(*code)) && !above(*code).is_empty());
    }
    match found.as_slice() {
        [only] => Ok(*only),
        [] => Err(format!("no area is called {name:?}: write its code, or take in the areas first")),
        several => {
            let listed: Vec<String> =
                several.iter().take(LISTED_MAX).map(|code| format!("{code} {}{}", above(*code), name_of(*code))).collect();
            Err(format!(
                "{} areas are called {name:?}: {}; write the code, or the town before the village",
                several.len(),
                listed.join(", ")
            ))
        }
    }
}

/// Whether what stands before a name names nothing but the areas above it: 四川省北川县擂鼓镇.
fn ends_in_places(before: &str, code: AreaCode, name_of: &impl Fn(AreaCode) -> String) -> bool {
    let mut rest = before.trim_end_matches(['/', '-', '\u{b7}']);
    let mut above = code.parent();
    while let Some(here) = above {
        let name = name_of(here);
        if !name.is_empty() {
            rest = rest.strip_suffix(name.as_str()).unwrap_or(rest).trim_end_matches(['/', '-', '\u{b7}']);
        }
        above = here.parent();
    }
    // A tree may begin at the county; lists name the province and the city above it.
    rest.is_empty() || rest.ends_with(['省', '市', '区', '州'])
}

/// Without blanks, and a village instead of its committee.
fn plain(name: &str) -> String {
    let bare: String = name.chars().filter(|letter| !letter.is_whitespace()).collect();
    called(&bare).into_owned()
}
