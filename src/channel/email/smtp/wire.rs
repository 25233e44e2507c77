//! Owns one SMTP connection: opening (TLS, login), one letter after another, and where a talk broke off.
//! Refuses to know pools, letters' content and what a failure means beyond its step.
//! Invariant: a letter is `Unknown` exactly from the moment its final dot was handed over whole until its reply is read.

use std::{io, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use lettre::Address;
use rustls::{ClientConfig, pki_types::ServerName};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::TlsConnector;

use super::codes::{Reply, Step, judge};
use crate::{
    channel::{Class, Concerns, Failure, Meaning, answers::happens},
    net::tls,
};

/// RFC 5321 allows 512 bytes a line; servers stretch it.
const LINE_BYTES_MAX: u64 = 4_096;
/// An EHLO of 30 extensions is long; a hostile server would send for ever.
const REPLY_LINES_MAX: usize = 128;

pub(super) trait Line: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Line for T {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Security {
    None,
    StartTls,
    Tls,
}

pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) login: Option<(String, SecretString)>,
    pub(super) helo: String,
}

/// What the server said it can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offers {
    pipelining: bool,
    starttls: bool,
    dsn: bool,
    smtputf8: bool,
    plain: bool,
    login: bool,
}

/// One letter and how to ask for its receipt.
pub(super) struct Parcel<'a> {
    pub(super) from: &'a Address,
    pub(super) to: &'a Address,
    pub(super) bytes: &'a [u8],
    /// The delivery id; with it a delivery status notification is asked for where the server offers that.
    pub(super) receipt: Option<String>,
}

impl Parcel<'_> {
    fn mailbox(&self) -> &str {
        self.to.as_ref()
    }
}

pub(super) struct Session {
    line: BufReader<Box<dyn Line>>,
    offers: Offers,
    pub(super) step: Step,
    /// Letters and refusals so far; some servers close after a hundred.
    pub(super) used: u32,
    pub(super) idle_since: Instant,
    /// Whether the next letter may be handed over on this connection.
    pub(super) sound: bool,
}

impl Session {
    pub(super) async fn open(server: &Server) -> Result<Self, Failure> {
        let stream =
            TcpStream::connect((server.host.as_str(), server.port)).await.map_err(|error| broken(Step::Greeting, "connect", &error))?;
        // Nagle against delayed acknowledgements costs 40 ms a letter.
        stream.set_nodelay(true).map_err(|error| broken(Step::Greeting, "connect", &error))?;
        let line: Box<dyn Line> =
            if server.security == Security::Tls { Box::new(encrypt(server, stream).await?) } else { Box::new(stream) };
        let mut session = Self::on(line);
        session.expect(Step::Greeting, 220).await?;
        session.hello(server).await?;
        if server.security == Security::StartTls {
            session = session.upgrade(server).await?;
        }
        if let Some((user, password)) = &server.login {
            session.log_in(user, password).await?;
        }
        Ok(session)
    }

    fn on(line: Box<dyn Line>) -> Self {
        Self {
            line: BufReader::new(line),
            offers: Offers::default(),
            step: Step::Greeting,
            used: 0,
            idle_since: Instant::now(),
            sound: true,
        }
    }

    async fn hello(&mut self, server: &Server) -> Result<(), Failure> {
        self.write(Step::Hello, format!("EHLO {}\r\n", server.helo).as_bytes()).await?;
        let reply = self.read(Step::Hello).await?;
        if reply.is_positive() {
            self.offers = offers(&reply.text);
            return Ok(());
        }
        self.offers = Offers::default();
        self.write(Step::Hello, format!("HELO {}\r\n", server.helo).as_bytes()).await?;
        self.expect(Step::Hello, 250).await.map(drop)
    }

    async fn upgrade(mut self, server: &Server) -> Result<Self, Failure> {
        if !self.offers.starttls {
            return Err(misconfigured("tls", "the server does not offer STARTTLS"));
        }
        self.write(Step::StartTls, b"STARTTLS\r\n").await?;
        self.expect(Step::StartTls, 220).await?;
        // What was said in the clear after STARTTLS would be believed as if it had come over TLS (CVE-2021-38370 and kin).
        if !self.line.buffer().is_empty() {
            return Err(misconfigured("tls", "the server spoke in the clear after STARTTLS"));
        }
        let mut session = Self::on(Box::new(encrypt(server, self.line.into_inner()).await?));
        session.hello(server).await?;
        Ok(session)
    }

    async fn log_in(&mut self, user: &str, password: &SecretString) -> Result<(), Failure> {
        if self.offers.plain {
            let token = BASE64_STANDARD.encode(format!("\0{user}\0{}", password.expose_secret()));
            self.write(Step::Auth, format!("AUTH PLAIN {token}\r\n").as_bytes()).await?;
        } else if self.offers.login {
            self.write(Step::Auth, b"AUTH LOGIN\r\n").await?;
            self.expect(Step::Auth, 334).await?;
            self.write(Step::Auth, format!("{}\r\n", BASE64_STANDARD.encode(user)).as_bytes()).await?;
            self.expect(Step::Auth, 334).await?;
            self.write(Step::Auth, format!("{}\r\n", BASE64_STANDARD.encode(password.expose_secret())).as_bytes()).await?;
        } else {
            return Err(misconfigured("bad-login", "the server offers neither AUTH PLAIN nor AUTH LOGIN"));
        }
        self.expect(Step::Auth, 235).await.map(drop)
    }

    /// Hands one letter over. Afterwards `sound` says whether the connection serves for another.
    pub(super) async fn deliver(&mut self, parcel: &Parcel<'_>) -> Result<(), Failure> {
        self.used += 1;
        self.sound = false;
        if !parcel.mailbox().is_ascii() && !self.offers.smtputf8 {
            self.sound = true;
            let detail = "the mailbox is not ASCII and the server does not offer SMTPUTF8".to_owned();
            return Err(Failure::new(Class::Reject, Concerns::Recipient, "bad-address", detail));
        }
        let refused = if self.offers.pipelining { self.announce_at_once(parcel).await? } else { self.announce(parcel).await? };
        if let Some((Step::Sender, failure)) = &refused
            && self.used > 1
            && matches!(failure.class, Class::Retry | Class::Throttled)
        {
            // Some servers take a hundred letters by one connection and then put off each further one for ever.
            self.step = Step::Sender;
            return Err(Failure { reason: "closing", ..failure.clone() });
        }
        if let Some((_, failure)) = refused {
            // The refusal stands whatever becomes of the connection: a failed RSET only means that it is not used again.
            self.sound = self.write(Step::Sender, b"RSET\r\n").await.is_ok() && self.expect(Step::Sender, 250).await.is_ok();
            return Err(failure);
        }
        self.write(Step::Letter, &framed(parcel.bytes)).await?;
        self.step = Step::End;
        let reply = self.read(Step::End).await?;
        self.sound = matches!(reply.code / 100, 2 | 4 | 5) && reply.code != 421;
        if reply.is_positive() { Ok(()) } else { Err(judge(Step::End, &reply)) }
    }

    /// MAIL, RCPT, DATA one by one; `Some` is a refusal after which the talk is in step.
    async fn announce(&mut self, parcel: &Parcel<'_>) -> Result<Option<(Step, Failure)>, Failure> {
        let commands =
            [(Step::Sender, self.mail(parcel), 2), (Step::Recipient, self.rcpt(parcel), 2), (Step::Data, "DATA\r\n".to_owned(), 3)];
        for (step, command, due) in commands {
            self.write(step, command.as_bytes()).await?;
            let reply = self.read(step).await?;
            if reply.code / 100 != due {
                return self.refusal(step, &reply).map(Some);
            }
        }
        Ok(None)
    }

    /// The same in one write (RFC 2920), with all three replies read before anything is decided.
    async fn announce_at_once(&mut self, parcel: &Parcel<'_>) -> Result<Option<(Step, Failure)>, Failure> {
        let commands = format!("{}{}DATA\r\n", self.mail(parcel), self.rcpt(parcel));
        self.write(Step::Sender, commands.as_bytes()).await?;
        let mut first: Option<(Step, Reply)> = None;
        for (step, due) in [(Step::Sender, 2), (Step::Recipient, 2), (Step::Data, 3)] {
            let reply = self.read(step).await?;
            if reply.code == 421 {
                // The server says goodbye; no further replies will come.
                return Err(judge(step, &reply));
            }
            if reply.code / 100 == due {
                if step == Step::Data && first.is_some() {
                    // DATA was taken although nobody was to get it: end it empty, whatever the server makes of that.
                    self.write(Step::Data, b".\r\n").await?;
                    self.read(Step::Data).await?;
                }
            } else if first.is_none() {
                first = Some((step, reply));
            }
        }
        first.map(|(step, reply)| self.refusal(step, &reply)).transpose()
    }

    fn refusal(&self, step: Step, reply: &Reply) -> Result<(Step, Failure), Failure> {
        let failure = judge(step, reply);
        if reply.code == 421 || failure.reason == "protocol" { Err(failure) } else { Ok((step, failure)) }
    }

    fn mail(&self, parcel: &Parcel<'_>) -> String {
        let utf8 = if parcel.mailbox().is_ascii() { "" } else { " SMTPUTF8" };
        match &parcel.receipt {
            Some(id) if self.offers.dsn => format!("MAIL FROM:<{}> RET=HDRS ENVID={id}{utf8}\r\n", parcel.from),
            _ => format!("MAIL FROM:<{}>{utf8}\r\n", parcel.from),
        }
    }

    fn rcpt(&self, parcel: &Parcel<'_>) -> String {
        if parcel.receipt.is_some() && self.offers.dsn && parcel.mailbox().is_ascii() {
            let original = xtext(parcel.mailbox());
            format!("RCPT TO:<{}> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;{original}\r\n", parcel.to)
        } else {
            format!("RCPT TO:<{}>\r\n", parcel.to)
        }
    }

    /// Says goodbye without waiting for the answer.
    pub(super) async fn quit(mut self) {
        if self.write(Step::Hello, b"QUIT\r\n").await.is_err() {
            tracing::debug!("the mail server closed the connection before our QUIT");
        }
    }

    async fn write(&mut self, step: Step, bytes: &[u8]) -> Result<(), Failure> {
        self.step = step;
        self.line.write_all(bytes).await.map_err(|error| broken(step, "lost", &error))?;
        self.line.flush().await.map_err(|error| broken(step, "lost", &error))
    }

    async fn expect(&mut self, step: Step, code: u16) -> Result<Reply, Failure> {
        let reply = self.read(step).await?;
        if reply.code == code { Ok(reply) } else { Err(judge(step, &reply)) }
    }

    async fn read(&mut self, step: Step) -> Result<Reply, Failure> {
        self.step = step;
        let mut text = String::new();
        for _ in 0..REPLY_LINES_MAX {
            let mut line = Vec::new();
            let read =
                (&mut self.line).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await.map_err(|error| broken(step, "lost", &error))?;
            if read == 0 || line.last() != Some(&b'\n') {
                let what = if read == 0 { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::InvalidData };
                return Err(broken(step, "lost", &io::Error::from(what)));
            }
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            let (Some(code), separator) = (line.get(..3).and_then(|code| code.parse::<u16>().ok()), line.as_bytes().get(3)) else {
                return Err(broken(step, "protocol", &io::Error::from(io::ErrorKind::InvalidData)));
            };
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(line.get(4..).unwrap_or_default());
            if separator != Some(&b'-') {
                return Ok(Reply { code, text });
            }
        }
        Err(broken(step, "protocol", &io::Error::from(io::ErrorKind::InvalidData)))
    }
}

async fn encrypt<S: Line>(server: &Server, stream: S) -> Result<tokio_rustls::client::TlsStream<S>, Failure> {
    let name =
        ServerName::try_from(server.host.clone()).map_err(|_| misconfigured("tls", "host is no name that a certificate can bear"))?;
    TlsConnector::from(Arc::clone(&server.tls)).connect(name, stream).await.map_err(|error| {
        if tls::is_distrust(&error) { misconfigured("certificate", &error.to_string()) } else { broken(Step::StartTls, "tls", &error) }
    })
}

/// What becomes of the connection.
pub(super) const BROKEN: [Meaning; 8] = [
    happens("no connection", Class::Retry, Concerns::Provider, "connect"),
    happens("no answer in time, or the connection broke, before the final dot", Class::Retry, Concerns::Provider, "timeout, lost"),
    happens("the same after it", Class::Unknown, Concerns::Provider, "timeout, lost"),
    happens("no SMTP", Class::Retry, Concerns::Provider, "protocol"),
    happens("STARTTLS is not offered", Class::Misconfigured, Concerns::Account, "tls"),
    happens("the certificate is not trusted", Class::Misconfigured, Concerns::Account, "certificate"),
    happens("no AUTH that we know is offered", Class::Misconfigured, Concerns::Account, "bad-login"),
    happens("a mailbox beyond ASCII without SMTPUTF8", Class::Reject, Concerns::Recipient, "bad-address"),
];

/// A connection that broke: `Unknown` only once the final dot was out.
fn broken(step: Step, reason: &'static str, error: &io::Error) -> Failure {
    let class = if step == Step::End { Class::Unknown } else { Class::Retry };
    Failure::new(class, Concerns::Provider, reason, format!("{} at {}", error.kind(), step.name()))
}

/// The engine's deadline passed while `step` was waited for.
pub(super) fn timed_out(step: Step) -> Failure {
    broken(step, "timeout", &io::Error::from(io::ErrorKind::TimedOut))
}

fn misconfigured(reason: &'static str, detail: &str) -> Failure {
    Failure::new(Class::Misconfigured, Concerns::Account, reason, detail.chars().take(200).collect::<String>())
}

fn offers(ehlo: &str) -> Offers {
    let mut offers = Offers::default();
    for line in ehlo.lines() {
        let mut words = line.split([' ', '=']);
        match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "PIPELINING" => offers.pipelining = true,
            "STARTTLS" => offers.starttls = true,
            "DSN" => offers.dsn = true,
            "SMTPUTF8" => offers.smtputf8 = true,
            "AUTH" => {
                for mechanism in words {
                    offers.plain |= mechanism.eq_ignore_ascii_case("PLAIN");
                    offers.login |= mechanism.eq_ignore_ascii_case("LOGIN");
                }
            }
            _ => {}
        }
    }
    offers
}

/// Doubles leading dots and ends the letter, in one buffer so that it leaves in one write.
fn framed(letter: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(letter.len() + 16);
    let mut at_line_start = true;
    for &byte in letter {
        if at_line_start && byte == b'.' {
            out.push(b'.');
        }
        out.push(byte);
        at_line_start = byte == b'\n';
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// RFC 3461 xtext.
fn xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'+' && byte != b'=' => out.push(char::from(byte)),
            _ => out.push_str(&format!("+{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_starts_with_a_dot_does_not_end_the_letter() {
        assert_eq!(framed(b".a\r\n..b\r\nc"), b"..a\r\n...b\r\nc\r\n.\r\n");
        assert_eq!(framed(b""), b"\r\n.\r\n");
    }

    #[test]
    fn addresses_in_receipt_requests_are_written_as_xtext() {
        assert_eq!(xtext("a+b=c@d.example"), "a+2Bb+3Dc@d.example");
    }

    #[test]
    fn offers_are_read_in_either_spelling() {
        let seen = offers("mail.example\nPIPELINING\n8BITMIME\nAUTH=LOGIN\nauth plain\nDSN");
        assert_eq!(seen, Offers { pipelining: true, dsn: true, plain: true, login: true, ..Offers::default() });
    }
}
