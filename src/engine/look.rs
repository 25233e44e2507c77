//! Owns what people look at: alerts with their state, coverage with names, deliveries row by row, the list of calls, the report.
//! Refuses to know HTTP and permissions beyond masking. Invariant: reading changes nothing and holds a book's lock only to copy.

use std::{collections::HashMap, sync::Arc};

use serde::Serialize;

use super::{filed::Details, gateway::Gateway, sealed_words::SealedWords};
use crate::{
    alert::{self, AlertId},
    area::{AreaCode, AreaLevel},
    delivery::{
        book::{Book, Timeline},
        call::{Call, End},
        coverage::{self, Coverage, PeopleView, Progress, View},
        ledger::Shelf,
        plan::RecipientKind,
        slot::{Phase, Slot},
        timeliness::{self, Timeliness},
    },
    message::DeliveryId,
    registry::{AddressKind, EndpointKey, Snapshot, SpeakerKey, SubscriberKey, mask, role},
    time::Timestamp,
};

/// Rows that one page looks at: what fits nothing reads a county's million no more than once in ten pages.
const LOOKED_AT_MAX: u32 = 100_000;

/// `GET /v1/alerts/{id}`; the list shows the same without `alert`.
#[derive(Clone, Debug, Serialize)]
pub struct AlertView {
    pub id: AlertId,
    pub identifier: String,
    pub sender: String,
    pub sender_name: String,
    pub sent: Timestamp,
    pub status: alert::Status,
    #[serde(rename = "msgType")]
    pub msg_type: alert::MsgType,
    pub event: String,
    pub event_name: String,
    pub level: alert::Level,
    pub headline: String,
    pub effective: Timestamp,
    pub expires: Timestamp,
    pub state: &'static str,
    pub drill: bool,
    /// It says that what it refers to is over, whatever kind of message it calls itself.
    pub all_clear: bool,
    pub source: String,
    pub posted_by: String,
    /// Why a person must look at it before it goes out, beyond the rule of its source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// How long it has waited for a second person, or did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_wait_s: Option<u64>,
    pub decided_by: Option<String>,
    pub approved_by: Option<String>,
    pub cancelled_by: Option<String>,
    pub reason: Option<String>,
    /// The alerts of ours that this Update or Cancel changes or ends; `target` is the first of them.
    pub target: Option<AlertId>,
    pub targets: Vec<AlertId>,
    pub timeline: Timeline,
    pub progress: Progress,
    pub people: PeopleView,
    pub repeated: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<serde_json::Value>,
}

/// One delivery, as a row.
#[derive(Clone, Debug, Serialize)]
pub struct DeliveryRow {
    pub id: String,
    pub recipient: RecipientView,
    pub channel: String,
    pub route: String,
    pub account: Option<String>,
    /// The furthest it has come.
    pub state: &'static str,
    pub open: bool,
    pub attempts: u8,
    pub reason: Option<String>,
    pub due_at: Option<Timestamp>,
    pub accepted_at: Option<Timestamp>,
    pub delivered_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub played_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize)]
pub struct RecipientView {
    pub kind: &'static str,
    pub id: String,
    pub name: String,
    pub role: String,
    pub area: AreaCode,
    /// Masked, as a person's name is, unless whoever looks is on duty.
    pub phone: Option<String>,
}

/// Which deliveries to show.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub area: Option<AreaCode>,
    pub channel: Option<String>,
    pub state: Option<String>,
    pub role: Option<String>,
    /// First delivery index to look at: the cursor.
    pub from: u32,
    pub limit: usize,
    pub whole_phones: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct CallRow {
    pub recipient: RecipientView,
    pub state: &'static str,
    pub asked_at: Timestamp,
    pub due_at: Timestamp,
    /// Seconds left, negative when overdue; for the countdown of the page.
    pub left_s: i64,
    pub step: u8,
    pub on_behalf_of: Option<RecipientView>,
    pub went_on_to: Vec<RecipientView>,
    pub answered_at: Option<Timestamp>,
    pub choice: Option<crate::delivery::event::Choice>,
    /// What was said last, when that is something else.
    pub last_choice: Option<crate::delivery::event::Choice>,
    pub last_at: Option<Timestamp>,
    /// The last word is a call for help.
    pub wants_help: bool,
    pub via: Option<String>,
    pub by: Option<String>,
    pub note: Option<String>,
    pub tries: Vec<TryRow>,
}

#[derive(Clone, Debug, Serialize)]
pub struct TryRow {
    pub at: Timestamp,
    pub method: String,
    /// What was answered, where it is the person's last word; what found nobody has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<crate::delivery::event::Choice>,
    pub by: String,
    pub note: String,
}

/// The after-action report: everything an office files.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub as_of: Timestamp,
    pub alert: AlertView,
    pub coverage: Coverage,
    pub timeliness: Timeliness,
    pub calls: Vec<CallRow>,
    /// Why deliveries failed, and how many: the registry's list of work.
    pub failures: Vec<FailureCount>,
}

/// One configured account, as the page shows it.
#[derive(Clone, Debug, Serialize)]
pub struct AccountView {
    pub name: String,
    pub kind: &'static str,
    pub in_flight: u32,
    /// Why nothing is handed to it, and until when.
    pub trouble: Option<String>,
    pub parked_until: Option<Timestamp>,
    pub queued: usize,
    pub later: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct SpeakerState {
    pub id: String,
    pub area: AreaCode,
    pub online: Option<bool>,
    pub at: Option<Timestamp>,
    pub detail: serde_json::Value,
}

#[derive(Clone, Debug, Serialize)]
pub struct FailureCount {
    pub channel: String,
    pub reason: String,
    pub count: u32,
}

impl Gateway {
    pub fn view(&self, shelf: &Shelf, with_document: bool) -> AlertView {
        let book = shelf.read();
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let alert = &shelf.alert;
        let targets: Vec<AlertId> = book.accepted.targets.iter().filter_map(|&no| Some(self.ledger.get(no)?.id)).collect();
        AlertView {
            id: shelf.id,
            identifier: alert.identifier.clone(),
            sender: alert.sender.clone(),
            sender_name: alert.sender_name.clone(),
            sent: alert.sent,
            status: alert.status,
            msg_type: alert.msg_type,
            event: alert.event.to_string(),
            event_name: if alert.event_name.is_empty() { alert::event_name(&alert.event).to_owned() } else { alert.event_name.clone() },
            level: alert.level,
            headline: alert.headline.clone(),
            effective: alert.effective,
            expires: alert.expires,
            state: book.state.name(),
            drill: alert.status.is_drill(),
            all_clear: alert.is_all_clear(),
            source: book.accepted.source.clone(),
            posted_by: book.accepted.by.clone(),
            doubts: book.accepted.doubts.clone(),
            approval_wait_s: book.approval_wait(self.clock.now()).map(|wait| wait.as_secs()),
            decided_by: known(&book.decided_by),
            approved_by: book.accepted.decided.approved_by.clone(),
            cancelled_by: book.accepted.decided.cancelled_by.clone(),
            reason: known(&book.reason),
            target: targets.first().copied(),
            targets,
            timeline: book.timeline.clone(),
            progress: coverage::progress(&book),
            people: coverage::people(&book),
            repeated: book.repeated,
            alert: with_document.then(|| book.accepted.document.clone()),
        }
    }

    pub fn coverage(&self, details: &Details, area: Option<AreaCode>, by: Option<AreaLevel>) -> Coverage {
        let snapshot = self.snapshot();
        let online: HashMap<u32, bool> = self.devices.online();
        let name = |code: AreaCode| area_name(&snapshot, code);
        let view = View {
            as_of: self.clock.now(),
            area: area.unwrap_or(self.county),
            by,
            name: &name,
            // A speaker that never said anything and has not received it is off, as far as anybody can tell.
            offline: &|key, received| !online.get(&key).copied().unwrap_or(received),
        };
        coverage::coverage(&details.read(), &view)
    }

    /// Accounts with their health, and what waits on their routes.
    pub fn accounts(&self) -> Vec<AccountView> {
        let view = |account: &Arc<super::account::Account>| {
            let depths = self.routes.of_account(account).iter().map(|route| route.queue().depth()).collect::<Vec<_>>();
            AccountView {
                name: account.name().to_owned(),
                kind: account.channel.kind().name(),
                in_flight: account.in_flight(),
                trouble: account.trouble(),
                parked_until: account.parked_for().map(|rest| self.clock.now().plus(rest)),
                queued: depths.iter().map(|(ready, _)| ready).sum(),
                later: depths.iter().map(|(_, later)| later).sum(),
            }
        };
        self.routes.accounts().iter().map(view).collect()
    }

    /// What the loudspeakers of an area last said of themselves.
    pub fn speakers(&self, area: AreaCode) -> Vec<SpeakerState> {
        let snapshot = self.snapshot();
        let state = |position| {
            let speaker = snapshot.speaker_at(position);
            let known = self.devices.get(speaker.key().0);
            SpeakerState {
                id: speaker.id().to_owned(),
                area: speaker.area(),
                online: known.as_ref().map(|state| state.online),
                at: known.as_ref().map(|state| state.at),
                detail: known.map_or(serde_json::Value::Null, |state| state.detail),
            }
        };
        snapshot.speakers_in(area).map(state).collect()
    }

    /// Brings the gauges up to date; called when somebody reads them.
    pub fn measure(&self) {
        if let Some(free) = self.journal.free_bytes() {
            crate::telemetry::metrics::store_free(free);
        }
        for route in self.routes.iter() {
            let (ready, later) = route.queue().depth();
            crate::telemetry::metrics::queue(&route.word, ready, later);
        }
        for account in self.routes.accounts() {
            crate::telemetry::metrics::in_flight(account.name(), account.in_flight());
        }
        let waiting: usize =
            self.ledger.unfinished().iter().map(|shelf| shelf.read().calls.iter().filter(|call| call.is_open()).count()).sum();
        crate::telemetry::metrics::calls_waiting(u32::try_from(waiting).unwrap_or(u32::MAX));
    }

    pub fn timeliness(&self, details: &Details) -> Timeliness {
        timeliness::timeliness(&details.read())
    }

    /// Rows that fit, and where the next page begins; a page may hold fewer than asked for, also none, and go on.
    pub fn deliveries(&self, details: &Details, filter: &Filter) -> (Vec<DeliveryRow>, Option<u32>) {
        let snapshot = self.snapshot();
        let book = details.read();
        let mut rows = Vec::new();
        let end = u32::try_from(book.slots.len()).unwrap_or(u32::MAX);
        let looked_at = filter.from.saturating_add(LOOKED_AT_MAX).min(end);
        for index in filter.from..looked_at {
            if !fits(&book, index, filter) {
                continue;
            }
            if rows.len() == filter.limit {
                return (rows, Some(index));
            }
            rows.push(row(&book, &snapshot, index, filter.whole_phones));
        }
        (rows, (looked_at < end).then_some(looked_at))
    }

    pub fn calls(&self, details: &Details, area: Option<AreaCode>, whole_phones: bool) -> Vec<CallRow> {
        let snapshot = self.snapshot();
        let now = self.clock.now();
        let book = details.read();
        let wanted = |call: &&Call| area.is_none_or(|area| area.contains(book.area_of(call.recipient)));
        let mut rows: Vec<CallRow> =
            book.calls.iter().filter(wanted).map(|call| call_row(&book, &snapshot, call, now, whole_phones, &self.words)).collect();
        // Who has not answered stands first, the longest overdue at the top.
        // Before them who asks for help.
        rows.sort_by_key(|row| (!row.wants_help, row.answered_at.is_some(), row.state != "exhausted", row.due_at));
        rows
    }

    pub fn report(&self, shelf: &Shelf, details: &Details, whole_phones: bool) -> Report {
        Report {
            as_of: self.clock.now(),
            alert: self.view(shelf, true),
            coverage: self.coverage(details, None, None),
            timeliness: self.timeliness(details),
            calls: self.calls(details, None, whole_phones),
            failures: failures(&details.read()),
        }
    }
}

fn area_name(snapshot: &Snapshot, code: AreaCode) -> String {
    snapshot.areas().name(code).map_or_else(|| code.to_string(), str::to_owned)
}

fn fits(book: &Book, index: u32, filter: &Filter) -> bool {
    let slot = &book.slots[index as usize];
    let place = book.place_of(slot.recipient);
    let kind = &book.kinds[usize::from(book.route_of(index).kind)];
    let state = slot.furthest(place.kind == RecipientKind::Speaker).name();
    filter.area.is_none_or(|area| area.contains(book.area_of(slot.recipient)))
        && filter.channel.as_ref().is_none_or(|channel| channel == kind)
        && filter.state.as_ref().is_none_or(|wanted| wanted == state)
        && filter.role.as_ref().is_none_or(|role| role == book.role_of(slot.recipient))
}

/// Why it was put off or closed. What ends with its alert carries no word of its own: a million slots are closed by one event.
fn reason_of<'book>(book: &'book Book, slot: &Slot) -> &'book str {
    match (book.word(slot.word), slot.phase) {
        ("", Phase::Cancelled) => "alert-cancelled",
        ("", Phase::Suppressed) => "alert-superseded",
        ("", Phase::Expired) => "alert-expired",
        ("", Phase::Unproven) => "no-report",
        (word, _) => word,
    }
}

pub(super) fn row(book: &Book, snapshot: &Snapshot, index: u32, whole_phones: bool) -> DeliveryRow {
    let slot = &book.slots[index as usize];
    let is_device = book.place_of(slot.recipient).kind == RecipientKind::Speaker;
    let route = book.route_of(index);
    let known = |word: &str| (!word.is_empty()).then(|| word.to_owned());
    let crowned = book.time_of(book.crowned_at(index));
    DeliveryRow {
        id: DeliveryId { alert: book.accepted.alert, index }.to_string(),
        recipient: recipient_view(book, snapshot, slot.recipient, whole_phones),
        channel: book.kinds[usize::from(route.kind)].clone(),
        route: route.word.clone(),
        account: known(book.word(slot.account)),
        state: slot.furthest(is_device).name(),
        open: slot.phase.is_open(),
        attempts: slot.attempts(),
        reason: known(reason_of(book, slot)),
        due_at: book.time_of(slot.due()),
        accepted_at: book.time_of(slot.accepted),
        delivered_at: book.time_of(slot.delivered()),
        played_at: crowned.filter(|_| is_device),
        answered_at: crowned.filter(|_| !is_device),
    }
}

fn recipient_view(book: &Book, snapshot: &Snapshot, recipient: u32, whole_phones: bool) -> RecipientView {
    let place = book.place_of(recipient);
    let key = book.recipients[recipient as usize].key;
    let left = || (String::new(), String::new(), None);
    let (kind, (id, name, phone)) = match place.kind {
        RecipientKind::Person => {
            let person = snapshot.subscriber(SubscriberKey(key));
            let shown = person.map(|person| {
                let phone = person.phone().map(|phone| if whole_phones { phone.expose().to_owned() } else { phone.to_string() });
                (
                    person.id().to_owned(),
                    if whole_phones || role::is_institution(person.role()) { person.name().to_owned() } else { mask::name(person.name()) },
                    phone.or_else(|| person.address(AddressKind::Phone).map(|_| "***".into())),
                )
            });
            ("person", shown.unwrap_or_else(left))
        }
        RecipientKind::Speaker => {
            let speaker = snapshot.speaker(SpeakerKey(key));
            ("speaker", speaker.map_or_else(left, |speaker| (speaker.id().to_owned(), speaker.name().to_owned(), None)))
        }
        RecipientKind::Endpoint => {
            let endpoint = snapshot.endpoint(EndpointKey(key));
            ("endpoint", endpoint.map_or_else(left, |endpoint| (endpoint.id().to_owned(), endpoint.name().to_owned(), None)))
        }
    };
    let role = if place.kind == RecipientKind::Person { book.role_of(recipient).to_owned() } else { String::new() };
    RecipientView { kind, id, name, role, area: book.area_of(recipient), phone }
}

pub(super) fn call_row(book: &Book, snapshot: &Snapshot, call: &Call, now: Timestamp, whole_phones: bool, words: &SealedWords) -> CallRow {
    let person = |recipient: u32| recipient_view(book, snapshot, recipient, whole_phones);
    let answer = match &call.end {
        End::Answered(answer) => Some(answer),
        End::Open | End::Escalated { .. } | End::Exhausted { .. } | End::Expired { .. } => None,
    };
    let went_on_to = match &call.end {
        End::Escalated { to, .. } => to.iter().map(|&recipient| person(recipient)).collect(),
        End::Open | End::Answered(_) | End::Exhausted { .. } | End::Expired { .. } => Vec::new(),
    };
    let known = |text: &String| (!text.is_empty()).then(|| text.clone());
    let last = book.last_word(call.recipient);
    let changed = last.filter(|last| answer.is_some_and(|first| first.choice != last.choice));
    CallRow {
        recipient: person(call.recipient),
        state: call.state(),
        asked_at: call.asked,
        due_at: call.due,
        left_s: (call.due.as_ms() - now.as_ms()) / 1_000,
        step: call.step,
        on_behalf_of: call.on_behalf.map(person),
        went_on_to,
        answered_at: answer.map(|answer| answer.at),
        choice: answer.map(|answer| answer.choice),
        last_choice: changed.map(|last| last.choice),
        last_at: changed.and_then(|last| book.time_of(last.at)),
        wants_help: last.is_some_and(|last| last.choice == crate::delivery::event::Choice::Help),
        via: answer.map(|answer| answer.via.clone()),
        by: answer.and_then(|answer| known(&answer.by)),
        note: answer.and_then(|answer| known(&words.open(&answer.note))),
        tries: call
            .tries
            .iter()
            .map(|tried| TryRow {
                at: tried.at,
                method: tried.via.clone(),
                choice: last.filter(|last| answer.is_some() && book.time_of(last.at) == Some(tried.at)).map(|last| last.choice),
                by: tried.by.clone(),
                note: words.open(&tried.note),
            })
            .collect(),
    }
}

fn failures(book: &Book) -> Vec<FailureCount> {
    let mut counts: std::collections::BTreeMap<(u8, u8), u32> = std::collections::BTreeMap::new();
    for leg in &book.legs {
        let kind = book.routes[usize::from(leg.route)].kind;
        for slot in &book.slots[leg.first as usize..(leg.first + leg.count) as usize] {
            let is_bad = !slot.phase.is_open() && slot.word != 0 && !slot.is_reached();
            if is_bad {
                *counts.entry((kind, slot.word)).or_default() += 1;
            }
        }
    }
    let mut list: Vec<FailureCount> = counts
        .into_iter()
        .map(|((kind, word), count)| FailureCount {
            channel: book.kinds[usize::from(kind)].clone(),
            reason: book.word(word).to_owned(),
            count,
        })
        .collect();
    list.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    list
}
