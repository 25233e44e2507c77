//! Owns what is to happen in a run and when: a list of steps and the ends of lives, all from the seed.

use std::time::Duration;

use lastmile::{
    channel::{Batching, Common, Kind, Proof, Reach},
    message::Form,
    time::Timestamp,
};
use rand::{RngExt as _, rngs::StdRng};

use crate::{
    county::{PLACES, SOURCES},
    far_end::{Naming, Profile},
    fate::Mood,
    posts::{Decision, Wish},
    world::ROOMY,
};

/// What happens in the world at one moment; numbers of posts are taken modulo those that there are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Post(Wish),
    Change {
        of: usize,
        update: bool,
        wish: Wish,
    },
    /// An Update or Cancel that comes this long before what it refers to.
    Early {
        wish: Wish,
        update: bool,
        ahead_ms: u64,
    },
    /// Posts the same document once more.
    Again {
        of: usize,
    },
    Decide {
        of: usize,
        decision: Decision,
    },
    Mood {
        account: usize,
        mood: Mood,
    },
    Disk {
        free: u64,
    },
    Jump {
        ms: i64,
    },
}

/// How a life of the gateway ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    CrashAfter(Duration),
    /// When so many messages more were handed to far ends.
    CrashAtMessage(usize),
    /// When so many commits more were durable.
    CrashAtCommit(u64),
    StopAfter(Duration),
}

pub(crate) struct Script {
    pub(crate) start: Timestamp,
    pub(crate) steps: Vec<(u64, Step)>,
    pub(crate) endings: Vec<Ending>,
    pub(crate) accounts: Vec<(Profile, Common)>,
    pub(crate) linger: Duration,
    pub(crate) checkpoint_after_bytes: u64,
}

/// Half of the reserve: new work is refused, outcomes are kept.
const NEARLY_FULL: u64 = 48 << 20;
/// Nothing is kept, and the store can just be opened.
const FULL: u64 = 20 << 20;
const NOON: &str = "2026-07-23T12:00:00+08:00";
const STEPS_MS: u64 = 150_000;
const LEVELS: [&str; 4] = ["red", "orange", "yellow", "blue"];

impl Script {
    /// Whether nothing in it stops the gateway or fills its disk.
    pub(crate) fn is_quiet(&self) -> bool {
        self.endings.is_empty() && !self.steps.iter().any(|(_, step)| matches!(step, Step::Disk { .. }))
    }

    /// Far ends that do as they should, and so many steps.
    pub(crate) fn calm(dice: &mut StdRng, steps: Vec<(u64, Step)>) -> Self {
        let mut all: Vec<(u64, Step)> = (0..accounts(dice).len()).map(|account| (0, Step::Mood { account, mood: Mood::Well })).collect();
        all.extend(steps);
        all.sort_by_key(|&(at_ms, _)| at_ms);
        Self { steps: all, endings: Vec::new(), start: NOON.parse().expect("a time"), ..Self::draw(dice) }
    }

    pub(crate) fn draw(dice: &mut StdRng) -> Self {
        let accounts = accounts(dice);
        let count = dice.random_range(8..22);
        let mut steps: Vec<(u64, Step)> = Vec::new();
        for _ in 0..count {
            let at_ms = dice.random_range(0..STEPS_MS);
            one(dice, accounts.len(), at_ms, &mut steps);
        }
        // Something to begin with.
        steps.push((dice.random_range(0..2_000), Step::Post(wish(dice))));
        steps.sort_by_key(|&(at_ms, _)| at_ms);
        let endings = (0..dice.random_range(0..5)).map(|_| ending(dice)).collect();
        // Some runs go over the end of a month.
        let until_midnight = Duration::from_secs(dice.random_range(5..120));
        let month_end: Timestamp = "2026-07-31T23:59:59+00:00".parse().expect("a time");
        let noon: Timestamp = NOON.parse().expect("a time");
        let start = if dice.random_bool(0.1) { month_end.minus(until_midnight) } else { noon };
        let linger = if dice.random_bool(0.4) { Duration::ZERO } else { Duration::from_millis(dice.random_range(1..30)) };
        Self { start, steps, endings, accounts, linger, checkpoint_after_bytes: dice.random_range(2_000..40_000) }
    }
}

fn ending(dice: &mut StdRng) -> Ending {
    match dice.random_range(0..10) {
        0..3 => Ending::CrashAfter(Duration::from_millis(dice.random_range(0..90_000))),
        3..6 => Ending::CrashAtMessage(dice.random_range(1..80)),
        6..9 => Ending::CrashAtCommit(dice.random_range(1..150)),
        _ => Ending::StopAfter(Duration::from_millis(dice.random_range(0..60_000))),
    }
}

fn one(dice: &mut StdRng, accounts: usize, at_ms: u64, steps: &mut Vec<(u64, Step)>) {
    let of = dice.random_range(0..1_000);
    let later = |dice: &mut StdRng, most: u64| at_ms + dice.random_range(500..most);
    match dice.random_range(0..25) {
        0..7 => steps.push((at_ms, Step::Post(wish(dice)))),
        7..9 => steps.push((at_ms, Step::Change { of, update: true, wish: wish(dice) })),
        9..11 => steps.push((at_ms, Step::Change { of, update: false, wish: wish(dice) })),
        11 => steps.push((at_ms, Step::Again { of })),
        12..15 => steps.push((at_ms, Step::Decide { of, decision: Decision::Approve })),
        15 => steps.push((at_ms, Step::Decide { of, decision: Decision::Reject })),
        16 => steps.push((at_ms, Step::Decide { of, decision: Decision::Cancel })),
        17 => steps.push((at_ms, Step::Decide { of, decision: Decision::ByHand { answered: dice.random_bool(0.7) } })),
        18..21 => {
            let account = dice.random_range(0..accounts);
            let moods = [Mood::Down, Mood::Hanging, Mood::Wrong, Mood::Busy, Mood::Well];
            steps.push((at_ms, Step::Mood { account, mood: moods[dice.random_range(0..moods.len())] }));
            steps.push((later(dice, 60_000), Step::Mood { account, mood: Mood::Rough }));
        }
        21 => {
            let free = if dice.random_bool(0.5) { NEARLY_FULL } else { FULL };
            steps.push((at_ms, Step::Disk { free }));
            steps.push((later(dice, 30_000), Step::Disk { free: ROOMY }));
        }
        22 => steps.push((at_ms, Step::Jump { ms: dice.random_range(1_000..400_000) })),
        23 => steps.push((at_ms, Step::Early { wish: wish(dice), update: dice.random_bool(0.6), ahead_ms: dice.random_range(1..9_000) })),
        _ => steps.push((at_ms, Step::Jump { ms: -dice.random_range(1_000..200_000) })),
    }
}

fn wish(dice: &mut StdRng) -> Wish {
    Wish {
        level: LEVELS[dice.random_range(0..LEVELS.len())],
        place: dice.random_range(0..PLACES.len()),
        lasts_s: dice.random_range(20..400),
        drill: dice.random_bool(0.15),
        source: if dice.random_bool(0.7) { 0 } else { dice.random_range(0..SOURCES.len()) },
    }
}

/// Two accounts for one route, one that takes many of one text, devices that go by the village, and one that never reports.
fn accounts(dice: &mut StdRng) -> Vec<(Profile, Common)> {
    let short = Form::Short { one_part: 70, part: 67, parts_max: 4, signature: "【北川应急】".into(), replies: false };
    let people = |name, naming, within_s| Profile {
        name,
        kind: Kind::Sms,
        reaches: vec![Reach::People("phone")],
        proof: Proof::Report { within: Duration::from_secs(within_s) },
        batching: Batching::One,
        form: short.clone(),
        naming,
    };
    let mail = Profile {
        kind: Kind::Email,
        reaches: vec![Reach::People("mail")],
        proof: Proof::AcceptedIsDelivered,
        batching: Batching::SameText { max: 5 },
        form: Form::Letter,
        ..people("mail", Naming::Ours, 1)
    };
    let horns = Profile {
        kind: Kind::Speaker,
        reaches: vec![Reach::Speakers],
        batching: Batching::WholeArea { max: 50 },
        form: Form::Speech { units_max: 500 },
        ..people("horns", Naming::Device, 8)
    };
    let robots = Profile {
        kind: Kind::Wechat,
        reaches: vec![Reach::Endpoints("wecom_robot")],
        proof: Proof::AcceptedOnly,
        form: Form::Post { bytes_max: 2_048, markdown: true },
        ..people("robots", Naming::Ours, 1)
    };
    let first = people("first", Naming::Ours, 15);
    let second = people("second", Naming::Its, 20);
    let profiles = [(first, 1), (second, if dice.random_bool(0.7) { 2 } else { 1 }), (mail, 1), (horns, 1), (robots, 1)];
    profiles.map(|(profile, priority)| (profile, common(dice, priority))).into()
}

fn common(dice: &mut StdRng, priority: u8) -> Common {
    let limited = dice.random_bool(0.4);
    let retry = if dice.random_bool(0.5) { vec![2, 5] } else { vec![1, 4, 12] };
    Common {
        priority,
        per_second: limited.then(|| dice.random_range(2..12)),
        per_minute: dice.random_bool(0.15).then(|| dice.random_range(60..240)),
        burst: dice.random_bool(0.3).then(|| dice.random_range(1..4)),
        concurrency: dice.random_range(1..6),
        timeout: Duration::from_secs(dice.random_range(2..6)),
        retry: retry.into_iter().map(Duration::from_secs).collect(),
        unknown_retry: Duration::from_secs(180),
    }
}
