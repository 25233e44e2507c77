//! Owns a message centre that speaks SMPP 3.4 as an operator's does: takes a bind and messages, brings replies of handsets.
//! Refuses to know Kannel and what the octets mean. Invariant: a reply counts as brought only once the client has answered for it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, tcp::OwnedReadHalf},
    sync::mpsc,
    task::JoinHandle,
};

use crate::program::process::until;

/// A bound client answers at once; this is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const BIND_TRANSMITTER: u32 = 2;
const BIND_TRANSCEIVER: u32 = 9;
const SUBMIT_SM: u32 = 4;
const DELIVER_SM: u32 = 5;
const UNBIND: u32 = 6;
const ENQUIRE_LINK: u32 = 0x15;
const ANSWER: u32 = 0x8000_0000;
/// No message of SMPP comes near it.
const LONGEST: usize = 65_536;

#[derive(Default)]
struct Seen {
    /// Numbers that messages were handed over for.
    taken: Vec<String>,
    /// Status with which the client answered a reply, by its sequence number.
    answered: HashMap<u32, u32>,
    /// The way to the client that is bound.
    line: Option<mpsc::Sender<Vec<u8>>>,
}

pub(crate) struct Centre {
    pub(crate) port: u16,
    seen: Arc<Mutex<Seen>>,
    next: AtomicU32,
    server: JoinHandle<()>,
}

impl Centre {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Seen>>::default());
        let server = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (mut from, mut to) = stream.into_split();
                    let (line, mut outbox) = mpsc::channel::<Vec<u8>>(64);
                    tokio::spawn(async move {
                        while let Some(unit) = outbox.recv().await {
                            if to.write_all(&unit).await.is_err() {
                                return;
                            }
                        }
                    });
                    let seen = Arc::clone(&seen);
                    tokio::spawn(async move { while serve(&mut from, &line, &seen).await.is_some() {} });
                }
            }
        });
        Self { port, seen, next: AtomicU32::new(1), server }
    }

    pub(crate) fn is_bound(&self) -> bool {
        self.seen.lock().unwrap().line.is_some()
    }

    pub(crate) fn has_taken_for(&self, number: &str) -> bool {
        self.seen.lock().unwrap().taken.iter().any(|taken| taken.ends_with(number))
    }

    /// A handset's message, in the coding of its telephone: 8 is UCS-2, 0 the network's own letters.
    pub(crate) async fn reply(&self, from: &str, data_coding: u8, octets: &[u8]) {
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        let mut body = Vec::new();
        // No service; numbers are national ones of the telephone plan (E.164).
        body.extend([0, 2, 1]);
        body.extend(from.bytes().chain([0, 2, 1]).chain("10620000".bytes()).chain([0]));
        // Neither class, protocol, priority, times, receipt nor replacement.
        body.extend([0; 7]);
        body.extend([data_coding, 0, u8::try_from(octets.len()).expect("one part of a message")]);
        body.extend(octets);
        let line = self.seen.lock().unwrap().line.clone().expect("a client is bound");
        line.send(unit(DELIVER_SM, 0, sequence, &body)).await.unwrap();
        let status = || self.seen.lock().unwrap().answered.get(&sequence).copied();
        until("the client answers for a reply", PATIENCE, async || status().is_some()).await;
        assert_eq!(status(), Some(0), "the client refuses a reply of coding {data_coding}");
    }
}

impl Drop for Centre {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn unit(command: u32, status: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    [length, command, status, sequence].into_iter().flat_map(u32::to_be_bytes).chain(body.iter().copied()).collect()
}

/// One unit from the client; `None` once it is gone.
async fn serve(from: &mut OwnedReadHalf, line: &mpsc::Sender<Vec<u8>>, seen: &Mutex<Seen>) -> Option<()> {
    let mut head = [0; 16];
    from.read_exact(&mut head).await.ok()?;
    let [length, command, status, sequence] = std::array::from_fn(|at| u32::from_be_bytes(head[at * 4..][..4].try_into().unwrap()));
    let length = usize::try_from(length).unwrap();
    assert!((16..=LONGEST).contains(&length), "a client says {length} octets");
    let mut body = vec![0; length - 16];
    from.read_exact(&mut body).await.ok()?;
    let answer = match command {
        1 | BIND_TRANSMITTER | BIND_TRANSCEIVER => {
            // Messages may come by another bind than replies go.
            if command != BIND_TRANSMITTER {
                seen.lock().unwrap().line = Some(line.clone());
            }
            b"centre\0".to_vec()
        }
        SUBMIT_SM => {
            seen.lock().unwrap().taken.push(destination(&body));
            format!("{sequence:08x}\0").into_bytes()
        }
        UNBIND | ENQUIRE_LINK => Vec::new(),
        command if command == DELIVER_SM | ANSWER => {
            seen.lock().unwrap().answered.insert(sequence, status);
            return Some(());
        }
        command if command & ANSWER != 0 => return Some(()),
        other => panic!("the centre does not know command {other:#x}"),
    };
    line.send(unit(command | ANSWER, 0, sequence, &answer)).await.ok()
}

/// Of a message: service, then origin and destination, each of two octets and a text that ends with a zero.
fn destination(body: &[u8]) -> String {
    let mut rest = body;
    let mut text = |skip: usize| {
        rest = &rest[skip..];
        let end = rest.iter().position(|&octet| octet == 0).expect("a text ends");
        let text = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        text
    };
    let [_service, _origin, destination] = [0, 2, 2].map(&mut text);
    destination
}
