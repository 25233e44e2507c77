//! Owns `email/file`: letters put into a Maildir, for tests, drills and sites whose mail server reads one.
//! Refuses to know mail servers; the letter is the one that SMTP would carry.
//! Invariant: a file in `new` is whole and on disk before its letter counts as accepted.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::future::BoxFuture;

use super::{REACHES, compose};
use crate::{
    channel::{
        Batching, Callback, Channel, Class, Concerns, Context, Driver, Failure, Kind, Meaning, Prepared, Proof, Reach, Reception,
        ReportSink, Verdict, answers::happens, common,
    },
    fault::Fault,
    message::{Form, Outgoing},
    time::SharedClock,
};

pub const DRIVER: Driver = Driver { kind: Kind::Email, provider: "file", check, answers: &[&[WRITE], &compose::ANSWERS] };
const WRITE: Meaning = happens("the folder cannot be written", Class::Retry, Concerns::Provider, "write");

struct Maildir {
    name: String,
    folder: PathBuf,
    sender: compose::Sender,
    clock: SharedClock,
}

fn check(name: &str, table: &toml::Table) -> Result<Prepared, Vec<Fault>> {
    let mut keys = common::keys(name, table);
    let common = common::common(&mut keys);
    let path = keys.required("path");
    let sender = super::smtp::sender(&mut keys);
    let name = name.to_owned();
    keys.finish((path, sender)).map(|(path, sender)| Prepared {
        name: name.clone(),
        kind: Kind::Email,
        provider: "file",
        common,
        build: Box::new(move |context: Context| {
            let maildir = Maildir { name, folder: context.base_dir.join(path), sender, clock: context.clock };
            Ok(Arc::new(maildir) as Arc<dyn Channel>)
        }),
    })
}

impl Maildir {
    async fn put(&self, mail: &Outgoing) -> Verdict {
        match self.letter(mail) {
            Err(failure) => Verdict::Failed(failure),
            Ok((file, bytes)) => {
                let folder = self.folder.clone();
                let written = tokio::task::spawn_blocking(move || store(&folder, &file, &bytes)).await;
                match written.unwrap_or_else(|_| Err(io::Error::other("the writing task ended"))) {
                    Ok(()) => Verdict::Accepted { provider_ref: None },
                    Err(error) => Verdict::Failed(Failure::new(WRITE.class, WRITE.concerns, WRITE.reason, error.to_string())),
                }
            }
        }
    }

    fn letter(&self, mail: &Outgoing) -> Result<(String, Vec<u8>), Failure> {
        let now = self.clock.now();
        let bytes = compose::compose(mail, &mail.id.to_string(), &self.sender, &compose::recipient(mail)?, now)?;
        Ok((format!("{}.{}_{}.lastmile", now.as_ms(), mail.id, mail.attempt), bytes))
    }
}

fn store(folder: &Path, file: &str, bytes: &[u8]) -> io::Result<()> {
    for part in ["tmp", "new", "cur"] {
        std::fs::create_dir_all(folder.join(part))?;
    }
    let draft = folder.join("tmp").join(file);
    let mut out = File::create(&draft)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    std::fs::rename(&draft, folder.join("new").join(file))?;
    // The name itself is only safe once its folder is.
    File::open(folder.join("new"))?.sync_all()
}

impl Channel for Maildir {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> Kind {
        Kind::Email
    }

    fn reaches(&self) -> &[Reach] {
        &REACHES
    }

    fn form(&self) -> Form {
        Form::Letter
    }

    fn proof(&self) -> Proof {
        Proof::AcceptedIsDelivered
    }

    fn batching(&self) -> Batching {
        Batching::One
    }

    fn send<'a>(&'a self, batch: &'a [Outgoing]) -> BoxFuture<'a, Vec<Verdict>> {
        Box::pin(async move {
            let mut verdicts = Vec::with_capacity(batch.len());
            for mail in batch {
                verdicts.push(self.put(mail).await);
            }
            verdicts
        })
    }

    fn receive(&self, _callback: &Callback) -> Result<Reception, Failure> {
        let detail = "a folder of letters reports nothing".to_owned();
        Err(Failure::new(Class::Reject, Concerns::Request, "no-callbacks", detail))
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
    use crate::{channel::email::compose::tests::letter, time::SystemClock};

    #[tokio::test]
    async fn a_letter_lies_whole_in_new_once_it_is_accepted() {
        let base = tempfile::tempdir().expect("a folder");
        let table: toml::Table = "path = \"mail\"\nfrom = \"北川预警 <alert@county.example>\"".parse().expect("toml");
        let prepared = check("notes", &table).expect("a good table");
        let context = Context {
            clock: Arc::new(SystemClock),
            public_url: String::new(),
            callback_key: Arc::new([0; 32]),
            base_dir: base.path().to_owned(),
            seed: 1,
            builtin_broker: None,
        };
        let channel = (prepared.build)(context).expect("builds");
        let mut bad = letter(2);
        bad.to = "nobody".to_owned();
        let verdicts = channel.send(&[letter(1), bad]).await;
        assert_eq!(verdicts[0], Verdict::Accepted { provider_ref: None });
        assert!(matches!(&verdicts[1], Verdict::Failed(failure) if failure.class == Class::Reject));
        let files: Vec<_> =
            std::fs::read_dir(base.path().join("mail/new")).expect("new").map(|entry| entry.expect("entry").path()).collect();
        assert_eq!(files.len(), 1);
        let text = std::fs::read_to_string(&files[0]).expect("a letter");
        assert!(text.contains("To: chen.wei@example.com") && text.contains("Auto-Submitted: auto-generated"), "{text}");
        assert_eq!(std::fs::read_dir(base.path().join("mail/tmp")).expect("tmp").count(), 0);
    }
}
