//! Owns reading what a caller sends: each address with its own bound, and only after it is settled who asks.
//! Refuses to know what it means. Invariant: never more than the bound is kept in memory; what is over is read past, so that the caller hears why.

use axum::{
    Form,
    body::{Body, Bytes, HttpBody as _},
    extract::{FromRequest, Request},
    response::{IntoResponse as _, Response},
};
use futures::StreamExt as _;
use serde::de::DeserializeOwned;

use super::{Edge, problem::Problem};

/// A reason, a note, a name with its password, an answer.
pub(super) const WORDS_MAX: usize = 8 << 10;
/// Read past at most, so that a caller who is still sending gets an answer instead of a broken connection.
const READ_PAST_MAX: usize = 16 << 20;

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
        let chunk = chunk.map_err(|_| Problem::bad_request("the body ended before it was whole"))?;
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
