//! Owns the joint between journal and ledger: what is durable is folded in, then watchers are told.
//! Refuses to know what events mean. Invariant: the ledger changes here alone, after durability, in the journal's order.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::watch;

use super::filed;
use crate::{
    delivery::ledger::Ledger,
    store::{Fold, FoldError, Packing, Seq},
};

pub(crate) struct LedgerFold {
    ledger: Arc<Ledger>,
    changed: watch::Sender<u64>,
    data_dir: PathBuf,
}

impl LedgerFold {
    pub(crate) const fn new(ledger: Arc<Ledger>, changed: watch::Sender<u64>, data_dir: PathBuf) -> Self {
        Self { ledger, changed, data_dir }
    }
}

impl Fold for LedgerFold {
    fn apply(&mut self, seq: Seq, bytes: &[u8]) -> Result<(), FoldError> {
        self.ledger.apply(bytes).map_err(|error| FoldError(format!("entry {seq}: {error}")))?;
        self.changed.send_replace(seq.0);
        Ok(())
    }

    fn checkpoint(&self) -> Packing {
        let copy = self.ledger.copy();
        Box::new(|| {
            // An image that cannot be written is an empty one, which `restore` refuses: the start then replays everything.
            copy.image().unwrap_or_else(|error| {
                tracing::error!(%error, "the ledger could not be written as a checkpoint");
                Vec::new()
            })
        })
    }

    fn begin_late(&mut self, _: Seq) -> Result<String, FoldError> {
        let taken = filed::take_heads(&self.data_dir, &self.ledger);
        Ok(format!("{} alerts were taken from what is filed, {} could not be", taken.heads, taken.unreadable.len()))
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), FoldError> {
        self.ledger.restore(checkpoint).map_err(|error| FoldError(error.to_string()))
    }
}
