//! Owns how a command ends: exit codes, and the one place that writes to stdout.
//! Refuses to know commands. Invariant: 1 is the answer "no", 2 wrong usage or configuration, 3 could not be carried out.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use serde::Serialize;

/// Why a command did not end well.
#[derive(Debug)]
pub enum Failure {
    /// The answer is "no"; it has been printed already.
    No,
    /// Wrong usage or configuration.
    Usage(String),
    /// Could not be carried out.
    NotDone(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::NotDone(error.into())
    }
}

impl Failure {
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// Tells it on stderr and gives the exit code.
    pub fn tell(self) -> ExitCode {
        let (code, message) = match self {
            Self::No => (1, String::new()),
            Self::Usage(message) => (2, message),
            Self::NotDone(error) => (3, format!("{error:#}")),
        };
        if !message.is_empty() && writeln!(io::stderr(), "lastmile: {message}").is_err() {
            // Nobody reads stderr any more; the code says it.
            return ExitCode::from(code);
        }
        ExitCode::from(code)
    }
}

/// One JSON document on stdout.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    raw(&text)
}

pub(super) fn line(text: &str) -> Result<(), Failure> {
    raw(&format!("{text}\n"))
}

pub(super) fn raw(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader such as `head` that has seen enough is not a fault.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// A single-threaded runtime for commands that talk to a gateway.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
