//! Owns what happens while an alert waits for a second person: duty is told at once, and again until somebody decides or the limit is over.
//! Refuses to decide for people: without a limit in the policy an alert waits until it expires.
//! Invariant: a notice goes the way of an alert (planned, leased, retried), is never one of the warnings, and ends with the decision.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Unavailable,
    gateway::{Gateway, Inner},
    intake::Origin,
};
use crate::{
    alert::{self, Alert, AlertNo, MsgType},
    delivery::{
        event::{Event, Told},
        ledger::Shelf,
    },
    policy::Approval,
    time::Timestamp,
};

/// Told a dozen times in vain, duty does not read its messages: the page, the metric and the log go on.
const NOTICES_MAX: usize = 12;
/// Source and poster of what the gateway itself says.
const OURSELVES: &str = "lastmile";

pub(super) async fn look(inner: &Arc<Inner>, shelf: &Shelf, now: Timestamp) -> Result<(), Unavailable> {
    let policy = inner.policy.load();
    let approval = policy.approval();
    let waits_since = shelf.read().accepted.accepted;
    if approval.limit.is_some_and(|limit| waits_since.plus(limit) <= now) {
        return give_up(inner, shelf, now).await;
    }
    let notices = notices_of(inner, shelf.no);
    let is_time = notices.last().is_none_or(|last| last.alert.sent.plus(approval.within) <= now);
    if is_time && notices.len() < NOTICES_MAX {
        return notify(inner, shelf, notices.last(), approval, now).await;
    }
    Ok(())
}

/// In the order in which they were made.
fn notices_of(inner: &Inner, no: AlertNo) -> Vec<Arc<Shelf>> {
    let after = inner.ledger.newest_first().into_iter().take_while(|shelf| shelf.no > no);
    let mut notices: Vec<Arc<Shelf>> = after.filter(|shelf| shelf.notice_of() == Some(no)).collect();
    notices.reverse();
    notices
}

async fn give_up(inner: &Arc<Inner>, shelf: &Shelf, now: Timestamp) -> Result<(), Unavailable> {
    let _turn = inner.intake.lock().await;
    let reason = "nobody decided within the limit of the policy".to_owned();
    let mut events = vec![Event::Told(Box::new(Told::Rejected { alert: shelf.no, at: now, by: OURSELVES.into(), reason }))];
    events.extend(ends_of_notices(inner, shelf.no, OURSELVES, now));
    inner.append(events).await?;
    inner.alarms.raise("approval-limit", shelf.id.to_string(), format!("{}：政策期限内无人审批，已退回", shelf.alert.headline));
    tracing::error!(alert = %shelf.id, "rejected: nobody decided within the limit of the policy");
    Ok(())
}

/// What ends the notices of an alert that has been decided, so that nobody is woken for it any more.
pub(super) fn ends_of_notices(inner: &Inner, no: AlertNo, by: &str, at: Timestamp) -> Vec<Event> {
    let open = notices_of(inner, no).into_iter().filter(|notice| !notice.read().state.is_over());
    open.map(|notice| end_of(&notice, by, at)).collect()
}

fn end_of(notice: &Shelf, by: &str, at: Timestamp) -> Event {
    let reason = "decided".to_owned();
    Event::Told(Box::new(Told::Cancelled { alert: notice.no, at, by: by.to_owned(), reason, cancel: None }))
}

/// One more notice; it takes the place of the one before.
async fn notify(
    inner: &Arc<Inner>,
    shelf: &Shelf,
    before: Option<&Arc<Shelf>>,
    approval: &Approval,
    now: Timestamp,
) -> Result<(), Unavailable> {
    let gateway = Gateway::from(Arc::clone(inner));
    let turn = inner.intake.lock().await;
    let number = before.map_or(1, |last| notice_number(last) + 1);
    let alert = notice(inner, shelf, number, approval, now);
    let digest = alert::content_digest(&alert).iter().map(|byte| format!("{byte:02x}")).collect();
    let origin = Origin { received: now, source: OURSELVES, by: OURSELVES, owner: None, format: "json", digest };
    let mut accepted = gateway.accepted(&alert, origin, Vec::new());
    accepted.notice_of = Some(shelf.no);
    let no = accepted.alert;
    let mut events = vec![Event::Told(Box::new(Told::Accepted(accepted)))];
    events.extend(before.filter(|last| !last.read().state.is_over()).map(|last| end_of(last, OURSELVES, now)));
    inner.append(events).await?;
    drop(turn);
    if let Some(last) = before {
        inner.drop_from_queues(last.no);
        inner.alarms.raise("approval-overdue", shelf.id.to_string(), format!("{}：第{number}次催办仍无人审批", shelf.alert.headline));
        tracing::warn!(alert = %shelf.id, reminder = number, "nobody has decided; duty is told again");
    }
    if let Some(made) = inner.ledger.get(no) {
        gateway.release(&made, &[], None);
    }
    Ok(())
}

fn notice_number(notice: &Shelf) -> u32 {
    notice.alert.identifier.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(1)
}

/// What duty reads: what waits, why, and where to decide.
fn notice(inner: &Inner, shelf: &Shelf, number: u32, approval: &Approval, now: Timestamp) -> Alert {
    let (waiting, book) = (&shelf.alert, shelf.read());
    let page = inner.public_url.trim_end_matches('/');
    let link = format!("{page}/alerts/{}", shelf.id);
    let minutes = now.since(book.accepted.accepted).as_secs() / 60;
    let again = if number > 1 { format!("（第{number}次提醒，已等{minutes}分钟）") } else { String::new() };
    let doubts =
        if book.accepted.doubts.is_empty() { String::new() } else { format!("须核实：{}。", book.accepted.doubts.join("；")) };
    let what = waiting.headline.as_str();
    let within = approval.within.as_secs().div_ceil(60);
    // The first page lists it first: its address leaves room in a message of 70 characters; what is cut off then are the doubts.
    let text = format!("待批准{again}：{what}。未批准不会发出，请登录{page}处理。{doubts}");
    let texts: BTreeMap<String, String> = approval.channels.iter().map(|kind| (kind.clone(), text.clone())).collect();
    let area = alert::Area { name: inner.county_name.clone(), codes: vec![inner.county], polygons: Vec::new(), circles: Vec::new() };
    Alert {
        identifier: format!("approval-{}-{number}", shelf.id),
        sender: inner.county.to_string(),
        sender_name: format!("{}预警发布", inner.county_name),
        sent: now,
        msg_type: MsgType::Alert,
        references: Vec::new(),
        effective: now,
        onset: None,
        headline: format!("待批准{again}：{what}"),
        description: format!("{}提交。{doubts}", book.accepted.by),
        instruction: format!("{within}分钟内请登录批准或驳回：{link}"),
        translations: Vec::new(),
        response_types: vec!["Execute".into()],
        web: link,
        areas: vec![area],
        texts,
        note: String::new(),
        contact: String::new(),
        ..Alert::clone(waiting)
    }
}
