//! Owns `lastmile speaker`: the reference loudspeaker, and fleets of it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, Subcommand};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::output::{self, Failure, block_on};
use crate::{
    area::AreaCode,
    channel::speaker::{
        Voice, device,
        fleet::{self, FleetConfig},
        jws,
        line::{BrokerAddress, Far},
    },
    registry::Registry,
    time::SystemClock,
};

#[derive(Args)]
pub(super) struct Broker {
    /// mqtt://host:1883 or mqtts://host:8883
    #[arg(long, default_value = "mqtt://127.0.0.1:1883")]
    broker: BrokerAddress,
    #[arg(long)]
    username: Option<String>,
    #[arg(long, env = "LASTMILE_SPEAKER_PASSWORD", hide_env_values = true)]
    password: Option<secrecy::SecretString>,
    #[arg(long, default_value = "lastmile/v1")]
    prefix: String,
    /// Public key (base64) by which commands are verified; unsigned commands are taken without.
    #[arg(long)]
    verify_key: Option<String>,
    /// Milliseconds that one character takes to say.
    #[arg(long, default_value_t = 250)]
    ms_per_char: u32,
}

impl Broker {
    fn far(&self) -> Result<Far, Failure> {
        let login = self.username.clone().zip(self.password.clone());
        Far::new(&self.broker, None, login).map_err(Failure::usage)
    }

    fn voice(&self) -> Result<Voice, Failure> {
        let verify_key = match &self.verify_key {
            None => None,
            Some(text) => Some(jws::verifying_key(text).ok_or_else(|| Failure::usage("the public key is not 32 bytes of base64"))?),
        };
        Ok(Voice { verify_key, ms_per_char: self.ms_per_char, ..Voice::default() })
    }
}

#[derive(Subcommand)]
pub(super) enum Speaker {
    /// One loudspeaker, until it is interrupted.
    Run {
        id: String,
        #[arg(long)]
        area: AreaCode,
        #[command(flatten)]
        broker: Broker,
    },
    /// All loudspeakers of a registry, some of them faulty, until interrupted or for a time.
    Simulate {
        /// Data directory whose registry names the speakers.
        #[arg(long)]
        data: PathBuf,
        #[command(flatten)]
        broker: Broker,
        /// Share that never connects, that never acknowledges, that fails to play.
        #[arg(long, default_value_t = 0.0)]
        offline: f64,
        #[arg(long, default_value_t = 0.0)]
        mute: f64,
        #[arg(long, default_value_t = 0.0)]
        broken: f64,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Seconds to run; until interrupted when left out.
        #[arg(long)]
        seconds: Option<u64>,
    },
}

impl Speaker {
    pub(super) fn run(self) -> Result<(), Failure> {
        block_on(async {
            let stop = CancellationToken::new();
            let interrupted = stop.clone();
            tokio::spawn(async move {
                if tokio::signal::ctrl_c().await.is_ok() {
                    interrupted.cancel();
                }
            });
            match self {
                Self::Run { id, area, broker } => {
                    let config = device::DeviceConfig {
                        id,
                        area,
                        far: broker.far()?,
                        prefix: broker.prefix.clone(),
                        voice: broker.voice()?,
                        firmware: format!("lastmile-{}", env!("CARGO_PKG_VERSION")),
                        will_delay: Duration::from_secs(10),
                        ack_delay: Duration::ZERO,
                        mute: false,
                        clock: Arc::new(SystemClock),
                        seed: 0,
                        counts: Arc::default(),
                    };
                    Ok(Box::pin(device::run(config, stop)).await?)
                }
                Self::Simulate { data, broker, offline, mute, broken, seed, seconds } => {
                    if [offline, mute, broken].iter().any(|share| !(0.0..=1.0).contains(share)) || offline + mute + broken > 1.0 {
                        return Err(Failure::usage("shares lie between 0 and 1, and are not over 1 together"));
                    }
                    if let Some(seconds) = seconds {
                        let over = stop.clone();
                        tokio::spawn(async move {
                            tokio::time::sleep(Duration::from_secs(seconds)).await;
                            over.cancel();
                        });
                    }
                    let config = FleetConfig {
                        prefix: broker.prefix.clone(),
                        voice: broker.voice()?,
                        offline,
                        mute,
                        broken,
                        seed,
                        ..FleetConfig::at(broker.far()?, Arc::new(SystemClock))
                    };
                    let snapshot = Registry::open(&data.join("registry"))?.registry.current();
                    let speakers: Vec<(String, AreaCode)> = (0..snapshot.speaker_count())
                        .map(|position| snapshot.speaker_at(position))
                        .map(|speaker| (speaker.id().to_owned(), speaker.area()))
                        .collect();
                    let count = speakers.len();
                    let stats = fleet::run(config, speakers, stop).await;
                    output::json(
                        &json!({ "speakers": count, "accepted": stats.accepted, "duplicates": stats.duplicates, "rejected": stats.rejected,
                        "played": stats.played, "failed": stats.failed, "stopped": stats.stopped }),
                    )
                }
            }
        })
    }
}
