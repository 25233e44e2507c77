//! Owns showing the effective configuration. Refuses to know what keys mean.
//! Invariant: no secret is shown, wherever it stands.

#[path = "show_body.rs"]
mod body;

use toml::{Table, Value};

use super::layers::{Layers, is_secret};

const MASK: &str = "***";

impl Layers {
    /// The effective configuration as TOML, secrets masked.
    pub fn show(&self) -> String {
        toml::to_string_pretty(&masked(&self.table)).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
    }
}

fn masked(table: &Table) -> Table {
    let mut shown = Table::new();
    for (key, value) in table {
        let value = match value {
            // Key files of TLS are paths, not secrets.
            Value::String(_) if is_secret(key) && !table.contains_key("cert") => Value::String(MASK.into()),
            // Headers that stood in a file of their own.
            Value::String(_) if key == "headers" => Value::String(MASK.into()),
            // What a far end is sent often holds an account and its password in so many words.
            Value::String(text) if key == "body" => Value::String(body::masked(text)),
            Value::String(text) => Value::String(without_login(text)),
            Value::Table(below) if key == "headers" => {
                Value::Table(below.keys().map(|name| (name.clone(), Value::String(MASK.into()))).collect())
            }
            Value::Table(below) => Value::Table(masked(below)),
            Value::Array(list) => Value::Array(list.iter().map(masked_item).collect()),
            other => other.clone(),
        };
        shown.insert(key.clone(), value);
    }
    shown
}

fn masked_item(item: &Value) -> Value {
    match item {
        Value::Table(below) => Value::Table(masked(below)),
        Value::String(text) => Value::String(without_login(text)),
        other => other.clone(),
    }
}

/// `https://user:password@host/path?key=…` without its login and without its query, which holds the keys of many far ends.
fn without_login(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?***"));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{MASK}@{host}{path}{query}"),
        None => format!("{scheme}://{authority}{path}{query}"),
    }
}
