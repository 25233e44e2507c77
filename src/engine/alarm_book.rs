//! Owns writing the list of alarms down and taking it up again, as a document beside keys and users.
//! Refuses to raise anything of its own. Invariant: a list that cannot be written stays in memory and is tried again; it never holds up an alert.

use std::{path::Path, sync::Arc};

use super::{gateway::Inner, sealed_words::SealedWords};
use crate::{store::documents::Documents, telemetry::alarms::Alarms};

const DOCUMENT: &str = "alarms.json";

/// What an earlier run wrote down; a list that cannot be read is left where it is and told.
pub(super) fn take_up(alarms: &Alarms, data_dir: &Path, words: &SealedWords) {
    let read = Documents::open(data_dir).map_err(|error| error.to_string()).and_then(|documents| {
        let Some(bytes) = documents.read(DOCUMENT).map_err(|error| error.to_string())? else { return Ok(()) };
        // Alarms name people and say what they asked for.
        let kept = String::from_utf8_lossy(&bytes);
        let opened = words.open(&kept);
        alarms.restore(opened.as_bytes()).map_err(|error| format!("{DOCUMENT}: {error}"))?;
        if opened == kept && words.seals() {
            // Of before anything was sealed: written again so that nobody reads it.
            alarms.still_changed();
        }
        Ok(())
    });
    if let Err(error) = read {
        tracing::error!(error, "the list of alarms of the last run cannot be read; it begins anew");
    }
}

/// Writes the list down when it has changed, beside whoever asks.
pub(super) async fn write_down(inner: &Arc<Inner>) {
    let Some(bytes) = inner.alarms.changed() else { return };
    let bytes = inner.words.seal(&String::from_utf8_lossy(&bytes)).into_bytes();
    let data_dir = inner.data_dir().to_owned();
    let written = inner
        .apart(move || {
            Documents::open(&data_dir).map_err(|error| error.to_string())?.replace(DOCUMENT, &bytes).map_err(|error| error.to_string())
        })
        .await;
    if let Err(error) = written.unwrap_or_else(|error| Err(error.to_string())) {
        tracing::warn!(error, "the list of alarms cannot be written down now; it is kept in memory");
        inner.alarms.still_changed();
    }
}
