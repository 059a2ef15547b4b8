//! Receipts on the way to a gateway: both ends of every hop count the same, relays earn their fees, and
//! who does not sign is slowed down.

mod debtors;
mod payer;
mod redeem;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use control_api::{Account, Accounts, Role};
use libtest_mimic::Trial;
use mesh_tests::air::Loss;
use mesh_tests::harness::{in_lab, note};
use mesh_tests::http::fetch;
use mesh_tests::internet::{HOST_V4, web_at};
use mesh_tests::iperf::{self, Direction, Ends};
use mesh_tests::lab::{Lab, MESH, Node};
use mesh_tests::mesh::{wait_all_pairs, wait_online_through};
use mesh_tests::namespace::Namespace;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

pub(crate) fn tests() -> Vec<Trial> {
    let agreed = in_lab(
        "relays_earn_their_fees_and_both_ends_agree",
        || Topology::line(5),
        fees,
    );
    [agreed, redeem::test()]
        .into_iter()
        .chain(debtors::tests())
        .collect()
}

const PATIENCE: Duration = Duration::from_secs(30);
/// What is below the amount that a receipt is asked for waits for a minute.
const LAST_RECEIPT: Duration = Duration::from_secs(90);
const TRANSFER: Duration = Duration::from_secs(8);
const MBPS: u32 = 20;
const MIB: u128 = 1 << 20;

/// What each node asks for, in atto-SMT per MiB, from the client to the gateway. Whoever is asked for
/// the whole way pays the sum of what is left of it.
const FEES: [(&str, u128); 5] = [
    ("r1", 700),
    ("r2", 1000),
    ("r3", 2000),
    ("r4", 0),
    ("r5", 3_000_000_000_000),
];

/// What whoever is before `router` pays.
fn price_at(router: &str) -> u128 {
    let rest = FEES.iter().skip_while(|(name, _)| *name != router);
    rest.map(|(_, fee)| fee).sum()
}

/// The hops of the way: who pays, and who is paid.
fn hops() -> impl Iterator<Item = (&'static str, &'static str)> {
    FEES.iter()
        .zip(FEES.iter().skip(1))
        .map(|((payer, _), (paid, _))| (*payer, *paid))
}

/// Everything two neighbors counted for each other in one role, over all gateways and epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Books {
    counted: u64,
    signed: u64,
    amount: u128,
    epochs: u64,
}

fn books(node: &Node, role: Role, peer: &str) -> Result<Books> {
    let Accounts { accounts, .. } = node.ctl("receipts list")?;
    let of_peer = |it: &&Account| it.role == role && it.name.as_deref() == Some(peer);
    let add = |books: Books, it: &Account| {
        let signed = it.bytes_up + it.bytes_down + it.earlier_bytes;
        Books {
            counted: books.counted + signed + it.unsigned_bytes,
            signed: books.signed + signed,
            amount: books.amount + it.amount_atto.atto() + it.earlier_amount_atto.atto(),
            epochs: books.epochs + it.epoch,
        }
    };
    Ok(accounts.iter().filter(of_peer).fold(Books::default(), add))
}

/// What the two ends of a hop have written down: who is paid, who pays.
fn both_ends(lab: &Lab, (payer, paid): (&str, &str)) -> Result<(Books, Books)> {
    let earned = books(lab.node(paid)?, Role::Provider, payer)?;
    let owed = books(lab.node(payer)?, Role::Consumer, paid)?;
    Ok((earned, owed))
}

/// What is paid, at both ends of each hop, since `before`.
type Counted = BTreeMap<&'static str, (u64, u64)>;

/// Waits until nothing more is counted: what was on its way has arrived or is lost.
fn counted(lab: &Lab) -> Result<Counted> {
    let read = || -> Result<Counted> {
        let ends = hops().map(|hop| {
            let (earned, owed) = both_ends(lab, hop)?;
            Ok((hop.1, (earned.counted, owed.counted)))
        });
        ends.collect()
    };
    let mut last = read()?;
    wait_for("counters to stand still", PATIENCE, || {
        // Longer than between two readings.
        std::thread::sleep(Duration::from_millis(1200));
        let now = read()?;
        let before = std::mem::replace(&mut last, now.clone());
        ensure!(now == before, "{before:?}, then {now:?}");
        Ok(now)
    })
}

/// A stranger has a small window, and is none after a few packets.
fn everybody_has_paid_once(lab: &Lab) -> Result<()> {
    wait_for("a page", PATIENCE, || {
        fetch(
            lab.node("r1")?.phone()?,
            web_at(HOST_V4),
            "/bytes/1000",
            PATIENCE,
        )
    })?;
    for hop in hops() {
        wait_for("a first receipt", PATIENCE, || {
            let (earned, owed) = both_ends(lab, hop)?;
            ensure!(earned.signed > 0, "{hop:?}: {earned:?}, {owed:?}");
            Ok(())
        })?;
    }
    Ok(())
}

fn transfer_both_ways(lab: &Lab) -> Result<()> {
    let ends = Ends {
        client: lab.node("r1")?.phone()?,
        server: lab.internet()?.host(),
        address: HOST_V4,
        port: iperf::PORT,
        most_mbps: Some(MBPS),
    };
    for direction in [Direction::Up, Direction::Down] {
        iperf::transfer(&ends, direction, TRANSFER)?;
    }
    Ok(())
}

/// Counts the messages about receipts from a router to a neighbor: packets of the routing protocol whose
/// first part, behind 29 bytes of header, is a payload (type 6).
fn count_exchange(from: &Namespace, to: &Namespace) -> Result<()> {
    let to = to.link_local(MESH)?;
    from.nft(&format!(
        "table inet exchange {{ chain sent {{
            type filter hook output priority 300
            ip6 daddr {to} udp dport 5525 @th,296,8 6 counter
        }}\n}}"
    ))
}

fn exchange_bytes(router: &Namespace) -> Result<u64> {
    let listed = router.run("nft", "list table inet exchange")?;
    let bytes = listed.split("bytes ").nth(1);
    let bytes = bytes.and_then(|rest| rest.split_whitespace().next());
    let bytes = bytes.with_context(|| format!("no counter in {listed}"))?;
    bytes.parse().context("bytes of the exchange")
}

fn fees(lab: &mut Lab) -> Result<()> {
    for (router, fee) in FEES {
        let config = &mut lab.node_mut(router)?.config;
        config.sharing = Some(format!("{{fee: {fee}}}"));
        config.pay_any_price();
    }
    lab.add_phone("r1")?;
    lab.add_uplink("r5")?;
    let [first, second] = ["r1", "r2"].map(|router| lab.node(router).map(Node::namespace));
    let (first, second) = (first?, second?);
    count_exchange(first, second)?;
    count_exchange(second, first)?;
    lab.start_all()?;
    wait_online_through(lab, "r1", "r5", PATIENCE)?;
    // A relay that has no way back yet pays for an answer that it cannot pass on.
    wait_all_pairs(lab, PATIENCE)?;
    everybody_has_paid_once(lab)?;

    let mut before = counted(lab)?;
    for percent in [0, 5, 30] {
        if percent > 0 {
            frames_one_by_one(lab)?;
        }
        for (payer, paid) in hops() {
            lab.air().connect(payer, paid, Loss::percent(percent))?;
        }
        transfer_both_ways(lab).with_context(|| format!("at {percent} % loss"))?;
        let now = counted(lab)?;
        for (paid, (earned, owed)) in &now {
            let (earned_before, owed_before) = before.get(paid).copied().unwrap_or_default();
            let (earned, owed) = (earned - earned_before, owed - owed_before);
            let difference = earned.abs_diff(owed);
            note(&format!(
                "{percent} % loss, hop to {paid}: {earned} and {owed} bytes, {difference} apart"
            ));
            ensure!(earned > 1_000_000, "{earned} bytes counted");
            let allowed = if percent == 0 { 0 } else { owed / 100 + 65_536 };
            ensure!(
                difference <= allowed,
                "hop to {paid} at {percent} % loss: {earned} and {owed} bytes"
            );
        }
        if percent == 0 {
            exchange_is_small(lab, &now)?;
            margins_are_the_fees(lab)?;
        }
        before = now;
    }
    nobody_objected(lab)
}

/// A radio loses frames: here it could be 44 at once, which the kernel has merged, or none.
fn frames_one_by_one(lab: &Lab) -> Result<()> {
    for node in lab.nodes() {
        let limit = format!("link set dev {MESH} gso_max_segs 1");
        node.namespace().run("ip", &limit)?;
    }
    Ok(())
}

fn exchange_is_small(lab: &Lab, counted: &Counted) -> Result<()> {
    let said = exchange_bytes(lab.node("r1")?.namespace())?;
    let asked = exchange_bytes(lab.node("r2")?.namespace())?;
    let (carried, _) = counted.get("r2").context("no account with r2")?;
    note(&format!(
        "exchange: {} bytes for {carried} bytes carried, {:.4} %",
        said + asked,
        (said + asked) as f64 * 100.0 / *carried as f64
    ));
    ensure!(
        (said + asked) * 5000 <= *carried,
        "{asked} bytes of questions and {said} of answers for {carried} bytes carried: more than 0.02 %"
    );
    Ok(())
}

/// Waits until everything is signed, at each end.
fn margins_are_the_fees(lab: &Lab) -> Result<()> {
    let settled = |hop| {
        wait_for("everything to be signed", LAST_RECEIPT, || {
            let (earned, owed) = both_ends(lab, hop)?;
            ensure!(
                earned == owed && earned.signed == earned.counted,
                "{earned:?}, {owed:?}"
            );
            Ok(earned)
        })
    };
    let books = hops().map(|hop| settled(hop).with_context(|| format!("hop to {}", hop.1)));
    let books: Vec<Books> = books.collect::<Result<_>>()?;
    for ((_, paid), earned) in hops().zip(&books) {
        let due = price_at(paid) * u128::from(earned.signed) / MIB;
        let rounded = due - earned.amount;
        ensure!(
            rounded <= u128::from(earned.epochs),
            "{paid} earned {} for {} bytes, not {due}",
            earned.amount,
            earned.signed
        );
    }
    let relays = FEES.iter().skip(1);
    for ((router, fee), (earned, paid)) in relays.zip(books.iter().zip(books.iter().skip(1))) {
        ensure!(earned.signed == paid.signed, "{earned:?}, {paid:?}");
        let margin = earned.amount - paid.amount;
        let due = fee * u128::from(earned.signed) / MIB;
        note(&format!(
            "{router} earned {margin} atto-SMT, fee × bytes = {due}"
        ));
        ensure!(
            margin.abs_diff(due) <= u128::from(earned.epochs + paid.epochs),
            "{router} earned {margin} in place of {due}"
        );
    }
    Ok(())
}

fn nobody_objected(lab: &Lab) -> Result<()> {
    for node in lab.nodes() {
        let log = node.files().log_text();
        let objection = log.lines().find(|it| it.contains("receipt refused"));
        ensure!(objection.is_none(), "{}: {objection:?}", node.name());
    }
    Ok(())
}
