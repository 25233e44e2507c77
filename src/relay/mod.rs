//! Owns handing on what was accepted, and how far it reached, to the platform above (the city's).
//! Refuses to decide what is true: it reads the ledger. Invariant: how far a relay has come is written down only after the far end took it.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use toml::Table;

use crate::{engine::Gateway, fault::Fault, store::documents::Documents};

/// What a running relay is given.
#[derive(Clone)]
pub struct Context {
    pub gateway: Gateway,
    /// Where a relay remembers how far it has come.
    pub documents: Arc<Documents>,
    /// Ends the relay.
    pub stop: CancellationToken,
}

/// A checked `[relay.NAME]`, ready to run.
pub struct Prepared {
    pub name: String,
    pub run: Box<dyn FnOnce(Context) -> BoxFuture<'static, ()> + Send>,
}

impl Prepared {
    pub fn start(self, context: Context) -> BoxFuture<'static, ()> {
        (self.run)(context)
    }
}

/// Judges one `[relay.NAME]`.
pub fn check(name: &str, _table: &Table) -> Result<Prepared, Vec<Fault>> {
    Err(vec![Fault::new(format!("relay.{name}"), "unknown-kind", "no kind of relay is known")])
}
