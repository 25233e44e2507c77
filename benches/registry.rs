//! The registry at size: import beside a bare `csv` read of the same bytes in the same run, edits until they are on disk, opening, gaps, check.
//! Prints figures; nothing is asserted, because the machine is not ours alone.
//! `cargo bench --bench registry -- --households 1000000 --edits 200`
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints, and stops at the first surprise")]

use std::{
    fs,
    path::Path,
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
