//! Owns what a refusal, a failure and a message that was taken mean for an account: whether it is believed, parked or acquitted, and who is told.
//! Refuses to know providers. Invariant: nobody's address is closed as refused while another
//! account could show that it is this one's fault; where there is none, not before the schedule is over.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    account::Account,
    gateway::{Inner, Running},
    health::{Heard, Held, Recovery, Who},
    settle::{Batch, Case},
};
use crate::{
    alert::AlertNo,
    channel::{Class, Concerns, Failure},
    delivery::{event::FactKind, ledger::Shelf, retry::Trust, slot::Phase},
    time::Timestamp,
};

/// Alarms that are over once an account takes messages again.
const OVER: [&str; 4] = ["account-parked", "account-start", "account-throttled", REFUSES_ALL];
const REFUSES_ALL: &str = "account-refuses-all";

/// What a failure leaves behind for the next one of the same delivery.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Past {
    /// Times that it may have been taken and nobody said so.
    pub(crate) doubts: u8,
    /// Number of the account that refused it last.
    pub(crate) refused_by: Option<u8>,
}

impl Past {
    /// One more doubt; answers how many there were before.
    pub(crate) fn doubt(&mut self) -> u8 {
        self.doubts = self.doubts.saturating_add(1);
        self.doubts - 1
    }
}

impl Running {
    /// Reads and changes what came before of a delivery.
    pub(crate) fn past<T>(&self, index: u32, look: impl FnOnce(&mut Past) -> T) -> T {
        look(self.past.lock().expect("no code panics while it holds what came before").entry(index).or_default())
    }
}

/// An account has taken something: its troubles are over, and what it refused before is believed.
pub(super) fn went_well(inner: &Inner, batches: &mut BTreeMap<AlertNo, Batch>, account: &Account, heard: Heard, now: Timestamp) {
    let Recovery { was_in_trouble, held } = account.went_well(heard);
    if was_in_trouble && account.trouble().is_none() {
        OVER.into_iter().for_each(|what| inner.alarms.end(what, account.name()));
    }
    for Held { alert, index, reason } in held {
        let Some(shelf) = inner.ledger.get(alert) else { continue };
        let is_still_held = {
            let book = shelf.read();
            let slot = book.slots.get(index as usize);
            slot.is_some_and(|slot| slot.phase == Phase::Pending && book.word(slot.account) == account.name())
        };
        if is_still_held {
            batches.entry(alert).or_insert_with(|| Batch::of(&shelf)).add(index, FactKind::Failed, reason, now);
        }
    }
}

/// Takes note of a failure for the account's health; tells duty once it has been parked for it.
pub(super) fn went_wrong(inner: &Inner, account: &Account, heard: Heard, failure: &Failure) {
    if let Some(what) = account.went_wrong(heard, failure) {
        inner.alarms.raise(what, account.name(), format!("{}：{}", failure.reason, failure.detail));
        tracing::error!(account = account.name(), reason = failure.reason, detail = %failure.detail, "account is parked");
    }
}

/// How far a refusal of this delivery by this account is believed.
pub(super) fn trust(
    inner: &Inner,
    shelf: &Shelf,
    index: u32,
    account: &str,
    failure: &Failure,
    case: Case,
    has_next_account: bool,
) -> Trust {
    let Some(account) = inner.routes.account(account).filter(|_| failure.is_refusal() && !case.is_proven) else { return Trust::Believed };
    let Some(who) = who(shelf, index) else { return Trust::Believed };
    let before = inner.running(shelf).past(index, |past| past.refused_by.replace(account.number));
    if let Some(other) = before.filter(|&other| other != account.number).and_then(|other| inner.routes.accounts().get(usize::from(other)))
        && (account.has_taken(case.heard) || other.has_taken(case.heard))
    {
        acquit(inner, other, case.heard, who);
        return Trust::Believed;
    }
    // What goes on to another account, or is tried again whoever is right, is not closed by what comes later.
    let may_close = failure.class == Class::Reject && (failure.concerns == Concerns::Recipient || !has_next_account);
    let held = may_close.then_some(Held { alert: shelf.no, index, reason: failure.reason });
    // Where nobody else can be asked the account goes on: what is left of an alert after a restart may well be its dead numbers alone.
    let is_alone = !has_next_account && failure.concerns == Concerns::Recipient;
    let (trust, is_new) = account.refuses(case.heard, who, held, failure, !is_alone);
    if is_new {
        tell(inner, account, failure, has_next_account);
    }
    match (is_alone, case.heard) {
        // Sent again under the same id it would bring no second report.
        (true, Heard::ByReport) => Trust::Believed,
        // Asked again by the schedule, so that duty has time to mend the account.
        (true, Heard::AtOnce) if trust == Trust::Suspect => Trust::Held,
        _ => trust,
    }
}

fn tell(inner: &Inner, account: &Account, failure: &Failure, has_next_account: bool) {
    let then = if has_next_account { "已改由下一通道发送" } else { "没有下一通道，消息保留并重试" };
    let text = format!("连续拒收所有人，未接受任何一条（{}：{}）；{then}", failure.reason, failure.detail);
    inner.alarms.raise(REFUSES_ALL, account.name(), text);
    tracing::error!(
        account = account.name(),
        reason = failure.reason,
        detail = %failure.detail,
        "account refuses everyone and is passed over; look at its contract, sender and signature"
    );
}

fn acquit(inner: &Inner, account: &Arc<Account>, heard: Heard, who: Who) {
    if account.acquit(heard, who) {
        inner.alarms.end(REFUSES_ALL, account.name());
        tracing::info!(account = account.name(), "another account refuses the same recipients: it was not this one's fault");
    }
}

fn who(shelf: &Shelf, index: u32) -> Option<Who> {
    let book = shelf.read();
    let slot = book.slots.get(index as usize)?;
    Some((book.place_of(slot.recipient).kind, book.recipients[slot.recipient as usize].key))
}
