//! Owns what matching wants to know of a snapshot before it looks at single subscribers: where each area's people stand, who has
//! a duty, who stands nowhere.
//! Refuses to know shapes and alerts.
//! Invariant: made from a snapshot's own rows alone, with it, so it can never be of another state.

use std::ops::Range;

use roaring::RoaringBitmap;

use super::{place::Place, role, subscriber::SubscriberFacts, table::Table, tree::AreaTree};

/// The smallest box around some places, edges included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceBox {
    pub west: i32,
    pub south: i32,
    pub east: i32,
    pub north: i32,
}

impl PlaceBox {
    pub fn of(place: Place) -> Self {
        Self { west: place.lon_e7, south: place.lat_e7, east: place.lon_e7, north: place.lat_e7 }
    }

    #[must_use]
    pub fn with(self, place: Place) -> Self {
        Self {
            west: self.west.min(place.lon_e7),
            south: self.south.min(place.lat_e7),
            east: self.east.max(place.lon_e7),
            north: self.north.max(place.lat_e7),
        }
    }

    /// The smallest box around both.
    #[must_use]
    pub fn around(self, other: &Self) -> Self {
        let corner = |lon_e7, lat_e7| Place { lon_e7, lat_e7 };
        self.with(corner(other.west, other.south)).with(corner(other.east, other.north))
    }

    /// What both have in common.
    pub fn overlap(&self, other: &Self) -> Option<Self> {
        self.meets(other).then(|| Self {
            west: self.west.max(other.west),
            south: self.south.max(other.south),
            east: self.east.min(other.east),
            north: self.north.min(other.north),
        })
    }

    pub fn meets(&self, other: &Self) -> bool {
        self.west <= other.east && other.west <= self.east && self.south <= other.north && other.south <= self.north
    }

    pub fn contains(&self, place: Place) -> bool {
        (self.west..=self.east).contains(&place.lon_e7) && (self.south..=self.north).contains(&place.lat_e7)
    }
}

/// What is known of the subscribers registered at exactly one area.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stand {
    /// Around the places of all public subscribers; `None` when there are none that stand anywhere.
    pub bounds: Option<PlaceBox>,
    /// Whether some public subscriber has no coordinates and neither has the area.
    pub has_unlocated: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Ground {
    stands: Vec<Stand>,
    responsible: Vec<u32>,
    unlocated: RoaringBitmap,
}

impl Ground {
    pub(crate) fn new(areas: &AreaTree, subscribers: &Table<SubscriberFacts>, roles: &[Box<str>]) -> Self {
        let public: Vec<bool> = roles.iter().map(|word| role::is_public(word)).collect();
        let mut ground = Self { stands: vec![Stand::default(); areas.len()], ..Self::default() };
        for (position, (row, place)) in (0..).zip(subscribers.rows().iter().zip(subscribers.places())) {
            if !public[usize::from(row.facts.role)] {
                ground.responsible.push(position);
                continue;
            }
            let stand = &mut ground.stands[row.node as usize];
            match place.known().or(areas.node(row.node).place) {
                Some(place) => stand.bounds = Some(stand.bounds.map_or(PlaceBox::of(place), |bounds| bounds.with(place))),
                None => {
                    stand.has_unlocated = true;
                    ground.unlocated.insert(position);
                }
            }
        }
        ground
    }

    /// By index of the tree node.
    pub fn stand(&self, node: u32) -> &Stand {
        &self.stands[node as usize]
    }

    /// Positions of the responsible persons within a range of positions.
    pub fn responsible_in(&self, positions: &Range<u32>) -> &[u32] {
        let start = self.responsible.partition_point(|&position| position < positions.start);
        let end = self.responsible.partition_point(|&position| position < positions.end);
        &self.responsible[start..end]
    }

    /// Positions of public subscribers that stand nowhere, not even by their village.
    pub fn unlocated(&self) -> &RoaringBitmap {
        &self.unlocated
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Stand>() * self.stands.capacity() + 4 * self.responsible.capacity() + self.unlocated.serialized_size()
    }
}
