//! What is left in a kernel after the daemon has gone, one way or the other.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::daemon::{Daemon, Files};
use mesh_tests::harness::in_lab;
use mesh_tests::http::fetch;
use mesh_tests::internet::{HOST_V4, web_at};
use mesh_tests::lab::Lab;
use mesh_tests::mesh::{wait_all_pairs, wait_online_through};
use mesh_tests::namespace::Namespace;
use mesh_tests::snapshot::Snapshot;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "sigterm_leaves_nothing_behind",
            || Topology::line(3),
            leaves_nothing,
        ),
        in_lab(
            "start_after_a_crash_removes_exactly_its_own",
            || Topology::line(2),
            after_crash,
        ),
        in_lab(
            "other_numbers_are_used_and_given_back",
            || Topology::line(3),
            elsewhere,
        ),
        in_lab("second_daemon_is_kept_out", || Topology::line(2), kept_out),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);

/// On a machine where others have the usual numbers.
fn elsewhere(lab: &mut Lab) -> Result<()> {
    for router in ["r1", "r2", "r3"] {
        let numbers = "{tables: 7000, rules: 20000, last_rule: 40000, mark_bit: 0}";
        lab.node_mut(router)?.config.numbers = Some(numbers.to_owned());
    }
    village(lab)?;
    let rules = lab.node("r1")?.namespace().ip("rule")?;
    for line in rules.lines().filter(|line| line.contains("proto 155")) {
        let priority = line.split(':').next().unwrap_or_default().parse::<u32>()?;
        let is_right = (20000..20301).contains(&priority) || priority == 40000;
        ensure!(is_right, "{line}");
    }
    for rule in ["lookup 7000", "lookup 7001", "fwmark 0x1/0xf lookup 7006"] {
        ensure!(rules.contains(rule), "no {rule}: {rules}");
    }
    let page = fetch(lab.node("r1")?.phone()?, web_at(HOST_V4), "/", PATIENCE)?;
    let line = lab.node("r3")?.line()?;
    ensure!(page.client == IpAddr::V4(line.v4), "from {}", page.client);
    lab.node_mut("r1")?.take_daemon()?.terminate()?;
    for command in ["rule", "route show table all", "-6 route show table all"] {
        let left = lab.node("r1")?.namespace().ip(command)?;
        ensure!(!left.contains("proto 155"), "{command}: {left}");
    }
    Ok(())
}

fn village(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r3")?;
    lab.start_all()?;
    wait_online_through(lab, "r1", "r3", PATIENCE).map(drop)
}

fn leaves_nothing(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r3")?;
    lab.settle()?;
    let routers = ["r1", "r2", "r3"];
    let mut before = Vec::new();
    for router in routers {
        before.push(Snapshot::take(lab.node(router)?.namespace())?);
    }
    lab.start_all()?;
    wait_online_through(lab, "r1", "r3", PATIENCE)?;
    for (router, before) in routers.iter().zip(&before) {
        let now = Snapshot::take(lab.node(router)?.namespace())?;
        ensure!(
            before.must_equal(&now).is_err(),
            "meshd of {router} has done nothing"
        );
    }
    for (router, before) in routers.iter().zip(&before) {
        lab.node_mut(router)?.take_daemon()?.terminate()?;
        let node = lab.node(router)?;
        before
            .must_equal(&Snapshot::take(node.namespace())?)
            .with_context(|| format!("{router} after SIGTERM"))?;
        ensure!(
            !node.files().socket().exists(),
            "the control socket of {router} is left"
        );
    }
    Ok(())
}

/// What an administrator, or another program, may have put right beside ours.
fn add_foreign(namespace: &Namespace) -> Result<()> {
    namespace.ip_batch(
        "route add 198.18.0.0/15 dev mesh0 table 5525 proto static\n\
         route add fd99::/64 dev mesh0 table 5526 proto static\n\
         route add 10.9.0.0/16 dev mesh0 proto 42\n\
         rule add pref 31150 from 10.9.0.0/16 lookup 5525\n\
         addr add fd99::1/64 dev mesh0 nodad\n\
         link add vxlan9 type vxlan id 9 dstport 9999 dev mesh0\n",
    )?;
    namespace
        .nft("table inet firewall {\nchain c {\ntype filter hook input priority 0;\n}\n}\n")?;
    namespace.settle()
}

fn after_crash(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r2")?;
    lab.settle()?;
    let namespace = lab.node("r1")?.namespace().clone();
    add_foreign(&namespace)?;
    let before = Snapshot::take(&namespace)?;
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    wait_online_through(lab, "r1", "r2", PATIENCE)?;

    lab.node_mut("r1")?.take_daemon()?.crash()?;
    // What the dead one knew and the next one will not hear of: a router that is gone.
    namespace.ip_batch(
        "route add fd77::dead/128 via fe80::dead dev mesh0 table 5525 proto 155\n\
         route add 100.127.9.9/32 via inet6 fe80::dead dev mesh0 table 5525 proto 155\n\
         rule add pref 31200 iif eth77 lookup 5526 proto 155\n",
    )?;
    // The next one has a smaller task: no LAN.
    lab.node_mut("r1")?.config.lan = None;
    lab.start("r1")?;
    wait_for("the leftovers of the crash to be removed", PATIENCE, || {
        let now = Snapshot::take(&namespace)?;
        for leftover in ["fd77::dead", "100.127.9.9", "eth77", "lan0\\\" masquerade"] {
            let lines: Vec<&str> = now.matching(leftover).collect();
            ensure!(lines.is_empty(), "{lines:?}");
        }
        Ok(())
    })?;
    let now = Snapshot::take(&namespace)?;
    for foreign in [
        "198.18.0.0/15",
        "10.9.0.0/16",
        "fd99::",
        "vxlan9",
        "firewall",
        "31150",
    ] {
        let (then, now) = (
            before.matching(foreign).count(),
            now.matching(foreign).count(),
        );
        ensure!(
            now >= then && then > 0,
            "{then} lines about {foreign} before, {now} now"
        );
    }
    wait_all_pairs(lab, PATIENCE)?;
    lab.node_mut("r1")?.take_daemon()?.terminate()?;
    before
        .must_equal(&Snapshot::take(&namespace)?)
        .context("after the successor's end")
}

/// Another meshd in the same network namespace, with files of its own.
fn kept_out(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    let node = lab.node("r1")?;
    let before = Snapshot::take(node.namespace())?;
    let files = Files::new(node.files().directory().join("second"))?;
    files.write_config(&node.config)?;
    let status = Daemon::start(node.namespace(), &files)?.wait_end("to give way")?;
    ensure!(
        status.code() == Some(1),
        "the second daemon ended with {status}"
    );
    ensure!(
        files.log_text().contains("another meshd is running"),
        "it does not say why:\n{}",
        files.log_text()
    );
    before.must_equal(&Snapshot::take(node.namespace())?)?;
    node.status().context("the first daemon").map(drop)
}
