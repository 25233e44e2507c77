//! Owns the process: arguments to a command, error to an exit code.

use std::process::ExitCode;

/// The system's allocator keeps what a plan of a million needed for minutes of its life; this one gives it back, and is quicker at small pieces.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One TLS provider for everything that is not given its own.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return ExitCode::from(3);
    }
    lastmile::cli::run()
}
