//! Owns how a person's words come to the alert they mean: whose telephone it is, which alert of theirs, who answers by it, and what nobody
//! understood. Refuses to know providers' forms and what words mean. Invariant: a cry for help is durable and raised whichever way it came; what
//! is not understood is kept for somebody to read (I7, I18).

use std::sync::Arc;

use super::{
    gateway::Inner,
    receipts::{Gathering, credible},
    reply_words::{Meaning, meaning_of},
};
use crate::{
    alert::AlertNo,
    channel::{News, Report},
    delivery::{
        book::{Book, State},
        call::{Call, End},
        event::{Choice, Told},
        help::Asked,
        ledger::Shelf,
        plan::RecipientKind,
    },
    registry::{PhoneNumber, Snapshot, Subscriber, SubscriberKey, role},
    telemetry::metrics as meter,
    time::Timestamp,
};

/// Alerts that a reply by phone number may still mean.
const REPLY_ALERTS_MAX: usize = 64;
/// Of a reply; what is longer was not typed.
const WORDS_CHARS_MAX: usize = 500;

/// A person's answer, and the way that it came.
pub(super) struct Said<'a> {
    pub(super) choice: Choice,
    pub(super) via: &'a str,
    /// Who wrote it down, when it was by hand.
    pub(super) by: &'a str,
    /// What was said, in the person's words.
    pub(super) words: &'a str,
    pub(super) at: Timestamp,
}

/// Whom words are of: a recipient of an alert, somebody registered, or a telephone that nobody knows.
#[derive(Clone, Copy)]
pub(super) struct Speaker<'a> {
    pub(super) alert: Option<&'a Shelf>,
    pub(super) recipient: Option<u32>,
    pub(super) person: Option<SubscriberKey>,
    pub(super) phone: Option<&'a PhoneNumber>,
}

/// What is raised once the words are durable.
pub(super) struct Cry {
    about: String,
    text: String,
}

impl Cry {
    pub(super) fn raise(&self, inner: &Inner) {
        inner.alarms.raise("help-wanted", &self.about, &self.text);
    }
}

/// An alert of which a telephone was told.
struct Meant {
    shelf: Arc<Shelf>,
    /// Everybody of that telephone, whose answer is due first.
    recipients: Vec<u32>,
    is_out: bool,
    is_new: bool,
    in_force: bool,
}

impl Gathering {
    pub(super) fn reply(&mut self, inner: &Arc<Inner>, account: &str, number: &str, report: &Report, now: Timestamp) {
        let News::Reply(text) = &report.news else { return self.stray(inner, account, report, now) };
        let Ok(phone) = number.parse::<PhoneNumber>() else { return self.stray(inner, account, report, now) };
        let snapshot = inner.snapshot();
        let people: Vec<_> = snapshot.subscribers_by_phone(&phone).collect();
        let via = inner.routes.account(account).map_or("phone", |account| account.channel.kind().name());
        let meaning = meaning_of(text, &signatures(&snapshot, &people));
        let meant = meant(inner, &people, meaning, now);
        if let (Some(meant), Meaning::Answer(choice)) = (&meant, meaning) {
            let at = credible(report.at, &meant.shelf, now);
            let said = Said { choice, via, by: "", words: text, at };
            for (place, &recipient) in meant.recipients.iter().enumerate() {
                if !self.answer(inner, &meant.shelf, recipient, &said, place == 0) {
                    meter::receipt(account, "too-often");
                }
            }
            return;
        }
        if meaning == Meaning::OptOut {
            // A responsible person cannot opt out: somebody reads that they would like to.
            let may = people.iter().filter(|person| role::may_opt_out(person.role())).map(Subscriber::key).collect::<Vec<_>>();
            let all = !people.is_empty() && may.len() == people.len();
            self.opt_outs.extend(may);
            if all {
                return;
            }
        }
        if people.is_empty() && !inner.unmatched.may_keep(&inner.alarms, account) {
            meter::receipt(account, "stray");
            return;
        }
        let speaker = Speaker {
            alert: meant.as_ref().map(|meant| &*meant.shelf),
            recipient: meant.as_ref().and_then(|meant| meant.recipients.first().copied()),
            person: people.first().map(Subscriber::key),
            phone: Some(&phone),
        };
        let is_help = meaning == Meaning::Answer(Choice::Help);
        meter::receipt(account, if is_help { "help" } else { "not-understood" });
        self.note_words(inner, speaker, text, via, is_help, now);
    }

    /// Of one recipient of one alert. What says the same as before changes nothing and is not written again; `speaks` is for one of those who
    /// share a telephone, whose words are shown.
    /// Answers whether it was taken: whoever changes it all the time is held back, but for a new call for help.
    pub(super) fn answer(&mut self, inner: &Inner, shelf: &Shelf, recipient: u32, said: &Said<'_>, speaks: bool) -> bool {
        let (is_known, person) = {
            let book = shelf.read();
            let Some(found) = book.recipients.get(recipient as usize) else { return true };
            let is_same = book.last_word(recipient).is_some_and(|last| last.choice == said.choice);
            // What a person on duty writes down is kept whatever it says.
            let is_heard = book.call_of(recipient).is_none_or(|call| matches!(call.end, End::Answered(_)));
            (is_same && is_heard && said.by.is_empty(), SubscriberKey(found.key))
        };
        meter::answer(said.via);
        let asks_anew = said.choice == Choice::Help && speaks && !(is_known && said.words.is_empty());
        let always = said.choice == Choice::Help && !is_known || !said.by.is_empty();
        if is_known && !asks_anew {
            return true;
        }
        if !always && !inner.answer_pace.may_change(shelf.no, recipient) {
            return false;
        }
        self.changed.push((shelf.no, recipient));
        if !is_known {
            let (via, by, note) = (said.via.to_owned(), said.by.to_owned(), said.words.chars().take(WORDS_CHARS_MAX).collect());
            self.told.push(Told::Answered { alert: shelf.no, recipient, at: said.at, choice: said.choice, via, by, note });
        }
        if asks_anew {
            let speaker = Speaker { alert: Some(shelf), recipient: Some(recipient), person: Some(person), phone: None };
            self.note_words(inner, speaker, said.words, said.via, true, said.at);
        }
        true
    }

    /// Words for somebody to read, and to act on where they ask for help.
    pub(super) fn note_words(&mut self, inner: &Inner, speaker: Speaker<'_>, words: &str, via: &str, help: bool, at: Timestamp) {
        let snapshot = inner.snapshot();
        let alert = speaker.alert.map(|shelf| shelf.no);
        let person = speaker.person.map(|key| key.0);
        let phone =
            if person.is_none() { speaker.phone.map_or_else(String::new, |phone| phone.expose().to_owned()) } else { String::new() };
        let id = self.entry_of(inner, alert, person, &phone).unwrap_or_else(|| inner.early_id(at));
        let words: String = words.chars().filter(|letter| !letter.is_control()).take(WORDS_CHARS_MAX).collect();
        if help {
            self.cries.push(cry(&snapshot, speaker, &words, via));
        }
        let (recipient, via) = (speaker.recipient, via.to_owned());
        self.told.push(Told::HelpAsked(Asked { id, at, alert, recipient, person, phone, words, via, help }));
    }

    /// The entry of this person and alert that nobody has done with, here or in the list.
    fn entry_of(&self, inner: &Inner, alert: Option<AlertNo>, person: Option<u32>, phone: &str) -> Option<u64> {
        let here = self.told.iter().find_map(|told| match told {
            Told::HelpAsked(asked) if asked.alert == alert && asked.person == person && asked.phone == phone => Some(asked.id),
            _ => None,
        });
        let is_it = |entry: &&crate::delivery::help::Entry| {
            !entry.is_done() && entry.alert == alert && entry.person == person && inner.words.open(&entry.phone) == phone
        };
        here.or_else(|| inner.ledger.help().newest_first().find(is_it).map(|entry| entry.id))
    }
}

/// What duty is told at once.
fn cry(snapshot: &Snapshot, speaker: Speaker<'_>, words: &str, via: &str) -> Cry {
    let person = speaker.person.and_then(|key| snapshot.subscriber(key));
    let area = person.as_ref().map(Subscriber::area);
    let village = area.map(|area| snapshot.areas().name(area).map_or_else(|| area.to_string(), str::to_owned)).unwrap_or_default();
    let name = person.as_ref().map_or("未登记的电话", |person| person.name());
    let phone = person.as_ref().and_then(Subscriber::phone).or_else(|| speaker.phone.cloned());
    // Masked: who may see it whole finds it in the list of help.
    let phone = phone.map_or_else(String::new, |phone| phone.to_string());
    let drill = if speaker.alert.is_some_and(|shelf| shelf.alert.status.is_drill()) { "【演练】" } else { "" };
    let headline = speaker.alert.map_or("", |shelf| &*shelf.alert.headline);
    let alert = speaker.alert.map(|shelf| shelf.id.to_string()).unwrap_or_default();
    tracing::error!(alert, name, village, phone, via, "somebody asks for help: call back and send somebody; GET /v1/help lists who");
    let about = if name.is_empty() || person.is_none() { phone.clone() } else { format!("{village}{name}") };
    Cry { about, text: format!("{drill}{village} {name} {phone}：{words}（{headline}）") }
}

/// Names and villages that people sign with.
fn signatures<'s>(snapshot: &'s Snapshot, people: &[Subscriber<'s>]) -> Vec<&'s str> {
    let mut own: Vec<&str> =
        people.iter().flat_map(|person| [snapshot.areas().name(person.area()).unwrap_or_default(), person.name()]).collect();
    own.retain(|word| word.chars().count() > 1);
    own
}

/// The alert that a telephone means: of those in force that it was told of the newest that still wants an answer, and for a cry for help the
/// newest. Nobody replies to a message that has not come: one that is only tried is meant when there is no other.
fn meant(inner: &Inner, people: &[Subscriber<'_>], meaning: Meaning, now: Timestamp) -> Option<Meant> {
    if people.is_empty() {
        return None;
    }
    let newest = inner.ledger.whole_newest_first().into_iter().take(REPLY_ALERTS_MAX);
    let mut told: Vec<Meant> = newest.filter_map(|shelf| told_of(&shelf, people, now)).collect();
    let wants = |one: &Meant| meaning == Meaning::Answer(Choice::Help) || one.is_new;
    let best = (0..told.len()).min_by_key(|&place| {
        let one = &told[place];
        // The newest of equals comes first.
        (!one.in_force, !wants(one), !one.is_out, place)
    })?;
    Some(told.swap_remove(best))
}

fn told_of(shelf: &Arc<Shelf>, people: &[Subscriber<'_>], now: Timestamp) -> Option<Meant> {
    let book = shelf.read();
    let find = |person: &Subscriber<'_>| book.recipient_of(RecipientKind::Person, person.key().0, Some(person.area()));
    let is_due = |recipient: u32| book.call_of(recipient).is_some_and(Call::is_open);
    let mut recipients: Vec<u32> = people.iter().filter_map(find).collect();
    if !recipients.iter().any(|&recipient| book.was_told(recipient)) {
        return None;
    }
    recipients.retain(|&recipient| is_due(recipient) || book.was_told(recipient));
    recipients.sort_unstable_by_key(|&recipient| (!is_due(recipient), recipient));
    recipients.dedup();
    let is_out = |recipient: &u32| book.deliveries_of(*recipient).any(|index| Book::is_out(&book.slots[index as usize]));
    let is_over = book.state.is_over() && book.state != State::Completed;
    let meant = Meant {
        is_out: recipients.iter().any(is_out),
        // Who has answered for himself may be asked in another's place since.
        is_new: recipients.iter().any(|&recipient| is_due(recipient) || !book.recipients[recipient as usize].answered),
        in_force: !is_over && !shelf.alert.is_all_clear() && shelf.alert.expires > now,
        recipients,
        shelf: Arc::clone(shelf),
    };
    drop(book);
    Some(meant)
}
