//! From traffic to SMT: a relay's receipts are redeemed and cashed, and its account has what it earned.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::harness::{in_lab, note};
use mesh_tests::http::fetch;
use mesh_tests::internet::{HOST_V4, web_at};
use mesh_tests::lab::Lab;
use mesh_tests::market::Market;
use mesh_tests::mesh::{wait_all_pairs, wait_online_through};
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

use super::{Books, LAST_RECEIPT, MIB, PATIENCE, both_ends};

/// What the relay and the gateway ask for, in atto-SMT per MiB: a whole number for each byte, so that nothing is
/// rounded.
const RELAY_FEE: u128 = 1_000_000 * MIB;
const GATEWAY_FEE: u128 = 500_000 * MIB;
const DOWNLOAD: u64 = 4 * 1024 * 1024;
const FETCH: Duration = Duration::from_secs(60);

pub(super) fn test() -> Trial {
    in_lab("receipts_become_smt", || Topology::line(3), earn)
}

fn earn(lab: &mut Lab) -> Result<()> {
    for (router, fee) in [("r2", RELAY_FEE), ("r3", GATEWAY_FEE)] {
        lab.node_mut(router)?.config.sharing = Some(format!("{{fee: {fee}}}"));
    }
    for payer in ["r1", "r2"] {
        lab.node_mut(payer)?.config.pay_any_price();
    }
    lab.add_phone("r1")?;
    lab.add_uplink("r3")?;
    lab.start_all()?;
    wait_online_through(lab, "r1", "r3", PATIENCE)?;
    wait_all_pairs(lab, PATIENCE)?;
    let path = format!("/bytes/{DOWNLOAD}");
    fetch(lab.node("r1")?.phone()?, web_at(HOST_V4), &path, FETCH)?;
    let (first, second) = (signed(lab, ("r1", "r2"))?, signed(lab, ("r2", "r3"))?);

    let market = Market::open(lab.node("r2")?.files().directory())?;
    let client = market.join(lab.node("r1")?)?;
    let relay = market.join(lab.node("r2")?)?;
    let gateway = market.join(lab.node("r3")?)?;
    market.deposit(&client, 1000)?;
    market.deposit(&relay, 1000)?;
    for (router, purse) in [("r2", &relay), ("r3", &gateway)] {
        let redeemed = market.redeem(lab.node(router)?)?;
        market.cash(purse, &redeemed)?;
    }

    let earned = (RELAY_FEE + GATEWAY_FEE) * u128::from(first.signed) / MIB;
    let owed = GATEWAY_FEE * u128::from(second.signed) / MIB;
    let balance = market.balance(relay.account)?;
    note(&format!(
        "the relay carried {} bytes, was paid {balance} and paid {owed} atto-SMT",
        first.signed
    ));
    ensure!(
        balance == earned,
        "the relay has {balance}, and earned {earned}"
    );
    ensure!(market.paid(client.account, relay.account)? == earned);
    ensure!(market.balance(gateway.account)? == owed);
    ensure!(market.paid(relay.account, gateway.account)? == owed);
    // The same bytes at both hops: what is left for the relay is its own fee for them.
    ensure!(first.signed == second.signed, "{first:?}, {second:?}");
    ensure!(earned - owed == RELAY_FEE * u128::from(first.signed) / MIB);

    // Once more: nothing new, nothing paid.
    let again = market.redeem(lab.node("r2")?)?;
    ensure!(
        again.pointer("/files/0/parts_waiting") == Some(&0.into()),
        "{again}"
    );
    ensure!(market.balance(relay.account)? == earned);
    Ok(())
}

/// Waits until everything that was carried is signed for, and nothing more comes.
fn signed(lab: &Lab, hop: (&str, &str)) -> Result<Books> {
    wait_for("everything to be signed for", LAST_RECEIPT, || {
        let before = both_ends(lab, hop)?;
        // Longer than between two readings.
        std::thread::sleep(Duration::from_millis(1200));
        let (earned, owed) = both_ends(lab, hop)?;
        ensure!(
            before == (earned, owed)
                && earned.signed > DOWNLOAD
                && earned.counted == earned.signed
                && owed.signed == earned.signed,
            "{hop:?}: {earned:?}, {owed:?}"
        );
        Ok(earned)
    })
}
