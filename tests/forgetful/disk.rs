//! Owns what a disk holds now and what it would still hold after a power cut: bytes and names, each in two states.
//! Refuses to know who asks (`served`) and what the files mean.
//! Invariant: bytes are safe only once their file was synced, names only once their folder was; a cut leaves what was safe, and of
//! the rest nothing, or whole sectors and whole folders by chance.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
};

use rand::{RngExt as _, rngs::StdRng};

pub(crate) type Number = u64;

pub(crate) const ROOT: Number = 1;
/// What a disk writes as a whole.
const SECTOR: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    NoEntry,
    Exists,
    NotEmpty,
    NotAFolder,
    NotAFile,
}

#[derive(Default)]
pub(crate) struct Content {
    now: Vec<u8>,
    safe: Vec<u8>,
    /// Sectors that were written since the last sync.
    touched: BTreeSet<usize>,
}

#[derive(Clone, Default)]
pub(crate) struct Names {
    now: BTreeMap<String, Number>,
    safe: BTreeMap<String, Number>,
}

pub(crate) enum Thing {
    File(Content),
    Folder(Names),
}

pub(crate) struct Node {
    pub(crate) thing: Thing,
    pub(crate) mode: u16,
    /// Grows with every change, as a time of change does.
    pub(crate) changed: u64,
}

pub(crate) struct Disk {
    nodes: HashMap<Number, Node>,
    last: Number,
    changes: u64,
}

impl Disk {
    pub(crate) fn blank() -> Self {
        let root = Node { thing: Thing::Folder(Names::default()), mode: 0o755, changed: 0 };
        Self { nodes: HashMap::from([(ROOT, root)]), last: ROOT, changes: 0 }
    }

    pub(crate) fn node(&self, number: Number) -> Result<&Node, Refused> {
        self.nodes.get(&number).ok_or(Refused::NoEntry)
    }

    pub(crate) fn find(&self, folder: Number, name: &str) -> Result<Number, Refused> {
        self.names(folder)?.get(name).copied().ok_or(Refused::NoEntry)
    }

    pub(crate) fn names(&self, folder: Number) -> Result<&BTreeMap<String, Number>, Refused> {
        match &self.node(folder)?.thing {
            Thing::Folder(names) => Ok(&names.now),
            Thing::File(_) => Err(Refused::NotAFolder),
        }
    }

    pub(crate) fn make(&mut self, folder: Number, name: &str, mode: u32, thing: Thing) -> Result<Number, Refused> {
        if self.find(folder, name).is_ok() {
            return Err(Refused::Exists);
        }
        let number = self.last + 1;
        self.names_mut(folder)?.now.insert(name.to_owned(), number);
        self.last = number;
        let mode = u16::try_from(mode & 0o7777).expect("twelve bits");
        self.nodes.insert(number, Node { thing, mode, changed: self.changes });
        Ok(number)
    }

    /// Whoever has it open goes on with it; nobody finds it any more.
    pub(crate) fn remove(&mut self, folder: Number, name: &str) -> Result<(), Refused> {
        let number = self.find(folder, name)?;
        if self.names(number).is_ok_and(|names| !names.is_empty()) {
            return Err(Refused::NotEmpty);
        }
        self.names_mut(folder)?.now.remove(name);
        Ok(())
    }

    pub(crate) fn rename(&mut self, folder: Number, name: &str, to: Number, to_name: &str) -> Result<(), Refused> {
        let number = self.find(folder, name)?;
        if let Ok(there) = self.find(to, to_name)
            && self.names(there).is_ok_and(|names| !names.is_empty())
        {
            return Err(Refused::NotEmpty);
        }
        self.names_mut(folder)?.now.remove(name);
        self.names_mut(to)?.now.insert(to_name.to_owned(), number);
        Ok(())
    }

    pub(crate) fn chmod(&mut self, number: Number, mode: u32) -> Result<(), Refused> {
        self.nodes.get_mut(&number).ok_or(Refused::NoEntry)?.mode = u16::try_from(mode & 0o7777).expect("twelve bits");
        Ok(())
    }

    pub(crate) fn read(&self, number: Number, from: usize, count: usize) -> Result<&[u8], Refused> {
        let Thing::File(content) = &self.node(number)?.thing else { return Err(Refused::NotAFile) };
        let from = from.min(content.now.len());
        Ok(&content.now[from..from.saturating_add(count).min(content.now.len())])
    }

    pub(crate) fn write(&mut self, number: Number, at: usize, bytes: &[u8]) -> Result<(), Refused> {
        let end = at + bytes.len();
        let content = self.content_mut(number)?;
        if end > content.now.len() {
            content.resize(end);
        }
        content.now[at..end].copy_from_slice(bytes);
        content.touched.extend(at / SECTOR..end.div_ceil(SECTOR));
        Ok(())
    }

    pub(crate) fn resize(&mut self, number: Number, length: usize) -> Result<(), Refused> {
        self.content_mut(number)?.resize(length);
        Ok(())
    }

    /// What was asked of a file makes its bytes safe, of a folder its names.
    pub(crate) fn sync(&mut self, number: Number) -> Result<(), Refused> {
        match &mut self.nodes.get_mut(&number).ok_or(Refused::NoEntry)?.thing {
            Thing::File(content) => content.sync(),
            Thing::Folder(names) => names.safe.clone_from(&names.now),
        }
        Ok(())
    }

    /// A sync that failed: as Linux does it, what it was to make safe counts as written and is never tried again.
    pub(crate) fn fail_sync(&mut self, number: Number) {
        if let Some(Node { thing: Thing::File(content), .. }) = self.nodes.get_mut(&number) {
            content.touched.clear();
        }
    }

    /// Bytes that a cut would take.
    pub(crate) fn unsafe_bytes(&self) -> usize {
        let of = |node: &Node| match &node.thing {
            Thing::File(content) => content.touched.len() * SECTOR,
            Thing::Folder(_) => 0,
        };
        self.nodes.values().map(of).sum()
    }

    /// The power goes; with `chance` some of what was not safe has come onto the disk all the same.
    pub(crate) fn cut(&mut self, mut chance: Option<StdRng>) {
        let mut numbers: Vec<Number> = self.nodes.keys().copied().collect();
        // In an order, so that a seed does the same again.
        numbers.sort_unstable();
        self.changes += 1;
        for number in numbers {
            let node = self.nodes.get_mut(&number).expect("just listed");
            node.changed = self.changes;
            match &mut node.thing {
                Thing::File(content) => content.cut(chance.as_mut()),
                Thing::Folder(names) => {
                    let is_kept = chance.as_mut().is_some_and(|rng| rng.random_bool(0.5));
                    if is_kept {
                        names.safe.clone_from(&names.now);
                    } else {
                        names.now.clone_from(&names.safe);
                    }
                }
            }
        }
        self.forget_nameless();
    }

    fn forget_nameless(&mut self) {
        let (mut named, mut look) = (BTreeSet::from([ROOT]), vec![ROOT]);
        while let Some(folder) = look.pop() {
            let inside: Vec<Number> = self.names(folder).map(|names| names.values().copied().collect()).unwrap_or_default();
            look.extend(inside.into_iter().filter(|number| named.insert(*number)));
        }
        self.nodes.retain(|number, _| named.contains(number));
    }

    fn names_mut(&mut self, folder: Number) -> Result<&mut Names, Refused> {
        self.changes += 1;
        let node = self.nodes.get_mut(&folder).ok_or(Refused::NoEntry)?;
        node.changed = self.changes;
        match &mut node.thing {
            Thing::Folder(names) => Ok(names),
            Thing::File(_) => Err(Refused::NotAFolder),
        }
    }

    fn content_mut(&mut self, number: Number) -> Result<&mut Content, Refused> {
        self.changes += 1;
        let node = self.nodes.get_mut(&number).ok_or(Refused::NoEntry)?;
        node.changed = self.changes;
        match &mut node.thing {
            Thing::File(content) => Ok(content),
            Thing::Folder(_) => Err(Refused::NotAFile),
        }
    }
}

impl Node {
    pub(crate) fn length(&self) -> usize {
        match &self.thing {
            Thing::File(content) => content.now.len(),
            Thing::Folder(_) => 0,
        }
    }

    pub(crate) fn is_folder(&self) -> bool {
        matches!(self.thing, Thing::Folder(_))
    }
}

impl Content {
    fn resize(&mut self, length: usize) {
        let before = self.now.len();
        self.now.resize(length, 0);
        self.touched.extend(before.min(length) / SECTOR..before.max(length).div_ceil(SECTOR));
    }

    fn sync(&mut self) {
        self.safe.resize(self.now.len(), 0);
        for sector in std::mem::take(&mut self.touched) {
            self.keep(sector);
        }
    }

    fn cut(&mut self, chance: Option<&mut StdRng>) {
        let touched = std::mem::take(&mut self.touched);
        if let Some(rng) = chance {
            if rng.random_bool(0.5) {
                self.safe.resize(self.now.len(), 0);
            }
            for sector in touched {
                if rng.random_bool(0.5) {
                    self.keep(sector);
                }
            }
        }
        self.now.clone_from(&self.safe);
    }

    fn keep(&mut self, sector: usize) {
        let place = place_of(sector, self.now.len().min(self.safe.len()));
        self.safe[place.clone()].copy_from_slice(&self.now[place]);
    }
}

fn place_of(sector: usize, length: usize) -> Range<usize> {
    (sector * SECTOR).min(length)..((sector + 1) * SECTOR).min(length)
}
