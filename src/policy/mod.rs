//! Owns who is told by which channels at which level and event, who must answer by when, and who is asked next.
//! Refuses to know alerts' texts, registries and far ends; channels are words of the file. Pure.
//! Invariant: the first rule that fits decides, and a policy with any fault is never used.

use std::time::Duration;

use toml::Table;

use crate::{
    alert::{EventCode, EventPattern, Level},
    fault::{Fault, Faults},
    keys::Keys,
};

/// A county's rules fit on a few pages; more is a mistake in the file.
const RULES_MAX: usize = 500;
/// How long the first choice of channels has before those it did not reach are told by the second.
const THEN_AFTER: Duration = Duration::from_secs(10 * 60);
/// A loudspeaker that says it more often keeps people from hearing what comes next.
const REPEATS_MAX: u64 = 20;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub events: Vec<EventPattern>,
    pub levels: Vec<Level>,
    pub roles: RoleSet,
    /// Kinds of channel, all at once.
    pub channels: Vec<String>,
    /// Kinds for those whom the first have not reached after `then_after`.
    pub then: Vec<String>,
    pub then_after: Duration,
    pub answer: Option<Answer>,
    pub retry_until: RetryUntil,
    pub repeat_speaker: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleSet {
    All,
    These(Vec<String>),
}

/// 叫应: who must answer, within what time, and who is asked when they do not.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub roles: RoleSet,
    pub within: Duration,
    pub then: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The substitute whom the registry names for the silent person.
    Backup,
    /// Holders of this role at the nearest area upwards.
    Role(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryUntil {
    Expires,
    After(Duration),
}

impl RoleSet {
    pub fn includes(&self, role: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(roles) => roles.iter().any(|known| known == role),
        }
    }
}

impl Rule {
    /// The rule of an alert that no rule fits any more after a reload: nobody new is told, what is owed stays owed.
    pub fn nobody() -> Self {
        Self {
            events: Vec::new(),
            levels: Vec::new(),
            roles: RoleSet::These(Vec::new()),
            channels: Vec::new(),
            then: Vec::new(),
            then_after: THEN_AFTER,
            answer: None,
            retry_until: RetryUntil::Expires,
            repeat_speaker: 1,
        }
    }
}

impl Policy {
    /// Reads a policy file; `kinds` are the kinds of channel that exist. Every fault is named by its key path.
    pub fn parse(text: &str, kinds: &[&str]) -> Result<Self, Vec<Fault>> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| vec![Fault::new("", "not-toml", error.message())])?;
        let mut keys = Keys::read("", &table);
        let mut faults = Faults::default();
        let tables = keys.tables("rule");
        if tables.is_empty() {
            keys.fault("rule", "missing", "a policy needs at least one [[rule]]");
        }
        if tables.len() > RULES_MAX {
            keys.fault("rule", "too-many", format!("{} rules; at most {RULES_MAX} are read", tables.len()));
        }
        let mut rules = Vec::new();
        for (place, table) in tables.into_iter().enumerate().take(RULES_MAX) {
            match read_rule(&format!("rule[{place}]"), table, kinds) {
                Ok(rule) => rules.push(rule),
                Err(list) => faults.extend(list),
            }
        }
        keys.add_faults(faults.into_list());
        keys.finish(Self { rules })
    }

    /// The first rule that fits.
    pub fn decide(&self, event: &EventCode, level: Level) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.levels.contains(&level) && rule.events.iter().any(|pattern| pattern.matches(event)))
    }
}

fn read_rule(path: &str, table: &Table, kinds: &[&str]) -> Result<Rule, Vec<Fault>> {
    let mut keys = Keys::read(path, table);
    let events = keys.parsed("events");
    if events.is_empty() && !keys.has("events") {
        keys.fault("events", "missing", "must list events such as \"11B03\", \"11D*\" or \"*\"");
    }
    let levels = read_levels(&mut keys);
    let roles = read_roles(&mut keys, "roles");
    let channels = read_channels(&mut keys, "channels", kinds);
    if channels.is_empty() {
        keys.fault("channels", "missing", format!("must name at least one of {}", kinds.join(", ")));
    }
    let then = read_channels(&mut keys, "then", kinds);
    let then_after = keys.duration("then_after", THEN_AFTER);
    let answer = match keys.table("answer").map(|table| read_answer(&keys.path_of("answer"), table)) {
        None => None,
        Some(Ok(answer)) => Some(answer),
        Some(Err(faults)) => {
            keys.add_faults(faults);
            None
        }
    };
    let retry_until = match keys.text("retry_until").as_deref() {
        None | Some("expires") => RetryUntil::Expires,
        Some(text) => match crate::keys::parse_duration(text) {
            Some(limit) => RetryUntil::After(limit),
            None => {
                keys.fault("retry_until", "bad-duration", "must be \"expires\" or a duration such as \"30m\"");
                RetryUntil::Expires
            }
        },
    };
    let repeat_speaker = u8::try_from(keys.number("repeat_speaker", 1..=REPEATS_MAX, 1)).unwrap_or(1);
    keys.finish(Rule { events, levels, roles, channels, then, then_after, answer, retry_until, repeat_speaker })
}

fn read_levels(keys: &mut Keys<'_>) -> Vec<Level> {
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

fn read_roles(keys: &mut Keys<'_>, key: &'static str) -> RoleSet {
    let roles = keys.texts(key);
    if !keys.has(key) || roles.iter().any(|role| role == "*") {
        return RoleSet::All;
    }
    for (place, role) in roles.iter().enumerate() {
        if !is_role(role) {
            keys.fault(&format!("{key}[{place}]"), "bad-role", format!("{role:?} is not a role word (a-z and _)"));
        }
    }
    RoleSet::These(roles)
}

fn read_channels(keys: &mut Keys<'_>, key: &'static str, kinds: &[&str]) -> Vec<String> {
    let channels = keys.texts(key);
    for (place, kind) in channels.iter().enumerate() {
        if !kinds.contains(&kind.as_str()) {
            keys.fault(&format!("{key}[{place}]"), "unknown-channel", format!("{kind:?} is not one of {}", kinds.join(", ")));
        }
    }
    channels
}

fn read_answer(path: &str, table: &Table) -> Result<Answer, Vec<Fault>> {
    let mut keys = Keys::read(path, table);
    let roles = read_roles(&mut keys, "roles");
    if !keys.has("roles") {
        keys.fault("roles", "missing", "must name the roles that answer");
    }
    if !keys.has("within") {
        keys.fault("within", "missing", "must say by when, such as \"5m\"");
    }
    let within = keys.duration("within", THEN_AFTER);
    let steps = keys.texts("then");
    let mut then = Vec::new();
    for (place, step) in steps.into_iter().enumerate() {
        match step.as_str() {
            "backup" => then.push(Step::Backup),
            role if is_role(role) => then.push(Step::Role(step)),
            other => keys.fault(&format!("then[{place}]"), "bad-role", format!("{other:?} is neither backup nor a role word")),
        }
    }
    keys.finish(Answer { roles, within, then })
}

fn is_role(word: &str) -> bool {
    (1..=32).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: &[&str] = &["sms", "email", "speaker", "wechat"];

    fn decide<'a>(policy: &'a Policy, event: &str, level: Level) -> Option<&'a Rule> {
        policy.decide(&event.parse().expect("event"), level)
    }

    #[test]
    fn the_policy_that_comes_with_the_program_has_no_fault_and_decides_every_warning() {
        let policy = Policy::parse(include_str!("../../config/policy.toml"), KINDS).expect("the default policy");
        for level in Level::ALL {
            for event in ["11B03", "11A51", "11D01", "11B37", "11B17", "12A00", "10000"] {
                assert!(decide(&policy, event, level).is_some(), "no rule for {event} at {}", level.name());
            }
        }
        let red = decide(&policy, "11B03", Level::Red).expect("red rainstorm");
        let answer = red.answer.as_ref().expect("a red rainstorm must be answered");
        assert_eq!((answer.within, answer.then.first()), (Duration::from_secs(300), Some(&Step::Backup)));
        assert!(red.channels.iter().any(|channel| channel == "speaker"));
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let text = r#"
            [[rule]]
            events = ["11B03"]
            levels = ["red"]
            channels = ["sms"]
            [[rule]]
            events = ["*"]
            channels = ["email"]
        "#;
        let policy = Policy::parse(text, KINDS).expect("policy");
        assert_eq!(decide(&policy, "11B03", Level::Red).map(|rule| rule.channels.clone()), Some(vec!["sms".to_owned()]));
        assert_eq!(decide(&policy, "11B03", Level::Blue).map(|rule| rule.channels.clone()), Some(vec!["email".to_owned()]));
    }

    #[test]
    fn every_fault_of_a_policy_is_named_with_its_place() {
        let text = r#"
            [[rule]]
            events = ["11B0", "*"]
            levels = ["red", "purple"]
            channels = ["pigeon"]
            answer = { roles = ["Town"], within = "soon", then = ["backup", "9"] }
            repeat_speaker = 99
            [[rule]]
            chanels = ["sms"]
        "#;
        let faults = Policy::parse(text, KINDS).expect_err("faults");
        let mut paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        paths.sort_unstable();
        let expect = [
            "rule[0].answer.roles[0]",
            "rule[0].answer.then[1]",
            "rule[0].answer.within",
            "rule[0].channels[0]",
            "rule[0].events[0]",
            "rule[0].levels[1]",
            "rule[0].repeat_speaker",
            "rule[1].chanels",
            "rule[1].channels",
            "rule[1].events",
        ];
        assert_eq!(paths, expect);
    }
}
