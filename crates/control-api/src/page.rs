//! What the status page of a node shows: `/status.json`.
//!
//! It is made of answers, so that who speaks HTTP knows nothing that the control socket does not tell.

use serde::{Deserialize, Serialize};

use crate::{
    Account, Accounts, AttoSmt, Internet, MeshMap, Neighbor, Neighbors, NodeRef, Originators,
    Quality, Role, Stats, Status,
};

mod map;

pub use map::{Map, MapLine, MapNode};

/// The version of [`StatusPage`]'s layout. As [`crate::SCHEMA`] it is raised only by a change that would mislead
/// an old reader.
pub const PAGE_SCHEMA: u32 = 1;

/// How many hours make up [`Traffic::day`].
const DAY_HOURS: usize = 24;

/// The answers that a page is made of, all of about the same moment.
#[derive(Clone, Copy, Debug)]
pub struct PageSources<'a> {
    /// The answer to `status`.
    pub status: &'a Status,
    /// The answer to `neighbors`.
    pub neighbors: &'a Neighbors,
    /// The answer to `originators`.
    pub originators: &'a Originators,
    /// The answer to `map`.
    pub map: &'a MeshMap,
    /// The answer to `receipts.list`.
    pub accounts: &'a Accounts,
    /// The answer to `receipts.stats`.
    pub stats: &'a Stats,
}

/// One node, for the people around it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusPage {
    /// [`PAGE_SCHEMA`].
    pub schema: u32,
    /// The mesh's name.
    pub network: String,
    /// The node itself.
    pub node: NodeRef,
    /// The daemon's version.
    pub version: String,
    /// Seconds since the daemon started.
    pub uptime_s: u64,
    /// Whether there is Internet, and through whom.
    pub internet: Internet,
    /// The way to the gateway in use: this node first, the gateway last. Empty while there is no Internet.
    pub path: Vec<Step>,
    /// Every link to a neighbor, as `neighbors` orders them.
    pub neighbors: Vec<PageNeighbor>,
    /// The mesh, as its nodes tell of it.
    pub map: Map,
    /// What was carried for others, and by others.
    pub traffic: Traffic,
    /// What that came to.
    pub earnings: Earnings,
}

/// A node on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which one.
    pub node: NodeRef,
    /// Hops from the step before: more than 1 if there are nodes between that this one does not know.
    pub hops: u32,
}

/// A link to a neighbor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageNeighbor {
    /// The neighbor.
    #[serde(flatten)]
    pub node: NodeRef,
    /// The interface it was heard on.
    pub interface: String,
    /// Whether packets can be sent over it.
    pub usable: bool,
    /// How strong its frames arrive, in dBm; `null` where there is no radio, or its driver does not say.
    pub signal_dbm: Option<i32>,
    /// The share of its hellos that arrive here.
    pub rx_quality: Quality,
    /// The share of our hellos that arrive there.
    pub tx_quality: Quality,
    /// Both directions together, 0 to 255.
    pub tq: u8,
    /// Milliseconds since anything was heard from it.
    pub last_heard_ms: u64,
}

/// Bytes towards the Internet and from it, receipted or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// What this node carried for neighbors, ever.
    pub shared_bytes: u64,
    /// What neighbors carried for this node, ever.
    pub received_bytes: u64,
    /// The same of the last 24 hours, or since the daemon started.
    pub day: DayTraffic,
}

/// See [`Traffic::day`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayTraffic {
    /// What this node carried for neighbors.
    pub shared_bytes: u64,
    /// What neighbors carried for this node.
    pub received_bytes: u64,
}

/// What receipts promise, ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earnings {
    /// To this node, in atto-SMT, as a string of digits.
    pub earned_atto: AttoSmt,
    /// By this node, in atto-SMT, as a string of digits.
    pub paid_atto: AttoSmt,
}

impl StatusPage {
    /// Says it of these answers.
    #[must_use]
    pub fn new(sources: PageSources<'_>) -> Self {
        let status = sources.status;
        let neighbors = sources.neighbors.neighbors.iter();
        Self {
            schema: PAGE_SCHEMA,
            network: status.network.clone(),
            node: own(status),
            version: status.version.clone(),
            uptime_s: status.uptime_s,
            internet: status.internet.clone(),
            path: path(status),
            neighbors: neighbors.map(neighbor).collect(),
            map: Map::new(status, sources.neighbors, sources.originators, sources.map),
            traffic: traffic(sources.accounts, sources.stats),
            earnings: earnings(sources.accounts),
        }
    }
}

fn own(status: &Status) -> NodeRef {
    NodeRef {
        originator_id: status.originator_id,
        name: Some(status.name.clone()),
    }
}

fn path(status: &Status) -> Vec<Step> {
    let internet = &status.internet;
    if !internet.online {
        return Vec::new();
    }
    let step = |node: &NodeRef, hops| Step {
        node: node.clone(),
        hops,
    };
    let mut path = vec![step(&own(status), 0)];
    let (Some(via), Some(next_hop)) = (&internet.via, &internet.next_hop) else {
        return path;
    };
    path.push(step(next_hop, 1));
    if next_hop.originator_id != via.originator_id {
        let rest = internet.hops.unwrap_or(2).saturating_sub(1);
        path.push(step(via, rest.max(1)));
    }
    path
}

fn neighbor(neighbor: &Neighbor) -> PageNeighbor {
    PageNeighbor {
        node: NodeRef {
            originator_id: neighbor.originator_id,
            name: neighbor.name.clone(),
        },
        interface: neighbor.interface.clone(),
        usable: neighbor.cost_us.is_some(),
        signal_dbm: neighbor.signal_dbm,
        rx_quality: neighbor.rx_quality,
        tx_quality: neighbor.tx_quality,
        tq: neighbor.tq,
        last_heard_ms: neighbor.last_heard_ms,
    }
}

fn traffic(accounts: &Accounts, stats: &Stats) -> Traffic {
    let bytes = |role| {
        let of_role = accounts.accounts.iter().filter(|it| it.role == role);
        let parts = of_role.flat_map(|it| {
            let Account {
                earlier_bytes,
                bytes_up,
                bytes_down,
                unsigned_bytes,
                ..
            } = it;
            [*earlier_bytes, *bytes_up, *bytes_down, *unsigned_bytes]
        });
        parts.fold(0, u64::saturating_add)
    };
    let mut day = DayTraffic::default();
    for hour in stats.hours.iter().take(DAY_HOURS) {
        day.shared_bytes = day.shared_bytes.saturating_add(hour.carried_bytes);
        day.received_bytes = day.received_bytes.saturating_add(hour.consumed_bytes);
    }
    Traffic {
        shared_bytes: bytes(Role::Provider),
        received_bytes: bytes(Role::Consumer),
        day,
    }
}

fn earnings(accounts: &Accounts) -> Earnings {
    let atto = |role| {
        let of_role = accounts.accounts.iter().filter(|it| it.role == role);
        let parts = of_role.flat_map(|it| [it.earlier_amount_atto, it.amount_atto]);
        AttoSmt::new(parts.map(AttoSmt::atto).fold(0, u128::saturating_add))
    };
    Earnings {
        earned_atto: atto(Role::Provider),
        paid_atto: atto(Role::Consumer),
    }
}
