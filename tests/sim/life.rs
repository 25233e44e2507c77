//! Owns one run: a gateway that lives, crashes and lives again over one store, while the script goes on, until all is calm and said.

use std::{
    fs,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use lastmile::engine::Gateway;
use rand::{SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;

use crate::{
    clock::SimClock,
    county,
    far_end::FarEnd,
    fate::Mood,
    judge,
    letters::postman,
    opening::{data, open},
    posts::{PostFate, compose, decide, post},
    script::{Ending, Script, Step},
    world::{ROOMY, World},
};

/// Between a crash and the next start.
const DOWN: Duration = Duration::from_millis(1_500);
const GRACE: Duration = Duration::from_secs(12);
/// Simulated time without a new wish after which everything has an end; each minute of it the clock jumps on as well.
const CALM_S: u32 = 400;

pub(crate) struct Run {
    home: TempDir,
    world: Arc<World>,
    far_ends: Vec<Arc<FarEnd>>,
    script: Script,
    /// Steps that were taken, and lives that ended.
    done: usize,
    ended: usize,
}

/// How a life was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Crashed,
    Stopped,
    Done,
}

/// What a run showed.
pub(crate) struct Outcome {
    pub(crate) log: Vec<String>,
    pub(crate) faults: Vec<String>,
    pub(crate) lives: u32,
    pub(crate) messages: usize,
}

/// One run of a seed.
pub(crate) fn run(seed: u64) -> Outcome {
    let mut dice = StdRng::seed_from_u64(seed);
    run_script(seed, Script::draw(&mut dice), |_, _, _| {})
}

/// From the first start to the last look into the store, at which more may be asked.
pub(crate) fn run_script(seed: u64, script: Script, ask: impl FnOnce(&World, &Gateway, &Script)) -> Outcome {
    let mut run = Run::new(seed, script);
    loop {
        let left = run.live();
        let left = if run.world.memory().faults.is_empty() { left } else { Left::Done };
        run.world.log(&format!("{left:?}"));
        if left == Left::Done {
            break;
        }
    }
    if run.world.memory().faults.is_empty() {
        run.in_runtime(async |run| {
            run.world.clock.begin_life(Duration::ZERO);
            let gateway = open(&run.world, run.home.path(), &run.far_ends, &run.script);
            judge::at_the_end(&run.world, &gateway, &run.script).await;
            ask(&run.world, &gateway, &run.script);
        });
        judge::store(&run.world, &data(run.home.path()));
    }
    let memory = run.world.memory();
    Outcome { log: memory.log.clone(), faults: memory.faults.clone(), lives: memory.life, messages: memory.handed.len() }
}

impl Run {
    fn new(seed: u64, script: Script) -> Self {
        let clock = Arc::new(SimClock::at(script.start));
        let world = Arc::new(World::new(seed, clock));
        let far_end = |(number, (profile, _)): (usize, &(crate::far_end::Profile, _))| {
            Arc::new(FarEnd::new(number, profile.clone(), Arc::clone(&world)))
        };
        let far_ends = script.accounts.iter().enumerate().map(far_end).collect();
        // A disk in memory where there is one: what a crash leaves is the same, and thousands of runs are quick.
        let shm = Path::new("/dev/shm");
        let home = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.expect("a temporary directory");
        county::settle(&home.path().join("registry"));
        fs::create_dir_all(home.path().join("data")).expect("a folder");
        Self { home, world, far_ends, script, done: 0, ended: 0 }
    }

    fn in_runtime<T>(&mut self, act: impl AsyncFnOnce(&mut Self) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let world = Arc::clone(&self.world);
        let result = runtime.block_on(async {
            let result = act(self).await;
            world.clock.end_life();
            result
        });
        // Whatever was on its way is gone with it: that is the crash.
        drop(runtime);
        self.world.memory().gateway = None;
        result
    }

    fn live(&mut self) -> Left {
        let left = self.in_runtime(Self::life);
        if left == Left::Crashed {
            let mut memory = self.world.memory();
            let life = memory.life;
            memory.crashes.insert(life);
        }
        left
    }

    async fn life(&mut self) -> Left {
        let down = if self.ended == 0 { Duration::ZERO } else { DOWN };
        self.world.clock.begin_life(down);
        let gateway = open(&self.world, self.home.path(), &self.far_ends, &self.script);
        judge::after_opening(&self.world, &gateway);
        {
            let mut memory = self.world.memory();
            memory.life += 1;
            memory.gateway = Some(gateway.clone());
        }
        self.world.return_to_sender();
        let ending = self.script.endings.get(self.ended).copied();
        self.ended += 1;
        let world = Arc::clone(&self.world);
        let end = async {
            match ending {
                Some(ending) => come_to(&world, &gateway, ending).await,
                None => std::future::pending().await,
            }
        };
        let left = tokio::select! {
            biased;
            left = end => left,
            () = self.all_of_it(&gateway) => Left::Done,
        };
        if left != Left::Crashed
            && let Err(why) = gateway.stop(GRACE).await
            && self.world.has_room()
        {
            self.world.fault(format!("did not stop well: {why}"));
        }
        judge::before_closing(&self.world, &gateway, left == Left::Crashed);
        left
    }

    /// The rest of the script, then calm until nothing is owed.
    async fn all_of_it(&mut self, gateway: &Gateway) {
        tokio::spawn(postman(Arc::clone(&self.world), self.far_ends.clone()));
        for number in self.unanswered() {
            tokio::spawn(post(Arc::clone(&self.world), number));
        }
        if let Err(why) = gateway.start().await {
            self.world.fault(format!("did not start: {why}"));
        }
        while let Some(&(at_ms, step)) = self.script.steps.get(self.done) {
            let now_ms = self.world.clock.elapsed_ms();
            tokio::time::sleep(Duration::from_millis(at_ms.saturating_sub(now_ms))).await;
            // Before it is taken: one that a crash interrupts has happened.
            self.done += 1;
            self.take(step);
        }
        self.world.free.store(ROOMY, Ordering::Relaxed);
        self.far_ends.iter().for_each(|far_end| far_end.set_mood(Mood::Well));
        for second in 1..=CALM_S {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if gateway.ledger().unfinished().is_empty() && self.world.all_brought() && self.unanswered().is_empty() {
                return;
            }
            if second % 60 == 0 {
                self.world.clock.jump(300_000);
            }
        }
        let owed = gateway.ledger().unfinished();
        let list: Vec<String> = owed.iter().map(|shelf| format!("{} {:?}", shelf.no.0, shelf.read().state)).collect();
        self.world.fault(format!("no end: {list:?}, letters {}, posts {:?}", self.world.all_brought(), self.unanswered()));
    }

    fn unanswered(&self) -> Vec<usize> {
        let memory = self.world.memory();
        memory.posts.iter().enumerate().filter(|(_, post)| post.fate == PostFate::Asked).map(|(number, _)| number).collect()
    }

    fn take(&self, step: Step) {
        let world = &self.world;
        world.log(&format!("{step:?}"));
        let posts = world.memory().posts.len();
        match step {
            Step::Post(wish) => {
                tokio::spawn(post(Arc::clone(world), compose(world, wish, None)));
            }
            Step::Change { of, update, mut wish } if posts > 0 => {
                let of = of % posts;
                wish.source = world.memory().posts[of].source;
                wish.drill = world.memory().posts[of].document["status"] == "Exercise";
                let number = compose(world, wish, Some((of, if update { "Update" } else { "Cancel" })));
                tokio::spawn(post(Arc::clone(world), number));
            }
            Step::Early { wish, update, ahead_ms } => {
                let first = compose(world, wish, None);
                let change = compose(world, wish, Some((first, if update { "Update" } else { "Cancel" })));
                tokio::spawn(post(Arc::clone(world), change));
                let late = Arc::clone(world);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(ahead_ms)).await;
                    post(late, first).await;
                });
            }
            Step::Again { of } if posts > 0 && world.memory().posts[of % posts].fate != PostFate::Asked => {
                tokio::spawn(post(Arc::clone(world), of % posts));
            }
            Step::Decide { of, decision } if posts > 0 => {
                let dice = StdRng::seed_from_u64(world.seed ^ of as u64);
                tokio::spawn(decide(Arc::clone(world), of % posts, decision, dice));
            }
            Step::Mood { account, mood } => self.far_ends[account].set_mood(mood),
            Step::Disk { free } => world.free.store(free, Ordering::Relaxed),
            Step::Jump { ms } => world.clock.jump(ms),
            Step::Change { .. } | Step::Again { .. } | Step::Decide { .. } => {}
        }
    }
}

/// Waits for the moment at which a life is to end.
async fn come_to(world: &World, gateway: &Gateway, ending: Ending) -> Left {
    match ending {
        Ending::CrashAfter(time) => tokio::time::sleep(time).await,
        Ending::StopAfter(time) => {
            tokio::time::sleep(time).await;
            return Left::Stopped;
        }
        Ending::CrashAtMessage(count) => {
            let enough = world.memory().handed.len() + count;
            loop {
                let bell = world.handed_bell.notified();
                if world.memory().handed.len() >= enough {
                    break;
                }
                bell.await;
            }
        }
        Ending::CrashAtCommit(count) => {
            let mut changes = gateway.changes();
            for _ in 0..count {
                // The sender is the journal's, which outlives this.
                if changes.changed().await.is_err() {
                    break;
                }
            }
        }
    }
    Left::Crashed
}
