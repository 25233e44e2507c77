//! Owns `lastmile speaker`: the reference loudspeaker, fleets of it, and each one's credential.

mod acl;
mod credential;
mod notices;

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, Subcommand};
use secrecy::SecretString;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::output::{self, Failure, block_on};
use crate::{
    access,
    area::AreaCode,
    channel::speaker::{
        Voice, device,
        fleet::{self, FleetConfig},
        jws,
        line::{BrokerAddress, Far},
    },
    keys::parse_duration,
    registry::Registry,
    time::SystemClock,
};

#[derive(Args)]
pub(super) struct Broker {
    /// mqtt://host:1883 or mqtts://host:8883
    #[arg(long, default_value = "mqtt://127.0.0.1:1883")]
    broker: BrokerAddress,
    /// PEM file of the authority that signed the broker's certificate.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// One login for all; a loudspeaker with a credential of its own has its id for a name.
    #[arg(long)]
    username: Option<String>,
    #[arg(long, env = "LASTMILE_SPEAKER_PASSWORD", hide_env_values = true)]
    password: Option<SecretString>,
    /// File `id,credential` as `speaker credential --out` writes it.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    #[arg(long, default_value = "lastmile/v1")]
    prefix: String,
    /// Public key (base64) by which commands are verified; may be given again while keys change. Without one, unsigned commands are taken.
    #[arg(long)]
    verify_key: Vec<String>,
    /// How old a command may be when it is first heard, such as 5m; `off` where the clock is not to be trusted at all.
    #[arg(long, value_parser = age, default_value = "5m")]
    max_age: Age,
    /// Milliseconds that one character takes to say, where no player makes a sound.
    #[arg(long, default_value_t = 250)]
    ms_per_char: u32,
}

#[derive(Clone, Copy, Debug)]
struct Age(Option<Duration>);

fn age(text: &str) -> Result<Age, &'static str> {
    match text {
        "off" => Ok(Age(None)),
        text => parse_duration(text).map(|age| Age(Some(age))).ok_or("must be a time such as 5m, or off"),
    }
}

impl Broker {
    /// `own`: the loudspeaker whose name it is, where there is only one.
    fn far(&self, own: Option<&str>) -> Result<Far, Failure> {
        let pem = match &self.ca {
            Some(file) => Some(std::fs::read(file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?),
            None => None,
        };
        let name = self.username.clone().or_else(|| own.map(str::to_owned));
        Far::new(&self.broker, pem.as_deref(), name.zip(self.password.clone())).map_err(Failure::usage)
    }

    fn voice(&self) -> Result<Voice, Failure> {
        let key = |text: &String| jws::verifying_key(text).ok_or_else(|| Failure::usage("a public key is not 32 bytes of base64"));
        let verify_keys = self.verify_key.iter().map(key).collect::<Result<_, _>>()?;
        Ok(Voice { verify_keys, age_max: self.max_age.0, ms_per_char: self.ms_per_char, ..Voice::default() })
    }

    fn credentials(&self) -> Result<HashMap<String, SecretString>, Failure> {
        self.credentials.as_deref().map_or_else(|| Ok(HashMap::new()), credential::read)
    }
}

#[derive(Args)]
pub(super) struct Run {
    id: String,
    #[arg(long)]
    area: AreaCode,
    #[command(flatten)]
    broker: Broker,
    /// Command line of the program that says a text, which is its input and stands where {text} is:
    /// `espeak-ng -v cmn --stdin`, or `espeak-ng -v cmn -a {volume} {text}`. Without one nothing is heard.
    #[arg(long, value_name = "COMMAND")]
    player: Option<String>,
    /// File of what was heard, so that nothing is said again after a restart [default: lastmile-speaker-ID.heard]
    #[arg(long, value_name = "FILE")]
    memory: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Simulate {
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
}

#[derive(Subcommand)]
pub(super) enum Speaker {
    /// Make, renew or take away loudspeakers' own passwords at the built-in broker.
    Credential(credential::Credential),
    /// The rights that loudspeakers and the gateway need at a mosquitto, as its acl_file.
    Acl(acl::Acl),
    /// One loudspeaker, until it is interrupted.
    Run(Run),
    /// All loudspeakers of a registry, some of them faulty, until interrupted or for a time.
    Simulate(Simulate),
}

impl Speaker {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Credential(credential) => credential.run(),
            Self::Acl(acl) => acl.run(),
            Self::Run(run) => block_on(run.run(until_interrupted)),
            Self::Simulate(simulate) => block_on(simulate.run(until_interrupted)),
        }
    }
}

fn until_interrupted() -> CancellationToken {
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    stop
}

impl Run {
    async fn run(self, stop: impl FnOnce() -> CancellationToken) -> Result<(), Failure> {
        let far = self.broker.far(Some(&self.id))?;
        let own = self.broker.credentials()?.remove(&self.id).map(|secret| (self.id.clone(), secret));
        if self.broker.credentials.is_some() && own.is_none() {
            return Err(Failure::usage(format!("the file of credentials has none for {:?}", self.id)));
        }
        let memory = self.memory.unwrap_or_else(|| format!("lastmile-speaker-{}.heard", self.id).into());
        match &self.player {
            Some(program) => credential::tell(&format!("{} says what it hears by: {program}", self.id))?,
            None => {
                credential::tell("NOTHING WILL BE HEARD: without --player this loudspeaker only simulates, and says so in its reports")?
            }
        }
        if self.broker.verify_key.is_empty() {
            credential::tell("without --verify-key whoever can publish at the broker can make it speak")?;
        }
        credential::tell(&format!("what was heard is kept in {}", memory.display()))?;
        let config = device::DeviceConfig {
            area: self.area,
            far: Far { login: own.or(far.login.clone()), ..far },
            prefix: self.broker.prefix.clone(),
            voice: self.broker.voice()?,
            firmware: format!("lastmile-{}", env!("CARGO_PKG_VERSION")),
            will_delay: Duration::from_secs(10),
            ack_delay: Duration::ZERO,
            mute: false,
            clock: Arc::new(SystemClock),
            seed: rand::random(),
            counts: Arc::default(),
            program: self.player,
            memory: Some(memory),
            notices: Some(notices::each()),
            id: self.id,
        };
        Ok(Box::pin(device::run(config, stop())).await?)
    }
}

impl Simulate {
    async fn run(self, stop: impl FnOnce() -> CancellationToken) -> Result<(), Failure> {
        let Self { data, broker, offline, mute, broken, seed, seconds } = self;
        if [offline, mute, broken].iter().any(|share| !(0.0..=1.0).contains(share)) || offline + mute + broken > 1.0 {
            return Err(Failure::usage("shares lie between 0 and 1, and are not over 1 together"));
        }
        let snapshot = Registry::open(&data.join("registry"))?.registry.current();
        let speakers: Vec<(String, AreaCode)> = (0..snapshot.speaker_count())
            .map(|position| snapshot.speaker_at(position))
            .map(|speaker| (speaker.id().to_owned(), speaker.area()))
            .collect();
        let mut credentials = broker.credentials()?;
        if broker.credentials.is_none() && broker.username.is_none() {
            // Those whom no device in a village stands for yet are rehearsed without further ado.
            let devices = access::Devices::open(&data, Arc::new(SystemClock))?;
            credentials = devices.make(speakers.iter().map(|(id, _)| id.as_str()), access::For::Rehearsal)?.into_iter().collect();
            let others = speakers.len() - credentials.len();
            if others > 0 {
                credential::tell(&format!(
                    "{others} loudspeakers have credentials of their own: give --credentials FILE to stand for them too"
                ))?;
            }
        }
        let stop = stop();
        if let Some(seconds) = seconds {
            let over = stop.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                over.cancel();
            });
        }
        let config = FleetConfig {
            credentials: Arc::new(credentials),
            prefix: broker.prefix.clone(),
            voice: broker.voice()?,
            offline,
            mute,
            broken,
            seed,
            notices: Some(notices::faults()),
            ..FleetConfig::at(broker.far(None)?, Arc::new(SystemClock))
        };
        let count = speakers.len();
        let stats = fleet::run(config, speakers, stop).await;
        output::json(&json!({ "speakers": count, "accepted": stats.accepted, "duplicates": stats.duplicates, "rejected": stats.rejected,
            "played": stats.played, "failed": stats.failed, "stopped": stats.stopped, "simulated": true }))
    }
}
