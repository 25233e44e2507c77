//! Owns a file system for tests that forgets: what a program has not synced is gone when the power is cut. Served by the test process
//! over FUSE, which wants /dev/fuse and root; where that is not to be had the tests fail, unless LASTMILE_NO_FUSE=1 says that it is known.
//! Refuses to know the program under test.

mod disk;
mod served;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use fuser::{BackgroundSession, Config, MountOption};
use rand::{SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;

use served::{Served, State};

/// What is wrong with the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    WriteFails,
    SyncFails,
    SyncHangs,
}

pub(crate) struct Forgetful {
    served: Served,
    // Before the place that it is mounted on.
    session: Option<BackgroundSession>,
    mount: TempDir,
    pace: Option<tokio::task::JoinHandle<()>>,
}

impl Forgetful {
    /// `None` where mounting is not allowed and this is known.
    pub(crate) fn mounted() -> Option<Self> {
        let (mount, served) = (TempDir::new().unwrap(), Served(Arc::new(Mutex::new(State::new()))));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("forgetful".into()), MountOption::RW];
        match fuser::spawn_mount(served.clone(), mount.path(), &config) {
            Ok(session) => Some(Self { served, session: Some(session), mount, pace: None }),
            Err(why) if std::env::var("LASTMILE_NO_FUSE").as_deref() == Ok("1") => {
                eprintln!("NOT TESTED: a power cut, because no file system can be served here: {why}");
                None
            }
            Err(why) => panic!(
                "no file system can be served, so nothing shows that a power cut is survived: {why}\nRun the tests as root with /dev/fuse, or set LASTMILE_NO_FUSE=1 to go without this proof."
            ),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.mount.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The power goes: only what was synced is there; with a seed, of the rest each sector and each folder by chance.
    pub(crate) fn cut(&self, torn_by: Option<u64>) {
        let mut state = self.served.state();
        state.drop_waiting();
        state.disk.cut(torn_by.map(StdRng::seed_from_u64));
    }

    pub(crate) fn trouble(&self, trouble: Option<Trouble>) {
        let mut state = self.served.state();
        state.trouble = trouble;
        state.let_go();
    }

    /// From now on syncs are done at a beat only, as by a disk that is busy, so that a cut meets many that are not.
    pub(crate) fn sync_at_a_beat(&mut self, beat: Duration) {
        let served = self.served.clone();
        served.state().trouble = Some(Trouble::SyncHangs);
        self.pace = Some(tokio::spawn(async move {
            loop {
                tokio::time::sleep(beat).await;
                served.state().let_go();
            }
        }));
    }

    /// Syncs that are waited for.
    pub(crate) fn hanging(&self) -> usize {
        self.served.state().hanging()
    }

    /// Bytes that a cut would take now, and syncs until now.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let state = self.served.state();
        (state.disk.unsafe_bytes(), state.syncs)
    }
}

impl Drop for Forgetful {
    fn drop(&mut self) {
        if let Some(pace) = self.pace.take() {
            pace.abort();
        }
        let mut state = self.served.state();
        state.trouble = None;
        state.drop_waiting();
        drop(state);
        // A process that a failing test left behind may still hold files there: the name goes now, the rest with it.
        let done = Command::new("umount").arg("--lazy").arg(self.mount.path()).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.mount.path().display());
        }
        drop(self.session.take());
    }
}
