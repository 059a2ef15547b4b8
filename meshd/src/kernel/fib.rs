//! The routes there should be, and carrying them out.
//!
//! | room | what lives there |
//! |---|---|
//! | this file | what is wanted, and the messages that follow from it |
//! | `objects` | which route refers to which next hop object: bookkeeping without messages |

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use mesh_proto::rib::RouteKey;
use mesh_proto::{Family, IfIndex, OriginatorId, Path, Route, RouteChange, Table, Target, Tunnel};
use nix::errno::Errno;
use rtnetlink::Handle;

use super::marks::Marked;
use super::netlink::KernelError;
use super::nexthop::{Nexthops, ObjectId};
use super::route::{self, Found, Present, Way};
use super::tunnel::Tunnels;
use super::{Setup, Warning};
use objects::Objects;

mod objects;

/// A route as it should be: with the address of ours that its packets carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    path: Path,
    source: IpAddr,
}

impl Wanted {
    fn is_served_by(&self, present: &Present) -> bool {
        let through_object = matches!(self.path.target, Target::NextHop { .. });
        present.target == self.path.target
            && present.source == self.source
            && present.object.is_some() == through_object
    }
}

/// Our routes.
pub(super) struct Fib {
    handle: Handle,
    setup: Setup,
    nexthops: Nexthops,
    pub(super) tunnels: Tunnels,
    mesh_ipv4: Option<Ipv4Addr>,
    wanted: BTreeMap<RouteKey, Wanted>,
    objects: Objects,
}

impl Fib {
    pub(super) fn new(handle: Handle, setup: Setup) -> io::Result<Self> {
        Ok(Self {
            tunnels: Tunnels::open(handle.clone(), setup.clone())?,
            handle,
            setup,
            nexthops: Nexthops::open()?,
            mesh_ipv4: None,
            wanted: BTreeMap::new(),
            objects: Objects::default(),
        })
    }

    /// Takes over the routes of a predecessor, and removes what it could not have set.
    pub(super) async fn adopt(&mut self) -> Result<Vec<Route>, KernelError> {
        let found = self.read().await?;
        for message in found.unknown {
            let action = || "remove a route left behind".to_owned();
            if let Err(error) = route::delete(&self.handle, message, action).await {
                tracing::warn!(%error);
            }
        }
        let wanted = |present: Present| Wanted {
            path: present.target.into(),
            source: present.source,
        };
        let routes = found.routes.into_iter();
        self.wanted = routes.map(|(key, it)| (key, wanted(it))).collect();
        let peers = self.tunnels.peers();
        self.forget_peers(peers).await;
        let adopted = self.wanted.iter();
        Ok(adopted.map(|(&key, it)| Route::new(key, it.path)).collect())
    }

    /// Whether there should be a route.
    pub(super) fn wants(&self, key: RouteKey) -> bool {
        self.wanted.contains_key(&key)
    }

    /// The marks for which there are routes, and of which family.
    pub(super) fn marked(&self) -> BTreeSet<Marked> {
        let marked = |(table, prefix): &RouteKey| match (table, prefix) {
            (Table::Marked(mark), IpNet::V4(_)) => Some((*mark, Family::Ipv4)),
            (Table::Marked(mark), IpNet::V6(_)) => Some((*mark, Family::Ipv6)),
            (Table::Mesh | Table::Tunnel, _) => None,
        };
        self.wanted.keys().filter_map(marked).collect()
    }

    /// Packets carry this address from now on; [`Fib::restore`] gives it to routes that are there.
    pub(super) fn set_mesh_ipv4(&mut self, address: Ipv4Addr) {
        self.mesh_ipv4 = Some(address);
        for wanted in self.wanted.values_mut() {
            if wanted.source.is_ipv4() {
                wanted.source = IpAddr::V4(address);
            }
        }
    }

    /// The kernel has removed all objects at an interface, and the routes that referred to them.
    pub(super) fn forget_interface(&mut self, ifindex: IfIndex) {
        self.objects.forget_interface(ifindex);
    }

    /// Carries out changes. Returns those the kernel refused; it is offered these again when
    /// [`Fib::restore`] is called.
    pub(super) async fn change(
        &mut self,
        changes: &[RouteChange],
    ) -> Vec<(RouteChange, KernelError)> {
        let latest: BTreeMap<RouteKey, RouteChange> = changes
            .iter()
            .map(|&change| (key_of(change), change))
            .collect();
        let mut failed = Vec::new();
        let mut keys = Vec::new();
        let mut former = Vec::new();
        for (&key, &change) in &latest {
            match self.note(change) {
                Ok(old) => {
                    keys.push(key);
                    former.extend(old.and_then(|old| tunnel(old.path.target)));
                }
                Err(error) => failed.push((change, error)),
            }
        }
        for (key, error) in self.settle(keys).await {
            match latest.get(&key) {
                Some(&change) => failed.push((change, error)),
                None => tracing::warn!(%error),
            }
        }
        self.forget_peers(former).await;
        failed
    }

    /// Puts back routes that should be there and are not, or are different, as far as the way
    /// they lead `is_open`.
    pub(super) async fn restore(&mut self, is_open: impl Fn(Target) -> bool) -> Vec<KernelError> {
        let present: BTreeMap<RouteKey, Present> = match self.read().await {
            Ok(found) => found.routes.into_iter().collect(),
            Err(error) => return vec![error],
        };
        let is_there = |key, wanted: &Wanted| {
            let present = present.get(key);
            present.is_some_and(|present| wanted.is_served_by(present))
        };
        let missing: Vec<RouteKey> = self
            .wanted
            .iter()
            .filter(|(key, wanted)| !is_there(key, wanted) && is_open(wanted.path.target))
            .map(|(&key, _)| key)
            .collect();
        for &key in &missing {
            let has_other_source = |present: &Present| {
                let wanted = self.wanted.get(&key);
                wanted.is_some_and(|wanted| wanted.source != present.source)
            };
            if present.get(&key).is_some_and(has_other_source) {
                self.objects.release(key);
            }
        }
        let failed = self.settle(missing).await;
        failed.into_iter().map(|(_, error)| error).collect()
    }

    /// Removes everything of ours.
    pub(super) async fn remove_everything(&mut self) -> Vec<Warning> {
        let mut results = Vec::new();
        match self.nexthops.list() {
            Ok(objects) => {
                let removed = objects.into_keys().map(|id| self.nexthops.remove(id));
                results.extend(removed);
            }
            Err(error) => results.push(Err(error)),
        }
        match self.read().await {
            Ok(found) => {
                for (key, _) in found.routes {
                    results.push(route::remove(&self.handle, &self.setup.numbers, key).await);
                }
                for message in found.unknown {
                    let action = || "remove a route".to_owned();
                    results.push(route::delete(&self.handle, message, action).await);
                }
            }
            Err(error) => results.push(Err(error)),
        }
        let errors = results.into_iter().filter_map(Result::err);
        errors.map(Warning::Kernel).collect()
    }

    /// Reads what the kernel has.
    async fn read(&mut self) -> Result<Found, KernelError> {
        let objects = self.nexthops.list()?;
        self.tunnels.find().await?;
        let ends = route::Ends {
            setup: &self.setup,
            objects: &objects,
            tunnels: &self.tunnels,
        };
        let found = route::list(&self.handle, ends).await?;
        let routes = found.routes.iter();
        let referring = routes.filter_map(|(key, present)| Some((*key, present.object?)));
        self.objects.found(objects, referring);
        Ok(found)
    }

    /// Takes note of what is wanted from now on. Returns what was wanted before.
    fn note(&mut self, change: RouteChange) -> Result<Option<Wanted>, KernelError> {
        match change {
            RouteChange::Set(route) => {
                let wanted = Wanted {
                    path: route.path(),
                    source: self.source(&route.prefix)?,
                };
                let old = self.wanted.insert(route.key(), wanted);
                if old.is_some_and(|old| old.source != wanted.source) {
                    self.objects.release(route.key());
                }
                Ok(old)
            }
            RouteChange::Remove { table, prefix } => Ok(self.wanted.remove(&(table, prefix))),
        }
    }

    /// Brings the kernel's routes for `keys` in line with what is wanted: first the objects that
    /// can be moved as a whole, then routes that lead to another target than they should, then
    /// what is mere order.
    async fn settle(&mut self, mut keys: Vec<RouteKey>) -> Vec<(RouteKey, KernelError)> {
        self.move_objects(&keys);
        let wanted = |key| self.wanted.get(&key).map(|wanted| wanted.path);
        let displaced = self.objects.settle(&keys, wanted);
        keys.sort_by_key(|&key| self.objects.target_of(key) == wanted(key).map(|it| it.target));
        let mut failed = Vec::new();
        for key in keys.into_iter().chain(displaced) {
            if let Err(error) = self.put(key).await {
                failed.push((key, error));
            }
        }
        self.remove_unused();
        failed
    }

    /// Moves objects all of whose routes want to another target.
    fn move_objects(&mut self, keys: &[RouteKey]) {
        let wanted = |key| self.wanted.get(&key).map(|wanted| wanted.path);
        for (id, target) in self.objects.moves(keys, wanted) {
            let Target::NextHop { via, ifindex } = target else {
                continue;
            };
            match self.nexthops.replace(id, via, ifindex) {
                Ok(()) => self.objects.moved(id, target),
                Err(error) => {
                    // Its routes are set one by one then, which tells of each that is refused.
                    tracing::debug!(%error);
                    if error.is_errno(&[Errno::ENOENT]) {
                        self.objects.forget(id);
                    }
                }
            }
        }
    }

    /// Sets or removes one route.
    async fn put(&mut self, key: RouteKey) -> Result<(), KernelError> {
        let Some(&Wanted { path, source }) = self.wanted.get(&key) else {
            route::remove(&self.handle, &self.setup.numbers, key).await?;
            self.objects.release(key);
            return Ok(());
        };
        match path.target {
            Target::NextHop { via, ifindex } => {
                let id = self.object(path, via, ifindex);
                let id =
                    id.map_err(|error| error.within(&route::setting(&self.setup.numbers, key)))?;
                if self.objects.of_route(key) != Some(id) {
                    route::set(&self.handle, &self.setup, key, Way::Object(id), source).await?;
                    self.objects.assign(key, id);
                }
            }
            Target::Tunnel { peer, tunnel } => {
                let (_, prefix) = key;
                let way = self.tunnels.way(peer, tunnel, prefix).await;
                let way =
                    way.map_err(|error| error.within(&route::setting(&self.setup.numbers, key)))?;
                route::set(&self.handle, &self.setup, key, way, source).await?;
                self.objects.release(key);
            }
        }
        Ok(())
    }

    /// The object for routes along a path, which is made if there is none.
    fn object(
        &mut self,
        path: Path,
        via: Ipv6Addr,
        ifindex: IfIndex,
    ) -> Result<ObjectId, KernelError> {
        if let Some(id) = self.objects.of_path(path) {
            return Ok(id);
        }
        let Self {
            objects, nexthops, ..
        } = self;
        let made = objects
            .free_ids()
            .find_map(|id| match nexthops.add(id, via, ifindex) {
                Ok(()) => Some(Ok(id)),
                // Somebody else's.
                Err(error) if error.is_errno(&[Errno::EEXIST]) => None,
                Err(error) => Some(Err(error)),
            });
        let id = made.unwrap_or(Err(KernelError::NoNexthopId))?;
        objects.made(id, path);
        Ok(id)
    }

    fn remove_unused(&mut self) {
        for id in self.objects.unused() {
            match self.nexthops.remove(id) {
                Ok(()) => self.objects.forget(id),
                Err(error) => tracing::warn!(%error),
            }
        }
    }

    /// Leaves of the tunnels that former routes led into what other routes need.
    async fn forget_peers(&mut self, former: Vec<(OriginatorId, Tunnel)>) {
        for (peer, kind) in former.into_iter().collect::<BTreeSet<_>>() {
            // A key of WireGuard belongs to one node, but another may say that it has it, too.
            let is_kept = |target| {
                tunnel(target).is_some_and(|(other, it)| match kind {
                    Tunnel::Vxlan => (other, it) == (peer, kind),
                    Tunnel::Wireguard(_) => it == kind,
                })
            };
            let wanted = self.wanted.iter();
            let through = wanted.filter(|(_, wanted)| is_kept(wanted.path.target));
            let prefixes = through.map(|((_, prefix), _)| *prefix).collect();
            if let Err(error) = self.tunnels.keep(peer, kind, &prefixes).await {
                tracing::warn!(%error);
            }
        }
    }

    /// The address of ours that packets to a prefix carry.
    fn source(&self, prefix: &IpNet) -> Result<IpAddr, KernelError> {
        let mesh_ipv4 = self.mesh_ipv4.ok_or(KernelError::NotConfigured)?;
        Ok(match prefix {
            IpNet::V4(_) => IpAddr::V4(mesh_ipv4),
            IpNet::V6(_) => IpAddr::V6(self.setup.mesh_ipv6()),
        })
    }
}

const fn key_of(change: RouteChange) -> RouteKey {
    match change {
        RouteChange::Set(route) => route.key(),
        RouteChange::Remove { table, prefix } => (table, prefix),
    }
}

const fn tunnel(target: Target) -> Option<(OriginatorId, Tunnel)> {
    match target {
        Target::Tunnel { peer, tunnel } => Some((peer, tunnel)),
        Target::NextHop { .. } => None,
    }
}
