//! Owns the dice of far ends: what becomes of a message, when the answer comes, and what is reported of it later, in which order.

use std::{sync::Arc, time::Duration};

use lastmile::{
    channel::{About, Class, Concerns, Failure, News, Proof, Report},
    delivery::event::Choice,
    message::Outgoing,
    time::Timestamp,
};
use rand::{RngExt as _, rngs::StdRng};

use crate::{
    far_end::{Naming, Profile, between},
    letters::What,
    world::World,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Anything may happen.
    Rough,
    /// Nobody answers the door.
    Down,
    /// Takes or does not take, and never answers.
    Hanging,
    /// Our password is wrong, as far as it is concerned.
    Wrong,
    /// Too many requests.
    Busy,
}

/// What becomes of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Taken,
    /// Taken, and the answer was lost.
    TakenUnclear,
    LostUnclear,
    Retry,
    Throttled,
    Reject,
    OptedOut,
    Misconfigured,
}

/// What becomes of one `send`.
pub(crate) struct Course {
    pub(crate) fates: Vec<Fate>,
    pub(crate) before: Duration,
    pub(crate) after: Duration,
    pub(crate) hangs: bool,
    /// So many verdicts are given; the rest is forgotten.
    pub(crate) answered: usize,
}

impl Fate {
    pub(crate) const fn is_taken(self) -> bool {
        matches!(self, Self::Taken | Self::TakenUnclear)
    }

    pub(crate) fn failure(self) -> Failure {
        let (class, concerns, reason, hint_s) = match self {
            Self::Taken | Self::TakenUnclear | Self::LostUnclear => (Class::Unknown, Concerns::Provider, "no-answer", None),
            Self::Retry => (Class::Retry, Concerns::Provider, "connect", None),
            Self::Throttled => (Class::Throttled, Concerns::Provider, "too-many", Some(2)),
            Self::Reject => (Class::Reject, Concerns::Recipient, "no-such-number", None),
            Self::OptedOut => (Class::OptedOut, Concerns::Recipient, "opted-out-there", None),
            Self::Misconfigured => (Class::Misconfigured, Concerns::Account, "bad-password", None),
        };
        Failure { retry_after: hint_s.map(Duration::from_secs), ..Failure::new(class, concerns, reason, "") }
    }
}

pub(crate) fn draw(dice: &mut StdRng, mood: Mood, messages: usize) -> Course {
    let fates: Vec<Fate> = (0..messages).map(|_| fate(dice, mood)).collect();
    let (before, after) = match mood {
        Mood::Well => (between(dice, 0, 20), between(dice, 0, 20)),
        _ => (between(dice, 0, 300), between(dice, 0, 700)),
    };
    let hangs = mood == Mood::Hanging || (mood == Mood::Rough && dice.random_bool(0.02));
    let is_cut = mood == Mood::Rough && dice.random_bool(0.02);
    let answered = if is_cut { dice.random_range(0..messages) } else { messages };
    Course { fates, before, after, hangs, answered }
}

fn fate(dice: &mut StdRng, mood: Mood) -> Fate {
    match mood {
        Mood::Well => Fate::Taken,
        Mood::Down => Fate::Retry,
        Mood::Wrong => Fate::Misconfigured,
        Mood::Busy => Fate::Throttled,
        Mood::Hanging if dice.random_bool(0.5) => Fate::TakenUnclear,
        Mood::Hanging => Fate::LostUnclear,
        Mood::Rough => match dice.random_range(0..100) {
            0..76 => Fate::Taken,
            76..82 => Fate::TakenUnclear,
            82..86 => Fate::LostUnclear,
            86..92 => Fate::Retry,
            92..96 => Fate::Throttled,
            96..98 => Fate::Reject,
            98 => Fate::OptedOut,
            _ => Fate::Misconfigured,
        },
    }
}

/// What is reported and answered of a message that was taken, and after what time.
pub(crate) fn news(
    dice: &mut StdRng,
    mood: Mood,
    profile: &Profile,
    message: &Outgoing,
    own_id: &str,
    world: &Arc<World>,
) -> Vec<(Duration, What)> {
    let mut out = Vec::new();
    if let Proof::Report { within } = profile.proof {
        for (after, news) in story(dice, mood, within) {
            let news = if profile.naming == Naming::Device || news != News::Played { news } else { News::Delivered };
            let report = Report { about: about(profile, message, own_id), news, at: told_time(dice, world) };
            let by_line = profile.naming == Naming::Device;
            out.push((after, if by_line { What::Line(report) } else { What::Callback(report) }));
        }
    }
    out.extend(reply(dice, profile, message));
    out
}

fn about(profile: &Profile, message: &Outgoing, own_id: &str) -> About {
    match profile.naming {
        Naming::Ours => About::Delivery(message.id),
        Naming::Its => About::ProviderRef { provider_ref: own_id.to_owned(), to: None },
        Naming::Device => About::Device { id: message.to.clone(), msg_id: message.facts.alert.to_string() },
    }
}

/// By the far end's own clock, which may be wrong, or not said.
fn told_time(dice: &mut StdRng, world: &World) -> Option<Timestamp> {
    let now = lastmile::time::Clock::now(&*world.clock);
    match dice.random_range(0..10) {
        0..4 => None,
        4..8 => Some(now),
        8 => Some(now.minus(between(dice, 1, 600_000))),
        _ => Some(now.plus(between(dice, 1, 600_000))),
    }
}

/// Reports in the order in which they come; zero comes before the send has returned.
fn story(dice: &mut StdRng, mood: Mood, within: Duration) -> Vec<(Duration, News)> {
    let soon = between(dice, 20, 3_000);
    if mood == Mood::Well {
        return vec![(soon, News::Delivered), (soon + between(dice, 0, 900), News::Played)];
    }
    let failed = |class| News::Failed(Failure::new(class, Concerns::Recipient, "later", ""));
    let later = soon + between(dice, 0, 4_000);
    match dice.random_range(0..14) {
        0..4 => vec![(soon, News::Delivered)],
        4 => vec![(Duration::ZERO, News::Delivered)],
        5 => vec![(soon, News::Delivered), (later, News::Delivered)],
        6 => vec![(soon, News::Delivered), (later, News::Accepted)],
        7 => vec![(soon, News::Delivered), (later, failed(Class::Reject))],
        8 => vec![(soon, failed(Class::Retry)), (later, News::Delivered)],
        9 => vec![(within + between(dice, 0, 9_000), News::Delivered)],
        10 => vec![(soon, failed(Class::Reject))],
        11 => vec![(soon, News::Played), (later, News::Delivered)],
        12 => vec![(Duration::ZERO, News::Accepted), (soon, News::Delivered), (later, News::Played)],
        _ => Vec::new(),
    }
}

/// People who are asked to answer often do, by the link or by a reply; households want no more now and then.
fn reply(dice: &mut StdRng, profile: &Profile, message: &Outgoing) -> Option<(Duration, What)> {
    let after = between(dice, 500, 60_000);
    let by_phone = |text: &str| Report { about: About::Phone(message.to.clone()), news: News::Reply(text.into()), at: None };
    if profile.naming == Naming::Ours && dice.random_bool(0.01) {
        return Some((after, What::Callback(by_phone("TD"))));
    }
    let url = message.answer_url.as_ref()?;
    match dice.random_range(0..10) {
        0..3 => {
            let token = url.rsplit('/').next().expect("a link ends with its token").to_owned();
            let choice = if dice.random_bool(0.2) { Choice::Help } else { Choice::Received };
            Some((after, What::Link { token, choice }))
        }
        3 if profile.naming == Naming::Ours => Some((after, What::Callback(by_phone("1")))),
        _ => None,
    }
}
