//! Owns talking to a running gateway. Refuses to know what the answers mean.
//! Invariant: a problem of the gateway is shown with every fault it names; the key is never shown.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use reqwest::{Method, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::output::Failure;

/// A registry of a million rows takes seconds; nothing takes minutes.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Args, Clone)]
pub(super) struct Remote {
    /// Address of a running gateway.
    #[arg(long, env = "LASTMILE_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    #[command(flatten)]
    key: Credential,
}

/// An API key, from where no other user of the machine reads it.
#[derive(Args, Clone)]
pub(super) struct Credential {
    /// API key. Better in LASTMILE_KEY or --key-file: what stands on the command line is read by every user of the machine.
    #[arg(long, env = "LASTMILE_KEY", hide_env_values = true)]
    key: Option<SecretString>,
    /// File that holds the API key and nothing else.
    #[arg(long, conflicts_with = "key")]
    key_file: Option<PathBuf>,
}

impl Credential {
    fn read(&self) -> Result<Option<SecretString>, Failure> {
        let Some(file) = &self.key_file else { return Ok(self.key.clone()) };
        let text = std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
        Ok(Some(text.trim().into()))
    }
}

impl Remote {
    pub(super) const fn at(url: String, key: Credential) -> Self {
        Self { url, key }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json(self.request(Method::GET, path)?).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.json(self.request(Method::POST, path)?.json(body)).await
    }

    pub(super) async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, Failure> {
        let answer = request.send().await.map_err(|error| anyhow::anyhow!("{} cannot be reached: {}", self.url, error.without_url()))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let text = answer.text().await?;
        Err(anyhow::anyhow!(problem(status.as_u16(), &text)).into())
    }

    pub(super) async fn json(&self, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
        let text = self.send(request).await?.text().await?;
        Ok(serde_json::from_str(&text)?)
    }

    pub(super) fn request(&self, method: Method, path: &str) -> Result<reqwest::RequestBuilder, Failure> {
        let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let request = client.request(method, format!("{}{path}", self.url.trim_end_matches('/')));
        Ok(match self.key.read()? {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        })
    }
}

/// RFC 9457 as lines of text.
fn problem(status: u16, text: &str) -> String {
    let Ok(problem) = serde_json::from_str::<Value>(text) else { return format!("the gateway answered {status}") };
    let word = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut lines = format!("{} ({status}): {}", word("title"), word("detail"));
    for fault in problem.get("problems").and_then(Value::as_array).into_iter().flatten() {
        let part = |name: &str| fault.get(name).and_then(Value::as_str).unwrap_or_default();
        lines.push_str(&format!("\n  {}: {} [{}]", part("path"), part("message"), part("rule")));
    }
    lines
}
