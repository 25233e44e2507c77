//! Owns `lastmile audit`: who did what, of a running gateway or, with `--data`, of a stopped one; and the line that each command leaves
//! about what it did to a data directory.
//! Refuses to know the trail. Invariant: a command's line is on disk before its act.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    output::{self, Failure, block_on},
    remote::Remote,
};
use crate::{
    delivery::event::Audited,
    engine::audit::{self, AuditQuery},
    store::{self, pending},
    time::{Clock as _, SystemClock, Timestamp},
};

const LIMIT: usize = 200;

#[derive(Subcommand)]
pub(super) enum Audit {
    /// The newest first.
    List {
        /// Not before this time, such as 2026-07-23T00:00:00+08:00.
        #[arg(long)]
        since: Option<Timestamp>,
        /// Part of who: `key met`, `user li`, `command`.
        #[arg(long)]
        by: Option<String>,
        /// Beginning of what: `sign-in`, `registry`, `backup`, `accepted` …
        #[arg(long)]
        what: Option<String>,
        #[arg(long, default_value_t = LIMIT)]
        limit: usize,
        /// Data directory of a stopped gateway.
        #[arg(long)]
        data: Option<PathBuf>,
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Check the chain of a stopped gateway, and print its head.
    Verify {
        #[arg(long, default_value = "data")]
        data: PathBuf,
    },
}

impl Audit {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::List { since, by, what, limit, data, json, remote } => {
                let query = AuditQuery { since, by, what, before: None, limit: limit.max(1) };
                let page = match data {
                    Some(data) => of_stopped(&data, &query)?,
                    None => block_on(async { remote.get(&address(&query)).await })?,
                };
                if json { output::json(&page) } else { lines(&page) }
            }
            Self::Verify { data } => {
                let report = store::verify(&data)?;
                output::json(&json!({ "ok": report.ok, "head": report.head, "faults": report.faults }))?;
                if report.ok { Ok(()) } else { Err(Failure::No) }
            }
        }
    }
}

fn address(query: &AuditQuery) -> String {
    let mut words = form_urlencoded::Serializer::new(String::new());
    words.append_pair("limit", &query.limit.min(1_000).to_string());
    for (name, word) in [("since", query.since.map(|since| since.to_string())), ("by", query.by.clone()), ("what", query.what.clone())] {
        if let Some(word) = word {
            words.append_pair(name, &word);
        }
    }
    format!("/v1/audit?{}", words.finish())
}

/// With what commands have done since, which the next start takes into the trail.
fn of_stopped(data: &Path, query: &AuditQuery) -> Result<Value, Failure> {
    store::home::look(data)?;
    let mut page = json!(audit::page(data, query)?);
    let waiting = pending::list(data)?.into_iter().filter_map(|(_, bytes)| serde_json::from_slice::<Value>(&bytes).ok());
    page["waiting"] = waiting.collect();
    page["head"] = json!(store::trail_head(data)?);
    Ok(page)
}

fn lines(page: &Value) -> Result<(), Failure> {
    let of = |list: &str| page[list].as_array().cloned().unwrap_or_default();
    for (line, what) in of("waiting").iter().rev().map(|line| (line, "act")).chain(of("items").iter().map(|line| (line, "what"))) {
        let word = |names: &[&str]| names.iter().find_map(|name| line[*name].as_str()).unwrap_or("-").to_owned();
        let text = format!(
            "{}  {}  {}  {}  {}  {}{}",
            word(&["at", "accepted"]),
            word(&["who", "by"]),
            word(&["from"]),
            word(&[what]),
            word(&["object", "id", "month", "reason"]),
            word(&["result"]),
            line["reason"].as_str().filter(|_| line["object"].is_string()).map_or_else(String::new, |reason| format!("  ({reason})"))
        );
        output::line(&text)?;
    }
    Ok(())
}

/// What a command does to a data directory: written down before, and again when it came to nothing.
pub(super) fn recorded<T>(data: &Path, act: &str, object: &str, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    put(data, act, object, "begun")?;
    let done = work();
    if done.is_err() {
        put(data, act, object, "failed")?;
    }
    done
}

fn put(data: &Path, act: &str, object: &str, result: &str) -> Result<(), Failure> {
    let line = Audited::new(SystemClock.now(), at_the_machine(), act, object, result);
    pending::put(data, &line.id.clone(), &serde_json::to_vec(&line)?)?;
    Ok(())
}

/// Who sits at the machine is known to it alone; the name is what the account says of itself.
pub(super) fn at_the_machine() -> String {
    let name = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|word| std::env::var(word).ok()).unwrap_or_default();
    format!("command {name} (uid {})", rustix::process::getuid().as_raw())
}
