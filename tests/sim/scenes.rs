//! Owns what whole runs of one shape must show: red goes before queued blue, a stuck far end holds up nobody else (I17), rates are kept and used.

use std::time::Duration;

use lastmile::{
    alert::AlertNo,
    delivery::plan::{Lane, Occasion},
    engine::Gateway,
    message::DeliveryId,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    fate::Mood,
    life::run_script,
    posts::Wish,
    script::{Script, Step},
    world::{Handed, World},
};

const SEEDS: std::ops::Range<u64> = 0..8;
/// Accounts of a script, by their places in it.
const FIRST: usize = 0;
const SECOND: usize = 1;
const MAIL: usize = 2;

const fn county_wide(level: &'static str, lasts_s: u64) -> Step {
    Step::Post(Wish { level, place: 0, lasts_s, drill: false, source: 0 })
}

/// Runs a script on each seed; the first fault of any ends the test.
fn on_seeds(make: impl Fn(&mut StdRng) -> Script, ask: impl Fn(&World, &Gateway, &Script)) {
    for seed in SEEDS {
        let mut dice = StdRng::seed_from_u64(seed);
        let script = make(&mut dice);
        let outcome = run_script(seed, script, &ask);
        assert!(outcome.faults.is_empty(), "seed {seed}: {:#?}", outcome.faults);
        assert!(outcome.messages > 0, "seed {seed} showed nothing");
    }
}

/// The first handing over of each delivery of an alert by an account, in order.
fn firsts(handed: &[Handed], alert: u32, account: usize) -> Vec<&Handed> {
    let mut seen = std::collections::BTreeSet::new();
    let of_it = handed.iter().filter(|message| message.id.alert.0 == alert && message.account == account);
    of_it.filter(|message| seen.insert(message.id)).collect()
}

#[test]
fn a_red_alert_overtakes_queued_blue_ones_and_who_must_act_goes_first() {
    let make = |dice: &mut StdRng| {
        let red_at_ms = dice.random_range(500..3_500);
        let mut script = Script::calm(dice, vec![(10, county_wide("blue", 300)), (red_at_ms, county_wide("red", 300))]);
        // Second stands behind first, and is never asked.
        (script.accounts[FIRST].1.priority, script.accounts[SECOND].1.priority) = (1, 2);
        (script.accounts[FIRST].1.per_second, script.accounts[FIRST].1.burst) = (Some(10), Some(1));
        script.accounts[FIRST].1.per_minute = None;
        script
    };
    on_seeds(make, |world, gateway, _| {
        let handed = world.memory().handed.clone();
        let shelf = gateway.ledger().get(AlertNo(1)).expect("the red one");
        let book = shelf.read();
        let mut red = firsts(&handed, 1, FIRST);
        // Those who are asked in another's place are planned later.
        red.retain(|message| book.leg_of(message.id.index).occasion == Occasion::Warning);
        let planned = handed.iter().position(|message| message.id.alert.0 == 1).expect("red went out");
        let last_first = red.last().expect("red went out by this account").at_ms;
        let between =
            handed[planned..].iter().filter(|message| message.account == FIRST && message.at_ms <= last_first && message.id.alert.0 == 0);
        // What was leased before: one on its way, one ready, one being leased.
        let (blue, blues) = (between.count(), firsts(&handed, 0, FIRST).len());
        assert!(blue <= 3, "{blue} blue ones went before the last of {} red ones", red.len());
        assert!(blues > 20, "the blue ones are told too: {blues}");
        let lanes: Vec<Lane> = red.iter().map(|message| book.leg_of(message.id.index).lane).collect();
        assert!(lanes.is_sorted(), "who must act goes before the public: {lanes:?}");
    });
}

#[test]
fn a_stuck_far_end_holds_up_nobody_else() {
    let make = |dice: &mut StdRng| {
        let stuck = Step::Mood { account: MAIL, mood: Mood::Hanging };
        let mut script = Script::calm(dice, vec![(5, stuck), (10, county_wide("orange", 120)), (4_000, county_wide("orange", 120))]);
        for (_, common) in &mut script.accounts {
            (common.per_second, common.per_minute, common.burst, common.concurrency) = (None, None, None, 4);
        }
        (script.accounts[FIRST].1.priority, script.accounts[SECOND].1.priority) = (1, 2);
        script.linger = script.linger.min(Duration::from_millis(10));
        script
    };
    on_seeds(make, |world, gateway, _| {
        let handed = world.memory().handed.clone();
        for alert in [0, 1] {
            let shelf = gateway.ledger().get(AlertNo(alert)).expect("an alert");
            let book = shelf.read();
            let is_by_phone = |index: &u32| book.route_of(*index).word == "sms/phone" && book.leg_of(*index).occasion == Occasion::Warning;
            let owed: Vec<u32> = (0..u32::try_from(book.slots.len()).expect("a small county")).filter(is_by_phone).collect();
            let begun = if alert == 0 { 10 } else { 4_000 };
            for index in owed {
                let id = DeliveryId { alert: shelf.no, index };
                let at_ms = handed.iter().find(|message| message.id == id).map(|message| message.at_ms).expect("handed over");
                assert!(at_ms < begun + 3_500, "{id} waited {} ms beside a far end that is stuck", at_ms - begun);
            }
        }
    });
}

#[test]
fn a_rate_is_kept_and_used_within_one_percent() {
    let make = |dice: &mut StdRng| {
        let steps = (0..6).map(|nth| (10 + nth, county_wide("blue", 390))).collect();
        let mut script = Script::calm(dice, steps);
        let common = &mut script.accounts[FIRST].1;
        (common.per_second, common.per_minute) = (Some(dice.random_range(3..30)), None);
        common.burst = if dice.random_bool(0.5) { None } else { Some(dice.random_range(1..6)) };
        common.concurrency = 8;
        (script.accounts[FIRST].1.priority, script.accounts[SECOND].1.priority) = (1, 2);
        script.linger = script.linger.min(Duration::from_millis(10));
        script
    };
    on_seeds(make, |world, _, script| {
        let common = &script.accounts[FIRST].1;
        let rate = common.per_second.expect("a rate");
        // Without a stated burst a tenth of a second's worth goes at once.
        let (rate, burst) = (f64::from(rate), f64::from(common.burst.unwrap_or(rate / 10).max(1)));
        let times: Vec<u64> =
            world.memory().handed.iter().filter(|message| message.account == FIRST).map(|message| message.at_ms).collect();
        #[expect(clippy::cast_precision_loss, reason = "a minute in milliseconds, hundreds of messages")]
        let (took_s, messages) = ((times[times.len() - 1] - times[0]) as f64 / 1_000.0, times.len() as f64);
        let due_s = (messages - burst) / rate;
        assert!(
            messages > 200.0 && took_s <= due_s * 1.01 + 0.1,
            "{messages} messages at {rate}/s, burst {burst}, took {took_s} s, not {due_s} s"
        );
    });
}
