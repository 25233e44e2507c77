//! Owns `lastmile serve`: the process of a gateway, its signals and its end.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::output::Failure;
use crate::{app, telemetry};

/// How often the process looks whether it has failed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Args)]
pub(super) struct Serve {
    #[arg(long, default_value = app::DEFAULT_CONFIG)]
    config: PathBuf,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = app::read_config(&self.config).map_err(|faults| Failure::usage(app::fault_lines(&faults)))?;
        telemetry::start_logging(config.log.format, &config.log.filter);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(serve(config))
    }
}

async fn serve(config: app::Configuration) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let app = app::App::start(config, rand::random()).await?;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => app.reload(),
            _ = looks.tick() => if let Some(why) = app.has_failed() {
                // Never half-alive: a supervisor starts the process again, which checks and mends the store.
                return Err(anyhow::anyhow!("{why}").into());
            },
        }
    }
    tracing::info!("stopping");
    app.stop().await?;
    tracing::info!("stopped");
    Ok(())
}
