//! Owns `lastmile user`: people who sign in, on the data directory of a running or stopped gateway.

use std::io::{self, BufRead as _, Write as _};

use clap::Subcommand;
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    key::Where,
    output::{self, Failure},
    remote::Remote,
};
use crate::{
    access::{CHARS_ADVISED, Role},
    area::AreaCode,
};

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
        /// With a second factor: prints what an app on the telephone reads, this once.
        #[arg(long)]
        totp: bool,
        #[command(flatten)]
        place: Where,
    },
    /// Remove a person for good; the name is free again.
    Remove {
        name: String,
        #[command(flatten)]
        place: Where,
    },
    /// Give a person a new second factor, or none.
    Totp {
        name: String,
        /// Sign in with the password alone from now on.
        #[arg(long)]
        off: bool,
        #[command(flatten)]
        place: Where,
    },
    /// Show who is signed in at a running gateway, or end the sessions of one person; needs an admin's key.
    Sessions {
        /// End every session of this person.
        #[arg(long)]
        end: Option<String>,
        #[command(flatten)]
        remote: Remote,
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
            Self::Add { name, role, area, totp, place } => {
                let (password, object) = (password()?, format!("{name} ({role})"));
                place.change("user-add", &object, |access| Ok(access.add_user(&name, role, area, &password)?))?;
                if totp { give_second_factor(&place, &name) } else { Ok(()) }
            }
            Self::Remove { name, place } => place.change("user-remove", &name, |access| Ok(access.remove_user(&name)?)),
            Self::Totp { name, off: true, place } => {
                place.change("user-second-factor-off", &name, |access| Ok(access.drop_second_factor(&name)?))
            }
            Self::Totp { name, off: false, place } => give_second_factor(&place, &name),
            Self::Sessions { end, remote } => output::block_on(sessions(&remote, end)),
            Self::List { place, json } => {
                let users = place.access()?.list_users();
                if json {
                    return output::json(&users);
                }
                for user in users {
                    output::line(&format!(
                        "{}  {}  {}",
                        user.name,
                        user.role,
                        [if user.disabled { "disabled" } else { "" }, if user.second_factor { "second factor" } else { "" }]
                            .join(" ")
                            .trim()
                    ))?;
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

async fn sessions(remote: &Remote, end: Option<String>) -> Result<(), Failure> {
    if let Some(name) = end {
        let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let path = format!("/v1/sessions/{}", name.replace('+', "%20"));
        return output::json(&remote.json(remote.request(Method::DELETE, &path)?).await?);
    }
    let list = remote.get("/v1/sessions").await?;
    for session in list["items"].as_array().into_iter().flatten() {
        let word = |key: &str| session[key].as_str().unwrap_or_default().to_owned();
        output::line(&format!("{}  since {}  last seen {}", word("user"), word("begun"), word("seen")))?;
    }
    Ok(())
}

fn give_second_factor(place: &Where, name: &str) -> Result<(), Failure> {
    let address = place.change("user-second-factor", name, |access| Ok(access.new_second_factor(name)?))?;
    output::line(address.expose_secret())
}

/// `LASTMILE_PASSWORD`, else one line of stdin: never an argument, which every user of the machine could read.
fn password() -> Result<SecretString, Failure> {
    if let Ok(password) = std::env::var("LASTMILE_PASSWORD") {
        return advised(password);
    }
    write!(io::stderr(), "password: ")?;
    io::stderr().flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    advised(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn advised(password: String) -> Result<SecretString, Failure> {
    if password.chars().count() < CHARS_ADVISED {
        writeln!(io::stderr(), "passwords of {CHARS_ADVISED} characters and more, such as a sentence, are advised")?;
    }
    Ok(SecretString::from(password))
}
