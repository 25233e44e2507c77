//! Owns the way in through a folder: files as 12379 senders and others drop them (by FTP), read once they are whole, then put away.
//! Refuses to judge documents, and to follow links or open anything but plain files.
//! Invariant: a file is moved only after the gateway has answered for what stands in it; a kill before that leads to a repeat.

mod archive;
mod shelf;
mod take;
mod watch;

use std::{collections::BTreeSet, ffi::OsString, path::PathBuf, time::Duration};

use tokio::time::Instant;
use toml::Table;

use super::{Context, Prepared, hand_in::Hand, reach::Reach};
use crate::{fault::Fault, keys::Keys};
use take::Memory;
use watch::{Listing, Seen};

/// Files handed in by one look. The store takes hundreds a second, and stopping must not wait for more.
const FILES_A_LOOK: usize = 500;
/// A disk that is asked for names answers in milliseconds; a mount that is gone may never.
const LISTING_MAX: Duration = Duration::from_secs(30);
/// Links that the alarm names; the rest are a number.
const LINKS_NAMED: usize = 3;
/// How far looks move apart while the store cannot write.
const PUT_OFF_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Debug)]
struct Settings {
    path: PathBuf,
    every: Duration,
    patience: Duration,
}

pub(super) fn check(name: &str, table: &Table) -> Result<Prepared, Vec<Fault>> {
    let mut keys = Keys::read(format!("inlet.{name}"), table).leave(&["kind"]);
    let source = keys.required("source");
    let settings = Settings {
        path: keys.required("path").into(),
        every: keys.duration("every", Duration::from_secs(2)),
        patience: keys.duration("patience", Duration::from_secs(60)),
    };
    if !(Duration::from_millis(10)..=Duration::from_secs(600)).contains(&settings.every) {
        keys.fault("every", "out-of-range", "must be from 10ms to 10m: a warning waits for two looks");
    }
    if settings.patience > Duration::from_secs(3_600) {
        keys.fault("patience", "out-of-range", "must be at most 1h");
    }
    let (inlet, speaks_for) = (name.to_owned(), source.clone());
    keys.finish(Prepared {
        name: name.to_owned(),
        source,
        run: Box::new(move |context| Box::pin(async move { Folder::new(inlet, speaks_for, settings, &context).run(context).await })),
    })
}

struct Folder {
    hand: Hand,
    settings: Settings,
    seen: Seen<Memory>,
    reach: Reach,
    /// Looks in a row that ended because the store could not write.
    put_off: u32,
    is_over: bool,
    /// Links of the last look, which people have been told of.
    links: BTreeSet<OsString>,
}

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looked {
    Through,
    PutOff,
}

impl Folder {
    fn new(inlet: String, source: String, mut settings: Settings, context: &Context) -> Self {
        settings.path = context.base_dir.join(&settings.path);
        let reach = Reach::new(&inlet, context.gateway.alarms().clone());
        let hand = Hand { gateway: context.gateway.clone(), inlet, source, proofs: context.proofs.clone() };
        Self { hand, settings, seen: Seen::default(), reach, put_off: 0, is_over: false, links: BTreeSet::new() }
    }

    async fn run(mut self, context: Context) {
        loop {
            let looked = self.look(&context).await;
            self.put_off = if looked == Looked::PutOff { self.put_off.saturating_add(1) } else { 0 };
            tokio::select! {
                () = context.stop.cancelled() => return,
                () = tokio::time::sleep(self.wait()) => {}
            }
        }
    }

    fn wait(&self) -> Duration {
        let longer = self.settings.every.saturating_mul(1 << self.put_off.min(10));
        longer.min(PUT_OFF_MAX.max(self.settings.every))
    }

    async fn look(&mut self, context: &Context) -> Looked {
        let Some(mut listing) = self.list().await else { return Looked::Through };
        self.tell_links(std::mem::take(&mut listing.links));
        let whole = self.seen.settle(&listing);
        let mut handed = 0;
        for (name, stamp) in whole {
            // What has begun is ended; what has not is the next start's.
            if context.stop.is_cancelled() || handed == FILES_A_LOOK {
                break;
            }
            match self.take(&name, stamp).await {
                take::Taken::Handed => handed += 1,
                take::Taken::Left => {}
                take::Taken::PutOff => return Looked::PutOff,
            }
        }
        Looked::Through
    }

    async fn list(&mut self) -> Option<Listing> {
        let path = self.settings.path.clone();
        let mut listing = tokio::task::spawn_blocking(move || watch::list(&path));
        let listed = match tokio::time::timeout(LISTING_MAX, &mut listing).await {
            Ok(listed) => listed,
            Err(_) => {
                // The same look is waited for: a mount that hangs must not collect threads.
                self.reach.lost("the folder does not answer");
                listing.await
            }
        };
        match listed.map_err(std::io::Error::other).and_then(|listed| listed) {
            Ok(listing) => {
                self.reach.found();
                self.tell_over(listing.is_over);
                Some(listing)
            }
            Err(error) => {
                self.reach.lost(&format!("{}: {error}", self.settings.path.display()));
                None
            }
        }
    }

    fn tell_over(&mut self, is_over: bool) {
        if is_over && !self.is_over {
            self.hand.gateway.alarms().raise("inlet-full", &self.hand.inlet, format!("目录中的文件超过{}个", watch::NAMES_MAX));
            let most = watch::NAMES_MAX;
            tracing::error!(inlet = self.hand.inlet, most, "the folder holds more names than one look reads; order of files is not kept");
        }
        self.is_over = is_over;
    }

    /// A link is never followed, and a warning behind it never goes out: somebody must know.
    fn tell_links(&mut self, links: BTreeSet<OsString>) {
        if links == self.links {
            return;
        }
        let (alarms, inlet) = (self.hand.gateway.alarms(), &self.hand.inlet);
        if links.is_empty() {
            alarms.end("inlet-stuck", inlet);
        } else {
            let named: Vec<_> = links.iter().take(LINKS_NAMED).map(|name| name.to_string_lossy()).collect();
            let text = format!("目录中有{}个链接，不跟随：{}", links.len(), named.join("、"));
            alarms.raise("inlet-stuck", inlet, text);
            tracing::error!(inlet, links = links.len(), ?named, "there are links in the folder; they are not followed");
        }
        self.links = links;
    }

    fn has_waited(&self, since: Instant) -> bool {
        since.elapsed() >= self.settings.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_judged_key_by_key() {
        let table: Table = "kind = \"folder\"\nevery = \"1h\"\npatience = \"2h\"\npat = \"x\"".parse().expect("toml");
        let Err(faults) = check("drop", &table) else { panic!("was taken") };
        let mut told: Vec<(&str, &str)> = faults.iter().map(|fault| (fault.path.as_str(), fault.rule)).collect();
        told.sort_unstable();
        let expected = [
            ("inlet.drop.every", "out-of-range"),
            ("inlet.drop.pat", "unknown-key"),
            ("inlet.drop.path", "missing"),
            ("inlet.drop.patience", "out-of-range"),
            ("inlet.drop.source", "missing"),
        ];
        assert_eq!(told, expected);
    }
}
