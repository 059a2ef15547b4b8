//! Receipts for what goes through WireGuard, whatever the clock says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use control_api::{Account, Accounts, Role};
use libtest_mimic::Trial;
use mesh_tests::command;
use mesh_tests::harness::{in_lab, note};
use mesh_tests::http::fetch;
use mesh_tests::internet::{HOST_V4, web_at};
use mesh_tests::lab::{Lab, Node};
use mesh_tests::mesh::wait_online_through;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

pub(crate) fn tests() -> Vec<Trial> {
    vec![in_lab(
        "receipts_agree_whatever_the_clock_says",
        || Topology::line(3),
        any_time,
    )]
}

const PATIENCE: Duration = Duration::from_secs(30);
/// What a receipt is asked for at once.
const DUE: u64 = 2 << 20;
/// 1970-01-02, the last second that 32 bits can tell, and 2100-01-01.
const TIMES: [u64; 3] = [86_400, 2_147_483_647, 4_102_444_800];

fn set_clock(seconds: u64) -> Result<()> {
    command::run("date", &format!("-s @{seconds}")).map(drop)
}

fn account(node: &Node, role: Role, peer: &str) -> Result<Account> {
    let Accounts { accounts, .. } = node.ctl("receipts list")?;
    let found = accounts
        .into_iter()
        .find(|it| it.role == role && it.name.as_deref() == Some(peer));
    found.with_context(|| format!("{} has no account with {peer}", node.name()))
}

/// What both ends of a hop have counted so far, signed or not.
fn counted(account: &Account) -> u64 {
    account.bytes_up + account.bytes_down + account.unsigned_bytes
}

fn any_time(lab: &mut Lab) -> Result<()> {
    for (router, fee) in [("r2", 5), ("r3", 7)] {
        lab.node_mut(router)?.config.sharing = Some(format!("{{fee: {fee}}}"));
    }
    for payer in ["r1", "r2"] {
        lab.node_mut(payer)?.config.pay_any_price();
    }
    lab.add_phone("r1")?;
    lab.add_uplink("r3")?;
    lab.start_all()?;
    wait_online_through(lab, "r1", "r3", PATIENCE)?;
    let today = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let outcome = TIMES
        .into_iter()
        .try_for_each(|time| receipts_at(lab, time).with_context(|| format!("at {time}")));
    set_clock(today)?;
    outcome?;
    both_ends_agree(lab)
}

fn receipts_at(lab: &Lab, time: u64) -> Result<()> {
    let before = account(lab.node("r2")?, Role::Provider, "r1").map_or(0, |it| it.bytes_down);
    set_clock(time)?;
    let bytes = DUE * 5 / 4;
    let path = format!("/bytes/{bytes}");
    // Links are lost here when several daemons have much to do: what is late in a slow machine is taken for
    // silence.
    wait_for("a download", PATIENCE * 5, || {
        let page = fetch(lab.node("r1")?.phone()?, web_at(HOST_V4), &path, PATIENCE)?;
        ensure!(page.body.len() as u64 == bytes, "{} bytes", page.body.len());
        Ok(())
    })?;
    wait_for("a receipt", PATIENCE, || {
        let now = account(lab.node("r2")?, Role::Provider, "r1")?;
        ensure!(now.bytes_down >= before + DUE, "{now:?}");
        ensure!(now.epoch == 1, "another epoch was begun: {now:?}");
        Ok(())
    })
}

fn both_ends_agree(lab: &Lab) -> Result<()> {
    for (payer, paid) in [("r1", "r2"), ("r2", "r3")] {
        wait_for("both ends to have counted the same", PATIENCE, || {
            let earned = account(lab.node(paid)?, Role::Provider, payer)?;
            let owed = account(lab.node(payer)?, Role::Consumer, paid)?;
            ensure!(counted(&earned) == counted(&owed), "{earned:?}, {owed:?}");
            note(&format!(
                "hop to {paid}: {} bytes at both ends",
                counted(&earned)
            ));
            Ok(())
        })?;
    }
    Ok(())
}
