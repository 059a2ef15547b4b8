//! How good the paths in use are.

use serde::Serialize;

use crate::{NodeIndex, Simulation, oracle};

/// Destinations to which paths are compared, of more an even choice: each costs the oracle a
/// search of the whole mesh.
const MOST_DESTINATIONS: usize = 500;

/// The cost of paths in use, over the cost of the shortest possible.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PathCost {
    /// Destinations to which paths were compared, from all nodes.
    pub destinations: usize,
    /// The sum of all over the sum of the shortest.
    pub mean_ratio: f64,
    /// What 99 % of the pairs did not exceed.
    pub p99_ratio: f64,
    /// That of the worst pair.
    pub worst_ratio: f64,
}

impl PathCost {
    /// Compares the paths in use with the oracle's.
    pub(super) fn measure(simulation: &Simulation) -> Option<Self> {
        let nodes = simulation.topology().nodes.len();
        let each = nodes.div_ceil(MOST_DESTINATIONS).max(1);
        let destinations: Vec<_> = simulation.nodes().step_by(each).collect();
        let (mut routed_sum, mut shortest_sum) = (0.0, 0.0);
        let mut ratios = Vec::new();
        for destination in &destinations {
            let runs = |node| simulation.router(node).is_some();
            let shortest = oracle::distances(simulation.radio(), nodes, *destination, runs);
            let routed = routed_costs(simulation, *destination);
            for (routed, shortest) in routed.into_iter().zip(shortest) {
                if let (Some(routed), Some(shortest)) = (routed, shortest.filter(|s| *s > 0.0)) {
                    routed_sum += routed;
                    shortest_sum += shortest;
                    ratios.push(routed / shortest);
                }
            }
        }
        ratios.sort_by(f64::total_cmp);
        let p99 = (ratios.len() * 99).div_ceil(100).saturating_sub(1);
        Some(Self {
            destinations: destinations.len(),
            mean_ratio: routed_sum / shortest_sum,
            p99_ratio: *ratios.get(p99)?,
            worst_ratio: *ratios.last()?,
        })
    }
}

/// What the path in use costs by the oracle's reckoning, µs; `None` if it leads nowhere.
pub fn routed_cost(
    simulation: &Simulation,
    from: NodeIndex,
    destination: NodeIndex,
) -> Option<f64> {
    let costs = routed_costs(simulation, destination);
    costs.get(from.0).copied().flatten()
}

/// The same from every node.
fn routed_costs(simulation: &Simulation, destination: NodeIndex) -> Vec<Option<f64>> {
    simulation.along_paths(destination, 0.0, |behind, node, next| {
        Some(behind + oracle::link_cost(simulation.radio(), node, next)?)
    })
}
