//! Owns how a gateway of a run is put together: the real engine and store, simulated time, scripted far ends, a disk that the script fills.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use lastmile::{
    alert::{Limits, Vocabulary},
    channel::Channel,
    engine::{Gateway, Setup},
    message::token::AnswerTokens,
    registry::Registry,
    store::{FreeSpace, Options, Threads},
    time::SharedClock,
};

use crate::{clock::SimClock, county, far_end::FarEnd, script::Script, world::World};

pub(crate) fn data(home: &Path) -> PathBuf {
    home.join("data")
}

pub(crate) fn open(world: &Arc<World>, home: &Path, far_ends: &[Arc<FarEnd>], script: &Script) -> Gateway {
    let clock: SharedClock = Arc::<SimClock>::clone(&world.clock);
    let accounts = far_ends.iter().zip(&script.accounts);
    let accounts = accounts.map(|(far_end, (_, common))| (Arc::<FarEnd>::clone(far_end) as Arc<dyn Channel>, common.clone()));
    let asked = Arc::clone(world);
    let setup = Setup {
        clock,
        data_dir: data(home),
        county: county::area(county::COUNTY),
        county_name: county::PLACES[0].1.into(),
        sources: county::sources(),
        policy: county::policy(),
        registry: Registry::open(&home.join("registry")).expect("the registry").registry,
        accounts: accounts.collect(),
        limits: Limits::default(),
        vocabulary: Vocabulary::default(),
        max_skew: Duration::from_secs(600),
        public_url: "https://warn.example".into(),
        tokens: AnswerTokens::new([7; 32]),
        drill_households: false,
        drill_speakers: false,
        seed: world.seed,
        // Longer than any run, so that all of it can be judged in memory.
        keep_open: Duration::from_secs(30 * 24 * 3_600),
        keep_months: 0,
        journal: Options {
            checkpoint_after_bytes: script.checkpoint_after_bytes,
            linger: script.linger,
            free_space: FreeSpace::new(move |_| Ok(asked.free.load(Ordering::Relaxed))),
            threads: Threads::Callers,
            ..Options::default()
        },
    };
    let (gateway, opened) = Gateway::open(setup).expect("the store opens");
    for alarm in &opened.alarms {
        world.fault(format!("the store was mended at start: {alarm}"));
    }
    gateway
}
