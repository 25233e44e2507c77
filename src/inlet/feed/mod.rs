//! Owns the way in through a feed: asked at intervals, its entries read once each, their warnings handed in.
//! Refuses to judge warnings, and to believe where an entry says that its warning is.
//! Invariant: an entry counts as seen only after the gateway has answered for it, and then for ever, a restart included.

mod body;
mod entries;
mod fetch;
mod seen;
mod settings;
mod work;

use std::{sync::Arc, time::Duration};

use rand::RngExt as _;
use tokio::time::Instant;
use toml::Table;

use super::{Context, Prepared, hand_in::Hand, reach::Reach};
use crate::{
    alert::{Point, mapping::Mapping},
    fault::Fault,
};
use entries::Reader;
use fetch::{Asked, Failure, Fetcher, Version};
use seen::Seen;
use settings::{MappingSettings, Settings};
use work::{Round, Work};

/// How far the tries at a feed that fails move apart, and the longest that it may ask for itself: warnings must not wait longer.
const AGAIN_MAX: Duration = Duration::from_secs(300);
/// Authorities and mappings are a few kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Faults of a feed's body that are logged.
const FAULTS_LOGGED_MAX: usize = 4;

pub(super) fn check(name: &str, table: &Table) -> Result<Prepared, Vec<Fault>> {
    let settings = settings::read(name, table)?;
    let inlet = name.to_owned();
    Ok(Prepared {
        name: name.to_owned(),
        source: settings.source.clone(),
        run: Box::new(move |context| Box::pin(async move { run(inlet, settings, context).await })),
    })
}

/// What is wrong with the files of the configuration may be repaired while the gateway runs.
async fn run(inlet: String, settings: Settings, context: Context) {
    let mut reach = Reach::new(&inlet, context.gateway.alarms().clone());
    let (fetcher, reader) = loop {
        match files(&settings, &context).await {
            Ok(made) => break made,
            Err(why) => reach.lost(&why),
        }
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(settings.every) => {}
        }
    };
    let seen = Seen::open(context.documents.clone(), &inlet);
    let hand = Hand { gateway: context.gateway.clone(), inlet, source: settings.source.clone(), proofs: context.proofs.clone() };
    let (version, work, answered) = (Version::default(), Work::default(), Instant::now());
    Feed { hand, settings, fetcher, reader, seen, work, reach, version, answered, failures: 0, is_told: false }.run(context).await;
}

/// What is made from the files that the table names.
async fn files(settings: &Settings, context: &Context) -> Result<(Fetcher, Reader), String> {
    let pem = match &settings.ca {
        Some(ca) => Some(read_file("ca", ca, context).await?),
        None => None,
    };
    let mapping = match &settings.mapping {
        Some(named) => Some(Arc::new(mapping(named, context).await?)),
        None => None,
    };
    Ok((Fetcher::new(settings.clone(), pem.as_deref())?, Reader { mapping }))
}

async fn mapping(named: &MappingSettings, context: &Context) -> Result<Mapping, String> {
    let mut mapping = match Mapping::built_in(&named.name) {
        Some(mapping) => mapping,
        None => {
            let text = read_file("mapping", &named.name, context).await?;
            let text = String::from_utf8(text).map_err(|error| format!("mapping {}: {error}", named.name))?;
            Mapping::parse(&text).map_err(|faults| format!("mapping {}: {}", named.name, listed(&faults)))?
        }
    };
    if !named.areas.is_empty() {
        mapping = mapping.for_areas(named.areas.clone());
    }
    if mapping.needs_place() {
        let county = context.gateway.snapshot().areas().root().and_then(|root| root.place);
        let place = county
            .ok_or_else(|| format!("mapping {}: the county has no coordinates in the registry; give `here` in the mapping", named.name))?;
        mapping = mapping.for_place(Point { lon: place.lon(), lat: place.lat() });
    }
    Ok(match &named.sender {
        Some(sender) => mapping.for_sender(sender),
        None => mapping,
    })
}

async fn read_file(key: &str, name: &str, context: &Context) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| format!("{key} {name}: {error}");
    let path = context.base_dir.join(name);
    if tokio::fs::metadata(&path).await.map_err(told)?.len() > FILE_BYTES_MAX {
        return Err(format!("{key} {name}: larger than {FILE_BYTES_MAX} bytes"));
    }
    tokio::fs::read(&path).await.map_err(told)
}

struct Feed {
    hand: Hand,
    settings: Settings,
    fetcher: Fetcher,
    reader: Reader,
    seen: Seen,
    work: Work,
    reach: Reach,
    /// The version that was read last, kept once all its entries are on the list.
    version: Version,
    /// When the feed last gave something that could be read.
    answered: Instant,
    failures: u32,
    /// Whether people know that what was seen cannot be written down.
    is_told: bool,
}

impl Feed {
    async fn run(mut self, context: Context) {
        loop {
            let asked = tokio::select! {
                () = context.stop.cancelled() => return,
                asked = self.ask() => asked,
            };
            let mut wait = self.take_note(asked);
            let Self { work, fetcher, hand, seen, settings, .. } = &mut self;
            if work.round(fetcher, hand, seen, settings.every, &context.stop).await == Round::PutOff {
                wait = wait.max(back_off(settings.every, 1, None));
            }
            self.save().await;
            tokio::select! {
                () = context.stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn ask(&mut self) -> Result<(), Failure> {
        let (body, version) = match self.fetcher.feed(&self.version).await? {
            Asked::Unchanged => return Ok(()),
            Asked::Body(body, version) => (body, version),
        };
        // A country's feed takes a tenth of a second: not on a thread that serves requests.
        let reader = self.reader.clone();
        let read = tokio::task::spawn_blocking(move || reader.read(&body)).await;
        let read = read.map_err(|error| Failure::new(format!("its body could not be read: {error}")))?;
        let items = read.map_err(|faults| Failure::new(told(&faults)))?;
        self.work.replace(items, &mut self.seen, &self.hand.inlet);
        self.version = version;
        Ok(())
    }

    /// Keeps account of answers and failures; how long to wait.
    fn take_note(&mut self, asked: Result<(), Failure>) -> Duration {
        let (inlet, every) = (self.hand.inlet.as_str(), self.settings.every);
        let Err(failure) = asked else {
            self.reach.found();
            (self.failures, self.answered) = (0, Instant::now());
            return every;
        };
        self.failures = self.failures.saturating_add(1);
        let wait = back_off(every, self.failures, failure.retry_after);
        let (failures, why) = (self.failures, failure.why.as_str());
        tracing::warn!(inlet, why, failures, wait_ms = wait.as_millis(), waiting = self.work.len(), "the feed gave nothing to read");
        if self.answered.elapsed() >= every.saturating_mul(self.settings.misses) {
            self.reach.lost(why);
        }
        wait
    }

    async fn save(&mut self) {
        match self.seen.save().await {
            Ok(()) => self.is_told = false,
            Err(error) => {
                if !std::mem::replace(&mut self.is_told, true) {
                    self.hand.gateway.alarms().raise("inlet-memory", &self.hand.inlet, &error);
                    tracing::error!(inlet = self.hand.inlet, error, "what was seen cannot be written down; a restart reads it again");
                }
            }
        }
    }
}

fn told(faults: &[Fault]) -> String {
    format!("its body cannot be read ({} faults): {}", faults.len(), listed(faults))
}

fn listed(faults: &[Fault]) -> String {
    faults.iter().take(FAULTS_LOGGED_MAX).map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Twice as long after each failure, or what the feed asks for; spread by a fifth, so that a city's counties do not come all at once.
fn back_off(every: Duration, failures: u32, hint: Option<Duration>) -> Duration {
    let longest = AGAIN_MAX.max(every);
    let own = every.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let wait = hint.map_or(own, |hint| hint.max(every)).min(longest);
    wait.mul_f64(rand::rng().random_range(1.0..1.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_are_spread_and_have_an_end() {
        let s = Duration::from_secs;
        let within = |wait: Duration, base: u64| assert!((s(base)..=s(base).mul_f64(1.2)).contains(&wait), "{wait:?} for {base}");
        for (failures, base) in [(1, 30), (2, 60), (3, 120), (5, 300), (u32::MAX, 300)] {
            within(back_off(s(30), failures, None), base);
        }
        within(back_off(s(30), 1, Some(s(90))), 90);
        within(back_off(s(30), 1, Some(s(86_400))), 300);
        within(back_off(s(30), 9, Some(s(0))), 30);
        within(back_off(s(3_600), 5, None), 3_600);
    }
}
