//! Owns a fuzz run that any toolchain can make: mutated fixtures (and the corpus of real alerts, where it is) against everything that reads documents.
//! Refuses to know how documents come in. Invariant: the same seed makes the same inputs; an input that fails is written out before the run ends.
//!
//! `cargo run --release --example fuzz -- --seconds 180 --seed 1 [--corpus DIR]`

mod mutate;
mod targets;

use std::{fs, panic, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use mutate::{Chance, Seeds, mutated};
use tokio::time::Instant;

/// The slowest input allowed; the largest documents are read in well under a second when optimised.
const SLOWEST: Duration = Duration::from_secs(10);
/// Peak memory of the whole run: 2 MiB documents must not need a hundred times their size.
const MEMORY_MAX_KB: u64 = 700_000;
/// How often memory is looked at.
const LOOK_EVERY: u64 = 256;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Further documents to start from.
    #[arg(long)]
    corpus: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the result of the run")]
fn main() -> ExitCode {
    let args = Args::parse();
    let seeds = Seeds::read(args.corpus.as_deref());
    let (start, mut slowest, mut inputs, mut accepted) = (Instant::now(), Duration::ZERO, 0_u64, 0_u64);
    let mut chance = Chance::new(args.seed);
    panic::set_hook(Box::new(|_| {}));
    while start.elapsed() < Duration::from_secs(args.seconds) {
        let input = mutated(&seeds, &mut chance);
        let began = Instant::now();
        let outcome = panic::catch_unwind(|| targets::judge(&input));
        let took = began.elapsed();
        slowest = slowest.max(took);
        inputs += 1;
        let wrong = match outcome {
            Ok(Ok(read)) => {
                accepted += read;
                (took > SLOWEST).then(|| format!("took {took:?}"))
            }
            Ok(Err(wrong)) => Some(wrong),
            Err(panicked) => Some(format!("panic: {}", words(panicked.as_ref()))),
        };
        let wrong = wrong.or_else(|| (inputs % LOOK_EVERY == 0).then(too_much_memory).flatten());
        if let Some(wrong) = wrong {
            return failed(&args, inputs, &input, &wrong);
        }
    }
    println!(
        "{inputs} inputs from {} documents, {accepted} alerts read and written again, slowest {slowest:?}, peak {} kB",
        seeds.len(),
        peak_kb()
    );
    ExitCode::SUCCESS
}

#[expect(clippy::print_stdout, reason = "the result of the run")]
fn failed(args: &Args, number: u64, input: &[u8], wrong: &str) -> ExitCode {
    let file = std::env::temp_dir().join(format!("lastmile-fuzz-{}-{number}", args.seed));
    let kept = fs::write(&file, input).map_or_else(|error| error.to_string(), |()| file.display().to_string());
    println!("input {number} of seed {}: {wrong}\nkept as {kept}", args.seed);
    ExitCode::FAILURE
}

fn words(panicked: &(dyn std::any::Any + Send)) -> &str {
    panicked.downcast_ref::<String>().map(String::as_str).or_else(|| panicked.downcast_ref::<&str>().copied()).unwrap_or("of another kind")
}

fn too_much_memory() -> Option<String> {
    let peak = peak_kb();
    (peak > MEMORY_MAX_KB).then(|| format!("{peak} kB of memory at the peak"))
}

/// The most memory this process ever had; zero where the system does not tell.
fn peak_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
}
