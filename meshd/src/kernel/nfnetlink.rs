//! Reading our nftables table over nfnetlink (linux/netfilter/nf_tables.h).

use std::collections::BTreeMap;
use std::io;

use neli::consts::socket::NlFamily;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::nat;
use super::netlink::KernelError;
use super::raw::{Attributes, Payload, Socket, or_missing, push, push_string};
use super::shape::{self, Spent};

// `enum nf_tables_msg_types`, with the number of the subsystem in the high byte.
const NFNL_SUBSYS_NFTABLES: u16 = 10;
/// What a table can lose: itself, a chain, a rule, a set, an element of one, a counter or quota. That elements time
/// out is not told.
const NFT_MSG_DEL: [u8; 6] = [2, 5, 8, 11, 14, 20];
const NFT_MSG_GETTABLE: u16 = NFNL_SUBSYS_NFTABLES << 8 | 1;
const NFT_MSG_GETGEN: u16 = NFNL_SUBSYS_NFTABLES << 8 | 16;
const NFT_MSG_GETSET: u16 = NFNL_SUBSYS_NFTABLES << 8 | 10;
const NFT_MSG_GETSETELEM: u16 = NFNL_SUBSYS_NFTABLES << 8 | 13;
const NFT_MSG_NEWOBJ: u8 = 18;
const NFT_MSG_GETOBJ: u16 = NFNL_SUBSYS_NFTABLES << 8 | 19;
const NFT_MSG_NEWFLOWTABLE: u8 = 22;
const NFT_MSG_GETFLOWTABLE: u16 = NFNL_SUBSYS_NFTABLES << 8 | 23;
const NFT_MSG_DELFLOWTABLE: u8 = 24;
const NFPROTO_INET: u8 = 1;
/// `struct nfgenmsg`: family, version, resource id.
const NFGENMSG: [u8; 4] = [NFPROTO_INET, 0, 0, 0];
/// The same for objects of all families (`NFPROTO_UNSPEC`).
const ANY_FAMILY: [u8; 4] = [0; 4];

const NFTA_GEN_ID: u16 = 1;
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
const NFTA_OBJ_TABLE: u16 = 1;
const NFTA_OBJ_NAME: u16 = 2;
const NFTA_OBJ_TYPE: u16 = 3;
const NFTA_OBJ_DATA: u16 = 4;
const NFT_OBJECT_COUNTER: u32 = 1;
const NFT_OBJECT_QUOTA: u32 = 2;
const NFTA_QUOTA_FLAGS: u16 = 2;
const NFTA_QUOTA_CONSUMED: u16 = 4;
const NFT_QUOTA_F_DEPLETED: u32 = 2;
const NFTA_FLOWTABLE_TABLE: u16 = 1;
const NFTA_FLOWTABLE_NAME: u16 = 2;
const NFTA_FLOWTABLE_HOOK: u16 = 3;
const NFTA_FLOWTABLE_FLAGS: u16 = 7;
const NFTA_FLOWTABLE_HOOK_DEVS: u16 = 3;
const NFTA_DEVICE_NAME: u16 = 1;
const NFTA_DEVICE_PREFIX: u16 = 2;
const NFT_FLOWTABLE_HW_OFFLOAD: u32 = 1;

const READ: &str = "read the nftables counters";

/// What a counter counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Bytes of whole packets, all IP headers included.
    pub bytes: u64,
    /// Packets as the kernel passes them on.
    pub packets: u64,
}

/// The longest key of our sets, in bytes: an interface and two IPv6 addresses.
const MAX_KEY_BYTES: usize = 36;

/// An element of a set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    /// Its parts, each filled up to 4 bytes, with zeros behind them.
    key: [u8; MAX_KEY_BYTES],
    /// What its counter counted, if it has one.
    pub(super) counted: Option<Counted>,
}

impl Element {
    /// The part of the key that begins at a byte. Zeros if the key ends before.
    pub(super) fn part<const LEN: usize>(&self, at: usize) -> [u8; LEN] {
        let part = self.key.get(at..).and_then(<[u8]>::first_chunk);
        part.copied().unwrap_or([0; LEN])
    }
}

/// A table of flows that go past nftables, whoever has made it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flowtable {
    /// Its name, with the one of the table of nftables it belongs to.
    pub(super) name: String,
    /// Names of devices at which such flows are looked for.
    devices: Vec<String>,
    /// How the names of others begin.
    prefixes: Vec<String>,
    /// Whether devices may pass on packets of such flows by themselves.
    pub(super) is_hardware: bool,
}

impl Flowtable {
    fn parse(payload: &[u8]) -> Option<Self> {
        let it = attributes(payload);
        let table = it.string(NFTA_FLOWTABLE_TABLE)?;
        let name = it.string(NFTA_FLOWTABLE_NAME)?;
        let flags = it.bytes(NFTA_FLOWTABLE_FLAGS).unwrap_or_default();
        let flags = flags.try_into().map_or(0, u32::from_be_bytes);
        let hook = it.nested(NFTA_FLOWTABLE_HOOK);
        let devices = hook.and_then(|hook| hook.nested(NFTA_FLOWTABLE_HOOK_DEVS));
        let named = |wanted: u16| {
            let devices = devices.into_iter().flatten();
            let names = devices.filter(|(kind, _)| *kind == wanted);
            names
                .filter_map(|(_, name)| std::str::from_utf8(name).ok())
                .map(|name| name.trim_end_matches('\0').to_owned())
                .collect()
        };
        Some(Self {
            name: format!("{table} {name}"),
            devices: named(NFTA_DEVICE_NAME),
            prefixes: named(NFTA_DEVICE_PREFIX),
            is_hardware: flags & NFT_FLOWTABLE_HW_OFFLOAD != 0,
        })
    }

    /// Whether a device is among its own.
    pub(super) fn has(&self, device: &str) -> bool {
        let mut prefixes = self.prefixes.iter();
        self.devices.iter().any(|it| it == device) || prefixes.any(|it| device.starts_with(it))
    }
}

/// The multicast group that is told of changes to tables (`NFNLGRP_NFTABLES`,
/// linux/netfilter/nfnetlink.h), as a bit.
pub(super) const CHANGES: u32 = 1 << 6;

/// Whether a message says that our table, or something in it, was removed.
pub(super) fn damages_table(kind: u16, payload: &[u8]) -> bool {
    let [subsystem, message] = kind.to_be_bytes();
    let removes = u16::from(subsystem) == NFNL_SUBSYS_NFTABLES && NFT_MSG_DEL.contains(&message);
    // All of these name their table in an attribute of the same number.
    removes && attributes(payload).string(NFTA_TABLE_NAME) == Some(nat::TABLE)
}

/// Whether a message says that there is another flowtable, or one less.
pub(super) fn changes_flowtables(kind: u16) -> bool {
    let [subsystem, message] = kind.to_be_bytes();
    let is_change = [NFT_MSG_NEWFLOWTABLE, NFT_MSG_DELFLOWTABLE].contains(&message);
    u16::from(subsystem) == NFNL_SUBSYS_NFTABLES && is_change
}

/// Whether a message says that one of our quotas is used up. The kernel tells so once, until the quota is
/// changed.
pub(super) fn tells_used_up(kind: u16, payload: &[u8]) -> bool {
    let [subsystem, message] = kind.to_be_bytes();
    if u16::from(subsystem) != NFNL_SUBSYS_NFTABLES || message != NFT_MSG_NEWOBJ {
        return false;
    }
    let object = attributes(payload);
    let is_quota = object.bytes(NFTA_OBJ_TYPE) == Some(&NFT_OBJECT_QUOTA.to_be_bytes());
    let data = object.nested(NFTA_OBJ_DATA);
    let flags = data.and_then(|data| data.bytes(NFTA_QUOTA_FLAGS)?.try_into().ok());
    let flags = flags.map_or(0, u32::from_be_bytes);
    let is_ours = object.string(NFTA_OBJ_TABLE) == Some(nat::TABLE);
    is_quota && is_ours && flags & NFT_QUOTA_F_DEPLETED != 0
}

/// A socket of the nfnetlink family.
pub(super) struct Nfnetlink {
    socket: Socket,
}

impl Nfnetlink {
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::open(NlFamily::Netfilter)?;
        Ok(Self { socket })
    }

    /// How often nftables was changed, by whomever. It wraps.
    pub(super) fn generation(&mut self) -> Result<u32, KernelError> {
        let action = "read the generation of nftables";
        let answer = self.socket.get(action, NFT_MSG_GETGEN, &NFGENMSG)?;
        let id = attributes(&answer).bytes(NFTA_GEN_ID);
        let id = id.and_then(|id| id.first_chunk());
        Ok(u32::from_be_bytes(*id.ok_or(KernelError::TableMissing)?))
    }

    /// The handle of our table.
    ///
    /// # Errors
    /// [`KernelError::TableMissing`] when there is none.
    pub(super) fn table(&mut self) -> Result<u64, KernelError> {
        let tables = self.dump(NFT_MSG_GETTABLE, &[])?;
        let mut tables = tables.iter().map(|table| attributes(table));
        tables
            .find(|table| table.string(NFTA_TABLE_NAME) == Some(nat::TABLE))
            .and_then(|table| table.big_endian(NFTA_TABLE_HANDLE))
            .ok_or(KernelError::TableMissing)
    }

    /// The names and handles of the sets in our table; none if there is no table.
    pub(super) fn sets(&mut self) -> Result<BTreeMap<String, u64>, KernelError> {
        let sets = match self.dump(NFT_MSG_GETSET, &[(NFTA_SET_TABLE, nat::TABLE)]) {
            Err(KernelError::TableMissing) => return Ok(BTreeMap::new()),
            sets => sets?,
        };
        let named = sets.iter().filter_map(|set| {
            let set = attributes(set);
            let handle = set.big_endian(NFTA_SET_HANDLE)?;
            Some((set.string(NFTA_SET_NAME)?.to_owned(), handle))
        });
        Ok(named.collect())
    }

    /// The elements of a set in our table. One that grows while it is read may have an element
    /// twice.
    ///
    /// # Errors
    /// [`KernelError::TableMissing`] when there is no such set.
    pub(super) fn elements(&mut self, set: &str) -> Result<Vec<Element>, KernelError> {
        let names = [
            (NFTA_SET_ELEM_LIST_TABLE, nat::TABLE),
            (NFTA_SET_ELEM_LIST_SET, set),
        ];
        let messages = self.dump(NFT_MSG_GETSETELEM, &names)?;
        let lists = messages
            .iter()
            .filter_map(|message| attributes(message).nested(NFTA_SET_ELEM_LIST_ELEMENTS));
        Ok(lists
            .flat_map(Attributes::each)
            .filter_map(element)
            .collect())
    }

    /// What a counter with a name in our table counted.
    ///
    /// # Errors
    /// [`KernelError::TableMissing`] when there is no such counter.
    pub(super) fn counter(&mut self, name: &str) -> Result<Counted, KernelError> {
        let mut request = NFGENMSG.to_vec();
        push_string(&mut request, NFTA_OBJ_TABLE, nat::TABLE);
        push_string(&mut request, NFTA_OBJ_NAME, name);
        push(
            &mut request,
            NFTA_OBJ_TYPE,
            &NFT_OBJECT_COUNTER.to_be_bytes(),
        );
        let answer = self.socket.get(READ, NFT_MSG_GETOBJ, &request);
        let answer = answer.map_err(|error| or_missing(error, KernelError::TableMissing))?;
        let data = attributes(&answer).nested(NFTA_OBJ_DATA);
        data.and_then(counted).ok_or(KernelError::TableMissing)
    }

    /// What has counted against each neighbor's quota; none if there is no table.
    pub(super) fn quotas(&mut self) -> Result<Spent, KernelError> {
        let mut request = NFGENMSG.to_vec();
        push_string(&mut request, NFTA_OBJ_TABLE, nat::TABLE);
        push(&mut request, NFTA_OBJ_TYPE, &NFT_OBJECT_QUOTA.to_be_bytes());
        let found = self.socket.dump(READ, NFT_MSG_GETOBJ, &request);
        let quotas = match found.map_err(|error| or_missing(error, KernelError::TableMissing)) {
            Err(KernelError::TableMissing) => return Ok(Spent::new()),
            found => found?,
        };
        let spent = quotas.iter().filter_map(|quota| {
            let quota = attributes(quota);
            let data = quota.nested(NFTA_OBJ_DATA)?;
            let spent = data.big_endian(NFTA_QUOTA_CONSUMED)?;
            Some((shape::owner(quota.string(NFTA_OBJ_NAME)?)?, spent))
        });
        Ok(spent.collect())
    }

    /// All flowtables there are. A kernel that cannot have any has none.
    pub(super) fn flowtables(&mut self) -> Result<Vec<Flowtable>, KernelError> {
        let action = "list the flowtables of nftables";
        let found = self.socket.dump(action, NFT_MSG_GETFLOWTABLE, &ANY_FAMILY);
        let nothing = [Errno::ENOENT, Errno::EOPNOTSUPP, Errno::EINVAL];
        match found {
            Err(error) if error.is_errno(&nothing) => Ok(Vec::new()),
            found => Ok(found?
                .iter()
                .filter_map(|it| Flowtable::parse(it))
                .collect()),
        }
    }

    /// Dumps objects that belong to what `names` names.
    fn dump(&mut self, kind: u16, names: &[(u16, &str)]) -> Result<Vec<Payload>, KernelError> {
        let mut request = NFGENMSG.to_vec();
        for &(attribute, name) in names {
            push_string(&mut request, attribute, name);
        }
        let answer = self.socket.dump(READ, kind, &request);
        answer.map_err(|error| or_missing(error, KernelError::TableMissing))
    }
}

fn attributes(payload: &[u8]) -> Attributes<'_> {
    Attributes::of(payload, NFGENMSG.len())
}

fn element(element: Attributes<'_>) -> Option<Element> {
    let key = element.nested(NFTA_SET_ELEM_KEY)?.bytes(NFTA_DATA_VALUE)?;
    let mut padded = [0; MAX_KEY_BYTES];
    for (to, from) in padded.iter_mut().zip(key) {
        *to = *from;
    }
    Some(Element {
        key: padded,
        counted: counter_of(element),
    })
}

/// The counter of an element: alone, or in a list of expressions.
fn counter_of(element: Attributes<'_>) -> Option<Counted> {
    let alone = element.nested(NFTA_SET_ELEM_EXPR);
    let listed = element.nested(NFTA_SET_ELEM_EXPRESSIONS);
    let counter = alone
        .into_iter()
        .chain(listed.into_iter().flat_map(Attributes::each))
        .find(|expression| expression.string(NFTA_EXPR_NAME) == Some("counter"))?;
    counted(counter.nested(NFTA_EXPR_DATA)?)
}

fn counted(counter: Attributes<'_>) -> Option<Counted> {
    Some(Counted {
        bytes: counter.big_endian(NFTA_COUNTER_BYTES)?,
        packets: counter.big_endian(NFTA_COUNTER_PACKETS)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `nf_tables_fill_flowtable_info` in net/netfilter/nf_tables_api.c writes it, on a machine with the
    /// lowest byte first: `flowtable ft { hook ingress priority 0; devices = { lan0, mesh0 }; flags offload; }`
    /// of `table inet fw4`.
    const MESSAGE: &[u8] = &[
        1, 0, 0, 7, // struct nfgenmsg
        8, 0, 1, 0, b'f', b'w', b'4', 0, // NFTA_FLOWTABLE_TABLE
        7, 0, 2, 0, b'f', b't', 0, 0, // NFTA_FLOWTABLE_NAME
        8, 0, 4, 0, 0, 0, 0, 1, // NFTA_FLOWTABLE_USE
        12, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 2, // NFTA_FLOWTABLE_HANDLE
        8, 0, 7, 0, 0, 0, 0, 1, // NFTA_FLOWTABLE_FLAGS
        48, 0, 3, 0x80, // NFTA_FLOWTABLE_HOOK
        8, 0, 1, 0, 0, 0, 0, 0, // NFTA_FLOWTABLE_HOOK_NUM
        8, 0, 2, 0, 0, 0, 0, 0, // NFTA_FLOWTABLE_HOOK_PRIORITY
        28, 0, 3, 0x80, // NFTA_FLOWTABLE_HOOK_DEVS
        9, 0, 1, 0, b'l', b'a', b'n', b'0', 0, 0, 0, 0, // NFTA_DEVICE_NAME
        10, 0, 1, 0, b'm', b'e', b's', b'h', b'0', 0, 0, 0, // NFTA_DEVICE_NAME
    ];

    #[cfg(target_endian = "little")]
    #[test]
    fn a_flowtable_tells_its_devices() {
        let found = Flowtable::parse(MESSAGE).unwrap();
        assert_eq!(found.name, "fw4 ft");
        assert!(found.is_hardware);
        assert!(found.has("lan0") && found.has("mesh0"));
        assert!(!found.has("mesh") && !found.has("mesh1"));
        for length in 0..MESSAGE.len() {
            // Whatever there is of it.
            let _ = Flowtable::parse(&MESSAGE[..length]);
        }
    }

    #[test]
    fn a_prefix_stands_for_all_that_begin_with_it() {
        let found = Flowtable {
            prefixes: vec!["lan".to_owned()],
            ..Flowtable::default()
        };
        assert!(found.has("lan7") && !found.has("wan7"));
    }
}
