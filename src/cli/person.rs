//! Owns `lastmile person`: all that is kept about one person, of a running gateway or, with `--data`, of a stopped one.
//! Refuses to know what is kept where. Invariant: who takes out or erases says why, and it stands in the audit before.

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    audit::at_the_machine,
    output::{self, Failure, block_on},
    remote::Remote,
};
use crate::{
    app,
    delivery::event::Audited,
    engine::{Gateway, person::PersonError},
    time::{Clock as _, SystemClock},
};

const CLOSE_WITHIN: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(super) struct Whom {
    /// Id of a subscriber, or a telephone number.
    whom: String,
    /// Data directory of a stopped gateway.
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Subcommand)]
pub(super) enum Person {
    /// Show everything that is kept about somebody, as JSON.
    Show {
        #[command(flatten)]
        whom: Whom,
    },
    /// The same into a file that its owner alone can read, to be handed to the person.
    Export {
        #[command(flatten)]
        whom: Whom,
        /// Why; it stands in the audit, so without names.
        #[arg(long)]
        reason: String,
        #[arg(long)]
        out: PathBuf,
    },
    /// Remove somebody: the record, and what was noted of them; later imports leave them out unless --allow-erased says otherwise.
    Erase {
        #[command(flatten)]
        whom: Whom,
        /// Why; it stands in the audit, so without names.
        #[arg(long)]
        reason: String,
    },
}

impl Person {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Show { whom } => output::json(&whom.ask(Method::GET, "", "person-read", None)?),
            Self::Export { whom, reason, out } => {
                // Made first: what cannot be written is not taken out.
                let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&out)?;
                let answer = whom.ask(Method::GET, "/export", "person-export", Some(&reason));
                let written =
                    answer.and_then(|view| Ok(file.write_all(&serde_json::to_vec_pretty(&view)?).and_then(|()| file.sync_all())?));
                if let Err(failure) = written {
                    std::fs::remove_file(&out)?;
                    return Err(failure);
                }
                output::line(&format!("written to {}", out.display()))
            }
            Self::Erase { whom, reason } => output::json(&whom.ask(Method::DELETE, "", "person-erase", Some(&reason))?),
        }
    }
}

impl Whom {
    fn ask(&self, method: Method, what: &str, act: &str, reason: Option<&str>) -> Result<Value, Failure> {
        if reason.is_some_and(|reason| reason.trim().is_empty()) {
            return Err(Failure::usage("--reason says why"));
        }
        block_on(async {
            if let Some(data) = &self.data {
                return self.ask_stopped(data, &method, act, reason).await;
            }
            let whom: String = form_urlencoded::byte_serialize(self.whom.as_bytes()).collect::<String>().replace('+', "%20");
            let query =
                reason.map(|reason| form_urlencoded::Serializer::for_suffix("?".to_owned(), 1).append_pair("reason", reason).finish());
            let path = format!("/v1/people/{whom}{what}{}", query.unwrap_or_default());
            self.remote.json(self.remote.request(method, &path)?).await
        })
    }

    async fn ask_stopped(&self, data: &Path, method: &Method, act: &str, reason: Option<&str>) -> Result<Value, Failure> {
        let gateway: Gateway = app::open_stopped(data)?;
        let result = if act == "person-read" { "shown" } else { "begun" };
        let line = Audited::new(SystemClock.now(), at_the_machine(), act, "", result).because(reason.unwrap_or_default());
        let done = if *method == Method::DELETE {
            gateway.erase_person(&self.whom, line).await.map(|erasure| json!(erasure))
        } else {
            gateway.person(&self.whom, line).await.map(|view| json!(view))
        };
        gateway.stop(CLOSE_WITHIN).await?;
        done.map_err(|error| match error {
            PersonError::Several(_) => Failure::usage(error.to_string()),
            other => other.into(),
        })
    }
}
