//! What router and ledger want done.

use std::collections::BTreeSet;
use std::time::Instant;

use mesh_proto::router::{Event, Transmit};
use mesh_proto::{Family, Output};
use tracing::{debug, error, info, trace, warn};

use super::Driver;
use super::internet::Way;
use crate::kernel::{KernelRequest, NewFlows, TableChange};

/// The channel of payloads that carry receipts.
pub(super) const RECEIPTS_CHANNEL: u8 = 1;

impl Driver {
    /// Carries out everything router and ledger ask for. Each may cause the other to ask for
    /// more, so it ends when both are silent.
    pub(super) fn carry_out(&mut self, now: Instant) {
        loop {
            let routed = self.carry_out_routing(now);
            let paid = self.carry_out_receipts(now);
            if !routed && !paid {
                break;
            }
        }
        self.tell_changes(now);
        self.update_internet(now);
        self.log_price(now);
        self.mark_flows();
        self.log_prefix_conflicts();
        self.kernel.flush();
    }

    fn carry_out_routing(&mut self, now: Instant) -> bool {
        let mut changes = Vec::new();
        let mut any = false;
        while let Some(output) = self.router.poll_output() {
            any = true;
            match output {
                Output::Transmit(transmit) => self.transmit(now, &transmit),
                Output::Route(change) => changes.push(change),
                Output::Event(event) => self.handle_event(now, event),
            }
        }
        if !changes.is_empty() {
            debug!(?changes, "routes");
            self.kernel.request(KernelRequest::Routes(changes));
        }
        any
    }

    fn transmit(&mut self, now: Instant, transmit: &Transmit) {
        let Transmit { ifindex, to, bytes } = transmit;
        let own = self.router.network().mesh_ipv6(self.router.id());
        let sent = match to {
            Some(to) if !to.is_unicast_link_local() => {
                self.sockets.send_afar(*ifindex, own, *to, bytes)
            }
            to => self.sockets.send(*ifindex, *to, bytes),
        };
        match sent {
            Ok(()) => self.supervisor.handle_sent(now),
            // Lost as in the air; an interface that is gone is reported by the kernel.
            Err(error) => trace!(%error, %ifindex, "not sent"),
        }
    }

    fn handle_event(&mut self, now: Instant, event: Event) {
        if changes_credit(&event) {
            self.books.grants.note_change();
        }
        match event {
            Event::NeighborUp(link) => {
                info!(neighbor = %link.neighbor, interface = self.name_of(link.ifindex), "neighbor up");
                self.tell_neighbor(now, link, true);
            }
            Event::NeighborDown(link) => {
                info!(neighbor = %link.neighbor, interface = self.name_of(link.ifindex), "neighbor down");
                self.tell_neighbor(now, link, false);
            }
            Event::NeighborSilent(_) => self.ask_radios_soon(now),
            Event::OriginatorUp(id) => {
                debug!(node = %id, "node reachable");
                self.rename_soon(now);
            }
            Event::OriginatorDown(id) => {
                debug!(node = %id, "node unreachable");
                self.rename_soon(now);
            }
            Event::NodeChanged(id) => {
                debug!(node = %id, "node says something else about itself");
                self.rename_soon(now);
                self.follow_mesh_mtu();
            }
            Event::GatewayChanged { from, to } => {
                self.names_due = Some(now);
                debug!(
                    from = from.map(tracing::field::display),
                    to = to.map(tracing::field::display),
                    "gateway changed"
                );
                // A portal matters where there is no other way.
                self.update_uplink(now);
            }
            Event::GatewaysChanged => self.count_gateways(),
            Event::EpochBegun(epoch) => {
                info!(
                    epoch,
                    "going on in a new epoch: neighbors remember a later start than we do, or the \
                     numbers of the last one are used up"
                );
                self.store.save_epoch(epoch);
            }
            Event::DuplicateIdentity => {
                const TEXT: &str =
                    "another node uses the key of this one: one of them needs a key of its own";
                error!(node = %self.router.id(), "{TEXT}");
                self.tell_warning(TEXT);
            }
            Event::Ipv4Moved(address) => {
                warn!(%address, "IPv4 mesh address taken by another node, moved on");
                self.configure_kernel();
                self.rename_soon(now);
            }
            Event::Payload {
                from,
                channel: RECEIPTS_CHANNEL,
                bytes,
            } => self.handle_receipt_message(now, from, &bytes),
            Event::EchoReply { from, reply } => self.handle_echo_reply(now, from, reply),
            Event::ThroughputRequest { from, request } => {
                self.handle_throughput_request(now, from, &request);
            }
            Event::ThroughputAnswer { from, answer } => {
                self.handle_throughput_answer(now, from, answer);
            }
            Event::Payload { from, channel, .. } => {
                debug!(node = %from, channel, "payload of an unknown application dropped");
            }
        }
    }

    /// Tells the kernel the marks of the gateways in use. After the routes: until then, new flows go
    /// through the gateway they have gone through so far, which is there still or they go nowhere.
    fn mark_flows(&mut self) {
        let new_flows = NewFlows {
            ipv4: self.router.mark(Family::Ipv4),
            ipv6: self.router.mark(Family::Ipv6),
        };
        if self.new_flows != new_flows {
            self.new_flows = new_flows;
            let change = TableChange::NewFlows(new_flows);
            self.kernel.request(KernelRequest::Table(change));
        }
    }

    /// Logs each conflict once when it begins, and once when it ends.
    fn log_prefix_conflicts(&mut self) {
        let conflicts: BTreeSet<_> = self.router.prefix_conflicts().collect();
        for (prefix, other) in conflicts.difference(&self.logged_conflicts) {
            let is_ours = self.router.id() < *other;
            warn!(%prefix, %other, is_ours, "another node announces a prefix of this one");
        }
        for (prefix, other) in self.logged_conflicts.difference(&conflicts) {
            info!(%prefix, %other, "a prefix of this node is its own again");
        }
        self.logged_conflicts = conflicts;
    }

    /// Logs once that nothing but the price keeps this node from the Internet.
    fn log_price(&mut self, now: Instant) {
        let too_dear = self.router.too_dear();
        if !self.internet.is_to_say_dear(now, too_dear.is_some()) {
            return;
        }
        match too_dear {
            Some((gateway, price)) if price.is_payable() => warn!(
                %gateway, %price,
                "no Internet, as every way costs more than `gateways.maximum_price`: to pay this price, \
                 set that to {} or more", price.atto_smt_per_mib()
            ),
            _ => warn!(
                "no Internet, as some node on each way does not pay what it costs: its operator can set \
                 `gateways.maximum_price` there"
            ),
        }
    }

    fn update_internet(&mut self, now: Instant) {
        let own = self.shared.as_ref();
        let own = own.map(|shared| Way::Own(shared.uplink.to_string()));
        let way = own.or_else(|| self.router.gateway().map(|(id, _)| Way::Gateway(id)));
        if !self.internet.update(now, way) {
            return;
        }
        match self.internet.way() {
            Some(Way::Own(interface)) => info!(interface, "Internet through our own uplink"),
            Some(Way::Gateway(id)) => info!(gateway = %id, "Internet through the mesh"),
            None => warn!("no Internet"),
        }
        self.tell_internet(now);
    }
}

/// Whether there may be others to give credit to, or for other gateways.
const fn changes_credit(event: &Event) -> bool {
    matches!(
        event,
        Event::NeighborUp(_)
            | Event::NeighborDown(_)
            | Event::NodeChanged(_)
            | Event::GatewaysChanged
    )
}
