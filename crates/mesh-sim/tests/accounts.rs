//! What is paid for traffic to the Internet: both sides of every account agree, and each node keeps
//! its fee.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::{everybody_pays, mesh, run, secs};
use mesh_proto::router::Announcement;
use mesh_proto::{GatewayOffer, Price};
use mesh_sim::books::{Epoch, Signed};
use mesh_sim::scenario::Inheritance;
use mesh_sim::simulation::Accounting;
use mesh_sim::{Action, Flow, NodeIndex, Simulation, Step};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use receipts::{MIB, Party, Role};

/// Every route is the best one by then, and stays, as nothing is lost.
const SETTLED_S: f64 = 75.0;
/// After the last byte everything is asked for within a minute, and then repeated a few times.
const SIGNED_S: f64 = 100.0;

/// A village with fees at random, where some nodes are used by people.
struct Village {
    simulation: Simulation,
    rng: ChaCha8Rng,
    fees: Vec<Price>,
    gateways: [NodeIndex; 2],
    clients: BTreeSet<NodeIndex>,
}

impl Village {
    fn new(topology: &str, seed: u64, loss: f64) -> Self {
        let mut simulation = mesh(topology, seed, loss);
        everybody_pays(&mut simulation);
        let network = String::from("simulated village");
        simulation.keep_accounts(Accounting::new(&network));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = simulation.nodes().count();
        let gateways = [0, 1].map(|_| NodeIndex(rng.next_u32() as usize % count));
        let mut village = Self {
            simulation,
            rng,
            fees: vec![Price::FREE; count],
            gateways,
            clients: BTreeSet::new(),
        };
        for node in 0..count {
            village.change_fee(NodeIndex(node));
        }
        while village.clients.len() < count / 4 {
            let node = village.any_node();
            if !gateways.contains(&node) {
                village.clients.insert(node);
            }
        }
        village
    }

    fn any_node(&mut self) -> NodeIndex {
        NodeIndex(self.rng.next_u32() as usize % self.fees.len())
    }

    /// Asks for something else from now on, up to a thousandth of an SMT per MiB.
    fn change_fee(&mut self, node: NodeIndex) {
        let fee = Price::new(self.rng.next_u64() % 1_000_000_000_000_000);
        self.fees[node.0] = fee;
        let offer = GatewayOffer {
            down_bps: 20_000_000,
            up_bps: 5_000_000,
            ipv4: true,
            ipv6: true,
            dns: Vec::new(),
        };
        let announcement = Announcement {
            gateway: self.gateways.contains(&node).then_some(offer),
            fee,
            ..Announcement::default()
        };
        self.step(Action::Announce(node, announcement));
    }

    fn step(&mut self, action: Action) {
        let step = Step::new(self.simulation.now(), action);
        self.simulation.schedule(step);
    }

    fn pass(&mut self, seconds: f64) {
        let until = self.simulation.now() + secs(seconds);
        run(&mut self.simulation, until.as_secs_f64());
    }

    fn begin_traffic(&mut self) {
        for from in &self.clients {
            let flow = Flow {
                from: *from,
                to: None,
            };
            self.simulation.add_flow(flow);
        }
    }

    /// No byte is carried any longer, and what was is signed for.
    fn end_traffic(&mut self) {
        self.simulation.set_traffic(0);
        self.pass(SIGNED_S);
    }

    fn party(&self, node: NodeIndex) -> Party {
        self.simulation.books(node).unwrap().party()
    }

    fn signed(&self, node: NodeIndex) -> BTreeMap<Epoch, Signed> {
        self.simulation.books(node).unwrap().signed()
    }

    /// What all receipts of all nodes together say that was earned and paid, in atto-SMT, after it was
    /// checked that both sides of each account have the same newest receipt; but for those with one of
    /// `except`.
    #[track_caller]
    fn earned_and_paid(&self, except: &BTreeSet<NodeIndex>) -> (u128, u128) {
        let seed = self.simulation.options().seed;
        let nodes = || {
            self.simulation
                .nodes()
                .filter(|node| !except.contains(node))
        };
        let excepted: BTreeSet<_> = except.iter().map(|node| self.party(*node)).collect();
        let (mut provided, mut consumed) = (BTreeMap::new(), BTreeMap::new());
        for node in nodes() {
            let me = self.party(node);
            for ((peer, role, epoch), signed) in self.signed(node) {
                if excepted.contains(&peer) {
                    continue;
                }
                match role {
                    Role::Provider => provided.insert((me, peer, epoch), signed),
                    Role::Consumer => consumed.insert((peer, me, epoch), signed),
                };
            }
        }
        assert_eq!(provided, consumed, "seed {seed}");
        let sum = |all: &BTreeMap<_, Signed>| all.values().map(|it| it.amount.atto_smt()).sum();
        (sum(&provided), sum(&consumed))
    }

    /// What must hold whatever happened.
    #[track_caller]
    fn assert_honest(&self) {
        let seed = self.simulation.options().seed;
        assert_eq!(self.simulation.overdrawn(), 0, "seed {seed}");
        for node in self.simulation.nodes() {
            let books = self.simulation.books(node).unwrap();
            assert_eq!(books.equivocations(), 0, "seed {seed}: {node}");
            // Signatures, amounts, chains.
            let report = receipts::log::verify(books.log());
            assert!(report.is_ok(), "seed {seed}: {node}: {report:?}");
        }
    }
}

/// What a relay's receipts come to.
#[derive(Debug, Default)]
struct Balance {
    /// Earned less paid, in atto-SMT.
    margin: i128,
    /// Bytes carried for others, less bytes that others carried for it.
    kept: i128,
    /// Bytes carried for others.
    sold: i128,
    /// The same for bytes towards gateways alone, exactly: atto-SMT times 2^20.
    margin_up: i128,
    sold_up: i128,
    /// How often an amount was rounded.
    epochs: i128,
}

fn balance(village: &Village, relay: NodeIndex) -> Balance {
    let mut balance = Balance::default();
    for ((_, role, _), signed) in village.signed(relay) {
        let up = i128::from(signed.totals.up_bytes);
        let bytes = i128::try_from(signed.totals.bytes()).unwrap();
        let amount = i128::try_from(signed.amount.atto_smt()).unwrap();
        let sign = match role {
            Role::Provider => 1,
            Role::Consumer => -1,
        };
        balance.margin += sign * amount;
        balance.kept += sign * bytes;
        balance.margin_up += sign * up * i128::from(signed.price.atto_smt_per_mib());
        if role == Role::Provider {
            balance.sold += bytes;
            balance.sold_up += up;
        }
        balance.epochs += 1;
    }
    balance
}

/// Nodes on paths that are not the same there and back.
fn detours(village: &Village) -> BTreeSet<NodeIndex> {
    let simulation = &village.simulation;
    let paths = village.clients.iter().filter_map(|client| {
        let gateway = simulation.gateway_of(*client)?;
        let there = simulation.path(*client, gateway);
        let mut back = simulation.path(gateway, *client);
        back.reverse();
        (there != back).then_some([there, back].concat())
    });
    paths.flatten().collect()
}

/// What comes back from a gateway need not come the way that what goes there takes, and has the price of
/// that way all the same: who is on both has its fee for both, everybody has it for what goes there.
/// Returns how many relays there were, and how many of them on no path that differs.
fn keeps_its_fee(topology: &str, seed: u64) -> (usize, usize) {
    let mut village = Village::new(topology, seed, 0.0);
    village.pass(SETTLED_S);
    village.begin_traffic();
    village.pass(30.0);
    village.end_traffic();
    village.assert_honest();
    let (earned, paid) = village.earned_and_paid(&BTreeSet::new());
    assert_eq!(earned, paid, "seed {seed}");
    assert!(earned > 0);
    let (detours, nodes) = (detours(&village), village.simulation.nodes());
    let (mut relays, mut straight) = (0, 0);
    for relay in nodes.filter(|it| !village.clients.contains(it) && !village.gateways.contains(it))
    {
        let it = balance(&village, relay);
        let fee = i128::from(village.fees[relay.0].atto_smt_per_mib());
        let context = format!("seed {seed}, {relay}, fee {fee}: {it:?}");
        assert_eq!(it.kept, 0, "{context}");
        assert_eq!(it.margin_up, fee * it.sold_up, "{context}");
        if !detours.contains(&relay) {
            let off = it.margin - fee * it.sold / i128::from(MIB);
            assert!(off.abs() <= it.epochs, "{context}");
            straight += usize::from(it.sold > 0);
        }
        relays += usize::from(it.sold > 0);
    }
    (relays, straight)
}

#[test]
fn both_sides_agree_and_each_relay_of_200_keeps_its_fee() {
    let (relays, _) = keeps_its_fee("geometric:200", 1);
    assert!(relays > 20, "{relays}");
}

#[test]
fn in_a_row_everything_comes_the_way_it_went() {
    for seed in 1..=3 {
        let (relays, straight) = keeps_its_fee("line:20", seed);
        assert!(relays > 3, "seed {seed}: {relays}");
        assert_eq!(straight, relays, "seed {seed}");
    }
}

/// Something happens to somebody every two seconds; daemons are restarted in one of the ways of `how`
/// each. Returns those who lost what they had in memory.
fn trouble(village: &mut Village, seconds: u32, how: &[Inheritance]) -> BTreeSet<NodeIndex> {
    let links: Vec<_> = village.simulation.radio().links().collect();
    let mut unlucky = BTreeSet::new();
    let mut how = how.iter().cycle();
    for _ in 0..seconds / 2 {
        match village.rng.next_u32() % 4 {
            0 => {
                let (a, b) = links[village.rng.next_u32() as usize % links.len()];
                village.step(Action::Cut(a, b));
                let heal = Step::new(
                    village.simulation.now() + Duration::from_secs(5),
                    Action::Heal(a, b),
                );
                village.simulation.schedule(heal);
            }
            1 => {
                let node = village.any_node();
                village.change_fee(node);
            }
            _ => {
                let node = village.any_node();
                let how = *how.next().unwrap();
                if how != Inheritance::Warm {
                    unlucky.insert(node);
                }
                village.step(Action::Restart(node, how));
            }
        }
        village.pass(2.0);
    }
    unlucky
}

/// A village with traffic and trouble; afterwards both sides of each account agree, but for those who
/// have lost what they had in memory.
fn agrees_after_trouble(topology: &str, seed: u64, how: &[Inheritance]) {
    let mut village = Village::new(topology, seed, 0.1);
    village.pass(10.0);
    village.begin_traffic();
    let unlucky = trouble(&mut village, 40, how);
    village.pass(20.0);
    village.end_traffic();
    village.assert_honest();
    let (earned, paid) = village.earned_and_paid(&unlucky);
    assert_eq!(earned, paid, "seed {seed}");
    assert!(earned > 0);
}

#[test]
fn both_sides_agree_whatever_happens_to_daemons_links_and_fees() {
    for seed in 1..=2 {
        println!("seed {seed}");
        agrees_after_trouble("geometric:30", seed, &[Inheritance::Warm]);
    }
}

#[test]
fn a_loss_of_power_costs_only_those_who_have_it() {
    for seed in 3..=4 {
        println!("seed {seed}");
        agrees_after_trouble("geometric:30", seed, &[Inheritance::Cold]);
    }
}

/// Every third node has not said that it pays.
#[test]
fn who_does_not_pay_signs_for_nothing_and_is_on_nobodys_way_to_a_gateway() {
    for seed in 1..=2 {
        println!("seed {seed}");
        let mut village = Village::new("geometric:40", seed, 0.0);
        let frugal: BTreeSet<_> = village.simulation.nodes().step_by(3).collect();
        for node in &frugal {
            let most = Some(Price::FREE);
            village.simulation.set_maximum_price(*node, most);
        }
        village.pass(SETTLED_S);
        village.begin_traffic();
        village.pass(30.0);
        let (mut online, simulation) = (0, &village.simulation);
        for client in &village.clients {
            let Some(gateway) = simulation.gateway_of(*client) else {
                continue;
            };
            // The gateway itself pays nobody.
            let mut way = simulation.path(*client, gateway);
            way.pop();
            let over = way.iter().find(|node| frugal.contains(node));
            assert_eq!(over, None, "seed {seed}: {client} to {gateway}");
            online += 1;
        }
        assert!(online > 0, "seed {seed}");
        village.end_traffic();
        village.assert_honest();
        for node in &frugal {
            let paid = village.signed(*node).into_iter();
            let mut paid = paid.filter(|((_, role, _), _)| *role == Role::Consumer);
            let dear = paid.find(|(_, signed)| signed.price > receipts::Price::FREE);
            assert_eq!(dear, None, "seed {seed}: {node}");
        }
    }
}

/// What is earned and what is paid come to zero, but with those who lost power.
#[test]
fn among_200_both_sides_agree_whatever_happens() {
    let how = [Inheritance::Warm, Inheritance::Cold];
    agrees_after_trouble("geometric:200", 5, &how);
}
