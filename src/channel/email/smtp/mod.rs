//! Owns `email/smtp`: the account's keys, and one letter from `Outgoing` to a verdict.
//! Refuses to know retries and receipts' durability. DKIM is the mail server's: letters leave here unsigned.
//! Invariant: a letter is written to at most one connection, or to a second one only when the first had died before the letter began; no
//! report counts that does not bring the letter's own key, or the account's token.

mod codes;
mod pool;
mod wire;

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc, time::Duration};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesOrdered};
use lettre::message::Mailbox;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

pub(in crate::channel::email) use codes::without_addresses;

use self::{
    codes::Step,
    pool::{Limits, Pool},
    wire::{Parcel, Security, Server, timed_out},
};
use super::{REACHES, compose, dsn};
use crate::{
    channel::{
        Batching, BuildError, Callback, Channel, Context, Driver, Failure, Kind, Prepared, Proof, Reach, Reception, ReportSink, Verdict,
        callback::{self, Fields},
        common,
    },
    fault::Fault,
    keys::Keys,
    message::{Form, Outgoing},
    net::tls::{self, Trust},
    time::SharedClock,
};

pub const DRIVER: Driver =
    Driver { kind: Kind::Email, provider: "smtp", check, answers: &[&codes::REPLIES, &wire::BROKEN, &compose::ANSWERS] };

/// How long a relay may take to report; RFC 5321 lets it try for days, a warning does not wait that long.
const REPORT_WITHIN: Duration = Duration::from_secs(30 * 60);

struct Smtp {
    name: String,
    sender: compose::Sender,
    pool: Arc<Pool>,
    proof: Proof,
    ask_receipt: bool,
    callback_token: Option<SecretString>,
    callback_key: Arc<[u8; 32]>,
    clock: SharedClock,
    stop: CancellationToken,
}

/// The keys of the table, checked.
struct Settings {
    host: String,
    port: u16,
    security: Security,
    tls_ca: Option<String>,
    trust_anyone: bool,
    login: Option<(String, SecretString)>,
    helo: Option<String>,
    sender: compose::Sender,
    limits: Limits,
    proof: Proof,
    ask_receipt: bool,
    callback_token: Option<SecretString>,
}

fn check(name: &str, table: &toml::Table) -> Result<Prepared, Vec<Fault>> {
    let mut keys = common::keys(name, table);
    let common = common::common(&mut keys);
    let settings = settings(&mut keys, common.timeout);
    let name = name.to_owned();
    keys.finish(settings).map(|settings| Prepared {
        name: name.clone(),
        kind: Kind::Email,
        provider: "smtp",
        common,
        build: Box::new(move |context| build(name, settings, context)),
    })
}

fn settings(keys: &mut Keys<'_>, timeout: Duration) -> Settings {
    let security = match keys.word("tls", &["none", "starttls", "tls"], "starttls") {
        "none" => Security::None,
        "tls" => Security::Tls,
        _ => Security::StartTls,
    };
    let default_port = match security {
        Security::Tls => 465,
        Security::StartTls => 587,
        Security::None => 25,
    };
    let login = match (keys.text("username"), keys.secret("password")) {
        (Some(user), Some(password)) => Some((user, password)),
        (None, None) => None,
        (user, _) => {
            let missing = if user.is_none() { "username" } else { "password" };
            keys.fault(missing, "missing", "username and password are given together or not at all");
            None
        }
    };
    let helo = keys.text("helo");
    if helo.as_deref().is_some_and(|name| name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic())) {
        keys.fault("helo", "bad-name", "must be a host name or an address literal such as [192.0.2.1]");
    }
    let ask_receipt = keys.flag("dsn", false);
    let by_report = keys.word("accepted_is", &["mailbox", "relay"], "mailbox") == "relay";
    if by_report && !ask_receipt {
        keys.fault("dsn", "needs-dsn", "accepted_is = \"relay\" waits for reports, so dsn must be true");
    }
    let report_within = keys.duration("report_within", REPORT_WITHIN);
    let limits = Limits {
        connections: usize::try_from(keys.number("pool", 1..=256, 4)).unwrap_or(4),
        letters: u32::try_from(keys.number("letters_per_connection", 1..=1_000_000, 1_000)).unwrap_or(1_000),
        idle: keys.duration("idle", Duration::from_secs(30)),
        timeout,
    };
    Settings {
        host: keys.required("host"),
        port: u16::try_from(keys.number("port", 1..=65_535, default_port)).unwrap_or(25),
        security,
        tls_ca: keys.text("tls_ca"),
        trust_anyone: keys.flag("dangerous_accept_invalid_certs", false),
        login,
        helo,
        sender: sender(keys),
        limits,
        proof: if by_report { Proof::Report { within: report_within } } else { Proof::AcceptedIsDelivered },
        ask_receipt,
        callback_token: keys.secret("callback_token"),
    }
}

/// The key `from`: a mailbox, with or without a name.
pub(super) fn sender(keys: &mut Keys<'_>) -> compose::Sender {
    let text = keys.required("from");
    let mailbox = text.parse::<Mailbox>();
    if mailbox.is_err() && !text.is_empty() {
        keys.fault("from", "bad-address", "must be a mailbox such as \"北川预警 <alert@example.com>\"");
    }
    // The stand-in is never used: a fault has just been noted.
    let stand_in = || Mailbox::new(None, lettre::Address::new("nobody", "invalid").expect("a fixed valid address"));
    compose::Sender { from: mailbox.unwrap_or_else(|_| stand_in()) }
}

fn build(name: String, settings: Settings, context: Context) -> Result<Arc<dyn Channel>, BuildError> {
    let failed = |message: String| BuildError { name: name.clone(), message };
    let pem = settings.tls_ca.as_deref().map(|path| read(&context.base_dir, path)).transpose().map_err(failed)?;
    let trust = match (&pem, settings.trust_anyone) {
        (_, true) => Trust::Anyone,
        (Some(pem), false) => Trust::Only(pem),
        (None, false) => Trust::WebRoots,
    };
    if settings.login.is_some() && settings.security == Security::None {
        tracing::warn!(channel = %name, "the password of this mail account is sent without encryption (tls = \"none\")");
    }
    let helo = settings.helo.unwrap_or_else(|| settings.sender.domain().to_owned());
    let tls = tls::client_config(&trust).map_err(|error| failed(format!("tls_ca: {error}")))?;
    let server = Server { host: settings.host, port: settings.port, security: settings.security, tls, login: settings.login, helo };
    Ok(Arc::new(Smtp {
        sender: settings.sender,
        pool: Arc::new(Pool::new(server, settings.limits)),
        proof: settings.proof,
        ask_receipt: settings.ask_receipt,
        callback_token: settings.callback_token,
        callback_key: context.callback_key,
        clock: context.clock,
        stop: CancellationToken::new(),
        name,
    }))
}

fn read(base: &Path, path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(base.join(path)).map_err(|error| format!("tls_ca {path}: {error}"))
}

impl Smtp {
    async fn send_one(&self, mail: &Outgoing) -> Verdict {
        match self.hand_over(mail).await {
            Ok(()) => Verdict::Accepted { provider_ref: None },
            Err(failure) => Verdict::Failed(failure),
        }
    }

    async fn hand_over(&self, mail: &Outgoing) -> Result<(), Failure> {
        let to = compose::recipient(mail)?;
        let name = callback::proven_name(&self.callback_key, &self.name, mail.id);
        let bytes = compose::compose(mail, &name, &self.sender, &to, self.clock.now())?;
        let receipt = self.ask_receipt.then_some(name);
        let parcel = Parcel { from: self.sender.address(), to: &to, bytes: &bytes, receipt };
        let loan = self.pool.lend().await?;
        let reused = loan.reused;
        let result = self.deliver(loan, &parcel).await;
        match result {
            // The server closed an idle connection meanwhile, or had taken as many letters by it as it takes: neither says anything about
            // this letter.
            Err((failure, Step::Sender)) if reused && matches!(failure.reason, "lost" | "closing") => {
                let fresh = self.pool.lend_new().await?;
                self.deliver(fresh, &parcel).await.map_err(|(failure, _)| failure)
            }
            other => other.map_err(|(failure, _)| failure),
        }
    }

    async fn deliver(&self, mut loan: pool::Loan<'_>, parcel: &Parcel<'_>) -> Result<(), (Failure, Step)> {
        let delivered = tokio::time::timeout(self.pool.timeout(), loan.session.deliver(parcel)).await;
        let step = loan.session.step;
        let result = delivered.unwrap_or_else(|_| {
            loan.session.sound = false;
            Err(timed_out(step))
        });
        self.pool.put_back(loan).await;
        result.map_err(|failure| (failure, step))
    }
}

impl Channel for Smtp {
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
        self.proof
    }

    fn batching(&self) -> Batching {
        Batching::One
    }

    fn send<'a>(&'a self, batch: &'a [Outgoing]) -> BoxFuture<'a, Vec<Verdict>> {
        // At once: the pool bounds how many of them talk at a time.
        Box::pin(batch.iter().map(|mail| self.send_one(mail)).collect::<FuturesOrdered<_>>().collect())
    }

    fn receive(&self, callback: &Callback) -> Result<Reception, Failure> {
        let brings_token = callback::token_fits(self.callback_token.as_ref(), &Fields::parse(&callback.query));
        if self.callback_token.is_some() && !brings_token {
            tracing::warn!(channel = %self.name, "a delivery report without the account's callback_token was refused");
            return Ok(callback::forbidden());
        }
        let is_ours = |id, mac: Option<&str>| match mac {
            Some(mac) => callback::mac_fits(&self.callback_key, &self.name, id, mac),
            None => brings_token,
        };
        let reader = dsn::Reader { domain: self.sender.domain(), is_ours: &is_ours, asked: self.ask_receipt };
        let Some(reports) = dsn::read(&callback.body, &reader, self.clock.now())? else {
            if brings_token {
                tracing::warn!(channel = %self.name, "a delivery report names no letter of ours");
                return Ok(callback::taken(Vec::new()));
            }
            tracing::warn!(channel = %self.name, "a delivery report without the key of its letter was refused");
            return Ok(callback::forbidden());
        };
        Ok(Reception { reports, status: 200, content_type: "text/plain; charset=utf-8", body: "ok\n".to_owned() })
    }

    fn start(&self, _reports: ReportSink) -> BoxFuture<'_, Result<(), Failure>> {
        let (pool, stop) = (Arc::clone(&self.pool), self.stop.clone());
        // If this task ends early, idle connections only close later: when they are next asked for, or by the server.
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            let mut every = tokio::time::interval(Duration::from_secs(5));
            loop {
                every.tick().await;
                pool.sweep();
            }
        }));
        Box::pin(std::future::ready(Ok(())))
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.stop.cancel();
        Box::pin(self.pool.close())
    }
}
