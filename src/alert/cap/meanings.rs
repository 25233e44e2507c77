//! Owns what a document of several infos says: which of them say one thing of several places or in several languages, and what is said apart.
//! Refuses to know drafts and levels. Invariant: every info belongs to exactly one meaning, and two that differ in event, level, times or words of
//! one language never to the same one: nobody is told of another place's colour.

use std::collections::BTreeSet;

use roxmltree::Node;

use super::node::{child_text, children, text};
use crate::{alert::words, time::Timestamp};

/// What people are told, or told by; infos of one language that agree in all of it differ in their places only.
const TOLD: &[&str] = &[
    "event",
    "responseType",
    "urgency",
    "severity",
    "certainty",
    "eventCode",
    "effective",
    "onset",
    "expires",
    "headline",
    "description",
    "instruction",
];
/// CAP: the language of an info that names none.
const LANGUAGE: &str = "en-US";

/// One thing that a document says, by places in the list of its infos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    /// The one whose words count.
    pub(super) first: usize,
    /// Those whose areas are added: the same of other places.
    pub(super) same: Vec<usize>,
    /// The same in other languages, one info each.
    pub(super) others: Vec<usize>,
    /// Those that say it again in other words of a language that is there already, of no other place.
    pub(super) again: Vec<usize>,
}

/// The language of an info, as written.
pub(super) fn language(info: &Node<'_, '_>) -> String {
    child_text(info, "language").filter(|said| !said.is_empty()).unwrap_or_else(|| LANGUAGE.into())
}

/// As it is compared.
fn tag(info: &Node<'_, '_>) -> String {
    let said = language(info);
    words::language_tag(&said).unwrap_or(said)
}

/// The meanings of a document in its own order; those in Chinese are found first, and the others held against them.
pub(super) fn meanings(infos: &[Node<'_, '_>]) -> Vec<Meaning> {
    let groups = groups(infos);
    let own = groups.iter().find(|group| group.language.starts_with("zh")).or(groups.first()).map(|group| group.language.clone());
    let Some(own) = own else { return Vec::new() };
    let (main, others): (Vec<Group>, Vec<Group>) = groups.into_iter().partition(|group| group.language == own);
    let mut found: Vec<Found> = main.into_iter().map(Found::new).collect();
    let count = found.len();
    for (number, group) in others.iter().enumerate() {
        let of_language = |others: &[Group]| others.iter().filter(|other| other.language == group.language).count();
        let rank = (of_language(&others) == count).then(|| of_language(&others[..number]));
        match fit(&found, group, rank) {
            Fit::Translates(place) => found[place].translate(group),
            Fit::Repeats(place) => found[place].meaning.again.extend(&group.infos),
            // What is said in this language alone is meant all the same.
            Fit::New => found.push(Found::new(group.clone())),
        }
    }
    let mut meanings: Vec<Meaning> = found.into_iter().map(|one| one.meaning).collect();
    meanings.sort_by_key(|meaning| meaning.first);
    meanings
}

fn groups(infos: &[Node<'_, '_>]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (place, info) in infos.iter().enumerate() {
        let (language, said) = (tag(info), said(info));
        match groups.iter_mut().find(|group| group.language == language && group.said == said) {
            Some(group) => {
                group.infos.push(place);
                group.places.extend(places(info));
            }
            None => groups.push(Group { language, said, facts: facts(info), places: places(info), infos: vec![place] }),
        }
    }
    groups
}

/// Infos of one language that say the same.
#[derive(Clone)]
struct Group {
    language: String,
    said: Vec<String>,
    facts: Facts,
    places: BTreeSet<String>,
    infos: Vec<usize>,
}

struct Found {
    meaning: Meaning,
    group: Group,
    languages: Vec<String>,
}

impl Found {
    fn new(group: Group) -> Self {
        let meaning = Meaning { first: group.infos[0], same: group.infos[1..].to_vec(), others: Vec::new(), again: Vec::new() };
        Self { meaning, languages: vec![group.language.clone()], group }
    }

    fn translate(&mut self, group: &Group) {
        self.meaning.others.push(group.infos[0]);
        self.languages.push(group.language.clone());
        if !group.places.is_subset(&self.group.places) {
            // It may be drawn otherwise, or be of one place more: nobody of it is left out.
            self.meaning.same.extend(&group.infos);
            self.group.places.extend(group.places.iter().cloned());
        }
    }
}

enum Fit {
    Translates(usize),
    Repeats(usize),
    New,
}

/// What does not change with the language.
#[derive(Clone, PartialEq, Eq)]
struct Facts {
    severity: String,
    times: Vec<Option<Timestamp>>,
    codes: BTreeSet<String>,
}

impl Facts {
    /// An info without codes is about whatever the other is about.
    fn agree(&self, other: &Self) -> bool {
        let codes = self.codes.is_empty() || other.codes.is_empty() || self.codes == other.codes;
        let same = |(one, two): (&Option<Timestamp>, &Option<Timestamp>)| one.is_none() || two.is_none() || one == two;
        self.severity == other.severity && self.times.iter().zip(&other.times).all(same) && codes
    }
}

/// What a group of another language is: of the meanings with the same facts the one of the same places, the one that stands in its place where
/// both languages have as many, or the only one.
fn fit(found: &[Found], group: &Group, rank: Option<usize>) -> Fit {
    let says_nowhere = group.places.is_empty();
    // Of an info without places nobody is told, so it can only be other words for what is there.
    let agree = |one: &&usize| says_nowhere || found[**one].group.facts.agree(&group.facts);
    let all: Vec<usize> = (0..found.len()).collect();
    let fitting: Vec<usize> = all.iter().filter(agree).copied().collect();
    let free: Vec<usize> = fitting.iter().filter(|&&one| !found[one].languages.contains(&group.language)).copied().collect();
    let is_there = |one: &&usize| group.places.is_subset(&found[**one].group.places);
    let there: Vec<usize> = free.iter().filter(is_there).copied().collect();
    let exact =
        there.iter().find(|&&one| found[one].group.places == group.places && rank.is_none_or(|rank| rank == one || !there.contains(&rank)));
    if let Some(&place) = exact.or(there.iter().find(|&&one| Some(one) == rank)).or(there.first()) {
        return Fit::Translates(place);
    }
    if let Some(&place) = fitting.iter().find(is_there) {
        return Fit::Repeats(place);
    }
    match free.as_slice() {
        [only] if found.len() == 1 => Fit::Translates(*only),
        _ => Fit::New,
    }
}

fn said(info: &Node<'_, '_>) -> Vec<String> {
    let of = |name: &'static str| children(info, name).map(move |node| format!("{name}={}", one_line(&text(&node))));
    let parameters = children(info, "parameter").filter(|node| {
        child_text(node, "valueName")
            .is_some_and(|name| name == "awareness_level" || name.starts_with("lastmile:text:") || name == "lastmile:group")
    });
    TOLD.iter().flat_map(|name| of(name)).chain(parameters.map(|node| one_line(&text(&node)))).collect()
}

fn facts(info: &Node<'_, '_>) -> Facts {
    let awareness = children(info, "parameter").filter(|node| child_text(node, "valueName").as_deref() == Some("awareness_level"));
    let severity = [child_text(info, "severity").unwrap_or_default()].into_iter().chain(awareness.map(|node| one_line(&text(&node))));
    let time = |name: &'static str| child_text(info, name).and_then(|said| Timestamp::from_document(&said).ok());
    Facts {
        severity: severity.collect::<Vec<_>>().join(" "),
        times: ["effective", "onset", "expires"].into_iter().map(time).collect(),
        codes: children(info, "eventCode").map(|node| one_line(&text(&node))).collect(),
    }
}

/// Where it holds, without the names that change with the language.
fn places(info: &Node<'_, '_>) -> BTreeSet<String> {
    let below = |name: &'static str| {
        children(info, "area").flat_map(move |area| children(&area, name).map(|node| one_line(&text(&node))).collect::<Vec<_>>())
    };
    below("polygon").chain(below("circle")).chain(below("geocode")).collect()
}

fn one_line(said: &str) -> String {
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places of infos: first, same, others, again.
    type Places = (usize, Vec<usize>, Vec<usize>, Vec<usize>);

    /// Infos of: language, event, severity, code of the area.
    fn of(infos: &[(&str, &str, &str, &str)]) -> Vec<Places> {
        let info = |(language, event, severity, area): &(&str, &str, &str, &str)| {
            let area = if area.is_empty() { String::new() } else { format!("<area><geocode><value>{area}</value></geocode></area>") };
            format!("<info><language>{language}</language><event>{event}</event><severity>{severity}</severity>{area}</info>")
        };
        let document = format!("<alert>{}</alert>", infos.iter().map(info).collect::<String>());
        let document = roxmltree::Document::parse(&document).expect("xml");
        let infos: Vec<Node<'_, '_>> = children(&document.root_element(), "info").collect();
        meanings(&infos).into_iter().map(|one| (one.first, one.same, one.others, one.again)).collect()
    }

    #[test]
    fn infos_that_differ_in_their_places_only_are_one_and_others_are_not() {
        assert_eq!(of(&[("zh-CN", "大风", "Minor", "1"), ("zh_CN", "大风", "Minor", "2")]), [(0, vec![1], vec![], vec![])]);
        assert_eq!(of(&[("zh-CN", "大风", "Minor", "1"), ("zh-CN", "大风", "Extreme", "2")]).len(), 2);
        assert_eq!(of(&[("zh-CN", "大风", "Minor", "1"), ("zh-CN", "暴雨", "Minor", "1")]).len(), 2);
        assert_eq!(of(&[]), []);
    }

    #[test]
    fn each_language_finds_the_meaning_of_its_level_and_place() {
        let blocks = [
            ("en-US", "wind", "Minor", "1"),
            ("zh-CN", "泥石流", "Extreme", "2"),
            ("en-US", "debris flow", "Extreme", "2"),
            ("zh-CN", "大风", "Minor", "1"),
        ];
        assert_eq!(of(&blocks), [(1, vec![], vec![2], vec![]), (3, vec![], vec![0], vec![])]);
        // One level twice: the place decides; without places the order.
        let alike = [("zh", "风", "Minor", "1"), ("zh", "雨", "Minor", "2"), ("en", "rain", "Minor", "2"), ("en", "wind", "Minor", "1")];
        assert_eq!(of(&alike), [(0, vec![], vec![3], vec![]), (1, vec![], vec![2], vec![])]);
        let nowhere = [("zh", "风", "Minor", "1"), ("zh", "雨", "Minor", "2"), ("en", "wind", "Minor", ""), ("en", "rain", "Minor", "")];
        assert_eq!(of(&nowhere), [(0, vec![], vec![2], vec![]), (1, vec![], vec![3], vec![])]);
    }

    #[test]
    fn what_one_language_alone_says_is_said_and_nobody_of_a_translation_is_left_out() {
        let red_in_english = [("zh", "风", "Minor", "1"), ("en", "flood", "Extreme", "2")];
        assert_eq!(of(&red_in_english), [(0, vec![], vec![], vec![]), (1, vec![], vec![], vec![])]);
        let wider = [("zh", "风", "Minor", "1"), ("en", "wind", "Minor", "2")];
        assert_eq!(of(&wider), [(0, vec![1], vec![1], vec![])]);
        let twice = [("zh", "风", "Minor", "1"), ("en", "wind", "Minor", "1"), ("en", "gale", "Minor", "1")];
        assert_eq!(of(&twice), [(0, vec![], vec![1], vec![2])]);
    }
}
