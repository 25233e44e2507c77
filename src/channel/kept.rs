//! Owns how a far end's news are kept in a file and read back.
//! Refuses to know why they are kept. Invariant: what is read back is what was kept, but for reasons beyond the bound.

use std::{collections::BTreeSet, sync::Mutex, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Class, Concerns, Failure};

/// Reasons are a closed set of some hundred words; what a file holds beyond that is none of ours.
const WORDS_MAX: usize = 500;
const UNLISTED: &str = "unlisted-reason";

#[derive(Serialize, Deserialize)]
struct KeptFailure {
    class: Class,
    /// Not kept before there was such a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    concerns: Option<Concerns>,
    reason: String,
    detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl From<Failure> for KeptFailure {
    fn from(failure: Failure) -> Self {
        let retry_after_ms = failure.retry_after.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        Self {
            class: failure.class,
            concerns: Some(failure.concerns),
            reason: failure.reason.to_owned(),
            detail: failure.detail,
            retry_after_ms,
        }
    }
}

impl From<KeptFailure> for Failure {
    fn from(kept: KeptFailure) -> Self {
        let retry_after = kept.retry_after_ms.map(Duration::from_millis);
        let concerns = kept.concerns.unwrap_or(match kept.class {
            Class::Misconfigured => Concerns::Account,
            Class::Throttled | Class::Unknown => Concerns::Provider,
            Class::Retry | Class::Reject | Class::OptedOut => Concerns::Recipient,
        });
        Self { class: kept.class, concerns, reason: word(kept.reason), detail: kept.detail, retry_after }
    }
}

// By hand: what is derived would ask for bytes that live for ever, as the reason does.
impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        KeptFailure::from(self.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Failure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        KeptFailure::deserialize(deserializer).map(Self::from)
    }
}

/// The one copy of this word for as long as the program runs.
fn word(text: String) -> &'static str {
    static WORDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut words = WORDS.lock().expect("no code panics while it holds the words");
    if let Some(known) = words.get(text.as_str()) {
        return known;
    }
    if words.len() >= WORDS_MAX {
        return UNLISTED;
    }
    let kept: &'static str = Box::leak(text.into_boxed_str());
    words.insert(kept);
    kept
}

#[cfg(test)]
mod tests {
    use super::super::News;
    use super::*;

    #[test]
    fn news_read_back() {
        let failure = Failure {
            class: Class::Throttled,
            concerns: Concerns::Provider,
            reason: "http-429",
            detail: "later, please".into(),
            retry_after: Some(Duration::from_millis(1_500)),
        };
        for news in [
            News::Delivered,
            News::Failed(failure.clone()),
            News::Failed(Failure { retry_after: None, concerns: Concerns::Message, ..failure }),
            News::Reply("1".into()),
        ] {
            let kept = serde_json::to_string(&news).expect("kept");
            assert_eq!(serde_json::from_str::<News>(&kept).expect("read"), news, "{kept}");
        }
    }
}
