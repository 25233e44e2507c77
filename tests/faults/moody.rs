//! Owns a far end at the wire that does what it is told to, byte by byte: refuses, fails, says nonsense, breaks off, resets, is late or
//! never answers; some of it once for each delivery, some of it until it is told otherwise.
//! Refuses to know what the gateway should make of it.
//! Invariant: what it has read whole is written down before a byte of an answer leaves.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// How long the accounts of these tests wait for an answer, and an answer that is later.
pub(crate) const TIMEOUT: &str = "timeout = \"1s\"\n";
const LATE: Duration = Duration::from_millis(1_500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Takes,
    /// With this status, and so many seconds of `Retry-After`.
    Refuses(u16, Option<u32>),
    /// 200 and a page that no table explains.
    Garbage,
    /// What is no HTTP at all.
    Noise,
    /// The head of an answer and a piece of its body.
    Half,
    Resets,
    Late,
    Never,
}

#[derive(Default)]
struct Memory {
    requests: usize,
    /// How often each delivery was read whole and not refused.
    taken: HashMap<String, u32>,
    seen: HashMap<String, u32>,
    /// Numbers that end so are refused, whatever the mood.
    dead: Option<char>,
}

#[derive(Clone)]
struct Shared {
    memory: Arc<Mutex<Memory>>,
    /// What it does, and whether only to the first request for each delivery.
    mood: watch::Receiver<(Mood, bool)>,
}

pub(crate) struct Moody {
    pub(crate) url: String,
    mood: watch::Sender<(Mood, bool)>,
    memory: Arc<Mutex<Memory>>,
    server: tokio::task::JoinHandle<()>,
}

impl Moody {
    pub(crate) async fn start() -> Self {
        let (mood, moods) = watch::channel((Mood::Takes, false));
        let memory: Arc<Mutex<Memory>> = Arc::default();
        let shared = Shared { memory: Arc::clone(&memory), mood: moods };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/send", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, shared.clone()));
            }
        });
        Self { url, mood, memory, server }
    }

    /// From now on.
    pub(crate) fn is(&self, mood: Mood) {
        self.mood.send_replace((mood, false));
    }

    /// To the first request for each delivery; the second is taken.
    pub(crate) fn is_at_first(&self, mood: Mood) {
        self.mood.send_replace((mood, true));
    }

    pub(crate) fn refuses_numbers_that_end_in(&self, digit: char) {
        self.memory().dead = Some(digit);
    }

    pub(crate) fn requests(&self) -> usize {
        self.memory().requests
    }

    /// How often each delivery was taken.
    pub(crate) fn taken(&self) -> HashMap<String, u32> {
        self.memory().taken.clone()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }
}

impl Drop for Moody {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// One request of one connection; who does not get through with it has hung up.
async fn answer(mut stream: TcpStream, mut shared: Shared) -> Option<()> {
    let body = request(&mut stream).await?;
    let id = body["id"].as_str().unwrap().to_owned();
    let mood = {
        let mut memory = shared.memory.lock().unwrap();
        let (mood, only_at_first) = *shared.mood.borrow_and_update();
        memory.requests += 1;
        let seen = memory.seen.entry(id.clone()).or_default();
        *seen += 1;
        let mood = if only_at_first && *seen > 1 { Mood::Takes } else { mood };
        let is_dead = memory.dead.is_some_and(|digit| body["to"].as_str().is_some_and(|to| to.ends_with(digit)));
        let mood = if is_dead { Mood::Refuses(200, None) } else { mood };
        if !matches!(mood, Mood::Refuses(..)) {
            *memory.taken.entry(id).or_default() += 1;
        }
        mood
    };
    match mood {
        Mood::Takes => say(&mut stream, 200, "", "{\"code\": \"OK\"}").await,
        Mood::Refuses(status, retry_after) => {
            let head = retry_after.map(|seconds| format!("retry-after: {seconds}\r\n")).unwrap_or_default();
            say(&mut stream, status, &head, "{\"code\": \"NO\"}").await
        }
        Mood::Garbage => say(&mut stream, 200, "", "<html>one moment please").await,
        Mood::Noise => stream.write_all(b"\x00\xffSMSC ready\r\n\r\n").await.ok(),
        Mood::Half => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"co").await.ok(),
        Mood::Resets => stream.set_zero_linger().ok(),
        Mood::Late => {
            tokio::time::sleep(LATE).await;
            say(&mut stream, 200, "", "{\"code\": \"OK\"}").await
        }
        // Until it is told otherwise, and then hangs up.
        Mood::Never => shared.mood.changed().await.ok(),
    }
}

async fn say(stream: &mut TcpStream, status: u16, head: &str, body: &str) -> Option<()> {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} As Told\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n{head}\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.ok()
}

/// The body of a request, read whole.
async fn request(stream: &mut TcpStream) -> Option<Value> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length: usize = head.split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
        if let Some(body) = bytes.get(end + 4..end + 4 + length) {
            return serde_json::from_slice(body).ok();
        }
    }
}
