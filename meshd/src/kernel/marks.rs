//! Marks: each flow of a local host stays with the gateway it began with.
//!
//! Another gateway would translate the packets of a flow to another address, and the far end would not
//! know them. So a new flow is given the mark of the gateway in use, which its conntrack entry keeps;
//! packets of it carry the mark past a rule into a table with the default routes through that gateway.
//! One that began before nftables knew the gateway gets the mark with its next packet.
//! When the gateway is gone, so are these routes, and the flow goes where new ones do; with its next packet
//! it has their mark, and stays there if the gateway comes back.
//!
//! What goes over our own uplink has no mark. If it has to go into a tunnel instead it gets one, and the kernel forgets
//! how it was masqueraded (`nf_nat_oif_changed` in net/netfilter/nf_nat_core.c): it begins anew there, or
//! is told by the far end, which does not know it.
//!
//! | chain | what it does |
//! |---|---|
//! | `flows` | prerouting, -150: packets of local hosts, before they are routed |
//! | `known_flows` | those of a flow with a mark get it |
//! | `new_flows` | gives flows without a mark, or of a lost gateway, the mark of the gateway in use |

use std::collections::BTreeSet;

use mesh_proto::Mark;

use super::nat::{base_chain, chain};
use super::{NewFlows, Numbers};

/// The chain for flows that begin.
const NEW_FLOWS: &str = "new_flows";

/// The marks that flows get and have.
#[derive(Clone, Debug)]
pub(super) struct Flows {
    /// Those of the gateways in use.
    pub(super) new: NewFlows,
    /// Those of gateways that are gone.
    pub(super) left: BTreeSet<Mark>,
}

/// The chains for local hosts at interfaces `lan`.
///
/// No map of marks to rules: on kernels before 6.18 a packet that is under way when the rules are
/// replaced would find nothing in the old one, and its flow be led astray.
pub(super) fn chains(numbers: &Numbers, lan: &str, flows: &Flows) -> String {
    let mask = numbers.mark_mask();
    let marks = Mark::all().map(|mark| numbers.mark(mark));
    let left = flows.left.iter().map(|mark| {
        let mark = numbers.mark(*mark);
        format!("ct mark & {mask:#x} == {mark:#x} goto {NEW_FLOWS}")
    });
    // Almost every packet ends with the one after these.
    let begin = format!("ct mark & {mask:#x} == 0 goto {NEW_FLOWS}");
    let unmarked = format!("meta mark 0 meta mark set ct mark & {mask:#x} return");
    let marked_by_others = marks.map(|mark| {
        let add = carry(numbers, mark);
        format!("ct mark & {mask:#x} == {mark:#x} {add} return")
    });
    let known = [begin].into_iter().chain(left).chain([unmarked]);
    let known = known.chain(marked_by_others);
    let local = format!("iifname {lan} goto known_flows");
    [
        chain(NEW_FLOWS, &give(numbers, flows.new)),
        chain("known_flows", &known.collect::<Vec<_>>()),
        base_chain("flows", "filter", "prerouting", -150, &[local]),
    ]
    .concat()
}

fn carry(numbers: &Numbers, mark: u32) -> String {
    let others = !numbers.mark_mask();
    format!("meta mark set meta mark & {others:#x} | {mark:#x}")
}

fn give(numbers: &Numbers, new_flows: NewFlows) -> Vec<String> {
    let families = [("ipv4", new_flows.ipv4), ("ipv6", new_flows.ipv6)];
    let marks = families
        .into_iter()
        .filter_map(|(name, mark)| Some((name, numbers.mark(mark?))));
    let rule = |(name, mark)| {
        let others = !numbers.mark_mask();
        let keep = format!("ct mark set ct mark & {others:#x} | {mark:#x}");
        format!("meta nfproto {name} {keep} {}", carry(numbers, mark))
    };
    marks.map(rule).collect()
}
