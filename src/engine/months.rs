//! Owns when the space of a month is given back: when it is old enough, everything of it is filed, and checkpoints hold the rest.
//! Refuses to know how: the store does it. Invariant: no month goes of which an alert still needs a receipt, an answer or a decision, and the
//! audit trail tells of each that went.

use std::time::Duration;

use super::{Unavailable, gateway::Gateway};
use crate::{
    alert::AlertId,
    delivery::{
        event::{Event, Told},
        ledger::Ledger,
    },
    store::{self, DropError},
    time::Timestamp,
};

pub use crate::store::{BadMonth, Month};

/// How often old months are looked for; the first look follows the start.
const LOOK_EVERY: Duration = Duration::from_secs(24 * 3_600);
/// The number of months to keep that means all of them.
const ALL: u32 = 0;
/// Where one of the two checkpoints does not reach far enough, the second try makes another.
const TRIES: u32 = 2;

#[derive(Debug, thiserror::Error)]
pub enum GiveBackError {
    #[error(
        "{unfiled} alerts of {month} or before are not filed yet, the first is {first}: an alert is filed when it has been over for keep_open"
    )]
    Unfiled { month: Month, unfiled: usize, first: AlertId },
    #[error("there is no journal of {0}")]
    NoSuchMonth(Month),
    #[error(transparent)]
    Refused(DropError),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<DropError> for GiveBackError {
    fn from(error: DropError) -> Self {
        match error {
            DropError::NoSuchMonth { month } => Self::NoSuchMonth(month),
            other => Self::Refused(other),
        }
    }
}

/// When to look for old months again.
#[derive(Default)]
pub(super) struct Turn(Option<Timestamp>);

impl Turn {
    /// Whether it is time; begins the wait for the next.
    pub(super) fn is_now(&mut self, now: Timestamp) -> bool {
        // A clock that was set back does not put it off for ever.
        let is_time = self.0.is_none_or(|last| last.plus(LOOK_EVERY) <= now || now < last);
        if is_time {
            self.0 = Some(now);
        }
        is_time
    }
}

/// Alerts of a month or before that are not filed, oldest first.
pub fn unfiled(ledger: &Ledger, month: Month) -> Vec<AlertId> {
    let is_of = |shelf: &std::sync::Arc<crate::delivery::ledger::Shelf>| {
        let book = shelf.read();
        book.filed.is_none() && Month::of(book.accepted.accepted) <= month
    };
    let mut found: Vec<AlertId> = ledger.newest_first().iter().filter(|shelf| is_of(shelf)).map(|shelf| shelf.id).collect();
    found.reverse();
    found
}

/// How many alerts a month took in, and how many of them are filed.
pub fn alerts_of(ledger: &Ledger, month: Month) -> (usize, usize) {
    let shelves = ledger.newest_first();
    let own = shelves.iter().map(|shelf| shelf.read()).filter(|book| Month::of(book.accepted.accepted) == month);
    own.fold((0, 0), |(alerts, filed), book| (alerts + 1, filed + usize::from(book.filed.is_some())))
}

impl Gateway {
    /// Gives back the space of a month, or says why not.
    pub async fn give_back(&self, month: Month, by: &str) -> Result<(), GiveBackError> {
        let unfiled = unfiled(&self.ledger, month);
        if let Some(&first) = unfiled.first() {
            return Err(GiveBackError::Unfiled { month, unfiled: unfiled.len(), first });
        }
        self.journal.may_drop(month, self.clock.now()).await?;
        let mut tries = 1;
        loop {
            let at = self.clock.now();
            let told = Told::GivenBack { at, month: month.to_string(), by: by.to_owned() };
            self.append(vec![Event::Told(Box::new(told))]).await?;
            match self.journal.drop_month(month, at).await {
                Err(DropError::NotCovered { .. }) if tries < TRIES => tries += 1,
                other => {
                    other?;
                    tracing::info!(%month, by, "the space of a month was given back");
                    return Ok(());
                }
            }
        }
    }

    /// Gives back what is older than is kept, the oldest first, up to the first that cannot go.
    pub(super) async fn give_back_old(&self, keep_months: u32) {
        if keep_months == ALL {
            return;
        }
        let newest_to_go = Month::of(self.clock.now()).back(keep_months);
        let data = self.data_dir().to_owned();
        let kept = tokio::task::spawn_blocking(move || store::kept_months(&data)).await;
        let kept = match kept.map_err(|error| error.to_string()).and_then(|kept| kept.map_err(|error| error.to_string())) {
            Ok(kept) => kept,
            Err(error) => return tracing::error!(error, "old months cannot be looked for"),
        };
        for month in kept.into_iter().take_while(|month| *month < newest_to_go) {
            match self.give_back(month, "janitor").await {
                Ok(()) => {}
                Err(
                    why @ (GiveBackError::Unfiled { .. } | GiveBackError::Refused(DropError::NotCovered { .. } | DropError::Newest { .. })),
                ) => {
                    return tracing::warn!(%month, %why, "an old month is kept for now");
                }
                Err(why) => {
                    self.alarms.raise("month-not-given-back", month.to_string(), why.to_string());
                    return tracing::error!(%month, %why, "the space of an old month cannot be given back");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_months_are_looked_for_at_the_start_and_once_a_day_also_by_a_clock_that_was_set_back() {
        let (mut turn, begin) = (Turn::default(), Timestamp::from_ms(1_784_000_000_000));
        let hours = |hours: u64| begin.plus(Duration::from_secs(hours * 3_600));
        let looks: Vec<u64> = (0..60).filter(|hour| turn.is_now(hours(*hour))).collect();
        assert_eq!(looks, [0, 24, 48]);
        assert!(turn.is_now(begin) && !turn.is_now(begin));
    }
}
