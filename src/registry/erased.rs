//! Owns the list of those who were erased: keyed hashes of their addresses, by which an import of the same person is left out and said.
//! Refuses to know who asked for it, and anything that could be read back: neither name nor number stands in it.
//! Invariant: on disk before the record goes; whoever is there under a shared address stays there.

use std::{collections::HashMap, io, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use super::{
    address::AddressKind,
    merge::Import,
    row_faults::RowFaults,
    snapshot::Snapshot,
    subscriber::{Subscriber, SubscriberRecord},
};
use crate::{
    seal::{self, MAC_BYTES},
    store::documents::{DocumentError, Documents},
};

const DOCUMENT: &str = "erased.json";
const FOLDER: &str = "documents";
const PURPOSE: &str = "addresses of the erased";
/// Of what was hashed with the key that stands in the list itself, where nothing is sealed.
const OPEN_KEY: &str = "unsealed";

/// One address of somebody who was erased. The id tells them from whoever shares the address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Line {
    key: String,
    address: String,
    id: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Kept {
    /// Where nothing is sealed: it keeps numbers out of sight, and from nobody who can read the directory and guess.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open_key: Option<String>,
    #[serde(default)]
    lines: Vec<Line>,
}

/// The list with the keys that its hashes are made with.
pub(super) struct Erased {
    kept: Kept,
    keys: HashMap<String, [u8; MAC_BYTES]>,
    /// Made with this one from now on.
    newest: Option<String>,
}

impl Erased {
    pub(super) fn of(data: &Path) -> io::Result<Self> {
        // Looked for first: opening documents makes their folder, and a registry alone has none.
        let kept = match data.join(FOLDER).join(DOCUMENT).exists() || data.join(FOLDER).join(format!("{DOCUMENT}.twin")).exists() {
            true => match Documents::open(data)?.read(DOCUMENT).map_err(|error| told(&error))? {
                Some(bytes) => serde_json::from_slice(&bytes)?,
                None => Kept::default(),
            },
            false => Kept::default(),
        };
        let seal = seal::of(data).map_err(|error| io::Error::other(error.to_string()))?;
        let derived = seal.iter().flat_map(|seal| seal.derived(PURPOSE)).collect::<Vec<_>>();
        let newest = seal.filter(seal::Seal::is_on).and_then(|_| derived.last().map(|(id, _)| id.clone()));
        let open = kept.open_key.as_deref().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok());
        let keys = derived.into_iter().chain(open.map(|key| (OPEN_KEY.to_owned(), key))).collect();
        Ok(Self { kept, keys, newest })
    }

    pub(super) const fn len(&self) -> usize {
        self.kept.lines.len()
    }

    /// Has these people on the list, durably.
    pub(super) fn add(&mut self, data: &Path, people: &[Subscriber<'_>]) -> io::Result<()> {
        let key = self.newest.clone().unwrap_or_else(|| OPEN_KEY.to_owned());
        if key == OPEN_KEY && !self.keys.contains_key(OPEN_KEY) {
            let made: [u8; MAC_BYTES] = rand::rng().random();
            self.kept.open_key = Some(URL_SAFE_NO_PAD.encode(made));
            self.keys.insert(key.clone(), made);
        }
        let secret = self.keys[&key];
        for person in people {
            let id = hashed(&secret, "id", person.id());
            let addresses = addresses(&person.record());
            // Whoever has no address is known by the id alone.
            let own = if addresses.is_empty() { vec![("id", person.id().to_owned())] } else { addresses };
            let lines =
                own.iter().map(|(kind, address)| Line { key: key.clone(), address: hashed(&secret, kind, address), id: id.clone() });
            self.kept.lines.extend(lines);
        }
        self.write(data)
    }

    fn write(&mut self, data: &Path) -> io::Result<()> {
        self.kept.lines.sort();
        self.kept.lines.dedup();
        Documents::open(data)?.replace(DOCUMENT, &serde_json::to_vec(&self.kept)?).map_err(|error| told(&error))
    }

    /// Takes in the list of another directory of the same installation.
    pub(super) fn join(&mut self, data: &Path, other: Self) -> io::Result<()> {
        if let Some(open) = &other.kept.open_key {
            if self.kept.open_key.as_ref().is_some_and(|own| own != open) {
                return Err(io::Error::other("both lists of the erased have keys of their own: they cannot become one"));
            }
            self.kept.open_key = Some(open.clone());
        }
        self.keys.extend(other.keys);
        self.kept.lines.extend(other.kept.lines);
        self.write(data)
    }

    /// Places of lines by what they name: a million rows are held against them.
    fn index(&self) -> HashMap<&str, Vec<usize>> {
        let mut index = HashMap::<&str, Vec<usize>>::with_capacity(self.len());
        self.kept.lines.iter().enumerate().for_each(|(place, line)| index.entry(&line.address).or_default().push(place));
        index
    }

    /// Places of the lines that name an address of this record, or its id where it has none.
    fn lines_of(&self, index: &HashMap<&str, Vec<usize>>, record: &SubscriberRecord) -> Vec<usize> {
        let mut own = addresses(record);
        own.push(("id", record.id.to_string()));
        let hashes = self.keys.values().flat_map(|secret| own.iter().map(move |(kind, address)| hashed(secret, kind, address)));
        hashes.filter_map(|hash| index.get(hash.as_str())).flatten().copied().collect()
    }

    /// Whether this person, and not only somebody of the same address, is on the list.
    fn names(&self, index: &HashMap<&str, Vec<usize>>, record: &SubscriberRecord) -> bool {
        self.lines_of(index, record).into_iter().any(|place| {
            let line = &self.kept.lines[place];
            self.keys.get(&line.key).is_some_and(|secret| hashed(secret, "id", &record.id) == line.id)
        })
    }

    /// Ids of those in a registry who are on the list: a backup of before has brought them back.
    pub(super) fn brought_back(&self, snapshot: &Snapshot) -> Vec<Box<str>> {
        if self.len() == 0 {
            return Vec::new();
        }
        let index = self.index();
        let people = (0..snapshot.subscriber_count()).map(|position| snapshot.subscriber_at(position).record());
        people.filter(|record| self.names(&index, record)).map(|record| record.id).collect()
    }

    /// Leaves out of an import whoever is on the list; with `allow` the list lets go of them. Whether the list has changed.
    pub(super) fn leave_out(&mut self, import: &mut Import, faults: &mut RowFaults, current: &Snapshot, allow: bool) -> bool {
        if self.len() == 0 {
            return false;
        }
        let (mut left_out, mut let_go, index) = (Vec::new(), Vec::new(), self.index());
        for (place, placed) in import.subscribers.iter().enumerate() {
            let lines = self.lines_of(&index, &placed.record);
            if lines.is_empty() || is_there(current, &placed.record) {
                continue;
            }
            if allow {
                let_go.extend(lines);
            } else {
                left_out.push(place);
            }
        }
        // In one pass: a county has a million rows.
        let (mut rows, mut place, mut out) = (std::mem::take(&mut import.subscribers), 0_usize, left_out.into_iter().peekable());
        rows.retain(|placed| {
            let is_out = out.next_if_eq(&place).is_some();
            place += 1;
            if !is_out {
                return true;
            }
            let message = format!("{:?} was erased and is left out; --allow-erased (allow_erased=1) takes them in again", placed.record.id);
            faults.warn(import.place(placed, "id"), "erased-person", message);
            false
        });
        import.subscribers = rows;
        let_go.sort_unstable();
        let_go.dedup();
        for place in let_go.iter().rev() {
            self.kept.lines.remove(*place);
        }
        !let_go.is_empty()
    }

    pub(super) fn keep(&mut self, data: &Path) -> io::Result<()> {
        self.write(data)
    }
}

/// Whether somebody of this id has one of these addresses already: they shared it with whoever was erased.
fn is_there(current: &Snapshot, record: &SubscriberRecord) -> bool {
    let own = addresses(record);
    current.subscriber_by_id(&record.id).is_some_and(|kept| {
        let kept = addresses(&kept.record());
        own.is_empty() || own.iter().any(|address| kept.contains(address))
    })
}

fn addresses(record: &SubscriberRecord) -> Vec<(&'static str, String)> {
    AddressKind::ALL
        .into_iter()
        .filter_map(|kind| {
            let (word, text) = match kind {
                AddressKind::Phone => ("phone", record.phone.map(|phone| phone.expose().to_owned()).unwrap_or_default()),
                AddressKind::Mail => ("mail", record.mail().to_owned()),
                AddressKind::Wecom => ("wecom", record.wecom().to_owned()),
                AddressKind::Openid => ("openid", record.openid().to_owned()),
            };
            (!text.is_empty()).then_some((word, text))
        })
        .collect()
}

fn hashed(key: &[u8; MAC_BYTES], kind: &str, text: &str) -> String {
    URL_SAFE_NO_PAD.encode(seal::mac(key, &[kind.as_bytes(), text.as_bytes()]))
}

fn told(error: &DocumentError) -> io::Error {
    io::Error::other(error.to_string())
}
