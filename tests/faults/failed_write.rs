//! A disk that somebody else fills between the look and the write: the write fails, the store has failed for ever, and opening it
//! anew finds all that was acknowledged.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use lastmile::{
    store::{AppendError, Entry, Fold, FoldError, FreeSpace, Health, Journal, LockError, OpenError, Options, Packing, Seq, verify},
    time::SystemClock,
};

use crate::tmpfs::{Disk, MB};

#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<BTreeMap<u64, Vec<u8>>>>);

impl Fold for Kept {
    fn apply(&mut self, seq: Seq, bytes: &[u8]) -> Result<(), FoldError> {
        self.0.lock().unwrap().insert(seq.0, bytes.to_vec());
        Ok(())
    }

    fn checkpoint(&self) -> Packing {
        let kept = self.0.lock().unwrap().clone();
        Box::new(move || serde_json::to_vec(&kept).unwrap())
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), FoldError> {
        *self.0.lock().unwrap() = serde_json::from_slice(checkpoint).map_err(|error| FoldError(error.to_string()))?;
        Ok(())
    }
}

fn entry(number: u64) -> Entry {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(20_000, b'.');
    Entry::on_trail(bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails_ends_the_store_and_loses_nothing_that_was_acknowledged() {
    let Some(mut disk) = Disk::mounted(192 * MB) else { return };
    let data = disk.data();
    // Whoever looks is told that there is room: the disk is filled after the look.
    let options = Options { free_space: FreeSpace::new(|_| Ok(u64::MAX)), ..Options::default() };
    let (journal, _) = Journal::open(&data, options, Arc::new(SystemClock), Kept::default()).unwrap();
    journal.append(vec![entry(1)]).await.unwrap();
    disk.leave(8 * MB);
    let mut acknowledged = 1;
    let failed = loop {
        match journal.append(vec![entry(acknowledged + 1)]).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1_000, "20 MB went onto 8 MB");
    };
    eprintln!("after {acknowledged}: {failed}");
    assert!(matches!(&failed, AppendError::Unavailable { why } if why.contains("No space left")), "{failed:?}");
    assert!(matches!(journal.health(), Health::Failed { .. }));
    disk.empty();
    let later = journal.append(vec![entry(0)]).await;
    assert_eq!(later.unwrap_err(), failed, "it went on after a failed write");
    drop(journal);

    let kept = Kept::default();
    let again = loop {
        // The committer gives the lock back a moment after its last handle is gone.
        match Journal::open(&data, Options::default(), Arc::new(SystemClock), kept.clone()) {
            Ok((journal, _)) => break journal,
            Err(error) => assert!(matches!(error, OpenError::Lock(LockError::Held { .. })), "{error}"),
        }
        tokio::task::yield_now().await;
    };
    let entries = kept.0.lock().unwrap().clone();
    for number in 1..=acknowledged {
        assert_eq!(entries.get(&number), Some(&entry(number).bytes), "entry {number} of {acknowledged} is lost");
    }
    again.append(vec![entry(acknowledged + 1)]).await.unwrap();
    again.close().await.unwrap();
    assert!(verify(&data).unwrap().ok);
}
