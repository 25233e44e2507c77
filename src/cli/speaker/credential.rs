//! Owns `lastmile speaker credential`: each loudspeaker's own password at the built-in broker, on the data directory of a running or stopped gateway.
//! Refuses to show a credential twice. Invariant: the file that takes them exists before any is made, and only its owner reads it.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::super::{
    audit::recorded,
    key::Where,
    output::{self, Failure},
};
use crate::{
    access::{CREDENTIAL_LETTERS_MIN, Devices, For},
    app,
    registry::Registry,
    time::SystemClock,
};

/// A device and its credential.
type Login = (String, SecretString);

/// Credentials of a county's loudspeakers with their headings; more is another file.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Headings of the two columns, in the files that are read and in those that are written.
const ID: [&str; 2] = ["id", "编号"];
const CREDENTIAL: [&str; 4] = ["credential", "凭据", "password", "密码"];

#[derive(Args)]
pub(in crate::cli) struct Credential {
    /// Ids of loudspeakers, as the registry has them.
    ids: Vec<String>,
    /// All loudspeakers of the registry (the gateway must be stopped; else use --from with an export of it).
    #[arg(long, conflicts_with_all = ["ids", "from"])]
    all: bool,
    /// A CSV file with the column `id` (编号); what stands in its column `credential` (凭据) is taken over, where it is empty one is made.
    #[arg(long, value_name = "FILE", conflicts_with = "ids")]
    from: Option<PathBuf>,
    /// Also for those that have one; the old one stops working at once.
    #[arg(long)]
    renew: bool,
    /// Take the credentials of these away.
    #[arg(long, conflicts_with_all = ["all", "from", "renew", "out"])]
    revoke: bool,
    /// Who has one, and since when.
    #[arg(long, conflicts_with_all = ["ids", "all", "from", "renew", "revoke", "out"])]
    list: bool,
    /// A new CSV file `id,credential` for whoever sets up the loudspeakers.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    place: Where,
}

impl Credential {
    pub(super) fn run(self) -> Result<(), Failure> {
        let data = self.place.data()?;
        app::enter_data(&data)?;
        let devices = Devices::open(&data, Arc::new(SystemClock))?;
        if self.list {
            let list: Vec<_> = devices.list().into_iter().map(|(id, made)| json!({ "id": id, "made": made })).collect();
            return output::json(&list);
        }
        if self.revoke {
            return recorded(&data, "speaker-credential-revoke", &self.ids.join(" "), || self.take_away(&devices));
        }
        let (ids, given) = self.named(&data)?;
        if ids.is_empty() && given.is_empty() {
            return Err(Failure::usage("name loudspeakers: ID…, --all, or --from FILE"));
        }
        if let Some(unknown) = unknown(&data, ids.iter().chain(given.iter().map(|(id, _)| id))) {
            return Err(Failure::usage(format!("the registry has no loudspeaker {unknown:?}")));
        }
        let many = ids.len() + given.len() > 1;
        if many && self.out.is_none() && !ids.is_empty() {
            return Err(Failure::usage("credentials of several loudspeakers need --out FILE"));
        }
        let out = self.out.as_deref().map(create).transpose()?;
        let object = if self.ids.is_empty() { format!("{} speakers", ids.len() + given.len()) } else { self.ids.join(" ") };
        let made = recorded(&data, "speaker-credential", &object, || {
            devices.take_over(&given)?;
            Ok(devices.make(ids.iter().map(String::as_str), if self.renew { For::Renewed } else { For::New })?)
        })?;
        match out {
            Some(file) => write(file, &made)?,
            None => made.iter().try_for_each(|(_, secret)| output::line(secret.expose_secret()))?,
        }
        let had = ids.len() - made.len();
        tell(&format!(
            "made {}, taken over {}, left as they are {had}{}",
            made.len(),
            given.len(),
            if had > 0 { " (--renew makes them anew)" } else { "" }
        ))
    }

    fn take_away(&self, devices: &Devices) -> Result<(), Failure> {
        if self.ids.is_empty() {
            return Err(Failure::usage("name the loudspeakers whose credentials are to end"));
        }
        let gone = devices.revoke(&self.ids)?;
        let unknown: Vec<&String> = self.ids.iter().filter(|id| !gone.contains(id)).collect();
        if unknown.is_empty() { Ok(()) } else { Err(anyhow::anyhow!("these had no credential: {unknown:?}").into()) }
    }

    /// Those for which one is to be made, and those that have one already.
    fn named(&self, data: &Path) -> Result<(Vec<String>, Vec<Login>), Failure> {
        if self.all {
            let snapshot = Registry::open(&data.join("registry"))?.registry.current();
            return Ok(((0..snapshot.speaker_count()).map(|at| snapshot.speaker_at(at).id().to_owned()).collect(), Vec::new()));
        }
        let Some(file) = &self.from else { return Ok((self.ids.clone(), Vec::new())) };
        let (mut ids, mut given, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for (line, id, credential) in rows(file)? {
            match credential {
                None => ids.push(id),
                Some(secret) if secret.expose_secret().chars().count() < CREDENTIAL_LETTERS_MIN => {
                    faults.push(format!("{} line {line}: a credential has at least {CREDENTIAL_LETTERS_MIN} letters", file.display()));
                }
                Some(secret) => given.push((id, secret)),
            }
        }
        if faults.is_empty() { Ok((ids, given)) } else { Err(Failure::usage(faults.join("\n"))) }
    }
}

/// The first of these that the registry does not have; nothing is said while a running gateway holds the registry.
fn unknown<'a>(data: &Path, mut ids: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let snapshot = Registry::open(&data.join("registry")).ok()?.registry.current();
    ids.find(|id| snapshot.speaker_by_id(id).is_none())
}

/// The credentials of a file, by loudspeaker.
pub(super) fn read(file: &Path) -> Result<HashMap<String, SecretString>, Failure> {
    Ok(rows(file)?.into_iter().filter_map(|(_, id, secret)| Some((id, secret?))).collect())
}

/// A line of the file: its number, the loudspeaker, the credential that it has already.
type Row = (u64, String, Option<SecretString>);

fn rows(file: &Path) -> Result<Vec<Row>, Failure> {
    let at = |what: &str| Failure::usage(format!("{}: {what}", file.display()));
    let size = std::fs::metadata(file).map_err(|error| at(&error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(at("is larger than any list of credentials"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| at(&error.to_string()))?;
    let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let headings = rows.headers().map_err(|error| at(&error.to_string()))?.clone();
    let column = |names: &[&str]| headings.iter().position(|heading| names.iter().any(|name| heading.trim().eq_ignore_ascii_case(name)));
    let id = column(&ID).ok_or_else(|| at("has no column id (编号)"))?;
    let credential = column(&CREDENTIAL);
    let mut found = Vec::new();
    for row in rows.records() {
        let row = row.map_err(|error| at(&error.to_string()))?;
        let cell = |at: usize| row.get(at).map(str::trim).filter(|cell| !cell.is_empty());
        let Some(name) = cell(id) else { continue };
        let line = row.position().map_or(0, csv::Position::line);
        found.push((line, name.to_owned(), credential.and_then(cell).map(|secret| SecretString::from(secret.to_owned()))));
    }
    Ok(found)
}

fn create(path: &Path) -> Result<File, Failure> {
    let made = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    made.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

fn write(file: File, made: &[(String, SecretString)]) -> Result<(), Failure> {
    let mut rows = csv::Writer::from_writer(file);
    rows.write_record([ID[0], CREDENTIAL[0]])?;
    for (id, secret) in made {
        rows.write_record([id.as_str(), secret.expose_secret()])?;
    }
    let file = rows.into_inner().map_err(|error| anyhow::anyhow!("the credentials could not be written: {}", error.error()))?;
    Ok(file.sync_all()?)
}

/// On stderr, so that a credential on stdout stands alone.
pub(super) fn tell(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stderr(), "{text}")?)
}
