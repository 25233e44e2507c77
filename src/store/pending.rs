//! Owns what commands beside a running or stopped gateway have done, until the gateway takes it into the trail: a file each.
//! Refuses to know what they say.
//! Invariant: a file is durable before the act it speaks of, so an act without a line in the trail is one that was never begun.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use super::dir;

const FOLDER: &str = "audit";
const ENDING: &str = ".json";
/// A line of an audit; larger is not ours.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Taken at one time; the rest with the next look.
const FILES_MAX: usize = 1_000;

/// Puts a line by under a name that sorts by time and is nobody else's; durable when this returns.
pub fn put(data: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = data.join(FOLDER);
    dir::make(&folder)?;
    let (path, draft) = (folder.join(format!("{name}{ENDING}")), folder.join(format!("{name}.draft")));
    let mut file = dir::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    dir::rename(&draft, &path)
}

/// The lines that wait, the oldest first, each with the file to remove once it is in the trail.
pub fn list(data: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let listing = match fs::read_dir(data.join(FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut paths: Vec<PathBuf> = listing.flatten().map(|item| item.path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(ENDING));
    paths.sort();
    paths.truncate(FILES_MAX);
    let mut lines = Vec::new();
    for path in paths {
        let mut bytes = Vec::new();
        fs::File::open(&path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        lines.push((path, bytes));
    }
    Ok(lines)
}

/// After its line stands in the trail. Left by a crash it is taken again, under the same number.
pub fn taken(path: &Path) -> io::Result<()> {
    fs::remove_file(path).and_then(|()| dir::sync_parent(path))
}
