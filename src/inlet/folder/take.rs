//! Owns what is done with one whole file: read, handed in (an archive document by document), put away by the answer.
//! Refuses to wait for files: it says that one is left, and a later look brings it again.
//! Invariant: an answer that could not be acted on is remembered with this state of the file, so that only the move is tried again.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tokio::time::Instant;

use super::{
    Folder,
    archive::{self, ArchiveError, Packed},
    shelf,
    watch::{self, Content, Stamp},
};
use crate::{
    fault::Fault,
    inlet::hand_in::{Refusal, Verdict},
};

/// What is known of one state of a file.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// When it was first found to be one that time may mend: without form, as its sender has paused, or ahead of what it updates.
    not_yet_since: Option<Instant>,
    answer: Option<Answer>,
    /// Whether people have been told that it cannot be read or moved.
    is_told: bool,
}

/// Where a file belongs.
#[derive(Clone, Debug)]
enum Answer {
    Done,
    Refused(Value),
}

/// What became of a file at this look.
pub(super) enum Taken {
    /// It was answered for.
    Handed,
    /// Nothing was done; a later look brings it again.
    Left,
    /// The store cannot take anything now.
    PutOff,
}

impl Folder {
    pub(super) async fn take(&mut self, name: &OsStr, stamp: Stamp) -> Taken {
        let Some(memory) = self.seen.memory(name) else { return Taken::Left };
        let since = memory.not_yet_since;
        if let Some(answer) = memory.answer.clone() {
            return self.put_away(name, stamp, answer).await;
        }
        if since.is_some_and(|since| !self.has_waited(since)) {
            return Taken::Left;
        }
        if archive::is_attachment(&name.to_string_lossy()) {
            return self.put_away(name, stamp, Answer::Done).await;
        }
        let path = self.settings.path.join(name);
        let verdict = match blocking(move || watch::read(&path, stamp)).await {
            Ok(Content::Changed) => return Taken::Left,
            Err(error) => return self.stuck(name, "cannot be read", &error),
            Ok(Content::TooLarge) => Err(self.refuse("too-large", vec![too_large(stamp)], &name.to_string_lossy()).await),
            Ok(Content::Whole(bytes)) => self.judge(bytes, name, since.is_some()).await,
        };
        let answer = match verdict {
            Ok(Judged::Done) => Answer::Done,
            Ok(Judged::PutOff) => return Taken::PutOff,
            Ok(Judged::NotYet) => {
                if let Some(memory) = self.seen.memory(name) {
                    memory.not_yet_since = Some(Instant::now());
                }
                return Taken::Left;
            }
            Err(refusal) => Answer::Refused(refusal.to_json()),
        };
        self.put_away(name, stamp, answer).await
    }

    /// Hands in what stands in a file. What time may mend is left at first; `is_last` says that this time is over.
    async fn judge(&self, bytes: Vec<u8>, name: &OsStr, is_last: bool) -> Result<Judged, Refusal> {
        let label = name.to_string_lossy().into_owned();
        if archive::is_archive(&bytes) {
            return match blocking_value(move || archive::documents(&bytes)).await {
                Ok(Ok(documents)) => self.judge_all(&documents, &label, is_last).await,
                Ok(Err(ArchiveError::Unfinished(_))) if !is_last => Ok(Judged::NotYet),
                Ok(Err(ArchiveError::Unfinished(fault))) => Err(self.refuse("not-parseable", vec![fault], &label).await),
                Ok(Err(ArchiveError::Refused(faults))) => Err(self.refuse("invalid-archive", faults, &label).await),
                Err(error) => Err(self.refuse("invalid-archive", vec![Fault::new("", "unreadable", error.to_string())], &label).await),
            };
        }
        let verdict = self.hand.ask(&bytes, None).await;
        if matches!(&verdict, Verdict::Refused(refusal) if !is_last && (refusal.is_formless() || refusal.may_mend())) {
            return Ok(Judged::NotYet);
        }
        self.hand.tell(&verdict, &label, &bytes).await;
        match verdict {
            Verdict::Taken { .. } | Verdict::Kept => Ok(Judged::Done),
            Verdict::PutOff(_) => Ok(Judged::PutOff),
            Verdict::Refused(refusal) => Err(refusal),
        }
    }

    /// Every document of an archive; one that is refused makes the archive refused, and the others were taken all the same.
    async fn judge_all(&self, documents: &[Packed], label: &str, is_last: bool) -> Result<Judged, Refusal> {
        let mut refused: Vec<(&Packed, Refusal)> = Vec::new();
        for document in documents {
            let verdict = self.hand.ask(&document.bytes, None).await;
            match verdict {
                Verdict::Refused(refusal) => refused.push((document, refusal)),
                said => {
                    self.hand.tell(&said, &format!("{label}: {}", document.name), &document.bytes).await;
                    if matches!(said, Verdict::PutOff(_)) {
                        return Ok(Judged::PutOff);
                    }
                }
            }
        }
        if !is_last && refused.iter().any(|(_, refusal)| refusal.may_mend()) {
            return Ok(Judged::NotYet);
        }
        for (document, refusal) in &refused {
            self.hand.tell(&Verdict::Refused(refusal.clone()), &format!("{label}: {}", document.name), &document.bytes).await;
        }
        let Some((_, first)) = refused.first() else { return Ok(Judged::Done) };
        let detail = format!("{} of {} documents of the archive were refused: {}", refused.len(), documents.len(), first.detail);
        let kind = first.kind;
        let in_entry = |name: &str, fault: Fault| Fault { path: format!("{name}: {}", fault.path), ..fault };
        let problems = refused
            .into_iter()
            .flat_map(|(document, refusal)| refusal.problems.into_iter().map(move |fault| in_entry(&document.name, fault)));
        Err(Refusal::new(kind, detail, problems.collect()))
    }

    async fn refuse(&self, kind: &'static str, faults: Vec<Fault>, label: &str) -> Refusal {
        let refusal = Refusal::new(kind, "the file cannot be read as documents", faults);
        self.hand.tell(&Verdict::Refused(refusal.clone()), label, &[]).await;
        refusal
    }

    async fn put_away(&mut self, name: &OsStr, stamp: Stamp, answer: Answer) -> Taken {
        let (folder, owned, kept) = (self.settings.path.clone(), name.to_owned(), answer.clone());
        match blocking(move || put_away(&folder, &owned, stamp, &kept)).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(inlet = self.hand.inlet, file = ?name, "the file changed while it was handed in; it is read again");
            }
            Err(error) => {
                if let Some(memory) = self.seen.memory(name) {
                    memory.answer = Some(answer);
                }
                return self.stuck(name, "cannot be put away", &error);
            }
        }
        Taken::Handed
    }

    /// Says once of each state of a file that somebody must look at it.
    fn stuck(&mut self, name: &OsStr, what: &str, error: &io::Error) -> Taken {
        // Somebody took the file away meanwhile: there is nothing to look at.
        if error.kind() == io::ErrorKind::NotFound && Stamp::at(&self.settings.path.join(name)).is_err() {
            return Taken::Left;
        }
        if let Some(memory) = self.seen.memory(name)
            && !std::mem::replace(&mut memory.is_told, true)
        {
            self.hand.gateway.alarms().raise(
                "inlet-stuck",
                format!("{} {}", self.hand.inlet, name.to_string_lossy()),
                format!("{what}: {error}"),
            );
            tracing::error!(inlet = self.hand.inlet, file = ?name, %error, "the file {what}; it is tried again");
        }
        Taken::Left
    }
}

/// What became of the content of a file that is not refused.
enum Judged {
    Done,
    NotYet,
    PutOff,
}

fn too_large(stamp: Stamp) -> Fault {
    Fault::new("", "too-large", format!("{} bytes; at most {} are read", stamp.size, watch::FILE_BYTES_MAX))
}

/// Whether what was put away is what was answered for; else it has been brought back.
fn put_away(folder: &Path, name: &OsStr, stamp: Stamp, answer: &Answer) -> io::Result<bool> {
    let to: PathBuf = match answer {
        Answer::Done => shelf::put(folder, shelf::DONE, name)?,
        Answer::Refused(problem) => shelf::put_refused(folder, name, problem)?,
    };
    // A sender may have written a new warning under the name between the answer and the move: it must not be lost.
    if Stamp::at(&to)? == stamp {
        return Ok(true);
    }
    shelf::take_back(folder, &to, name)?;
    Ok(false)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    blocking_value(work).await?
}

/// Off the threads that serve requests; a work that panics is an error, not the end of the inlet.
async fn blocking_value<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}
