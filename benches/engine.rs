//! Figures of the whole engine, each with its reference in the same run where the reference is our own code:
//! plan, coverage, restart and memory at one size, short messages over HTTP at another.
//! `cargo bench --bench engine -- --households 1000000 --messages 100000`

#![expect(clippy::print_stdout, reason = "a bench tells its figures")]

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use lastmile::{
    alert::AlertId,
    app::{self, App},
    config::Layers,
    engine::intake::Actor,
    registry::{Mode, Registry, fixture},
    time::{Clock as _, SystemClock},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::Instant,
};

const FIXTURE: &str = include_str!("../fixtures/alerts/rainstorm-red.json");
const CONCURRENCY: usize = 64;
const PATIENCE: Duration = Duration::from_secs(300);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u32| {
        let place = arguments.iter().position(|word| word == name);
        place.and_then(|place| arguments.get(place + 1)).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (households, messages) = (number("--households", 1_000_000), number("--messages", 100_000));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        if rustls::crypto::ring::default_provider().install_default().is_err() {
            anyhow::bail!("a TLS provider was installed before");
        }
        at_rest(households).await?;
        over_http(messages).await
    })
}

/// Plan, coverage, restart and memory with everything planned and (almost) nothing sent.
async fn at_rest(households: u32) -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let sink = Sink::start().await?;
    write_county(home.path(), households)?;
    // One message a second: what is planned stays open.
    let app = App::start(configuration(home.path(), sink.address, "per_second = 1\nburst = 1\n")?, 1).await?;
    let before = resident_kb();
    let begun = Instant::now();
    let id = post(&app).await?;
    let accepted = begun.elapsed();
    let shelf = app.gateway.ledger().find(id).ok_or_else(|| anyhow::anyhow!("no alert"))?;
    until("the plan", || shelf.read().timeline.planned.is_some()).await?;
    let planned = begun.elapsed();
    let deliveries = shelf.read().slots.len();
    let after = resident_kb();
    let kb = after.saturating_sub(before);
    println!("accepted (durable, matched)            {:>12.1} ms", ms(accepted));
    println!("plan + durable, {deliveries} deliveries   {:>12.1} ms", ms(planned));
    println!("memory of an open delivery             {:>12.1} bytes", kb as f64 * 1024.0 / deliveries.max(1) as f64);
    let mut times: Vec<Duration> = Vec::with_capacity(1_000);
    for _ in 0..1_000 {
        let begun = Instant::now();
        std::hint::black_box(app.gateway.coverage(&shelf, None, None));
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    println!("coverage of the county by township     {:>12.3} ms p50, {:.3} ms p99", ms(times[500]), ms(times[990]));
    drop(shelf);
    app.stop().await?;
    let begun = Instant::now();
    let app = App::start(configuration(home.path(), sink.address, "per_second = 1\nburst = 1\n")?, 1).await?;
    println!("start with {deliveries} open deliveries   {:>12.1} ms", ms(begun.elapsed()));
    app.stop().await
}

/// One request a message to a sink on the same cores, ledger durable; beside a bare client doing nothing else.
async fn over_http(messages: u32) -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let sink = Sink::start().await?;
    write_county(home.path(), messages)?;
    let app = App::start(configuration(home.path(), sink.address, "")?, 1).await?;
    let begun = Instant::now();
    let id = post(&app).await?;
    let shelf = app.gateway.ledger().find(id).ok_or_else(|| anyhow::anyhow!("no alert"))?;
    until("all messages", || {
        let book = shelf.read();
        book.timeline.planned.is_some() && book.open == 0
    })
    .await?;
    let took = begun.elapsed();
    let sent = sink.taken.swap(0, Ordering::Relaxed);
    let ours = sent as f64 / took.as_secs_f64();
    drop(shelf);
    app.stop().await?;
    let bare = bare_loop(sink.address, sent).await?;
    println!("short messages over HTTP, durable      {ours:>12.0} /s ({sent} messages)");
    println!("bare client loop, same sink            {bare:>12.0} /s");
    println!("ratio                                  {:>12.2}", ours / bare);
    Ok(())
}

async fn bare_loop(sink: SocketAddr, messages: u64) -> anyhow::Result<f64> {
    let client = reqwest::Client::builder().pool_max_idle_per_host(CONCURRENCY).tcp_nodelay(true).build()?;
    let begun = Instant::now();
    let body = json!({ "to": "15400000000", "text": "暴雨红色预警", "id": "0000000000000" }).to_string();
    let sends = futures::stream::iter(0..messages).map(|_| client.post(format!("http://{sink}/send")).body(body.clone()).send());
    let failed = sends.buffer_unordered(CONCURRENCY).filter(|sent| futures::future::ready(sent.is_err())).count().await;
    anyhow::ensure!(failed == 0, "{failed} bare requests failed");
    Ok(messages as f64 / begun.elapsed().as_secs_f64())
}

fn write_county(home: &Path, households: u32) -> anyhow::Result<()> {
    let registry = Registry::open(&home.join("data/registry"))?.registry;
    registry.import_records(&fixture::beichuan(households, 1), Mode::Upsert)?;
    Ok(())
}

fn configuration(home: &Path, sink: SocketAddr, pace: &str) -> anyhow::Result<app::Configuration> {
    let data = home.join("data");
    let text = format!(
        r#"
[server]
listen = "127.0.0.1:0"
data_dir = "{}"
shutdown_grace = "5s"
[[source]]
name = "met"
senders = ["51072641600000"]
areas = ["510726"]
[policy]
file = "policy.toml"
[channel.gateway]
kind = "sms"
provider = "http"
url = "http://{sink}/send"
concurrency = {CONCURRENCY}
body = '{{"to":{{{{ to|tojson }}}},"text":{{{{ text|tojson }}}},"id":{{{{ id|tojson }}}}}}'
{pace}"#,
        data.display()
    );
    fs::write(home.join("lastmile.toml"), text)?;
    fs::write(home.join("policy.toml"), "[[rule]]\nevents = [\"*\"]\nchannels = [\"sms\"]\n")?;
    let layers = Layers::read(Some(&home.join("lastmile.toml")), std::iter::empty());
    layers.and_then(|layers| app::check(&layers)).map_err(|faults| anyhow::anyhow!(app::fault_lines(&faults)))
}

async fn post(app: &App) -> anyhow::Result<AlertId> {
    let mut alert: Value = serde_json::from_str(FIXTURE)?;
    let now = SystemClock.now().whole_seconds();
    alert["sent"] = json!(now);
    alert["effective"] = json!(now);
    alert["expires"] = json!(now.plus(Duration::from_secs(3_600)));
    let by = Actor { name: "met".into(), source: Some("met".into()) };
    Ok(app.gateway.submit(alert.to_string().as_bytes(), None, &by).await?.id)
}

async fn until(what: &str, is_so: impl Fn() -> bool) -> anyhow::Result<()> {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| anyhow::anyhow!("gave up waiting for {what}"))
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}

fn resident_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Answers every request with 200, and counts.
struct Sink {
    address: SocketAddr,
    taken: Arc<AtomicU64>,
}

impl Sink {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let taken = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&taken);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&counted)));
            }
        });
        Ok(Self { address, taken })
    }
}

async fn answer(mut stream: TcpStream, taken: Arc<AtomicU64>) {
    let mut kept: Vec<u8> = Vec::with_capacity(4_096);
    let mut piece = [0_u8; 4_096];
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        kept.extend_from_slice(&piece[..read]);
        while let Some(whole) = request_bytes(&kept) {
            kept.drain(..whole);
            taken.fetch_add(1, Ordering::Relaxed);
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK").await.is_err() {
                return;
            }
        }
    }
}

/// Length of the first request, once all of it is there.
fn request_bytes(kept: &[u8]) -> Option<usize> {
    let head = kept.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&kept[..head]).to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).and_then(|value| value.trim().parse::<usize>().ok());
    let whole = head + length.unwrap_or(0);
    (kept.len() >= whole).then_some(whole)
}
