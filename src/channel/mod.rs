//! Owns how messages are handed to far ends and how far ends report back; one folder per kind, one file or folder per provider.
//! Refuses to know alerts' meaning, storage, retry and who is told: it takes sealed `Outgoing`s and gives verdicts.
//! Invariant: no secret or whole phone number leaves a driver in an error, a log line or a metric.

mod answers;
mod callback;
mod common;
#[cfg(test)]
mod contract_kit;
pub mod drivers;
pub mod email;
mod http_client;
mod kept;
pub mod sandbox;
pub mod sms;
pub mod speaker;
pub mod wechat;

use std::{sync::Arc, time::Duration};

pub use answers::{Meaning, Said};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{
    area::AreaCode,
    fault::Fault,
    message::{DeliveryId, Form, Outgoing},
    time::{SharedClock, Timestamp},
};

/// The four ways to a person; `name()` is the word of contract, policy, metrics and JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Sms,
    Email,
    Speaker,
    Wechat,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Sms, Self::Email, Self::Speaker, Self::Wechat];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Sms => "sms",
            Self::Email => "email",
            Self::Speaker => "speaker",
            Self::Wechat => "wechat",
        }
    }

    /// As people on duty read it, in Chinese and in English.
    pub const fn title(self) -> (&'static str, &'static str) {
        match self {
            Self::Sms => ("短信", "short message"),
            Self::Email => ("邮件", "e-mail"),
            Self::Speaker => ("喇叭", "loudspeaker"),
            Self::Wechat => ("微信", "WeChat"),
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Whom an account can reach, and by which address of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Registered people by one of their addresses (`registry::AddressKind` word: `phone`, `mail`, `wecom`, `openid`).
    People(&'static str),
    /// Registered loudspeakers by their id.
    Speakers,
    /// Endpoints of one kind (group robots, mailing lists) by their address.
    Endpoints(&'static str),
}

/// Which evidence settles a delivery of this account, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The far end has no receipts at all: its acceptance settles, but never counts as reached.
    AcceptedOnly,
    /// The far end's acceptance is the proof (a mailbox accepts a mail): accepted and delivered at once.
    AcceptedIsDelivered,
    /// A report must follow; after `within` without one the delivery is closed as unproven.
    Report { within: Duration },
}

/// How many messages one `send` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    One,
    /// Several recipients of one and the same text.
    SameText {
        max: usize,
    },
    /// Devices of one area that share `Outgoing::whole_area`.
    WholeArea {
        max: usize,
    },
}

/// Keys that every `[channel.NAME]` table may have; the engine holds them, drivers use `timeout`.
#[derive(Clone, Debug, PartialEq)]
pub struct Common {
    /// Lower is asked first; equal priorities share.
    pub priority: u8,
    pub per_second: Option<u32>,
    pub per_minute: Option<u32>,
    pub burst: Option<u32>,
    pub concurrency: usize,
    pub timeout: Duration,
    /// Delays between tries; after the last, the next account or channel is asked.
    pub retry: Vec<Duration>,
    /// Pause after a second try that may have been taken and was not answered, where no other account can be asked; each further one is longer.
    pub unknown_retry: Duration,
}

/// What the far end said to one message of a `send`, in the order of the batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Taken by the far end; `provider_ref` is its own id when receipts will name that instead of ours.
    Accepted {
        provider_ref: Option<String>,
    },
    Failed(Failure),
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Failure {
    pub class: Class,
    pub concerns: Concerns,
    /// Closed kebab-case word for metrics and tables: `bad-signature`, `connect`, `http-5xx`.
    pub reason: &'static str,
    /// For people; scrubbed of secrets and numbers, at most 300 characters.
    pub detail: String,
    /// The far end's own hint; the engine clamps it.
    pub retry_after: Option<Duration>,
}

/// Whom a failure speaks of; set where the far end's answer is seen, code by code, and never guessed from its words later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concerns {
    /// This address, mailbox, group or device: a thousand of them say nothing about the account.
    Recipient,
    /// Our account at the far end: password, balance, sender number, signature, template, leave to send.
    Account,
    /// The far end itself: down, busy, too slow, without a line to where the message should go.
    Provider,
    /// The words: refused by a filter, or longer than this far end takes.
    Message,
    /// How it was asked, or nobody knows whom: the next account asks in another way.
    Request,
}

impl Concerns {
    pub const ALL: [Self; 5] = [Self::Recipient, Self::Account, Self::Provider, Self::Message, Self::Request];

    /// What is shown in tables and told in alarms.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recipient => "recipient",
            Self::Account => "account",
            Self::Provider => "provider",
            Self::Message => "message",
            Self::Request => "request",
        }
    }
}

impl Failure {
    pub fn new(class: Class, concerns: Concerns, reason: &'static str, detail: impl Into<String>) -> Self {
        Self { class, concerns, reason, detail: detail.into(), retry_after: None }
    }

    /// Whether it says something about the account and its far end, not only about one recipient or one text.
    pub const fn concerns_account(&self) -> bool {
        matches!(self.concerns, Concerns::Account | Concerns::Provider)
    }

    /// Whether this account will not take this message, as far as it can tell: what is counted when all of its messages are refused.
    pub const fn is_refusal(&self) -> bool {
        matches!(self.class, Class::Reject)
            || (matches!(self.class, Class::Retry) && matches!(self.concerns, Concerns::Message | Concerns::Request))
    }
}

/// What a failure means for the debt; set where the far end's answer is seen, never guessed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Not taken; try again by the schedule.
    Retry,
    /// Not taken because of its rate: try again, not counted as an attempt.
    Throttled,
    /// Bytes may have been taken: resend only under the same id, or by another channel.
    Unknown,
    /// This account will never take it. What is about the address is closed and the registry is flagged; anything else asks the next account.
    Reject,
    /// The person asked not to be told by this channel.
    OptedOut,
    /// Our account is wrong (password, signature, robot removed): park the account, alarm, keep the debt.
    Misconfigured,
}

/// News from a far end.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub about: About,
    pub news: News,
    /// When it happened by the far end's clock, if it says so and it is credible.
    pub at: Option<Timestamp>,
}

/// What a report names.
#[derive(Clone, Debug, PartialEq)]
pub enum About {
    Delivery(DeliveryId),
    /// A delivery whose own key came with the report: only whoever this account handed the message to can know it.
    Handed {
        id: DeliveryId,
        /// The attempt that it speaks of, where the key's address says so.
        attempt: Option<u8>,
        /// Addresses that it names: it counts only for a delivery to one of them. Empty where it names none.
        readers: Vec<String>,
    },
    /// The provider's own id, as given in `Verdict::Accepted`; `to` tells recipients of one id apart.
    ProviderRef {
        provider_ref: String,
        to: Option<String>,
    },
    /// A device and the `msg_id` it speaks of (the alert's id).
    Device {
        id: String,
        msg_id: String,
    },
    /// A device on its own (status).
    DeviceStatus {
        id: String,
    },
    /// A person by phone number as the provider wrote it (replies).
    Phone(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// The far end has it in hand; not yet at the person.
    Accepted,
    /// At the handset, mailbox or device.
    Delivered,
    /// A loudspeaker said it to its end.
    Played,
    /// It will not get there by this account; the class says what that means.
    Failed(Failure),
    /// A part of it will not get there: whatever says of another part that it did says nothing of the message.
    PartFailed(Failure),
    /// A person's free text reply.
    Reply(String),
    /// A device's state of health; said this moment, or kept by the broker from before.
    Online {
        online: bool,
        #[serde(default)]
        said_now: bool,
        detail: serde_json::Value,
    },
}

/// A far end's call on us, as it came over HTTP.
#[derive(Clone, Debug)]
pub struct Callback {
    /// The last part of the path: `status`, `reply`, or empty.
    pub what: String,
    pub method: String,
    pub query: String,
    pub content_type: Option<String>,
    pub body: bytes::Bytes,
}

/// What to make durable, and what to answer then, in the provider's own form.
#[derive(Clone, Debug, PartialEq)]
pub struct Reception {
    pub reports: Vec<Report>,
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

/// Where a driver that holds its own connection puts reports; bounded, so a flood waits at the far end.
pub type ReportSink = tokio::sync::mpsc::Sender<Report>;

/// One configured account at one far end.
pub trait Channel: Send + Sync + 'static {
    /// `NAME` of `[channel.NAME]`.
    fn name(&self) -> &str;
    fn kind(&self) -> Kind;
    fn reaches(&self) -> &[Reach];
    fn form(&self) -> Form;
    fn proof(&self) -> Proof;
    fn batching(&self) -> Batching;

    /// Hands a batch over; one verdict for each message, in order. Cancel-safe only between calls.
    fn send<'a>(&'a self, batch: &'a [Outgoing]) -> BoxFuture<'a, Vec<Verdict>>;

    /// Reads a callback. The answer is sent only once the reports are durable.
    fn receive(&self, callback: &Callback) -> Result<Reception, Failure>;

    /// Opens what lives longer than a send and keeps reporting until `stop`. Called once.
    fn start(&self, reports: ReportSink) -> BoxFuture<'_, Result<(), Failure>>;

    /// Rung each time a connection that the driver keeps has been made: the engine need not wait for a pause to be over. Drivers that
    /// connect for each message have none.
    fn line(&self) -> Option<Arc<Notify>> {
        None
    }

    /// Flushes and closes; bounded by the caller's grace.
    fn stop(&self) -> BoxFuture<'_, ()>;
}

/// What a driver gets besides its table.
#[derive(Clone)]
pub struct Context {
    pub clock: SharedClock,
    /// `[server] public_url`, for callbacks that we ask for.
    pub public_url: String,
    /// Key of the MACs that make callback addresses unguessable.
    pub callback_key: Arc<[u8; 32]>,
    /// Relative paths in tables start here (the directory of the configuration file).
    pub base_dir: std::path::PathBuf,
    /// Seed of jitter and of sandbox behaviour.
    pub seed: u64,
    /// The built-in broker when one runs, for `broker = "builtin"`.
    pub builtin_broker: Option<BuiltinBroker>,
}

/// How the gateway itself reaches the built-in broker.
#[derive(Clone, Debug)]
pub struct BuiltinBroker {
    pub address: std::net::SocketAddr,
    pub prefix: String,
    /// Nobody else has it.
    pub login: (String, secrecy::SecretString),
}

#[derive(Debug, thiserror::Error)]
#[error("channel {name}: {message}")]
pub struct BuildError {
    pub name: String,
    pub message: String,
}

type Build = Box<dyn FnOnce(Context) -> Result<Arc<dyn Channel>, BuildError> + Send>;

/// A table that was found good: what the engine needs of it, and the way to a running account.
pub struct Prepared {
    pub name: String,
    pub kind: Kind,
    pub provider: &'static str,
    pub common: Common,
    pub build: Build,
}

/// One provider of one kind. `check` judges a table without touching the network and names every fault by key path.
pub struct Driver {
    pub kind: Kind,
    pub provider: &'static str,
    /// `(account name, table)`; secrets given as `x_file` have been read into `x` before.
    pub check: fn(&str, &toml::Table) -> Result<Prepared, Vec<Fault>>,
    /// What its far end may answer, and what each answer means: shown in `docs/answers.md`.
    pub answers: &'static [&'static [Meaning]],
}

/// Areas wider than this are told device by device; an area topic is for villages, townships and the county.
pub const fn is_device_area(area: AreaCode) -> bool {
    !matches!(area.level(), crate::area::AreaLevel::Province | crate::area::AreaLevel::City)
}
