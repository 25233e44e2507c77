//! Kannel's own words, reports and replies.

use super::*;
use crate::channel::contract_kit::{FarEnd, NOW, PHONE, build, called, context, failure, faults, message, only_news, send_one};
use crate::channel::{
    Class,
    Concerns::{self, Account, Provider, Recipient, Request},
};

const TABLE: &str = "username = \"gw\"\npassword = \"p w\"\nfrom = \"10690\"\nsmsc = \"cm\"\ncallback_token = \"tok\"\ntimeout = \"2s\"\n";

fn kannel(base: &str) -> Arc<dyn Channel> {
    build(Kind::Sms, "kannel", &format!("url = \"{base}/cgi-bin/sendsms\"\n{TABLE}"))
}

#[tokio::test]
async fn a_message_carries_its_text_its_account_and_the_address_of_its_report() {
    let far_end = FarEnd::open(202, "3: Queued for later delivery").await;
    let channel = kannel(&far_end.base());
    let sent = message(3, PHONE);
    assert_eq!(send_one(channel.as_ref(), sent.clone()).await, Verdict::Accepted { provider_ref: None });
    let asked = &far_end.asked()[0];
    assert_eq!((asked.method.as_str(), asked.uri.path()), ("GET", "/cgi-bin/sendsms"));
    let fields = Fields::parse(asked.uri.query().expect("a query"));
    for (name, value) in [("username", "gw"), ("password", "p w"), ("from", "10690"), ("smsc", "cm"), ("to", PHONE), ("coding", "2")] {
        assert_eq!(fields.get(name), Some(value), "{name}");
    }
    assert_eq!(fields.get("text"), Some(sent.text.as_str()));
    assert_eq!((fields.get("charset"), fields.get("dlr-mask")), (Some("UTF-8"), Some("31")));
    let minutes = sent.facts.expires.since(NOW).as_secs() / 60;
    assert_eq!(fields.get("validity"), Some(minutes.to_string().as_str()));
    assert_eq!(fields.get("priority"), Some("3"), "a red warning overtakes in Kannel's own queue");
    let mac = callback::mac(&context().callback_key, "acc-1", sent.id);
    let expected = format!("https://alert.county.example/v1/callbacks/sms/acc-1/status?id={}&k={mac}&n=1&d=%d&a=%A&t=%T", sent.id);
    assert_eq!(fields.get("dlr-url"), Some(expected.as_str()));
}

#[tokio::test]
async fn kannels_words_decide_before_its_status() {
    use Class::{Misconfigured, Reject, Retry};
    let far_end = FarEnd::open(200, "").await;
    let channel = kannel(&far_end.base());
    for (status, body, class, reason) in [
        (403, "Authorization failed for sendsms", Misconfigured, "auth"),
        (403, "Number(s) has/have been denied by white- and/or black-lists.", Reject, "denied-number"),
        (403, "Not routable. Do not try again.", Reject, "not-routable"),
        (400, "Charset or body misformed, rejected", Misconfigured, "charset"),
        (400, "Missing receiver number, rejected", Reject, "bad-number"),
        (400, "Garbage 'to' field, rejected.", Reject, "bad-number"),
        (400, "Sender missing and no global set, rejected", Misconfigured, "no-sender"),
        (404, "Not found", Misconfigured, "wrong-url"),
        (400, "DLR-URL field misformed, rejected", Misconfigured, "bad-request"),
        (503, "Temporal failure, try again later.", Retry, "http-5xx"),
    ] {
        far_end.says(status, body);
        let failure = failure(send_one(channel.as_ref(), message(1, PHONE)).await);
        assert_eq!((failure.class, failure.reason), (class, reason), "{status} {body}");
    }
}

fn reported(channel: &dyn Channel, rest: &str) -> Reception {
    let id = message(3, PHONE).id;
    let mac = callback::mac(&context().callback_key, "acc-1", id);
    let reception = channel.receive(&called("status", &format!("id={id}&k={mac}&{rest}"), None, "")).expect("a reception");
    assert_eq!((reception.status, reception.body.as_str()), (200, ""));
    assert!(reception.reports.iter().all(|report| matches!(report.about, About::Handed { id: of, .. } if of == id)));
    reception
}

#[test]
fn every_kind_of_report_is_read_once_its_key_fits() {
    let channel = kannel("http://127.0.0.1:9");
    assert_eq!(only_news(&reported(channel.as_ref(), "d=1&a=stat:DELIVRD")), &News::Delivered);
    assert_eq!(only_news(&reported(channel.as_ref(), "d=4")), &News::Accepted);
    assert_eq!(only_news(&reported(channel.as_ref(), "d=8&a=ACK/")), &News::Accepted);
    assert!(reported(channel.as_ref(), "d=32").reports.is_empty());
    for (rest, class, reason) in [
        ("d=2&a=id:1%20sub:001%20stat:EXPIRED%20err:006%20text:secret", Class::Reject, "expired"),
        ("d=2&a=id:1+stat:UNDELIV+err:001", Class::Reject, "undeliverable"),
        ("d=2&a=stat:UNKNOWN", Class::Unknown, "unknown-state"),
        ("d=2", Class::Reject, "failed"),
        ("d=16&a=NACK/11/Invalid", Class::Reject, "bad-number"),
        ("d=16&a=NACK/88/Throttled", Class::Throttled, "smsc-throttled"),
        ("d=16&a=NACK/validity+expired", Class::Reject, "expired-in-queue"),
        ("d=16&a=NACK/", Class::Reject, "smsc-reject"),
    ] {
        let reception = reported(channel.as_ref(), rest);
        let News::Failed(failure) = only_news(&reception) else { panic!("{rest}: {reception:?}") };
        assert_eq!((failure.class, failure.reason), (class, reason), "{rest}");
        assert!(!failure.detail.contains("secret"));
    }
    let seconds = NOW.as_ms() / 1_000 - 5;
    assert_eq!(reported(channel.as_ref(), &format!("d=1&t={seconds}")).reports[0].at, Some(Timestamp::from_ms(seconds * 1_000)));
    assert_eq!(reported(channel.as_ref(), "d=1&t=2026-07-23+02:15").reports[0].at, None);
}

#[tokio::test]
async fn a_refused_part_is_told_apart_where_there_are_several() {
    let far_end = FarEnd::open(202, "3: Queued for later delivery").await;
    let channel = kannel(&far_end.base());
    send_one(channel.as_ref(), Outgoing { text: "水".repeat(100), attempt: 2, ..message(3, PHONE) }).await;
    let asked = far_end.asked();
    let fields = Fields::parse(asked[0].uri.query().expect("a query"));
    let url: Url = fields.get("dlr-url").expect("a dlr-url").parse().expect("an address");
    let query = url.query().expect("a query").split("&d=").next().expect("a head").to_owned();
    let report = |rest: &str| channel.receive(&called("status", &format!("{query}&{rest}"), None, "")).expect("taken").reports.remove(0);
    let refused = report("d=16&a=NACK/8/");
    assert!(matches!(refused.news, News::PartFailed(_)), "{refused:?}");
    assert!(matches!(refused.about, About::Handed { attempt: Some(2), .. }), "{refused:?}");
    assert_eq!(report("d=1").news, News::Delivered);
}

#[test]
fn replies_are_read_as_kannel_says_that_they_are_written() {
    let channel = kannel("http://127.0.0.1:9");
    for (query, text) in [
        ("text=%E6%94%B6%E5%88%B0&charset=UTF-8", "收到"),
        ("text=e6R0&charset=UTF-16BE", "收到"),
        ("text=%001&charset=UTF-16BE", "1"),
        ("text=%003%00+%6CB%52%A9&charset=UCS-2", "3 求助"),
        ("text=%00T%00D", "TD"),
        ("text=1&charset=GSM", "1"),
        ("text=%CA%D5%B5%BD&charset=GBK", "收到"),
        ("text=1", "1"),
    ] {
        let reception = channel.receive(&called("reply", &format!("from=138&k=tok&{query}"), None, "")).expect("taken");
        assert_eq!(only_news(&reception), &News::Reply(text.to_owned()), "{query}");
    }
}

#[test]
fn a_centre_that_refuses_us_or_itself_never_counts_against_the_number() {
    let channel = kannel("http://127.0.0.1:9");
    for (status, class, concerns) in [
        (0x04_u32, Class::Misconfigured, Account),
        (0x08, Class::Retry, Provider),
        (0x0a, Class::Misconfigured, Account),
        (0x0b, Class::Reject, Recipient),
        (0x0e, Class::Misconfigured, Account),
        (0x15, Class::Misconfigured, Account),
        (0x33, Class::Reject, Request),
        (0x45, Class::Reject, Provider),
        (0x50, Class::Reject, Recipient),
        (0x61, Class::Reject, Request),
        (0x62, Class::Reject, Request),
        (0x66, Class::Reject, Provider),
        (0xfe, Class::Reject, Provider),
        (0x401, Class::Reject, Provider),
        (0x4fe, Class::Reject, Provider),
        (0x9999, Class::Reject, Provider),
    ] {
        for written in [format!("{status}"), format!("0x{status:x}"), format!("0x{status:08x}")] {
            let reception = reported(channel.as_ref(), &format!("d=16&a=NACK/{written}/words"));
            let News::Failed(failure) = only_news(&reception) else { panic!("{reception:?}") };
            assert_eq!((failure.class, failure.concerns), (class, concerns), "{written}");
            assert!(failure.detail.starts_with(&format!("0x{status:x}: ")), "the centre's own status is kept: {failure}");
        }
    }
    let known: &[Concerns] = &[Recipient];
    let of_number = answers::NACKS.iter().filter(|meaning| known.contains(&meaning.concerns)).count();
    assert_eq!(of_number, 2, "only a bad address is about the number");
}

#[test]
fn a_report_with_the_key_of_another_delivery_is_refused() {
    let channel = kannel("http://127.0.0.1:9");
    let (id, other) = (message(3, PHONE).id, message(4, PHONE).id);
    let mac = callback::mac(&context().callback_key, "acc-1", other);
    let reception = channel.receive(&called("status", &format!("id={id}&k={mac}&d=1"), None, "")).expect("a reception");
    assert_eq!((reception.status, reception.reports.len()), (403, 0));
}

#[test]
fn a_reply_needs_the_accounts_token() {
    let channel = kannel("http://127.0.0.1:9");
    let reception = channel.receive(&called("reply", "from=%2B8613800138000&text=%E6%94%B6%E5%88%B0&k=tok", None, "")).expect("taken");
    assert_eq!(reception.reports[0].about, About::Phone("+8613800138000".to_owned()));
    assert_eq!(only_news(&reception), &News::Reply("收到".to_owned()));
    for query in ["from=138&text=1&k=no", "from=138&text=1"] {
        assert_eq!(channel.receive(&called("reply", query, None, "")).expect("a reception").status, 403);
    }
    let form = called("reply", "k=tok", Some("application/x-www-form-urlencoded"), "from=13800138000&text=2");
    assert_eq!(only_news(&channel.receive(&form).expect("taken")), &News::Reply("2".to_owned()));
}

#[test]
fn a_table_without_account_or_with_a_strange_address_is_at_fault() {
    let mut paths = faults(Kind::Sms, "kannel", "url = \"ftp://x\"\nusername = \"\"\nsignature = \"a\\nb\"\ndlr = 1");
    paths.sort();
    let expected = ["dlr", "password", "signature", "url", "username"].map(|key| format!("channel.acc-1.{key}"));
    assert_eq!(paths, expected);
}
