//! Owns the beginning of every test of books: an alert that has just been taken in, and its empty book.
//! Refuses to know what is planned for it.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{book::Book, event::Accepted};
use crate::{
    alert::{AlertId, AlertNo},
    time::Timestamp,
};

pub(crate) const T0: Timestamp = Timestamp::from_ms(1_784_000_000_000);
pub(crate) const NO: AlertNo = AlertNo(0);

pub(crate) fn accepted(document: Value) -> Accepted {
    Accepted {
        alert: NO,
        id: AlertId(Uuid::from_u128(1)),
        received: T0,
        accepted: T0,
        source: "met".into(),
        by: "met".into(),
        needs_approval: false,
        format: "json".into(),
        digest: String::new(),
        document,
        target: None,
        doubts: Vec::new(),
        notice_of: None,
    }
}

pub(crate) fn blank() -> Book {
    Book::new(accepted(json!({"status": "Actual"})), T0)
}
