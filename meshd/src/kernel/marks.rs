//! Marks: each flow of a local host stays with the gateway it began with.
//!
//! Another gateway would translate the packets of a flow to another address, and the far end would not
//! know them. So a new flow is given the mark of the gateway in use, which its conntrack entry keeps;
//! packets of it carry the mark past a rule into a table with the default routes through that gateway.
//! When the gateway is gone, so are these routes, and the flow goes where new ones do.
//!
//! | chain | what it does |
//! |---|---|
//! | `flows` | prerouting, -150: packets of local hosts, before they are routed |
//! | `known_flows`, `flow_N` | those of a flow with a mark get it |
//! | `new_flows` | gives flows that begin the mark of the gateway in use, or of our own uplink |

use mesh_proto::Mark;

use super::nat::{TABLE, base_chain, chain};
use super::{Family, NewFlows, Uplink, Uplinks};

/// The bits of packet and conntrack marks that are ours: those that mwan3 (0x3f00), pbr and Tailscale
/// (0xff0000), and wg-quick (0xca6c) leave.
pub(super) const MARK_MASK: u32 = 0x0f00_0000;

/// All but ours.
const OTHERS: u32 = !MARK_MASK;

/// The chain that is made anew when another gateway is used.
const NEW_FLOWS: &str = "new_flows";

/// What flows over our own uplink have: no gateway's.
const OWN: u32 = MARK_MASK;

/// A mark where packets have it.
pub(super) const fn bits(mark: Mark) -> u32 {
    (mark.number() as u32) << MARK_MASK.trailing_zeros()
}

/// The mark that a packet with these bits has.
pub(super) fn of_bits(bits: u32) -> Option<Mark> {
    Mark::all().find(|mark| self::bits(*mark) == bits)
}

/// The chains for local hosts at interfaces `lan`.
pub(super) fn chains(lan: &str, uplinks: &Uplinks, new_flows: NewFlows) -> String {
    let flow = |bits: u32| format!("flow_{}", bits >> MARK_MASK.trailing_zeros());
    let marks: Vec<u32> = Mark::all().map(bits).chain([OWN]).collect();
    let ways: Vec<String> = marks
        .iter()
        .map(|mark| format!("{mark:#x} : goto {}", flow(*mark)))
        .collect();
    let known = [
        format!("ct mark & {MARK_MASK:#x} vmap {{ {} }}", ways.join(", ")),
        format!("ct state new goto {NEW_FLOWS}"),
    ];
    let carry = marks
        .iter()
        .map(|mark| chain(&flow(*mark), &[carry(*mark)]));
    [
        carry.collect(),
        chain(NEW_FLOWS, &give(uplinks, new_flows)),
        chain("known_flows", &known),
        base_chain(
            "flows",
            "filter",
            "prerouting",
            -150,
            &[format!("iifname {lan} goto known_flows")],
        ),
    ]
    .concat()
}

/// The commands that give new flows another mark.
pub(super) fn change(uplinks: &Uplinks, new_flows: NewFlows) -> String {
    let rules = give(uplinks, new_flows).into_iter();
    let add = rules.map(|rule| format!("add rule inet {TABLE} {NEW_FLOWS} {rule}\n"));
    format!(
        "flush chain inet {TABLE} {NEW_FLOWS}\n{}",
        add.collect::<String>()
    )
}

/// A flow that our own uplink has translated can't go on through a gateway: who has it is told, and
/// begins anew. `into` is the tunnel.
pub(super) fn refuse_own(into: &str) -> [String; 2] {
    let stranded = format!("oifname \"{into}\" ct mark & {MARK_MASK:#x} == {OWN:#x}");
    [
        format!("{stranded} meta l4proto tcp counter name dropped reject with tcp reset"),
        format!("{stranded} counter name dropped reject"),
    ]
}

fn carry(mark: u32) -> String {
    format!("meta mark set meta mark & {OTHERS:#x} | {mark:#x}")
}

fn give(uplinks: &Uplinks, new_flows: NewFlows) -> Vec<String> {
    let of = |family| match (uplinks.of(family), family) {
        (Uplink::Over(_), _) => Some(OWN),
        (_, Family::V4) => new_flows.ipv4.map(bits),
        (_, Family::V6) => new_flows.ipv6.map(bits),
    };
    let families = [("ipv4", Family::V4), ("ipv6", Family::V6)];
    let marks = families
        .into_iter()
        .filter_map(|(name, family)| Some((name, of(family)?)));
    marks
        .map(|(name, mark)| {
            let keep = format!("ct mark set ct mark & {OTHERS:#x} | {mark:#x}");
            format!("meta nfproto {name} {keep} {}", carry(mark))
        })
        .collect()
}
