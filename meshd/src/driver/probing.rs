//! Nodes that are asked whether they are there, for `meshctl ping` and `meshctl traceroute`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use control_api::{Answer, Probe, Probed, RpcError, SCHEMA};
use mesh_proto::OriginatorId;
use mesh_proto::wire::{EchoReply, NextHop};
use tokio::sync::oneshot;

use super::Driver;
use crate::control;

/// Where an answer goes.
type Asker = oneshot::Sender<Result<Answer, RpcError>>;

/// Questions that wait for an answer, by their nonces. Each has a connection of the control socket to itself, so
/// there are no more of them than of those.
#[derive(Debug, Default)]
pub(super) struct Probing {
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    to: OriginatorId,
    sent: Instant,
    until: Instant,
    asker: Asker,
}

impl Probing {
    /// When the next question has waited long enough.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.values().map(|it| it.until).min()
    }
}

impl Driver {
    /// Asks a node. The answer comes when the node's does, or when the time is over.
    pub(super) fn probe(&mut self, now: Instant, probe: &Probe, asker: Asker) {
        let outcome = match self.send_probe(now, probe) {
            // This node itself.
            Ok((to, None)) => {
                let towards = probe.towards.as_deref();
                let towards = towards.and_then(|it| self.view(now).node_called(it).ok());
                let next = towards.and_then(|it| self.router.next_hop_towards(now, it));
                Ok(self.probed(now, to, Some(Duration::ZERO), next))
            }
            Ok((to, Some(nonce))) => {
                let waiting = Waiting {
                    to,
                    sent: now,
                    until: now + Duration::from_millis(probe.wait_ms.into()),
                    asker,
                };
                self.probing.waiting.insert(nonce, waiting);
                return;
            }
            Err(error) => Err(error),
        };
        // Whoever asked may be gone.
        let _ = asker.send(outcome);
    }

    /// Whom the question went to, and its nonce; none if it is for this node.
    fn send_probe(
        &mut self,
        now: Instant,
        probe: &Probe,
    ) -> Result<(OriginatorId, Option<u64>), RpcError> {
        let view = self.view(now);
        let to = view.node_called(&probe.node)?;
        let towards = match &probe.towards {
            Some(towards) => view.node_called(towards)?,
            None => to,
        };
        if to == self.router.id() {
            return Ok((to, None));
        }
        let nonce = getrandom::u64().map_err(|error| RpcError::failed(error.to_string()))?;
        if !self.router.send_echo(now, to, nonce, towards) {
            let name = self.view(now).display(to);
            return Err(RpcError::not_found(format!("no way to {name}")));
        }
        Ok((to, Some(nonce)))
    }

    /// Takes an answer to the question that it belongs to, if there is one.
    pub(super) fn handle_echo_reply(&mut self, now: Instant, from: OriginatorId, reply: EchoReply) {
        if self.note_that_it_is_there(from, reply.nonce) {
            return;
        }
        let waiting = self.probing.waiting.get(&reply.nonce);
        if waiting.is_none_or(|it| it.to != from) {
            return;
        }
        if let Some(waiting) = self.probing.waiting.remove(&reply.nonce) {
            let rtt = now.saturating_duration_since(waiting.sent);
            let probed = self.probed(now, from, Some(rtt), reply.next_hop);
            let _ = waiting.asker.send(Ok(probed));
        }
    }

    /// Says of what was not answered that it was not.
    pub(super) fn give_up_probes(&mut self, now: Instant) {
        let over = self.probing.waiting.extract_if(.., |_, it| it.until <= now);
        for (_, waiting) in over.collect::<Vec<_>>() {
            let probed = self.probed(now, waiting.to, None, None);
            let _ = waiting.asker.send(Ok(probed));
        }
    }

    fn probed(
        &self,
        now: Instant,
        node: OriginatorId,
        rtt: Option<Duration>,
        next_hop: Option<NextHop>,
    ) -> Answer {
        let view = self.view(now);
        let next_hop = next_hop.map(|next| control_api::NextHop {
            node: view.node_ref(next.node),
            rx_quality: control::quality(next.rx_quality),
            tx_quality: control::quality(next.tx_quality),
        });
        let in_us = |rtt: Duration| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        Probed {
            schema: SCHEMA,
            node: view.node_ref(node),
            address: self.router.network().mesh_ipv6(node),
            rtt_us: rtt.map(in_us),
            next_hop,
        }
        .into()
    }
}
