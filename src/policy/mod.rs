//! Owns who is told by which channels at which level and event, who must answer by when, and who is asked next.
//! Refuses to know alerts' texts, registries and far ends; channels are words of the file. Pure.
//! Invariant: the first rule that fits decides, and a policy with any fault is never used.

pub mod escalation;
mod read;

use std::time::Duration;

use crate::{
    alert::{EventCode, EventPattern, Level},
    fault::Fault,
    keys::lines::Located,
};

/// How long the first choice of channels has before those it did not reach are told by the second.
const THEN_AFTER: Duration = Duration::from_secs(10 * 60);
/// A second person is on duty and awake: five minutes, as long as those have who must answer a red alert.
const APPROVAL_WITHIN: Duration = Duration::from_secs(5 * 60);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    rules: Vec<Rule>,
    approval: Approval,
}

/// Who is told that an alert waits for a second person.
#[derive(Clone, Debug, PartialEq)]
pub struct Approval {
    pub roles: RoleSet,
    pub channels: Vec<String>,
    /// Nobody has decided: they are told again, and again.
    pub within: Duration,
    /// Nobody has decided for this long: it is rejected, and its poster sees why. Without it the alert's own end is the limit.
    pub limit: Option<Duration>,
}

impl Default for Approval {
    fn default() -> Self {
        let duty = RoleSet::These(vec!["county_duty".to_owned()]);
        Self { roles: duty, channels: Vec::new(), within: APPROVAL_WITHIN, limit: None }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub events: Vec<EventPattern>,
    pub levels: Vec<Level>,
    /// Fits only an alert whose sender has named one of these groups of recipients (12379 `audienceGrp`); empty fits every alert.
    pub groups: Vec<String>,
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
    /// Who is told that an alert waits for approval: by everything at once, and nobody has to answer.
    pub fn of_approval(approval: &Approval) -> Self {
        Self { roles: approval.roles.clone(), channels: approval.channels.clone(), ..Self::nobody() }
    }

    /// The rule of an alert that no rule fits any more after a reload: nobody new is told, what is owed stays owed.
    pub fn nobody() -> Self {
        Self {
            events: Vec::new(),
            levels: Vec::new(),
            groups: Vec::new(),
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
    /// Reads a policy file; `kinds` are the kinds of channel that exist. Every fault is named by its line and key path.
    pub fn parse(text: &str, kinds: &[&str]) -> Result<Self, Vec<Fault>> {
        Self::read(text, kinds).map_err(|faults| faults.into_iter().map(Located::into_fault).collect())
    }

    /// As `parse`, with the lines apart.
    pub(crate) fn read(text: &str, kinds: &[&str]) -> Result<Self, Vec<Located>> {
        read::policy(text, kinds)
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub const fn approval(&self) -> &Approval {
        &self.approval
    }

    /// The first rule that fits.
    pub fn decide(&self, event: &EventCode, level: Level, groups: &[String]) -> Option<&Rule> {
        let is_for = |rule: &Rule| rule.groups.is_empty() || rule.groups.iter().any(|group| groups.contains(group));
        let fits = |rule: &&Rule| rule.levels.contains(&level) && rule.events.iter().any(|pattern| pattern.matches(event)) && is_for(rule);
        self.rules.iter().find(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: &[&str] = &["sms", "email", "speaker", "wechat"];

    fn decide<'a>(policy: &'a Policy, event: &str, level: Level) -> Option<&'a Rule> {
        policy.decide(&event.parse().expect("event"), level, &[])
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
    fn groups_that_the_sender_named_choose_a_rule_of_their_own() {
        let text = r#"
            [[rule]]
            events = ["*"]
            groups = ["G01002", "G02003"]
            roles = ["town_duty"]
            channels = ["email"]
            [[rule]]
            events = ["*"]
            channels = ["sms"]
        "#;
        let policy = Policy::parse(text, KINDS).expect("policy");
        let channels = |groups: &[&str]| {
            let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
            policy.decide(&"11B03".parse().expect("event"), Level::Red, &groups).expect("a rule").channels.clone()
        };
        assert_eq!(channels(&["G09999", "G02003"]), ["email"]);
        assert_eq!(channels(&["G09999"]), ["sms"]);
        assert_eq!(channels(&[]), ["sms"]);
        let hidden = text.replacen("groups", "levels = [\"red\"]\n groups", 1);
        assert!(Policy::parse(&hidden, KINDS).is_ok());
    }

    fn told(text: &str) -> Vec<String> {
        Policy::parse(text, KINDS).expect_err("faults").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_fault_of_a_policy_is_told_with_its_line() {
        let text = r#"
[[rule]]
events = ["11B0", "*"]
levels = ["red", "purple"]
channels = ["pigeon", "emial"]
answer = { roles = ["Town", "monitr", "river_chief"], within = "soon", then = ["backup", "9", "backup"] }
repeat_speaker = 99
[[rule]]
chanels = ["sms"]
[[rule]]
events = []
channels = ["sms", "sms"]
then = ["speaker", "sms"]
answer = { roles = [] }
retry_until = "never"
"#;
        insta::assert_snapshot!(told(text).join("\n"));
    }

    #[test]
    fn a_rule_that_can_never_fit_is_a_fault() {
        let text = "[[rule]]\nevents = [\"11*\"]\nchannels = [\"sms\"]\n[[rule]]\nevents = [\"11B*\", \"11D01\"]\nlevels = [\"red\"]\nchannels = [\"email\"]\n";
        assert_eq!(told(text), ["line 4, rule[1]: can never fit: rule[0] above it fits every alert that this one fits [never-fits]"]);
        assert!(Policy::parse(&text.replace("11D01", "12A01"), KINDS).is_ok());
    }

    #[test]
    fn a_text_that_is_no_policy_is_told_as_such() {
        assert_eq!(told(""), ["rule: a policy needs at least one [[rule]] [missing]"]);
        let faults = told("[[rule]]\nevents = \nlevels = [red]\nchannels\n");
        let lines: Vec<&str> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        assert!(lines.contains(&"line 2") && lines.contains(&"line 3") && lines.contains(&"line 4"), "{faults:?}");
    }

    #[test]
    fn who_is_told_of_a_wait_is_read_and_every_fault_of_it_named() {
        let rule = "\n[[rule]]\nevents = [\"*\"]\nchannels = [\"sms\"]\n";
        let read = |text: &str| Policy::parse(&format!("{text}{rule}"), &["sms", "speaker"]);
        let approval = read("").expect("a policy").approval().clone();
        assert_eq!((approval.channels, approval.within.as_secs(), approval.limit), (vec!["sms".to_owned()], 300, None));
        let text = "[approval]\nroles = [\"county_leader\"]\nwithin = \"2m\"\nlimit = \"1h\"\n";
        let approval = read(text).expect("a policy").approval().clone();
        assert_eq!((approval.within.as_secs(), approval.limit.map(|limit| limit.as_secs())), (120, Some(3_600)));
        let faults = read("[approval]\nchannels = [\"smss\"]\nwithin = \"2h\"\nlimit = \"1h\"\nafter = 1\n").expect_err("faults");
        let rules: Vec<&str> = faults.iter().map(|fault| fault.rule).collect();
        assert_eq!(rules.len(), 3, "{faults:?}");
        assert!(["unknown-channel", "bad-duration", "unknown-key"].iter().all(|rule| rules.contains(rule)), "{faults:?}");
    }
}
