//! Which neighbors carry traffic: packets of others than the routing protocol were received from
//! them, or sent to them.
//!
//! Two sets of our nftables table remember for a few seconds who that was. One counter beside them
//! tells whether there was anything at all, so that looking costs one short question while nothing
//! flows.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use mesh_proto::IfIndex;

use super::neighbor::MacKey;
use super::netlink::KernelError;
use super::nfnetlink::{Counted, Element, Nfnetlink};

/// How often there is a look at it. Reading the counters begins with one, so whoever reads them
/// more often spares the task a wake of its own.
pub(super) const INTERVAL: Duration = Duration::from_millis(550);

/// How long the sets remember a neighbor: several looks, so that a late one misses none.
pub(super) const MEMORY_SECONDS: u64 = 3;

/// Counts everything that makes or refreshes an element.
pub(super) const COUNTER: &str = "traffic";

/// The set of interfaces and Ethernet addresses that something was received from.
pub(super) const RECEIVED: &str = "heard";

/// The set of interfaces and link-local addresses that something was sent to.
pub(super) const SENT: &str = "sent";

/// The clocks of the kernel that count an element's time go in steps of up to 10 ms.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// Neighbors that carried traffic since the last look.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By link-local address.
    pub(super) addresses: BTreeSet<(IfIndex, Ipv6Addr)>,
    /// By Ethernet address.
    pub(super) macs: BTreeSet<MacKey>,
}

/// What the last look showed.
#[derive(Debug)]
pub(super) struct Traffic {
    counted: Option<Counted>,
    looked_at: Option<Instant>,
    /// Looks in a row that showed nothing.
    quiet_looks: u32,
}

impl Traffic {
    /// Nothing was looked at yet.
    pub(super) const fn new() -> Self {
        Self {
            counted: None,
            looked_at: None,
            quiet_looks: 0,
        }
    }

    /// Whether nothing has flowed for so long that no packet seen before is still on its way
    /// through the other rules of the table.
    pub(super) const fn is_quiet(&self) -> bool {
        self.quiet_looks > 1
    }

    /// Looks who carried traffic since the last look, which is empty if nobody did.
    ///
    /// # Errors
    /// [`KernelError::TableMissing`] when the table is not complete.
    pub(super) fn look(
        &mut self,
        now: Instant,
        nfnetlink: &mut Nfnetlink,
    ) -> Result<Seen, KernelError> {
        let before = self.looked_at.replace(now);
        let quiet_looks = std::mem::take(&mut self.quiet_looks);
        let counted = Some(nfnetlink.counter(COUNTER)?);
        if counted == self.counted {
            self.quiet_looks = quiet_looks.saturating_add(1);
        }
        let Some(before) = before.filter(|_| counted != self.counted) else {
            self.counted = counted;
            return Ok(Seen::default());
        };
        let since = now.saturating_duration_since(before) + CLOCK_STEP;
        let is_new = |element: &Element| {
            let left = element.expires_in_ms.map(Duration::from_millis);
            left.is_some_and(|left| left + since >= Duration::from_secs(MEMORY_SECONDS))
        };
        let mut seen = Seen::default();
        for element in nfnetlink.elements(RECEIVED)?.iter().filter(|it| is_new(it)) {
            let [a, b, c, d, e, f, ..] = element.address;
            seen.macs.insert((element.ifindex, [a, b, c, d, e, f]));
        }
        for element in nfnetlink.elements(SENT)?.iter().filter(|it| is_new(it)) {
            let address = Ipv6Addr::from(element.address);
            // Others may have an address of a network that the interface is attached to.
            if address.is_unicast_link_local() {
                seen.addresses.insert((element.ifindex, address));
            }
        }
        self.counted = counted;
        Ok(seen)
    }
}
