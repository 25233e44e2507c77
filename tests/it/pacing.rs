//! What leaves, in which order and until when: alerts of one level in turns, a red one first, ends in mid-queue, clocks that are set.

use lastmile::{
    alert::AlertNo,
    delivery::{book::State, plan::Lane},
};

use crate::rig::{CONCURRENCY, Rig, Taken};

const COUNTY: &str = "510726";
const VILLAGE: &str = "510726101201";
const HOUSEHOLDS: u32 = 6_000;
/// Of the engine: as much goes in the time that an urgent alert may wait.
const LEASE_MAX: usize = 2_048;
const HOUR_MS: i64 = 3_600_000;

/// Messages of all alerts that had gone when the last one of this went.
fn gone_at_the_last_of(alert: AlertNo, taken: &[Taken]) -> usize {
    taken.iter().rposition(|(no, _)| *no == alert).map_or(0, |last| last + 1)
}

struct Order {
    /// Messages of both that had gone when the small one was done.
    gone: usize,
    small: usize,
    large: usize,
    /// Of the large one, to people who must act: they go before the public of either.
    large_act: usize,
}

/// Posts an alert for everybody, then another for a village, and lets them go once both are planned.
async fn village_behind_county(levels: [&str; 2]) -> Order {
    let rig = Rig::start(4 * HOUSEHOLDS).await;
    let large = rig.planned(levels[0], COUNTY).await;
    let small = rig.planned(levels[1], VILLAGE).await;
    let act: u32 = large.read().legs.iter().filter(|leg| leg.lane == Lane::Act).map(|leg| leg.count).sum();
    rig.far_end.give_leave_for_all();
    rig.until("the small one to end", || small.read().open == 0).await;
    rig.until("the large one to end", || large.read().open == 0).await;
    let gone = gone_at_the_last_of(small.no, &rig.far_end.taken());
    let (small, large) = (small.read().slots.len(), large.read().slots.len());
    rig.stop().await;
    Order { gone, small, large, large_act: act as usize }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_alert_of_the_same_level_ends_long_before_a_large_one_that_came_first() {
    let Order { gone, small, large, large_act } = village_behind_county(["orange", "orange"]).await;
    assert!(small > 10, "{small} and {large}");
    // The public of both takes turns lease by lease: one is being sent, one waits ready, one is the small one's own.
    let most = large_act + small + 3 * LEASE_MAX;
    assert!(most < large / 2 && gone <= most, "{gone} messages had gone when the last of {small} did, {large_act} to people who must act");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_red_alert_goes_before_everything_queued_of_a_blue_one() {
    let Order { gone, small, large, .. } = village_behind_county(["blue", "red"]).await;
    // Only what was leased before it stood in the queue goes first, which is a moment after its plan is kept; `tests/sim` holds it to the lease.
    assert!(LEASE_MAX < large / 8 && gone <= small + LEASE_MAX, "{gone} messages had gone when the last of {small} did, of {large}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_queued_when_an_alert_expires_never_leaves_and_says_why() {
    let rig = Rig::start(800).await;
    let alert = rig.planned("red", COUNTY).await;
    rig.far_end.give_leave(30);
    rig.until("thirty messages", || rig.far_end.taken().len() == 30).await;
    rig.clock.jump(2 * HOUR_MS);
    rig.far_end.give_leave_for_all();
    rig.until("the end", || alert.read().state == State::Expired).await;
    let taken = rig.far_end.taken().len();
    // Those at the far end's door got in; nobody else.
    assert!(taken <= 30 + CONCURRENCY, "{taken} left");
    let details = rig.gateway.details(&alert).await.expect("in memory");
    let progress = rig.gateway.coverage(&details, None, None).progress;
    drop(details);
    let ended = u64::from(progress.accepted) + u64::from(progress.expired);
    assert_eq!((ended, u64::from(progress.accepted)), (u64::from(progress.deliveries), taken as u64), "{progress:?}");
    assert!(alert.read().violations().is_empty(), "{:?}", alert.read().violations());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_neither_stops_retries_nor_keeps_an_account_parked() {
    let rig = Rig::start(60).await;
    rig.far_end.give_leave_for_all();
    rig.far_end.set_down(true);
    let alert = rig.planned("red", VILLAGE).await;
    // Enough in a row for the account to be taken for down, and for every message to wait for its next try.
    rig.until("the breaker", || rig.gateway.accounts().iter().any(|account| account.parked_until.is_some())).await;
    assert!(rig.far_end.refused() > 0);
    rig.clock.jump(-HOUR_MS);
    rig.far_end.set_down(false);
    rig.until("every message", || alert.read().open == 0).await;
    assert_eq!(rig.far_end.told(alert.no).len(), alert.read().slots.len());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_in_mid_queue_loses_and_doubles_nothing() {
    let rig = Rig::start(300).await;
    let alert = rig.planned("red", COUNTY).await;
    rig.far_end.give_leave(20);
    rig.until("twenty messages", || rig.far_end.taken().len() == 20).await;
    rig.clock.jump(-HOUR_MS);
    rig.far_end.give_leave_for_all();
    rig.until("every message", || alert.read().open == 0).await;
    let mut told = rig.far_end.told(alert.no);
    let all = told.len();
    told.dedup();
    assert_eq!((told.len(), all), (alert.read().slots.len(), alert.read().slots.len()));
    assert!(alert.read().violations().is_empty(), "{:?}", alert.read().violations());
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_in_mid_sending_stops_the_rest_and_reaches_everyone_who_was_told() {
    let rig = Rig::start(800).await;
    let alert = rig.planned("red", COUNTY).await;
    rig.far_end.give_leave(50);
    rig.until("fifty messages", || rig.far_end.taken().len() == 50).await;
    let cancel = rig.cancel(&alert).await;
    rig.far_end.give_leave_for_all();
    judge_cancelled(&rig, alert.no, cancel.no, 50).await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_while_the_plan_is_made_stops_it_and_reaches_everyone_who_was_told() {
    let rig = Rig::start(HOUSEHOLDS).await;
    rig.far_end.give_leave_for_all();
    // Between the acceptance and the first messages; on this machine some rounds come before the plan is kept and some after.
    for looks in [0, 1, 4, 16, 64, 256, 1_024, 4_096] {
        let alert = rig.post("red", COUNTY).await;
        for _ in 0..looks {
            tokio::task::yield_now().await;
        }
        let cancel = rig.cancel(&alert).await;
        let taken = rig.far_end.told(alert.no).len();
        judge_cancelled(&rig, alert.no, cancel.no, taken).await;
    }
    rig.stop().await;
}

/// After a durable Cancel: no more of the alert than was being handed over, and the all-clear for everyone who got it.
async fn judge_cancelled(rig: &Rig, alert: AlertNo, cancel: AlertNo, taken_before: usize) {
    let (alert, cancel) = (rig.gateway.ledger().get(alert).expect("kept"), rig.gateway.ledger().get(cancel).expect("kept"));
    rig.until("the end of the alert", || alert.read().open == 0).await;
    rig.until("the all-clear", || cancel.read().timeline.planned.is_some() && cancel.read().open == 0).await;
    assert_eq!(alert.read().state, State::Cancelled);
    let told = rig.far_end.told(alert.no);
    assert!(told.len() <= taken_before + CONCURRENCY, "{} left, {taken_before} of them before the Cancel", told.len());
    let cleared = rig.far_end.told(cancel.no);
    assert!(told.iter().all(|to| cleared.binary_search(to).is_ok()), "somebody was told and has not heard the end");
    let details = rig.gateway.details(&alert).await.expect("in memory");
    let progress = rig.gateway.coverage(&details, None, None).progress;
    drop(details);
    assert_eq!(progress.deliveries, progress.accepted + progress.cancelled, "{progress:?}");
    for shelf in [alert, cancel] {
        assert!(shelf.read().violations().is_empty(), "{:?}", shelf.read().violations());
    }
}
