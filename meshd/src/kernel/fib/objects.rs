//! Which route refers to which next hop object.
//!
//! Routes that lead to one neighbor and would fail over to one other share an object, so that one
//! message moves them all. The kernel knows of an object where it leads; what stands in for that
//! is known only here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::rib::RouteKey;
use mesh_proto::{IfIndex, Path, Target};

use crate::kernel::nexthop::ObjectId;

/// The objects in the kernel and the routes that refer to them.
#[derive(Debug, Default)]
pub(super) struct Objects {
    objects: BTreeMap<ObjectId, Object>,
    of_route: BTreeMap<RouteKey, ObjectId>,
}

#[derive(Debug)]
struct Object {
    target: Target,
    /// The path whose routes refer to it; none while it waits to be removed.
    path: Option<Path>,
    routes: BTreeSet<RouteKey>,
}

impl Objects {
    /// Takes over what the kernel has; of objects that lead where they did, the path is kept.
    pub(super) fn found(
        &mut self,
        objects: BTreeMap<ObjectId, Target>,
        routes: impl Iterator<Item = (RouteKey, ObjectId)>,
    ) {
        let before = std::mem::take(&mut self.objects);
        self.of_route.clear();
        for (id, target) in objects {
            let known = before.get(&id).filter(|object| object.target == target);
            let path = known.map_or(Some(target.into()), |object| object.path);
            self.insert(id, target, path);
        }
        for (key, id) in routes {
            self.assign(key, id);
        }
    }

    /// The object a route refers to.
    pub(super) fn of_route(&self, key: RouteKey) -> Option<ObjectId> {
        self.of_route.get(&key).copied()
    }

    /// Where a route leads.
    pub(super) fn target_of(&self, key: RouteKey) -> Option<Target> {
        let object = self.objects.get(&self.of_route(key)?)?;
        Some(object.target)
    }

    /// The object for the routes along a path.
    pub(super) fn of_path(&self, path: Path) -> Option<ObjectId> {
        let all = self.objects.iter();
        let of_path = all.filter(|(_, object)| object.path == Some(path));
        of_path
            .max_by_key(|(_, object)| object.routes.len())
            .map(|(&id, _)| id)
    }

    /// The ids that no object of ours has.
    pub(super) fn free_ids(&self) -> impl Iterator<Item = ObjectId> {
        ObjectId::all().filter(|id| !self.objects.contains_key(id))
    }

    /// An object was made.
    pub(super) fn made(&mut self, id: ObjectId, path: Path) {
        self.insert(id, path.target, Some(path));
    }

    /// An object leads elsewhere now. Whose it is follows from what its routes want.
    pub(super) fn moved(&mut self, id: ObjectId, target: Target) {
        if let Some(object) = self.objects.get_mut(&id) {
            object.target = target;
            object.path = None;
        }
    }

    /// A route refers to an object now.
    pub(super) fn assign(&mut self, key: RouteKey, id: ObjectId) {
        self.release(key);
        if let Some(object) = self.objects.get_mut(&id) {
            object.routes.insert(key);
            self.of_route.insert(key, id);
        }
    }

    /// A route refers to no object any more, or to one that it has to be given again.
    pub(super) fn release(&mut self, key: RouteKey) {
        let id = self.of_route.remove(&key);
        if let Some(object) = id.and_then(|id| self.objects.get_mut(&id)) {
            object.routes.remove(&key);
        }
    }

    /// An object is gone, and with it the routes that referred to it.
    pub(super) fn forget(&mut self, id: ObjectId) {
        let object = self.objects.remove(&id);
        for key in object.into_iter().flat_map(|object| object.routes) {
            self.of_route.remove(&key);
        }
    }

    /// The same for all objects at an interface.
    pub(super) fn forget_interface(&mut self, gone: IfIndex) {
        let leads_there = |object: &Object| matches!(object.target, Target::NextHop { ifindex, .. } if ifindex == gone);
        let all = self.objects.iter();
        let ids: Vec<ObjectId> = all
            .filter(|(_, object)| leads_there(object))
            .map(|(&id, _)| id)
            .collect();
        ids.into_iter().for_each(|id| self.forget(id));
    }

    /// Objects that no route refers to.
    pub(super) fn unused(&self) -> Vec<ObjectId> {
        let all = self.objects.iter();
        let unused = all.filter(|(_, object)| object.routes.is_empty());
        unused.map(|(&id, _)| id).collect()
    }

    /// The objects among those of `keys` whose routes all want to one other target: to move these
    /// is right for every route. The one with the most routes comes first.
    pub(super) fn moves(
        &self,
        keys: &[RouteKey],
        wanted: impl Fn(RouteKey) -> Option<Path>,
    ) -> Vec<(ObjectId, Target)> {
        let ids: BTreeSet<ObjectId> = keys.iter().filter_map(|&key| self.of_route(key)).collect();
        let mut moves: Vec<(usize, ObjectId, Target)> = ids
            .into_iter()
            .filter_map(|id| {
                let object = self.objects.get(&id)?;
                let mut targets = object.routes.iter().map(|&key| Some(wanted(key)?.target));
                let target = targets.next()??;
                let is_one = target != object.target && targets.all(|other| other == Some(target));
                is_one.then_some((object.routes.len(), id, target))
            })
            .collect();
        moves.sort_by_key(|&(routes, id, _)| (Reverse(routes), id));
        moves
            .into_iter()
            .map(|(_, id, target)| (id, target))
            .collect()
    }

    /// Gives each object that `keys` have to do with the path that most of its routes want, and
    /// each path one object. Returns the routes that then refer to another object than that of
    /// their path, without `keys`.
    pub(super) fn settle(
        &mut self,
        keys: &[RouteKey],
        wanted: impl Fn(RouteKey) -> Option<Path>,
    ) -> Vec<RouteKey> {
        let keys: BTreeSet<RouteKey> = keys.iter().copied().collect();
        let concerned = self.concerned(&keys, &wanted);
        let mut taken = BTreeMap::new();
        for (_, id, path) in self.votes(&concerned, &wanted) {
            if !taken.contains_key(&id) && taken.values().all(|&other| other != path) {
                taken.insert(id, path);
            }
        }
        let mut displaced = Vec::new();
        for id in concerned {
            let Some(object) = self.objects.get_mut(&id) else {
                continue;
            };
            object.path = taken.get(&id).copied();
            let others = object.routes.difference(&keys).copied();
            displaced.extend(others.filter(|&key| wanted(key) != object.path));
        }
        displaced
    }

    /// The objects that routes refer to, and those for the paths they want.
    fn concerned(
        &self,
        keys: &BTreeSet<RouteKey>,
        wanted: impl Fn(RouteKey) -> Option<Path>,
    ) -> BTreeSet<ObjectId> {
        let paths: BTreeSet<Path> = keys.iter().filter_map(|&key| wanted(key)).collect();
        let current = keys.iter().filter_map(|&key| self.of_route(key));
        let all = self.objects.iter();
        let of_paths = all.filter(|(_, object)| object.path.is_some_and(|it| paths.contains(&it)));
        current.chain(of_paths.map(|(&id, _)| id)).collect()
    }

    /// How many routes of each object want each path that it could be for, most first.
    fn votes(
        &self,
        ids: &BTreeSet<ObjectId>,
        wanted: impl Fn(RouteKey) -> Option<Path>,
    ) -> Vec<(usize, ObjectId, Path)> {
        let mut votes = Vec::new();
        for &id in ids {
            let Some(object) = self.objects.get(&id) else {
                continue;
            };
            // The path it is for comes last, but before none.
            let kept = object.path.map(|path| (path, 0));
            let mut counted: BTreeMap<Path, usize> = kept.into_iter().collect();
            for path in object.routes.iter().filter_map(|&key| wanted(key)) {
                if path.target == object.target {
                    *counted.entry(path).or_default() += 1;
                }
            }
            votes.extend(counted.into_iter().map(|(path, count)| (count, id, path)));
        }
        votes.sort_by_key(|&(count, id, path)| (Reverse(count), id, path));
        votes
    }

    fn insert(&mut self, id: ObjectId, target: Target, path: Option<Path>) {
        let object = Object {
            target,
            path,
            routes: BTreeSet::new(),
        };
        self.objects.insert(id, object);
    }
}

#[cfg(test)]
mod tests;
