//! Which gateways are used: by policy, by hand, and for each address family.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use control_api::{Family, Gateway, GatewayChoice, Gateways, Reloaded, Severity};
use libtest_mimic::Trial;
use mesh_tests::daemon;
use mesh_tests::harness::in_lab;
use mesh_tests::http::fetch;
use mesh_tests::internet::{HOST_V4, web_at};
use mesh_tests::lab::Lab;
use mesh_tests::mesh::{wait_comes_from, wait_online_through};
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "gateway_is_chosen_by_policy_and_by_hand",
            || Topology::line(3),
            policy,
        ),
        in_lab(
            "gateway_that_costs_something_waits_for_a_word",
            || Topology::line(3),
            nobody_pays_by_default,
        ),
        in_lab(
            "gateway_of_each_family_carries_it",
            || Topology::line(3),
            families,
        ),
        in_lab(
            "prefix_of_two_nodes_is_reported",
            || Topology::line(3),
            prefixes,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);
const FETCH: Duration = Duration::from_secs(5);

/// A phone between two gateways, of which r1 is the faster one.
fn village(lab: &mut Lab, used: &str) -> Result<()> {
    lab.add_phone("r2")?;
    lab.add_uplink_of("r1", "100M/100M")?;
    lab.add_uplink_of("r3", "5M/1M")?;
    lab.start_all()?;
    wait_for("both gateways", PATIENCE, || {
        reason(lab, "r1")?;
        reason(lab, "r3")
    })?;
    wait_online_through(lab, "r2", used, PATIENCE).map(drop)
}

fn gateway(answer: Gateways, name: &str) -> Result<Gateway> {
    let mut gateways = answer.gateways.into_iter();
    let found = gateways.find(|gateway| gateway.name == name);
    found.with_context(|| format!("no gateway {name}"))
}

/// Why r2 uses a gateway or does not.
fn reason(lab: &Lab, name: &str) -> Result<String> {
    Ok(gateway(lab.node("r2")?.ctl("gateways")?, name)?.reason)
}

fn reload(lab: &mut Lab, router: &str) -> Result<Reloaded> {
    let node = lab.node(router)?;
    node.files().write_config(&node.config)?;
    node.ctl("reload")
}

fn policy(lab: &mut Lab) -> Result<()> {
    lab.node_mut("r1")?.config.sharing = Some("{fee: 5}".to_owned());
    lab.node_mut("r2")?.config.gateways = Some("{prefer: [r3], maximum_price: any}".to_owned());
    village(lab, "r3")?;
    for (policy, used, r1, r3) in [
        (
            "{never: [r3], maximum_price: any}",
            "r1",
            "chosen: lowest cost",
            "never, by policy",
        ),
        (
            "{prefer: [r3], maximum_price: any}",
            "r3",
            "another is preferred",
            "chosen: preferred",
        ),
        (
            "{avoid: [r1], maximum_price: any}",
            "r3",
            "avoided",
            "chosen: lowest cost",
        ),
        (
            "{pin: r1, maximum_price: 5}",
            "r1",
            "chosen: pinned",
            "another is pinned",
        ),
        (
            "{maximum_price: 4}",
            "r3",
            "costs 5 atto-SMT/MiB, maximum_price is 4",
            "chosen: lowest cost",
        ),
        (
            "{never: []}",
            "r3",
            "costs 5 atto-SMT/MiB, maximum_price is 0",
            "chosen: lowest cost",
        ),
        (
            "{maximum_price: any}",
            "r1",
            "chosen: lowest cost",
            "costs ",
        ),
    ] {
        lab.node_mut("r2")?.config.gateways = Some(policy.to_owned());
        let reloaded = reload(lab, "r2")?;
        ensure!(reloaded.changed == ["gateways"], "{policy}: {reloaded:?}");
        wait_online_through(lab, "r2", used, PATIENCE).context(policy)?;
        for (gateway, words) in [("r1", r1), ("r3", r3)] {
            let said = reason(lab, gateway)?;
            ensure!(said.starts_with(words), "{policy}: {gateway}: {said}");
        }
    }
    by_hand(lab)
}

fn by_hand(lab: &Lab) -> Result<()> {
    let r2 = lab.node("r2")?;
    let select = |word: &str| r2.ctl::<Gateways>(&format!("gateways select {word}"));
    let id = gateway(r2.ctl("gateways")?, "r3")?.originator_id;
    for word in ["r3", "r3", &id.short()] {
        let answer = select(word)?;
        ensure!(answer.choice == GatewayChoice::Node(word.to_owned()));
        let r3 = gateway(answer, "r3")?;
        ensure!(
            r3.selected && r3.reason == "chosen: selected by hand",
            "{r3:?}"
        );
    }
    wait_online_through(lab, "r2", "r3", PATIENCE)?;
    let socket = r2.files().socket().display().to_string();
    let unknown = daemon::run("meshctl", &format!("--socket {socket} gateways select r9"))?;
    ensure!(unknown.code == 4, "{unknown:?}");

    for _ in 0..2 {
        let answer = select("off")?;
        ensure!(answer.gateways.iter().all(|it| !it.selected), "{answer:?}");
    }
    let status = r2.status()?;
    ensure!(!status.internet.online, "{:?}", status.internet);
    let mut warnings = status.warnings.iter();
    ensure!(
        warnings.any(|it| it.contains("select auto")),
        "{:?}",
        status.warnings
    );
    wait_for("the phone to be offline", PATIENCE, || {
        let page = fetch(r2.phone()?, web_at(HOST_V4), "/", FETCH);
        ensure!(page.is_err(), "it is online");
        Ok(())
    })?;

    ensure!(gateway(select("auto")?, "r1")?.selected);
    wait_online_through(lab, "r2", "r1", PATIENCE).map(drop)
}

/// The warning of `meshctl status`, if `router` says that nothing but prices keeps it offline.
fn priced_out(lab: &Lab, router: &str) -> Result<String> {
    let status = lab.node(router)?.status()?;
    ensure!(!status.internet.online, "{:?}", status.internet);
    let mut warnings = status.warnings.iter();
    let warning = warnings.find(|it| it.starts_with("no Internet"));
    warning.cloned().context("no warning")
}

/// r1 would pay for the way to r3, but r2 between them has not said that it pays.
fn nobody_pays_by_default(lab: &mut Lab) -> Result<()> {
    lab.node_mut("r3")?.config.sharing = Some("{fee: 5}".to_owned());
    lab.node_mut("r1")?.config.pay_any_price();
    lab.add_phone("r1")?;
    lab.add_uplink("r3")?;
    lab.start_all()?;
    let warning = wait_for("r2 to say what it would cost", PATIENCE, || {
        priced_out(lab, "r2")
    })?;
    for part in ["maximum_price is 0", "r3", "costs 5 atto-SMT/MiB", "to 5"] {
        ensure!(warning.contains(part), "{warning}");
    }
    let warning = wait_for("r1 to say that nobody sells", PATIENCE, || {
        priced_out(lab, "r1")
    })?;
    ensure!(warning.contains("does not pay"), "{warning}");
    let found = lab.node("r2")?.doctor()?.findings;
    let advised = |it: &control_api::Finding| it.advice.contains("gateways.maximum_price to 5");
    ensure!(found.iter().any(advised), "{found:?}");
    let r2 = lab.node("r2")?;
    let said = || r2.files().log_text().matches("maximum_price").count();
    wait_for("the log to say it", PATIENCE, || {
        ensure!(said() > 0, "nothing said");
        Ok(())
    })?;
    std::thread::sleep(Duration::from_secs(3));
    ensure!(said() == 1, "it is said {} times", said());

    lab.node_mut("r2")?.config.gateways = Some("{maximum_price: 5}".to_owned());
    reload(lab, "r2")?;
    for router in ["r1", "r2"] {
        wait_online_through(lab, router, "r3", PATIENCE)?;
        let status = lab.node(router)?.status()?;
        ensure!(status.warnings.is_empty(), "{:?}", status.warnings);
    }
    Ok(())
}

fn families(lab: &mut Lab) -> Result<()> {
    village(lab, "r1")?;
    let (l1, l3) = (
        lab.node("r1")?.line()?.clone(),
        lab.node("r3")?.line()?.clone(),
    );
    let phone = lab.node("r2")?.phone()?.clone();
    let from = |v4, v6| wait_comes_from(&phone, v4, v6, PATIENCE);
    from(&l1, &l1)?;

    let r1 = lab.node("r1")?.namespace().clone();
    let lost = r1.ip("-6 route show default dev wan0")?;
    r1.ip("-6 route del default dev wan0")?;
    from(&l1, &l3)?;
    let internet = lab.node("r2")?.status()?.internet;
    let via = |node: Option<control_api::NodeRef>| node.and_then(|node| node.name);
    ensure!(via(internet.via).as_deref() == Some("r1"));
    ensure!(via(internet.ipv6_via).as_deref() == Some("r3"));
    let r3 = gateway(lab.node("r2")?.ctl("gateways")?, "r3")?;
    ensure!(r3.used_for == [Family::Ipv6], "{r3:?}");

    // It does not keep those who need IPv4 by having IPv6.
    let via_provider = lost.split_whitespace().skip_while(|it| *it != "via").nth(1);
    let via_provider = via_provider.with_context(|| lost.clone())?;
    r1.ip(&format!("-6 route add default via {via_provider} dev wan0"))?;
    from(&l1, &l1)?;
    r1.ip("-4 route del default dev wan0")?;
    from(&l3, &l3)
}

fn prefixes(lab: &mut Lab) -> Result<()> {
    let lan = |prefix: &str| {
        Some(format!(
            "[{{interface: lan0, mode: routed, prefixes: [{prefix}]}}]"
        ))
    };
    let ends = ["r1", "r3"];
    for router in ends {
        lab.add_phone(router)?;
        lab.node_mut(router)?.config.lan = lan("10.1.2.0/24");
    }
    lab.start_all()?;
    for router in ends {
        wait_for("a warning that names both", PATIENCE, || {
            let warnings = conflicts(lab, router)?;
            let [warning] = warnings.as_slice() else {
                anyhow::bail!("{warnings:?}");
            };
            let words = ["10.1.2.0/24", "r1 (", "r3 (", "the first has it"];
            ensure!(words.iter().all(|it| warning.contains(it)), "{warning}");
            Ok(())
        })?;
        let doctor = lab.node(router)?.doctor()?;
        let mut findings = doctor.findings.iter();
        let found =
            findings.any(|it| it.subject == "10.1.2.0/24" && it.severity == Severity::Warning);
        ensure!(found, "{doctor:?}");
    }
    lab.node_mut("r3")?.config.lan = lan("10.1.3.0/24");
    reload(lab, "r3")?;
    for router in ends {
        wait_for("the warning to go", PATIENCE, || {
            let warnings = conflicts(lab, router)?;
            ensure!(warnings.is_empty(), "{warnings:?}");
            Ok(())
        })?;
        let log = lab.node(router)?.files().log_text();
        for line in ["another node announces a prefix", "is its own again"] {
            ensure!(log.matches(line).count() == 1, "{line:?} in {log}");
        }
    }
    Ok(())
}

/// What a router's status says of prefixes that another announces too.
fn conflicts(lab: &Lab, router: &str) -> Result<Vec<String>> {
    let mut warnings = lab.node(router)?.status()?.warnings;
    warnings.retain(|warning| warning.contains("is announced by"));
    Ok(warnings)
}
