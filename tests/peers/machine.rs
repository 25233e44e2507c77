//! Owns what the peers need of the machine: their programs, their ports, their first words.

use std::path::Path;

use crate::program::process::Process;

pub(crate) fn is_open(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// A peer that is missing fails the test: a skipped proof is none.
pub(crate) fn require(program: &str, package: &str) {
    let found = Path::new(program).is_absolute() && Path::new(program).exists();
    assert!(found, "{program} is missing: apt-get install {package} (tests/run does)");
}

pub(crate) fn has_said(process: &Process, part: &str) -> bool {
    process.lines().iter().any(|line| line.contains(part))
}
