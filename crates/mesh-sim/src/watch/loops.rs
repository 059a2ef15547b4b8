//! Where all kernels together send packets, and whether that leads in a circle.

use std::collections::HashMap;
use std::time::Duration;

use ipnet::IpNet;

use crate::NodeIndex;

/// Packets for `destination` went in a circle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Since when, after the start of the run.
    pub at: Duration,
    /// The prefix of the routes.
    pub destination: IpNet,
    /// The nodes, each the next hop of the one before; the first is that of the last.
    pub nodes: Vec<NodeIndex>,
}

/// The next hop of every node for every prefix: the tables of all kernels. A mesh of 2,000 nodes
/// has eight million routes, so a route is four bytes.
#[derive(Clone, Debug)]
pub(crate) struct NextHops {
    nodes: usize,
    /// Asked for single prefixes only: its order reaches nothing.
    rows: HashMap<IpNet, usize>,
    prefixes: Vec<IpNet>,
    hops: Vec<Vec<u32>>,
}

/// Stands for "no route".
const NONE: u32 = u32::MAX;

impl NextHops {
    /// `hosts` are the nodes' own addresses: the row of each is the index of its node.
    pub(crate) fn new(hosts: Vec<IpNet>) -> Self {
        let nodes = hosts.len();
        Self {
            nodes,
            rows: hosts.iter().copied().zip(0..).collect(),
            hops: vec![vec![NONE; nodes]; nodes],
            prefixes: hosts,
        }
    }

    /// The row of `prefix`, which from now on there is.
    pub(crate) fn row(&mut self, prefix: IpNet) -> usize {
        *self.rows.entry(prefix).or_insert_with(|| {
            self.prefixes.push(prefix);
            self.hops.push(vec![NONE; self.nodes]);
            self.hops.len() - 1
        })
    }

    /// The node whose own address a row is for.
    pub(crate) const fn host(&self, row: usize) -> Option<NodeIndex> {
        if row < self.nodes {
            Some(NodeIndex(row))
        } else {
            None
        }
    }

    /// The prefix of a row.
    pub(crate) fn prefix(&self, row: usize) -> Option<IpNet> {
        self.prefixes.get(row).copied()
    }

    /// Sets or removes a route. Returns the next hop before.
    pub(crate) fn set(
        &mut self,
        row: usize,
        node: NodeIndex,
        next: Option<NodeIndex>,
    ) -> Option<NodeIndex> {
        let next = next.map_or(NONE, |next| u32::try_from(next.0).unwrap_or(NONE));
        let cell = self.hops.get_mut(row)?.get_mut(node.0)?;
        as_node(std::mem::replace(cell, next))
    }

    /// The node to which `node` sends packets for the prefix of `row`.
    pub(crate) fn get(&self, row: usize, node: NodeIndex) -> Option<NodeIndex> {
        as_node(*self.hops.get(row)?.get(node.0)?)
    }

    pub(crate) fn for_prefix(&self, prefix: IpNet, node: NodeIndex) -> Option<NodeIndex> {
        self.get(*self.rows.get(&prefix)?, node)
    }

    /// All routes of a node, by row.
    pub(crate) fn of(&self, node: NodeIndex) -> impl Iterator<Item = (usize, NodeIndex)> {
        let rows = 0..self.hops.len();
        rows.filter_map(move |row| Some((row, self.get(row, node)?)))
    }

    /// The circle that leads through `node`, if there is one. After a change at one node, every
    /// new circle leads through it, so following its route is enough.
    pub(crate) fn cycle_through(
        &self,
        row: usize,
        node: NodeIndex,
        ends_at: impl Fn(NodeIndex) -> bool,
    ) -> Option<Vec<NodeIndex>> {
        let mut here = node;
        // A circle elsewhere was found when it came to be; here it only bounds the walk.
        for _ in 0..self.nodes {
            if ends_at(here) {
                return None;
            }
            here = self.get(row, here)?;
            if here == node {
                let next = |here: &NodeIndex| self.get(row, *here).filter(|next| *next != node);
                return Some(std::iter::successors(Some(node), next).collect());
            }
        }
        None
    }
}

fn as_node(hop: u32) -> Option<NodeIndex> {
    (hop != NONE).then_some(NodeIndex(hop as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn node(index: usize) -> NodeIndex {
        NodeIndex(index)
    }

    fn ten_nodes() -> NextHops {
        let host = |i| format!("fd00::{i}/128").parse().unwrap();
        NextHops::new((0..10).map(host).collect())
    }

    #[test]
    fn a_circle_is_found_from_the_node_that_closes_it() {
        let mut hops = ten_nodes();
        let row = hops.row("10.0.0.0/24".parse().unwrap());
        for (from, to) in [(1, 2), (2, 3), (3, 4), (9, 1)] {
            hops.set(row, node(from), Some(node(to)));
        }
        assert_eq!(hops.cycle_through(row, node(1), |_| false), None);
        hops.set(row, node(4), Some(node(2)));
        let circle = hops.cycle_through(row, node(4), |_| false);
        assert_eq!(circle, Some(vec![node(4), node(2), node(3)]));
        let leads_into_it = hops.cycle_through(row, node(9), |_| false);
        assert_eq!(leads_into_it, None);
        let delivered = hops.cycle_through(row, node(4), |n| n == node(3));
        assert_eq!(delivered, None);
    }

    #[test]
    fn routes_are_found_by_prefix_and_by_node() {
        let mut hops = ten_nodes();
        let prefix = "10.0.0.0/24".parse().unwrap();
        let row = hops.row(prefix);
        assert_eq!((hops.host(row), hops.host(3)), (None, Some(node(3))));
        assert_eq!(hops.set(row, node(1), Some(node(2))), None);
        assert_eq!(hops.for_prefix(prefix, node(1)), Some(node(2)));
        hops.set(4, node(1), Some(node(5)));
        let all: Vec<_> = hops.of(node(1)).collect();
        assert_eq!(all, [(4, node(5)), (row, node(2))]);
        assert_eq!(hops.set(row, node(1), None), Some(node(2)));
        assert_eq!(hops.for_prefix(prefix, node(1)), None);
    }
}
