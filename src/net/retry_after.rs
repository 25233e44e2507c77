//! Owns reading how long a far end over HTTP asks to be left alone (RFC 9110 §10.2.3). Refuses to decide how much of it is honoured.
//! Invariant: a date is held against the far end's own clock, never against ours.

use std::time::Duration;

use reqwest::header;

/// Seconds, or a date, which is read against the far end's own `Date` so that nobody's clock matters.
pub(crate) fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let hint = text(header::RETRY_AFTER)?;
    if let Ok(seconds) = hint.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let instant = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp());
    let wait = instant(hint)?.duration_since(instant(text(header::DATE)?)?);
    Some(wait.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_to_wait_is_read_as_seconds_or_as_a_date() {
        let mut headers = header::HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        headers.insert(header::RETRY_AFTER, "120".parse().expect("a value"));
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(120)));
        headers.insert(header::RETRY_AFTER, "Wed, 21 Oct 2026 07:28:30 GMT".parse().expect("a value"));
        headers.insert(header::DATE, "Wed, 21 Oct 2026 07:28:00 GMT".parse().expect("a value"));
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(30)));
        headers.insert(header::RETRY_AFTER, "soon".parse().expect("a value"));
        assert_eq!(retry_after(&headers), None);
    }
}
