//! Owns what is missing in a configuration none of whose keys is at fault: no channel, no source, rules that no channel serves.
//! Refuses to know far ends and data. Invariant: what it names would make an alert be refused or reach nobody; the gateway starts all the same.

use super::checked::{Checked, Judges};
use crate::{fault::Fault, policy::Policy};

/// What is missing, and what is only odd.
#[derive(Debug, Default)]
pub struct Completeness {
    pub missing: Vec<Fault>,
    pub odd: Vec<Fault>,
}

impl<J: Judges> Checked<J> {
    /// `offered` are the kinds of the configured channels.
    pub fn completeness(&self, offered: &[&str]) -> Completeness {
        let mut found = of_policy(&self.policy, offered);
        if self.sources.is_empty() {
            found
                .missing
                .insert(0, Fault::new("source", "no-source", "no [[source]] is given: every bureau's alert is refused (403 no-source)"));
        }
        if offered.is_empty() {
            let message = "no [channel.NAME] is given: nobody can be told of anything";
            found.missing.insert(0, Fault::new("channel", "no-channel", message));
        }
        if self.builtin_broker.as_ref().is_some_and(|broker| broker.shared_login) {
            let message = "lets each loudspeaker speak for every other, and anybody who has the one login: \
                           give each its own by `lastmile speaker credential`, then take this key away";
            found.odd.push(Fault::new("builtin_broker.shared_login", "shared-login", message));
        }
        found
    }
}

fn of_policy(policy: &Policy, offered: &[&str]) -> Completeness {
    let mut found = Completeness::default();
    for (number, rule) in policy.rules().iter().enumerate() {
        let named: Vec<&str> = rule.channels.iter().chain(&rule.then).map(String::as_str).collect();
        let missing: Vec<&str> = named.iter().copied().filter(|kind| !offered.contains(kind)).collect();
        let path = format!("policy: rule[{number}].channels");
        if !missing.is_empty() && missing.len() == named.len() {
            // Without any channel at all that one fault says everything.
            if !offered.is_empty() {
                let message =
                    format!("names {} alone, and no channel is of these kinds: an alert of this rule tells nobody", named.join(", "));
                found.missing.push(Fault::new(path, "kinds-without-channel", message));
            }
            continue;
        }
        for kind in missing {
            if !offered.is_empty() && !found.odd.iter().any(|odd: &Fault| odd.message.starts_with(kind)) {
                let message = format!("{kind} is named, and no channel is of this kind: nobody is told by it");
                found.odd.push(Fault::new(path.clone(), "kind-without-channel", message));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
        [[rule]]
        events = ["11B*"]
        levels = ["red"]
        roles = ["*"]
        channels = ["sms", "email"]

        [[rule]]
        events = ["*"]
        levels = ["red"]
        roles = ["*"]
        channels = ["email"]
    "#;

    fn rules(offered: &[&str]) -> (Vec<(String, &'static str)>, usize) {
        let policy = Policy::parse(POLICY, &["sms", "email", "speaker", "wechat"]).expect("a policy");
        let found = of_policy(&policy, offered);
        (found.missing.into_iter().map(|fault| (fault.path, fault.rule)).collect(), found.odd.len())
    }

    #[test]
    fn a_rule_that_no_channel_serves_is_missing_one_and_a_kind_beside_others_is_odd() {
        assert_eq!(rules(&["sms"]), (vec![("policy: rule[1].channels".to_owned(), "kinds-without-channel")], 1));
        assert_eq!(rules(&["email"]), (vec![], 1));
        assert_eq!(rules(&["sms", "email"]), (vec![], 0));
        assert_eq!(rules(&[]), (vec![], 0), "no channel at all is one fault of its own");
    }
}
