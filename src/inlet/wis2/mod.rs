//! Owns `kind = "wis2"`: warnings that a broker of the WMO's WIS2 announces, or that a cap-composer publishes.
//! Refuses to judge warnings; the gateway answers for each as it would for the source's own key.
//! Invariant: a message is acknowledged to the broker only after the gateway has answered; until then the broker keeps it.

mod answer;
mod content;
mod fetch;
mod notice;
mod seen;
mod subscription;

use std::{path::Path, time::Duration};

use secrecy::SecretString;
use toml::Table;

use self::{
    answer::Answerer,
    fetch::{Fetcher, Reach},
    seen::Seen,
    subscription::Subscription,
};
use super::{Context, Prepared, hand_in::Hand};
use crate::{
    fault::Fault,
    keys::Keys,
    net::{
        broker::{BrokerAddress, Far},
        hosts::AllowedHost,
        tls::Trust,
    },
    telemetry::metrics as meter,
};

/// One request for a document.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long a document is asked for; caches repair themselves within seconds or not at all.
const FETCH_FOR: Duration = Duration::from_secs(60);
/// Brokers restart within a minute or two.
const ALARM_AFTER: Duration = Duration::from_secs(300);
/// What was seen is kept in a document named after the inlet, and those names end at 64.
const NAME_BYTES_MAX: usize = 56;
/// Brokers refuse longer ones.
const CLIENT_ID_BYTES_MAX: usize = 200;

struct Settings {
    broker: Option<BrokerAddress>,
    login: Option<(String, SecretString)>,
    ca: Option<String>,
    links_ca: Option<String>,
    topics: Vec<String>,
    allow_hosts: Vec<AllowedHost>,
    private_hosts: Vec<AllowedHost>,
    client_id: String,
    timeout: Duration,
    fetch_for: Duration,
    alarm_after: Duration,
}

pub(super) fn check(name: &str, table: &Table) -> Result<Prepared, Vec<Fault>> {
    let mut keys = Keys::read(format!("inlet.{name}"), table).leave(&["kind"]);
    if name.len() > NAME_BYTES_MAX {
        keys.add_faults([Fault::new(format!("inlet.{name}"), "bad-name", format!("the name may have {NAME_BYTES_MAX} letters"))]);
    }
    let source = keys.required("source");
    let settings = settings(&mut keys);
    let own_name = name.to_owned();
    keys.finish(settings).map(|settings| Prepared {
        name: own_name.clone(),
        source: source.clone(),
        run: Box::new(move |context| Box::pin(run(own_name, source, settings, context))),
    })
}

fn settings(keys: &mut Keys<'_>) -> Settings {
    let broker = keys.required("broker");
    let address: Option<BrokerAddress> = broker.parse().ok();
    if address.is_none() && !broker.is_empty() {
        keys.fault("broker", "bad-address", "must be \"mqtts://host:8883\" or \"mqtt://host:1883\"");
    }
    let (username, password) = (keys.text("username"), keys.secret("password"));
    if username.is_some() != password.is_some() {
        keys.fault("username", "half-given", "username and password are given together or not at all");
    }
    let topics = keys.texts("topics");
    if topics.is_empty() {
        keys.fault("topics", "missing", "must name at least one topic, such as \"cache/a/wis2/+/data/core/weather/advisories-warnings/#\"");
    }
    for (place, topic) in topics.iter().enumerate().filter(|(_, topic)| !is_filter(topic)) {
        keys.fault(&format!("topics[{place}]"), "bad-topic", format!("{topic:?} cannot be subscribed to"));
    }
    let client_id = keys.required("client_id");
    if client_id.len() > CLIENT_ID_BYTES_MAX {
        keys.fault("client_id", "bad-name", format!("must have 1 to {CLIENT_ID_BYTES_MAX} bytes; nobody else at this broker may use it"));
    }
    Settings {
        broker: address,
        login: username.zip(password),
        ca: keys.text("ca"),
        links_ca: keys.text("links_ca"),
        topics,
        allow_hosts: keys.parsed("allow_hosts"),
        private_hosts: keys.parsed("private_hosts"),
        client_id,
        timeout: keys.duration("timeout", TIMEOUT),
        fetch_for: keys.duration("fetch_for", FETCH_FOR),
        alarm_after: keys.duration("alarm_after", ALARM_AFTER),
    }
}

/// MQTT 5 §4.7: `#` only as the last level, `+` only as a whole one.
fn is_filter(topic: &str) -> bool {
    let levels: Vec<&str> = topic.split('/').collect();
    let is_sound = |(place, level): (usize, &&str)| match *level {
        "#" => place + 1 == levels.len(),
        "+" => true,
        level => !level.contains(['#', '+', '\0']),
    };
    !topic.is_empty() && topic.len() <= 1_024 && levels.iter().enumerate().all(is_sound)
}

async fn run(name: String, source: String, settings: Settings, context: Context) {
    let alarms = context.gateway.alarms().clone();
    match subscription(&name, source, settings, context) {
        Ok(subscription) => subscription.keep().await,
        Err(why) => {
            meter::inlet_up(&name, false);
            alarms.raise("inlet-start", &name, &why);
            tracing::error!(inlet = name, why, "the inlet did not start");
        }
    }
}

fn subscription(name: &str, source: String, settings: Settings, context: Context) -> Result<Subscription, String> {
    let pem = |path: &Option<String>, key: &str| match path {
        Some(path) => read_pem(&context.base_dir, path).map(Some).map_err(|error| format!("{key} {path}: {error}")),
        None => Ok(None),
    };
    let (ca, links_ca) = (pem(&settings.ca, "ca")?, pem(&settings.links_ca, "links_ca")?);
    let address = settings.broker.ok_or("broker: no address")?;
    let far = Far::new(&address, ca.as_deref(), settings.login).map_err(|error| format!("ca: {error}"))?;
    let trust = links_ca.as_deref().map_or(Trust::WebRoots, Trust::Only);
    let document_max = context.gateway.limits.bytes_max;
    let reach = Reach { broker: address.host.clone(), hosts: settings.allow_hosts, private_hosts: settings.private_hosts };
    let fetcher =
        Fetcher::new(reach, &trust, settings.timeout, settings.fetch_for, document_max).map_err(|error| format!("links_ca: {error}"))?;
    let (clock, alarms) = (context.gateway.clock().clone(), context.gateway.alarms().clone());
    let hand = Hand { gateway: context.gateway, inlet: name.to_owned(), source, proofs: context.proofs };
    let seen = Seen::open(name, context.documents);
    Ok(Subscription {
        name: name.to_owned(),
        far,
        client_id: settings.client_id,
        topics: settings.topics,
        alarm_after: settings.alarm_after,
        answerer: Answerer::new(hand, fetcher, seen, document_max),
        clock,
        alarms,
        stop: context.stop,
    })
}

fn read_pem(base_dir: &Path, path: &str) -> std::io::Result<Vec<u8>> {
    std::fs::read(base_dir.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r##"
        kind = "wis2"
        source = "met"
        broker = "mqtts://globalbroker.example"
        username = "everyone"
        password = "everyone"
        topics = ["cache/a/wis2/+/data/core/weather/advisories-warnings/#"]
        allow_hosts = ["cache.example", "*.example"]
        client_id = "beichuan-1"
    "##;

    fn faults(change: &str) -> Vec<String> {
        let mut table: Table = WHOLE.parse().expect("toml");
        table.extend(change.parse::<Table>().expect("toml"));
        let faults = check("wmo", &table).err().unwrap_or_default();
        faults.iter().map(|fault| format!("{} {}", fault.path, fault.rule)).collect()
    }

    #[test]
    fn a_whole_table_is_taken_and_each_fault_has_its_place() {
        assert_eq!(faults(""), Vec::<String>::new());
        assert_eq!(faults("broker = \"http://b\""), ["inlet.wmo.broker bad-address"]);
        assert_eq!(faults("topics = [\"a/#/b\", \"a\", \"a+/b\"]"), ["inlet.wmo.topics[0] bad-topic", "inlet.wmo.topics[2] bad-topic"]);
        assert_eq!(faults("topics = []"), ["inlet.wmo.topics missing"]);
        assert_eq!(faults("allow_hosts = [\"https://a\"]"), ["inlet.wmo.allow_hosts[0] bad-value"]);
        assert_eq!(faults("private_hosts = [\"cache.lan\", \"http://a\"]"), ["inlet.wmo.private_hosts[1] bad-value"]);
        assert_eq!(faults("client_id = \"\""), ["inlet.wmo.client_id missing"]);
        assert_eq!(faults("topic = 1"), ["inlet.wmo.topic unknown-key"]);
    }
}
