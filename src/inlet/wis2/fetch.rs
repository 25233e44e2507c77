//! Owns getting a document from where a message says it is: from named hosts only, within a size and a time, held against its digest.
//! Refuses to know messages and alerts.
//! Invariant: no request goes to a host that the configuration does not name, also not by way of a redirect;
//! nor by a name into the local network, unless the broker is there itself or `private_hosts` says so.

use std::{error::Error as _, time::Duration};

use reqwest::{Client, ClientBuilder, Response, StatusCode, Url, redirect};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{content::Refused, notice::Link};
use crate::net::{
    hosts::{self, AllowedHost, LeadsInside, PublicOnly},
    tls::{self, Trust},
};

/// Caches hand on to their stores once, perhaps twice.
const REDIRECTS_MAX: usize = 4;
/// Requests for documents at once: kind to a cache that announces a country's warnings in one second.
const FETCHES_MAX: usize = 16;
/// Pauses between tries; the last is repeated while patience lasts.
const PAUSES: [Duration; 4] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(8), Duration::from_secs(15)];

/// Where documents may lie.
pub(super) struct Reach {
    /// Address or name of the broker: one inside announces what lies inside.
    pub(super) broker: String,
    pub(super) hosts: Vec<AllowedHost>,
    /// Those of them that may lead into the local network.
    pub(super) private_hosts: Vec<AllowedHost>,
}

pub(super) struct Fetcher {
    broker: String,
    hosts: Vec<AllowedHost>,
    /// Goes into the open net alone, but for what the configuration names.
    open: Client,
    /// For a broker that is inside itself.
    inside: Client,
    /// Held for one request, not for the pauses between.
    requests: Semaphore,
    patience: Duration,
    document_max: usize,
}

/// Why there is no document.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoDocument {
    /// The link must not be followed, or what is there is not what was announced.
    Refused(Refused),
    /// The far end did not give it while patience lasted.
    OutOfReach(String),
    /// We are ending; nothing is known.
    Interrupted,
}

/// What one request came to.
enum Miss {
    Final(Refused),
    Passing(String),
}

impl Fetcher {
    pub(super) fn new(reach: Reach, trust: &Trust<'_>, timeout: Duration, patience: Duration, document_max: usize) -> Result<Self, String> {
        let Reach { broker, hosts, private_hosts } = reach;
        let tls = tls::client_config(trust)?;
        let base = || {
            Client::builder()
                .tls_backend_preconfigured(tls.as_ref().clone())
                .redirect(within(hosts.clone()))
                .no_proxy()
                .connect_timeout(timeout / 2)
                .timeout(timeout)
                .user_agent(concat!("lastmile/", env!("CARGO_PKG_VERSION")))
        };
        let build = |builder: ClientBuilder| builder.build().map_err(|error| error.without_url().to_string());
        let open = build(base().dns_resolver(PublicOnly::but(private_hosts)))?;
        let inside = build(base())?;
        Ok(Self { broker, hosts, open, inside, requests: Semaphore::new(FETCHES_MAX), patience, document_max })
    }

    /// Tries until the document is here, it is clear that it never will be, patience ends, or `stop` says so.
    pub(super) async fn fetch(&self, link: &Link, stop: &CancellationToken) -> Result<Vec<u8>, NoDocument> {
        self.may_follow(link).map_err(NoDocument::Refused)?;
        let deadline = tokio::time::Instant::now() + self.patience;
        let mut pauses = PAUSES.into_iter().chain(std::iter::repeat(PAUSES[PAUSES.len() - 1]));
        loop {
            let tried = stop.run_until_cancelled(self.once(link)).await.ok_or(NoDocument::Interrupted)?;
            let why = match tried {
                Ok(document) => return Ok(document),
                Err(Miss::Final(refused)) => return Err(NoDocument::Refused(refused)),
                Err(Miss::Passing(why)) => why,
            };
            let next = tokio::time::Instant::now() + pauses.next().unwrap_or_default();
            if next > deadline {
                return Err(NoDocument::OutOfReach(why));
            }
            stop.run_until_cancelled(tokio::time::sleep_until(next)).await.ok_or(NoDocument::Interrupted)?;
        }
    }

    fn may_follow(&self, link: &Link) -> Result<(), Refused> {
        let host = link.url.host_str().unwrap_or_default();
        if !is_allowed(&self.hosts, &link.url) {
            return Err(Refused::new("host-not-allowed", format!("{host} at this port is not one of allow_hosts")));
        }
        if link.integrity.is_none() && link.url.scheme() != "https" {
            return Err(Refused::new(
                "no-integrity",
                "a link without a digest must be https: anybody on the way could change what is there",
            ));
        }
        match link.length {
            Some(length) if length > self.document_max as u64 => {
                Err(Refused::new("too-large", format!("{length} bytes are announced, more than {}", self.document_max)))
            }
            _ => Ok(()),
        }
    }

    async fn once(&self, link: &Link) -> Result<Vec<u8>, Miss> {
        let _turn = self.requests.acquire().await.map_err(|_| Miss::Passing("we are ending".to_owned()))?;
        // Asked each time, as a name may lead elsewhere by now; an address that stands in a link is in allow_hosts as it stands.
        let client = if hosts::is_inside(&self.broker).await { &self.inside } else { &self.open };
        let response = client.get(link.url.clone()).send().await.map_err(missed)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(Miss::Final(Refused::new("redirect-not-allowed", format!("{status} leads off allow_hosts"))));
        }
        if status != StatusCode::OK {
            // Also 404: a message may arrive before the cache shows what it announces.
            return Err(Miss::Passing(status.to_string()));
        }
        let document = self.body(response).await?;
        match &link.integrity {
            // A cache in between may have handed out an older copy.
            Some(integrity) if !integrity.fits(&document) => Err(Miss::Passing("the digest is not the one that is announced".to_owned())),
            _ => Ok(document),
        }
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Miss> {
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| Miss::Passing(in_words(error)))? {
            if document.len() + chunk.len() > self.document_max {
                return Err(Miss::Final(Refused::new("too-large", format!("more than {} bytes", self.document_max))));
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }
}

fn is_allowed(hosts: &[AllowedHost], url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.username().is_empty() && hosts.iter().any(|host| host.allows(url))
}

/// Follows moves within the list, a few, and never down from https.
fn within(hosts: Vec<AllowedHost>) -> redirect::Policy {
    redirect::Policy::custom(move |attempt| {
        let downgrade = attempt.previous().last().is_some_and(|before| before.scheme() == "https" && attempt.url().scheme() == "http");
        if attempt.previous().len() > REDIRECTS_MAX || downgrade || !is_allowed(&hosts, attempt.url()) {
            attempt.stop()
        } else {
            attempt.follow()
        }
    })
}

/// A name that leads inside is a trap or a key that is missing here; neither mends while a message waits.
fn missed(error: reqwest::Error) -> Miss {
    let inside = std::iter::successors(error.source(), |&cause| cause.source()).find_map(|cause| cause.downcast_ref::<LeadsInside>());
    match inside {
        Some(inside) => Miss::Final(Refused::new("private-address", format!("{inside}; name the host in private_hosts if it is yours"))),
        None => Miss::Passing(in_words(error)),
    }
}

/// The error with its causes, without the address: its query may hold what is nobody's business.
fn in_words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let causes = std::iter::successors(error.source(), |&cause| cause.source()).map(ToString::to_string);
    std::iter::once(error.to_string()).chain(causes).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
