//! Owns `lastmile config`. Refuses to judge: the configuration room does.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::output::{self, Failure};
use crate::app;

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
    let faults = match app::read_config(config) {
        Ok(_) => Vec::new(),
        Err(faults) => faults,
    };
    if as_json {
        let list: Vec<_> = faults
            .iter()
            .map(
                |found| json!({ "place": found.place, "path": found.fault.path, "rule": found.fault.rule, "message": found.fault.message }),
            )
            .collect();
        output::json(&json!({ "valid": faults.is_empty(), "problems": list }))?;
    } else if faults.is_empty() {
        output::line(&format!("{}: no fault", config.display()))?;
    }
    match (faults.is_empty(), as_json) {
        (true, _) => Ok(()),
        (false, true) => Err(Failure::usage(String::new())),
        (false, false) => Err(Failure::usage(format!("{} faults\n{}", faults.len(), app::fault_lines(&faults)))),
    }
}
