//! Nodes: packets and timers in, what the core wants done out.

use std::time::Duration;

use ipnet::IpNet;
use mesh_proto::router::{self, LinkId, Transmit};
use mesh_proto::{Output, RouteChange, Table, Target};

use super::Simulation;
use crate::node::{INTERFACE, NodeIndex};
use crate::queue::{Delivery, Event};
use crate::radio::{Cast, Direction};
use crate::scenario::Inheritance;
use crate::watch::Cycle;

/// Circles that are kept; all are counted.
const CYCLES_KEPT: usize = 20;
/// Who gives a neighbor up has a reason if something happened to either, or to their link, less
/// than this ago: longer than any detector takes.
const MEMORY: Duration = Duration::from_secs(15);

impl Simulation {
    pub(super) fn deliver(&mut self, delivery: &Delivery) {
        let now = self.instant();
        for to in &delivery.to {
            self.events += 1;
            self.trace.happened(self.now, to.0);
            if let Some(router) = &mut self.node_mut(*to).router {
                router.handle_packet(now, INTERFACE, delivery.from.address(), &delivery.bytes);
                self.drain(*to);
            }
        }
    }

    pub(super) fn run_timer(&mut self, index: NodeIndex) {
        let (now, at) = (self.instant(), self.now);
        let node = self.node_mut(index);
        if node.timer_queued != Some(at) {
            return;
        }
        node.timer_queued = None;
        if node.timer != Some(at) {
            // It was put off since it was queued.
            return self.queue_timer(index);
        }
        node.timer = None;
        if let Some(router) = &mut node.router {
            router.handle_timeout(now);
            let spins = router.poll_timeout() <= now;
            self.faults.busy_timers += u64::from(spins);
            self.events += 1;
        }
        self.drain(index);
    }

    pub(super) fn power_on(&mut self, index: NodeIndex) {
        let node = self.node(index);
        if !node.runs() && !node.is_late {
            self.events += 1;
            self.start(index, Inheritance::Cold);
        }
    }

    /// Does what the core of a node wants done, then checks the routes that changed, and sets
    /// the node's timer.
    pub(super) fn drain(&mut self, index: NodeIndex) {
        let mut changed = Vec::new();
        loop {
            while let Some(output) = self.poll_output(index) {
                match output {
                    Output::Transmit(transmit) => self.transmit(index, transmit),
                    Output::Route(change) => changed.extend(self.change_route(index, change)),
                    Output::Event(event) => self.note(index, &event),
                }
            }
            if !self.say(index) {
                break;
            }
        }
        for row in changed {
            self.check_for_cycle(index, row);
        }
        self.set_timer(index);
    }

    fn poll_output(&mut self, index: NodeIndex) -> Option<Output> {
        self.node_mut(index).router.as_mut()?.poll_output()
    }

    fn transmit(&mut self, from: NodeIndex, transmit: Transmit) {
        let Transmit { to, bytes, .. } = transmit;
        self.trace.add(self.now, from.0, &bytes);
        let luck = &mut self.luck;
        let mut hears = |cast, direction: &Direction| direction.delivers(cast, luck);
        let (cast, to): (_, Vec<_>) = match to {
            None => {
                let all = self.radio.neighbors(from).iter();
                let heard = all.filter(|direction| hears(Cast::Broadcast, direction));
                (
                    Cast::Broadcast,
                    heard.map(|direction| direction.to).collect(),
                )
            }
            Some(address) => {
                let only = NodeIndex::of_address(address);
                let only = only.and_then(|only| self.radio.direction(from, only));
                let heard = only.filter(|direction| hears(Cast::Unicast, direction));
                (
                    Cast::Unicast,
                    heard.map(|direction| direction.to).into_iter().collect(),
                )
            }
        };
        self.traffic.count(self.now, from, cast, bytes.len());
        if !to.is_empty() {
            let delivery = Box::new(Delivery { from, to, bytes });
            let at = self.now + self.options.delay;
            self.queue.push(at, Event::Deliver(delivery));
        }
    }

    /// Changes a kernel's route. Returns the row of the mesh table that changed.
    fn change_route(&mut self, index: NodeIndex, change: RouteChange) -> Option<usize> {
        self.phases.count_route_change();
        let (table, prefix, target) = match change {
            RouteChange::Set(route) => (route.table, route.prefix, Some(route.target)),
            RouteChange::Remove { table, prefix } => (table, prefix, None),
        };
        self.trace.route(self.now, index.0, (table, prefix), target);
        match table {
            Table::Mesh => self.change_next_hop(index, prefix, target),
            Table::Tunnel | Table::Marked(_) => {
                let tunnels = &mut self.node_mut(index).tunnels;
                let had = match target {
                    Some(Target::Tunnel { peer, .. }) => tunnels.insert((table, prefix), peer),
                    Some(Target::NextHop { .. }) | None => tunnels.remove(&(table, prefix)),
                };
                self.faults.refused_changes += u64::from(target.is_none() && had.is_none());
                None
            }
        }
    }

    fn change_next_hop(
        &mut self,
        index: NodeIndex,
        prefix: IpNet,
        target: Option<Target>,
    ) -> Option<usize> {
        let next = match target {
            Some(Target::NextHop { via, .. }) => NodeIndex::of_address(via),
            Some(Target::Tunnel { .. }) | None => None,
        };
        let row = self.next_hops.row(prefix);
        let had = self.set_next_hop(index, row, next);
        self.faults.refused_changes += u64::from(target.is_none() && had.is_none());
        let is_switch = self.next_hops.host(row).is_some() && next.is_some() && had.is_some();
        if is_switch && next != had {
            self.count_switch();
        }
        next.map(|_| row)
    }

    fn set_next_hop(
        &mut self,
        index: NodeIndex,
        row: usize,
        next: Option<NodeIndex>,
    ) -> Option<NodeIndex> {
        let had = self.next_hops.set(row, index, next);
        if let Some(destination) = self.next_hops.host(row) {
            let (hops, radio) = (&self.next_hops, &self.radio);
            self.reach
                .note_hop(self.now, destination, index, hops, radio);
        }
        had
    }

    fn count_switch(&mut self) {
        let second = usize::try_from(self.now.as_secs()).unwrap_or(usize::MAX - 1);
        if self.switches.len() <= second {
            self.switches.resize(second + 1, 0);
        }
        let count = self.switches.get_mut(second);
        count.into_iter().for_each(|count| *count += 1);
    }

    fn check_for_cycle(&mut self, index: NodeIndex, row: usize) {
        let Some(prefix) = self.next_hops.prefix(row) else {
            return;
        };
        let host = self.next_hops.host(row);
        let owns = |node: NodeIndex| match host {
            Some(host) => node == host,
            None => self.node(node).owns(prefix),
        };
        let Some(nodes) = self.next_hops.cycle_through(row, index, owns) else {
            return;
        };
        let claims = |node: &NodeIndex| self.node(*node).claims(self.now, prefix);
        if self.nodes().filter(claims).count() > 1 {
            self.faults.contested_cycles += 1;
            return;
        }
        self.faults.cycles += 1;
        if self.cycles.len() < CYCLES_KEPT {
            self.cycles.push(Cycle {
                at: self.now,
                destination: prefix,
                nodes,
            });
        }
    }

    /// Takes note of what a core says.
    fn note(&mut self, index: NodeIndex, event: &router::Event) {
        match event {
            router::Event::NeighborDown(link) => self.note_drop(index, *link),
            router::Event::Ipv4Moved(_) => self.node_mut(index).note_ipv4(),
            router::Event::GatewayChanged { .. } => self.uplinks_flips = u64::MAX,
            router::Event::NeighborUp(_)
            | router::Event::NeighborSilent(_)
            | router::Event::OriginatorUp(_)
            | router::Event::OriginatorDown(_)
            | router::Event::NodeChanged(_)
            | router::Event::GatewaysChanged
            | router::Event::EpochBegun(_)
            | router::Event::DuplicateIdentity
            | router::Event::EchoReply { .. }
            | router::Event::ThroughputRequest { .. }
            | router::Event::ThroughputAnswer { .. } => {}
            router::Event::Payload { from, bytes, .. } => self.hear(index, *from, bytes),
        }
    }

    fn note_drop(&mut self, index: NodeIndex, link: LinkId) {
        self.faults.drops += 1;
        let Some(neighbor) = self.by_id.get(&link.neighbor).copied() else {
            return;
        };
        let is_old = |changed: Duration| changed.is_zero() || changed + MEMORY < self.now;
        let link_is_old = |a, b| {
            let direction = self.radio.direction(a, b);
            direction.is_some_and(|d| is_old(d.changed()))
        };
        let nodes = [index, neighbor].map(|node| self.node(node));
        let without_cause = nodes.iter().all(|n| n.runs() && is_old(n.changed))
            && self.radio.is_usable(index, neighbor)
            && link_is_old(index, neighbor);
        self.faults.drops_without_cause += u64::from(without_cause);
    }

    fn set_timer(&mut self, index: NodeIndex) {
        /// Of timers that are set to the past, so that virtual time goes on all the same.
        const LEAST: Duration = Duration::from_micros(1);
        let Some(router) = self.router(index) else {
            return;
        };
        let due = router.poll_timeout().saturating_duration_since(self.origin);
        let at = if due > self.now {
            due
        } else {
            self.now + LEAST
        };
        self.node_mut(index).timer = Some(at);
        self.queue_timer(index);
    }

    /// Sees to it that something comes when the node's timer runs out. Most packets put it off,
    /// so what is in the queue stays there unless it would come too late.
    fn queue_timer(&mut self, index: NodeIndex) {
        let node = self.node_mut(index);
        let Some(at) = node.timer else {
            return;
        };
        if node.timer_queued.is_none_or(|queued| at < queued) {
            node.timer_queued = Some(at);
            self.queue.push(at, Event::Timer(index));
        }
    }

    pub(super) fn stop(&mut self, index: NodeIndex, how: Inheritance) {
        let now = self.now;
        let node = self.node_mut(index);
        node.stop(how);
        node.changed = now;
        if how != Inheritance::Warm {
            self.flush(index);
        }
    }

    pub(super) fn start(&mut self, index: NodeIndex, how: Inheritance) {
        if how != Inheritance::Warm {
            self.flush(index);
        }
        let (now, network, routes) = (self.instant(), self.network.clone(), self.routes(index));
        let at = self.now;
        let node = self.node_mut(index);
        node.start(&network, how, routes, now);
        node.changed = at;
        self.drain(index);
    }

    fn flush(&mut self, index: NodeIndex) {
        self.node_mut(index).tunnels.clear();
        let rows: Vec<_> = self.next_hops.of(index).map(|(row, _)| row).collect();
        for row in rows {
            self.set_next_hop(index, row, None);
        }
    }
}
