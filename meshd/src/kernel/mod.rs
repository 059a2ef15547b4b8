//! The kernel port: everything meshd asks of the kernel's network stack, as data.
//!
//! The driver sends [`KernelRequest`]s and receives [`KernelEvent`]s; it never sees a socket. Routes
//! come as the routing core's own [`RouteChange`], which the simulator answers as well.
//!
//! | room | what lives there |
//! |---|---|
//! | `task` | the netlink task: one request at a time, events as they come |
//! | `netlink` | the two rtnetlink sockets, `KernelError` |
//! | `monitor` | links, link-local addresses and default routes as last reported |
//! | `link`, `address`, `route`, `rule` | rtnetlink messages, there and back |
//! | `fib`, `nexthop` | the routes there should be, and the next hop objects that they share |
//! | `neighbor` | whose Ethernet address is whose, and who does not answer |
//! | `speed` | how fast wires are, from ethtool |
//! | `tunnel` | our ends of tunnels, and who is at the others: VXLAN over rtnetlink, WireGuard over neli |
//! | `uplink` | the default routes over the uplink in use |
//! | `sysctl` | what must be set under `/proc/sys/net`, written only if it is wrong |
//! | `radio` | radios and whom they hear, over nl80211 |
//! | `nat`, `nft` | the nftables table `inet meshd`: what is in it, and the program that applies it |
//! | `nfnetlink` | reading that table |
//! | `firewall` | what the tables of others surely drop |
//! | `counters`, `traffic` | bytes carried for and by neighbors, and which neighbors carry any now |
//! | `raw`, `genl` | netlink requests that rtnetlink does not know, through neli |
//! | `program` | where other programs are |
//!
//! **Architecture invariants.** One task owns the request socket and serialises what goes through
//! it: a netlink socket serves one dump at a time and answers `EBUSY` to a second. Drivers of radios
//! are asked on a thread of their own, which has sockets of its own: they may hang. Notifications
//! come over a socket of their own, so that an overrun there never loses an answer. Everything we
//! put into the kernel can be told from what others put there: routes, rules and next hop objects
//! carry protocol [`ROUTE_PROTOCOL`], radio interfaces our mark, the rest sits on [`TUNNEL_DEVICE`]
//! or in our nftables table. Nothing else
//! is ever changed or removed, sysctls and the up state of mesh interfaces excepted. What others
//! remove of it while the daemon runs is put back.
//!
//! # Full channels
//! Both channels are bounded. While [`KernelEvent`]s are not received, the task waits with the
//! next one and takes no further request; notifications then pile up in the kernel, which drops
//! them past its socket buffer, and the task makes good for it by dumping everything once it goes
//! on. So a driver must not wait for room in the request channel without receiving events
//! meanwhile: it uses `try_send`, and on `Full` offers the request again after the next event.
//! Every request is answered by exactly one of [`KernelEvent::Configured`],
//! [`KernelEvent::RoutesApplied`], [`KernelEvent::Counters`], [`KernelEvent::ShutDown`] and
//! [`KernelEvent::RequestFailed`], in the order of the requests. Two kinds take their time, and are
//! answered once if they were asked for again meanwhile: [`KernelEvent::Stations`] come when the drivers
//! have told them, [`KernelEvent::TableChanged`] or [`KernelEvent::TableFailed`] when nothing else was
//! waiting any longer and nft has run; neither comes if everything is removed first.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv6Net};
use mesh_proto::{Family, IfIndex, Mark, OriginatorId, Route, RouteChange};
use tokio::sync::mpsc;

mod address;
mod counters;
mod counting;
mod fib;
mod firewall;
mod gateways;
mod genl;
mod lines;
mod link;
mod marks;
mod monitor;
mod nat;
mod neighbor;
mod netlink;
mod nexthop;
mod nfnetlink;
mod nft;
mod numbers;
mod program;
pub mod radio;
mod raw;
mod route;
mod rule;
mod shape;
mod speed;
mod sysctl;
mod task;
mod traffic;
mod tunnel;
mod uplink;

pub use counters::{Counted, CounterKey, CounterSample, Counters, Flow, Neighbor};
pub use firewall::{Firewalls, Hook, Packet};
pub use link::Link;
pub use monitor::DefaultRoute;
pub use netlink::KernelError;
pub use numbers::Numbers;
use radio::{RadioReport, RadioSettings, Station};
pub use shape::{Allowance, Credit, Spent};
pub use sysctl::{Amiss, SysctlError, amiss as sysctls_amiss};
pub use tunnel::WireguardSecret;

/// The protocol number our routes and rules carry (`rtm_protocol`, `FRA_PROTOCOL`): of the range
/// that `/etc/iproute2/rt_protos` leaves to everybody.
pub const ROUTE_PROTOCOL: u8 = 155;

/// Our ends of tunnels: VXLAN's, and those of WireGuard as far as they are needed.
pub const TUNNEL_DEVICES: [&str; 18] = [
    "meshd0", "meshd1", "meshd2", "meshd3", "meshd4", "meshd5", "meshd6", "meshd7", "meshd8",
    "meshd9", "meshd10", "meshd11", "meshd12", "meshd13", "meshd14", "meshd15", "meshd16",
    "meshd17",
];

/// The end of VXLAN, which is always there; it also holds the node's mesh addresses.
pub const TUNNEL_DEVICE: &str = TUNNEL_DEVICES[0];

/// The UDP port that VXLAN is received at; the other ends have the next ones, in their order.
pub const TUNNEL_PORT: u16 = 5526;

/// The port of a gateway's end of WireGuard: what is sent there is on its way to the gateway, what is sent
/// from there comes from it.
pub const WIREGUARD_GATEWAY_PORT: u16 = TUNNEL_PORT + 1;

/// The VXLAN network identifier of packets to a gateway.
pub const VNI_UP: u32 = 7;

/// The VXLAN network identifier of packets from a gateway.
pub const VNI_DOWN: u32 = 8;

/// The most that a tunnel adds to a packet, in bytes.
pub const TUNNEL_OVERHEAD: u32 = tunnel::MAX_OVERHEAD;

/// Requests that may wait for the task: more than a driver has in flight at a time.
const REQUEST_CAPACITY: usize = 64;

/// Events that may wait for the driver: the links of a large router all changing at once.
const EVENT_CAPACITY: usize = 256;

/// What stays the same for as long as the daemon runs.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The prefix of all mesh addresses (a /48).
    pub mesh_prefix: Ipv6Net,
    /// This node.
    pub id: OriginatorId,
    /// The `nft` program: a name is looked for in `PATH` and where Debian and OpenWrt keep it.
    pub nft: PathBuf,
    /// Where files of other programs go, which are gone after a reboot. It need not exist.
    pub runtime: PathBuf,
    /// What is ours of the kernel's numbers.
    pub numbers: Numbers,
    /// Whether tunnels of VXLAN end here.
    pub vxlan: bool,
    /// A counter that has not counted for this long makes room for others where that is scarce. By then
    /// it was read many times.
    pub counter_idle_time: Duration,
    /// The secret of WireGuard's ends, if there are any.
    pub wireguard: Option<WireguardSecret>,
}

impl Setup {
    /// A node of a mesh, with `nft` and files where they usually are, and tunnels of VXLAN.
    pub fn new(mesh_prefix: Ipv6Net, id: OriginatorId) -> Self {
        Self {
            mesh_prefix,
            id,
            nft: PathBuf::from("nft"),
            runtime: PathBuf::from("/run/meshd"),
            numbers: Numbers::default(),
            vxlan: true,
            counter_idle_time: Duration::from_secs(60),
            wireguard: None,
        }
    }

    /// The node's own mesh address.
    pub fn mesh_ipv6(&self) -> Ipv6Addr {
        self.mesh_address_of(self.id)
    }

    /// The mesh address of `node`: the mesh's prefix, then its id.
    fn mesh_address_of(&self, node: OriginatorId) -> Ipv6Addr {
        let [a, b, c, d, e, f, ..] = self.mesh_prefix.network().octets();
        let [g, h, i, j, k, l, m, n, o, p] = *node.as_bytes();
        Ipv6Addr::from([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// The node whose mesh address this is, if it is one of this mesh.
    fn node_at(&self, address: Ipv6Addr) -> Option<OriginatorId> {
        let [_, _, _, _, _, _, id @ ..] = address.octets();
        self.mesh_prefix
            .contains(&address)
            .then(|| OriginatorId::from_bytes(id))
    }
}

/// What the kernel should look like, apart from routes. Any change to it is made by configuring
/// the whole again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// Names of the interfaces other nodes are reached through.
    pub mesh: BTreeSet<String>,
    /// Those of them that are ours to make, on radios.
    pub radios: BTreeMap<String, RadioSettings>,
    /// The local networks that may use the mesh.
    pub lan: Vec<Lan>,
    /// The ways to the Internet.
    pub uplinks: Uplinks,
    /// Names of all interfaces that lead out, whether they work or not: nobody comes in there.
    pub outside: BTreeSet<String>,
    /// The node's own IPv4 mesh address.
    pub mesh_ipv4: Ipv4Addr,
    /// The largest packet that every link of the mesh takes, as far as is known: what tunnels are sized
    /// for, unless one of the mesh interfaces takes less.
    pub mesh_mtu: u16,
    /// How fast those are who are slowed down.
    pub shaping: Shaping,
}

/// How fast those are who are slowed down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shaping {
    /// What a neighbor gets who has used up its credit, in bytes per second and direction; and all
    /// tunnel packets together that cannot be accounted for. Local networks are slowed down to three
    /// quarters of it.
    pub free: u32,
    /// Whom local networks always reach at full speed, besides DNS.
    pub settlement: BTreeSet<IpAddr>,
}

impl Default for Shaping {
    /// 256 kbit/s.
    fn default() -> Self {
        Self {
            free: 32_000,
            settlement: BTreeSet::new(),
        }
    }
}

/// The ways to the Internet, one for each family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uplinks {
    /// IPv4's.
    pub ipv4: Uplink,
    /// IPv6's.
    pub ipv6: Uplink,
    /// Interfaces that others work over: what began there stays there.
    pub others: BTreeSet<(String, Family)>,
    /// All interfaces that are uplinks, whether they work or not.
    pub all: BTreeSet<String>,
}

/// A way to the Internet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Uplink {
    /// There is none.
    #[default]
    None,
    /// Default routes lead to some that do not work.
    Dead,
    /// Over the interface of this name.
    Over(String),
}

impl Uplinks {
    /// The same interface for both.
    pub fn over(interface: &str) -> Self {
        let uplink = Uplink::Over(interface.to_owned());
        Self {
            ipv4: uplink.clone(),
            ipv6: uplink,
            others: BTreeSet::new(),
            all: BTreeSet::from([interface.to_owned()]),
        }
    }

    pub(crate) const fn of(&self, family: Family) -> &Uplink {
        match family {
            Family::Ipv4 => &self.ipv4,
            Family::Ipv6 => &self.ipv6,
        }
    }

    /// The names of the interfaces of all that work.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        let both = [&self.ipv4, &self.ipv6].into_iter();
        let others = self.others.iter().map(|(name, _)| name.as_str());
        both.filter_map(Uplink::name).chain(others).collect()
    }
}

impl Uplink {
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Over(name) => Some(name),
            Self::None | Self::Dead => None,
        }
    }
}

/// The marks of the gateways that new flows go through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewFlows {
    /// Of IPv4.
    pub ipv4: Option<Mark>,
    /// Of IPv6.
    pub ipv6: Option<Mark>,
}

/// A local network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lan {
    /// Name of its interface.
    pub interface: String,
    /// How its hosts appear in the mesh.
    pub mode: LanMode,
}

/// How the hosts of a local network appear in the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LanMode {
    /// Behind the node's own mesh addresses: any addresses will do, but nobody can call them.
    Masquerade,
    /// With their own addresses, as far as these are in one of the prefixes; others are
    /// masqueraded.
    Routed {
        /// The prefixes announced to the mesh.
        prefixes: Vec<IpNet>,
    },
}

/// What the driver wants of the kernel.
#[derive(Clone, Debug)]
pub enum KernelRequest {
    /// Make device, addresses, rules, nftables table and sysctls what they should be. Changes
    /// only what differs; comes before the first [`KernelRequest::Routes`], as routes name the
    /// addresses and devices it makes.
    Configure(Base),
    /// Change routes, in this order. From then on the port keeps them: it puts back what the kernel
    /// drops with an interface that goes down, or what others remove, and tries refused ones again
    /// then.
    Routes(Vec<RouteChange>),
    /// Have the nftables table hold something else, as soon as nothing else is asked for: at once if it is
    /// another gateway, whose packets are counted from the first one on.
    Table(TableChange),
    /// Read the byte counters of all neighbors.
    ReadCounters,
    /// Ask the drivers of radios whom they hear.
    ReadStations,
    /// The last request: remove everything of ours, or leave everything to a successor.
    Shutdown {
        /// Whether everything stays.
        leave: bool,
    },
}

/// Something that the nftables table is to hold, whole: what was asked for before of the same kind counts
/// no longer.
#[derive(Clone, Debug)]
pub enum TableChange {
    /// The mesh addresses of all gateways of the mesh, whose traffic is counted. That of one that is none
    /// any longer still is for a minute.
    Gateways(BTreeSet<Ipv6Addr>),
    /// Slow down neighbors that were carried more than this.
    Credit(Credit),
    /// Slow down what local networks send into tunnels and get from there, or no longer.
    Throttle(bool),
    /// Give new flows of local hosts these marks.
    NewFlows(NewFlows),
}

/// What the driver learns from the kernel.
#[derive(Debug)]
pub enum KernelEvent {
    /// The first event: routes a predecessor left, which now stand as if this daemon had set
    /// them. What it does not want it removes.
    Adopted {
        /// The routes.
        routes: Vec<Route>,
        /// The uplinks that it used, or would have used if there were no better one.
        lines: BTreeSet<(String, Family)>,
    },
    /// An interface appeared or changed.
    LinkChanged(Link),
    /// An interface is gone.
    LinkRemoved {
        /// Its index.
        ifindex: IfIndex,
        /// Its last name.
        name: String,
    },
    /// The link-local address that packets from an interface can carry: set once duplicate
    /// address detection is through with it.
    LinkLocalChanged {
        /// The interface.
        ifindex: IfIndex,
        /// The address, if there is one.
        address: Option<Ipv6Addr>,
    },
    /// The default routes (not ours, and not into the mesh), best first: those that all packets ask for
    /// before others.
    DefaultRoutesChanged {
        /// Of which family.
        family: Family,
        /// All of them.
        routes: Vec<DefaultRoute>,
    },
    /// Neighbors that packets were received from or sent to within the last second, link-local and
    /// multicast ones aside. Comes when the first packet does, and about once a second for as long
    /// as there are more.
    Carrying {
        /// Interface and link-local address of each.
        neighbors: Vec<(IfIndex, Ipv6Addr)>,
    },
    /// Somebody else removed our nftables table or something in it: [`KernelRequest::Configure`]
    /// makes it whole.
    TableDamaged,
    /// There are other flowtables of nftables than before: [`KernelRequest::Configure`] tells whether they
    /// are a reason to warn.
    FlowtablesChanged,
    /// The kernel asked a neighbor on a mesh interface for its Ethernet address, in vain. A hint:
    /// it asks late, and only what is sent to.
    NeighborFailed {
        /// The interface.
        ifindex: IfIndex,
        /// The neighbor's link-local address.
        address: Ipv6Addr,
    },
    /// [`KernelRequest::Configure`] is done.
    Configured {
        /// What an operator should know about.
        warnings: Vec<Warning>,
    },
    /// [`KernelRequest::Routes`] is done.
    RoutesApplied {
        /// Changes the kernel refused, for example because their interface is gone.
        failed: Vec<(RouteChange, KernelError)>,
    },
    /// The table holds all that was asked for by [`KernelRequest::Table`] so far, or will as soon as it is
    /// made by [`KernelRequest::Configure`].
    TableChanged,
    /// It does not, and is made anew soon.
    TableFailed(KernelError),
    /// A neighbor has used up half of its credit, or all of it, so that it is slowed down from now on. Told
    /// once, until it has other credit.
    CreditUsedUp,
    /// Something about the radios under mesh interfaces changed.
    RadiosChanged(RadioReport),
    /// [`KernelRequest::ReadCounters`] is done.
    Counters {
        /// When reading began: what was carried before is in there.
        began: Instant,
        /// What they have.
        counters: Counters,
    },
    /// [`KernelRequest::ReadStations`] is done.
    Stations(Vec<SeenStation>),
    /// A request failed; as much of it as could be was done.
    RequestFailed {
        /// The request.
        request: KernelRequest,
        /// Why.
        error: KernelError,
    },
    /// The last event: [`KernelRequest::Shutdown`] is done.
    ShutDown {
        /// What could not be removed.
        warnings: Vec<Warning>,
    },
}

/// A neighbor as a radio's driver sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenStation {
    /// The interface that hears it.
    pub ifindex: IfIndex,
    /// Its link-local address, once packets were sent to it.
    pub address: Option<Ipv6Addr>,
    /// What the driver knows of it.
    pub station: Station,
}

/// Something that is not as it should be, though the daemon can go on.
#[derive(Debug, thiserror::Error)]
pub enum Warning {
    /// A sysctl is wrong and can't be set.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// An interface of the configuration does not exist; it is taken up when it appears.
    #[error("there is no interface {0}")]
    NoInterface(String),
    /// Our nftables table had to be made from scratch, so the counters begin again at zero.
    #[error("the nftables table was replaced, its counters began again: {0}")]
    CountersReset(KernelError),
    /// Flows are passed on without asking nftables.
    #[error(
        "flow offload{} is on for {device} (nftables flowtable {flowtable}): what it passes on is neither \
         filtered nor slowed down by meshd and may not be counted; switch it off for this device",
        if *is_hardware { " in hardware" } else { "" }
    )]
    FlowOffload {
        /// A device of ours that it is on for.
        device: String,
        /// The table of nftables, and the name of the flowtable in it.
        flowtable: String,
        /// Whether devices pass on packets by themselves.
        is_hardware: bool,
    },
    /// Packets come from so many Ethernet addresses that there is no room to count for further ones.
    #[error(
        "there is no room for the counters of further neighbors, which are slowed down: somebody on the \
         mesh may be sending from Ethernet addresses that nobody has"
    )]
    CountersFull,
    /// Something of ours could not be removed or changed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// The secret of WireGuard's ends in the network namespace of the calling thread: that of a predecessor, or
/// a new one. `None` if the kernel has no WireGuard. Its module is loaded if there is one.
///
/// # Errors
/// There is no randomness.
pub fn wireguard_secret() -> io::Result<Option<WireguardSecret>> {
    tunnel::wireguard_secret()
}

/// Whether our table of nftables is there, in the network namespace of the calling thread.
///
/// # Errors
/// The kernel does not tell.
pub fn has_table() -> io::Result<bool> {
    match nfnetlink::Nfnetlink::open()?.elements(nat::GATEWAYS) {
        Ok(_) => Ok(true),
        Err(KernelError::TableMissing) => Ok(false),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Starts the netlink task in the network namespace of the calling thread, which must run a tokio
/// runtime. The event channel closes without [`KernelEvent::ShutDown`] if the kernel closes our
/// socket or the driver drops the request channel; everything then stays as it is.
///
/// # Errors
/// When a netlink socket can't be opened, or the kernel cannot tell of traffic.
pub fn spawn(
    setup: Setup,
) -> io::Result<(mpsc::Sender<KernelRequest>, mpsc::Receiver<KernelEvent>)> {
    let (request_sender, requests) = mpsc::channel(REQUEST_CAPACITY);
    let (events, event_receiver) = mpsc::channel(EVENT_CAPACITY);
    let task = task::Task::new(setup, requests, events)?;
    tokio::spawn(task.run(netlink::subscribe()?));
    Ok((request_sender, event_receiver))
}
