//! Owns a small disk of its own and what fills it. Mounting wants root, as the tests have it in CI; where it is not allowed the
//! tests of full disks fail, unless LASTMILE_NO_MOUNT=1 says that this is known.
//! Invariant: what is free is set by real bytes in a real file, never pretended.

use std::{
    fs::{File, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

pub(crate) const MB: u64 = 1 << 20;

pub(crate) struct Disk {
    mount: TempDir,
    ballast: File,
}

impl Disk {
    /// `None` where mounting is not allowed and this is known.
    pub(crate) fn mounted(bytes: u64) -> Option<Self> {
        // As many files as anybody makes here.
        Self::mounted_with(bytes, 10_000)
    }

    pub(crate) fn mounted_with(bytes: u64, inodes: u64) -> Option<Self> {
        let mount = TempDir::new().unwrap();
        let size = format!("size={bytes},nr_inodes={inodes}");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(mount.path()).output();
        let refused = match done {
            Ok(done) if done.status.success() => None,
            Ok(done) => Some(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
            Err(error) => Some(error.to_string()),
        };
        match refused {
            None => {
                let ballast = OpenOptions::new().create_new(true).write(true).open(mount.path().join("ballast")).unwrap();
                Some(Self { mount, ballast })
            }
            Some(why) if std::env::var("LASTMILE_NO_MOUNT").as_deref() == Ok("1") => {
                eprintln!("NOT TESTED: a full disk, because no disk can be mounted here: {why}");
                None
            }
            Some(why) => panic!(
                "no disk can be mounted, so nothing shows that a full one is survived: {why}\nRun the tests as root, or set LASTMILE_NO_MOUNT=1 to go without this proof."
            ),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.mount.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub(crate) fn free(&self) -> u64 {
        let told = rustix::fs::statvfs(self.path()).unwrap();
        told.f_bavail * told.f_frsize
    }

    /// Fills the disk, or empties it, until so many bytes are free.
    pub(crate) fn leave(&mut self, free: u64) {
        let (there, now) = (self.ballast.metadata().unwrap().len(), self.free());
        let wanted = (there + now).checked_sub(free).expect("the disk is smaller than that");
        if wanted < there {
            self.ballast.set_len(wanted).unwrap();
            return;
        }
        self.ballast.seek(SeekFrom::Start(there)).unwrap();
        let piece = vec![0; usize::try_from(MB).unwrap()];
        let mut left = usize::try_from(wanted - there).unwrap();
        while left > 0 {
            let written = self.ballast.write(&piece[..left.min(piece.len())]).unwrap();
            left -= written;
        }
    }

    /// Takes the ballast away.
    pub(crate) fn empty(&mut self) {
        self.ballast.set_len(0).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A process that a failing test left behind may still hold files there: the name goes now, the rest with it.
        let done = Command::new("umount").arg("--lazy").arg(self.mount.path()).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.mount.path().display());
        }
    }
}
