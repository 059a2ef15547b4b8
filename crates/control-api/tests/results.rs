//! Every result as it is on the wire: `tests/golden/*.json` are the contract, written anew with
//! `UPDATE_GOLDEN=1 cargo test -p control-api`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Debug;
use std::path::Path;

use control_api::{
    Account, AccountDetails, Accounts, AttoSmt, CarriedFile, CarriedFiles, Counters, Doctor,
    Encryption, Exit, Family, Finding, Gateway, GatewayChoice, Gateways, HexBytes, Hold, Imported,
    Interface, InterfaceRole, Interfaces, Internet, Kept, KeptAs, Mended, Neighbor, Neighbors,
    NextHop, NodeAccounts, NodeId, NodeRef, Originator, OriginatorId, Originators, PartyRef,
    Probed, Proof, Quality, Radio, ReceiptEntry, ReceiptHash, ReceiptsChunk, Refusal,
    RefusalReason, Reloaded, Role, Route, RouteTo, Routes, SCHEMA, Setting, Settings, Severity,
    Standing, Station, Stats, StatsHour, Status, TunnelKind,
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

fn party(byte: u8, name: &str) -> PartyRef {
    PartyRef {
        node_id: node_id(byte),
        name: Some(name.into()),
    }
}

/// One that has earned from a cheat.
fn earning() -> Account {
    Account {
        node_id: node_id(0x22),
        name: Some("router-2".into()),
        role: Role::Provider,
        gateway: party(0x55, "router-5"),
        epoch: 3,
        seq: 41,
        bytes_up: 52_428_800,
        bytes_down: 1_073_741_824,
        service_s: 3600,
        earlier_bytes: 3_221_225_472,
        unsigned_bytes: 262_144,
        unpaid_atto: Some(AttoSmt::new(375_000_000_000_000)),
        disputed_bytes: 4_096,
        amount_atto: AttoSmt::new(1_611_000_000_000_000_000),
        earlier_amount_atto: AttoSmt::new(4_608_000_000_000_000_000),
        price_atto_per_mib: Some(AttoSmt::new(1_500_000_000_000_000)),
        last_receipt: Some(ReceiptHash::new([0xab; 28])),
        last_receipt_age_s: Some(200),
        last_refusal: None,
        credit_bytes: Some(8_388_608),
        standing: Standing::Cheat,
        held: true,
        exposure_bytes: 262_144,
        window_bytes: Some(0),
        equivocated: true,
    }
}

/// One with a neighbor of which little is known.
fn fresh() -> Account {
    Account {
        node_id: node_id(0x33),
        name: None,
        role: Role::Consumer,
        gateway: PartyRef {
            node_id: node_id(0x66),
            name: None,
        },
        epoch: 0,
        seq: 0,
        bytes_up: 0,
        bytes_down: 0,
        service_s: 0,
        earlier_bytes: 0,
        unsigned_bytes: 900,
        unpaid_atto: None,
        disputed_bytes: 0,
        amount_atto: AttoSmt::default(),
        earlier_amount_atto: AttoSmt::default(),
        price_atto_per_mib: None,
        last_receipt: None,
        last_receipt_age_s: None,
        last_refusal: None,
        credit_bytes: None,
        standing: Standing::Stranger,
        held: false,
        exposure_bytes: 0,
        window_bytes: None,
        equivocated: false,
    }
}

/// One that this node pays, slowly.
fn paying() -> Account {
    Account {
        node_id: node_id(0x44),
        name: Some("router-4".into()),
        role: Role::Consumer,
        gateway: party(0x44, "router-4"),
        epoch: 3,
        seq: 7,
        unsigned_bytes: 6_606_028,
        unpaid_atto: Some(AttoSmt::new(6_300_000_000_000)),
        disputed_bytes: 0,
        amount_atto: AttoSmt::new(1_074_000_000_000_000),
        earlier_amount_atto: AttoSmt::default(),
        earlier_bytes: 0,
        price_atto_per_mib: Some(AttoSmt::new(1_000_000_000_000)),
        last_receipt_age_s: None,
        last_refusal: Some(RefusalReason::Unconfirmed),
        standing: Standing::Known,
        exposure_bytes: 6_606_028,
        window_bytes: Some(6_291_456),
        equivocated: false,
        ..earning()
    }
}

#[test]
fn accounts() {
    let result = Accounts {
        schema: SCHEMA,
        accounts: vec![earning(), paying(), fresh()],
    };

    assert_golden("receipts-list.json", &result);
}

fn entry(seq: u64, bytes_down: u64, hash: u8) -> ReceiptEntry {
    ReceiptEntry {
        epoch: 3,
        seq,
        bytes_up: 52_428_800,
        bytes_down,
        service_s: 3600,
        amount_atto: AttoSmt::new(1_611_000_000_000_000_000),
        hash: ReceiptHash::new([hash; 28]),
    }
}

/// A neighbor of which everything bad is known.
#[test]
fn node_accounts_of_a_cheat() {
    let refusal = Refusal {
        age_s: 903,
        reason: RefusalReason::Unconfirmed,
        epoch: 3,
        seq: 41,
        asked_bytes_up: 52_428_800,
        asked_bytes_down: 1_073_745_920,
        asked_service_s: 3600,
        confirmed_bytes_up: 52_428_800,
        confirmed_bytes_down: 1_073_741_824,
        confirmed_service_s: 3611,
    };
    let details = AccountDetails {
        account: earning(),
        offer_age_s: Some(7300),
        receipts: vec![
            entry(41, 1_073_741_824, 0xab),
            entry(40, 1_071_644_672, 0xcd),
        ],
        refusal: Some(refusal),
    };
    let hold = Hold {
        role: Role::Provider,
        began_s: 100,
        ended_s: None,
        standing: Standing::Cheat,
        exposure_bytes: 0,
        window_bytes: 0,
    };
    let proof = Proof {
        first: entry(40, 1_071_644_672, 0xcd),
        second: entry(40, 1_069_547_520, 0xee),
    };
    let result = NodeAccounts {
        schema: SCHEMA,
        node_id: node_id(0x22),
        originator_id: originator_id(0x22),
        name: Some("router-2".into()),
        accounts: vec![details],
        holds: vec![hold],
        proofs: vec![proof],
    };

    assert_golden("receipts-show-cheat.json", &result);
}

/// One account in each role, and both were held.
#[test]
fn node_accounts_of_both_roles() {
    let provided = AccountDetails {
        account: Account {
            role: Role::Provider,
            standing: Standing::Stranger,
            disputed_bytes: 0,
            ..fresh()
        },
        offer_age_s: None,
        receipts: vec![],
        refusal: None,
    };
    let consumed = AccountDetails {
        account: Account {
            node_id: node_id(0x33),
            name: None,
            held: false,
            ..paying()
        },
        offer_age_s: None,
        receipts: vec![entry(7, 1_073_741_824, 0xab)],
        refusal: Some(Refusal {
            age_s: 12,
            reason: RefusalReason::Price,
            epoch: 3,
            seq: 8,
            asked_bytes_up: 52_428_800,
            asked_bytes_down: 1_073_745_920,
            asked_service_s: 3600,
            confirmed_bytes_up: 52_428_800,
            confirmed_bytes_down: 1_073_741_824,
            confirmed_service_s: 3600,
        }),
    };
    let hold = |role, standing, ended_s| Hold {
        role,
        began_s: 4000,
        ended_s,
        standing,
        exposure_bytes: 1_048_700,
        window_bytes: 1_048_576,
    };
    let result = NodeAccounts {
        schema: SCHEMA,
        node_id: node_id(0x33),
        originator_id: originator_id(0x33),
        name: None,
        accounts: vec![provided, consumed],
        holds: vec![
            hold(Role::Provider, Standing::Stranger, None),
            hold(Role::Consumer, Standing::Known, Some(3700)),
        ],
        proofs: vec![],
    };

    assert_golden("receipts-show-both.json", &result);
}

/// A week with days and nights, in which nothing was paid.
#[test]
fn stats() {
    let hour = |hours_ago: u32| {
        let by_day = u64::from(hours_ago % 24).abs_diff(12);
        StatsHour {
            hours_ago,
            carried_bytes: by_day * 10_485_760,
            consumed_bytes: u64::from(hours_ago == 30) * 123_456_789,
            earned_atto: AttoSmt::new(u128::from(by_day) * 10_000_000_000_000_000),
            paid_atto: AttoSmt::default(),
        }
    };
    let result = Stats {
        schema: SCHEMA,
        hours: (0..168).map(hour).collect(),
    };

    assert_golden("receipts-stats.json", &result);
}

#[test]
fn carried_files() {
    let file = |owner, bytes| CarriedFile { owner, bytes };
    let nameless = PartyRef {
        name: None,
        ..party(0x66, "")
    };
    let result = CarriedFiles {
        schema: SCHEMA,
        files: vec![file(party(0x22, "router-2"), 1612), file(nameless, 640)],
    };

    assert_golden("receipts-carried.json", &result);
}

#[test]
fn imported() {
    let result = Imported {
        schema: SCHEMA,
        received_bytes: 1612,
        kept: Some(Kept {
            owner: node_id(0x22),
            receipts: 3,
            outcome: KeptAs::Newer,
        }),
    };

    assert_golden("receipts-import.json", &result);
}

#[test]
fn receipts_chunk() {
    let result = ReceiptsChunk {
        schema: SCHEMA,
        generation: 2,
        offset: 65_536,
        total_bytes: 65_539,
        data: HexBytes::from(vec![0x00, 0x7f, 0xff]),
    };

    assert_golden("receipts-export.json", &result);
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
