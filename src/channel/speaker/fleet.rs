//! Owns fleets of reference loudspeakers for drills, tests and the demo: each with a connection of its own.
//! Refuses to know the gateway.
//! Invariant: the same seed gives the same speakers the same faults and delays.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use secrecy::SecretString;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    device::{self, Counts, DeviceConfig, FleetStats, Notices},
    line::Far,
    player::Voice,
};
use crate::{area::AreaCode, time::SharedClock};

#[derive(Clone)]
pub struct FleetConfig {
    pub far: Far,
    /// Each speaker's own credential; who has none uses the login of `far`.
    pub credentials: Arc<HashMap<String, SecretString>>,
    pub prefix: String,
    pub voice: Voice,
    /// Shares between 0 and 1; a speaker has at most one of the three faults.
    pub offline: f64,
    pub mute: f64,
    pub broken: f64,
    /// Milliseconds until an acknowledgement, drawn evenly for each speaker.
    pub ack_delay_ms: RangeInclusive<u64>,
    pub will_delay: Duration,
    pub seed: u64,
    pub clock: SharedClock,
    /// Give the same one to whoever watches.
    pub counts: Arc<Counts>,
    pub notices: Option<Notices>,
}

impl FleetConfig {
    /// Sound speakers that answer at once.
    pub fn at(far: Far, clock: SharedClock) -> Self {
        Self {
            far,
            credentials: Arc::default(),
            prefix: "lastmile/v1".to_owned(),
            voice: Voice::default(),
            offline: 0.0,
            mute: 0.0,
            broken: 0.0,
            ack_delay_ms: 0..=0,
            will_delay: Duration::from_secs(10),
            seed: 0,
            clock,
            counts: Arc::default(),
            notices: None,
        }
    }
}

/// Runs the speakers until `shutdown`; what they did is in the answer, and at any time in `config.counts`.
pub async fn run(config: FleetConfig, speakers: Vec<(String, AreaCode)>, shutdown: CancellationToken) -> FleetStats {
    let mut rng = StdRng::seed_from_u64(config.seed);
    let mut running = JoinSet::new();
    for (id, area) in speakers {
        // One draw for each question and speaker, whatever the answers, so that one share does not shift the others.
        let (fault, ack_delay_ms, seed) = (rng.random::<f64>(), rng.random_range(config.ack_delay_ms.clone()), rng.random::<u64>());
        let mute = (config.offline..config.offline + config.mute).contains(&fault);
        let broken = (config.offline + config.mute..config.offline + config.mute + config.broken).contains(&fault);
        if fault < config.offline {
            continue;
        }
        let own = config.credentials.get(&id).map(|secret| (id.clone(), secret.clone()));
        let device = DeviceConfig {
            id,
            area,
            far: Far { login: own.or_else(|| config.far.login.clone()), ..config.far.clone() },
            prefix: config.prefix.clone(),
            voice: Voice { broken, ..config.voice.clone() },
            firmware: format!("lastmile-reference {}", env!("CARGO_PKG_VERSION")),
            will_delay: config.will_delay,
            ack_delay: Duration::from_millis(ack_delay_ms),
            mute,
            clock: Arc::clone(&config.clock),
            seed,
            counts: Arc::clone(&config.counts),
            program: None,
            memory: None,
            notices: config.notices.clone(),
        };
        running.spawn(device::run(device, shutdown.clone()));
    }
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a simulated speaker could not run"),
            Err(error) => tracing::error!(%error, "a simulated speaker ended by a panic"),
        }
    }
    config.counts.snapshot()
}
