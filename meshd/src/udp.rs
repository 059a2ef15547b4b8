//! Sockets only: one UDP socket for each mesh interface, bytes in and bytes out.
//!
//! A neighbor whose daemon does not run answers for itself: its kernel says that there is nobody
//! at the port. That is news as well, because such a neighbor still forwards.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::task::{Context, Poll};

use mesh_proto::IfIndex;
use nix::errno::Errno;
use nix::libc::{in6_addr, in6_pktinfo, sock_extended_err, sockaddr_in6};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt,
    sockopt::Ipv6RecvErr,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::watch;

/// The UDP port of the routing protocol.
pub const PORT: u16 = 5525;

/// All meshd routers on a link: a link-local multicast group (RFC 4291 §2.7).
pub const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x6d73);

/// Internetwork control (RFC 2474 §4.2.2.2): radios and queues send it ahead of the traffic whose
/// way it keeps open.
const TRAFFIC_CLASS: u32 = 0xc0;

/// The largest datagram taken; jumbo frames included.
const MAX_DATAGRAM: usize = 16 * 1024;

/// What came over a link.
#[derive(Debug)]
pub enum Received<'a> {
    /// A datagram.
    Datagram(Datagram<'a>),
    /// A neighbor's kernel has no daemon to give our datagram to.
    Refused {
        /// Over which interface it was sent.
        ifindex: IfIndex,
        /// To which address.
        address: Ipv6Addr,
    },
}

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
    sockets: BTreeMap<IfIndex, AsyncFd<UdpSocket>>,
    buffer: Vec<u8>,
    /// The interface read last: the next read begins after it, so that a flooded link does not
    /// keep the others waiting.
    last: IfIndex,
    /// Refusals that were not received yet.
    refused: VecDeque<(IfIndex, Ipv6Addr)>,
}

impl Sockets {
    /// None yet.
    pub fn new() -> Self {
        Self {
            sockets: BTreeMap::new(),
            buffer: vec![0; MAX_DATAGRAM],
            last: IfIndex(0),
            refused: VecDeque::new(),
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
    pub fn send(&mut self, ifindex: IfIndex, to: Option<Ipv6Addr>, bytes: &[u8]) -> io::Result<()> {
        let socket = self
            .sockets
            .get(&ifindex)
            .ok_or(io::ErrorKind::NotConnected)?;
        let to = SocketAddrV6::new(to.unwrap_or(GROUP), PORT, 0, ifindex.0);
        match socket.get_ref().send_to(bytes, to) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                // An earlier datagram was refused, which is not this one's fault.
                self.refused.extend(refusals(ifindex, socket.get_ref()));
                socket.get_ref().send_to(bytes, to).map(drop)
            }
            result => result.map(drop),
        }
    }

    /// Sends from our mesh address to that of a node that need not be on the link, over the interface that leads
    /// there. As [`Sockets::send`] otherwise.
    ///
    /// # Errors
    /// No socket on the interface, or what the kernel refuses.
    pub fn send_afar(
        &mut self,
        ifindex: IfIndex,
        from: Ipv6Addr,
        to: Ipv6Addr,
        bytes: &[u8],
    ) -> io::Result<()> {
        let socket = self
            .sockets
            .get(&ifindex)
            .ok_or(io::ErrorKind::NotConnected)?;
        let to = SockaddrIn6::from(SocketAddrV6::new(to, PORT, 0, 0));
        let source = in6_pktinfo {
            ipi6_addr: in6_addr {
                s6_addr: from.octets(),
            },
            ipi6_ifindex: 0,
        };
        let control = [ControlMessage::Ipv6PacketInfo(&source)];
        let iov = [IoSlice::new(bytes)];
        let fd = socket.get_ref().as_raw_fd();
        sendmsg(fd, &iov, &control, MsgFlags::MSG_DONTWAIT, Some(&to))?;
        Ok(())
    }

    /// Waits for what comes next on any socket. Other errors of a socket are the interface's: it is
    /// down or gone, which the kernel reports on its own.
    pub async fn receive(&mut self) -> Received<'_> {
        match std::future::poll_fn(|context| self.poll_receive(context)).await {
            Arrived::Datagram(ifindex, source, len) => Received::Datagram(Datagram {
                ifindex,
                source,
                bytes: self.buffer.get(..len).unwrap_or_default(),
            }),
            Arrived::Refusal(ifindex, address) => Received::Refused { ifindex, address },
        }
    }

    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Arrived> {
        if let Some((ifindex, address)) = self.refused.pop_front() {
            return Poll::Ready(Arrived::Refusal(ifindex, address));
        }
        let last = self.last;
        let after = self.sockets.iter().filter(|(ifindex, _)| **ifindex > last);
        let before = self.sockets.iter().filter(|(ifindex, _)| **ifindex <= last);
        for (&ifindex, socket) in after.chain(before) {
            while let Poll::Ready(ready) = socket.poll_read_ready(context) {
                let Ok(mut ready) = ready else { break };
                // An error is consumed by reading it, so the loop ends.
                match ready.try_io(|it| it.get_ref().recv_from(&mut self.buffer)) {
                    Ok(Ok((len, SocketAddr::V6(source)))) => {
                        self.last = ifindex;
                        return Poll::Ready(Arrived::Datagram(ifindex, *source.ip(), len));
                    }
                    Ok(Err(_)) => self.refused.extend(refusals(ifindex, socket.get_ref())),
                    Ok(Ok((_, SocketAddr::V4(_)))) | Err(_) => {}
                }
            }
        }
        match self.refused.pop_front() {
            Some((ifindex, address)) => Poll::Ready(Arrived::Refusal(ifindex, address)),
            None => Poll::Pending,
        }
    }
}

/// What arrived, with the bytes of a datagram still in the buffer.
enum Arrived {
    Datagram(IfIndex, Ipv6Addr, usize),
    Refusal(IfIndex, Ipv6Addr),
}

/// Empties a socket's queue of errors. Returns to whom datagrams were refused (RFC 4443 §3.1,
/// port unreachable).
fn refusals(ifindex: IfIndex, socket: &UdpSocket) -> Vec<(IfIndex, Ipv6Addr)> {
    /// More than a radio has neighbors at a time; the rest comes with the next error.
    const MOST: usize = 64;
    let next = || refusal(socket).transpose();
    let errors = std::iter::from_fn(next).take(MOST);
    let addresses = errors.filter_map(|error| error.ok().flatten());
    addresses.map(|address| (ifindex, address)).collect()
}

/// The next error of a socket: the address if it was a refusal; `None` if there is no error left.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "control messages are an open set"
)]
fn refusal(socket: &UdpSocket) -> nix::Result<Option<Option<Ipv6Addr>>> {
    let mut room = [0; 1];
    let mut iov = [IoSliceMut::new(&mut room)];
    let mut control = nix::cmsg_space!((sock_extended_err, sockaddr_in6));
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let fd = socket.as_raw_fd();
    let message = match recvmsg::<SockaddrIn6>(fd, &mut iov, Some(&mut control), flags) {
        Ok(message) => message,
        Err(_) => return Ok(None),
    };
    let refused = message.cmsgs()?.any(|part| match part {
        ControlMessageOwned::Ipv6RecvErr(error, _) => {
            Errno::from_raw(error.ee_errno.cast_signed()) == Errno::ECONNREFUSED
        }
        _ => false,
    });
    let address = message.address.map(|address| address.ip());
    Ok(Some(address.filter(|_| refused)))
}

impl Default for Sockets {
    fn default() -> Self {
        Self::new()
    }
}

fn open(ifindex: IfIndex, name: &str) -> io::Result<AsyncFd<UdpSocket>> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(true)?;
    socket.set_reuse_address(true)?;
    // Without it, each socket would receive the multicast packets of all links.
    socket.bind_device(Some(name.as_bytes()))?;
    socket.set_multicast_if_v6(ifindex.0)?;
    socket.set_multicast_loop_v6(false)?;
    socket.join_multicast_v6(&GROUP, ifindex.0)?;
    socket.set_tclass_v6(TRAFFIC_CLASS)?;
    setsockopt(&socket, Ipv6RecvErr, &true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, PORT, 0, 0).into())?;
    watch::for_input(socket.into())
}
