//! Owns `lastmile alert`: of a running gateway; what is known of alerts also, with `--data`, of a stopped one.
//! Refuses to judge: `alert::validate` and the gateway do.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    output::{self, Failure, block_on},
    remote::Remote,
};
use crate::{
    alert::{AlertId, validate},
    app,
    delivery::book::State,
};

/// Alerts that one list of a stopped gateway shows: what a page of a running one may hold at most.
const LISTED_MAX: usize = 1_000;

#[derive(Subcommand)]
pub(super) enum Alert {
    /// Judge alert documents alone: neither gateway, key nor registry is needed.
    Validate {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[arg(long)]
        json: bool,
    },
    /// Post one alert document.
    Post {
        file: PathBuf,
        #[command(flatten)]
        remote: Remote,
        #[arg(long)]
        json: bool,
    },
    /// Who would be told, in which words; stores nothing.
    Preview {
        file: PathBuf,
        #[command(flatten)]
        remote: Remote,
    },
    /// Alerts, newest first.
    List {
        #[arg(long)]
        state: Option<String>,
        /// Data directory of a stopped gateway, instead of a running one.
        #[arg(long)]
        data: Option<PathBuf>,
        #[command(flatten)]
        remote: Remote,
        #[arg(long)]
        json: bool,
    },
    /// One alert with its state, timeline and progress.
    Show {
        id: String,
        /// Data directory of a stopped gateway, instead of a running one.
        #[arg(long)]
        data: Option<PathBuf>,
        #[command(flatten)]
        remote: Remote,
        #[arg(long)]
        json: bool,
    },
    /// Follow an alert until it is dealt with.
    Watch {
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Release an alert that waits for a second person.
    Approve {
        id: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Refuse an alert that waits for a second person.
    Reject {
        id: String,
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// End an alert: everyone who was told hears the all-clear.
    Cancel {
        id: String,
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        remote: Remote,
    },
}

impl Alert {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Validate { files, json } => judge(&files, json),
            Self::Post { file, remote, json } => block_on(async {
                let answer = remote.json(document(&remote, "/v1/alerts", &file)?).await?;
                if json { output::json(&answer) } else { output::line(&format!("{} {}", text(&answer, "id"), text(&answer, "state"))) }
            }),
            Self::Preview { file, remote } => {
                block_on(async { output::json(&remote.json(document(&remote, "/v1/alerts/preview", &file)?).await?) })
            }
            Self::List { state, data, remote, json } => {
                let list = match &data {
                    Some(data) => listed_of_stopped(data, state.as_deref())?,
                    None => {
                        let query = state.map_or_else(String::new, |state| format!("?state={state}"));
                        block_on(async { remote.get(&format!("/v1/alerts{query}")).await })?
                    }
                };
                if json { output::json(&list) } else { lines(&list) }
            }
            Self::Show { id, data, remote, json } => {
                let alert = match &data {
                    Some(data) => shown_of_stopped(data, &id)?,
                    None => block_on(async { remote.get(&format!("/v1/alerts/{id}")).await })?,
                };
                if json { output::json(&alert) } else { output::raw(&summary(&alert)) }
            }
            Self::Watch { id, remote } => block_on(watch(&id, &remote)),
            Self::Approve { id, remote } => decide(&id, "approve", &json!({}), &remote),
            Self::Reject { id, reason, remote } => decide(&id, "reject", &json!({ "reason": reason }), &remote),
            Self::Cancel { id, reason, remote } => decide(&id, "cancel", &json!({ "reason": reason }), &remote),
        }
    }
}

/// As `GET /v1/alerts` says it; `next` is whether there are more than one list shows.
fn listed_of_stopped(data: &Path, state: Option<&str>) -> Result<Value, Failure> {
    if let Some(word) = state.filter(|&word| State::ALL.iter().all(|known| known.name() != word)) {
        let known = State::ALL.map(State::name);
        return Err(Failure::usage(format!("{word:?} is no state of an alert; states are {}", known.join(", "))));
    }
    let gateway = app::open_stopped(data)?;
    let fitting = gateway.ledger().warnings().into_iter().filter(|shelf| state.is_none_or(|wanted| shelf.read().state.name() == wanted));
    let mut shelves: Vec<_> = fitting.take(LISTED_MAX + 1).collect();
    let next = shelves.get(LISTED_MAX).map(|shelf| (shelf.no.0 + 1).to_string());
    shelves.truncate(LISTED_MAX);
    let items = shelves.iter().map(|shelf| serde_json::to_value(gateway.view(shelf, false))).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({ "items": items, "next": next }))
}

fn shown_of_stopped(data: &Path, id: &str) -> Result<Value, Failure> {
    let known: AlertId = id.parse().map_err(|_| Failure::usage(format!("{id:?} is not an alert's id")))?;
    let gateway = app::open_stopped(data)?;
    let shelf = gateway.ledger().find(known).ok_or_else(|| anyhow::anyhow!("no such alert in {}", data.display()))?;
    Ok(serde_json::to_value(gateway.view(&shelf, true))?)
}

fn lines(list: &Value) -> Result<(), Failure> {
    for alert in list.get("items").and_then(Value::as_array).into_iter().flatten() {
        let words = ["id", "level", "state", "sent", "headline"].map(|name| text(alert, name));
        output::line(&words.join("  "))?;
    }
    Ok(())
}

fn judge(files: &[PathBuf], as_json: bool) -> Result<(), Failure> {
    let mut reports = Vec::with_capacity(files.len());
    for file in files {
        let body = fs::read(file).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
        reports.push(validate::report(&file.display().to_string(), &body));
    }
    if as_json {
        output::json(&reports)?;
    } else {
        for report in &reports {
            output::raw(&validate::text(report))?;
        }
    }
    let all_valid = reports.iter().all(|report| report.get("valid") == Some(&Value::Bool(true)));
    if all_valid { Ok(()) } else { Err(Failure::No) }
}

fn document(remote: &Remote, path: &str, file: &PathBuf) -> Result<reqwest::RequestBuilder, Failure> {
    let body = fs::read(file).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
    let is_json = body.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte == b'{');
    let kind = if is_json { "application/json" } else { "application/xml" };
    Ok(remote.request(Method::POST, path)?.header("content-type", kind).body(body))
}

fn decide(id: &str, word: &str, body: &Value, remote: &Remote) -> Result<(), Failure> {
    block_on(async {
        let answer = remote.post(&format!("/v1/alerts/{id}/{word}"), body).await?;
        output::line(&text(&answer, "state"))
    })
}

/// Prints each change of state and progress; ends when the alert has.
async fn watch(id: &str, remote: &Remote) -> Result<(), Failure> {
    let request = remote.request(Method::GET, &format!("/v1/alerts/{id}/events"))?.header("accept", "text/event-stream");
    let mut stream = remote.send(request).await?;
    let mut kept = String::new();
    while let Some(piece) = stream.chunk().await? {
        kept.push_str(&String::from_utf8_lossy(&piece));
        while let Some(end) = kept.find("\n\n") {
            let event: String = kept.drain(..end + 2).collect();
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default().to_owned();
            let (name, data) = (field("event:"), field("data:"));
            if !data.is_empty() {
                output::line(&format!("{name} {data}"))?;
            }
            let over =
                ["completed", "cancelled", "expired", "rejected", "superseded"].iter().any(|state| data.contains(&format!("\"{state}\"")));
            if name == "state" && over {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn summary(alert: &Value) -> String {
    let mut lines = format!("{}  {}  {}\n{}\n", text(alert, "id"), text(alert, "level"), text(alert, "state"), text(alert, "headline"));
    for part in ["timeline", "progress", "people"] {
        let Some(fields) = alert.get(part).and_then(Value::as_object) else { continue };
        let shown: Vec<String> = fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| format!("{name} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect();
        lines.push_str(&format!("{part}: {}\n", shown.join(", ")));
    }
    lines
}
