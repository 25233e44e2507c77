//! Deterministic simulation: the engine over a real store against scripted far ends, on paused time, from a seed.
//! `LASTMILE_SIM_SEEDS=5000` runs so many seeds (from `LASTMILE_SIM_FROM` on), `LASTMILE_SIM_SEED=17` that one again and prints what happened.

mod clock;
mod county;
mod far_end;
mod fate;
mod judge;
mod letters;
mod life;
mod opening;
mod oracle;
mod posts;
mod scenes;
mod script;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// As many as a busy core does in half a minute, unoptimised.
const SEEDS: u64 = 110;
/// How far it is is told after so many.
const TOLD_EVERY: u64 = 250;
/// Of a run that failed, so many of its last lines are shown.
const LINES: usize = 120;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn whatever_happens_the_invariants_hold() {
    let one = number("LASTMILE_SIM_SEED");
    let from = number("LASTMILE_SIM_FROM").unwrap_or(0);
    let seeds = one.map_or(from..from + number("LASTMILE_SIM_SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let (mut lives, mut messages, mut failed) = (0, 0, Vec::new());
    for seed in seeds.clone() {
        if seed > seeds.start && (seed - seeds.start).is_multiple_of(TOLD_EVERY) {
            eprintln!("before seed {seed}: {lives} lives, {messages} messages, {} failed", failed.len());
        }
        match catch_unwind(AssertUnwindSafe(|| life::run(seed))) {
            Ok(outcome) => {
                lives += outcome.lives;
                messages += outcome.messages;
                if one.is_some() {
                    eprintln!("{}", outcome.log.join("\n"));
                }
                if !outcome.faults.is_empty() {
                    eprintln!("seed {seed}: {}\n{}", outcome.faults.join("\n  "), tail(&outcome.log));
                    failed.push(seed);
                }
            }
            Err(_) => {
                eprintln!("seed {seed} panicked");
                failed.push(seed);
            }
        }
    }
    eprintln!("seeds {seeds:?}: {lives} lives, {messages} messages, {} failed", failed.len());
    assert!(failed.is_empty(), "LASTMILE_SIM_SEED={} runs the first of these again: {failed:?}", failed[0]);
}

fn tail(log: &[String]) -> String {
    log[log.len().saturating_sub(LINES)..].join("\n")
}

#[test]
fn the_same_seed_is_the_same_run() {
    let mut lives = 0;
    for seed in [3, 17, 91] {
        let (one, other) = (life::run(seed), life::run(seed));
        let differs = one.log.iter().zip(&other.log).position(|(one, other)| one != other);
        if let Some(line) = differs {
            panic!("seed {seed}, line {line}: {}\n{}", one.log[line], other.log[line]);
        }
        assert_eq!(one.log.len(), other.log.len(), "seed {seed}");
        assert!(one.messages > 0, "seed {seed} showed nothing");
        lives += one.lives;
    }
    assert!(lives > 3, "none of them crashed");
}
