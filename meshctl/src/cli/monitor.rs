//! The command line of `meshctl monitor`.

use clap::{Args, ValueEnum};
use control_api::Change;

#[derive(Debug, Args)]
pub(crate) struct Monitor {
    /// Only events of these kinds, with commas between
    #[arg(long, value_name = "KIND", value_enum, value_delimiter = ',')]
    pub(crate) filter: Vec<EventKind>,
    /// Only events about this node: its name, or eight or more of the first digits of its id
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Vec<String>,
}

/// A kind of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventKind {
    /// A neighbor appears or vanishes
    Neighbor,
    /// A link becomes good, fair or bad
    Link,
    /// Another way to a gateway in use
    Route,
    /// Another gateway, and why
    Gateway,
    /// How packets to the gateway are wrapped
    Tunnel,
    /// Internet, and through whom
    Internet,
    /// An uplink of this node works or does not, and why
    Uplink,
    /// Others changed the nftables table; it was put back
    Table,
    /// A receipt was signed
    Receipt,
    /// The configuration was read again
    Reload,
    /// Something is not as it should be
    Warning,
}

impl EventKind {
    /// Which kind an event is of; `None`: of all.
    pub(crate) const fn of(change: &Change) -> Option<Self> {
        Some(match change {
            Change::NeighborUp { .. } | Change::NeighborDown { .. } => Self::Neighbor,
            Change::Link { .. } => Self::Link,
            Change::Route { .. } => Self::Route,
            Change::Gateway { .. } => Self::Gateway,
            Change::Tunnel { .. } => Self::Tunnel,
            Change::Internet { .. } => Self::Internet,
            Change::Uplink { .. } => Self::Uplink,
            Change::TableDamaged | Change::TableRestored => Self::Table,
            Change::Receipt { .. } => Self::Receipt,
            Change::Reload { .. } => Self::Reload,
            Change::Warning { .. } => Self::Warning,
            Change::Missed { .. } => return None,
        })
    }

    /// As it is written in a filter.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Neighbor => "neighbor",
            Self::Link => "link",
            Self::Route => "route",
            Self::Gateway => "gateway",
            Self::Tunnel => "tunnel",
            Self::Internet => "internet",
            Self::Uplink => "uplink",
            Self::Table => "table",
            Self::Receipt => "receipt",
            Self::Reload => "reload",
            Self::Warning => "warning",
        }
    }
}
