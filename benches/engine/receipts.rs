//! Scene: delivery reports, each a request of its own, durable before its 200; beside the same client at a server that only answers.

use lastmile::message::DeliveryId;

use crate::{
    Sizes, bare,
    house::{House, TOKEN, alert, processor_time, shelf, submit, until, us_each},
    plan::BY_SMS,
    sink::{Sink, sms_account},
};

/// Connections of providers that report: some, and as many as a large one opens.
const CONNECTIONS: [usize; 2] = [64, 256];

pub(crate) async fn run(sizes: Sizes) -> anyhow::Result<()> {
    let sink = Sink::start().await?;
    let receipt = format!(
        r#"callback_token = "{TOKEN}"
[channel.gateway.receipt]
form = "json"
id = "/id"
status = "/status"
delivered = ["DELIVRD"]
failed = {{ "*" = "reject" }}
"#
    );
    let house = House::new(sizes.messages, 0, &sms_account(&sink, &receipt), BY_SMS)?;
    let app = house.open().await?;
    let shelf = shelf(&app, submit(&app, &alert(1, "red", "")?).await?)?;
    let progress = || app.gateway.view(&shelf, false).progress;
    until("all to be accepted", || shelf.read().timeline.planned.is_some() && progress().queued == 0 && progress().in_flight == 0).await?;
    let deliveries = progress().deliveries;
    let share = deliveries as usize / CONNECTIONS.len();
    let requests: Vec<Vec<u8>> = (0..deliveries).map(|index| report(DeliveryId { alert: shelf.no, index })).collect();
    let mut rest = requests.into_iter();
    let mut told = 0;
    for connections in CONNECTIONS {
        let mine: Vec<Vec<u8>> = rest.by_ref().take(share).collect();
        let count = mine.len();
        let begun = processor_time()?;
        let bare = bare::requests(sink.address, connections, mine.clone()).await?;
        let between = processor_time()?;
        told += count;
        let ours = bare::requests(app.address, connections, mine).await?;
        let (spent, spent_bare) = (processor_time()?.saturating_sub(between), between.saturating_sub(begun));
        let delivered = progress().delivered as usize;
        anyhow::ensure!(delivered == told, "{delivered} of {told} are delivered");
        println!("receipts, {connections:>4} connections, durable    {ours:>12.0} /s, bare {bare:.0} /s, ratio {:.2}", ours / bare);
        println!("  processor of one, client and all     {:>12.1} us, bare {:.1} us", us_each(spent, count), us_each(spent_bare, count));
    }
    drop(shelf);
    app.stop().await
}

fn report(id: DeliveryId) -> Vec<u8> {
    let body = format!("{{\"id\":\"{id}\",\"status\":\"DELIVRD\"}}");
    let path = format!("/v1/callbacks/sms/gateway/status?k={TOKEN}");
    format!("POST {path} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}
