//! Owns the coverage counters of one alert: by area, role, kind of channel and fact, kept up with every event.
//! Refuses to know names, trees and clocks; areas and roles are small numbers of its book.
//! Invariant: the counters equal a recount of the book (`Book::recount`), and the parts of a person count add up to `targeted`.

use serde::{Deserialize, Serialize};

use super::slot::Furthest;

/// Where a person stands, each in exactly one place; acknowledged people are among the reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Reached,
    Pending,
    Failed,
    Unreachable,
}

/// `people` of contract §2.3, with the reached of the first ten minutes beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct People {
    pub targeted: u32,
    pub reached: u32,
    pub acknowledged: u32,
    pub pending: u32,
    pub failed: u32,
    pub unreachable: u32,
    /// Reached within ten minutes of clock zero; shown as a rate only.
    pub within_10m: u32,
}

impl People {
    pub fn add(&mut self, other: &Self) {
        self.targeted += other.targeted;
        self.reached += other.reached;
        self.acknowledged += other.acknowledged;
        self.pending += other.pending;
        self.failed += other.failed;
        self.unreachable += other.unreachable;
        self.within_10m += other.within_10m;
    }

    const fn place(&mut self, standing: Standing) -> &mut u32 {
        match standing {
            Standing::Reached => &mut self.reached,
            Standing::Pending => &mut self.pending,
            Standing::Failed => &mut self.failed,
            Standing::Unreachable => &mut self.unreachable,
        }
    }
}

/// What one recipient adds to the counters; taken before and after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub standing: Standing,
    pub acknowledged: bool,
    pub within_10m: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    pub targeted: u32,
    pub received: u32,
    pub played: u32,
}

/// Deliveries by the furthest they have come.
pub type ByFurthest = [u32; Furthest::COUNT];

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AreaCounters {
    /// By the book's role number.
    pub people: Vec<People>,
    pub devices: Devices,
    /// By the book's number of a kind of channel.
    pub deliveries: Vec<ByFurthest>,
}

impl AreaCounters {
    pub fn people_of(&mut self, role: u8) -> &mut People {
        let place = usize::from(role);
        if self.people.len() <= place {
            self.people.resize(place + 1, People::default());
        }
        &mut self.people[place]
    }

    pub fn deliveries_of(&mut self, kind: u8) -> &mut ByFurthest {
        let place = usize::from(kind);
        if self.deliveries.len() <= place {
            self.deliveries.resize(place + 1, ByFurthest::default());
        }
        &mut self.deliveries[place]
    }

    pub fn target_person(&mut self, role: u8, share: Share) {
        let people = self.people_of(role);
        people.targeted += 1;
        *people.place(share.standing) += 1;
        people.acknowledged += u32::from(share.acknowledged);
        people.within_10m += u32::from(share.within_10m);
    }

    pub fn move_person(&mut self, role: u8, before: Share, after: Share) {
        if before == after {
            return;
        }
        let people = self.people_of(role);
        *people.place(before.standing) -= 1;
        *people.place(after.standing) += 1;
        people.acknowledged = people.acknowledged + u32::from(after.acknowledged) - u32::from(before.acknowledged);
        people.within_10m = people.within_10m + u32::from(after.within_10m) - u32::from(before.within_10m);
    }

    pub fn move_delivery(&mut self, kind: u8, before: Furthest, after: Furthest) {
        if before != after {
            let deliveries = self.deliveries_of(kind);
            deliveries[before as usize] -= 1;
            deliveries[after as usize] += 1;
        }
    }

    /// Without rows of zeros at the end, which come and go with the order of events and mean nothing.
    pub fn trimmed(&self) -> Self {
        let mut trimmed = self.clone();
        while trimmed.people.last().is_some_and(|people| *people == People::default()) {
            trimmed.people.pop();
        }
        while trimmed.deliveries.last().is_some_and(|counts| counts.iter().all(|&count| count == 0)) {
            trimmed.deliveries.pop();
        }
        trimmed
    }

    /// Everyone of this area, whatever their role.
    pub fn all_people(&self) -> People {
        let mut sum = People::default();
        for people in &self.people {
            sum.add(people);
        }
        sum
    }

    /// Whether anyone or anything of this area was told and has it.
    pub fn is_reached(&self) -> bool {
        self.devices.received > 0 || self.people.iter().any(|people| people.reached > 0)
    }

    pub fn is_targeted(&self) -> bool {
        self.devices.targeted > 0 || self.people.iter().any(|people| people.targeted > 0)
    }
}
