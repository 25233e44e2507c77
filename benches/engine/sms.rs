//! Scene: one request a message to a sink on the same cores, ledger durable; beside a bare client doing nothing else.

use tokio::time::Instant;

use crate::{
    Sizes, bare,
    house::{House, alert, ms, peak_bytes, percentiles, shelf, submit, until},
    plan::BY_SMS,
    sink::{Sink, sms_account},
};

pub(crate) async fn run(sizes: Sizes) -> anyhow::Result<()> {
    let sink = Sink::remembering(true, false).await?;
    let house = House::new(sizes.messages, 0, &sms_account(&sink, ""), BY_SMS)?;
    let app = house.open().await?;
    let begun = Instant::now();
    let shelf = shelf(&app, submit(&app, &alert(1, "red", "")?).await?)?;
    until("all messages", || {
        let book = shelf.read();
        book.timeline.planned.is_some() && book.open == 0
    })
    .await?;
    let took = begun.elapsed();
    let (sent, arrivals) = (sink.requests(), sink.arrivals_since(begun));
    let ours = sent as f64 / took.as_secs_f64();
    let (p50, p99, most) = percentiles(arrivals)?;
    drop(shelf);
    app.stop().await?;
    let bare = bare::messages(sink.address, sent).await?;
    println!("short messages over HTTP, durable      {ours:>12.0} /s ({sent} messages)");
    println!("bare client loop, same sink            {bare:>12.0} /s");
    println!("ratio                                  {:>12.2}", ours / bare);
    println!("from the post to a message's arrival   {:>12.1} ms p50, {:.1} ms p99, {:.1} ms the last", ms(p50), ms(p99), ms(most));
    println!("peak of the process                    {:>12.1} MB", peak_bytes()? as f64 / 1e6);
    Ok(())
}
