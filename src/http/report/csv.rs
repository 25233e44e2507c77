//! Owns the report as CSV: one row a delivery, for an office's own tables.
//! Invariant: what stands in a cell is never a formula of a spreadsheet program.

use crate::{engine::look::DeliveryRow, time::Timestamp};

/// With the byte order mark that spreadsheet programs want.
pub(super) fn csv(rows: impl Iterator<Item = DeliveryRow>) -> String {
    let mut out = String::from(
        "\u{feff}delivery,area,role,recipient,name,phone,channel,state,attempts,reason,accepted_at,delivered_at,answered_at\r\n",
    );
    for row in rows {
        out.push_str(&cells(row).map(|cell| cell_of(&cell)).join(","));
        out.push_str("\r\n");
    }
    out
}

/// What both tables of deliveries show, in their order of columns.
pub(super) fn cells(row: DeliveryRow) -> [String; 13] {
    let time = |at: Option<Timestamp>| at.map_or_else(String::new, |at| at.to_string());
    [
        row.id,
        row.recipient.area.to_string(),
        row.recipient.role,
        row.recipient.id,
        row.recipient.name,
        row.recipient.phone.unwrap_or_default(),
        row.channel,
        row.state.to_owned(),
        row.attempts.to_string(),
        row.reason.unwrap_or_default(),
        time(row.accepted_at),
        time(row.delivered_at),
        time(row.answered_at.or(row.played_at)),
    ]
}

/// Quoted, and never a formula of a spreadsheet.
fn cell_of(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    if text.contains(['"', ',', '\n', '\r']) || !guard.is_empty() {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
