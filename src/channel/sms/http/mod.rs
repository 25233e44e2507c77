//! Owns `sms/http`: any gateway that takes a message by one HTTP request, or one text for many numbers, described by its table alone.
//! Refuses to know any gateway by name; signatures that need computing are a provider's own driver.
//! Invariant: what the table says is compiled and checked when it is read, so a warning never meets a broken template.

mod answers;
mod place;
mod reading;
mod receipts;
mod template;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use encoding_rs::Encoding;
use futures::{StreamExt as _, future::BoxFuture, stream::FuturesOrdered};
use reqwest::{Method, Url, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::time::Instant;

use self::{
    answers::{BATCH, GARBAGE, NO_ID, UNLISTED},
    place::Place,
    reading::{Errors, MessageId, Spoken, Success, said_in, text_at},
    receipts::{Receipt, Replies},
    template::{Template, Values},
};
use super::{REACHES, REPORT_WITHIN, form, minutes_left};
use crate::{
    channel::{
        Batching, BuildError, Callback, Channel, Class, Common, Concerns, Context, Driver, Failure, Kind, Prepared, Proof, Reach,
        Reception, ReportSink, Verdict,
        answers::of_words,
        callback::{self, Fields, NumberWords},
        common,
        http_client::{Answer, BAD_REQUEST, HttpClient, percent_encode},
    },
    fault::Fault,
    keys::Keys,
    message::{DeliveryId, Form, Outgoing},
    registry::PhoneNumber,
    time::SharedClock,
};

pub const DRIVER: Driver = Driver { kind: Kind::Sms, provider: "http", check, answers: answers::ALL };

/// The most that any gateway we know of takes in one request.
const NUMBERS_MAX: u64 = 5_000;
/// Requests that one batch may cost beyond the first: a dozen bad numbers among a thousand are found by so many.
const HALVINGS_MAX: u32 = 128;
/// The engine gives a driver five seconds more than its time-out; a request that begins later than this could outlast them.
const HALVE_WITHIN: Duration = Duration::from_secs(4);

struct Gateway {
    name: String,
    settings: Settings,
    http: HttpClient,
    public_url: String,
    number_words: NumberWords,
    callback_key: Arc<[u8; 32]>,
    clock: SharedClock,
}

/// The keys of the table, checked.
struct Settings {
    method: Method,
    url: Address,
    headers: Vec<(header::HeaderName, Template)>,
    body: Option<Template>,
    /// What the body is when no header says so.
    body_is: &'static str,
    /// What all these templates name.
    named: BTreeSet<&'static str>,
    numbers_max: usize,
    numbers_separator: String,
    from: String,
    secret: Option<SecretString>,
    /// Header values and the secret: never in a failure.
    hidden: Vec<SecretString>,
    success: Success,
    message_id: Option<MessageId>,
    errors: Errors,
    spoken: Spoken,
    receipt: Option<Receipt>,
    replies: Option<Replies>,
    callback_token: Option<SecretString>,
    proof: Proof,
    form: Form,
    ca: Option<String>,
    /// How texts are written and read; UTF-8 when left out.
    charset: Option<&'static Encoding>,
}

/// Where messages go.
enum Address {
    /// The same for all of them: read once, as reading one costs a tenth of what sending does.
    Fixed(Url),
    Written(Template),
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
    let charset = callback::charset_key(keys);
    let body_text = keys.text("body");
    let body_is = if body_text.as_deref().is_some_and(|body| body.trim_start().starts_with(['{', '['])) {
        "application/json"
    } else {
        "application/x-www-form-urlencoded"
    };
    let secret = keys.secret("secret");
    let mut hidden: Vec<SecretString> = secret.iter().cloned().collect();
    let headers = headers(keys, &mut hidden, charset);
    let body = body_text.map(|source| {
        let typed = headers.iter().find(|(name, _)| name == header::CONTENT_TYPE);
        let place = Place::of_body(&source, typed.and_then(|(_, kind)| kind.as_fixed()));
        Template::read(keys, "body", &source, charset, place)
    });
    let success = Success::read(keys);
    let errors = Errors::read(keys, &success);
    let spoken = Spoken::read(keys, "errors");
    let within = keys.duration("report_within", REPORT_WITHIN);
    let receipt = Receipt::read(keys, charset);
    let message_id = MessageId::read(keys, "message_id");
    let replies = Replies::read(keys, charset);
    let callback_token = keys.secret("callback_token");
    hidden.extend(callback_token.clone());
    if callback_token.is_none() && (keys.has("receipt") || keys.has("answer")) {
        keys.fault("callback_token", "missing", "must be given, as receipt and answer take calls from outside");
    }
    if message_id.is_none() && receipt.as_ref().is_some_and(Receipt::names_provider_ref) {
        keys.fault("message_id", "missing", "must be given, as receipt names messages by it (provider_ref)");
    }
    let numbers_max = usize::try_from(keys.number("numbers_max", 1..=NUMBERS_MAX, 1)).unwrap_or(1);
    if numbers_max > 1 && receipt.as_ref().is_some_and(|receipt| !receipt.names_number()) {
        keys.fault(
            "numbers_max",
            "reports-alike",
            "needs receipt.provider_ref and receipt.to, or reports of one request could not be told apart",
        );
    }
    let url = address(keys, charset);
    let written = if let Address::Written(template) = &url { Some(template) } else { None };
    let texts = headers.iter().map(|(_, value)| value).chain(&body).chain(written);
    Settings {
        method,
        named: texts.flat_map(Template::named).collect(),
        url,
        numbers_max,
        numbers_separator: keys.text("numbers_separator").unwrap_or_else(|| ",".to_owned()),
        headers,
        body,
        body_is,
        from: keys.text("from").unwrap_or_default(),
        secret,
        hidden,
        success,
        message_id,
        errors,
        spoken,
        proof: if receipt.is_some() { Proof::Report { within } } else { Proof::AcceptedOnly },
        receipt,
        form: form(keys, replies.is_some()),
        replies,
        callback_token,
        ca: keys.text("ca"),
        charset,
    }
}

/// A template of which the part before the first variable already names the host: no text decides where a message goes.
fn address(keys: &mut Keys<'_>, charset: Option<&'static Encoding>) -> Address {
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
    let template = Template::read(keys, "url", &source, charset, Place::Url);
    match fixed.parse() {
        Ok(url) if fixed == source && template.is_fixed() => Address::Fixed(url),
        _ => Address::Written(template),
    }
}

fn headers(keys: &mut Keys<'_>, hidden: &mut Vec<SecretString>, charset: Option<&'static Encoding>) -> Vec<(header::HeaderName, Template)> {
    let mut headers = Vec::new();
    let Some(table) = keys.table("headers") else { return headers };
    for (name, value) in table {
        let key = format!("headers.{name}");
        match (name.parse::<header::HeaderName>(), value.as_str()) {
            (Ok(header), Some(source)) => {
                if header != header::CONTENT_TYPE && !source.contains("{{") {
                    hidden.push(SecretString::from(source));
                }
                headers.push((header, Template::read(keys, &key, source, charset, Place::Header)));
            }
            (Err(_), _) => keys.fault(&key, "bad-header", "is not the name of a header"),
            (Ok(_), None) => keys.fault(&key, "wrong-type", "must be a text"),
        }
    }
    headers
}

fn build(name: String, common: &Common, mut settings: Settings, context: Context) -> Result<Arc<dyn Channel>, BuildError> {
    let hidden = std::mem::take(&mut settings.hidden);
    let http = HttpClient::of_account(&name, common, settings.ca.as_deref(), hidden, &context)?;
    let Context { clock, public_url, callback_key, .. } = context;
    let number_words = NumberWords::of_account(&callback_key, &name);
    Ok(Arc::new(Gateway { name, settings, http, public_url, number_words, callback_key, clock }))
}

impl Gateway {
    /// One request for messages of one text. What is refused for several is tried again in halves, until the one that it is for stands alone.
    fn send_together<'a>(&'a self, group: &'a [Outgoing], apart: &'a Apart) -> BoxFuture<'a, Vec<Verdict>> {
        Box::pin(async move {
            let failure = match self.hand_over(group).await {
                Ok(reference) => {
                    let named = |message: &Outgoing| reference.clone().map(|reference| self.own_ref(reference, Some(&message.to)));
                    return group.iter().map(|message| Verdict::Accepted { provider_ref: named(message) }).collect();
                }
                Err(failure) => failure,
            };
            if group.len() < 2 || !is_of_some(&failure) {
                return vec![Verdict::Failed(failure); group.len()];
            }
            if !apart.may_go_on() {
                // Nobody can be blamed yet: the next try is made of smaller ones.
                let unjudged = self.http.failure(BATCH.class, BATCH.concerns, BATCH.reason, &failure.detail);
                return vec![Verdict::Failed(unjudged); group.len()];
            }
            let (one, other) = group.split_at(group.len() / 2);
            let (mut one, other) = futures::join!(self.send_together(one, apart), self.send_together(other, apart));
            one.extend(other);
            one
        })
    }

    async fn hand_over(&self, group: &[Outgoing]) -> Result<Option<String>, Failure> {
        let request = self
            .request(group)
            .map_err(|detail| self.http.failure(BAD_REQUEST.class, BAD_REQUEST.concerns, BAD_REQUEST.reason, &detail))?;
        let answer = self.http.send(request).await?;
        self.judge(&answer)
    }

    fn request(&self, group: &[Outgoing]) -> Result<reqwest::RequestBuilder, String> {
        let settings = &self.settings;
        let values = Values::of(&settings.named, |name| self.value(name, group));
        let url = match &settings.url {
            Address::Fixed(url) => url.clone(),
            Address::Written(template) => template.render(&values)?.parse().map_err(|_| "url does not render to an address".to_owned())?,
        };
        let mut request = self.http.request(settings.method.clone(), url);
        let mut is_typed = false;
        for (name, value) in &settings.headers {
            is_typed |= name == header::CONTENT_TYPE;
            request = request.header(name, value.render(&values)?);
        }
        if let Some(body) = &settings.body {
            if !is_typed {
                let charset = settings.charset.map_or_else(String::new, |charset| format!("; charset={}", charset.name()));
                request = request.header(header::CONTENT_TYPE, format!("{}{charset}", settings.body_is));
            }
            let body = body.render(&values)?;
            request = request.body(match settings.charset {
                Some(charset) => template::octets_in(&body, charset),
                None => body.into_bytes(),
            });
        }
        Ok(request)
    }

    fn value(&self, name: &'static str, group: &[Outgoing]) -> minijinja::Value {
        let settings = &self.settings;
        let Some(first) = group.first() else { return "".into() };
        let joined = |numbers: Vec<String>| numbers.join(&settings.numbers_separator).into();
        let numbers = || group.iter().map(|message| message.to.clone()).collect::<Vec<_>>();
        match name {
            "to" => joined(numbers()),
            "to_e164" => joined(group.iter().map(|message| e164(&message.to)).collect()),
            template::LIST => numbers().into(),
            "text" => first.text.as_str().into(),
            "id" => callback::group_id(group.iter().map(|message| message.id)).into(),
            "from" => settings.from.as_str().into(),
            "secret" => settings.secret.as_ref().map_or("", |secret| secret.expose_secret()).into(),
            "minutes_left" => minutes_left(first.facts.expires, self.clock.now()).to_string().into(),
            template::OF_ONE => self.callback_url_of(first.id).into(),
            // `Template` lets no other name through.
            _ => self.callback_url().into(),
        }
    }

    /// What the gateway's id of a request and one of its numbers make together. The journal keeps it, so it holds no number.
    fn own_ref(&self, reference: String, to: Option<&str>) -> String {
        match to.filter(|_| self.settings.numbers_max > 1) {
            Some(to) => reference + "#" + &self.number_words.word(&e164(to)),
            None => reference,
        }
    }

    /// Where the gateway is to report: the account's own address, with its token.
    fn callback_url(&self) -> String {
        let (mut name, mut token) = (String::new(), String::new());
        percent_encode(&self.name, &mut name);
        percent_encode(self.settings.callback_token.as_ref().map_or("", |token| token.expose_secret()), &mut token);
        format!("{}/v1/callbacks/sms/{name}/status?k={token}", self.public_url.trim_end_matches('/'))
    }

    /// Where it is to report of one message alone: good for nothing else, so it may stand in other people's logs.
    fn callback_url_of(&self, id: DeliveryId) -> String {
        callback::status_url(&self.public_url, Kind::Sms.name(), &self.name, id, &callback::mac(&self.callback_key, &self.name, id))
    }

    fn judge(&self, answer: &Answer) -> Result<Option<String>, Failure> {
        let settings = &self.settings;
        let said: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let at = |pointer: &Option<String>| text_at(said.as_ref()?, pointer.as_deref()?);
        let word = at(&settings.success.path);
        let is_word = settings.success.path.is_none() || word.as_ref().is_some_and(|word| settings.success.equals.contains(word));
        if settings.success.is_status(answer.status) && is_word {
            let id = settings.message_id.as_ref().and_then(|id| id.of(said.as_ref(), || answer.text()));
            return if id.is_none() && self.owes_an_id() { Err(self.http.judged(&NO_ID, answer)) } else { Ok(id) };
        }
        let code = at(&settings.errors.path);
        let listed = code.as_deref().and_then(|code| settings.errors.classes.of_code(code));
        let meaning = listed.or_else(|| {
            let text = said_in(said.as_ref(), || answer.text());
            let of_county = settings.spoken.of_text(&text);
            of_county.or_else(|| of_words(&answers::WORDS, &text).filter(|_| is_open(answer.status, code.is_some())))
        });
        if let Some(meaning) = meaning {
            return Err(self.http.judged(meaning, answer));
        }
        if let Some(failure) = self.http.judge_status(answer) {
            return Err(failure);
        }
        // Under a good status: a code that the table does not list is no reason to blame the number.
        Err(self.http.judged(if code.is_some() { &UNLISTED } else { &GARBAGE }, answer))
    }

    /// Whether success without the gateway's id may as well come from somebody in between, or could never be reported on.
    fn owes_an_id(&self) -> bool {
        let settings = &self.settings;
        let by_ref = settings.receipt.as_ref().is_some_and(Receipt::names_provider_ref);
        settings.message_id.is_some() && (by_ref || settings.success.path.is_none())
    }

    /// Numbers of one request: each further try of a message is made in smaller company, as somebody in it may be why it was refused.
    fn together(&self, attempt: u16) -> usize {
        (self.settings.numbers_max >> u32::from(attempt.saturating_sub(1)).min(usize::BITS - 1)).max(1)
    }
}

/// How long and how often one batch is taken apart.
struct Apart {
    begun: Instant,
    left: AtomicU32,
}

impl Apart {
    fn new() -> Self {
        Self { begun: Instant::now(), left: AtomicU32::new(HALVINGS_MAX) }
    }

    fn may_go_on(&self) -> bool {
        let is_left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        is_left && self.begun.elapsed() < HALVE_WITHIN
    }
}

/// Whether it may be for some of a batch only, or for how many there are.
const fn is_of_some(failure: &Failure) -> bool {
    matches!((failure.class, failure.concerns), (Class::Reject, Concerns::Recipient | Concerns::Request))
}

/// Whether a status leaves open whom a refusal is for, so that words may tell.
const fn is_open(status: u16, has_code: bool) -> bool {
    matches!(status, 400 | 402 | 403 | 406 | 409 | 412 | 417 | 422 | 423 | 424 | 428) || (has_code && status < 300)
}

fn e164(number: &str) -> String {
    number.parse::<PhoneNumber>().map_or_else(|_| number.to_owned(), |number| number.e164())
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
        match self.settings.numbers_max {
            1 => Batching::One,
            max => Batching::SameText { max },
        }
    }

    fn send<'a>(&'a self, batch: &'a [Outgoing]) -> BoxFuture<'a, Vec<Verdict>> {
        Box::pin(async move {
            let apart = Apart::new();
            let alike = batch
                .chunk_by(|one, next| one.text == next.text && one.attempt == next.attempt)
                .flat_map(|alike| alike.chunks(self.together(alike[0].attempt)));
            let sent: FuturesOrdered<_> = alike.map(|group| self.send_together(group, &apart)).collect();
            sent.concat().await
        })
    }

    fn receive(&self, callback: &Callback) -> Result<Reception, Failure> {
        let fields = Fields::parse(&callback.query);
        let only = fields.get("id").and_then(|id| id.parse().ok());
        let only = only.filter(|&id| fields.get("k").is_some_and(|k| callback::mac_fits(&self.callback_key, &self.name, id, k)));
        let is_known = only.is_some() && callback.what == "status" || callback::token_fits(self.settings.callback_token.as_ref(), &fields);
        if !is_known {
            tracing::warn!(channel = %self.name, "a callback without the account's callback_token was refused");
            return Ok(callback::forbidden());
        }
        match (callback.what.as_str(), &self.settings.receipt, &self.settings.replies) {
            ("status", Some(receipt), _) => receipt.reports(&self.name, callback, only, |reference, to| self.own_ref(reference, to)),
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
