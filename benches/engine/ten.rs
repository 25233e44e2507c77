//! Scene: ten alerts for everybody, all open at once; what they take of memory, and whether a red one still goes first.

use crate::{
    Sizes,
    house::{House, alert, peak_bytes, planned, resident_bytes, shelf, submit},
    plan::{BY_SMS, SLOW},
    sink::{Sink, sms_account},
};

const ALERTS: u32 = 10;
/// 11B01 and on: alerts of one event would replace each other.
const EVENTS: [&str; 10] = ["11B01", "11B02", "11B03", "11B04", "11B05", "11B06", "11B07", "11B08", "11B09", "11B14"];

pub(crate) async fn run(sizes: Sizes) -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let house = House::new(sizes.households, 0, &sms_account(&sink, SLOW), BY_SMS)?;
    let app = house.open().await?;
    let before = resident_bytes().await?;
    let mut deliveries = 0_usize;
    for (number, event) in (0..ALERTS).zip(EVENTS) {
        let mut alert = alert(100 + number, "blue", "")?;
        alert["event"] = event.into();
        let shelf = shelf(&app, submit(&app, &alert).await?)?;
        planned(&shelf).await?;
        deliveries += shelf.read().slots.len();
    }
    let more = resident_bytes().await?.saturating_sub(before);
    println!(
        "{ALERTS} alerts, {deliveries} open deliveries     {:>9.1} MB more, {:.1} bytes each",
        more as f64 / 1e6,
        more as f64 / deliveries as f64
    );
    println!("peak of the process                    {:>12.1} MB, {:.1} MB of it before", peak_bytes()? as f64 / 1e6, before as f64 / 1e6);
    app.stop().await
}
