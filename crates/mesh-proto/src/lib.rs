//! The routing core of meshd: originator messages as B.A.T.M.A.N. sends them, made loop-free by
//! the feasibility condition of Babel (RFC 8966 §3.5.1).
//!
//! The core is sans-IO. Input goes in through `handle_*` methods of [`Router`], everything it
//! wants done comes out of [`Router::poll_output`], and the time is always an argument.
//!
//! | room | what lives there |
//! |---|---|
//! | [`identity`] | networks, node and originator ids, the addresses made from them |
//! | [`seqno`], [`metric`] | the two numbers that loop-freedom rests on |
//! | [`price`] | what it costs to have a byte carried |
//! | [`hash_chain`] | proof that a sequence number is its originator's |
//! | [`wire`] | packets and their parts: parse, emit, authenticate |
//! | [`record`] | the signed record in which a node says who it is and what it offers |
//! | [`map`] | the signed entry in which a node says where it stands and whom it hears |
//! | [`route_selection`], [`gateway_selection`] | pure functions: which route, which gateway |
//! | [`gateway_policy`] | what an operator thinks of gateways, and what each costs |
//! | [`tunnel`] | kinds of tunnel, and which one is between two nodes |
//! | [`rib`] | who claims which prefix, and the difference to what the kernel has |
//! | [`router`] | the state machine that ties them together |
//!
//! **Architecture invariants.** No I/O, clock, environment, threads or OS randomness: the
//! dependency list and `clippy.toml` prove it. Past [`wire`], values are valid. Collections are
//! ordered, so the same input and seed give the same output. A route is used only while it is
//! feasible. Receipts and other applications ride as opaque payloads; the core knows none.

mod family;
pub mod gateway_policy;
pub mod gateway_selection;
pub mod hash_chain;
pub mod identity;
pub mod map;
pub mod metric;
pub mod price;
pub mod record;
pub mod rib;
pub mod route_selection;
pub mod router;
pub mod seqno;
pub mod tunnel;
pub mod wire;

pub use family::Family;
pub use identity::{IfIndex, Network, NodeId, OriginatorId};
pub use map::{MapEntry, MapLink, Position};
pub use metric::Metric;
pub use price::Price;
pub use record::{GatewayOffer, NodeRecord, SignedRecord};
pub use rib::{Mark, Path, Route, RouteChange, Table, Target};
pub use router::{Event, Output, Router, RouterConfig};
pub use seqno::SeqNo;
pub use tunnel::{Tunnel, Tunnels, WireguardKey};
