//! Owns damage to the files of a store: bytes changed, ends cut, files gone.
//! Refuses to know what the store makes of it.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use rand::{RngExt as _, rngs::StdRng};

#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Journal,
    Checkpoint,
    Trail,
}

#[derive(Debug)]
#[allow(dead_code, reason = "shown where a test fails, and in the line of its round")]
pub(super) struct Damage {
    pub(super) file: PathBuf,
    pub(super) what: String,
}

/// Damages one file of the place.
pub(super) fn inflict(data: &Path, place: Place, rng: &mut StdRng) -> Damage {
    let file = match place {
        Place::Journal => one_of(&only_folder(&data.join("journal")), rng),
        // The one before is only looked at when the newest is spoilt.
        Place::Checkpoint => newest_of(&data.join("checkpoint")),
        Place::Trail => one_of(&data.join("trail"), rng),
    };
    let mut bytes = fs::read(&file).unwrap();
    let what = match rng.random_range(0..5) {
        0 => {
            fs::remove_file(&file).unwrap();
            "gone".to_owned()
        }
        1 | 2 => {
            let count = rng.random_range(1..50);
            // Most of a database is room that is not used yet: the damage goes where something stands.
            let used: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
            for _ in 0..count {
                bytes[used[rng.random_range(0..used.len())]] ^= 1 << rng.random_range(0..8);
            }
            fs::write(&file, &bytes).unwrap();
            format!("{count} bytes changed")
        }
        3 => {
            let keep = rng.random_range(0..bytes.len());
            fs::write(&file, &bytes[..keep]).unwrap();
            format!("cut to {keep} of {} bytes", bytes.len())
        }
        _ => {
            let rubbish: Vec<u8> = (0..rng.random_range(1..600)).map(|_| rng.random()).collect();
            OpenOptions::new().append(true).open(&file).unwrap().write_all(&rubbish).unwrap();
            format!("{} bytes more", rubbish.len())
        }
    };
    Damage { file: file.strip_prefix(data).unwrap().to_owned(), what }
}

fn only_folder(folder: &Path) -> PathBuf {
    let found = fs::read_dir(folder).unwrap().map(|item| item.unwrap().path()).find(|path| path.is_dir());
    found.unwrap_or_else(|| panic!("no folder in {}", folder.display()))
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|item| item.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn one_of(folder: &Path, rng: &mut StdRng) -> PathBuf {
    let mut files = files_of(folder);
    files.swap_remove(rng.random_range(0..files.len()))
}

fn newest_of(folder: &Path) -> PathBuf {
    files_of(folder).pop().unwrap_or_else(|| panic!("no checkpoint in {}", folder.display()))
}
