//! Which pairs of nodes have a path: from kernel to kernel, over links that work.
//!
//! The next hops for one destination are a forest. A change at one node changes the answer for
//! that node and all behind it, or for none, so the cost of a change is what it changes.

use std::time::Duration;

use super::matrix::Matrix;
use super::{NextHops, Outage};
use crate::NodeIndex;
use crate::radio::Radio;

/// Who has a path, and since when those who could have one have none.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    nodes: usize,
    leads: Matrix<bool>,
    out_since: Matrix<Option<Millionths>>,
    parts: Vec<Option<usize>>,
    unrouted: usize,
    flips: u64,
    ended: Vec<Outage>,
}

/// A time after the start of the run, µs: half of a `Duration`, of which there would be many.
type Millionths = std::num::NonZero<u64>;

impl Reach {
    /// Nobody has a path, and nobody runs.
    pub(crate) fn new(nodes: usize) -> Self {
        let mut leads = Matrix::new(nodes, false);
        for node in (0..nodes).map(NodeIndex) {
            leads.set(node, node, true);
        }
        Self {
            nodes,
            leads,
            out_since: Matrix::new(nodes, None),
            parts: vec![None; nodes],
            unrouted: 0,
            flips: 0,
            ended: Vec::new(),
        }
    }

    /// Whether packets from `from` get to `to`.
    pub(crate) fn leads(&self, from: NodeIndex, to: NodeIndex) -> bool {
        self.leads.get(to, from)
    }

    /// Pairs that could have a path but have none.
    pub(crate) const fn unrouted(&self) -> usize {
        self.unrouted
    }

    /// Rises whenever a path came or went.
    pub(crate) const fn flips(&self) -> u64 {
        self.flips
    }

    /// Pairs that could have a path, in either direction.
    pub(crate) fn pairs(&self) -> usize {
        let mut sizes = vec![0_usize; self.nodes];
        for part in self.parts.iter().flatten() {
            sizes.get_mut(*part).into_iter().for_each(|size| *size += 1);
        }
        sizes.iter().map(|size| size * size.saturating_sub(1)).sum()
    }

    /// Whether the two run and are connected.
    pub(crate) fn is_possible(&self, a: NodeIndex, b: NodeIndex) -> bool {
        let part = |node: NodeIndex| self.parts.get(node.0).copied().flatten();
        a != b && part(a).is_some() && part(a) == part(b)
    }

    /// The outages that ended since this was last asked.
    pub(crate) fn take_ended(&mut self) -> Vec<Outage> {
        std::mem::take(&mut self.ended)
    }

    /// The outages that last, as if they ended now.
    pub(crate) fn open(&self, now: Duration) -> impl Iterator<Item = Outage> {
        self.all_pairs().filter_map(move |(from, to)| {
            let since = self.out_since.get(to, from)?;
            Some(outage(from, to, since, now))
        })
    }

    /// The next hop of `node` for `destination`, or the link to it, changed.
    pub(crate) fn note_hop(
        &mut self,
        now: Duration,
        destination: NodeIndex,
        node: NodeIndex,
        hops: &NextHops,
        radio: &Radio,
    ) {
        if node == destination {
            return;
        }
        let led = self.leads.get(destination, node);
        let next = hops.get(destination.0, node);
        let next = next.filter(|next| radio.passes(node, *next));
        // Where there was no path before, no path led through `node`; else `next` may be behind it.
        let leads = next.is_some_and(|next| {
            self.leads.get(destination, next)
                && !(led && is_behind(hops, destination, next, node, self.nodes))
        });
        if led != leads {
            self.flip(now, destination, node, hops, radio);
        }
    }

    /// The link between `a` and `b` began or ceased to work, or they changed what they are.
    pub(crate) fn note_link(
        &mut self,
        now: Duration,
        (a, b): (NodeIndex, NodeIndex),
        hops: &NextHops,
        radio: &Radio,
    ) {
        for destination in (0..self.nodes).map(NodeIndex) {
            for (from, to) in [(a, b), (b, a)] {
                if hops.get(destination.0, from) == Some(to) {
                    self.note_hop(now, destination, from, hops, radio);
                }
            }
        }
    }

    /// Which nodes run and are connected to which: those with the same number.
    pub(crate) fn set_parts(&mut self, now: Duration, parts: Vec<Option<usize>>) {
        if parts == self.parts {
            return;
        }
        self.parts = parts;
        for destination in (0..self.nodes).map(NodeIndex) {
            for node in (0..self.nodes).map(NodeIndex) {
                self.settle(now, destination, node);
            }
        }
    }

    /// Turns the answer over for `node` and all behind it.
    fn flip(
        &mut self,
        now: Duration,
        destination: NodeIndex,
        node: NodeIndex,
        hops: &NextHops,
        radio: &Radio,
    ) {
        let led = self.leads.get(destination, node);
        self.flips += 1;
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            self.leads.set(destination, node, !led);
            self.settle(now, destination, node);
            let behind = radio.neighbors(node).iter().map(|d| d.to);
            open.extend(behind.filter(|behind| {
                hops.get(destination.0, *behind) == Some(node)
                    && *behind != destination
                    && self.leads.get(destination, *behind) == led
                    && radio.passes(*behind, node)
            }));
        }
    }

    /// Begins or ends the outage of a pair.
    fn settle(&mut self, now: Duration, to: NodeIndex, from: NodeIndex) {
        let is_out = !self.leads.get(to, from) && self.is_possible(from, to);
        match (self.out_since.get(to, from), is_out) {
            (None, true) => {
                self.out_since.set(to, from, Some(millionths(now)));
                self.unrouted += 1;
            }
            (Some(since), false) => {
                self.out_since.set(to, from, None);
                self.unrouted -= 1;
                // What is put right within one event was never seen by a packet.
                let seen = since < millionths(now);
                self.ended
                    .extend(seen.then(|| outage(from, to, since, now)));
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    fn all_pairs(&self) -> impl Iterator<Item = (NodeIndex, NodeIndex)> {
        let nodes = || (0..self.nodes).map(NodeIndex);
        nodes().flat_map(move |to| nodes().map(move |from| (from, to)))
    }
}

/// Whether the way from `from` leads through `node`. There is a way, or it leads there.
fn is_behind(
    hops: &NextHops,
    destination: NodeIndex,
    from: NodeIndex,
    node: NodeIndex,
    bound: usize,
) -> bool {
    let next = |here: &NodeIndex| hops.get(destination.0, *here);
    std::iter::successors(Some(from), next)
        .take(bound)
        .take_while(|here| *here != destination)
        .any(|here| here == node)
}

fn millionths(at: Duration) -> Millionths {
    // One more, so that the start of the run is not 0.
    let us = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
    Millionths::MIN.saturating_add(us)
}

fn outage(from: NodeIndex, to: NodeIndex, since: Millionths, until: Duration) -> Outage {
    Outage {
        from,
        to: Some(to),
        since: Duration::from_micros(since.get() - 1),
        until,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology;

    const fn node(index: usize) -> NodeIndex {
        NodeIndex(index)
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    struct Mesh {
        reach: Reach,
        hops: NextHops,
        radio: Radio,
    }

    impl Mesh {
        /// All nodes run from the start, and nobody has a route.
        fn new(topology: &topology::Topology) -> Self {
            let radio = Radio::new(topology, 0.0);
            let nodes = topology.nodes.len();
            let host = |i| format!("fd00::{i:x}/128").parse().unwrap();
            let mut reach = Reach::new(nodes);
            reach.set_parts(Duration::ZERO, radio.parts(|_| true));
            let hops = NextHops::new((0..nodes).map(host).collect());
            Self { reach, hops, radio }
        }

        fn route(&mut self, now: u64, to: usize, from: usize, next: Option<usize>) {
            self.hops.set(to, node(from), next.map(node));
            let Self { reach, hops, radio } = self;
            reach.note_hop(at(now), node(to), node(from), hops, radio);
        }

        fn cut(&mut self, now: u64, a: usize, b: usize, cut: bool) {
            let Self { reach, hops, radio } = self;
            radio.set_cut(at(now), node(a), node(b), cut);
            reach.note_link(at(now), (node(a), node(b)), hops, radio);
            reach.set_parts(at(now), radio.parts(|_| true));
        }
    }

    /// A line 0-1-2 in which all know the way to 2 from second 1 on.
    fn line() -> Mesh {
        let mut line = Mesh::new(&topology::line(3));
        line.route(1, 2, 0, Some(1));
        line.route(1, 2, 1, Some(2));
        line
    }

    #[test]
    fn pairs_without_a_path_are_counted() {
        let mut line = line();
        assert_eq!(line.reach.pairs(), 6);
        assert_eq!(line.reach.unrouted(), 4);
        assert!(line.reach.leads(node(0), node(2)));
        line.route(2, 2, 1, Some(0));
        assert_eq!(line.reach.unrouted(), 6, "a circle leads nowhere");
        line.route(3, 2, 1, Some(2));
        assert_eq!(line.reach.unrouted(), 4);
    }

    #[test]
    fn only_what_is_connected_needs_a_path() {
        let mut line = line();
        line.cut(2, 0, 1, true);
        assert_eq!(line.reach.pairs(), 2);
        assert_eq!(line.reach.unrouted(), 1, "from 2 to 1");
        let parts = line.radio.parts(|n| n != node(2));
        line.reach.set_parts(at(3), parts);
        assert_eq!((line.reach.pairs(), line.reach.unrouted()), (0, 0));
    }

    /// A ring of four whose link 1-2 is cut at 10 s; 1 finds its way to 2 at 12 s, and 0, which
    /// went through 1, at 13 s.
    #[test]
    fn an_outage_lasts_from_the_cut_to_the_new_path() {
        let mut ring = Mesh::new(&topology::ring(4));
        ring.route(1, 2, 1, Some(2));
        ring.route(1, 2, 0, Some(1));
        ring.route(1, 2, 3, Some(2));
        ring.reach.take_ended();
        ring.cut(10, 1, 2, true);
        ring.route(12, 2, 1, Some(0));
        assert!(!ring.reach.leads(node(1), node(2)), "back and forth");
        ring.route(13, 2, 0, Some(3));
        let ended = ring.reach.take_ended();
        let outage = |from| Outage {
            from: node(from),
            to: Some(node(2)),
            since: at(10),
            until: at(13),
        };
        assert_eq!(ended, [outage(0), outage(1)]);
        assert_eq!(ring.reach.open(at(20)).count(), 9, "to 0, 1 and 3");
    }

    #[test]
    fn what_is_put_right_at_once_is_no_outage() {
        let mut line = line();
        line.reach.take_ended();
        line.route(5, 2, 0, None);
        line.route(5, 2, 0, Some(1));
        assert_eq!(line.reach.take_ended(), []);
    }

    /// Whatever changes in whatever order: the same as following every path anew.
    #[test]
    fn changes_add_up_to_what_a_walk_finds() {
        let mut rng = crate::random::stream(5, crate::random::LOSS);
        let mut mesh = Mesh::new(&topology::grid(4, 4));
        let links: Vec<_> = mesh.radio.links().collect();
        for step in 0..4000 {
            let (a, b) = crate::random::choose(&mut rng, &links).unwrap();
            match crate::random::below(&mut rng, 8) {
                0 => mesh.cut(step, a.0, b.0, true),
                1 => mesh.cut(step, a.0, b.0, false),
                2 => mesh.route(step, 5, a.0, None),
                odd => {
                    let (from, next) = if odd % 2 == 0 { (a, b) } else { (b, a) };
                    mesh.route(step, 5, from.0, Some(next.0));
                }
            }
            for from in (0..16).map(node) {
                let next = |here: &NodeIndex| {
                    let next = mesh.hops.get(5, *here)?;
                    mesh.radio.passes(*here, next).then_some(next)
                };
                let mut path = std::iter::successors(Some(from), next).take(17);
                let arrives = path.any(|here| here == node(5));
                assert_eq!(mesh.reach.leads(from, node(5)), arrives, "step {step}");
            }
        }
    }
}
