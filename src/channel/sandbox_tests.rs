//! The sandbox keeps its shares, repeats itself under one seed, and reports in time.

use super::*;
use crate::channel::contract_kit::{build, faults, message};

const CALM: &str = "throttle = 0.0\nbreak = 0.0\nlatency = \"1ms\"\nreceipt_after = \"20ms\"\nanswer_after = \"20ms\"\n";

fn manner(table: &str) -> Manner {
    let table: Table = table.parse().expect("toml");
    let mut keys = Keys::read("channel.box", &table);
    super::manner(&mut keys)
}

fn asked(index: u32) -> Outgoing {
    Outgoing { answer_url: Some("https://alert.county.example/a/x".to_owned()), ..message(index, "13800138000") }
}

#[test]
fn shares_are_kept_and_one_seed_tells_one_story() {
    let behaves = manner("seed = 5\nthrottle = 0.1\nbreak = 0.1\nanswer = 0.5");
    let fates: Vec<Fate> = (0..20_000).map(|index| behaves.fate(&asked(index))).collect();
    let count = |pick: fn(&Fate) -> bool| fates.iter().filter(|fate| pick(fate)).count();
    assert!((1_800..2_200).contains(&count(|fate| fate.refusal == Some(Class::Throttled))));
    assert!((1_800..2_200).contains(&count(|fate| fate.refusal == Some(Class::Retry))));
    assert!((18_500..19_100).contains(&count(|fate| fate.receipt.is_some_and(|(_, delivered)| delivered))));
    assert!((450..750).contains(&count(|fate| fate.receipt.is_some_and(|(_, delivered)| !delivered))));
    assert!((9_000..9_800).contains(&count(|fate| fate.answer.is_some())));
    assert!((700..1_200).contains(&count(|fate| fate.answer.is_some_and(|(_, word)| word == "3"))));
    assert!(fates.iter().filter_map(|fate| fate.receipt).all(|(after, _)| after.as_millis() >= 200 && after.as_millis() <= 800));
    assert_eq!(fates, (0..20_000).map(|index| behaves.fate(&asked(index))).collect::<Vec<_>>());
    assert_ne!(fates, (0..20_000).map(|index| manner("seed = 6").fate(&asked(index))).collect::<Vec<_>>());
}

#[test]
fn a_later_try_of_a_refused_message_may_pass_and_ends_as_the_first_would_have() {
    let behaves = manner("seed = 5\nthrottle = 0.5\nbreak = 0.0");
    let first = (0..50).map(asked).find(|message| behaves.fate(message).refusal.is_some()).expect("half are refused");
    let again = (2..30).map(|attempt| behaves.fate(&Outgoing { attempt, ..first.clone() })).find(|fate| fate.refusal.is_none());
    assert_eq!(again.expect("one passes").receipt, behaves.fate(&first).receipt);
}

#[tokio::test]
async fn deliveries_and_answers_are_reported_and_a_stop_ends_them() {
    let channel = build(Kind::Sms, "sandbox", &format!("{CALM}deliver = 1.0\nfail = 0\nanswer = 1"));
    assert_eq!(channel.proof(), Proof::Report { within: Duration::from_secs(10) });
    let (sink, mut reports) = mpsc::channel(16);
    channel.start(sink).await.expect("starts");
    let batch = [asked(1), asked(2)];
    assert_eq!(channel.send(&batch).await, vec![Verdict::Accepted { provider_ref: None }; 2]);
    let mut seen = Vec::new();
    while seen.len() < 4 {
        seen.push(tokio::time::timeout(Duration::from_secs(5), reports.recv()).await.expect("in time").expect("a report"));
    }
    for message in &batch {
        let about = About::Delivery(message.id);
        let news: Vec<&News> = seen.iter().filter(|report| report.about == about).map(|report| &report.news).collect();
        assert_eq!(news[0], &News::Delivered);
        assert!(matches!(news[1], News::Reply(word) if ["1", "2", "3"].contains(&word.as_str())), "{news:?}");
    }
    channel.send(&batch).await;
    channel.stop().await;
    while let Some(report) = reports.recv().await {
        assert!(matches!(report.about, About::Delivery(_)));
    }
    assert_eq!(channel.send(&batch).await.len(), 2, "a stopped sandbox still takes a last batch");
}

#[tokio::test]
async fn letters_are_reported_and_a_robots_posts_are_only_accepted() {
    let letters = build(Kind::Email, "sandbox", &format!("{CALM}deliver = 0.0\nfail = 1.0"));
    assert_eq!(letters.reaches(), [Reach::People("mail")]);
    let (sink, mut reports) = mpsc::channel(16);
    letters.start(sink).await.expect("starts");
    assert_eq!(letters.send(&[asked(1)]).await, [Verdict::Accepted { provider_ref: None }]);
    let report = tokio::time::timeout(Duration::from_secs(5), reports.recv()).await.expect("in time").expect("a report");
    assert!(matches!(report.news, News::Failed(failure) if failure.class == Class::Reject));
    letters.stop().await;

    let robots = build(Kind::Wechat, "sandbox", &format!("{CALM}deliver = 1.0\nfail = 0.0\nanswer = 1.0"));
    assert_eq!((robots.reaches(), robots.proof()), ([Reach::Endpoints("wecom_robot")].as_slice(), Proof::AcceptedOnly));
    // Nobody takes reports here: if any were planned, more posts than the handover holds would wait for ever.
    let posts: Vec<Outgoing> = (0..=u32::try_from(HANDOVER).expect("small")).map(asked).collect();
    let verdicts = tokio::time::timeout(Duration::from_secs(5), robots.send(&posts)).await.expect("nothing waits");
    assert_eq!(verdicts.len(), posts.len());
}

#[test]
fn shares_outside_of_one_whole_are_faults() {
    assert_eq!(faults(Kind::Sms, "sandbox", "deliver = 0.9\nfail = 0.2"), ["channel.acc-1.deliver"]);
    assert_eq!(faults(Kind::Sms, "sandbox", "deliver = 1.5\nfail = 0"), ["channel.acc-1.deliver"]);
    assert_eq!(faults(Kind::Email, "sandbox", "signature = \"x\""), ["channel.acc-1.signature"]);
}
