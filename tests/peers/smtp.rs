//! Owns a real SMTP server (aiosmtpd) that writes each letter to its own file.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use mail_parser::{Message, MessageParser};
use tempfile::TempDir;

use crate::{
    machine::is_open,
    program::process::{Process, free_port, until},
};

const PYTHON: &str = "/usr/bin/python3";
const START: Duration = Duration::from_secs(15);
const SCRIPT: &str = r#"
import asyncio, os, sys
from aiosmtpd.smtp import SMTP

port, box = int(sys.argv[1]), sys.argv[2]

class Box:
    taken = 0
    async def handle_DATA(self, server, session, envelope):
        Box.taken += 1
        name = os.path.join(box, f"{Box.taken:06}")
        with open(name + ".part", "wb") as file:
            for to in envelope.rcpt_tos:
                file.write(b"X-Envelope-To: " + to.encode() + b"\r\n")
            file.write(envelope.original_content)
        os.rename(name + ".part", name + ".eml")
        return "250 2.0.0 taken"

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Box(), hostname="peer.example", enable_SMTPUTF8=True), "127.0.0.1", port)
    await server.serve_forever()

asyncio.run(main())
"#;

pub(crate) struct Smtp {
    pub(crate) port: u16,
    _server: Process,
    dir: TempDir,
}

pub(crate) struct Letter {
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) text: String,
}

impl Smtp {
    pub(crate) async fn start() -> Self {
        let has = Command::new(PYTHON).args(["-c", "import aiosmtpd"]).output().is_ok_and(|done| done.status.success());
        assert!(has, "{PYTHON} has no aiosmtpd: apt-get install python3-aiosmtpd (tests/run does)");
        let (dir, port) = (TempDir::new().unwrap(), free_port());
        let server = Process::start("aiosmtpd", Command::new(PYTHON).args(["-c", SCRIPT, &port.to_string()]).arg(dir.path()));
        until("the mail server listens", START, async || is_open(port)).await;
        Self { port, _server: server, dir }
    }

    pub(crate) fn letters(&self) -> Vec<Letter> {
        let files = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "eml")).collect();
        files.sort();
        files.iter().map(|path| read(&fs::read(path).unwrap())).collect()
    }
}

fn read(raw: &[u8]) -> Letter {
    let message: Message<'_> = MessageParser::default().parse(raw).expect("a letter is a message");
    Letter {
        to: message.header_raw("X-Envelope-To").unwrap_or_default().trim().to_owned(),
        subject: message.subject().unwrap_or_default().to_owned(),
        text: message.body_text(0).unwrap_or_default().into_owned(),
    }
}

#[tokio::test]
async fn a_letter_is_taken_and_read_back() {
    let server = Smtp::start().await;
    let script = "import smtplib, sys; from email.message import EmailMessage; m = EmailMessage(); \
        m['Subject'] = '[红色] 暴雨'; m['From'] = 'a@county.example'; m['To'] = 'b@beichuan.example'; m.set_content('立即转移'); \
        smtplib.SMTP('127.0.0.1', int(sys.argv[1])).send_message(m)";
    let code = Process::start("smtplib", Command::new(PYTHON).args(["-c", script, &server.port.to_string()])).wait(START).await;
    assert_eq!(code, Some(0));
    let letters = server.letters();
    let [Letter { to, subject, text }] = &letters[..] else { panic!("{} letters", letters.len()) };
    assert_eq!((to.as_str(), subject.as_str(), text.trim()), ("b@beichuan.example", "[红色] 暴雨", "立即转移"));
}
