//! Bookkeeping of next hop objects.

use super::*;
use mesh_proto::Table;

const X: u16 = 1;
const Y: u16 = 2;
const Z: u16 = 3;

fn target(neighbor: u16) -> Target {
    Target::NextHop {
        via: std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, neighbor),
        ifindex: IfIndex(u32::from(neighbor)),
    }
}

fn path(neighbor: u16, backup: Option<u16>) -> Path {
    Path {
        target: target(neighbor),
        backup: backup.map(target),
    }
}

fn key(number: u8) -> RouteKey {
    let prefix = format!("10.0.{number}.0/24");
    (Table::Mesh, prefix.parse().expect("a prefix"))
}

fn id(position: usize) -> ObjectId {
    ObjectId::all().nth(position).expect("an id")
}

/// An object for each path, in this order, with routes numbered from 0.
fn objects(paths: &[(Path, u8)]) -> (Objects, BTreeMap<RouteKey, Path>) {
    let mut objects = Objects::default();
    let mut wanted = BTreeMap::new();
    for &(path, routes) in paths {
        let id = objects.free_ids().next().expect("an id");
        objects.made(id, path);
        for _ in 0..routes {
            let key = key(u8::try_from(wanted.len()).expect("few routes"));
            objects.assign(key, id);
            wanted.insert(key, path);
        }
    }
    (objects, wanted)
}

fn moves(objects: &Objects, wanted: &BTreeMap<RouteKey, Path>) -> Vec<(ObjectId, Target)> {
    let keys: Vec<RouteKey> = (0..20).map(key).collect();
    objects.moves(&keys, |key| wanted.get(&key).copied())
}

fn settle(
    objects: &mut Objects,
    wanted: &BTreeMap<RouteKey, Path>,
    keys: &[RouteKey],
) -> Vec<RouteKey> {
    objects.settle(keys, |key| wanted.get(&key).copied())
}

#[test]
fn an_object_moves_if_all_its_routes_want_to_one_target() {
    let (objects, mut wanted) = objects(&[(path(X, Some(Y)), 2), (path(X, Some(Z)), 3)]);
    assert_eq!(
        moves(&objects, &wanted),
        [],
        "they are where they should be"
    );
    for number in 0..2 {
        wanted.insert(key(number), path(Y, Some(Z)));
    }
    for number in 2..5 {
        wanted.insert(key(number), path(Z, None));
    }
    let expected = [(id(1), target(Z)), (id(0), target(Y))];
    assert_eq!(moves(&objects, &wanted), expected, "most routes first");

    wanted.insert(key(4), path(Y, None));
    assert_eq!(moves(&objects, &wanted), [(id(0), target(Y))]);
    wanted.remove(&key(1));
    assert_eq!(
        moves(&objects, &wanted),
        [],
        "a route that is to be removed must not lead anywhere else before"
    );
}

#[test]
fn a_moved_object_is_for_the_path_that_most_of_its_routes_want() {
    let (mut objects, mut wanted) = objects(&[(path(X, Some(Y)), 3)]);
    wanted.insert(key(0), path(Y, Some(Z)));
    wanted.insert(key(1), path(Y, None));
    wanted.insert(key(2), path(Y, None));
    objects.moved(id(0), target(Y));
    assert_eq!(objects.of_path(path(X, Some(Y))), None);
    assert_eq!(settle(&mut objects, &wanted, &[key(1), key(2)]), [key(0)]);
    assert_eq!(objects.of_path(path(Y, None)), Some(id(0)));
    assert_eq!(objects.of_path(path(Y, Some(Z))), None);
}

#[test]
fn two_objects_of_one_path_become_the_larger() {
    let (mut objects, mut wanted) = objects(&[(path(Y, None), 1), (path(X, Some(Y)), 2)]);
    wanted.insert(key(1), path(Y, None));
    wanted.insert(key(2), path(Y, None));
    objects.moved(id(1), target(Y));
    let displaced = settle(&mut objects, &wanted, &[key(1), key(2)]);
    assert_eq!(displaced, [key(0)], "of the smaller");
    assert_eq!(objects.of_path(path(Y, None)), Some(id(1)));
    objects.assign(key(0), id(1));
    assert_eq!(objects.unused(), [id(0)]);
}

#[test]
fn another_backup_of_all_routes_needs_no_message() {
    let (mut objects, mut wanted) = objects(&[(path(X, None), 3)]);
    wanted.values_mut().for_each(|it| *it = path(X, Some(Y)));
    let keys: Vec<RouteKey> = wanted.keys().copied().collect();
    assert_eq!(settle(&mut objects, &wanted, &keys), []);
    assert_eq!(objects.of_path(path(X, Some(Y))), Some(id(0)));
    assert_eq!(objects.unused(), []);
}

#[test]
fn an_object_without_routes_is_used_for_those_that_come() {
    let (mut objects, _) = objects(&[(path(X, Some(Y)), 0)]);
    let wanted = BTreeMap::from([(key(0), path(X, Some(Y)))]);
    assert_eq!(settle(&mut objects, &wanted, &[key(0)]), []);
    assert_eq!(objects.of_path(path(X, Some(Y))), Some(id(0)));
}

#[test]
fn objects_go_with_their_interface() {
    let (mut objects, _) = objects(&[(path(X, Some(Y)), 2), (path(Y, Some(X)), 2)]);
    objects.forget_interface(IfIndex(u32::from(X)));
    assert_eq!(objects.of_route(key(0)), None);
    assert_eq!(objects.target_of(key(2)), Some(target(Y)));
    assert_eq!(objects.free_ids().next(), Some(id(0)));
}

#[test]
fn what_the_kernel_has_is_taken_over() {
    let (mut objects, _) = objects(&[(path(X, Some(Y)), 2), (path(Y, Some(X)), 1)]);
    let found = BTreeMap::from([(id(0), target(X)), (id(1), target(Z)), (id(7), target(Y))]);
    let routes = [(key(0), id(0)), (key(5), id(7)), (key(6), id(9))];
    objects.found(found, routes.into_iter());
    assert_eq!(objects.of_path(path(X, Some(Y))), Some(id(0)), "known");
    assert_eq!(objects.of_path(path(Z, None)), Some(id(1)), "changed");
    assert_eq!(objects.of_path(path(Y, None)), Some(id(7)), "new");
    assert_eq!(objects.of_route(key(5)), Some(id(7)));
    assert_eq!(objects.of_route(key(6)), None, "there is no such object");
    assert_eq!(objects.unused(), [id(1)]);
}
