//! Where all kernels together send packets, and whether that leads in a circle.

use std::collections::BTreeMap;
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

/// The next hop of every node for every prefix.
#[derive(Clone, Debug, Default)]
pub(crate) struct NextHops {
    by_prefix: BTreeMap<IpNet, BTreeMap<NodeIndex, NodeIndex>>,
}

impl NextHops {
    pub(crate) fn set(&mut self, prefix: IpNet, node: NodeIndex, next: Option<NodeIndex>) {
        let hops = self.by_prefix.entry(prefix).or_default();
        match next {
            Some(next) => {
                hops.insert(node, next);
            }
            None => {
                hops.remove(&node);
            }
        }
    }

    pub(crate) fn get(&self, prefix: IpNet, node: NodeIndex) -> Option<NodeIndex> {
        self.by_prefix.get(&prefix)?.get(&node).copied()
    }

    /// All next hops for `prefix`.
    pub(crate) fn of(&self, prefix: IpNet) -> Option<&BTreeMap<NodeIndex, NodeIndex>> {
        self.by_prefix.get(&prefix)
    }

    /// The circle that leads through `node`, if there is one. After a change at one node, every
    /// new circle leads through it, so following its route is enough.
    pub(crate) fn cycle_through(
        &self,
        prefix: IpNet,
        node: NodeIndex,
        ends_at: impl Fn(NodeIndex) -> bool,
    ) -> Option<Vec<NodeIndex>> {
        let hops = self.by_prefix.get(&prefix)?;
        let mut path = vec![node];
        let mut here = node;
        // A circle elsewhere was found when it came to be; here it only bounds the walk.
        while path.len() <= hops.len() && !ends_at(here) {
            here = *hops.get(&here)?;
            if here == node {
                return Some(path);
            }
            path.push(here);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_found_from_the_node_that_closes_it() {
        let prefix = "fd00::1/128".parse().unwrap();
        let mut hops = NextHops::default();
        let node = NodeIndex;
        for (from, to) in [(1, 2), (2, 3), (3, 4), (9, 1)] {
            hops.set(prefix, node(from), Some(node(to)));
        }
        assert_eq!(hops.cycle_through(prefix, node(1), |_| false), None);
        hops.set(prefix, node(4), Some(node(2)));
        let circle = hops.cycle_through(prefix, node(4), |_| false);
        assert_eq!(circle, Some(vec![node(4), node(2), node(3)]));
        let leads_into_it = hops.cycle_through(prefix, node(9), |_| false);
        assert_eq!(leads_into_it, None);
        let delivered = hops.cycle_through(prefix, node(4), |n| n == node(3));
        assert_eq!(delivered, None);
    }
}
