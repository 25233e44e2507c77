//! Scene: a provider that takes a thousand numbers a request.

use tokio::time::Instant;

use crate::{
    Sizes,
    house::{House, TOKEN, alert, shelf, submit, until},
    plan::BY_SMS,
    sink::Sink,
};

const NUMBERS: u32 = 1_000;

pub(crate) async fn run(sizes: Sizes) -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let house = House::new(sizes.households, 0, &account(&sink), BY_SMS)?;
    let app = house.open().await?;
    let begun = Instant::now();
    let shelf = shelf(&app, submit(&app, &alert(1, "red", "")?).await?)?;
    until("all to be accepted", || {
        let progress = app.gateway.view(&shelf, false).progress;
        shelf.read().timeline.planned.is_some() && progress.queued == 0 && progress.in_flight == 0
    })
    .await?;
    let took = begun.elapsed();
    let progress = app.gateway.view(&shelf, false).progress;
    anyhow::ensure!(progress.accepted == progress.deliveries, "{} of {} were accepted", progress.accepted, progress.deliveries);
    let rate = f64::from(progress.accepted) / took.as_secs_f64();
    println!(
        "short messages, {NUMBERS} numbers a request    {rate:>10.0} recipients/s ({} in {} requests)",
        progress.accepted,
        sink.requests()
    );
    drop(shelf);
    app.stop().await
}

/// An account that reports by the provider's id and the number, as providers that take many numbers do.
fn account(sink: &Sink) -> String {
    format!(
        r#"
[channel.gateway]
kind = "sms"
provider = "http"
url = "http://{}/send"
concurrency = 8
body = '{{"to":{{{{ to_list|tojson }}}},"text":{{{{ text|tojson }}}},"notify":{{{{ callback_url|tojson }}}}}}'
message_id = "/id"
numbers_max = {NUMBERS}
callback_token = "{TOKEN}"
[channel.gateway.receipt]
form = "json"
provider_ref = "/id"
to = "/mobile"
status = "/status"
delivered = ["DELIVRD"]
failed = {{ "*" = "reject" }}
"#,
        sink.address
    )
}
