//! Traffic: between whom packets flow all the time.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::NodeIndex;
use crate::watch::Outage;

/// How often nodes are told that a neighbor carries traffic.
pub(crate) const CARRY_INTERVAL: Duration = Duration::from_millis(500);

/// Packets flow from one node to another all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// Who sends.
    pub from: NodeIndex,
    /// To whom; `None` is the Internet, through the gateway that the sender uses.
    pub to: Option<NodeIndex>,
}

/// All flows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flows(BTreeSet<Flow>);

impl Flows {
    pub(crate) fn add(&mut self, flow: Flow) {
        self.0.insert(flow);
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Flow> {
        self.0.iter().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the outage was that of a flow.
    pub(crate) fn suffer(&self, outage: &Outage) -> bool {
        let Outage { from, to, .. } = *outage;
        self.0.contains(&Flow { from, to })
    }
}
