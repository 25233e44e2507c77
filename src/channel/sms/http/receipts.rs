//! Owns reading what a gateway calls us with: delivery reports and replies, in the places that the table names.
//! Refuses to know which gateway it is, and who may call: the driver has checked the token before. Pure.
//! Invariant: an entry that cannot be read takes no other entry with it; a call without a single readable one is refused.

use encoding_rs::{Encoding, UTF_8};
use serde_json::Value;

use super::reading::{Classes, close, inner, pointer, text_at};
use crate::{
    channel::{
        About, Callback, Failure, News, Reception, Report,
        callback::{Fields, charset_of, malformed},
        http_client::masked_numbers,
    },
    keys::Keys,
    message::DeliveryId,
    time::Timestamp,
};

/// Gateways push at most a few hundred at once; a longer list is not from one.
const ENTRIES_MAX: usize = 5_000;
/// Where gateways write times without a zone they mean Beijing's.
const OFFSET: &str = "+08:00";
/// In seconds the year 5138; in milliseconds March 1973, before any short message.
const SECONDS_MAX: i64 = 100_000_000_000;
/// A status word is short; free text beside it is not kept.
const STATUS_CHARS_MAX: usize = 60;

/// `[channel.NAME.receipt]`
pub(super) struct Receipt {
    list: List,
    about: Naming,
    status: String,
    delivered: Vec<String>,
    failed: Classes,
    /// Where and what says more about a failure than its status does.
    code: Option<String>,
    codes: Classes,
    time: Option<Time>,
}

/// When it happened, by the gateway's clock.
struct Time {
    at: String,
    /// Added to times that name none, such as `2026-07-23 10:15:00`.
    offset: String,
}

/// `[channel.NAME.answer]`
pub(super) struct Replies {
    list: List,
    from: String,
    text: String,
}

enum Naming {
    Id(String),
    ProviderRef { provider_ref: String, to: Option<String> },
}

struct List {
    is_query: bool,
    charset: Option<&'static Encoding>,
    at: Option<String>,
    reply: String,
}

impl Receipt {
    pub(super) fn read(keys: &mut Keys<'_>, charset: Option<&'static Encoding>) -> Option<Self> {
        let mut inside = inner(keys, "receipt")?;
        let (id, provider_ref) = (pointer(&mut inside, "id"), pointer(&mut inside, "provider_ref"));
        let to = pointer(&mut inside, "to");
        let about = match (id, provider_ref) {
            (Some(id), None) => Naming::Id(id),
            (None, Some(provider_ref)) => Naming::ProviderRef { provider_ref, to },
            _ => {
                inside.fault("id", "missing", "either id (our delivery id) or provider_ref (the gateway's message_id) must be given");
                Naming::Id(String::new())
            }
        };
        let delivered = inside.plain("delivered");
        if delivered.is_empty() {
            inside.fault("delivered", "missing", "must list the status words that mean delivered");
        }
        let receipt = Self {
            list: List::read(&mut inside, charset),
            about,
            status: needed(&mut inside, "status"),
            delivered,
            failed: Classes::read(&mut inside, "failed"),
            code: pointer(&mut inside, "code"),
            codes: Classes::read(&mut inside, "codes"),
            time: Time::read(&mut inside),
        };
        close(keys, inside, receipt)
    }

    pub(super) fn names_provider_ref(&self) -> bool {
        matches!(self.about, Naming::ProviderRef { .. })
    }

    /// Whether reports tell apart the numbers of one request.
    pub(super) fn names_number(&self) -> bool {
        matches!(self.about, Naming::ProviderRef { to: Some(_), .. })
    }

    /// `own_ref` makes the gateway's id and the number that it names into what the send called the message.
    pub(super) fn reports(
        &self,
        account: &str,
        callback: &Callback,
        only: Option<DeliveryId>,
        own_ref: impl Fn(String, Option<&str>) -> String,
    ) -> Result<Reception, Failure> {
        self.list.receive(account, callback, |entry| {
            let about = match &self.about {
                // The address was of this one message, and proves it; what the report calls it besides must not be another of ours.
                _ if let Some(id) = only => {
                    let named = if let Naming::Id(at) = &self.about { text_at(entry, at) } else { None };
                    if named.is_some_and(|named| named != id.to_string()) {
                        return None;
                    }
                    About::Handed { id, attempt: None, readers: Vec::new() }
                }
                Naming::Id(id) => About::Delivery(text_at(entry, id)?.parse().ok()?),
                Naming::ProviderRef { provider_ref, to } => {
                    let to = to.as_ref().and_then(|to| text_at(entry, to));
                    About::ProviderRef { provider_ref: own_ref(text_at(entry, provider_ref)?, to.as_deref()), to }
                }
            };
            let status = text_at(entry, &self.status)?;
            let code = self.code.as_ref().and_then(|code| text_at(entry, code)).unwrap_or_default();
            let Some(news) = self.news(&status, &code) else { return Some(None) };
            let at = self.time.as_ref().and_then(|time| time.read_at(entry));
            Some(Some(Report { about, news, at }))
        })
    }

    /// A status that is listed nowhere is taken for one on the way, and settles nothing.
    fn news(&self, status: &str, code: &str) -> Option<News> {
        if self.delivered.iter().any(|word| word == status) {
            return Some(News::Delivered);
        }
        let by_status = self.failed.of_code(status)?;
        let meaning = self.codes.of_code(code).unwrap_or(by_status);
        let telling = format!("{status} {code}");
        let detail: String =
            masked_numbers(telling.trim_end()).chars().filter(|letter| !letter.is_control()).take(STATUS_CHARS_MAX).collect();
        Some(News::Failed(Failure::new(meaning.class, meaning.concerns, meaning.reason, detail)))
    }
}

impl Time {
    fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let offset = keys.text("time_offset").unwrap_or_else(|| OFFSET.to_owned());
        if local_time("2026-07-23 10:15:00", &offset).is_none() {
            keys.fault("time_offset", "bad-offset", "must be an offset such as +08:00");
        }
        pointer(keys, "time").map(|at| Self { at, offset })
    }

    fn read_at(&self, entry: &Value) -> Option<Timestamp> {
        told_at(&text_at(entry, &self.at)?, &self.offset)
    }
}

/// Seconds or milliseconds since 1970, RFC 3339, or a date and a time of day in the gateway's own zone.
fn told_at(text: &str, offset: &str) -> Option<Timestamp> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(Timestamp::from_ms(if number < SECONDS_MAX { number.checked_mul(1_000)? } else { number }));
    }
    text.parse().ok().or_else(|| local_time(text, offset))
}

fn local_time(text: &str, offset: &str) -> Option<Timestamp> {
    format!("{}{offset}", text.replacen(' ', "T", 1)).parse().ok()
}

impl Replies {
    pub(super) fn read(keys: &mut Keys<'_>, charset: Option<&'static Encoding>) -> Option<Self> {
        let mut inside = inner(keys, "answer")?;
        let replies = Self { list: List::read(&mut inside, charset), from: needed(&mut inside, "from"), text: needed(&mut inside, "text") };
        close(keys, inside, replies)
    }

    pub(super) fn reports(&self, account: &str, callback: &Callback) -> Result<Reception, Failure> {
        self.list.receive(account, callback, |entry| {
            let from = text_at(entry, &self.from).filter(|from| !from.is_empty())?;
            let text = text_at(entry, &self.text)?;
            Some(Some(Report { about: About::Phone(from), news: News::Reply(text), at: None }))
        })
    }
}

impl List {
    fn read(keys: &mut Keys<'_>, charset: Option<&'static Encoding>) -> Self {
        Self {
            is_query: keys.word("form", &["json", "query"], "json") == "query",
            charset,
            at: pointer(keys, "list"),
            reply: keys.text("reply").unwrap_or_default(),
        }
    }

    /// `read` gives `None` for an entry that makes no sense, and `Some(None)` for one that says nothing new.
    fn receive(&self, account: &str, callback: &Callback, read: impl Fn(&Value) -> Option<Option<Report>>) -> Result<Reception, Failure> {
        let whole = self.whole(callback)?;
        let place = match &self.at {
            Some(at) => whole.pointer(at).ok_or_else(|| malformed("the list of reports is not where the table says"))?,
            None => &whole,
        };
        let entries = place.as_array().map_or(std::slice::from_ref(place), Vec::as_slice);
        if entries.len() > ENTRIES_MAX {
            return Err(malformed("too many reports in one call"));
        }
        let (mut reports, mut odd) = (Vec::new(), 0_usize);
        for entry in entries {
            match read(entry) {
                Some(report) => reports.extend(report),
                None => odd += 1,
            }
        }
        if odd > 0 {
            tracing::warn!(channel = %account, odd, of = entries.len(), "entries of a callback could not be read");
        }
        if odd > 0 && odd == entries.len() {
            return Err(malformed("no entry holds what the table names"));
        }
        let content_type = if self.reply.starts_with('{') { "application/json" } else { "text/plain; charset=utf-8" };
        Ok(Reception { reports, status: 200, content_type, body: self.reply.clone() })
    }

    fn whole(&self, callback: &Callback) -> Result<Value, Failure> {
        if self.is_query {
            let fields = Fields::of(callback, self.charset).into_pairs().map(|(name, value)| (name, Value::String(value)));
            return Ok(Value::Object(fields.collect()));
        }
        let kind = callback.content_type.as_deref().unwrap_or_default();
        let read = match charset_of(kind).or(self.charset).filter(|&charset| charset != UTF_8) {
            Some(charset) => serde_json::from_str(&charset.decode_with_bom_removal(&callback.body).0),
            None => serde_json::from_slice(&callback.body),
        };
        read.map_err(|_| malformed("the body is not JSON"))
    }
}

fn needed(keys: &mut Keys<'_>, key: &'static str) -> String {
    if !keys.has(key) {
        keys.fault(key, "missing", "must be given");
    }
    pointer(keys, key).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_gateways_are_read_in_every_usual_form() {
        let beijing = Timestamp::from_ms(1_784_772_900_000);
        for text in ["1784772900", "1784772900000", "2026-07-23T10:15:00+08:00", "2026-07-23T02:15:00Z", "2026-07-23 10:15:00"] {
            assert_eq!(told_at(text, OFFSET), Some(beijing), "{text}");
        }
        for text in ["", "soon", "2026-07-23", "20260723101500x", "99999999999999999999"] {
            assert_eq!(told_at(text, OFFSET), None, "{text}");
        }
    }
}
