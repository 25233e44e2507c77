//! Owns the far end of short messages: answers every request at once, and remembers how many came and when.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::Instant,
};

pub(crate) const CONCURRENCY: usize = 64;
const ID_KEY: &[u8] = b"\"id\":\"";
/// Letters of a delivery's id.
const ID_CHARS: usize = 13;

#[derive(Clone)]
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    memory: Arc<Memory>,
}

struct Memory {
    begun: Instant,
    requests: AtomicU64,
    /// When each request came, in microseconds after `begun`; only where a scene asks for it.
    arrivals: Option<Mutex<Vec<u32>>>,
    /// When the first message of each alert came, by the beginning of its ids.
    first: Option<Mutex<HashMap<u64, Instant>>>,
}

impl Sink {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::remembering(false, false).await
    }

    /// Every arrival; the first of every alert.
    pub(crate) async fn remembering(arrivals: bool, first: bool) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let memory = Memory {
            begun: Instant::now(),
            requests: AtomicU64::new(0),
            arrivals: arrivals.then(Mutex::default),
            first: first.then(Mutex::default),
        };
        let sink = Self { address, memory: Arc::new(memory) };
        let far = sink.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(far.clone().answer(stream));
            }
        });
        Ok(sink)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.memory.requests.load(Ordering::Relaxed)
    }

    /// How long after `since` each request came.
    pub(crate) fn arrivals_since(&self, since: Instant) -> Vec<Duration> {
        let offset = since.saturating_duration_since(self.memory.begun);
        let all = self.memory.arrivals.as_ref().map(locked);
        all.map_or_else(Vec::new, |all| all.iter().map(|&us| Duration::from_micros(us.into()).saturating_sub(offset)).collect())
    }

    /// When the first message of an alert came.
    pub(crate) fn first_of(&self, alert: u64) -> Option<Instant> {
        self.memory.first.as_ref().and_then(|first| locked(first).get(&alert).copied())
    }

    async fn answer(self, mut stream: TcpStream) {
        let mut kept: Vec<u8> = Vec::with_capacity(64 << 10);
        let mut piece = vec![0_u8; 64 << 10];
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            kept.extend_from_slice(&piece[..read]);
            while let Some(whole) = request_bytes(&kept) {
                self.take(&kept[..whole]);
                kept.drain(..whole);
                if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{\"id\":\"0123456789\"}").await.is_err() {
                    return;
                }
            }
        }
    }

    fn take(&self, request: &[u8]) {
        self.memory.requests.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        if let Some(arrivals) = &self.memory.arrivals {
            locked(arrivals).push(u32::try_from((now - self.memory.begun).as_micros()).unwrap_or(u32::MAX));
        }
        if let (Some(first), Some(id)) = (&self.memory.first, id_of(request)) {
            locked(first).entry(u64::from(id.alert.0)).or_insert(now);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn id_of(request: &[u8]) -> Option<lastmile::message::DeliveryId> {
    let at = request.windows(ID_KEY.len()).position(|window| window == ID_KEY)? + ID_KEY.len();
    std::str::from_utf8(request.get(at..at + ID_CHARS)?).ok()?.parse().ok()
}

/// Length of the first request, once all of it is there.
pub(crate) fn request_bytes(kept: &[u8]) -> Option<usize> {
    const LENGTH: &[u8] = b"content-length:";
    let head = kept.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let line = kept[..head].windows(LENGTH.len()).position(|window| window.eq_ignore_ascii_case(LENGTH));
    let digits = line.map_or(&[][..], |line| &kept[line + LENGTH.len()..head]);
    let digits = digits.iter().skip_while(|byte| **byte == b' ').take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0_usize, |length, digit| length * 10 + usize::from(digit - b'0'));
    (kept.len() >= head + length).then_some(head + length)
}

/// An account that hands over one message a request.
pub(crate) fn sms_account(sink: &Sink, pace: &str) -> String {
    format!(
        r#"
[channel.gateway]
kind = "sms"
provider = "http"
url = "http://{}/send"
concurrency = {CONCURRENCY}
body = '{{"to":{{{{ to|tojson }}}},"text":{{{{ text|tojson }}}},"id":{{{{ id|tojson }}}}}}'
{pace}"#,
        sink.address
    )
}
