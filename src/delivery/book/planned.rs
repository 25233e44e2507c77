//! Owns how a plan enters its book, whole or not at all.
//! Refuses to know who planned it. Invariant: pieces count only with their seal; what the plan adds up to is what its seal says.

use super::{
    Book, BookLeg, Place, Recipient, Route, StagedPlan, State, WORDS_MAX,
    counted::{intern, share_of},
};
use crate::{
    delivery::{
        call::{Call, End},
        plan::{CallsDue, LEG_DELIVERIES_MAX, Leg, PlanPart, Purpose, RecipientKind, Run},
        slot::{Furthest, Moment, Slot},
        wire::Damaged,
    },
    time::Timestamp,
};

impl Book {
    pub fn apply_plan(&mut self, part: PlanPart) -> Result<(), Damaged> {
        self.version += 1;
        if self.filed.is_some() {
            // From before the filing, in a replay that began with the head.
            return Ok(());
        }
        match part {
            PlanPart::Open { number, at, purpose } => self.staging = vec![StagedPlan { number, at, purpose, parts: Vec::new() }],
            PlanPart::Seal { number, recipients, deliveries } => {
                let staged = self.staging.pop().filter(|staged| staged.number == number);
                let staged = staged.ok_or(Damaged { what: "plan without a beginning", at: 0 })?;
                self.take_plan(staged)?;
                if (self.recipients.len(), self.slots.len()) != (recipients as usize, deliveries as usize) {
                    return Err(Damaged { what: "plan with a piece missing", at: 0 });
                }
            }
            part => match self.staging.last_mut() {
                Some(staged) => staged.parts.push(part),
                None => return Err(Damaged { what: "piece of a plan without a beginning", at: 0 }),
            },
        }
        Ok(())
    }

    fn take_plan(&mut self, staged: StagedPlan) -> Result<(), Damaged> {
        self.make_room(&staged.parts);
        for part in staged.parts {
            match part {
                PlanPart::Run(run) => self.add_run(&run)?,
                PlanPart::Leg(leg) => self.add_leg(&leg)?,
                PlanPart::Hazard(hazard) => self.hazards.push(hazard),
                PlanPart::Calls(calls) => self.add_calls(&calls, staged.at),
                PlanPart::Open { .. } | PlanPart::Seal { .. } => return Err(Damaged { what: "plan within a plan", at: 0 }),
            }
        }
        self.plans = staged.number.saturating_add(1);
        self.fallback_planned |= staged.purpose == Purpose::Fallback;
        self.timeline.planned.get_or_insert(staged.at);
        if staged.purpose == Purpose::NewWays && self.state == State::Completed {
            self.state = State::Dispatching;
        }
        // The end of its alert was durable first: who would have been told is known, and nobody is.
        if let Some(kind) = self.ended_as() {
            self.close_open(kind, staged.at, false);
            self.close_calls(staged.at);
        }
        Ok(())
    }

    /// As much as the plan needs: doubling would leave up to as much again unused, of a million deliveries and for as long as they are kept.
    fn make_room(&mut self, parts: &[PlanPart]) {
        let (mut recipients, mut deliveries) = (0, 0);
        for part in parts {
            match part {
                PlanPart::Run(run) => recipients += run.keys.len(),
                PlanPart::Leg(leg) => deliveries += leg.recipients.iter().map(|&(_, count)| count as usize).sum::<usize>(),
                _ => {}
            }
        }
        // Small plans follow (fallback, escalations): a little is left for them, so that not each one moves the whole.
        let room = |held: usize, more: usize| if more > 0 { more + (held + more) / 64 } else { 0 };
        self.recipients.reserve_exact(room(self.recipients.len(), recipients));
        // A count that the plan lies about is refused at its seal; the room asked for is bounded by what the recipients allow.
        let most = LEG_DELIVERIES_MAX.saturating_mul(parts.len());
        self.slots.reserve_exact(room(self.slots.len(), deliveries.min(most)));
    }

    fn add_run(&mut self, run: &Run) -> Result<(), Damaged> {
        let area = self.area_number(run.area)?;
        let role = intern(&mut self.roles, &run.role, WORDS_MAX);
        let first = u32::try_from(self.recipients.len()).map_err(|_| Damaged { what: "recipients", at: 0 })?;
        self.places.push(Place { first, area, kind: run.kind, role });
        let unreachable = |place: usize| run.unreachable.iter().any(|&gap| gap as usize == place);
        for (place, &key) in run.keys.iter().enumerate() {
            let recipient = Recipient {
                key,
                reached: Moment::NEVER,
                open: 0,
                unreachable: !run.unreachable.is_empty() && unreachable(place),
                answered: false,
            };
            self.recipients.push(recipient);
            let share = share_of(&recipient, self.prompt_ms());
            let counters = &mut self.counters[usize::from(area)];
            match run.kind {
                RecipientKind::Person => counters.target_person(role, share),
                RecipientKind::Speaker => counters.devices.targeted += 1,
                RecipientKind::Endpoint => {}
            }
        }
        Ok(())
    }

    fn add_leg(&mut self, leg: &Leg) -> Result<(), Damaged> {
        let kind_word = leg.route.split('/').next().unwrap_or_default();
        let kind = intern(&mut self.kinds, kind_word, WORDS_MAX);
        let route = match self.routes.iter().position(|known| known.word == leg.route) {
            Some(known) => known,
            None => {
                self.routes.push(Route { word: leg.route.clone(), kind });
                self.routes.len() - 1
            }
        };
        let route = u8::try_from(route).map_err(|_| Damaged { what: "routes", at: 0 })?;
        let first = u32::try_from(self.slots.len()).map_err(|_| Damaged { what: "deliveries", at: 0 })?;
        let mut count = 0_u32;
        for &(start, length) in &leg.recipients {
            for recipient in start..start.saturating_add(length) {
                if recipient as usize >= self.recipients.len() {
                    return Err(Damaged { what: "delivery to nobody", at: 0 });
                }
                self.slots.push(Slot::owed_to(recipient));
                self.with_recipient(recipient, |found| {
                    found.open = found.open.saturating_add(1);
                    // Whoever had no address when it was planned has one now.
                    found.unreachable = false;
                });
                let area = self.place_of(recipient).area;
                self.counters[usize::from(area)].deliveries_of(kind)[Furthest::Queued as usize] += 1;
                count += 1;
            }
        }
        self.open += count;
        self.legs.push(BookLeg { first, count, route, lane: leg.lane, occasion: leg.occasion });
        Ok(())
    }

    fn add_calls(&mut self, calls: &CallsDue, asked: Timestamp) {
        for &recipient in &calls.recipients {
            // Each person is asked once per alert, whoever they stand in for.
            if self.call_numbers.contains_key(&recipient) || recipient as usize >= self.recipients.len() {
                continue;
            }
            let number = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
            self.call_numbers.insert(recipient, number);
            self.calls.push(Call {
                recipient,
                asked,
                due: calls.due,
                step: calls.step,
                on_behalf: calls.on_behalf,
                end: End::Open,
                tries: Vec::new(),
            });
        }
    }
}
