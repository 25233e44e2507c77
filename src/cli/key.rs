//! Owns `lastmile key`: API keys, on the data directory of a running or stopped gateway.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{
    audit::recorded,
    output::{self, Failure},
};
use crate::{
    access::{Access, NewKey, Role},
    app,
    area::AreaCode,
    keys::parse_duration,
    time::SystemClock,
};

#[derive(Args)]
pub(super) struct Where {
    /// Configuration that names the data directory.
    #[arg(long, default_value = app::DEFAULT_CONFIG)]
    config: PathBuf,
    /// Data directory, instead of the configuration's.
    #[arg(long)]
    data: Option<PathBuf>,
}

impl Where {
    pub(super) fn data(&self) -> Result<PathBuf, Failure> {
        Ok(match &self.data {
            Some(data) => data.clone(),
            None => app::read_config(&self.config).map_err(|faults| Failure::usage(app::fault_lines(&faults)))?.server.data_dir,
        })
    }

    /// A change of keys or users: it happens only once it is written down.
    pub(super) fn change<T>(&self, act: &str, name: &str, work: impl FnOnce(&Access) -> Result<T, Failure>) -> Result<T, Failure> {
        let (access, data) = (self.access()?, self.data()?);
        recorded(&data, act, name, || work(&access))
    }

    pub(super) fn access(&self) -> Result<Access, Failure> {
        let data = self.data()?;
        app::enter_data(&data)?;
        Ok(Access::open(&data, Arc::new(SystemClock))?)
    }
}

#[derive(Subcommand)]
pub(super) enum Key {
    /// Make a key; it is shown this once.
    New {
        #[arg(long)]
        name: String,
        #[arg(long)]
        role: Role,
        /// `[[source]]` that a bureau's key speaks for.
        #[arg(long)]
        source: Option<String>,
        /// Limit to these areas and what lies below.
        #[arg(long)]
        area: Vec<AreaCode>,
        /// How long the key is good, such as 90d; without an end when left out.
        #[arg(long, value_parser = time)]
        expires: Option<Duration>,
        /// The person whose key it is: what needs a second person is not approved by another key, or the sign-in, of the same one.
        #[arg(long)]
        owner: Option<String>,
        #[command(flatten)]
        place: Where,
        #[arg(long)]
        json: bool,
    },
    List {
        #[command(flatten)]
        place: Where,
        #[arg(long)]
        json: bool,
    },
    /// The key stops working at once.
    Revoke {
        name: String,
        #[command(flatten)]
        place: Where,
    },
}

impl Key {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::New { name, role, source, area, expires, owner, place, json } => {
                if role == Role::Bureau && source.is_none() {
                    return Err(Failure::usage("a bureau's key needs --source, the name of its [[source]] in the configuration"));
                }
                if role != Role::Bureau && source.is_some() {
                    return Err(Failure::usage("only a bureau's key has a --source: the other roles post nothing"));
                }
                let shown = json!({ "name": name, "role": role, "source": source });
                let object = format!("{name} ({role})");
                let new = NewKey { name, role, source, areas: area, good_for: expires, owner };
                let secret = place.change("key-new", &object, |access| Ok(access.new_key(new)?))?;
                if json {
                    let mut shown = shown;
                    shown["key"] = secret.expose_secret().into();
                    return output::json(&shown);
                }
                output::line(secret.expose_secret())
            }
            Self::List { place, json } => {
                let keys = place.access()?.list_keys();
                if json {
                    return output::json(&keys);
                }
                for key in keys {
                    let state = match (key.revoked, key.expires) {
                        (Some(at), _) => format!("revoked {at}"),
                        (None, Some(at)) => format!("until {at}"),
                        (None, None) => "valid".to_owned(),
                    };
                    output::line(&format!("{}  {}  {}  {state}", key.name, key.role, key.source.unwrap_or_default()))?;
                }
                Ok(())
            }
            Self::Revoke { name, place } => place.change("key-revoke", &name, |access| Ok(access.revoke_key(&name)?)),
        }
    }
}

fn time(text: &str) -> Result<Duration, &'static str> {
    parse_duration(text).ok_or("must be a time such as 12h or 90d")
}
