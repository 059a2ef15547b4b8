//! Marks: each flow of a local host stays with the gateway it began with.
//!
//! Another gateway would translate the packets of a flow to another address, and the far end would not
//! know them. So a new flow is given the mark of the gateway in use, which its conntrack entry keeps;
//! packets of it carry the mark past a rule into a table with the default routes through that gateway.
//! One that began before nftables knew the gateway gets the mark with its next packet, if it is masqueraded.
//! When the gateway is gone, so are these routes, and the flow goes where new ones do; with its next packet
//! it has their mark, and stays there if the gateway comes back. TCP, which would be reset there, waits first:
//! often it is only the way to the gateway that is lost, for a second or two; but not if nobody has answered it
//! yet, as then there is nothing to reset. A rule that there is at all times stops what finds no route of its
//! mark.
//!
//! What goes over our own uplink has another kind of mark ([`lines`](super::lines)). If it has to go into a
//! tunnel instead and is masqueraded, it gets the gateway's, and the kernel forgets how it was masqueraded (`nf_nat_oif_changed` in
//! net/netfilter/nf_nat_core.c): it begins anew there, or is told by the far end, which does not know it. What
//! keeps its address, and answers to connections from outside, get none: they are to find back.
//!
//! | chain | what it does |
//! |---|---|
//! | `flows` | prerouting, -150: packets of local hosts, before they are routed |
//! | `known_flows` | those of a flow with a mark get it |
//! | `unmarked_flows` | which of the others are to have one |
//! | `new_flows` | gives flows without a mark, or of a lost gateway, the mark of the gateway in use |
//! | `line_flows` | gives packets from tunnels the mark of the uplink that their flow stays with |

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use mesh_proto::{Family, Mark};

use super::nat::{base_chain, chain, replace_chain};
use super::{NewFlows, Numbers};

/// The chain for flows that begin.
const NEW_FLOWS: &str = "new_flows";

/// The chain for all flows.
const KNOWN_FLOWS: &str = "known_flows";

/// What begins anew elsewhere, and need not find back.
const MASQUERADED: &str = "ct direction original ct status snat ";

/// How long connections wait for a gateway that is gone. What uses them waits as long before it learns that
/// it has to connect anew.
const WAIT: Duration = Duration::from_secs(5);

/// A mark of flows of one family.
pub(super) type Marked = (Mark, Family);

/// The marks that flows may have.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Those for which there were routes.
    given: BTreeSet<Marked>,
    /// Until when connections wait for gateways that were lost just now.
    waiting: BTreeMap<Marked, Instant>,
}

impl Marks {
    /// Follows the marks for which there are routes, `before` and `after` a change.
    pub(super) fn follow(
        &mut self,
        now: Instant,
        before: &BTreeSet<Marked>,
        after: &BTreeSet<Marked>,
    ) {
        self.given.extend(after);
        let lost = before.difference(after);
        self.waiting.extend(lost.map(|&lost| (lost, now + WAIT)));
        self.waiting.retain(|marked, _| !after.contains(marked));
    }

    /// Takes note of the marks of uplinks that work. Nothing waits for one that no longer does.
    pub(super) fn note_lines(&mut self, working: &BTreeSet<Marked>) {
        self.given.extend(working);
    }

    /// When the next have waited long enough.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.values().min().copied()
    }

    /// Whether some have waited long enough.
    pub(super) fn handle_timeouts(&mut self, now: Instant) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|_, until| now < *until);
        self.waiting.len() < before
    }

    /// Those that connections wait for.
    pub(super) fn waiting(&self) -> BTreeSet<Marked> {
        self.waiting.keys().copied().collect()
    }

    /// What flows get and have, where there are routes for those `present`: of gateways, and of uplinks that
    /// work. Nothing begins with the mark of a gateway that is gone, or it would have to wait.
    pub(super) fn flows(&self, new: NewFlows, present: &BTreeSet<Marked>) -> Flows {
        let there =
            |mark: Option<Mark>, family| mark.filter(|&mark| present.contains(&(mark, family)));
        Flows {
            new: NewFlows {
                ipv4: there(new.ipv4, Family::Ipv4),
                ipv6: there(new.ipv6, Family::Ipv6),
            },
            left: &self.given - present,
            waiting: self.waiting(),
        }
    }
}

/// The marks that flows get and have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Flows {
    /// Those of the gateways in use.
    new: NewFlows,
    /// Those of gateways and uplinks that are gone.
    left: BTreeSet<Marked>,
    /// Those of them that connections wait for.
    waiting: BTreeSet<Marked>,
}

/// The chains for local hosts at interfaces `lan`, if there are any, and for what comes from `tunnels` and
/// stays with uplinks that work, `lines`.
///
/// No map of marks to rules: on kernels before 6.18 a packet that is under way when the rules are
/// replaced would find nothing in the old one, and its flow be led astray.
pub(super) fn chains(
    numbers: &Numbers,
    lan: Option<&str>,
    flows: &Flows,
    tunnels: &str,
    lines: &BTreeSet<Marked>,
) -> String {
    // Without them, every connection would be tracked for nothing.
    if lan.is_none() && lines.is_empty() {
        return String::new();
    }
    let unmarked = [
        format!("ct state new goto {NEW_FLOWS}"),
        format!("{MASQUERADED}goto {NEW_FLOWS}"),
    ];
    let lines: BTreeSet<Mark> = lines.iter().map(|(mark, _)| *mark).collect();
    let keep: Vec<String> = lines.iter().map(|mark| restore(numbers, *mark)).collect();
    let local = lan.map(|lan| format!("iifname {lan} goto {KNOWN_FLOWS}"));
    let passing = (!lines.is_empty()).then(|| format!("iifname {tunnels} goto line_flows"));
    let hooked: Vec<String> = local.into_iter().chain(passing).collect();
    [
        chain(NEW_FLOWS, &flows.give(numbers)),
        chain("unmarked_flows", &unmarked),
        chain(KNOWN_FLOWS, &flows.keep(numbers)),
        chain("line_flows", &keep),
        base_chain("flows", "filter", "prerouting", -150, &hooked),
    ]
    .concat()
}

/// Has packets of a flow with a mark carry it, whatever marks of others they have.
fn restore(numbers: &Numbers, mark: Mark) -> String {
    let (mark, mask) = (numbers.mark(mark), numbers.mark_mask());
    let add = carry(numbers, mark);
    format!("ct mark & {mask:#x} == {mark:#x} {add} return")
}

impl Flows {
    /// Commands that change a table with other ones.
    pub(super) fn replacing(&self, numbers: &Numbers) -> String {
        replace_chain(NEW_FLOWS, &self.give(numbers))
            + &replace_chain(KNOWN_FLOWS, &self.keep(numbers))
    }

    /// What flows with a mark, or without one, meet.
    fn keep(&self, numbers: &Numbers) -> Vec<String> {
        let mask = numbers.mark_mask();
        let left = self.left.iter().flat_map(|left| {
            let (mark, family) = (numbers.mark(left.0), name(left.1));
            let is_line = Mark::spare().any(|line| line == left.0);
            // A connection that nobody has answered has nothing to wait for. What keeps its address over an
            // uplink has to wait until that works again.
            let which: &[&str] = match self.waiting.contains(left) {
                true => &["meta l4proto != tcp ", "ct state new "],
                false if is_line => &[MASQUERADED],
                false => &[""],
            };
            which.iter().map(move |which| {
                let is_left = format!("ct mark & {mask:#x} == {mark:#x}");
                format!("meta nfproto {family} {which}{is_left} goto {NEW_FLOWS}")
            })
        });
        // Almost every packet ends with the one after these.
        let begin = format!("ct mark & {mask:#x} == 0 goto unmarked_flows");
        let marked = format!("meta mark 0 meta mark set ct mark & {mask:#x} return");
        let marks = Mark::all().chain(Mark::spare());
        let marked_by_others = marks.map(|mark| restore(numbers, mark));
        let known = [begin].into_iter().chain(left).chain([marked]);
        known.chain(marked_by_others).collect()
    }

    /// What gives a flow the mark of the gateway in use.
    fn give(&self, numbers: &Numbers) -> Vec<String> {
        let families = [(Family::Ipv4, self.new.ipv4), (Family::Ipv6, self.new.ipv6)];
        let marks = families
            .into_iter()
            .filter_map(|(family, mark)| Some((family, numbers.mark(mark?))));
        let rule = |(family, mark)| {
            let others = !numbers.mark_mask();
            let keep = format!("ct mark set ct mark & {others:#x} | {mark:#x}");
            let family = name(family);
            format!("meta nfproto {family} {keep} {}", carry(numbers, mark))
        };
        marks.map(rule).collect()
    }
}

fn carry(numbers: &Numbers, mark: u32) -> String {
    let others = !numbers.mark_mask();
    format!("meta mark set meta mark & {others:#x} | {mark:#x}")
}

/// How nftables calls a family.
const fn name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_wait_for_a_gateway_that_is_lost_until_it_is_back_or_their_time_is_over() {
        let mut all = Mark::all().map(|mark| (mark, Family::Ipv4));
        let (kept, lost) = (all.next().unwrap(), all.next().unwrap());
        let (both, one) = (BTreeSet::from([kept, lost]), BTreeSet::from([kept]));
        let now = Instant::now();
        let mut marks = Marks::default();
        marks.follow(now, &BTreeSet::new(), &both);
        assert_eq!((marks.waiting(), marks.deadline()), (BTreeSet::new(), None));

        marks.follow(now, &both, &one);
        assert_eq!(marks.waiting(), BTreeSet::from([lost]));
        marks.follow(now, &one, &both);
        assert_eq!(marks.deadline(), None, "it is back");

        marks.follow(now, &both, &one);
        assert!(!marks.handle_timeouts(now + WAIT - Duration::from_millis(1)));
        assert!(marks.handle_timeouts(marks.deadline().unwrap()));
        assert_eq!(marks.waiting(), BTreeSet::new());
        let new = |marked: Marked| NewFlows {
            ipv4: Some(marked.0),
            ipv6: None,
        };
        let flows = marks.flows(new(lost), &one);
        assert_eq!(flows.left, BTreeSet::from([lost]), "flows still have it");
        assert_eq!(flows.new.ipv4, None, "and no other begins with it");
        assert_eq!(marks.flows(new(kept), &one).new.ipv4, Some(kept.0));
    }

    #[test]
    fn of_tcp_only_what_was_answered_waits() {
        let lost = (Mark::all().next().unwrap(), Family::Ipv6);
        let mut flows = Flows {
            left: BTreeSet::from([lost]),
            waiting: BTreeSet::from([lost]),
            ..Flows::default()
        };
        let go_on = |flows: &Flows| -> Vec<String> {
            let rules = flows.keep(&Numbers::default()).into_iter();
            rules
                .filter(|rule| rule.ends_with("goto new_flows"))
                .collect()
        };
        let is_its = "ct mark & 0xf000000 == 0x1000000 goto new_flows";
        let [others, unanswered] = ["meta l4proto != tcp", "ct state new"]
            .map(|which| format!("meta nfproto ipv6 {which} {is_its}"));
        assert_eq!(go_on(&flows), [others, unanswered]);
        flows.waiting.clear();
        assert_eq!(go_on(&flows), [format!("meta nfproto ipv6 {is_its}")]);
    }

    #[test]
    fn what_keeps_its_address_over_an_uplink_waits_for_it() {
        let line = (Mark::spare().next().unwrap(), Family::Ipv6);
        let mut marks = Marks::default();
        marks.note_lines(&BTreeSet::from([line]));
        let flows = marks.flows(NewFlows::default(), &BTreeSet::new());
        let rules = flows.keep(&Numbers::default());
        let left = format!(
            "meta nfproto ipv6 {MASQUERADED}ct mark & 0xf000000 == 0xd000000 goto new_flows"
        );
        assert!(rules.contains(&left), "{rules:?}");
        let flows = marks.flows(NewFlows::default(), &BTreeSet::from([line]));
        assert_eq!(flows.left, BTreeSet::new());
        assert_eq!(flows.waiting, BTreeSet::new());
    }
}
