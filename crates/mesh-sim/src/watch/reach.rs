//! Which pairs of nodes have a path: from kernel to kernel, over links that work.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::NextHops;
use crate::NodeIndex;
use crate::radio::Radio;

/// Pairs that could have a path but have none, by destination. Only destinations whose routes
/// changed are looked at again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    destinations: Vec<IpNet>,
    by_prefix: BTreeMap<IpNet, NodeIndex>,
    /// For each node that runs, which others it is connected to: those with the same number.
    parts: Vec<Option<usize>>,
    unrouted: Vec<usize>,
    changed: BTreeSet<NodeIndex>,
}

impl Reach {
    /// `destinations` are the nodes' own addresses.
    pub(crate) fn new(destinations: Vec<IpNet>) -> Self {
        let numbered = destinations.iter().enumerate();
        Self {
            by_prefix: numbered.map(|(i, net)| (*net, NodeIndex(i))).collect(),
            parts: vec![None; destinations.len()],
            unrouted: vec![0; destinations.len()],
            changed: BTreeSet::new(),
            destinations,
        }
    }

    /// Some node's route for `prefix` changed.
    pub(crate) fn note_route(&mut self, prefix: IpNet) {
        self.changed.extend(self.by_prefix.get(&prefix));
    }

    /// Links or nodes came or went.
    pub(crate) fn note_topology(&mut self, radio: &Radio, runs: impl Fn(NodeIndex) -> bool) {
        self.parts = parts(radio, self.destinations.len(), runs);
        self.changed
            .extend((0..self.destinations.len()).map(NodeIndex));
    }

    pub(crate) fn is_outdated(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Looks at what changed. Returns how many pairs have no path.
    pub(crate) fn update(&mut self, hops: &NextHops, radio: &Radio) -> usize {
        for destination in std::mem::take(&mut self.changed) {
            let unrouted = self.count_unrouted(destination, hops, radio);
            if let Some(count) = self.unrouted.get_mut(destination.0) {
                *count = unrouted;
            }
        }
        self.unrouted.iter().sum()
    }

    /// Pairs that could have a path, in either direction.
    pub(crate) fn pairs(&self) -> usize {
        let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
        for part in self.parts.iter().flatten() {
            *sizes.entry(*part).or_default() += 1;
        }
        sizes.values().map(|size| size * (size - 1)).sum()
    }

    fn part(&self, node: NodeIndex) -> Option<usize> {
        self.parts.get(node.0).copied().flatten()
    }

    fn count_unrouted(&self, destination: NodeIndex, hops: &NextHops, radio: &Radio) -> usize {
        let part = self.part(destination);
        let prefix = self.destinations.get(destination.0).copied();
        let (Some(part), Some(prefix)) = (part, prefix) else {
            return 0;
        };
        let next_hops = hops.of(prefix);
        let next = |node| {
            let next = *next_hops?.get(&node)?;
            radio.direction(node, next).filter(|d| d.is_usable())?;
            Some(next)
        };
        let mut known = BTreeMap::from([(destination, true)]);
        let nodes = (0..self.destinations.len()).map(NodeIndex);
        nodes
            .filter(|node| self.part(*node) == Some(part))
            .filter(|node| !leads_there(*node, next, &mut known))
            .count()
    }
}

/// Whether next hops lead from `from` to a node of which that is known.
fn leads_there(
    from: NodeIndex,
    next: impl Fn(NodeIndex) -> Option<NodeIndex>,
    known: &mut BTreeMap<NodeIndex, bool>,
) -> bool {
    let mut path = Vec::new();
    let mut here = from;
    let leads = loop {
        if let Some(known) = known.get(&here) {
            break *known;
        }
        path.push(here);
        // Who comes by here again goes in a circle.
        known.insert(here, false);
        match next(here) {
            Some(next) => here = next,
            None => break false,
        }
    };
    known.extend(path.into_iter().map(|node| (node, leads)));
    leads
}

/// Numbers the connected parts of the mesh.
fn parts(radio: &Radio, nodes: usize, runs: impl Fn(NodeIndex) -> bool) -> Vec<Option<usize>> {
    let mut parts: Vec<Option<usize>> = vec![None; nodes];
    for start in (0..nodes).map(NodeIndex).filter(|node| runs(*node)) {
        let mut open = vec![start];
        while let Some(node) = open.pop() {
            match parts.get_mut(node.0) {
                Some(part @ None) => *part = Some(start.0),
                _ => continue,
            }
            let neighbors = radio.neighbors(node).map(|(next, _)| next);
            open.extend(neighbors.filter(|next| runs(*next) && radio.is_usable(node, *next)));
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::topology;

    fn prefix(node: u16) -> IpNet {
        format!("fd00::{node:x}/128").parse().unwrap()
    }

    /// A line 0-1-2 in which all know the way to 2.
    fn line() -> (Reach, NextHops, Radio) {
        let radio = Radio::new(&topology::line(3), 0.0, Duration::ZERO);
        let mut reach = Reach::new((0..3).map(prefix).collect());
        reach.note_topology(&radio, |_| true);
        let mut hops = NextHops::default();
        hops.set(prefix(2), NodeIndex(0), Some(NodeIndex(1)));
        hops.set(prefix(2), NodeIndex(1), Some(NodeIndex(2)));
        (reach, hops, radio)
    }

    #[test]
    fn pairs_without_a_path_are_counted() {
        let (mut reach, mut hops, radio) = line();
        assert_eq!(reach.pairs(), 6);
        assert_eq!(reach.update(&hops, &radio), 4);
        hops.set(prefix(2), NodeIndex(1), Some(NodeIndex(0)));
        reach.note_route(prefix(2));
        assert_eq!(reach.update(&hops, &radio), 6, "a circle leads nowhere");
    }

    #[test]
    fn only_what_is_connected_needs_a_path() {
        let (mut reach, hops, mut radio) = line();
        radio.set_cut(NodeIndex(0), NodeIndex(1), true);
        reach.note_topology(&radio, |_| true);
        assert_eq!(reach.pairs(), 2);
        assert_eq!(reach.update(&hops, &radio), 1, "from 2 to 1");
        reach.note_topology(&radio, |node| node != NodeIndex(2));
        assert_eq!((reach.pairs(), reach.update(&hops, &radio)), (0, 0));
    }
}
