//! Next hop objects of the kernel: what many routes refer to, so that one message moves them all
//! (linux/nexthop.h; Linux 5.3).
//!
//! An object can be given another neighbor and another interface, and IPv4 routes use those with
//! an IPv6 gateway as well. The kernel removes an object, with all routes that refer to it, when
//! its interface goes down or loses its carrier, and refuses new ones there.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::Ipv6Addr;

use mesh_proto::{IfIndex, Target};
use neli::consts::nl::NlmF;
use neli::consts::socket::NlFamily;
use nix::errno::Errno;
use nix::libc::{AF_INET6, AF_UNSPEC};

use super::ROUTE_PROTOCOL;
use super::netlink::KernelError;
use super::raw::{Attributes, Socket, push};

/// The ids of our objects: `ms` in the high half.
const FIRST_ID: u32 = 0x6d73_0000;
const LAST_ID: u32 = 0x6d73_ffff;

const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_GETNEXTHOP: u16 = 106;
const NHA_ID: u16 = 1;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
/// `struct nhmsg`: family, scope, protocol, reserved, flags.
const NHMSG_BYTES: usize = 8;

/// What an object of ours is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ObjectId(u32);

impl ObjectId {
    /// Our range.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (FIRST_ID..=LAST_ID).map(Self)
    }

    /// An id as routes have it, if it is in our range.
    pub(super) fn of_route(number: u32) -> Option<Self> {
        (FIRST_ID..=LAST_ID)
            .contains(&number)
            .then_some(Self(number))
    }

    /// The number in messages.
    pub(super) const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A socket for requests about next hop objects.
pub(super) struct Nexthops {
    socket: Socket,
}

impl Nexthops {
    /// Opens the socket.
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::open(NlFamily::Route)?;
        Ok(Self { socket })
    }

    /// Lists our objects and where they lead.
    pub(super) fn list(&mut self) -> Result<BTreeMap<ObjectId, Target>, KernelError> {
        let any = header(AF_UNSPEC, 0);
        let found = self
            .socket
            .dump("list next hop objects", RTM_GETNEXTHOP, &any)?;
        Ok(found.iter().filter_map(|payload| parse(payload)).collect())
    }

    /// Makes an object that leads to a neighbor.
    ///
    /// # Errors
    /// `EEXIST` when the id is taken; `ENETDOWN` when the interface has no carrier.
    pub(super) fn add(
        &mut self,
        id: ObjectId,
        via: Ipv6Addr,
        ifindex: IfIndex,
    ) -> Result<(), KernelError> {
        self.set(id, via, ifindex, NlmF::CREATE | NlmF::EXCL)
    }

    /// Lets an object lead to another neighbor: every route that refers to it follows.
    ///
    /// # Errors
    /// `ENOENT` when the object is gone; `ENETDOWN` when the interface has no carrier.
    pub(super) fn replace(
        &mut self,
        id: ObjectId,
        via: Ipv6Addr,
        ifindex: IfIndex,
    ) -> Result<(), KernelError> {
        self.set(id, via, ifindex, NlmF::REPLACE)
    }

    fn set(
        &mut self,
        id: ObjectId,
        via: Ipv6Addr,
        ifindex: IfIndex,
        flags: NlmF,
    ) -> Result<(), KernelError> {
        let mut payload = header(AF_INET6, ROUTE_PROTOCOL);
        push(&mut payload, NHA_ID, &id.0.to_ne_bytes());
        push(&mut payload, NHA_OIF, &ifindex.0.to_ne_bytes());
        push(&mut payload, NHA_GATEWAY, &via.octets());
        let action = format!("set next hop object {id} to {via} at interface {ifindex}");
        self.socket
            .change(&action, (RTM_NEWNEXTHOP, flags), &payload)
    }

    /// Removes an object if it is there, and all routes that refer to it.
    pub(super) fn remove(&mut self, id: ObjectId) -> Result<(), KernelError> {
        let mut payload = header(AF_UNSPEC, 0);
        push(&mut payload, NHA_ID, &id.0.to_ne_bytes());
        let action = format!("remove next hop object {id}");
        let request = (RTM_DELNEXTHOP, NlmF::empty());
        match self.socket.change(&action, request, &payload) {
            Err(error) if error.is_errno(&[Errno::ENOENT]) => Ok(()),
            result => result,
        }
    }
}

fn header(family: i32, protocol: u8) -> Vec<u8> {
    let family = u8::try_from(family).unwrap_or_default();
    vec![family, 0, protocol, 0, 0, 0, 0, 0]
}

/// Reads an object of ours; none for those of others, and for those that are not as ours are.
fn parse(payload: &[u8]) -> Option<(ObjectId, Target)> {
    let &[_, _, protocol, ..] = payload else {
        return None;
    };
    let attributes = Attributes::of(payload, NHMSG_BYTES);
    let id = ObjectId::of_route(attributes.u32(NHA_ID)?).filter(|_| protocol == ROUTE_PROTOCOL)?;
    let via: [u8; 16] = attributes.bytes(NHA_GATEWAY)?.try_into().ok()?;
    let target = Target::NextHop {
        via: Ipv6Addr::from(via),
        ifindex: IfIndex(attributes.u32(NHA_OIF)?),
    };
    Some((id, target))
}
