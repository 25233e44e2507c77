//! Scene: what a delivery costs on disk over its life: planned, leased, accepted with the provider's id, delivered.

use lastmile::message::DeliveryId;

use crate::{
    Sizes, bare,
    house::{House, TOKEN, alert, shelf, submit, until},
    plan::BY_SMS,
    sink::{Sink, sms_account},
};

const CONNECTIONS: usize = 256;
/// Reports of one request: what providers that gather them send.
const TOGETHER: usize = 100;

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
    let before = house.journal_bytes()?;
    let shelf = shelf(&app, submit(&app, &alert(1, "red", "")?).await?)?;
    let progress = || app.gateway.view(&shelf, false).progress;
    until("all to be accepted", || shelf.read().timeline.planned.is_some() && progress().queued == 0 && progress().in_flight == 0).await?;
    let deliveries = progress().deliveries;
    let ids: Vec<u32> = (0..deliveries).collect();
    let requests = ids.chunks(TOGETHER).map(|some| report(some.iter().map(|&index| DeliveryId { alert: shelf.no, index }))).collect();
    bare::requests(app.address, CONNECTIONS, requests).await?;
    anyhow::ensure!(progress().delivered == deliveries, "{} of {deliveries} are delivered", progress().delivered);
    let held = house.journal_bytes()?;
    drop(shelf);
    app.stop().await?;
    let after = house.journal_bytes()?;
    let each = |bytes: u64| bytes.saturating_sub(before) as f64 / f64::from(deliveries);
    println!("disk of a delivery over its life       {:>12.1} bytes while running, {:.1} stopped", each(held), each(after));
    Ok(())
}

fn report(ids: impl Iterator<Item = DeliveryId>) -> Vec<u8> {
    let rows: Vec<String> = ids.map(|id| format!("{{\"id\":\"{id}\",\"status\":\"DELIVRD\"}}")).collect();
    let body = format!("[{}]", rows.join(","));
    let path = format!("/v1/callbacks/sms/gateway/status?k={TOKEN}");
    format!("POST {path} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}
