//! Owns what is held at a far end's door, at the moment a message is handed over: was it planned, leased, and may it still go (I3, I8).

use lastmile::{
    delivery::{plan::RecipientKind, slot::Phase},
    engine::Gateway,
    message::Outgoing,
};

/// What is wrong with this message now.
pub(crate) fn at_the_door(gateway: &Gateway, account: &str, message: &Outgoing) -> Vec<String> {
    let Some(shelf) = gateway.ledger().get(message.id.alert) else { return vec!["of an alert that nobody accepted".into()] };
    let (book, now) = (shelf.read(), gateway.clock().now());
    let Some(slot) = book.slots.get(message.id.index as usize) else { return vec!["was never planned".into()] };
    let mut wrong = Vec::new();
    if !book.state.may_send() {
        wrong.push(format!("sent though its alert is {}", book.state.name()));
    }
    if shelf.alert.expires <= now {
        wrong.push(format!("sent at {now}, after its alert expired at {}", shelf.alert.expires));
    }
    if slot.phase != Phase::InFlight {
        wrong.push(format!("sent while it is {:?} in the journal", slot.phase));
    } else if book.word(slot.account) != account {
        wrong.push(format!("leased to {:?}", book.word(slot.account)));
    }
    if shelf.alert.status.is_drill() {
        if !message.text.contains("演练") && !message.subject.contains("演练") {
            wrong.push(format!("a drill that does not say so: {}", message.text));
        }
        let is_person = book.place_of(slot.recipient).kind == RecipientKind::Person;
        if is_person && book.role_of(slot.recipient) == "household" {
            wrong.push("a drill that wakes a household".into());
        }
    }
    wrong
}
