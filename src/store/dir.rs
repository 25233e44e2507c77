//! Owns the making of directories that are still there after a power cut, and of files that are nobody else's.
//! Refuses to know what is kept in them.
//! Invariant: a directory or name is durable only once its parent has been fsynced, so every change of names here ends with that.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// Makes `path` and every missing parent; each is fsynced into its own parent.
pub fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = parent_of(path) {
        make(parent)?;
    }
    // What a store holds is nobody's but the gateway's own user's.
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        other => other?,
    }
    sync_parent(path)
}

/// A new file, or the old one emptied, that the gateway's own user alone may read, whatever the umask says.
pub fn create(path: &Path) -> io::Result<File> {
    private().create(true).truncate(true).write(true).open(path)
}

/// How files of a store are opened when that may make them.
pub fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Makes the names in a directory durable.
pub fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes the name `path` itself durable.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    sync(parent_of(path).unwrap_or(Path::new("/")))
}

/// Gives a file or directory another name in a directory of the same file system, durably.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_parent(to)?;
    sync_parent(from)
}

fn parent_of(path: &Path) -> Option<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(Path::new(".")),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parents_are_made_and_an_existing_directory_is_left_alone() {
        let root = tempfile::tempdir().expect("temporary directory");
        let deep = root.path().join("a/b/c");
        make(&deep).expect("made");
        make(&deep).expect("made again");
        assert!(deep.is_dir());
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let root = tempfile::tempdir().expect("temporary directory");
        fs::write(root.path().join("a"), b"").expect("written");
        assert!(make(&root.path().join("a/b")).is_err());
    }
}
