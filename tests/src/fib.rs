//! Where a kernel would send a packet this moment, asked over rtnetlink as the kernel itself
//! decides it: rules, tables and next hop objects included.
//!
//! A question for one destination takes some microseconds, so that a whole village can be
//! followed many times a second.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

use crate::namespace::Namespace;

// linux/netlink.h, linux/rtnetlink.h
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const NLM_F_REQUEST: u16 = 1;
const RTA_DST: u16 = 1;
const RTA_GATEWAY: u16 = 5;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const HEADER_BYTES: usize = 16;
const RTMSG_BYTES: usize = 12;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// What a kernel would do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NextHop {
    /// No route, or one that refuses.
    None,
    /// It has arrived.
    Here,
    /// To the neighbor with this address, which is the destination itself on a shared link.
    Via(IpAddr),
}

/// A question socket in one namespace, for one question at a time: answers do not say whose they are.
#[derive(Debug)]
pub struct Fib {
    socket: Mutex<OwnedFd>,
}

impl Fib {
    /// Opens it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn open(namespace: &Namespace) -> Result<Self> {
        let socket = namespace.within(|| {
            socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::NetlinkRoute,
            )
            .context("open rtnetlink")
        })?;
        Ok(Self {
            socket: Mutex::new(socket),
        })
    }

    /// Asks for the way to `destination`.
    ///
    /// # Errors
    /// The kernel does not answer, or not in its own format.
    pub fn next_hop(&self, destination: IpAddr) -> Result<NextHop> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let descriptor = socket.as_raw_fd();
        send(descriptor, &request(destination), MsgFlags::empty()).context("ask for a route")?;
        let mut buffer = [0; 4096];
        let length = recv(descriptor, &mut buffer, MsgFlags::empty()).context("hear a route")?;
        answer(buffer.get(..length).unwrap_or_default(), destination)
    }
}

fn request(destination: IpAddr) -> Vec<u8> {
    let (family, address) = match destination {
        IpAddr::V4(v4) => (AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AF_INET6, v6.octets().to_vec()),
    };
    let attribute = 4 + address.len();
    let mut bytes = Vec::new();
    // struct nlmsghdr; sequence number and port are not needed with one question at a time.
    let length = HEADER_BYTES + RTMSG_BYTES + attribute;
    bytes.extend(u32::try_from(length).unwrap_or_default().to_ne_bytes());
    bytes.extend(RTM_GETROUTE.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    bytes.extend([0; 8]);
    // struct rtmsg: family, prefix length, and nothing else.
    let bits = u8::try_from(address.len() * 8).unwrap_or_default();
    bytes.extend([family, bits]);
    bytes.extend([0; RTMSG_BYTES - 2]);
    bytes.extend(u16::try_from(attribute).unwrap_or_default().to_ne_bytes());
    bytes.extend(RTA_DST.to_ne_bytes());
    bytes.extend(address);
    bytes
}

fn answer(bytes: &[u8], destination: IpAddr) -> Result<NextHop> {
    let kind = bytes.get(4..6).and_then(|kind| kind.try_into().ok());
    let kind = u16::from_ne_bytes(kind.context("a short netlink message")?);
    if kind != RTM_NEWROUTE {
        // NLMSG_ERROR: unreachable, prohibited, no such route.
        return Ok(NextHop::None);
    }
    let route_type = *bytes.get(HEADER_BYTES + 7).context("a short route")?;
    Ok(match route_type {
        RTN_LOCAL => NextHop::Here,
        RTN_UNICAST => {
            let attributes = bytes.get(HEADER_BYTES + RTMSG_BYTES..).unwrap_or_default();
            NextHop::Via(gateway(attributes)?.unwrap_or(destination))
        }
        _ => NextHop::None,
    })
}

fn gateway(mut attributes: &[u8]) -> Result<Option<IpAddr>> {
    while let Some((head, _)) = attributes.split_first_chunk::<4>() {
        let [l0, l1, k0, k1] = *head;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        ensure!(length >= 4, "an attribute of {length} bytes");
        let value = attributes.get(4..length).unwrap_or_default();
        if u16::from_ne_bytes([k0, k1]) == RTA_GATEWAY {
            let v6 = <[u8; 16]>::try_from(value).map(|v6| IpAddr::V6(Ipv6Addr::from(v6)));
            let v4 = <[u8; 4]>::try_from(value).map(|v4| IpAddr::V4(Ipv4Addr::from(v4)));
            return Ok(v6.or(v4).ok());
        }
        attributes = attributes
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    Ok(None)
}

/// The tables of a whole village, for following packets through it.
#[derive(Debug)]
pub struct Village {
    fibs: BTreeMap<String, Fib>,
    owners: BTreeMap<IpAddr, String>,
}

impl Village {
    /// Opens a question socket in every namespace and notes who has which address.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn open(namespaces: &BTreeMap<String, Namespace>) -> Result<Self> {
        let (mut fibs, mut owners) = (BTreeMap::new(), BTreeMap::new());
        for (router, namespace) in namespaces {
            fibs.insert(router.clone(), Fib::open(namespace)?);
            for line in namespace.ip("-o addr show")?.lines() {
                let mut words = line
                    .split_whitespace()
                    .skip_while(|word| !word.starts_with("inet"));
                let address = words.nth(1).and_then(|word| word.split('/').next());
                let address = address.and_then(|address| address.parse::<IpAddr>().ok());
                owners.extend(
                    address
                        .filter(|a| !a.is_loopback())
                        .map(|a| (a, router.clone())),
                );
            }
        }
        Ok(Self { fibs, owners })
    }

    /// The router `router` hands a packet for `destination` to; itself if it has arrived, nobody
    /// if it has no way.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn next(&self, router: &str, destination: IpAddr) -> Result<Option<&str>> {
        let Some((name, fib)) = self.fibs.get_key_value(router) else {
            return Ok(None);
        };
        Ok(match fib.next_hop(destination)? {
            NextHop::None => None,
            NextHop::Here => Some(name),
            NextHop::Via(address) => self.owners.get(&address).map(String::as_str),
        })
    }

    /// The routers a packet takes, both ends included.
    ///
    /// # Errors
    /// It does not arrive; the text holds how far it comes.
    pub fn path(&self, from: &str, destination: IpAddr) -> Result<Vec<String>> {
        let mut path = vec![from.to_owned()];
        let mut here = from;
        loop {
            let next = self.next(here, destination)?;
            let next = next.with_context(|| format!("no way to {destination} after {path:?}"))?;
            if next == here {
                return Ok(path);
            }
            ensure!(
                !path.iter().any(|passed| passed == next),
                "a circle: {path:?}, {next}"
            );
            path.push(next.to_owned());
            here = next;
        }
    }

    /// The next hops of every router to `destination`, this moment.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn next_hops(&self, destination: IpAddr) -> Result<BTreeMap<&str, &str>> {
        let mut hops = BTreeMap::new();
        for router in self.fibs.keys() {
            let next = self.next(router, destination)?;
            hops.extend(next.map(|next| (router.as_str(), next)));
        }
        Ok(hops)
    }

    /// The circles among the next hops to `destination`, each as the set of its routers.
    ///
    /// The tables are read one after the other, so one that changes in between can show a circle
    /// that never was: each is read a second time, and only those that are still there count.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn circles(&self, destination: IpAddr) -> Result<BTreeSet<BTreeSet<String>>> {
        let first = circles(&self.next_hops(destination)?);
        if first.is_empty() {
            return Ok(first);
        }
        let second = circles(&self.next_hops(destination)?);
        Ok(first.intersection(&second).cloned().collect())
    }
}

fn circles(hops: &BTreeMap<&str, &str>) -> BTreeSet<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in hops.keys() {
        let mut way: Vec<&str> = Vec::new();
        let mut here = *start;
        while !done.contains(here) && !way.contains(&here) {
            way.push(here);
            match hops.get(here) {
                Some(next) if *next != here => here = next,
                _ => break,
            }
        }
        if !done.contains(here) {
            let circle: BTreeSet<String> = way
                .iter()
                .skip_while(|router| **router != here)
                .map(|router| (*router).to_owned())
                .collect();
            // A way that ends is its own last router.
            if circle.len() > 1 {
                found.insert(circle);
            }
        }
        done.extend(way);
    }
    found
}

/// Packets that a kernel dropped since it was built because their hop limit had run out, or their
/// header was wrong otherwise; both families.
///
/// # Errors
/// The kernel has no such counters.
pub fn hop_limit_drops(namespace: &Namespace) -> Result<u64> {
    // /proc/net is that of the process's first thread, which is elsewhere.
    let (v6, v4) = namespace.within(|| {
        let read = |file| fs::read_to_string(file).context("the counters of a namespace");
        Ok((
            read("/proc/thread-self/net/snmp6")?,
            read("/proc/thread-self/net/snmp")?,
        ))
    })?;
    let v6 = v6
        .lines()
        .find_map(|line| line.strip_prefix("Ip6InHdrErrors"))
        .and_then(|value| value.trim().parse::<u64>().ok());
    // The second line that begins with `Ip:` holds the values of the names in the first.
    let mut lines = v4.lines().filter_map(|line| line.strip_prefix("Ip: "));
    let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let v4 = names
        .split(' ')
        .zip(values.split(' '))
        .find(|(name, _)| *name == "InHdrErrors")
        .and_then(|(_, value)| value.parse::<u64>().ok());
    Ok(v6.context("no Ip6InHdrErrors")? + v4.context("no InHdrErrors")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(hops: &[(&str, &str)]) -> Vec<Vec<String>> {
        let hops = hops.iter().copied().collect();
        let circles = circles(&hops).into_iter();
        circles.map(|circle| circle.into_iter().collect()).collect()
    }

    #[test]
    fn ways_that_end_are_no_circles() {
        assert!(found(&[("a", "b"), ("b", "c"), ("c", "c")]).is_empty());
        assert!(found(&[("a", "b"), ("c", "b")]).is_empty());
    }

    #[test]
    fn every_circle_is_found_once() {
        let hops = [("a", "b"), ("b", "c"), ("c", "b"), ("x", "y"), ("y", "x")];
        assert_eq!(found(&hops), [["b", "c"], ["x", "y"]]);
    }

    #[test]
    fn a_gateway_is_read_from_among_other_attributes() {
        let mut bytes = vec![8, 0, 4, 0, 3, 0, 0, 0];
        bytes.extend([8, 0, 5, 0, 10, 0, 0, 7]);
        let expected = Some(IpAddr::from([10, 0, 0, 7]));
        assert_eq!(gateway(&bytes).unwrap(), expected);
        assert_eq!(gateway(&bytes[..8]).unwrap(), None);
        assert!(gateway(&[0, 0, 5, 0]).is_err());
    }
}
