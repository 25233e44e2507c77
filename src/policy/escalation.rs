//! Owns who is asked next when somebody in charge stays silent (叫应): one step of the chain at a time.
//! Refuses to know clocks, storage and channels: the roll of people is asked through a trait, what is overdue is told.
//! Invariant: nobody is asked twice for one alert, so every chain ends; a step asks at most `ASKED_MAX` people.

use super::Step;
use crate::area::{AreaCode, AreaLevel};

/// A township has a handful of duty officers; a registry that gives hundreds the role must not ring them all.
pub const ASKED_MAX: usize = 50;

/// What the escalation asks about people.
pub trait Roll {
    /// How the caller names a person.
    type Person: Copy + Eq;

    /// Whom the person's record names as backup.
    fn backup(&self, who: Self::Person) -> Option<Self::Person>;
    /// People of a role who are registered at exactly this area.
    fn at(&self, role: &str, area: AreaCode) -> Vec<Self::Person>;
    /// People of a role who are registered at or below this area.
    fn within(&self, role: &str, area: AreaCode) -> Vec<Self::Person>;
    /// Whether the person has been asked for an answer to this alert, in their own place or another's, answered or not.
    fn was_asked(&self, who: Self::Person) -> bool;
}

/// A call that nobody answered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue<P> {
    /// In whose place the chain goes on: the person whom the policy called first.
    pub silent: P,
    /// Where that person is registered.
    pub area: AreaCode,
    /// Step of the chain that the overdue call belongs to: 0 for the first call, n for those whom `then[n - 1]` asked.
    pub step: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<P> {
    /// These are asked now; their calls carry `step`.
    Ask { whom: Vec<P>, step: u8 },
    /// Nobody is left: whoever is on duty must be told to go and knock.
    Exhausted,
}

/// The next step of `chain`; steps that have nobody new to ask are passed over at once.
pub fn next<R: Roll>(chain: &[Step], overdue: &Overdue<R::Person>, roll: &R) -> Next<R::Person> {
    for (place, step) in chain.iter().enumerate().skip(overdue.step.into()) {
        let whom = fresh(candidates(step, overdue, roll), overdue.silent, roll);
        let number = u8::try_from(place + 1);
        if let (false, Ok(step)) = (whom.is_empty(), number) {
            return Next::Ask { whom, step };
        }
    }
    Next::Exhausted
}

fn candidates<R: Roll>(step: &Step, overdue: &Overdue<R::Person>, roll: &R) -> Vec<R::Person> {
    match step {
        Step::Backup => roll.backup(overdue.silent).into_iter().collect(),
        Step::Role(role) => responsible(role, overdue.area, roll),
    }
}

/// Those of a role who answer for the area: of the nearest area around it that has any. A township's officers may also be
/// registered in one of its villages, so the township as a whole is looked at before the county.
fn responsible<R: Roll>(role: &str, area: AreaCode, roll: &R) -> Vec<R::Person> {
    let mut around = Some(area);
    while let Some(here) = around {
        let mut found = roll.at(role, here);
        if found.is_empty() && here.level() == AreaLevel::Township {
            found = roll.within(role, here);
        }
        if !found.is_empty() {
            return found;
        }
        around = here.parent();
    }
    Vec::new()
}

fn fresh<R: Roll>(candidates: Vec<R::Person>, silent: R::Person, roll: &R) -> Vec<R::Person> {
    let mut whom = Vec::new();
    for person in candidates {
        let is_new = person != silent && !whom.contains(&person) && !roll.was_asked(person);
        if is_new && whom.len() < ASKED_MAX {
            whom.push(person);
        }
    }
    whom
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, collections::BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// `(person, role, area)`, who backs whom up, and who has been asked.
    #[derive(Default)]
    struct County {
        people: Vec<(u32, &'static str, &'static str)>,
        backups: Vec<(u32, u32)>,
        asked: RefCell<BTreeSet<u32>>,
    }

    fn code(text: &str) -> AreaCode {
        text.parse().expect("a code")
    }

    impl Roll for County {
        type Person = u32;

        fn backup(&self, who: u32) -> Option<u32> {
            self.backups.iter().find(|(person, _)| *person == who).map(|(_, backup)| *backup)
        }

        fn at(&self, role: &str, area: AreaCode) -> Vec<u32> {
            self.people.iter().filter(|(_, own, at)| *own == role && code(at) == area).map(|(person, ..)| *person).collect()
        }

        fn within(&self, role: &str, area: AreaCode) -> Vec<u32> {
            self.people.iter().filter(|(_, own, at)| *own == role && area.contains(code(at))).map(|(person, ..)| *person).collect()
        }

        fn was_asked(&self, who: u32) -> bool {
            self.asked.borrow().contains(&who)
        }
    }

    const MONITOR: u32 = 1;
    const LEADER: u32 = 2;

    fn county() -> County {
        let people = vec![
            (MONITOR, "monitor", "510726102201"),
            (LEADER, "village_leader", "510726102201"),
            (3, "town_duty", "510726102"),
            (4, "town_duty", "510726102"),
            (5, "town_duty", "510726103"),
            (6, "county_duty", "510726"),
        ];
        County { people, backups: vec![(MONITOR, LEADER), (LEADER, MONITOR)], asked: RefCell::new([MONITOR].into()) }
    }

    fn chain() -> Vec<Step> {
        vec![Step::Backup, Step::Role("town_duty".into()), Step::Role("county_duty".into())]
    }

    fn overdue(step: u8) -> Overdue<u32> {
        Overdue { silent: MONITOR, area: code("510726102201"), step }
    }

    #[test]
    fn the_backup_is_asked_then_the_townships_duty_then_the_countys_and_then_nobody_is_left() {
        let county = county();
        let mut steps = Vec::new();
        let mut step = 0;
        while let Next::Ask { whom, step: next_step } = next(&chain(), &overdue(step), &county) {
            county.asked.borrow_mut().extend(&whom);
            steps.push(whom);
            step = next_step;
        }
        assert_eq!(steps, [vec![LEADER], vec![3, 4], vec![6]]);
        assert_eq!(next(&chain(), &overdue(step), &county), Next::Exhausted);
    }

    #[test]
    fn who_has_been_asked_already_is_passed_over() {
        let county = county();
        county.asked.borrow_mut().extend([LEADER, 3]);
        assert_eq!(next(&chain(), &overdue(0), &county), Next::Ask { whom: vec![4], step: 2 });
    }

    #[test]
    fn an_officer_registered_in_a_village_of_the_township_answers_for_the_township() {
        let mut county = county();
        county.people.retain(|(person, ..)| ![3, 4].contains(person));
        county.people.push((9, "town_duty", "510726102204"));
        assert_eq!(next(&chain(), &overdue(1), &county), Next::Ask { whom: vec![9], step: 2 });
    }

    proptest! {
        #[test]
        fn any_chain_over_any_registry_ends_and_asks_nobody_twice(
            backups in proptest::collection::vec((0_u32..12, 0_u32..12), 0..12),
            roles in proptest::collection::vec((0_u32..12, 0_usize..3, 0_usize..4), 0..30),
            chain in proptest::collection::vec(0_usize..4, 0..8),
        ) {
            const ROLES: [&str; 3] = ["town_duty", "county_duty", "village_leader"];
            const AREAS: [&str; 4] = ["510726102201", "510726102", "510726", "510726103"];
            let people = roles.into_iter().map(|(person, role, area)| (person, ROLES[role], AREAS[area])).collect();
            let county = County { people, backups, asked: RefCell::new([MONITOR].into()) };
            let chain: Vec<Step> = chain.into_iter().map(|at| ROLES.get(at).map_or(Step::Backup, |role| Step::Role((*role).into()))).collect();
            let mut step = 0;
            let mut rounds = 0;
            while let Next::Ask { whom, step: reached } = next(&chain, &overdue(step), &county) {
                prop_assert!(reached > step && !whom.is_empty());
                for person in whom {
                    prop_assert!(county.asked.borrow_mut().insert(person), "{} was asked twice", person);
                }
                step = reached;
                rounds += 1;
                prop_assert!(rounds <= chain.len());
            }
        }
    }
}
