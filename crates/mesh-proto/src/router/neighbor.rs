//! Links to neighbors.

use std::net::Ipv6Addr;
use std::time::Instant;

use super::link_quality::{HelloWindow, link_cost};
use crate::wire::Hello;
use crate::{IfIndex, Metric, OriginatorId};

/// A link: a neighbor as heard on one of our interfaces. A neighbor in reach of two interfaces
/// has two links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    /// Our interface.
    pub ifindex: IfIndex,
    /// The node at the other end.
    pub neighbor: OriginatorId,
}

/// What a hello says of the neighbor beyond "still here".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continuity {
    /// It goes on as before.
    Same,
    /// Its daemon was restarted and took its routes over: what leads through it still works.
    Restarted,
    /// It began from nothing: what led through it is void.
    StateLost,
}

#[derive(Debug)]
pub(super) struct Neighbor {
    pub(super) address: Ipv6Addr,
    pub(super) since: Instant,
    pub(super) last_heard: Instant,
    /// The cost that routes were last selected with.
    pub(super) settled_cost: Metric,
    boot: u32,
    hellos: HelloWindow,
    /// How well it says it hears us, and when it said so.
    reported: Option<(u8, Instant)>,
}

impl Neighbor {
    pub(super) fn new(now: Instant, address: Ipv6Addr, hello: &Hello) -> Self {
        Self {
            address,
            since: now,
            last_heard: now,
            settled_cost: Metric::INFINITE,
            boot: hello.boot,
            hellos: HelloWindow::new(now, hello),
            reported: None,
        }
    }

    pub(super) fn handle_hello(&mut self, now: Instant, hello: &Hello) -> Continuity {
        self.last_heard = now;
        let continuity = match hello.boot == self.boot {
            true => Continuity::Same,
            false if hello.warm => Continuity::Restarted,
            false => Continuity::StateLost,
        };
        self.boot = hello.boot;
        match continuity {
            Continuity::Same => self.hellos.hear(now, hello),
            Continuity::Restarted | Continuity::StateLost => self.hellos.hear_anew(now, hello),
        }
        continuity
    }

    /// The boot its last hello named.
    pub(super) const fn boot(&self) -> u32 {
        self.boot
    }

    pub(super) fn handle_report(&mut self, now: Instant, quality: u8) {
        self.reported = Some((quality, now));
    }

    /// Whether the neighbor is given up at `now`.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        now >= self.hellos.deadline()
    }

    pub(super) fn deadline(&self) -> Instant {
        self.hellos.deadline()
    }

    /// The share of its hellos that arrive here, 0 to 255.
    pub(super) fn rx_quality(&self, now: Instant) -> u8 {
        self.hellos.quality(now)
    }

    /// The share of our hellos that arrive there, 0 to 255. Reports come with hellos, so one
    /// that is older than the patience for hellos is no longer believed.
    pub(super) fn tx_quality(&self, now: Instant) -> u8 {
        let patience = self
            .hellos
            .deadline()
            .saturating_duration_since(self.last_heard);
        match self.reported {
            Some((quality, at)) if now.saturating_duration_since(at) <= patience => quality,
            _ => 0,
        }
    }

    /// What the link costs; infinite until both directions are known to work.
    pub(super) fn cost(&self, now: Instant) -> Metric {
        link_cost(self.rx_quality(now), self.tx_quality(now))
    }
}
