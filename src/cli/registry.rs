//! Owns `lastmile registry`: on a running gateway, or with `--data` on a stopped one's files.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Subcommand;
use futures::TryStreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Body, Method, multipart};
use serde_json::Value;
use tokio_util::io::ReaderStream;

use super::{
    audit::recorded,
    output::{self, Failure, block_on},
    remote::Remote,
};
use crate::{
    app,
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
        /// Take in whoever was erased, too (see `person erase`).
        #[arg(long)]
        allow_erased: bool,
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
        data: Option<PathBuf>,
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        remote: Remote,
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
            Self::Import { files, dry_run, replace, gcj02, allow_erased, data, remote } => {
                let options = ImportOptions {
                    mode: if replace { Mode::Replace } else { Mode::Upsert },
                    datum: if gcj02 { Datum::Gcj02 } else { Datum::Wgs84 },
                    allow_erased,
                };
                import(&files, dry_run, options, data.as_deref(), &remote)
            }
            Self::Export { dir, data } => {
                let store = open(&data)?;
                recorded(&data, "registry-export", &dir.display().to_string(), || Ok(registry::export_dir(&store.current(), &dir)?))?;
                output::line(&format!("written to {}", dir.display()))
            }
            Self::Check { data, json, remote } => check(data.as_deref(), json, &remote),
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

fn check(data: Option<&Path>, json: bool, remote: &Remote) -> Result<(), Failure> {
    let odd = match data {
        Some(data) => registry::check(&open(data)?.current()).into_iter().map(|fault| serde_json::json!(fault)).collect(),
        None => block_on(async {
            let answer = remote.get("/v1/registry/check").await?;
            Ok(answer.as_array().cloned().ok_or_else(|| anyhow::anyhow!("the gateway's answer is no list"))?)
        })?,
    };
    if json {
        output::json(&odd)?;
    } else {
        let word = |fault: &Value, name: &str| fault.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let line = |fault: &Value| format!("{}: {} [{}]", word(fault, "path"), word(fault, "message"), word(fault, "rule"));
        odd.iter().try_for_each(|fault| output::line(&line(fault)))?;
    }
    if odd.is_empty() { Ok(()) } else { Err(Failure::No) }
}

fn generate(households: u32, seed: u64, areas: Option<&Path>, out: Option<&Path>, data: Option<&Path>) -> Result<(), Failure> {
    let areas = areas.map(Opened::open).transpose()?;
    let areas = areas.as_ref().map(Opened::as_import);
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
    app::enter_data(data)?;
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

fn import(files: &[PathBuf], dry_run: bool, options: ImportOptions, data: Option<&Path>, remote: &Remote) -> Result<(), Failure> {
    let opened = files.iter().map(|file| Opened::open(file)).collect::<Result<Vec<_>, _>>()?;
    let Some(data) = data else { return block_on(send(opened, dry_run, options, remote)) };
    let store = open(data)?;
    let files: Vec<ImportFile<'_>> = opened.iter().map(Opened::as_import).collect();
    let bar = import_bar()?;
    let watch = |progress| match progress {
        Progress::Read { bytes, of } => {
            bar.set_length(of);
            bar.set_position(bytes);
        }
        Progress::Merging => bar.set_message("comparing"),
        Progress::Writing => bar.set_message("writing"),
    };
    let names = files.iter().map(|file| file.name).collect::<Vec<_>>().join(", ");
    let done = if dry_run {
        store.dry_run_watched(&files, options, &watch)
    } else {
        recorded(data, "registry-import", &names, || Ok(store.import_watched(&files, options, &watch)))?
    };
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
struct Opened {
    name: String,
    file: File,
    bytes: u64,
}

impl Opened {
    fn open(path: &Path) -> Result<Self, Failure> {
        let told = |error: std::io::Error| anyhow::anyhow!("{}: {error}", path.display());
        let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        let file = File::open(path).map_err(told)?;
        let about = file.metadata().map_err(told)?;
        if !about.is_file() {
            return Err(Failure::usage(format!("{} is no file", path.display())));
        }
        Ok(Self { name, file, bytes: about.len() })
    }

    fn as_import(&self) -> ImportFile<'_> {
        ImportFile::on_disk(&self.name, &self.file)
    }
}

/// Piece by piece from the disk, and the bar shows how much has gone.
async fn send(files: Vec<Opened>, dry_run: bool, options: ImportOptions, remote: &Remote) -> Result<(), Failure> {
    let bar = import_bar()?;
    bar.set_message("sending");
    bar.set_length(files.iter().map(|file| file.bytes).sum());
    let mut form = multipart::Form::new();
    for Opened { name, file, bytes } in files {
        let sent = bar.clone();
        let pieces = ReaderStream::new(tokio::fs::File::from_std(file)).inspect_ok(move |piece| {
            sent.inc(piece.len() as u64);
            if sent.length() == Some(sent.position()) {
                sent.set_message("importing");
            }
        });
        let part = multipart::Part::stream_with_length(Body::wrap_stream(pieces), bytes).file_name(name.clone());
        form = form.part(name, part);
    }
    let mut query = Vec::new();
    for (word, set) in [
        ("dry_run=1", dry_run),
        ("replace=1", options.mode == Mode::Replace),
        ("datum=gcj02", options.datum == Datum::Gcj02),
        ("allow_erased=1", options.allow_erased),
    ] {
        if set {
            query.push(word);
        }
    }
    let request = remote.request(Method::POST, &format!("/v1/registry/import?{}", query.join("&")))?.multipart(form);
    let answer: Result<Value, Failure> = remote.json(request).await;
    bar.finish_and_clear();
    output::json(&answer?)
}
