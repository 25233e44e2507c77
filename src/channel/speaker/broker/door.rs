//! Owns who a client of the broker is, and what each may say and hear: the table of topics and identities.
//! Refuses to know sockets, sessions and where credentials are kept.
//! Invariant: a device speaks for itself alone and hears its own topic and those of its divisions; commands come from the gateway alone.

use std::{fmt, sync::Arc};

use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use super::packet::{Bad, Connect, Publish, is_filter, is_shared, is_topic};
use crate::area::{AreaCode, AreaLevel};

/// A device says little; recordings and pictures go by address.
const DEVICE_PAYLOAD_MAX: usize = 16 * 1024;
/// A status is kept for every device, for ever.
const STATUS_BYTES_MAX: usize = 4 * 1024;
/// Identifiers are the index of every session.
const CLIENT_ID_BYTES_MAX: usize = 256;

/// One loudspeaker as it was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    pub id: String,
    pub area: AreaCode,
    /// Another one once the credential was made anew.
    pub mark: u64,
}

/// Who knows the devices and their credentials.
pub trait Devices: Send + Sync {
    /// The device of this id, when `credential` is its own.
    fn admit(&self, id: &str, credential: &[u8]) -> Option<Guest>;

    /// The same device as it stands now; `None` when its credential was taken back, or it is registered no more.
    fn stands(&self, guest: &Guest) -> Option<Guest>;
}

/// One login for all who have none of their own.
#[derive(Clone, Debug)]
pub enum SharedLogin {
    /// Whoever reaches the port.
    Anyone,
    Given(String, SecretString),
}

/// Who is let in, as whom.
#[derive(Clone)]
pub struct Guard {
    /// Where the topics of loudspeakers begin.
    pub prefix: String,
    /// What the gateway's own connections show; made anew at each start.
    pub gateway: (String, SecretString),
    pub devices: Arc<dyn Devices>,
    pub shared: Option<SharedLogin>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("prefix", &self.prefix).field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// Who may come in.
#[derive(Clone, Debug)]
pub enum Entry {
    /// Everybody, to say and hear anything: a broker that one program has for itself.
    Open,
    Guarded(Guard),
}

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    Anyone,
    Gateway,
    Device(Guest),
    Shared,
}

impl Identity {
    /// Sets sessions of one identity apart from those of all others: whatever id somebody gives, he never meets a session that is not his own.
    pub(super) fn session(&self, client: &str) -> Arc<str> {
        match self {
            Self::Anyone => format!("a\0{client}").into(),
            Self::Gateway => Self::gateway_session(client),
            Self::Device(guest) => format!("d\0{}\0{client}", guest.id).into(),
            Self::Shared => format!("s\0{client}").into(),
        }
    }

    pub(super) fn gateway_session(client: &str) -> Arc<str> {
        format!("g\0{client}").into()
    }

    /// Whether it is one of the many for which the broker must not be made to hold more than a little.
    pub(super) const fn is_small(&self) -> bool {
        matches!(self, Self::Device(_) | Self::Shared)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::Gateway => f.write_str("the gateway"),
            Self::Device(guest) => write!(f, "speaker {}", guest.id),
            Self::Shared => f.write_str("the shared login"),
        }
    }
}

impl Entry {
    /// Whom the login shows.
    pub(super) fn identify(&self, login: Option<(String, bytes::Bytes)>) -> Result<Identity, Bad> {
        let Self::Guarded(guard) = self else { return Ok(Identity::Anyone) };
        let anonymous = login.is_none();
        let (user, password) = login.unwrap_or_default();
        if is_login(&guard.gateway, &user, &password) {
            return Ok(Identity::Gateway);
        }
        if let Some(guest) = guard.devices.admit(&user, &password) {
            return Ok(Identity::Device(guest));
        }
        match &guard.shared {
            Some(SharedLogin::Anyone) if anonymous => Ok(Identity::Shared),
            Some(SharedLogin::Given(name, secret)) if is_login(&(name.clone(), secret.clone()), &user, &password) => Ok(Identity::Shared),
            _ => Err(Bad::Login),
        }
    }

    /// The client id that this identity has, and whether the broker gave it.
    pub(super) fn client_id(&self, identity: &Identity, connect: &Connect) -> Result<(String, bool), Bad> {
        let given = &connect.client;
        match identity {
            // Bound to the credential: its own id, or as the reference loudspeaker puts it.
            Identity::Device(guest) if given.is_empty() => Ok((format!("speaker-{}", guest.id), true)),
            Identity::Device(guest) => {
                let is_its = *given == guest.id || given.strip_prefix("speaker-").is_some_and(|id| id == guest.id);
                if is_its { Ok((given.clone(), false)) } else { Err(Bad::ClientId) }
            }
            _ if given.len() > CLIENT_ID_BYTES_MAX => Err(Bad::ClientId),
            _ if !given.is_empty() => Ok((given.clone(), false)),
            _ if !connect.clean && connect.version == super::packet::Version::V311 => Err(Bad::ClientId),
            _ => Ok((format!("auto-{}", uuid::Uuid::now_v7().simple()), true)),
        }
    }

    /// Why `identity` may not publish this; `None` when it may.
    pub(super) fn forbids_publish(&self, identity: &Identity, publish: &Publish) -> Option<Bad> {
        let Self::Guarded(guard) = self else { return None };
        if identity.is_small() && publish.payload.len() > DEVICE_PAYLOAD_MAX {
            return Some(Bad::TooBig);
        }
        let said = Topic::read(&guard.prefix, &publish.topic);
        let allowed = match (identity, said) {
            (Identity::Anyone, _) => true,
            (Identity::Gateway, Some(Topic::Speaker(_, "cmd") | Topic::Area(_))) => !publish.retain,
            (Identity::Device(guest), Some(Topic::Speaker(id, what))) => id == guest.id && is_word(what, publish.retain),
            (Identity::Shared, Some(Topic::Speaker(_, what))) => is_word(what, publish.retain),
            _ => false,
        };
        match allowed {
            false => Some(Bad::NotAllowed),
            true if publish.retain && publish.payload.len() > STATUS_BYTES_MAX => Some(Bad::TooBig),
            true => None,
        }
    }

    /// Whether `identity` may subscribe to this filter; otherwise the code that says why not.
    pub(super) fn forbids_filter(&self, identity: &Identity, filter: &str) -> Option<u8> {
        const NOT_ALLOWED: u8 = 0x87;
        const FILTER_INVALID: u8 = 0x8f;
        const NO_SHARES: u8 = 0x9e;
        if is_shared(filter) {
            return Some(NO_SHARES);
        }
        if !is_filter(filter) {
            return Some(FILTER_INVALID);
        }
        let Self::Guarded(guard) = self else { return None };
        let wanted = is_topic(filter).then(|| Topic::read(&guard.prefix, filter)).flatten();
        let allowed = match (identity, wanted) {
            (Identity::Anyone | Identity::Gateway, _) => true,
            (Identity::Device(guest), Some(Topic::Speaker(id, "cmd"))) => id == guest.id,
            (Identity::Device(guest), Some(Topic::Area(code))) => divisions(guest.area).contains(&code),
            (Identity::Shared, Some(Topic::Speaker(_, "cmd") | Topic::Area(_))) => true,
            _ => false,
        };
        (!allowed).then_some(NOT_ALLOWED)
    }

    /// The identity as it stands now; `None` when it is nobody's any more.
    pub(super) fn stands(&self, identity: &Identity) -> Option<Identity> {
        match (self, identity) {
            (Self::Guarded(guard), Identity::Device(guest)) => guard.devices.stands(guest).map(Identity::Device),
            _ => Some(identity.clone()),
        }
    }
}

/// The village, township and county of a device.
pub fn divisions(area: AreaCode) -> [AreaCode; 3] {
    [AreaLevel::Village, AreaLevel::Township, AreaLevel::County].map(|level| area.at_level(level))
}

/// What a device says; only its health stays for those who come later.
fn is_word(what: &str, retain: bool) -> bool {
    match what {
        "status" => true,
        "ack" | "report" => !retain,
        _ => false,
    }
}

fn is_login((name, secret): &(String, SecretString), user: &str, password: &[u8]) -> bool {
    bool::from(user.as_bytes().ct_eq(name.as_bytes()) & password.ct_eq(secret.expose_secret().as_bytes()))
}

/// A topic of contract §5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Topic<'a> {
    Speaker(&'a str, &'a str),
    /// The commands to a division.
    Area(AreaCode),
}

impl<'a> Topic<'a> {
    fn read(prefix: &str, topic: &'a str) -> Option<Self> {
        let rest = topic.strip_prefix(prefix)?.strip_prefix('/')?;
        let mut levels = rest.split('/');
        let found = (levels.next()?, levels.next()?, levels.next()?);
        match (found, levels.next()) {
            (("speaker", id, what), None) => Some(Self::Speaker(id, what)),
            // As we write it, or two names would be one division.
            (("area", code, "cmd"), None) => code.parse().ok().filter(|area: &AreaCode| area.to_string() == code).map(Self::Area),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    struct Nobody;

    impl Devices for Nobody {
        fn admit(&self, _: &str, _: &[u8]) -> Option<Guest> {
            None
        }

        fn stands(&self, guest: &Guest) -> Option<Guest> {
            Some(guest.clone())
        }
    }

    fn entry() -> Entry {
        let gateway = ("gateway".to_owned(), "secret".to_owned().into());
        Entry::Guarded(Guard { prefix: "lastmile/v1".to_owned(), gateway, devices: Arc::new(Nobody), shared: None })
    }

    fn device() -> Identity {
        Identity::Device(Guest { id: "S1".to_owned(), area: "510726102201".parse().expect("a code"), mark: 1 })
    }

    /// The last three columns: the gateway, speaker S1 of village 510726102201, the shared login.
    #[test]
    fn each_identity_says_what_the_table_allows_and_nothing_else() {
        let (yes, no) = (true, false);
        for (topic, retain, may) in [
            ("speaker/S1/cmd", no, [yes, no, no]),
            ("speaker/S1/cmd", yes, [no, no, no]),
            ("area/510726102201/cmd", no, [yes, no, no]),
            ("area/510726/cmd", no, [yes, no, no]),
            ("area/510726/cmd", yes, [no, no, no]),
            ("speaker/S1/ack", no, [no, yes, yes]),
            ("speaker/S1/ack", yes, [no, no, no]),
            ("speaker/S1/report", no, [no, yes, yes]),
            ("speaker/S1/report", yes, [no, no, no]),
            ("speaker/S1/status", no, [no, yes, yes]),
            ("speaker/S1/status", yes, [no, yes, yes]),
            ("speaker/S2/ack", no, [no, no, yes]),
            ("speaker/S2/report", no, [no, no, yes]),
            ("speaker/S2/status", yes, [no, no, yes]),
            ("speaker/S1/other", no, [no, no, no]),
            ("speaker/S1/ack/more", no, [no, no, no]),
            ("speaker/S1", no, [no, no, no]),
            ("area/510726102201/ack", no, [no, no, no]),
            ("elsewhere", no, [no, no, no]),
        ] {
            let topic = format!("lastmile/v1/{topic}");
            let publish = |topic: &str| Publish {
                topic: topic.to_owned(),
                packet_id: Some(1),
                once: false,
                retain,
                payload: Bytes::from_static(b"{}"),
                expiry_s: None,
                properties: Bytes::new(),
            };
            let identities = [Identity::Gateway, device(), Identity::Shared];
            let allowed = identities.each_ref().map(|identity| entry().forbids_publish(identity, &publish(&topic)).is_none());
            assert_eq!(allowed, may, "{topic} retained {retain}");
            let foreign = topic.replace("lastmile/v1", "lastmile/v2");
            assert!(identities.iter().all(|identity| entry().forbids_publish(identity, &publish(&foreign)).is_some()), "{foreign}");
            assert_eq!(entry().forbids_publish(&Identity::Anyone, &publish(&topic)), None);
        }
    }

    #[test]
    fn each_identity_hears_what_the_table_allows_and_nothing_else() {
        let (yes, no) = (true, false);
        for (filter, may) in [
            ("speaker/S1/cmd", [yes, yes, yes]),
            ("area/510726102201/cmd", [yes, yes, yes]),
            ("area/510726102/cmd", [yes, yes, yes]),
            ("area/510726/cmd", [yes, yes, yes]),
            ("area/5107/cmd", [yes, no, yes]),
            ("area/510726102202/cmd", [yes, no, yes]),
            ("area/510726103/cmd", [yes, no, yes]),
            ("area/510726102000/cmd", [yes, no, no]),
            ("speaker/S2/cmd", [yes, no, yes]),
            ("speaker/S1/ack", [yes, no, no]),
            ("speaker/S2/status", [yes, no, no]),
            ("speaker/+/cmd", [yes, no, no]),
            ("speaker/S1/+", [yes, no, no]),
            ("area/+/cmd", [yes, no, no]),
            ("#", [yes, no, no]),
        ] {
            let filter = format!("lastmile/v1/{filter}");
            let identities = [Identity::Gateway, device(), Identity::Shared];
            let allowed = identities.each_ref().map(|identity| entry().forbids_filter(identity, &filter).is_none());
            assert_eq!(allowed, may, "{filter}");
        }
        for everything in ["#", "+/+/speaker/S1/cmd", "$SYS/#"] {
            assert_eq!(entry().forbids_filter(&device(), everything), Some(0x87), "{everything}");
            assert_eq!(entry().forbids_filter(&Identity::Shared, everything), Some(0x87), "{everything}");
        }
        assert_eq!(entry().forbids_filter(&Identity::Anyone, "$share/g/a"), Some(0x9e));
        assert_eq!(entry().forbids_filter(&Identity::Anyone, "a/#/b"), Some(0x8f));
    }

    #[test]
    fn sessions_of_two_identities_never_meet() {
        let other = Identity::Device(Guest { id: "S2".to_owned(), area: "510726".parse().expect("a code"), mark: 1 });
        let all = [Identity::Anyone, Identity::Gateway, device(), other, Identity::Shared];
        let sessions: std::collections::HashSet<Arc<str>> = all.iter().map(|identity| identity.session("lastmile-speakers")).collect();
        assert_eq!(sessions.len(), all.len());
    }
}
