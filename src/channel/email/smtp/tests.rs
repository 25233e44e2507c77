//! The driver against a scripted mail server on loopback: every class of reply, broken talks, TLS, login, reuse.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{channel::email::compose::tests::letter, time::SystemClock};

/// What the scripted server answers; the defaults take every letter.
#[derive(Clone)]
struct Script {
    greeting: &'static str,
    offers: &'static [&'static str],
    auth: &'static str,
    mail: &'static str,
    rcpt: &'static str,
    data: &'static str,
    end: &'static str,
    /// Closes the connection when this command (or `.`) comes, before answering it.
    hang_up_at: &'static str,
    /// Says nothing more once this command (or `.`) has come.
    mute_at: &'static str,
    /// Closes after this many letters, as servers do.
    letters_max: usize,
    /// After this many letters MAIL is put off for as long as the connection lasts, as some servers do.
    spent_after: usize,
    acceptor: Option<TlsAcceptor>,
    implicit_tls: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            greeting: "220 mail.example ready",
            offers: &["PIPELINING", "8BITMIME", "DSN"],
            auth: "235 2.7.0 welcome",
            mail: "250 2.1.0 ok",
            rcpt: "250 2.1.5 ok",
            data: "354 go on",
            end: "250 2.0.0 queued",
            hang_up_at: "never",
            mute_at: "never",
            letters_max: usize::MAX,
            spent_after: usize::MAX,
            acceptor: None,
            implicit_tls: false,
        }
    }
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    commands: Mutex<Vec<String>>,
    letters: Mutex<Vec<String>>,
}

impl Seen {
    fn commands(&self) -> Vec<String> {
        self.commands.lock().expect("whole").clone()
    }

    fn letters(&self) -> Vec<String> {
        self.letters.lock().expect("whole").clone()
    }
}

async fn serve(script: Script) -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let seen = Arc::new(Seen::default());
    let watched = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Three answers in three writes would otherwise wait 40 ms for our acknowledgement.
            stream.set_nodelay(true).expect("a socket option");
            watched.connections.fetch_add(1, Ordering::SeqCst);
            let (script, seen) = (script.clone(), Arc::clone(&watched));
            tokio::spawn(async move {
                if script.implicit_tls {
                    let acceptor = script.acceptor.clone().expect("a certificate");
                    if let Ok(stream) = acceptor.accept(stream).await {
                        talk(stream, &script, &seen, true).await;
                    }
                } else if let Some(stream) = talk(stream, &script, &seen, true).await {
                    let acceptor = script.acceptor.clone().expect("a certificate");
                    if let Ok(stream) = acceptor.accept(stream).await {
                        talk(stream, &script, &seen, false).await;
                    }
                }
            });
        }
    });
    (address, seen)
}

/// One conversation; gives the stream back when TLS is to start.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(stream: S, script: &Script, seen: &Seen, greet: bool) -> Option<S> {
    let mut line = BufReader::new(stream);
    if greet {
        say(&mut line, script.greeting).await?;
    }
    let (mut letters, mut is_spent) = (0, false);
    loop {
        let mut command = String::new();
        if line.read_line(&mut command).await.ok()? == 0 {
            return None;
        }
        let command = command.trim_end().to_owned();
        seen.commands.lock().expect("whole").push(command.clone());
        let verb = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        if verb == script.hang_up_at {
            return None;
        }
        if verb == script.mute_at {
            std::future::pending::<()>().await;
        }
        match verb.as_str() {
            "EHLO" => {
                let lines: Vec<String> =
                    std::iter::once("mail.example").chain(script.offers.iter().copied()).map(|offer| format!("250-{offer}\r\n")).collect();
                line.write_all(format!("{}250 HELP\r\n", lines.concat()).as_bytes()).await.ok()?;
            }
            "STARTTLS" => {
                say(&mut line, "220 go on").await?;
                return Some(line.into_inner());
            }
            "AUTH" => say(&mut line, script.auth).await?,
            "MAIL" if letters >= script.spent_after => {
                is_spent = true;
                say(&mut line, "452 4.5.3 too many letters by this connection").await?;
            }
            "RCPT" | "DATA" if is_spent => say(&mut line, "503 5.5.1 MAIL first").await?,
            "MAIL" => say(&mut line, script.mail).await?,
            "RCPT" => say(&mut line, script.rcpt).await?,
            "DATA" if !script.mail.starts_with('2') || !script.rcpt.starts_with('2') => {
                say(&mut line, "503 5.5.1 nobody to write to").await?
            }
            "DATA" => {
                say(&mut line, script.data).await?;
                if script.data.starts_with('3') {
                    let letter = read_letter(&mut line).await?;
                    if script.hang_up_at == "." {
                        return None;
                    }
                    if script.mute_at == "." {
                        std::future::pending::<()>().await;
                    }
                    if script.end.starts_with('2') {
                        seen.letters.lock().expect("whole").push(letter);
                    }
                    say(&mut line, script.end).await?;
                    letters += 1;
                    if letters >= script.letters_max {
                        return None;
                    }
                }
            }
            _ => say(&mut line, "250 ok").await?,
        }
    }
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(line: &mut BufReader<S>, text: &str) -> Option<()> {
    line.write_all(format!("{text}\r\n").as_bytes()).await.ok()
}

async fn read_letter<S: AsyncRead + AsyncWrite + Unpin>(line: &mut BufReader<S>) -> Option<String> {
    let mut letter = String::new();
    loop {
        let mut text = String::new();
        if line.read_line(&mut text).await.ok()? == 0 {
            return None;
        }
        if text == ".\r\n" {
            return Some(letter);
        }
        letter.push_str(text.strip_prefix('.').unwrap_or(&text));
    }
}

fn account(address: SocketAddr, more: &str) -> Arc<dyn Channel> {
    let text = format!("host = \"127.0.0.1\"\nport = {}\nfrom = \"北川预警 <alert@county.example>\"\n{more}", address.port());
    account_of(&text)
}

fn account_of(text: &str) -> Arc<dyn Channel> {
    let table: toml::Table = text.parse().expect("toml");
    let prepared = check("post", &table).unwrap_or_else(|faults| panic!("{faults:?}"));
    let context = Context {
        clock: Arc::new(SystemClock),
        public_url: String::new(),
        callback_key: Arc::new([0; 32]),
        base_dir: std::env::temp_dir(),
        seed: 1,
        builtin_broker: None,
    };
    (prepared.build)(context).expect("builds")
}

async fn failure_of(script: Script, more: &str) -> Failure {
    let (address, _) = serve(script).await;
    match account(address, more).send(&[letter(1)]).await.remove(0) {
        Verdict::Failed(failure) => failure,
        Verdict::Accepted { .. } => panic!("was accepted"),
    }
}

#[tokio::test]
async fn a_connection_that_has_carried_as_many_letters_as_it_takes_is_replaced_and_no_letter_is_put_off() {
    for offers in [&["PIPELINING"][..], &[]] {
        let (address, seen) = serve(Script { offers, spent_after: 3, ..Script::default() }).await;
        let channel = account(address, "tls = \"none\"\npool = 1");
        let batch: Vec<Outgoing> = (0..10).map(letter).collect();
        let verdicts = channel.send(&batch).await;
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Accepted { .. })), "{offers:?}: {verdicts:?}");
        let connections = seen.connections.load(Ordering::SeqCst);
        assert!(seen.letters().len() == 10 && (4..10).contains(&connections), "{connections} connections");
    }
    let (address, _) = serve(Script { spent_after: 0, ..Script::default() }).await;
    let refused = account(address, "tls = \"none\"").send(&[letter(1)]).await.remove(0);
    assert!(matches!(&refused, Verdict::Failed(failure) if failure.reason == "too-often"), "a new connection says it of us: {refused:?}");
}

use crate::channel::Class::{Misconfigured, Reject, Retry, Unknown};

const PLAIN: &str = "tls = \"none\"";

#[tokio::test]
async fn letters_share_a_connection_and_arrive_whole() {
    for offers in [&["PIPELINING"][..], &[]] {
        let (address, seen) = serve(Script { offers, ..Script::default() }).await;
        let channel = account(address, "tls = \"none\"\npool = 1");
        let batch: Vec<Outgoing> = (0..20).map(letter).collect();
        let verdicts = channel.send(&batch).await;
        assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Accepted { provider_ref: None }), "{verdicts:?}");
        assert_eq!(seen.connections.load(Ordering::SeqCst), 1);
        let letters = seen.letters();
        for mail in &batch {
            let id = format!("Message-ID: <{}@county.example>", callback::proven_name(&[0; 32], "post", mail.id));
            assert_eq!(letters.iter().filter(|letter| letter.contains(&id)).count(), 1);
        }
        channel.stop().await;
    }
}

#[tokio::test]
async fn a_pool_never_opens_more_connections_than_it_may() {
    let (address, seen) = serve(Script::default()).await;
    let channel = account(address, "tls = \"none\"\npool = 3");
    let batch: Vec<Outgoing> = (0..60).map(letter).collect();
    assert!(channel.send(&batch).await.iter().all(|verdict| matches!(verdict, Verdict::Accepted { .. })));
    assert!(seen.connections.load(Ordering::SeqCst) <= 3);
    assert_eq!(seen.letters().len(), 60);
}

#[tokio::test]
async fn every_class_of_refusal_reaches_the_engine_as_what_it_means() {
    let table = [
        (Script { greeting: "421 4.3.2 busy", ..Script::default() }, Retry, "closing"),
        (Script { greeting: "554 5.7.1 listed", ..Script::default() }, Misconfigured, "refused-us"),
        (Script { mail: "550 5.7.1 not your domain", ..Script::default() }, Misconfigured, "sender-refused"),
        (Script { mail: "530 5.7.0 log in first", ..Script::default() }, Misconfigured, "login-wanted"),
        (Script { rcpt: "450 4.7.1 greylisted", ..Script::default() }, Retry, "greylisted"),
        (Script { rcpt: "550 5.1.1 unknown", ..Script::default() }, Reject, "no-such-mailbox"),
        (Script { rcpt: "554 5.7.1 relay denied", ..Script::default() }, Misconfigured, "relay-denied"),
        (Script { rcpt: "552 5.2.2 full", ..Script::default() }, Retry, "mailbox-full"),
        (Script { data: "451 4.3.0 later", ..Script::default() }, Retry, "smtp-4yz"),
        (Script { end: "554 5.6.0 no", ..Script::default() }, Reject, "letter-refused"),
        (Script { end: "452 4.3.1 disk", ..Script::default() }, Retry, "server-full"),
        (Script { hang_up_at: "MAIL", ..Script::default() }, Retry, "lost"),
        (Script { hang_up_at: "DATA", ..Script::default() }, Retry, "lost"),
        (Script { hang_up_at: ".", ..Script::default() }, Unknown, "lost"),
        (Script { greeting: "gibberish", ..Script::default() }, Retry, "protocol"),
    ];
    for (script, class, reason) in table {
        for offers in [&["PIPELINING"][..], &[]] {
            let failure = failure_of(Script { offers, ..script.clone() }, PLAIN).await;
            assert_eq!((failure.class, failure.reason), (class, reason), "{failure}");
            assert!(!failure.detail.contains("chen"), "{failure}");
        }
    }
}

#[tokio::test]
async fn silence_is_unknown_only_after_the_final_dot() {
    for (mute_at, class) in [("EHLO", Retry), ("RCPT", Retry), (".", Unknown)] {
        let failure = failure_of(Script { mute_at, ..Script::default() }, "tls = \"none\"\ntimeout = \"200ms\"").await;
        assert_eq!((failure.class, failure.reason), (class, "timeout"), "mute at {mute_at}");
    }
}

#[tokio::test]
async fn nobody_listening_is_a_retry() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let verdict = account(address, PLAIN).send(&[letter(1)]).await.remove(0);
    assert!(matches!(verdict, Verdict::Failed(failure) if failure.class == Retry && failure.reason == "connect"));
}

#[tokio::test]
async fn a_refused_letter_leaves_the_connection_good_for_the_next() {
    let (address, seen) = serve(Script { rcpt: "550 5.1.1 unknown", ..Script::default() }).await;
    let channel = account(address, "tls = \"none\"\npool = 1");
    for index in 0..3 {
        assert!(matches!(channel.send(&[letter(index)]).await.remove(0), Verdict::Failed(failure) if failure.reason == "no-such-mailbox"));
    }
    assert_eq!(seen.connections.load(Ordering::SeqCst), 1);
    assert_eq!(seen.commands().iter().filter(|command| *command == "RSET").count(), 3);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_meanwhile_costs_no_try() {
    let (address, seen) = serve(Script { letters_max: 1, ..Script::default() }).await;
    let channel = account(address, "tls = \"none\"\npool = 1");
    for index in 0..4 {
        assert_eq!(channel.send(&[letter(index)]).await, [Verdict::Accepted { provider_ref: None }], "letter {index}");
    }
    assert_eq!((seen.connections.load(Ordering::SeqCst), seen.letters().len()), (4, 4));
}

#[tokio::test]
async fn a_receipt_is_asked_for_under_the_delivery_id() {
    let (address, seen) = serve(Script::default()).await;
    let channel = account(address, "tls = \"none\"\ndsn = true\naccepted_is = \"relay\"\nreport_within = \"10m\"");
    assert_eq!(channel.proof(), Proof::Report { within: Duration::from_secs(600) });
    let mail = letter(5);
    channel.send(std::slice::from_ref(&mail)).await;
    let commands = seen.commands();
    assert!(
        commands.contains(&format!("MAIL FROM:<alert@county.example> RET=HDRS ENVID={}", callback::proven_name(&[0; 32], "post", mail.id))),
        "{commands:?}"
    );
    assert!(commands.contains(&"RCPT TO:<chen.wei@example.com> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;chen.wei@example.com".to_owned()));
}

#[tokio::test]
async fn a_password_is_given_by_the_way_the_server_offers_and_a_wrong_one_is_our_fault() {
    let login = "tls = \"none\"\nusername = \"county\"\npassword = \"s3cret\"";
    let (address, seen) = serve(Script { offers: &["AUTH PLAIN LOGIN"], ..Script::default() }).await;
    assert_eq!(account(address, login).send(&[letter(1)]).await, [Verdict::Accepted { provider_ref: None }]);
    assert!(seen.commands().contains(&"AUTH PLAIN AGNvdW50eQBzM2NyZXQ=".to_owned()), "{:?}", seen.commands());
    let wrong = failure_of(Script { offers: &["AUTH PLAIN"], auth: "535 5.7.8 no", ..Script::default() }, login).await;
    assert_eq!((wrong.class, wrong.reason), (Misconfigured, "bad-login"));
    let unable = failure_of(Script { offers: &["AUTH GSSAPI"], ..Script::default() }, login).await;
    assert_eq!(unable.class, Misconfigured);
    for failure in [wrong, unable] {
        assert!(!failure.to_string().contains("s3cret") && !failure.to_string().contains("AGNvdW50"), "{failure}");
    }
}

/// An acceptor with a fresh certificate for `name`, and the file that trusts it.
fn certificate(name: &str) -> (TlsAcceptor, tempfile::NamedTempFile) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), made.cert.pem()).expect("written");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a pair");
    (TlsAcceptor::from(Arc::new(config)), file)
}

#[tokio::test]
async fn both_ways_into_tls_carry_the_letter_and_the_password() {
    for (mode, implicit_tls) in [("starttls", false), ("tls", true)] {
        let (acceptor, authority) = certificate("127.0.0.1");
        let script =
            Script { offers: &["STARTTLS", "PIPELINING", "AUTH LOGIN PLAIN"], acceptor: Some(acceptor), implicit_tls, ..Script::default() };
        let (address, seen) = serve(script).await;
        let keys = format!("tls = \"{mode}\"\ntls_ca = \"{}\"\nusername = \"county\"\npassword = \"s3cret\"", authority.path().display());
        assert_eq!(account(address, &keys).send(&[letter(1)]).await, [Verdict::Accepted { provider_ref: None }], "{mode}");
        let commands = seen.commands();
        let position = |verb: &str| commands.iter().position(|command| command.starts_with(verb));
        assert_eq!(position("STARTTLS").is_some(), !implicit_tls);
        assert!(position("STARTTLS") < position("AUTH"), "{commands:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_parks_the_account_and_sends_nothing() {
    for (mode, implicit_tls) in [("starttls", false), ("tls", true)] {
        let (acceptor, _) = certificate("127.0.0.1");
        let script = Script { offers: &["STARTTLS"], acceptor: Some(acceptor), implicit_tls, ..Script::default() };
        let failure = failure_of(script.clone(), &format!("tls = \"{mode}\"")).await;
        assert_eq!((failure.class, failure.reason), (Misconfigured, "certificate"), "{failure}");
        let (address, seen) = serve(script).await;
        let anyone = account(address, &format!("tls = \"{mode}\"\ndangerous_accept_invalid_certs = true"));
        assert_eq!(anyone.send(&[letter(1)]).await, [Verdict::Accepted { provider_ref: None }]);
        assert_eq!(seen.letters().len(), 1);
    }
}

#[tokio::test]
async fn a_server_without_starttls_gets_no_letter_in_the_clear() {
    let (address, seen) = serve(Script::default()).await;
    let verdict = account(address, "tls = \"starttls\"").send(&[letter(1)]).await.remove(0);
    assert!(matches!(verdict, Verdict::Failed(failure) if failure.class == Misconfigured && failure.reason == "tls"));
    assert!(seen.commands().iter().all(|command| command.starts_with("EHLO")), "{:?}", seen.commands());
}

#[test]
fn every_fault_of_the_table_is_named() {
    let text = "tls = \"ssl\"\nport = 0\nfrom = \"nobody\"\nusername = \"x\"\naccepted_is = \"relay\"\nhelo = \"a b\"\nhosst = \"h\"";
    let table: toml::Table = text.parse().expect("toml");
    let Err(faults) = check("post", &table) else { panic!("was taken") };
    let mut paths: Vec<&str> = faults.iter().map(|fault| fault.path.trim_start_matches("channel.post.")).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["dsn", "from", "helo", "hosst", "host", "password", "port", "tls"]);
}

fn piped(query: &str, body: String) -> Callback {
    Callback { what: String::new(), method: "POST".to_owned(), query: query.to_owned(), content_type: None, body: body.into() }
}

fn report_of(envelope_id: &str, action: &str) -> String {
    format!(
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n\
         Original-Envelope-Id: {envelope_id}\r\n\r\nFinal-Recipient: rfc822; a@b.example\r\nAction: {action}\r\nStatus: 2.1.5\r\n\r\n--b--\r\n"
    )
}

const OF_REPORTS: &str = "host = \"127.0.0.1\"\nfrom = \"alert@county.example\"\ntls = \"none\"\n";

#[tokio::test]
async fn a_piped_report_counts_with_the_key_of_its_letter_and_anything_else_is_refused() {
    let channel = account_of(&format!("{OF_REPORTS}dsn = true"));
    let id = letter(9).id;
    let key = callback::proven_name(&[0; 32], channel.name(), id);
    let reception = channel.receive(&piped("", report_of(&key, "delivered"))).expect("a report");
    assert_eq!((reception.status, reception.reports.len()), (200, 1));
    let about = crate::channel::About::Handed { id, attempt: None, readers: vec!["a@b.example".to_owned()] };
    assert_eq!(reception.reports[0].about, about);
    let other = callback::proven_name(&[0; 32], "another", id);
    for name in [id.to_string(), format!("{id}."), format!("{id}.{}", "0".repeat(32)), other, "x".to_owned()] {
        let refused = channel.receive(&piped("k=1", report_of(&name, "delivered"))).expect("an answer");
        assert_eq!((refused.status, refused.reports.len()), (403, 0), "{name}");
    }
    let no_report = piped("", "Subject: hello\r\n\r\nhello".to_owned());
    assert_eq!(channel.receive(&no_report).expect_err("refused").reason, "not-a-report");
}

#[tokio::test]
async fn an_account_with_a_token_takes_nothing_without_it() {
    let channel = account_of(&format!("{OF_REPORTS}dsn = true\ncallback_token = \"tok\""));
    let id = letter(9).id;
    let key = callback::proven_name(&[0; 32], channel.name(), id);
    let status = |query: &str, name: &str| {
        let reception = channel.receive(&piped(query, report_of(name, "delivered"))).expect("an answer");
        (reception.status, reception.reports.len())
    };
    assert_eq!([status("", &key), status("k=no", &key)], [(403, 0); 2]);
    assert_eq!([status("k=tok", &key), status("k=tok", &id.to_string())], [(200, 1); 2]);
    assert_eq!(status("k=tok", &format!("{id}.0")), (200, 0), "a wrong key is nobody's");
}

#[tokio::test]
async fn an_account_that_asks_for_no_reports_hears_of_what_came_back_alone() {
    let channel = account_of(OF_REPORTS);
    let key = callback::proven_name(&[0; 32], channel.name(), letter(9).id);
    for (action, reports) in [("delivered", 0), ("relayed", 0), ("failed", 1)] {
        let reception = channel.receive(&piped("", report_of(&key, action))).expect("an answer");
        assert_eq!((reception.status, reception.reports.len()), (200, reports), "{action}");
    }
}
