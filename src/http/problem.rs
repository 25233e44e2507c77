//! Owns errors over HTTP: RFC 9457 problem documents with every fault listed (contract §0).
//! Invariant: a person can act on what is said, and nothing internal is said.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{
    access::Disbelief,
    engine::{
        Unavailable,
        answer::{AnswerError, CallbackError},
        decide::DecideError,
        filed::Unreadable,
        intake::SubmitError,
        months::GiveBackError,
    },
    fault::Fault,
    registry::RegistryError,
};

/// How long a store that cannot be written is left alone.
const COME_AGAIN: Duration = Duration::from_secs(5);
/// A full disk is somebody's work, and an alert must not wait long after it is done.
const ROOM_WITHIN: Duration = Duration::from_secs(10);

/// A problem on its way out.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// Last part of the type: a word for machines.
    pub(super) kind: &'static str,
    title: &'static str,
    pub(super) detail: String,
    pub(super) problems: Vec<Fault>,
    /// When to come again, where the default is wrong.
    wait: Option<Duration>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind, title, detail: detail.into(), problems: Vec::new(), wait: None }
    }

    pub(super) fn with(mut self, problems: Vec<Fault>) -> Self {
        self.problems = problems;
        self
    }

    pub(super) fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", what)
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request cannot be read", detail)
    }

    /// What would have been ignored.
    pub(super) fn wrong_query(faults: Vec<Fault>) -> Self {
        let detail = "what the address does not know is refused, not ignored; nothing was read or changed";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-query", "The query is wrong", detail).with(faults)
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail)
    }

    /// A page of another address sends with the cookie of ours.
    pub(super) fn foreign_page(own: &str) -> Self {
        let detail = format!("the request does not come from a page of {own}; further addresses of it stand in [server] page_urls");
        Self::new(StatusCode::FORBIDDEN, "foreign-page", "Not from this page", detail)
    }

    /// The body came, but far too slowly.
    pub(super) fn slow_body() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow-body", "The body came too slowly", "nothing was done; send it again in one go")
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Who is asking?", "send Authorization: Bearer KEY, or sign in")
    }

    pub(super) fn bad_signature(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "bad-signature", "The signature is wrong", detail)
    }

    /// Something of ours broke; the log says what.
    pub(super) fn failed() -> Self {
        Self::of_status(StatusCode::INTERNAL_SERVER_ERROR, "")
    }

    /// A key was shown that nobody has, or that was revoked.
    pub(super) fn wrong_key() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "wrong-key",
            "The key is not known",
            "no key like this one is known, or it was revoked, or its time is over",
        )
    }

    /// A caller, or whoever guesses a password, has to wait this long.
    pub(super) fn too_often(wait: Duration) -> Self {
        let wait = wait.max(Duration::from_secs(1));
        let detail = format!("come again in {} s", wait.as_secs());
        Self { wait: Some(wait), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too-often", "Too many requests", detail) }
    }

    /// An answer of the framework, in our own form: `said` is what it would have told.
    pub(super) fn of_status(status: StatusCode, said: &str) -> Self {
        let (kind, title, detail) = match status {
            StatusCode::METHOD_NOT_ALLOWED => {
                ("method-not-allowed", "Not this method", "the address knows other methods: see the Allow header")
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported-media-type", "Another form is wanted", said),
            StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "Too large", said),
            StatusCode::SERVICE_UNAVAILABLE => {
                ("too-slow", "It took too long", "what was not answered may have been done: look before sending it again")
            }
            status if status.is_server_error() => {
                ("failed", "The gateway failed", "the request could not be carried out; the log says why")
            }
            _ => ("bad-request", "The request cannot be read", said),
        };
        Self::new(status, kind, title, detail)
    }

    /// A bound of things at one time is reached.
    pub(super) fn busy(what: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Too much at one time", what)
    }

    pub(super) fn too_large(most: usize) -> Self {
        let detail = format!("the body is larger than {most} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let told = self.clone();
        let body = Json(json!({
            "type": format!("/problems/{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "problems": self.problems,
        }));
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.status {
            StatusCode::UNAUTHORIZED => drop(headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                drop(headers.insert(header::RETRY_AFTER, HeaderValue::from(self.wait.unwrap_or(COME_AGAIN).as_secs())));
            }
            _ => {}
        }
        // A browser gets a page of the same; `limits` makes it where it knows who asked.
        response.extensions_mut().insert(told);
        response
    }
}

pub(super) async fn no_such_page() -> Problem {
    Problem::not_found("there is nothing at this address")
}

impl Problem {
    /// What did not find room on the disk, and may be sent again.
    pub(super) fn storage_full(detail: impl Into<String>) -> Self {
        Self { wait: Some(ROOM_WITHIN), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage-full", "The disk is full", detail) }
    }
}

impl From<Unavailable> for Problem {
    fn from(error: Unavailable) -> Self {
        if let Unavailable::NoSpace(lack) = error {
            // One alarm tells of the outage; a line for each request would fill the disk further.
            tracing::debug!(%lack, "refused for lack of space");
            let detail = format!("{lack}; nothing was kept or promised: send it again");
            return Self::storage_full(detail);
        }
        tracing::error!(%error, "the store refused");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", "Cannot be stored now", "nothing was promised; send it again")
    }
}

impl From<Disbelief> for Problem {
    /// Who cannot show who they are is not known (401); a nonce that was used is a conflict with what is on record (409).
    fn from(why: Disbelief) -> Self {
        let detail = why.to_string();
        match why {
            Disbelief::NoCertificate(_) => {
                Self::new(StatusCode::UNAUTHORIZED, "no-client-certificate", "A client certificate is needed", detail)
            }
            Disbelief::Unsigned(_) => Self::new(StatusCode::UNAUTHORIZED, "unsigned", "A signature is needed", detail),
            Disbelief::BadSignature(_) => Self::bad_signature(detail),
            Disbelief::Expired { .. } | Disbelief::Unknowable { .. } => {
                Self::new(StatusCode::UNAUTHORIZED, "expired-signature", "Signed too long ago or too far ahead", detail)
            }
            Disbelief::Replayed => Self::new(StatusCode::CONFLICT, "replayed", "The signature was used before", detail),
            Disbelief::TooMany => Self::new(StatusCode::TOO_MANY_REQUESTS, "too-often", "Too many requests", detail),
            Disbelief::NotKept(error) => {
                tracing::error!(%error, "the nonce of a signed request cannot be kept");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "store-unavailable",
                    "Cannot be stored now",
                    "nothing was promised; sign and send it again",
                )
            }
        }
    }
}

/// Kind and title, where nothing is wrong with an alert but who says it; the first fault names the kind, all are listed.
fn of_authority(faults: &[Fault]) -> Option<(&'static str, &'static str)> {
    let right = |fault: &Fault| match fault.rule {
        "sender-not-allowed" => Some((fault.rule, "Not in this sender's name")),
        "event-not-allowed" => Some((fault.rule, "Not this event")),
        "level-not-allowed" => Some((fault.rule, "Not this level")),
        "area-not-allowed" => Some((fault.rule, "Not for this area")),
        "known-by-other-source" => Some((fault.rule, "Posted by another source")),
        _ => None,
    };
    if faults.iter().any(|fault| right(fault).is_none()) { None } else { right(faults.first()?) }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        let detail = error.to_string();
        match error {
            SubmitError::NotParseable(faults) => {
                // Size is a matter of the request, not of its form.
                if faults.iter().any(|fault| fault.rule == "too-large") {
                    return Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail).with(faults);
                }
                Self::new(StatusCode::BAD_REQUEST, "not-parseable", "Not an alert document", detail).with(faults)
            }
            SubmitError::Invalid(faults) if let Some((kind, title)) = of_authority(&faults) => {
                Self::new(StatusCode::FORBIDDEN, kind, title, "the alert is sound; its source may not say all of it").with(faults)
            }
            SubmitError::Invalid(faults) | SubmitError::Early(faults) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-alert", "The alert breaks rules", detail).with(faults)
            }
            SubmitError::Conflict(_) => {
                let detail = format!("{detail}; to change what it says post an Update that refers to it");
                Self::new(StatusCode::CONFLICT, "conflict", "Known with other content", detail)
            }
            SubmitError::LikelyRepeat(_) => {
                let detail = format!(
                    "{detail}: nothing was sent again; to change it post an Update, and to say it once more give it an identifier of its own"
                );
                Self::new(StatusCode::CONFLICT, "likely-repeat-of", "The same warning again", detail)
            }
            SubmitError::NoSource(_) => {
                let detail = "this key speaks for no [[source]] of the configuration";
                Self::new(StatusCode::FORBIDDEN, "no-source", "The key speaks for no source", detail)
            }
            SubmitError::Unavailable(error) => error.into(),
        }
    }
}

impl From<DecideError> for Problem {
    fn from(error: DecideError) -> Self {
        let detail = error.to_string();
        match error {
            DecideError::NoSuchAlert => Self::not_found(detail),
            DecideError::NotHeld(_) => Self::new(StatusCode::CONFLICT, "not-held", "Not waiting for approval", detail),
            DecideError::NothingToCancel(_) => Self::new(StatusCode::CONFLICT, "nothing-to-cancel", "Nothing to cancel", detail),
            DecideError::SamePerson => Self::new(StatusCode::FORBIDDEN, "same-person", "A second person is needed", detail),
            DecideError::Expired => Self::new(StatusCode::CONFLICT, "expired", "The alert has expired", detail),
            DecideError::Unreadable(error) => error.into(),
            DecideError::Unavailable(error) => error.into(),
        }
    }
}

impl From<AnswerError> for Problem {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::BadToken | AnswerError::NoSuchAlert | AnswerError::NotTold(_) => Self::not_found(error.to_string()),
            AnswerError::Over => Self::new(
                StatusCode::GONE,
                "alert-over",
                "The warning is over",
                "the warning has long been over; the answer was kept, but nobody acts on it any more: in need call 110, 119 or 120",
            ),
            AnswerError::TooOften(wait) => Self::too_often(wait),
            AnswerError::Filed => Self::new(StatusCode::CONFLICT, "alert-filed", "The alert is filed", error.to_string()),
            AnswerError::Unreadable(error) => error.into(),
            AnswerError::Unavailable(error) => error.into(),
        }
    }
}

impl From<GiveBackError> for Problem {
    fn from(error: GiveBackError) -> Self {
        let detail = error.to_string();
        match error {
            GiveBackError::NoSuchMonth(_) => Self::not_found(detail),
            GiveBackError::Unfiled { .. } | GiveBackError::Refused(_) => {
                Self::new(StatusCode::CONFLICT, "month-kept", "The month is kept", detail)
            }
            GiveBackError::Unavailable(error) => error.into(),
        }
    }
}

impl From<Unreadable> for Problem {
    fn from(error: Unreadable) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "filed-unreadable", "What is filed cannot be read", error.to_string())
    }
}

impl From<CallbackError> for Problem {
    fn from(error: CallbackError) -> Self {
        match error {
            CallbackError::NoChannel => Self::not_found(error.to_string()),
            CallbackError::Refused(failure) => Self::bad_request(failure.reason),
            CallbackError::Unavailable(error) => error.into(),
        }
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        let detail = error.to_string();
        match error {
            RegistryError::Refused(faults) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-registry", "The registry refuses it", detail).with(faults)
            }
            RegistryError::Write { ref source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Self::storage_full("the registry could not be written: nothing was changed; send it again")
            }
            RegistryError::Write { .. } => {
                tracing::error!(detail, "the registry cannot be written");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "registry-unavailable", "Cannot be stored now", "nothing was changed")
            }
        }
    }
}
