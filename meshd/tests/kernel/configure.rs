//! Configuring: device, addresses, rules, sysctls, and what may be in the way.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use meshd::kernel::{KernelError, KernelEvent, KernelRequest, TableChange, Uplinks, Warning};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::Test;
use crate::lab::{Namespace, Port, base, eventually, masqueraded, node, routed, setup};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        (
            "configure_makes_device_addresses_rules_and_sysctls",
            from_nothing,
        ),
        ("configuring_again_changes_nothing", again),
        ("rules_follow_the_configuration_without_a_gap", rules),
        ("rules_come_before_those_of_a_vpn_client", before_vpn),
        ("the_device_is_replaced_only_if_it_must_be", device),
        ("a_foreign_device_of_our_name_is_left_alone", foreign_device),
        ("interfaces_that_come_later_are_taken_up", later),
        (
            "sysctls_that_cannot_be_written_are_named",
            read_only_sysctls,
        ),
        ("sysctls_are_written_only_if_wrong", sysctls),
        ("a_missing_nft_is_named", missing_nft),
        ("what_nft_refuses_once_is_tried_again", refusing_nft),
        ("damage_while_the_table_is_changed_is_told", meddling),
    ]
}

fn rule_lines(namespace: &Namespace, family: &str) -> Vec<String> {
    let text = namespace.run(&format!("ip {family} rule | grep 'proto 155' || true"));
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

fn from_nothing() {
    let (node, _other) = node();
    node.run("ip link set mesh0 down; ip link set mesh0 mtu 1600");
    let mut port = Port::start(&node, setup(1));
    let mut base = base(1);
    base.lan = vec![masqueraded("lan0")];
    base.uplinks = Uplinks::over("wan0");
    base.mesh_mtu = 1700;
    let warnings = port.configure(&base);

    let missing: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        missing,
        ["there is no interface lan0", "there is no interface wan0"]
    );
    let device = &node.json("ip -j -d link show meshd0")[0];
    assert_eq!(device["linkinfo"]["info_kind"], "vxlan");
    assert_eq!(device["linkinfo"]["info_data"]["external"], true);
    assert_eq!(device["linkinfo"]["info_data"]["port"], 5526);
    assert_eq!(device["linkinfo"]["info_data"]["learning"], false);
    assert_eq!(device["mtu"], 1530);
    assert_eq!(device["address"], "02:01:01:02:03:04");
    assert!(device["flags"].to_string().contains("\"UP\""), "{device}");
    let addresses = node.run("ip -o addr show dev meshd0");
    assert!(addresses.contains("inet 100.64.0.1/32"), "{addresses}");
    assert!(
        addresses.contains(&format!("inet6 {}/128", setup(1).mesh_ipv6())),
        "{addresses}"
    );
    let global: Vec<&str> = addresses
        .lines()
        .filter(|line| line.contains("global"))
        .collect();
    assert!(!global.concat().contains("tentative"), "{addresses}");
    for family in ["-4", "-6"] {
        let expected = [
            main_rule(family),
            "31050: from all iif wan0 [detached] lookup 5526 proto 155",
            "31100: from all lookup 5525 proto 155",
            "31150: from all fwmark 0xd000000/0xf000000 lookup 5543 proto 155",
            "31200: from all iif lan0 [detached] lookup 5526 proto 155",
            "31300: from all lookup 5527 proto 155",
            "32800: from all lookup 5526 proto 155",
        ];
        assert_eq!(rule_lines(&node, family), with_mesh(family, &expected));
    }
    assert!(
        node.json("ip -j link show mesh0")[0]["flags"]
            .to_string()
            .contains("\"UP\"")
    );
    let value = |key: &str| {
        node.run(&format!("cat /proc/sys/net/{key}"))
            .trim()
            .to_owned()
    };
    assert_eq!(value("ipv4/ip_forward"), "1");
    assert_eq!(value("ipv6/conf/all/forwarding"), "1");
    assert_eq!(value("ipv4/icmp_ratelimit"), "100");
    assert_eq!(value("ipv6/icmp/ratelimit"), "100");
}

/// Of IPv6, what is for the mesh is looked for there first, and takes no other way; but answers from the
/// uplink go into tunnels.
/// What leads to attached networks: nothing that is as wide as a part of a default route.
fn main_rule(family: &str) -> &'static str {
    match family {
        "-6" => "31010: from all lookup main suppress_prefixlength 4 proto 155",
        _ => "31010: from all lookup main suppress_prefixlength 3 proto 155",
    }
}

fn with_mesh(family: &str, rules: &[&str]) -> Vec<String> {
    let mesh = setup(1).mesh_prefix;
    let first = [
        format!(
            "31001: from all to {mesh} iif wan0 [detached] lookup 5526 suppress_prefixlength 0 \
             proto 155"
        ),
        format!("31002: from all to {mesh} lookup 5525 proto 155"),
        format!("31003: from all to {mesh} unreachable proto 155"),
    ];
    let first = first.into_iter().filter(|_| family == "-6");
    first.chain(rules.iter().map(|&it| it.to_owned())).collect()
}

fn again() {
    let (node, _other) = node();
    let mut base = base(1);
    base.lan = vec![
        masqueraded("lan0"),
        routed("lan1", &["10.1.0.0/16", "fd77::/64"]),
    ];
    base.uplinks = Uplinks::over("wan0");
    let mut port = Port::start(&node, setup(1));
    port.configure(&base);
    let (before, generation) = (node.snapshot(), port.counters().generation);
    port.configure(&base);
    assert_eq!(node.snapshot(), before);
    assert_eq!(port.counters().generation, generation);
}

fn rules() {
    let (node, _other) = node();
    let foreign = "ip rule add pref 31100 to 192.0.2.0/24 lookup 5525; \
                   ip -6 rule add pref 31500 iif lan0 lookup 77";
    node.run(foreign);
    let mut port = Port::start(&node, setup(1));
    let mut base = base(1);
    base.lan = vec![masqueraded("lan0"), masqueraded("lan1")];
    port.configure(&base);
    let log = tempfile::NamedTempFile::new().expect("a file");
    let path = log.path().display();
    let monitor = node.run(&format!("ip monitor rule > {path} 2>&1 & echo $!"));
    eventually("the monitor", || {
        node.run("ip rule add pref 9 lookup main; ip rule del pref 9");
        fs::read_to_string(log.path())
            .expect("the log")
            .contains("9:")
            .then_some(())
    });
    base.lan = vec![masqueraded("lan1"), masqueraded("lan2")];
    base.uplinks = Uplinks::over("wan0");
    port.configure(&base);
    for family in ["-4", "-6"] {
        let expected = [
            main_rule(family),
            "31050: from all iif wan0 [detached] lookup 5526 proto 155",
            "31100: from all lookup 5525 proto 155",
            "31150: from all fwmark 0xd000000/0xf000000 lookup 5543 proto 155",
            "31200: from all iif lan1 [detached] lookup 5526 proto 155",
            "31200: from all iif lan2 [detached] lookup 5526 proto 155",
            "31300: from all lookup 5527 proto 155",
            "32800: from all lookup 5526 proto 155",
        ];
        assert_eq!(rule_lines(&node, family), with_mesh(family, &expected));
    }
    assert!(
        node.run("ip rule")
            .contains("31100:\tfrom all to 192.0.2.0/24 lookup 5525")
    );
    assert!(
        node.run("ip -6 rule")
            .contains("31500:\tfrom all iif lan0 [detached] lookup 77")
    );
    let text = eventually("the last change", || {
        let text = fs::read_to_string(log.path()).expect("the log");
        (text.matches("Deleted 31200").count() == 2).then_some(text)
    });
    node.run(&format!("kill {}", monitor.trim()));
    for kept in ["31010:", "31100:", "lan1", "32800:"] {
        assert!(!text.contains(kept), "{kept} was touched: {text}");
    }
}

/// A client like wg-quick, whose rules get the priorities before ours.
fn before_vpn() {
    let (node, other) = node();
    for interface in ["wan0", "tun0"] {
        node.connect(interface, &other, interface);
    }
    node.run(
        "ip addr add 192.0.2.1/24 dev wan0; ip route add default via 192.0.2.2
         ip -6 route add default via fe80::1 dev wan0",
    );
    let mut port = Port::start(&node, setup(1));
    let mut base = base(1);
    base.uplinks = Uplinks::over("tun0");
    base.outside = ["tun0", "wan0"].map(str::to_owned).into();
    port.configure(&base);
    let ours = |family| rule_lines(&node, family);
    let before = ["-4", "-6"].map(ours);
    for family in ["-4", "-6"] {
        node.run(&format!(
            "ip {family} route add default dev tun0 table 51820
             ip {family} rule add not fwmark 51820 table 51820
             ip {family} rule add table main suppress_prefixlength 0"
        ));
        eventually("rules before those of the client", || {
            let all = node.run(&format!("ip {family} rule"));
            let (before, _) = all.split_once("lookup 51820")?;
            let earlier = before.matches("proto 155").count();
            // The last comes after the main table's.
            (earlier + 1 == ours(family).len()).then_some(())
        });
    }
    let way = |to: &str| node.run(&format!("ip route get {to} || true"));
    assert!(way("9.9.9.9").contains("dev tun0"), "{}", way("9.9.9.9"));
    let own = way("9.9.9.9 mark 51820");
    assert!(own.contains("dev wan0"), "the client's own: {own}");
    let nobody = format!("{}ff", setup(1).mesh_prefix.network());
    let to_nobody = way(&nobody);
    assert!(!to_nobody.contains("dev"), "in the mesh: {to_nobody}");
    base.uplinks = Uplinks {
        all: base.outside.clone(),
        ..Uplinks::over("wan0")
    };
    port.configure(&base);
    for to in ["9.9.9.9", "2620:fe::fe"] {
        assert!(way(to).contains("dev wan0"), "{}", way(to));
    }
    base.uplinks = Uplinks::over("tun0");
    port.configure(&base);
    for family in ["-4", "-6"] {
        node.run(&format!(
            "ip {family} rule del not fwmark 51820 table 51820
             ip {family} route del default table 51820"
        ));
    }
    eventually("rules where they were", || {
        (["-4", "-6"].map(ours) == before).then_some(())
    });
}

fn device() {
    let (node, _other) = node();
    // What another version might have left.
    node.run("ip link add meshd0 type vxlan external dstport 5526 nolearning");
    let old = node.ifindex("meshd0");
    let mut port = Port::start(&node, setup(1));
    port.configure(&base(1));
    let new = node.ifindex("meshd0");
    assert_ne!(old, new, "UDP without checksums would not be received");
    node.run(
        "ip link set meshd0 down address 02:00:00:00:00:99 mtu 1300; \
         ip addr add 192.0.2.7/24 dev meshd0",
    );
    node.run("ip link set mesh0 mtu 1450");
    port.configure(&base(1));
    assert_eq!(node.ifindex("meshd0"), new);
    let device = &node.json("ip -j addr show meshd0")[0];
    assert_eq!(device["address"], "02:01:01:02:03:04");
    eventually("the tunnel to fit", || {
        (node.json("ip -j link show meshd0")[0]["mtu"] == 1380).then_some(())
    });
    assert!(!device.to_string().contains("192.0.2.7"), "{device}");
}

fn foreign_device() {
    let (node, other) = node();
    node.connect("meshd0", &other, "x");
    let before = node.run("ip -o link show meshd0");
    let mut port = Port::start(&node, setup(1));
    let error = port.fail(KernelRequest::Configure(base(1)));
    assert!(
        matches!(error, KernelError::ForeignDevice { .. }),
        "{error}"
    );
    assert_eq!(node.run("ip -o link show meshd0"), before);
    let warnings = port.shut_down(false);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(node.run("ip -o link show meshd0"), before);
}

fn later() {
    let (node, other) = node();
    node.run("echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter");
    let mut port = Port::start(&node, setup(1));
    let mut base = base(1);
    base.mesh.insert("mesh1".to_owned());
    base.outside.insert("wan0".to_owned());
    let warnings = port.configure(&base);
    assert!(matches!(&warnings[..], [Warning::NoInterface(name)] if name == "mesh1"));
    node.run("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6");
    node.run("ip link add mesh1 mtu 1400 type veth peer name x");
    let value = |key: &str| {
        node.run(&format!("cat /proc/sys/net/{key}"))
            .trim()
            .to_owned()
    };
    eventually("sysctls of the new interface", || {
        let is_loose = value("ipv4/conf/mesh1/rp_filter") == "2";
        (is_loose && value("ipv6/conf/mesh1/disable_ipv6") == "0").then_some(())
    });
    node.run("ip link add wan0 type veth peer name y");
    eventually("what leads out to listen for routers", || {
        (value("ipv6/conf/wan0/accept_ra") == "2").then_some(())
    });
    eventually("the tunnel to fit", || {
        (node.json("ip -j link show meshd0")[0]["mtu"] == 1330).then_some(())
    });
    eventually("the interface to be switched on", || {
        node.run("ip link show mesh1").contains(",UP").then_some(())
    });
    drop(other);
}

fn sysctls() {
    let (node, other) = node();
    node.connect("wan0", &other, "wan0");
    node.connect("wan1", &other, "wan1");
    let value = |key: &str| {
        node.run(&format!("cat /proc/sys/net/{key}"))
            .trim()
            .to_owned()
    };
    let mut base = base(1);
    base.uplinks = Uplinks::over("wan0");
    // One whose turn has not come: it would never be found to work without them.
    base.outside.insert("wan1".to_owned());
    node.run(
        "cd /proc/sys/net; echo 1 > ipv4/conf/all/rp_filter; echo 1 > ipv6/conf/wan0/accept_ra; \
         echo 1 > ipv6/conf/wan1/accept_ra; echo 1 > ipv6/conf/mesh0/disable_ipv6",
    );
    let mut port = Port::start(&node, setup(1));
    let warnings = port.configure(&base);
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(value("ipv4/conf/all/rp_filter"), "1", "not ours to change");
    for interface in ["mesh0", "meshd0", "wan0", "wan1"] {
        assert_eq!(value(&format!("ipv4/conf/{interface}/rp_filter")), "2");
    }
    for uplink in ["wan0", "wan1"] {
        assert_eq!(value(&format!("ipv6/conf/{uplink}/accept_ra")), "2");
    }
    assert_eq!(value("ipv6/conf/mesh0/disable_ipv6"), "0");

    node.run("cd /proc/sys/net; echo 0 > ipv6/conf/wan0/accept_ra; echo 0 > ipv4/conf/wan0/rp_filter; echo 0 > ipv4/conf/all/rp_filter");
    port.configure(&base);
    assert_eq!(
        value("ipv6/conf/wan0/accept_ra"),
        "0",
        "the operator's decision"
    );
    assert_eq!(
        value("ipv4/conf/wan0/rp_filter"),
        "0",
        "there is nothing to loosen"
    );
}

fn read_only_sysctls() {
    let (node, _other) = node();
    node.run("echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter");
    // The port runs on this thread, which alone sees /proc/sys like this.
    let mut port = Port::start_with(&node, setup(1), || {
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        let path = Some("/proc/sys");
        mount(
            path,
            "/proc/sys",
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .expect("a mount");
        let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(path, "/proc/sys", None::<&str>, read_only, None::<&str>).expect("read-only");
    });
    let warnings = port.configure(&base(1));
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let expected = [
        "sysctl net.ipv4.ip_forward is 0 and must be 1, but it can't be written: Read-only",
        "sysctl net.ipv6.conf.all.forwarding is 0 and must be 1, but it can't be written: Read-only",
        "sysctl net.ipv4.conf.mesh0.rp_filter is 0 and must be 2, but it can't be written: Read-only",
        "sysctl net.ipv4.conf.meshd0.rp_filter is 0 and must be 2, but it can't be written: Read-only",
    ];
    assert_eq!(texts.len(), expected.len(), "{texts:#?}");
    for (text, expected) in texts.iter().zip(expected) {
        assert!(text.starts_with(expected), "{text}");
    }
}

fn missing_nft() {
    let (node, _other) = node();
    let before = node.snapshot();
    let mut port = Port::start(
        &node,
        meshd::kernel::Setup {
            nft: "/nonexistent/nft".into(),
            ..setup(1)
        },
    );
    let error = port.fail(KernelRequest::Configure(base(1)));
    assert!(matches!(error, KernelError::NftMissing(_)), "{error}");
    let text = "can't find the program /nonexistent/nft: install nftables";
    assert_eq!(error.to_string(), text);
    assert_eq!(
        node.snapshot(),
        before,
        "nothing was changed before it failed"
    );
}

/// A network that is attached to the uplink while `nft` does not work.
fn refusing_nft() {
    let (node, other) = node();
    node.connect("wan0", &other, "wan0");
    let directory = tempfile::tempdir().expect("a directory");
    let (program, fault) = (directory.path().join("nft"), directory.path().join("fault"));
    // A fault that is there grows with each try.
    let script = format!(
        "#!/bin/sh\nif [ -e {0} ]; then echo tried >> {0}; exit 1; fi\nexec nft \"$@\"\n",
        fault.display()
    );
    fs::write(&program, script).expect("a script");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("a program");
    let mut port = Port::start(
        &node,
        meshd::kernel::Setup {
            nft: program,
            ..setup(1)
        },
    );
    let mut base = base(1);
    base.uplinks = Uplinks::over("wan0");
    port.configure(&base);
    let hidden = |network: &str| {
        let chain = node.run("nft list chain inet meshd to_internet");
        chain.contains(network)
    };
    fs::write(&fault, "").expect("a file");
    node.run("ip addr add 203.0.113.1/24 dev wan0");
    eventually("the first try", || {
        let tries = fs::read_to_string(&fault).expect("the file");
        (!tries.is_empty()).then_some(())
    });
    assert!(!hidden("203.0.113.0/24"), "nft works");
    fs::remove_file(&fault).expect("the file");
    eventually("the network to be hidden", || {
        hidden("203.0.113.0/24").then_some(())
    });

    // So is something else in the table.
    let gateway = setup(2).mesh_ipv6();
    fs::write(&fault, "").expect("a file");
    let change = TableChange::Gateways(BTreeSet::from([gateway]));
    port.request(KernelRequest::Table(change));
    port.wait("the failure", |event| {
        matches!(event, KernelEvent::TableFailed(_)).then_some(())
    });
    fs::remove_file(&fault).expect("the file");
    eventually("the gateway to be counted", || {
        let set = node.run("nft list set inet meshd gateways");
        set.contains(&gateway.to_string()).then_some(())
    });
}

/// Others remove rules of ours at the very moment that we change the table.
fn meddling() {
    let (node, _other) = node();
    let directory = tempfile::tempdir().expect("a directory");
    let (program, fault) = (directory.path().join("nft"), directory.path().join("fault"));
    let script = format!(
        "#!/bin/sh\nif [ -e {0} ]; then rm {0}; nft flush table inet meshd; fi\nexec nft \"$@\"\n",
        fault.display()
    );
    fs::write(&program, script).expect("a script");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("a program");
    let mut port = Port::start(
        &node,
        meshd::kernel::Setup {
            nft: program,
            ..setup(1)
        },
    );
    port.configure(&base(1));
    let told = |event: &KernelEvent| matches!(event, KernelEvent::TableDamaged);
    let gateways = |id: u8| BTreeSet::from([setup(id).mesh_ipv6()]);
    port.set_gateways(gateways(2));
    port.configure(&base(1));
    assert!(!port.saw(told), "of what we do ourselves");

    fs::write(&fault, "").expect("a file");
    port.set_gateways(gateways(3));
    port.wait("word of the damage", |event| told(event).then_some(()));
    eventually("the rules to be back", || {
        let rules = node.run("nft list table inet meshd");
        rules.contains("goto from_mesh").then_some(())
    });

    fs::write(&fault, "").expect("a file");
    port.configure(&base(1));
    port.wait("word of more damage", |event| told(event).then_some(()));
}
