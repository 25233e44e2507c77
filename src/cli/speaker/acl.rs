//! Owns `lastmile speaker acl`: the rights that loudspeakers and the gateway need at a mosquitto, written from the registry.
//! Refuses to know credentials. Invariant: it grants what the built-in broker would, and nothing else.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;

use super::super::output::{self, Failure};
use crate::{channel::speaker::broker::divisions, registry::Registry};

#[derive(Args)]
pub(in crate::cli) struct Acl {
    /// Data directory whose registry names the loudspeakers (of a stopped gateway, or a copy).
    #[arg(long)]
    data: PathBuf,
    #[arg(long, default_value = "lastmile/v1")]
    prefix: String,
    /// Name by which the gateway signs in at the broker.
    #[arg(long, default_value = "gateway")]
    gateway: String,
}

impl Acl {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { data, prefix, gateway } = self;
        let snapshot = Registry::open(&data.join("registry"))?.registry.current();
        let mut text = format!(
            "# Written by `lastmile speaker acl`; write it anew when the registry changes, then send mosquitto a SIGHUP.\n\
             # The gateway: commands out, what loudspeakers say in.\n\
             user {gateway}\n\
             topic write {prefix}/area/+/cmd\n\
             topic write {prefix}/speaker/+/cmd\n\
             topic read {prefix}/speaker/+/ack\n\
             topic read {prefix}/speaker/+/report\n\
             topic read {prefix}/speaker/+/status\n\n\
             # Each loudspeaker signs in by its id, and speaks for itself alone.\n\
             pattern write {prefix}/speaker/%u/ack\n\
             pattern write {prefix}/speaker/%u/report\n\
             pattern write {prefix}/speaker/%u/status\n\
             pattern read {prefix}/speaker/%u/cmd\n"
        );
        for speaker in (0..snapshot.speaker_count()).map(|at| snapshot.speaker_at(at)) {
            write!(text, "\nuser {}\n", speaker.id())?;
            let mut written = Vec::new();
            for division in divisions(speaker.area()) {
                if !written.contains(&division) {
                    writeln!(text, "topic read {prefix}/area/{division}/cmd")?;
                    written.push(division);
                }
            }
        }
        output::raw(&text)
    }
}
