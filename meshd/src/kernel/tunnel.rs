//! Tunnels: our ends of them, and who is at the others.
//!
//! | device | UDP port | what it is |
//! |---|---|---|
//! | `meshd0` | 5526 | VXLAN, to everybody: routes into it name the other end. It also holds the node's mesh addresses |
//! | `meshd1` | 5527 | WireGuard, a gateway's end: a peer for each node, with the prefixes of that node |
//! | `meshd2` to `meshd17` | 5528 to 5543 | WireGuard, the ends of a node that uses gateways: one gateway each, with every address |
//!
//! A device of WireGuard gives a packet to the peer whose prefix its destination is in, so only one
//! peer can have the whole Internet; flows that began through several gateways need as many devices.
//! What a peer sends must come from its prefixes, or the kernel drops it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use ipnet::IpNet;
use mesh_proto::record::MIN_MTU;
use mesh_proto::{IfIndex, OriginatorId, Tunnel, WireguardKey};
use rtnetlink::Handle;

use super::netlink::KernelError;
use super::route::Way;
use super::{Setup, Warning};
use wireguard::Wireguard;

mod vxlan;
mod wireguard;

pub use wireguard::WireguardSecret;
pub(super) use wireguard::secret as wireguard_secret;

/// The most that a tunnel adds to a packet, in bytes.
pub(super) const MAX_OVERHEAD: u32 = wireguard::OVERHEAD;

/// Our ends of tunnels.
pub(super) struct Tunnels {
    handle: Handle,
    setup: Setup,
    vxlan: Option<IfIndex>,
    wireguard: Wireguard,
}

impl Tunnels {
    pub(super) fn open(handle: Handle, setup: Setup) -> std::io::Result<Self> {
        Ok(Self {
            wireguard: Wireguard::open(handle.clone(), setup.clone())?,
            handle,
            setup,
            vxlan: None,
        })
    }

    /// Reads what there is of WireGuard.
    pub(super) async fn find(&mut self) -> Result<(), KernelError> {
        self.wireguard.find().await
    }

    /// Makes the end of VXLAN what it should be over mesh interfaces of this MTU. Returns its device.
    pub(super) async fn ensure_vxlan(&mut self, mesh_mtu: u32) -> Result<IfIndex, KernelError> {
        let mtu = less(mesh_mtu, vxlan::OVERHEAD);
        let device = vxlan::ensure(&self.handle, &self.setup, mtu).await?;
        self.vxlan = Some(device);
        Ok(device)
    }

    /// The same for the ends of WireGuard that there are, and those to come: with the node's addresses.
    pub(super) async fn ensure_wireguard(
        &mut self,
        mesh_mtu: u32,
        addresses: &BTreeSet<IpAddr>,
    ) -> Result<Vec<Warning>, KernelError> {
        let mtu = less(mesh_mtu, wireguard::OVERHEAD);
        self.wireguard.ensure(mtu, addresses).await
    }

    /// Whether this is a device of ours.
    pub(super) fn has(&self, ifindex: IfIndex) -> bool {
        self.vxlan == Some(ifindex) || self.wireguard.has(ifindex)
    }

    /// Who gets packets to a prefix that a route leads into this device.
    pub(super) fn peer_behind(
        &self,
        device: IfIndex,
        prefix: IpNet,
    ) -> Option<(OriginatorId, WireguardKey)> {
        self.wireguard.peer_behind(device, prefix)
    }

    /// The way that packets to a prefix take into the tunnel to `peer`, which is made.
    pub(super) async fn way(
        &mut self,
        peer: OriginatorId,
        tunnel: Tunnel,
        prefix: IpNet,
    ) -> Result<Way, KernelError> {
        match tunnel {
            Tunnel::Vxlan => {
                let device = self.vxlan.ok_or(KernelError::NotConfigured)?;
                vxlan::add_peer(&self.handle, device, peer).await?;
                Ok(Way::Vxlan { peer, device })
            }
            Tunnel::Wireguard(key) => {
                let device = self.wireguard.reach(peer, key, prefix).await?;
                Ok(Way::Device(device))
            }
        }
    }

    /// Leaves of the tunnel to `peer` what packets to these prefixes need.
    pub(super) async fn keep(
        &mut self,
        peer: OriginatorId,
        tunnel: Tunnel,
        prefixes: &BTreeSet<IpNet>,
    ) -> Result<(), KernelError> {
        match (tunnel, self.vxlan) {
            (Tunnel::Vxlan, Some(device)) if prefixes.is_empty() => {
                vxlan::remove_peer(&self.handle, device, peer).await
            }
            (Tunnel::Vxlan, _) => Ok(()),
            (Tunnel::Wireguard(key), _) => self.wireguard.keep(key, prefixes).await,
        }
    }

    /// Takes note of what a device knows that would be lost with it. For whenever traffic flows.
    pub(super) fn note_endpoints(&mut self, now: Instant) -> Result<(), KernelError> {
        self.wireguard.note_endpoints(now)
    }

    /// Everybody who is at the other end of WireGuard.
    pub(super) fn peers(&self) -> Vec<(OriginatorId, Tunnel)> {
        let peers = self.wireguard.peers();
        peers
            .map(|(peer, key)| (peer, Tunnel::Wireguard(key)))
            .collect()
    }

    /// Removes all devices, and with them addresses, routes and peers.
    pub(super) async fn remove_everything(&mut self) -> Result<(), KernelError> {
        let removed = self.wireguard.remove_everything().await;
        vxlan::remove(&self.handle).await.and(removed)
    }
}

/// The MTU of a tunnel over mesh interfaces of this MTU.
fn less(mesh_mtu: u32, overhead: u32) -> u32 {
    mesh_mtu.saturating_sub(overhead).max(MIN_MTU.into())
}
