//! Our ends of WireGuard. Their key lives as long as they do, and the node's record says it.
//!
//! WireGuard refuses to begin a session with an end whose clock is behind that of an earlier time, and a
//! machine without a battery may be behind after each start. So ends that are made anew have a new key, for
//! which nobody remembers a time.
//!
//! | room | what lives there |
//! |---|---|
//! | this file | which devices there are, and who has which prefix at each |
//! | `messages` | what is said to the kernel and what it says |

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use ipnet::IpNet;
use mesh_proto::record::MIN_MTU;
use mesh_proto::{IfIndex, OriginatorId, WireguardKey};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec};
use zeroize::Zeroizing;

use crate::kernel::genl::Genl;
use crate::kernel::link::{self, Link};
use crate::kernel::netlink::{KernelError, ask};
use crate::kernel::{
    Setup, TUNNEL_DEVICES, TUNNEL_PORT, WIREGUARD_GATEWAY_PORT, Warning, address, sysctl,
};
use messages::{Change, Peer};

mod messages;

/// What WireGuard adds to a packet: outer IPv6 (40), UDP (8), a header (16) and a code that
/// authenticates it (16).
pub(in crate::kernel) const OVERHEAD: u32 = 80;

/// So many are kept of those that nothing is sent to any longer.
const MAX_IDLE: usize = 64;

/// Between two times that the kernel is asked where nodes are.
const ENDPOINT_INTERVAL: Duration = Duration::from_secs(5);

/// Between two packets that keep the session with a gateway, in seconds. A session ends after 180 s, and the
/// first packet after 120 s begins the next one: there is time to try again, every 5 s.
const KEEPALIVE_S: u16 = 45;

/// The number of a gateway's end; those of nodes that use gateways are above.
const GATEWAY_END: usize = 1;

/// The secret of the ends of a predecessor, in the network namespace of the calling thread, or a new one if
/// it left none. `None` if the kernel has no WireGuard. Its module is loaded if there is one.
pub(in crate::kernel) fn secret() -> io::Result<Option<WireguardSecret>> {
    let Ok(mut genl) = Genl::open(messages::FAMILY) else {
        return Ok(None);
    };
    if !genl.is_there() {
        return Ok(None);
    }
    let numbers = GATEWAY_END..TUNNEL_DEVICES.len();
    let devices = numbers.filter_map(|number| if_nametoindex(device(number)).ok());
    // Somebody else's of that name are not WireGuard's.
    let mut secrets = devices.filter_map(|it| messages::secret(&mut genl, IfIndex(it)).ok()?);
    secrets
        .next()
        .map_or_else(WireguardSecret::generate, Ok)
        .map(Some)
}

/// The secret of our ends of WireGuard. Shown nowhere.
#[derive(Clone)]
pub struct WireguardSecret {
    secret: Zeroizing<[u8; WireguardKey::LEN]>,
    public: WireguardKey,
}

impl WireguardSecret {
    /// A new one: a scalar and a point of Ed25519, which has its curve in common with X25519 (RFC 7748 §4.1).
    fn generate() -> io::Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(io::Error::other)?;
        let key = SigningKey::from_bytes(&seed);
        let point = key.verifying_key().to_montgomery();
        Ok(Self {
            secret: Zeroizing::new(key.to_scalar_bytes()),
            public: WireguardKey::from_bytes(point.to_bytes()),
        })
    }

    /// What others know of it.
    pub const fn public(&self) -> WireguardKey {
        self.public
    }
}

impl fmt::Debug for WireguardSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireguardSecret(…)")
    }
}

/// Our devices of WireGuard.
pub(in crate::kernel) struct Wireguard {
    handle: Handle,
    setup: Setup,
    genl: Genl,
    /// By their numbers.
    ends: BTreeMap<usize, End>,
    /// Those at the other end that nothing is sent to any longer, the first one for longest.
    idle: VecDeque<(usize, WireguardKey)>,
    /// Where the nodes at the other side of a gateway's end are, and when the kernel was asked for it: it
    /// learns that from their packets.
    endpoints: BTreeMap<WireguardKey, SocketAddrV6>,
    asked: Option<Instant>,
    mtu: u32,
    addresses: BTreeSet<IpAddr>,
}

/// A device, and who is at the other end.
struct End {
    ifindex: IfIndex,
    peers: BTreeMap<WireguardKey, Known>,
}

impl End {
    /// Whether the node with this key is here with another one, too. Not if others say that they have the
    /// key: it may be theirs.
    fn has_another(&self, setup: &Setup, key: WireguardKey) -> bool {
        let Some(Known { id, allowed }) = self.peers.get(&key) else {
            return false;
        };
        let mut nodes = nodes_of(setup, allowed);
        let mut others = self.peers.iter().filter(|(other, _)| **other != key);
        nodes.all(|node| node == *id) && others.any(|(_, known)| known.id == *id)
    }
}

/// Somebody at the other end of a device.
struct Known {
    id: OriginatorId,
    allowed: BTreeSet<IpNet>,
}

/// The nodes whose addresses are among these.
fn nodes_of<'a>(
    setup: &'a Setup,
    allowed: &'a BTreeSet<IpNet>,
) -> impl Iterator<Item = OriginatorId> + 'a {
    allowed.iter().filter_map(|prefix| match prefix {
        IpNet::V6(prefix) if prefix.prefix_len() == 128 => setup.node_at(prefix.addr()),
        IpNet::V6(_) | IpNet::V4(_) => None,
    })
}

impl Wireguard {
    pub(super) fn open(handle: Handle, setup: Setup) -> io::Result<Self> {
        Ok(Self {
            genl: Genl::open(messages::FAMILY)?,
            handle,
            setup,
            ends: BTreeMap::new(),
            idle: VecDeque::new(),
            endpoints: BTreeMap::new(),
            asked: None,
            mtu: MIN_MTU.into(),
            addresses: BTreeSet::new(),
        })
    }

    /// Reads what there is. A device that has not our key is removed.
    pub(super) async fn find(&mut self) -> Result<(), KernelError> {
        let mut ends = BTreeMap::new();
        for message in link::list(&self.handle).await? {
            let Some(number) = number_of(&message) else {
                continue;
            };
            let ifindex = IfIndex(message.header.index);
            match self.read(number, ifindex)? {
                Some(end) => drop(ends.insert(number, end)),
                None => self.remove_device(ifindex).await?,
            }
        }
        self.ends = ends;
        Ok(())
    }

    fn read(&mut self, number: usize, ifindex: IfIndex) -> Result<Option<End>, KernelError> {
        let Some(secret) = &self.setup.wireguard else {
            return Ok(None);
        };
        let device = messages::get(&mut self.genl, ifindex)?;
        if device.key != Some(secret.public) {
            return Ok(None);
        }
        if device.port != port(number) {
            messages::set(&mut self.genl, ifindex, secret, port(number))?;
        }
        let mut peers = BTreeMap::new();
        for (key, peer) in device.peers {
            match self.id_of(number, &peer) {
                Some(id) => drop(peers.insert(
                    key,
                    Known {
                        id,
                        allowed: peer.allowed,
                    },
                )),
                // Nobody we know, or one that lost its addresses.
                None => messages::set_peer(&mut self.genl, ifindex, key, &peer, Change::Remove)?,
            }
        }
        Ok(Some(End { ifindex, peers }))
    }

    /// Which node a peer is: the gateway that packets are sent to, or the node whose address it has.
    fn id_of(&self, number: usize, peer: &Peer) -> Option<OriginatorId> {
        if number != GATEWAY_END {
            return self.setup.node_at(*peer.endpoint?.ip());
        }
        nodes_of(&self.setup, &peer.allowed).next()
    }

    /// Makes the ends there are what they should be, now and those to come.
    pub(super) async fn ensure(
        &mut self,
        mtu: u32,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<Vec<Warning>, KernelError> {
        self.mtu = mtu;
        self.addresses.clone_from(addresses);
        let mut warnings = Vec::new();
        let links = link::list(&self.handle).await?;
        let links: Vec<Link> = links.iter().filter_map(Link::from_message).collect();
        for end in self.ends.values() {
            let Some(link) = links.iter().find(|link| link.ifindex == end.ifindex) else {
                continue;
            };
            if !link.up || link.mtu != mtu {
                self.switch_on(link.ifindex).await?;
            }
            let surplus = address::add_missing(&self.handle, end.ifindex, addresses).await?;
            address::remove(&self.handle, surplus).await?;
            warnings.extend(sysctl::open_tunnel(&link.name));
        }
        Ok(warnings)
    }

    pub(super) fn has(&self, ifindex: IfIndex) -> bool {
        self.ends.values().any(|end| end.ifindex == ifindex)
    }

    pub(super) fn peer_behind(
        &self,
        device: IfIndex,
        prefix: IpNet,
    ) -> Option<(OriginatorId, WireguardKey)> {
        let end = self.ends.values().find(|end| end.ifindex == device)?;
        let mut peers = end.peers.iter();
        let (key, known) = peers.find(|(_, known)| known.allowed.contains(&prefix))?;
        Some((known.id, *key))
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = (OriginatorId, WireguardKey)> {
        let peers = self.ends.values().flat_map(|end| &end.peers);
        peers.map(|(key, known)| (known.id, *key))
    }

    /// Gives packets to a prefix to this peer, at an end that is made if it is not there.
    pub(super) async fn reach(
        &mut self,
        id: OriginatorId,
        key: WireguardKey,
        prefix: IpNet,
    ) -> Result<IfIndex, KernelError> {
        let number = match self.end_for(id, prefix) {
            Some(number) => number,
            None => self.create_for(prefix).await?,
        };
        let was_idle = self.is_idle(number, key);
        self.idle.retain(|it| *it != (number, key));
        let is_new = self.add(number, id, key, prefix)?;
        if is_new || was_idle {
            self.keep_session(number, key, true)?;
        }
        if is_new {
            self.forget_former()?;
        }
        let end = self.ends.get(&number).ok_or(KernelError::NotConfigured)?;
        Ok(end.ifindex)
    }

    /// Gives a peer a prefix that it may have already. Returns whether the end did not know it.
    fn add(
        &mut self,
        number: usize,
        id: OriginatorId,
        key: WireguardKey,
        prefix: IpNet,
    ) -> Result<bool, KernelError> {
        let endpoint = self.endpoint_of(number, id, key);
        let Self { ends, genl, .. } = self;
        let end = ends.get_mut(&number).ok_or(KernelError::NotConfigured)?;
        let known = end.peers.get(&key);
        if known.is_some_and(|known| known.allowed.contains(&prefix)) {
            return Ok(false);
        }
        let is_new = known.is_none();
        let peer = Peer {
            // The kernel knows better where one is that it knows.
            endpoint: endpoint.filter(|_| is_new),
            allowed: BTreeSet::from([prefix]),
        };
        messages::set_peer(genl, end.ifindex, key, &peer, Change::Add)?;
        if number == GATEWAY_END && peer.endpoint.is_some() {
            // It goes on with a session that went with the device, and would for 15 s.
            messages::greet(genl, end.ifindex, key)?;
        }
        for known in end.peers.values_mut() {
            known.allowed.remove(&prefix);
        }
        let allowed = BTreeSet::new();
        let known = end.peers.entry(key).or_insert(Known { id, allowed });
        known.allowed.insert(prefix);
        Ok(is_new)
    }

    fn is_idle(&self, number: usize, key: WireguardKey) -> bool {
        self.idle.contains(&(number, key))
    }

    /// Begins a session with a gateway and keeps it, whether there is something to send or not, or leaves it
    /// to what is sent. Whoever comes first to a gateway that is used next finds a session.
    fn keep_session(
        &mut self,
        number: usize,
        key: WireguardKey,
        is_kept: bool,
    ) -> Result<(), KernelError> {
        match self.ends.get(&number) {
            Some(end) if number != GATEWAY_END => {
                let every = if is_kept { KEEPALIVE_S } else { 0 };
                messages::keep_alive(&mut self.genl, end.ifindex, key, every)
            }
            // The nodes at the other side of a gateway's end see to it.
            Some(_) | None => Ok(()),
        }
    }

    /// Where a peer is that an end does not know yet. A gateway learns it from a node's first packet, if
    /// it did not know before its end was made anew.
    fn endpoint_of(
        &self,
        number: usize,
        id: OriginatorId,
        key: WireguardKey,
    ) -> Option<SocketAddrV6> {
        if number == GATEWAY_END {
            return self.endpoints.get(&key).copied();
        }
        let gateway = self.setup.mesh_address_of(id);
        Some(SocketAddrV6::new(gateway, WIREGUARD_GATEWAY_PORT, 0, 0))
    }

    /// Takes note of where the nodes at the other side of a gateway's end are, now and then.
    pub(super) fn note_endpoints(&mut self, now: Instant) -> Result<(), KernelError> {
        let is_due = |asked| now.saturating_duration_since(asked) >= ENDPOINT_INTERVAL;
        let Some(end) = self.ends.get(&GATEWAY_END) else {
            return Ok(());
        };
        if self.asked.is_none_or(is_due) {
            self.asked = Some(now);
            let device = messages::get(&mut self.genl, end.ifindex)?;
            let peers = device.peers.into_iter();
            let known = peers.filter_map(|(key, peer)| Some((key, peer.endpoint?)));
            self.endpoints = known.collect();
        }
        Ok(())
    }

    /// The end that packets to a prefix leave by on their way to this peer, if it is there.
    fn end_for(&self, id: OriginatorId, prefix: IpNet) -> Option<usize> {
        if !is_default(prefix) {
            return self.ends.contains_key(&GATEWAY_END).then_some(GATEWAY_END);
        }
        let mut ends = self.ends.range(GATEWAY_END + 1..);
        // Not by its key: another could say that it has the same, and would get what is for this one.
        let found = ends.find(|(_, end)| end.peers.values().any(|known| known.id == id))?;
        Some(*found.0)
    }

    /// Leaves a peer these prefixes of those it has. One that needs none of them any longer is kept for
    /// a while, with what it has: a route may be gone for a moment only, and with the peer its session
    /// would be gone, which the other end notices late.
    pub(super) async fn keep(
        &mut self,
        key: WireguardKey,
        prefixes: &BTreeSet<IpNet>,
    ) -> Result<(), KernelError> {
        let mut ended = Vec::new();
        for (&number, end) in &mut self.ends {
            let Some(known) = end.peers.get_mut(&key) else {
                continue;
            };
            let kept: BTreeSet<IpNet> = known.allowed.intersection(prefixes).copied().collect();
            if kept.is_empty() {
                ended.push(number);
            } else if kept != known.allowed {
                let peer = Peer {
                    endpoint: None,
                    allowed: kept.clone(),
                };
                let genl = &mut self.genl;
                messages::set_peer(genl, end.ifindex, key, &peer, Change::Replace)?;
                known.allowed = kept;
            }
        }
        for number in ended {
            self.keep_session(number, key, false)?;
            self.idle.retain(|it| *it != (number, key));
            self.idle.push_back((number, key));
        }
        self.forget_former()?;
        while self.idle.len() > MAX_IDLE {
            self.forget_idle(|_| true).await?;
        }
        Ok(())
    }

    /// Removes those that nothing is sent to any longer because their node has another key now.
    fn forget_former(&mut self) -> Result<(), KernelError> {
        let Self {
            ends,
            idle,
            genl,
            setup,
            ..
        } = self;
        let mut outcome = Ok(());
        idle.retain(|(number, key)| {
            let Some(end) = ends.get_mut(number) else {
                return false;
            };
            let is_former = end.has_another(setup, *key);
            if is_former {
                end.peers.remove(key);
                let nothing = Peer::default();
                let removed = messages::set_peer(genl, end.ifindex, *key, &nothing, Change::Remove);
                outcome = std::mem::replace(&mut outcome, Ok(())).and(removed);
            }
            !is_former
        });
        outcome
    }

    /// Removes the peer of those ends that nothing was sent to for longest, and its end if nobody else
    /// is there. Returns whether there was one.
    async fn forget_idle(&mut self, of: impl Fn(usize) -> bool) -> Result<bool, KernelError> {
        let mut idle = self.idle.iter();
        let Some(place) = idle.position(|(number, _)| of(*number)) else {
            return Ok(false);
        };
        let Some((number, key)) = self.idle.remove(place) else {
            return Ok(false);
        };
        let Some(end) = self.ends.get_mut(&number) else {
            return Ok(true);
        };
        end.peers.remove(&key);
        let ifindex = end.ifindex;
        if end.peers.is_empty() {
            self.ends.remove(&number);
            self.remove_device(ifindex).await?;
        } else {
            let nothing = Peer::default();
            messages::set_peer(&mut self.genl, ifindex, key, &nothing, Change::Remove)?;
        }
        Ok(true)
    }

    /// Makes an end for packets to a prefix. Returns its number.
    async fn create_for(&mut self, prefix: IpNet) -> Result<usize, KernelError> {
        let numbers = match is_default(prefix) {
            true => GATEWAY_END + 1..TUNNEL_DEVICES.len(),
            false => GATEWAY_END..GATEWAY_END + 1,
        };
        loop {
            for number in numbers.clone() {
                if self.ends.contains_key(&number) {
                    continue;
                }
                match self.create(number).await {
                    // Somebody else's.
                    Err(error) if error.is_errno(&[Errno::EEXIST]) => {}
                    result => return result.map(|()| number),
                }
            }
            if !self.forget_idle(|number| numbers.contains(&number)).await? {
                return Err(KernelError::NoTunnelDevice);
            }
        }
    }

    async fn create(&mut self, number: usize) -> Result<(), KernelError> {
        let name = device(number);
        let message = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Wireguard)
            .name(name)
            .mtu(self.mtu)
            .build();
        let request = self.handle.link().add(message).execute();
        ask(|| format!("create {name}"), request).await?;
        let index = if_nametoindex(name).map_err(|errno| KernelError::Refused {
            action: format!("find {name}"),
            source: errno.into(),
        })?;
        let ifindex = IfIndex(index);
        let made = self.set_up(number, ifindex).await;
        if made.is_err() {
            self.remove_device(ifindex).await?;
        }
        made
    }

    async fn set_up(&mut self, number: usize, ifindex: IfIndex) -> Result<(), KernelError> {
        let secret = self.setup.wireguard.as_ref();
        let secret = secret.ok_or(KernelError::NotConfigured)?;
        messages::set(&mut self.genl, ifindex, secret, port(number))?;
        for warning in sysctl::open_tunnel(device(number)) {
            tracing::warn!("{warning}");
        }
        self.switch_on(ifindex).await?;
        address::add_missing(&self.handle, ifindex, &self.addresses).await?;
        let peers = BTreeMap::new();
        self.ends.insert(number, End { ifindex, peers });
        Ok(())
    }

    async fn switch_on(&self, ifindex: IfIndex) -> Result<(), KernelError> {
        let message = LinkUnspec::new_with_index(ifindex.0).mtu(self.mtu).up();
        let request = self.handle.link().change(message.build()).execute();
        ask(|| format!("switch on device {ifindex}"), request).await
    }

    async fn remove_device(&self, ifindex: IfIndex) -> Result<(), KernelError> {
        let request = self.handle.link().del(ifindex.0).execute();
        match ask(|| format!("remove device {ifindex}"), request).await {
            Err(error) if error.is_errno(&[Errno::ENODEV]) => Ok(()),
            result => result,
        }
    }

    /// Removes all devices that have our names.
    pub(super) async fn remove_everything(&mut self) -> Result<(), KernelError> {
        self.ends.clear();
        for message in link::list(&self.handle).await? {
            if number_of(&message).is_some() {
                self.remove_device(IfIndex(message.header.index)).await?;
            }
        }
        Ok(())
    }
}

fn is_default(prefix: IpNet) -> bool {
    prefix.prefix_len() == 0
}

/// The UDP port of an end.
fn port(number: usize) -> u16 {
    u16::try_from(number).map_or(0, |number| TUNNEL_PORT + number)
}

/// The name of an end.
fn device(number: usize) -> &'static str {
    TUNNEL_DEVICES.get(number).copied().unwrap_or_default()
}

/// Which end a device is, if it is one of WireGuard.
fn number_of(message: &LinkMessage) -> Option<usize> {
    let kind = LinkInfo::Kind(InfoKind::Wireguard);
    let is_wireguard = |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::LinkInfo(info) if info.contains(&kind));
    let name = Link::from_message(message)?.name;
    let number = TUNNEL_DEVICES.iter().position(|device| *device == name)?;
    let found = message.attributes.iter().any(is_wireguard);
    found.then_some(number)
}
