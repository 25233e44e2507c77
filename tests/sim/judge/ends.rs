//! Owns what is held of alerts as wholes: planned once, everyone told how it ended (I10), every call ended (I11).

use std::{collections::BTreeSet, time::Duration};

use lastmile::{
    alert::{AlertNo, MsgType},
    channel::News,
    delivery::{
        book::{Book, State},
        call::End,
        ledger::Shelf,
        plan::{Occasion, RecipientKind},
        slot::Slot,
    },
    engine::Gateway,
    message::DeliveryId,
};

use crate::{
    letters::{Letter, What},
    script::Script,
    world::World,
};

/// Nobody is owed the same twice by one route, unless asked once more in another's place (I4).
pub(crate) fn planned_once(world: &World, shelf: &Shelf) {
    let book = shelf.read();
    let mut seen = BTreeSet::new();
    for leg in &book.legs {
        for slot in &book.slots[leg.first as usize..(leg.first + leg.count) as usize] {
            let recipient = &book.recipients[slot.recipient as usize];
            let place = book.place_of(slot.recipient);
            // Everyone told of something is where it is, or answers for where it is (I13).
            let place_of_it = book.areas[usize::from(place.area)];
            let is_meant =
                shelf.alert.areas.iter().flat_map(|area| &area.codes).any(|code| code.contains(place_of_it) || place_of_it.contains(*code));
            if matches!(leg.occasion, Occasion::Warning | Occasion::Change) && !is_meant {
                world.fault(format!("alert {} goes to {place_of_it}, which it does not mean", shelf.no.0));
            }
            let is_new = seen.insert((place.kind, recipient.key, leg.route, leg.occasion == Occasion::OnBehalf));
            if !is_new {
                world.fault(format!("alert {} owes {:?} {} twice by one route", shelf.no.0, place.kind, recipient.key));
            }
        }
    }
}

/// A call ends answered, escalated, exhausted or expired; who it went on to was asked, and not before the time was over.
pub(crate) fn calls(world: &World, gateway: &Gateway, shelf: &Shelf, script: &Script) {
    let book = shelf.read();
    // By the next look of a gateway that nothing hindered.
    let prompt = if script.is_quiet() && !world.clock.has_jumped() { Duration::from_secs(3) } else { Duration::MAX };
    for call in &book.calls {
        let who = format!("call of recipient {} of alert {}", call.recipient, shelf.no.0);
        match &call.end {
            End::Open => world.fault(format!("{who} is open at the end")),
            End::Escalated { at, to } => {
                let asked = to.iter().all(|&other| book.call_of(other).is_some());
                if *at < call.due || at.since(call.due) > prompt || to.is_empty() || !asked {
                    world.fault(format!("{who} went on at {at}, due at {}, to {to:?}", call.due));
                }
            }
            End::Exhausted { at } if *at < call.due || at.since(call.due) > prompt => {
                world.fault(format!("{who} was given up at {at}, due at {}", call.due))
            }
            End::Expired { .. } if book.state == State::Completed => world.fault(format!("{who} expired though its alert was completed")),
            End::Exhausted { .. } | End::Expired { .. } | End::Answered(_) => {}
        }
    }
    if book.state == State::Held && shelf.alert.expires > gateway.clock().now() {
        world.fault(format!("alert {} is held at the end", shelf.no.0));
    }
}

type Person = (RecipientKind, u32);

/// Everyone who truly got an alert hears what became of it: from the Update that took its place, or the Cancel that ended it.
pub(crate) fn everyone_told(world: &World, gateway: &Gateway, shelf: &Shelf) {
    if shelf.alert.msg_type == MsgType::Alert || shelf.notice_of().is_some() {
        return;
    }
    let (owed, chains) = {
        let book = shelf.read();
        if book.timeline.planned.is_none() {
            // Held to its end, or rejected: it took nobody's place. One that was ended itself is followed from its own end.
            return;
        }
        (everyone(&book), book.accepted.targets.clone())
    };
    let was_out = |no: &AlertNo| gateway.ledger().get(*no).is_some_and(|target| target.read().timeline.released.is_some());
    if !chains.iter().any(was_out) && shelf.alert.msg_type == MsgType::Cancel && !owed.is_empty() {
        world.fault(format!("alert {} says it is over, and what it ends was never out", shelf.no.0));
    }
    for no in chains {
        follow(world, gateway, shelf, no, owed.clone());
    }
}

/// From the newest link back: whoever was told that it was over for them by a later link is out of it.
fn follow(world: &World, gateway: &Gateway, shelf: &Shelf, no: AlertNo, mut owed: BTreeSet<Person>) {
    let Some(before) = gateway.ledger().get(no) else { return };
    let older = {
        let book = before.read();
        if book.timeline.released.is_none() {
            // Ended before it was released, it told nobody and took nobody's place.
            return;
        }
        let (heard, over) = heard(world, &before, &book);
        for person in heard {
            if !owed.contains(&person) {
                world.fault(format!("{person:?} got alert {} and is not told of {} {:?}", no.0, shelf.no.0, shelf.alert.msg_type));
            }
        }
        owed.extend(over);
        book.accepted.targets.clone()
    };
    for no in older {
        follow(world, gateway, shelf, no, owed.clone());
    }
}

fn everyone(book: &Book) -> BTreeSet<Person> {
    let owed = book.slots.iter().map(|slot| slot.recipient);
    owed.map(|recipient| (book.place_of(recipient).kind, book.recipients[recipient as usize].key)).collect()
}

/// Who took a warning of this alert, and who was told by it that it was over for them.
fn heard(world: &World, shelf: &Shelf, book: &Book) -> (BTreeSet<Person>, BTreeSet<Person>) {
    let takes = world.memory().takes.clone();
    let got: BTreeSet<DeliveryId> = takes.iter().map(|take| take.id).filter(|id| id.alert == shelf.no).collect();
    let (mut heard, mut over) = (BTreeSet::new(), BTreeSet::new());
    for (index, slot) in (0..).zip(&book.slots) {
        let person = (book.place_of(slot.recipient).kind, book.recipients[slot.recipient as usize].key);
        let id = DeliveryId { alert: shelf.no, index };
        if matches!(book.leg_of(index).occasion, Occasion::Gone | Occasion::AllClear) {
            // Tried in vain is tried: far ends may refuse a number for good, or say that the person wants no messages.
            if got.contains(&id) || !book.word(slot.word).is_empty() {
                over.insert(person);
            }
        } else if got.contains(&id) && !is_taken_back(world, id, slot) {
            heard.insert(person);
        }
    }
    (heard, over)
}

/// The far end said that it did not get there, before it had said that it took it.
fn is_taken_back(world: &World, id: DeliveryId, slot: &Slot) -> bool {
    let failed = |letter: &Letter| match &letter.what {
        What::Callback(report) | What::Line(report) => letter.about == id && matches!(report.news, News::Failed(_)),
        What::Link { .. } => false,
    };
    !slot.accepted.is_set() && !slot.is_reached() && world.memory().letters.iter().any(|letter| letter.handed.is_some() && failed(letter))
}
