//! Links: who hears whom, what is lost, and how long it takes.

use std::collections::BTreeMap;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;

use crate::topology::Topology;
use crate::{NodeIndex, random};

/// Radios send a unicast frame again until it is acknowledged, usually up to three more times
/// (IEEE 802.11 long retry limit 4); broadcasts are sent once.
const UNICAST_TRIES: i32 = 4;

/// One direction of a link.
#[derive(Clone, Copy, Debug)]
pub struct Direction {
    /// The share of broadcasts that is lost, 0 to 1.
    pub loss: f64,
    /// How long a packet takes.
    pub delay: Duration,
    cut: bool,
}

impl Direction {
    /// Whether anything arrives at all.
    pub fn is_usable(&self) -> bool {
        !self.cut && self.loss < 1.0
    }
}

/// How a packet is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// To all who hear it, without acknowledgement.
    Broadcast,
    /// To one, with retries.
    Unicast,
}

/// All links of a mesh.
#[derive(Clone, Debug)]
pub struct Radio {
    from: Vec<BTreeMap<NodeIndex, Direction>>,
}

impl Radio {
    /// The links of `topology`; those that say nothing of their loss lose `loss`.
    pub fn new(topology: &Topology, loss: f64, delay: Duration) -> Self {
        let mut from = vec![BTreeMap::new(); topology.nodes.len()];
        let mut connect = |a: NodeIndex, b: NodeIndex, own_loss: Option<f64>| {
            if let Some(from_a) = from.get_mut(a.0) {
                let direction = Direction {
                    loss: own_loss.unwrap_or(loss),
                    delay,
                    cut: false,
                };
                from_a.insert(b, direction);
            }
        };
        for link in &topology.links {
            connect(link.a, link.b, link.loss_ab);
            connect(link.b, link.a, link.loss_ba);
        }
        Self { from }
    }

    /// Cuts the link between `a` and `b`, or heals it.
    pub fn set_cut(&mut self, a: NodeIndex, b: NodeIndex, cut: bool) {
        for (from, to) in [(a, b), (b, a)] {
            let direction = self.from.get_mut(from.0).and_then(|all| all.get_mut(&to));
            if let Some(direction) = direction {
                direction.cut = cut;
            }
        }
    }

    /// The nodes in reach of `node`.
    pub fn neighbors(&self, node: NodeIndex) -> impl Iterator<Item = (NodeIndex, Direction)> {
        let all = self.from.get(node.0).into_iter().flatten();
        all.map(|(to, direction)| (*to, *direction))
    }

    /// The direction from `a` to `b`.
    pub fn direction(&self, a: NodeIndex, b: NodeIndex) -> Option<Direction> {
        self.from.get(a.0)?.get(&b).copied()
    }

    /// Whether packets pass between `a` and `b` in both directions.
    pub fn is_usable(&self, a: NodeIndex, b: NodeIndex) -> bool {
        let usable = |a, b| self.direction(a, b).is_some_and(|d| d.is_usable());
        usable(a, b) && usable(b, a)
    }
}

impl Direction {
    /// How long a packet takes, `None` if it is lost.
    pub(crate) fn deliver(&self, cast: Cast, rng: &mut ChaCha8Rng) -> Option<Duration> {
        let loss = match cast {
            Cast::Broadcast => self.loss,
            Cast::Unicast => self.loss.powi(UNICAST_TRIES),
        };
        // Always drawn, so that cutting one link does not change the luck of the others.
        let luck = random::unit(rng);
        (self.is_usable() && luck >= loss).then_some(self.delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology;

    fn lost_of_10000(direction: Direction, cast: Cast) -> usize {
        let mut rng = random::stream(1, random::LOSS);
        let lost = |_: &i32| direction.deliver(cast, &mut rng).is_none();
        (0..10_000).filter(lost).count()
    }

    #[test]
    fn unicasts_are_retried() {
        let radio = Radio::new(&topology::line(2), 0.5, Duration::from_millis(1));
        let direction = radio.direction(NodeIndex(0), NodeIndex(1)).unwrap();
        let broadcasts = lost_of_10000(direction, Cast::Broadcast);
        assert!((4800..5200).contains(&broadcasts), "{broadcasts}");
        let unicasts = lost_of_10000(direction, Cast::Unicast);
        assert!((550..700).contains(&unicasts), "{unicasts}: ½⁴ of 10,000");
    }

    #[test]
    fn nothing_passes_a_cut_link_until_it_is_healed() {
        let (a, b) = (NodeIndex(0), NodeIndex(1));
        let mut radio = Radio::new(&topology::line(2), 0.0, Duration::from_millis(1));
        radio.set_cut(b, a, true);
        let direction = radio.direction(a, b).unwrap();
        assert_eq!(lost_of_10000(direction, Cast::Unicast), 10_000);
        assert!(!radio.is_usable(a, b));
        radio.set_cut(a, b, false);
        assert!(radio.is_usable(a, b));
    }
}
