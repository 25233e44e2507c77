//! Owns a scripted far end: a peer that takes, loses, delays, doubles, contradicts, refuses and hangs as its mood and its dice say.
//! Refuses to know the gateway's inside: what comes to its door is judged by `oracle`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use lastmile::{
    channel::{Batching, Callback, Channel, Failure, Kind, Proof, Reach, Reception, ReportSink, Verdict},
    message::{DeliveryId, Form, Outgoing},
    time::Clock as _,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    fate::{self, Fate, Mood},
    letters::What,
    oracle,
    world::{Handed, Take, World},
};

/// How a far end names messages in its reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// By our id.
    Ours,
    /// By its own, given when it takes a message.
    Its,
    /// By the device and the alert.
    Device,
}

#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) reaches: Vec<Reach>,
    pub(crate) proof: Proof,
    pub(crate) batching: Batching,
    pub(crate) form: Form,
    pub(crate) naming: Naming,
}

pub(crate) struct FarEnd {
    pub(crate) number: usize,
    pub(crate) profile: Profile,
    world: Arc<World>,
    state: Mutex<State>,
}

struct State {
    dice: StdRng,
    mood: Mood,
    line: Option<ReportSink>,
    given: u64,
    known: HashMap<DeliveryId, String>,
}

impl FarEnd {
    pub(crate) fn new(number: usize, profile: Profile, world: Arc<World>) -> Self {
        let dice = StdRng::seed_from_u64(world.seed.wrapping_mul(31).wrapping_add(number as u64));
        Self { number, profile, world, state: Mutex::new(State { dice, mood: Mood::Rough, line: None, given: 0, known: HashMap::new() }) }
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.with(|state| state.mood = mood);
        self.world.log(&format!("{} is {mood:?}", self.profile.name));
    }

    /// The connection on which it reports, if it holds one.
    pub(crate) fn line(&self) -> Option<ReportSink> {
        self.with(|state| state.line.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().expect("no code panics while it holds a far end"))
    }

    /// What comes to the door, and what becomes of it.
    fn meet(&self, batch: &[Outgoing]) -> fate::Course {
        let gateway = self.world.gateway();
        for message in batch {
            for what in oracle::at_the_door(&gateway, self.profile.name, message) {
                self.world.fault(format!("{} at {}: {what}", message.id, self.profile.name));
            }
            let mut memory = self.world.memory();
            let (at_ms, life) = (self.world.clock.elapsed_ms(), memory.life);
            memory.handed.push(Handed { at_ms, life, account: self.number, id: message.id, leads: std::ptr::eq(message, &batch[0]) });
        }
        let course = self.with(|state| fate::draw(&mut state.dice, state.mood, batch.len()));
        for (message, fate) in batch.iter().zip(&course.fates) {
            self.world.log(&format!("{} handed {} try {} for {}: {fate:?}", self.profile.name, message.id, message.attempt, message.to));
        }
        self.world.handed_bell.notify_waiters();
        course
    }

    /// Messages that are truly taken now: their places among the takes, and their own ids.
    fn take(&self, batch: &[Outgoing], fates: &[Fate]) -> Vec<Option<(usize, String)>> {
        let each = batch.iter().zip(fates).map(|(message, &fate)| {
            if !fate.is_taken() {
                return None;
            }
            let own_id = self.own_id(message.id);
            let place = {
                let mut memory = self.world.memory();
                let (at_ms, life) = (self.world.clock.elapsed_ms(), memory.life);
                memory.takes.push(Take {
                    at_ms,
                    told: self.world.clock.now(),
                    life,
                    account: self.number,
                    id: message.id,
                    own_id: own_id.clone(),
                    plain: false,
                });
                memory.takes.len() - 1
            };
            self.write_home(message, &own_id, place);
            Some((place, own_id))
        });
        each.collect()
    }

    /// Its own id of a message: to half of them, as to a far end that knows our id, it gives the same however often they come.
    fn own_id(&self, id: DeliveryId) -> String {
        self.with(|state| {
            if let Some(known) = state.known.get(&id) {
                return known.clone();
            }
            state.given += 1;
            let own_id = format!("{}-{}", self.profile.name, state.given);
            if id.index.is_multiple_of(2) {
                state.known.insert(id, own_id.clone());
            }
            own_id
        })
    }

    /// Reports and replies that follow from a message that was taken.
    fn write_home(&self, message: &Outgoing, own_id: &str, take: usize) {
        let news = self.with(|state| fate::news(&mut state.dice, state.mood, &self.profile, message, own_id, &self.world));
        for (after, what) in news {
            self.world.write(take, what, after);
        }
    }

    fn verdicts(&self, taken: Vec<Option<(usize, String)>>, course: &fate::Course) -> Vec<Verdict> {
        let each = taken.into_iter().zip(&course.fates).take(course.answered).map(|(taken, fate)| match (taken, fate) {
            (Some((place, own_id)), Fate::Taken) => {
                self.world.memory().takes[place].plain = true;
                Verdict::Accepted { provider_ref: (self.profile.naming == Naming::Its).then_some(own_id) }
            }
            (_, fate) => Verdict::Failed(fate.failure()),
        });
        each.collect()
    }
}

impl Channel for FarEnd {
    fn name(&self) -> &str {
        self.profile.name
    }

    fn kind(&self) -> Kind {
        self.profile.kind
    }

    fn reaches(&self) -> &[Reach] {
        &self.profile.reaches
    }

    fn form(&self) -> Form {
        self.profile.form.clone()
    }

    fn proof(&self) -> Proof {
        self.profile.proof
    }

    fn batching(&self) -> Batching {
        self.profile.batching
    }

    fn send<'a>(&'a self, batch: &'a [Outgoing]) -> BoxFuture<'a, Vec<Verdict>> {
        Box::pin(async move {
            let course = self.meet(batch);
            tokio::time::sleep(course.before).await;
            let taken = self.take(batch, &course.fates);
            tokio::time::sleep(course.after).await;
            if course.hangs {
                return std::future::pending().await;
            }
            self.verdicts(taken, &course)
        })
    }

    fn receive(&self, callback: &Callback) -> Result<Reception, Failure> {
        let number: usize = std::str::from_utf8(&callback.body).ok().and_then(|text| text.parse().ok()).expect("our own postman's number");
        let What::Callback(report) = self.world.memory().letters[number].what.clone() else { panic!("letter {number} is no callback") };
        Ok(Reception { reports: vec![report], status: 200, content_type: "text/plain", body: "ok".into() })
    }

    fn start(&self, reports: ReportSink) -> BoxFuture<'_, Result<(), Failure>> {
        self.with(|state| state.line = Some(reports));
        Box::pin(async { Ok(()) })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.with(|state| state.line = None);
        Box::pin(async {})
    }
}

/// A pause between the two.
pub(crate) fn between(dice: &mut StdRng, from_ms: u64, to_ms: u64) -> Duration {
    Duration::from_millis(dice.random_range(from_ms..=to_ms))
}
