//! Owns wiring the built-in broker: its port, who knows the loudspeakers and their credentials, and the gateway's own login.
//! Refuses to know what may be said. Invariant: nobody but the gateway of this start has the gateway's login.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngExt as _;
use secrecy::SecretString;

use super::Configuration;
use crate::{
    access,
    channel::{
        BuiltinBroker,
        speaker::broker::{Bound, Broker, Devices, Entry, Guard, Guest, SharedLogin, WhenFull},
    },
    config::BrokerSettings,
    engine::Gateway,
    time::SharedClock,
};

const SHARED_LOGIN: &str = "shared_login lets each loudspeaker speak for every other: give each its own credential \
                            (lastmile speaker credential --all --out FILE) and take the key away";

/// The broker's port is taken and its login made; who comes waits until it starts.
pub(super) struct Waiting {
    bound: Bound,
    settings: BrokerSettings,
    login: (String, SecretString),
}

impl Waiting {
    pub(super) async fn of(config: &Configuration) -> anyhow::Result<Option<Self>> {
        let Some(settings) = config.builtin_broker.clone() else { return Ok(None) };
        let bound =
            Bound::on(settings.listen).await.with_context(|| format!("the built-in broker cannot listen on {}", settings.listen))?;
        let secret: [u8; 32] = rand::rng().random();
        let login = (format!("gateway-{}", uuid::Uuid::now_v7().simple()), SecretString::from(URL_SAFE_NO_PAD.encode(secret)));
        Ok(Some(Self { bound, settings, login }))
    }

    /// What the gateway's own channels need.
    pub(super) fn for_channels(&self) -> BuiltinBroker {
        BuiltinBroker { address: self.bound.address(), prefix: self.settings.prefix.clone(), login: self.login.clone() }
    }

    pub(super) fn start(self, gateway: &Gateway, data: &Path, clock: SharedClock) -> anyhow::Result<Broker> {
        let credentials = access::Devices::open(data, clock).context("the credentials of loudspeakers")?;
        let BrokerSettings { sessions_max, prefix, shared_login, login, .. } = self.settings;
        if shared_login {
            gateway.alarms().raise("shared-login", "[builtin_broker] shared_login", SHARED_LOGIN);
            tracing::error!("[builtin_broker] {SHARED_LOGIN}");
        } else {
            gateway.alarms().end("shared-login", "[builtin_broker] shared_login");
        }
        let shared = shared_login.then(|| login.map_or(SharedLogin::Anyone, |(user, password)| SharedLogin::Given(user, password)));
        let devices = Arc::new(Registered { gateway: gateway.clone(), credentials });
        let entry = Entry::Guarded(Guard { prefix, gateway: self.login, devices, shared });
        let alarming = gateway.clone();
        let full: WhenFull = Arc::new(move |why, detail| alarming.alarms().raise("broker-full", why, detail));
        Ok(self.bound.start(sessions_max, entry, Some(full)))
    }
}

/// The loudspeakers of the registry, with the credentials of this installation.
struct Registered {
    gateway: Gateway,
    credentials: access::Devices,
}

impl Registered {
    fn guest(&self, id: &str, mark: u64) -> Option<Guest> {
        let snapshot = self.gateway.registry().current();
        let speaker = snapshot.speaker_by_id(id)?;
        Some(Guest { id: speaker.id().to_owned(), area: speaker.area(), mark })
    }
}

impl Devices for Registered {
    fn admit(&self, id: &str, credential: &[u8]) -> Option<Guest> {
        self.guest(id, self.credentials.verify(id, credential)?)
    }

    fn stands(&self, guest: &Guest) -> Option<Guest> {
        let mark = self.credentials.mark_of(&guest.id).filter(|&mark| mark == guest.mark)?;
        self.guest(&guest.id, mark)
    }
}

/// Lets the process open as many files as it may: ten thousand loudspeakers need more than the usual 1,024.
pub(super) fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}
