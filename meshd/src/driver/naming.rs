//! What resolvers on this machine should know.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mesh_proto::OriginatorId;

use super::Driver;
use crate::names::Named;
use crate::uplink::resolvers_of;

/// How long to wait for more news of nodes before their names are written.
const DELAY: Duration = Duration::from_secs(1);

impl Driver {
    /// There may be other nodes, or other names.
    pub(super) fn rename_soon(&mut self, now: Instant) {
        self.names_due.get_or_insert(now + DELAY);
    }

    pub(super) fn write_names(&mut self, now: Instant) {
        self.names_due = None;
        let resolvers = self.resolvers(now);
        let own = self.named(self.router.id());
        let others = self.router.originators();
        let others = others.filter(|node| node.metric.is_finite());
        let others = others.filter_map(|node| self.named(node.id));
        let nodes: Vec<Named> = own.into_iter().chain(others).collect();
        let written = self.names.set_resolvers(&resolvers);
        if let Err(error) = written.and_then(|()| self.names.set_nodes(&nodes)) {
            self.warn_once(&format!("names for resolvers cannot be written: {error}"));
        }
    }

    /// Those of the gateway in use. Until one is found, what a predecessor wrote is better than
    /// nothing; and where there is none, only the provider's may know the name of a portal.
    fn resolvers(&self, now: Instant) -> Vec<IpAddr> {
        if let Some(shared) = &self.shared {
            return shared.resolvers.clone();
        }
        match self.router.gateway() {
            Some((gateway, _)) => resolvers_of(&self.router, gateway),
            None if self.trusts_predecessor(now) => self.left_resolvers.clone(),
            None => self.watcher.told().to_vec(),
        }
    }

    fn named(&self, id: OriginatorId) -> Option<Named> {
        let record = self.router.record(id)?.record();
        Some(Named {
            id,
            name: record.name.clone(),
            ipv4: record.ipv4,
            ipv6: self.router.network().mesh_ipv6(id),
        })
    }
}
