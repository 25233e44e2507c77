//! Owns what the built-in broker lays open when others than this machine reach its port: topics in the clear, and commands that nobody signed.
//! Refuses to know MQTT. Invariant: it is found before anything listens, and a key whose name begins with `dangerous_` alone takes it away.

use toml::{Table, Value};

use super::checked::BrokerSettings;
use crate::fault::Fault;

/// What is open by `[builtin_broker]` and the channels that speak through it.
pub(super) fn by_builtin_broker(root: &Table, broker: &BrokerSettings) -> Vec<Fault> {
    if broker.listen.ip().to_canonical().is_loopback() {
        return Vec::new();
    }
    let listen = broker.listen;
    let mut found = Vec::new();
    if !broker.dangerous_plain_mqtt {
        let message = format!(
            "{listen} is reached from outside, and this broker speaks no TLS: credentials and commands go in clear; \
             listen on 127.0.0.1, put a broker with TLS there (config/mosquitto), or set dangerous_plain_mqtt = true"
        );
        found.push(Fault::new("builtin_broker.listen", "plain-mqtt", message));
    }
    let channels = root.get("channel").and_then(Value::as_table).into_iter().flatten();
    for (name, table) in channels.filter_map(|(name, table)| Some((name, table.as_table()?))) {
        let through_it = table.get("broker").and_then(Value::as_str) == Some("builtin");
        let is_named = table.get("dangerous_unsigned").and_then(Value::as_bool) == Some(true);
        if through_it && !is_named && !table.contains_key("signing_key") {
            let message = format!(
                "the built-in broker listens on {listen}, and without this key whoever gets at it speaks through every loudspeaker: \
                 make one (README, Loudspeakers), or set dangerous_unsigned = true"
            );
            found.push(Fault::new(format!("channel.{name}.signing_key"), "unsigned", message));
        }
    }
    found
}
