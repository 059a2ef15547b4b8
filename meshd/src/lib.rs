//! meshd: the mesh router daemon.
//!
//! ```text
//!  packets ─ udp ──┐                    ┌── udp ─ packets
//!  kernel events ──┤                    ├── kernel requests
//!  questions ──────┼─► driver ─► router ┼── answers
//!  signals, time ──┘      └───► ledger ─┴── store (receipt log)
//! ```
//!
//! | room | what lives there |
//! |---|---|
//! | [`program`] | from the command line to the exit code |
//! | [`arguments`], [`config`], [`identity`] | what the operator wrote, and the node's key |
//! | [`driver`] | the one event loop, owner of all state |
//! | [`udp`] | sockets only |
//! | [`kernel`] | the kernel port: requests and events as data |
//! | [`uplink`] | which interface is our own way to the Internet |
//! | `names` | files for resolvers: whom to ask, and names of nodes |
//! | [`usage`] | from the kernel's counters to what was carried for whom |
//! | [`instance`] | one daemon for each network namespace |
//! | [`store`] | the state directory: lock and receipt log |
//! | [`carried`] | receipts of other nodes, on their way to the Internet |
//! | [`history`] | how much was carried and earned, hour by hour |
//! | [`control`] | the control socket and its answers |
//! | `status_page` | the same state for browsers and Prometheus; feature `status-page` |
//! | [`events`] | what happens, told to who listens there |
//! | `throughput` | measurements of what a way carries that other nodes ask for |
//! | [`log`] | what is logged, from which level on |
//! | `supervisor` | systemd is told that we are ready, and alive |
//! | `alarm`, `watch` | waiting for a point in time, and for input |
//!
//! **Architecture invariants.** One thread, one loop: only the driver touches state. The routing
//! core and the ledger do no I/O. A receipt is on disk before anything that depends on it is sent.
//! What comes from outside (packets, kernel, socket, files) is parsed where it enters.

mod alarm;
pub mod arguments;
pub mod carried;
pub mod config;
pub mod control;
pub mod driver;
pub mod events;
pub mod history;
pub mod identity;
pub mod instance;
pub mod kernel;
pub mod log;
mod names;
pub mod program;
#[cfg(feature = "status-page")]
mod status_page;
#[cfg(not(feature = "status-page"))]
#[path = "status_page/absent.rs"]
mod status_page;
pub mod store;
mod supervisor;
mod throughput;
pub mod udp;
pub mod uplink;
pub mod usage;
mod watch;
