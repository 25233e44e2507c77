//! Owns the watch on certificates: when the first of each file ends, told as a metric and, from three weeks before, as an alarm at each step.
//! Refuses to judge whom a certificate vouches for. Invariant: the dates are those of what is in use, not of what lies on disk:
//! a renewed file ends no alarm before it has been loaded.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{
    config::Certificates,
    telemetry::{alarms::Alarms, metrics},
    time::Timestamp,
};

/// Steps are days, so an hour late is in time.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Days before the end at which duty is told anew: time to order a certificate, to press for it, and the last call.
const STEPS: [u32; 3] = [1, 7, 21];
const KIND: &str = "certificate-expires";
/// Of a path in the subject of an alarm; its end tells files apart, and the list cuts after 200 characters.
const PATH_CHARS_MAX: usize = 180;

/// One file, and when what was loaded of it ends.
#[derive(Clone, Debug)]
struct Loaded {
    file: PathBuf,
    ends: Timestamp,
}

/// What is watched.
pub(super) struct CertificateWatch {
    files: Certificates,
    /// As they were loaded last; far ends' as they were at the start.
    listener: Mutex<Vec<Loaded>>,
    far_ends: Vec<Loaded>,
}

/// Dates of the listener's files, read just before those are loaded: should a file be renewed in between, it counts as not renewed yet.
pub(super) struct Fresh(Vec<Loaded>);

impl CertificateWatch {
    pub(super) fn begin(files: Certificates) -> Self {
        Self { listener: Mutex::new(read(&files.listener)), far_ends: read(&files.far_ends), files }
    }

    pub(super) fn read_again(&self) -> Fresh {
        Fresh(read(&self.files.listener))
    }

    /// What was read is in use now.
    pub(super) fn taken(&self, fresh: Fresh) {
        *self.listener.lock().unwrap_or_else(PoisonError::into_inner) = fresh.0;
    }

    /// Tells how long there is. Alarms that stand are left as they are, also those of an earlier run: each step is told once.
    pub(super) fn look(&self, alarms: &Alarms, now: Timestamp) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut due = BTreeSet::new();
        for Loaded { file, ends } in listener.iter().chain(&self.far_ends) {
            metrics::certificate_not_after(&file.display().to_string(), *ends);
            if let Some(step) = step(*ends, now) {
                due.insert((format!("{step} {}", tail(file)), format!("{}：证书{}到期", file.display(), ends.format("%Y-%m-%d %H:%M"))));
            }
        }
        let standing: Vec<String> =
            alarms.all().into_iter().filter(|alarm| alarm.what == KIND && alarm.ended.is_none()).map(|alarm| alarm.about).collect();
        for about in standing.iter().filter(|about| due.iter().all(|(other, _)| other != *about)) {
            alarms.end(KIND, about);
        }
        for (about, text) in due.iter().filter(|(about, _)| !standing.contains(about)) {
            tracing::error!(about, "a certificate ends soon or has ended");
            alarms.raise("certificate-expires", about, text);
        }
    }
}

/// The step that this is, in the words of duty.
fn step(ends: Timestamp, now: Timestamp) -> Option<String> {
    if now >= ends {
        return Some("已过期".to_owned());
    }
    let left = ends.since(now);
    STEPS.into_iter().find(|&days| left <= DAY * days).map(|days| format!("{days}天内到期"))
}

fn tail(file: &Path) -> String {
    let name = file.display().to_string();
    let cut = name.chars().count().saturating_sub(PATH_CHARS_MAX);
    name.chars().skip(cut).collect()
}

/// A file without a date is a fault of whoever loads it, and told there.
fn read(files: &[PathBuf]) -> Vec<Loaded> {
    let dated = |file: &PathBuf| match first_end(file) {
        Ok(ends) => Some(Loaded { file: file.clone(), ends }),
        Err(error) => {
            tracing::warn!(file = %file.display(), error, "when its certificates end cannot be told");
            None
        }
    };
    files.iter().filter_map(dated).collect()
}

/// When the first certificate of a file ends: a chain holds no longer than its weakest part.
fn first_end(file: &Path) -> Result<Timestamp, String> {
    let mut first = None;
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())? {
        let certificate = certificate.map_err(|error| error.to_string())?;
        let (_, read) = X509Certificate::from_der(&certificate).map_err(|error| error.to_string())?;
        let ends = Timestamp::from_ms(read.validity().not_after.timestamp().saturating_mul(1_000));
        first = Some(first.map_or(ends, |first: Timestamp| first.min(ends)));
    }
    first.ok_or_else(|| "holds no certificate".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::time::{Clock as _, ManualClock, SharedClock};

    /// A certificate that ends at midnight of this day, UTC.
    fn until(file: &Path, year: i32, month: u8, day: u8) {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, month, day);
        let key = rcgen::KeyPair::generate().expect("a key");
        let more = std::fs::read_to_string(file).unwrap_or_default();
        std::fs::write(file, more + &params.self_signed(&key).expect("a certificate").pem()).expect("written");
    }

    fn open(alarms: &Alarms) -> Vec<String> {
        alarms.open().into_iter().map(|alarm| alarm.about.split(' ').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn duty_is_told_once_at_each_step_and_no_more_when_a_newer_one_is_in_use() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("cert.pem");
        until(&file, 2026, 12, 31);
        let clock = Arc::new(ManualClock::at("2026-12-09T23:59:59Z".parse().expect("a time")));
        let alarms = Alarms::new(Arc::clone(&clock) as SharedClock);
        let watch = CertificateWatch::begin(Certificates { listener: vec![file.clone()], far_ends: Vec::new() });
        let hour = Duration::from_secs(3_600);
        let mut told = Vec::new();
        for _ in 0..24 * 22 {
            watch.look(&alarms, clock.now());
            let now = open(&alarms);
            if told.last().is_none_or(|(last, _)| *last != now) {
                told.push((now, clock.now()));
            }
            clock.advance(hour);
        }
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let one = |word: &str| vec![word.to_owned()];
        assert_eq!(
            told,
            [
                (Vec::new(), at("2026-12-09T23:59:59Z")),
                (one("21天内到期"), at("2026-12-10T00:59:59Z")),
                (one("7天内到期"), at("2026-12-24T00:59:59Z")),
                (one("1天内到期"), at("2026-12-30T00:59:59Z")),
                (one("已过期"), at("2026-12-31T00:59:59Z")),
            ]
        );
        assert_eq!(alarms.all().iter().map(|alarm| alarm.times).collect::<Vec<_>>(), [1; 4]);
        // Renewed on disk, but not loaded: what is in use is still the old one.
        std::fs::remove_file(&file).expect("removed");
        until(&file, 2027, 12, 31);
        watch.look(&alarms, clock.now());
        assert_eq!(open(&alarms), ["已过期"]);
        let fresh = watch.read_again();
        watch.taken(fresh);
        watch.look(&alarms, clock.now());
        assert_eq!((open(&alarms), alarms.all().len()), (Vec::new(), 4));
    }

    #[test]
    fn a_step_that_somebody_took_is_not_told_again_by_the_next_run_and_the_next_step_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        // The first to end counts, wherever it stands.
        until(&file, 2028, 1, 1);
        until(&file, 2026, 12, 31);
        let clock = Arc::new(ManualClock::at("2026-12-20T00:00:00Z".parse().expect("a time")));
        let files = Certificates { listener: Vec::new(), far_ends: vec![file, folder.path().join("none.pem")] };
        let alarms = Alarms::new(Arc::clone(&clock) as SharedClock);
        CertificateWatch::begin(files.clone()).look(&alarms, clock.now());
        alarms.acknowledge(1, "li", "已申请").expect("open");
        let next = Alarms::new(Arc::clone(&clock) as SharedClock);
        next.restore(&alarms.changed().expect("changed")).expect("readable");
        let watch = CertificateWatch::begin(files);
        watch.look(&next, clock.now());
        assert_eq!((open(&next), next.all().len()), (Vec::new(), 1));
        clock.advance(5 * DAY);
        watch.look(&next, clock.now());
        assert_eq!(open(&next), ["7天内到期"]);
        assert!(next.open()[0].text.contains("2026-12-31 08:00"), "{}", next.open()[0].text);
        // A clock that is set back takes the step back with it.
        clock.advance_ms(-30 * 24 * 3_600_000);
        watch.look(&next, clock.now());
        assert_eq!(open(&next), Vec::<String>::new());
    }
}
