//! Neighbors that do not pay as they should: each is slowed down within its window, the others notice nothing,
//! and the operator is told what happened.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use control_api::{Accounts, Role, Standing};
use libtest_mimic::Trial;
use mesh_tests::daemon;
use mesh_tests::harness::{in_lab, note};
use mesh_tests::internet::HOST_V4;
use mesh_tests::iperf::{self, Direction, Ends, Transferred};
use mesh_tests::lab::Lab;
use mesh_tests::mesh::wait_online_through;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

use super::PATIENCE;
use super::payer::{Conduct, Payer};

/// r1 and r3 are online through r2, which wants to be paid.
const PROVIDER: &str = "r2";
const DEBTOR: &str = "r1";
const HONEST: &str = "r3";

pub(super) fn tests() -> Vec<Trial> {
    let line = || Topology::line(3);
    vec![
        in_lab("who_signs_nothing_is_slowed_down", line, |lab| {
            debtor(lab, Conduct::Silent)
        }),
        in_lab("who_signs_less_is_slowed_down", line, |lab| {
            debtor(lab, Conduct::Short)
        }),
        in_lab("who_repeats_a_receipt_is_slowed_down", line, |lab| {
            debtor(lab, Conduct::Replaying)
        }),
        in_lab("who_contradicts_itself_is_slowed_down", line, |lab| {
            debtor(lab, Conduct::Contradicting)
        }),
        in_lab("another_key_is_no_new_beginning", line, new_key),
        in_lab("a_restart_forgives_nobody", line, restart),
    ]
}

const TRANSFER: Duration = Duration::from_secs(10);
const MBPS: u32 = 20;
const MIB: u64 = 1 << 20;

/// Bytes that may be unpaid, by who has never signed, and by who has.
const STRANGERS_WINDOW: u64 = MIB;
const WINDOW: u64 = 8 * MIB;

/// What the kernel lets pass at once of what it slows down, in both directions, and what passes while it is
/// told of another limit: iperf3 keeps to an average, so it catches up at the speed of the line.
const BEYOND: u64 = 2 * 65536 + MIB / 2;
/// What passes in the whole transfer at the free rate, 256 kbit/s, twice: in both directions.
const FREE: u64 = 2 * 32_000 * TRANSFER.as_secs();

fn village(lab: &mut Lab) -> Result<()> {
    lab.node_mut(PROVIDER)?.config.sharing = Some("{fee: 1000}".to_owned());
    lab.add_uplink(PROVIDER)?;
    for phone in [DEBTOR, HONEST] {
        lab.node_mut(phone)?.config.pay_any_price();
        lab.add_phone(phone)?;
    }
    lab.start_all()?;
    for router in [DEBTOR, HONEST] {
        wait_online_through(lab, router, PROVIDER, PATIENCE)?;
    }
    Ok(())
}

/// Both phones download at the same time.
fn both_download(lab: &Lab) -> Result<[Transferred; 2]> {
    let server = lab.internet()?.host();
    let download = |router: &str, port| -> Result<Transferred> {
        let ends = Ends {
            client: lab.node(router)?.phone()?,
            server,
            address: HOST_V4,
            port,
            most_mbps: Some(MBPS),
        };
        iperf::transfer(&ends, Direction::Down, TRANSFER).with_context(|| format!("of {router}"))
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| download(HONEST, 5202));
        let own = download(DEBTOR, 5201);
        let other = other.join().map_err(|_| anyhow!("a transfer panicked"))?;
        Ok([own?, other?])
    })
}

fn debtor(lab: &mut Lab, conduct: Conduct) -> Result<()> {
    village(lab)?;
    let payer = Payer::replace(lab, DEBTOR, conduct)?;
    let [debtor, honest] = both_download(lab)?;
    let (window, standing) = match conduct {
        Conduct::Silent => (STRANGERS_WINDOW, Standing::Stranger),
        Conduct::Short | Conduct::Replaying => (WINDOW, Standing::Known),
        Conduct::Contradicting => (STRANGERS_WINDOW, Standing::Cheat),
    };
    note(&format!(
        "{conduct:?}: the debtor got {:.0} bytes of a window of {window}, the other {:.1} Mbit/s",
        debtor.bytes, honest.mbps
    ));
    let signed = is_held(lab, standing)?;
    ensure!(
        debtor.bytes <= (signed + window + BEYOND + FREE) as f64,
        "{} bytes passed, {signed} are paid",
        debtor.bytes
    );
    others_are_unaffected(lab, honest)?;
    operator_is_told(lab, conduct)?;
    payer.end()
}

/// Waits until the provider says that it slows the debtor down. Returns the bytes that are signed for.
fn is_held(lab: &Lab, standing: Standing) -> Result<u64> {
    wait_for("the debtor to be held", PATIENCE, || {
        let Accounts { accounts, .. } = lab.node(PROVIDER)?.ctl("receipts list")?;
        let held = accounts.iter().find(|it| it.held);
        let held = held.with_context(|| format!("nobody is held: {accounts:?}"))?;
        ensure!(
            held.role == Role::Provider
                && held.name.as_deref() == Some(DEBTOR)
                && held.standing == standing,
            "{held:?}"
        );
        Ok(held.bytes_up + held.bytes_down + held.earlier_bytes)
    })
}

fn others_are_unaffected(lab: &Lab, honest: Transferred) -> Result<()> {
    ensure!(
        honest.mbps > f64::from(MBPS) * 0.8,
        "the honest one got {} Mbit/s",
        honest.mbps
    );
    let Accounts { accounts, .. } = lab.node(PROVIDER)?.ctl("receipts list")?;
    let account = accounts
        .iter()
        .find(|it| it.name.as_deref() == Some(HONEST));
    let account = account.context("no account with the honest one")?;
    ensure!(
        !account.held && account.standing == Standing::Known,
        "{account:?}"
    );
    Ok(())
}

fn operator_is_told(lab: &Lab, conduct: Conduct) -> Result<()> {
    let node = lab.node(PROVIDER)?;
    for command in ["receipts list", &format!("receipts show {DEBTOR}")] {
        let text = node.ctl_text(command)?;
        ensure!(text.contains("slowed down"), "meshctl {command}:\n{text}");
    }
    let log = node.files().log_text();
    let line = log.lines().find(|line| line.contains("used up its credit"));
    note(line.context("the log says nothing of it")?);
    if conduct == Conduct::Contradicting {
        let text = node.ctl_text(&format!("receipts show {DEBTOR}"))?;
        ensure!(
            text.contains("two different receipts"),
            "no proof in:\n{text}"
        );
        let file = node.files().directory().join("receipts.export");
        node.ctl_text(&format!("receipts export {}", file.display()))?;
        let verified = daemon::run("meshctl", &format!("receipts verify {}", file.display()))?;
        ensure!(
            verified.out.contains("two different receipts"),
            "the proof is not in the export: {verified:?}"
        );
    }
    Ok(())
}

/// Who comes with another key is a stranger again, and gets a stranger's window.
fn new_key(lab: &mut Lab) -> Result<()> {
    village(lab)?;
    let payer = Payer::replace(lab, DEBTOR, Conduct::Silent)?;
    both_download(lab)?;
    is_held(lab, Standing::Stranger)?;
    payer.end()?;

    let node = lab.node(DEBTOR)?;
    std::fs::remove_file(node.files().directory().join("identity.key"))?;
    std::fs::remove_dir_all(node.files().state())?;
    lab.start(DEBTOR)?;
    wait_online_through(lab, DEBTOR, PROVIDER, PATIENCE)?;
    let payer = Payer::replace(lab, DEBTOR, Conduct::Silent)?;
    stranger_is_held(lab)?;
    payer.end()
}

/// Who is held stays so while the provider's daemon is replaced, and who pays is not.
fn restart(lab: &mut Lab) -> Result<()> {
    village(lab)?;
    let payer = Payer::replace(lab, DEBTOR, Conduct::Silent)?;
    both_download(lab)?;
    is_held(lab, Standing::Stranger)?;
    lab.node_mut(PROVIDER)?.take_daemon()?.hand_over()?;
    lab.start(PROVIDER)?;
    stranger_is_held(lab)?;
    payer.end()
}

/// One who has never signed gets no more than a stranger's window, and the other what it wants.
fn stranger_is_held(lab: &Lab) -> Result<()> {
    let [debtor, honest] = both_download(lab)?;
    note(&format!(
        "the stranger got {:.0} bytes, the other {:.1} Mbit/s",
        debtor.bytes, honest.mbps
    ));
    ensure!(
        debtor.bytes <= (STRANGERS_WINDOW + BEYOND + FREE) as f64,
        "{} bytes passed unpaid",
        debtor.bytes
    );
    is_held(lab, Standing::Stranger)?;
    others_are_unaffected(lab, honest)
}
