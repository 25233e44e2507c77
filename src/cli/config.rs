//! Owns `lastmile config`. Refuses to judge: the configuration room does.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::output::{self, Failure};
use crate::{app, config::ConfigFault};

#[derive(Subcommand)]
pub(super) enum Config {
    /// Every fault with its file, line and key; opens no port and touches no far end.
    Check {
        #[arg(long, default_value = app::DEFAULT_CONFIG)]
        config: PathBuf,
        #[arg(long)]
        json: bool,
    },
    /// The effective configuration, secrets masked.
    Show {
        #[arg(long, default_value = app::DEFAULT_CONFIG)]
        config: PathBuf,
    },
}

impl Config {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Check { config, json } => check(&config, json),
            Self::Show { config } => {
                let layers = app::read_layers(&config).map_err(|faults| Failure::usage(app::fault_lines(&faults)))?;
                output::raw(&layers.show())
            }
        }
    }
}

fn check(config: &std::path::Path, as_json: bool) -> Result<(), Failure> {
    let layers = app::read_layers(config);
    let (faults, odd) = match layers.and_then(|layers| app::check(&layers).map(|checked| (layers, checked))) {
        Ok((layers, checked)) => {
            let found = app::completeness(&checked);
            (layers.placed(found.missing), layers.placed(found.odd))
        }
        Err(faults) => (faults, Vec::new()),
    };
    if as_json {
        output::json(&json!({ "valid": faults.is_empty(), "problems": listed(&faults), "warnings": listed(&odd) }))?;
    } else if faults.is_empty() {
        output::line(&format!("{}: no fault", config.display()))?;
    }
    if !as_json {
        odd.iter().try_for_each(|warning| output::line(&format!("warning: {warning}")))?;
    }
    match (faults.is_empty(), as_json) {
        (true, _) => Ok(()),
        (false, true) => Err(Failure::usage(String::new())),
        (false, false) => Err(Failure::usage(format!("{}\n{}", counted(faults.len()), app::fault_lines(&faults)))),
    }
}

fn listed(found: &[ConfigFault]) -> Vec<serde_json::Value> {
    let view = |found: &ConfigFault| json!({ "place": found.place, "path": found.fault.path, "rule": found.fault.rule, "message": found.fault.message });
    found.iter().map(view).collect()
}

fn counted(faults: usize) -> String {
    if faults == 1 { "1 fault".to_owned() } else { format!("{faults} faults") }
}
