//! Owns reading what a gateway calls us with: delivery reports and replies, in the places that the table names.
//! Refuses to know which gateway it is, and who may call: the driver has checked the token before. Pure.
//! Invariant: an entry that cannot be read takes no other entry with it; a call without a single readable one is refused.

use serde_json::Value;

use super::reading::{Classes, close, inner, pointer, reason, text_at};
use crate::{
    channel::{
        About, Callback, Failure, News, Reception, Report,
        callback::{Fields, malformed},
        http_client::masked_numbers,
    },
    keys::Keys,
};

/// Gateways push at most a few hundred at once; a longer list is not from one.
const ENTRIES_MAX: usize = 5_000;
/// A status word is short; free text beside it is not kept.
const STATUS_CHARS_MAX: usize = 60;

/// `[channel.NAME.receipt]`
pub(super) struct Receipt {
    list: List,
    about: Naming,
    status: String,
    delivered: Vec<String>,
    failed: Classes,
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
    at: Option<String>,
    reply: String,
}

impl Receipt {
    pub(super) fn read(keys: &mut Keys<'_>) -> Option<Self> {
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
        let delivered = inside.texts("delivered");
        if delivered.is_empty() {
            inside.fault("delivered", "missing", "must list the status words that mean delivered");
        }
        let receipt = Self {
            list: List::read(&mut inside),
            about,
            status: needed(&mut inside, "status"),
            delivered,
            failed: Classes::read(&mut inside, "failed"),
        };
        close(keys, inside, receipt)
    }

    pub(super) fn names_provider_ref(&self) -> bool {
        matches!(self.about, Naming::ProviderRef { .. })
    }

    pub(super) fn reports(&self, account: &str, callback: &Callback) -> Result<Reception, Failure> {
        self.list.receive(account, callback, |entry| {
            let about = match &self.about {
                Naming::Id(id) => About::Delivery(text_at(entry, id)?.parse().ok()?),
                Naming::ProviderRef { provider_ref, to } => {
                    About::ProviderRef { provider_ref: text_at(entry, provider_ref)?, to: to.as_ref().and_then(|to| text_at(entry, to)) }
                }
            };
            let status = text_at(entry, &self.status)?;
            let Some(news) = self.news(&status) else { return Some(None) };
            Some(Some(Report { about, news, at: None }))
        })
    }

    /// A status that is listed nowhere is taken for one on the way, and settles nothing.
    fn news(&self, status: &str) -> Option<News> {
        if self.delivered.iter().any(|word| word == status) {
            return Some(News::Delivered);
        }
        let class = self.failed.of_code(status)?;
        let detail = masked_numbers(status).chars().take(STATUS_CHARS_MAX).collect();
        Some(News::Failed(Failure { class, reason: reason(class), detail, retry_after: None }))
    }
}

impl Replies {
    pub(super) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let mut inside = inner(keys, "answer")?;
        let replies = Self { list: List::read(&mut inside), from: needed(&mut inside, "from"), text: needed(&mut inside, "text") };
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
    fn read(keys: &mut Keys<'_>) -> Self {
        Self {
            is_query: keys.word("form", &["json", "query"], "json") == "query",
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
            let fields = Fields::of(callback).into_pairs().map(|(name, value)| (name, Value::String(value)));
            return Ok(Value::Object(fields.collect()));
        }
        serde_json::from_slice(&callback.body).map_err(|_| malformed("the body is not JSON"))
    }
}

fn needed(keys: &mut Keys<'_>, key: &'static str) -> String {
    if !keys.has(key) {
        keys.fault(key, "missing", "must be given");
    }
    pointer(keys, key).unwrap_or_default()
}
