//! Owns the references: loops that do nothing but send.

use std::net::SocketAddr;

use futures::StreamExt as _;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::Instant,
};

use crate::sink::{CONCURRENCY, request_bytes};

/// Messages a second of a bare client, of the kind that the gateway has.
pub(crate) async fn messages(sink: SocketAddr, messages: u64) -> anyhow::Result<f64> {
    let client = reqwest::Client::builder().pool_max_idle_per_host(CONCURRENCY).tcp_nodelay(true).build()?;
    let begun = Instant::now();
    let body = json!({ "to": "15400000000", "text": "暴雨红色预警", "id": "0000000000000" }).to_string();
    let sends = futures::stream::iter(0..messages).map(|_| client.post(format!("http://{sink}/send")).body(body.clone()).send());
    let failed = sends.buffer_unordered(CONCURRENCY).filter(|sent| futures::future::ready(sent.is_err())).count().await;
    anyhow::ensure!(failed == 0, "{failed} bare requests failed");
    Ok(messages as f64 / begun.elapsed().as_secs_f64())
}

/// Requests a second over `connections` kept open, each answered 200 before its next; the client does as little as can be.
pub(crate) async fn requests(to: SocketAddr, connections: usize, requests: Vec<Vec<u8>>) -> anyhow::Result<f64> {
    let count = requests.len();
    let share = count.div_ceil(connections).max(1);
    let begun = Instant::now();
    let mut running = JoinSet::new();
    let mut rest = requests.into_iter();
    for _ in 0..connections {
        let mine: Vec<Vec<u8>> = rest.by_ref().take(share).collect();
        running.spawn(one_connection(to, mine));
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

async fn one_connection(to: SocketAddr, requests: Vec<Vec<u8>>) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let mut kept = Vec::with_capacity(4_096);
    let mut piece = vec![0_u8; 4_096];
    for request in requests {
        stream.write_all(&request).await?;
        let whole = loop {
            if let Some(whole) = request_bytes(&kept) {
                break whole;
            }
            let read = stream.read(&mut piece).await?;
            anyhow::ensure!(read > 0, "the connection was closed");
            kept.extend_from_slice(&piece[..read]);
        };
        anyhow::ensure!(kept.starts_with(b"HTTP/1.1 20"), "refused: {}", String::from_utf8_lossy(&kept[..whole]));
        kept.drain(..whole);
    }
    Ok(())
}
