//! Owns one kept connection to an MQTT broker: where it is, reconnecting with back-off and jitter, and its state for others to see.
//! Refuses to know what is said over it.
//! Invariant: after a lost connection nothing is sent again behind the caller's back; the caller decides.

use std::{str::FromStr, sync::Arc, time::Duration};

use rumqttc::{
    AckMode, Broker, ConnectReturnCode, ConnectionError, DisconnectReasonCode, Incoming, MqttOptions, NetworkOptions, PersistedAckMode,
    PersistedSession, SessionMode, SessionStore, SessionStoreError, SessionStoreKey, StateError, TlsConfiguration, Transport,
};
use rustls::ClientConfig;
use secrecy::{ExposeSecret, SecretString};

pub(crate) use super::backoff::Backoff;
use super::tls::{self, Trust};

/// Mobile networks forget a silent connection after a few minutes.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Larger than anything the protocol sends, so that no message can make a client refuse its own session for ever.
const PACKET_BYTES_MAX: u32 = 64 * 1024;

/// `mqtt://host:1883` or `mqtts://host:8883`; the port may be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    pub host: String,
    pub port: u16,
    pub encrypted: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("not an address such as mqtt://host:1883 or mqtts://host:8883")]
pub struct BadBrokerAddress;

impl FromStr for BrokerAddress {
    type Err = BadBrokerAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (rest, encrypted) = match (text.strip_prefix("mqtts://"), text.strip_prefix("mqtt://")) {
            (Some(rest), _) => (rest, true),
            (None, rest) => (rest.ok_or(BadBrokerAddress)?, false),
        };
        let default_port = if encrypted { 8_883 } else { 1_883 };
        let bracketed = rest.starts_with('[');
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !bracketed || host.ends_with(']') => (host, port.parse().map_err(|_| BadBrokerAddress)?),
            _ => (rest, default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let sound = !host.is_empty() && port > 0 && !host.contains(['/', '@', ' ']) && (bracketed || !host.contains(':'));
        if sound { Ok(Self { host: host.to_owned(), port, encrypted }) } else { Err(BadBrokerAddress) }
    }
}

impl BrokerAddress {
    /// Whether what is said stays on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

/// Where a broker listens, and who we are to it.
#[derive(Clone, Debug)]
pub struct Far {
    pub host: String,
    pub port: u16,
    pub tls: Option<Arc<ClientConfig>>,
    pub login: Option<(String, SecretString)>,
    pub keep_alive: Duration,
}

impl Far {
    /// A broker that was named by its address; `ca` is the PEM of a county's own authority.
    pub fn new(address: &BrokerAddress, ca: Option<&[u8]>, login: Option<(String, SecretString)>) -> Result<Self, String> {
        let trust = ca.map_or(Trust::WebRoots, Trust::Only);
        let tls = if address.encrypted { Some(tls::client_config(&trust)?) } else { None };
        Ok(Self { host: address.host.clone(), port: address.port, tls, login, keep_alive: KEEP_ALIVE })
    }

    /// A broker in the clear, without a login.
    pub fn at(address: std::net::SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port(), tls: None, login: None, keep_alive: KEEP_ALIVE }
    }

    /// Whether anything listens there at all.
    pub(crate) async fn is_open(&self) -> bool {
        let open = tokio::net::TcpStream::connect((self.host.as_str(), self.port));
        tokio::time::timeout(Duration::from_secs(5), open).await.is_ok_and(|opened| opened.is_ok())
    }

    /// Options of a client that starts afresh with each connection.
    pub(crate) fn passing(&self, client_id: &str) -> MqttOptions {
        let mut options = MqttOptions::new(client_id, Broker::tcp(&self.host, self.port));
        options.set_keep_alive(u16::try_from(self.keep_alive.as_secs()).unwrap_or(u16::MAX).max(1));
        options.set_session_mode(SessionMode::Clean);
        options.set_max_packet_size(Some(PACKET_BYTES_MAX));
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        if let Some((user, password)) = &self.login {
            options.set_credentials(user.clone(), password.expose_secret().to_owned());
        }
        if let Some(config) = &self.tls {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(config))));
        }
        options
    }

    /// Options of a client whose session the broker keeps, so that what is sent to it meanwhile waits there.
    /// It has at most `window` publishes of its own unacknowledged, and memory for no more.
    pub(crate) fn lasting(&self, client_id: &str, window: u16) -> MqttOptions {
        let mut options = self.passing(client_id);
        options.set_session_mode(SessionMode::Persistent);
        options.set_outgoing_inflight_upper_limit(window);
        options.set_session_store(NothingOutstanding { window, ack_mode: PersistedAckMode::Automatic });
        options
    }

    /// As `lasting`, for a client that acknowledges each message itself, once it has done with it: the broker keeps what is not
    /// acknowledged, and has at most `at_once` such messages with us. It withholds messages of more than `message_max` bytes.
    pub(crate) fn receiving(&self, client_id: &str, at_once: u16, message_max: u32) -> MqttOptions {
        let mut options = self.lasting(client_id, 1);
        options.set_session_store(NothingOutstanding { window: 1, ack_mode: PersistedAckMode::Manual });
        options.set_ack_mode(AckMode::Manual);
        options.set_receive_maximum(Some(at_once));
        options.set_max_packet_size(Some(message_max));
        options
    }
}

/// Tells the client that it holds nothing unacknowledged from an earlier run, which is true of us:
/// what was on its way then is a debt of the journal, not of a packet number.
/// Without it the client refuses to resume the broker's session after a restart.
#[derive(Debug)]
struct NothingOutstanding {
    window: u16,
    ack_mode: PersistedAckMode,
}

impl SessionStore for NothingOutstanding {
    fn load<'a>(
        &'a self,
        key: &'a SessionStoreKey,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Option<PersistedSession>, SessionStoreError>> + Send + 'a>> {
        let session = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: Some(u32::MAX),
            outgoing_inflight_upper_limit: Some(self.window),
            ack_mode: self.ack_mode,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(std::future::ready(Ok(Some(session))))
    }

    fn save<'a>(
        &'a self,
        _key: &'a SessionStoreKey,
        _session: &'a PersistedSession,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), SessionStoreError>> + Send + 'a>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn clear<'a>(
        &'a self,
        _key: &'a SessionStoreKey,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), SessionStoreError>> + Send + 'a>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Whether a kept connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Up,
    Down {
        reason: &'static str,
        /// Our account is wrong; waiting will not mend it.
        ours: bool,
    },
}

impl Standing {
    pub(crate) const NOT_YET: Self = Self::Down { reason: "not-connected", ours: false };

    /// Somebody else has our client id.
    pub(crate) const TAKEN_OVER: Self = Self::Down { reason: "client-id-taken", ours: false };
    /// The broker knows MQTT 3.1.1 alone.
    pub(crate) const TOO_OLD: Self = Self::Down { reason: "protocol-version", ours: true };

    pub(crate) fn after(error: &ConnectionError) -> Self {
        let (reason, ours) = match error {
            ConnectionError::ConnectionRefused(code) => match code {
                ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized | ConnectReturnCode::BadAuthenticationMethod => {
                    ("bad-login", true)
                }
                ConnectReturnCode::UnsupportedProtocolVersion | ConnectReturnCode::RefusedProtocolVersion => ("protocol-version", true),
                ConnectReturnCode::Banned => ("banned", true),
                ConnectReturnCode::BadClientId | ConnectReturnCode::ClientIdentifierNotValid => ("bad-client-id", true),
                _ => ("refused", false),
            },
            ConnectionError::Tls(rumqttc::TlsError::Io(error)) | ConnectionError::Io(error) if tls::is_distrust(error) => {
                ("certificate", true)
            }
            ConnectionError::Tls(rumqttc::TlsError::TLS(_) | rumqttc::TlsError::DNSName(_)) => ("certificate", true),
            ConnectionError::Timeout(_) => ("timeout", false),
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code: DisconnectReasonCode::SessionTakenOver, .. }) => {
                ("client-id-taken", false)
            }
            ConnectionError::MqttState(_) => ("lost", false),
            _ => ("connect", false),
        };
        Self::Down { reason, ours }
    }
}

pub(crate) const fn is_connack(packet: &Incoming) -> bool {
    matches!(packet, Incoming::ConnAck(_))
}
