//! Owns handing on what was accepted, and how far it reached, to the platform above (the city's).
//! Refuses to decide what is true: it reads the ledger. Invariant: how far a relay has come is written down only after the far end took it.

mod board;
mod cursor;
mod document;
mod health;
mod owed;
mod post;
mod settings;
mod worker;

use std::{path::PathBuf, sync::Arc};

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use toml::Table;

use self::{post::Poster, settings::Settings, worker::Relay};
use crate::{engine::Gateway, fault::Fault, store::documents::Documents};

pub use board::{Board, RelayView, Waiting};
pub use cursor::Refusal;

/// What a running relay is given.
#[derive(Clone)]
pub struct Context {
    pub gateway: Gateway,
    /// Where a relay remembers how far it has come.
    pub documents: Arc<Documents>,
    /// Relative paths of the configuration start here.
    pub base_dir: PathBuf,
    /// Where it shows how it goes.
    pub board: Board,
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
pub fn check(name: &str, table: &Table) -> Result<Prepared, Vec<Fault>> {
    let settings = settings::read(name, table)?;
    let own_name = name.to_owned();
    Ok(Prepared { name: name.to_owned(), run: Box::new(move |context| Box::pin(run(own_name, settings, context))) })
}

async fn run(name: String, settings: Settings, context: Context) {
    let alarms = context.gateway.alarms().clone();
    match Poster::new(&settings, &context.base_dir) {
        Ok(poster) => {
            let relay = Arc::new(Relay::new(name, settings, context.gateway, context.documents, poster));
            relay.run(context.board, context.stop).await;
        }
        Err(why) => {
            alarms.raise("relay-start", &name, &why);
            tracing::error!(relay = name, why, "the relay did not start");
        }
    }
}
