//! Owns the beginning of every test of books: an alert that has just been taken in, and its empty book.
//! Refuses to know what is planned for it.

use proptest::strategy::Strategy;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    book::Book,
    event::{Accepted, Decided, FactKind},
};
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
        targets: Vec::new(),
        doubts: Vec::new(),
        notice_of: None,
        owner: None,
        decided: Decided::default(),
    }
}

pub(crate) fn blank() -> Book {
    Book::new(accepted(json!({"status": "Actual"})), T0)
}

/// Whatever may be told of a delivery.
pub(crate) fn any_kind() -> impl Strategy<Value = FactKind> {
    proptest::sample::select(vec![
        FactKind::Accepted,
        FactKind::Delivered,
        FactKind::Played,
        FactKind::Answered,
        FactKind::Retry,
        FactKind::Throttled,
        FactKind::Unknown,
        FactKind::NextAccount,
        FactKind::UnknownNext,
        FactKind::Failed,
        FactKind::Unproven,
        FactKind::Expired,
        FactKind::Cancelled,
        FactKind::Suppressed,
        FactKind::Settled,
        FactKind::CameBack,
    ])
}
