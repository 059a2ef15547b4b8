//! What each method answers. Programs build on these: fields are added, never renamed.
//!
//! Units are in the names: `_us` microseconds, `_ms` milliseconds, `_s` seconds, `_bps` bits per
//! second, `_kbps` and `_mbps` 10³ and 10⁶ of those, `_mhz` megahertz, `_dbm` decibels over 1 mW,
//! `_mbm` hundredths of those; byte counts are plain bytes. Times are ages ("so long ago"), never
//! dates: routers have no clock to trust. A field that is `null` is not known or does not apply,
//! and says which.

mod doctor;
mod event;
mod gateway;
mod interface;
mod log;
mod map;
mod neighbor;
mod originator;
mod probe;
mod receipts;
mod reload;
mod route;
mod settings;
mod status;
mod throughput;

use serde::{Deserialize, Serialize};

pub use doctor::{Doctor, Finding, Mended, Severity};
pub use event::{Change, Event, LinkClass, Monitoring};
pub use gateway::{Family, Gateway, GatewayChoice, GatewayChoiceError, Gateways};
pub use interface::{Encryption, Interface, InterfaceRole, Interfaces, Radio, Station};
pub use log::{LogLevel, LogLevelError, LogLevelSet};
pub use map::{MapLink, MapNode, MeshMap, Position};
pub use neighbor::{Neighbor, Neighbors};
pub use originator::{Originator, Originators};
pub use probe::{MAX_PROBE_WAIT_MS, NextHop, Probe, Probed};
pub use receipts::{
    Account, AccountDetails, Accounts, CarriedFile, CarriedFiles, Hold, Imported, Kept, KeptAs,
    NodeAccounts, PartyRef, Proof, ReceiptEntry, ReceiptsChunk, Refusal, RefusalReason, Role,
    Standing, Stats, StatsHour,
};
pub use reload::Reloaded;
pub use route::{Route, RouteTo, Routes, TunnelKind};
pub use settings::{Setting, Settings};
pub use status::{Counters, Internet, Status, Version};
pub use throughput::{Arranged, CONNECT_WITHIN_S, Direction, MAX_THROUGHPUT_S, Report, Throughput};

use crate::OriginatorId;

/// A node, as far as it takes to recognise it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRef {
    /// Its originator id.
    pub originator_id: OriginatorId,
    /// The name in its node record, `null` until the record has arrived. Chosen by the other
    /// node: untrusted text.
    pub name: Option<String>,
}

/// The answer to any method, for a server that fills them in one place.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To `status`.
    Status(Box<Status>),
    /// To `doctor`.
    Doctor(Doctor),
    /// To `interfaces`.
    Interfaces(Interfaces),
    /// To `neighbors`.
    Neighbors(Neighbors),
    /// To `originators`.
    Originators(Originators),
    /// To `map`.
    MeshMap(MeshMap),
    /// To `routes`.
    Routes(Routes),
    /// To `gateways` and `gateways.select`.
    Gateways(Gateways),
    /// To `probe`.
    Probed(Probed),
    /// To `throughput`.
    Arranged(Arranged),
    /// To `receipts.list`.
    Accounts(Accounts),
    /// To `receipts.show`.
    NodeAccounts(NodeAccounts),
    /// To `receipts.stats`.
    Stats(Stats),
    /// To `receipts.carried`.
    CarriedFiles(CarriedFiles),
    /// To `receipts.import`.
    Imported(Imported),
    /// To `receipts.export` and `receipts.export_carried`.
    ReceiptsChunk(ReceiptsChunk),
    /// To `reload` and `config.diff`.
    Reloaded(Reloaded),
    /// To `monitor`; events follow.
    Monitoring(Monitoring),
    /// To `config.show`.
    Settings(Settings),
    /// To `log_level`.
    LogLevelSet(LogLevelSet),
}

impl From<Status> for Answer {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

macro_rules! answer_from {
    ($($name:ident),*) => {
        $(impl From<$name> for Answer {
            fn from(result: $name) -> Self {
                Self::$name(result)
            }
        })*
    };
}

answer_from!(
    Doctor,
    Interfaces,
    Neighbors,
    Originators,
    MeshMap,
    Routes,
    Gateways,
    Probed,
    Arranged,
    Accounts,
    NodeAccounts,
    Stats,
    CarriedFiles,
    Imported,
    ReceiptsChunk,
    Monitoring,
    Reloaded,
    Settings,
    LogLevelSet
);
