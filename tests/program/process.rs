//! Owns child processes and waiting: what a peer prints, that it ends with its test, and conditions with a deadline.
//! Refuses to know which program it runs.

use std::{
    io::{BufRead as _, BufReader, Read},
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// How often a condition is looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Lines of a child that are shown when something fails.
const LINES_SHOWN: usize = 40;

/// Where ports are looked for.
const PORTS_FROM: u32 = 10_000;
const PORTS: u32 = 22_000;
/// Test processes that run side by side begin this far apart.
const PORTS_OF_ONE: u32 = 37;

/// A child whose output is kept; killed when dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Process {
    pub(crate) fn start(name: &str, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let lines = Arc::default();
        keep(child.stdout.take().expect("piped"), &lines);
        keep(child.stderr.take().expect("piped"), &lines);
        Self { name: name.to_owned(), child, lines }
    }

    /// Every line that it has printed so far, on either stream.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no reader panics").clone()
    }

    /// Its last words, for a failing test.
    pub(crate) fn tail(&self) -> String {
        let lines = self.lines();
        let from = lines.len().saturating_sub(LINES_SHOWN);
        format!("--- last lines of {}\n{}", self.name, lines[from..].join("\n"))
    }

    pub(crate) fn exited(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().expect("one's own child can be asked").map(|status| status.code())
    }

    #[allow(dead_code, reason = "only the tests of faults look into /proc")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(done.success(), "{} takes no {signal}", self.name);
    }

    /// The exit code, `None` when a signal ended it.
    pub(crate) async fn wait(&mut self, within: Duration) -> Option<i32> {
        let mut code = None;
        let done = tokio::time::timeout(within, async {
            loop {
                if let Some(found) = self.exited() {
                    code = found;
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        assert!(done.await.is_ok(), "{} did not end within {within:?}\n{}", self.name, self.tail());
        code
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
        // It may have ended by itself; then there is nothing to kill.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

fn keep(stream: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            lines.lock().expect("no reader panics").push(String::from_utf8_lossy(&line).into_owned());
        }
    });
}

/// Waits until `look` is true; `what` is what the test says when it never is.
pub(crate) async fn until<F>(what: &str, within: Duration, mut look: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let waiting = async {
        while !look().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    assert!(tokio::time::timeout(within, waiting).await.is_ok(), "not within {within:?}: {what}");
}

/// A port that nobody has, below those that the system hands out to connections: between this look and the bind of the
/// program that gets it, no connection of a test beside can take it.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id().wrapping_mul(PORTS_OF_ONE);
    loop {
        let place = own.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let port = u16::try_from(PORTS_FROM + place).expect("below 32768");
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}
