//! Owns the JSON form of an alert (contract §2.1): the strict reading of what comes in, the normalised form, and reading that back from where it is kept.
//! Refuses to know CAP. Invariant: what `to_value` writes, `from_value` and `from_kept` read back to the same alert, every field of it.

mod kept;
mod object;
mod read;
mod text;
mod write;

use serde_json::Value;

use super::Alert;
use crate::fault::Fault;

pub use kept::{NotKept, from_kept};
pub(super) use read::{read, read_areas};
pub(super) use text::parse;
pub(super) use write::areas_value;
pub use write::to_value;

/// Reads an alert as it comes in from outside: by every rule of this program. What is kept is read by `from_kept`.
pub fn from_value(value: &Value) -> Result<Alert, Vec<Fault>> {
    read(value, &mut Vec::new())
}
