//! Owns the built program as its user has it: commands that end, and a gateway that serves.
//! Refuses to know what a test asks of it.

pub(crate) mod process;
pub(crate) mod site;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use reqwest::{Client, StatusCode};
use serde_json::Value;

use process::{Process, until};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lastmile");
/// A debug build on a busy machine, after a crash.
const READY: Duration = Duration::from_secs(60);

pub(crate) fn http() -> Client {
    // Another test may have set it; either way one stands.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap()
}

/// Runs a command to its end; what it printed on stdout. Panics with its stderr unless the exit code is `code`.
pub(crate) fn run<A: AsRef<OsStr>>(arguments: &[A], code: i32) -> String {
    let done = Command::new(PROGRAM).args(arguments).env("NO_COLOR", "1").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    let said: Vec<_> = arguments.iter().map(|word| word.as_ref().to_string_lossy()).collect();
    assert_eq!(done.status.code(), Some(code), "lastmile {}\n{out}{err}", said.join(" "));
    out.into_owned()
}

pub(crate) fn json<A: AsRef<OsStr>>(arguments: &[A], code: i32) -> Value {
    let out = run(arguments, code);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("stdout is not one JSON document ({error}): {out}"))
}

/// `lastmile key new`; the key itself, which is shown once.
pub(crate) fn new_key(config: &Path, name: &str, role: &str, source: Option<&str>) -> String {
    let mut arguments = vec!["key", "new", "--name", name, "--role", role, "--json"];
    arguments.extend(source.into_iter().flat_map(|source| ["--source", source]));
    arguments.extend(["--config", config.to_str().unwrap()]);
    let said = json(&arguments, 0);
    said["key"].as_str().unwrap_or_else(|| panic!("key new says no key: {said}")).to_owned()
}

/// A gateway that serves.
pub(crate) struct Gateway {
    pub(crate) url: String,
    process: Process,
    config: PathBuf,
    http: Client,
}

impl Gateway {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(config: &Path, port: u16) -> Self {
        let process = serve(config);
        let mut gateway = Self { url: format!("http://127.0.0.1:{port}"), process, config: config.to_owned(), http: http() };
        gateway.ready().await;
        gateway
    }

    /// After `kill`: the same store, a new process.
    pub(crate) async fn start_again(&mut self) {
        self.begin_again();
        self.ready().await;
    }

    /// As `start_again`, without waiting until it is ready.
    pub(crate) fn begin_again(&mut self) {
        self.process = serve(&self.config);
    }

    pub(crate) async fn ready(&mut self) {
        let (http, url) = (self.http.clone(), format!("{}/readyz", self.url));
        let process = std::cell::RefCell::new(&mut self.process);
        until("the gateway is ready", READY, async || {
            let ended = process.borrow_mut().exited();
            assert!(ended.is_none(), "the gateway ended with {ended:?}\n{}", process.borrow().tail());
            http.get(&url).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
        })
        .await;
    }

    pub(crate) async fn get(&self, key: &str, path: &str) -> Value {
        let (status, text) = self.text(key, path).await;
        assert_eq!(status, StatusCode::OK, "GET {path}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("GET {path} is not JSON ({error}): {text}"))
    }

    /// `None` while nobody answers.
    pub(crate) async fn try_get(&self, key: &str, path: &str) -> Option<Value> {
        let answer = self.http.get(format!("{}{path}", self.url)).bearer_auth(key).send().await.ok()?;
        answer.json().await.ok()
    }

    pub(crate) async fn text(&self, key: &str, path: &str) -> (StatusCode, String) {
        let answer = self.http.get(format!("{}{path}", self.url)).bearer_auth(key).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    pub(crate) async fn post(&self, key: &str, path: &str, kind: &str, body: String) -> (StatusCode, Value) {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(key).header("content-type", kind).body(body);
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) async fn put(&self, key: &str, path: &str, record: &Value) -> StatusCode {
        self.http.put(format!("{}{path}", self.url)).bearer_auth(key).json(record).send().await.unwrap().status()
    }

    pub(crate) async fn delete(&self, key: &str, path: &str) -> StatusCode {
        self.http.delete(format!("{}{path}", self.url)).bearer_auth(key).send().await.unwrap().status()
    }

    /// What it has logged since it was started.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.process.lines()
    }

    /// SIGTERM, as an init system ends it.
    pub(crate) async fn stop(&mut self, within: Duration) -> Option<i32> {
        self.process.signal("-TERM");
        self.process.wait(within).await
    }

    /// SIGKILL: nothing is tidied up.
    pub(crate) async fn kill(&mut self) {
        self.process.signal("-KILL");
        assert_eq!(self.process.wait(READY).await, None, "a killed process has no exit code");
    }
}

fn serve(config: &Path) -> Process {
    Process::start("lastmile serve", Command::new(PROGRAM).arg("serve").arg("--config").arg(config).env("NO_COLOR", "1"))
}

/// Every delivery of an alert, as duty sees it.
pub(crate) async fn rows(gateway: &Gateway, duty: &str, path: &str) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let mut page = gateway.get(duty, &format!("{path}/deliveries?limit=1000{cursor}")).await;
        rows.append(page["items"].as_array_mut().unwrap());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
    }
}

/// Reads everything that a stopped gateway has kept.
pub(crate) fn verify(data: &Path) {
    let verdict = json(&["store", "verify", "--data", data.to_str().unwrap(), "--json"], 0);
    assert_eq!(verdict["sound"], true, "{verdict:#}");
}
