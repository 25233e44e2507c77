//! Owns which place a reader is told: their own where the alert covers it, else the places within theirs that it means.
//! Refuses to know texts. Invariant: who stands above an area is never told that the whole of theirs is meant when a part is.

use std::collections::BTreeSet;

use crate::{
    alert::Area,
    area::{AreaCode, AreaLevel, called},
    matching,
    registry::{AreaTree, Snapshot},
};

/// Places named one by one; of more the number is told.
const NAMED_MAX: usize = 2;

/// The divisions that an alert's areas mean, none within another: as their codes say, or as their shapes hold.
pub(crate) fn meant(areas: &[Area], snapshot: &Snapshot) -> Vec<AreaCode> {
    let tree = snapshot.areas();
    let coded = areas.iter().flat_map(|area| &area.codes).copied();
    let shaped = areas.iter().flat_map(|area| matching::held_by_shapes(area, snapshot)).flat_map(|(_, held)| held);
    let mut codes: BTreeSet<AreaCode> = coded.collect();
    // A shape holds people of a town or the county itself beside those of villages: the villages say where it lies.
    let held: BTreeSet<AreaCode> = shaped.collect();
    codes.extend(held.iter().filter(|code| !held.iter().any(|other| other != *code && code.contains(*other))));
    for level in [AreaLevel::Village, AreaLevel::Township] {
        let above: BTreeSet<AreaCode> =
            codes.iter().filter(|code| code.level() == level).filter_map(|code| tree.get(*code)?.parent).collect();
        let whole = |above: &AreaCode| tree.children(*above).all(|below| codes.contains(&below.code));
        let whole: Vec<AreaCode> = above.into_iter().filter(whole).collect();
        codes.extend(whole);
    }
    let within = |code: &AreaCode| codes.iter().any(|other| other != code && other.contains(*code));
    codes.iter().filter(|code| !within(code)).copied().collect()
}

/// What somebody whose place is `own` is told.
pub(crate) fn told(meant: &[AreaCode], own: AreaCode, tree: &AreaTree) -> String {
    let below: Vec<AreaCode> = meant.iter().filter(|code| **code != own && own.contains(**code)).copied().collect();
    if below.is_empty() || meant.iter().any(|code| code.contains(own)) {
        return name(own, tree);
    }
    let mut town = None;
    let named = below.iter().take(NAMED_MAX).map(|code| {
        let above = tree.ancestors(*code).next().map(|above| above.code);
        let same = above.is_some() && above == std::mem::replace(&mut town, above);
        if same { name(*code, tree) } else { full(*code, tree) }
    });
    let named = named.collect::<Vec<_>>().join("、");
    if below.len() <= NAMED_MAX { named } else { format!("{named}等{}{}", below.len(), kind(&below)) }
}

/// With the town before a village, since villages of several towns bear one name, and in a city with the county before a town.
pub(crate) fn full(code: AreaCode, tree: &AreaTree) -> String {
    let is_city = tree.root().is_some_and(|root| root.code.level() < AreaLevel::County);
    let highest = if is_city { AreaLevel::County } else { AreaLevel::Township };
    let above = tree.ancestors(code).filter(|above| above.code.level() >= highest);
    let mut names: Vec<String> = above.map(|above| called(&above.name).into_owned()).collect();
    names.reverse();
    let own = name(code, tree);
    // 擂鼓镇擂鼓村 is not 擂鼓镇擂鼓镇擂鼓村 where the register has the town in the name.
    names.retain(|above| !own.starts_with(above.as_str()));
    names.push(own);
    names.concat()
}

fn name(code: AreaCode, tree: &AreaTree) -> String {
    tree.name(code).map_or_else(|| code.to_string(), |name| called(name).into_owned())
}

fn kind(codes: &[AreaCode]) -> &'static str {
    let all = |level: AreaLevel| codes.iter().all(|code| code.level() == level);
    match () {
        () if all(AreaLevel::Village) => "个村",
        () if all(AreaLevel::Township) => "个乡镇",
        () if all(AreaLevel::County) => "个县区",
        () => "处",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::AreaNode;

    fn code(text: &str) -> AreaCode {
        text.parse().expect("a code")
    }

    fn tree(top: &str) -> AreaTree {
        let nodes = [
            (top, "绵阳市"),
            ("510726", "北川县"),
            ("510726101", "擂鼓镇"),
            ("510726101201", "擂鼓村村民委员会"),
            ("510726101202", "向阳村村民委员会"),
            ("510726101203", "坪上村民委员会"),
            ("510726102", "陈家坝镇"),
            ("510726102202", "向阳村民委员会"),
            ("510726103", "桂溪镇人民政府"),
        ];
        let node = |(code_text, name): (&str, &str)| AreaNode { code: code(code_text), name: name.into(), parent: None, place: None };
        AreaTree::new(nodes.into_iter().filter(|(code, _)| !code.is_empty()).map(node).collect())
    }

    #[test]
    fn who_stands_above_is_told_which_part_is_meant() {
        let tree = tree("5107");
        let told = |meant: &[&str], own: &str| told(&meant.iter().map(|text| code(text)).collect::<Vec<_>>(), code(own), &tree);
        assert_eq!(told(&["510726101201"], "510726"), "擂鼓镇擂鼓村");
        assert_eq!(told(&["510726101201"], "510726101"), "擂鼓镇擂鼓村");
        assert_eq!(told(&["510726101201"], "510726101201"), "擂鼓村");
        assert_eq!(told(&["510726"], "510726101201"), "擂鼓村");
        assert_eq!(told(&["510726"], "510726"), "北川县");
        assert_eq!(told(&["510726101", "510726102"], "510726"), "擂鼓镇、陈家坝镇");
        assert_eq!(told(&["510726101", "510726102", "510726103"], "510726"), "擂鼓镇、陈家坝镇等3个乡镇");
        assert_eq!(told(&["510726101201", "510726101202"], "510726"), "擂鼓镇擂鼓村、向阳村");
        assert_eq!(told(&["510726101202", "510726102202"], "510726"), "擂鼓镇向阳村、陈家坝镇向阳村");
        assert_eq!(told(&["510726101201", "510726102", "510726103"], "510726"), "擂鼓镇擂鼓村、陈家坝镇等3处");
        // What lies elsewhere says nothing to a town.
        assert_eq!(told(&["510726101201", "510726102"], "510726101"), "擂鼓镇擂鼓村");
    }

    #[test]
    fn villages_of_one_name_are_told_apart_by_their_town() {
        assert_eq!(full(code("510726101202"), &tree("5107")), "擂鼓镇向阳村");
        assert_eq!(full(code("510726102202"), &tree("5107")), "陈家坝镇向阳村");
        assert_eq!(full(code("510726"), &tree("5107")), "北川县");
    }
}
