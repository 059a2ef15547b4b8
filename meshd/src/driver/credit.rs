//! How much each neighbor may be carried, as far as the kernel was told.
//!
//! The ledger knows what a neighbor may have on top of what was counted when the counters were read last.
//! The kernel is told how much it may be carried in all, and holds it there without anybody looking: so
//! nothing changes while a neighbor is carried, and only receipts make it necessary to tell again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::time::Instant;

use mesh_proto::NodeId;
use receipts::Standing;

use super::Driver;
use super::accounts::party;
use crate::kernel::{Allowance, Credit, KernelRequest, Spent, TableChange};

/// How much more than the ledger the kernel may grant, next to an eighth of it: it counts merged frames
/// with the headers of one.
const SLACK_BYTES: u64 = 64 << 10;

/// What the kernel was told.
#[derive(Debug, Default)]
pub(super) struct Grants {
    told: Option<Credit>,
    /// Gateways that cost something when there was last a way to them.
    charged: BTreeSet<Ipv6Addr>,
    told_throttled: Option<bool>,
    /// What had counted against each neighbor's credit when counters were read last.
    spent: Spent,
    /// Whether our own traffic is to be slowed down.
    is_throttled: bool,
    /// Whether anything may be other than what the kernel was told.
    is_due: bool,
}

impl Grants {
    /// Counters were read.
    pub(super) fn note_spent(&mut self, spent: &Spent) {
        self.spent.clone_from(spent);
        self.is_due = true;
    }

    /// The ledger, neighbors or gateways are not what they were.
    pub(super) const fn note_change(&mut self) {
        self.is_due = true;
    }

    pub(super) const fn throttle(&mut self, is_throttled: bool) {
        self.is_throttled = is_throttled;
        self.is_due = true;
    }

    /// The accounts are others now: we owe nobody anything yet.
    pub(super) const fn begin_anew(&mut self) {
        self.throttle(false);
    }

    /// The limit of a neighbor that may be carried `left` bytes more.
    fn limit(&self, node: NodeId, left: u64) -> u64 {
        let spent = self.spent.get(&node).copied().unwrap_or_default();
        let told = self.told.as_ref();
        let told = told.and_then(|told| told.neighbors.get(&node));
        match told {
            Some(told) if is_about(told.limit.saturating_sub(spent), left) => told.limit,
            _ => spent.saturating_add(left),
        }
    }
}

/// Whether what the kernel grants is still about what the ledger does. It tells when half of it is used up,
/// so by then there must be more.
fn is_about(granted: u64, left: u64) -> bool {
    granted >= left / 8 * 5 && granted <= (left + left / 8).saturating_add(SLACK_BYTES)
}

impl Driver {
    /// Tells the kernel who may be carried how much, and whether we slow down ourselves. Nobody is slowed
    /// down while receipts cannot be saved: then it is not their fault that they do not sign.
    pub(super) fn grant_credit(&mut self, now: Instant) {
        // What a predecessor granted stays until prices and neighbors are known.
        let is_early = self.trusts_predecessor(now);
        if is_early || !std::mem::take(&mut self.books.grants.is_due) {
            return;
        }
        self.note_neighbors(now);
        let can_save = self.saving.problem.is_none();
        self.books.grants.charged = self.charged();
        let charged = match can_save {
            true => self.books.grants.charged.clone(),
            false => BTreeSet::new(),
        };
        let neighbors = match charged.is_empty() {
            true => BTreeMap::new(),
            false => self.allowances(),
        };
        let credit = Credit { charged, neighbors };
        let grants = &mut self.books.grants;
        let is_throttled = can_save && grants.is_throttled;
        if grants.told_throttled.replace(is_throttled) != Some(is_throttled) {
            let change = TableChange::Throttle(is_throttled);
            self.kernel.request(KernelRequest::Table(change));
        }
        if grants.told.as_ref() != Some(&credit) {
            grants.told = Some(credit.clone());
            let change = TableChange::Credit(credit);
            self.kernel.request(KernelRequest::Table(change));
        }
    }

    /// The gateways that we take something for carrying to, or did while there was a way.
    fn charged(&self) -> BTreeSet<Ipv6Addr> {
        let was_charged = |address: &Ipv6Addr| self.books.grants.charged.contains(address);
        let own = self.router.network().mesh_ipv6(self.router.id());
        let own = (own, super::accounts::node(self.ledger.owner()));
        let gateways = self.router.gateway_addresses().chain([own]);
        let charged = gateways.filter(|(address, gateway)| {
            let price = self.router.price_to(*gateway);
            price.map_or_else(|| was_charged(address), |it| it.atto_smt_per_mib() > 0)
        });
        charged.map(|(address, _)| address).collect()
    }

    /// What neighbors may have. What all strangers together may is handed out once.
    fn allowances(&self) -> BTreeMap<NodeId, Allowance> {
        let mut pool = self.ledger.strangers_credit_left();
        let neighbors = self.usage.neighbors().into_iter();
        let allowances = neighbors.map(|(node, links)| {
            let mut left = self.ledger.credit_left(party(node));
            if self.ledger.standing(party(node)) == Standing::Stranger {
                left = left.min(pool);
                pool -= left;
            }
            let limit = self.books.grants.limit(node, left);
            (node, Allowance { links, limit })
        });
        allowances.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::from_bytes([7; 32]);
    const MIB: u64 = 1 << 20;

    fn grants(told: u64, spent: u64) -> Grants {
        let neighbor = Allowance {
            limit: told,
            ..Allowance::default()
        };
        let told = Credit {
            neighbors: BTreeMap::from([(NODE, neighbor)]),
            ..Credit::default()
        };
        Grants {
            told: Some(told),
            spent: Spent::from([(NODE, spent)]),
            ..Grants::default()
        }
    }

    #[test]
    fn what_is_carried_changes_no_limit() {
        for spent in (0..8).map(|mib| mib * MIB) {
            let grants = grants(8 * MIB, spent);
            assert_eq!(grants.limit(NODE, 8 * MIB - spent), 8 * MIB);
        }
    }

    #[test]
    fn receipts_raise_it_before_it_is_used_up() {
        // Of 8 MiB, 3 are used: there is no hurry.
        assert_eq!(grants(8 * MIB, 3 * MIB).limit(NODE, 8 * MIB), 8 * MIB);
        assert_eq!(grants(8 * MIB, 4 * MIB).limit(NODE, 8 * MIB), 12 * MIB);
        assert_eq!(grants(8 * MIB, 90 * MIB).limit(NODE, MIB), 91 * MIB);
    }

    #[test]
    fn who_is_held_has_nothing_left() {
        assert_eq!(grants(9 * MIB, 4 * MIB).limit(NODE, 0), 4 * MIB);
        assert_eq!(grants(9 * MIB, 9 * MIB).limit(NODE, 0), 9 * MIB);
        // What is dropped counts as well.
        assert_eq!(grants(9 * MIB, 90 * MIB).limit(NODE, 0), 9 * MIB);
    }

    #[test]
    fn what_the_kernel_counted_short_is_taken_back() {
        let eighth = 9 * MIB / 8;
        assert_eq!(
            grants(5 * MIB + eighth, 5 * MIB).limit(NODE, MIB),
            6 * MIB + MIB / 8
        );
        assert_eq!(grants(8 * MIB, 5 * MIB).limit(NODE, MIB), 6 * MIB);
    }

    #[test]
    fn a_neighbor_begins_with_what_it_may_have() {
        assert_eq!(Grants::default().limit(NODE, MIB), MIB);
    }
}
