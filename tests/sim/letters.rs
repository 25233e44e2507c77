//! Owns what far ends and people have to say, and the postman who brings it: by callback until it is acknowledged, by a line once, or by a link.
//! Invariant: what is not acknowledged when the gateway dies is brought again to the next.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use lastmile::{
    channel::{Callback, Report, ReportSink},
    delivery::event::Choice,
    engine::{
        Unavailable,
        answer::{AnswerError, CallbackError},
    },
    message::DeliveryId,
    time::{Clock as _, Timestamp},
};

use crate::{far_end::FarEnd, world::World};

/// How it gets to the gateway.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// The far end calls, and calls again until it hears 200.
    Callback(Report),
    /// On the far end's own connection, which promises nothing.
    Line(Report),
    /// A person opens the link and answers.
    Link { token: String, choice: Choice },
}

#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) account: usize,
    /// The message that it is about, and its place among those that were taken.
    pub(crate) about: DeliveryId,
    pub(crate) take: usize,
    pub(crate) what: What,
    pub(crate) due_ms: u64,
    pub(crate) state: State,
    /// When the gateway first saw it.
    pub(crate) handed: Option<First>,
}

/// When the gateway first saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct First {
    pub(crate) at_ms: u64,
    /// By the gateway's clock.
    pub(crate) told: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waiting,
    OnTheWay,
    /// Said to be kept, or (on a line) at least passed on.
    Done,
}

impl World {
    pub(crate) fn write(&self, take: usize, what: What, after: Duration) {
        let due_ms = self.clock.elapsed_ms() + u64::try_from(after.as_millis()).expect("minutes");
        let mut memory = self.memory();
        let (account, about) = (memory.takes[take].account, memory.takes[take].id);
        memory.letters.push(Letter { account, about, take, what, due_ms, state: State::Waiting, handed: None });
        drop(memory);
        self.letters_bell.notify_one();
    }

    /// What was on its way to a gateway that is gone goes to the next.
    pub(crate) fn return_to_sender(&self) {
        let due_ms = self.clock.elapsed_ms() + 700;
        for letter in self.memory().letters.iter_mut().filter(|letter| letter.state == State::OnTheWay) {
            (letter.state, letter.due_ms) = (State::Waiting, letter.due_ms.max(due_ms));
        }
    }

    pub(crate) fn all_brought(&self) -> bool {
        self.memory().letters.iter().all(|letter| letter.state == State::Done)
    }
}

/// Brings letters as they fall due, as long as the gateway lives.
pub(crate) async fn postman(world: Arc<World>, far_ends: Vec<Arc<FarEnd>>) {
    loop {
        let bell = world.letters_bell.notified();
        let now_ms = world.clock.elapsed_ms();
        let next = {
            let memory = world.memory();
            let waiting = memory.letters.iter().enumerate().filter(|(_, letter)| letter.state == State::Waiting);
            waiting.map(|(number, letter)| (letter.due_ms, number)).min()
        };
        match next {
            Some((due_ms, number)) if due_ms <= now_ms => {
                world.memory().letters[number].state = State::OnTheWay;
                tokio::spawn(bring(Arc::clone(&world), far_ends.clone(), number));
            }
            Some((due_ms, _)) => {
                tokio::select! {
                    biased;
                    () = bell => {}
                    () = tokio::time::sleep(Duration::from_millis(due_ms - now_ms)) => {}
                }
            }
            None => bell.await,
        }
    }
}

async fn bring(world: Arc<World>, far_ends: Vec<Arc<FarEnd>>, number: usize) {
    let letter = {
        let mut memory = world.memory();
        let first = First { at_ms: world.clock.elapsed_ms(), told: world.clock.now() };
        let letter = &mut memory.letters[number];
        letter.handed.get_or_insert(first);
        letter.clone()
    };
    let far_end = &far_ends[letter.account];
    let is_done = match letter.what {
        What::Callback(_) => call(&world, far_end, number).await,
        What::Line(report) => say(far_end.line(), report).await,
        What::Link { token, choice } => answer(&world, &token, choice).await,
    };
    let now_ms = world.clock.elapsed_ms();
    {
        let mut memory = world.memory();
        let letter = &mut memory.letters[number];
        letter.state = if is_done { State::Done } else { State::Waiting };
        // Far ends ask again after a while.
        letter.due_ms = now_ms + 1_000 + number as u64 % 7 * 300;
    }
    world.log(&format!("letter {number} about {} {}", letter.about, if is_done { "kept" } else { "refused" }));
    world.letters_bell.notify_one();
}

async fn call(world: &World, far_end: &FarEnd, number: usize) -> bool {
    let body = Bytes::from(number.to_string());
    let callback = Callback { what: "status".into(), method: "POST".into(), query: String::new(), content_type: None, body };
    let (kind, name) = (far_end.profile.kind.name(), far_end.profile.name);
    match world.gateway().callback(kind, name, &callback).await {
        Ok(_) => true,
        Err(CallbackError::Unavailable(why)) => is_excused(world, &why),
        Err(error) => {
            world.fault(format!("a callback of {name} was refused: {error}"));
            true
        }
    }
}

async fn say(line: Option<ReportSink>, report: Report) -> bool {
    match line {
        Some(line) => line.send(report).await.is_ok(),
        None => false,
    }
}

async fn answer(world: &World, token: &str, choice: Choice) -> bool {
    match world.gateway().answer(token, choice).await {
        Ok(_) => true,
        Err(AnswerError::Unavailable(why)) => is_excused(world, &why),
        Err(error) => {
            world.fault(format!("an answer was refused: {error}"));
            true
        }
    }
}

/// Only a full disk is a reason to refuse; always false, as what to do is to come again.
pub(crate) fn is_excused(world: &World, why: &Unavailable) -> bool {
    if !matches!(why, Unavailable::NoSpace(_)) || world.has_room() {
        world.fault(format!("refused without need: {why}"));
    }
    false
}
