//! Owns the joint between journal and ledger: what is durable is folded in, then watchers are told.
//! Refuses to know what events mean. Invariant: the ledger changes here alone, after durability, in the journal's order.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    delivery::ledger::Ledger,
    store::{Fold, FoldError, Seq},
};

pub(crate) struct LedgerFold {
    ledger: Arc<Ledger>,
    changed: watch::Sender<u64>,
}

impl LedgerFold {
    pub(crate) const fn new(ledger: Arc<Ledger>, changed: watch::Sender<u64>) -> Self {
        Self { ledger, changed }
    }
}

impl Fold for LedgerFold {
    fn apply(&mut self, seq: Seq, bytes: &[u8]) -> Result<(), FoldError> {
        self.ledger.apply(bytes).map_err(|error| FoldError(format!("entry {seq}: {error}")))?;
        self.changed.send_replace(seq.0);
        Ok(())
    }

    fn checkpoint(&self) -> Vec<u8> {
        // An image that cannot be written is an empty one, which `restore` refuses: the start then replays everything.
        self.ledger.image().unwrap_or_else(|error| {
            tracing::error!(%error, "the ledger could not be written as a checkpoint");
            Vec::new()
        })
    }

    fn restore(&mut self, checkpoint: &[u8]) -> Result<(), FoldError> {
        self.ledger.restore(checkpoint).map_err(|error| FoldError(error.to_string()))
    }
}
