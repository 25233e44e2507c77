//! Owns the order of what is to be sent by one route: lanes by urgency, alerts in turn inside a lane, a heap of what is due later.
//! Refuses to know far ends, texts and storage: it holds `(alert, index)` and nothing else.
//! Invariant: what is taken is the most urgent there is at that moment; a red alert overtakes a million queued blue deliveries at once.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, VecDeque},
};

use tokio::time::Instant;

use crate::{
    alert::{AlertNo, Level},
    delivery::plan::Lane,
};

/// Urgency; the smallest goes first. Real alerts go before drills, whatever their colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Urgency {
    pub(crate) drill: bool,
    pub(crate) level: Level,
    pub(crate) lane: Lane,
}

impl Urgency {
    /// Whether it passes what is already leased: a red warning, but no drill.
    pub(crate) const fn is_express(self) -> bool {
        !self.drill && matches!(self.level, Level::Red)
    }
}

/// What of a queue is meant: each account leases the two side by side, so that the one never waits for a lease of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Express,
    Rest,
}

/// A run of deliveries of one alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Work {
    pub(crate) alert: AlertNo,
    pub(crate) first: u32,
    pub(crate) count: u32,
}

/// Who may take a piece of work: any account of the route, or the one that it was passed on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct For(pub(crate) Option<u8>);

impl For {
    pub(crate) const ANY: Self = Self(None);
}

type Lanes = BTreeMap<Urgency, Turns>;

/// What is of one urgency: alerts take turns, however much of each there is.
#[derive(Debug, Default)]
struct Turns(VecDeque<(AlertNo, VecDeque<Work>)>);

impl Turns {
    fn push(&mut self, work: Work) {
        // A plan comes in many pieces one after the other: its alert is usually the last.
        match self.0.iter_mut().rev().find(|(alert, _)| *alert == work.alert) {
            Some((_, works)) => works.push_back(work),
            None => self.0.push_back((work.alert, VecDeque::from([work]))),
        }
    }

    /// Up to `most` deliveries of the alert whose turn it is, in as many runs as it takes; with `whole` no run is cut.
    fn take(&mut self, most: u32, whole: bool) -> Vec<Work> {
        let Some((alert, mut works)) = self.0.pop_front() else { return Vec::new() };
        let (mut taken, mut room) = (Vec::new(), most.max(1));
        while let Some(work) = works.front_mut().filter(|work| room > 0 && (!whole || taken.is_empty() || work.count <= room)) {
            let count = if whole { work.count } else { work.count.min(room) };
            taken.push(Work { count, ..*work });
            room = room.saturating_sub(count);
            work.first += count;
            work.count -= count;
            if work.count == 0 {
                works.pop_front();
            }
        }
        if !works.is_empty() {
            self.0.push_back((alert, works));
        }
        taken
    }

    /// Drops an alert; answers how many deliveries went.
    fn drop_alert(&mut self, alert: AlertNo) -> usize {
        let place = self.0.iter().position(|(known, _)| *known == alert);
        let works = place.and_then(|place| self.0.remove(place));
        works.map_or(0, |(_, works)| works.iter().map(|work| work.count as usize).sum())
    }
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    open: HashMap<Option<u8>, Lanes>,
    /// By a clock that does not jump: a pause of seconds stays one when the machine's clock is set back an hour.
    later: BinaryHeap<Reverse<(Instant, Urgency, Work, For)>>,
    ready: usize,
}

impl Queue {
    pub(crate) fn push(&mut self, urgency: Urgency, work: Work, to: For) {
        if work.count > 0 {
            self.ready += work.count as usize;
            self.open.entry(to.0).or_default().entry(urgency).or_default().push(work);
        }
    }

    pub(crate) fn push_later(&mut self, due: Instant, urgency: Urgency, work: Work, to: For) {
        self.later.push(Reverse((due, urgency, work, to)));
    }

    /// Deliveries that could go now, and that wait for their time.
    pub(crate) fn depth(&self) -> (usize, usize) {
        (self.ready, self.later.len())
    }

    /// Moves what has become due into its lane; answers when the next will.
    pub(crate) fn ripen(&mut self, now: Instant) -> Option<Instant> {
        while let Some(&Reverse((due, urgency, work, to))) = self.later.peek() {
            if due > now {
                return Some(due);
            }
            self.later.pop();
            self.push(urgency, work, to);
        }
        None
    }

    /// The most urgent of this part that this account may have; `any` when it may also take what is passed to no one.
    pub(crate) fn best(&self, account: u8, any: bool, part: Part) -> Option<Urgency> {
        let shared = if any { self.first(None, part) } else { None };
        [self.first(Some(account), part), shared].into_iter().flatten().min()
    }

    fn first(&self, owner: Option<u8>, part: Part) -> Option<Urgency> {
        let is_meant = |urgency: &Urgency| urgency.is_express() == (part == Part::Express);
        self.open.get(&owner).and_then(|lanes| lanes.keys().copied().find(is_meant))
    }

    /// Takes up to `most` deliveries of one alert: the most urgent that this account may have.
    /// With `whole`, a run is never cut: devices of one area go together.
    pub(crate) fn take(&mut self, account: u8, any: bool, part: Part, most: u32, whole: bool) -> Option<(Urgency, Vec<Work>)> {
        let (owner, urgency) = match (self.first(Some(account), part), self.first(None, part).filter(|_| any)) {
            (Some(own), Some(any)) if own <= any => (Some(account), own),
            (Some(own), None) => (Some(account), own),
            (_, Some(any)) => (None, any),
            (None, None) => return None,
        };
        let lanes = self.open.get_mut(&owner)?;
        let lane = lanes.get_mut(&urgency)?;
        let taken = lane.take(most, whole);
        if lane.0.is_empty() {
            lanes.remove(&urgency);
        }
        self.ready -= taken.iter().map(|work| work.count as usize).sum::<usize>();
        Some((urgency, taken))
    }

    /// Drops all of one alert (cancelled, expired): its debts are closed in the journal.
    pub(crate) fn drop_alert(&mut self, alert: AlertNo) {
        let mut dropped = 0;
        for lanes in self.open.values_mut() {
            dropped += lanes.values_mut().map(|lane| lane.drop_alert(alert)).sum::<usize>();
            lanes.retain(|_, lane| !lane.0.is_empty());
        }
        self.ready -= dropped;
        self.later.retain(|Reverse((_, _, work, _))| work.alert != alert);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn urgency(level: Level, lane: Lane) -> Urgency {
        Urgency { drill: false, level, lane }
    }

    /// As an account does that may have everything: what is express first.
    fn take(queue: &mut Queue, account: u8, most: u32, whole: bool) -> Option<(Urgency, Vec<Work>)> {
        let express = queue.take(account, true, Part::Express, most, whole);
        express.or_else(|| queue.take(account, true, Part::Rest, most, whole))
    }

    const fn work(alert: u32, first: u32, count: u32) -> Work {
        Work { alert: AlertNo(alert), first, count }
    }

    #[test]
    fn a_red_alert_overtakes_queued_blue_ones_and_a_drill_waits_for_both() {
        let mut queue = Queue::default();
        queue.push(Urgency { drill: true, level: Level::Red, lane: Lane::Act }, work(3, 0, 5), For::ANY);
        for leg in 0..250 {
            queue.push(urgency(Level::Blue, Lane::Public), work(1, leg * 4_000, 4_000), For::ANY);
        }
        queue.push(urgency(Level::Red, Lane::Public), work(2, 0, 10), For::ANY);
        queue.push(urgency(Level::Red, Lane::Act), work(2, 10, 1), For::ANY);
        assert_eq!(take(&mut queue, 0, 100, false).map(|(_, works)| works), Some(vec![work(2, 10, 1)]), "people who must act go first");
        assert_eq!(take(&mut queue, 0, 100, false).map(|(_, works)| works), Some(vec![work(2, 0, 10)]));
        assert_eq!(take(&mut queue, 0, 100, false).map(|(_, works)| works), Some(vec![work(1, 0, 100)]));
        assert_eq!(queue.depth(), (250 * 4_000 - 100 + 5, 0));
    }

    #[test]
    fn a_red_drill_is_no_express_and_each_hand_sees_its_part_alone() {
        let mut queue = Queue::default();
        queue.push(Urgency { drill: true, level: Level::Red, lane: Lane::Act }, work(1, 0, 1), For::ANY);
        assert_eq!(queue.best(0, true, Part::Express), None);
        let red = urgency(Level::Red, Lane::Public);
        queue.push(red, work(2, 0, 1), For(Some(1)));
        assert_eq!((queue.best(0, true, Part::Express), queue.best(1, true, Part::Express)), (None, Some(red)));
        assert_eq!(queue.take(1, true, Part::Rest, 9, false).map(|(_, works)| works), Some(vec![work(1, 0, 1)]));
        assert_eq!(queue.take(1, true, Part::Rest, 9, false), None);
        assert_eq!(queue.take(1, true, Part::Express, 9, false).map(|(_, works)| works), Some(vec![work(2, 0, 1)]));
    }

    #[test]
    fn alerts_of_one_urgency_share_the_route() {
        let mut queue = Queue::default();
        let blue = urgency(Level::Blue, Lane::Public);
        queue.push(blue, work(1, 0, 30), For::ANY);
        queue.push(blue, work(2, 0, 30), For::ANY);
        let taken: Vec<u32> = (0..4).filter_map(|_| take(&mut queue, 0, 10, false)).map(|(_, works)| works[0].alert.0).collect();
        assert_eq!(taken, [1, 2, 1, 2]);
    }

    #[test]
    fn a_small_alert_does_not_wait_for_all_the_pieces_of_a_large_one() {
        let mut queue = Queue::default();
        let blue = urgency(Level::Blue, Lane::Public);
        for leg in 0..250 {
            queue.push(blue, work(1, leg * 4_000, 4_000), For::ANY);
        }
        queue.push(blue, work(2, 0, 5), For::ANY);
        let taken: Vec<u32> = (0..3).filter_map(|_| take(&mut queue, 0, 100, false)).map(|(_, works)| works[0].alert.0).collect();
        assert_eq!(taken, [1, 2, 1]);
    }

    #[test]
    fn single_deliveries_of_one_alert_are_taken_together() {
        let mut queue = Queue::default();
        let red = urgency(Level::Red, Lane::Act);
        for index in [3, 9, 12, 40] {
            queue.push(red, work(1, index, 1), For::ANY);
        }
        queue.push(red, work(1, 50, 10), For::ANY);
        let taken = take(&mut queue, 0, 6, false).map(|(_, works)| works);
        assert_eq!(taken, Some(vec![work(1, 3, 1), work(1, 9, 1), work(1, 12, 1), work(1, 40, 1), work(1, 50, 2)]));
        assert_eq!(queue.depth(), (8, 0));
    }

    #[test]
    fn what_was_passed_to_an_account_is_taken_by_it_alone() {
        let mut queue = Queue::default();
        queue.push(urgency(Level::Red, Lane::Act), work(1, 0, 1), For(Some(1)));
        assert_eq!(take(&mut queue, 0, 9, false), None);
        assert!(take(&mut queue, 1, 9, false).is_some());
    }

    #[test]
    fn what_is_due_later_ripens_in_time_and_a_closed_alert_leaves_nothing() {
        let mut queue = Queue::default();
        let (red, start) = (urgency(Level::Red, Lane::Act), Instant::now());
        let ms = |ms| start + std::time::Duration::from_millis(ms);
        queue.push_later(ms(50), red, work(1, 4, 1), For::ANY);
        queue.push_later(ms(20), red, work(2, 7, 1), For::ANY);
        assert_eq!(queue.ripen(ms(30)), Some(ms(50)));
        assert_eq!(take(&mut queue, 0, 9, false).map(|(_, works)| works[0].alert), Some(AlertNo(2)));
        queue.drop_alert(AlertNo(1));
        assert_eq!((queue.ripen(ms(99)), take(&mut queue, 0, 9, false)), (None, None));
    }

    #[test]
    fn a_run_of_devices_is_never_cut() {
        let mut queue = Queue::default();
        for first in [0, 40, 50] {
            queue.push(urgency(Level::Red, Lane::Act), work(1, first, if first == 0 { 40 } else { 10 }), For::ANY);
        }
        let mut counts = |most| take(&mut queue, 0, most, true).map(|(_, works)| works.iter().map(|work| work.count).collect::<Vec<_>>());
        assert_eq!(counts(1), Some(vec![40]));
        assert_eq!(counts(25), Some(vec![10, 10]));
    }
}
