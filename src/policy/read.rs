//! Owns reading a policy file. Refuses to know channels: which kinds exist is told by the caller.
//! Invariant: every fault is told at once, each with its key path and line.

use toml::Table;

use super::{APPROVAL_WITHIN, Answer, Approval, Policy, RetryUntil, RoleSet, Rule, Step, THEN_AFTER};
use crate::{
    alert::{EventPattern, Level},
    fault::{Fault, Faults},
    keys::{
        Keys,
        lines::{self, Located},
        nearest_word, parse_duration,
    },
    registry::role,
};

/// A county's rules fit on a few pages; more is a mistake in the file.
const RULES_MAX: usize = 500;
/// A loudspeaker that says it more often keeps people from hearing what comes next.
const REPEATS_MAX: u64 = 20;
/// Each step takes `within`; eight steps of ten minutes outlast most warnings.
const STEPS_MAX: usize = 8;

pub(super) fn policy(text: &str, kinds: &[&str]) -> Result<Policy, Vec<Located>> {
    let (table, lines) = lines::read(text)?;
    let mut keys = Keys::read("", &table);
    let mut faults = Faults::default();
    let tables = keys.tables("rule");
    if !table.contains_key("rule") {
        keys.fault("rule", "missing", "a policy needs at least one [[rule]]");
    }
    if tables.len() > RULES_MAX {
        keys.fault("rule", "too-many", format!("{} rules; at most {RULES_MAX} are read", tables.len()));
    }
    let mut rules = Vec::new();
    for (place, table) in tables.into_iter().enumerate().take(RULES_MAX) {
        match rule(&format!("rule[{place}]"), table, kinds) {
            Ok(rule) => rules.push(rule),
            Err(list) => faults.extend(list),
        }
    }
    // What hides behind a faulty rule is not known.
    if faults.is_empty() {
        hidden(&rules, &mut faults);
    }
    keys.add_faults(faults.into_list());
    let approval = match keys.table("approval").map(|table| approval(table, kinds)) {
        None => Approval { channels: by_message(kinds), ..Approval::default() },
        Some(Ok(approval)) => approval,
        Some(Err(list)) => {
            keys.add_faults(list);
            Approval::default()
        }
    };
    keys.finish(Policy { rules, approval }).map_err(|faults| lines.locate(faults))
}

/// Kinds that reach one person; a village is not told that somebody must sign.
fn by_message(kinds: &[&str]) -> Vec<String> {
    kinds.iter().filter(|kind| **kind != "speaker").map(|kind| (*kind).to_owned()).collect()
}

fn approval(table: &Table, kinds: &[&str]) -> Result<Approval, Vec<Fault>> {
    let mut keys = Keys::read("approval", table);
    let roles = if keys.has("roles") { roles(&mut keys, "roles") } else { Approval::default().roles };
    let channels = if keys.has("channels") { channels(&mut keys, "channels", kinds) } else { by_message(kinds) };
    let within = keys.duration("within", APPROVAL_WITHIN);
    let limit = keys.has("limit").then(|| keys.duration("limit", APPROVAL_WITHIN));
    if within.is_zero() || limit.is_some_and(|limit| limit < within) {
        keys.fault("within", "bad-duration", "must be more than nothing, and not longer than limit");
    }
    keys.finish(Approval { roles, channels, within, limit })
}

/// A rule behind one that always fits first is a rule that somebody believes in and that never works.
fn hidden(rules: &[Rule], faults: &mut Faults) {
    for (place, rule) in rules.iter().enumerate() {
        if let Some(first) = rules[..place].iter().position(|earlier| covers(earlier, rule)) {
            let message = format!("can never fit: rule[{first}] above it fits every alert that this one fits");
            faults.add(format!("rule[{place}]"), "never-fits", message);
        }
    }
}

fn covers(earlier: &Rule, rule: &Rule) -> bool {
    let pattern_covers = |wide: &EventPattern, narrow: &EventPattern| {
        let wide = wide.to_string();
        wide.strip_suffix('*')
            .map_or_else(|| narrow.to_string() == wide, |start| narrow.to_string().trim_end_matches('*').starts_with(start))
    };
    let event_covered = |narrow: &EventPattern| earlier.events.iter().any(|wide| pattern_covers(wide, narrow));
    let groups_covered =
        earlier.groups.is_empty() || (!rule.groups.is_empty() && rule.groups.iter().all(|group| earlier.groups.contains(group)));
    groups_covered && rule.levels.iter().all(|level| earlier.levels.contains(level)) && rule.events.iter().all(event_covered)
}

fn rule(path: &str, table: &Table, kinds: &[&str]) -> Result<Rule, Vec<Fault>> {
    let mut keys = Keys::read(path, table);
    let events = keys.parsed("events");
    if is_empty_or_missing(table, "events") {
        keys.fault("events", "missing", "must list events such as \"11B03\", \"11D*\" or \"*\"");
    }
    let levels = levels(&mut keys);
    let groups = keys.texts("groups");
    let roles = roles(&mut keys, "roles");
    let channels = channels(&mut keys, "channels", kinds);
    if is_empty_or_missing(table, "channels") {
        keys.fault("channels", "missing", format!("must name at least one of {}", kinds.join(", ")));
    }
    let then = channels_after(&mut keys, &channels, kinds);
    let then_after = keys.duration("then_after", THEN_AFTER);
    let answer = match keys.table("answer").map(|table| answer(&keys.path_of("answer"), table)) {
        None => None,
        Some(Ok(answer)) => Some(answer),
        Some(Err(faults)) => {
            keys.add_faults(faults);
            None
        }
    };
    let retry_until = match keys.text("retry_until").as_deref() {
        None | Some("expires") => RetryUntil::Expires,
        Some(text) => match parse_duration(text) {
            Some(limit) => RetryUntil::After(limit),
            None => {
                keys.fault("retry_until", "bad-duration", "must be \"expires\" or a duration such as \"30m\"");
                RetryUntil::Expires
            }
        },
    };
    let repeat_speaker = u8::try_from(keys.number("repeat_speaker", 1..=REPEATS_MAX, 1)).unwrap_or(1);
    keys.finish(Rule { events, levels, groups, roles, channels, then, then_after, answer, retry_until, repeat_speaker })
}

/// A key of another type than a list has its fault already.
fn is_empty_or_missing(table: &Table, key: &str) -> bool {
    table.get(key).is_none_or(|value| value.as_array().is_some_and(Vec::is_empty))
}

fn levels(keys: &mut Keys<'_>) -> Vec<Level> {
    let texts = keys.texts("levels");
    if !keys.has("levels") {
        return Level::ALL.to_vec();
    }
    let mut levels = Vec::new();
    for (place, text) in texts.iter().enumerate() {
        match Level::ALL.into_iter().find(|level| level.name() == text) {
            Some(level) => levels.push(level),
            None => keys.fault(&format!("levels[{place}]"), "unknown-level", format!("{text:?} is not red, orange, yellow or blue")),
        }
    }
    levels
}

fn roles(keys: &mut Keys<'_>, key: &'static str) -> RoleSet {
    let roles = keys.texts(key);
    if !keys.has(key) || roles.iter().any(|role| role == "*") {
        return RoleSet::All;
    }
    for (place, word) in roles.iter().enumerate() {
        if let Some(wrong) = wrong_role(word) {
            keys.fault(&format!("{key}[{place}]"), "bad-role", wrong);
        }
    }
    RoleSet::These(roles)
}

/// A county may add roles, so only what is no word, or nearly a known one, is refused: a role that nobody has tells nobody.
fn wrong_role(word: &str) -> Option<String> {
    let known = || role::KNOWN.iter().map(|(known, _)| *known);
    if !role::is_role_word(word) {
        return Some(format!("{word:?} is not a role word (a-z and _)"));
    }
    let near = nearest_word(word, known()).filter(|near| *near != word)?;
    Some(format!("{word:?} is nearly a known role; did you mean {near}?"))
}

fn channels(keys: &mut Keys<'_>, key: &'static str, kinds: &[&str]) -> Vec<String> {
    let channels = keys.texts(key);
    for (place, kind) in channels.iter().enumerate() {
        if !kinds.contains(&kind.as_str()) {
            let meant = nearest_word(kind, kinds.iter().copied()).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            keys.fault(&format!("{key}[{place}]"), "unknown-channel", format!("{kind:?} is not one of {}{meant}", kinds.join(", ")));
        } else if channels[..place].contains(kind) {
            keys.fault(&format!("{key}[{place}]"), "given-twice", format!("{kind} is named twice"));
        }
    }
    channels
}

fn channels_after(keys: &mut Keys<'_>, at_once: &[String], kinds: &[&str]) -> Vec<String> {
    let then = channels(keys, "then", kinds);
    for (place, kind) in then.iter().enumerate().filter(|(_, kind)| at_once.contains(kind)) {
        keys.fault(&format!("then[{place}]"), "given-twice", format!("{kind} is among channels already"));
    }
    then
}

fn answer(path: &str, table: &Table) -> Result<Answer, Vec<Fault>> {
    let mut keys = Keys::read(path, table);
    let roles = roles(&mut keys, "roles");
    if is_empty_or_missing(table, "roles") {
        keys.fault("roles", "missing", "must name the roles that answer");
    }
    if !keys.has("within") {
        keys.fault("within", "missing", "must say by when, such as \"5m\"");
    }
    let within = keys.duration("within", THEN_AFTER);
    let then = steps(&mut keys);
    keys.finish(Answer { roles, within, then })
}

fn steps(keys: &mut Keys<'_>) -> Vec<Step> {
    let words = keys.texts("then");
    if words.len() > STEPS_MAX {
        keys.fault("then", "too-many", format!("{} steps; at most {STEPS_MAX} are taken", words.len()));
    }
    let mut then = Vec::new();
    for (place, word) in words.into_iter().enumerate() {
        let wrong = if word == "backup" { None } else { wrong_role(&word) };
        let step = if word == "backup" { Step::Backup } else { Step::Role(word.clone()) };
        if let Some(wrong) = wrong {
            keys.fault(&format!("then[{place}]"), "bad-role", format!("{wrong}; a step is \"backup\" or a role"));
        } else if then.contains(&step) {
            keys.fault(&format!("then[{place}]"), "given-twice", format!("{word} is a step already"));
        }
        then.push(step);
    }
    then
}
