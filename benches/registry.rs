//! The registry at size: import beside a bare `csv` read of the same bytes in the same run, edits until they are on disk, opening, gaps, check;
//! and what readers feel of edits and of an import, beside the same readings with nothing going on.
//! Prints figures; nothing is asserted, because the machine is not ours alone.
//! `cargo bench --bench registry -- --households 1000000 --edits 200`
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints, and stops at the first surprise")]

use std::{
    fs,
    hint::black_box,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use lastmile::registry::{Change, ImportFile, ImportOptions, Kind, Record, Registry, SubscriberRecord, check, export, fixture, gaps};

fn main() {
    let (households, edits) = (asked("--households", 1_000_000), asked("--edits", 200));
    let folder = tempfile::tempdir_in(std::env::var_os("REGISTRY_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into)).unwrap();
    let files: Vec<(Kind, Vec<u8>)> = {
        let county = fixture::beichuan_snapshot(households, 1);
        println!("{households} households: {} bytes of memory a subscriber", county.heap_bytes() / county.subscriber_count() as usize);
        Kind::ALL.into_iter().map(|kind| (kind, export(&county, kind))).collect()
    };
    import(folder.path(), &files);
    read_meanwhile(folder.path(), &files, edits);
    drop(files);
    edit(folder.path(), edits);
}

fn asked(name: &str, otherwise: u32) -> u32 {
    let words: Vec<String> = std::env::args().collect();
    let value = words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    value.map_or(otherwise, |value| value.parse().unwrap())
}

#[expect(clippy::disallowed_methods, reason = "a bench measures the machine's own time")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed())
}

fn import(folder: &Path, files: &[(Kind, Vec<u8>)]) {
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    let (rows, bare) = timed(|| files.iter().map(|(_, bytes)| bare_read(bytes)).sum::<usize>());
    let registry = Registry::open(folder).unwrap().registry;
    let handed: Vec<ImportFile<'_>> = files.iter().map(|(kind, bytes)| ImportFile::in_memory(kind.file_name(), bytes)).collect();
    for what in ["first import", "same again"] {
        let (_, took) = timed(|| registry.import(&handed, ImportOptions::default()).unwrap());
        println!(
            "{what}: {rows} rows, {} MB in {took:.2?}; a bare csv read takes {bare:.2?}, {:.1} times less",
            bytes >> 20,
            took.as_secs_f64() / bare.as_secs_f64()
        );
    }
}

/// One reader in a thread of its own, with nothing going on, while single changes are made, while everything is imported again.
fn read_meanwhile(folder: &Path, files: &[(Kind, Vec<u8>)], edits: u32) {
    let registry = Registry::open(folder).unwrap().registry;
    let village = registry.current().areas().iter().map(|node| node.code).max_by_key(|code| code.level()).unwrap().to_string();
    let handed: Vec<ImportFile<'_>> = files.iter().map(|(kind, bytes)| ImportFile::in_memory(kind.file_name(), bytes)).collect();
    let generation = registry.current().generation();
    let quiet = read_during(&registry, || thread::park_timeout(Duration::from_secs(2)));
    println!("a reading (newest state, one by id, one by telephone), with nothing going on: {}", told(&quiet, &quiet));
    let busy = read_during(&registry, || (0..edits).for_each(|nth| drop(registry.edit(&[change(nth, &village)]).unwrap())));
    println!("  while {edits} changes are made: {}", told(&busy, &quiet));
    let busy = read_during(&registry, || drop(registry.import(&handed, ImportOptions::default()).unwrap()));
    println!("  while all is imported again: {}", told(&busy, &quiet));
    println!("  states seen: {}", registry.current().generation() - generation);
}

fn read_during(registry: &Registry, work: impl FnOnce()) -> Vec<Duration> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut times, mut nth) = (Vec::new(), 0_u32);
            while !is_over.load(Ordering::Relaxed) {
                nth = nth.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                times.push(timed(|| read(registry, nth)).1);
                thread::park_timeout(Duration::from_micros(200));
            }
            times.sort_unstable();
            times
        });
        work();
        is_over.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    })
}

fn read(registry: &Registry, nth: u32) {
    let county = registry.current();
    let somebody = county.subscriber_at(nth % county.subscriber_count());
    assert!(county.subscriber_by_id(somebody.id()).is_some_and(|found| found.position() == somebody.position()));
    if let Some(phone) = somebody.phone() {
        black_box(county.subscribers_by_phone(&phone).count());
    }
}

/// Times in order, beside those of the quiet.
fn told(times: &[Duration], quiet: &[Duration]) -> String {
    let at = |times: &[Duration], part: usize| times[(times.len() - 1) * part / 1_000];
    let ratio = at(times, 500).as_secs_f64() / at(quiet, 500).as_secs_f64();
    let (p50, p99, most) = (at(times, 500), at(times, 990), at(times, 1_000));
    format!("{} readings, p50 {p50:.1?} ({ratio:.1} times), p99 {p99:.1?}, p99.9 {:.1?}, most {most:.1?}", times.len(), at(times, 999))
}

/// The least that any import must do.
fn bare_read(bytes: &[u8]) -> usize {
    let mut rows = csv::ReaderBuilder::new().from_reader(bytes);
    let mut row = csv::StringRecord::new();
    let mut count = 0;
    while rows.read_record(&mut row).unwrap() {
        count += 1;
    }
    count
}

fn edit(folder: &Path, edits: u32) {
    let (opened, took) = timed(|| Registry::open(folder).unwrap());
    println!("open without changes: {took:.2?}, {} MB of file", newest_bytes(folder) >> 20);
    let (registry, county) = (opened.registry, opened.snapshot);
    let village = county.areas().iter().map(|node| node.code).max_by_key(|code| code.level()).unwrap();
    let mut took: Vec<Duration> = (0..edits).map(|nth| timed(|| registry.edit(&[change(nth, &village.to_string())]).unwrap()).1).collect();
    took.sort_unstable();
    let at = |part: usize| took[(took.len() - 1) * part / 100];
    println!("edit, on disk: p50 {:.1?} p99 {:.1?} most {:.1?}", at(50), at(99), at(100));
    drop(registry);
    let (opened, took) = timed(|| Registry::open(folder).unwrap());
    println!("open with {edits} logged changes: {took:.2?}");
    let ((_, gaps_took), (odd, check_took)) = (timed(|| gaps(&opened.snapshot, None)), timed(|| check(&opened.snapshot)));
    println!("gaps {gaps_took:.2?}, check {check_took:.2?} ({} odd)", odd.len());
}

/// New ones, changed ones and opt-outs, as the page and short messages make them.
fn change(nth: u32, village: &str) -> Change {
    match nth % 3 {
        0 => Change::OptOut(lastmile::registry::SubscriberKey(2_000 + nth)),
        1 => put(&format!("new{nth}"), village),
        _ => put(&format!("h{:07}", nth + 1), village),
    }
}

fn put(id: &str, village: &str) -> Change {
    let value = serde_json::json!({"id": id, "area": village, "role": "household", "name": "王伟", "phone": "13800138000"});
    Change::PutSubscriber(SubscriberRecord::from_json(&value).unwrap())
}

fn newest_bytes(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    files.max().unwrap_or(0)
}
