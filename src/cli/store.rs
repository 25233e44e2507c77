//! Owns `lastmile store`: the store of a stopped gateway, and the backup of a running one.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{Args, Subcommand};
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::json;

use super::{
    audit::recorded,
    output::{self, Failure},
    remote::{Credential, Remote},
};
use crate::{
    access,
    delivery::ledger::Ledger,
    engine::{
        filed,
        months::{self, GiveBackError},
    },
    fault::Fault,
    registry, seal,
    store::{self, Beginning, Month, MonthStats, documents},
    time::SystemClock,
};

/// Closing writes the last checkpoint.
const CLOSE_WITHIN: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(super) struct Data {
    /// Data directory of the stopped gateway.
    #[arg(long, default_value = "data")]
    data: PathBuf,
}

/// A stopped gateway's store, or a running one's.
#[derive(Args)]
pub(super) struct Whose {
    /// Data directory of the stopped gateway; `data` when neither this nor --url is given.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Address of a running gateway.
    #[arg(long, env = "LASTMILE_URL", conflicts_with = "data")]
    url: Option<String>,
    /// Of an admin.
    #[command(flatten)]
    key: Credential,
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
        #[command(flatten)]
        whose: Whose,
    },
    /// Make a data directory from such a file.
    Restore {
        file: PathBuf,
        #[command(flatten)]
        data: Data,
        /// Key file that the backup was sealed with; else the one beside the data directory.
        #[arg(long)]
        seal_key: Option<PathBuf>,
        /// Let keys and users of an unsealed backup work at once. Without it they are listed and disabled: such a file may come from anybody.
        #[arg(long)]
        keep_access: bool,
        /// Data directory that this one comes in place of: whoever was erased there is erased here, too.
        #[arg(long)]
        erased_of: Option<PathBuf>,
    },
    /// Add a key to the key file; the registry is sealed with it at once. Older keys stay in the file: older backups need them.
    SealKey {
        #[command(flatten)]
        data: Data,
    },
    /// Give back the space of a month of the journal whose alerts are all filed: of a stopped gateway, or with --url of a running one. The
    /// audit trail of the month stays.
    Drop {
        /// Such as 2026-11.
        month: Month,
        #[command(flatten)]
        whose: Whose,
    },
    /// Sizes, entries and age of the checkpoint; of each month its alerts and what keeps it.
    Stats {
        #[command(flatten)]
        data: Data,
    },
}

impl Store {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Verify { data, json } => verify(&data, json),
            Self::Backup { file, whose: Whose { data: None, url: Some(url), key } } => {
                output::block_on(fetch(&Remote::at(url, key), &file))
            }
            Self::Backup { file, whose } => {
                let data = whose.data.unwrap_or_else(|| "data".into());
                store::home::look(&data)?;
                let made = recorded(&data, "backup", &file.display().to_string(), || Ok(store::backup(&data, &file)?))?;
                output::json(&made)
            }
            Self::Restore { file, data, seal_key, keep_access, erased_of } => {
                restore(&file, &data.data, seal_key.as_deref(), keep_access)?;
                erase_again(&data.data, erased_of.as_deref())
            }
            Self::SealKey { data } => new_seal_key(&data.data),
            Self::Stats { data } => stats(&data.data),
            Self::Drop { month, whose } => give_back(month, whose),
        }
    }
}

fn restore(file: &Path, data: &Path, seal_key: Option<&Path>, keep_access: bool) -> Result<(), Failure> {
    let restored = store::restore(file, data, seal_key)?;
    if !restored.is_sealed {
        let access = access::Access::open(data, Arc::new(SystemClock))?;
        for key in access.list_keys().into_iter().filter(|key| key.revoked.is_none()) {
            output::line(&format!("key   {}  {}", key.name, key.role))?;
        }
        for user in access.list_users().into_iter().filter(|user| !user.disabled) {
            output::line(&format!("user  {}  {}", user.name, user.role))?;
        }
        if !keep_access {
            recorded(data, "restore", "keys and users disabled", || Ok(access.distrust()?))?;
            output::line(
                "the backup was not sealed, so nobody knows who wrote it: these keys and users were disabled (--keep-access lets them work)",
            )?;
        }
    }
    recorded(data, "restore", &file.display().to_string(), || Ok(()))?;
    output::line(&format!("{} is restored", data.display()))
}

/// A backup brings back whoever was erased since it was made.
fn erase_again(data: &Path, before: Option<&Path>) -> Result<(), Failure> {
    let registry = registry::Registry::open(&data.join("registry"))?.registry;
    let Some(before) = before else {
        return output::line(&format!(
            "{} addresses of erased people are known to this backup; whoever was erased after it was made is in it again: \
             `audit list --what person-erase` of the directory before says who, and `store restore --erased-of` it erases them again",
            registry.erased_count()?
        ));
    };
    let ids = recorded(data, "person-erase", &format!("as in {}", before.display()), || Ok(registry.take_erased_from(before)?))?;
    output::line(&format!("erased again, as in {}: {}", before.display(), if ids.is_empty() { "nobody".into() } else { ids.join(", ") }))
}

fn new_seal_key(data: &Path) -> Result<(), Failure> {
    crate::app::enter_data(data)?;
    let seal = seal::of(data)?.ok_or_else(|| Failure::usage("nothing is sealed there: dangerous_unsealed = true"))?;
    // Opened first: a gateway that runs has it, and would go on with the old key.
    drop(registry::Registry::open(&data.join("registry"))?);
    let id = recorded(data, "seal-key-new", &seal.file().display().to_string(), || Ok(seal::add_key(seal.file())?))?;
    drop(registry::Registry::open(&data.join("registry"))?);
    output::line(&format!("{} seals from now on, from {}; keep a copy of the file", id, seal.file().display()))
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

/// All books of a stopped store, and what could not be folded into them.
fn fold(data: &Path) -> (Ledger, Vec<String>) {
    let ledger = Ledger::default();
    let mut faults = Vec::new();
    let begin = |beginning| match beginning {
        Beginning::First => Ok(()),
        Beginning::Checkpoint(_, state) => ledger.restore(&state).map_err(|error| error.to_string()),
        Beginning::Late(_) => match filed::take_heads(data, &ledger).unreadable.pop() {
            Some(why) => Err(why),
            None => Ok(()),
        },
    };
    let read = store::read_all(data, begin, |seq, bytes| {
        if let Err(error) = ledger.apply(bytes) {
            faults.push(format!("entry {seq}: {error}"));
        }
        Ok(())
    });
    faults.extend(read.err().map(|error| error.to_string()));
    (ledger, faults)
}

/// What the next start reads besides journal and trail: the registry, keys, users, settings, used nonces.
fn beside(data: &Path) -> Result<Vec<Fault>, Failure> {
    let place = |path: &Path| path.strip_prefix(data).unwrap_or(path).display().to_string();
    let registry =
        registry::judge(&data.join("registry"))?.into_iter().map(|(path, why)| Fault::new(place(&path), "registry-damaged", why));
    let documents = documents::judge(data)?.into_iter().map(|(path, why)| Fault::new(path, "document-damaged", why));
    let nonces = access::judge_nonces(data).err().map(|why| Fault::new("nonces.log", "nonces-damaged", why));
    Ok(registry.chain(documents).chain(nonces).collect())
}

fn verify(data: &Data, as_json: bool) -> Result<(), Failure> {
    let report = store::verify(&data.data)?;
    let beside = beside(&data.data)?;
    let (ledger, mut folding) = fold(&data.data);
    for shelf in ledger.newest_first() {
        let found = shelf.read().violations().into_iter().chain(filed::violations(&data.data, &shelf));
        folding.extend(found.map(|what| format!("alert {}: {what}", shelf.id)));
    }
    let sound = report.ok && beside.is_empty() && folding.is_empty();
    if as_json {
        output::json(
            &json!({ "sound": sound, "store": report, "beside": beside, "ledger": folding, "alerts": ledger.newest_first().len() }),
        )?;
    } else {
        output::json(&report)?;
        for line in beside.iter().map(ToString::to_string).chain(folding) {
            output::line(&line)?;
        }
        output::line(if sound { "sound" } else { "NOT SOUND" })?;
    }
    if sound { Ok(()) } else { Err(Failure::No) }
}

/// Sizes of the store, and of each month its alerts and what keeps it.
fn stats(data: &Path) -> Result<(), Failure> {
    let stats = store::stats(data)?;
    let (ledger, faults) = fold(data);
    let mut whole = serde_json::to_value(&stats)?;
    let is_kept = |month: &MonthStats| !month.given_back;
    for (place, month) in stats.months.iter().enumerate() {
        let name: Month = month.month.parse()?;
        let (alerts, filed) = months::alerts_of(&ledger, name);
        let unfiled = months::unfiled(&ledger, name).len();
        let why = match () {
            () if month.given_back => Some("it was given back".to_owned()),
            () if place + 1 == stats.months.len() => Some("it is written to".to_owned()),
            () if stats.months[..place].iter().any(is_kept) => Some("an older month comes first".to_owned()),
            () if unfiled > 0 => Some(format!("{unfiled} alerts of it or before are not filed")),
            () if month.covers < 2 => Some(format!("{} of 2 checkpoints reach beyond it", month.covers)),
            () => None,
        };
        let shown = &mut whole["months"][place];
        shown["alerts"] = alerts.into();
        shown["alerts_filed"] = filed.into();
        shown["droppable"] = why.is_none().into();
        shown["kept_because"] = why.filter(|_| is_kept(month)).into();
    }
    whole["unreadable"] = faults.into();
    output::json(&whole)
}

/// Of a stopped store, unless a running gateway is named.
fn give_back(month: Month, Whose { data, url, key }: Whose) -> Result<(), Failure> {
    output::block_on(async {
        if let (None, Some(url)) = (&data, url) {
            Remote::at(url, key).post(&format!("/v1/journal/{month}/drop"), &json!({})).await?;
            return output::line(&format!("{month} was given back"));
        }
        let gateway = crate::app::open_stopped(&data.unwrap_or_else(|| "data".into()))?;
        let given = gateway.give_back(month, "store drop").await;
        gateway.stop(CLOSE_WITHIN).await?;
        match given {
            Ok(()) => output::line(&format!("{month} was given back")),
            Err(why @ (GiveBackError::Unfiled { .. } | GiveBackError::NoSuchMonth(_) | GiveBackError::Refused(_))) => {
                output::line(&format!("{month} is kept: {why}"))?;
                Err(Failure::No)
            }
            Err(error) => Err(error.into()),
        }
    })
}
