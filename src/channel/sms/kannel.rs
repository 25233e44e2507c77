//! Owns `sms/kannel`: sendsms of a Kannel bearerbox, its answers, its delivery reports and the replies that it passes on.
//! Refuses to know which operator stands behind it; Kannel holds the lines, the parts and their order.
//! Invariant: a status callback counts only with the MAC of its own delivery, a reply only with the account's token.

use std::sync::Arc;

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesOrdered};
use reqwest::{Method, Url};
use secrecy::SecretString;

use super::{REACHES, REPORT_WITHIN, form, minutes_left};
use crate::{
    alert::Level,
    channel::{
        About, Batching, BuildError, Callback, Channel, Common, Context, Driver, Failure, Kind, Meaning, News, Prepared, Proof, Reach,
        Reception, Report, ReportSink, Verdict,
        answers::{of_number, of_words},
        callback::{self, Fields},
        common,
        http_client::{Answer, HttpClient, masked_numbers},
    },
    fault::Fault,
    keys::Keys,
    message::{DeliveryId, Form, Outgoing},
    net::web_url,
    time::{SharedClock, Timestamp},
};

#[path = "kannel_answers.rs"]
mod answers;

pub const DRIVER: Driver = Driver { kind: Kind::Sms, provider: "kannel", check, answers: answers::ALL };

/// Delivered, failed, buffered, taken and refused by the operator: all that settles or informs.
const DLR_MASK: &str = "31";
/// Kannel fills these in: kind of report, the operator's words, seconds since 1970 (`%t` is to the minute and without a zone).
/// The number (`%P`) is not asked for: the id names the delivery, and addresses end up in logs.
const DLR_FIELDS: &str = "&d=%d&a=%A&t=%T";
/// In the address of a report: the attempt, and that the message has several parts.
const ATTEMPT: &str = "n";
const IN_PARTS: &str = "p";
/// Texts of operators are short; what is longer is somebody's free text.
const ANSWER_CHARS_MAX: usize = 160;

struct Kannel {
    name: String,
    settings: Settings,
    http: HttpClient,
    public_url: String,
    callback_key: Arc<[u8; 32]>,
    clock: SharedClock,
}

/// The keys of the table, checked.
struct Settings {
    /// With everything in its query that is the same for all messages, the password among it: never printed.
    url: Url,
    password: SecretString,
    ca: Option<String>,
    dlr: bool,
    /// Whether Kannel's own queue is told which messages are urgent.
    level_priority: bool,
    proof: Proof,
    form: Form,
    callback_token: Option<SecretString>,
}

fn check(name: &str, table: &toml::Table) -> Result<Prepared, Vec<Fault>> {
    let mut keys = common::keys(name, table);
    let common = common::common(&mut keys);
    let settings = settings(&mut keys);
    let name = name.to_owned();
    keys.finish(settings).map(|settings| Prepared {
        name: name.clone(),
        kind: Kind::Sms,
        provider: "kannel",
        common: common.clone(),
        build: Box::new(move |context| build(name, &common, settings, context)),
    })
}

fn settings(keys: &mut Keys<'_>) -> Settings {
    let dlr = keys.flag("dlr", true);
    let within = keys.duration("report_within", REPORT_WITHIN);
    let callback_token = keys.secret("callback_token");
    let (mut url, username, password) = (web_url::required(keys, "url"), keys.required("username"), keys.required("password"));
    let optional = [("from", keys.text("from")), ("smsc", keys.text("smsc"))];
    let mut query = url.query_pairs_mut();
    query.append_pair("username", &username).append_pair("password", &password).append_pair("charset", "UTF-8").append_pair("coding", "2");
    query.extend_pairs(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    if dlr {
        query.append_pair("dlr-mask", DLR_MASK);
    }
    drop(query);
    Settings {
        url,
        password: SecretString::from(password),
        ca: keys.text("ca"),
        dlr,
        level_priority: keys.flag("level_priority", true),
        proof: if dlr { Proof::Report { within } } else { Proof::AcceptedOnly },
        form: form(keys, callback_token.is_some()),
        callback_token,
    }
}

fn build(name: String, common: &Common, settings: Settings, context: Context) -> Result<Arc<dyn Channel>, BuildError> {
    let hidden = vec![settings.password.clone()];
    let http = HttpClient::of_account(&name, common, settings.ca.as_deref(), hidden, &context)?;
    let Context { clock, public_url, callback_key, .. } = context;
    Ok(Arc::new(Kannel { name, settings, http, public_url, callback_key, clock }))
}

impl Kannel {
    async fn send_one(&self, message: &Outgoing) -> Verdict {
        let request = self.http.request(Method::GET, self.address(message));
        match self.http.send(request).await {
            Err(failure) => Verdict::Failed(failure),
            Ok(answer) => self.judge(&answer),
        }
    }

    fn address(&self, message: &Outgoing) -> Url {
        let settings = &self.settings;
        let mut url = settings.url.clone();
        let mut query = url.query_pairs_mut();
        query.append_pair("to", &message.to).append_pair("text", &message.text);
        // Kannel and the operator hold messages too, and must not tell anyone of a warning that is over.
        query.append_pair("validity", &minutes_left(message.facts.expires, self.clock.now()).to_string());
        if settings.level_priority {
            query.append_pair("priority", priority(message.facts.level));
        }
        if settings.dlr {
            let mac = callback::mac(&self.callback_key, &self.name, message.id);
            let mut ours = callback::status_url(&self.public_url, Kind::Sms.name(), &self.name, message.id, &mac);
            ours.push_str(&format!("&{ATTEMPT}={}", message.attempt));
            if self.settings.form.is_in_parts(&message.text) {
                ours.push_str(&format!("&{IN_PARTS}=1"));
            }
            ours.push_str(DLR_FIELDS);
            query.append_pair("dlr-url", &ours);
        }
        drop(query);
        url
    }

    fn judge(&self, answer: &Answer) -> Verdict {
        let text = answer.text();
        if answer.is_success() {
            let taken = text.starts_with("0:") || text.starts_with("3:") || text.starts_with("Sent");
            let odd = || Verdict::Failed(self.http.judged(&answers::GARBAGE, answer));
            return if taken { Verdict::Accepted { provider_ref: None } } else { odd() };
        }
        Verdict::Failed(match refusal(answer.status, &text.to_ascii_lowercase()) {
            Some(meaning) => self.http.judged(meaning, answer),
            None => self.http.judge_status(answer).unwrap_or_else(|| self.http.judged(&answers::GARBAGE, answer)),
        })
    }

    fn status(&self, callback: &Callback) -> Result<Reception, Failure> {
        let fields = Fields::of(callback, None);
        let id = fields.get("id").and_then(|id| id.parse::<DeliveryId>().ok());
        let Some(id) = id.filter(|&id| fields.get("k").is_some_and(|k| callback::mac_fits(&self.callback_key, &self.name, id, k))) else {
            tracing::warn!(channel = %self.name, "a delivery report without the key of its delivery was refused");
            return Ok(callback::forbidden());
        };
        let kind = fields.get("d").and_then(|d| d.parse::<u8>().ok()).ok_or_else(|| callback::malformed("d is not a kind of report"))?;
        let Some(news) = news(kind, fields.get("a").unwrap_or_default(), fields.get(IN_PARTS).is_some()) else {
            // An intermediate report, or a kind that a later Kannel may add: nothing is settled by it.
            return Ok(callback::taken(Vec::new()));
        };
        let at = fields.get("t").and_then(told_at);
        let attempt = fields.get(ATTEMPT).and_then(|attempt| attempt.parse().ok());
        Ok(callback::taken(vec![Report { about: About::Handed { id, attempt, readers: Vec::new() }, news, at }]))
    }

    fn reply(&self, callback: &Callback) -> Result<Reception, Failure> {
        let fields = Fields::of(callback, None);
        if !callback::token_fits(self.settings.callback_token.as_ref(), &fields) {
            tracing::warn!(channel = %self.name, "a reply without the account's callback_token was refused");
            return Ok(callback::forbidden());
        }
        let from = fields.get("from").filter(|from| !from.is_empty()).ok_or_else(|| callback::malformed("from is missing"))?;
        let charset = fields.get("charset");
        if charset.is_none() {
            tracing::warn!(channel = %self.name, "Kannel does not say how a reply is written: its get-url lacks &text=%b&charset=%C, and Chinese replies are not understood");
        }
        let text = text_in(fields.octets("text").unwrap_or_default(), charset.unwrap_or_default());
        Ok(callback::taken(vec![Report { about: About::Phone(from.to_owned()), news: News::Reply(text), at: None }]))
    }
}

/// What Kannel's own words say that the status does not; `None` leaves it to the status.
fn refusal(status: u16, text: &str) -> Option<&'static Meaning> {
    if !(400..=599).contains(&status) || status == 429 {
        return None;
    }
    of_words(&answers::REFUSALS, text)
}

/// Kannel's queue and SMPP know four priorities, as warnings know four levels; the highest is sent first.
const fn priority(level: Level) -> &'static str {
    match level {
        Level::Red => "3",
        Level::Orange => "2",
        Level::Yellow => "1",
        Level::Blue => "0",
    }
}

/// A reply's octets by what Kannel calls their charset (`%C`): UTF-16 as they come from the air, or UTF-8 where it has recoded them.
fn text_in(octets: &[u8], charset: &str) -> String {
    let label = charset.trim().to_ascii_uppercase().replace(['-', '_'], "");
    let known = match label.as_str() {
        "UTF16BE" | "UTF16" | "UCS2" | "UCS2BE" | "ISO10646UCS2" => Some(encoding_rs::UTF_16BE),
        "UTF16LE" | "UCS2LE" => Some(encoding_rs::UTF_16LE),
        // A text of GSM letters is handed over in UTF-8.
        "" | "GSM" | "UTF8" | "BINARY" | "7BIT" | "8BIT" => None,
        _ => encoding_rs::Encoding::for_label(charset.trim().as_bytes()),
    };
    // Kannel's old form does not say it: of UTF-16 that holds ASCII every other octet is nothing.
    let is_wide = label.is_empty() && octets.len().is_multiple_of(2) && octets.first() == Some(&0);
    let known = known.or(is_wide.then_some(encoding_rs::UTF_16BE));
    let decoded = known.map(|charset| charset.decode_with_bom_removal(octets).0.into_owned());
    decoded.unwrap_or_else(|| String::from_utf8_lossy(octets).into_owned())
}

fn news(kind: u8, answer: &str, in_parts: bool) -> Option<News> {
    match kind {
        1 => Some(News::Delivered),
        2 => Some(News::Failed(failed(answer))),
        4 | 8 => Some(News::Accepted),
        16 if in_parts => Some(News::PartFailed(refused_by_operator(answer))),
        16 => Some(News::Failed(refused_by_operator(answer))),
        _ => None,
    }
}

/// The final state as the operator's receipt text names it.
fn failed(answer: &str) -> Failure {
    let state = answer.split_once("stat:").map_or("", |(_, rest)| rest.split_whitespace().next().unwrap_or_default());
    let meaning = of_words(&answers::STATES, &state.to_ascii_lowercase()).unwrap_or(&answers::OTHER_STATE);
    Failure::new(meaning.class, meaning.concerns, meaning.reason, about(answer))
}

/// `NACK/88/…`: what the centre answered to the submission, by its own status.
fn refused_by_operator(answer: &str) -> Failure {
    let rest = answer.strip_prefix("NACK/").unwrap_or(answer);
    let code = rest.split('/').next().map(str::trim).and_then(|code| match code.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => code.parse().ok(),
    });
    let by_code = code.and_then(|code| of_number(&answers::NACKS, code));
    let meaning = by_code.or_else(|| of_words(&answers::NACKS, &rest.to_ascii_lowercase())).unwrap_or(&answers::OTHER_NACK);
    // As a number, since a long hexadecimal one would be masked as a telephone's.
    let detail = code.map_or_else(|| about(answer), |code| format!("0x{code:x}: {}", about(answer)));
    Failure::new(meaning.class, meaning.concerns, meaning.reason, detail)
}

/// The receipt without the text that it may quote.
fn about(answer: &str) -> String {
    let head = ["text:", "Text:"].iter().find_map(|mark| answer.split_once(mark)).map_or(answer, |(head, _)| head);
    masked_numbers(head.trim()).chars().filter(|letter| !letter.is_control()).take(ANSWER_CHARS_MAX).collect()
}

/// Seconds since 1970; whether they are credible is for whoever knows when the message left.
fn told_at(text: &str) -> Option<Timestamp> {
    Some(Timestamp::from_ms(text.parse::<i64>().ok()?.checked_mul(1_000)?))
}

impl Channel for Kannel {
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
        // Kannel takes several numbers at once, but then reports could not be told apart by their address.
        Batching::One
    }

    fn send<'a>(&'a self, batch: &'a [Outgoing]) -> BoxFuture<'a, Vec<Verdict>> {
        Box::pin(batch.iter().map(|message| self.send_one(message)).collect::<FuturesOrdered<_>>().collect())
    }

    fn receive(&self, callback: &Callback) -> Result<Reception, Failure> {
        match callback.what.as_str() {
            "status" => self.status(callback),
            "reply" => self.reply(callback),
            other => Err(callback::malformed(&format!("there is no callback {other:?}"))),
        }
    }

    fn start(&self, _reports: ReportSink) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
#[path = "kannel_tests.rs"]
mod tests;
