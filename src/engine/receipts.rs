//! Owns what far ends and people report: each report is brought to its delivery or person and made durable before it is answered.
//! Refuses to know providers' forms. Invariant: late, doubled, early and unknown reports are all right; a report counts only for what its account
//! was leased, by the journal; what names nothing of that is counted, told, and kept within bounds (I5, I7, I18).

use std::{collections::BTreeMap, sync::Arc};

use rand::{SeedableRng, rngs::StdRng};
use tokio::sync::mpsc;

use super::{
    Unavailable,
    devices::DeviceState,
    gateway::Inner,
    health::Heard,
    planner::address_kind,
    queue::Work,
    refusals::{went_well, went_wrong},
    replies::{Cry, Said, Speaker},
    reply_words::{Meaning, meaning_of},
    settle::{Batch, Case, Requeue, after_failure, steady},
};
use crate::{
    alert::{AlertId, AlertNo},
    channel::{About, Class, Failure, News, Proof, Reach, Report},
    delivery::{
        book::{Book, handed},
        early::{Early, Name},
        event::{Event, FactKind, Refs, Told},
        ledger::Shelf,
        plan::RecipientKind,
        slot::Phase,
    },
    registry::{EndpointKey, PhoneNumber, SubscriberKey},
    telemetry::metrics as meter,
    time::Timestamp,
};

/// Reports taken together into one commit.
const REPORTS_MAX: usize = 4_096;
/// A far end's clock is believed this far into our future.
const CLOCK_AHEAD_MS: i64 = 5 * 60 * 1_000;

/// Takes reports of drivers that hold their own connection.
pub(crate) async fn run(inner: Arc<Inner>, account: String, mut reports: mpsc::Receiver<Report>) {
    let mut gathered = Vec::new();
    while reports.recv_many(&mut gathered, REPORTS_MAX).await > 0 {
        // Nobody behind a connection of our own can be asked to say it again: what cannot be kept now is held.
        if keep(&inner, &account, std::mem::take(&mut gathered), Patience::Held).await.is_err() {
            return;
        }
    }
}

/// Makes reports durable, or says at once that whoever brought them must come again. What was begun is carried to its end though whoever
/// brought them hangs up: a fact that is kept has consequences.
pub(crate) async fn take(inner: &Arc<Inner>, account: &str, reports: Vec<Report>) -> Result<(), Unavailable> {
    let (keeper, account) = (Arc::clone(inner), account.to_owned());
    let kept = inner.tasks.spawn(async move { keep(&keeper, &account, reports, Patience::None).await });
    kept.await.unwrap_or_else(|error| Err(Unavailable::Failed(format!("reports could not be kept: {error}"))))
}

async fn keep(inner: &Arc<Inner>, account: &str, reports: Vec<Report>, patience: Patience) -> Result<(), Unavailable> {
    let now = inner.clock.now();
    let mut gathering = Gathering::default();
    for report in &reports {
        gathering.add(inner, account, report, now);
    }
    let early = std::mem::take(&mut gathering.early);
    gathering.commit(inner, patience).await?;
    inner.bring_returned(early);
    Ok(())
}

/// How long a full disk is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    None,
    /// Until the engine stops.
    Held,
}

#[derive(Default)]
pub(super) struct Gathering {
    batches: BTreeMap<AlertNo, Batch>,
    pub(super) told: Vec<Told>,
    early: Vec<Name>,
    again: Vec<Requeue>,
    /// Attempts of which a part was refused, by alert and account.
    parts_failed: BTreeMap<(AlertNo, String), Vec<(u32, String)>>,
    pub(super) opt_outs: Vec<SubscriberKey>,
    pub(super) cries: Vec<Cry>,
    /// Whose answers these are, for their pace.
    pub(super) changed: Vec<(AlertNo, u32)>,
}

impl Gathering {
    fn add(&mut self, inner: &Arc<Inner>, account: &str, report: &Report, now: Timestamp) {
        match &report.about {
            About::Delivery(id) => match inner.ledger.get(id.alert) {
                Some(shelf) if had(&shelf, id.index, account) => self.fact(inner, account, &shelf, id.index, report, now),
                _ => self.stray(inner, account, report, now),
            },
            About::Handed { id, attempt, readers } => match inner.ledger.get(id.alert) {
                Some(shelf) if was_handed(inner, &shelf, id.index, readers) => {
                    self.of_attempt(inner, account, &shelf, id.index, *attempt, report, now);
                }
                _ => self.stray(inner, account, report, now),
            },
            About::ProviderRef { provider_ref, .. } => {
                let name = Name { account: account.to_owned(), provider_ref: provider_ref.clone() };
                match inner.find_ref(&name) {
                    // That it has a name there is in the journal: its send returned with it.
                    Some((shelf, index)) => self.fact(inner, account, &shelf, index, report, now),
                    None => self.early(inner, name, report, now),
                }
            }
            About::Device { id, msg_id } => match device_delivery(inner, id, msg_id) {
                Some((shelf, index)) if had(&shelf, index, account) => self.fact(inner, account, &shelf, index, report, now),
                _ => self.stray(inner, account, report, now),
            },
            About::DeviceStatus { id } => self.device_status(inner, account, id, report, now),
            About::Phone(number) => self.reply(inner, account, number, report, now),
        }
    }

    fn early(&mut self, inner: &Inner, name: Name, report: &Report, now: Timestamp) {
        let may_wait =
            handed::is_foreign_ref(&name.provider_ref) && inner.routes.account(&name.account).is_some_and(|of| of.may_be_early());
        let early = Early { id: inner.early_id(now), at: now, name, news: report.news.clone(), reported: report.at };
        if !may_wait || !early.is_small() {
            return self.stray(inner, &early.name.account, report, now);
        }
        meter::receipt(&early.name.account, "early");
        self.early.push(early.name.clone());
        self.told.push(Told::Early(early));
    }

    /// A report about one attempt, whose key came with it. Of several parts one may get there and another not: what was refused is the word on
    /// all of it, in whatever order they are told.
    #[expect(clippy::too_many_arguments, reason = "one report's parts, taken apart by the only caller")]
    fn of_attempt(
        &mut self,
        inner: &Arc<Inner>,
        account: &str,
        shelf: &Shelf,
        index: u32,
        attempt: Option<u8>,
        report: &Report,
        now: Timestamp,
    ) {
        if report.news == News::Delivered && shelf.read().lost_a_part(index, account, attempt) {
            meter::receipt(account, "part-of-a-failed-one");
            return;
        }
        if matches!(report.news, News::PartFailed(_)) {
            let attempt = attempt.unwrap_or_else(|| shelf.read().slots.get(index as usize).map_or(0, Book::attempt_of));
            let noted = self.parts_failed.entry((shelf.no, account.to_owned())).or_default();
            noted.push((index, handed::part_failed(index, attempt)));
        }
        self.fact(inner, account, shelf, index, report, now);
    }

    /// A report about one delivery.
    pub(super) fn fact(&mut self, inner: &Arc<Inner>, account: &str, shelf: &Shelf, index: u32, report: &Report, now: Timestamp) {
        let at = credible(report.at, shelf, now);
        let batch = self.batches.entry(shelf.no).or_insert_with(|| Batch::of(shelf));
        match &report.news {
            News::Accepted => batch.add(index, FactKind::Accepted, account, at),
            News::Delivered => batch.add(index, FactKind::Delivered, "", at),
            News::Played => batch.add(index, FactKind::Played, "", at),
            News::Failed(failure) | News::PartFailed(failure) => self.failure(inner, account, shelf, index, failure, now),
            News::Reply(text) => self.reply_to(inner, account, shelf, index, text, at),
            News::Online { .. } => self.stray(inner, account, report, now),
        }
        if matches!(report.news, News::Accepted | News::Delivered | News::Played)
            && let Some(account) = inner.routes.account(account)
        {
            went_well(inner, &mut self.batches, account, Heard::ByReport, now);
        }
        if let Some(word) = news_word(&report.news) {
            meter::receipt(account, word);
        }
    }

    /// A reply to one message: whose it is needs no looking for.
    fn reply_to(&mut self, inner: &Inner, account: &str, shelf: &Shelf, index: u32, text: &str, at: Timestamp) {
        let whose = {
            let book = shelf.read();
            book.slots.get(index as usize).map(|slot| {
                let key = SubscriberKey(book.recipients[slot.recipient as usize].key);
                (slot.recipient, key, book.kinds[usize::from(book.route_of(index).kind)].clone())
            })
        };
        let Some((recipient, key, via)) = whose else { return };
        match meaning_of(text, &[]) {
            Meaning::Answer(choice) => {
                if !self.answer(inner, shelf, recipient, &Said { choice, via: &via, by: "", words: text, at }, true) {
                    meter::receipt(account, "too-often");
                }
            }
            Meaning::OptOut | Meaning::Unclear => {
                meter::receipt(account, "not-understood");
                let speaker = Speaker { alert: Some(shelf), recipient: Some(recipient), person: Some(key), phone: None };
                self.note_words(inner, speaker, text, &via, false, at);
            }
        }
    }

    fn failure(&mut self, inner: &Arc<Inner>, account: &str, shelf: &Shelf, index: u32, failure: &Failure, now: Timestamp) {
        let Some(batch) = self.batches.get_mut(&shelf.no) else { return };
        let found = {
            let book = shelf.read();
            let slot = book.slots.get(index as usize);
            slot.map(|slot| (book.route_of(index).word.clone(), slot.phase, book.word(slot.account) == account))
        };
        // Filed at this moment: over for days.
        let Some((route, phase, is_its)) = found else { return };
        // A doubled failure of something already put off or closed changes nothing.
        // Nor does one of an account that it was passed on from: another has it now.
        if is_its
            && phase == Phase::Settled
            && inner.routes.account(account).is_some_and(|of| of.channel.proof() == Proof::AcceptedIsDelivered)
        {
            // That it was taken was all the proof there was, and this is a better one.
            batch.add(index, FactKind::CameBack, failure.reason, now);
            return;
        }
        if !is_its || !matches!(phase, Phase::AwaitingProof | Phase::InFlight) {
            return;
        }
        let mut rng = StdRng::seed_from_u64(inner.seed ^ u64::from(index));
        let case = Case { heard: Heard::ByReport, is_proven: false };
        // That an operator does not know is no sign that it is down.
        if let Some(account) = inner.routes.account(account).filter(|_| failure.class != Class::Unknown) {
            went_wrong(inner, account, case.heard, failure);
        }
        let again = after_failure(inner, shelf, batch, index, account, &route, failure, case, now, &mut rng);
        if let Some((due, to)) = again {
            let work = Work { alert: shelf.no, first: index, count: 1 };
            let urgency = inner.urgency_of(shelf, index);
            self.again.push(Requeue { route: route.into(), urgency, work, due: steady(due, now), to });
        }
        if failure.class == Class::Reject {
            tracing::info!(account, reason = failure.reason, concerns = failure.concerns.name(), alert = %shelf.id, delivery = index, "a message was refused");
        }
    }

    fn device_status(&mut self, inner: &Arc<Inner>, account: &str, id: &str, report: &Report, now: Timestamp) {
        let snapshot = inner.snapshot();
        match (snapshot.speaker_by_id(id), &report.news) {
            (Some(speaker), News::Online { online, said_now, detail }) => {
                if *online && *said_now {
                    inner.rings.came(speaker.key(), account, now);
                }
                inner.devices.note(speaker.key().0, DeviceState { online: *online, at: report.at.unwrap_or(now), detail: detail.clone() });
            }
            // Health of a device that nobody registered: counted, not journaled, or a foreign fleet would fill the disk.
            (None, News::Online { .. }) => meter::receipt(account, "unknown-device"),
            _ => self.stray(inner, account, report, now),
        }
    }

    /// What names nothing that this account was leased.
    pub(super) fn stray(&mut self, inner: &Inner, account: &str, report: &Report, now: Timestamp) {
        meter::receipt(account, "stray");
        if !inner.unmatched.may_keep(&inner.alarms, account) {
            return;
        }
        let text = format!("{:?}", masked(report));
        self.told.push(Told::Stray { at: now, account: account.to_owned(), text: text.chars().take(500).collect() });
    }

    pub(super) async fn commit(mut self, inner: &Arc<Inner>, patience: Patience) -> Result<(), Unavailable> {
        let mut events: Vec<Event> =
            std::mem::take(&mut self.batches).into_values().filter(|batch| !batch.is_empty()).map(Batch::into_event).collect();
        let refs = std::mem::take(&mut self.parts_failed).into_iter();
        events.extend(refs.map(|((alert, account), list)| Event::Refs(Refs { alert, account, list })));
        events.extend(std::mem::take(&mut self.told).into_iter().map(|told| Event::Told(Box::new(told))));
        match patience {
            Patience::None => inner.append(events).await?,
            Patience::Held => inner.append_held(&events, "receipts").await?,
        }
        self.cries.iter().for_each(|cry| cry.raise(inner));
        self.changed.iter().for_each(|&(alert, recipient)| inner.answer_pace.changed(alert, recipient));
        for requeue in &self.again {
            inner.requeue(requeue);
        }
        self.opt_out(inner, patience).await
    }

    async fn opt_out(&self, inner: &Arc<Inner>, patience: Patience) -> Result<(), Unavailable> {
        let mut is_told = false;
        while !self.opt_outs.is_empty() {
            let Err(why) = inner.opt_out(self.opt_outs.clone()).await else { break };
            if patience == Patience::None || inner.stop.is_cancelled() {
                return Err(why);
            }
            if !is_told {
                meter::alarm("opt-out-held");
                tracing::error!(%why, people = self.opt_outs.len(), "an opt-out cannot be kept; it is tried again until it can");
                is_told = true;
            }
            inner.wait_for_room().await;
        }
        Ok(())
    }
}

/// Whether the journal knows that this account was given this delivery.
fn had(shelf: &Shelf, index: u32, account: &str) -> bool {
    shelf.read().had(index, account)
}

/// Whether this delivery has left us, and to one of these readers where the report names any.
fn was_handed(inner: &Inner, shelf: &Shelf, index: u32, readers: &[String]) -> bool {
    let book = shelf.read();
    let Some(slot) = book.slots.get(index as usize).filter(|slot| Book::left_us(slot)) else { return false };
    if readers.is_empty() {
        return true;
    }
    let key = book.recipients[slot.recipient as usize].key;
    let snapshot = inner.snapshot();
    let address = match inner.routes.get(&book.route_of(index).word).map(|route| route.reach) {
        Some(Reach::People(word)) => {
            let person = snapshot.subscriber(SubscriberKey(key));
            address_kind(word).zip(person).and_then(|(kind, person)| person.address(kind).map(str::to_lowercase))
        }
        Some(Reach::Endpoints(_)) => snapshot.endpoint(EndpointKey(key)).map(|endpoint| endpoint.address().to_lowercase()),
        Some(Reach::Speakers) | None => None,
    };
    address.is_some_and(|address| readers.iter().any(|reader| reader.to_lowercase() == address))
}

/// When it happened, if the far end's clock can be believed; never before the alert came in.
pub(super) fn credible(at: Option<Timestamp>, shelf: &Shelf, now: Timestamp) -> Timestamp {
    let base = shelf.read().base();
    at.filter(|at| *at >= base && at.as_ms() <= now.as_ms() + CLOCK_AHEAD_MS).unwrap_or(now)
}

fn device_delivery(inner: &Arc<Inner>, id: &str, msg_id: &str) -> Option<(Arc<Shelf>, u32)> {
    let alert: AlertId = msg_id.parse().ok()?;
    let shelf = inner.ledger.find(alert)?;
    let snapshot = inner.snapshot();
    let speaker = snapshot.speaker_by_id(id)?;
    let index = {
        let book = shelf.read();
        let recipient = book.recipient_of(RecipientKind::Speaker, speaker.key().0, Some(speaker.area()))?;
        book.deliveries_of(recipient).last()?
    };
    Some((shelf, index))
}

const fn news_word(news: &News) -> Option<&'static str> {
    match news {
        News::Accepted => Some("accepted"),
        News::Delivered => Some("delivered"),
        News::Played => Some("played"),
        News::Failed(_) | News::PartFailed(_) => Some("failed"),
        News::Reply(_) => Some("reply"),
        News::Online { .. } => None,
    }
}

/// A report as it may be kept: phone numbers masked.
fn masked(report: &Report) -> Report {
    let hide = |number: &str| number.parse::<PhoneNumber>().map_or_else(|_| "unreadable number".to_owned(), |phone| phone.to_string());
    let about = match &report.about {
        About::Phone(number) => About::Phone(hide(number)),
        About::ProviderRef { provider_ref, to } => About::ProviderRef { provider_ref: provider_ref.clone(), to: to.as_deref().map(hide) },
        other => other.clone(),
    };
    Report { about, news: report.news.clone(), at: report.at }
}
