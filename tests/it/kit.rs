//! A gateway in process, on a small county, with accounts that rehearse; tests talk to it over its own socket.

use std::{fs, path::Path, time::Duration};

use lastmile::{
    access::{NewKey, Role},
    app::{self, App},
    config::Layers,
    registry::{Mode, Registry, fixture},
    time::{Clock as _, SystemClock},
};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Running {
    pub(crate) app: App,
    _home: TempDir,
    client: reqwest::Client,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Rules of a problem document, sorted.
    pub(crate) fn rules(&self) -> Vec<String> {
        assert_eq!(self.kind, "application/problem+json", "{}", self.text);
        let problems = self.json()["problems"].as_array().cloned().unwrap_or_default();
        let mut rules: Vec<String> = problems.iter().filter_map(|problem| problem["rule"].as_str().map(str::to_owned)).collect();
        rules.sort();
        rules
    }
}

impl Running {
    /// With the source's rule on approval.
    pub(crate) async fn start(approval: &str) -> Self {
        crate::tls_provider();
        let home = tempfile::tempdir().expect("a temporary directory");
        let registry = Registry::open(&home.path().join("data/registry")).expect("registry").registry;
        registry.import_records(&fixture::beichuan(300, 7), Mode::Upsert).expect("a county");
        drop(registry);
        fs::write(home.path().join("policy.toml"), POLICY).expect("policy");
        fs::write(home.path().join("lastmile.toml"), configuration(home.path(), approval)).expect("configuration");
        let layers = Layers::read(Some(&home.path().join("lastmile.toml")), std::iter::empty());
        let config = layers.and_then(|layers| app::check(&layers)).unwrap_or_else(|faults| panic!("{}", app::fault_lines(&faults)));
        let app = App::start(config, 7).await.expect("the gateway starts");
        let client = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build().expect("client");
        Self { app, _home: home, client }
    }

    pub(crate) fn key(&self, name: &str, role: Role, source: Option<&str>) -> String {
        let new = NewKey { name: name.into(), role, source: source.map(str::to_owned), areas: Vec::new(), good_for: None, owner: None };
        self.app.access.new_key(new).expect("a key").expose_secret().to_owned()
    }

    pub(crate) async fn get(&self, path: &str, key: &str) -> Answer {
        self.ask(self.client.get(self.url(path)), key).await
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.ask(self.client.post(self.url(path)).header("content-type", "application/json").body(body), key).await
    }

    pub(crate) async fn form(&self, path: &str, body: &str) -> Answer {
        let request = self.client.post(self.url(path)).header("content-type", "application/x-www-form-urlencoded");
        self.ask(request.body(body.to_owned()), "").await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.app.address)
    }

    async fn ask(&self, request: reqwest::RequestBuilder, key: &str) -> Answer {
        let request = if key.is_empty() { request } else { request.bearer_auth(key) };
        let answer = request.send().await.expect("an answer");
        let kind = answer.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        Answer { status: answer.status().as_u16(), kind, text: answer.text().await.expect("a body") }
    }

    /// Waits for something to become so.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&App) -> bool) {
        let waiting = async {
            while !is_so(&self.app) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("gave up waiting for {what}"));
    }
}

/// The red rainstorm for one township, sent now.
pub(crate) fn rainstorm(identifier: &str) -> Value {
    let mut alert: Value = serde_json::from_str(include_str!("../../fixtures/alerts/rainstorm-red.json")).expect("fixture");
    let now = SystemClock.now().whole_seconds();
    alert["identifier"] = identifier.into();
    alert["sent"] = json!(now);
    alert["effective"] = json!(now);
    alert["expires"] = json!(now.plus(Duration::from_secs(3_600)));
    alert["areas"] = json!([{ "name": "擂鼓镇", "codes": ["510726101"] }]);
    alert
}

fn configuration(home: &Path, approval: &str) -> String {
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
data_dir = "{}"
[[source]]
name = "met"
senders = ["51072641600000"]
events = ["11B*"]
levels = ["red", "orange"]
areas = ["510726"]
approval = "{approval}"
[policy]
file = "policy.toml"
[channel.telephones]
kind = "sms"
provider = "sandbox"
seed = 7
deliver = 1.0
fail = 0.0
throttle = 0.0
break = 0.0
latency = "1ms"
receipt_after = "1ms"
"#,
        home.join("data").display()
    )
}

const POLICY: &str = r#"
[[rule]]
events = ["*"]
channels = ["sms"]
answer = { roles = ["village_leader"], within = "1h", then = ["backup"] }
"#;
