//! Owns `lastmile store`: the store of a stopped gateway, and the backup of a running one.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use futures::StreamExt as _;
use reqwest::Method;
use secrecy::SecretString;
use serde_json::json;

use super::{
    output::{self, Failure},
    remote::Remote,
};
use crate::{delivery::ledger::Ledger, engine::filed, store};

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
    /// Copy the whole data directory into one file: of a stopped gateway, or with --url of a running one.
    Backup {
        file: PathBuf,
        /// Data directory of the stopped gateway; `data` when neither this nor --url is given.
        #[arg(long)]
        data: Option<PathBuf>,
        /// Address of a running gateway.
        #[arg(long, env = "LASTMILE_URL", conflicts_with = "data")]
        url: Option<String>,
        /// API key of an admin.
        #[arg(long, env = "LASTMILE_KEY", hide_env_values = true)]
        key: Option<SecretString>,
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
            Self::Backup { file, data: None, url: Some(url), key } => output::block_on(fetch(&Remote::at(url, key), &file)),
            Self::Backup { file, data, .. } => output::json(&store::backup(&data.unwrap_or_else(|| "data".into()), &file)?),
            Self::Restore { file, data } => {
                store::restore(&file, &data.data)?;
                output::line(&format!("{} is restored", data.data.display()))
            }
            Self::Stats { data } => output::json(&store::stats(&data.data)?),
        }
    }
}

/// The file has its name only when it is whole and on disk.
async fn fetch(remote: &Remote, file: &Path) -> Result<(), Failure> {
    let answer = remote.send(remote.request(Method::GET, "/v1/backup")?).await?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    let (mut parts, mut bytes) = (answer.bytes_stream(), 0_u64);
    while let Some(part) = parts.next().await {
        let part = part?;
        bytes += part.len() as u64;
        draft.write_all(&part)?;
    }
    draft.as_file().sync_all()?;
    draft.persist(file).map_err(|error| error.error)?;
    output::json(&json!({ "file": file, "bytes": bytes }))
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
    folding.extend(
        ledger
            .newest_first()
            .iter()
            .flat_map(|shelf| filed::violations(&data.data, shelf).into_iter().map(|what| format!("alert {}: {what}", shelf.id))),
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
