//! Every result as it is on the wire: `tests/golden/*.json` are the contract, written anew with
//! `UPDATE_GOLDEN=1 cargo test -p control-api`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod page;
mod receipts;

use std::fmt::Debug;
use std::path::Path;

use control_api::{
    Arranged, AttoSmt, Counters, Doctor, Encryption, Exit, Family, Finding, Gateway, GatewayChoice,
    Gateways, Interface, InterfaceRole, Interfaces, Internet, MapLink, MapNode, Mended, MeshMap,
    Neighbor, Neighbors, NextHop, NodeId, NodeRef, Originator, OriginatorId, Originators, Position,
    Probed, Quality, Radio, Reloaded, Route, RouteTo, Routes, SCHEMA, Setting, Settings, Severity,
    Station, Status, TunnelKind,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The committed file says what is written, and reads back as what was written.
fn assert_golden<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, result: &T) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let written = serde_json::to_string_pretty(result).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &written).unwrap();
    }

    let golden = std::fs::read_to_string(&path).unwrap();

    assert_eq!(written, golden, "{name}");
    assert_eq!(
        &serde_json::from_str::<T>(&golden).unwrap(),
        result,
        "{name}"
    );
    assert_reads_with_a_field_more(name, &golden, result);
}

/// A newer daemon may say more than this program knows.
fn assert_reads_with_a_field_more<T: DeserializeOwned + PartialEq + Debug>(
    name: &str,
    golden: &str,
    result: &T,
) {
    let mut value: Value = serde_json::from_str(golden).unwrap();
    value
        .as_object_mut()
        .unwrap()
        .insert("added_later".into(), Value::Bool(true));

    assert_eq!(
        &serde_json::from_value::<T>(value).unwrap(),
        result,
        "{name}"
    );
}

const fn originator_id(byte: u8) -> OriginatorId {
    OriginatorId::new([byte; 10])
}

const fn node_id(byte: u8) -> NodeId {
    NodeId::new([byte; 32])
}

fn node(byte: u8, name: &str) -> NodeRef {
    NodeRef {
        originator_id: originator_id(byte),
        name: Some(name.into()),
    }
}

fn status(internet: Internet) -> Status {
    Status {
        schema: SCHEMA,
        version: "0.1.0".into(),
        network: "village".into(),
        name: "router-1".into(),
        node_id: node_id(0x11),
        originator_id: originator_id(0x11),
        mesh_ipv6: "fd3c:9a12:77e0:1111:1111:1111:1111:1111".parse().unwrap(),
        mesh_ipv4: "100.64.17.17".parse().unwrap(),
        uptime_s: 7530,
        internet,
        neighbors: 2,
        originators: 5,
        gateways: 2,
        counters: Counters {
            rx_packets: 120_345,
            rx_bytes: 14_680_064,
            tx_packets: 60_100,
            tx_bytes: 7_340_032,
            drops: [
                ("bad_mac", 3),
                ("foreign_network", 12),
                ("malformed", 7),
                ("truncated", 1),
                ("unknown_version", 0),
            ]
            .map(|(reason, count)| (reason.to_owned(), count))
            .into(),
        },
        warnings: vec!["net.ipv4.ip_forward is 0 and may not be set".into()],
    }
}

#[test]
fn status_online_through_a_gateway() {
    let internet = Internet {
        ipv6_via: Some(node(0x77, "router-7")),
        ..Internet::through_gateway(node(0x55, "router-5"), 4, node(0x22, "router-2"), 200)
    };

    assert_golden("status-gateway.json", &status(internet));
}

#[test]
fn status_online_through_the_own_uplink() {
    let internet = Internet::through_own_uplink("eth0".into(), 86_400);

    assert_golden("status-uplink.json", &status(internet));
}

#[test]
fn status_offline() {
    let internet = Internet::offline(125, Some(125), Some(node(0x55, "router-5")));

    assert_golden("status-offline.json", &status(internet));
}

fn finding(check: &str, severity: Severity, subject: &str, problem: &str, advice: &str) -> Finding {
    Finding {
        check: check.into(),
        severity,
        subject: subject.into(),
        problem: problem.into(),
        advice: advice.into(),
        fixable: false,
    }
}

fn warning_and_note() -> Vec<Finding> {
    vec![
        finding(
            "radio_power",
            Severity::Warning,
            "phy0",
            "it sends with 3 dBm, the limit on channel 36 is 20 dBm",
            "iw phy phy0 set txpower auto",
        ),
        finding(
            "country",
            Severity::Note,
            "regulatory domain",
            "no country is set, so only what all countries allow is used",
            "iw reg set DE, with the code of the country the node is in",
        ),
    ]
}

#[test]
fn doctor_finds_nothing_bad() {
    let result = Doctor {
        schema: SCHEMA,
        findings: warning_and_note(),
    };

    assert!(!result.has_errors());
    assert_eq!(result.exit(), Exit::Degraded);
    assert_golden("doctor-warnings.json", &result);
}

#[test]
fn a_node_that_is_well_ends_with_0_whatever_is_worth_knowing() {
    let [_, note] = warning_and_note().try_into().unwrap();
    let findings = vec![note];
    let result = Doctor {
        schema: SCHEMA,
        findings,
    };
    assert_eq!(result.exit(), Exit::Ok);
}

#[test]
fn doctor_finds_errors() {
    let error = finding(
        "interface",
        Severity::Error,
        "mesh0",
        "the radio switch of phy0 is off",
        "rfkill unblock wifi",
    );
    let result = Doctor {
        schema: SCHEMA,
        findings: [vec![error], warning_and_note()].concat(),
    };

    assert!(result.has_errors());
    assert_eq!(result.exit(), Exit::Failure);
    assert!(result.findings.is_sorted_by_key(|finding| finding.severity));
    assert_golden("doctor-errors.json", &result);
}

#[test]
fn doctor_tells_what_it_mended() {
    let mut sysctl = finding(
        "sysctl",
        Severity::Error,
        "net.ipv4.ip_forward",
        "somebody has set it to 0, and routing needs 1",
        "meshctl doctor --fix",
    );
    sysctl.fixable = true;
    let result = Mended {
        schema: SCHEMA,
        mended: vec![sysctl],
        findings: warning_and_note(),
    };

    assert_golden("doctor-mended.json", &result);
}

/// An interface of the mesh that the kernel does not have.
fn missing(name: &str) -> Interface {
    Interface {
        name: name.into(),
        role: InterfaceRole::Mesh,
        present: false,
        up: false,
        in_use: false,
        mtu: None,
        mac: None,
        speed_mbps: None,
        radio: None,
        problem: Some("missing".into()),
    }
}

/// An interface that does its part.
fn in_use(name: &str, role: InterfaceRole, mac: &str) -> Interface {
    Interface {
        role,
        present: true,
        up: true,
        in_use: true,
        mtu: Some(1500),
        mac: Some(mac.into()),
        problem: None,
        ..missing(name)
    }
}

/// A station of which nothing is known but that it is there.
fn station(mac: &str) -> Station {
    Station {
        mac: mac.into(),
        name: None,
        originator_id: None,
        plink: None,
        signal_dbm: None,
        tx_bitrate_kbps: None,
        rx_bitrate_kbps: None,
        expected_throughput_kbps: None,
        inactive_ms: None,
        tx_failed: None,
        authorized: false,
    }
}

fn stations() -> Vec<Station> {
    let peer = Station {
        name: Some("router-2".into()),
        originator_id: Some(OriginatorId::new([0x22; 10])),
        plink: Some("ESTAB".into()),
        signal_dbm: Some(-58),
        tx_bitrate_kbps: Some(300_000),
        rx_bitrate_kbps: Some(270_000),
        expected_throughput_kbps: Some(58_593),
        inactive_ms: Some(40),
        tx_failed: Some(3),
        authorized: true,
        ..station("02:00:00:00:22:00")
    };
    let stranger = Station {
        plink: Some("LISTEN".into()),
        signal_dbm: Some(-81),
        inactive_ms: Some(12_300),
        tx_failed: Some(0),
        ..station("02:00:00:00:33:00")
    };
    vec![peer, stranger]
}

fn radio(phy: &str, mode: &str) -> Radio {
    Radio {
        phy: phy.into(),
        driver: Some("ath9k".into()),
        mode: mode.into(),
        id: Some("village".into()),
        frequency_mhz: Some(5180),
        channel: Some(36),
        width: Some("40 MHz".into()),
        tx_power_mbm: Some(2000),
        encryption: Encryption::Sae,
        stations: vec![],
    }
}

/// One with peers, one whose driver says little, one that has joined nothing.
fn radios() -> [Interface; 3] {
    let good = Interface {
        radio: Some(Radio {
            stations: stations(),
            ..radio("phy0", "802.11s")
        }),
        ..in_use("mesh0", InterfaceRole::Mesh, "02:00:00:00:11:00")
    };
    let sparing = Interface {
        radio: Some(Radio {
            driver: None,
            frequency_mhz: Some(2412),
            channel: Some(1),
            width: Some("20 MHz (no HT)".into()),
            tx_power_mbm: Some(1950),
            encryption: Encryption::Open,
            stations: vec![Station {
                authorized: true,
                ..station("02:00:00:00:44:00")
            }],
            ..radio("phy1", "IBSS")
        }),
        ..in_use("mesh1", InterfaceRole::Mesh, "02:00:00:00:11:01")
    };
    let alone = Interface {
        in_use: false,
        radio: Some(Radio {
            id: None,
            frequency_mhz: None,
            channel: None,
            width: None,
            tx_power_mbm: None,
            encryption: Encryption::Unknown,
            ..radio("phy2", "802.11s")
        }),
        problem: Some("it has joined no mesh".into()),
        ..in_use("mesh2", InterfaceRole::Mesh, "02:00:00:00:11:02")
    };
    [good, sparing, alone]
}

#[test]
fn interfaces() {
    let down = Interface {
        up: false,
        in_use: false,
        problem: Some("it is switched off".into()),
        ..in_use("eth1", InterfaceRole::Mesh, "02:00:00:00:11:04")
    };
    let lan = in_use("br-lan", InterfaceRole::Lan, "02:00:00:00:11:05");
    let uplink = Interface {
        speed_mbps: Some(1000),
        ..in_use("eth0", InterfaceRole::Uplink, "02:00:00:00:11:06")
    };

    let others = vec![missing("mesh3"), down, lan, uplink];
    let result = Interfaces {
        schema: SCHEMA,
        interfaces: [radios().to_vec(), others].concat(),
    };

    assert_golden("interfaces.json", &result);
}

#[test]
fn a_peer_is_authorized_and_its_link_stands() {
    let peer = |plink: Option<&str>, authorized| {
        Station {
            plink: plink.map(Into::into),
            authorized,
            ..station("02:00:00:00:22:00")
        }
        .is_peer()
    };

    assert!(peer(Some("ESTAB"), true));
    assert!(peer(None, true));
    assert!(!peer(Some("LISTEN"), true));
    assert!(!peer(Some("ESTAB"), false));
    assert!(!peer(None, false));
}

#[test]
fn neighbors() {
    let known = Neighbor {
        originator_id: originator_id(0x22),
        node_id: Some(node_id(0x22)),
        name: Some("router-2".into()),
        interface: "mesh0".into(),
        link_local: "fe80::22".parse().unwrap(),
        rx_quality: Quality::new(0.967),
        tx_quality: Quality::new(1.0),
        signal_dbm: Some(-61),
        tq: 246,
        cost_us: Some(1240),
        last_heard_ms: 120,
        up_since_s: Some(3725),
        bytes_up: 52_428_800,
        bytes_down: 1_073_741_824,
    };
    let stranger = Neighbor {
        originator_id: originator_id(0x33),
        node_id: None,
        name: None,
        link_local: "fe80::33".parse().unwrap(),
        rx_quality: Quality::new(0.2),
        tx_quality: Quality::new(0.0),
        signal_dbm: None,
        tq: 0,
        cost_us: None,
        last_heard_ms: 4100,
        up_since_s: None,
        bytes_up: 0,
        bytes_down: 0,
        ..known.clone()
    };

    let result = Neighbors {
        schema: SCHEMA,
        neighbors: vec![known, stranger],
    };

    assert_golden("neighbors.json", &result);
}

#[test]
fn originators() {
    let reachable = Originator {
        originator_id: originator_id(0x55),
        node_id: Some(node_id(0x55)),
        name: Some("router-5".into()),
        mesh_ipv6: "fd3c:9a12:77e0:5555:5555:5555:5555:5555".parse().unwrap(),
        mesh_ipv4: Some("100.64.85.85".parse().unwrap()),
        metric_us: Some(4960),
        tq: 198,
        hops: Some(4),
        next_hop: Some(node(0x22, "router-2")),
        interface: Some("mesh0".into()),
        seqno: u32::MAX,
        feasibility_distance_us: Some(4900),
        prefixes: vec!["10.1.2.0/24".parse().unwrap(), "fd12::/64".parse().unwrap()],
        gateway: true,
        last_heard_ms: 900,
    };
    let lost = Originator {
        originator_id: originator_id(0x66),
        node_id: None,
        name: None,
        mesh_ipv6: "fd3c:9a12:77e0:6666:6666:6666:6666:6666".parse().unwrap(),
        mesh_ipv4: None,
        metric_us: None,
        tq: 0,
        hops: None,
        next_hop: None,
        interface: None,
        seqno: 17,
        feasibility_distance_us: None,
        prefixes: vec![],
        gateway: false,
        last_heard_ms: 61_000,
    };

    let result = Originators {
        schema: SCHEMA,
        originators: vec![reachable, lost],
    };

    assert_golden("originators.json", &result);
}

#[test]
fn map() {
    let link = |digit, name: &str, quality| MapLink {
        to: node(digit, name),
        rx_quality: Quality::new(quality),
    };
    let with_a_place = MapNode {
        node: node(0x11, "router-1"),
        position: Some(Position {
            latitude_udeg: -1_286_389,
            longitude_udeg: 36_817_223,
        }),
        said_s: 0,
        links: vec![link(0x22, "router-2", 1.0)],
    };
    let without = MapNode {
        node: node(0x22, "router-2"),
        position: None,
        said_s: 3600,
        links: vec![link(0x11, "router-1", 0.967), link(0x55, "router-5", 0.5)],
    };
    let result = MeshMap {
        schema: SCHEMA,
        nodes: vec![with_a_place, without],
    };

    assert_golden("map.json", &result);
}

#[test]
fn routes() {
    let host = Route {
        table: 5525,
        prefix: "fd3c:9a12:77e0:5555:5555:5555:5555:5555/128"
            .parse()
            .unwrap(),
        owner: node(0x55, "router-5"),
        to: RouteTo::Neighbor {
            via: "fe80::22".parse().unwrap(),
            node: node(0x22, "router-2"),
        },
        interface: Some("mesh0".into()),
        metric_us: Some(4960),
    };
    let default = Route {
        table: 5526,
        prefix: "0.0.0.0/0".parse().unwrap(),
        to: RouteTo::Tunnel {
            remote: "fd3c:9a12:77e0:5555:5555:5555:5555:5555".parse().unwrap(),
            node: node(0x55, "router-5"),
            tunnel: TunnelKind::Wireguard,
        },
        interface: None,
        metric_us: None,
        ..host.clone()
    };

    let result = Routes {
        schema: SCHEMA,
        routes: vec![host, default],
    };

    assert_golden("routes.json", &result);
}

#[test]
fn gateways() {
    let selected = Gateway {
        originator_id: originator_id(0x55),
        node_id: node_id(0x55),
        name: "router-5".into(),
        selected: true,
        used_for: vec![Family::Ipv4],
        reason: "chosen for IPv4: lowest cost, 5.5 ms".into(),
        metric_us: 4960,
        cost_us: Some(5560),
        hops: Some(4),
        bandwidth_down_bps: Some(20_000_000),
        bandwidth_up_bps: Some(5_000_000),
        price_atto_per_mib: Some(AttoSmt::new(1_500_000_000_000_000)),
        families: vec![Family::Ipv4],
        tunnel: Some(TunnelKind::Wireguard),
        dns: vec!["9.9.9.9".parse().unwrap(), "2620:fe::fe".parse().unwrap()],
    };
    let for_ipv6 = Gateway {
        originator_id: originator_id(0x77),
        node_id: node_id(0x77),
        name: "router-7".into(),
        selected: true,
        used_for: vec![Family::Ipv6],
        reason: "chosen for IPv6: avoided, but nothing else is left".into(),
        metric_us: 2100,
        cost_us: Some(3300),
        hops: Some(2),
        bandwidth_down_bps: Some(10_000_000),
        bandwidth_up_bps: Some(2_000_000),
        price_atto_per_mib: Some(AttoSmt::default()),
        families: vec![Family::Ipv4, Family::Ipv6],
        tunnel: Some(TunnelKind::Vxlan),
        dns: vec![],
    };
    let other = Gateway {
        originator_id: originator_id(0x66),
        node_id: node_id(0x66),
        name: "router-6".into(),
        selected: false,
        used_for: vec![],
        reason: "unreachable".into(),
        metric_us: u32::MAX.into(),
        cost_us: None,
        hops: None,
        bandwidth_down_bps: None,
        bandwidth_up_bps: None,
        price_atto_per_mib: None,
        families: vec![Family::Ipv4],
        tunnel: None,
        dns: vec![],
    };

    let result = Gateways {
        schema: SCHEMA,
        choice: GatewayChoice::Auto,
        gateways: vec![selected, for_ipv6, other],
    };

    assert_golden("gateways.json", &result);
}

#[test]
fn reloaded() {
    let result = Reloaded {
        schema: SCHEMA,
        changed: vec!["sharing.fee".into()],
        needs_restart: vec!["network".into()],
    };

    assert_golden("reload.json", &result);
}

#[test]
fn probed() {
    let result = Probed {
        schema: SCHEMA,
        node: node(2, "router-2"),
        address: "fd12:3456:789a:202:202:202:202:202".parse().unwrap(),
        rtt_us: Some(2345),
        next_hop: Some(NextHop {
            node: node(3, "router-3"),
            rx_quality: Quality::new(0.98),
            tx_quality: Quality::new(0.9),
        }),
    };
    assert_golden("probed.json", &result);
}

#[test]
fn arranged() {
    let result = Arranged {
        schema: SCHEMA,
        node: node(2, "router-2"),
        address: "fd12:3456:789a:202:202:202:202:202".parse().unwrap(),
        port: 5525,
        own_address: "fd12:3456:789a:101:101:101:101:101".parse().unwrap(),
        token: Some(vec![0xab; 16].into()),
    };
    assert_golden("arranged.json", &result);
}

#[test]
fn settings() {
    let setting = |key: &str, value, is_set| Setting {
        key: key.into(),
        value,
        is_set,
    };
    let result = Settings {
        schema: SCHEMA,
        settings: vec![
            setting("network", json!("village"), true),
            setting("network_key", Value::Null, false),
            setting("mesh[0].interface", json!("mesh0"), true),
            setting("mesh[0].radio.frequency_mhz", json!(2412), true),
            setting("mesh[0].radio.key", json!(Setting::HIDDEN), true),
            setting("mesh[1].interface", json!("eth2"), true),
            setting("lan[0].prefixes", json!(["10.1.2.0/24"]), true),
            setting("uplink.bandwidth", json!({"wan": "20M/5M"}), true),
            setting("sharing.fee", json!("0"), false),
        ],
    };

    assert_golden("config-show.json", &result);
}
