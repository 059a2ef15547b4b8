//! Simulator: the routing core of meshd, unchanged, in virtual time.
//!
//! | room | what lives there |
//! |---|---|
//! | [`topology`] | nodes and links: generated, or read from a file |
//! | [`scenario`] | what happens to a mesh and when, as data; scenarios by name |
//! | [`flows`] | traffic: between whom packets flow all the time |
//! | [`simulation`] | virtual time: the event queue and its dispatch |
//! | [`node`] | a node: the core, fed as the daemon feeds it |
//! | [`books`] | what a node notes of whom it carries for and who carries for it, if it keeps books |
//! | [`radio`] | links: who hears whom, what is lost, how long it takes |
//! | [`watch`] | what is checked and measured while the mesh runs: loops, outages, traffic |
//! | [`oracle`] | shortest paths, computed with knowledge of the whole mesh |
//! | [`report`] | the figures of a run, for people and for programs |
//!
//! **Architecture invariants.** One event queue, ordered by time and then by age, and one seeded
//! source of randomness: the same topology, options and scenario give the same run, packet for
//! packet, which [`simulation::Simulation::trace_hash`] proves. A node sees nothing but packets
//! and timers; what the watch knows never flows back. Every event that changed a node's routes
//! is followed by a loop check.

pub mod books;
pub mod flows;
pub mod node;
pub mod oracle;
mod queue;
pub mod radio;
mod random;
pub mod report;
pub mod scenario;
pub mod simulation;
pub mod topology;
mod trace;
pub mod watch;

pub use flows::Flow;
pub use node::NodeIndex;
pub use report::Report;
pub use scenario::{Action, Plan, Step};
pub use simulation::{Options, Simulation};
pub use topology::Topology;
