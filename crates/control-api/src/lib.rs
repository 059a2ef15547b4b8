//! The control interface of meshd: newline-delimited JSON-RPC 2.0 over a Unix socket.
//!
//! | module      | what it holds                                                           |
//! |-------------|-------------------------------------------------------------------------|
//! | [`results`] | what each method answers: the stable contract, with units               |
//! | [`method`]  | the methods and their parameters                                        |
//! | [`rpc`]     | request, response and error of JSON-RPC 2.0                             |
//! | [`frame`]   | bytes to lines, with a limit                                            |
//! | [`session`] | the server's half of one connection, without I/O                        |
//! | [`client`]  | the client's half, blocking, with timeouts                              |
//! | [`monitor`] | the same for a stream of events                                         |
//! | [`metrics`] | answers as Prometheus reads them                                        |
//! | [`page`]    | answers as the status page shows them                                   |
//! | [`exit`]    | exit codes of `meshctl`, and which error ends in which                   |
//! | [`id`], [`value`] | node ids, hashes, amounts, qualities: one spelling each           |
//!
//! **Invariants.** No async runtime: the daemon feeds a [`Session`] from its own event loop. A
//! connection's memory is bounded by the line limit, whatever the peer sends. A peer that sends
//! nonsense is told so by a JSON-RPC error and can go on: only the peer itself ends a connection.
//! [`SCHEMA`] is raised only by a change that would mislead an old reader; fields may be added
//! without it.

pub mod client;
pub mod exit;
pub mod frame;
pub mod id;
pub mod method;
pub mod metrics;
pub mod monitor;
pub mod page;
pub mod results;
pub mod rpc;
pub mod session;
pub mod value;

use std::path::{Path, PathBuf};

pub use client::{Client, ClientError};
pub use exit::Exit;
pub use frame::{FrameError, FrameReader};
pub use id::{NodeId, OriginatorId, ReceiptHash};
pub use method::{ConfigText, Destination, MAX_TRIAL_S, Method};
pub use metrics::Metrics;
pub use monitor::Monitor;
pub use page::{PAGE_SCHEMA, PageSources, StatusPage};
pub use results::{
    Account, AccountDetails, Accounts, Answer, Arranged, CONNECT_WITHIN_S, CarriedFile,
    CarriedFiles, Change, Counters, Direction, Doctor, Encryption, Event, Family, Finding, Gateway,
    GatewayChoice, GatewayChoiceError, Gateways, Hold, Imported, Interface, InterfaceRole,
    Interfaces, Internet, Kept, KeptAs, LinkClass, LogLevel, LogLevelError, LogLevelSet,
    MAX_PROBE_WAIT_MS, MAX_THROUGHPUT_S, MapLink, MapNode, Mended, MeshMap, Monitoring, Neighbor,
    Neighbors, NextHop, NodeAccounts, NodeRef, Originator, Originators, PartyRef, Position, Probe,
    Probed, Proof, Radio, ReceiptEntry, ReceiptsChunk, Refusal, RefusalReason, Reloaded, Report,
    Role, Route, RouteTo, Routes, Setting, Settings, Severity, Standing, Station, Stats, StatsHour,
    Status, Throughput, TunnelKind, Version,
};
pub use rpc::{ErrorCode, Id, Rejected, Request, Response, RpcError};
pub use session::{Incoming, Session};
pub use value::{AttoSmt, HexBytes, Quality};

/// The version of every result's layout.
pub const SCHEMA: u32 = 2;

/// The longest request line a server reads, in bytes without the newline. A request is a method
/// and one short parameter; the rest is room for long ids.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// The longest response line a client reads, in bytes without the newline: some 30 000
/// originators.
pub const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

/// The most log bytes in one [`ReceiptsChunk`]. Twice that in hex digits is what the answer takes
/// in the memory of a router with 64 MB.
pub const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// The most bytes of a file in one `receipts.import`: twice that in hex digits fits a request.
pub const MAX_IMPORT_CHUNK_BYTES: usize = 24 * 1024;

/// The longest file that can be imported. An owner's newest receipts of some 1800 epochs fit in.
pub const MAX_IMPORT_BYTES: usize = 1024 * 1024;

/// Where the daemon listens when nothing else is configured.
pub const DEFAULT_SOCKET: &str = "/run/meshd/control.sock";

/// The socket beside `socket` that is for questions only ([`Method::is_read_only`]): `control-ro.sock` beside
/// `control.sock`.
#[must_use]
pub fn read_only_socket(socket: &Path) -> PathBuf {
    let stem = socket.file_stem().unwrap_or_default();
    let mut name = stem.to_owned();
    name.push("-ro");
    if let Some(extension) = socket.extension() {
        name.push(".");
        name.push(extension);
    }
    socket.with_file_name(name)
}
