//! Owns the HTTP edge of contract §2–§4 and §7: requests to calls of the engine, answers to bodies and status codes.
//! Refuses to have rules of its own. Invariant: a caller sees and does only what role, source and area allow; every error is a problem document.

mod address;
mod alarms;
mod alerts;
mod answers;
mod around;
mod audit;
mod auth;
mod body;
mod events;
mod feed;
mod hearing;
mod help;
mod known_addresses;
mod limits;
mod openapi;
mod operating;
mod page;
mod paging;
mod people;
mod places;
mod problem;
mod proof;
mod query;
mod registry;
mod report;
mod serve;
mod sessions;
mod tls;

use std::{ops::Deref, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{delete, get, post},
};
use tokio_util::sync::CancellationToken;

use known_addresses::KnownAddresses;
use limits::Limits;

use crate::{
    access::{Access, Proofs, Sessions},
    engine::Gateway,
    network::Network,
    relay::Board,
};

pub use serve::serve;
pub use tls::{Tls, TlsFiles};

/// What the edge needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    pub public_url: String,
    pub body_max: usize,
    pub feed_public: bool,
    /// Whose word is taken for where a request comes from.
    pub trusted_proxies: Vec<Network>,
    /// From where metrics are read without a key.
    pub metrics_from: Vec<Network>,
    /// Further origins of the page, beside `public_url`.
    pub page_urls: Vec<String>,
    /// Cookies are sent back over TLS only.
    pub secure_cookies: bool,
}

/// What all handlers share.
pub struct Parts {
    pub gateway: Gateway,
    pub access: Arc<Access>,
    pub proofs: Arc<Proofs>,
    pub sessions: Arc<Sessions>,
    pub relays: Board,
    pub settings: Arc<Settings>,
    /// Ends streams, so that a graceful shutdown ends.
    pub shutdown: CancellationToken,
}

/// What belongs to the edge alone, beside what it was given.
pub(crate) struct Shared {
    parts: Parts,
    limits: Limits,
    known_addresses: KnownAddresses,
    previews: page::Previews,
}

impl Deref for Shared {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// One count to raise for each request, not one for each part.
#[derive(Clone)]
pub(crate) struct Edge(Arc<Shared>);

impl Edge {
    fn new(parts: Parts) -> Self {
        Self(Arc::new(Shared {
            parts,
            limits: Limits::default(),
            known_addresses: KnownAddresses::default(),
            previews: page::Previews::default(),
        }))
    }
}

impl Deref for Edge {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

fn router(edge: Edge) -> Router {
    let alerts = Router::new()
        .route("/v1/alerts", get(alerts::list).post(alerts::submit))
        .route("/v1/alerts/preview", post(alerts::preview))
        .route("/v1/alerts/waiting", get(alerts::waiting))
        .route("/v1/alerts/{id}", get(alerts::one))
        .route("/v1/alerts/{id}/cap", get(alerts::cap))
        .route("/v1/alerts/{id}/approve", post(alerts::approve))
        .route("/v1/alerts/{id}/reject", post(alerts::reject))
        .route("/v1/alerts/{id}/cancel", post(alerts::cancel))
        .route("/v1/alerts/{id}/coverage", get(alerts::coverage))
        .route("/v1/alerts/{id}/timeliness", get(alerts::timeliness))
        .route("/v1/alerts/{id}/deliveries", get(alerts::deliveries))
        .route("/v1/alerts/{id}/calls", get(alerts::calls))
        .route("/v1/alerts/{id}/calls/{subscriber}", post(alerts::record_call))
        .route("/v1/alerts/{id}/{report}", get(report::report))
        .route("/feed/alerts.atom", get(feed::atom))
        .route("/feed/cap/{file}", get(feed::cap));
    let registry = Router::new()
        .route("/v1/registry/import", post(registry::import).layer(DefaultBodyLimit::max(registry::IMPORT_BYTES_MAX)))
        .route("/v1/registry/gaps", get(registry::gaps))
        .route("/v1/registry/check", get(registry::check))
        .route("/v1/people/{id}", get(people::show).delete(people::erase))
        .route("/v1/people/{id}/export", get(people::export))
        .route("/v1/{kind}", get(registry::list))
        .route("/v1/{kind}/{id}", get(registry::one).put(registry::put).delete(registry::delete));
    let links = Router::new().route("/a/{token}", get(answers::page).post(answers::answer));
    let callbacks = Router::new()
        .route("/v1/callbacks/{kind}/{channel}", get(answers::callback).post(answers::callback))
        .route("/v1/callbacks/{kind}/{channel}/{what}", get(answers::callback_about).post(answers::callback_about));
    let operating = Router::new()
        .route("/healthz", get(operating::healthz))
        .route("/readyz", get(operating::readyz))
        .route("/metrics", get(operating::metrics))
        .route("/openapi.json", get(openapi::document))
        .route("/v1/help", get(help::list))
        .route("/v1/help/{id}", post(help::take))
        .route("/v1/alarms", get(alarms::list))
        .route("/v1/alarms/{id}/acknowledge", post(alarms::acknowledge))
        .route("/v1/sessions", get(sessions::list))
        .route("/v1/sessions/{user}", delete(sessions::end))
        .route("/v1/accounts", get(operating::accounts))
        .route("/v1/audit", get(audit::list))
        .route("/v1/relays", get(operating::relays))
        .route("/v1/devices", get(operating::devices));
    // As long as it takes: a year of alerts is gigabytes.
    let backup = Router::new().route("/v1/backup", get(operating::backup)).route("/v1/journal/{month}/drop", post(operating::give_back));
    let pages = Router::new()
        .route("/", get(page::index))
        .route("/alerts", get(page::index_live))
        .route("/alerts/{id}", get(page::alert))
        .route("/alerts/{id}/live", get(page::alert_live))
        .route("/sign-in", get(page::sign_in))
        .route("/sign-out", post(page::sign_out))
        .route("/problems/{kind}", get(page::explained))
        .route("/page.js", get(page::script))
        .route("/page.css", get(page::style));
    let sign_in = Router::new().route("/sign-in", post(page::signed_in));
    let streams = Router::new().route("/v1/alerts/{id}/events", get(events::stream));
    let written = |router: Router<Edge>| {
        router.route_layer(middleware::from_fn_with_state(edge.clone(), audit::around)).route_layer(middleware::from_fn(query::known))
    };
    let bounded = limits::ours(written(alerts.merge(pages).merge(registry)), &edge)
        .merge(limits::sign_in(sign_in, &edge))
        .merge(limits::links(links, &edge))
        .merge(limits::callbacks(callbacks, &edge))
        .merge(limits::timed(written(operating)));
    around::outer(bounded.merge(written(streams)).merge(written(backup)).fallback(problem::no_such_page), &edge).with_state(edge)
}
