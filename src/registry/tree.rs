//! Owns the tree of areas: which divisions exist, what they are called, where they lie.
//! Refuses to know who lives in them.
//! Invariant: nodes are sorted by padded code, so an area and all below it are one run of neighbours; there is one top.

use std::ops::Range;

use super::place::Place;
use crate::area::{AreaCode, AreaLevel};

/// A county has a few hundred areas, the largest city some ten thousand; more is a mistaken file.
pub const AREAS_MAX: usize = 60_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AreaNode {
    pub code: AreaCode,
    pub name: Box<str>,
    /// The nearest area above that the tree has.
    pub parent: Option<AreaCode>,
    pub place: Option<Place>,
}

#[derive(Clone, Debug, Default)]
pub struct AreaTree {
    nodes: Vec<AreaNode>,
    /// Per node: index after the last node at or below it.
    ends: Vec<u32>,
}

impl AreaTree {
    /// From nodes in any order, no code twice; parents are found by code.
    pub(crate) fn new(mut nodes: Vec<AreaNode>) -> Self {
        debug_assert!(nodes.len() <= AREAS_MAX);
        nodes.sort_unstable_by_key(|node| node.code);
        let mut ends = vec![0; nodes.len()];
        let mut open: Vec<usize> = Vec::new();
        for at in 0..nodes.len() {
            let code = nodes[at].code;
            while let Some(&above) = open.last()
                && !nodes[above].code.contains(code)
            {
                ends[above] = index(at);
                open.pop();
            }
            nodes[at].parent = open.last().map(|&above| nodes[above].code);
            open.push(at);
        }
        for above in open {
            ends[above] = index(nodes.len());
        }
        Self { nodes, ends }
    }

    /// The area that the gateway serves: the first from the top that branches, or a county if it comes first. `None` in an empty registry.
    pub fn root(&self) -> Option<&AreaNode> {
        self.nodes.iter().enumerate().find_map(|(at, node)| {
            let branches = self.child_indices(at).nth(1).is_some();
            (branches || node.code.level() >= AreaLevel::County || self.ends[at] == index(at + 1)).then_some(node)
        })
    }

    pub fn get(&self, code: AreaCode) -> Option<&AreaNode> {
        self.index_of(code).map(|at| &self.nodes[at as usize])
    }

    pub fn name(&self, code: AreaCode) -> Option<&str> {
        self.get(code).map(|node| &*node.name)
    }

    /// The areas directly below.
    pub fn children(&self, code: AreaCode) -> impl Iterator<Item = &AreaNode> {
        self.index_of(code).into_iter().flat_map(|at| self.child_indices(at as usize)).map(|at| &self.nodes[at])
    }

    /// The area and everything below it, by code.
    pub fn descends(&self, code: AreaCode) -> impl Iterator<Item = &AreaNode> {
        self.nodes[as_usize(&self.run(code))].iter()
    }

    /// The areas above, the nearest first.
    pub fn ancestors(&self, code: AreaCode) -> impl Iterator<Item = &AreaNode> {
        let mut above = code.parent();
        std::iter::from_fn(move || {
            let here = above?;
            above = here.parent();
            Some(here)
        })
        .filter_map(|code| self.get(code))
    }

    /// Every area, by code.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &AreaNode> {
        self.nodes.iter()
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(crate) fn node(&self, at: u32) -> &AreaNode {
        &self.nodes[at as usize]
    }

    pub(crate) fn index_of(&self, code: AreaCode) -> Option<u32> {
        self.nodes.binary_search_by_key(&code, |node| node.code).ok().map(index)
    }

    /// Indices of the nodes at or below a code, whether or not the code itself is in the tree.
    pub(crate) fn run(&self, code: AreaCode) -> Range<u32> {
        let codes = code.range();
        let start = self.nodes.partition_point(|node| node.code.padded() < *codes.start());
        let end = self.nodes.partition_point(|node| node.code.padded() <= *codes.end());
        index(start)..index(end)
    }

    fn child_indices(&self, at: usize) -> impl Iterator<Item = usize> {
        let end = self.ends[at] as usize;
        let mut next = at + 1;
        std::iter::from_fn(move || {
            let here = next;
            if here >= end {
                return None;
            }
            next = self.ends[here] as usize;
            Some(here)
        })
    }
}

pub(crate) fn as_usize(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

fn index(at: usize) -> u32 {
    u32::try_from(at).expect("a tree has at most AREAS_MAX nodes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> AreaCode {
        text.parse().expect("a code")
    }

    fn tree(codes: &[&str]) -> AreaTree {
        AreaTree::new(codes.iter().map(|text| AreaNode { code: code(text), name: (*text).into(), parent: None, place: None }).collect())
    }

    #[test]
    fn the_county_is_the_root_although_its_province_and_city_are_listed() {
        let tree = tree(&["510726101", "51", "510726", "5107", "510726100201", "510726100"]);
        assert_eq!(tree.root().map(|node| node.code), Some(code("510726")));
        assert_eq!(tree.get(code("510726100201")).and_then(|node| node.parent), Some(code("510726100")));
        let children: Vec<_> = tree.children(code("510726")).map(|node| node.code.to_string()).collect();
        assert_eq!(children, ["510726100", "510726101"]);
        let above: Vec<_> = tree.ancestors(code("510726100201")).map(|node| node.code.to_string()).collect();
        assert_eq!(above, ["510726100", "510726", "5107", "51"]);
    }

    #[test]
    fn a_city_of_two_counties_is_the_root_itself() {
        assert_eq!(tree(&["51", "5107", "510726", "510727"]).root().map(|node| node.code), Some(code("5107")));
        assert_eq!(tree(&[]).root(), None);
    }

    #[test]
    fn everything_below_an_area_is_one_run() {
        let tree = tree(&["510726", "510726100", "510726100201", "510726100202", "510726101", "510726101201"]);
        assert_eq!(tree.descends(code("510726100")).count(), 3);
        assert_eq!(tree.descends(code("51")).count(), 6);
        assert_eq!(tree.descends(code("510725")).count(), 0);
    }
}
