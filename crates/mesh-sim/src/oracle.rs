//! Shortest paths, computed with knowledge of the whole mesh.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::NodeIndex;
use crate::radio::Radio;

/// What a hop costs besides airtime, µs ([`mesh_proto::Metric::HOP`]).
const HOP_US: f64 = 100.0;
/// Airtime of one transmission, µs: what the core assumes of a link of unknown speed.
const AIRTIME_US: f64 = 500.0;

/// What the link from `a` to `b` costs, µs: 600 without loss, and the expected number of
/// transmissions times the airtime with loss. `None` if it does not work in both directions.
pub fn link_cost(radio: &Radio, a: NodeIndex, b: NodeIndex) -> Option<f64> {
    if !radio.is_usable(a, b) {
        return None;
    }
    let (there, back) = (radio.direction(a, b)?, radio.direction(b, a)?);
    let etx = 1.0 / ((1.0 - there.loss) * (1.0 - back.loss));
    Some(HOP_US + AIRTIME_US * etx)
}

/// The cost of the shortest path from every node to `destination`, µs; `None` where there is
/// none (E. W. Dijkstra, A note on two problems in connexion with graphs, 1959). Costs are the
/// same in both directions. Only nodes for which `works` holds take part.
pub fn distances(
    radio: &Radio,
    nodes: usize,
    destination: NodeIndex,
    works: impl Fn(NodeIndex) -> bool,
) -> Vec<Option<f64>> {
    let mut distances: Vec<Option<f64>> = vec![None; nodes];
    let mut open = BinaryHeap::new();
    if works(destination) {
        open.push(Reverse((Cost(0.0), destination)));
    }
    while let Some(Reverse((Cost(cost), node))) = open.pop() {
        match distances.get_mut(node.0) {
            Some(distance @ None) => *distance = Some(cost),
            _ => continue,
        }
        let neighbors = radio.neighbors(node).iter().map(|d| d.to);
        for next in neighbors.filter(|next| works(*next)) {
            if let Some(link) = link_cost(radio, node, next) {
                open.push(Reverse((Cost(cost + link), next)));
            }
        }
    }
    distances
}

/// A finite cost, which therefore has an order.
#[derive(Clone, Copy, PartialEq)]
struct Cost(f64);

impl Eq for Cost {}

impl PartialOrd for Cost {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cost {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{self, Link, Topology};

    fn radio(topology: &Topology) -> Radio {
        Radio::new(topology, 0.0)
    }

    #[test]
    fn distances_are_hops_times_600_without_loss() {
        let radio = radio(&topology::ring(6));
        let found = distances(&radio, 6, NodeIndex(0), |_| true);
        let hops = [0.0, 1.0, 2.0, 3.0, 2.0, 1.0];
        assert_eq!(found, hops.map(|hops| Some(hops * 600.0)));
        let without_5 = distances(&radio, 6, NodeIndex(0), |node| node != NodeIndex(5));
        assert_eq!(without_5[4], Some(2400.0));
        assert_eq!(without_5[5], None);
    }

    #[test]
    fn a_detour_without_loss_beats_a_bad_link() {
        let mut triangle = topology::ring(3);
        triangle.links[0] = Link {
            loss_ab: Some(0.5),
            loss_ba: Some(0.5),
            ..triangle.links[0]
        };
        let radio = radio(&triangle);
        assert_eq!(
            link_cost(&radio, NodeIndex(0), NodeIndex(1)),
            Some(100.0 + 500.0 * 4.0)
        );
        let found = distances(&radio, 3, NodeIndex(0), |_| true);
        assert_eq!(found[1], Some(1200.0));
    }

    #[test]
    fn what_works_in_one_direction_only_is_no_link() {
        let mut line = topology::line(2);
        line.links[0].loss_ba = Some(1.0);
        assert_eq!(link_cost(&radio(&line), NodeIndex(0), NodeIndex(1)), None);
    }
}
