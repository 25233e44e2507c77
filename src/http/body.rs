//! Owns reading what a caller sends: each address with its own bound, and only after it is settled who asks.
//! Refuses to know what it means. Invariant: never more than the bound is kept in memory; what is over is read past, so that the caller hears
//! why; nobody is waited for who sends more slowly than any line.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    BoxError, Form,
    body::{Body, Bytes, HttpBody},
    extract::{FromRequest, Request},
    response::{IntoResponse as _, Response},
};
use futures::StreamExt as _;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep, sleep};

use super::{Edge, problem::Problem};

/// A reason, a note, a name with its password, an answer.
pub(super) const WORDS_MAX: usize = 8 << 10;
/// Read past at most, so that a caller who is still sending gets an answer instead of a broken connection.
const READ_PAST_MAX: usize = 16 << 20;

/// A body may be waited for so long, and for each byte of it that has come as long as the slowest line takes.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// Satellites and what is left of a mobile network in a storm bring more.
const BYTES_A_SECOND_MIN: u64 = 1_024;

/// A body of at most this many bytes.
pub(super) struct Sent<const MAX: usize>(pub(super) Bytes);

/// An alert: the bound is the configuration's.
pub(super) struct SentAlert(pub(super) Bytes);

/// A form of a page.
pub(super) struct SentForm<T>(pub(super) T);

impl<const MAX: usize> FromRequest<Edge> for Sent<MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Edge) -> Result<Self, Problem> {
        read(request.into_body(), MAX).await.map(Self)
    }
}

impl FromRequest<Edge> for SentAlert {
    type Rejection = Problem;

    async fn from_request(request: Request, edge: &Edge) -> Result<Self, Problem> {
        read(request.into_body(), edge.settings.body_max).await.map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<Edge> for SentForm<T> {
    type Rejection = Response;

    async fn from_request(request: Request, edge: &Edge) -> Result<Self, Response> {
        let (head, body) = request.into_parts();
        let bytes = read(body, WORDS_MAX).await.map_err(Problem::into_response)?;
        let form = Form::from_request(Request::from_parts(head, Body::from(bytes)), edge).await;
        form.map(|Form(given)| Self(given)).map_err(|refused| refused.into_response())
    }
}

async fn read(body: Body, most: usize) -> Result<Bytes, Problem> {
    // A length that is told beforehand and that nobody would read past is refused at once.
    if body.size_hint().lower() > READ_PAST_MAX as u64 {
        return Err(Problem::too_large(most));
    }
    let (mut kept, mut seen) = (Vec::new(), 0_usize);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| cut_off(&error).unwrap_or_else(|| Problem::bad_request("the body ended before it was whole")))?;
        seen = seen.saturating_add(chunk.len());
        if seen > READ_PAST_MAX.max(most) {
            return Err(Problem::too_large(most));
        }
        if seen <= most {
            kept.extend_from_slice(&chunk);
        } else {
            kept = Vec::new();
        }
    }
    if seen > most { Err(Problem::too_large(most)) } else { Ok(kept.into()) }
}

/// The request once its whole body is here, read within the time that such a body needs.
pub(super) async fn whole(request: Request, most: usize, within: Duration) -> Result<Request, Problem> {
    if request.body().is_end_stream() {
        return Ok(request);
    }
    let (head, body) = request.into_parts();
    let bytes = tokio::time::timeout(within, read(body, most)).await.map_err(|_| Problem::slow_body())??;
    Ok(Request::from_parts(head, Body::from(bytes)))
}

/// Lets nobody hold a request by sending its body byte after byte.
pub(super) fn paced(body: Body) -> Body {
    if body.is_end_stream() {
        return body;
    }
    Body::new(Paced { body, seen: 0, waited: Duration::ZERO, since: None, due: Box::pin(sleep(BODY_PATIENCE)) })
}

/// A body that counts how long it is waited for; what we take to use it is not the sender's fault.
struct Paced {
    body: Body,
    seen: u64,
    waited: Duration,
    /// Waiting goes on since then.
    since: Option<Instant>,
    due: Pin<Box<Sleep>>,
}

/// The sender took longer than any line needs.
#[derive(Debug, thiserror::Error)]
#[error("the body comes too slowly")]
struct TooSlow;

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
            if this.since.is_none() {
                let now = Instant::now();
                let patience = BODY_PATIENCE + Duration::from_secs(this.seen / BYTES_A_SECOND_MIN);
                this.due.as_mut().reset(now + patience.saturating_sub(this.waited));
                this.since = Some(now);
            }
            ready!(this.due.as_mut().poll(context));
            return Poll::Ready(Some(Err(TooSlow.into())));
        };
        if let Some(since) = this.since.take() {
            this.waited += since.elapsed();
        }
        if let Some(Ok(frame)) = &frame {
            this.seen += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// What to tell of a body that was cut off for its slowness, however deep that stands in the error of whoever read it.
pub(super) fn cut_off(error: &(dyn Error + 'static)) -> Option<Problem> {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.any(|cause| cause.is::<TooSlow>()).then(Problem::slow_body)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A body of so many pieces, each some time after the one before.
    fn dripping(pieces: usize, bytes: usize, pause: Duration) -> Body {
        let pieces = futures::stream::iter(0..pieces).then(move |_| async move {
            sleep(pause).await;
            Ok::<_, Infallible>(Bytes::from(vec![b'x'; bytes]))
        });
        paced(Body::from_stream(pieces))
    }

    async fn kind(body: Body) -> Option<&'static str> {
        read(body, 1 << 20).await.err().map(|problem| problem.kind)
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_drips_is_cut_off_and_a_slow_line_is_not() {
        let begun = Instant::now();
        assert_eq!(kind(dripping(1_000, 1, Duration::from_secs(2))).await, Some("slow-body"));
        assert!(begun.elapsed() < BODY_PATIENCE * 2, "{:?}", begun.elapsed());
        assert_eq!(kind(dripping(200, 2_048, Duration::from_secs(1))).await, None, "16 kbit/s for minutes");
        assert_eq!(kind(dripping(3, 1, Duration::from_secs(3))).await, None, "a pause is no slowness");
    }

    #[tokio::test(start_paused = true)]
    async fn what_we_take_to_use_a_body_is_not_the_senders_fault() {
        let mut chunks = dripping(20, 1, Duration::from_millis(10)).into_data_stream();
        while let Some(chunk) = chunks.next().await {
            chunk.expect("a piece");
            sleep(BODY_PATIENCE).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_form_has_its_own_time_however_its_bytes_come() {
        let request = Request::new(dripping(100, 4_096, Duration::from_secs(1)));
        let refused = whole(request, 1 << 20, Duration::from_secs(10)).await.expect_err("not in time");
        assert_eq!(refused.kind, "slow-body");
    }
}
