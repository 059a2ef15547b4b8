//! `monitor`: what happens, as it happens.

use serde::{Deserialize, Serialize};

use super::{Family, NodeRef, PartyRef, Role, TunnelKind};
use crate::AttoSmt;

/// The answer to `monitor`: from now on each event is a notification of the method `event`, whose parameters are
/// an [`Event`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitoring {
    /// [`crate::SCHEMA`].
    pub schema: u32,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// Rises by one with each event that somebody was told of; 0 at the daemon's start.
    pub seq: u64,
    /// When it was, in the time that the daemon had been running.
    pub uptime_ms: u64,
    /// What it was.
    #[serde(flatten)]
    pub change: Change,
}

/// What has happened; `event` says which it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Change {
    /// A neighbor can be used.
    NeighborUp {
        /// Which.
        node: NodeRef,
        /// Where.
        interface: String,
    },
    /// A neighbor is not heard any more.
    NeighborDown {
        /// Which.
        node: NodeRef,
        /// Where.
        interface: String,
    },
    /// A link is better or worse than it was.
    Link {
        /// To whom.
        node: NodeRef,
        /// Where.
        interface: String,
        /// How it was.
        from: LinkClass,
        /// How it is.
        to: LinkClass,
        /// Its quality, 0 to 255.
        tq: u8,
    },
    /// Packets go to a gateway in use another way than before.
    Route {
        /// Which gateway.
        gateway: NodeRef,
        /// The neighbor they go to; `null` while there is none.
        next_hop: Option<NodeRef>,
        /// How many hops it is to the gateway.
        hops: Option<u32>,
    },
    /// Another gateway is used than before, or none.
    Gateway {
        /// For which families.
        families: Vec<Family>,
        /// What was used; `null`: none.
        from: Option<NodeRef>,
        /// What is used; `null`: none.
        to: Option<NodeRef>,
        /// Why: of the new one, or what is wrong with the old one, in words that may change.
        reason: Option<String>,
    },
    /// How packets to the gateway in use are wrapped.
    Tunnel {
        /// Which gateway.
        gateway: NodeRef,
        /// In what; `null`: in nothing that both know.
        tunnel: Option<TunnelKind>,
    },
    /// This node is online another way than before, or not any more.
    Internet {
        /// Whether there is Internet.
        online: bool,
        /// Through whose uplink; `null`: this node's own, or none.
        via: Option<NodeRef>,
        /// Which interfaces of this node lead there.
        own_uplink: Option<String>,
    },
    /// An uplink of this node works, or does not any more.
    Uplink {
        /// Which interface.
        interface: String,
        /// For which family.
        family: Family,
        /// Whether it works.
        works: bool,
        /// Why it does not, in words that may change.
        reason: Option<String>,
    },
    /// Somebody else changed meshd's nftables table.
    TableDamaged,
    /// The table is as it should be again.
    TableRestored,
    /// A receipt was signed.
    Receipt {
        /// This node's role: as provider it was given one, as consumer it gave one.
        role: Role,
        /// The other party.
        neighbor: PartyRef,
        /// Of which epoch.
        epoch: u64,
        /// Its number: `seq` of the receipt.
        number: u64,
        /// What it is worth, all before it in its epoch included.
        amount_atto: AttoSmt,
        /// What it adds to the one before.
        added_atto: AttoSmt,
    },
    /// The configuration was read again.
    Reload {
        /// The keys whose new value is in force.
        changed: Vec<String>,
        /// The keys whose new value waits for a restart.
        needs_restart: Vec<String>,
    },
    /// Something is not as it should be.
    Warning {
        /// What, in words that may change.
        text: String,
    },
    /// The reader was too slow.
    Missed {
        /// How many events it was not told of.
        events: u64,
    },
}

/// How good a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkClass {
    /// TQ below 64: most packets have to be sent several times.
    Bad,
    /// TQ below 160.
    Fair,
    /// The rest.
    Good,
}

impl LinkClass {
    const FAIR_TQ: u8 = 64;
    const GOOD_TQ: u8 = 160;
    /// By how much a limit has to be passed, so that a link at a limit is not always another one.
    const MARGIN: u8 = 16;

    /// What a link is that was not looked at before.
    #[must_use]
    pub const fn of(tq: u8) -> Self {
        match tq {
            0..Self::FAIR_TQ => Self::Bad,
            Self::FAIR_TQ..Self::GOOD_TQ => Self::Fair,
            Self::GOOD_TQ.. => Self::Good,
        }
    }

    /// What a link is that was this.
    #[must_use]
    pub fn then(self, tq: u8) -> Self {
        let (worst, best) = (
            Self::of(tq.saturating_sub(Self::MARGIN)),
            Self::of(tq.saturating_add(Self::MARGIN)),
        );
        self.clamp(worst, best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_changes_its_class_when_it_clearly_is_another() {
        let mut class = LinkClass::of(200);
        let mut then = |tq| {
            class = class.then(tq);
            class
        };
        assert_eq!(then(150), LinkClass::Good, "at the limit it stays");
        assert_eq!(then(143), LinkClass::Fair);
        assert_eq!(then(170), LinkClass::Fair);
        assert_eq!(then(176), LinkClass::Good);
        assert_eq!(then(0), LinkClass::Bad, "at once");
        assert_eq!(then(79), LinkClass::Bad);
        assert_eq!(then(255), LinkClass::Good);
    }
}
