//! Scene: coverage by township looked at while everybody is being told, one request a message.

use std::time::Duration;

use reqwest::Client;
use tokio::time::Instant;

use crate::{
    Sizes,
    house::{House, alert, ms, percentiles, planned, shelf, submit, viewer_key},
    plan::BY_SMS,
    sink::{Sink, sms_account},
};

const LOOKS: u32 = 1_000;
/// More often than any page or script looks.
const EVERY: Duration = Duration::from_millis(2);

pub(crate) async fn run(sizes: Sizes) -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let house = House::new(sizes.households, 0, &sms_account(&sink, ""), BY_SMS)?;
    let app = house.open().await?;
    let (key, http) = (viewer_key(&app)?, Client::new());
    let id = submit(&app, &alert(1, "red", "")?).await?;
    let shelf = shelf(&app, id)?;
    planned(&shelf).await?;
    let url = format!("http://{}/v1/alerts/{id}/coverage", app.address);
    let (begun, before) = (Instant::now(), sink.requests());
    let (mut folded, mut asked) = (Vec::new(), Vec::new());
    for _ in 0..LOOKS {
        tokio::time::sleep(EVERY).await;
        let begun = Instant::now();
        let details = app.gateway.details(&shelf).await?;
        std::hint::black_box(app.gateway.coverage(&details, None, None));
        folded.push(begun.elapsed());
        let begun = Instant::now();
        let answer = http.get(&url).bearer_auth(&key).send().await?;
        anyhow::ensure!(answer.status() == 200, "{}", answer.status());
        answer.bytes().await?;
        asked.push(begun.elapsed());
    }
    let rate = (sink.requests() - before) as f64 / begun.elapsed().as_secs_f64();
    let queued = app.gateway.view(&shelf, false).progress.queued;
    anyhow::ensure!(queued > 0, "everything was sent before the last look");
    println!("coverage while {rate:.0} /s are sent, {} of {} still queued", queued, shelf.read().slots.len());
    for (what, times) in [("of the books", folded), ("over HTTP", asked)] {
        let (p50, p99, most) = percentiles(times)?;
        println!("  {what:<36} {:>9.3} ms p50, {:.3} ms p99, {:.3} ms at most", ms(p50), ms(p99), ms(most));
    }
    drop(shelf);
    app.stop().await
}
