//! Gateways as tables describe them, over the wire.

use std::sync::Mutex;

use super::*;
use crate::channel::{
    About, News,
    contract_kit::{FarEnd, PHONE, build, called, failure, faults, message, only_news, send_one},
};

const JSON: &str = r#"
method = "POST"
from = "10690"
secret = "s3cret"
callback_token = "t o"
body = '{"mobile":{{ to|tojson }},"content":{{ text|tojson }},"out_id":{{ id|tojson }},"key":{{ secret|tojson }},"back":{{ callback_url|tojson }}}'
headers = { Authorization = "Bearer abcdef", "X-Request-Id" = "{{ id }}" }
message_id = "/data/sid"
ok = { status = [200], path = "/code", equals = ["0", "OK"] }
error = { classes = { "isv.LIMIT" = "throttle", "isv.NUMBER" = "reject", "isv.MONEY" = "misconfigured", TD = "opted_out", "isp.BUSY" = "retry", ODD = "unknown" } }
signature = "【北川预警】"
[receipt]
list = "/reports"
id = "/out_id"
status = "/status"
delivered = ["DELIVRD"]
failed = { "MK:0001" = "reject", "MK:0005" = "opted_out" }
reply = '{"code":0}'
[answer]
form = "query"
from = "/mobile"
text = "/content"
reply = "ok"
"#;

fn gateway(base: &str) -> Arc<dyn Channel> {
    build(Kind::Sms, "http", &format!("url = \"{base}/send\"\n{JSON}"))
}

#[tokio::test]
async fn a_request_is_what_the_table_wrote_and_its_id_comes_back() {
    let far_end = FarEnd::open(200, r#"{"code":0,"data":{"sid":77}}"#).await;
    let channel = gateway(&far_end.base());
    let sent = Outgoing { text: "他说\"走\"\n".to_owned(), ..message(3, PHONE) };
    assert_eq!(send_one(channel.as_ref(), sent.clone()).await, Verdict::Accepted { provider_ref: Some("77".to_owned()) });
    let asked = &far_end.asked()[0];
    let body: Value = serde_json::from_str(&asked.body).expect("json");
    let expected = serde_json::json!({
        "mobile": PHONE, "content": sent.text, "out_id": sent.id.to_string(), "key": "s3cret",
        "back": "https://alert.county.example/v1/callbacks/sms/acc-1/status?k=t%20o",
    });
    assert_eq!((asked.method.as_str(), asked.uri.path(), body), ("POST", "/send", expected));
    for (name, value) in [("content-type", "application/json"), ("authorization", "Bearer abcdef"), ("x-request-id", &sent.id.to_string())]
    {
        assert_eq!(asked.headers[name].to_str().ok(), Some(value));
    }
    assert!(matches!(channel.form(), Form::Short { signature, .. } if signature == "【北川预警】"));
}

#[tokio::test]
async fn an_address_can_carry_the_message_and_a_form_is_a_form() {
    let far_end = FarEnd::open(200, "anything").await;
    let table = format!("method = \"GET\"\nurl = \"{}/s?to={{{{ to_e164|urlencode }}}}&m={{{{ text|urlencode }}}}\"", far_end.base());
    let channel = build(Kind::Sms, "http", &table);
    assert_eq!(channel.proof(), Proof::AcceptedOnly);
    let sent = Outgoing { text: "走&走=".to_owned(), ..message(3, PHONE) };
    assert_eq!(send_one(channel.as_ref(), sent).await, Verdict::Accepted { provider_ref: None });
    assert_eq!(far_end.asked()[0].uri.query(), Some("to=%2B8613800138000&m=%E8%B5%B0%26%E8%B5%B0%3D"));

    let form = format!("url = \"{}/s\"\nbody = \"to={{{{ to }}}}&m={{{{ text|urlencode }}}}\"", far_end.base());
    send_one(build(Kind::Sms, "http", &form).as_ref(), message(3, PHONE)).await;
    assert_eq!(far_end.asked()[1].headers["content-type"].to_str().ok(), Some("application/x-www-form-urlencoded"));
}

#[tokio::test]
async fn the_gateways_codes_mean_what_the_table_says() {
    use Class::{Misconfigured, OptedOut, Reject, Retry, Throttled, Unknown};
    let far_end = FarEnd::open(200, "").await;
    let channel = gateway(&far_end.base());
    for (status, body, class, reason) in [
        (200, r#"{"code":"isv.LIMIT"}"#, Throttled, "gateway-throttled"),
        (200, r#"{"code":"isv.NUMBER","message":"13800138000 s3cret Bearer abcdef"}"#, Reject, "gateway-refused"),
        (400, r#"{"code":"isv.MONEY"}"#, Misconfigured, "gateway-account"),
        (200, r#"{"code":"TD"}"#, OptedOut, "opted-out"),
        (500, r#"{"code":"isp.BUSY"}"#, Retry, "gateway-busy"),
        (200, r#"{"code":"ODD"}"#, Unknown, "gateway-unknown"),
        (200, r#"{"code":"NEW"}"#, Retry, "unlisted-code"),
        (201, r#"{"code":"0"}"#, Retry, "unlisted-code"),
        (200, r#"{"kode":0}"#, Unknown, "garbage"),
        (200, "<html>", Unknown, "garbage"),
        (403, "<html>", Misconfigured, "auth"),
    ] {
        far_end.says(status, body);
        let failure = failure(send_one(channel.as_ref(), message(1, PHONE)).await);
        assert_eq!((failure.class, failure.reason), (class, reason), "{status} {body}");
        assert!(!failure.detail.contains("s3cret") && !failure.detail.contains("abcdef") && !failure.detail.contains(PHONE));
    }
}

const BATCH: &str = r#"
callback_token = "tok"
body = '{"numbers":{{ to_list|tojson }},"to":{{ to|tojson }},"text":{{ text|tojson }},"id":{{ id|tojson }},"ttl":{{ minutes_left }}}'
numbers_max = 3
numbers_separator = ";"
message_id = "/sid"
ok = 200
error = "/code"
[receipt]
provider_ref = "/sid"
to = "/mobile"
status = "/status"
delivered = "0"
failed = { "*" = "retry" }
code = "/code"
codes = { "MK:0001" = "reject" }
time = "/at"
"#;

#[tokio::test]
async fn one_request_serves_many_numbers_and_their_reports_are_told_apart() {
    let far_end = FarEnd::open(200, r#"{"sid":"s1"}"#).await;
    let channel = build(Kind::Sms, "http", &format!("url = \"{}/send\"\n{BATCH}", far_end.base()));
    assert_eq!(channel.batching(), Batching::SameText { max: 3 });
    let number = |index: u32| format!("1380013800{index}");
    let mut batch: Vec<Outgoing> = (0..5).map(|index| message(index, &number(index))).collect();
    batch[4].text = "另一段话".to_owned();
    let verdicts = channel.send(&batch).await;
    let references: Vec<String> = verdicts
        .into_iter()
        .map(|verdict| match verdict {
            Verdict::Accepted { provider_ref: Some(reference) } => reference,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(references.iter().collect::<BTreeSet<_>>().len(), 5, "{references:?}");
    assert!(references.iter().all(|reference| !reference.contains("138001380")), "{references:?}");
    let asked: Vec<Value> = far_end.asked().iter().map(|asked| serde_json::from_str(&asked.body).expect("json")).collect();
    assert_eq!(asked.len(), 3, "three alike, the fourth alone, the fifth of another text");
    assert_eq!(asked[0]["numbers"], serde_json::json!([number(0), number(1), number(2)]));
    assert_eq!(asked[0]["to"], format!("{};{};{}", number(0), number(1), number(2)));
    assert_ne!(asked[0]["id"], batch[0].id.to_string(), "an id of one would let the gateway drop the others");
    assert_eq!(asked[1]["id"], batch[3].id.to_string());
    assert!(asked[0]["ttl"].is_number());

    let body = serde_json::json!([
        { "sid": "s1", "mobile": "86 13800138001", "status": 0, "at": "2026-07-23 10:16:30" },
        { "sid": "s1", "mobile": number(2), "status": "9", "code": "MK:0001" },
        { "sid": "s1", "mobile": number(3), "status": "9", "code": "MK:0099" },
    ]);
    let reception = channel.receive(&called("status", "k=tok", None, &body.to_string())).expect("a reception");
    let told: Vec<(&str, Option<Class>)> = reception
        .reports
        .iter()
        .map(|report| match (&report.about, &report.news) {
            (About::ProviderRef { provider_ref, .. }, News::Delivered) => (provider_ref.as_str(), None),
            (About::ProviderRef { provider_ref, .. }, News::Failed(failure)) => (provider_ref.as_str(), Some(failure.class)),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [(&*references[1], None), (&*references[2], Some(Class::Reject)), (&*references[3], Some(Class::Retry))]);
    assert_eq!(reception.reports[0].at.map(|at| at.to_string()).as_deref(), Some("2026-07-23T10:16:30+08:00"));
}

#[tokio::test]
async fn a_gateway_of_plain_words_is_described_by_its_status_and_its_body() {
    let far_end = FarEnd::open(202, "ab-77\n").await;
    let table = format!("url = \"{}/s\"\nok = [200, 202]\nmessage_id = \"body\"", far_end.base());
    let channel = build(Kind::Sms, "http", &table);
    assert_eq!(send_one(channel.as_ref(), message(1, PHONE)).await, Verdict::Accepted { provider_ref: Some("ab-77".to_owned()) });
    far_end.says(204, "");
    assert_eq!(failure(send_one(channel.as_ref(), message(1, PHONE)).await).class, Class::Unknown);
}

#[test]
fn reports_are_read_where_the_table_says_and_answered_in_its_words() {
    let channel = gateway("http://127.0.0.1:9");
    let ids: Vec<String> = (0..4).map(|index| message(index, PHONE).id.to_string()).collect();
    let body = serde_json::json!({ "reports": [
        { "out_id": ids[0], "status": "DELIVRD" }, { "out_id": ids[1], "status": "MK:0001" },
        { "out_id": ids[2], "status": "ENROUTE" }, { "out_id": "not ours", "status": "DELIVRD" }, 7,
    ]});
    let reception = channel.receive(&called("status", "k=t%20o", None, &body.to_string())).expect("a reception");
    assert_eq!((reception.status, reception.content_type, reception.body.as_str()), (200, "application/json", "{\"code\":0}"));
    assert_eq!(reception.reports.len(), 2);
    assert_eq!((&reception.reports[0].about, &reception.reports[0].news), (&About::Delivery(message(0, PHONE).id), &News::Delivered));
    assert!(matches!(&reception.reports[1].news, News::Failed(failure) if failure.class == Class::Reject));
    for (query, body) in [("k=no", body.to_string()), ("", body.to_string())] {
        assert_eq!(channel.receive(&called("status", query, None, &body)).expect("a reception").status, 403);
    }
    for body in ["", "{}", "{\"reports\":[1,2]}", "[", "{\"reports\":[{\"out_id\":\"x\"}]}"] {
        assert_eq!(channel.receive(&called("status", "k=t+o", None, body)).expect_err("refused").reason, "bad-callback", "{body}");
    }
}

#[test]
fn a_report_may_name_the_gateways_own_id() {
    let table = "url = \"http://127.0.0.1:9/\"\ncallback_token = \"tok\"\nmessage_id = \"/sid\"\nreport_within = \"5m\"\n\
                 [receipt]\nform = \"query\"\nprovider_ref = \"/sid\"\nto = \"/mobile\"\nstatus = \"/s\"\ndelivered = [\"true\"]\nfailed = { \"*\" = \"reject\" }";
    let channel = build(Kind::Sms, "http", table);
    assert_eq!(channel.proof(), Proof::Report { within: Duration::from_secs(300) });
    let reception = channel.receive(&called("status", "k=tok&sid=9&mobile=138&s=odd", None, "")).expect("a reception");
    assert_eq!(reception.reports[0].about, About::ProviderRef { provider_ref: "9".to_owned(), to: Some("138".to_owned()) });
    assert!(matches!(only_news(&reception), News::Failed(failure) if failure.class == Class::Reject));
}

#[tokio::test]
async fn an_address_of_one_message_takes_reports_of_that_message_alone() {
    let far_end = FarEnd::open(200, r#"{"code":0}"#).await;
    let table = "callback_token = \"tok\"\nheaders = { content-type = \"text/plain\" }\nbody = '{{ message_callback_url }}'\n\
                 [receipt]\nid = \"/out_id\"\nstatus = \"/s\"\ndelivered = [\"ok\"]\nfailed = { \"*\" = \"reject\" }";
    let channel = build(Kind::Sms, "http", &format!("url = \"{}/send\"\n{table}", far_end.base()));
    send_one(channel.as_ref(), message(1, PHONE)).await;
    let address = far_end.asked()[0].body.clone();
    assert!(!address.contains("tok"), "it stands in other people's logs: {address}");
    let query = address.split_once('?').expect("a query").1.to_owned();
    let (own, other) = (message(1, PHONE).id, message(2, PHONE).id);
    let call = |query: &str, body: Value| channel.receive(&called("status", query, None, &body.to_string()));
    let reception = call(&query, serde_json::json!({ "out_id": own.to_string(), "s": "ok" })).expect("taken");
    assert_eq!(reception.reports[0].about, About::Handed { id: own, attempt: None, readers: Vec::new() });
    assert!(call(&query, serde_json::json!({ "out_id": other.to_string(), "s": "ok" })).is_err());
    let for_other = query.replace(&own.to_string(), &other.to_string());
    assert_eq!(call(&for_other, serde_json::json!({ "s": "ok" })).expect("an answer").status, 403);
    assert_eq!(channel.receive(&called("reply", &query, None, "{}")).expect("an answer").status, 403, "it is for reports alone");
}

#[tokio::test]
async fn a_gateway_of_another_charset_gets_and_brings_its_texts_in_it() {
    let far_end = FarEnd::open(200, "").await;
    let table = "charset = \"gbk\"\ncallback_token = \"tok\"\nbody = 'content={{ text|urlencode }}'\n\
                 [answer]\nform = \"query\"\nfrom = \"/mobile\"\ntext = \"/content\"";
    let channel = build(Kind::Sms, "http", &format!("url = \"{}/send\"\n{table}", far_end.base()));
    send_one(channel.as_ref(), Outgoing { text: "求助𠮷1".to_owned(), ..message(1, PHONE) }).await;
    let asked = &far_end.asked()[0];
    assert_eq!(asked.body, "content=%C7%F3%D6%FA%3F1");
    assert_eq!(asked.headers["content-type"], "application/x-www-form-urlencoded; charset=GBK");
    for call in [
        called("reply", "k=tok&mobile=138&content=%C7%F3%D6%FA", None, ""),
        called("reply", "k=tok", Some("application/x-www-form-urlencoded"), "mobile=138&content=%C7%F3%D6%FA"),
        called("reply", "k=tok", Some("application/x-www-form-urlencoded; charset=utf-8"), "mobile=138&content=%E6%B1%82%E5%8A%A9"),
    ] {
        assert_eq!(only_news(&channel.receive(&call).expect("taken")), &News::Reply("求助".to_owned()), "{call:?}");
    }
    assert_eq!(faults(Kind::Sms, "http", "url = \"http://127.0.0.1:9/\"\ncharset = \"ebcdic\""), ["channel.acc-1.charset"]);
}

#[test]
fn replies_come_by_query_or_form() {
    let channel = gateway("http://127.0.0.1:9");
    let call = called("reply", "k=t%20o", Some("application/x-www-form-urlencoded"), "mobile=13800138000&content=%E6%94%B6%E5%88%B0");
    let reception = channel.receive(&call).expect("a reception");
    assert_eq!((reception.body.as_str(), &reception.reports[0].about), ("ok", &About::Phone(PHONE.to_owned())));
    assert_eq!(only_news(&reception), &News::Reply("收到".to_owned()));
}

#[test]
fn a_table_that_could_not_work_is_at_fault_before_anything_is_sent() {
    for (table, expected) in [
        ("", vec!["url"]),
        ("url = \"http://{{ to }}/\"", vec!["url"]),
        ("url = \"http://h.example{{ to }}/\"", vec!["url"]),
        ("url = \"http://h/\"\nbody = \"{{ phone }}\"", vec!["body"]),
        ("url = \"http://h/\"\nheaders = { \"a b\" = \"x\", c = 1 }", vec!["headers.a b", "headers.c"]),
        ("url = \"http://h/\"\nok = { path = \"code\", equals = [\"0\"], status = [99] }", vec!["ok.status", "ok.path"]),
        ("url = \"http://h/\"\nok = [2000]\nmessage_id = \"sid\"\nerror = \"code\"", vec!["ok", "message_id", "error"]),
        (
            "url = \"http://h/\"\nnumbers_max = 9\ncallback_token = \"t\"\n[receipt]\nid = \"/r\"\nstatus = \"/s\"\ndelivered = [0]",
            vec!["numbers_max"],
        ),
        (
            "url = \"http://h/\"\ncallback_token = \"t\"\n[receipt]\nid = \"/r\"\nstatus = \"/s\"\ndelivered = 0\ntime_offset = \"x\"",
            vec!["receipt.time_offset"],
        ),
        ("url = \"http://h/\"\nerror = { classes = { a = \"perhaps\" } }", vec!["error.classes.a", "error.path"]),
        ("url = \"http://h/\"\n[receipt]\nstatus = \"/s\"", vec!["receipt.id", "receipt.delivered", "callback_token"]),
        (
            "url = \"http://h/\"\ncallback_token = \"t\"\n[receipt]\nprovider_ref = \"/r\"\nstatus = \"/s\"\ndelivered = [\"D\"]\nodd = 1",
            vec!["receipt.odd"],
        ),
    ] {
        let mut paths = faults(Kind::Sms, "http", table);
        let mut expected: Vec<String> = expected.into_iter().map(|key| format!("channel.acc-1.{key}")).collect();
        paths.sort();
        expected.sort();
        assert_eq!(paths, expected, "{table}");
    }
}

#[test]
fn reports_of_real_gateways_are_read_by_a_table() {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus/receipts"));
    if !folder.is_dir() {
        eprintln!("NOT RUN: there is no corpus of receipts at {}", folder.display());
        return;
    }
    for (file, provider_ref, status, delivered) in [
        ("aliyun-smsreport-docs.json", "biz_id", "err_code", "DELIVERED"),
        ("aliyun-smsreport-delivered.json", "biz_id", "success", "true"),
        ("tencent-status-callback.json", "sid", "errmsg", "DELIVRD"),
    ] {
        let table = format!(
            "url = \"http://127.0.0.1:9/\"\ncallback_token = \"tok\"\nmessage_id = \"/id\"\n\
             [receipt]\nprovider_ref = \"/{provider_ref}\"\nstatus = \"/{status}\"\ndelivered = [\"{delivered}\"]\nfailed = {{ \"*\" = \"reject\" }}"
        );
        let body = std::fs::read_to_string(folder.join(file)).expect("a receipt");
        let call = called("status", "k=tok", Some("application/json"), &body);
        let reception = build(Kind::Sms, "http", &table).receive(&call).expect("a reception");
        assert_eq!(only_news(&reception), &News::Delivered, "{file}");
    }
}

#[tokio::test]
async fn what_a_gateway_says_of_the_account_its_money_its_pace_or_the_text_is_not_the_numbers_fault() {
    use Concerns::{Account, Message, Provider, Recipient, Request};
    let far_end = FarEnd::open(200, "").await;
    let words = "errors = { \"未报备\" = \"misconfigured\", \"日限\" = \"reject\", \"Code 77\" = \"elsewhere\" }\n";
    let channel = build(Kind::Sms, "http", &format!("url = \"{}/send\"\n{words}{JSON}", far_end.base()));
    for (status, body, class, concerns) in [
        (400, r#"{"code":"isv.X","message":"签名不存在"}"#, Class::Misconfigured, Account),
        (400, "signature not registered", Class::Misconfigured, Account),
        (402, r#"{"message":"no credit left"}"#, Class::Misconfigured, Account),
        (402, "", Class::Misconfigured, Account),
        (422, r#"{"message":"template 31 is not approved"}"#, Class::Misconfigured, Account),
        (422, r#"{"message":"模板未审核"}"#, Class::Misconfigured, Account),
        (400, r#"{"message":"Too Many Requests"}"#, Class::Throttled, Provider),
        (400, "发送频率超限", Class::Throttled, Provider),
        (403, r#"{"message":"rate limit exceeded"}"#, Class::Throttled, Provider),
        (400, r#"{"message":"content holds a sensitive word"}"#, Class::Reject, Message),
        (400, r#"{"message":"invalid mobile number"}"#, Class::Reject, Recipient),
        (400, r#"{"message":"手机号码格式错误"}"#, Class::Reject, Recipient),
        (400, r#"{"mobile":"","signature":"","message":"no"}"#, Class::Reject, Request),
        (200, r#"{"code":"X","message":"余额不足"}"#, Class::Misconfigured, Account),
        (200, r#"{"code":"X","message":"号码未报备"}"#, Class::Misconfigured, Account),
        (500, r#"{"message":"号码日限"}"#, Class::Reject, Recipient),
        (400, "code 77", Class::Reject, Provider),
        (408, "", Class::Retry, Provider),
        (413, "", Class::Reject, Request),
        (414, "<html>too large", Class::Reject, Request),
        (431, "", Class::Reject, Request),
        (409, "", Class::Reject, Request),
    ] {
        far_end.says(status, body);
        let failure = failure(send_one(channel.as_ref(), message(1, PHONE)).await);
        assert_eq!((failure.class, failure.concerns), (class, concerns), "{status} {body}");
        assert!(failure.detail.starts_with(&status.to_string()), "the status is kept: {failure}");
        assert!(status != 408 || failure.reason == "http-408");
    }
}

/// Takes what `takes` says yes to, refuses the rest with this status; and how many it was asked for each time.
async fn choosy(status: u16, takes: impl Fn(&[String]) -> bool + Clone + Send + Sync + 'static) -> (String, Arc<Mutex<Vec<usize>>>) {
    let asked: Arc<Mutex<Vec<usize>>> = Arc::default();
    let seen = Arc::clone(&asked);
    let answer = move |body: axum::Json<Value>| async move {
        let numbers: Vec<String> = serde_json::from_value(body["numbers"].clone()).expect("numbers");
        seen.lock().expect("whole").push(numbers.len());
        if takes(&numbers) {
            (axum::http::StatusCode::OK, r#"{"sid":"s"}"#)
        } else {
            (axum::http::StatusCode::from_u16(status).expect("a status"), "")
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let router = axum::Router::new().fallback(axum::routing::any(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (base, asked)
}

fn many(base: &str) -> Arc<dyn Channel> {
    build(Kind::Sms, "http", &format!("url = \"{base}/send\"\n{}", BATCH.replace("numbers_max = 3", "numbers_max = 64")))
}

fn batch(of: u32) -> Vec<Outgoing> {
    (0..of).map(|index| message(index, &format!("138001380{index:02}"))).collect()
}

#[tokio::test]
async fn one_bad_number_among_many_stands_alone_in_the_end_and_the_others_are_told() {
    let (base, asked) = choosy(400, |numbers| !numbers.contains(&"13800138007".to_owned())).await;
    let verdicts = many(&base).send(&batch(64)).await;
    for (index, verdict) in verdicts.iter().enumerate() {
        assert_eq!(matches!(verdict, Verdict::Accepted { .. }), index != 7, "{index}: {verdict:?}");
    }
    assert_eq!(asked.lock().expect("whole").len(), 13, "two for each halving of 64");
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_halved_until_it_fits() {
    let (base, asked) = choosy(413, |numbers| numbers.len() <= 10).await;
    let verdicts = many(&base).send(&batch(64)).await;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Accepted { .. })), "{verdicts:?}");
    assert_eq!(asked.lock().expect("whole").iter().max(), Some(&64));
}

#[tokio::test]
async fn what_is_refused_for_the_account_is_not_taken_apart_and_all_of_it_ends_within_bounds() {
    let (base, asked) = choosy(402, |_| false).await;
    let verdicts = many(&base).send(&batch(64)).await;
    assert!(verdicts.into_iter().all(|verdict| failure(verdict).class == Class::Misconfigured));
    assert_eq!(asked.lock().expect("whole").len(), 1);

    let (base, asked) = choosy(400, |_| false).await;
    let channel = build(Kind::Sms, "http", &format!("url = \"{base}/send\"\n{}", BATCH.replace("numbers_max = 3", "numbers_max = 1000")));
    let verdicts = channel.send(&(0..1_000).map(|index| message(index, &format!("1380013{index:04}"))).collect::<Vec<_>>()).await;
    let requests = asked.lock().expect("whole").len();
    assert!(requests <= 1 + 2 * usize::try_from(HALVINGS_MAX).expect("few"), "{requests} requests");
    assert!(verdicts.into_iter().any(|verdict| failure(verdict).reason == "batch-refused"), "who has not been asked alone is not judged");
}

#[tokio::test]
async fn each_further_try_is_made_in_smaller_company() {
    let (base, asked) = choosy(400, |_| true).await;
    let again: Vec<Outgoing> = batch(64).into_iter().map(|message| Outgoing { attempt: 3, ..message }).collect();
    many(&base).send(&again).await;
    assert_eq!(*asked.lock().expect("whole"), [16, 16, 16, 16]);
}

#[tokio::test]
async fn success_without_the_promised_id_is_in_doubt_where_it_may_be_somebody_elses() {
    let far_end = FarEnd::open(200, "<html>sign in to the network").await;
    let by_ref = build(Kind::Sms, "http", &format!("url = \"{}/send\"\n{BATCH}", far_end.base()));
    let in_doubt = failure(send_one(by_ref.as_ref(), message(1, PHONE)).await);
    assert_eq!((in_doubt.class, in_doubt.reason), (Class::Unknown, "no-message-id"));
    // It has said its own word of success, and reports name ours.
    far_end.says(200, r#"{"code":0}"#);
    assert_eq!(send_one(gateway(&far_end.base()).as_ref(), message(1, PHONE)).await, Verdict::Accepted { provider_ref: None });
}

#[test]
fn a_template_through_which_a_text_could_write_fields_is_at_fault() {
    for (table, path) in [
        ("url = \"http://h/\"\nbody = '{\"text\":\"{{ text }}\"}'", "body"),
        ("url = \"http://h/?t={{ text }}\"", "url"),
        ("url = \"http://h/?e={{ to_e164 }}\"", "url"),
        ("url = \"http://h/\"\nbody = 't={{ text }}'", "body"),
        ("url = \"http://h/\"\nbody = '<t>{{ text }}</t>'", "body"),
        ("url = \"http://h/\"\nheaders = { x-text = \"{{ text }}\" }", "headers.x-text"),
        ("url = \"http://h/\"\nheaders = { content-type = \"application/json\" }\nbody = '{{ text }}'", "body"),
    ] {
        assert_eq!(faults(Kind::Sms, "http", table), [format!("channel.acc-1.{path}")], "{table}");
    }
    let good = "url = \"http://h/?t={{ text|urlencode }}&n={{ to }}&id={{ id }}\"\nbody = '<t>{{ text|xml }}</t>'\nheaders = { x-key = \"Bearer {{ secret }}\" }";
    assert!(faults(Kind::Sms, "http", good).is_empty());
}
