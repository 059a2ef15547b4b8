//! Scenarios by name: what happens to a mesh, drawn from the seed.

use std::time::Duration;

use mesh_proto::GatewayOffer;
use mesh_proto::router::Announcement;
use rand_chacha::ChaCha8Rng;

use super::{Action, Ends, Inheritance, Plan, Step, churn};
use crate::{Flow, NodeIndex, Topology, random};

/// How long a mesh has to come up and to know its links before anything happens to it.
const WARM_UP: Duration = Duration::from_secs(20);

/// A scenario, and how it is explained.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// What it is called.
    pub name: &'static str,
    /// What happens, and what to look at.
    pub about: &'static str,
    /// How long it runs unless told otherwise, seconds.
    pub seconds: u64,
    steps: fn(&mut Draft<'_>),
}

/// All scenarios.
pub const SCENARIOS: &[Named] = &[
    Named {
        name: "steady",
        about: "Nothing happens. Control traffic, path cost, switches without cause, neighbors \
                dropped without cause.",
        seconds: 60,
        steps: |_| {},
    },
    Named {
        name: "cut",
        about: "From 20 s on, every 10 s, a link that a flow uses and that has an alternative is \
                cut silently; it is healed 6 s later. Outages of phases \"cut\", above all those \
                of flows: those are the pairs that notice.",
        seconds: 140,
        steps: cut,
    },
    Named {
        name: "loss",
        about: "From 20 s on, every 10 s, a random tenth of the links loses 10 to 60 % of \
                broadcasts, each its own share; the tenth before is as it was. Outages, path \
                cost, switches.",
        seconds: 90,
        steps: loss,
    },
    Named {
        name: "weather",
        about: "At 20 s all links lose 30 % of broadcasts, at half time they are as before. \
                Outages; how good the paths are in the end.",
        seconds: 80,
        steps: weather,
    },
    Named {
        name: "relay",
        about: "From 20 s on, every 12 s, a node in the middle of a flow's path loses power, one \
                that can be done without; 6 s later it is back. Outages of phases \"stop\", of \
                flows above all.",
        seconds: 116,
        steps: relay,
    },
    Named {
        name: "reboot",
        about: "From 20 s on, every 5 s, a random node's daemon is restarted while its kernel \
                keeps the routes. Nothing may be unrouted.",
        seconds: 60,
        steps: |draft| every(draft, 5, |draft| restart(draft, Inheritance::Warm)),
    },
    Named {
        name: "reboot-cold",
        about: "From 20 s on, every 10 s, a random node loses power for 2 s; its disk remembers \
                how often it was started. Outages of phases \"start\": until it is reachable again.",
        seconds: 80,
        steps: |draft| every(draft, 10, |draft| power_cycle(draft, Inheritance::Cold)),
    },
    Named {
        name: "reboot-lost",
        about: "The same, but the disk remembers nothing: the node does not know that it was \
                there before.",
        seconds: 80,
        steps: |draft| every(draft, 10, |draft| power_cycle(draft, Inheritance::Lost)),
    },
    Named {
        name: "partition",
        about: "At 20 s all links between two halves are cut (the first half of the nodes: of a \
                grid the upper rows, of random places those in the west); 30 s later they are \
                healed. \"Routed in\" of phase \"heal\": the time from the merge until all pairs \
                are routed.",
        seconds: 70,
        steps: partition,
    },
    Named {
        name: "reshuffle",
        about: "From 20 s on, every 20 s, half of the links are replaced by links between random \
                nodes; the mesh stays connected. 15 s later it is counted which pairs are routed, \
                and what would be delivered.",
        seconds: 80,
        steps: reshuffle,
    },
    Named {
        name: "gateway",
        about: "Two nodes offer the Internet, one of them far better; from 20 s on, every 20 s, \
                it loses power, and 10 s later it is back. Flows are to the Internet. Uplink \
                outages of phases \"stop\"; \"online in\": the time until every node uses a \
                gateway that works.",
        seconds: 80,
        steps: gateway,
    },
    Named {
        name: "join",
        about: "Up to ten nodes are off at first; from 20 s on, every 5 s, one of them is \
                switched on. \"Routed in\" of phases \"start\".",
        seconds: 80,
        steps: join,
    },
    Named {
        name: "churn",
        about: "From 2 s on, every 0.3 s on average, something happens to somebody: links are \
                cut, healed and change their loss, nodes are stopped, started and restarted with \
                and without what they remember, prefixes and gateways come and go. The last 20 s \
                are calm. Loops: there must be none.",
        seconds: 60,
        steps: churn::steps,
    },
];

impl Named {
    /// The scenario called `name`.
    pub fn find(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// What happens to this topology within `duration`, with `flows` flows of traffic.
    pub fn plan(&self, topology: &Topology, seed: u64, duration: Duration, flows: usize) -> Plan {
        let mut draft = Draft {
            topology,
            duration,
            flows,
            rng: random::stream(seed, random::SCENARIO),
            plan: Plan::default(),
            at: WARM_UP,
        };
        (self.steps)(&mut draft);
        let mut plan = draft.plan;
        if plan.flows.is_empty() {
            plan.flows = pairs(topology, seed, flows);
        }
        plan.steps.sort_by_key(|step| step.at);
        plan
    }
}

/// A plan that is being made.
pub(super) struct Draft<'a> {
    pub(super) topology: &'a Topology,
    pub(super) duration: Duration,
    flows: usize,
    pub(super) rng: ChaCha8Rng,
    plan: Plan,
    /// When the next step is taken.
    pub(super) at: Duration,
}

impl Draft<'_> {
    /// Plans `action` for `after` the present step.
    pub(super) fn add(&mut self, after: u64, action: Action) {
        let at = self.at + Duration::from_secs(after);
        self.plan.steps.push(Step::new(at, action));
    }

    pub(super) fn any_node(&mut self) -> NodeIndex {
        NodeIndex(random::below(&mut self.rng, self.topology.nodes.len()))
    }

    fn links(&self) -> Vec<Ends> {
        self.topology.links.iter().map(|l| (l.a, l.b)).collect()
    }
}

/// Plans something every `seconds`, as often as it fits.
fn every(draft: &mut Draft<'_>, seconds: u64, mut what: impl FnMut(&mut Draft<'_>)) {
    let period = Duration::from_secs(seconds);
    while draft.at + period <= draft.duration {
        what(draft);
        draft.at += period;
    }
}

fn cut(draft: &mut Draft<'_>) {
    every(draft, 10, |draft| {
        draft.add(0, Action::CutInUse);
        draft.add(6, Action::HealAll);
    });
}

fn loss(draft: &mut Draft<'_>) {
    let mut links = draft.links();
    every(draft, 10, |draft| {
        random::shuffle(&mut draft.rng, &mut links);
        let tenth = links.iter().take(links.len().div_ceil(10));
        let faded = tenth.map(|link| (*link, 0.1 + 0.5 * random::unit(&mut draft.rng)));
        let faded = faded.collect();
        draft.add(0, Action::Clear);
        draft.add(0, Action::Fade(faded));
    });
}

fn weather(draft: &mut Draft<'_>) {
    let all = draft.links().into_iter().map(|link| (link, 0.3)).collect();
    draft.add(0, Action::Fade(all));
    draft.at = draft.at.max(draft.duration / 2);
    draft.add(0, Action::Clear);
}

fn relay(draft: &mut Draft<'_>) {
    every(draft, 12, |draft| {
        draft.add(0, Action::StopInUse);
        draft.add(6, Action::StartAll);
    });
}

fn restart(draft: &mut Draft<'_>, how: Inheritance) {
    let node = draft.any_node();
    draft.add(0, Action::Restart(node, how));
}

fn power_cycle(draft: &mut Draft<'_>, how: Inheritance) {
    let node = draft.any_node();
    draft.add(0, Action::Stop(node, how));
    draft.add(2, Action::Start(node, how));
}

fn partition(draft: &mut Draft<'_>) {
    let half = draft.topology.nodes.len() / 2;
    let across = |(a, b): &Ends| (a.0 < half) != (b.0 < half);
    let links = draft.links().into_iter().filter(across).collect();
    draft.add(0, Action::Partition(links));
    draft.add(30, Action::HealAll);
    draft.add(45, Action::Check);
}

fn reshuffle(draft: &mut Draft<'_>) {
    let mut links = draft.links();
    every(draft, 20, |draft| {
        let (gone, new) = rewired(draft, &mut links);
        draft.add(0, Action::Rewire(gone, new));
        draft.add(15, Action::Check);
    });
}

/// Replaces half of `links`. Returns those that go and those that come.
fn rewired(draft: &mut Draft<'_>, links: &mut Vec<Ends>) -> (Vec<Ends>, Vec<Ends>) {
    let nodes = draft.topology.nodes.len();
    random::shuffle(&mut draft.rng, links);
    let kept = links.split_off(links.len() / 2);
    let gone = std::mem::replace(links, kept);
    let mut new: Vec<Ends> = Vec::new();
    let mut parts = Parts::new(nodes, links);
    // A complete graph has no other links to offer, hence the bound.
    for _ in 0..100 * gone.len().max(nodes) {
        if new.len() >= gone.len() && parts.count == 1 {
            break;
        }
        let (a, b) = (draft.any_node(), draft.any_node());
        let ends = (a.min(b), a.max(b));
        let known = |all: &[Ends]| all.iter().any(|(a, b)| ends == (*a.min(b), *a.max(b)));
        // What is missing to connect the parts comes last, so that it is no more than needed.
        let missing = gone.len().saturating_sub(new.len());
        let free = missing >= parts.count;
        if a != b && (free || !parts.are_joined(a, b)) && !known(links) && !known(&new) {
            parts.join(a, b);
            new.push(ends);
        }
    }
    links.extend(&new);
    (gone, new)
}

/// Which nodes links connect, while links are added (union-find).
struct Parts {
    parent: Vec<usize>,
    count: usize,
}

impl Parts {
    fn new(nodes: usize, links: &[Ends]) -> Self {
        let mut parts = Self {
            parent: (0..nodes).collect(),
            count: nodes,
        };
        links.iter().for_each(|(a, b)| parts.join(*a, *b));
        parts
    }

    fn root(&self, node: NodeIndex) -> usize {
        let mut here = node.0;
        while let Some(parent) = self.parent.get(here).filter(|parent| **parent != here) {
            here = *parent;
        }
        here
    }

    fn are_joined(&self, a: NodeIndex, b: NodeIndex) -> bool {
        self.root(a) == self.root(b)
    }

    fn join(&mut self, a: NodeIndex, b: NodeIndex) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            self.parent.get_mut(a).into_iter().for_each(|p| *p = b);
            self.count -= 1;
        }
    }
}

fn gateway(draft: &mut Draft<'_>) {
    let good = draft.any_node();
    let mut other = draft.any_node();
    while other == good {
        other = draft.any_node();
    }
    let start = std::mem::take(&mut draft.at);
    draft.add(0, Action::Announce(good, offering(100_000_000)));
    draft.add(0, Action::Announce(other, offering(1_000_000)));
    draft.at = start;
    every(draft, 20, |draft| {
        draft.add(0, Action::Stop(good, Inheritance::Cold));
        draft.add(10, Action::Start(good, Inheritance::Cold));
    });
    let mut nodes: Vec<_> = (0..draft.topology.nodes.len()).map(NodeIndex).collect();
    random::shuffle(&mut draft.rng, &mut nodes);
    let users = nodes.into_iter().filter(|n| ![good, other].contains(n));
    let flows = users.take(draft.flows).map(|from| Flow { from, to: None });
    draft.plan.flows = flows.collect();
}

/// What a gateway of that bandwidth says about itself.
pub(super) fn offering(down_bps: u64) -> Announcement {
    let offer = GatewayOffer {
        down_bps,
        up_bps: down_bps / 4,
        ipv4: true,
        ipv6: true,
        dns: Vec::new(),
    };
    Announcement {
        gateway: Some(offer),
        ..Announcement::default()
    }
}

fn join(draft: &mut Draft<'_>) {
    let mut nodes: Vec<_> = (0..draft.topology.nodes.len()).map(NodeIndex).collect();
    random::shuffle(&mut draft.rng, &mut nodes);
    nodes.truncate((nodes.len() / 2).min(10));
    let mut waiting = nodes.clone();
    every(draft, 5, |draft| {
        if let Some(node) = waiting.pop() {
            draft.add(0, Action::Start(node, Inheritance::Lost));
        }
    });
    // Those whose turn does not come are there from the start.
    nodes.retain(|node| !waiting.contains(node));
    draft.plan.late = nodes;
}

/// Random pairs of nodes between which traffic flows.
fn pairs(topology: &Topology, seed: u64, flows: usize) -> Vec<Flow> {
    let mut rng = random::stream(seed, random::FLOWS);
    let nodes = topology.nodes.len();
    let mut any = || NodeIndex(random::below(&mut rng, nodes));
    let pairs = std::iter::repeat_with(|| (any(), any())).filter(|(from, to)| from != to);
    let flow = |(from, to)| Flow { from, to: Some(to) };
    match nodes {
        0 | 1 => Vec::new(),
        _ => pairs.take(flows).map(flow).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology;

    fn plan(name: &str, topology: &Topology, seed: u64) -> Plan {
        let scenario = Named::find(name).unwrap();
        let duration = Duration::from_secs(scenario.seconds);
        scenario.plan(topology, seed, duration, 20)
    }

    #[test]
    fn plans_follow_from_the_seed() {
        let grid = topology::grid(5, 5);
        for scenario in SCENARIOS {
            let one = plan(scenario.name, &grid, 1);
            assert_eq!(one, plan(scenario.name, &grid, 1), "{}", scenario.name);
            assert_ne!(one, plan(scenario.name, &grid, 2), "{}", scenario.name);
            assert_eq!(one.flows.len(), 20, "{}", scenario.name);
        }
    }

    #[test]
    fn nothing_happens_after_the_end() {
        let grid = topology::grid(4, 4);
        for scenario in SCENARIOS {
            let end = Duration::from_secs(scenario.seconds);
            let steps = plan(scenario.name, &grid, 1).steps;
            assert!(steps.iter().all(|s| s.at <= end), "{}", scenario.name);
            assert_eq!(steps.is_empty(), scenario.name == "steady");
        }
    }

    #[test]
    fn halves_are_cut_apart_and_nothing_else() {
        let plan = plan("partition", &topology::grid(4, 4), 1);
        let Action::Partition(links) = &plan.steps[0].action else {
            panic!("{plan:?}");
        };
        let rows: Vec<_> = links.iter().map(|(a, b)| (a.0 / 4, b.0 / 4)).collect();
        assert_eq!(rows, [(1, 2); 4]);
    }

    #[test]
    fn half_of_the_links_are_replaced_and_the_mesh_stays_connected() {
        for seed in 1..=20 {
            let mesh = topology::geometric(50, seed);
            let mut links: Vec<_> = mesh.links.iter().map(|l| (l.a, l.b)).collect();
            for step in plan("reshuffle", &mesh, seed).steps {
                let Action::Rewire(gone, new) = step.action else {
                    continue;
                };
                assert_eq!(gone.len(), links.len() / 2, "seed {seed}");
                assert_eq!(new.len(), gone.len(), "seed {seed}");
                links.retain(|link| !gone.contains(link));
                links.extend(new);
                assert_eq!(Parts::new(50, &links).count, 1, "seed {seed}");
            }
        }
    }
}
