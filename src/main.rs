//! Owns the process: arguments to a command, error to an exit code.

use std::process::ExitCode;

/// The system's allocator keeps what a plan of a million needed for minutes of its life; this one gives it back, and is quicker at small pieces.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // What this program writes holds names, numbers and keys, also where a library opens the file.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    // One TLS provider for everything that is not given its own.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return ExitCode::from(3);
    }
    lastmile::cli::run()
}
