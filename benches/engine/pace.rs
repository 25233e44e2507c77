//! Scene: an account's rates, as the far end sees them: messages of the whole time against what may go, and the fullest span of a second.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    Sizes,
    house::{House, alert, planned, shelf, submit, until},
    plan::BY_SMS,
    sink::{Sink, sms_account},
};

const SPAN: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);

/// What an account states: by the second, by the minute, at once.
struct Stated {
    second: Option<u32>,
    minute: Option<u32>,
    burst: Option<u32>,
}

impl Stated {
    fn keys(&self) -> String {
        let line = |name: &str, value: Option<u32>| value.map_or_else(String::new, |value| format!("{name} = {value}\n"));
        [line("per_second", self.second), line("per_minute", self.minute), line("burst", self.burst)].concat()
    }

    fn a_second(&self) -> f64 {
        let minute = self.minute.map_or(f64::INFINITY, |rate| f64::from(rate) / 60.0);
        self.second.map_or(minute, |rate| minute.min(rate.into()))
    }

    /// Above the rate in any span of time: what is stated, or the tenth of a second's worth that a silent account gets.
    fn burst(&self) -> f64 {
        self.burst.map_or_else(|| (self.a_second() / 10.0).ceil().max(1.0), f64::from)
    }
}

const ACCOUNTS: [Stated; 6] = [
    Stated { second: Some(50), minute: None, burst: Some(5) },
    Stated { second: Some(200), minute: None, burst: Some(20) },
    Stated { second: Some(2_000), minute: None, burst: None },
    Stated { second: None, minute: Some(6_000), burst: Some(10) },
    // The slower of two holds, and it loses nothing to the other.
    Stated { second: Some(120), minute: Some(6_000), burst: Some(10) },
    Stated { second: Some(10_000), minute: None, burst: Some(1_000) },
];

pub(crate) async fn run(sizes: Sizes) -> anyhow::Result<()> {
    for stated in ACCOUNTS {
        let sink = Sink::remembering(true, false).await?;
        let house = House::new(sizes.messages, 0, &sms_account(&sink, &stated.keys()), BY_SMS)?;
        let app = house.open().await?;
        let shelf = shelf(&app, submit(&app, &alert(1, "red", "")?).await?)?;
        planned(&shelf).await?;
        until("the first message", || sink.requests() > 0).await?;
        let begun = Instant::now();
        tokio::time::sleep(SPAN + SECOND).await;
        let still_open = shelf.read().open;
        anyhow::ensure!(still_open > 0, "all was sent before the time was over: ask for more --messages");
        tell(&stated, &sink.arrivals_since(begun));
        drop(shelf);
        app.stop().await?;
    }
    Ok(())
}

fn tell(stated: &Stated, arrivals: &[Duration]) {
    // The first second holds the burst; the rate is judged by what follows.
    let steady: Vec<&Duration> = arrivals.iter().filter(|at| (SECOND..SECOND + SPAN).contains(*at)).collect();
    let expected = stated.a_second() * SPAN.as_secs_f64();
    let fullest = fullest(arrivals, SECOND);
    println!(
        "{:<52} {:>8} of {expected:.0} in {} s: {:.2} %; fullest second {fullest}, at most {:.0} get leave",
        stated.keys().trim_end().replace('\n', ", "),
        steady.len(),
        SPAN.as_secs(),
        steady.len() as f64 * 100.0 / expected,
        stated.a_second() + stated.burst()
    );
}

/// The most arrivals in any span of this length.
fn fullest(arrivals: &[Duration], span: Duration) -> usize {
    let mut sorted = arrivals.to_vec();
    sorted.sort_unstable();
    let mut last = 0;
    let within = |(first, from): (usize, &Duration)| {
        while sorted.get(last).is_some_and(|at| *at < *from + span) {
            last += 1;
        }
        last - first
    };
    sorted.iter().enumerate().map(within).max().unwrap_or(0)
}
