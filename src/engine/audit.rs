//! Owns the record of what people and systems do beside alerts: who, from where, what, to what, with which result.
//! Refuses to know HTTP and who may do what.
//! Invariant: what must not happen unrecorded is asked for here first; the same look of the same person is one line in ten minutes, and
//! failed sign-ins, which strangers make, are bounded.

use std::{collections::HashMap, ops::ControlFlow, sync::Mutex, time::Duration};

use serde::Serialize;
use serde_json::Value;

use super::{
    Unavailable,
    gateway::{Gateway, Inner},
    sealed_words::SealedWords,
};
use crate::{
    delivery::event::{Audited, Event, Told},
    store::{self, TrailHead, pending},
    telemetry::metrics,
    time::Timestamp,
};

/// The same look by the same person at the same thing is one line as long.
const SAME_LOOK: Duration = Duration::from_secs(600);
/// Looks remembered; with more at one time each is a line of its own.
const LOOKS_MAX: usize = 4_096;
/// Failed sign-ins written down within `SAME_LOOK`: whoever guesses must not fill the disk. The log has them all.
const FAILED_MAX: u32 = 100;
/// Frames read for one page: a month of a county has some thousands.
const FRAMES_MAX: usize = 200_000;
/// Lines waiting from commands are looked for as often.
const TAKE_EVERY: Duration = Duration::from_secs(5);

/// What was done lately, so that it is not told again and again.
#[derive(Debug, Default)]
pub(super) struct Lately {
    looks: Mutex<HashMap<[String; 4], Timestamp>>,
    failed: Mutex<Option<(Timestamp, u32)>>,
}

impl Lately {
    fn is_news(&self, act: &Audited) -> bool {
        let mut looks = self.looks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let key = [act.who.clone(), act.from.clone(), act.act.clone(), act.object.clone()];
        if looks.get(&key).is_some_and(|at| act.at.since(*at) < SAME_LOOK) {
            return false;
        }
        if looks.len() >= LOOKS_MAX {
            looks.retain(|_, at| act.at.since(*at) < SAME_LOOK);
        }
        if looks.len() < LOOKS_MAX {
            looks.insert(key, act.at);
        }
        true
    }

    fn has_room_for_failure(&self, at: Timestamp) -> bool {
        let mut failed = self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (since, count) = failed.filter(|(since, _)| at.since(*since) < SAME_LOOK).unwrap_or((at, 0));
        *failed = Some((since, count + 1));
        count < FAILED_MAX
    }
}

/// What is asked of the trail.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    pub since: Option<Timestamp>,
    /// Part of who.
    pub by: Option<String>,
    /// Beginning of what.
    pub what: Option<String>,
    /// Only before this number of the journal.
    pub before: Option<u64>,
    pub limit: usize,
}

#[derive(Debug, Serialize)]
pub struct AuditPage {
    pub items: Vec<Value>,
    pub next: Option<String>,
    /// Months whose trail cannot be read.
    pub unread: Vec<String>,
}

impl Gateway {
    /// Writes an act down, durably. What must not happen unrecorded happens only after this has returned well.
    pub async fn audit(&self, act: Audited) -> Result<(), Unavailable> {
        self.append(vec![Event::Told(Box::new(Told::Audited(Box::new(act))))]).await
    }

    /// A look at what is personal: written down before it is answered, once in a while for the same look.
    pub async fn audit_look(&self, act: Audited) -> Result<(), Unavailable> {
        if self.lately.is_news(&act) { self.audit(act).await } else { Ok(()) }
    }

    /// A sign-in that failed: bounded, since anybody can make one.
    pub async fn audit_failed_sign_in(&self, act: Audited) {
        if self.lately.has_room_for_failure(act.at)
            && let Err(error) = self.audit(act).await
        {
            tracing::error!(%error, "a failed sign-in could not be written into the audit");
        }
    }

    /// A page of the trail, the newest first. Blocking; a month takes some milliseconds.
    pub fn audit_page(&self, query: &AuditQuery) -> std::io::Result<AuditPage> {
        page(self.data_dir(), query)
    }

    /// Says the head where others keep it: in the log, once a day and at each start, and as numbers for whoever collects those.
    pub(super) async fn tell_head(&self) {
        let data = self.data_dir().to_owned();
        match self
            .apart(move || store::trail_head(&data))
            .await
            .map_err(|error| error.to_string())
            .and_then(|read| read.map_err(|error| error.to_string()))
        {
            Ok(Some(head)) => {
                metrics::audit_head(head.frames, &head.sha256);
                tracing::info!(
                    month = head.month,
                    frames = head.frames,
                    sha256 = head.sha256,
                    "the audit ends here: keep this line elsewhere"
                );
            }
            Ok(None) => {}
            Err(error) => tracing::error!(error, "the head of the audit cannot be read"),
        }
    }

    /// Where the chain ends now.
    pub fn audit_head(&self) -> std::io::Result<Option<TrailHead>> {
        store::trail_head(self.data_dir())
    }
}

/// The same of a stopped store.
pub fn page(data: &std::path::Path, query: &AuditQuery) -> std::io::Result<AuditPage> {
    let words = SealedWords::of(data);
    let mut page = AuditPage { items: Vec::new(), next: None, unread: Vec::new() };
    let mut looked = 0;
    let mut seen = std::collections::HashSet::new();
    page.unread = store::trail_back(data, |seq, bytes| {
        if query.before.is_some_and(|before| seq.0 >= before) {
            return ControlFlow::Continue(());
        }
        looked += 1;
        let line = line(seq.0, bytes, &words).filter(|line| fits(line, query));
        // A line that a command left and that was taken twice over a crash is one act.
        let is_new = line.as_ref().and_then(|line| line["id"].as_str()).is_none_or(|id| seen.insert(id.to_owned()));
        page.items.extend(line.filter(|_| is_new));
        if page.items.len() >= query.limit || looked >= FRAMES_MAX {
            page.next = Some(seq.0.to_string());
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(page)
}

/// An event of the trail as auditors read it. What an alert says is left out: the alert itself shows it.
fn line(seq: u64, bytes: &[u8], words: &SealedWords) -> Option<Value> {
    let Ok(Event::Told(mut told)) = Event::decode(bytes) else { return None };
    words.opened(&mut told);
    let mut line = serde_json::to_value(&*told).ok()?;
    let object = line.as_object_mut()?;
    object.remove("document");
    object.remove("filed");
    // Acts carry their own word; what the journal calls them is the same for all.
    if let Told::Audited(act) = &*told {
        object.insert("what".into(), act.act.clone().into());
        object.remove("act");
    }
    object.insert("seq".into(), seq.into());
    Some(line)
}

fn fits(line: &Value, query: &AuditQuery) -> bool {
    let word = |name: &str| line[name].as_str().unwrap_or_default();
    let at = || ["at", "accepted"].into_iter().find_map(|name| word(name).parse::<Timestamp>().ok());
    query.since.is_none_or(|since| at().is_none_or(|at| at >= since))
        && query.by.as_ref().is_none_or(|by| word("who").contains(by.as_str()) || word("by").contains(by.as_str()))
        && query.what.as_ref().is_none_or(|what| word("what").starts_with(what.as_str()))
}

/// Takes what commands have put by, for as long as the gateway runs.
pub(super) async fn take_pending(inner: std::sync::Arc<Inner>) {
    let mut ticks = tokio::time::interval(TAKE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = inner.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = take_once(&inner).await {
            tracing::warn!(error, "what commands have done waits for its place in the audit");
        }
    }
}

async fn take_once(inner: &std::sync::Arc<Inner>) -> Result<(), String> {
    let data = inner.data_dir.clone();
    let waiting = inner.apart(move || pending::list(&data)).await.map_err(|error| error.to_string())?;
    for (path, bytes) in waiting.map_err(|error| error.to_string())? {
        match serde_json::from_slice::<Audited>(&bytes) {
            Ok(act) => {
                inner.append(vec![Event::Told(Box::new(Told::Audited(Box::new(act))))]).await.map_err(|error| error.to_string())?;
            }
            Err(error) => tracing::error!(file = %path.display(), %error, "a line of the audit that a command left cannot be read"),
        }
        pending::taken(&path).map_err(|error| error.to_string())?;
    }
    Ok(())
}
