//! Owns handing a document to the gateway in a source's name, and saying in one word of three what became of it.
//! Refuses to know where the document came from and what its inlet does with it then.
//! Invariant: `PutOff` is said exactly when nothing was decided about the document, so that it must come again.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    access::{Proofs, Shown},
    alert::AlertId,
    engine::{Gateway, intake::SubmitError},
    fault::Fault,
    telemetry::metrics as meter,
};

/// Faults of one document that are logged; all of them stand in what the inlet keeps.
const FAULTS_LOGGED_MAX: usize = 8;

/// Refusals that time may mend.
const MENDED_BY_TIME: &[&str] = &["sent-in-the-future"];

/// What became of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Durable at the gateway; `repeat` when it was so before.
    Taken { id: AlertId, repeat: bool },
    /// It came before what it refers to: durable at the gateway, and taken in when that comes.
    Kept,
    /// It will never be taken as it stands.
    Refused(Refusal),
    /// The store cannot write, or the source is gone: the same document may be taken later.
    PutOff(String),
}

/// Why a document was refused, as HTTP would say it (RFC 9457).
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Last part of the problem's type: `not-parseable`, `invalid-alert`, `conflict`, `too-large`.
    pub kind: &'static str,
    pub detail: String,
    pub problems: Vec<Fault>,
}

impl Refusal {
    pub fn new(kind: &'static str, detail: impl Into<String>, problems: Vec<Fault>) -> Self {
        Self { kind, detail: detail.into(), problems }
    }

    /// Whether the document has no form at all: it may be one that is still being written.
    pub fn is_formless(&self) -> bool {
        self.kind == "not-parseable"
    }

    /// Whether time alone may mend it: the clock of either side.
    pub fn may_mend(&self) -> bool {
        !self.problems.is_empty() && self.problems.iter().all(|fault| MENDED_BY_TIME.contains(&fault.rule))
    }

    /// A warning that has expired is no news, whatever else is wrong with it.
    pub fn is_over(&self) -> bool {
        self.problems.iter().any(|fault| fault.rule == "expired")
    }

    /// The problem document of the HTTP interface, as far as it has a meaning here.
    pub fn to_json(&self) -> Value {
        json!({ "type": format!("/problems/{}", self.kind), "detail": self.detail, "problems": self.problems })
    }
}

/// Who hands in.
#[derive(Clone)]
pub struct Hand {
    pub gateway: Gateway,
    /// Name of the inlet, the label of its metrics.
    pub inlet: String,
    /// `[[source]]` that it speaks for.
    pub source: String,
    pub proofs: Arc<Proofs>,
}

impl Hand {
    /// Posts one document; `label` is what people know it by (a file name, an entry's id).
    pub async fn hand_in(&self, body: &[u8], content_type: Option<&str>, label: &str) -> Verdict {
        let verdict = self.ask(body, content_type).await;
        self.tell(&verdict, label, body).await;
        verdict
    }

    /// As `hand_in`, without a word: for an inlet that may ask again before it says what became of the document.
    pub async fn ask(&self, body: &[u8], content_type: Option<&str>) -> Verdict {
        if let Some(refusal) = self.disbelief(body).await {
            return Verdict::Refused(refusal);
        }
        match self.gateway.submit(body, content_type, &super::actor(&self.inlet, &self.source)).await {
            Ok(submitted) => Verdict::Taken { id: submitted.id, repeat: submitted.repeat },
            Err(SubmitError::Conflict(known)) => self.revised(body, known).await,
            Err(error) => verdict_of(error),
        }
    }

    /// The publisher has changed what it had listed: people are told the change, or a person is told that they are not.
    async fn revised(&self, body: &[u8], known: AlertId) -> Verdict {
        match self.gateway.submit_revision(body, &super::actor(&self.inlet, &self.source), known).await {
            Ok(submitted) => Verdict::Taken { id: submitted.id, repeat: submitted.repeat },
            Err(error) => verdict_of(error),
        }
    }

    /// A source that signs its documents signs them whichever way they come. What is proved by a request or a connection cannot be
    /// proved here: the configuration has refused such a source.
    async fn disbelief(&self, body: &[u8]) -> Option<Refusal> {
        if !self.proofs.is_signed_within(&self.source) {
            return None;
        }
        let (proofs, source, body) = (Arc::clone(&self.proofs), self.source.clone(), body.to_vec());
        let checked = tokio::task::spawn_blocking(move || proofs.check(&source, Shown { body: &body, ..Shown::default() })).await;
        let why = match checked {
            Ok(Ok(())) => return None,
            Ok(Err(disbelief)) => disbelief.to_string(),
            Err(panic) => panic.to_string(),
        };
        Some(Refusal::new("bad-signature", why.clone(), vec![Fault::new("Signature", "bad-signature", why)]))
    }

    /// Counts and logs a verdict; inlets that refuse a document before the gateway sees it say so here too.
    /// What was refused is told to a person, and kept where a change here may mend it.
    pub async fn tell(&self, verdict: &Verdict, label: &str, body: &[u8]) {
        self.log(verdict, label);
        match verdict {
            Verdict::Refused(refusal) if !refusal.is_over() && refusal.kind != "conflict" => {
                let by = super::actor(&self.inlet, &self.source);
                if let Some(until) = self.gateway.note_refused(body, label, &by, &refusal.problems, &refusal.detail).await {
                    tracing::warn!(inlet = self.inlet, document = ?label, %until, "the refused document is kept and tried again when policy, registry or rights change");
                }
            }
            _ => {}
        }
    }

    fn log(&self, verdict: &Verdict, label: &str) {
        let (inlet, word) = (self.inlet.as_str(), verdict.word());
        meter::inlet_document(inlet, word);
        match verdict {
            Verdict::Taken { id, .. } => tracing::info!(inlet, document = ?label, alert = %id, "document {word}"),
            Verdict::Kept => tracing::warn!(inlet, document = ?label, "document {word}: what it refers to has not come yet"),
            Verdict::PutOff(why) => tracing::error!(inlet, document = ?label, why, "document cannot be taken now; it will come again"),
            Verdict::Refused(refusal) => {
                let all = refusal.problems.len();
                let told = refusal.problems.iter().take(FAULTS_LOGGED_MAX).map(ToString::to_string);
                let told = told.collect::<Vec<_>>().join("; ");
                let (kind, detail) = (refusal.kind, refusal.detail.as_str());
                tracing::warn!(inlet, document = ?label, kind, detail, faults = all, told, "document refused");
            }
        }
    }
}

impl Verdict {
    /// Closed word for metrics and logs.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Taken { repeat: false, .. } => "accepted",
            Self::Taken { repeat: true, .. } => "repeat",
            Self::Kept => "kept",
            Self::Refused(_) => "refused",
            Self::PutOff(_) => "put-off",
        }
    }
}

fn verdict_of(error: SubmitError) -> Verdict {
    let detail = error.to_string();
    match error {
        SubmitError::NotParseable(faults) => {
            let is_size = faults.iter().any(|fault| fault.rule == "too-large");
            Verdict::Refused(Refusal::new(if is_size { "too-large" } else { "not-parseable" }, detail, faults))
        }
        SubmitError::Early(_) => Verdict::Kept,
        SubmitError::Invalid(faults) => Verdict::Refused(Refusal::new("invalid-alert", detail, faults)),
        // Nothing new: what it says is known and in force.
        SubmitError::LikelyRepeat(id) => Verdict::Taken { id, repeat: true },
        SubmitError::Conflict(_) => {
            let fault = Fault::new("identifier", "conflict", detail.clone());
            Verdict::Refused(Refusal::new("conflict", detail, vec![fault]))
        }
        // The configuration may give the source back; a warning must not be lost over that.
        SubmitError::NoSource(_) | SubmitError::Unavailable(_) => Verdict::PutOff(detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Unavailable;

    #[test]
    fn only_what_the_gateway_has_not_decided_comes_again() {
        for error in [SubmitError::NoSource("met".into()), SubmitError::Unavailable(Unavailable::Failed("disk full".into()))] {
            assert_eq!(verdict_of(error).word(), "put-off");
        }
        let formless = verdict_of(SubmitError::NotParseable(vec![Fault::new("line 1", "not-xml", "no root")]));
        assert!(matches!(formless, Verdict::Refused(refusal) if refusal.is_formless()));
        let large = verdict_of(SubmitError::NotParseable(vec![Fault::new("", "too-large", "3 bytes")]));
        assert!(matches!(large, Verdict::Refused(refusal) if refusal.kind == "too-large" && !refusal.is_formless()));
    }

    #[test]
    fn only_what_time_alone_can_mend_may_be_asked_again() {
        let refusal =
            |rules: &[&'static str]| Refusal::new("invalid-alert", "", rules.iter().map(|rule| Fault::new("x", rule, "")).collect());
        assert!(refusal(&["sent-in-the-future"]).may_mend());
        assert_eq!(verdict_of(SubmitError::Early(Vec::new())), Verdict::Kept);
        assert!(!refusal(&["sent-in-the-future", "bad-level"]).may_mend() && !refusal(&[]).may_mend());
        assert!(refusal(&["no-policy-rule", "expired"]).is_over() && !refusal(&["no-policy-rule"]).is_over());
    }

    #[test]
    fn a_refusal_reads_as_the_problem_of_the_interface() {
        let refusal = Refusal::new("invalid-alert", "the alert breaks 1 rules", vec![Fault::new("expires", "expired", "long ago")]);
        let problems = json!([{ "path": "expires", "rule": "expired", "message": "long ago" }]);
        assert_eq!(
            refusal.to_json(),
            json!({ "type": "/problems/invalid-alert", "detail": "the alert breaks 1 rules", "problems": problems })
        );
    }
}
