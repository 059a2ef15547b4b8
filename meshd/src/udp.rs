//! Sockets only: one UDP socket for each mesh interface, bytes in and bytes out.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::task::{Context, Poll};

use mesh_proto::IfIndex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

/// The UDP port of the routing protocol.
pub const PORT: u16 = 5525;

/// All meshd routers on a link: a link-local multicast group (RFC 4291 §2.7).
pub const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x6d73);

/// Internetwork control (RFC 2474 §4.2.2.2): radios and queues send it ahead of the traffic whose
/// way it keeps open.
const TRAFFIC_CLASS: u32 = 0xc0;

/// The largest datagram taken; jumbo frames included.
const MAX_DATAGRAM: usize = 16 * 1024;

/// What was received.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Over which interface.
    pub ifindex: IfIndex,
    /// From which address.
    pub source: Ipv6Addr,
    /// The UDP payload.
    pub bytes: &'a [u8],
}

/// The sockets of all mesh interfaces that are ready.
#[derive(Debug)]
pub struct Sockets {
    sockets: BTreeMap<IfIndex, UdpSocket>,
    buffer: Vec<u8>,
    /// The interface read last: the next read begins after it, so that a flooded link does not
    /// keep the others waiting.
    last: IfIndex,
}

impl Sockets {
    /// None yet.
    pub fn new() -> Self {
        Self {
            sockets: BTreeMap::new(),
            buffer: vec![0; MAX_DATAGRAM],
            last: IfIndex(0),
        }
    }

    /// Opens a socket on an interface, unless there is one. Returns whether it was opened now.
    ///
    /// # Errors
    /// What the kernel refuses, for example because the interface has just gone.
    pub fn open(&mut self, ifindex: IfIndex, name: &str) -> io::Result<bool> {
        let missing = !self.sockets.contains_key(&ifindex);
        if missing {
            self.sockets.insert(ifindex, open(ifindex, name)?);
        }
        Ok(missing)
    }

    /// Closes the socket of an interface. Returns whether there was one.
    pub fn close(&mut self, ifindex: IfIndex) -> bool {
        self.sockets.remove(&ifindex).is_some()
    }

    /// Sends without waiting: when the link takes no more, the datagram is lost as it would be in
    /// the air, and the protocol copes. `None` is everybody on the link.
    ///
    /// # Errors
    /// No socket on the interface, or what the kernel refuses.
    pub fn send(&self, ifindex: IfIndex, to: Option<Ipv6Addr>, bytes: &[u8]) -> io::Result<()> {
        let socket = self
            .sockets
            .get(&ifindex)
            .ok_or(io::ErrorKind::NotConnected)?;
        let to = SocketAddrV6::new(to.unwrap_or(GROUP), PORT, 0, ifindex.0);
        socket.try_send_to(bytes, to.into()).map(drop)
    }

    /// Waits for the next datagram on any socket. An error of one socket is the interface's: it is
    /// down or gone, which the kernel reports on its own.
    pub async fn receive(&mut self) -> Datagram<'_> {
        let (ifindex, source, len) =
            std::future::poll_fn(|context| self.poll_receive(context)).await;
        let bytes = self.buffer.get(..len).unwrap_or_default();
        Datagram {
            ifindex,
            source,
            bytes,
        }
    }

    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<(IfIndex, Ipv6Addr, usize)> {
        let last = self.last;
        let after = self.sockets.iter().filter(|(ifindex, _)| **ifindex > last);
        let before = self.sockets.iter().filter(|(ifindex, _)| **ifindex <= last);
        for (ifindex, socket) in after.chain(before) {
            let mut buffer = ReadBuf::new(&mut self.buffer);
            // An error is consumed by reading it, so the loop ends.
            while let Poll::Ready(result) = socket.poll_recv_from(context, &mut buffer) {
                if let Ok(SocketAddr::V6(source)) = result {
                    self.last = *ifindex;
                    return Poll::Ready((*ifindex, *source.ip(), buffer.filled().len()));
                }
                buffer.clear();
            }
        }
        Poll::Pending
    }
}

impl Default for Sockets {
    fn default() -> Self {
        Self::new()
    }
}

fn open(ifindex: IfIndex, name: &str) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(true)?;
    socket.set_reuse_address(true)?;
    // Without it, each socket would receive the multicast packets of all links.
    socket.bind_device(Some(name.as_bytes()))?;
    socket.set_multicast_if_v6(ifindex.0)?;
    socket.set_multicast_loop_v6(false)?;
    socket.join_multicast_v6(&GROUP, ifindex.0)?;
    socket.set_tclass_v6(TRAFFIC_CLASS)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, PORT, 0, 0).into())?;
    UdpSocket::from_std(socket.into())
}
