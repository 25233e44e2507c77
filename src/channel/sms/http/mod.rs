//! Owns `sms/http`: any gateway that takes one message by one HTTP request, described by its table alone.
//! Refuses to know any gateway by name; signatures that need computing are a provider's own driver.
//! Invariant: what the table says is compiled and checked when it is read, so a warning never meets a broken template.

mod reading;
mod receipts;
mod template;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesOrdered};
use reqwest::{Method, Url, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use self::{
    reading::{Errors, Success, pointer, reason, text_at},
    receipts::{Receipt, Replies},
    template::Template,
};
use super::{REACHES, REPORT_WITHIN, form};
use crate::{
    channel::{
        Batching, BuildError, Callback, Channel, Class, Common, Context, Driver, Failure, Kind, Prepared, Proof, Reach, Reception,
        ReportSink, Verdict,
        callback::{self, Fields},
        common,
        http_client::{Answer, HttpClient, percent_encode},
        tls::Trust,
    },
    fault::Fault,
    keys::Keys,
    message::{Form, Outgoing},
    registry::PhoneNumber,
};

pub const DRIVER: Driver = Driver { kind: Kind::Sms, provider: "http", check };

struct Gateway {
    name: String,
    settings: Settings,
    http: HttpClient,
    public_url: String,
}

/// The keys of the table, checked.
struct Settings {
    method: Method,
    url: Template,
    headers: Vec<(header::HeaderName, Template)>,
    body: Option<Template>,
    /// What the body is when no header says so.
    body_is: &'static str,
    from: String,
    secret: Option<SecretString>,
    /// Header values and the secret: never in a failure.
    hidden: Vec<SecretString>,
    success: Success,
    message_id: Option<String>,
    errors: Errors,
    receipt: Option<Receipt>,
    replies: Option<Replies>,
    callback_token: Option<SecretString>,
    proof: Proof,
    form: Form,
}

fn check(name: &str, table: &toml::Table) -> Result<Prepared, Vec<Fault>> {
    let mut keys = common::keys(name, table);
    let common = common::common(&mut keys);
    let settings = settings(&mut keys);
    let name = name.to_owned();
    keys.finish(settings).map(|settings| Prepared {
        name: name.clone(),
        kind: Kind::Sms,
        provider: "http",
        common: common.clone(),
        build: Box::new(move |context| build(name, &common, settings, context)),
    })
}

fn settings(keys: &mut Keys<'_>) -> Settings {
    let method = match keys.word("method", &["POST", "GET", "PUT"], "POST") {
        "GET" => Method::GET,
        "PUT" => Method::PUT,
        _ => Method::POST,
    };
    let body_text = keys.text("body");
    let body_is = if body_text.as_deref().is_some_and(|body| body.trim_start().starts_with(['{', '['])) {
        "application/json"
    } else {
        "application/x-www-form-urlencoded"
    };
    let body = body_text.map(|source| Template::read(keys, "body", &source));
    let secret = keys.secret("secret");
    let mut hidden: Vec<SecretString> = secret.iter().cloned().collect();
    let headers = headers(keys, &mut hidden);
    let success = Success::read(keys);
    let errors = Errors::read(keys, &success);
    let within = keys.duration("report_within", REPORT_WITHIN);
    let receipt = Receipt::read(keys);
    let message_id = pointer(keys, "message_id");
    let replies = Replies::read(keys);
    let callback_token = keys.secret("callback_token");
    hidden.extend(callback_token.clone());
    if callback_token.is_none() && (keys.has("receipt") || keys.has("answer")) {
        keys.fault("callback_token", "missing", "must be given, as receipt and answer take calls from outside");
    }
    if message_id.is_none() && receipt.as_ref().is_some_and(Receipt::names_provider_ref) {
        keys.fault("message_id", "missing", "must be given, as receipt names messages by it (provider_ref)");
    }
    Settings {
        method,
        url: address(keys),
        headers,
        body,
        body_is,
        from: keys.text("from").unwrap_or_default(),
        secret,
        hidden,
        success,
        message_id,
        errors,
        proof: if receipt.is_some() { Proof::Report { within } } else { Proof::AcceptedOnly },
        receipt,
        replies,
        callback_token,
        form: form(keys),
    }
}

/// A template of which the part before the first variable already names the host: no text decides where a message goes.
fn address(keys: &mut Keys<'_>) -> Template {
    let source = keys.required("url");
    let fixed = source.split("{{").next().unwrap_or_default();
    let names_host = fixed.parse::<Url>().is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && (fixed == source || fixed.splitn(4, '/').count() == 4)
    });
    if !names_host && !source.is_empty() {
        keys.fault(
            "url",
            "bad-url",
            "must be an http or https address whose host is fixed, such as http://127.0.0.1/send?to={{ to|urlencode }}",
        );
    }
    Template::read(keys, "url", &source)
}

fn headers(keys: &mut Keys<'_>, hidden: &mut Vec<SecretString>) -> Vec<(header::HeaderName, Template)> {
    let mut headers = Vec::new();
    let Some(table) = keys.table("headers") else { return headers };
    for (name, value) in table {
        let key = format!("headers.{name}");
        match (name.parse::<header::HeaderName>(), value.as_str()) {
            (Ok(header), Some(source)) => {
                if header != header::CONTENT_TYPE && !source.contains("{{") {
                    hidden.push(SecretString::from(source));
                }
                headers.push((header, Template::read(keys, &key, source)));
            }
            (Err(_), _) => keys.fault(&key, "bad-header", "is not the name of a header"),
            (Ok(_), None) => keys.fault(&key, "wrong-type", "must be a text"),
        }
    }
    headers
}

fn build(name: String, common: &Common, mut settings: Settings, context: Context) -> Result<Arc<dyn Channel>, BuildError> {
    let hidden = std::mem::take(&mut settings.hidden);
    let http = HttpClient::new(common, &Trust::WebRoots, hidden).map_err(|message| BuildError { name: name.clone(), message })?;
    Ok(Arc::new(Gateway { name, settings, http, public_url: context.public_url }))
}

impl Gateway {
    async fn send_one(&self, message: &Outgoing) -> Verdict {
        match self.hand_over(message).await {
            Ok(provider_ref) => Verdict::Accepted { provider_ref },
            Err(failure) => Verdict::Failed(failure),
        }
    }

    async fn hand_over(&self, message: &Outgoing) -> Result<Option<String>, Failure> {
        let request = self.request(message).map_err(|detail| self.http.failure(Class::Misconfigured, "bad-request", &detail))?;
        let answer = self.http.send(request).await?;
        self.judge(&answer)
    }

    fn request(&self, message: &Outgoing) -> Result<reqwest::RequestBuilder, String> {
        let settings = &self.settings;
        let e164 = message.to.parse::<PhoneNumber>().map_or_else(|_| message.to.clone(), |number| number.e164());
        let (id, secret) = (message.id.to_string(), settings.secret.as_ref().map_or("", |secret| secret.expose_secret()));
        let callback_url = self.callback_url();
        let values = [&message.to, &e164, &message.text, &id, &settings.from, secret, &callback_url];
        let url: Url = settings.url.render(&values)?.parse().map_err(|_| "url does not render to an address".to_owned())?;
        let mut request = self.http.request(settings.method.clone(), url);
        let mut is_typed = false;
        for (name, value) in &settings.headers {
            is_typed |= name == header::CONTENT_TYPE;
            request = request.header(name, value.render(&values)?);
        }
        if let Some(body) = &settings.body {
            if !is_typed {
                request = request.header(header::CONTENT_TYPE, settings.body_is);
            }
            request = request.body(body.render(&values)?);
        }
        Ok(request)
    }

    /// Where the gateway is to report: the account's own address, with its token.
    fn callback_url(&self) -> String {
        let (mut name, mut token) = (String::new(), String::new());
        percent_encode(&self.name, &mut name);
        percent_encode(self.settings.callback_token.as_ref().map_or("", |token| token.expose_secret()), &mut token);
        format!("{}/v1/callbacks/sms/{name}/status?k={token}", self.public_url.trim_end_matches('/'))
    }

    fn judge(&self, answer: &Answer) -> Result<Option<String>, Failure> {
        let settings = &self.settings;
        let said: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let at = |pointer: &Option<String>| said.as_ref().zip(pointer.as_deref()).and_then(|(said, pointer)| text_at(said, pointer));
        let word = at(&settings.success.path);
        let is_word = settings.success.path.is_none() || word.as_ref().is_some_and(|word| settings.success.equals.contains(word));
        if settings.success.is_status(answer.status) && is_word {
            return Ok(at(&settings.message_id));
        }
        let telling = format!("{}: {}", answer.status, answer.text());
        let code = at(&settings.errors.path);
        if let Some(class) = code.as_deref().and_then(|code| settings.errors.classes.of_code(code)) {
            let retry_after = answer.retry_after.filter(|_| matches!(class, Class::Throttled | Class::Retry));
            return Err(Failure { retry_after, ..self.http.failure(class, reason(class), &telling) });
        }
        if let Some(failure) = self.http.judge_status(answer) {
            return Err(failure);
        }
        // Under a good status: a code that the table does not list is no reason to blame the number.
        let (class, word) = if code.is_some() { (Class::Retry, "unlisted-code") } else { (Class::Unknown, "garbage") };
        Err(self.http.failure(class, word, &telling))
    }
}

impl Channel for Gateway {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> Kind {
        Kind::Sms
    }

    fn reaches(&self) -> &[Reach] {
        &REACHES
    }

    fn form(&self) -> Form {
        self.settings.form.clone()
    }

    fn proof(&self) -> Proof {
        self.settings.proof
    }

    fn batching(&self) -> Batching {
        Batching::One
    }

    fn send<'a>(&'a self, batch: &'a [Outgoing]) -> BoxFuture<'a, Vec<Verdict>> {
        Box::pin(batch.iter().map(|message| self.send_one(message)).collect::<FuturesOrdered<_>>().collect())
    }

    fn receive(&self, callback: &Callback) -> Result<Reception, Failure> {
        if !callback::token_fits(self.settings.callback_token.as_ref(), &Fields::parse(&callback.query)) {
            tracing::warn!(channel = %self.name, "a callback without the account's callback_token was refused");
            return Ok(callback::forbidden());
        }
        match (callback.what.as_str(), &self.settings.receipt, &self.settings.replies) {
            ("status", Some(receipt), _) => receipt.reports(&self.name, callback),
            ("reply", _, Some(replies)) => replies.reports(&self.name, callback),
            (other, ..) => Err(callback::malformed(&format!("this account takes no callback {other:?}"))),
        }
    }

    fn start(&self, _reports: ReportSink) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
