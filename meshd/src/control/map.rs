//! The map of the mesh, for programs that draw it.

use std::time::Instant;

use control_api::{MapLink, MapNode, MeshMap, Position, SCHEMA};
use mesh_proto::{MapEntry, OriginatorId};

use super::answers::{View, quality};

impl View<'_> {
    pub(super) fn map(&self) -> MeshMap {
        let entries = self.router.map();
        let nodes = entries.map(|(id, entry, since)| self.map_node(id, entry, since));
        let mut nodes: Vec<MapNode> = nodes.collect();
        nodes.sort_by_key(|it| it.node.originator_id);
        MeshMap {
            schema: SCHEMA,
            nodes,
        }
    }

    fn map_node(&self, id: OriginatorId, entry: &MapEntry, since: Instant) -> MapNode {
        let links = entry.links.iter().map(|link| MapLink {
            to: self.node_ref(link.to),
            rx_quality: quality(link.quality),
        });
        MapNode {
            node: self.node_ref(id),
            position: entry.position.map(|position| Position {
                latitude_udeg: position.latitude_udeg(),
                longitude_udeg: position.longitude_udeg(),
            }),
            said_s: self.age_s(since),
            links: links.collect(),
        }
    }
}
