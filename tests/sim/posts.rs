//! Owns those who post and decide: bureaus that repeat a post until it is answered, and the duty officer who approves, ends and records.

use std::{sync::Arc, time::Duration};

use lastmile::{
    delivery::book::State,
    engine::{
        answer::{AnswerError, ByHand},
        decide::DecideError,
        intake::{Actor, SubmitError},
    },
    time::Clock as _,
};
use rand::{RngExt as _, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    county::{PLACES, SOURCES},
    letters::is_excused,
    world::{Promise, World},
};

/// A document that somebody wants to have accepted.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) document: Value,
    pub(crate) source: usize,
    /// The post that it changes or ends.
    pub(crate) of: Option<usize>,
    pub(crate) fate: PostFate,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PostFate {
    /// Being asked for, in the present life or before a crash.
    Asked,
    Accepted(Promise),
    /// Kept until what it refers to has come.
    Early,
    Refused(String),
}

/// What a step asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) level: &'static str,
    pub(crate) place: usize,
    pub(crate) lasts_s: u64,
    pub(crate) drill: bool,
    pub(crate) source: usize,
}

impl World {
    pub(crate) fn promise(&self, post: usize) -> Option<Promise> {
        match self.memory().posts[post].fate {
            PostFate::Accepted(promise) => Some(promise),
            _ => None,
        }
    }

    /// Posts whose poster was told that they are accepted, in order.
    pub(crate) fn accepted(&self) -> Vec<(usize, Promise)> {
        let count = self.memory().posts.len();
        (0..count).filter_map(|post| Some((post, self.promise(post)?))).collect()
    }
}

/// Writes a document of now; `of` with the word of what it is to the other.
pub(crate) fn compose(world: &World, wish: Wish, of: Option<(usize, &str)>) -> usize {
    let now = world.clock.now().whole_seconds();
    let mut memory = world.memory();
    let number = memory.posts.len();
    let (_, sender, _) = SOURCES[wish.source];
    let (code, name) = PLACES[wish.place];
    let mut document: Value = serde_json::from_str(include_str!("../../fixtures/alerts/rainstorm-red.json")).expect("a fixture");
    document["identifier"] = json!(format!("{sender}_{number:06}"));
    document["sender"] = sender.into();
    document["level"] = wish.level.into();
    document["status"] = if wish.drill { "Exercise" } else { "Actual" }.into();
    (document["sent"], document["effective"]) = (json!(now), json!(now));
    document["expires"] = json!(now.plus(Duration::from_secs(wish.lasts_s)));
    document["areas"] = json!([{ "name": name, "codes": [code] }]);
    if let Some((of, kind)) = of {
        let first = &memory.posts[of].document;
        document["references"] = json!([{ "sender": first["sender"], "identifier": first["identifier"], "sent": first["sent"] }]);
        document["msgType"] = kind.into();
    }
    let of = of.map(|(of, _)| of);
    memory.posts.push(Post { document, source: wish.source, of, fate: PostFate::Asked });
    number
}

/// Posts until it is answered; a gateway that dies meanwhile is asked again in its next life.
pub(crate) async fn post(world: Arc<World>, number: usize) {
    let (body, source) = {
        let memory = world.memory();
        (memory.posts[number].document.to_string(), SOURCES[memory.posts[number].source].0)
    };
    let by = Actor::of_source(source, source);
    let fate = loop {
        match world.gateway().submit(body.as_bytes(), Some("application/json"), &by).await {
            Ok(taken) => break PostFate::Accepted(Promise { id: taken.id, no: taken.no }),
            Err(SubmitError::Early(_)) => break PostFate::Early,
            Err(SubmitError::Unavailable(why)) => {
                is_excused(&world, &why);
                tokio::time::sleep(Duration::from_millis(2_300)).await;
            }
            Err(SubmitError::Invalid(faults)) => {
                break PostFate::Refused(faults.iter().map(|fault| fault.rule).collect::<Vec<_>>().join(" "));
            }
            Err(error) => break PostFate::Refused(error.to_string()),
        }
    };
    let told = match &fate {
        PostFate::Accepted(promise) => format!("accepted as {}", promise.no.0),
        other => format!("{other:?}"),
    };
    {
        let mut memory = world.memory();
        let before = std::mem::replace(&mut memory.posts[number].fate, fate.clone());
        if let (PostFate::Accepted(one), PostFate::Accepted(other)) = (before, fate)
            && one != other
        {
            memory.faults.push(format!("post {number} was accepted as {one:?} and again as {other:?}"));
        }
    }
    world.log(&format!("post {number} {told}"));
}

/// What the duty officer does about an alert.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decision {
    Approve,
    Reject,
    Cancel,
    /// A call or a visit, and whether somebody was there.
    ByHand {
        answered: bool,
    },
}

pub(crate) async fn decide(world: Arc<World>, post: usize, decision: Decision, mut dice: StdRng) {
    let Some(promise) = world.promise(post) else { return };
    let gateway = world.gateway();
    let decided = match decision {
        Decision::Approve => gateway.approve(promise.id, "duty").await.map(drop),
        Decision::Reject => gateway.reject(promise.id, "duty", "no").await.map(drop),
        Decision::Cancel => match gateway.cancel(promise.id, "duty", "it is over").await {
            Ok((made, state)) => {
                if state != State::Cancelled {
                    world.fault(format!("post {post} was cancelled and is {state:?}"));
                }
                note_cancel(&world, post, Promise { id: made.id, no: made.no });
                Ok(())
            }
            Err(error) => Err(error),
        },
        Decision::ByHand { answered } => {
            by_hand(&world, promise, answered, &mut dice).await;
            Ok(())
        }
    };
    if let Err(DecideError::Unavailable(why)) = &decided {
        is_excused(&world, why);
    }
    world.log(&format!("{decision:?} of post {post}: {}", decided.map_or_else(|error| error.to_string(), |()| "done".into())));
}

/// The duty officer's Cancel is a document of the gateway's own.
fn note_cancel(world: &World, of: usize, promise: Promise) {
    let mut memory = world.memory();
    let mut post = memory.posts[of].clone();
    (post.of, post.fate) = (Some(of), PostFate::Accepted(promise));
    post.document["msgType"] = "Cancel".into();
    memory.posts.push(post);
}

async fn by_hand(world: &World, promise: Promise, answered: bool, dice: &mut StdRng) {
    let gateway = world.gateway();
    let Some(shelf) = gateway.ledger().get(promise.no) else { return };
    let details = gateway.details(&shelf).await.expect("in memory");
    let open: Vec<String> =
        gateway.calls(&details, None, true).into_iter().filter(|call| call.state == "waiting").map(|call| call.recipient.id).collect();
    drop(details);
    if open.is_empty() {
        return;
    }
    let subscriber = open[dice.random_range(0..open.len())].clone();
    let call = ByHand {
        subscriber: &subscriber,
        answered,
        choice: lastmile::delivery::event::Choice::Received,
        method: "visit",
        note: "",
        by: "duty",
    };
    match gateway.record_call(promise.id, &call).await {
        Ok(()) => {}
        Err(AnswerError::Unavailable(why)) => {
            is_excused(world, &why);
        }
        Err(error) => world.fault(format!("a visit to {subscriber} could not be recorded: {error}")),
    }
}
