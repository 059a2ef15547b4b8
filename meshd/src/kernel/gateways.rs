//! The nodes whose tunnel packets are counted: the gateways, and for a moment those that were.
//!
//! A node that stops being a gateway still has packets under way, and nodes that have not heard of it yet.
//! After a start, who is a gateway is not known for some seconds, while the flows of the life before
//! go on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

/// How long a gateway counts as one after it is none any longer: by then every node has heard of it.
const MEMORY: Duration = Duration::from_secs(60);

/// The addresses of gateways.
#[derive(Debug, Default)]
pub(super) struct Gateways {
    present: BTreeSet<Ipv6Addr>,
    /// Those that are none any longer, and until when they count as some.
    leaving: BTreeMap<Ipv6Addr, Instant>,
}

impl Gateways {
    /// Takes over those that a predecessor knew.
    pub(super) fn adopt(&mut self, now: Instant, found: impl IntoIterator<Item = Ipv6Addr>) {
        let found = found.into_iter().map(|it| (it, now + MEMORY));
        self.leaving.extend(found);
    }

    /// These are gateways now, and no others.
    pub(super) fn set(&mut self, now: Instant, present: BTreeSet<Ipv6Addr>) {
        let before = std::mem::replace(&mut self.present, present);
        let left = before.difference(&self.present);
        self.leaving.extend(left.map(|&it| (it, now + MEMORY)));
        self.leaving.retain(|it, _| !self.present.contains(it));
    }

    /// Those whose packets are counted.
    pub(super) fn counted(&self) -> BTreeSet<Ipv6Addr> {
        let leaving = self.leaving.keys();
        self.present.iter().chain(leaving).copied().collect()
    }

    /// When the next one is forgotten.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.leaving.values().min().copied()
    }

    /// Whether some are to be forgotten now.
    pub(super) fn handle_timeouts(&mut self, now: Instant) -> bool {
        let before = self.leaving.len();
        self.leaving.retain(|_, until| now < *until);
        self.leaving.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
    const B: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

    #[test]
    fn a_gateway_that_leaves_is_counted_for_a_minute() {
        let now = Instant::now();
        let mut gateways = Gateways::default();
        gateways.set(now, BTreeSet::from([A, B]));
        assert_eq!(gateways.deadline(), None);
        gateways.set(now, BTreeSet::from([A]));
        assert_eq!(gateways.counted(), BTreeSet::from([A, B]));
        assert!(!gateways.handle_timeouts(now + MEMORY / 2));
        assert!(gateways.handle_timeouts(now + MEMORY));
        assert_eq!(gateways.counted(), BTreeSet::from([A]));
    }

    #[test]
    fn one_that_comes_back_stays() {
        let now = Instant::now();
        let mut gateways = Gateways::default();
        gateways.adopt(now, [A]);
        gateways.set(now, BTreeSet::from([A]));
        assert_eq!(gateways.deadline(), None);
        assert_eq!(gateways.counted(), BTreeSet::from([A]));
        gateways.adopt(now, [B]);
        assert_eq!(gateways.deadline(), Some(now + MEMORY), "for B");
        assert_eq!(gateways.counted(), BTreeSet::from([A, B]));
    }
}
