//! Owns whether the words beside a code name the area that the code stands for.
//! Refuses to know which of the two is right: that is for a person. Invariant: words that name no place at all never contradict.

use crate::area::{AreaLevel, called};

/// Ends of names, longest first; 族乡 ends a minority township, whose people's name is often left out.
const ENDS: &[(&str, AreaLevel)] = &[
    ("社区居民委员会", AreaLevel::Village),
    ("居民委员会", AreaLevel::Village),
    ("村民委员会", AreaLevel::Village),
    ("社区居委会", AreaLevel::Village),
    ("居委会", AreaLevel::Village),
    ("村委会", AreaLevel::Village),
    ("社区", AreaLevel::Village),
    ("村", AreaLevel::Village),
    ("街道办事处", AreaLevel::Township),
    ("街道", AreaLevel::Township),
    ("镇", AreaLevel::Township),
    ("乡", AreaLevel::Township),
    ("自治县", AreaLevel::County),
    ("县", AreaLevel::County),
    ("区", AreaLevel::County),
    ("市", AreaLevel::City),
    ("省", AreaLevel::Province),
];

/// Words of areas that name no place of their own.
const COMMON: &[&str] = &[
    "部分", "大部", "局部", "所有", "全部", "全境", "全域", "境内", "辖区", "范围", "地区", "区域", "乡镇", "街道", "村", "社区", "镇",
    "乡", "县", "市", "省", "的", "和", "及", "与", "内",
];

/// The word that makes a list of places an example of more.
const AND_OTHERS: char = '等';

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Named,
    /// The words name no place below those that the area lies in; or none that can be held against a Chinese name.
    NothingToCompare,
    /// Others are named, "and others".
    AmongOthers,
    Another,
}

/// `words` beside the code of an area called `name`, which lies in the areas called `above`.
pub(super) fn compare<'a>(words: &str, name: &str, above: impl Iterator<Item = &'a str>) -> Verdict {
    if words.contains(name) || short(name).is_some_and(|short| words.contains(short)) {
        return Verdict::Named;
    }
    let above: Vec<&str> = above.collect();
    // 四川省某街道 and 某街道, 某社区居民委员会 and 某社区 are one place in two registers.
    if words.contains(&own_part(name, &above)) || !words.is_empty() && own_part(words, &above) == own_part(name, &above) {
        return Verdict::Named;
    }
    let mut rest = words.to_owned();
    for above in &above {
        rest = rest.replace(above, "");
        if let Some(short) = short(above) {
            rest = rest.replace(short, "");
        }
    }
    let names_others = rest.contains(AND_OTHERS);
    for common in COMMON {
        rest = rest.replace(common, "");
    }
    let says_a_place = rest.chars().filter(|letter| is_han(*letter) && *letter != AND_OTHERS && !is_count(*letter)).count() >= 2;
    match (says_a_place, names_others) {
        (false, _) => Verdict::NothingToCompare,
        (true, true) => Verdict::AmongOthers,
        (true, false) => Verdict::Another,
    }
}

/// Whether two registers mean one place that lies in the areas called `above`.
pub(super) fn is_same(one: &str, other: &str, above: &[&str]) -> bool {
    one == other || own_part(one, above) == own_part(other, above)
}

/// The name as people say it, without those of the areas above in front.
fn own_part(name: &str, above: &[&str]) -> String {
    let mut rest = called(name).into_owned();
    while let Some(shorter) = above.iter().find_map(|above| rest.strip_prefix(above).filter(|rest| !rest.is_empty()).map(str::to_owned)) {
        rest = shorter;
    }
    rest
}

/// The name without what every area of its kind ends in; `None` when too little is left to be told from other words.
fn short(name: &str) -> Option<&str> {
    let end = ENDS.iter().find_map(|(end, _)| name.strip_suffix(end))?;
    let letters = end.chars().count();
    let cut = if end.ends_with('族') && letters > 3 { 2 } else { letters };
    let bytes = end.char_indices().nth(cut).map_or(end.len(), |(place, _)| place);
    (cut >= 2).then_some(&end[..bytes])
}

fn is_han(letter: char) -> bool {
    matches!(letter, '\u{3400}'..='\u{9fff}')
}

fn is_count(letter: char) -> bool {
    "一二三四五六七八九十百个".contains(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOVE: [&str; 3] = ["北川羌族自治县", "绵阳市", "四川省"];

    fn says(words: &str, name: &str) -> Verdict {
        compare(words, name, ABOVE.into_iter())
    }

    #[test]
    fn a_name_is_known_whole_and_in_its_short_form() {
        for words in ["擂鼓镇", "北川县擂鼓镇", "擂鼓、曲山", "四川省绵阳市北川羌族自治县擂鼓镇"] {
            assert_eq!(says(words, "擂鼓镇"), Verdict::Named, "{words}");
        }
        assert_eq!(says("桃龙乡", "桃龙藏族乡"), Verdict::Named);
        assert_eq!(says("凤凰社区", "凤凰社区居民委员会"), Verdict::Named);
    }

    #[test]
    fn one_place_in_two_registers_is_one_place() {
        assert!(is_same("四川省样例高新区管委会街道", "样例高新区管委会街道", &ABOVE));
        assert!(is_same("绵阳市北川羌族自治县凤凰社区居民委员会", "凤凰社区", &ABOVE));
        assert!(!is_same("凤凰社区居民委员会", "凤凰村村民委员会", &ABOVE) && !is_same("曲山镇", "擂鼓镇", &ABOVE));
        assert_eq!(says("样例高新区管委会街道", "四川省样例高新区管委会街道"), Verdict::Named);
    }

    #[test]
    fn another_place_is_told_from_no_place() {
        assert_eq!(says("永安镇", "通泉镇"), Verdict::Another);
        assert_eq!(says("北川县永安镇", "通泉镇"), Verdict::Another);
        for words in ["", "北川羌族自治县", "绵阳市北川县部分乡镇", "Leigu Township", "北川县5个乡镇", "受影响"] {
            let wanted = if words == "受影响" { Verdict::Another } else { Verdict::NothingToCompare };
            assert_eq!(says(words, "通泉镇"), wanted, "{words}");
        }
        assert_eq!(says("永安镇等三个乡镇", "通泉镇"), Verdict::AmongOthers);
    }
}
