//! Owns what a problem means, in words for people: the page behind each problem's type, and the page a browser gets instead of the document.
//! Invariant: every kind of problem has its words; a test reads them out of `http/problem.rs`.

use std::collections::HashMap;

use askama::Template;
use axum::{
    extract::{Path, Query},
    http::{HeaderMap, header},
    response::{Html, IntoResponse as _, Response},
};

use super::{language::Language, rendered};
use crate::{fault::Fault, http::problem::Problem};

/// One kind of problem: its word, then title and advice in Chinese and in English.
type Words = (&'static str, [&'static str; 2], [&'static str; 2]);

const WORDS: &[Words] = &[
    (
        "alert-filed",
        ["预警已归档", "预警早已结束并归档，不能再登记叫应。"],
        ["The alert is filed", "It has long been over and was filed: calls of it are not recorded any more."],
    ),
    (
        "alert-over",
        ["预警早已结束", "您的回复已保存，但不会再有人处理。如需帮助，请拨打110、119或120。"],
        ["The warning is over", "Your answer was kept, but nobody acts on it any more. In need call 110, 119 or 120."],
    ),
    (
        "already-acknowledged",
        ["告警已有人处理", "该告警此前已有人确认知悉。"],
        ["Acknowledged before", "Somebody has taken this alarm before."],
    ),
    (
        "area-not-allowed",
        ["来源无权对该区域发布", "预警内容无误，但所列区域（含多边形和圆所覆盖的乡镇、村）超出此来源的权限；请缩小区域或由有权单位发布。"],
        [
            "Not for this area",
            "The alert is sound, but codes or shapes reach beyond the areas of this source. Take less, or let whoever may say it.",
        ],
    ),
    ("bad-request", ["请求无法读取", "请检查所填内容后重试。"], ["The request cannot be read", "Check what was sent and try again."]),
    (
        "bad-signature",
        ["签名不正确", "请核对签名密钥和签名内容：时间、一次性编号和原始正文。"],
        ["The signature is wrong", "Compare the key and the signed bytes: time, nonce and the body as it was sent."],
    ),
    (
        "busy",
        ["同时进行的操作过多", "请稍等几秒再试。"],
        ["Too much at one time", "A bound of things under way is reached. Come again in a few seconds."],
    ),
    (
        "conflict",
        ["已有内容不同的同一预警", "同一发布单位、标识和时间只能对应一份内容；更改请发布更新。"],
        ["Known with other content", "Sender, identifier and time of sending name one content. Send an Update to change it."],
    ),
    (
        "event-not-allowed",
        ["来源无权发布该灾种", "预警内容无误，但此来源的配置不含该灾种；请由有权单位发布。"],
        ["Not this event", "The alert is sound, but this source may not issue this kind of event."],
    ),
    ("expired", ["预警已过期", "过期的预警不能再批准发布。"], ["The alert has expired", "An alert that has expired is not sent any more."]),
    (
        "expired-signature",
        ["签名已失效", "签名时间与网关时钟相差不得超过五分钟；请校准时钟后重新签名。"],
        [
            "Signed too long ago or too far ahead",
            "At most five minutes may lie between the signature and our clock. Set the clock right and sign anew.",
        ],
    ),
    ("failed", ["网关出错", "操作没有完成，请告知管理员查看日志。"], ["The gateway failed", "Ask the administrator to look into the log."]),
    (
        "filed-unreadable",
        ["归档的明细无法读取", "归档文件缺失或损坏，请管理员从备份中恢复该文件。预警本身和汇总数字不受影响。"],
        [
            "What is filed cannot be read",
            "The file is missing or damaged: the administrator can put it back from a backup. The alert itself and its totals are not touched.",
        ],
    ),
    (
        "forbidden",
        ["没有权限", "此账号的角色或辖区不允许这项操作。"],
        ["Not allowed", "The role, the source or the area of this account does not allow it."],
    ),
    (
        "foreign-page",
        ["请求不是从本页面发出的", "请用 public_url 中的地址打开网页；如需其他地址，请在配置 [server] page_urls 中列出。"],
        [
            "Not from this page",
            "Open the page under the address of public_url; list further ones in [server] page_urls of the configuration.",
        ],
    ),
    (
        "invalid-alert",
        ["预警不符合规则", "请按所列各处逐条改正后重新发布。"],
        ["The alert breaks rules", "Every fault is listed with its place. Mend them all and send it again."],
    ),
    (
        "invalid-query",
        ["查询参数有误", "地址中的参数名或取值不被识别；请按所列可用的参数和取值改正。"],
        ["The query is wrong", "Names or words of the address are not known here. Take those that are listed."],
    ),
    (
        "invalid-record",
        ["登记内容有误", "没有更改任何内容，请按所列各处改正。"],
        ["The record is wrong", "Nothing was changed. Mend what is listed."],
    ),
    (
        "invalid-registry",
        ["登记数据有误", "没有更改任何内容；请按所列文件和行改正后重新导入。"],
        ["The registry refuses it", "Nothing was changed. Every bad row is listed with its file and line."],
    ),
    (
        "known-by-other-source",
        ["该编号已由另一来源发布", "同一发布单位与编号的预警已由另一来源提交；请核对密钥与 sender。"],
        ["Another source issued it", "An alert of this sender and identifier came from another source; check the key and the sender."],
    ),
    (
        "level-not-allowed",
        ["来源无权发布该级别", "预警内容无误，但此来源的配置不含该级别；请由有权单位发布。"],
        ["Not this level", "The alert is sound, but this source may not issue this level."],
    ),
    (
        "likely-repeat-of",
        ["疑为重复发布", "同一编号、同样内容、不同发布时间的预警已受理；如为更新，请以更新发布。"],
        [
            "Probably a repeat",
            "An alert of this identifier with the same words and another time of sending is known; post an Update if it is one.",
        ],
    ),
    (
        "method-not-allowed",
        ["此地址不支持这种操作", "请从首页重新进入。"],
        ["Not this method", "The Allow header names the methods of the address."],
    ),
    (
        "month-kept",
        ["该月数据仍需保留", "该月的日志仍有未归档的预警，或尚未满足清理条件；原因见说明，稍后再试。"],
        [
            "The month is kept",
            "Alerts of it are not filed yet, or something else still needs its journal: the detail says what. Try again later.",
        ],
    ),
    ("no-backup", ["无法备份", "磁盘空间可能不足，请看日志。"], ["No backup", "There may be no room on the disk; the log says why."]),
    (
        "no-client-certificate",
        ["缺少客户端证书", "此来源必须通过登记过的客户端证书建立连接。"],
        ["A client certificate is needed", "Alerts of this source come over TLS with a client certificate that the configuration names."],
    ),
    (
        "no-source",
        ["密钥没有对应的来源", "此密钥不代表配置中的任何来源；请让管理员用 lastmile key new --source 重新制作。"],
        ["The key speaks for no source", "No [[source]] of the configuration has the name that the key was made for."],
    ),
    ("not-found", ["没有这个页面", "链接可能不完整或已失效。"], ["Not found", "The address may be incomplete, or what it named is gone."]),
    ("not-held", ["预警不在待批准状态", "可能已有人处理。"], ["Not waiting for approval", "Somebody may have decided already."]),
    (
        "not-parseable",
        ["不是可读的预警文件", "请发送 CAP 1.2、GB/T 12379 XML 或 JSON。"],
        ["Not an alert document", "CAP 1.2, GB/T 12379 XML and JSON are read."],
    ),
    (
        "not-ready",
        ["网关尚未就绪", "正在启动或停止，请稍后再试。"],
        ["Not ready", "The gateway is starting or stopping, or its store has failed."],
    ),
    ("nothing-to-cancel", ["没有可解除的内容", "预警已结束或已解除。"], ["Nothing to cancel", "The alert is over already."]),
    (
        "registry-unavailable",
        ["登记数据暂时无法保存", "没有更改任何内容，请告知管理员。"],
        ["Cannot be stored now", "Nothing was changed. Ask the administrator to look at the disk."],
    ),
    (
        "replayed",
        ["签名已使用过", "每次请求都要有新的一次性编号；请重新签名后发送。"],
        ["The signature was used before", "Every request has its own nonce. Sign anew and send it again."],
    ),
    (
        "same-person",
        ["需要另一人批准", "发布人不能批准自己发布的预警。"],
        ["A second person is needed", "Whoever posted an alert cannot approve it."],
    ),
    (
        "sender-not-allowed",
        ["来源无权以该发布单位名义发布", "预警内容无误，但此密钥不得代表该发布单位；请核对 sender 或密钥。"],
        ["Not in this sender's name", "The alert is sound, but this key may not speak for its sender."],
    ),
    (
        "slow-body",
        ["内容传输过慢", "没有执行任何操作，请重新发送。"],
        ["The body came too slowly", "Nothing was done. Send it again in one go."],
    ),
    (
        "storage-full",
        ["磁盘空间不足", "没有保存、也没有承诺任何内容。请管理员清理数据目录所在磁盘；有空间后网关自动恢复，无须重启，请届时重新发送。"],
        [
            "The disk is full",
            "Nothing was kept or promised. Make room on the disk of the data directory; the gateway goes on by itself. Then send it again.",
        ],
    ),
    (
        "store-unavailable",
        ["暂时无法保存", "没有承诺任何内容，请重新发送。"],
        ["Cannot be stored now", "Nothing was promised. Send it again."],
    ),
    ("too-large", ["内容过大", "请减小后重新发送。"], ["Too large", "The bound stands in the detail."]),
    ("too-often", ["请求过于频繁", "请按提示的时间等待。"], ["Too many requests", "The Retry-After header says when to come again."]),
    (
        "too-slow",
        ["处理超时", "操作可能已完成，请先查看再重试。"],
        ["It took too long", "What was not answered may have been done: look before sending it again."],
    ),
    ("unauthorized", ["请先登录", "登录后再打开此页。"], ["Who is asking?", "Send Authorization: Bearer KEY, or sign in."]),
    (
        "unsigned",
        ["缺少签名", "此来源的每份预警都必须签名。"],
        ["A signature is needed", "Every alert of this source is signed; the manual shows how."],
    ),
    (
        "unsupported-media-type",
        ["内容格式不对", "请从页面上的按钮提交。"],
        ["Another form is wanted", "The Content-Type is not one that the address reads."],
    ),
    (
        "wrong-key",
        ["密钥不正确", "没有这个密钥，或它已被吊销、已过期；请核对 Authorization 请求头。"],
        [
            "The key is not known",
            "No key like this one is known, or it was revoked, or its time is over. Compare the Authorization header.",
        ],
    ),
];

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html><html lang="{{ language.tag() }}"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">
<title>{{ title }}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css">
<main><h1>{{ title }}</h1><p data-advice>{{ advice }}</p>
{% if !detail.is_empty() %}<p class="dim" lang="en">{{ detail }}</p>{% endif %}
{% if !faults.is_empty() %}<ul lang="en">{% for fault in faults %}<li>{{ fault.path }}: {{ fault.message }}</li>{% endfor %}</ul>{% endif %}
<p><a href="/">{{ language.say("首页", "Start page") }}</a></p></main></html>"#
)]
struct ProblemPage<'a> {
    language: Language,
    title: &'a str,
    advice: &'a str,
    detail: &'a str,
    faults: &'a [Fault],
}

/// Every kind there is.
pub(in crate::http) fn kinds() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|(kind, ..)| *kind)
}

fn words(kind: &str, language: Language) -> Option<[&'static str; 2]> {
    let (_, chinese, english) = WORDS.iter().find(|(word, ..)| *word == kind)?;
    Some(if language.english { *english } else { *chinese })
}

/// The language of a browser that asks for a page; programs ask for something else, or for anything.
pub(in crate::http) fn reader(headers: &HeaderMap) -> Option<Language> {
    let accepted = headers.get(header::ACCEPT)?.to_str().ok()?;
    accepted.contains("text/html").then(|| Language::of(&HashMap::new(), headers))
}

/// The same answer as a page: its status and what the headers say stay.
pub(in crate::http) fn of_problem(language: Language, problem: &Problem, headers: &HeaderMap) -> Response {
    let [title, advice] = words(problem.kind, language).unwrap_or_default();
    let page = ProblemPage { language, title, advice, detail: &problem.detail, faults: &problem.problems };
    let mut response = (problem.status, Html(rendered(&page))).into_response();
    for name in [header::WWW_AUTHENTICATE, header::RETRY_AFTER, header::ALLOW] {
        if let Some(value) = headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

/// `/problems/{kind}`: what the type of a problem document points to.
pub(in crate::http) async fn explained(
    Path(kind): Path<String>,
    headers: HeaderMap,
    Query(asked): super::Words,
) -> Result<Response, Problem> {
    let language = Language::of(&asked, &headers);
    let [title, advice] = words(&kind, language).ok_or_else(|| Problem::not_found("there is no such kind of problem"))?;
    Ok(Html(rendered(&ProblemPage { language, title, advice, detail: "", faults: &[] })).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kebab-case words that stand where a problem is made.
    fn kinds(source: &str) -> Vec<&str> {
        let quoted = source.split('"').skip(1).step_by(2);
        quoted
            .filter(|word| word.contains('-') && word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
            .collect()
    }

    #[test]
    fn every_kind_of_problem_has_its_words() {
        let sources = [include_str!("../problem.rs"), include_str!("../operating.rs"), include_str!("../registry.rs")];
        let used: Vec<&str> = sources.into_iter().flat_map(kinds).collect();
        assert!(used.contains(&"invalid-alert") && used.contains(&"invalid-record") && used.contains(&"not-ready"), "{used:?}");
        let missing: Vec<&&str> = used.iter().filter(|kind| !WORDS.iter().any(|(word, ..)| word == *kind)).collect();
        assert!(missing.is_empty(), "no words for {missing:?}");
        let single = ["busy", "conflict", "expired", "failed", "forbidden", "replayed", "unauthorized", "unsigned"];
        assert!(single.iter().all(|kind| WORDS.iter().any(|(word, ..)| word == kind)));
    }

    #[test]
    fn words_are_in_order_and_once() {
        assert!(WORDS.is_sorted_by(|one, next| one.0 < next.0));
    }
}
