//! Owns the live stream of one alert (contract §2): `state`, `progress`, `coverage`, `call`.
//! Invariant: at most two looks a second a stream; a stream ends with the gateway and with the right to look.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    response::sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, stream};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::{
    Edge, alerts,
    auth::{Standing, Who},
    places::Holder,
    problem::Problem,
};
use crate::access::Action;

/// Counters change thousands of times a second while sending; people look twice a second at most.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What was last told, so that only changes are told.
#[derive(Default)]
struct Seen {
    version: Option<u64>,
    state: &'static str,
    calls: String,
    waiting: Vec<Event>,
}

pub(super) async fn stream(
    State(edge): State<Edge>,
    who: Who,
    standing: Standing,
    Path(id): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let caller = who.may(Action::Look)?;
    let shelf = alerts::find(&edge, &caller, &id)?;
    let place = edge.limits.streams.take(Some(Holder::caller(&caller)));
    let place = place.ok_or_else(|| Problem::busy("too many live streams are open, of all or of this account"))?;
    let area = caller.areas.first().copied();
    let whole_phones = caller.may(Action::SeePhones);
    let changes = edge.gateway.changes();
    let standing = Arc::new(standing);
    let begin = (edge, shelf, changes, Seen::default(), place);
    let events = stream::unfold(begin, move |(edge, shelf, mut changes, mut seen, place)| {
        let standing = Arc::clone(&standing);
        async move {
            loop {
                if let Some(event) = seen.waiting.pop() {
                    return Some((Ok(event), (edge, shelf, changes, seen, place)));
                }
                if seen.version.is_some() {
                    let next_look = Instant::now() + LOOK_EVERY;
                    tokio::select! {
                        () = edge.shutdown.cancelled() => return None,
                        changed = changes.changed() => if changed.is_err() { return None },
                    }
                    tokio::time::sleep_until(next_look).await;
                }
                let version = shelf.read().version;
                if seen.version == Some(version) {
                    continue;
                }
                // A key that was revoked, a user who was disabled meanwhile, hears no more.
                if !standing.still(&edge).is_some_and(|caller| caller.may(Action::Look)) {
                    return None;
                }
                seen.version = Some(version);
                let view = edge.gateway.view(&shelf, false);
                let details = match edge.gateway.details(&shelf).await {
                    Ok(details) => details,
                    // The alarm was raised where it was read; whoever looks again is told so.
                    Err(_) => return None,
                };
                let calls = edge.gateway.calls(&details, area, whole_phones);
                // Told in the order state, progress, coverage, call: the list is taken from its end.
                let called = serde_json::to_string(&calls.iter().map(|call| (call.state, &call.recipient.id)).collect::<Vec<_>>())
                    .unwrap_or_default();
                if called != seen.calls {
                    seen.calls = called;
                    push(&mut seen.waiting, "call", &calls);
                }
                push(&mut seen.waiting, "coverage", &edge.gateway.coverage(&details, area, None));
                push(&mut seen.waiting, "progress", &json!({ "progress": view.progress, "people": view.people }));
                if view.state != seen.state {
                    seen.state = view.state;
                    push(&mut seen.waiting, "state", &json!({ "state": view.state, "timeline": view.timeline }));
                }
            }
        }
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

fn push(waiting: &mut Vec<Event>, name: &'static str, data: &impl Serialize) {
    match Event::default().event(name).json_data(data) {
        Ok(event) => waiting.push(event),
        Err(error) => tracing::error!(%error, name, "an event cannot be written"),
    }
}
