//! What `meshctl doctor` finds: each test breaks one thing, and sees it found and, mended, found no more.
//!
//! Elsewhere, beside other things that they test: uplinks that fail in every way, with captive portals
//! (`gateways`), circles (`uplink`), resolvers (`names`), links of different MTU (`mtu`), full and read-only
//! disks (`disk`), prices and prefixes (`gateways`), radios in the virtual machine (`tests/vm/trouble.rs`,
//! `tests/vm/village.rs`).

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Error, Result, ensure};
use control_api::{Doctor, Finding, Mended, Severity};
use libtest_mimic::Trial;
use mesh_tests::air::Loss;
use mesh_tests::daemon;
use mesh_tests::harness::in_lab;
use mesh_tests::http::fetch;
use mesh_tests::internet::{HOST_V4, web_at};
use mesh_tests::lab::Lab;
use mesh_tests::mesh::{wait_all_pairs, wait_online_through};
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "doctor_has_nothing_to_say_of_a_healthy_village",
            || Topology::line(3),
            healthy,
        ),
        in_lab(
            "doctor_mends_sysctls_that_somebody_changed",
            || Topology::line(3),
            sysctls,
        ),
        in_lab(
            "doctor_sees_that_the_nftables_table_is_gone",
            || Topology::line(2),
            table,
        ),
        in_lab(
            "doctor_sees_firewalls_in_the_way",
            || Topology::line(3),
            firewalls,
        ),
        in_lab(
            "doctor_sees_a_lan_with_the_network_of_its_uplink",
            || Topology::line(2),
            same_network,
        ),
        in_lab(
            "doctor_sees_an_uplink_on_a_lan",
            || Topology::line(2),
            one_armed,
        ),
        in_lab(
            "doctor_sees_the_default_route_on_the_mesh",
            || Topology::line(2),
            default_route_on_the_mesh,
        ),
        in_lab(
            "doctor_sees_more_lines_than_there_are_marks",
            || Topology::line(2),
            marks,
        ),
        in_lab(
            "doctor_sees_a_rule_that_takes_everything_first",
            || Topology::line(2),
            rules,
        ),
        in_lab(
            "doctor_sees_that_the_flash_is_nearly_full",
            || Topology::line(2),
            flash,
        ),
        in_lab(
            "doctor_says_why_meshd_does_not_run",
            || Topology::line(1),
            stopped,
        ),
        in_lab(
            "doctor_sees_that_the_only_gateway_allowed_is_not_there",
            || Topology::line(2),
            pinned,
        ),
        in_lab(
            "doctor_mends_the_mode_of_a_key",
            || Topology::line(2),
            key_mode,
        ),
        in_lab(
            "doctor_sees_a_clock_that_is_slow",
            || Topology::line(2),
            clock,
        ),
        in_lab(
            "doctor_sees_another_node_with_the_same_key",
            || Topology::line(2),
            double,
        ),
        in_lab(
            "doctor_sees_who_hears_badly",
            || Topology::line(2),
            asymmetric,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);
/// A link that loses hellos may be lost and found again while it is measured.
const LONG: Duration = Duration::from_secs(180);
/// How long it takes to see that something does not come.
const SHORT: Duration = Duration::from_secs(2);

/// r1 – r2 – r3, with a phone at r1 and an uplink at r3, all of it as it should be.
fn village(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r3")?;
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    wait_online_through(lab, "r1", "r3", PATIENCE).map(drop)
}

fn healthy(lab: &mut Lab) -> Result<()> {
    village(lab)?;
    all_well(lab)?;
    for router in ["r1", "r2", "r3"] {
        let text = lab.node(router)?.ctl_text("doctor")?;
        ensure!(text == "No problems found.\n", "{text}");
    }
    Ok(())
}

/// Waits until no router of the village has anything to say.
fn all_well(lab: &Lab) -> Result<()> {
    wait_for("all to be well", LONG, || {
        for node in lab.nodes() {
            let doctor = node.doctor()?;
            ensure!(doctor.findings.is_empty(), "{}: {doctor:?}", node.name());
        }
        Ok(())
    })
}

/// Waits until a router's doctor has such a finding, and advice.
fn wait_found(lab: &Lab, router: &str, severity: Severity, words: [&str; 3]) -> Result<Finding> {
    let [check, subject, problem] = words;
    wait_for(&format!("{check} of {subject}"), LONG, || {
        let doctor = lab.node(router)?.doctor()?;
        let found = doctor
            .findings
            .iter()
            .find(|it| it.check == check && it.subject == subject && it.problem.contains(problem));
        let found = found.with_context(|| format!("{doctor:?}"))?;
        ensure!(found.severity == severity, "{found:?}");
        ensure!(!found.advice.is_empty(), "{found:?}");
        Ok(found.clone())
    })
}

/// Runs `meshctl doctor --fix` on a router, which must leave nothing to be done, and returns the subjects of
/// what it mended.
fn fix(lab: &Lab, router: &str) -> Result<Vec<String>> {
    let mended: Mended = lab.node(router)?.ctl("doctor --fix")?;
    ensure!(mended.findings.is_empty(), "{mended:?}");
    let mended = mended.mended.into_iter();
    Ok(mended.map(|finding| finding.subject).collect())
}

/// As another program does that has its own idea of what this machine is for.
fn sysctls(lab: &mut Lab) -> Result<()> {
    village(lab)?;
    all_well(lab)?;
    let phone = lab.node("r1")?.phone()?.clone();
    let relay = lab.node("r2")?.namespace().clone();
    relay.set("net/ipv6/conf/all/forwarding", "0")?;
    let words = ["sysctl", "net.ipv6.conf.all.forwarding", "set it to 0"];
    ensure!(wait_found(lab, "r2", Severity::Error, words)?.fixable);
    let page = |patience| fetch(&phone, web_at(HOST_V4), "/", patience).map(drop);
    ensure!(page(SHORT).is_err(), "a relay that forwards nothing");
    ensure!(fix(lab, "r2")? == ["net.ipv6.conf.all.forwarding"]);
    wait_for("a page", PATIENCE, || page(SHORT))?;

    let router = lab.node("r1")?.namespace().clone();
    router.set("net/ipv4/ip_forward", "0")?;
    router.set("net/ipv4/conf/mesh0/rp_filter", "1")?;
    router.set("net/ipv4/icmp_ratelimit", "1000")?;
    let words = ["sysctl", "net.ipv4.ip_forward", "set it to 0"];
    wait_found(lab, "r1", Severity::Error, words)?;
    let mended = fix(lab, "r1")?;
    let expected = [
        "net.ipv4.ip_forward",
        "net.ipv4.icmp_ratelimit",
        "net.ipv4.conf.mesh0.rp_filter",
    ];
    ensure!(mended == expected, "{mended:?}");
    wait_for("a page", PATIENCE, || page(SHORT))?;
    // There is nothing more to do.
    ensure!(fix(lab, "r1")?.is_empty());
    all_well(lab)
}

/// Somebody flushes nftables while nft, which would make the table anew, is broken.
fn table(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    let router = lab.node("r1")?.namespace().clone();
    let broken = lab.node("r1")?.files().break_nft()?;
    router.nft("delete table inet meshd")?;
    let words = ["table", "nftables", "inet meshd is gone"];
    ensure!(wait_found(lab, "r1", Severity::Error, words)?.fixable);
    drop(broken);
    // meshd tries again, too, and warns until it has.
    wait_for("nothing to be left", PATIENCE, || fix(lab, "r1"))?;
    router.run("nft", "list table inet meshd").map(drop)
}

/// Somebody sets up a firewall, of whatever kind, and forgets the mesh.
fn firewalls(lab: &mut Lab) -> Result<()> {
    village(lab)?;
    let deaf = "table inet deaf {\nchain input {\n
        type filter hook input priority 0; policy drop;\n
        ct state established,related accept\niifname lan0 accept\nicmpv6 type { nd-neighbor-solicit, \
        nd-neighbor-advert } accept\n}\n}";
    lab.node("r2")?.namespace().nft(deaf)?;
    let words = [
        "firewall",
        "firewall",
        "inet deaf input drops what neighbors tell, tunnels",
    ];
    let found = wait_found(lab, "r2", Severity::Error, words)?;
    let permission = "nft insert rule inet deaf input iifname \"mesh0\" udp dport 5525 accept";
    ensure!(found.advice.contains(permission), "{found:?}");
    ensure!(!found.fixable, "{found:?}");
    // It is others' to change.
    let result = lab.node("r2")?.ctl_text("doctor --fix");
    ensure!(result.is_err(), "{result:?}");
    lab.node("r2")?
        .namespace()
        .run("nft", "delete table inet deaf")?;

    // As Docker does.
    let docker = "table ip filter {\nchain FORWARD {\n
        type filter hook forward priority 0; policy drop;\n}\n}";
    lab.node("r1")?.namespace().nft(docker)?;
    let words = [
        "firewall",
        "firewall",
        "ip filter FORWARD drops what local hosts send into the mesh",
    ];
    let found = wait_found(lab, "r1", Severity::Error, words)?;
    let router = lab.node("r1")?.namespace().clone();
    let phone = lab.node("r1")?.phone()?.clone();
    let page = || fetch(&phone, web_at(HOST_V4), "/", SHORT).map(drop);
    ensure!(page().is_err(), "nothing is dropped");
    // What it advises is enough, with what every firewall lets back.
    router.nft("insert rule ip filter FORWARD ct state established,related accept\n")?;
    let commands = found
        .advice
        .split("; ")
        .filter_map(|it| it.split_once("nft insert"));
    for (_, command) in commands {
        router.nft(&format!("insert{command}\n"))?;
    }
    wait_for("a page", PATIENCE, page)?;
    all_well(lab)
}

/// The provider's router has the network that the gateway has chosen for its phones.
fn same_network(lab: &mut Lab) -> Result<()> {
    lab.add_uplink("r1")?;
    lab.add_phone("r1")?;
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    all_well(lab)?;
    let router = lab.node("r1")?.namespace().clone();
    for (line, lan) in [
        ("192.168.1.50/24", "192.168.1.0/24"),
        ("fd00:1:0:0:1::1/48", "fd00:1::/64"),
    ] {
        router.ip(&format!("addr add {line} dev wan0"))?;
        let words = ["network", "lan0", &format!("it has {lan}, and ")];
        let found = wait_found(lab, "r1", Severity::Error, words)?;
        ensure!(found.problem.contains(" is at wan0: "), "{found:?}");
        router.ip(&format!("addr del {line} dev wan0"))?;
        all_well(lab)?;
    }
    Ok(())
}

/// A router with one socket, behind which are the provider's router and the phones.
fn one_armed(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    all_well(lab)?;
    let router = lab.node("r1")?.namespace().clone();
    router.ip("route add default via 192.168.1.254 dev lan0")?;
    let words = ["one_armed", "lan0", "the default route leads over it"];
    wait_found(lab, "r1", Severity::Warning, words)?;
    router.ip("route del default via 192.168.1.254 dev lan0")?;
    all_well(lab)
}

/// A router advertisement on the mesh was believed.
fn default_route_on_the_mesh(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    all_well(lab)?;
    let router = lab.node("r1")?.namespace().clone();
    router.ip("-6 route add default via fe80::1 dev mesh0")?;
    let words = ["one_armed", "mesh0", "it is a `mesh` interface"];
    wait_found(lab, "r1", Severity::Warning, words)?;
    router.ip("-6 route del default via fe80::1 dev mesh0")?;
    all_well(lab)
}

/// Three modems and a provider: flows stay with three of them.
fn marks(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    let router = lab.node("r1")?.namespace().clone();
    for line in 1..=4 {
        router.ip(&format!(
            "link add line{line} type veth peer name modem{line}"
        ))?;
        router.ip(&format!("link set modem{line} up"))?;
        router.ip(&format!("link set line{line} up"))?;
        router.ip(&format!("addr add 198.18.{line}.2/24 dev line{line}"))?;
        let metric = line * 10;
        router.ip(&format!(
            "route add default via 198.18.{line}.1 dev line{line} metric {metric}"
        ))?;
        if line == 3 {
            wait_found(lab, "r1", Severity::Error, ["uplink", "line3", "IPv4"])?;
            is_silent(lab, "r1", "marks")?;
        }
    }
    let words = ["marks", "uplink", "line1, line2, line3, line4"];
    let found = wait_found(lab, "r1", Severity::Warning, words)?;
    ensure!(found.advice.contains("uplink.interface"), "{found:?}");
    router.ip("link del line4")?;
    wait_for("three to be enough", PATIENCE, || {
        is_silent(lab, "r1", "marks")
    })
}

/// Whether a router's doctor has nothing to say of one thing.
fn is_silent(lab: &Lab, router: &str, check: &str) -> Result<()> {
    let doctor = lab.node(router)?.doctor()?;
    let mut findings = doctor.findings.iter();
    ensure!(findings.all(|it| it.check != check), "{doctor:?}");
    Ok(())
}

/// A VPN client whose rule comes before all others.
fn rules(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    all_well(lab)?;
    let router = lab.node("r1")?.namespace().clone();
    router.ip("link add vpn0 type bridge")?;
    router.ip("link set vpn0 up")?;
    router.ip("rule add priority 301 lookup 99")?;
    is_silent(lab, "r1", "rules").context("a table without routes")?;
    router.ip("route add default dev vpn0 table 99")?;
    let words = ["rules", "rules", "rule 301 leads everything into table 99"];
    let found = wait_found(lab, "r1", Severity::Error, words)?;
    ensure!(
        found.advice.contains("a priority of 302 or more"),
        "{found:?}"
    );
    // What it advises is enough.
    router.ip("rule del priority 301")?;
    router.ip("rule add priority 302 lookup 99")?;
    is_silent(lab, "r1", "rules")?;
    wait_for("rules of ours before it", PATIENCE, || {
        let rules = router.run("ip", "-4 rule show")?;
        let mut before = rules.lines().take_while(|line| !line.starts_with("302:"));
        ensure!(before.any(|line| line.contains("lookup 5525")), "{rules}");
        Ok(())
    })
}

/// A flash that somebody else fills.
fn flash(lab: &mut Lab) -> Result<()> {
    let state = lab.node("r1")?.files().state();
    fs::create_dir_all(&state)?;
    let options = Some("size=512k,mode=700");
    let kind = Some("tmpfs");
    mount(kind, &state, kind, MsFlags::empty(), options)?;
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    all_well(lab)?;
    let file = state.join("somebody-else-s");
    fs::write(&file, vec![1; 400 << 10])?;
    let subject = state.display().to_string();
    let words = [
        "flash",
        &subject,
        "KiB are free: receipts will soon not be saved",
    ];
    wait_found(lab, "r1", Severity::Warning, words)?;
    fs::remove_file(&file)?;
    all_well(lab)?;
    lab.node_mut("r1")?.take_daemon()?.terminate()?;
    umount2(&state, MntFlags::MNT_DETACH)?;
    Ok(())
}

/// Nobody answers: the doctor looks at what is in the way of a start.
fn stopped(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    let running = stopped_doctor(lab)?;
    ensure!(
        running.findings.iter().all(|it| it.check != "daemon"),
        "{running:?}"
    );
    lab.node_mut("r1")?.take_daemon()?.terminate()?;

    let doctor = stopped_doctor(lab)?;
    let checks: Vec<&str> = doctor.findings.iter().map(|it| it.check.as_str()).collect();
    ensure!(checks == ["daemon"], "{doctor:?}");
    ensure!(
        doctor.findings.iter().all(|it| !it.advice.is_empty()),
        "{doctor:?}"
    );

    let files = lab.node("r1")?.files();
    let key = files.directory().join("identity.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
    let doctor = stopped_doctor(lab)?;
    let found = doctor.findings.iter().find(|it| it.check == "key_mode");
    found.with_context(|| format!("{doctor:?}"))?;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;

    let config = files.config();
    let good = fs::read_to_string(&config)?;
    fs::write(&config, format!("{good}colour: red\n"))?;
    let doctor = stopped_doctor(lab)?;
    let found = doctor.findings.iter().find(|it| it.check == "config");
    let found = found.with_context(|| format!("{doctor:?}"))?;
    ensure!(found.problem.contains("colour"), "{found:?}");
    fs::write(&config, good)?;
    Ok(())
}

/// What `meshctl doctor` says of r1, and that its exit status tells whether meshd runs.
fn stopped_doctor(lab: &Lab) -> Result<Doctor> {
    let files = lab.node("r1")?.files();
    let (socket, config) = (files.socket(), files.config());
    let arguments = format!(
        "--json --socket {} doctor --config {}",
        socket.display(),
        config.display()
    );
    let namespace = lab.node("r1")?.namespace();
    let finished = namespace.within(|| daemon::run("meshctl", &arguments))?;
    let doctor: Doctor = serde_json::from_str(&finished.out)?;
    let is_down = doctor.findings.iter().any(|it| it.check == "daemon");
    ensure!((finished.code == 3) == is_down, "{finished:?}");
    Ok(doctor)
}

/// The name of the only gateway that may be used is wrong, or it went away.
fn pinned(lab: &mut Lab) -> Result<()> {
    lab.add_uplink("r2")?;
    lab.add_phone("r1")?;
    lab.node_mut("r1")?.config.gateways = Some("{pin: r22}".to_owned());
    lab.start_all()?;
    let words = [
        "pinned",
        "gateways",
        "only r22 may be used (`gateways.pin`)",
    ];
    wait_found(lab, "r1", Severity::Error, words)?;
    wait_for("r2 to be known", PATIENCE, || {
        lab.node("r1")?.ctl_text("gateways select r2")
    })?;
    all_well(lab)?;
    lab.internet()?.unplug(lab.node("r2")?.line()?)?;
    let words = [
        "pinned",
        "gateways",
        "only r2 may be used (selected at run time)",
    ];
    wait_found(lab, "r1", Severity::Error, words).map(drop)
}

/// A key that somebody has copied carelessly.
fn key_mode(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    let key = lab.node("r1")?.files().directory().join("identity.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
    let subject = key.display().to_string();
    let words = ["key_mode", &subject, "its mode 0644 lets others read"];
    ensure!(wait_found(lab, "r1", Severity::Error, words)?.fixable);
    ensure!(fix(lab, "r1")? == [subject]);
    let mode = fs::metadata(&key)?.permissions().mode() & 0o7777;
    ensure!(mode == 0o600, "{mode:o}");
    all_well(lab)
}

/// A router without a battery, which begins in the past when it had no power.
fn clock(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    all_well(lab)?;
    // To set it would concern all of this machine; a file of tomorrow looks the same.
    let file = lab.node("r1")?.files().state().join("later");
    let later = SystemTime::now() + Duration::from_hours(10 * 24 + 1);
    File::create(&file)?.set_modified(later)?;
    let words = ["clock", "clock", "at least 10 days slow"];
    wait_found(lab, "r1", Severity::Warning, words)?;
    fs::remove_file(&file)?;
    all_well(lab)
}

/// The key of r1 was copied to r2, with its whole memory card.
fn double(lab: &mut Lab) -> Result<()> {
    lab.start("r1")?;
    let directory = |router: &str| Ok::<_, Error>(lab.node(router)?.files().directory().to_owned());
    let [from, to] = [directory("r1")?, directory("r2")?].map(|it| it.join("identity.key"));
    fs::copy(&from, &to)?;
    lab.start("r2")?;
    let words = [
        "identity",
        "identity",
        "another node uses the key of this one",
    ];
    for router in ["r1", "r2"] {
        wait_found(lab, router, Severity::Error, words)?;
    }
    Ok(())
}

/// r2 shouts, and hears little.
fn asymmetric(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    lab.air().hear("r1", "r2", Loss::percent(60))?;
    let here = [
        "asymmetric",
        "mesh0",
        "is heard well, and hears this node badly",
    ];
    wait_found(lab, "r1", Severity::Warning, here)?;
    let there = [
        "asymmetric",
        "mesh0",
        "hears this node well, and is heard badly",
    ];
    wait_found(lab, "r2", Severity::Warning, there)?;
    lab.air().hear("r1", "r2", Loss::NONE)?;
    all_well(lab)
}
