//! Routing rules: which table is asked, in which order.
//!
//! Rules of others that take everything, into a VPN say, come after ours, wherever they are: wg-quick's get
//! the priority before the first that there is, and would take what is between nodes as well.
//!
//! With the numbers that are ours unless the operator wants others:
//!
//! | priority | rule | why |
//! |---|---|---|
//! | 31000 | `iif UPLINK to PREFIX lookup main` | of IPv6: the node's own networks with addresses that its provider delegated |
//! | 31001 | `iif UPLINK to PREFIX lookup 5526 suppress_prefixlength 0` | of IPv6: answers from the Internet go back through the tunnel they came by, to nodes and to others with such addresses: that they are nowhere is what the main table says, as its routes of that kind are never skipped |
//! | 31002 | `to MESH lookup 5525` | of IPv6: almost all that a relay passes on is in tunnels between nodes, and asks no more than this |
//! | 31003 | `to MESH unreachable` | what is for nodes that are out of reach takes no other way, above all no tunnel's own packets: WireGuard remembers the way that it found, for as long as that is there |
//! | 31010 | `lookup main suppress_prefixlength 3` (IPv6: 4) | networks the node is attached to, but no default route yet, nor parts of one |
//! | 31050 | `iif UPLINK lookup 5526` | the same of IPv4, and to what nodes announce |
//! | 31100 | `lookup 5525` | the mesh: its IPv4 addresses, and prefixes that nodes announce |
//! | 31150 | `fwmark MARK lookup 5530 + MARK` | flows of local hosts go on through the gateway they began with, and all flows over the uplink they began over |
//! | 31160 | `fwmark MARK ipproto tcp blackhole` | but connections wait for a gateway that is lost, and are not reset by another |
//! | 31200 | `iif LAN lookup 5526` | local hosts go through the chosen gateway, before a default route of the main table |
//! | 31250 | `lookup 5526` | the node itself too, while its own uplink is dead and the main table leads into it |
//! | 31260 | `iif LAN unreachable` | then local hosts are told at once if there is no gateway either |
//! | 31280 | `oif UPLINK lookup 5530 + MARK` | what is asked over an uplink whose default routes are in no table that is asked otherwise |
//! | 31300 | `lookup 5527` | the uplink in use where the kernel prefers another, else nothing; `not iif lo` where that is a VPN which is no uplink: what is the router's own stays there |
//! | 32800 | `lookup 5526` | the node itself too, but after the main table (32766) |

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink attributes are an open set"
)]

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::Ipv6Net;
use mesh_proto::{Family, Mark, Table};
use rtnetlink::packet_core::{DefaultNla, Nla};
use rtnetlink::packet_route::route::{RouteHeader, RouteProtocol};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, IpProtocol};
use rtnetlink::{Handle, IpVersion};

use super::netlink::{KernelError, ask, dump};
use super::{Base, Numbers, ROUTE_PROTOCOL, Setup, Uplink, marks, uplink};

/// What rules without a table have.
const NO_TABLE: u32 = RouteHeader::RT_TABLE_UNSPEC as u32;

const MAIN_TABLE: u32 = RouteHeader::RT_TABLE_MAIN as u32;

/// Where what the router sends itself comes from.
const LOOPBACK: &str = "lo";

/// A rule of ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rule {
    priority: u32,
    table: u32,
    /// Only packets that came in here.
    from_interface: Option<String>,
    /// Only packets that came in somewhere.
    forwarded: bool,
    /// Only packets of sockets that are bound to this interface.
    bound_to: Option<String>,
    /// Skip what the table says if its prefix is not longer than this.
    suppress_prefix_len: Option<u32>,
    /// What becomes of packets.
    end: End,
    /// Only packets with this mark.
    mark: Option<Mark>,
    /// Only packets of TCP.
    tcp: bool,
    /// Only packets to these addresses.
    to: Option<Ipv6Net>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// Asks its table.
    Table,
    /// There is no way, whatever tables say.
    Unreachable,
    /// The same, and nobody is told.
    Blackhole,
}

impl End {
    const fn action(self) -> RuleAction {
        match self {
            Self::Table => RuleAction::ToTable,
            Self::Unreachable => RuleAction::Unreachable,
            Self::Blackhole => RuleAction::Blackhole,
        }
    }
}

impl Rule {
    const fn new(priority: u32, table: u32) -> Self {
        Self {
            priority,
            table,
            from_interface: None,
            forwarded: false,
            bound_to: None,
            suppress_prefix_len: None,
            end: End::Table,
            mark: None,
            tcp: false,
            to: None,
        }
    }

    fn from_interface(priority: u32, table: u32, interface: &str) -> Self {
        Self {
            from_interface: Some(interface.to_owned()),
            ..Self::new(priority, table)
        }
    }
}

/// What rules depend on of the default routes of others.
#[derive(Clone, Debug, Default)]
pub(super) struct Others {
    /// Uplinks whose default routes are for some packets only, with their marks.
    pub(super) apart: BTreeSet<(String, marks::Marked)>,
    /// Tables of others that take everything before the main one.
    pub(super) taking: BTreeSet<(Family, u32)>,
    /// Families whose packets of this router stay in a VPN that is no uplink.
    pub(super) keeping: BTreeSet<Family>,
}

/// The marks that packets may have.
#[derive(Clone, Debug, Default)]
pub(super) struct Marked {
    /// Those for which there are routes.
    pub(super) routed: BTreeSet<marks::Marked>,
    /// Those that connections wait for.
    pub(super) waiting: BTreeSet<marks::Marked>,
    /// Those of uplinks that work.
    pub(super) lines: BTreeSet<marks::Marked>,
    /// What is to be known of routes of others.
    pub(super) others: Others,
    /// Prefixes that were delegated to uplinks.
    pub(super) delegated: BTreeSet<(String, Ipv6Net)>,
    /// Networks of ours within these.
    pub(super) own: BTreeSet<Ipv6Net>,
}

/// Makes our rules of both families what `base` asks for, and those for marks; without a base,
/// removes them. Adds before it removes.
pub(super) async fn reconcile(
    handle: &Handle,
    setup: &Setup,
    base: Option<&Base>,
    marked: &Marked,
) -> Result<(), KernelError> {
    for of in Family::BOTH {
        let family = uplink::address_family(of);
        let all = list(handle, of).await?;
        let taking = all.iter().filter_map(for_all);
        let taking = taking.filter(|(_, table)| marked.others.taking.contains(&(of, *table)));
        let setup = &ahead_of(setup, taking.map(|(priority, _)| priority));
        let numbers = &setup.numbers;
        let wanted = base.map(|base| wanted(setup, base, marked, of));
        let wanted = wanted.unwrap_or_default();
        let mut present = BTreeSet::new();
        let mut surplus = Vec::new();
        for message in all {
            if !is_ours(&message) {
                continue;
            }
            match parse(numbers, &message).filter(|rule| wanted.contains(rule)) {
                Some(rule) if present.insert(rule.clone()) => {}
                _ => surplus.push(message),
            }
        }
        for rule in wanted.difference(&present) {
            add(handle, numbers, family, rule).await?;
        }
        for message in surplus {
            let request = handle.rule().del(message).execute();
            ask(|| "remove a routing rule".to_owned(), request).await?;
        }
    }
    Ok(())
}

/// The same with priorities of rules before all of these, if there is room.
fn ahead_of(setup: &Setup, others: impl Iterator<Item = u32>) -> Setup {
    let mut setup = setup.clone();
    let first = others.filter_map(|it| it.checked_sub(Numbers::RULES)).min();
    if let Some(first) = first.filter(|first| *first > 0) {
        setup.numbers.rules = setup.numbers.rules.min(first);
    }
    setup
}

async fn list(handle: &Handle, family: Family) -> Result<Vec<RuleMessage>, KernelError> {
    let version = match family {
        Family::Ipv4 => IpVersion::V4,
        Family::Ipv6 => IpVersion::V6,
    };
    dump("list rules", handle.rule().get(version).execute()).await
}

/// The tables that all packets ask, in their order, up to the main one: those that others have rules for.
pub(super) async fn asked_by_all(handle: &Handle, family: Family) -> Result<Vec<u32>, KernelError> {
    let rules = list(handle, family).await?;
    let tables = rules.iter().filter_map(for_all).map(|(_, table)| table);
    let before = tables.take_while(|table| *table != MAIN_TABLE);
    Ok(before.chain([MAIN_TABLE]).collect())
}

/// Whether others lead all packets by a rule.
pub(super) fn is_for_all(message: &RuleMessage) -> bool {
    for_all(message).is_some()
}

/// The priority and the table of a rule of others, if all packets ask it; or all but those that a VPN
/// client has marked, which are its own.
fn for_all(message: &RuleMessage) -> Option<(u32, u32)> {
    let header = &message.header;
    let (mut priority, mut table, mut has_mark) = (0, u32::from(header.table), false);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(it) => priority = *it,
            RuleAttribute::Table(it) => table = *it,
            RuleAttribute::FwMark(_) => has_mark = true,
            RuleAttribute::FwMask(_)
            | RuleAttribute::SuppressPrefixLen(u32::MAX)
            | RuleAttribute::SuppressIfGroup(u32::MAX)
            | RuleAttribute::Protocol(_) => {}
            // Of what the rtnetlink crate does not know, all values that are unset are harmless.
            RuleAttribute::Other(it) if is_unset(it) => {}
            _ => return None,
        }
    }
    let is_for_all = header.src_len == 0
        && header.dst_len == 0
        && header.tos == 0
        && header.flags.contains(RuleFlags::Invert) == has_mark;
    let asks = header.action == RuleAction::ToTable && !is_ours(message);
    (is_for_all && asks).then_some((priority, table))
}

/// Whether an attribute has the value that the kernel gives what nobody has set.
fn is_unset(attribute: &DefaultNla) -> bool {
    let mut value = vec![0; attribute.value_len()];
    attribute.emit_value(&mut value);
    value.iter().all(|byte| *byte == 0) || value.iter().all(|byte| *byte == u8::MAX)
}

/// The marks whose packets a predecessor has led somewhere.
pub(super) async fn marked(
    handle: &Handle,
    numbers: &Numbers,
) -> Result<BTreeSet<marks::Marked>, KernelError> {
    let mut marked = BTreeSet::new();
    for family in Family::BOTH {
        let rules = list(handle, family).await?;
        let rules = rules.iter().filter(|rule| is_ours(rule));
        let rules = rules.filter_map(|rule| parse(numbers, rule));
        let leading = rules.filter(|rule| rule.end == End::Table);
        marked.extend(leading.filter_map(|rule| Some((rule.mark?, family))));
    }
    Ok(marked)
}

fn wanted(setup: &Setup, base: &Base, marked: &Marked, family: Family) -> BTreeSet<Rule> {
    let numbers = &setup.numbers;
    let first = numbers.rules;
    let tunnel = numbers.table(Table::Tunnel);
    let main = Rule {
        suppress_prefix_len: Some(uplink::longest_part(family).into()),
        ..Rule::new(first + 10, MAIN_TABLE)
    };
    let always = [
        main,
        Rule::new(first + 100, numbers.table(Table::Mesh)),
        Rule::new(numbers.last_rule, tunnel),
    ];
    let lans = base
        .lan
        .iter()
        .map(|lan| Rule::from_interface(first + 200, tunnel, &lan.interface));
    let mut rules: BTreeSet<Rule> = always.into_iter().chain(lans).collect();
    if family == Family::Ipv6 {
        rules.extend(between_nodes(setup));
    }
    rules.extend(answers(setup, base, marked, family));
    rules.extend(of_marks(setup, base, marked, family));
    // What the router itself sends stays in the VPN of others that takes it, if there is one.
    let unless_kept = |rule| Rule {
        forwarded: marked.others.keeping.contains(&family),
        ..rule
    };
    match base.uplinks.of(family) {
        Uplink::Over(_) => {
            rules.insert(unless_kept(Rule::new(first + 300, numbers.uplink_table())));
        }
        Uplink::Dead => {
            rules.insert(unless_kept(Rule::new(first + 250, tunnel)));
            rules.extend(base.lan.iter().map(|lan| Rule {
                end: End::Unreachable,
                ..Rule::from_interface(first + 260, NO_TABLE, &lan.interface)
            }));
        }
        Uplink::None => {}
    }
    rules
}

/// What is for nodes of the mesh.
fn between_nodes(setup: &Setup) -> [Rule; 2] {
    let numbers = &setup.numbers;
    let table = Rule::new(numbers.rules + 2, numbers.table(Table::Mesh));
    let nowhere = Rule {
        end: End::Unreachable,
        ..Rule::new(numbers.rules + 3, NO_TABLE)
    };
    [table, nowhere].map(|rule| Rule {
        to: Some(setup.mesh_prefix),
        ..rule
    })
}

/// What comes from uplinks.
fn answers(setup: &Setup, base: &Base, marked: &Marked, family: Family) -> Vec<Rule> {
    let first = setup.numbers.rules;
    let tunnel = setup.numbers.table(Table::Tunnel);
    let uplinks = base.uplinks.names();
    let to_all = uplinks
        .iter()
        .map(|uplink| Rule::from_interface(first + 50, tunnel, uplink));
    let mesh = uplinks.iter().map(|uplink| (*uplink, setup.mesh_prefix));
    let delegated = marked.delegated.iter();
    let delegated = delegated.map(|(uplink, prefix)| (uplink.as_str(), *prefix));
    let delegated = delegated.filter(|(uplink, _)| uplinks.contains(uplink));
    let own = uplinks.iter().flat_map(|uplink| {
        marked.own.iter().map(|prefix| Rule {
            to: Some(*prefix),
            ..Rule::from_interface(first, MAIN_TABLE, uplink)
        })
    });
    let to_some = mesh.chain(delegated).map(|(uplink, prefix)| Rule {
        to: Some(prefix),
        suppress_prefix_len: Some(0),
        ..Rule::from_interface(first + 1, tunnel, uplink)
    });
    let to_some = own.chain(to_some).filter(|_| family == Family::Ipv6);
    to_all.chain(to_some).collect()
}

/// What has marks, or is to be asked over an uplink that has one.
fn of_marks(setup: &Setup, base: &Base, marked: &Marked, family: Family) -> Vec<Rule> {
    let (numbers, first) = (&setup.numbers, setup.numbers.rules);
    let of_family = |marks: &BTreeSet<marks::Marked>| -> BTreeSet<Mark> {
        let marks = marks.iter().filter(|(_, it)| *it == family);
        marks.map(|(mark, _)| *mark).collect()
    };
    let (routed, waiting) = (of_family(&marked.routed), of_family(&marked.waiting));
    let lines = of_family(&marked.lines);
    let on = routed.iter().chain(&lines).map(|&mark| Rule {
        mark: Some(mark),
        ..Rule::new(first + 150, numbers.table(Table::Marked(mark)))
    });
    let wait = routed.union(&waiting).map(|&mark| Rule {
        mark: Some(mark),
        tcp: true,
        end: End::Blackhole,
        ..Rule::new(first + 160, NO_TABLE)
    });
    // Only packets of local hosts have marks of gateways, and each that is asked for its protocol takes time.
    let wait = wait.filter(|_| !base.lan.is_empty());
    let apart = marked
        .others
        .apart
        .iter()
        .filter(|(_, (_, it))| *it == family);
    let apart = apart.map(|(name, (mark, _))| Rule {
        bound_to: Some(name.clone()),
        ..Rule::new(first + 280, numbers.table(Table::Marked(*mark)))
    });
    on.chain(wait).chain(apart).collect()
}

async fn add(
    handle: &Handle,
    numbers: &Numbers,
    family: AddressFamily,
    rule: &Rule,
) -> Result<(), KernelError> {
    let mut request = handle.rule().add();
    *request.message_mut() = emit(numbers, family, rule);
    ask(|| format!("add routing rule {rule:?}"), request.execute()).await
}

fn emit(numbers: &Numbers, family: AddressFamily, rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family;
    message.header.action = rule.end.action();
    message.attributes = vec![
        RuleAttribute::Priority(rule.priority),
        RuleAttribute::Table(rule.table),
        RuleAttribute::Protocol(RouteProtocol::from(ROUTE_PROTOCOL)),
    ];
    message
        .attributes
        .extend(rule.from_interface.clone().map(RuleAttribute::Iifname));
    if rule.forwarded {
        message.header.flags |= RuleFlags::Invert;
        let own = RuleAttribute::Iifname(LOOPBACK.to_owned());
        message.attributes.push(own);
    }
    message
        .attributes
        .extend(rule.bound_to.clone().map(RuleAttribute::Oifname));
    message.attributes.extend(
        rule.suppress_prefix_len
            .map(RuleAttribute::SuppressPrefixLen),
    );
    let mark = |mark| {
        [
            RuleAttribute::FwMark(numbers.mark(mark)),
            RuleAttribute::FwMask(numbers.mark_mask()),
        ]
    };
    message
        .attributes
        .extend(rule.mark.into_iter().flat_map(mark));
    let tcp = RuleAttribute::IpProtocol(IpProtocol::Tcp);
    message.attributes.extend(rule.tcp.then_some(tcp));
    if let Some(to) = rule.to {
        message.header.dst_len = to.prefix_len();
        let address = IpAddr::V6(to.network());
        message.attributes.push(RuleAttribute::Destination(address));
    }
    message
}

/// Whether a rule carries our protocol number.
pub(super) fn is_ours(message: &RuleMessage) -> bool {
    message
        .attributes
        .contains(&RuleAttribute::Protocol(RouteProtocol::from(
            ROUTE_PROTOCOL,
        )))
}

/// Reads a rule back; none if it has anything that ours do not have.
fn parse(numbers: &Numbers, message: &RuleMessage) -> Option<Rule> {
    let mut rule = Rule::new(0, u32::from(message.header.table));
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::Table(table) => rule.table = *table,
            RuleAttribute::Iifname(name) => rule.from_interface = Some(name.clone()),
            RuleAttribute::Oifname(name) => rule.bound_to = Some(name.clone()),
            // The kernel reports -1 where nothing is suppressed.
            RuleAttribute::SuppressPrefixLen(u32::MAX) | RuleAttribute::Protocol(_) => {}
            RuleAttribute::SuppressPrefixLen(length) => rule.suppress_prefix_len = Some(*length),
            RuleAttribute::FwMark(bits) => rule.mark = Some(numbers.mark_of(*bits)?),
            RuleAttribute::FwMask(mask) if *mask == numbers.mark_mask() => {}
            RuleAttribute::IpProtocol(IpProtocol::Tcp) => rule.tcp = true,
            RuleAttribute::Destination(IpAddr::V6(address)) => {
                rule.to = Ipv6Net::new(*address, message.header.dst_len).ok();
            }
            // Attributes newer than the rtnetlink crate report defaults.
            RuleAttribute::Other(_) => {}
            _ => return None,
        }
    }
    rule.end = match message.header.action {
        RuleAction::ToTable => End::Table,
        RuleAction::Unreachable => End::Unreachable,
        RuleAction::Blackhole => End::Blackhole,
        _ => return None,
    };
    if message.header.flags.contains(RuleFlags::Invert) {
        rule.from_interface.take().filter(|it| it == LOOPBACK)?;
        rule.forwarded = true;
    }
    let is_to_all = message.header.dst_len == 0;
    let is_plain = message.header.src_len == 0 && is_to_all == rule.to.is_none();
    is_plain.then_some(rule)
}
