//! Owns the ways in beside HTTP: what lies in a folder, what a feed lists, what a broker hands on. One file or folder a kind.
//! Refuses to judge: each document goes to the gateway as its source's key would post it.
//! Invariant: a document is put away, or counted as seen, only after the gateway has answered for it.

mod feed;
mod folder;
pub mod hand_in;
pub mod reach;
mod wis2;

use std::{path::PathBuf, sync::Arc};

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use toml::Table;

use crate::{
    access::Proofs,
    engine::{Gateway, intake::Actor},
    fault::Fault,
    store::documents::Documents,
};

/// What a running inlet is given.
#[derive(Clone)]
pub struct Context {
    pub gateway: Gateway,
    /// What sources prove with each document.
    pub proofs: Arc<Proofs>,
    /// Where an inlet remembers what it has seen.
    pub documents: Arc<Documents>,
    /// Relative paths of the configuration start here.
    pub base_dir: PathBuf,
    /// Ends the inlet; what it has begun is ended first.
    pub stop: CancellationToken,
}

/// A checked `[inlet.NAME]`, ready to run.
pub struct Prepared {
    pub name: String,
    /// `[[source]]` that it speaks for.
    pub source: String,
    pub run: Box<dyn FnOnce(Context) -> BoxFuture<'static, ()> + Send>,
}

impl Prepared {
    pub fn start(self, context: Context) -> BoxFuture<'static, ()> {
        (self.run)(context)
    }
}

struct Kind {
    name: &'static str,
    check: fn(&str, &Table) -> Result<Prepared, Vec<Fault>>,
}

/// A kind is supported exactly when it stands here.
static KINDS: &[Kind] =
    &[Kind { name: "feed", check: feed::check }, Kind { name: "folder", check: folder::check }, Kind { name: "wis2", check: wis2::check }];

pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// Judges one `[inlet.NAME]`.
pub fn check(name: &str, table: &Table) -> Result<Prepared, Vec<Fault>> {
    let word = table.get("kind").and_then(toml::Value::as_str).unwrap_or_default();
    match KINDS.iter().find(|kind| kind.name == word) {
        Some(kind) => (kind.check)(name, table),
        None => {
            let known: Vec<&str> = kinds().collect();
            Err(vec![Fault::new(format!("inlet.{name}.kind"), "unknown-kind", format!("must be one of {}", known.join(", ")))])
        }
    }
}

/// Who posts what comes in here.
pub fn actor(name: &str, source: &str) -> Actor {
    Actor::of_source(&format!("inlet:{name}"), source)
}
