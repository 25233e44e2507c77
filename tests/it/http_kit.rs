//! Owns a whole gateway in this process for tests of its interface: real configuration, store, sandbox accounts and listener on loopback.
//! Refuses to reach inside: tests speak HTTP. Invariant: each gateway has its own directory and port, and waits have a deadline.

use std::{fs, path::Path, sync::Arc, time::Duration};

use lastmile::{
    access::{NewKey, Role},
    app::{self, App},
    config::Layers,
    registry::{Mode, Registry, fixture},
    time::{Clock as _, SystemClock},
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

pub(crate) const HOUSEHOLDS: u32 = 60;
pub(crate) const COUNTY: &str = "510726";
/// Two townships of the county.
pub(crate) const LEIGU: &str = "510726101";
pub(crate) const QUSHAN: &str = "510726100";
pub(crate) const PASSWORD: &str = "a long enough one";
const SENDER: &str = "51072641600000";
/// A condition that is not met by then never will be.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

const CONFIGURATION: &str = r#"
[server]
listen = "127.0.0.1:0"
public_url = "http://127.0.0.1:8080"
data_dir = "{data}"
shutdown_grace = "5s"
body_max = 65536

[county]
code = "510726"
name = "北川羌族自治县"

[[source]]
name = "met"
senders = ["51072641600000"]
events = ["11B*"]
levels = ["blue", "yellow", "orange", "red"]
areas = ["510726"]
approval = "{approval}"
{more}

[[source]]
name = "land"
senders = ["51072641700000"]
events = ["11D*"]
levels = ["orange", "red"]
areas = ["510726"]
approval = "none"

{line}[policy]
file = "policy.toml"
"#;

/// The far end of short messages, unless a test brings its own.
const LINE: &str = r#"
[channel.line]
kind = "sms"
provider = "sandbox"
deliver = 1.0
fail = 0.0
throttle = 0.0
break = 0.0
latency = "1ms"
receipt_after = "5ms"
"#;

const POLICY: &str = r#"
[[rule]]
events = ["*"]
levels = ["blue", "yellow", "orange", "red"]
roles = ["*"]
channels = ["sms"]
answer = { roles = ["village_leader"], within = "5m", then = ["backup"] }
"#;

pub(crate) struct Site {
    pub(crate) app: App,
    pub(crate) home: tempfile::TempDir,
    client: Client,
}

/// Whose key a request carries.
pub(crate) struct Holder(pub(crate) SecretString);

impl Site {
    pub(crate) async fn start() -> Self {
        Self::with_approval("none").await
    }

    pub(crate) async fn with_approval(approval: &str) -> Self {
        Self::of_source(approval, "", &[]).await
    }

    /// With further keys of the weather office's source, and files beside the configuration.
    pub(crate) async fn of_source(approval: &str, more: &str, files: &[(&str, &str)]) -> Self {
        Self::configured(new_home(), approval, more, "", files).await
    }

    /// In a directory in which a gateway may have run before, with further tables behind the usual configuration; paths start from there.
    pub(crate) async fn at(home: tempfile::TempDir, approval: &str, tables: &str) -> Self {
        Self::configured(home, approval, "", tables, &[]).await
    }

    pub(crate) async fn configured(home: tempfile::TempDir, approval: &str, more: &str, tables: &str, files: &[(&str, &str)]) -> Self {
        let data = home.path().join("data");
        let text = CONFIGURATION.replace("{data}", &data.display().to_string()).replace("{approval}", approval).replace("{more}", more);
        let text = text.replace("{line}", if tables.contains("[channel.") { "" } else { LINE });
        fs::write(home.path().join("lastmile.toml"), text + tables).expect("configuration");
        fs::write(home.path().join("policy.toml"), POLICY).expect("policy");
        for (name, text) in files {
            fs::write(home.path().join(name), text).expect("a file");
        }
        Self::begun(home, a_client()).await
    }

    /// A gateway whose configuration differs in these words.
    pub(crate) async fn changed(changes: &[(&str, &str)]) -> Self {
        let home = new_home();
        let mut text = CONFIGURATION.replace("{more}", "").replace("{line}", LINE);
        for (old, new) in changes {
            assert!(text.contains(old), "the configuration has no {old}");
            text = text.replace(old, new);
        }
        let text = text.replace("{data}", &home.path().join("data").display().to_string()).replace("{approval}", "none");
        fs::write(home.path().join("lastmile.toml"), text).expect("configuration");
        fs::write(home.path().join("policy.toml"), POLICY).expect("policy");
        Self::begun(home, a_client()).await
    }

    async fn begun(home: tempfile::TempDir, client: Client) -> Self {
        let layers = Layers::read(Some(&home.path().join("lastmile.toml")), std::iter::empty());
        let config = layers.and_then(|layers| app::check(&layers)).unwrap_or_else(|faults| panic!("{}", app::fault_lines(&faults)));
        let app = App::start(config, 1).await.expect("a gateway");
        Self { app, home, client }
    }

    pub(crate) fn key(&self, name: &str, role: Role, source: Option<&str>, areas: &[&str]) -> Holder {
        let areas = areas.iter().map(|area| area.parse().expect("a code")).collect();
        let new = NewKey { name: name.to_owned(), role, source: source.map(str::to_owned), areas, good_for: None, owner: None };
        Holder(self.app.access.new_key(new).expect("a key"))
    }

    pub(crate) fn owned_key(&self, name: &str, role: Role, source: Option<&str>, owner: &str) -> Holder {
        let (name, source, owner) = (name.to_owned(), source.map(str::to_owned), Some(owner.to_owned()));
        Holder(self.app.access.new_key(NewKey { name, role, source, areas: Vec::new(), good_for: None, owner }).expect("a key"))
    }

    pub(crate) fn bureau(&self) -> Holder {
        self.key("met-bureau", Role::Bureau, Some("met"), &[])
    }

    pub(crate) fn role(&self, role: Role) -> Holder {
        self.key(role.name(), role, None, &[])
    }

    /// A key of a role under a name of its own, made anew where it is there already.
    pub(crate) fn role_of(&self, name: &str, role: Role) -> Holder {
        drop(self.app.access.revoke_key(name));
        self.key(name, role, None, &[])
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.app.address)
    }

    pub(crate) fn plain(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    pub(crate) fn call(&self, method: Method, path: &str, who: &Holder) -> RequestBuilder {
        self.plain(method, path).bearer_auth(who.0.expose_secret())
    }

    pub(crate) async fn get(&self, path: &str, who: &Holder) -> Value {
        let answer = self.call(Method::GET, path, who).send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert_eq!(status, StatusCode::OK, "GET {path}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("GET {path}: {error}: {text}"))
    }

    pub(crate) async fn status(&self, method: Method, path: &str, who: &Holder) -> StatusCode {
        self.call(method, path, who).send().await.expect("an answer").status()
    }

    pub(crate) async fn post(&self, alert: &Value, who: &Holder) -> Response {
        self.call(Method::POST, "/v1/alerts", who).json(alert).send().await.expect("an answer")
    }

    /// Posts an alert that must be taken; its id.
    pub(crate) async fn accepted(&self, alert: &Value, who: &Holder) -> String {
        let answer = self.post(alert, who).await;
        let status = answer.status();
        let body: Value = answer.json().await.expect("json");
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        body["id"].as_str().expect("an id").to_owned()
    }

    /// Waits until the alert is in this state; what it then looks like.
    pub(crate) async fn wait_for_state(&self, id: &str, state: &str, who: &Holder) -> Value {
        self.wait_for(id, who, |view| view["state"] == state).await
    }

    /// Waits until every delivery has come as far as it will.
    pub(crate) async fn wait_until_told(&self, id: &str, who: &Holder) -> Value {
        self.wait_for(id, who, |view| view["timeline"]["planned"].is_string() && view["people"]["pending"] == 0).await
    }

    async fn wait_for(&self, id: &str, who: &Holder, met: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let view = self.get(&format!("/v1/alerts/{id}"), who).await;
            if met(&view) {
                return view;
            }
            assert!(tokio::time::Instant::now() < deadline, "waited in vain: {view}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) async fn until(&self, what: &str, met: impl AsyncFn() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !met().await {
            assert!(tokio::time::Instant::now() < deadline, "waited in vain: {what}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends it and starts it again on what it has kept.
    pub(crate) async fn restarted(self) -> Self {
        self.app.stop().await.expect("a clean end");
        Self::begun(self.home, self.client).await
    }

    pub(crate) async fn stop(self) {
        self.into_home().await;
    }

    /// Stops; what is left on disk.
    pub(crate) async fn into_home(self) -> tempfile::TempDir {
        self.app.stop().await.expect("a clean end");
        self.home
    }
}

/// A directory with a county's registry.
pub(crate) fn new_home() -> tempfile::TempDir {
    let home = tempfile::tempdir().expect("a directory");
    make_county(&home.path().join("data/registry"));
    home
}

fn make_county(dir: &Path) {
    let store = Registry::open(dir).expect("a registry").registry;
    store.import_records(&fixture::beichuan(HOUSEHOLDS, 7), Mode::Upsert).expect("the county");
}

fn a_client() -> Client {
    crate::tls_provider();
    Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE).build().expect("a client")
}

/// An alert of the county's weather office, sent now.
pub(crate) fn rainstorm(number: u32, areas: &[&str]) -> Value {
    let now = Arc::new(SystemClock).now().whole_seconds();
    json!({
        "identifier": format!("{SENDER}_{number:014}"), "sender": SENDER, "senderName": "北川羌族自治县气象台",
        "sent": now.to_seconds_string(), "status": "Actual", "msgType": "Alert", "references": [],
        "event": "11B03", "level": "red", "urgency": "Immediate", "certainty": "Likely",
        "effective": now.to_seconds_string(), "onset": null, "expires": now.plus(Duration::from_secs(3_600)).to_seconds_string(),
        "headline": "北川羌族自治县气象台发布暴雨红色预警", "description": "过去3小时累积雨量已达100毫米以上。",
        "instruction": "按明白卡路线转移到避险地点。", "language": "zh-CN",
        "areas": [{ "name": "北川", "codes": areas }], "texts": {}
    })
}

pub(crate) async fn problem(answer: Response) -> Value {
    let kind = answer.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let status = answer.status();
    let text = answer.text().await.expect("a body");
    assert_eq!(kind, "application/problem+json", "{status}: {text}");
    let problem: Value = serde_json::from_str(&text).expect("json");
    assert_eq!(problem["status"], status.as_u16());
    assert!(problem["problems"].is_array() && problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
    problem
}
