//! Owns the joint between plan, registry and message room: a delivery becomes a sealed message, or the reason why it cannot.
//! Refuses to know far ends. Invariant: address and name are read when the message is made, so that a corrected number is used by the next try.

use std::{collections::HashMap, sync::Arc};

use super::{
    account::Account,
    gateway::Inner,
    place,
    planner::address_kind,
    route::Route,
    send,
    told_before::{Key, WordsBefore},
};
use crate::{
    alert::{Alert, AlertNo, MsgType},
    area::AreaCode,
    channel::Reach,
    delivery::{
        book::Book,
        event::FactKind,
        ledger::Shelf,
        plan::{Occasion, RecipientKind},
    },
    message::{
        DeliveryId, Facts, Form, Outgoing,
        render::{self, Ask, Ended, Reader, Rendered, Shelter},
    },
    policy::Rule,
    registry::{EndpointKey, Snapshot, SpeakerKey, Subscriber, SubscriberKey},
};

pub(crate) fn facts(inner: &Inner, shelf: &Shelf, rule: &Rule) -> Facts {
    let alert = &shelf.alert;
    let targets = shelf.read().accepted.targets.clone();
    let replaces = targets.into_iter().filter_map(|no| Some(inner.ledger.get(no)?.id)).collect();
    Facts {
        alert: shelf.id,
        status: alert.status,
        msg_type: if alert.is_all_clear() { MsgType::Cancel } else { alert.msg_type },
        replaces,
        event: alert.event.clone(),
        event_name: render::event_in_chinese(alert).into_owned(),
        level: alert.level,
        headline: alert.headline.clone(),
        issuer: if alert.sender_name.is_empty() { alert.sender.clone() } else { alert.sender_name.clone() },
        effective: alert.effective,
        expires: alert.expires,
        repeat: rule.repeat_speaker.max(1),
    }
}

/// Texts that several readers share: everyone of one village and role without a shelter or a link of their own.
type Shared = HashMap<(AreaCode, String, Occasion, String, Vec<AlertNo>), Rendered>;

/// Messages of some deliveries of one alert, in order.
pub(crate) fn messages(
    inner: &Inner,
    account: &Account,
    route: &Route,
    no: AlertNo,
    indices: &[u32],
) -> Vec<(u32, Result<Outgoing, send::Ended>)> {
    let Some(shelf) = inner.ledger.get(no) else { return Vec::new() };
    let running = inner.running(&shelf);
    let snapshot = inner.snapshot();
    let book = shelf.read();
    let whole = whole_area(&book, &snapshot, route, indices);
    let maker = Maker {
        inner,
        shelf: &shelf,
        book: &book,
        snapshot: &snapshot,
        route,
        form: account.channel.form(),
        facts: &running.facts,
        meant: running.meant.get_or_init(|| place::meant(&shelf.alert.areas, &snapshot)),
        words: running.words.get(),
        whole,
    };
    let mut shared = Shared::new();
    indices.iter().map(|&index| (index, maker.message(index, &mut shared))).collect()
}

/// The area whose every device is among these, each for the first time: one area-wide send then reaches them all, and nobody else.
fn whole_area(book: &Book, snapshot: &Snapshot, route: &Route, indices: &[u32]) -> Option<AreaCode> {
    if route.reach != Reach::Speakers {
        return None;
    }
    let first = &book.slots[*indices.first()? as usize];
    let area = book.area_of(first.recipient);
    let all = snapshot.speakers_in(area).len();
    let fresh = indices.iter().all(|&index| {
        let slot = &book.slots[index as usize];
        slot.attempts() == 0 && book.area_of(slot.recipient) == area
    });
    (fresh && indices.len() == all).then_some(area)
}

fn ended_words(alert: &Alert) -> Ended {
    let english = alert.translations.iter().find(|other| other.language.starts_with("en"));
    Ended {
        event: render::event_in_chinese(alert).into_owned(),
        event_in_english: english.map_or_else(String::new, |other| other.event.clone()),
        level: alert.level,
    }
}

struct Maker<'a> {
    inner: &'a Inner,
    shelf: &'a Shelf,
    book: &'a Book,
    snapshot: &'a Snapshot,
    route: &'a Route,
    form: Form,
    facts: &'a Arc<Facts>,
    meant: &'a [AreaCode],
    words: Option<&'a WordsBefore>,
    whole: Option<AreaCode>,
}

impl Maker<'_> {
    fn message(&self, index: u32, shared: &mut Shared) -> Result<Outgoing, send::Ended> {
        let slot = &self.book.slots[index as usize];
        let place = self.book.place_of(slot.recipient);
        let key = self.book.recipients[slot.recipient as usize].key;
        let gone = || send::Ended::Closed(FactKind::Failed, "left-the-registry");
        let occasion = self.book.leg_of(index).occasion;
        let area = self.book.area_of(slot.recipient);
        let (to, rendered, answer_url) = match (self.route.reach, place.kind) {
            (Reach::People(word), RecipientKind::Person) => {
                let person = self.snapshot.subscriber(SubscriberKey(key)).ok_or_else(gone)?;
                if person.opted_out() {
                    return Err(send::Ended::Closed(FactKind::Suppressed, "opted-out"));
                }
                let to = address_kind(word)
                    .and_then(|kind| person.address(kind))
                    .ok_or(send::Ended::Closed(FactKind::Failed, "address-removed"))?;
                let (rendered, url) = self.for_person(&person, slot.recipient, occasion, shared);
                (to.to_owned(), rendered, url)
            }
            (Reach::Speakers, RecipientKind::Speaker) => {
                let speaker = self.snapshot.speaker(SpeakerKey(key)).ok_or_else(gone)?;
                (speaker.id().to_owned(), self.for_area(area, occasion, (place.kind, key), shared), None)
            }
            (Reach::Endpoints(_), RecipientKind::Endpoint) => {
                let endpoint = self.snapshot.endpoint(EndpointKey(key)).ok_or_else(gone)?;
                (endpoint.address().to_owned(), self.for_area(area, occasion, (place.kind, key), shared), None)
            }
            _ => return Err(send::Ended::Closed(FactKind::Failed, "route-does-not-fit")),
        };
        Ok(Outgoing {
            id: DeliveryId { alert: self.shelf.no, index },
            to,
            area,
            whole_area: self.whole,
            subject: rendered.subject,
            text: rendered.text,
            answer_url,
            facts: Arc::clone(self.facts),
            attempt: u16::from(slot.attempts()) + 1,
        })
    }

    fn for_person(&self, person: &Subscriber<'_>, recipient: u32, occasion: Occasion, shared: &mut Shared) -> (Rendered, Option<String>) {
        let call = self.book.call_of(recipient).filter(|call| call.is_open());
        let url = call.and_then(|_| self.answer_url(recipient));
        let shelter = person.hazard_point().map(|point| Shelter {
            hazard_point: point.name(),
            alarm_signal: point.alarm(),
            route: point.route(),
            place: point.shelter(),
        });
        let is_shared = shelter.is_none() && call.is_none() && occasion != Occasion::OnBehalf;
        let before = self.words_before(RecipientKind::Person, person.key().0, occasion);
        let cache_key = (person.area(), person.role().to_owned(), occasion, person.language().to_owned(), before.to_vec());
        if is_shared && let Some(known) = shared.get(&cache_key) {
            return (known.clone(), None);
        }
        let area_name = self.area_name(person.area());
        let reader = Reader {
            name: person.name(),
            role: person.role(),
            area_name: &area_name,
            language: person.language(),
            shelter,
            answer: call.map(|call| Ask { url: url.as_deref(), due: call.due }),
        };
        let rendered = self.render(&reader, &self.said(occasion, recipient, before));
        if is_shared {
            shared.insert(cache_key, rendered.clone());
        }
        (rendered, url)
    }

    fn for_area(&self, area: AreaCode, occasion: Occasion, (kind, key): Key, shared: &mut Shared) -> Rendered {
        let before = self.words_before(kind, key, occasion);
        let cache_key = (area, String::new(), occasion, String::new(), before.to_vec());
        if let Some(known) = shared.get(&cache_key) {
            return known.clone();
        }
        let area_name = self.area_name(area);
        let reader = Reader { name: "", role: "", area_name: &area_name, language: "zh-CN", shelter: None, answer: None };
        let rendered = self.render(&reader, &self.said(occasion, u32::MAX, before));
        shared.insert(cache_key, rendered.clone());
        rendered
    }

    fn render(&self, reader: &Reader<'_>, occasion: &render::Occasion) -> Rendered {
        let own_text = self.shelf.alert.texts.get(self.route.kind.name()).map(String::as_str);
        render::render(&self.shelf.alert, reader, occasion, &self.form, own_text)
    }

    /// What the message room needs to say about this occasion.
    fn said(&self, occasion: Occasion, recipient: u32, before: &[AlertNo]) -> render::Occasion {
        match occasion {
            Occasion::Warning => render::Occasion::Warning,
            Occasion::Change => {
                let levels = before.iter().filter_map(|&no| self.inner.ledger.get(no)).map(|earlier| earlier.alert.level);
                render::Occasion::Change { before: levels.min() }
            }
            Occasion::Gone => render::Occasion::Gone { ended: self.ended(before) },
            Occasion::AllClear => render::Occasion::AllClear { ended: self.ended(before) },
            Occasion::OnBehalf => {
                let silent = self.book.call_of(recipient).and_then(|call| call.on_behalf);
                let person = silent.map(|silent| {
                    let key = SubscriberKey(self.book.recipients[silent as usize].key);
                    let name = self.snapshot.subscriber(key).map_or_else(String::new, |person| person.name().to_owned());
                    (name, place::full(self.book.area_of(silent), self.snapshot.areas()))
                });
                let (silent_person, their_area) = person.unwrap_or_default();
                render::Occasion::OnBehalf { silent_person, their_area }
            }
        }
    }

    /// The alerts whose words this reader had before, where the occasion speaks of them; those that are changed or ended where nothing
    /// else is known.
    fn words_before(&self, kind: RecipientKind, key: u32, occasion: Occasion) -> &[AlertNo] {
        if matches!(occasion, Occasion::Warning | Occasion::OnBehalf) {
            return &[];
        }
        let known = self.words.map_or(&[][..], |words| words.of(kind, key));
        if known.is_empty() { &self.book.accepted.targets } else { known }
    }

    fn ended(&self, before: &[AlertNo]) -> Vec<Ended> {
        let alerts: Vec<Arc<Shelf>> = before.iter().filter_map(|&no| self.inner.ledger.get(no)).collect();
        let mut ended: Vec<Ended> = Vec::new();
        for one in alerts.iter().filter(|shelf| !shelf.alert.is_all_clear()).map(|shelf| ended_words(&shelf.alert)) {
            if !ended.contains(&one) {
                ended.push(one);
            }
        }
        ended.sort_by_key(|one| one.level);
        ended
    }

    fn answer_url(&self, recipient: u32) -> Option<String> {
        let token = self.inner.tokens.issue(self.shelf.no, recipient)?;
        Some(format!("{}/a/{token}", self.inner.public_url.trim_end_matches('/')))
    }

    fn area_name(&self, area: AreaCode) -> String {
        place::told(self.meant, area, self.snapshot.areas())
    }
}
