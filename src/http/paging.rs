//! Owns the pages of lists that are made whole at each look (calls, loudspeakers, help, alarms, accounts, sessions).
//! Refuses to know what stands in them. Invariant: without `limit` the list comes whole; with it, page by page, each row that stays is shown.

use std::collections::HashMap;

use axum::Json;
use serde::Serialize;
use serde_json::{Value, json};

use super::{alerts::limit_of, problem::Problem};

/// The part of a list that was asked for. `next` counts the rows before it: they are made anew for each look, and carry no number of their own.
pub(super) fn page<T: Serialize>(mut items: Vec<T>, words: &HashMap<String, String>) -> Result<Json<Value>, Problem> {
    let asked = |name: &str| words.get(name).filter(|text| !text.is_empty());
    let from = match asked("cursor") {
        Some(text) => text.parse::<usize>().map_err(|_| Problem::bad_request("the cursor is not one of this list"))?.min(items.len()),
        None => 0,
    };
    items.drain(..from);
    let next = match asked("limit") {
        Some(text) => {
            let limit = limit_of(text)?;
            let more = items.len() > limit;
            items.truncate(limit);
            more.then(|| (from + limit).to_string())
        }
        None => None,
    };
    Ok(Json(json!({ "items": items, "next": next })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(limit: &str, cursor: &str) -> Option<(Value, Value)> {
        let words = HashMap::from([("limit".to_owned(), limit.to_owned()), ("cursor".to_owned(), cursor.to_owned())]);
        let Json(page) = page(vec![1, 2, 3], &words).ok()?;
        Some((page["items"].clone(), page["next"].clone()))
    }

    #[test]
    fn a_list_comes_whole_or_page_by_page_and_a_wrong_bound_is_a_fault() {
        assert_eq!(asked("", ""), Some((json!([1, 2, 3]), Value::Null)));
        assert_eq!(asked("2", ""), Some((json!([1, 2]), json!("2"))));
        assert_eq!(asked("2", "2"), Some((json!([3]), Value::Null)));
        assert_eq!(asked("3", "0"), Some((json!([1, 2, 3]), Value::Null)));
        assert_eq!(asked("1", "99"), Some((json!([]), Value::Null)));
        for (limit, cursor) in [("0", ""), ("1001", ""), ("many", ""), ("1", "-1"), ("1", "x")] {
            assert_eq!(asked(limit, cursor), None, "{limit} {cursor}");
        }
    }
}
