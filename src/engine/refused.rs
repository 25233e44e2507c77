//! Owns warnings that a way in brought and that were refused for what can be changed here: policy, registry, rights. Kept as they came, and tried
//! again when that has changed.
//! Refuses to judge: each try is a post like any other. Invariant: what is refused at a way in is told to a person; what is kept is bounded, and
//! leaves the list taken, with a reason, or at its time.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use super::{
    Unavailable,
    gateway::Gateway,
    intake::{Actor, SubmitError, hex},
};
use crate::{
    delivery::{
        event::{Event, Told},
        waiting::Waiting,
    },
    fault::Fault,
    time::Timestamp,
};

/// A configuration that refuses warnings is mended within a day, or by then they are over.
const KEPT_FOR: std::time::Duration = std::time::Duration::from_secs(24 * 3_600);
/// Larger documents are told and not kept: a warning is kilobytes.
const KEPT_BYTES_MAX: usize = 1 << 20;
/// Of one refusal that a person reads; all of them stand in the log and beside the file.
const FAULTS_TOLD: usize = 5;
const FORMAT: &str = "as-it-came";

/// Rules that a change of policy, registry or configuration may lift.
const MENDABLE: &[&str] = &[
    "no-policy-rule",
    "area-resolves-to-nothing",
    "unknown-area",
    "event-not-allowed",
    "level-not-allowed",
    "area-not-allowed",
    "sender-not-allowed",
];

/// Whether what is wrong with a document may be mended here, so that it is worth keeping.
fn is_mendable(faults: &[Fault]) -> bool {
    !faults.is_empty() && faults.iter().all(|fault| MENDABLE.contains(&fault.rule))
}

impl Gateway {
    /// Tells a person that a way in brought a warning which was refused, and keeps it where it may be taken later; until when it is kept.
    pub async fn note_refused(&self, body: &[u8], label: &str, by: &Actor, faults: &[Fault], detail: &str) -> Option<Timestamp> {
        let kept =
            if is_mendable(faults) && body.len() <= KEPT_BYTES_MAX { self.keep_refused(body, label, by, faults).await } else { Ok(None) };
        let until = kept.unwrap_or_else(|why| {
            tracing::error!(%why, label, "a refused document could not be kept");
            None
        });
        let told = faults.iter().take(FAULTS_TOLD).map(ToString::to_string).collect::<Vec<_>>().join("；");
        let told = if told.is_empty() { detail.to_owned() } else { told };
        let more =
            until.map_or_else(String::new, |until| format!("。已保留至{}，政策、名录或权限改好后自动重试", until.format("%m-%d %H:%M")));
        self.alarms.raise("inlet-refused", format!("{} {label}", by.name.trim_start_matches("inlet:")), format!("{told}{more}"));
        until
    }

    async fn keep_refused(&self, body: &[u8], label: &str, by: &Actor, faults: &[Fault]) -> Result<Option<Timestamp>, Unavailable> {
        let digest = hex(&Sha256::digest(body));
        if let Some(known) = self.ledger.waiting().into_iter().find(|known| known.digest == digest) {
            return Ok(Some(known.until));
        }
        let now = self.clock.now();
        let until = now.plus(KEPT_FOR);
        let source = by.source.clone().unwrap_or_default();
        let waiting = Waiting {
            at: now,
            until,
            by: by.name.clone(),
            owner: None,
            areas: Vec::new(),
            format: FORMAT.to_owned(),
            digest,
            sender: source.clone(),
            identifier: label.chars().take(200).collect(),
            references: Vec::new(),
            document: serde_json::Value::String(STANDARD.encode(body)),
            refused: faults.iter().take(FAULTS_TOLD).map(ToString::to_string).collect(),
            source,
        };
        self.append(vec![Event::Told(Box::new(Told::Waiting(Box::new(waiting))))]).await?;
        Ok(Some(until))
    }

    /// Tries all that was refused once more. Called at a start and when policy or registry have changed.
    pub(super) async fn retry_refused(&self) -> Result<(), Unavailable> {
        let now = self.clock.now();
        for one in self.ledger.waiting().into_iter().filter(|one| one.is_refused() && one.until > now) {
            self.retry_one(one).await?;
        }
        Ok(())
    }

    async fn retry_one(&self, one: Waiting) -> Result<(), Unavailable> {
        let actor = Actor::of_source(&one.by, &one.source);
        let body = one.document.as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        let why = match Box::pin(self.submit(&body, None, &actor)).await {
            Ok(taken) => format!("taken in as {}", taken.id),
            Err(SubmitError::Unavailable(unavailable)) => return Err(unavailable),
            // Not yet: it stays for the next change.
            Err(SubmitError::NoSource(_)) => return Ok(()),
            Err(SubmitError::Invalid(faults)) if is_mendable(&faults) => return Ok(()),
            Err(SubmitError::Invalid(faults) | SubmitError::Early(faults)) => {
                faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            }
            Err(error) => error.to_string(),
        };
        tracing::warn!(document = one.identifier, source = one.source, why, "a document that was refused was tried again");
        self.append(vec![Event::Told(Box::new(Told::WaitingEnded { at: self.clock.now(), digest: one.digest, why }))]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_document_itself_is_not_mended_here() {
        let faults = |rules: &[&'static str]| rules.iter().map(|rule| Fault::new("x", rule, "")).collect::<Vec<_>>();
        assert!(is_mendable(&faults(&["no-policy-rule", "area-resolves-to-nothing"])));
        assert!(!is_mendable(&faults(&["no-policy-rule", "expired"])) && !is_mendable(&[]));
    }
}
