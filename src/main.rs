//! Owns the process: arguments to a command, error to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // One TLS provider for everything that is not given its own.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return ExitCode::from(3);
    }
    lastmile::cli::run()
}
