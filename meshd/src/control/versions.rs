//! Nodes nearby that speak another version of the routing protocol.

use std::collections::BTreeMap;
use std::time::Instant;

use mesh_proto::IfIndex;
use mesh_proto::wire::packet::VERSION;

use super::View;

/// All of one version on one interface.
struct Group {
    nodes: usize,
    packets: u64,
    last_heard: Instant,
}

impl View<'_> {
    /// The interface, and what is heard on it.
    pub(super) fn other_versions(&self) -> impl Iterator<Item = (String, String)> {
        let mut groups: BTreeMap<(IfIndex, u8), Group> = BTreeMap::new();
        for seen in self.router.other_versions(self.now) {
            let group = groups.entry((seen.ifindex, seen.version)).or_insert(Group {
                nodes: 0,
                packets: 0,
                last_heard: seen.last_heard,
            });
            group.nodes += 1;
            group.packets = group.packets.saturating_add(seen.packets);
            group.last_heard = group.last_heard.max(seen.last_heard);
        }
        groups.into_iter().map(|((ifindex, version), group)| {
            let nodes = match group.nodes {
                1 => "a node nearby speaks".to_owned(),
                several => format!("{several} nodes nearby speak"),
            };
            let problem = format!(
                "{nodes} version {version} of the routing protocol and not {VERSION} as this one, so they \
                 do not hear each other ({} packets, the last {} s ago)",
                group.packets,
                self.age_s(group.last_heard)
            );
            (self.interface(ifindex), problem)
        })
    }
}
