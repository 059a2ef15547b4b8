//! The main job, step by step: a phone goes online through another router's uplink, everybody
//! who forwards for it is owed a signed receipt, and a dead gateway is replaced.

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use control_api::{Account, Accounts, Gateways, Role};
use mesh_tests::air::Loss;
use mesh_tests::daemon;
use mesh_tests::harness::keep;
use mesh_tests::http::{self, fetch};
use mesh_tests::internet::{HOST_V4, HOST_V6, echo_at, web_at};
use mesh_tests::lab::Lab;
use mesh_tests::market::{self, Market};
use mesh_tests::mesh::{Addresses, path, wait_online_through, wait_pairs};
use mesh_tests::probe::Pinger;
use mesh_tests::sandbox;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

use crate::show::{Show, bytes, seconds};

/// Shows the main job, live, and measures it
///
/// Ends with exit status 0 only if every step held.
#[derive(Args, Debug)]
pub(crate) struct Options {}

const PICTURE: &str = "
   phone ─── r1 ~~~ r2 ~~~ r3 ~~~ r4 ~~~ r5 ─── Internet
                                   ~
                                   ~~~~~ r6 ─── Internet

   ~~~ radio   ─── wire   r5 has the better uplink; r4 and r6 hear each other badly (20 % loss)";

const STEPS: usize = 9;
/// How long anything may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);
const FETCH: Duration = Duration::from_secs(5);
/// What the phone loads, so that there is something to write receipts for.
const DOWNLOAD: u64 = 4 * 1024 * 1024;
/// A receipt is due after so many bytes; what is below it may wait for a minute.
const RECEIPT_DUE: u64 = 2 * 1024 * 1024;
const ATTO_PER_SMT: u64 = 1_000_000_000_000_000_000;
const RELAYS: [&str; 5] = ["r1", "r2", "r3", "r4", "r5"];

pub(crate) fn run(_: &Options) -> Result<ExitCode> {
    println!("meshd, the main job on the kernel of this machine:");
    println!("{PICTURE}");
    let mut show = Show::new(STEPS);
    show.step("Building the village: namespaces, radio, a provider, a phone");
    let start = Instant::now();
    let mut lab = village()?;
    show.held(&format!(
        "8 machines, 2 lines, 5 radio links in {}",
        seconds(start.elapsed())
    ));

    match story(&mut lab, &mut show) {
        Ok(()) => {
            show.table();
            println!("Every step held.");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let text = format!("{error:#}");
            show.failed(&text);
            show.table();
            let place = keep("demo", &lab, &text)?;
            println!("logs and kernel state: {}", place.display());
            Ok(ExitCode::FAILURE)
        }
    }
}

fn village() -> Result<Lab> {
    let mut lab = Lab::with_topology("", &Topology::line(5))?;
    lab.add_router("r6")?;
    lab.air().connect("r4", "r6", Loss::percent(20))?;
    lab.add_phone("r1")?;
    for (gateway, bandwidth) in [("r5", "20M/5M"), ("r6", "4M/1M")] {
        lab.add_uplink(gateway)?;
        let uplink = format!("{{interface: wan0, bandwidth: {bandwidth}}}");
        lab.node_mut(gateway)?.config.uplink = Some(uplink);
    }
    // Relays take a tenth of a thousandth SMT per MiB for their work, gateways half a thousandth.
    for (router, tenths) in [("r2", 1), ("r3", 1), ("r4", 1), ("r5", 5), ("r6", 5)] {
        let fee = tenths * ATTO_PER_SMT / 10_000;
        let config = &mut lab.node_mut(router)?.config;
        config.sharing = Some(format!("{{fee: {fee}}}"));
    }
    // Everybody is ready to pay for the whole way, but not more.
    for router in ["r1", "r2", "r3", "r4"] {
        let most = ATTO_PER_SMT / 1000;
        lab.node_mut(router)?.config.gateways = Some(format!("{{maximum_price: {most}}}"));
    }
    lab.settle()?;
    Ok(lab)
}

fn story(lab: &mut Lab, show: &mut Show) -> Result<()> {
    mesh_up(lab, show)?;
    hop_by_hop(lab, show)?;
    phone_online(lab, show)?;
    receipts_grow(lab, show)?;
    gateway_dies(lab, show)?;
    export(lab, show)?;
    redeem(lab, show)?;
    status(lab, show)
}

fn mesh_up(lab: &mut Lab, show: &mut Show) -> Result<()> {
    show.step("Starting meshd on six routers that know nothing of each other");
    let start = Instant::now();
    lab.start_all()?;
    let addresses = Addresses::ask(lab)?;
    wait_pairs(lab, &addresses, PATIENCE)?;
    let all_pairs = start.elapsed();
    show.held(&format!(
        "every router reaches every other, IPv6 and IPv4, after {all_pairs:.1?}"
    ));
    show.figure(
        "cold start until all 6 routers reach each other",
        seconds(all_pairs),
    );
    wait_online_through(lab, "r1", "r5", PATIENCE)?;
    show.held(&format!(
        "r1 is online through r5 after {:.1?}",
        start.elapsed()
    ));
    show.figure("cold start until r1 is online", seconds(start.elapsed()));
    Ok(())
}

fn hop_by_hop(lab: &mut Lab, show: &mut Show) -> Result<()> {
    show.step("The path, as every router on it says");
    let path = path(lab, "r1", "r5")?;
    show.say(&path.join(" → "));
    ensure!(path == RELAYS, "r1 reaches r5 over {path:?}");
    show.held(&format!("{} hops", path.len() - 1));
    show.figure("hops from r1 to the gateway", (path.len() - 1).to_string());
    Ok(())
}

/// Fetches the page and checks that it was asked for from `gateway`'s public address.
fn fetch_through(lab: &Lab, gateway: &str, host: IpAddr, show: &Show) -> Result<()> {
    let node = lab.node("r1")?;
    let line = lab.node(gateway)?.line()?;
    let outside = if host.is_ipv4() {
        IpAddr::V4(line.v4)
    } else {
        IpAddr::V6(line.v6)
    };
    let page = wait_for("a page", PATIENCE, || {
        fetch(node.phone()?, web_at(host), "/", FETCH)
    })?;
    show.say(&page.text());
    ensure!(
        page.text().starts_with(http::GREETING),
        "the page says {:?}",
        page.text()
    );
    ensure!(
        page.client == outside,
        "{} asked for the page, not {gateway}",
        page.client
    );
    show.held(&format!(
        "fetched from {host}, translated to {gateway}'s address"
    ));
    Ok(())
}

fn phone_online(lab: &mut Lab, show: &mut Show) -> Result<()> {
    show.step("The phone behind r1 fetches a page, IPv4 and IPv6");
    fetch_through(lab, "r5", HOST_V4, show)?;
    fetch_through(lab, "r5", HOST_V6, show)?;
    let start = Instant::now();
    let path = format!("/bytes/{DOWNLOAD}");
    let page = fetch(lab.node("r1")?.phone()?, web_at(HOST_V4), &path, PATIENCE)?;
    let got = u64::try_from(page.body.len())?;
    ensure!(got == DOWNLOAD, "{got} bytes came");
    let rate = DOWNLOAD as f64 * 8.0 / 1e6 / start.elapsed().as_secs_f64();
    show.held(&format!(
        "{} downloaded at {rate:.0} Mbit/s",
        bytes(DOWNLOAD)
    ));
    show.figure(
        "download over 4 hops, tunnel and NAT",
        format!("{rate:.0} Mbit/s"),
    );
    Ok(())
}

fn receipts_grow(lab: &mut Lab, show: &mut Show) -> Result<()> {
    show.step("Receipts: each signs for the next one nearer to the Internet");
    show.say("after the first download:");
    let first = receipted(lab, show, 0)?;
    let path = format!("/bytes/{DOWNLOAD}");
    fetch(lab.node("r1")?.phone()?, web_at(HOST_V4), &path, PATIENCE)?;
    show.say("after the second:");
    let second = receipted(lab, show, first)?;
    show.held("they grow on all four hops");
    for router in RELAYS.iter().skip(1) {
        verify(&exported(lab, router)?)?;
    }
    show.held("the logs of r2, r3, r4 and r5 verify: every signature, every link of the chain");
    show.figure(
        "signed for on the last hop",
        format!("{} in {second} receipts", bytes(signed(lab)?)),
    );
    Ok(())
}

/// Waits until all hops have a receipt beyond number `seen` that covers what is due, and returns
/// the number that all of them have reached.
fn receipted(lab: &Lab, show: &Show, seen: u64) -> Result<u64> {
    let mut reached = u64::MAX;
    for pair in RELAYS.windows(2) {
        let [consumer, provider] = pair else { continue };
        let what = format!("receipt {} of {consumer} for {provider}", seen + 1);
        let account = wait_for(&what, PATIENCE, || {
            let account = account(lab, provider, consumer)?;
            let due = account.seq > seen && account.unsigned_bytes < RECEIPT_DUE;
            ensure!(due && account.bytes_down > RECEIPT_DUE, "{account:?}");
            Ok(account)
        })?;
        show.say(&format!(
            "  {consumer} signed number {} for {provider}: {} up, {} down, {}",
            account.seq,
            bytes(account.bytes_up),
            bytes(account.bytes_down),
            smt(&account)?,
        ));
        reached = reached.min(account.seq);
    }
    Ok(reached)
}

fn account(lab: &Lab, provider: &str, consumer: &str) -> Result<Account> {
    let accounts: Accounts = lab.node(provider)?.ctl("receipts list")?;
    let mut accounts = accounts.accounts.into_iter();
    accounts
        .find(|a| a.role == Role::Provider && a.name.as_deref() == Some(consumer))
        .with_context(|| format!("{provider} has no account of {consumer}"))
}

fn smt(account: &Account) -> Result<String> {
    let atto: u128 = account.amount_atto.to_string().parse()?;
    Ok(smt_text(atto))
}

fn smt_text(atto: u128) -> String {
    let tenths = atto * 10_000 / u128::from(ATTO_PER_SMT);
    format!("{}.{:04} SMT", tenths / 10_000, tenths % 10_000)
}

fn signed(lab: &Lab) -> Result<u64> {
    let account = account(lab, "r5", "r4")?;
    Ok(account.bytes_up + account.bytes_down)
}

fn gateway_dies(lab: &mut Lab, show: &mut Show) -> Result<()> {
    show.step("The gateway r5 loses power; the phone sends a probe every 10 ms");
    wait_for("both gateways to be known to r1", PATIENCE, || {
        let answer: Gateways = lab.node("r1")?.ctl("gateways")?;
        ensure!(answer.gateways.len() == 2, "{:?}", answer.gateways);
        Ok(())
    })?;
    let interval = Duration::from_millis(10);
    let pinger = Pinger::start(lab.node("r1")?.phone()?, echo_at(HOST_V4), interval)?;
    pinger.wait_answers(50, PATIENCE)?;
    lab.power_off("r5")?;
    show.say("r5: no power");
    pinger.wait_answers(100, PATIENCE)?;
    wait_online_through(lab, "r1", "r6", PATIENCE)?;
    let report = pinger.stop();
    show.held("r1 is online through r6");
    show.say(&report.to_string());
    show.figure(
        "outage when the gateway loses power",
        format!("{:.2} s", report.longest_outage.as_secs_f64()),
    );
    show.figure("probes lost", format!("{} of {}", report.lost, report.sent));
    fetch_through(lab, "r6", HOST_V4, show)
}

fn export(lab: &mut Lab, show: &mut Show) -> Result<()> {
    show.step("r2 takes its receipts to where they can be redeemed");
    let file = exported(lab, "r2")?;
    show.say("$ meshctl receipts export r2.receipts && meshctl receipts verify r2.receipts");
    show.say(&verify(&file)?);
    show.held("exported and verified, without the daemon");

    let mut content = std::fs::read(&file)?;
    let middle = content.len() / 2;
    *content.get_mut(middle).context("the export is empty")? ^= 1;
    std::fs::write(&file, content)?;
    let verified = daemon::run("meshctl", &format!("receipts verify {file}"))?;
    ensure!(
        verified.code == 8,
        "a falsified log is taken for good: {verified:?}"
    );
    show.held("the same file with one bit changed is refused (exit status 8)");
    Ok(())
}

/// r1 pays r2 on a chain of our own. Needs what npm installs.
fn redeem(lab: &mut Lab, show: &mut Show) -> Result<()> {
    show.step("The receipts become SMT: a settlement service, and a cheque book on a chain");
    if !market::is_installed() {
        show.say("LEFT OUT: the chain comes from npm, and there is no node and npm here, or no way to it.");
        return Ok(());
    }
    let market = Market::open(Path::new(sandbox::FILES))?;
    let client = market.join(lab.node("r1")?)?;
    let relay = market.join(lab.node("r2")?)?;
    market.deposit(&client, 1)?;
    show.held("r1 and r2 have wallets; r1 has deposited 1 SMT, and lets the service draw on it");
    let redeemed = market.redeem(lab.node("r2")?)?;
    show.say("r2: $ meshctl redeem");
    market.cash(&relay, &redeemed)?;
    show.say("r2: $ meshctl wallet cash");
    let paid = market.paid(client.account, relay.account)?;
    let balance = market.balance(relay.account)?;
    let signed: u128 = account(lab, "r2", "r1")?.amount_atto.atto();
    ensure!(
        paid == balance && balance > 0 && balance <= signed,
        "r2 has {balance}, r1 has paid {paid} and signed for {signed}"
    );
    let balance = smt_text(balance);
    show.held(&format!("r2 has {balance} in its wallet, paid by r1"));
    show.figure("earned by the relay r2, on the chain", balance);
    Ok(())
}

fn exported(lab: &Lab, router: &str) -> Result<String> {
    let file = Path::new(sandbox::FILES)
        .join(format!("{router}.receipts"))
        .display()
        .to_string();
    lab.node(router)?
        .ctl_text(&format!("receipts export {file}"))?;
    Ok(file)
}

fn verify(file: &str) -> Result<String> {
    let verified = daemon::run("meshctl", &format!("receipts verify {file}"))?;
    if verified.code != 0 {
        bail!(
            "meshctl receipts verify ended with {}: {}",
            verified.code,
            verified.err.trim()
        );
    }
    Ok(verified.out)
}

fn status(lab: &mut Lab, show: &mut Show) -> Result<()> {
    show.step("What a villager sees on r1");
    show.say("$ meshctl status");
    let text = lab.node("r1")?.ctl_text("status")?;
    show.say(&text);
    ensure!(
        text.starts_with("Internet: yes"),
        "it does not begin with the answer"
    );
    Ok(())
}
