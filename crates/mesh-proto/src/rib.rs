//! The routing information base: who claims which prefix, and the difference between what
//! should be in the kernel and what is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use ipnet::IpNet;

use crate::{IfIndex, OriginatorId, Tunnel};

/// The tables of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Host routes to nodes and the prefixes they announce, hop by hop.
    Mesh,
    /// Routes into tunnels: the default routes through the chosen gateway; on a gateway the way
    /// back to each node.
    Tunnel,
    /// The default routes of flows that began through the gateway with this mark.
    Marked(Mark),
}

/// What tells the flows that began through one gateway from others: a number from 1. Four bits can tell 15
/// from no mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(u8);

impl Mark {
    /// How many gateways can have one.
    pub const COUNT: u8 = 12;

    const LAST: u8 = 15;

    /// Those of gateways.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=Self::COUNT).map(Self)
    }

    /// Those that no gateway ever has: they are left for a node's own uplinks.
    pub fn spare() -> impl Iterator<Item = Self> {
        (Self::COUNT + 1..=Self::LAST).map(Self)
    }

    /// Its number, 1 to 15.
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// Where packets for a prefix go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// To a neighbor: its link-local address on an interface of ours.
    NextHop {
        /// The neighbor's link-local address.
        via: Ipv6Addr,
        /// Our interface.
        ifindex: IfIndex,
    },
    /// Into the tunnel that ends at `peer`.
    Tunnel {
        /// The other end of the tunnel.
        peer: OriginatorId,
        /// Which tunnel it is.
        tunnel: Tunnel,
    },
}

/// Where packets go, and where they would go if that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// Where they go.
    pub target: Target,
    /// Where they would go: the next hop of a feasible successor.
    pub backup: Option<Target>,
}

impl From<Target> for Path {
    /// A path that nothing stands in for.
    fn from(target: Target) -> Self {
        Self {
            target,
            backup: None,
        }
    }
}

/// What a route is found by.
pub type RouteKey = (Table, IpNet);

/// A route as the kernel should have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// The table it stands in.
    pub table: Table,
    /// The destinations it is for, without host bits.
    pub prefix: IpNet,
    /// Where they are sent.
    pub target: Target,
    /// Where they would be sent if the target failed. The kernel does not know it; it tells which
    /// routes would move together.
    pub backup: Option<Target>,
}

impl Route {
    /// The route for `key` along `path`.
    pub const fn new((table, prefix): RouteKey, path: Path) -> Self {
        Self {
            table,
            prefix,
            target: path.target,
            backup: path.backup,
        }
    }

    /// What the route is found by: no table has two routes for a prefix.
    pub const fn key(&self) -> RouteKey {
        (self.table, self.prefix)
    }

    /// Where it leads.
    pub const fn path(&self) -> Path {
        Path {
            target: self.target,
            backup: self.backup,
        }
    }
}

/// A change to the kernel's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteChange {
    /// Add the route, or replace the one for its prefix without a gap.
    Set(Route),
    /// Remove the route for this prefix.
    Remove {
        /// The table it stands in.
        table: Table,
        /// Its prefix.
        prefix: IpNet,
    },
}

/// What each originator claims, and what the kernel was told.
///
/// Several originators may claim one prefix; the lowest id has it, so that all nodes decide
/// alike without asking each other.
#[derive(Debug, Default)]
pub struct Rib {
    claims: BTreeMap<(RouteKey, OriginatorId), Option<Path>>,
    /// The keys that each originator claims, in order.
    claimed_by: BTreeMap<OriginatorId, Box<[RouteKey]>>,
    installed: BTreeMap<RouteKey, Path>,
    changes: Vec<RouteChange>,
    /// Adopted from an earlier run and not confirmed yet: kept until [`Rib::purge_adopted`].
    adopted: BTreeSet<RouteKey>,
}

impl Rib {
    /// Takes over the routes an earlier run of the daemon left in the kernel, so that traffic
    /// goes on until they are confirmed, replaced, or purged.
    pub fn adopt(&mut self, routes: impl IntoIterator<Item = Route>) {
        for route in routes {
            self.installed.insert(route.key(), route.path());
            self.adopted.insert(route.key());
        }
    }

    /// Removes what was adopted and nobody has claimed since.
    pub fn purge_adopted(&mut self) {
        for key in std::mem::take(&mut self.adopted) {
            self.settle(key);
        }
    }

    /// Removes what was adopted, leads to `target`, and is not one of `offered`: whoever is there
    /// knows no such route.
    pub fn purge_adopted_through(&mut self, target: Target, offered: &BTreeSet<RouteKey>) {
        let leads_there = |key: &RouteKey| {
            let path = self.installed.get(key);
            path.is_some_and(|path| path.target == target) && !offered.contains(key)
        };
        let stale: Vec<RouteKey> = self.adopted.iter().copied().filter(leads_there).collect();
        for key in stale {
            self.adopted.remove(&key);
            self.settle(key);
        }
    }

    /// Whether adopted routes still wait to be confirmed.
    pub fn has_adopted(&self) -> bool {
        !self.adopted.is_empty()
    }

    /// Replaces everything `owner` claims. `None` is a claim that needs no route, such as a
    /// prefix of our own; it keeps others with a higher id from getting one.
    pub fn set_claims(&mut self, owner: OriginatorId, claims: BTreeMap<RouteKey, Option<Path>>) {
        let keys: Box<[RouteKey]> = claims.keys().copied().collect();
        let before = match keys.is_empty() {
            true => self.claimed_by.remove(&owner),
            false => self.claimed_by.insert(owner, keys),
        };
        for key in before.into_iter().flatten() {
            if !claims.contains_key(&key) {
                self.claims.remove(&(key, owner));
                self.settle(key);
            }
        }
        for (key, path) in claims {
            if self.claims.insert((key, owner), path) != Some(path) {
                self.settle(key);
            }
        }
    }

    /// Who claims `key`, lowest id (the one who has it) first.
    pub fn claimants(&self, key: RouteKey) -> impl Iterator<Item = OriginatorId> {
        self.claims_on(key).map(|(owner, _)| owner)
    }

    /// The claims on `key`, that of the lowest id first.
    fn claims_on(&self, key: RouteKey) -> impl Iterator<Item = (OriginatorId, Option<Path>)> {
        let from_the_lowest = (key, OriginatorId::from_bytes([0; OriginatorId::LEN]))..;
        let claims = self.claims.range(from_the_lowest);
        let of_key = claims.take_while(move |((of, _), _)| *of == key);
        of_key.map(|((_, owner), path)| (*owner, *path))
    }

    /// The routes the kernel has once all changes are carried out.
    pub fn routes(&self) -> impl Iterator<Item = Route> {
        self.installed
            .iter()
            .map(|(&key, &path)| Route::new(key, path))
    }

    /// One of these routes.
    pub fn path(&self, key: RouteKey) -> Option<Path> {
        self.installed.get(&key).copied()
    }

    /// What the kernel must be told, in order.
    pub fn take_changes(&mut self) -> Vec<RouteChange> {
        std::mem::take(&mut self.changes)
    }

    /// Brings the kernel's route for `key` in line with the claims.
    fn settle(&mut self, key: RouteKey) {
        let wanted = self.claims_on(key).next().and_then(|(_, path)| path);
        let (table, prefix) = key;
        match wanted {
            Some(path) => {
                self.adopted.remove(&key);
                if self.installed.insert(key, path) != Some(path) {
                    self.changes.push(RouteChange::Set(Route::new(key, path)));
                }
            }
            None if self.adopted.contains(&key) => {}
            None => {
                if self.installed.remove(&key).is_some() {
                    self.changes.push(RouteChange::Remove { table, prefix });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> OriginatorId {
        OriginatorId::from_bytes([byte; 10])
    }

    fn key() -> RouteKey {
        (Table::Mesh, "10.1.0.0/24".parse().unwrap())
    }

    fn via(last: u16) -> Target {
        Target::NextHop {
            via: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last),
            ifindex: IfIndex(3),
        }
    }

    fn claim(target: Option<Target>) -> BTreeMap<RouteKey, Option<Path>> {
        BTreeMap::from([(key(), target.map(Path::from))])
    }

    fn set(target: Target) -> RouteChange {
        RouteChange::Set(Route::new(key(), target.into()))
    }

    fn remove() -> RouteChange {
        RouteChange::Remove {
            table: key().0,
            prefix: key().1,
        }
    }

    #[test]
    fn only_differences_reach_the_kernel() {
        let mut rib = Rib::default();
        rib.set_claims(id(5), claim(Some(via(1))));
        assert_eq!(rib.take_changes(), [set(via(1))]);
        rib.set_claims(id(5), claim(Some(via(1))));
        assert_eq!(rib.take_changes(), []);
        rib.set_claims(id(5), claim(Some(via(2))));
        assert_eq!(rib.take_changes(), [set(via(2))]);
        rib.set_claims(id(5), BTreeMap::new());
        assert_eq!(rib.take_changes(), [remove()]);
    }

    #[test]
    fn a_change_of_the_backup_alone_is_told_once() {
        let mut rib = Rib::default();
        rib.set_claims(id(5), claim(Some(via(1))));
        rib.take_changes();
        let path = Path {
            target: via(1),
            backup: Some(via(2)),
        };
        let claims = BTreeMap::from([(key(), Some(path))]);
        for told in [1, 0] {
            rib.set_claims(id(5), claims.clone());
            let expected = [RouteChange::Set(Route::new(key(), path))];
            assert_eq!(rib.take_changes(), expected[..told]);
        }
        assert_eq!(rib.routes().next().map(|route| route.path()), Some(path));
    }

    #[test]
    fn the_lowest_id_has_a_prefix_that_two_claim() {
        let mut rib = Rib::default();
        rib.set_claims(id(5), claim(Some(via(5))));
        rib.set_claims(id(9), claim(Some(via(9))));
        assert_eq!(rib.take_changes(), [set(via(5))]);
        rib.set_claims(id(5), BTreeMap::new());
        assert_eq!(rib.take_changes(), [set(via(9))]);
        rib.set_claims(id(1), claim(None));
        assert_eq!(
            rib.take_changes(),
            [remove()],
            "our own prefix needs no route"
        );
        assert_eq!(rib.claimants(key()).collect::<Vec<_>>(), [id(1), id(9)]);
    }

    #[test]
    fn adopted_routes_stay_until_purged_and_are_not_set_again() {
        let mut rib = Rib::default();
        let other: IpNet = "10.2.0.0/24".parse().unwrap();
        let stale = Route::new((Table::Mesh, other), via(1).into());
        rib.adopt([Route::new(key(), via(1).into()), stale]);
        rib.set_claims(id(5), claim(Some(via(1))));
        assert_eq!(rib.take_changes(), [], "confirmed as it is");
        rib.purge_adopted();
        assert_eq!(
            rib.take_changes(),
            [RouteChange::Remove {
                table: Table::Mesh,
                prefix: other
            }]
        );
        assert!(!rib.has_adopted());
    }

    #[test]
    fn adopted_routes_through_one_who_does_not_offer_them_are_removed() {
        let mut rib = Rib::default();
        let others = ["10.2.0.0/24", "10.3.0.0/24"].map(|it| (Table::Mesh, it.parse().unwrap()));
        rib.adopt([
            Route::new(key(), via(1).into()),
            Route::new(others[0], via(1).into()),
            Route::new(others[1], via(2).into()),
        ]);
        rib.purge_adopted_through(via(1), &BTreeSet::from([key()]));
        let (table, prefix) = others[0];
        assert_eq!(rib.take_changes(), [RouteChange::Remove { table, prefix }]);
        assert_eq!(rib.routes().count(), 2);
    }

    #[test]
    fn an_adopted_route_that_changed_is_replaced_in_place() {
        let mut rib = Rib::default();
        rib.adopt([Route::new(key(), via(1).into())]);
        rib.set_claims(id(5), claim(Some(via(2))));
        assert_eq!(rib.take_changes(), [set(via(2))]);
    }
}
