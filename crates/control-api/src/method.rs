//! The methods of the control socket and their parameters.

use std::cmp::Reverse;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::id::SHORT_DIGITS;
use crate::{
    ErrorCode, GatewayChoice, HexBytes, LogLevel, NodeId, Probe, Route, RpcError, Throughput,
};

/// As much of an unknown method's name as an error repeats.
const QUOTED_CHARS: usize = 40;

/// The longest that a configuration may be tried, in seconds.
pub const MAX_TRIAL_S: u32 = 3600;

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// `status`, answered by [`crate::Status`].
    Status,
    /// `doctor`, answered by [`crate::Doctor`].
    Doctor {
        /// `fix`: whether to begin to mend what can be mended, which the answer may still name.
        fix: bool,
    },
    /// `interfaces`, answered by [`crate::Interfaces`].
    Interfaces,
    /// `neighbors`, answered by [`crate::Neighbors`].
    Neighbors,
    /// `originators`, answered by [`crate::Originators`].
    Originators,
    /// `map`, answered by [`crate::MeshMap`].
    Map,
    /// `routes`, answered by [`crate::Routes`].
    Routes {
        /// `dest`: only the routes for this destination; [`ErrorCode::NotFound`] when there is
        /// none.
        dest: Option<Destination>,
    },
    /// `gateways`, answered by [`crate::Gateways`].
    Gateways,
    /// `gateways.select`, answered by [`crate::Gateways`] as they are used from then on.
    GatewaysSelect {
        /// `gateway`: which one; [`ErrorCode::NotFound`] when no gateway is known by that name.
        gateway: GatewayChoice,
    },
    /// `probe`, answered by [`crate::Probed`] when the node has answered, or the time is over.
    Probe(Probe),
    /// `throughput`, answered by [`crate::Arranged`] when the node has answered, or the time is over.
    /// [`ErrorCode::Permission`] when the node takes part in no measurement.
    Throughput(Throughput),
    /// `receipts.list`, answered by [`crate::Accounts`].
    ReceiptsList,
    /// `receipts.show`, answered by [`crate::NodeAccounts`].
    ReceiptsShow {
        /// `node`: a neighbor's name, or eight or more of the first digits of its originator id or
        /// its public key; [`ErrorCode::NotFound`] when there is no account with it.
        node: String,
    },
    /// `receipts.stats`, answered by [`crate::Stats`].
    ReceiptsStats,
    /// `receipts.carried`, answered by [`crate::CarriedFiles`].
    ReceiptsCarried,
    /// `receipts.import`, answered by [`crate::Imported`].
    ReceiptsImport {
        /// `offset`: where in the file the piece begins. 0 begins an import and ends the one
        /// before; else it is where the last piece ended.
        offset: u64,
        /// `total_bytes`: the length of the file, at most [`crate::MAX_IMPORT_BYTES`].
        total_bytes: u64,
        /// `data`: the bytes, at most [`crate::MAX_IMPORT_CHUNK_BYTES`].
        data: HexBytes,
    },
    /// `receipts.export_carried`, answered by [`crate::ReceiptsChunk`].
    ReceiptsExportCarried {
        /// `owner`: whose; [`ErrorCode::NotFound`] when no receipts of it are carried.
        owner: NodeId,
        /// `offset`: where in the file to begin.
        offset: u64,
    },
    /// `receipts.export`, answered by [`crate::ReceiptsChunk`].
    ReceiptsExport {
        /// `offset`: where in the log to begin; [`ErrorCode::InvalidParams`] beyond its end.
        offset: u64,
    },
    /// `reload`, answered by [`crate::Reloaded`].
    Reload,
    /// `reload.try`, answered by [`crate::Reloaded`]: as `reload`, but what was in force comes back unless
    /// `reload.confirm` comes in time.
    ReloadTry {
        /// `within_s`: how long it is waited for, in seconds; 1 to 3600.
        within_s: u32,
    },
    /// `reload.confirm`, answered by [`crate::Reloaded`]: what is tried stays. [`ErrorCode::NotFound`] when
    /// nothing is.
    ReloadConfirm,
    /// `reload.revert`, answered by [`crate::Reloaded`]: what was in force before comes back now.
    /// [`ErrorCode::NotFound`] when nothing is tried.
    ReloadRevert,
    /// `config.diff`, answered by [`crate::Reloaded`] as `reload` would, had the file this text.
    ConfigDiff {
        /// `text`: a complete configuration.
        text: ConfigText,
    },
    /// `config.show`, answered by [`crate::Settings`].
    ConfigShow,
    /// `monitor`, answered by [`crate::Monitoring`]; then each [`crate::Event`] is a notification.
    Monitor,
    /// `log_level`, answered by [`crate::LogLevelSet`].
    LogLevel {
        /// `level`: what is logged from now on.
        level: LogLevel,
    },
}

impl Method {
    /// Whether it has no effect, on this node or another: who may only ask may ask that.
    #[must_use]
    pub const fn is_read_only(&self) -> bool {
        match self {
            Self::Status
            | Self::Doctor { fix: false }
            | Self::Interfaces
            | Self::Map
            | Self::Neighbors
            | Self::Originators
            | Self::Routes { .. }
            | Self::Gateways
            | Self::ReceiptsList
            | Self::ReceiptsShow { .. }
            | Self::ReceiptsStats
            | Self::ReceiptsCarried
            | Self::ConfigShow
            | Self::Monitor => true,
            Self::Doctor { fix: true }
            | Self::GatewaysSelect { .. }
            | Self::ReceiptsImport { .. }
            | Self::Reload
            | Self::ReloadTry { .. }
            | Self::ReloadConfirm
            | Self::ReloadRevert
            | Self::LogLevel { .. }
            // They make packets, and other nodes answer them within bounds.
            | Self::Probe(_)
            | Self::Throughput(_)
            // They hand out files that are their owner's alone; one export ends another.
            | Self::ReceiptsExport { .. }
            | Self::ReceiptsExportCarried { .. }
            // It is compared with files that only meshd may read.
            | Self::ConfigDiff { .. } => false,
        }
    }

    /// Its name on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Doctor { .. } => "doctor",
            Self::Interfaces => "interfaces",
            Self::Neighbors => "neighbors",
            Self::Originators => "originators",
            Self::Map => "map",
            Self::Routes { .. } => "routes",
            Self::Gateways => "gateways",
            Self::GatewaysSelect { .. } => "gateways.select",
            Self::Probe(_) => "probe",
            Self::Throughput(_) => "throughput",
            Self::ReceiptsList => "receipts.list",
            Self::ReceiptsShow { .. } => "receipts.show",
            Self::ReceiptsStats => "receipts.stats",
            Self::ReceiptsCarried => "receipts.carried",
            Self::ReceiptsImport { .. } => "receipts.import",
            Self::ReceiptsExportCarried { .. } => "receipts.export_carried",
            Self::ReceiptsExport { .. } => "receipts.export",
            Self::Reload => "reload",
            Self::ReloadTry { .. } => "reload.try",
            Self::ReloadConfirm => "reload.confirm",
            Self::ReloadRevert => "reload.revert",
            Self::ConfigDiff { .. } => "config.diff",
            Self::ConfigShow => "config.show",
            Self::Monitor => "monitor",
            Self::LogLevel { .. } => "log_level",
        }
    }

    /// Its parameters on the wire, if it has any.
    #[must_use]
    pub fn params(&self) -> Option<Value> {
        match self {
            Self::Routes { dest: Some(dest) } => Some(json!({ "dest": dest.to_string() })),
            Self::Doctor { fix: true } => Some(json!({ "fix": true })),
            Self::GatewaysSelect { gateway } => Some(json!({ "gateway": gateway })),
            Self::Probe(probe) => Some(json!(probe)),
            Self::Throughput(request) => Some(json!(request)),
            Self::ReceiptsShow { node } => Some(json!({ "node": node })),
            Self::ReceiptsImport {
                offset,
                total_bytes,
                data,
            } => Some(json!({ "offset": offset, "total_bytes": total_bytes, "data": data })),
            Self::ReceiptsExportCarried { owner, offset } => {
                Some(json!({ "owner": owner, "offset": offset }))
            }
            Self::ReceiptsExport { offset } => Some(json!({ "offset": offset })),
            Self::ReloadTry { within_s } => Some(json!({ "within_s": within_s })),
            Self::ConfigDiff { text } => Some(json!({ "text": text })),
            Self::LogLevel { level } => Some(json!({ "level": level })),
            Self::Status
            | Self::Doctor { fix: false }
            | Self::Interfaces
            | Self::Neighbors
            | Self::Originators
            | Self::Map
            | Self::Routes { dest: None }
            | Self::Gateways
            | Self::ReceiptsList
            | Self::ReceiptsStats
            | Self::ReceiptsCarried
            | Self::Reload
            | Self::ConfigShow
            | Self::Monitor
            | Self::ReloadConfirm
            | Self::ReloadRevert => None,
        }
    }

    /// Reads name and parameters.
    ///
    /// # Errors
    /// [`ErrorCode::MethodNotFound`] or [`ErrorCode::InvalidParams`].
    pub fn parse(name: &str, params: Option<Value>) -> Result<Self, RpcError> {
        match name {
            "status" => parse_params::<NoParams>(params).map(|_| Self::Status),
            "doctor" => parse_params(params).map(|DoctorParams { fix }| Self::Doctor { fix }),
            "interfaces" => parse_params::<NoParams>(params).map(|_| Self::Interfaces),
            "neighbors" => parse_params::<NoParams>(params).map(|_| Self::Neighbors),
            "originators" => parse_params::<NoParams>(params).map(|_| Self::Originators),
            "map" => parse_params::<NoParams>(params).map(|_| Self::Map),
            "routes" => parse_routes(params),
            "gateways" => parse_params::<NoParams>(params).map(|_| Self::Gateways),
            "gateways.select" => parse_params::<SelectParams>(params)
                .map(|SelectParams { gateway }| Self::GatewaysSelect { gateway }),
            "probe" => parse_params(params)
                .and_then(Probe::checked)
                .map(Self::Probe),
            "throughput" => parse_params(params)
                .and_then(Throughput::checked)
                .map(Self::Throughput),
            "receipts.list" => parse_params::<NoParams>(params).map(|_| Self::ReceiptsList),
            "receipts.show" => {
                parse_params(params).map(|ShowParams { node }| Self::ReceiptsShow { node })
            }
            "receipts.stats" => parse_params::<NoParams>(params).map(|_| Self::ReceiptsStats),
            "receipts.carried" => parse_params::<NoParams>(params).map(|_| Self::ReceiptsCarried),
            "receipts.import" => parse_params(params).map(
                |ImportParams {
                     offset,
                     total_bytes,
                     data,
                 }| Self::ReceiptsImport {
                    offset,
                    total_bytes,
                    data,
                },
            ),
            "receipts.export_carried" => {
                parse_params(params).map(|ExportCarriedParams { owner, offset }| {
                    Self::ReceiptsExportCarried { owner, offset }
                })
            }
            "receipts.export" => parse_params::<ExportParams>(params)
                .map(|ExportParams { offset }| Self::ReceiptsExport { offset }),
            "reload" => parse_params::<NoParams>(params).map(|_| Self::Reload),
            "reload.try" => parse_try(params),
            "reload.confirm" => parse_params::<NoParams>(params).map(|_| Self::ReloadConfirm),
            "reload.revert" => parse_params::<NoParams>(params).map(|_| Self::ReloadRevert),
            "config.diff" => {
                parse_params(params).map(|DiffParams { text }| Self::ConfigDiff { text })
            }
            "config.show" => parse_params::<NoParams>(params).map(|_| Self::ConfigShow),
            "monitor" => parse_params::<NoParams>(params).map(|_| Self::Monitor),
            "log_level" => {
                parse_params(params).map(|LevelParams { level }| Self::LogLevel { level })
            }
            unknown => {
                let quoted: String = unknown.chars().take(QUOTED_CHARS).collect();
                let message = format!("no method {quoted:?}");
                Err(RpcError::new(ErrorCode::MethodNotFound, message))
            }
        }
    }
}

/// A configuration, which may have keys in it: it is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfigText(String);

impl ConfigText {
    /// Wraps the text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ConfigText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConfigText")
    }
}

/// What a route is looked up for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An address: the route that a packet to it takes.
    Address(IpAddr),
    /// A prefix: the routes to exactly it or to a part of it.
    Prefix(IpNet),
    /// A node's name, or eight or more of the first hex digits of its originator id: the routes to
    /// what it owns.
    Node(String),
}

impl Destination {
    /// The routes for this destination.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] when there is none.
    pub fn select(&self, routes: Vec<Route>) -> Result<Vec<Route>, RpcError> {
        let found: Vec<Route> = match self {
            Self::Address(address) => best_match(routes, *address).into_iter().collect(),
            Self::Prefix(prefix) => routes
                .into_iter()
                .filter(|route| prefix.contains(&route.prefix))
                .collect(),
            Self::Node(node) => owned_by(routes, node),
        };
        if found.is_empty() {
            return Err(RpcError::not_found(format!("no route to {self}")));
        }
        Ok(found)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Node(node) => node.fmt(f),
        }
    }
}

/// A text that names no destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address, a prefix, a node's name or the first digits of its originator id")]
pub struct DestinationError;

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        if let Ok(prefix) = text.parse() {
            return Ok(Self::Prefix(prefix));
        }
        if text.is_empty() || text.contains('/') {
            return Err(DestinationError);
        }
        Ok(Self::Node(text.to_owned()))
    }
}

/// As the kernel does: the first table that has a match decides, in it the longest prefix.
fn best_match(routes: Vec<Route>, address: IpAddr) -> Option<Route> {
    routes
        .into_iter()
        .filter(|route| route.prefix.contains(&address))
        .min_by_key(|route| (route.table, Reverse(route.prefix.prefix_len())))
}

/// Ids come first: any node may give itself the digits of another's id as its name.
fn owned_by(routes: Vec<Route>, node: &str) -> Vec<Route> {
    let digits = node.to_ascii_lowercase();
    let (by_id, others): (Vec<_>, Vec<_>) = routes.into_iter().partition(|route| {
        digits.len() >= SHORT_DIGITS && route.owner.originator_id.to_string().starts_with(&digits)
    });
    if by_id.is_empty() {
        return others
            .into_iter()
            .filter(|r| r.owner.name.as_deref() == Some(node))
            .collect();
    }
    by_id
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParams {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoutesParams {
    dest: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DoctorParams {
    #[serde(default)]
    fix: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SelectParams {
    gateway: GatewayChoice,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportParams {
    offset: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShowParams {
    node: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImportParams {
    offset: u64,
    total_bytes: u64,
    data: HexBytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportCarriedParams {
    owner: NodeId,
    offset: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiffParams {
    text: ConfigText,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LevelParams {
    level: LogLevel,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TryParams {
    within_s: u32,
}

fn parse_try(params: Option<Value>) -> Result<Method, RpcError> {
    let TryParams { within_s } = parse_params(params)?;
    if !(1..=MAX_TRIAL_S).contains(&within_s) {
        let message = format!("within_s: expected 1 to {MAX_TRIAL_S}");
        return Err(RpcError::invalid_params(message));
    }
    Ok(Method::ReloadTry { within_s })
}

fn parse_routes(params: Option<Value>) -> Result<Method, RpcError> {
    let RoutesParams { dest } = parse_params(params)?;
    let dest = dest.map(|dest| dest.parse::<Destination>()).transpose();
    let dest = dest.map_err(|error| RpcError::invalid_params(format!("dest: {error}")))?;
    Ok(Method::Routes { dest })
}

/// Absent parameters are none. By position is refused: names say what they mean.
fn parse_params<T: DeserializeOwned>(params: Option<Value>) -> Result<T, RpcError> {
    let params = params.unwrap_or_else(|| Map::new().into());
    if !params.is_object() {
        return Err(RpcError::invalid_params("`params` must be an object"));
    }
    serde_json::from_value(params).map_err(|error| RpcError::invalid_params(error.to_string()))
}
