//! Owns letters: a subject that says it all, and a body with every fact of the alert.
//! Refuses to know mail servers. Invariant: the subject is one line; the measures stand before the background.

use super::render::{Rendered, Said, cut_units, links_apart};

/// Longer subjects are cut by mail programs anyway.
const SUBJECT_UNITS: usize = 120;

pub(super) fn rendered(said: &Said<'_>) -> Rendered {
    let level = if said.english { said.alert.level.name().to_uppercase() } else { said.alert.level.chinese().to_owned() };
    let subject = format!("{}[{level}] {}{}", said.drill, said.why, said.what);
    let place = if said.reader.area_name.is_empty() { String::new() } else { format!(" {}", said.reader.area_name) };
    let subject = format!("{subject}{place}").replace(['\r', '\n'], " ");
    let subject = cut_units(&subject, SUBJECT_UNITS).to_owned();
    let text = if said.english { english(said) } else { chinese(said) };
    Rendered { subject, text }
}

fn chinese(said: &Said<'_>) -> String {
    let mut lines = Vec::new();
    if !said.drill.is_empty() {
        lines.push("【演练】这是一次演练，不是真实预警。".to_owned());
    }
    if !said.reader.name.is_empty() {
        lines.push(format!("{}:", said.reader.name));
    }
    lines.push(format!("{}{}", said.why, said.headline));
    if let Some(own) = said.own_text {
        lines.push(own.to_owned());
    }
    if !said.instruction.is_empty() && !said.is_over {
        lines.push(format!("应采取的措施：\n{}", said.instruction));
    }
    if let Some(shelter) = said.shelter() {
        let signal = if shelter.alarm_signal.is_empty() { String::new() } else { format!("\n预警信号：{}", shelter.alarm_signal) };
        lines.push(format!("隐患点：{}{signal}\n撤离路线：{}\n避险地点：{}", shelter.hazard_point, shelter.route, shelter.place));
    }
    if !said.description.is_empty() {
        lines.push(format!("情况：\n{}", said.description));
    }
    let areas = said.areas();
    if !areas.is_empty() {
        lines.push(format!("范围：{areas}"));
    }
    let issued = said.alert.effective.format("%Y年%-m月%-d日 %H:%M");
    let until = said.alert.expires.format("%Y年%-m月%-d日 %H:%M");
    let until = if said.is_over { String::new() } else { format!("\n有效至：{until}") };
    lines.push(format!("发布：{} {issued}{until}", said.issuer()));
    if let Some(answer) = &said.reader.answer {
        let by = answer.due.format("%H:%M");
        lines.push(match answer.url {
            Some(url) => format!("请在 {by} 前应答：{url}"),
            None => format!("请在 {by} 前应答。"),
        });
    }
    links_apart(&lines.join("\n\n")) + "\n"
}

fn english(said: &Said<'_>) -> String {
    let mut lines = Vec::new();
    if !said.drill.is_empty() {
        lines.push("THIS IS A DRILL, not a real warning.".to_owned());
    }
    lines.push(format!("{}{}", said.why, if said.headline.is_empty() { &said.what } else { said.headline }));
    if let Some(own) = said.own_text {
        lines.push(own.to_owned());
    }
    if !said.instruction.is_empty() && !said.is_over {
        lines.push(format!("What to do:\n{}", said.instruction));
    }
    if let Some(shelter) = said.shelter() {
        lines.push(format!("Hazard point: {}\nRoute: {}\nShelter: {}", shelter.hazard_point, shelter.route, shelter.place));
    }
    if !said.description.is_empty() {
        lines.push(said.description.to_owned());
    }
    lines.push(format!("Area: {}\nIssued by: {}\nValid until: {}", said.areas(), said.issuer(), said.alert.expires));
    if let Some(url) = said.reader.answer.as_ref().and_then(|answer| answer.url) {
        lines.push(format!("Please answer: {url}"));
    }
    links_apart(&lines.join("\n\n")) + "\n"
}
