//! Steps of the scenario.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_proto::router::Announcement;

use super::Simulation;
use crate::node::NodeIndex;
use crate::radio::Direction;
use crate::random;
use crate::scenario::{Action, Ends, Inheritance};
use crate::watch::Arrival;

impl Simulation {
    /// Takes a step. Afterwards everything the watch knows is up to date.
    pub(super) fn take(&mut self, action: Action) {
        if action == Action::Check {
            return self.check_arrival();
        }
        let action = self.decide(action);
        let label = action.label(&self.topology);
        self.phases.begin(self.now, action.kind(), &label);
        match action {
            Action::Cut(a, b) => self.set_cut((a, b), true),
            Action::Heal(a, b) => self.set_cut((a, b), false),
            Action::Partition(links) => links.into_iter().for_each(|l| self.set_cut(l, true)),
            Action::HealAll => self.all_links(|all, link| all.set_cut(link, false)),
            Action::Fade(links) => links
                .into_iter()
                .for_each(|(link, loss)| self.set_loss(link, Some(loss))),
            Action::Clear => self.all_links(|all, link| all.set_loss(link, None)),
            Action::Rewire(gone, new) => {
                gone.into_iter().for_each(|link| self.set_cut(link, true));
                new.into_iter().for_each(|link| self.connect(link));
            }
            Action::Stop(node, how) => self.stop(node, how),
            Action::Start(node, how) => self.start(node, how),
            Action::StartAll => self.start_all(),
            Action::Restart(node, how) => {
                self.stop(node, how);
                self.start(node, how);
            }
            Action::Announce(node, announcement) => self.announce(node, announcement),
            Action::CutInUse | Action::StopInUse | Action::Check => {}
        }
        let parts = self.parts_without(None);
        self.reach.set_parts(self.now, parts);
        // Who is a gateway may have changed.
        self.uplinks_flips = u64::MAX;
    }

    /// Decides on whom a step falls that leaves this open.
    fn decide(&mut self, action: Action) -> Action {
        let decided = if action == Action::CutInUse {
            self.link_to_cut().map(|(a, b)| Action::Cut(a, b))
        } else if action == Action::StopInUse {
            let node = self.node_to_stop();
            node.map(|node| Action::Stop(node, Inheritance::Cold))
        } else {
            None
        };
        decided.unwrap_or(action)
    }

    /// A link that a flow uses, else any, that can be cut without separating its ends.
    fn link_to_cut(&mut self) -> Option<Ends> {
        let mut used: Vec<Ends> = Vec::new();
        for path in self.paths_in_random_order() {
            let mut links: Vec<_> = path
                .iter()
                .copied()
                .zip(path.iter().copied().skip(1))
                .collect();
            random::shuffle(&mut self.choices, &mut links);
            used.extend(links);
        }
        let mut any: Vec<_> = self.radio.links().collect();
        random::shuffle(&mut self.choices, &mut any);
        let mut links = used.into_iter().chain(any);
        links.find(|link| self.is_link_dispensable(*link))
    }

    /// A relay that a flow uses, else any node, without which all others stay connected.
    fn node_to_stop(&mut self) -> Option<NodeIndex> {
        let mut relays: Vec<NodeIndex> = Vec::new();
        for path in self.paths_in_random_order() {
            let mut inner: Vec<_> = path
                .get(1..path.len().saturating_sub(1))
                .unwrap_or_default()
                .to_vec();
            random::shuffle(&mut self.choices, &mut inner);
            relays.extend(inner);
        }
        let mut any: Vec<_> = self.nodes().collect();
        random::shuffle(&mut self.choices, &mut any);
        let mut nodes = relays.into_iter().chain(any);
        nodes.find(|node| self.is_node_dispensable(*node))
    }

    fn paths_in_random_order(&mut self) -> Vec<Vec<NodeIndex>> {
        let mut paths = self.flow_paths();
        random::shuffle(&mut self.choices, &mut paths);
        paths
    }

    fn is_link_dispensable(&self, (a, b): Ends) -> bool {
        if !self.radio.is_usable(a, b) {
            return false;
        }
        let mut without = self.radio.clone();
        without.set_cut(self.now, a, b, true);
        let parts = without.parts(|node| self.node(node).runs());
        let part = |node: NodeIndex| parts.get(node.0).copied().flatten();
        part(a).is_some() && part(a) == part(b)
    }

    fn is_node_dispensable(&self, node: NodeIndex) -> bool {
        let before = self.parts_without(None);
        let after = self.parts_without(Some(node));
        let count = |mut parts: Vec<Option<usize>>| {
            parts.sort_unstable();
            parts.dedup();
            parts.iter().flatten().count()
        };
        self.node(node).runs() && count(before) == count(after)
    }

    /// The parts of the mesh as it is, or as it would be without a node.
    fn parts_without(&self, node: Option<NodeIndex>) -> Vec<Option<usize>> {
        self.radio
            .parts(|other| Some(other) != node && self.node(other).runs())
    }

    fn set_cut(&mut self, (a, b): Ends, cut: bool) {
        self.radio.set_cut(self.now, a, b, cut);
        self.note_link((a, b));
    }

    fn set_loss(&mut self, (a, b): Ends, loss: Option<f64>) {
        self.radio.set_loss(self.now, a, b, loss);
        self.note_link((a, b));
    }

    fn connect(&mut self, (a, b): Ends) {
        self.radio.connect(self.now, a, b);
        self.note_link((a, b));
    }

    fn note_link(&mut self, link: Ends) {
        let (hops, radio) = (&self.next_hops, &self.radio);
        self.reach.note_link(self.now, link, hops, radio);
    }

    fn all_links(&mut self, change: impl Fn(&mut Self, Ends)) {
        let links: Vec<_> = self.radio.links().collect();
        links.into_iter().for_each(|link| change(self, link));
    }

    fn start_all(&mut self) {
        for node in self.nodes() {
            if !self.node(node).runs() {
                self.start(node, Inheritance::Cold);
            }
        }
    }

    fn announce(&mut self, index: NodeIndex, announcement: Announcement) {
        let (now, at) = (self.instant(), self.now);
        let node = self.node_mut(index);
        node.set_announcement(at, announcement.clone());
        if let Some(router) = &mut node.router {
            router.announce(now, announcement);
        }
        self.drain(index);
    }

    /// Counts what gets through at this moment, and adds it to the phase.
    fn check_arrival(&mut self) {
        let arrival = self.arrival();
        let now = self.now;
        if let Some(phase) = self.phases.at(now) {
            phase.arrival = Some(Arrival {
                after: now.saturating_sub(phase.at),
                ..arrival
            });
        }
    }

    /// What gets through now.
    #[expect(clippy::cast_precision_loss, reason = "pairs are far below 2⁵²")]
    fn arrival(&self) -> Arrival {
        let pairs = self.reach.pairs().max(1) as f64;
        let routed = pairs - self.reach.unrouted() as f64;
        let delivered: f64 = self.nodes().map(|to| self.delivered_to(to)).sum();
        Arrival {
            after: Duration::ZERO,
            routed: routed / pairs,
            delivered: delivered / pairs,
        }
    }

    /// Of one packet from each node that could reach `to`, how many arrive.
    fn delivered_to(&self, to: NodeIndex) -> f64 {
        let shares = self.along_paths(to, 1.0, |behind, node, next| {
            let direction = self.radio.direction(node, next);
            Some(behind * direction.map_or(0.0, Direction::delivered))
        });
        let shares = self.nodes().zip(shares);
        shares
            .filter(|(from, _)| self.reach.is_possible(*from, to))
            .filter_map(|(_, share)| share)
            .sum()
    }

    /// Follows the next hops to `destination` from every node and adds up what `hop` makes of
    /// each: from what is behind it, the node and its next hop. `None` where no path leads.
    pub(crate) fn along_paths(
        &self,
        destination: NodeIndex,
        at_end: f64,
        hop: impl Fn(f64, NodeIndex, NodeIndex) -> Option<f64>,
    ) -> Vec<Option<f64>> {
        let mut found: BTreeMap<NodeIndex, Option<f64>> = BTreeMap::new();
        found.insert(destination, Some(at_end));
        for from in self.nodes() {
            let (mut here, mut path) = (from, Vec::new());
            let mut value = loop {
                if let Some(value) = found.get(&here) {
                    break *value;
                }
                // Who comes by here again goes in a circle.
                found.insert(here, None);
                path.push(here);
                match self.next_hops.get(destination.0, here) {
                    Some(next) => here = next,
                    None => break None,
                }
            };
            let mut next = here;
            for node in path.into_iter().rev() {
                value = value.and_then(|behind| hop(behind, node, next));
                found.insert(node, value);
                next = node;
            }
        }
        found.into_values().collect()
    }
}
