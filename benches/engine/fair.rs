//! Scene: two alerts of one level, one for everybody and one for a village, posted in that order: when each of them is done.

use tokio::time::Instant;

use crate::{
    Sizes,
    house::{House, alert, ms, planned, shelf, submit, until},
    plan::BY_SMS,
    sink::{Sink, sms_account},
};

const VILLAGE: &str = "510726101201";

pub(crate) async fn run(sizes: Sizes) -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let house = House::new(sizes.households, 0, &sms_account(&sink, ""), BY_SMS)?;
    let app = house.open().await?;
    let large = shelf(&app, submit(&app, &alert(1, "orange", "")?).await?)?;
    planned(&large).await?;
    until("the large one on its way", || sink.requests() > 1_000).await?;
    let (begun, before) = (Instant::now(), large.read().open);
    let small = shelf(&app, submit(&app, &alert(2, "orange", VILLAGE)?).await?)?;
    planned(&small).await?;
    until("the small one", || small.read().open == 0).await?;
    let (took, left) = (begun.elapsed(), large.read().open);
    let sent = before.saturating_sub(left);
    println!(
        "small alert: {} deliveries done after {:.1} ms, while {sent} of the large one went and {left} are still to go",
        small.read().slots.len(),
        ms(took)
    );
    anyhow::ensure!(left > 0, "the large alert was done before the small one: ask for more --households");
    drop((small, large));
    app.stop().await
}
