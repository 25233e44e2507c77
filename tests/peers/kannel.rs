//! Owns a Kannel: bearerbox, smsbox, and two fake centres of its own making, one that takes messages and one that brings replies.

use std::{fs, process::Command, time::Duration};

use tempfile::TempDir;

use crate::{
    machine::{has_said, is_open, require},
    program::process::{Process, free_port, until},
};

const FAKESMSC: &str = "/usr/lib/kannel/test/fakesmsc";
const START: Duration = Duration::from_secs(20);

pub(crate) struct Kannel {
    pub(crate) sendsms: String,
    replies_port: u16,
    /// None where it is bound to a centre that is not its own.
    centre: Option<Process>,
    boxes: [Process; 2],
    _dir: TempDir,
}

impl Kannel {
    /// `reply_url` is called with `from` and `text` of each message that comes in.
    pub(crate) async fn start(reply_url: &str) -> Self {
        let out = free_port();
        let mut kannel = Self::with(reply_url, &fake("out", out, "")).await;
        kannel.centre = Some(centre(out, "0", "nobody nobody text nothing"));
        until("the fake centre is connected", START, async || has_said(&kannel.boxes[0], "Fakesmsc client connected")).await;
        kannel
    }

    /// Bound to an operator's centre.
    pub(crate) async fn bound_to(port: u16, reply_url: &str) -> Self {
        let line = format!(
            r#"
group = smsc
smsc = smpp
smsc-id = out
host = 127.0.0.1
port = {port}
transceiver-mode = true
smsc-username = lastmile
smsc-password = kannel
system-type = ""
interface-version = 34
"#
        );
        Self::with(reply_url, &line).await
    }

    async fn with(reply_url: &str, line: &str) -> Self {
        require("/usr/sbin/bearerbox", "kannel");
        require("/usr/sbin/smsbox", "kannel");
        require(FAKESMSC, "kannel-extras");
        let (dir, [admin, smsbox, replies, send]) = (TempDir::new().unwrap(), std::array::from_fn(|_| free_port()));
        let file = dir.path().join("kannel.conf");
        fs::write(&file, config(admin, smsbox, &[line, &fake("in", replies, "allowed-smsc-id = in")], send, reply_url)).unwrap();
        let bearerbox = Process::start("bearerbox", Command::new("/usr/sbin/bearerbox").args(["-v", "1"]).arg(&file).current_dir(&dir));
        // Looking at the centre's port would take the seat of the one centre that it waits for.
        until("bearerbox has started", START, async || has_said(&bearerbox, "Start-up done")).await;
        let box_of_sms = Process::start("smsbox", Command::new("/usr/sbin/smsbox").args(["-v", "1"]).arg(&file).current_dir(&dir));
        until("smsbox listens", START, async || is_open(send)).await;
        Self {
            sendsms: format!("http://127.0.0.1:{send}/cgi-bin/sendsms"),
            replies_port: replies,
            centre: None,
            boxes: [bearerbox, box_of_sms],
            _dir: dir,
        }
    }

    /// What the centre has taken: (number, text).
    pub(crate) fn taken(&self) -> Vec<(String, String)> {
        self.centre.as_ref().map(|centre| messages(&centre.lines())).unwrap_or_default()
    }

    /// A message from a handset.
    pub(crate) async fn reply(&self, from: &str, text: &str) {
        let handset = centre(self.replies_port, "1", &format!("{from} 10620000 text {text}"));
        until("the reply is with Kannel", START, async || has_said(&handset, "sent message 1")).await;
    }
}

/// Kannel's own fake centre: connects to a `fake` line of bearerbox, brings `count` messages, prints what it takes.
fn centre(port: u16, count: &str, message: &str) -> Process {
    let port = port.to_string();
    // Through a pipe it would keep its lines to itself for kilobytes.
    let mut command = Command::new("/usr/bin/stdbuf");
    Process::start("fakesmsc", command.args(["-oL", FAKESMSC, "-H", "127.0.0.1", "-r", &port, "-i", "0", "-m", count, message]))
}

/// `Got message 2: <sender number ucs-2 text>`, or `<sender number udh header data text>` for one part of several.
fn part(line: &str) -> Option<Part> {
    let inside = line.split_once("Got message ")?.1.split_once(": <")?.1.strip_suffix('>')?;
    let mut words = inside.split(' ');
    let (_sender, to, coding) = (words.next()?, words.next()?, words.next()?);
    let (reference, text) = match coding {
        "ucs-2" | "text" => (None, words.next()?),
        "udh" => {
            let header = octets(words.next()?);
            let _coding = words.next()?;
            (header.get(3).copied(), words.next()?)
        }
        other => panic!("the fake centre prints an unknown coding {other:?}: {line}"),
    };
    let text = octets(text);
    Some(Part { to: to.to_owned(), reference, text })
}

struct Part {
    to: String,
    /// The same in all parts of one message; bearerbox sends them one after the other.
    reference: Option<u8>,
    text: Vec<u8>,
}

fn messages(lines: &[String]) -> Vec<(String, String)> {
    let mut whole: Vec<Part> = Vec::new();
    for part in lines.iter().filter_map(|line| part(line)) {
        let is_next = |before: &Part| part.reference.is_some() && before.reference == part.reference && before.to == part.to;
        match whole.iter_mut().rev().find(|before| is_next(before)) {
            Some(before) => before.text.extend(part.text),
            None => whole.push(part),
        }
    }
    whole.into_iter().map(|message| (message.to, utf16(&message.text))).collect()
}

/// Percent-encoding with `+` for the octet 0x20.
fn octets(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut octets = Vec::new();
    while let Some(byte) = bytes.next() {
        octets.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16)).expect("two digits follow a percent sign");
                u8::try_from(digit() * 16 + digit()).expect("two digits make an octet")
            }
            other => other,
        });
    }
    octets
}

fn utf16(octets: &[u8]) -> String {
    let units: Vec<u16> = octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    String::from_utf16(&units).expect("a whole message is UTF-16")
}

/// A line to a fake centre.
fn fake(id: &str, port: u16, more: &str) -> String {
    format!("\ngroup = smsc\nsmsc = fake\nsmsc-id = {id}\nport = {port}\nconnect-allow-ip = 127.0.0.1\n{more}\n")
}

fn config(admin: u16, smsbox: u16, lines: &[&str], send: u16, reply_url: &str) -> String {
    let lines = lines.concat();
    format!(
        r#"
group = core
admin-port = {admin}
admin-password = admin
smsbox-port = {smsbox}
box-allow-ip = "127.0.0.1"
dlr-storage = internal
log-level = 1
{lines}
group = smsbox
bearerbox-host = 127.0.0.1
bearerbox-port = {smsbox}
sendsms-port = {send}
sendsms-interface = 127.0.0.1
log-level = 1

group = sendsms-user
username = lastmile
password = kannel
concatenation = true
max-messages = 10

group = sms-service
keyword = default
catch-all = true
max-messages = 0
get-url = "{reply_url}&from=%p&text=%b&charset=%C"
"#
    )
}

#[tokio::test]
async fn a_long_message_comes_out_whole_and_its_report_comes_back() {
    let reports = crate::robot::Robot::start().await;
    let kannel = Kannel::start(&format!("{}/reply?k=1", reports.url())).await;
    let text = "【北川预警】暴雨红色预警：陡坡下的人员立即转移 ".repeat(6);
    let fields = [("username", "lastmile"), ("password", "kannel"), ("from", "10620000"), ("to", "15400000001"), ("text", &text)];
    let more = [("charset", "UTF-8"), ("coding", "2"), ("dlr-mask", "31"), ("dlr-url", &format!("{}/dlr?d=%d", reports.url()))];
    let query: Vec<_> = fields.into_iter().chain(more).collect();
    let answer = crate::program::http().get(&kannel.sendsms).query(&query).send().await.unwrap();
    assert!(answer.status().is_success());
    until("the message is taken", START, async || kannel.taken().iter().any(|(to, said)| to == "15400000001" && *said == text)).await;
    until("the report is back", START, async || reports.paths().iter().any(|path| path == "/dlr?d=1")).await;
    kannel.reply("15400000001", "1").await;
    until("the reply is passed on", START, async || {
        reports.paths().iter().any(|path| path.starts_with("/reply?k=1&from=15400000001&text=1&charset="))
    })
    .await;
}
