//! Owns one request to the far end: who we are, the signature (Standard Webhooks 1), and what the answer means for the document.
//! Refuses to try again and to know alerts.
//! Invariant: `Taken` is said only of a whole answer of 2xx; no secret and no query stands in what is said of a failure.

use std::{path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, Response, StatusCode, Url, header, redirect};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use sha2::Sha256;

use super::{document::Document, settings::Settings};
use crate::{
    net::{
        retry_after::retry_after,
        tls::{self, Trust},
    },
    time::Timestamp,
};

/// Answers are an id or a problem; what comes beyond is not read, and the connection not used again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Shorter than any server's patience: a connection that it closes under a request leaves it unknown.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// A far end that asks for more has made a mistake; a warning does not wait for that.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Taken,
    /// This document is not wanted.
    Refused(u16),
    /// The far end knows the key, and is either still busy with it or has other content under it.
    Busy,
    /// Nothing is known against the document; it goes again.
    Later {
        why: String,
        after: Option<Duration>,
        /// Our account there is wrong: waiting alone will not mend it.
        ours: bool,
    },
}

pub(super) struct Poster {
    client: Client,
    key: Option<SecretString>,
    hmac_key: Option<SecretSlice<u8>>,
}

impl Poster {
    pub(super) fn new(settings: &Settings, base_dir: &Path) -> Result<Self, String> {
        let read = |path: &String| std::fs::read(base_dir.join(path)).map_err(|error| format!("ca {path}: {error}"));
        let pem = settings.ca.as_ref().map(read).transpose()?;
        let tls = tls::client_config(&pem.as_deref().map_or(Trust::WebRoots, Trust::Only)).map_err(|error| format!("ca: {error}"))?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls.as_ref().clone())
            // A redirect would carry our key to whoever is named there.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(IDLE_MAX)
            .connect_timeout(settings.timeout / 2)
            .timeout(settings.timeout)
            .user_agent(concat!("lastmile/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.without_url().to_string())?;
        Ok(Self { client, key: settings.key.clone(), hmac_key: settings.hmac_key.clone() })
    }

    pub(super) async fn post(&self, url: &Url, word: &'static str, document: Document, now: Timestamp) -> Verdict {
        let mut request = self
            .client
            .post(url.clone())
            .header(header::CONTENT_TYPE, document.content_type)
            .header("idempotency-key", &document.key)
            .header("lastmile-document", word);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.expose_secret());
        }
        if let Some(hmac_key) = &self.hmac_key {
            let seconds = now.as_ms() / 1_000;
            request = request
                .header("webhook-id", &document.key)
                .header("webhook-timestamp", seconds)
                .header("webhook-signature", signature(hmac_key.expose_secret(), &document.key, seconds, &document.body));
        }
        match request.body(document.body).send().await {
            Ok(response) => judged(response).await,
            Err(error) => broken(error),
        }
    }
}

/// `v1,` and the HMAC-SHA256 over `id.timestamp.body`.
fn signature(key: &[u8], id: &str, seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

async fn judged(mut response: Response) -> Verdict {
    let status = response.status();
    let after = retry_after(response.headers()).map(|wait| wait.min(RETRY_AFTER_MAX));
    let mut read = 0;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if read < ANSWER_BYTES_MAX => read += chunk.len(),
            Ok(_) => break,
            // Cut off in the middle of its answer: it may have died over the document.
            Err(error) => return broken(error),
        }
    }
    let later = |ours| Verdict::Later { why: format!("http-{}", status.as_u16()), after, ours };
    match status {
        _ if status.is_success() => Verdict::Taken,
        StatusCode::CONFLICT => Verdict::Busy,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => later(false),
        // Not this document but our account: a key that has run out must not burn a county's warnings.
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => later(true),
        _ if status.is_redirection() => later(true),
        _ if status.is_client_error() => Verdict::Refused(status.as_u16()),
        _ => later(false),
    }
}

fn broken(error: reqwest::Error) -> Verdict {
    let word = if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect"
    } else {
        "reset"
    };
    let error = error.without_url();
    tracing::debug!(%error, "the far end of a relay did not answer");
    Verdict::Later { why: word.to_owned(), after: None, ours: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_of_the_specification() {
        // Test vector of the Standard Webhooks reference libraries.
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
