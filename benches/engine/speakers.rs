//! Scene: a warning to 2,000 loudspeakers on mosquitto, until the last has it; beside a bare client that publishes to each of 2,000 subscribers.

use std::{
    fs,
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lastmile::{
    channel::speaker::{
        fleet::{self, FleetConfig},
        line::{BrokerAddress, Far},
    },
    registry::Registry,
    time::SystemClock,
};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, PublishOptions, QoS};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::house::{House, alert, ms, percentiles, submit, until};

const SPEAKERS: u32 = 2_000;
const ROUNDS: u32 = 10;
/// A loudspeaker says that it has taken a command, and that it begins; each of about this size.
const ANSWERS: usize = 2;
const ANSWER: &str = r#"{"msg_id":"01a21c3a-b8bd-7fab-953e-1ec2df74cb09","state":"accepted"}"#;

pub(crate) async fn run() -> anyhow::Result<()> {
    let broker = Mosquitto::start().await?;
    let unanswered = bare(&broker, 0).await?;
    let answered = bare(&broker, ANSWERS).await?;
    let ours = ours(&broker).await?;
    for (who, times) in [("a bare client", unanswered), ("one answered as we are", answered), ("the gateway", ours)] {
        let (p50, _, most) = percentiles(times)?;
        println!("{SPEAKERS} speakers, last one has it, by {who:<22} {:>8.1} ms p50, {:.1} ms at most", ms(p50), ms(most));
    }
    Ok(())
}

/// From the post (checks, journal and plan included) to the acknowledged taking of the command by the last speaker.
async fn ours(broker: &Mosquitto) -> anyhow::Result<Vec<Duration>> {
    let channel = format!("\n[channel.speakers]\nkind = \"speaker\"\nprovider = \"mqtt\"\nbroker = \"mqtt://127.0.0.1:{}\"\n", broker.port);
    let house = House::new(0, SPEAKERS, &channel, "channels = [\"speaker\"]")?;
    let speakers: Vec<_> = {
        let snapshot = Registry::open(&house.data().join("registry"))?.registry.current();
        (0..snapshot.speaker_count()).map(|at| snapshot.speaker_at(at)).map(|one| (one.id().to_owned(), one.area())).collect()
    };
    anyhow::ensure!(speakers.len() == SPEAKERS as usize, "{} speakers", speakers.len());
    let address: BrokerAddress = format!("mqtt://127.0.0.1:{}", broker.port).parse().map_err(|why| anyhow::anyhow!("{why}"))?;
    let far = Far::new(&address, None, None).map_err(|why| anyhow::anyhow!("{why}"))?;
    let config = FleetConfig {
        // As from a real one, its last word comes when it has said the text, seconds after the last has it.
        voice: lastmile::channel::speaker::Voice { ms_per_char: 5, ..Default::default() },
        ..FleetConfig::at(far, Arc::new(SystemClock))
    };
    let counts = Arc::clone(&config.counts);
    let stop = CancellationToken::new();
    let running = tokio::spawn(fleet::run(config, speakers, stop.clone()));
    until("the speakers to be connected", || counts.connected.load(Ordering::Relaxed) >= u64::from(SPEAKERS)).await?;
    let app = house.open().await?;
    let mut times = Vec::new();
    // A speaker counts as connected a moment before it has subscribed: the first round sees to that, and is not timed.
    for round in 1..=ROUNDS + 1 {
        let begun = Instant::now();
        submit(&app, &alert(round, "red", "")?).await?;
        until("the speakers", || counts.accepted.load(Ordering::Relaxed) >= u64::from(SPEAKERS * round)).await?;
        if round > 1 {
            times.push(begun.elapsed());
        }
        until("the playing", || counts.played.load(Ordering::Relaxed) >= u64::from(SPEAKERS * round)).await?;
    }
    app.stop().await?;
    stop.cancel();
    running.await?;
    Ok(times)
}

/// The library keeps a place for every message that may be unconfirmed: 65,535 of a client are megabytes.
fn options(name: &str, port: u16, unconfirmed: u16) -> MqttOptions {
    let mut options = MqttOptions::new(name, ("127.0.0.1", port));
    options.set_outgoing_inflight_upper_limit(unconfirmed);
    options.set_receive_maximum(Some(unconfirmed));
    options
}

/// One publish a speaker, as a client has it that knows no areas. Where subscribers answer, as loudspeakers do, the broker carries each
/// answer back while it still hands out.
async fn bare(broker: &Mosquitto, answers: usize) -> anyhow::Result<Vec<Duration>> {
    let (heard, ready) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for number in 0..SPEAKERS {
        let (client, mut events) = AsyncClient::builder(options(&format!("bare-{number}"), broker.port, 16)).capacity(4).build();
        client.subscribe(format!("bare/{number}"), QoS::AtLeastOnce).await?;
        let (heard, ready) = (Arc::clone(&heard), Arc::clone(&ready));
        tasks.spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Incoming::Publish(_))) => {
                        heard.fetch_add(1, Ordering::Relaxed);
                        for _ in 0..answers {
                            if client.publish("bare-answer", ANSWER, PublishOptions::at_least_once()).await.is_err() {
                                return;
                            }
                        }
                    }
                    Ok(Event::Incoming(Incoming::SubAck(_))) => drop(ready.fetch_add(1, Ordering::Relaxed)),
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        });
    }
    until("the subscribers", || ready.load(Ordering::Relaxed) >= u64::from(SPEAKERS)).await?;
    let (client, mut events) = AsyncClient::builder(options("bare-out", broker.port, 2_000)).capacity(SPEAKERS as usize).build();
    client.subscribe("bare-answer", QoS::AtLeastOnce).await?;
    tasks.spawn(async move { while events.poll().await.is_ok() {} });
    let command = vec![b'x'; 1_500];
    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        let begun = Instant::now();
        for number in 0..SPEAKERS {
            client.publish(format!("bare/{number}"), command.clone(), PublishOptions::at_least_once()).await?;
        }
        until("the subscribers", || heard.load(Ordering::Relaxed) >= u64::from(SPEAKERS * round)).await?;
        times.push(begun.elapsed());
    }
    tasks.shutdown().await;
    Ok(times)
}

struct Mosquitto {
    port: u16,
    process: Child,
    _dir: TempDir,
}

impl Mosquitto {
    async fn start() -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let dir = TempDir::new()?;
        let file = dir.path().join("mosquitto.conf");
        fs::write(&file, format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\n"))?;
        let process = Command::new("/usr/sbin/mosquitto").arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let broker = Self { port, process, _dir: dir };
        until("mosquitto", || TcpStream::connect(("127.0.0.1", port)).is_ok()).await?;
        Ok(broker)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait().map(drop)) {
            eprintln!("mosquitto could not be stopped: {error}");
        }
    }
}
