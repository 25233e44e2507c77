//! Owns one HTTP client per account, and what a broken talk or a bare status means for a message.
//! Refuses to know providers; what stands in a body is the driver's business.
//! Invariant: no failure made here carries a query, a secret of the account or a whole telephone number.

use std::{error::Error as _, io, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{Client, RequestBuilder, Response};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    BuildError, Class, Common, Concerns, Context, Failure,
    answers::{Meaning, happens, of_number, status},
};
use crate::net::{
    retry_after::retry_after,
    tls::{self, Trust},
};

/// Answers of providers are a few hundred bytes; more than this is not an answer.
const BODY_BYTES_MAX: usize = 64 * 1024;
const IDLE_MAX: Duration = Duration::from_secs(10);
/// `Failure::detail` promises this.
const DETAIL_CHARS_MAX: usize = 300;
/// Shorter runs of digits are codes and years; a telephone number has at least seven.
const NUMBER_DIGITS_MIN: usize = 7;
/// A secret shorter than this would blank ordinary words out of a detail.
const SECRET_BYTES_MIN: usize = 3;

pub(crate) struct HttpClient {
    client: Client,
    scrub: Scrub,
}

/// What came back, whole or cut at `BODY_BYTES_MAX`.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

impl HttpClient {
    /// The client of an account; `ca` is the key of that name, a file of the only authorities that its far end may show.
    pub(crate) fn of_account(
        name: &str,
        common: &Common,
        ca: Option<&str>,
        hidden: Vec<SecretString>,
        context: &Context,
    ) -> Result<Self, BuildError> {
        let failed = |message| BuildError { name: name.to_owned(), message };
        let read = |path| std::fs::read(context.base_dir.join(path)).map_err(|error| failed(format!("ca {path}: {error}")));
        let pem = ca.map(read).transpose()?;
        Self::new(common, &pem.as_deref().map_or(Trust::WebRoots, Trust::Only), hidden).map_err(failed)
    }

    /// A client whose connections live as long as the account; `hidden` never stands in a failure.
    fn new(common: &Common, trust: &Trust<'_>, hidden: Vec<SecretString>) -> Result<Self, String> {
        let tls = tls::client_config(trust)?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls.as_ref().clone())
            // A redirect would carry the account's secrets to whoever is named there.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(common.concurrency)
            // Shorter than any server's patience: a connection that it closes under a request leaves the message unknown.
            .pool_idle_timeout(IDLE_MAX)
            // Half, so that a far end that does not open its door is told apart from one that keeps silent.
            .connect_timeout(common.timeout / 2)
            .timeout(common.timeout)
            .user_agent(concat!("lastmile/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.without_url().to_string())?;
        Ok(Self { client, scrub: Scrub { hidden } })
    }

    pub(crate) fn request(&self, method: reqwest::Method, url: reqwest::Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends and reads the whole answer. Statuses are not judged here: some far ends refuse under 200 and accept under 202.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let response = request.send().await.map_err(|error| self.broken(error))?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let body = self.body(response).await?;
        Ok(Answer { status, retry_after, body })
    }

    async fn body(&self, mut response: Response) -> Result<Bytes, Failure> {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(error))? {
            let room = BODY_BYTES_MAX - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() >= room {
                break;
            }
        }
        Ok(body.freeze())
    }

    /// What an answer means by its status alone; `None` for 2xx.
    pub(crate) fn judge_status(&self, answer: &Answer) -> Option<Failure> {
        if answer.is_success() {
            return None;
        }
        let meaning = of_number(&STATUSES, answer.status.into()).unwrap_or(&ODD_STATUS);
        Some(self.judged(meaning, answer))
    }

    /// What a line of a table makes of an answer: its status and its words are kept for people to read.
    pub(crate) fn judged(&self, meaning: &Meaning, answer: &Answer) -> Failure {
        let detail = format!("{}: {}", answer.status, answer.text());
        let retry_after = answer.retry_after.filter(|_| matches!(meaning.class, Class::Throttled | Class::Retry));
        Failure { retry_after, ..self.failure(meaning.class, meaning.concerns, meaning.reason, &detail) }
    }

    /// A failure whose detail has been scrubbed.
    pub(crate) fn failure(&self, class: Class, concerns: Concerns, reason: &'static str, detail: &str) -> Failure {
        Failure::new(class, concerns, reason, self.scrub.clean(detail))
    }

    fn broken(&self, error: reqwest::Error) -> Failure {
        let meaning = if error.is_builder() {
            &BAD_REQUEST
        } else if is_distrust(&error) {
            &TALKS[0]
        } else if error.is_connect() {
            &TALKS[1]
        } else if error.is_timeout() {
            &TALKS[2]
        } else {
            &TALKS[3]
        };
        let error = error.without_url();
        let mut detail = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            detail.push_str(": ");
            detail.push_str(&inner.to_string());
            cause = inner.source();
        }
        self.failure(meaning.class, meaning.concerns, meaning.reason, &detail)
    }
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Takes a secret out of the answer that the account as a whole does not know.
    pub(crate) fn hide(&mut self, secret: &str) {
        if let Ok(text) = std::str::from_utf8(&self.body)
            && !secret.is_empty()
            && text.contains(secret)
        {
            self.body = text.replace(secret, "…").into();
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }
}

const fn bad_request() -> Meaning {
    happens("the request cannot be written as the table says", Class::Misconfigured, Concerns::Account, "bad-request")
}
pub(crate) const BAD_REQUEST: Meaning = bad_request();
const ODD_STATUS: Meaning = happens("any other status", Class::Unknown, Concerns::Provider, "bad-status");

/// What becomes of the talk itself.
pub(crate) const TALKS: [Meaning; 6] = [
    happens("it cannot prove who it is", Class::Misconfigured, Concerns::Account, "tls"),
    happens("no connection", Class::Retry, Concerns::Provider, "connect"),
    happens("no answer in time", Class::Unknown, Concerns::Provider, "timeout"),
    happens("the connection broke before the answer", Class::Unknown, Concerns::Provider, "reset"),
    bad_request(),
    ODD_STATUS,
];

/// A status that a driver does not know better. No number is to blame for a status alone: whoever is meant by it stands in the body.
pub(crate) const STATUSES: [Meaning; 19] = [
    // We do not follow; the address in the table is an old one.
    status(300, 399, Class::Misconfigured, Concerns::Account, "redirect"),
    status(401, 401, Class::Misconfigured, Concerns::Account, "auth"),
    status(402, 402, Class::Misconfigured, Concerns::Account, "no-credit"),
    status(403, 403, Class::Misconfigured, Concerns::Account, "auth"),
    // The debts wait for the repair of an address that nothing stands behind.
    status(404, 405, Class::Misconfigured, Concerns::Account, "wrong-url"),
    status(406, 406, Class::Misconfigured, Concerns::Account, "bad-request"),
    status(407, 407, Class::Misconfigured, Concerns::Account, "auth"),
    status(408, 408, Class::Retry, Concerns::Provider, "http-408"),
    status(410, 410, Class::Misconfigured, Concerns::Account, "wrong-url"),
    status(411, 412, Class::Misconfigured, Concerns::Account, "bad-request"),
    status(413, 414, Class::Reject, Concerns::Request, "request-too-large"),
    status(415, 415, Class::Misconfigured, Concerns::Account, "bad-request"),
    status(425, 425, Class::Retry, Concerns::Provider, "http-425"),
    status(429, 429, Class::Throttled, Concerns::Provider, "http-429"),
    status(431, 431, Class::Reject, Concerns::Request, "request-too-large"),
    status(451, 451, Class::Reject, Concerns::Message, "words-refused"),
    status(400, 499, Class::Reject, Concerns::Request, "http-4xx"),
    // Somebody in between has handed it on and got no answer.
    status(504, 504, Class::Unknown, Concerns::Provider, "http-504"),
    status(500, 599, Class::Retry, Concerns::Provider, "http-5xx"),
];

fn is_distrust(error: &reqwest::Error) -> bool {
    std::iter::successors(error.source(), |&cause| cause.source())
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        // The client wraps the handshake's error into another of the same type, which `source` steps over.
        .flat_map(|error| std::iter::successors(Some(error), |error| error.get_ref()?.downcast_ref::<io::Error>()))
        .any(tls::is_distrust)
}

/// Takes out of a text what must not be printed.
pub(crate) struct Scrub {
    hidden: Vec<SecretString>,
}

impl Scrub {
    pub(crate) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.hidden.iter().map(SecretString::expose_secret).filter(|secret| secret.len() >= SECRET_BYTES_MIN) {
            text = text.replace(secret, "…");
            let mut written = String::new();
            percent_encode(secret, &mut written);
            text = text.replace(&written, "…");
        }
        let words = text.split_whitespace().map(without_query).collect::<Vec<_>>().join(" ");
        masked_numbers(&words).chars().filter(|letter| !letter.is_control()).take(DETAIL_CHARS_MAX).collect()
    }
}

/// A URL keeps its path, so that a reader knows which one; its query holds accounts and numbers.
fn without_query(word: &str) -> String {
    match word.find("://").and_then(|scheme| word[scheme..].find('?').map(|query| scheme + query)) {
        Some(query) => format!("{}?…", &word[..query]),
        None => word.to_owned(),
    }
}

/// Runs of digits long enough for a telephone number keep their first three and last two.
pub(crate) fn masked_numbers(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let run = rest[start..].bytes().take_while(u8::is_ascii_digit).count();
        let digits = &rest[start..start + run];
        clean.push_str(&rest[..start]);
        if run < NUMBER_DIGITS_MIN {
            clean.push_str(digits);
        } else {
            clean.push_str(&digits[..3]);
            clean.push_str("****");
            clean.push_str(&digits[run - 2..]);
        }
        rest = &rest[start + run..];
    }
    clean.push_str(rest);
    clean
}

/// RFC 3986: everything but the unreserved letters.
pub(crate) fn percent_encode(text: &str, into: &mut String) {
    percent_encode_octets(text.as_bytes(), into);
}

pub(crate) fn percent_encode_octets(octets: &[u8], into: &mut String) {
    use std::fmt::Write as _;
    for &byte in octets {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            write!(into, "%{byte:02X}").expect("a String takes every write");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_holds_neither_secret_nor_query_nor_whole_number() {
        let scrub = Scrub { hidden: vec![SecretString::from("p&ss wörd")] };
        let detail = scrub.clean("GET http://gw/send?to=13800138000&x=1 with p&ss wörd or p%26ss%20w%C3%B6rd to +8613800138000 failed 503");
        assert_eq!(detail, "GET http://gw/send?… with … or … to +861****00 failed 503");
        assert_eq!(scrub.clean(&"字\u{7}".repeat(1_000)).chars().count(), 300);
    }

    #[tokio::test]
    async fn a_far_end_that_cannot_prove_who_it_is_gets_no_message() {
        let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), own.cert.pem()).expect("a file");
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key.into())
            .expect("a server");
        let config = std::sync::Arc::new(config);
        let table: toml::Table = "timeout = \"4s\"".parse().expect("toml");
        let common = crate::channel::common::common(&mut crate::channel::common::keys("a", &table));
        let context = Context { base_dir: folder.path().to_owned(), ..crate::channel::contract_kit::context() };
        for (ca, is_trusted) in [(None, false), (Some("ca.pem"), true)] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let url = format!("https://localhost:{}/", listener.local_addr().expect("an address").port());
            let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::clone(&config));
            let server = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.expect("a connection");
                acceptor.accept(stream).await.map(|_hung_up| ())
            });
            let client = HttpClient::of_account("a", &common, ca, Vec::new(), &context).expect("a client");
            let request = client.request(reqwest::Method::GET, url.parse().expect("a url"));
            let Err(failure) = client.send(request).await else { panic!("was believed") };
            let expected = if is_trusted { (Class::Unknown, "reset") } else { (Class::Misconfigured, "tls") };
            assert_eq!((failure.class, failure.reason), expected, "{failure}");
            assert_eq!(server.await.expect("ends").is_ok(), is_trusted);
        }
        let gone = HttpClient::of_account("a", &common, Some("gone.pem"), Vec::new(), &context);
        assert!(gone.is_err_and(|error| error.message.starts_with("ca gone.pem: ")));
    }
}
