//! Owns what is held of pace: an account is never handed more than its rate and its burst allow, in any stretch of time of one life.

use std::collections::BTreeMap;

use lastmile::channel::Batching;

use crate::{script::Script, world::World};

pub(crate) fn rates(world: &World, script: &Script) {
    let handed = world.memory().handed.clone();
    let mut by_account: BTreeMap<(usize, u32), Vec<u64>> = BTreeMap::new();
    for message in &handed {
        let is_area = matches!(script.accounts[message.account].0.batching, Batching::WholeArea { .. });
        if is_area && !message.leads {
            continue;
        }
        by_account.entry((message.account, message.life)).or_default().push(message.at_ms);
    }
    for ((account, life), times) in by_account {
        let (profile, common) = &script.accounts[account];
        for (rate, per_ms) in [(common.per_second, 1_000.0), (common.per_minute, 60_000.0)] {
            let Some(rate) = rate else { continue };
            // A batch goes when all of it may, and then at once.
            let batch = if let Batching::SameText { max } = profile.batching { u32::try_from(max).expect("a few") } else { 1 };
            let burst = common.burst.unwrap_or(rate).max(batch);
            if let Some(over) = most_over(&times, f64::from(rate) / per_ms, f64::from(burst)) {
                world.fault(format!("{} got {over:.1} messages more than {rate} in {per_ms} ms allow, life {life}", profile.name));
            }
        }
    }
}

/// By how many messages the worst stretch is over what the rate (a millisecond) and the burst allow, if it is.
fn most_over(times: &[u64], rate: f64, burst: f64) -> Option<f64> {
    // The largest over all pairs in one pass: a stretch that begins where the count was least ahead of the rate.
    let (mut least, mut worst) = (f64::INFINITY, 0.0_f64);
    for (count, &at_ms) in times.iter().enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "minutes in milliseconds, thousands of messages")]
        let (count, due) = (count as f64, at_ms as f64 * rate * 1.01);
        least = least.min(count - due);
        worst = worst.max(count - due - least + 1.0 - burst);
    }
    // A timer wakes within a millisecond.
    (worst > 1.0).then_some(worst)
}
