//! Owns the web page: signing in, the list of alerts, one alert live, the answer page, the printed report.
//! Refuses to know anything that the JSON interface does not give. Invariant: everything is escaped by the templates; no script is needed to answer.

mod alert;
mod bar;
mod held;
mod language;
mod list;
mod problems;
mod sign_in;

use askama::Template;
use axum::{extract::Query, http::header, response::IntoResponse};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;

use crate::{delivery::event::Choice, engine::look::Report};

pub(super) use alert::{alert, alert_live};
pub(super) use held::Previews;
pub(super) use list::{index, index_live};
pub(super) use problems::{explained, kinds, of_problem, reader};
pub(super) use sign_in::{sign_in, sign_out, signed_in};

type Words = Query<HashMap<String, String>>;

/// The hazard point at which the reader lives.
pub(super) struct HazardView<'a> {
    pub(super) name: &'a str,
    pub(super) alarm: &'a str,
    pub(super) route: &'a str,
    pub(super) shelter: &'a str,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html><html lang="zh-CN"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex"><title>{{ title }}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css">
<main><div class="card {{ level }}{% if drill %} drill{% endif %}"><h1>{% if drill %}【演练】{% endif %}{% if is_over %}已解除 {% endif %}{{ title }}</h1><div>{{ headline }}</div><div class="dim">{{ issuer }} · 有效至 {{ until }}</div></div>
{% if !is_over && !instruction.is_empty() %}<h2>请这样做</h2><div class="measures">{{ instruction }}</div>{% endif %}
{% if let Some(hazard) = hazard %}{% if !is_over %}<div class="shelter"><b>避险地点</b> {{ hazard.shelter }}<br><b>撤离路线</b> {{ hazard.route }}<br><b>预警信号</b> {{ hazard.alarm }}<br><span class="dim">隐患点 {{ hazard.name }}</span></div>{% endif %}{% endif %}
{% if let Some(at) = answered %}<p class="answered" role="status">已记录您的应答 {{ at }}{% if let Some(choice) = choice %} · {{ Self::word(choice) }}{% endif %}</p>{% endif %}
{% if is_over %}<p>预警已经结束，不再需要应答。紧急情况请拨打 110、119、120。</p>{% else %}<form method="post" action="/a/{{ token }}"><button class="big" name="choice" value="received">收到</button><button class="big" name="choice" value="moved">已转移</button><button class="big help" name="choice" value="help">需要帮助</button></form>{% endif %}
{% if !description.is_empty() %}<p class="dim">{{ description }}</p>{% endif %}</main></html>"#
)]
pub(super) struct AnswerPage<'a> {
    pub(super) token: &'a str,
    pub(super) drill: bool,
    pub(super) level: &'a str,
    pub(super) title: &'a str,
    pub(super) headline: &'a str,
    pub(super) instruction: &'a str,
    pub(super) description: &'a str,
    pub(super) until: &'a str,
    pub(super) issuer: &'a str,
    pub(super) is_over: bool,
    pub(super) hazard: Option<HazardView<'a>>,
    pub(super) answered: Option<String>,
    pub(super) choice: Option<Choice>,
}

impl AnswerPage<'_> {
    const fn word(choice: &Choice) -> &'static str {
        match choice {
            Choice::Received => "收到",
            Choice::Moved => "已转移",
            Choice::Help => "需要帮助",
        }
    }
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>{{ report.alert.headline }}</title><style>{{ STYLE|safe }}</style><main>
<h1>预警发布评估报告</h1><div class="card {{ report.alert.level.name() }}{% if report.alert.drill %} drill{% endif %}"><h2>{% if report.alert.drill %}演练 · {% endif %}{{ report.alert.headline }}</h2><div>{{ report.alert.sender_name }} · {{ report.alert.sent }} · {{ report.alert.state }}</div></div>
<p>应送达 {{ report.coverage.people.targeted }} 人，已送达 {{ report.coverage.people.reached }}，已应答 {{ report.coverage.people.acknowledged }}，待送达 {{ report.coverage.people.pending }}，失败 {{ report.coverage.people.failed }}，无联系方式 {{ report.coverage.people.unreachable }}。</p>
<p>村(社区) {{ report.coverage.villages.reached }}/{{ report.coverage.villages.targeted }}，喇叭 {{ report.coverage.speakers.received }}/{{ report.coverage.speakers.targeted }}(播出 {{ report.coverage.speakers.played }}，离线 {{ report.coverage.speakers.offline }}),隐患点闭环 {{ report.coverage.hazard_points.closed }}/{{ report.coverage.hazard_points.targeted }}。</p>
<p>叫应:应答 {{ report.coverage.calls.answered }}/{{ report.coverage.calls.due }}，转叫 {{ report.coverage.calls.escalated }}，无人应答 {{ report.coverage.calls.exhausted }}。</p>
<table><thead><tr><th>乡镇<th>应送达<th>已送达<th>已应答<th>待送达<th>失败<th>无联系方式</tr></thead><tbody>{% for child in report.coverage.children %}<tr><td>{{ child.name }}<td>{{ child.people.targeted }}<td>{{ child.people.reached }}<td>{{ child.people.acknowledged }}<td>{{ child.people.pending }}<td>{{ child.people.failed }}<td>{{ child.people.unreachable }}</tr>{% endfor %}</tbody></table>
<h2>失败原因</h2><table><tbody>{% for failure in report.failures %}<tr><td>{{ failure.channel }} {{ failure.reason }}<td>{{ failure.count }}</tr>{% endfor %}</tbody></table>
<p class="dim">截至 {{ report.as_of }}</p></main></html>"#
)]
struct ReportPage<'a> {
    report: &'a Report,
}

pub(super) fn answer(page: &AnswerPage<'_>) -> String {
    rendered(page)
}

pub(super) fn report(report: &Report) -> String {
    rendered(&ReportPage { report })
}

/// A template fails only when writing to memory does.
fn rendered(template: &impl Template) -> String {
    template.render().unwrap_or_else(|error| {
        tracing::error!(%error, "a page could not be rendered");
        String::new()
    })
}

pub(super) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("page.js"))
}

const STYLE: &str = include_str!("page.css");

/// By which a page's policy knows the style that stands in it.
pub(super) fn style_hash() -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(STYLE)))
}

pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")], STYLE)
}
