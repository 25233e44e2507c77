//! Owns the outgoing feed (contract §2): an Atom list of what was released, and each as CAP.
//! Invariant: only real alerts that were released; drills and held alerts are nobody else's business. A reader who may see a part of the
//! alerts gets that part; the tag names what is listed, so whatever enters the list is never hidden by a 304.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use quick_xml::escape::escape;
use sha2::{Digest as _, Sha256};

use super::{Edge, alerts::sees, auth::Who, problem::Problem};
use crate::{
    access::{Action, Caller},
    alert::AlertId,
    delivery::ledger::Shelf,
    time::Timestamp,
};

/// Readers poll; older alerts are in the archive.
const ENTRIES_MAX: usize = 100;

/// Whoever reads: the public, where the configuration lets it, else a caller who may look.
struct Reader(Option<Caller>);

impl Reader {
    fn of(edge: &Edge, who: Result<Who, Problem>) -> Result<Self, Problem> {
        if edge.settings.feed_public { Ok(Self(None)) } else { Ok(Self(Some(who?.may(Action::Look)?))) }
    }

    /// When the alert was released, if this reader may know of it.
    fn released(&self, shelf: &Shelf) -> Option<Timestamp> {
        let is_a_warning = !shelf.alert.status.is_drill() && shelf.notice_of().is_none();
        let released = shelf.read().timeline.released?;
        let may_see = self.0.as_ref().is_none_or(|caller| sees(caller, shelf));
        (is_a_warning && may_see).then_some(released)
    }

    /// Last released first: an alert that had to wait for its approval is news when it is released.
    fn listed(&self, edge: &Edge) -> Vec<(Timestamp, Arc<Shelf>)> {
        let warnings = edge.gateway.ledger().warnings();
        let mut listed: Vec<_> = warnings.into_iter().filter_map(|shelf| Some((self.released(&shelf)?, shelf))).collect();
        listed.sort_by_key(|(released, shelf)| std::cmp::Reverse((*released, shelf.no.0)));
        listed.truncate(ENTRIES_MAX);
        listed
    }
}

fn tag(listed: &[(Timestamp, Arc<Shelf>)]) -> String {
    let mut hash = Sha256::new();
    for (released, shelf) in listed {
        hash.update(shelf.id.to_string());
        hash.update(released.as_ms().to_be_bytes());
    }
    let hash: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hash}\"")
}

/// Whether a reader has this already (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let given = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given.flat_map(|list| list.split(',')).map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

pub(super) async fn atom(State(edge): State<Edge>, headers: HeaderMap, who: Result<Who, Problem>) -> Result<Response, Problem> {
    let listed = Reader::of(&edge, who)?.listed(&edge);
    let tag = tag(&listed);
    if is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let base = edge.settings.public_url.trim_end_matches('/');
    let own = escape(format!("{base}/feed/alerts.atom")).into_owned();
    let newest = listed.first().map_or(Timestamp::from_ms(0), |(released, _)| *released);
    let mut feed = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\">\n<id>{own}</id>\n<title>{}</title>\n<updated>{newest}</updated>\n<link rel=\"self\" type=\"application/atom+xml\" href=\"{own}\"/>\n",
        escape(edge.gateway.county_name())
    );
    for (released, shelf) in listed {
        let alert = &shelf.alert;
        let link = format!("{base}/feed/cap/{}.xml", shelf.id);
        feed.push_str(&format!(
            "<entry><id>urn:uuid:{}</id><title>{}</title><published>{}</published><updated>{released}</updated><author><name>{}</name></author><link rel=\"alternate\" type=\"application/cap+xml\" href=\"{}\"/></entry>\n",
            shelf.id,
            escape(&alert.headline),
            alert.sent,
            escape(&alert.sender_name),
            escape(&link)
        ));
    }
    feed.push_str("</feed>\n");
    Ok(([(header::CONTENT_TYPE, "application/atom+xml; charset=utf-8".to_owned()), (header::ETAG, tag)], feed).into_response())
}

pub(super) async fn cap(State(edge): State<Edge>, Path(file): Path<String>, who: Result<Who, Problem>) -> Result<Response, Problem> {
    let reader = Reader::of(&edge, who)?;
    let none = || Problem::not_found("no such alert in the feed");
    let id: AlertId = file.strip_suffix(".xml").and_then(|id| id.parse().ok()).ok_or_else(none)?;
    let shelf = edge.gateway.ledger().find(id).filter(|shelf| reader.released(shelf).is_some()).ok_or_else(none)?;
    Ok(([(header::CONTENT_TYPE, "application/cap+xml; charset=utf-8")], crate::alert::cap::write(&shelf.alert)).into_response())
}
