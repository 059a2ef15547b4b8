//! Links: who hears whom, what is lost, and how long it takes.

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
    /// Who hears.
    pub to: NodeIndex,
    /// The share of broadcasts that is lost, 0 to 1.
    pub loss: f64,
    usual_loss: f64,
    cut: bool,
    changed: Duration,
}

impl Direction {
    /// Whether anything arrives at all.
    pub fn is_usable(&self) -> bool {
        !self.cut && self.loss < 1.0
    }

    /// When it was last cut, healed or given another loss, after the start of the run.
    pub const fn changed(&self) -> Duration {
        self.changed
    }

    /// The share of packets to one node that arrive, retries included, 0 to 1.
    pub fn delivered(&self) -> f64 {
        match self.is_usable() {
            true => 1.0 - self.loss.powi(UNICAST_TRIES),
            false => 0.0,
        }
    }

    /// Whether a packet arrives.
    pub(crate) fn delivers(&self, cast: Cast, rng: &mut ChaCha8Rng) -> bool {
        let loss = match cast {
            Cast::Broadcast => self.loss,
            Cast::Unicast => self.loss.powi(UNICAST_TRIES),
        };
        // Always drawn, so that cutting one link does not change the luck of the others.
        let luck = random::unit(rng);
        self.is_usable() && luck >= loss
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
    /// For each node who hears it, in order of their index.
    from: Vec<Vec<Direction>>,
    default_loss: f64,
}

impl Radio {
    /// The links of `topology`; those that say nothing of their loss lose `loss`.
    pub fn new(topology: &Topology, loss: f64) -> Self {
        let mut radio = Self {
            from: vec![Vec::new(); topology.nodes.len()],
            default_loss: loss,
        };
        for link in &topology.links {
            radio.add(link.a, link.b, link.loss_ab.unwrap_or(loss), Duration::ZERO);
            radio.add(link.b, link.a, link.loss_ba.unwrap_or(loss), Duration::ZERO);
        }
        radio
    }

    /// Cuts the link between `a` and `b`, or heals it.
    pub(crate) fn set_cut(&mut self, now: Duration, a: NodeIndex, b: NodeIndex, cut: bool) {
        self.change(now, a, b, |direction| direction.cut = cut);
    }

    /// Lets the link between `a` and `b` lose the share `loss` in both directions; with `None`
    /// as much as at the start.
    pub(crate) fn set_loss(
        &mut self,
        now: Duration,
        a: NodeIndex,
        b: NodeIndex,
        loss: Option<f64>,
    ) {
        self.change(now, a, b, |direction| {
            direction.loss = loss.unwrap_or(direction.usual_loss);
        });
    }

    /// Links `a` and `b`, which lose what the run's default says; an earlier link is healed.
    pub(crate) fn connect(&mut self, now: Duration, a: NodeIndex, b: NodeIndex) {
        if self.direction(a, b).is_some() {
            return self.set_cut(now, a, b, false);
        }
        self.add(a, b, self.default_loss, now);
        self.add(b, a, self.default_loss, now);
    }

    fn add(&mut self, from: NodeIndex, to: NodeIndex, loss: f64, changed: Duration) {
        let Some(all) = self.from.get_mut(from.0) else {
            return;
        };
        let direction = Direction {
            to,
            loss,
            usual_loss: loss,
            cut: false,
            changed,
        };
        if let Err(place) = all.binary_search_by_key(&to, |d| d.to) {
            all.insert(place, direction);
        }
    }

    fn change(
        &mut self,
        now: Duration,
        a: NodeIndex,
        b: NodeIndex,
        change: impl Fn(&mut Direction),
    ) {
        for (from, to) in [(a, b), (b, a)] {
            let all = self.from.get_mut(from.0);
            if let Some(direction) = all.and_then(|all| all.iter_mut().find(|d| d.to == to)) {
                change(direction);
                direction.changed = now;
            }
        }
    }

    /// Who hears `node`, whether or not the links work.
    pub fn neighbors(&self, node: NodeIndex) -> &[Direction] {
        self.from.get(node.0).map_or(&[], Vec::as_slice)
    }

    /// The direction from `a` to `b`.
    pub fn direction(&self, a: NodeIndex, b: NodeIndex) -> Option<&Direction> {
        let all = self.neighbors(a);
        let place = all.binary_search_by_key(&b, |d| d.to).ok()?;
        all.get(place)
    }

    /// Whether packets pass from `a` to `b`.
    pub fn passes(&self, a: NodeIndex, b: NodeIndex) -> bool {
        self.direction(a, b).is_some_and(Direction::is_usable)
    }

    /// Whether packets pass between `a` and `b` in both directions.
    pub fn is_usable(&self, a: NodeIndex, b: NodeIndex) -> bool {
        self.passes(a, b) && self.passes(b, a)
    }

    /// All links, working or not, each once.
    pub fn links(&self) -> impl Iterator<Item = (NodeIndex, NodeIndex)> {
        let from = self.from.iter().enumerate();
        from.flat_map(|(a, all)| {
            let ends = all.iter().map(move |d| (NodeIndex(a), d.to));
            ends.filter(|(a, b)| a < b)
        })
    }

    /// For each node the number of the part it is in: nodes of one part are connected by links
    /// that work and nodes that run.
    pub fn parts(&self, runs: impl Fn(NodeIndex) -> bool) -> Vec<Option<usize>> {
        let mut parts: Vec<Option<usize>> = vec![None; self.from.len()];
        for start in (0..parts.len()).map(NodeIndex).filter(|node| runs(*node)) {
            let mut open = vec![start];
            while let Some(node) = open.pop() {
                match parts.get_mut(node.0) {
                    Some(part @ None) => *part = Some(start.0),
                    _ => continue,
                }
                let neighbors = self.neighbors(node).iter().map(|d| d.to);
                open.extend(neighbors.filter(|next| runs(*next) && self.is_usable(node, *next)));
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology;

    const A: NodeIndex = NodeIndex(0);
    const B: NodeIndex = NodeIndex(1);
    const NOW: Duration = Duration::from_secs(1);

    fn lost_of_10000(radio: &Radio, cast: Cast) -> usize {
        let mut rng = random::stream(1, random::LOSS);
        let direction = radio.direction(A, B).unwrap();
        let lost = |_: &i32| !direction.delivers(cast, &mut rng);
        (0..10_000).filter(lost).count()
    }

    #[test]
    fn unicasts_are_retried() {
        let radio = Radio::new(&topology::line(2), 0.5);
        let broadcasts = lost_of_10000(&radio, Cast::Broadcast);
        assert!((4800..5200).contains(&broadcasts), "{broadcasts}");
        let unicasts = lost_of_10000(&radio, Cast::Unicast);
        assert!((550..700).contains(&unicasts), "{unicasts}: ½⁴ of 10,000");
        assert_eq!(radio.direction(A, B).unwrap().delivered(), 1.0 - 0.0625);
    }

    #[test]
    fn nothing_passes_a_cut_link_until_it_is_healed() {
        let mut radio = Radio::new(&topology::line(2), 0.0);
        radio.set_cut(NOW, B, A, true);
        assert_eq!(lost_of_10000(&radio, Cast::Unicast), 10_000);
        assert!(!radio.is_usable(A, B));
        radio.set_cut(NOW, A, B, false);
        assert!(radio.is_usable(A, B));
    }

    #[test]
    fn loss_changes_and_goes_back_to_what_it_was() {
        let mut radio = Radio::new(&topology::line(2), 0.25);
        radio.set_loss(NOW, A, B, Some(1.0));
        assert!(!radio.is_usable(A, B));
        radio.set_loss(NOW, A, B, None);
        assert_eq!(radio.direction(B, A).unwrap().loss, 0.25);
        assert_eq!(radio.direction(B, A).unwrap().changed(), NOW);
    }

    #[test]
    fn links_can_be_added() {
        let (mut radio, end) = (Radio::new(&topology::line(3), 0.0), NodeIndex(2));
        assert_eq!(radio.parts(|node| node != B), [Some(0), None, Some(2)]);
        radio.connect(NOW, A, end);
        assert!(radio.is_usable(end, A));
        assert_eq!(radio.links().count(), 3);
        assert_eq!(radio.parts(|node| node != B), [Some(0), None, Some(0)]);
    }
}
