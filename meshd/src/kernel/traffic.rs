//! Which neighbors carry traffic: packets of others than the routing protocol were received from
//! them, or sent to them.
//!
//! Two sets of our nftables table remember for [`MEMORY`] who that was. Whoever is not among them
//! is put there and logged to us (NFLOG), so that we are woken once in that time for each neighbor
//! that carries traffic, within a moment when it begins, and never while nothing flows.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv6Addr;
use std::thread;
use std::time::{Duration, Instant};

use mesh_proto::IfIndex;
use neli::consts::nl::NlmF;
use neli::consts::socket::NlFamily;
use neli::utils::Groups;
use nix::errno::Errno;

use super::neighbor::MacKey;
use super::netlink::KernelError;
use super::nfnetlink::{self, Element, Nfnetlink};
use super::raw::{EventSocket, Socket, Told, push};

/// How long the sets remember a neighbor. Less than the routing core watches a neighbor for after
/// it was told that it carries traffic.
pub(super) const MEMORY: Duration = Duration::from_secs(1);

/// How long others may have our group that are ending: what a predecessor was about to execute has its
/// sockets until then.
const RELEASE_TIME: Duration = Duration::from_millis(500);

/// Who begins to carry traffic within this time of another is told of together with it.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The set of interfaces and Ethernet addresses that something was received from.
pub(super) const RECEIVED: &str = "heard";

/// The set of interfaces and link-local addresses that something was sent to.
pub(super) const SENT: &str = "sent";

/// The group that packets are logged to: of the 65,536 of a network namespace the one with the
/// number of our port.
pub(super) const GROUP: u16 = 5525;

// `enum nfulnl_msg_types`, `nfulnl_attr_config` and their values (linux/netfilter/nfnetlink_log.h).
const NFNL_SUBSYS_ULOG: u16 = 4;
const NFULNL_MSG_PACKET: u16 = NFNL_SUBSYS_ULOG << 8;
const NFULNL_MSG_CONFIG: u16 = NFNL_SUBSYS_ULOG << 8 | 1;
const NFULA_CFG_CMD: u16 = 1;
const NFULA_CFG_MODE: u16 = 2;
const NFULNL_CFG_CMD_BIND: u8 = 1;
/// Nothing of the packet itself: `struct nfulnl_msg_config_mode` with a range of 0.
const NFULNL_COPY_META: [u8; 6] = [0, 0, 0, 0, 1, 0];

/// Neighbors that carry traffic.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By link-local address.
    pub(super) addresses: BTreeSet<(IfIndex, Ipv6Addr)>,
    /// By Ethernet address.
    pub(super) macs: BTreeSet<MacKey>,
}

/// What the kernel's filter tells without being asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// A neighbor began to carry traffic, or goes on to.
    pub(super) traffic: bool,
    /// Those who removed something of our table, as [`Told::by`] has them.
    pub(super) damaged_by: BTreeSet<u32>,
    /// There are other flowtables than before.
    pub(super) flowtables_changed: bool,
    /// A neighbor has used up half or all of its credit.
    pub(super) credit_used_up: bool,
}

impl News {
    /// Some were lost, whatever they were.
    fn lost() -> Self {
        Self {
            traffic: true,
            damaged_by: BTreeSet::from([0]),
            flowtables_changed: true,
            credit_used_up: true,
        }
    }

    fn of(events: &[Told]) -> Self {
        let mut news = Self::default();
        for Told { kind, by, payload } in events {
            news.traffic |= *kind == NFULNL_MSG_PACKET;
            if nfnetlink::damages_table(*kind, payload) {
                news.damaged_by.insert(*by);
            }
            news.flowtables_changed |= nfnetlink::changes_flowtables(*kind);
            news.credit_used_up |= nfnetlink::tells_used_up(*kind, payload);
        }
        news
    }
}

/// The socket that news come by.
pub(super) struct Traffic {
    socket: EventSocket,
    looked_at: Option<Instant>,
}

impl Traffic {
    /// Has the kernel tell us. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The kernel cannot log packets to programs, or another program has our group.
    pub(super) fn subscribe() -> io::Result<Self> {
        let action = format!("listen to nflog group {GROUP}");
        let unable = |error: KernelError| {
            let why = "the kernel has no NFLOG, or another program listens to the group";
            io::Error::other(format!("{error}: {why}"))
        };
        let groups = Groups::new_bitmask(nfnetlink::CHANGES);
        let mut socket = Socket::open_for(NlFamily::Netfilter, groups)?;
        // `struct nfgenmsg`: any family, version 0, the group.
        let [high, low] = GROUP.to_be_bytes();
        let mut request = vec![0, 0, high, low];
        push(&mut request, NFULA_CFG_CMD, &[NFULNL_CFG_CMD_BIND]);
        push(&mut request, NFULA_CFG_MODE, &NFULNL_COPY_META);
        let mut bind = || socket.change(&action, (NFULNL_MSG_CONFIG, NlmF::empty()), &request);
        let mut bound = bind();
        let begin = Instant::now();
        while let Err(error) = &bound
            && error.is_errno(&[Errno::EPERM])
            && begin.elapsed() < RELEASE_TIME
        {
            thread::sleep(RELEASE_TIME / 50);
            bound = bind();
        }
        bound.map_err(unable)?;
        Ok(Self {
            socket: socket.into_events()?,
            looked_at: None,
        })
    }

    /// Waits for news.
    ///
    /// # Errors
    /// What the kernel refuses, which it has no reason to.
    pub(super) async fn receive(&mut self) -> io::Result<News> {
        match self.socket.receive().await {
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => Ok(News::lost()),
            events => Ok(News::of(&events?)),
        }
    }

    /// The news so far.
    pub(super) fn news_so_far(&mut self) -> News {
        let mut all = News::default();
        while let Some(events) = self.socket.receive_now() {
            let news = events.map_or_else(|_| News::lost(), |events| News::of(&events));
            all.traffic |= news.traffic;
            all.damaged_by.extend(news.damaged_by);
            all.flowtables_changed |= news.flowtables_changed;
            all.credit_used_up |= news.credit_used_up;
        }
        all
    }

    /// When to look who it is, if a neighbor is said to carry traffic now.
    pub(super) fn look_at(&self, now: Instant) -> Instant {
        let next = self.looked_at.map(|before| before + LOOK_INTERVAL);
        next.map_or(now, |next| next.max(now))
    }

    /// Looks who carried traffic within [`MEMORY`].
    ///
    /// # Errors
    /// [`KernelError::TableMissing`] when the table is not complete.
    pub(super) fn look(
        &mut self,
        now: Instant,
        nfnetlink: &mut Nfnetlink,
    ) -> Result<Seen, KernelError> {
        self.looked_at = Some(now);
        let mut seen = Seen::default();
        for element in nfnetlink.elements(RECEIVED)? {
            seen.macs.insert((interface(element), element.part(4)));
        }
        for element in nfnetlink.elements(SENT)? {
            let address = Ipv6Addr::from(element.part::<16>(4));
            // Others may have an address of a network that the interface is attached to.
            if address.is_unicast_link_local() {
                seen.addresses.insert((interface(element), address));
            }
        }
        Ok(seen)
    }
}

/// The interface that the key of an element begins with.
pub(super) fn interface(element: Element) -> IfIndex {
    IfIndex(u32::from_ne_bytes(element.part(0)))
}
