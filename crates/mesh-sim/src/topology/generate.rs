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

/// `n` nodes at random places in a square, linked when they are closer than a range: the
/// smallest, in steps of 5 %, that connects them all. It is the usual model of radios in a
/// plane.
pub fn geometric(n: usize, seed: u64) -> Topology {
    let mut rng = random::stream(seed, random::PLACES);
    let places: Vec<_> = (0..n).map(|_| place(&mut rng)).collect();
    #[expect(clippy::cast_precision_loss, reason = "node counts are small")]
    let mut range = (2.0 / n as f64).sqrt();
    loop {
        let topology = numbered(n, pairs_within(&places, range));
        if topology.is_connected() {
            return topology;
        }
        range *= 1.05;
    }
}

fn place(rng: &mut ChaCha8Rng) -> (f64, f64) {
    (random::unit(rng), random::unit(rng))
}

fn pairs_within(places: &[(f64, f64)], range: f64) -> impl Iterator<Item = (usize, usize)> {
    let indexed = || places.iter().enumerate();
    indexed().flat_map(move |(i, a)| {
        indexed()
            .skip(i + 1)
            .filter(move |(_, b)| (a.0 - b.0).powi(2) + (a.1 - b.1).powi(2) <= range * range)
            .map(move |(j, _)| (i, j))
    })
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
}
