//! The journal beside the least that any durable store must do: `write` and `fdatasync` of the same bytes, on the same disk, in the same run.
//! Prints rates and ratios; nothing is asserted, because the machine is not ours alone.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a bench prints, and stops at the first surprise")]

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use lastmile::{
    store::{Entry, Fold, FoldError, Journal, Options, Packing, Seq},
    time::SystemClock,
};

/// Outcomes of one chunk, packed into one entry: index, kind, code, time.
const CHUNK: usize = 4_096 * 11;
const CHUNKS: usize = 1_000;
/// A receipt on its own.
const LONE: usize = 30;
const TASKS: usize = 64;
const LONE_EACH: usize = 1_000;

/// Counts, so that what is measured is the store.
#[derive(Default)]
struct Count(u64);

impl Fold for Count {
    fn apply(&mut self, _: Seq, bytes: &[u8]) -> Result<(), FoldError> {
        self.0 += bytes.len() as u64;
        Ok(())
    }

    fn checkpoint(&self) -> Packing {
        let count = self.0;
        Box::new(move || count.to_le_bytes().to_vec())
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), FoldError> {
        self.0 = u64::from_le_bytes(checkpoint.try_into().map_err(|_| FoldError("not eight bytes".into()))?);
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures the machine's own time")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = std::time::Instant::now();
    let done = work();
    (done, start.elapsed())
}

fn main() {
    let folder = std::env::var_os("JOURNAL_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for company in [Duration::ZERO, Duration::from_millis(1)] {
        println!("waiting for company at most {company:?}");
        runtime.block_on(bulk(&folder, company));
        runtime.block_on(lone(&folder, company));
    }
    opening(&runtime, &folder);
}

/// Chunks of outcomes, four at a time as four senders would.
async fn bulk(folder: &Path, company: Duration) {
    let data = tempfile::tempdir_in(folder).unwrap();
    let (journal, _) =
        Journal::open(data.path(), Options { company, ..Options::default() }, Arc::new(SystemClock), Count::default()).unwrap();
    let started = tokio::time::Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let journal = journal.clone();
        senders.spawn(async move {
            for _ in 0..CHUNKS / 4 {
                journal.append(vec![Entry::plain(vec![7; CHUNK])]).await.unwrap();
            }
        });
    }
    senders.join_all().await;
    let spent = started.elapsed();
    journal.close().await.unwrap();
    let reference = bare(folder, CHUNK * 4, CHUNKS / 4);
    report("bulk settle, 4,096 outcomes an entry", CHUNKS * 4_096, spent, reference, "same bytes, four entries a fdatasync");
    println!("  on disk: {:.1} bytes a byte", size_of(data.path()) as f64 / (CHUNK * CHUNKS) as f64);
}

/// Lone receipts: each of 64 requests waits until its own is durable.
async fn lone(folder: &Path, company: Duration) {
    let data = tempfile::tempdir_in(folder).unwrap();
    let (journal, _) =
        Journal::open(data.path(), Options { company, ..Options::default() }, Arc::new(SystemClock), Count::default()).unwrap();
    for tasks in [TASKS, TASKS * 16] {
        let started = tokio::time::Instant::now();
        let mut requests = tokio::task::JoinSet::new();
        for _ in 0..tasks {
            let journal = journal.clone();
            requests.spawn(async move {
                for _ in 0..LONE_EACH {
                    journal.append(vec![Entry::plain(vec![7; LONE])]).await.unwrap();
                }
            });
        }
        requests.join_all().await;
        let spent = started.elapsed();
        let reference = bare(folder, LONE * tasks, LONE_EACH);
        report(
            &format!("lone receipts from {tasks} tasks"),
            tasks * LONE_EACH,
            spent,
            reference,
            "same bytes, all tasks in each fdatasync",
        );
    }
    journal.close().await.unwrap();
}

/// A start with the whole month to replay, and one from the checkpoint.
fn opening(runtime: &tokio::runtime::Runtime, folder: &Path) {
    let data = tempfile::tempdir_in(folder).unwrap();
    let options = Options { checkpoint_after_bytes: u64::MAX, ..Options::default() };
    let open = || Journal::open(data.path(), options.clone(), Arc::new(SystemClock), Count::default()).unwrap();
    let (journal, _) = open();
    runtime.block_on(async {
        for _ in 0..CHUNKS / 10 {
            journal.append((0..10).map(|_| Entry::plain(vec![7; CHUNK])).collect()).await.unwrap();
        }
        journal.close().await.unwrap();
    });
    let ((journal, opened), spent) = timed(open);
    println!("start from the checkpoint beside {CHUNKS} chunks: {spent:?}, {} replayed", opened.replayed);
    runtime.block_on(journal.close()).unwrap();
    std::fs::remove_dir_all(data.path().join("checkpoint")).unwrap();
    let ((_journal, opened), spent) = timed(open);
    println!("start without a checkpoint: {spent:?}, {} replayed", opened.replayed);
}

/// Writes `rounds` blocks to a preallocated file, each made durable: what the disk itself takes.
fn bare(folder: &Path, block: usize, rounds: usize) -> Duration {
    let mut file: File = tempfile::tempfile_in(folder).unwrap();
    file.write_all(&vec![0; block * rounds]).unwrap();
    file.sync_all().unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let bytes = vec![7; block];
    timed(|| {
        for _ in 0..rounds {
            file.write_all(&bytes).unwrap();
            file.sync_data().unwrap();
        }
    })
    .1
}

fn report(what: &str, count: usize, spent: Duration, reference: Duration, beside: &str) {
    let rate = count as f64 / spent.as_secs_f64();
    let bare = count as f64 / reference.as_secs_f64();
    println!("  {what}: {rate:.0}/s; bare ({beside}): {bare:.0}/s; {:.0} % of bare", 100.0 * rate / bare);
}

fn size_of(path: &Path) -> u64 {
    let sizes = std::fs::read_dir(path).unwrap().map(|item| {
        let item = item.unwrap();
        let metadata = item.metadata().unwrap();
        if metadata.is_dir() { size_of(&item.path()) } else { metadata.len() }
    });
    sizes.sum()
}
