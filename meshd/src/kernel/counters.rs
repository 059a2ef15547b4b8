//! Reading the counter sets of our nftables table over nfnetlink (linux/netfilter/nf_tables.h).
//!
//! The kernel answers on the spot, within microseconds for each neighbor, so reading is done
//! without giving way to other tasks.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink attributes are an open set"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor};
use std::net::Ipv6Addr;

use mesh_proto::IfIndex;
use neli::FromBytesWithInput;
use neli::consts::nl::{NlmF, Nlmsg};
use neli::consts::socket::NlFamily;
use neli::err::DeError;
use neli::genl::Nlattr;
use neli::nl::{NlPayload, Nlmsghdr, NlmsghdrBuilder};
use neli::socket::synchronous::NlSocketHandle;
use neli::types::{Buffer, GenlBuffer};
use neli::utils::Groups;
use nix::errno::Errno;
use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};

use super::nat;
use super::netlink::{KernelError, dump};

/// Which packets a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flow {
    /// Received from the neighbor, on their way to a gateway.
    UpRx,
    /// Sent to the neighbor, on their way to a gateway.
    UpTx,
    /// Received from the neighbor, coming from a gateway.
    DownRx,
    /// Sent to the neighbor, coming from a gateway.
    DownTx,
}

impl Flow {
    /// All of them; what is counted as `up` comes before what is counted as `down`.
    pub(super) const ALL: [Self; 4] = [Self::UpRx, Self::UpTx, Self::DownRx, Self::DownTx];

    /// Whether the packets are on their way to a gateway.
    pub(super) const fn is_up(self) -> bool {
        matches!(self, Self::UpRx | Self::UpTx)
    }

    /// Whether the packets come from the neighbor.
    pub(super) const fn is_received(self) -> bool {
        matches!(self, Self::UpRx | Self::DownRx)
    }

    /// The name of the set these counters are in.
    pub(super) const fn set_name(self) -> &'static str {
        match self {
            Self::UpRx => "up_rx",
            Self::UpTx => "up_tx",
            Self::DownRx => "down_rx",
            Self::DownTx => "down_tx",
        }
    }
}

/// A neighbor as the counters know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Neighbor {
    /// Its link-local address.
    LinkLocal(Ipv6Addr),
    /// Its Ethernet address, as long as the kernel does not know whose it is.
    Mac([u8; 6]),
}

/// What one counter counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterSample {
    /// Which packets.
    pub flow: Flow,
    /// At which mesh interface.
    pub ifindex: IfIndex,
    /// From or to which neighbor.
    pub neighbor: Neighbor,
    /// Bytes of whole IPv6 packets, the tunnel's headers included.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
}

/// What all counters counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Names the life of the counters: two readings with the same value and without a reboot
    /// between them count from the same zero. It changes when the table was made anew.
    pub generation: u64,
    /// One for each flow, interface and neighbor that had packets.
    pub samples: Vec<CounterSample>,
}

// `enum nf_tables_msg_types`, with the number of the subsystem in the high byte.
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_GETTABLE: u16 = NFNL_SUBSYS_NFTABLES << 8 | 1;
const NFT_MSG_GETSET: u16 = NFNL_SUBSYS_NFTABLES << 8 | 10;
const NFT_MSG_GETSETELEM: u16 = NFNL_SUBSYS_NFTABLES << 8 | 13;
const NFPROTO_INET: u8 = 1;
/// `struct nfgenmsg`: family, version, resource id.
const NFGENMSG: [u8; 4] = [NFPROTO_INET, 0, 0, 0];

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_HANDLE: u16 = 4;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_HANDLE: u16 = 16;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_EXPR: u16 = 7;
const NFTA_SET_ELEM_EXPRESSIONS: u16 = 11;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_COUNTER_BYTES: u16 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;

/// A dump during which the ruleset changed is not consistent; changes are rare.
const DUMP_ATTEMPTS: usize = 5;

type Attributes = GenlBuffer<u16, Buffer>;

/// The counter sets that our table has.
pub(super) fn find_sets() -> Result<BTreeSet<Flow>, KernelError> {
    let sets = Nfnetlink::open()?.sets()?;
    Ok(sets.map_or_else(BTreeSet::new, |sets| sets.into_keys().collect()))
}

/// Reads all counters; neighbors are named by their Ethernet address where packets are received.
///
/// # Errors
/// [`KernelError::TableMissing`] when the counter sets are not all there.
pub(super) fn read() -> Result<Counters, KernelError> {
    let nfnetlink = Nfnetlink::open()?;
    let sets = nfnetlink
        .sets()?
        .filter(|sets| sets.len() == Flow::ALL.len());
    let newest_set = sets.ok_or(KernelError::TableMissing)?.into_values().max();
    let mut counted = BTreeMap::new();
    for flow in Flow::ALL {
        for sample in nfnetlink.elements(flow)? {
            // A set that grows while it is dumped may have an element twice.
            let key = (flow, sample.ifindex, sample.neighbor);
            let kept: &mut CounterSample = counted.entry(key).or_insert(sample);
            if kept.bytes < sample.bytes {
                *kept = sample;
            }
        }
    }
    // Handles count up within a table, and tables count up within a network namespace, so the
    // pair never comes again before a reboot.
    let generation = nfnetlink.table()? << 32 | newest_set.unwrap_or_default();
    Ok(Counters {
        generation,
        samples: counted.into_values().collect(),
    })
}

/// A socket of the nfnetlink family.
struct Nfnetlink {
    socket: NlSocketHandle,
}

impl Nfnetlink {
    fn open() -> Result<Self, KernelError> {
        NlSocketHandle::connect(NlFamily::Netfilter, None, Groups::empty())
            .map(|socket| Self { socket })
            .map_err(failed("open an nfnetlink socket"))
    }

    /// The handle of our table.
    fn table(&self) -> Result<u64, KernelError> {
        let tables = self.dump(NFT_MSG_GETTABLE, &[])?;
        let ours = tables
            .iter()
            .find(|table| string(table, NFTA_TABLE_NAME).is_some_and(|name| name == nat::TABLE));
        ours.and_then(|table| big_endian(table, NFTA_TABLE_HANDLE))
            .ok_or(KernelError::TableMissing)
    }

    /// The handles of the counter sets in our table; none if there is no table.
    fn sets(&self) -> Result<Option<BTreeMap<Flow, u64>>, KernelError> {
        let sets = match self.dump(NFT_MSG_GETSET, &[(NFTA_SET_TABLE, nat::TABLE)]) {
            Err(KernelError::TableMissing) => return Ok(None),
            sets => sets?,
        };
        let handles = sets.iter().filter_map(|set| {
            let name = string(set, NFTA_SET_NAME)?;
            let flow = Flow::ALL.into_iter().find(|flow| flow.set_name() == name)?;
            Some((flow, big_endian(set, NFTA_SET_HANDLE)?))
        });
        Ok(Some(handles.collect()))
    }

    /// The counters of one set.
    fn elements(&self, flow: Flow) -> Result<Vec<CounterSample>, KernelError> {
        let names = [
            (NFTA_SET_ELEM_LIST_TABLE, nat::TABLE),
            (NFTA_SET_ELEM_LIST_SET, flow.set_name()),
        ];
        let mut samples = Vec::new();
        for message in self.dump(NFT_MSG_GETSETELEM, &names)? {
            let Some(list) = nested(&message, NFTA_SET_ELEM_LIST_ELEMENTS) else {
                continue;
            };
            let elements = list.iter().filter_map(|element| nest(element).ok());
            samples.extend(elements.filter_map(|element| parse_element(flow, &element)));
        }
        Ok(samples)
    }

    /// Dumps objects that belong to what `names` names.
    fn dump(&self, kind: u16, names: &[(u16, &str)]) -> Result<Vec<Attributes>, KernelError> {
        for _ in 0..DUMP_ATTEMPTS {
            self.send(kind, names)?;
            if let Some(messages) = self.receive()? {
                return Ok(messages);
            }
        }
        Err(failed(READ)("the ruleset does not stop changing"))
    }

    fn send(&self, kind: u16, names: &[(u16, &str)]) -> Result<(), KernelError> {
        let payload = names
            .iter()
            .fold(NFGENMSG.to_vec(), |mut payload, (attribute, name)| {
                payload.extend(string_attribute(*attribute, name));
                payload
            });
        let request = NlmsghdrBuilder::default()
            .nl_type(kind)
            .nl_flags(NlmF::REQUEST | NlmF::DUMP)
            .nl_payload(NlPayload::Payload(Buffer::from(payload)))
            .build()
            .map_err(failed(READ))?;
        self.socket.send(&request).map_err(failed(READ))
    }

    /// Receives a dump; none if it is not consistent.
    fn receive(&self) -> Result<Option<Vec<Attributes>>, KernelError> {
        let mut messages = Vec::new();
        let mut consistent = true;
        loop {
            let (received, _) = self.socket.recv::<u16, Buffer>().map_err(failed(READ))?;
            for message in received {
                let message = message.map_err(failed(READ))?;
                consistent &= !message.nl_flags().contains(NlmF::DUMP_INTR);
                if *message.nl_type() == u16::from(Nlmsg::Done) {
                    return Ok(consistent.then_some(messages));
                }
                messages.extend(payload(&message)?);
            }
        }
    }
}

/// The attributes of a message, if it has any.
fn payload(message: &Nlmsghdr<u16, Buffer>) -> Result<Option<Attributes>, KernelError> {
    if let NlPayload::Err(error) = message.nl_payload() {
        let source = io::Error::from_raw_os_error(error.error().abs());
        return Err(match source.raw_os_error() {
            Some(number) if number == Errno::ENOENT as i32 => KernelError::TableMissing,
            _ => KernelError::Refused {
                action: READ.to_owned(),
                source,
            },
        });
    }
    let Some((_, bytes)) = message
        .get_payload()
        .and_then(|payload| payload.as_ref().split_at_checked(NFGENMSG.len()))
    else {
        return Ok(None);
    };
    parse_attributes(bytes).map(Some).map_err(failed(READ))
}

const READ: &str = "read the nftables counters";

fn failed<E: ToString>(action: &'static str) -> impl Fn(E) -> KernelError {
    move |error| KernelError::Unexpected {
        action: action.to_owned(),
        detail: error.to_string(),
    }
}

/// A string attribute (`struct nlattr`): length, type, the string with a zero, padding.
fn string_attribute(kind: u16, value: &str) -> Vec<u8> {
    let length = 4 + value.len() + 1;
    let mut bytes = u16::try_from(length)
        .unwrap_or(u16::MAX)
        .to_ne_bytes()
        .to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value.as_bytes());
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

fn parse_attributes(bytes: &[u8]) -> Result<Attributes, DeError> {
    Attributes::from_bytes_with_input(&mut Cursor::new(bytes), bytes.len())
}

fn nest(attribute: &Nlattr<u16, Buffer>) -> Result<Attributes, DeError> {
    parse_attributes(attribute.nla_payload().as_ref())
}

fn find(attributes: &Attributes, kind: u16) -> Option<&Nlattr<u16, Buffer>> {
    attributes
        .iter()
        .find(|attribute| *attribute.nla_type().nla_type() == kind)
}

fn nested(attributes: &Attributes, kind: u16) -> Option<Attributes> {
    nest(find(attributes, kind)?).ok()
}

fn bytes(attributes: &Attributes, kind: u16) -> Option<&[u8]> {
    find(attributes, kind).map(|attribute| attribute.nla_payload().as_ref())
}

fn string(attributes: &Attributes, kind: u16) -> Option<&str> {
    std::str::from_utf8(bytes(attributes, kind)?)
        .ok()
        .map(|text| text.trim_end_matches('\0'))
}

/// A number of 64 bits: nf_tables sends them in network order.
fn big_endian(attributes: &Attributes, kind: u16) -> Option<u64> {
    bytes(attributes, kind)?
        .try_into()
        .ok()
        .map(u64::from_be_bytes)
}

fn parse_element(flow: Flow, element: &Attributes) -> Option<CounterSample> {
    let key = nested(element, NFTA_SET_ELEM_KEY)?;
    let (ifindex, address) = bytes(&key, NFTA_DATA_VALUE)?.split_first_chunk()?;
    let neighbor = if flow.is_received() {
        Neighbor::Mac(*address.first_chunk()?)
    } else {
        Neighbor::LinkLocal(Ipv6Addr::from(*address.first_chunk::<16>()?))
    };
    let counter = counter(element)?;
    Some(CounterSample {
        flow,
        ifindex: IfIndex(u32::from_ne_bytes(*ifindex)),
        neighbor,
        bytes: big_endian(&counter, NFTA_COUNTER_BYTES)?,
        packets: big_endian(&counter, NFTA_COUNTER_PACKETS)?,
    })
}

/// The counter of an element: alone, or in a list of expressions.
fn counter(element: &Attributes) -> Option<Attributes> {
    let alone = nested(element, NFTA_SET_ELEM_EXPR);
    let listed = nested(element, NFTA_SET_ELEM_EXPRESSIONS)
        .into_iter()
        .flat_map(|list| {
            list.iter()
                .filter_map(|expression| nest(expression).ok())
                .collect::<Vec<_>>()
        });
    let counter = alone
        .into_iter()
        .chain(listed)
        .find(|expression| string(expression, NFTA_EXPR_NAME) == Some("counter"))?;
    nested(&counter, NFTA_EXPR_DATA)
}

/// Whose Ethernet address is whose. Remembered, since the kernel forgets neighbors it does not
/// hear of for a while, and counters stay.
#[derive(Debug, Default)]
pub(super) struct Neighbors {
    known: BTreeMap<(IfIndex, [u8; 6]), Ipv6Addr>,
}

impl Neighbors {
    /// Reads the kernel's neighbors, as far as `counters` has them: there are bounded many.
    pub(super) async fn update(
        &mut self,
        handle: &Handle,
        counters: &Counters,
    ) -> Result<(), KernelError> {
        let counted = |key: &(IfIndex, [u8; 6])| {
            let (ifindex, mac) = *key;
            let mut samples = counters.samples.iter();
            samples.any(|s| s.ifindex == ifindex && s.neighbor == Neighbor::Mac(mac))
        };
        let request = handle
            .neighbours()
            .get()
            .set_address_family(AddressFamily::Inet6);
        let mut present: BTreeMap<_, BTreeSet<Ipv6Addr>> = BTreeMap::new();
        for message in dump("list neighbors", request.execute()).await? {
            if let Some((mac, address)) = parse_neighbor(&message) {
                let key = (IfIndex(message.header.ifindex), mac);
                if counted(&key) {
                    present.entry(key).or_default().insert(address);
                }
            }
        }
        for (key, addresses) in present {
            if self
                .known
                .get(&key)
                .is_none_or(|known| !addresses.contains(known))
            {
                self.known
                    .extend(addresses.first().map(|&address| (key, address)));
            }
        }
        Ok(())
    }

    /// Forgets the neighbors at an interface that is gone: its index may come again.
    pub(super) fn forget(&mut self, ifindex: IfIndex) {
        self.known.retain(|&(known, _), _| known != ifindex);
    }

    /// Names neighbors by their link-local address as far as it is known.
    pub(super) fn resolve(&self, counters: &mut Counters) {
        for sample in &mut counters.samples {
            if let Neighbor::Mac(mac) = sample.neighbor
                && let Some(&address) = self.known.get(&(sample.ifindex, mac))
            {
                sample.neighbor = Neighbor::LinkLocal(address);
            }
        }
    }
}

/// A neighbor's Ethernet and link-local address.
fn parse_neighbor(message: &NeighbourMessage) -> Option<([u8; 6], Ipv6Addr)> {
    let address = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some(*address),
            _ => None,
        })?;
    let mac = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(mac) => mac.as_slice().try_into().ok(),
            _ => None,
        })?;
    address.is_unicast_link_local().then_some((mac, address))
}
