//! Scene: one alert for everybody, planned and (almost) nothing sent; memory, coverage, and a start with all of it open.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    Sizes,
    house::{House, alert, ms, percentiles, planned, resident_bytes, shelf, submit},
    sink::{Sink, sms_account},
};

/// One message a second: what is planned stays open.
pub(crate) const SLOW: &str = "per_second = 1\nburst = 1\n";
pub(crate) const BY_SMS: &str = "channels = [\"sms\"]";

pub(crate) async fn run(sizes: Sizes) -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let house = House::new(sizes.households, 0, &sms_account(&sink, SLOW), BY_SMS)?;
    let app = house.open().await?;
    let before = resident_bytes().await?;
    let begun = Instant::now();
    let id = submit(&app, &alert(1, "red", "")?).await?;
    let accepted = begun.elapsed();
    let shelf = shelf(&app, id)?;
    planned(&shelf).await?;
    let took = begun.elapsed();
    let deliveries = shelf.read().slots.len();
    let more = resident_bytes().await?.saturating_sub(before);
    println!("accepted (durable, matched)            {:>12.1} ms", ms(accepted));
    println!("plan + durable, {deliveries} deliveries   {:>12.1} ms", ms(took));
    println!("memory of an open delivery             {:>12.1} bytes", more as f64 / deliveries.max(1) as f64);
    let mut times: Vec<Duration> = Vec::with_capacity(1_000);
    for _ in 0..1_000 {
        let begun = Instant::now();
        let details = app.gateway.details(&shelf).await?;
        std::hint::black_box(app.gateway.coverage(&details, None, None));
        times.push(begun.elapsed());
    }
    let (p50, p99, _) = percentiles(times)?;
    println!("coverage of the county by township     {:>12.3} ms p50, {:.3} ms p99", ms(p50), ms(p99));
    drop(shelf);
    app.stop().await?;
    let begun = Instant::now();
    let app = house.open().await?;
    println!("start with {deliveries} open deliveries   {:>12.1} ms", ms(begun.elapsed()));
    app.stop().await
}
