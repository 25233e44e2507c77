//! Holds the page that Prometheus reads: each family with its help and its type before its samples, in one piece.

use std::collections::{BTreeMap, BTreeSet};

use lastmile::access::Role;
use reqwest::Method;

use crate::http_kit::{LEIGU, Site, rainstorm};

/// Every fault of an exposition text.
fn faults(page: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let (mut helped, mut typed) = (BTreeSet::new(), BTreeMap::new());
    let (mut current, mut begun) = (String::new(), BTreeSet::new());
    for line in page.lines().filter(|line| !line.is_empty()) {
        let mut enter = |family: &str, faults: &mut Vec<String>| {
            if current != family {
                if !begun.insert(family.to_owned()) {
                    faults.push(format!("{family} stands in two pieces"));
                }
                family.clone_into(&mut current);
            }
        };
        if let Some((family, help)) = line.strip_prefix("# HELP ").map(|rest| rest.split_once(' ').unwrap_or((rest, ""))) {
            enter(family, &mut faults);
            if help.trim().is_empty() || !helped.insert(family) {
                faults.push(format!("{family} has no help, or two"));
            }
        } else if let Some((family, kind)) = line.strip_prefix("# TYPE ").map(|rest| rest.split_once(' ').unwrap_or((rest, ""))) {
            enter(family, &mut faults);
            if typed.insert(family, kind).is_some() || !["counter", "gauge", "histogram"].contains(&kind) {
                faults.push(format!("{family} is {kind}, or is typed twice"));
            }
            if (kind == "counter") != family.ends_with("_total") {
                faults.push(format!("{family} is a {kind}: counters alone end in _total"));
            }
        } else {
            let name = &line[..line.find(['{', ' ']).unwrap_or(line.len())];
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|end| name.strip_suffix(end))
                .find(|base| typed.get(base).is_some_and(|kind| *kind == "histogram"))
                .unwrap_or(name);
            enter(family, &mut faults);
            if !helped.contains(family) || !typed.contains_key(family) {
                faults.push(format!("{family} has samples before its help and its type"));
            }
            if ["_ms", "_minutes", "_hours", "_days", "_milliseconds"].iter().any(|unit| family.contains(unit)) {
                faults.push(format!("{family} is not in base units"));
            }
            let value = line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
            if value.is_none() {
                faults.push(format!("{line} has no value"));
            }
        }
    }
    for family in helped.symmetric_difference(&typed.keys().copied().collect()) {
        faults.push(format!("{family} has a help or a type alone"));
    }
    faults
}

#[tokio::test]
async fn each_family_of_a_running_gateway_has_its_help_and_its_type() {
    let site = Site::start().await;
    let bureau = site.bureau();
    site.accepted(&rainstorm(1, &[LEIGU]), &bureau).await;
    site.call(Method::GET, "/v1/accounts", &site.role(Role::Duty)).send().await.expect("an answer");
    let page = async || site.plain(Method::GET, "/metrics").send().await.expect("an answer").text().await.expect("a body");
    let some =
        ["lastmile_alerts_accepted_total", "lastmile_http_request_seconds", "lastmile_in_flight", "lastmile_delivery_outcomes_total"];
    site.until("some of each kind", async || {
        let page = page().await;
        some.iter().all(|name| page.contains(&format!("# TYPE {name} ")))
    })
    .await;
    let page = page().await;
    assert_eq!(faults(&page), Vec::<String>::new(), "{page}");
    // As if a family had been recorded that nobody has described, and one that came in two pieces.
    let undescribed: String =
        page.lines().filter(|line| !line.starts_with("# HELP lastmile_in_flight ")).map(|line| format!("{line}\n")).collect();
    let found = faults(&undescribed);
    assert!(found.iter().any(|fault| fault.starts_with("lastmile_in_flight ")), "{found:?}");
    let found = faults(&format!("{page}\nlastmile_alerts_accepted_total{{level=\"red\"}} 1\n"));
    assert!(found.iter().any(|fault| fault.contains("two pieces")), "{found:?}");
    site.stop().await;
}
