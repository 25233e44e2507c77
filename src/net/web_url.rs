//! Owns reading a far end's address from a table: http or https, with a host, without credentials.
//! Refuses to know what lies behind it. Invariant: an address that was at fault is replaced by one that goes nowhere.

use reqwest::Url;

use crate::keys::Keys;

pub(crate) fn required(keys: &mut Keys<'_>, key: &'static str) -> Url {
    let text = keys.required(key);
    read(keys, key, &text)
}

pub(crate) fn or_default(keys: &mut Keys<'_>, key: &'static str, default: &str) -> Url {
    let text = keys.text(key).unwrap_or_else(|| default.to_owned());
    read(keys, key, &text)
}

fn read(keys: &mut Keys<'_>, key: &'static str, text: &str) -> Url {
    match text.parse::<Url>() {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && url.password().is_none() => {
            url
        }
        _ => {
            // `required` has already said that an empty one is missing.
            if !text.is_empty() {
                keys.fault(key, "bad-url", "must be an http or https address without a user name, such as http://127.0.0.1:13013/path");
            }
            Url::parse("http://nowhere.invalid/").expect("a fixed valid URL")
        }
    }
}
