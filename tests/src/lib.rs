//! The laboratory: villages of routers on the real kernel of one machine.
//!
//! Every router is a network namespace with a veth into one shared radio medium, or with an 802.11
//! radio that the kernel of a virtual machine simulates. Phones hang on LAN interfaces, and
//! gateways have an uplink to a small Internet. The code under test is the program that runs on a
//! router, against the kernel that routes the packets.
//!
//! | module | what it holds |
//! |---|---|
//! | [`sandbox`] | [`sandbox::enter`]: user, mount, network and process namespaces for everything below |
//! | [`vm`] | [`vm::enter`]: the same in a virtual machine, whose kernel has 802.11 radios |
//! | [`namespace`] | one network namespace: run code, commands and daemons in it |
//! | [`air`] | the radio medium: who hears whom, how well, and silence at the push of a button |
//! | [`internet`] | an Internet host behind a provider that routes no private address |
//! | [`lab`] | routers, phones and uplinks put together |
//! | [`topology`] | lines, rings and grids |
//! | [`daemon`] | meshd with its configuration, log and signals; meshctl against it |
//! | [`names`] | dnsmasq as routers and providers run it, and what it tells who asks |
//! | [`mesh`] | who reaches whom, and through which gateway |
//! | [`routing_port`] | the routing protocol's port, in the place of a daemon |
//! | [`probe`] | counted probes: how many were lost, and how long the longest outage was |
//! | [`iperf`] | TCP with iperf3: how fast, how much |
//! | [`transfer`] | long TCP transfers: whether they survive, and how long they stood still |
//! | [`flows`] | long transfers of a phone through several gateways at once |
//! | [`gateways`] | gateways that are left, and that end, while a phone is online |
//! | [`smuggle`] | what is private behind a gateway, asked for through the tunnel |
//! | [`crowd`] | many hosts with many flows at once |
//! | [`volley`] | probes between many pairs at once: when the last one got through |
//! | [`fib`] | the next hop a kernel would use this moment, and circles of next hops |
//! | [`http`] | a tiny web server and a client |
//! | [`chain`] | an Ethereum node without peers: contracts are created, called, and sent transactions |
//! | [`contracts`] | our contracts as Rust types, their compiler, and signed cheques |
//! | [`redeemd`] | the settlement service with its configuration, log and signals |
//! | [`postgres`] | a database server |
//! | [`browser`] | Chromium: what a page shows, and does not run |
//! | [`rest`] | an HTTP client that shows everything of an answer |
//! | [`monitor`] | every change a kernel makes while somebody looks |
//! | [`snapshot`] | everything a kernel was told, for before and after |
//! | [`terminal`] | a program at a terminal of its own |
//! | [`wait`] | waiting for a condition, bounded, and saying what was seen last |
//! | [`harness`] | how a test gets its lab |
//! | [`kept`] | where logs and kernel state survive when it fails |
//! | [`command`], [`binaries`] | running programs, finding ours |
//!
//! **Invariants.** Nothing reaches the network of the machine: every program started here lives
//! in the sandbox, virtual machines included. Nothing outlives the process, also when it is
//! killed: the sandbox's first process dies with it and takes everything else along. Files are
//! kept on a file system that exists in the sandbox only. A kernel feature that is missing is a
//! failure that names it.

pub mod air;
pub mod binaries;
pub mod browser;
pub mod chain;
pub mod command;
pub mod container;
pub mod contracts;
pub mod crowd;
pub mod daemon;
pub mod fib;
pub mod flows;
pub mod gateways;
pub mod harness;
pub mod http;
pub mod internet;
pub mod iperf;
pub mod kept;
pub mod lab;
pub mod market;
pub mod mesh;
pub mod monitor;
pub mod names;
pub mod namespace;
pub mod postgres;
pub mod probe;
pub mod redeemd;
pub mod rest;
pub mod routing_port;
pub mod sandbox;
pub mod smuggle;
pub mod snapshot;
pub mod terminal;
pub mod topology;
pub mod transfer;
pub mod vm;
pub mod volley;
pub mod wait;
