//! Scene: one request a message to a sink on the same cores, ledger durable; beside a bare client doing nothing else.

use tokio::time::Instant;

use crate::{
    Sizes, bare,
    house::{House, alert, ms, peak_bytes, percentiles, processor_time, shelf, submit, until, us_each},
    plan::BY_SMS,
    sink::{Sink, sms_account},
};

pub(crate) async fn run(sizes: Sizes) -> anyhow::Result<()> {
    let sink = Sink::remembering(true, false).await?;
    let house = House::new(sizes.messages, 0, &sms_account(&sink, ""), BY_SMS)?;
    let app = house.open().await?;
    let spent_before = processor_time()?;
    let begun = Instant::now();
    let shelf = shelf(&app, submit(&app, &alert(1, "red", "")?).await?)?;
    until("all messages", || {
        let book = shelf.read();
        book.timeline.planned.is_some() && book.open == 0
    })
    .await?;
    let took = begun.elapsed();
    let spent = processor_time()?.saturating_sub(spent_before);
    let (sent, arrivals) = (sink.requests(), sink.arrivals_since(begun));
    let ours = sent as f64 / took.as_secs_f64();
    let (p50, p99, most) = percentiles(arrivals)?;
    drop(shelf);
    app.stop().await?;
    let before_bare = processor_time()?;
    let bare = bare::messages(sink.address, sent).await?;
    let spent_bare = processor_time()?.saturating_sub(before_bare);
    let count = usize::try_from(sent)?;
    println!("short messages over HTTP, durable      {ours:>12.0} /s ({sent} messages)");
    println!("bare client loop, same sink            {bare:>12.0} /s");
    println!("ratio                                  {:>12.2}", ours / bare);
    println!("processor of one, sink and all         {:>12.1} us, bare {:.1} us", us_each(spent, count), us_each(spent_bare, count));
    println!("from the post to a message's arrival   {:>12.1} ms p50, {:.1} ms p99, {:.1} ms the last", ms(p50), ms(p99), ms(most));
    println!("peak of the process                    {:>12.1} MB", peak_bytes()? as f64 / 1e6);
    Ok(())
}
