//! Owns the open connections to one mail server: how many, how long idle, how many letters each.
//! Refuses to know letters; it lends sessions and takes sound ones back.
//! Invariant: never more than `connections` are open at once, and a broken one is never lent again.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::wire::{Server, Session, timed_out};
use crate::channel::{Class, Concerns, Failure};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) connections: usize,
    /// Letters after which a connection is closed.
    pub(super) letters: u32,
    pub(super) idle: Duration,
    /// For opening, and again for each letter.
    pub(super) timeout: Duration,
}

pub(super) struct Pool {
    server: Server,
    limits: Limits,
    permits: Semaphore,
    /// Most recently used last, so that a quiet hour lets the others go idle and close.
    idle: Mutex<Vec<Session>>,
}

/// A session on loan; dropping it without `put_back` closes the connection.
pub(super) struct Loan<'a> {
    pub(super) session: Session,
    pub(super) reused: bool,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    pub(super) fn new(server: Server, limits: Limits) -> Self {
        Self { server, limits, permits: Semaphore::new(limits.connections), idle: Mutex::default() }
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.limits.timeout
    }

    /// An open session: an idle one, or a new one.
    pub(super) async fn lend(&self) -> Result<Loan<'_>, Failure> {
        let permit = self.permit().await?;
        match self.newest_idle() {
            Some(session) => Ok(Loan { session, reused: true, _permit: permit }),
            None => self.open(permit).await,
        }
    }

    /// A session that was just opened, when an idle one turned out to be dead.
    pub(super) async fn lend_new(&self) -> Result<Loan<'_>, Failure> {
        let permit = self.permit().await?;
        self.open(permit).await
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>, Failure> {
        self.permits
            .acquire()
            .await
            .map_err(|_| Failure::new(Class::Retry, Concerns::Provider, "stopped", "the mail account has been stopped"))
    }

    async fn open<'a>(&'a self, permit: SemaphorePermit<'a>) -> Result<Loan<'a>, Failure> {
        let opening = tokio::time::timeout(self.limits.timeout, Session::open(&self.server));
        let session = opening.await.map_err(|_| timed_out(super::codes::Step::Greeting))??;
        Ok(Loan { session, reused: false, _permit: permit })
    }

    fn newest_idle(&self) -> Option<Session> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        idle.retain(|session| now.duration_since(session.idle_since) < self.limits.idle);
        idle.pop()
    }

    pub(super) async fn put_back(&self, mut loan: Loan<'_>) {
        if !loan.session.sound || self.permits.is_closed() {
            return;
        }
        if loan.session.used >= self.limits.letters {
            loan.session.quit().await;
            return;
        }
        loan.session.idle_since = Instant::now();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(loan.session);
    }

    /// Closes what has been idle too long.
    pub(super) fn sweep(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        idle.retain(|session| now.duration_since(session.idle_since) < self.limits.idle);
    }

    /// Lends no more and says goodbye on every idle connection; those on loan close when they come back.
    pub(super) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for session in idle {
            session.quit().await;
        }
    }
}
