//! Owns carrying to `access` what a request shows beside its key, and telling in words why it is not believed.
//! Refuses to judge: `access` does. Invariant: nobody reads a body whose source is not believed.

use std::convert::Infallible;

use axum::{
    body::Bytes,
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, request::Parts},
};

use super::{Edge, problem::Problem, tls::ClientCertificate};
use crate::access::{Caller, Shown};

const SIGNATURE: HeaderName = HeaderName::from_static("x-signature");

/// What the connection says of whoever sends: a certificate, where there is TLS and one was shown.
pub(super) struct Connection(Option<[u8; 32]>);

impl FromRequestParts<Edge> for Connection {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Edge) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<ClientCertificate>().and_then(|shown| shown.0)))
    }
}

/// Whether the source of this caller made this request; a caller without a source is left to the engine.
pub(super) async fn prove(edge: &Edge, caller: &Caller, connection: &Connection, headers: &HeaderMap, body: &Bytes) -> Result<(), Problem> {
    let Some(source) = caller.source.clone() else { return Ok(()) };
    let signature = signature(headers)?.map(str::to_owned);
    let (proofs, body, certificate) = (edge.proofs.clone(), body.clone(), connection.0);
    // A nonce waits for the disk.
    let checked = tokio::task::spawn_blocking(move || {
        let shown = Shown { certificate, signature: signature.as_deref(), body: &body };
        proofs.check(&source, shown)
    });
    checked.await.map_err(|_| Problem::failed())??;
    Ok(())
}

fn signature(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut given = headers.get_all(SIGNATURE).iter();
    let (first, second) = (given.next(), given.next());
    if second.is_some() {
        return Err(Problem::bad_signature("X-Signature is given twice"));
    }
    let text = first.map(|value| value.to_str().map_err(|_| Problem::bad_signature("X-Signature is not plain text")));
    text.transpose()
}
