//! Owns carrying to `access` what a request shows beside its key, and telling in words why it is not believed.
//! Refuses to judge: `access` does. Invariant: nobody reads a body whose source is not believed.

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName},
};

use super::{Edge, problem::Problem};
use crate::access::{Caller, Shown};

const SIGNATURE: HeaderName = HeaderName::from_static("x-signature");

/// Whether the source of this caller made this request; a caller without a source is left to the engine.
pub(super) async fn prove(edge: &Edge, caller: &Caller, headers: &HeaderMap, body: &Bytes) -> Result<(), Problem> {
    let Some(source) = caller.source.clone() else { return Ok(()) };
    let signature = signature(headers)?.map(str::to_owned);
    let (proofs, body) = (edge.proofs.clone(), body.clone());
    // A nonce waits for the disk.
    let checked = tokio::task::spawn_blocking(move || {
        let shown = Shown { signature: signature.as_deref(), body: &body };
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
