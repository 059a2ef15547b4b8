//! Generated topologies.

use rand_chacha::ChaCha8Rng;

use super::{Link, Topology};
use crate::NodeIndex;
use crate::random;

/// `n` nodes in a row.
pub fn line(n: usize) -> Topology {
    numbered(n, (1..n).map(|i| (i - 1, i)))
}

/// `n` nodes in a circle.
pub fn ring(n: usize) -> Topology {
    numbered(n, (0..n).map(|i| (i, (i + 1) % n)))
}

/// `width` × `height` nodes, each linked to those beside, above and below it.
pub fn grid(width: usize, height: usize) -> Topology {
    let cells = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let links = cells.flat_map(|(x, y)| {
        let here = y * width + x;
        let right = (x + 1 < width).then_some((here, here + 1));
        let below = (y + 1 < height).then_some((here, here + width));
        right.into_iter().chain(below)
    });
    numbered(width * height, links)
}

/// Neighbors that a node of a geometric topology has on average.
const MEAN_DEGREE: usize = 7;

/// `n` nodes at random places in a square, numbered from west to east. The shortest links are
/// there, so many that a node has seven neighbors on average: radios in a plane, which all reach
/// equally far. What these leave apart is joined by the shortest links that do so, as people join
/// their villages by directional antennas.
pub fn geometric(n: usize, seed: u64) -> Topology {
    let mut rng = random::stream(seed, random::PLACES);
    let mut places: Vec<_> = (0..n).map(|_| place(&mut rng)).collect();
    places.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut pairs: Vec<_> = distances(&places).collect();
    let links = (n * MEAN_DEGREE / 2).min(pairs.len());
    if let Some(last) = links.checked_sub(1) {
        pairs.select_nth_unstable_by(last, |a, b| a.0.total_cmp(&b.0));
    }
    pairs.truncate(links);
    let mut links: Vec<_> = pairs.into_iter().map(|(_, a, b)| (a, b)).collect();
    join_parts(&places, &mut links);
    links.sort_unstable();
    numbered(n, links.into_iter())
}

type Place = (f64, f64);

fn place(rng: &mut ChaCha8Rng) -> Place {
    (random::unit(rng), random::unit(rng))
}

/// The distances between places so close that they may be linked, squared.
fn distances(places: &[Place]) -> impl Iterator<Item = (f64, usize, usize)> {
    // Nodes within a range r of a node are n π r² on average; four times as many as needed.
    #[expect(clippy::cast_precision_loss, reason = "node counts are small")]
    let range_squared = (4 * MEAN_DEGREE) as f64 / (std::f64::consts::PI * places.len() as f64);
    let indexed = || places.iter().enumerate();
    indexed().flat_map(move |(i, a)| {
        let near = indexed().skip(i + 1);
        // They stand in order of their first coordinate.
        let near = near.take_while(move |(_, b)| (b.0 - a.0).powi(2) <= range_squared);
        near.map(move |(j, b)| (squared_distance(*a, *b), i, j))
            .filter(move |(distance, ..)| *distance <= range_squared)
    })
}

fn squared_distance(a: Place, b: Place) -> f64 {
    (a.0 - b.0).powi(2) + (a.1 - b.1).powi(2)
}

/// Adds the shortest link that leads out of what is connected to the first node, until that is
/// everything.
fn join_parts(places: &[Place], links: &mut Vec<(usize, usize)>) {
    loop {
        let topology = numbered(places.len(), links.iter().copied());
        let reached = topology.reached_from(NodeIndex(0));
        let place = |node: &NodeIndex| places.get(node.0).copied().unwrap_or_default();
        let outside = (0..places.len()).map(NodeIndex);
        let outside = outside.filter(|node| !reached.contains(node));
        let nearest = outside
            .flat_map(|b| reached.iter().map(move |a| (*a, b)))
            .map(|(a, b)| (squared_distance(place(&a), place(&b)), a, b))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        match nearest {
            Some((_, a, b)) => links.push((a.0.min(b.0), a.0.max(b.0))),
            None => return,
        }
    }
}

fn numbered(n: usize, links: impl Iterator<Item = (usize, usize)>) -> Topology {
    Topology {
        nodes: (0..n).map(|i| i.to_string()).collect(),
        links: links
            .map(|(a, b)| Link::new(NodeIndex(a), NodeIndex(b)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_topologies_have_the_stated_shape() {
        assert_eq!(line(5).links.len(), 4);
        assert_eq!(ring(5).links.len(), 5);
        let grid = grid(7, 3);
        assert_eq!((grid.nodes.len(), grid.links.len()), (21, 6 * 3 + 7 * 2));
        assert!(line(5).is_connected() && ring(5).is_connected() && grid.is_connected());
    }

    #[test]
    fn geometric_topologies_are_connected_and_follow_from_the_seed() {
        for seed in 0..20 {
            assert!(geometric(40, seed).is_connected(), "seed {seed}");
        }
        assert_eq!(geometric(40, 3), geometric(40, 3));
        assert_ne!(geometric(40, 3), geometric(40, 4));
    }

    #[test]
    fn nodes_of_a_geometric_topology_have_seven_neighbors_on_average() {
        for (n, seed) in [(50, 1), (200, 2), (1000, 3)] {
            let links = geometric(n, seed).links;
            let degree = 2.0 * links.len() as f64 / n as f64;
            assert!((6.9..7.6).contains(&degree), "{n} nodes: {degree}");
            let pairs: std::collections::BTreeSet<_> = links.iter().map(|l| (l.a, l.b)).collect();
            assert_eq!(pairs.len(), links.len(), "each link once");
        }
        assert!(geometric(2, 1).is_connected() && geometric(3, 1).is_connected());
    }
}
