//! Scene: from the post over HTTP to the first message at the far end, idle and while blue deliveries for everybody are being sent.

use std::time::Duration;

use lastmile::time::Timestamp;
use reqwest::Client;
use tokio::time::Instant;

use crate::{
    Sizes,
    house::{House, alert, bureau_key, ms, percentiles, planned, shelf, submit, until},
    sink::{Sink, sms_account},
};

const POSTS: u32 = 200;
const VILLAGE: &str = "510726101201";
/// Red goes to those in charge of one village: what is measured is the way of an alert, not its size. Blue goes to everybody.
const POLICY: &str = r#"levels = ["red"]
roles = ["village_leader"]
channels = ["sms"]
[[rule]]
events = ["*"]
channels = ["sms"]"#;

pub(crate) async fn run(sizes: Sizes) -> anyhow::Result<()> {
    let sink = Sink::remembering(false, true).await?;
    let house = House::new(sizes.households, 0, &sms_account(&sink, ""), POLICY)?;
    let app = house.open().await?;
    let key = bureau_key(&app)?;
    let http = Client::new();
    let url = format!("http://{}/v1/alerts", app.address);
    let post = async |number: u32| {
        let body = alert(number, "red", VILLAGE)?.to_string();
        let begun = Instant::now();
        let answer = http.post(&url).bearer_auth(&key).header("content-type", "application/json").body(body).send().await?;
        anyhow::ensure!(answer.status() == 202, "{}: {}", answer.status(), answer.text().await?);
        let id = answer.json::<serde_json::Value>().await?["id"].as_str().unwrap_or_default().parse()?;
        let alert = u64::from(shelf(&app, id)?.no.0);
        until("the first message", || sink.first_of(alert).is_some()).await?;
        let (took, at) = (sink.first_of(alert).map(|at| at - begun), shelf(&app, id)?.read().timeline.clone());
        let since = |later: Option<Timestamp>, earlier: Option<Timestamp>| Some(later?.since(earlier?));
        let stages = [since(at.accepted, at.received), since(at.planned, at.accepted)];
        took.zip(stages[0])
            .zip(stages[1])
            .map(|((whole, accepted), planned)| [whole, accepted, planned])
            .ok_or_else(|| anyhow::anyhow!("no message"))
    };
    tell("idle", async |number| post(number).await).await?;
    let blue = shelf(&app, submit(&app, &alert(9_000, "blue", "")?).await?)?;
    planned(&blue).await?;
    let queued = || app.gateway.view(&blue, false).progress.queued;
    let at_first = queued();
    tell("blue ones queued", async |number| post(number + POSTS).await).await?;
    println!("  blue deliveries queued: {at_first} at the first post, {} after the last", queued());
    drop(blue);
    app.stop().await
}

async fn tell(when: &str, post: impl AsyncFn(u32) -> anyhow::Result<[Duration; 3]>) -> anyhow::Result<()> {
    let mut times: [Vec<Duration>; 3] = Default::default();
    for number in 0..POSTS {
        times.iter_mut().zip(post(number).await?).for_each(|(list, took)| list.push(took));
    }
    for (what, times) in ["posted to first message", "  received to accepted", "  accepted to planned"].into_iter().zip(times) {
        let (p50, p99, most) = percentiles(times)?;
        println!("{what:<23}, {when:<17} {:>9.1} ms p50, {:.1} ms p99, {:.1} ms at most", ms(p50), ms(p99), ms(most));
    }
    Ok(())
}
