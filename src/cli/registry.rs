//! Owns `lastmile registry`: on a running gateway, or with `--data` on a stopped one's files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use reqwest::{Method, multipart};
use serde_json::Value;

use super::{
    output::{self, Failure, block_on},
    remote::Remote,
};
use crate::{
    area::AreaCode,
    datum::Datum,
    registry::{self, ImportFile, ImportOptions, Mode, Registry as Store, RegistryError},
};

/// The fixture county is generated with this many households when nothing else is said.
const HOUSEHOLDS: u32 = 60_000;

#[derive(Subcommand)]
pub(super) enum Registry {
    /// Take in CSV or XLSX files, all or nothing.
    Import {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Say what would change, change nothing.
        #[arg(long)]
        dry_run: bool,
        /// Replace the kinds that are in the files, instead of adding and changing.
        #[arg(long)]
        replace: bool,
        /// Coordinates of the files are GCJ-02.
        #[arg(long)]
        gcj02: bool,
        #[arg(long)]
        data: Option<PathBuf>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Write the registry as CSV files that import again to the same.
    Export {
        dir: PathBuf,
        #[arg(long)]
        data: PathBuf,
    },
    /// What contradicts itself.
    Check {
        #[arg(long)]
        data: PathBuf,
        #[arg(long)]
        json: bool,
    },
    /// People, villages and hazard points that no channel reaches.
    Gaps {
        #[arg(long)]
        area: Option<AreaCode>,
        #[arg(long)]
        data: Option<PathBuf>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Fill a stopped gateway's registry with a made-up county, for drills and measurements.
    Generate {
        #[arg(long, default_value_t = HOUSEHOLDS)]
        households: u32,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[arg(long)]
        data: PathBuf,
    },
}

impl Registry {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Import { files, dry_run, replace, gcj02, data, remote } => {
                import(&files, dry_run, replace, gcj02, data.as_deref(), &remote)
            }
            Self::Export { dir, data } => {
                fs::create_dir_all(&dir)?;
                registry::export_dir(&open(&data)?.current(), &dir)?;
                output::line(&format!("written to {}", dir.display()))
            }
            Self::Check { data, json } => {
                let faults = registry::check(&open(&data)?.current());
                if json {
                    output::json(&faults)?;
                } else {
                    faults.iter().try_for_each(|fault| output::line(&fault.to_string()))?;
                }
                if faults.is_empty() { Ok(()) } else { Err(Failure::No) }
            }
            Self::Gaps { area, data, remote } => match data {
                Some(data) => output::json(&registry::gaps(&open(&data)?.current(), area)),
                None => block_on(async {
                    let query = area.map_or_else(String::new, |area| format!("?area={area}"));
                    output::json(&remote.get(&format!("/v1/registry/gaps{query}")).await?)
                }),
            },
            Self::Generate { households, seed, data } => {
                let store = open(&data)?;
                let current = store.current();
                // An empty registry has no villages to put people into: it takes the fixture county with its areas.
                let import = if current.areas().is_empty() {
                    registry::fixture::beichuan(households, seed)
                } else {
                    registry::generate(&areas_of(&current), households, seed)
                };
                let report = store.import_records(&import, Mode::Upsert).map_err(refused)?;
                output::json(&report)
            }
        }
    }
}

fn areas_of(snapshot: &registry::Snapshot) -> Vec<registry::AreaRecord> {
    snapshot.areas().iter().map(registry::AreaRecord::of).collect()
}

fn open(data: &Path) -> Result<Store, Failure> {
    let opened = Store::open(&data.join("registry"))?;
    for damaged in &opened.damaged {
        tracing::error!(file = %damaged.file.display(), "a registry file is damaged; the one before is used");
    }
    Ok(opened.registry)
}

/// Every bad row, line by line.
fn refused(error: RegistryError) -> Failure {
    match error {
        RegistryError::Refused(faults) => {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            match output::raw(&(lines.join("\n") + "\n")) {
                Ok(()) => Failure::No,
                Err(failure) => failure,
            }
        }
        other => other.into(),
    }
}

fn import(files: &[PathBuf], dry_run: bool, replace: bool, gcj02: bool, data: Option<&Path>, remote: &Remote) -> Result<(), Failure> {
    let mut read = Vec::with_capacity(files.len());
    for file in files {
        let name = file.file_name().map_or_else(|| file.display().to_string(), |name| name.to_string_lossy().into_owned());
        read.push((name, fs::read(file).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?));
    }
    let Some(data) = data else { return block_on(send(read, dry_run, replace, gcj02, remote)) };
    let store = open(data)?;
    let files: Vec<ImportFile<'_>> = read.iter().map(|(name, bytes)| ImportFile { name, bytes }).collect();
    let options =
        ImportOptions { mode: if replace { Mode::Replace } else { Mode::Upsert }, datum: if gcj02 { Datum::Gcj02 } else { Datum::Wgs84 } };
    let bar = indicatif::ProgressBar::new_spinner().with_message("importing");
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let done = if dry_run { store.dry_run(&files, options) } else { store.import(&files, options) };
    bar.finish_and_clear();
    output::json(&done.map_err(refused)?)
}

async fn send(files: Vec<(String, Vec<u8>)>, dry_run: bool, replace: bool, gcj02: bool, remote: &Remote) -> Result<(), Failure> {
    let mut form = multipart::Form::new();
    for (name, bytes) in files {
        form = form.part(name.clone(), multipart::Part::bytes(bytes).file_name(name));
    }
    let mut query = Vec::new();
    for (word, set) in [("dry_run=1", dry_run), ("replace=1", replace), ("datum=gcj02", gcj02)] {
        if set {
            query.push(word);
        }
    }
    let request = remote.request(Method::POST, &format!("/v1/registry/import?{}", query.join("&")))?.multipart(form);
    let answer: Value = remote.json(request).await?;
    output::json(&answer)
}
