//! Owns the report as CSV: one row a delivery, for an office's own tables.
//! Invariant: what stands in a cell is never a formula of a spreadsheet program.

use crate::{engine::look::DeliveryRow, time::Timestamp};

/// With the byte order mark that spreadsheet programs want.
pub(super) const HEAD: &str =
    "\u{feff}delivery,area,role,recipient,name,phone,channel,state,attempts,reason,accepted_at,delivered_at,answered_at\r\n";

pub(super) fn line(row: DeliveryRow) -> String {
    let mut line = cells(row).map(|cell| cell_of(&cell)).join(",");
    line.push_str("\r\n");
    line
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
    let guard = if text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) { "'" } else { "" };
    if text.contains(['"', ',', '\n', '\r']) || !guard.is_empty() {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_in_whatever_width_it_is_written() {
        for formula in ["=1+1", "+86", "-1", "@SUM", "＝1+1", "＋1", "－1", "＠SUM", " =1", "\t=1", "\u{3000}＝1"] {
            assert!(cell_of(formula).starts_with("\"'"), "{formula}");
        }
        assert_eq!((cell_of("王小明"), cell_of("a,\"b\"")), ("王小明".to_owned(), "\"a,\"\"b\"\"\"".to_owned()));
    }
}
