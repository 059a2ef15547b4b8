//! Who is linked with whom, and what stays connected without whom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// An undirected graph of routers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    links: BTreeSet<(String, String)>,
}

impl Graph {
    pub(crate) fn new(links: impl Iterator<Item = (String, String)>) -> Self {
        Self {
            links: links.map(ordered).collect(),
        }
    }

    pub(crate) fn links(&self) -> &BTreeSet<(String, String)> {
        &self.links
    }

    pub(crate) fn has(&self, a: &str, b: &str) -> bool {
        self.links.contains(&ordered((a.to_owned(), b.to_owned())))
    }

    pub(crate) fn routers(&self) -> BTreeSet<&str> {
        let ends = self
            .links
            .iter()
            .flat_map(|(a, b)| [a.as_str(), b.as_str()]);
        ends.collect()
    }

    pub(crate) fn without_link(&self, a: &str, b: &str) -> Self {
        let gone = ordered((a.to_owned(), b.to_owned()));
        Self {
            links: self.links.iter().filter(|l| **l != gone).cloned().collect(),
        }
    }

    pub(crate) fn without_router(&self, router: &str) -> Self {
        let stays = |(a, b): &&(String, String)| a != router && b != router;
        Self {
            links: self.links.iter().filter(stays).cloned().collect(),
        }
    }

    /// Hops from `from` to every router it is connected with.
    pub(crate) fn distances(&self, from: &str) -> BTreeMap<&str, usize> {
        let mut distances = BTreeMap::new();
        let mut queue: VecDeque<(&str, usize)> = VecDeque::new();
        queue.extend(
            self.routers()
                .into_iter()
                .filter(|r| *r == from)
                .map(|r| (r, 0)),
        );
        while let Some((here, distance)) = queue.pop_front() {
            if distances.contains_key(here) {
                continue;
            }
            distances.insert(here, distance);
            for (a, b) in &self.links {
                if a == here {
                    queue.push_back((b, distance + 1));
                } else if b == here {
                    queue.push_back((a, distance + 1));
                }
            }
        }
        distances
    }

    pub(crate) fn connects(&self, a: &str, b: &str) -> bool {
        self.distances(a).contains_key(b)
    }

    /// Whether `count` routers are all connected with each other.
    pub(crate) fn spans(&self, count: usize) -> bool {
        let routers = self.routers();
        routers.len() == count
            && routers
                .first()
                .is_some_and(|first| self.distances(first).len() == count)
    }
}

fn ordered((a, b): (String, String)) -> (String, String) {
    if a < b { (a, b) } else { (b, a) }
}

/// Numbers that look random and are the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    state: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of them.
    pub(crate) fn pick<'a, T>(&mut self, among: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(among.len()).unwrap_or(u64::MAX).max(1);
        among.get(usize::try_from(self.next() % count).unwrap_or_default())
    }

    /// All of them in another order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let count = u64::try_from(last + 1).unwrap_or(u64::MAX);
            items.swap(
                last,
                usize::try_from(self.next() % count).unwrap_or_default(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_tests::topology::Topology;

    #[test]
    fn distances_and_bridges() {
        let line = Graph::new(Topology::line(4).links());
        assert_eq!(line.distances("r1").get("r4"), Some(&3));
        assert!(!line.without_link("r2", "r3").connects("r1", "r4"));
        assert!(line.spans(4) && !line.without_router("r2").spans(3));
        let grid = Graph::new(Topology::grid(2, 2).links());
        assert!(grid.without_router("r2").spans(3) && grid.has("r3", "r1"));
    }

    #[test]
    fn the_same_seed_gives_the_same_order() {
        let order = |seed| {
            let mut items: Vec<u32> = (0..20).collect();
            Dice::new(seed).shuffle(&mut items);
            items
        };
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8));
    }
}
