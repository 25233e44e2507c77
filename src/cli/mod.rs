//! Owns the command line of contract §1: one file per command, arguments to a call, answers to text or JSON, errors to an exit code.
//! Refuses to decide anything itself. Invariant: with `--json` stdout holds exactly one JSON document; logs go to stderr.

mod alert;
mod audit;
mod config;
mod demo;
mod key;
mod output;
mod person;
mod registry;
mod remote;
mod report;
mod serve;
mod speaker;
mod store;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use output::Failure;

/// Last-mile early-warning dissemination gateway.
#[derive(Parser)]
#[command(name = "lastmile", version, about, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The whole main job on embedded parts only: a county, a red rainstorm, speakers, receipts, calls, a cancel.
    Demo(demo::Demo),
    /// Run the gateway.
    Serve(serve::Serve),
    /// Judge, post, look at and decide on alerts.
    #[command(subcommand)]
    Alert(alert::Alert),
    /// Import, export and check who and what is out there.
    #[command(subcommand)]
    Registry(registry::Registry),
    /// All that is kept about one person.
    #[command(subcommand)]
    Person(person::Person),
    /// The after-action report of one alert.
    Report(report::Report),
    /// People who sign in to the web page.
    #[command(subcommand)]
    User(user::User),
    /// API keys of bureaus and systems; shown once, stored hashed.
    #[command(subcommand)]
    Key(key::Key),
    /// A reference loudspeaker, or a fleet of them for tests and drills.
    #[command(subcommand)]
    Speaker(speaker::Speaker),
    /// Check and show the configuration.
    #[command(subcommand)]
    Config(config::Config),
    /// Who did what.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Check, copy and measure the store of a stopped gateway.
    #[command(subcommand)]
    Store(store::Store),
}

/// Runs the command; the exit code follows contract §0.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, not faults.
            let wrong_usage = error.use_stderr();
            if error.print().is_err() {
                return ExitCode::from(3);
            }
            return ExitCode::from(if wrong_usage { 2 } else { 0 });
        }
    };
    let done = match arguments.command {
        Command::Demo(demo) => demo.run(),
        Command::Serve(serve) => serve.run(),
        Command::Alert(alert) => alert.run(),
        Command::Registry(registry) => registry.run(),
        Command::Person(person) => person.run(),
        Command::Report(report) => report.run(),
        Command::User(user) => user.run(),
        Command::Key(key) => key.run(),
        Command::Speaker(speaker) => speaker.run(),
        Command::Config(config) => config.run(),
        Command::Audit(audit) => audit.run(),
        Command::Store(store) => store.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}
