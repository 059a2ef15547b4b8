//! The port of the routing protocol on a router's interface, for whoever takes the place of its daemon.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::BindToDevice;

use crate::lab::MESH;
use crate::namespace::Namespace;

/// Of the routing protocol (`docs/architecture.md`).
pub const PORT: u16 = 5525;
/// Where everybody on a link is spoken to.
pub const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x6d73);

/// How a receive ends that brought nothing in time.
const NOTHING: [ErrorKind; 3] = [
    ErrorKind::WouldBlock,
    ErrorKind::TimedOut,
    ErrorKind::Interrupted,
];

/// A socket as a daemon of the router would have it.
#[derive(Debug)]
pub struct RoutingPort {
    socket: UdpSocket,
    ifindex: u32,
    address: Ipv6Addr,
}

impl RoutingPort {
    /// Opens it on a router that runs no daemon.
    ///
    /// # Errors
    /// Somebody has it, or the interface has no address.
    pub fn open(router: &Namespace) -> Result<Self> {
        let ifindex = router.interface_index(MESH)?;
        router.within(|| {
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT)).context("open UDP")?;
            setsockopt(&socket, BindToDevice, &OsString::from(MESH))
                .with_context(|| format!("bind to {MESH}"))?;
            socket.join_multicast_v6(&GROUP, ifindex)?;
            socket.set_multicast_loop_v6(false)?;
            let address = source(ifindex)?;
            Ok(Self {
                socket,
                ifindex,
                address,
            })
        })
    }

    /// The number of the interface.
    #[must_use]
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// The address that packets are sent from.
    #[must_use]
    pub fn address(&self) -> Ipv6Addr {
        self.address
    }

    /// Sends a packet; `None` is everybody on the link.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn send(&self, to: Option<Ipv6Addr>, bytes: &[u8]) -> Result<()> {
        let to = SocketAddrV6::new(to.unwrap_or(GROUP), PORT, 0, self.ifindex);
        self.socket.send_to(bytes, to).context("send a packet")?;
        Ok(())
    }

    /// The next packet and where it came from; nothing if none comes soon.
    ///
    /// # Errors
    /// The socket is of no use any more.
    pub fn receive<'a>(
        &self,
        buffer: &'a mut [u8],
        patience: Duration,
    ) -> Result<Option<(&'a [u8], Ipv6Addr)>> {
        self.socket.set_read_timeout(Some(patience))?;
        match self.socket.recv_from(buffer) {
            Ok((len, SocketAddr::V6(from))) => {
                let bytes = buffer.get(..len).unwrap_or_default();
                Ok(Some((bytes, *from.ip())))
            }
            Ok((_, SocketAddr::V4(_))) => Ok(None),
            Err(error) if NOTHING.contains(&error.kind()) => Ok(None),
            Err(error) => Err(error).context("receive a packet"),
        }
    }
}

/// The address that the kernel sends from to everybody on the link.
fn source(ifindex: u32) -> Result<Ipv6Addr> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).context("open UDP")?;
    socket.connect(SocketAddrV6::new(GROUP, PORT, 0, ifindex))?;
    let own = socket.local_addr()?;
    match own {
        SocketAddr::V6(own) if own.ip().is_unicast_link_local() => Ok(*own.ip()),
        SocketAddr::V6(_) | SocketAddr::V4(_) => bail!("{MESH} sends from {own}"),
    }
}
