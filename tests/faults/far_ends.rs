//! The built program against far ends that fail in every way at the wire: what becomes of the deliveries, who is told twice, and when
//! another account or another route goes on.

use std::cell::Cell;

use reqwest::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    moody::{Mood, Moody, TIMEOUT},
    program::process::until,
    running::{AT_ONCE, DEADLINE, PLAIN, Running, SMS, Setting, gateway_table},
};

const HOUSEHOLDS: usize = 300;
/// One village of the county: some dozens of people, with those of its township and county who must act.
const VILLAGE: &str = "510726100201";
const RETRY: &str = "retry = [\"300ms\", \"500ms\", \"1s\", \"2s\", \"5s\"]\n";

fn account(name: &str, far: &Moody, priority: u8) -> String {
    gateway_table(name, &far.url, &format!("priority = {priority}\nconcurrency = {AT_ONCE}\n{TIMEOUT}{RETRY}"))
}

async fn started(home: &TempDir, channels: String, kinds: &str) -> Running {
    let setting = Setting { households: HOUSEHOLDS, server: "", channels, kinds, shell: PLAIN };
    let mut gateway = Running::start_as(home.path(), &home.path().join("data"), &setting);
    gateway.until_ready_says(StatusCode::OK).await;
    gateway
}

fn ids(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["id"].as_str().unwrap()).collect()
}

/// Whether the first answer leaves no doubt that nothing was taken, and whether it counts as an attempt.
const WAYS: [(Mood, bool, bool); 9] = [
    (Mood::Refuses(429, Some(1)), true, false),
    (Mood::Refuses(429, None), true, false),
    (Mood::Refuses(503, Some(1)), true, true),
    (Mood::Refuses(500, None), true, true),
    (Mood::Garbage, false, true),
    (Mood::Noise, false, true),
    (Mood::Half, false, true),
    (Mood::Resets, false, true),
    (Mood::Late, false, true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_of_failing_once_delays_everyone_and_drops_nobody() {
    let (home, far) = (TempDir::new().unwrap(), Moody::start().await);
    let gateway = started(&home, account("mas", &far, 1), SMS).await;
    for (number, (mood, is_plain, is_attempt)) in (1..).zip(WAYS) {
        far.is_at_first(mood);
        let alert = gateway.accepted_for(number, VILLAGE).await;
        gateway.until_told(&alert).await;
        let (rows, taken) = (gateway.deliveries(&alert).await, far.taken());
        let repeated = gateway.json(&format!("{alert}/coverage")).await["repeated"].as_u64().unwrap();
        assert!(rows.len() > AT_ONCE, "{rows:#?}");
        let times: Vec<u32> = ids(&rows).iter().map(|id| taken[*id]).collect();
        let twice: u64 = times.iter().map(|times| u64::from(*times) - 1).sum();
        eprintln!("{mood:?}: {} told, {twice} again, {repeated} repeated", rows.len());
        if is_plain {
            assert!(twice == 0 && repeated == 0, "{mood:?}: what was refused is no doubt");
        } else {
            // Each is in doubt once, and said to be.
            assert!(times.iter().all(|times| *times == 2) && repeated == twice, "{mood:?}: {repeated} repeated, {times:?}");
        }
        // The one that was taken is one, too.
        let attempts = 1 + u64::from(is_attempt);
        assert!(rows.iter().all(|row| row["attempts"] == attempts), "{mood:?}: {:#}", rows[0]);
    }
    gateway.stop_and_verify(&home.path().join("data")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_is_down_is_left_alone_and_the_next_goes_on_until_it_is_back() {
    for mood in [Mood::Refuses(503, None), Mood::Never] {
        let (home, first, second) = (TempDir::new().unwrap(), Moody::start().await, Moody::start().await);
        let gateway = started(&home, account("first", &first, 1) + &account("second", &second, 2), SMS).await;
        first.is(mood);
        let alert = gateway.accepted(1).await;
        gateway.until_told(&alert).await;
        let (rows, taken) = (gateway.deliveries(&alert).await, second.taken());
        assert!(ids(&rows).iter().all(|id| taken.get(*id) == Some(&1)), "{mood:?}: the second account told everyone, once");
        let asked = first.requests();
        eprintln!("{mood:?}: {} told by the second account, the first was asked {asked} times", rows.len());
        assert!(gateway.alarms("account-parked").await > 0);
        // Those that were under way when it was found to be down, and one look after each pause.
        assert!(asked < rows.len() / 4, "{mood:?}: the first account was asked {asked} times for {} deliveries", rows.len());

        first.is(Mood::Takes);
        let number = Cell::new(1);
        until("the first account is asked again and takes everything", DEADLINE, async || {
            let before = second.requests();
            number.set(number.get() + 1);
            let alert = gateway.accepted_for(number.get(), VILLAGE).await;
            gateway.until_told(&alert).await;
            second.requests() == before
        })
        .await;
        gateway.stop_and_verify(&home.path().join("data")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_parks_the_account_and_burns_no_delivery() {
    let (home, far) = (TempDir::new().unwrap(), Moody::start().await);
    let gateway = started(&home, account("mas", &far, 1), SMS).await;
    far.is(Mood::Refuses(401, None));
    let alert = gateway.accepted(1).await;
    gateway.until_alarm("account-parked").await;
    let rows = gateway.deliveries(&alert).await;
    assert!(rows.iter().all(|row| row["open"] == true && row["attempts"] == 0), "a wrong password closes nothing");
    let asked = far.requests();
    assert!(asked < rows.len() / 4, "it was asked {asked} times with a wrong password");
    far.is(Mood::Takes);
    gateway.until_told(&alert).await;
    assert!(far.taken().values().all(|times| *times == 1));
    gateway.stop_and_verify(&home.path().join("data")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_is_forbidden_passes_its_deliveries_on_at_once() {
    let (home, first, second) = (TempDir::new().unwrap(), Moody::start().await, Moody::start().await);
    let gateway = started(&home, account("first", &first, 1) + &account("second", &second, 2), SMS).await;
    first.is(Mood::Refuses(403, None));
    let alert = gateway.accepted(1).await;
    gateway.until_told(&alert).await;
    let (rows, taken) = (gateway.deliveries(&alert).await, second.taken());
    assert!(ids(&rows).iter().all(|id| taken.get(*id) == Some(&1)), "the second account told everyone, once");
    assert!(gateway.alarms("account-parked").await > 0);
    gateway.stop_and_verify(&home.path().join("data")).await;
}

/// As the county's table says, and nobody can know whether it is right: the number is refused.
const OF_NUMBERS: &str = "error = { classes = { NO = \"reject\" } }\n";

async fn until_closed(gateway: &Running, alert: &str) -> Vec<Value> {
    until("every delivery is closed", DEADLINE, async || {
        let progress = gateway.json(&format!("{alert}/coverage")).await["progress"].clone();
        progress["deliveries"].as_u64() > Some(0) && progress["queued"] == 0 && progress["in_flight"] == 0
    })
    .await;
    gateway.deliveries(alert).await
}

fn count(rows: &[Value], state: &str) -> usize {
    rows.iter().filter(|row| row["state"] == state).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_is_refused_among_others_is_closed_and_says_nothing_of_the_account() {
    let (home, first, second) = (TempDir::new().unwrap(), Moody::start().await, Moody::start().await);
    let channels = account("first", &first, 1) + OF_NUMBERS + &account("second", &second, 2) + OF_NUMBERS;
    let gateway = started(&home, channels, SMS).await;
    first.refuses_numbers_that_end_in('7');
    second.refuses_numbers_that_end_in('7');
    let alert = gateway.accepted(1).await;
    let rows = until_closed(&gateway, &alert).await;
    let failed = count(&rows, "failed");
    assert!(failed > 0 && count(&rows, "accepted") == rows.len() - failed, "{failed} of {}", rows.len());
    let of_second = second.requests();
    eprintln!("{failed} of {} are dead, {of_second} of them were asked of the second account as well", rows.len());
    // The very last ones, after which the first account had nothing more to take.
    assert!(of_second < 10 && second.taken().is_empty());
    assert_eq!(gateway.alarms("account-parked").await + gateway.alarms("account-refuses-all").await, 0);
    gateway.stop_and_verify(&home.path().join("data")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_refuses_everyone_is_passed_over_with_an_alarm_and_nobody_is_blamed() {
    let (home, first, second) = (TempDir::new().unwrap(), Moody::start().await, Moody::start().await);
    let gateway = started(&home, account("first", &first, 1) + OF_NUMBERS + &account("second", &second, 2), SMS).await;
    // From its first message on, for a village of some dozens and for a few people; then in the middle of an alert for everyone.
    first.is(Mood::Refuses(200, None));
    for (number, area) in [(1, VILLAGE), (2, "510726")] {
        let alert = gateway.accepted_for(number, area).await;
        gateway.until_told(&alert).await;
        let (rows, taken) = (gateway.deliveries(&alert).await, second.taken());
        assert!(ids(&rows).iter().all(|id| taken.get(*id) == Some(&1)), "the second account told everyone, once");
    }
    gateway.until_alarm("account-refuses-all").await;
    let (asked, everyone) = (first.requests(), second.requests());
    assert!(asked < everyone, "the first account was asked {asked} times of {everyone}");
    gateway.stop_and_verify(&home.path().join("data")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_only_account_that_refuses_everyone_tells_all_of_them_once_it_is_mended() {
    let (home, far) = (TempDir::new().unwrap(), Moody::start().await);
    // It is mended long before anybody has been asked three times.
    let patient = RETRY.replace("\"300ms\", \"500ms\", \"1s\", \"2s\", \"5s\"", "\"5s\", \"5s\", \"5s\", \"5s\"");
    let table = gateway_table("mas", &far.url, &format!("concurrency = {AT_ONCE}\n{TIMEOUT}{patient}{OF_NUMBERS}"));
    let gateway = started(&home, table, SMS).await;
    far.is(Mood::Refuses(200, None));
    let alert = gateway.accepted_for(1, VILLAGE).await;
    gateway.until_alarm("account-refuses-all").await;
    far.is(Mood::Takes);
    let rows = until_closed(&gateway, &alert).await;
    assert!(rows.len() > 10 && count(&rows, "accepted") == rows.len(), "nobody was blamed for the account: {rows:#?}");
    // What is dead all the same is closed, and holds up nobody.
    far.refuses_numbers_that_end_in('7');
    let after = gateway.accepted(2).await;
    let rows = until_closed(&gateway, &after).await;
    let failed = count(&rows, "failed");
    assert!(failed > 0 && count(&rows, "accepted") == rows.len() - failed, "{failed} of {}", rows.len());
    gateway.stop_and_verify(&home.path().join("data")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_village_of_dead_numbers_is_closed_and_blames_no_account_for_longer_than_a_moment() {
    let (home, first, second) = (TempDir::new().unwrap(), Moody::start().await, Moody::start().await);
    let channels = account("first", &first, 1) + OF_NUMBERS + &account("second", &second, 2) + OF_NUMBERS;
    let gateway = started(&home, channels, SMS).await;
    let before = gateway.accepted_for(1, VILLAGE).await;
    gateway.until_told(&before).await;
    first.is(Mood::Refuses(200, None));
    second.is(Mood::Refuses(200, None));
    let dead = gateway.accepted_for(2, VILLAGE).await;
    let rows = until_closed(&gateway, &dead).await;
    assert!(rows.len() > 10 && count(&rows, "failed") == rows.len(), "dead numbers are closed as what they are: {rows:#?}");
    first.is(Mood::Takes);
    second.is(Mood::Takes);
    let after = gateway.accepted_for(3, VILLAGE).await;
    gateway.until_told(&after).await;
    gateway.stop_and_verify(&home.path().join("data")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_stuck_does_not_hold_up_another_route() {
    let (home, far) = (TempDir::new().unwrap(), Moody::start().await);
    let mails = home.path().join("mails");
    let post = format!("[channel.post]\nkind = \"email\"\nprovider = \"file\"\npath = {mails:?}\nfrom = \"alert@county.example\"\n");
    let gateway = started(&home, account("mas", &far, 1) + &post, "\"sms\", \"email\"").await;
    far.is(Mood::Never);
    let alert = gateway.accepted(1).await;
    until("everyone with a mailbox has a letter", DEADLINE, async || {
        let rows = gateway.deliveries(&alert).await;
        let mut letters = rows.iter().filter(|row| row["channel"] == "email").peekable();
        letters.peek().is_some() && letters.all(|row| row["state"] == "delivered")
    })
    .await;
    let told = gateway.deliveries(&alert).await.iter().filter(|row| row["channel"] == "sms" && row["state"] == "accepted").count();
    assert_eq!(told, 0, "the other provider was not stuck");
    far.is(Mood::Takes);
    until("everyone is told by message too", DEADLINE, async || {
        gateway.deliveries(&alert).await.iter().all(|row| row["state"] == "accepted" || row["state"] == "delivered")
    })
    .await;
    gateway.stop_and_verify(&home.path().join("data")).await;
}
