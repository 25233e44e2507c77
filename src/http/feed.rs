//! Owns the outgoing feed (contract §2): an Atom list of what was sent, and each as CAP.
//! Invariant: only real alerts that were released; drills and held alerts are nobody else's business.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use quick_xml::escape::escape;

use super::{Edge, auth::Who, problem::Problem};
use crate::{access::Action, alert::AlertId, delivery::ledger::Shelf, time::Timestamp};

/// Readers poll; older alerts are in the archive.
const ENTRIES_MAX: usize = 100;

/// Public by configuration, else for callers who may look.
struct Reader;

async fn allowed(edge: &Edge, parts: Option<Who>) -> Result<Reader, Problem> {
    if edge.settings.feed_public {
        return Ok(Reader);
    }
    parts.ok_or_else(Problem::unauthorized)?.may(Action::Look).map(|_| Reader)
}

fn is_shown(shelf: &Shelf) -> bool {
    !shelf.alert.status.is_drill() && shelf.notice_of().is_none() && shelf.read().timeline.released.is_some()
}

pub(super) async fn atom(State(edge): State<Edge>, headers: HeaderMap, who: Result<Who, Problem>) -> Result<Response, Problem> {
    allowed(&edge, who.ok()).await?;
    let base = edge.settings.public_url.trim_end_matches('/');
    let shelves: Vec<_> = edge.gateway.ledger().warnings().into_iter().filter(|shelf| is_shown(shelf)).take(ENTRIES_MAX).collect();
    let newest = shelves.first().map_or(Timestamp::from_ms(0), |shelf| shelf.alert.sent);
    let tag = format!("\"{}-{}\"", newest.as_ms(), shelves.len());
    if headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()) == Some(tag.as_str()) {
        return Ok((axum::http::StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let mut feed = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\">\n<id>{base}/feed/alerts.atom</id>\n<title>{}</title>\n<updated>{newest}</updated>\n",
        escape(edge.gateway.county_name())
    );
    for shelf in shelves {
        let alert = &shelf.alert;
        let link = format!("{base}/feed/cap/{}.xml", shelf.id);
        feed.push_str(&format!(
            "<entry><id>urn:uuid:{}</id><title>{}</title><updated>{}</updated><author><name>{}</name></author><link rel=\"alternate\" type=\"application/cap+xml\" href=\"{}\"/></entry>\n",
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
    allowed(&edge, who.ok()).await?;
    let none = || Problem::not_found("no such alert in the feed");
    let id: AlertId = file.strip_suffix(".xml").and_then(|id| id.parse().ok()).ok_or_else(none)?;
    let shelf = edge.gateway.ledger().find(id).filter(|shelf| is_shown(shelf)).ok_or_else(none)?;
    Ok(([(header::CONTENT_TYPE, "application/cap+xml; charset=utf-8")], crate::alert::cap::write(&shelf.alert)).into_response())
}
