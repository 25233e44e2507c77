//! The power cut again and again at moments chosen by a seed, on one store that lies on a disk that forgets what was not synced: after
//! every round what was promised is there, as it is after a kill.

use std::time::Duration;

use crate::{
    forgetful::Forgetful,
    rounds::{Loss, Run, rounds},
    seed,
};

/// As many as two busy cores do in ten seconds, of each sort.
const ROUNDS: usize = 2;
const HOUSEHOLDS: usize = 150;
/// So often the store is looked through, and its audit chain with it.
const VERIFY_EVERY: usize = 5;
/// About what a sync takes on a hard disk.
const BEAT: Duration = Duration::from_millis(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_of_the_power_lose_nothing_that_was_promised() {
    cut_the_power(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torn_writes_lose_nothing_that_was_promised() {
    cut_the_power(true).await;
}

async fn cut_the_power(torn: bool) {
    let Some(mut disk) = Forgetful::mounted() else { return };
    disk.sync_at_a_beat(BEAT);
    let (seed, rounds) = (seed(), rounds("LASTMILE_POWER_ROUNDS", ROUNDS));
    eprintln!("seed {seed}: set LASTMILE_CRASH_SEED to it to run the same again");
    let mut run = Run::start(seed, HOUSEHOLDS, Loss::Power { disk, torn, took: 0 }).await;
    for round in 1..=rounds {
        run.round_and_judge().await;
        if round % VERIFY_EVERY == 0 {
            run.verify_and_go_on().await;
            run.tell();
        }
    }
    run.end().await;
}
