//! Owns `sms/file`: one JSON line per message, for tests, drills and sites whose own program sends what a file says.
//! Refuses to know who reads the file. Invariant: a line is whole and on disk before its message counts as accepted.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::BoxFuture;
use serde::Serialize;

use super::{REACHES, form};
use crate::{
    alert::AlertId,
    channel::{
        Batching, Callback, Channel, Class, Concerns, Context, Driver, Failure, Kind, Meaning, Prepared, Proof, Reach, Reception,
        ReportSink, Verdict, answers::happens, callback, common,
    },
    fault::Fault,
    message::{Form, Outgoing},
    time::{SharedClock, Timestamp},
};

pub const DRIVER: Driver = Driver { kind: Kind::Sms, provider: "file", check, answers: &[&[WRITE]] };
const WRITE: Meaning = happens("the file cannot be written", Class::Retry, Concerns::Provider, "write");

/// One fsync serves this many messages; a batch is at most a few hundred kilobytes.
const BATCH_MAX: usize = 256;

struct Lines {
    name: String,
    path: PathBuf,
    form: Form,
    clock: SharedClock,
    /// One writer at a time, so that lines of two batches never mix.
    writing: Arc<Mutex<()>>,
}

#[derive(Serialize)]
struct Line<'a> {
    delivery: String,
    to: &'a str,
    text: &'a str,
    at: Timestamp,
    alert: AlertId,
}

fn check(name: &str, table: &toml::Table) -> Result<Prepared, Vec<Fault>> {
    let mut keys = common::keys(name, table);
    let common = common::common(&mut keys);
    let path = keys.required("path");
    let form = form(&mut keys, false);
    let name = name.to_owned();
    keys.finish((path, form)).map(|(path, form)| Prepared {
        name: name.clone(),
        kind: Kind::Sms,
        provider: "file",
        common,
        build: Box::new(move |context: Context| {
            let path = context.base_dir.join(path);
            Ok(Arc::new(Lines { name, path, form, clock: context.clock, writing: Arc::default() }) as Arc<dyn Channel>)
        }),
    })
}

impl Lines {
    async fn append(&self, batch: &[Outgoing]) -> io::Result<()> {
        let bytes = self.lines(batch)?;
        let (path, writing) = (self.path.clone(), Arc::clone(&self.writing));
        let written = tokio::task::spawn_blocking(move || {
            // A writer that panicked left at most one torn line, which no longer concerns this one.
            let _one_at_a_time = writing.lock().unwrap_or_else(PoisonError::into_inner);
            append(&path, &bytes)
        });
        written.await.unwrap_or_else(|_| Err(io::Error::other("the writing task ended")))
    }

    fn lines(&self, batch: &[Outgoing]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let at = self.clock.now();
        for message in batch {
            let delivery = message.id.to_string();
            serde_json::to_writer(&mut bytes, &Line { delivery, to: &message.to, text: &message.text, at, alert: message.facts.alert })?;
            bytes.push(b'\n');
        }
        Ok(bytes)
    }
}

fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = !path.exists();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let before = file.metadata()?.len();
    if is_torn(&mut file, before)? {
        // What a killed process left unfinished was never accepted; it must not swallow the line that follows.
        file.write_all(b"\n")?;
    }
    if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_data()) {
        // Half a batch must not stand there when its messages are then sent again.
        file.set_len(before)?;
        return Err(error);
    }
    match path.parent().filter(|folder| fresh && !folder.as_os_str().is_empty()) {
        // The name itself is only safe once its folder is.
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn is_torn(file: &mut File, len: u64) -> io::Result<bool> {
    let mut last = [b'\n'];
    if len > 0 {
        file.seek(SeekFrom::Start(len - 1))?;
        file.read_exact(&mut last)?;
    }
    Ok(last != [b'\n'])
}

impl Channel for Lines {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> Kind {
        Kind::Sms
    }

    fn reaches(&self) -> &[Reach] {
        &REACHES
    }

    fn form(&self) -> Form {
        self.form.clone()
    }

    fn proof(&self) -> Proof {
        Proof::AcceptedOnly
    }

    fn batching(&self) -> Batching {
        Batching::SameText { max: BATCH_MAX }
    }

    fn send<'a>(&'a self, batch: &'a [Outgoing]) -> BoxFuture<'a, Vec<Verdict>> {
        Box::pin(async move {
            let verdict = match self.append(batch).await {
                Ok(()) => Verdict::Accepted { provider_ref: None },
                Err(error) => Verdict::Failed(Failure::new(WRITE.class, WRITE.concerns, WRITE.reason, error.to_string())),
            };
            vec![verdict; batch.len()]
        })
    }

    fn receive(&self, _callback: &Callback) -> Result<Reception, Failure> {
        Err(callback::malformed("a file reports nothing"))
    }

    fn start(&self, _reports: ReportSink) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::contract_kit::{PHONE, build, message};

    #[tokio::test]
    async fn each_message_is_one_line_and_batches_are_appended() {
        let base = tempfile::tempdir().expect("a folder");
        let path = base.path().join("out/sms.jsonl");
        let channel = build(Kind::Sms, "file", &format!("path = {:?}", path.to_str().expect("a path")));
        let verdicts = channel.send(&[message(1, PHONE), message(2, PHONE)]).await;
        assert_eq!(verdicts, vec![Verdict::Accepted { provider_ref: None }; 2]);
        assert_eq!(channel.send(&[message(3, PHONE)]).await.len(), 1);
        let text = std::fs::read_to_string(&path).expect("lines");
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
        assert_eq!(lines.len(), 3);
        let third = message(3, PHONE);
        let expected = serde_json::json!({
            "delivery": third.id.to_string(), "to": PHONE, "text": third.text, "at": "2026-07-23T10:16:00+08:00",
            "alert": third.facts.alert.to_string(),
        });
        assert_eq!(lines[2], expected);
    }

    #[tokio::test]
    async fn a_line_that_a_kill_left_half_written_swallows_no_other() {
        let base = tempfile::tempdir().expect("a folder");
        let path = base.path().join("sms.jsonl");
        std::fs::write(&path, "{\"delivery\":\"00").expect("half a line");
        let channel = build(Kind::Sms, "file", &format!("path = {:?}", path.to_str().expect("a path")));
        channel.send(&[message(1, PHONE)]).await;
        channel.send(&[message(2, PHONE)]).await;
        let text = std::fs::read_to_string(&path).expect("lines");
        assert_eq!(text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).count(), 2, "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[tokio::test]
    async fn a_place_that_cannot_be_written_may_be_tried_again() {
        let base = tempfile::tempdir().expect("a folder");
        let channel = build(Kind::Sms, "file", &format!("path = {:?}", base.path().to_str().expect("a path")));
        let verdicts = channel.send(&[message(1, PHONE), message(2, PHONE)]).await;
        assert_eq!(verdicts.len(), 2);
        assert!(matches!(&verdicts[0], Verdict::Failed(failure) if failure.class == Class::Retry), "{verdicts:?}");
    }
}
