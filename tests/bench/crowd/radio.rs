//! The neighbor's socket, and how full the router's is.

use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mesh_tests::lab::Node;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::BindToDevice;

/// Of the routing protocol (`docs/architecture.md`).
const PORT: u16 = 5525;
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x6d73);
const INTERFACE: &str = "mesh0";

/// How a receive ends that brought nothing in time.
const NOTHING: [ErrorKind; 3] = [
    ErrorKind::WouldBlock,
    ErrorKind::TimedOut,
    ErrorKind::Interrupted,
];

/// A socket as a daemon of the node would have it.
pub(super) struct Radio {
    socket: UdpSocket,
    ifindex: u32,
    address: Ipv6Addr,
}

impl Radio {
    /// Opens it on a node that runs no daemon.
    pub(super) fn open(node: &Node) -> Result<Self> {
        let ifindex = node.namespace().interface_index(INTERFACE)?;
        node.namespace().within(|| {
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT)).context("open UDP")?;
            setsockopt(&socket, BindToDevice, &OsString::from(INTERFACE))
                .with_context(|| format!("bind to {INTERFACE}"))?;
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

    /// The address that packets are sent from.
    pub(super) const fn address(&self) -> Ipv6Addr {
        self.address
    }

    /// Sends a packet; `None` is everybody on the link.
    pub(super) fn send(&self, to: Option<Ipv6Addr>, bytes: &[u8]) -> Result<()> {
        let to = SocketAddrV6::new(to.unwrap_or(GROUP), PORT, 0, self.ifindex);
        self.socket.send_to(bytes, to).context("send a packet")?;
        Ok(())
    }

    /// The next packet and where it came from; nothing if none comes soon.
    pub(super) fn receive<'a>(
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
        SocketAddr::V6(_) | SocketAddr::V4(_) => bail!("{INTERFACE} sends from {own}"),
    }
}

/// The receive queue of the router's socket. To look at it costs the router nothing, unlike a
/// question on its control socket.
pub(super) struct Inbox {
    sockets: File,
}

impl Inbox {
    /// That of a node's daemon, which need not run yet.
    pub(super) fn of(node: &Node) -> Result<Self> {
        // Once open, it shows the namespace that it was opened in.
        let open = || File::open("/proc/thread-self/net/udp6").context("open /proc/net/udp6");
        let sockets = node.namespace().within(open)?;
        Ok(Self { sockets })
    }

    /// Bytes of memory that packets wait in.
    pub(super) fn queued(&self) -> Result<u64> {
        let queues = self.field(4)?;
        let bytes = queues.split_once(':').map(|(_, received)| received);
        u64::from_str_radix(bytes.unwrap_or_default(), 16).context("a length in /proc/net/udp6")
    }

    /// Packets that found no room.
    pub(super) fn dropped(&self) -> Result<u64> {
        self.field(12)?.parse().context("drops in /proc/net/udp6")
    }

    /// A field of the socket's line, counted from 0.
    fn field(&self, number: usize) -> Result<String> {
        let mut text = [0; 4096];
        let len = self.sockets.read_at(&mut text, 0)?;
        let text = String::from_utf8_lossy(text.get(..len).unwrap_or_default()).into_owned();
        let port = format!(":{PORT:04X} ");
        let line = text.lines().find(|line| line.contains(&port));
        let line = line.context("meshd does not listen: it has ended, or not begun")?;
        let field = line.split_whitespace().nth(number);
        Ok(field.context("a short line in /proc/net/udp6")?.to_owned())
    }
}
