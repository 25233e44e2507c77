//! Owns `lastmile report`: from a running gateway, or from the store of a stopped one.

use std::{fs, path::PathBuf};

use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::Value;

use super::{
    output::{self, Failure, block_on},
    remote::Remote,
};

#[derive(Args)]
pub(super) struct Report {
    id: String,
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write to this file instead of stdout.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Data directory of a stopped gateway, instead of a running one.
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Csv,
    Html,
    Xlsx,
}

impl Report {
    pub(super) fn run(self) -> Result<(), Failure> {
        let text = match (&self.data, self.format) {
            (None, Format::Csv) => self.fetched("csv")?,
            (None, Format::Html) => self.fetched("html")?,
            (Some(_), Format::Csv | Format::Html | Format::Xlsx) => {
                return Err(Failure::usage("csv, html and xlsx are made by a running gateway; with --data choose text or json"));
            }
            (None, Format::Xlsx) => return self.sheet(),
            (_, Format::Json) => serde_json::to_string_pretty(&self.document()?)? + "\n",
            (_, Format::Text) => as_text(&self.document()?),
        };
        match &self.out {
            Some(file) => Ok(fs::write(file, text)?),
            None => output::raw(&text),
        }
    }

    fn document(&self) -> Result<Value, Failure> {
        let Some(data) = &self.data else {
            return block_on(self.remote.get(&format!("/v1/alerts/{}/report.json", self.id)));
        };
        let gateway = crate::app::open_stopped(data)?;
        let id = self.id.parse().map_err(|_| Failure::usage(format!("{:?} is not an alert's id", self.id)))?;
        let shelf = gateway.ledger().find(id).ok_or_else(|| anyhow::anyhow!("no such alert in {}", data.display()))?;
        block_on(async {
            let details = gateway.details(&shelf).await?;
            Ok(serde_json::to_value(gateway.report(&shelf, &details, false))?)
        })
    }

    /// A workbook is no text: it goes into a file.
    fn sheet(&self) -> Result<(), Failure> {
        let file = self.out.as_ref().ok_or_else(|| Failure::usage("--format xlsx needs --out FILE"))?;
        let bytes = block_on(async {
            let request = self.remote.request(Method::GET, &format!("/v1/alerts/{}/report.xlsx", self.id))?;
            Ok::<_, Failure>(self.remote.send(request).await?.bytes().await?)
        })?;
        Ok(fs::write(file, bytes)?)
    }

    fn fetched(&self, ending: &str) -> Result<String, Failure> {
        block_on(async {
            let request = self.remote.request(Method::GET, &format!("/v1/alerts/{}/report.{ending}", self.id))?;
            Ok(self.remote.send(request).await?.text().await?)
        })
    }
}

/// The report as an office reads it on a terminal.
pub(super) fn as_text(report: &Value) -> String {
    let at = |path: &str| report.pointer(path).cloned().unwrap_or(Value::Null);
    let word = |path: &str| at(path).as_str().map_or_else(|| at(path).to_string(), str::to_owned);
    let mut text = format!("{}\n{}  {}  {}\n\n", word("/alert/headline"), word("/alert/id"), word("/alert/level"), word("/alert/state"));
    text.push_str(&table(&report["coverage"]));
    text.push_str(&format!(
        "\nvillages {}/{} reached, households {}/{}, speakers {}/{} received ({} played, {} offline), hazard points {}/{} closed\n",
        word("/coverage/villages/reached"),
        word("/coverage/villages/targeted"),
        word("/coverage/households/reached"),
        word("/coverage/households/targeted"),
        word("/coverage/speakers/received"),
        word("/coverage/speakers/targeted"),
        word("/coverage/speakers/played"),
        word("/coverage/speakers/offline"),
        word("/coverage/hazard_points/closed"),
        word("/coverage/hazard_points/targeted"),
    ));
    let blind = at("/coverage/villages/blind");
    let blind: Vec<&str> = blind.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !blind.is_empty() {
        text.push_str(&format!("villages that nothing reached: {}\n", blind.join(" ")));
    }
    text.push_str(&format!(
        "calls: {} due, {} answered, {} waiting, {} escalated, {} exhausted\n",
        word("/coverage/calls/due"),
        word("/coverage/calls/answered"),
        word("/coverage/calls/waiting"),
        word("/coverage/calls/escalated"),
        word("/coverage/calls/exhausted"),
    ));
    text.push_str(&format!(
        "reached after (s): half {}, nine in ten {}, last {}; answered: half {}, nine in ten {}\n",
        word("/timeliness/reached/p50_s"),
        word("/timeliness/reached/p90_s"),
        word("/timeliness/reached/max_s"),
        word("/timeliness/acknowledged/p50_s"),
        word("/timeliness/acknowledged/p90_s"),
    ));
    for failure in report["failures"].as_array().into_iter().flatten().take(20) {
        text.push_str(&format!(
            "failed: {} by {}: {}\n",
            failure["count"],
            failure["channel"].as_str().unwrap_or(""),
            failure["reason"].as_str().unwrap_or("")
        ));
    }
    text
}

/// Coverage by child area, one line each, widths made for Chinese names.
pub(super) fn table(coverage: &Value) -> String {
    let mut text = String::new();
    let heading = ["area", "targeted", "reached", "answered", "pending", "failed", "no address", "reached %"];
    text.push_str(&format!("{}{}\n", pad(heading[0], 26), heading[1..].iter().map(|name| format!("{name:>11}")).collect::<String>()));
    let total = (coverage["area"]["name"].as_str().unwrap_or(""), coverage);
    let children = coverage["children"].as_array().into_iter().flatten().map(|child| (child["name"].as_str().unwrap_or(""), child));
    for (name, row) in children.chain([total]) {
        let people = ["targeted", "reached", "acknowledged", "pending", "failed", "unreachable"]
            .map(|part| row["people"][part].as_u64().unwrap_or(0));
        let numbers: String = people.iter().map(|number| format!("{number:>11}")).collect();
        let rate = row["rates"]["reached"].as_f64().unwrap_or(0.0) * 100.0;
        text.push_str(&format!("{}{numbers}{rate:>10.1}%\n", pad(name, 26)));
    }
    text
}

/// Chinese characters take two columns of a terminal.
fn pad(text: &str, columns: usize) -> String {
    let wide: usize = text.chars().map(|letter| if letter.is_ascii() { 1 } else { 2 }).sum();
    format!("{text}{}", " ".repeat(columns.saturating_sub(wide)))
}
