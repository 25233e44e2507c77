//! Owns what is held against a store when it is opened, left and at the end of a run: the invariants of ARCHITECTURE.md, against what truly happened.

mod ends;
mod evidence;
mod pace;
mod repeats;

use std::{path::Path, sync::Arc};

use lastmile::{
    delivery::{ledger::Shelf, slot::Phase},
    engine::{Gateway, look::Filter},
    message::DeliveryId,
};

use crate::{posts::PostFate, script::Script, world::World};

/// Whatever was promised before is there, and the books are sound (I1, I2, I5, I6, I7).
pub(crate) fn after_opening(world: &World, gateway: &Gateway) {
    promises(world, gateway);
    evidence::promised(world, gateway);
    for shelf in gateway.ledger().newest_first() {
        for wrong in shelf.read().violations() {
            world.fault(format!("alert {} after a start: {wrong}", shelf.no.0));
        }
    }
}

/// What a crash leaves in doubt.
pub(crate) fn before_closing(world: &World, gateway: &Gateway, crashes: bool) {
    let in_flight: Vec<DeliveryId> = gateway.ledger().newest_first().iter().flat_map(|shelf| in_flight(shelf)).collect();
    if !crashes && !in_flight.is_empty() && world.has_room() {
        world.fault(format!("in flight after a stop in good time: {in_flight:?}"));
    }
    let mut memory = world.memory();
    let life = memory.life;
    memory.in_doubt.extend(in_flight.into_iter().map(|id| (life, id)));
}

fn in_flight(shelf: &Shelf) -> Vec<DeliveryId> {
    let book = shelf.read();
    let slots = (0..).zip(&book.slots).filter(|(_, slot)| slot.phase == Phase::InFlight);
    slots.map(|(index, _)| DeliveryId { alert: shelf.no, index }).collect()
}

/// Nothing is owed any more: what became of everything.
pub(crate) async fn at_the_end(world: &World, gateway: &Gateway, script: &Script) {
    after_opening(world, gateway);
    for shelf in gateway.ledger().newest_first().into_iter().rev() {
        closed_with_reason(world, gateway, &shelf).await;
        ends::planned_once(world, &shelf);
        ends::calls(world, gateway, &shelf, script);
        ends::everyone_told(world, gateway, &shelf);
        evidence::of_book(world, &shelf, script);
        repeats::of_book(world, &shelf, script);
        write_down(world, &shelf);
    }
    evidence::none_left_early(world, gateway);
    pace::rates(world, script);
}

/// I1: an alert that was promised is there, and is the one that was posted.
fn promises(world: &World, gateway: &Gateway) {
    for (post, promise) in world.accepted() {
        let Some(shelf) = gateway.ledger().find(promise.id) else {
            world.fault(format!("post {post}, accepted as {}, is gone", promise.no.0));
            continue;
        };
        let (identifier, is_made) = {
            let memory = world.memory();
            (memory.posts[post].document["identifier"].clone(), memory.posts[post].of == Some(post))
        };
        if shelf.no != promise.no || (!is_made && identifier != shelf.alert.identifier && !shelf.alert.identifier.contains("cancel")) {
            world.fault(format!("post {post} is not what was posted: {}", shelf.alert.identifier));
        }
    }
    let early =
        world.memory().posts.iter().filter(|post| post.fate == PostFate::Early).map(|post| post.document.clone()).collect::<Vec<_>>();
    for document in early {
        let identifier = document["identifier"].as_str().expect("a text");
        let waits = gateway.ledger().waiting().iter().any(|waiting| waiting.identifier == identifier);
        let is_in = gateway.ledger().newest_first().iter().any(|shelf| shelf.alert.identifier == identifier);
        // One whose time has come to an end is let go; runs are shorter than that, but their clocks jump.
        let is_over = document["expires"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .is_some_and(|expires: lastmile::time::Timestamp| expires <= gateway.clock().now());
        if !waits && !is_in && !is_over {
            world.fault(format!("{identifier} was to be kept until its reference comes, and is gone"));
        }
    }
}

/// I2: every delivery is closed, and what was not taken says why.
async fn closed_with_reason(world: &World, gateway: &Gateway, shelf: &Arc<Shelf>) {
    let details = gateway.details(shelf).await.expect("in memory");
    let filter = Filter { limit: usize::MAX, ..Filter::default() };
    for row in gateway.deliveries(&details, &filter).0 {
        let needs_reason = matches!(row.state, "failed" | "expired" | "cancelled" | "suppressed");
        if row.open || (needs_reason && row.reason.is_none()) {
            world.fault(format!("{} is {} without an end: {row:?}", row.id, row.state));
        }
    }
}

/// The book as two runs of one seed must both have it.
fn write_down(world: &World, shelf: &Shelf) {
    let book = shelf.read();
    let (state, repeated) = (book.state, book.repeated);
    world.log(&format!("book {} {state:?} repeated {repeated} {:?}", shelf.no.0, book.timeline));
    for (index, slot) in book.slots.iter().enumerate() {
        let (place, who) = (book.place_of(slot.recipient), book.recipients[slot.recipient as usize]);
        let leg = book.leg_of(u32::try_from(index).expect("a small county"));
        let route = &book.routes[usize::from(leg.route)].word;
        world.log(&format!("  {index} {slot:?} {} {:?} by {route} to {:?} {who:?}", book.word(slot.word), leg.occasion, place.kind));
    }
    for call in &book.calls {
        world.log(&format!("  {call:?}"));
    }
}

/// I12: the trail's chain holds, and agrees with the journal.
pub(crate) fn store(world: &World, data: &Path) {
    match lastmile::store::verify(data) {
        Ok(report) if report.ok => {}
        Ok(report) => world.fault(format!("the store is not sound: {:?}", report.faults)),
        Err(error) => world.fault(format!("the store cannot be read: {error}")),
    }
}
