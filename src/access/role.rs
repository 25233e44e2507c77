//! Owns the roles of contract §7 and what each may do, in one table.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Admin,
    Duty,
    Approver,
    Viewer,
    Bureau,
    System,
    /// Reads what others did, and does nothing: neither admin nor on duty.
    Auditor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Post and preview alerts of one's own source.
    Post,
    Preview,
    /// Read alerts, coverage, deliveries, calls, reports.
    Look,
    /// See whole phone numbers.
    SeePhones,
    Approve,
    /// Cancel alerts, record calls by hand.
    Act,
    ReadRegistry,
    ChangeRegistry,
    /// See how accounts, platforms above and loudspeakers do.
    Operate,
    Metrics,
    /// See who is signed in, and end sessions.
    ManageAccess,
    /// Take everything home in one file.
    Backup,
    /// Remove the journal of a month whose alerts are filed.
    GiveBack,
    /// Read who did what.
    Audit,
    /// See, take out and erase all that is kept about one person.
    Persons,
}

impl Action {
    /// To be read after "no right to".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Post => "post alerts",
            Self::Preview => "preview alerts",
            Self::Look => "look at alerts",
            Self::SeePhones => "see telephone numbers",
            Self::Approve => "approve or reject alerts",
            Self::Act => "cancel alerts or record calls",
            Self::ReadRegistry => "read the registry",
            Self::ChangeRegistry => "change the registry",
            Self::Operate => "look at accounts, relays and devices",
            Self::Metrics => "read metrics",
            Self::ManageAccess => "see and end sessions",
            Self::Backup => "make a backup",
            Self::GiveBack => "give back space of the store",
            Self::Audit => "read the audit",
            Self::Persons => "see or erase all that is kept about a person",
        }
    }
}

impl Role {
    pub const ALL: [Self; 7] = [Self::Admin, Self::Duty, Self::Approver, Self::Viewer, Self::Bureau, Self::System, Self::Auditor];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Duty => "duty",
            Self::Approver => "approver",
            Self::Viewer => "viewer",
            Self::Bureau => "bureau",
            Self::System => "system",
            Self::Auditor => "auditor",
        }
    }

    pub const fn may(self, action: Action) -> bool {
        match self {
            // Who may make keys and users posts nothing: a warning has a source, and a second person who is another.
            Self::Admin => !matches!(action, Action::Post),
            Self::Duty => !matches!(
                action,
                Action::Post
                    | Action::Approve
                    | Action::ChangeRegistry
                    | Action::ManageAccess
                    | Action::Backup
                    | Action::GiveBack
                    | Action::Audit
                    | Action::Persons
            ),
            Self::Approver => matches!(action, Action::Preview | Action::Look | Action::Approve | Action::ReadRegistry | Action::Operate),
            Self::Viewer => matches!(action, Action::Look | Action::ReadRegistry | Action::Operate),
            // A bureau follows its own alerts; the edge shows it no others.
            Self::Bureau => matches!(action, Action::Post | Action::Preview | Action::Look),
            Self::Auditor => matches!(action, Action::Audit | Action::Metrics),
            Self::System => {
                matches!(action, Action::Look | Action::ReadRegistry | Action::ChangeRegistry | Action::Operate | Action::Metrics)
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not one of admin, duty, approver, viewer, bureau, system, auditor")]
pub struct BadRole(String);

impl FromStr for Role {
    type Err = BadRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or_else(|| BadRole(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
