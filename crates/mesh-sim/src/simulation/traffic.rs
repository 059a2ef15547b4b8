//! Flows: who carries them, and nodes' ways to the Internet.

use std::collections::BTreeSet;

use super::Simulation;
use crate::flows::{CARRY_INTERVAL, Flow};
use crate::node::NodeIndex;
use crate::queue::Event;

impl Simulation {
    /// Adds a flow of traffic. From now on the nodes on its path are told twice a second that
    /// those before and after them carry it.
    pub fn add_flow(&mut self, flow: Flow) {
        if self.flows.len() == 0 {
            self.queue.push(self.now, Event::Carry);
        }
        self.flows.add(flow);
    }

    /// Tells nodes on the paths of flows what they carry.
    pub(super) fn carry(&mut self) {
        let mut carriers = BTreeSet::new();
        for path in self.flow_paths() {
            for (from, to) in path.iter().zip(path.iter().skip(1)) {
                // A kernel tells whom it sends to, whether it arrives or not, and whom it hears.
                carriers.insert((*from, *to));
                if self.radio.passes(*from, *to) {
                    carriers.insert((*to, *from));
                }
            }
        }
        let now = self.instant();
        for (node, neighbor) in carriers {
            self.node_mut(node).tell_carrying(now, neighbor);
            self.drain(node);
        }
        self.carry_bytes();
        self.queue.push(self.now + CARRY_INTERVAL, Event::Carry);
    }

    /// The nodes that packets of each flow pass.
    pub(super) fn flow_paths(&self) -> Vec<Vec<NodeIndex>> {
        self.flows
            .all()
            .filter_map(|flow| Some((flow.from, flow.to.or_else(|| self.gateway_of(flow.from))?)))
            .map(|(from, to)| self.path(from, to))
            .collect()
    }

    /// The nodes that packets pass: up to the destination, or to the first that has no route or
    /// whose next hop cannot be reached, that next hop included.
    pub fn path(&self, from: NodeIndex, to: NodeIndex) -> Vec<NodeIndex> {
        let mut path = vec![from];
        let mut here = from;
        while let Some(next) = self.next_hops.get(to.0, here).filter(|_| here != to) {
            let goes_on = self.radio.passes(here, next) && path.len() <= self.nodes.len();
            path.push(next);
            if !goes_on {
                break;
            }
            here = next;
        }
        path
    }

    /// The gateway that a node uses.
    pub fn gateway_of(&self, node: NodeIndex) -> Option<NodeIndex> {
        let (id, _) = self.router(node)?.gateway()?;
        self.by_id.get(&id).copied()
    }

    /// Looks which nodes have a way to the Internet, if that may have changed.
    pub(super) fn look_at_uplinks(&mut self) {
        if self.uplinks_flips == self.reach.flips() {
            return;
        }
        self.uplinks_flips = self.reach.flips();
        let gateways: Vec<_> = self
            .nodes()
            .filter(|node| self.node(*node).is_gateway())
            .collect();
        if gateways.is_empty() && self.uplinks.out() == 0 {
            return;
        }
        let out: Vec<_> = self
            .nodes()
            .map(|node| self.is_offline(node, &gateways))
            .collect();
        self.uplinks.update(self.now, &out);
        if self.uplinks.out() == 0 && !gateways.is_empty() {
            self.phases.note_all_online(self.now);
        }
        for outage in self.uplinks.take_ended() {
            let flows = self.flows.suffer(&outage);
            if let Some(phase) = self.phases.at(outage.since) {
                phase.count(&outage, flows);
            }
        }
    }

    /// Whether a node could have a way to the Internet but has none.
    fn is_offline(&self, node: NodeIndex, gateways: &[NodeIndex]) -> bool {
        let works = |gateway: &NodeIndex| {
            self.node(*gateway).is_gateway() && self.reach.leads(node, *gateway)
        };
        let this = self.node(node);
        this.runs()
            && !this.is_gateway()
            && gateways.iter().any(|g| self.reach.is_possible(node, *g))
            && !self.gateway_of(node).is_some_and(|gateway| works(&gateway))
    }
}
