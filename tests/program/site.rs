//! Owns what the built program needs of a county under test: its configuration on disk, and an alert for it as of now.
//! Refuses to know far ends: their tables are given.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use lastmile::time::{Clock as _, SystemClock};
use serde_json::{Value, json};

pub(crate) const SENDER: &str = "51072641600000";
pub(crate) const COUNTY: &str = "510726";
const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/alerts/rainstorm-red.json");
const GOOD_FOR: Duration = Duration::from_secs(3 * 3_600);

/// The fixture's red alert with a number of its own, sent now, for an area of the county.
pub(crate) fn alert(number: usize, area: &str) -> Value {
    let mut alert: Value = serde_json::from_str(&fs::read_to_string(FIXTURE).unwrap()).unwrap();
    let now = SystemClock.now().whole_seconds();
    let (sent, expires) = (now.to_seconds_string(), now.plus(GOOD_FOR).to_seconds_string());
    (alert["sent"], alert["effective"], alert["expires"]) = (json!(sent), json!(sent), json!(expires));
    alert["identifier"] = json!(format!("{SENDER}_{number:014}"));
    alert["areas"] = json!([{ "name": "北川羌族自治县", "codes": [area] }]);
    alert
}

/// Everyone is told of everything by these kinds of channels.
pub(crate) fn everyone_by(kinds: &str) -> String {
    format!("[[rule]]\nevents = [\"*\"]\nroles = [\"*\"]\nchannels = [{kinds}]\n")
}

/// Writes `lastmile.toml` and `policy.toml`: one source, further lines of `[server]`, and tables of far ends.
pub(crate) fn configure(dir: &Path, data: &Path, port: u16, server: &str, policy: &str, channels: &str) -> PathBuf {
    let text = format!(
        r#"
[server]
listen = "127.0.0.1:{port}"
public_url = "http://127.0.0.1:{port}"
data_dir = {data:?}
{server}

[[source]]
name = "met"
senders = ["{SENDER}"]
areas = ["{COUNTY}"]

[policy]
file = "policy.toml"
{channels}"#
    );
    fs::write(dir.join("policy.toml"), policy).unwrap();
    let file = dir.join("lastmile.toml");
    fs::write(&file, text).unwrap();
    file
}
