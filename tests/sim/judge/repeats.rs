//! Owns what is held of messages that came twice: each has its reason, and is counted (I4).

use std::time::Duration;

use lastmile::{
    channel::{Batching, News, Proof},
    delivery::ledger::Shelf,
    message::DeliveryId,
};

use crate::{
    letters::What,
    script::Script,
    world::{Take, World},
};

pub(crate) fn of_book(world: &World, shelf: &Shelf, script: &Script) {
    let book = shelf.read();
    let takes: Vec<Take> = world.memory().takes.iter().filter(|take| take.id.alert == shelf.no).cloned().collect();
    let mut in_doubt = 0;
    for index in 0..u32::try_from(book.slots.len()).expect("a small county") {
        let id = DeliveryId { alert: shelf.no, index };
        let mine: Vec<&Take> = takes.iter().filter(|take| take.id == id).collect();
        for pair in mine.windows(2) {
            match why(world, script, pair[0], pair[1]) {
                Why::InDoubt => in_doubt += 1,
                Why::Asked => {}
                Why::Nothing => world.fault(format!("{id} came twice without a reason: {:?} and {:?}", pair[0], pair[1])),
            }
        }
    }
    if in_doubt > book.repeated {
        world.fault(format!("alert {}: {in_doubt} came twice because of a doubt, {} are counted", shelf.no.0, book.repeated));
    }
}

enum Why {
    /// The answer was unclear, or in flight at a crash.
    InDoubt,
    /// The far end itself said that it did not get there, or a device kept silent.
    Asked,
    Nothing,
}

fn why(world: &World, script: &Script, first: &Take, second: &Take) -> Why {
    let memory = world.memory();
    let failed_later = memory.letters.iter().any(|letter| {
        let failed = matches!(&letter.what, What::Callback(report) | What::Line(report) if matches!(report.news, News::Failed(_)));
        let in_time = letter.handed.is_some_and(|handed| handed.at_ms >= first.at_ms && handed.at_ms <= second.at_ms);
        letter.about == first.id && failed && in_time
    });
    let profile = &script.accounts[first.account].0;
    let is_device = matches!(profile.batching, Batching::WholeArea { .. });
    let patience = match profile.proof {
        Proof::Report { within } => within,
        Proof::AcceptedOnly | Proof::AcceptedIsDelivered => Duration::MAX,
    };
    // By either clock: the gateway's may have jumped back since it looked.
    let waited = second.told.since(first.told).max(Duration::from_millis(second.at_ms - first.at_ms));
    if failed_later || (is_device && waited >= patience) {
        Why::Asked
    } else if !first.plain || memory.in_doubt.contains(&(first.life, first.id)) {
        Why::InDoubt
    } else {
        Why::Nothing
    }
}
