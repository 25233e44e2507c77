//! Owns what is held of evidence: what was acknowledged is there and not later than it was said (I5, I7), and nothing is there that nobody said.

use lastmile::{
    channel::{About, News, Proof, Report},
    delivery::{call::End, ledger::Shelf, plan::RecipientKind},
    engine::Gateway,
    message::DeliveryId,
};

use crate::{
    letters::{Letter, State, What},
    script::Script,
    world::{Take, World},
};

/// Whatever a far end or a person was told is kept.
pub(crate) fn promised(world: &World, gateway: &Gateway) {
    let letters = world.memory().letters.clone();
    for (number, letter) in letters.iter().enumerate().filter(|(_, letter)| letter.state == State::Done) {
        if let Some(wrong) = missing(world, gateway, letter) {
            world.fault(format!("letter {number} was acknowledged: {wrong}"));
        }
    }
}

fn missing(world: &World, gateway: &Gateway, letter: &Letter) -> Option<String> {
    let Some(shelf) = gateway.ledger().get(letter.about.alert) else { return Some("its alert is gone".into()) };
    let book = shelf.read();
    match &letter.what {
        What::Link { .. } => {
            let recipient = book.slots[letter.about.index as usize].recipient;
            let is_kept = book.call_of(recipient).is_some_and(|call| matches!(call.end, End::Answered(_)));
            (!is_kept).then(|| format!("the answer of recipient {recipient} of {} is gone", letter.about))
        }
        What::Callback(report) if report.news == News::Delivered => {
            if may_be_stray(world, report, letter) {
                return None;
            }
            if !book.slots[letter.about.index as usize].is_reached() {
                if is_kept_early(gateway, report) {
                    return None;
                }
                return Some(format!("the proof of {} is gone", letter.about));
            }
            let said = credible(report, letter, book.base())?;
            let kept = book.time_of(book.reached_at(letter.about.index))?;
            (kept > said).then(|| format!("{} was delivered at {said} and is kept as {kept}", letter.about))
        }
        What::Callback(_) | What::Line(_) => None,
    }
}

/// A report by an id that we were never told, because the answer to the send was lost, is kept as a stray.
fn may_be_stray(world: &World, report: &Report, letter: &Letter) -> bool {
    if !matches!(report.about, About::ProviderRef { .. }) {
        return false;
    }
    let memory = world.memory();
    let take = &memory.takes[letter.take];
    // One that overtook its send is kept until that returns, or one under the same name, in whichever life.
    let same = |other: &&Take| other.account == take.account && other.own_id == take.own_id && other.plain;
    !memory.takes.iter().filter(same).any(|told| !memory.in_doubt.contains(&(told.life, told.id)))
}

/// What was brought before its send returned is taken up when the engine starts.
fn is_kept_early(gateway: &Gateway, report: &Report) -> bool {
    let About::ProviderRef { provider_ref, .. } = &report.about else { return false };
    gateway.ledger().early_names().iter().any(|name| name.provider_ref == *provider_ref)
}

/// Nothing waits for a send that has returned.
pub(crate) fn none_left_early(world: &World, gateway: &Gateway) {
    let shelves = gateway.ledger().newest_first();
    for name in gateway.ledger().early_names() {
        if shelves.iter().any(|shelf| shelf.read().delivery_of_ref(&name.account, &name.provider_ref).is_some()) {
            world.fault(format!("a report of {name:?} was never brought to its delivery"));
        }
    }
}

/// When it happened, where the far end's clock could be believed.
fn credible(report: &Report, letter: &Letter, base: lastmile::time::Timestamp) -> Option<lastmile::time::Timestamp> {
    let first = letter.handed?;
    report.at.filter(|at| *at >= base && *at <= first.told)
}

/// Nothing is proven that nobody has said (I5).
pub(crate) fn of_book(world: &World, shelf: &Shelf, script: &Script) {
    let (letters, takes) = {
        let memory = world.memory();
        (memory.letters.clone(), memory.takes.clone())
    };
    let book = shelf.read();
    for (index, slot) in (0..).zip(&book.slots) {
        let id = DeliveryId { alert: shelf.no, index };
        let taken = takes.iter().filter(|take| take.id == id);
        let said = |wanted: &dyn Fn(&News) -> bool| {
            letters.iter().any(|letter| letter.about == id && letter.handed.is_some() && says(letter, wanted))
        };
        let is_proof_itself = taken.clone().any(|take| script.accounts[take.account].0.proof == Proof::AcceptedIsDelivered);
        if slot.delivered().is_set() && !is_proof_itself && !said(&|news| matches!(news, News::Delivered)) {
            world.fault(format!("{id} is delivered, and nobody said so"));
        }
        if slot.accepted.is_set() && taken.count() == 0 {
            world.fault(format!("{id} is accepted, and nobody took it"));
        }
        let is_device = book.place_of(slot.recipient).kind == RecipientKind::Speaker;
        if slot.is_crowned() && is_device && !said(&|news| *news == News::Played) {
            world.fault(format!("{id} was played, and nobody said so"));
        }
    }
    for call in &book.calls {
        let End::Answered(answer) = &call.end else { continue };
        let mine = |letter: &&Letter| {
            let replies = matches!(&letter.what, What::Link { .. }) || says(letter, &|news| matches!(news, News::Reply(_)));
            replies && letter.handed.is_some()
        };
        if answer.by.is_empty() && !letters.iter().any(|letter| mine(&letter)) {
            world.fault(format!("recipient {} of alert {} answered by {}, and nobody did", call.recipient, shelf.no.0, answer.via));
        }
    }
}

fn says(letter: &Letter, wanted: &dyn Fn(&News) -> bool) -> bool {
    match &letter.what {
        What::Callback(report) | What::Line(report) => wanted(&report.news),
        What::Link { .. } => false,
    }
}
