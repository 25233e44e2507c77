//! Whoever posts and hangs up: what was taken is carried to its end.

use lastmile::access::Role;
use secrecy::ExposeSecret as _;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::http_kit::{LEIGU, Site, rainstorm};

/// Enough that some hang up while the journal is being written.
const POSTS: u32 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_whose_poster_hangs_up_is_planned_all_the_same() {
    let site = Site::start().await;
    let (met, duty) = (site.bureau(), site.role(Role::Duty));
    for number in 0..POSTS {
        let body = rainstorm(number, &[LEIGU]).to_string();
        let head = format!(
            "POST /v1/alerts HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            site.app.address,
            met.0.expose_secret(),
            body.len()
        );
        let mut line = TcpStream::connect(site.app.address).await.expect("a connection");
        line.write_all(format!("{head}{body}").as_bytes()).await.expect("sent");
        // A round trip of another request lets this one get as far as the journal, more or less.
        let turns = number % 4;
        for _ in 0..turns {
            site.get("/v1/accounts", &duty).await;
        }
        line.set_zero_linger().expect("set");
        drop(line);
    }
    let stuck = async || {
        let list = site.get("/v1/alerts?limit=1000", &duty).await;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        (items.len(), items.iter().filter(|item| item["timeline"]["planned"].is_null()).count())
    };
    site.until("what was taken is planned", async || stuck().await.1 == 0).await;
    let last = site.accepted(&rainstorm(POSTS, &[LEIGU]), &met).await;
    site.wait_until_told(&last, &duty).await;
    let (taken, unplanned) = stuck().await;
    assert!(taken > 1 && unplanned == 0, "{taken} were taken, {unplanned} of them not planned");
    site.stop().await;
}
