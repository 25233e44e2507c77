//! Owns `lastmile registry`: on a running gateway, or with `--data` on a stopped one's files.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Method, multipart};
use serde_json::Value;

use super::{
    output::{self, Failure, block_on},
    remote::Remote,
};
use crate::{
    area::AreaCode,
    datum::Datum,
    registry::{self, ImportFile, ImportOptions, Mode, Progress, Registry as Store, RegistryError},
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
    /// Make up a county, for drills and measurements: into a stopped gateway's registry, or as files.
    Generate {
        #[arg(long, default_value_t = HOUSEHOLDS)]
        households: u32,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Its towns and villages, a file as `import` reads it; else the registry's own, else the fixture county's.
        #[arg(long)]
        areas: Option<PathBuf>,
        /// Write files that `import` reads, and leave the registry alone.
        #[arg(long)]
        out: Option<PathBuf>,
        #[arg(long, required_unless_present = "out")]
        data: Option<PathBuf>,
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
            Self::Generate { households, seed, areas, out, data } => {
                generate(households, seed, areas.as_deref(), out.as_deref(), data.as_deref())
            }
        }
    }
}

fn generate(households: u32, seed: u64, areas: Option<&Path>, out: Option<&Path>, data: Option<&Path>) -> Result<(), Failure> {
    let areas = areas.map(read).transpose()?;
    let areas = areas.as_ref().map(|(name, bytes)| ImportFile { name, bytes });
    let store = data.map(open).transpose()?;
    let kept = store.as_ref().map_or_else(Arc::default, Store::current);
    let import = registry::county(areas.as_ref(), &kept, households, seed).map_err(|faults| refused(RegistryError::Refused(faults)))?;
    if let Some(out) = out {
        registry::write_county(&import, out).map_err(|faults| refused(RegistryError::Refused(faults)))??;
        return output::line(&format!("written to {}", out.display()));
    }
    let store = store.ok_or_else(|| Failure::usage("generate needs --data or --out"))?;
    output::json(&store.import_records(&import, Mode::Upsert).map_err(refused)?)
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
    let read = files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
    let Some(data) = data else { return block_on(send(read, dry_run, replace, gcj02, remote)) };
    let store = open(data)?;
    let files: Vec<ImportFile<'_>> = read.iter().map(|(name, bytes)| ImportFile { name, bytes }).collect();
    let options =
        ImportOptions { mode: if replace { Mode::Replace } else { Mode::Upsert }, datum: if gcj02 { Datum::Gcj02 } else { Datum::Wgs84 } };
    let bar = import_bar()?;
    let watch = |progress| match progress {
        Progress::Read { bytes, of } => {
            bar.set_length(of);
            bar.set_position(bytes);
        }
        Progress::Merging => bar.set_message("comparing"),
        Progress::Writing => bar.set_message("writing"),
    };
    let done = if dry_run { store.dry_run_watched(&files, options, &watch) } else { store.import_watched(&files, options, &watch) };
    bar.finish_and_clear();
    output::json(&done.map_err(refused)?)
}

/// On stderr, and only where that is a terminal.
fn import_bar() -> Result<ProgressBar, Failure> {
    let style = ProgressStyle::with_template("{msg:10} {bar:40} {bytes}/{total_bytes} {elapsed}")?;
    let bar = ProgressBar::new(0).with_style(style).with_message("reading");
    bar.enable_steady_tick(Duration::from_millis(100));
    Ok(bar)
}

/// A file with its name.
fn read(file: &Path) -> Result<(String, Vec<u8>), Failure> {
    let name = file.file_name().map_or_else(|| file.display().to_string(), |name| name.to_string_lossy().into_owned());
    let bytes = fs::read(file).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    Ok((name, bytes))
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
