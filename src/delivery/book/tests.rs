//! Tests of the book: counters against recounts, conservation of people and deliveries, calls.

use proptest::prelude::*;

use super::{Book, State};
use crate::{
    area::AreaCode,
    delivery::{
        call::{Answer, End},
        counters::AreaCounters,
        coverage::{self, View, coverage},
        event::{Choice, Fact, FactKind, Facts, Leased},
        filed::Filed,
        kit::{NO, T0, any_kind, blank},
        plan::{CallsDue, Lane, Leg, Occasion, PlanPart, Purpose, RecipientKind, Run},
        slot::Phase,
        timeliness,
    },
    time::Timestamp,
};

fn code(text: &str) -> AreaCode {
    text.parse().expect("code")
}

fn after(ms: i64) -> Timestamp {
    Timestamp::from_ms(T0.as_ms() + ms)
}

fn run(area: &str, kind: RecipientKind, role: &str, keys: std::ops::Range<u32>, unreachable: &[u32]) -> PlanPart {
    PlanPart::Run(Run { area: code(area), kind, role: role.into(), keys: keys.collect(), unreachable: unreachable.to_vec() })
}

/// Two villages of one township: leaders, households (one without any address), speakers; two routes for people.
fn planned() -> Book {
    with_plan(blank())
}

fn with_plan(mut book: Book) -> Book {
    let parts = [
        PlanPart::Open { number: 0, at: after(5), purpose: Purpose::First },
        run("510726102", RecipientKind::Person, "town_duty", 0..1, &[]),
        run("510726102201", RecipientKind::Person, "village_leader", 1..2, &[]),
        run("510726102201", RecipientKind::Person, "household", 2..7, &[4]),
        run("510726102202", RecipientKind::Person, "household", 7..12, &[]),
        run("510726102201", RecipientKind::Speaker, "", 0..2, &[]),
        run("510726102202", RecipientKind::Speaker, "", 2..3, &[]),
        PlanPart::Leg(Leg { route: "post/box".into(), lane: Lane::Act, occasion: Occasion::Warning, recipients: vec![(0, 2)] }),
        PlanPart::Leg(Leg {
            route: "text/phone".into(),
            lane: Lane::Public,
            occasion: Occasion::Warning,
            recipients: vec![(0, 6), (7, 5)],
        }),
        PlanPart::Leg(Leg { route: "horn/device".into(), lane: Lane::Act, occasion: Occasion::Warning, recipients: vec![(12, 3)] }),
        PlanPart::Calls(CallsDue { due: after(300_000), step: 0, recipients: vec![1], on_behalf: None }),
        PlanPart::Seal { number: 0, recipients: 15, deliveries: 16 },
    ];
    for part in parts {
        book.apply_plan(part).expect("a whole plan");
    }
    book
}

fn facts(list: Vec<(u32, FactKind, i64)>) -> Facts {
    let list = list
        .into_iter()
        .map(|(index, kind, ms)| Fact { index, kind, code: 0, at_ms: u32::try_from(ms).expect("after the base") })
        .collect();
    Facts { alert: NO, base: T0, words: vec!["far-end".into()], list }
}

fn counted(book: &Book) -> Vec<AreaCounters> {
    book.counters.iter().map(AreaCounters::trimmed).collect()
}

fn parts_add_up(book: &Book) {
    let name = |_: AreaCode| String::new();
    let view = View { as_of: T0, area: code("510726"), by: None, name: &name, offline: &|_, _| false };
    let document = coverage(book, &view);
    let people = document.people;
    assert_eq!(people.reached + people.pending + people.failed + people.unreachable, people.targeted);
    assert!(people.acknowledged <= people.reached);
    let progress = document.progress;
    let parts = progress.queued + progress.in_flight + progress.accepted + progress.delivered + progress.answered;
    assert_eq!(parts + progress.failed + progress.expired + progress.cancelled + progress.suppressed, progress.deliveries);
    assert_eq!(progress.deliveries as usize, book.slots.len());
    let children: u32 = document.children.iter().map(|child| child.people.targeted).sum();
    assert_eq!(children + document.own.targeted, people.targeted);
    assert_eq!(book.open as usize, book.slots.iter().filter(|slot| slot.phase.is_open()).count());
}

#[test]
fn the_denominator_is_frozen_by_the_plan_and_counts_who_has_no_address() {
    let book = planned();
    let view = View { as_of: T0, area: code("510726102"), by: None, name: &|_| String::new(), offline: &|key, _| key == 2 };
    let document = coverage(&book, &view);
    assert_eq!((document.people.targeted, document.people.unreachable, document.people.pending), (12, 1, 11));
    assert_eq!((document.households.targeted, document.villages.targeted, document.villages.blind.len()), (10, 2, 2));
    assert_eq!((document.speakers.targeted, document.speakers.offline, document.own.targeted), (3, 1, 1));
    assert_eq!(document.children.len(), 2);
    parts_add_up(&book);
}

#[test]
fn accepted_is_not_reached_and_a_receipt_is() {
    let mut book = planned();
    book.apply_lease(&Leased { alert: NO, at: after(10), account: "far-end".into(), ranges: vec![(2, 11)] });
    book.apply_facts(&facts(vec![(2, FactKind::Accepted, 20), (3, FactKind::Accepted, 21)]));
    assert_eq!(coverage::people(&book).reached, 0);
    book.apply_facts(&facts(vec![(3, FactKind::Delivered, 900)]));
    let people = coverage::people(&book);
    assert_eq!((people.reached, people.acknowledged), (1, 0));
    assert_eq!((book.state, book.timeline.first_sent), (State::Dispatching, Some(after(10))));
    parts_add_up(&book);
}

#[test]
fn an_answer_by_hand_reaches_the_person_and_proves_no_message() {
    let mut book = planned();
    book.apply_answer(1, Answer::by_hand(after(60_000), Choice::Received, "visit", "duty", "at home"));
    let people = coverage::people(&book);
    assert_eq!((people.reached, people.acknowledged), (1, 1));
    assert!(book.slots.iter().all(|slot| !slot.is_crowned()));
    assert!(matches!(book.calls[0].end, End::Answered(_)));
    parts_add_up(&book);
}

#[test]
fn a_late_answer_still_counts_after_the_call_went_on_to_others() {
    let mut book = planned();
    book.end_call(1, End::Escalated { at: after(300_000), to: vec![0] });
    book.apply_answer(1, Answer::by_hand(after(400_000), Choice::Moved, "call", "duty", ""));
    assert_eq!(book.calls[0].state(), "answered");
}

#[test]
fn a_cancel_closes_what_is_queued_and_leaves_what_far_ends_hold() {
    let mut book = planned();
    book.apply_lease(&Leased { alert: NO, at: after(10), account: "far-end".into(), ranges: vec![(0, 3)] });
    book.apply_facts(&facts(vec![(0, FactKind::Accepted, 20)]));
    book.cancel(after(50), "duty".into(), "rain stopped".into());
    let open: Vec<Phase> = book.slots.iter().map(|slot| slot.phase).filter(|phase| phase.is_open()).collect();
    assert_eq!(open, [Phase::AwaitingProof, Phase::InFlight, Phase::InFlight]);
    parts_add_up(&book);
}

#[test]
fn a_plan_with_a_piece_missing_is_noticed() {
    let mut book = blank();
    for part in
        [PlanPart::Open { number: 0, at: T0, purpose: Purpose::First }, run("510726102", RecipientKind::Person, "household", 0..3, &[])]
    {
        book.apply_plan(part).expect("staged");
    }
    assert!(book.recipients.is_empty(), "a plan without its seal counts already");
    assert!(book.apply_plan(PlanPart::Seal { number: 0, recipients: 4, deliveries: 0 }).is_err());
}

#[test]
fn a_book_reads_back_from_its_image() {
    let mut book = planned();
    book.apply_facts(&facts(vec![(4, FactKind::Accepted, 20), (4, FactKind::Delivered, 30)]));
    let bytes = postcard::to_stdvec(&book).expect("image");
    assert_eq!(postcard::from_bytes::<Book>(&bytes).expect("read back"), book);
}

/// As the janitor does: into bytes, told, out of memory.
fn filed(book: &mut Book) -> Vec<u8> {
    let bytes = book.to_filed_bytes().expect("bytes");
    book.file(Filed::of(book, after(9_000_000), "2026-07".into(), "0000000000-x".into(), "hash".into()));
    bytes
}

fn views(book: &Book) -> (String, String) {
    let view = View { as_of: T0, area: code("510726"), by: None, name: &|_| String::new(), offline: &|_, _| false };
    let shown = |value: serde_json::Value| value.to_string();
    (
        shown(serde_json::to_value(coverage(book, &view)).expect("json")),
        shown(serde_json::to_value(timeliness::timeliness(book)).expect("json")),
    )
}

#[test]
fn a_filed_book_leaves_its_figures_in_memory_and_nothing_else() {
    let mut book = planned();
    book.apply_lease(&Leased { alert: NO, at: after(10), account: "far-end".into(), ranges: vec![(0, 16)] });
    book.apply_facts(&facts(vec![(3, FactKind::Accepted, 20), (3, FactKind::Delivered, 30)]));
    book.expire(after(1_000_000));
    let (progress, people, areas) = (coverage::progress(&book), coverage::people(&book), book.areas.clone());
    let whole = book.clone();
    let bytes = filed(&mut book);
    assert!(
        book.slots.is_empty() && book.recipients.is_empty() && book.legs.is_empty() && book.calls.is_empty() && book.counters.is_empty()
    );
    assert_eq!((coverage::progress(&book), coverage::people(&book), book.told_areas()), (progress, people, &areas[..]));
    assert_eq!((book.state, &book.timeline), (whole.state, &whole.timeline));
    assert!(book.version > whole.version && book.violations().is_empty());
    let read = Book::from_filed_bytes(&bytes, &book).expect("read back");
    assert_eq!(views(&read), views(&whole));
}

#[test]
fn what_comes_after_the_filing_changes_the_alert_and_no_figure() {
    let mut book = planned();
    book.expire(after(1_000_000));
    let bytes = filed(&mut book);
    let people = coverage::people(&book);
    let late = facts(vec![(3, FactKind::Delivered, 9_000_001), (4, FactKind::Delivered, 20)]);
    assert_eq!(book.late_ones(&late), 1, "the other is of a replay that began with the head");
    book.apply_facts(&late);
    book.apply_lease(&Leased { alert: NO, at: after(10), account: "far-end".into(), ranges: vec![(0, 16)] });
    book.apply_answer(1, Answer::by_hand(after(9_000_002), Choice::Help, "link", "", ""));
    book.apply_plan(PlanPart::Open { number: 1, at: T0, purpose: Purpose::Fallback }).expect("passed over");
    book.apply_plan(PlanPart::Seal { number: 1, recipients: 99, deliveries: 99 }).expect("passed over");
    book.supersede(after(9_500_000));
    assert_eq!((coverage::people(&book), book.state), (people, State::Superseded));
    assert_eq!(Book::from_filed_bytes(&bytes, &book).expect("read back").state, State::Superseded);
}

#[test]
fn a_book_that_has_changed_since_its_file_was_written_stays_in_memory() {
    let mut book = planned();
    book.expire(after(1_000_000));
    let told = Filed::of(&book, after(9_000_000), "2026-07".into(), "0000000000-x".into(), "hash".into());
    book.apply_facts(&facts(vec![(3, FactKind::Delivered, 2_000_000)]));
    book.file(told);
    assert!(book.filed.is_none() && book.slots.len() == 16);
}

#[test]
fn a_journal_that_has_lost_receipts_ends_with_the_figures_that_were_told() {
    let mut whole = planned();
    whole.apply_facts(&facts(vec![(3, FactKind::Accepted, 20), (3, FactKind::Delivered, 30)]));
    whole.expire(after(1_000_000));
    let told = Filed::of(&whole, after(9_000_000), "2026-07".into(), "0000000000-x".into(), "hash".into());
    // Rebuilt from the trail: neither plan nor receipts.
    let mut poor = blank();
    poor.expire(after(1_000_000));
    poor.file(told.clone());
    whole.file(told);
    assert_eq!((coverage::people(&poor), poor.told_areas()), (coverage::people(&whole), whole.told_areas()));
    assert_eq!(coverage::people(&poor).reached, 1);
}

proptest! {
    #[test]
    fn counters_equal_a_recount_after_any_events(
        steps in proptest::collection::vec((0_u32..20, any_kind(), 0_i64..2_000_000, 0_u8..10), 0..60)
    ) {
        let mut book = planned();
        for (index, kind, ms, step) in steps {
            match step {
                0 => book.apply_lease(&Leased { alert: NO, at: after(ms), account: "far-end".into(), ranges: vec![(index, 3)] }),
                1 => book.apply_answer(index, Answer::by_hand(after(ms), Choice::Received, "text", "", "")),
                2 => book.apply_answer(index, Answer::by_hand(after(ms), Choice::Received, "link", "", "")),
                _ => book.apply_facts(&facts(vec![(index, kind, ms)])),
            }
        }
        prop_assert_eq!(counted(&book), { let mut recounted = book.clone(); recounted.counters = book.recount(); counted(&recounted) });
        parts_add_up(&book);
        book.expire(after(3_000_000));
        let whole = book.clone();
        let mut slim = book.clone();
        let bytes = filed(&mut slim);
        let mut read = Book::from_filed_bytes(&bytes, &slim).expect("read back");
        prop_assert_eq!(views(&read), views(&whole));
        read.version = whole.version;
        prop_assert_eq!(read, whole);
        prop_assert_eq!(counted(&book), { let mut recounted = book.clone(); recounted.counters = book.recount(); counted(&recounted) });
        parts_add_up(&book);
    }
}

#[test]
fn a_plan_that_comes_behind_the_end_of_its_alert_owes_nothing() {
    let ends: [fn(&mut Book); 3] =
        [|book| book.cancel(after(4), "duty".into(), String::new()), |book| book.supersede(after(4)), |book| book.expire(after(4))];
    for end in ends {
        let mut book = blank();
        end(&mut book);
        let book = with_plan(book);
        assert!(book.open == 0 && book.slots.len() == 16 && book.slots.iter().all(|slot| !slot.phase.is_open()), "{:?}", book.state);
        assert!(book.calls.iter().all(|call| !call.is_open()), "{:?}", book.state);
        assert_eq!(book.violations(), Vec::<String>::new());
    }
}

#[test]
fn a_plan_that_comes_after_the_end_of_its_alert_owes_nothing() {
    let mut book = blank();
    book.cancel(after(2), "duty".into(), "over".into());
    for part in [
        PlanPart::Open { number: 0, at: after(5), purpose: Purpose::First },
        run("510726102", RecipientKind::Person, "town_duty", 0..1, &[]),
        PlanPart::Leg(Leg { route: "text/phone".into(), lane: Lane::Act, occasion: Occasion::Warning, recipients: vec![(0, 1)] }),
        PlanPart::Calls(CallsDue { due: after(300_000), step: 0, recipients: vec![0], on_behalf: None }),
        PlanPart::Seal { number: 0, recipients: 1, deliveries: 1 },
    ] {
        book.apply_plan(part).expect("a whole plan");
    }
    assert_eq!((book.open, book.slots[0].phase), (0, Phase::Cancelled));
    assert!(!book.calls[0].is_open());
    assert_eq!(book.violations(), Vec::<String>::new());
}

#[test]
fn what_was_in_flight_when_its_alert_ended_is_not_tried_again() {
    let mut book = planned();
    book.apply_lease(&Leased { alert: NO, at: after(6), account: "far-end".into(), ranges: vec![(0, 2)] });
    book.supersede(after(7));
    book.apply_facts(&facts(vec![(0, FactKind::Unknown, 5_000), (1, FactKind::Accepted, 9)]));
    let phases: Vec<Phase> = book.slots[..2].iter().map(|slot| slot.phase).collect();
    assert_eq!(phases, [Phase::Suppressed, Phase::AwaitingProof], "what a far end took still waits for its proof");
    assert_eq!((book.slots[0].attempts(), book.repeated), (1, 1), "it may have come, so whoever it was for must hear the end");
    assert_eq!(book.violations(), Vec::<String>::new());
}

#[test]
fn an_answer_proves_the_message_that_came_and_not_the_one_that_is_only_tried() {
    let mut book = planned();
    let more = [
        PlanPart::Open { number: 1, at: after(10), purpose: Purpose::Escalation },
        PlanPart::Leg(Leg { route: "text/phone".into(), lane: Lane::Act, occasion: Occasion::OnBehalf, recipients: vec![(0, 1)] }),
        PlanPart::Seal { number: 1, recipients: 15, deliveries: 17 },
    ];
    for part in more {
        book.apply_plan(part).expect("a whole plan");
    }
    // The first is tried, the second has come.
    book.apply_lease(&Leased { alert: NO, at: after(11), account: "text".into(), ranges: vec![(2, 1), (16, 1)] });
    book.apply_facts(&facts(vec![(16, FactKind::Accepted, 12)]));
    book.apply_answer(0, Answer { at: after(20), choice: Choice::Received, via: "text".into(), by: String::new(), note: String::new() });
    assert!(book.slots[16].is_crowned() && !book.slots[2].is_crowned());
    assert_eq!(book.slots[2].phase, Phase::InFlight);
}
