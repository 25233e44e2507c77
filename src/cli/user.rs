//! Owns `lastmile user`: people who sign in, on the data directory of a running or stopped gateway.

use std::io::{self, BufRead as _, Write as _};

use clap::Subcommand;
use secrecy::SecretString;

use super::{
    key::Where,
    output::{self, Failure},
};
use crate::{access::Role, area::AreaCode};

#[derive(Subcommand)]
pub(super) enum User {
    /// Add a person; the password is read from the environment or from stdin.
    Add {
        name: String,
        #[arg(long)]
        role: Role,
        /// Limit to these areas and what lies below.
        #[arg(long)]
        area: Vec<AreaCode>,
        #[command(flatten)]
        place: Where,
    },
    List {
        #[command(flatten)]
        place: Where,
        #[arg(long)]
        json: bool,
    },
    /// Set a new password.
    Password {
        name: String,
        #[command(flatten)]
        place: Where,
    },
    Disable {
        name: String,
        #[command(flatten)]
        place: Where,
    },
}

impl User {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Add { name, role, area, place } => {
                let (password, object) = (password()?, format!("{name} ({role})"));
                place.change("user-add", &object, |access| Ok(access.add_user(&name, role, area, &password)?))
            }
            Self::List { place, json } => {
                let users = place.access()?.list_users();
                if json {
                    return output::json(&users);
                }
                for user in users {
                    output::line(&format!("{}  {}  {}", user.name, user.role, if user.disabled { "disabled" } else { "" }))?;
                }
                Ok(())
            }
            Self::Password { name, place } => {
                let password = password()?;
                place.change("user-password", &name, |access| Ok(access.set_password(&name, &password)?))
            }
            Self::Disable { name, place } => place.change("user-disable", &name, |access| Ok(access.disable_user(&name)?)),
        }
    }
}

/// `LASTMILE_PASSWORD`, else one line of stdin: never an argument, which every user of the machine could read.
fn password() -> Result<SecretString, Failure> {
    if let Ok(password) = std::env::var("LASTMILE_PASSWORD") {
        return Ok(SecretString::from(password));
    }
    write!(io::stderr(), "password: ")?;
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(SecretString::from(line.trim_end_matches(['\r', '\n']).to_owned()))
}
