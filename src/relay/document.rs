//! Owns what is handed on: an alert as it is, what became of it, and how far it has reached; each with the key it is known again by.
//! Refuses to know HTTP. Invariant: the same news bears the same key, other news another.

use std::sync::Arc;

use serde_json::json;

use super::settings::Format;
use crate::{
    alert::cap,
    delivery::{book::State, ledger::Shelf},
    engine::{Gateway, filed::Unreadable},
};

/// One thing that the far end is owed.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Alert(Arc<Shelf>),
    State(Arc<Shelf>, State),
    Coverage { shelf: Arc<Shelf>, is_final: bool },
}

/// Its form on the wire.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Document {
    /// `Idempotency-Key`, and `webhook-id` where documents are signed.
    pub(super) key: String,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
}

impl Item {
    pub(super) fn shelf(&self) -> &Arc<Shelf> {
        match self {
            Self::Alert(shelf) | Self::State(shelf, _) | Self::Coverage { shelf, .. } => shelf,
        }
    }

    /// Closed word for headers, metrics and lists.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Alert(_) => "alert",
            Self::State(..) => "state",
            Self::Coverage { .. } => "coverage",
        }
    }

    pub(super) async fn document(&self, format: Format, gateway: &Gateway) -> Result<Document, Unreadable> {
        let shelf = self.shelf();
        let id = shelf.id;
        Ok(match self {
            Self::Alert(_) => match format {
                Format::Cap => Document {
                    key: id.to_string(),
                    content_type: "application/cap+xml; charset=utf-8",
                    body: cap::write(&shelf.alert).into_bytes(),
                },
                Format::Json => json_document(id.to_string(), &shelf.read().accepted.document),
            },
            Self::State(_, state) => json_document(format!("{id}.{}", state.name()), &state_of(shelf, *state, gateway)),
            Self::Coverage { is_final, .. } => {
                let coverage = gateway.coverage(&gateway.details(shelf).await?, None, None);
                let edition = if *is_final { "final".to_owned() } else { coverage.as_of.as_ms().to_string() };
                let body = json!({
                    "type": "coverage", "alert": id, "identifier": shelf.alert.identifier, "sender": shelf.alert.sender,
                    "sent": shelf.alert.sent, "final": is_final, "coverage": coverage,
                });
                json_document(format!("{id}.coverage.{edition}"), &body)
            }
        })
    }
}

/// The far end knows an alert by sender, identifier and time of sending; `alert` is our own name of it.
fn state_of(shelf: &Shelf, state: State, gateway: &Gateway) -> serde_json::Value {
    let view = gateway.view(shelf, false);
    json!({
        "type": "state", "alert": view.id, "identifier": view.identifier, "sender": view.sender, "sent": view.sent,
        "state": state.name(), "as_of": gateway.clock().now(), "reason": view.reason, "timeline": view.timeline,
    })
}

fn json_document(key: String, body: &serde_json::Value) -> Document {
    Document { key, content_type: "application/json", body: body.to_string().into_bytes() }
}
