//! Owns looks at the audit trail as it stands, of a running store too: its frames from the newest back, and the head of its chain.
//! Refuses to judge (`verify` does) and to know what frames mean.
//! Invariant: nothing is changed, and what is being appended at this moment is left out.

use std::{io, ops::ControlFlow, path::Path};

use serde::Serialize;

use super::{
    Month, Seq,
    backup::hex,
    trail::{TrailError, TrailRead},
};

/// Where the chain ends: whoever keeps this elsewhere sees later whether anything before it was changed or cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrailHead {
    pub month: String,
    /// Of that month.
    pub frames: u64,
    pub sha256: String,
}

/// The head of the newest month that has a trail. Reads that month's file.
pub fn trail_head(data: &Path) -> io::Result<Option<TrailHead>> {
    for month in Month::all(data)?.into_iter().rev() {
        if let Some(read) = open(data, month)? {
            let link = read.link();
            return Ok(Some(TrailHead { month: month.to_string(), frames: link.frames, sha256: hex(&link.hash) }));
        }
    }
    Ok(None)
}

/// Hands over every frame, the newest first, until told to stop; months of which no trail can be read are named.
pub fn trail_back(data: &Path, mut sink: impl FnMut(Seq, &[u8]) -> ControlFlow<()>) -> io::Result<Vec<String>> {
    let mut unread = Vec::new();
    for month in Month::all(data)?.into_iter().rev() {
        let read = match open(data, month) {
            Ok(Some(read)) => read,
            Ok(None) => continue,
            Err(error) => {
                unread.push(format!("trail/{month}.log: {error}"));
                continue;
            }
        };
        for frame in read.frames.iter().rev() {
            if sink(Seq(frame.seq), &read.bytes(frame)?).is_break() {
                return Ok(unread);
            }
        }
    }
    Ok(unread)
}

fn open(data: &Path, month: Month) -> io::Result<Option<TrailRead>> {
    TrailRead::open(&month.trail_path(data)).map_err(|error| match error {
        TrailError::Io(error) => error,
        TrailError::BadHeader => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
    })
}
