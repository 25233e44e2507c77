//! Owns `lastmile store`: the store of a stopped gateway.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::output::{self, Failure};
use crate::{delivery::ledger::Ledger, store};

#[derive(Args)]
pub(super) struct Data {
    /// Data directory of the stopped gateway.
    #[arg(long, default_value = "data")]
    data: PathBuf,
}

#[derive(Subcommand)]
pub(super) enum Store {
    /// Check that everything reads, that the audit chain holds, and that every count equals a recount.
    Verify {
        #[command(flatten)]
        data: Data,
        #[arg(long)]
        json: bool,
    },
    /// Copy the whole data directory into one file.
    Backup {
        file: PathBuf,
        #[command(flatten)]
        data: Data,
    },
    /// Make a data directory from such a file.
    Restore {
        file: PathBuf,
        #[command(flatten)]
        data: Data,
    },
    /// Sizes, entries and age of the checkpoint.
    Stats {
        #[command(flatten)]
        data: Data,
    },
}

impl Store {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Verify { data, json } => verify(&data, json),
            Self::Backup { file, data } => output::json(&store::backup(&data.data, &file)?),
            Self::Restore { file, data } => {
                store::restore(&file, &data.data)?;
                output::line(&format!("{} is restored", data.data.display()))
            }
            Self::Stats { data } => output::json(&store::stats(&data.data)?),
        }
    }
}

fn verify(data: &Data, as_json: bool) -> Result<(), Failure> {
    let report = store::verify(&data.data)?;
    let ledger = Ledger::default();
    let mut folding = Vec::new();
    let read = store::read_all(&data.data, |seq, bytes| {
        if let Err(error) = ledger.apply(bytes) {
            folding.push(format!("entry {seq}: {error}"));
        }
        Ok(())
    });
    if let Err(error) = read {
        folding.push(error.to_string());
    }
    folding.extend(
        ledger
            .newest_first()
            .iter()
            .flat_map(|shelf| shelf.read().violations().into_iter().map(|what| format!("alert {}: {what}", shelf.id))),
    );
    let sound = report.ok && folding.is_empty();
    if as_json {
        output::json(&json!({ "sound": sound, "store": report, "ledger": folding, "alerts": ledger.newest_first().len() }))?;
    } else {
        output::json(&report)?;
        for line in &folding {
            output::line(line)?;
        }
        output::line(if sound { "sound" } else { "NOT SOUND" })?;
    }
    if sound { Ok(()) } else { Err(Failure::No) }
}
