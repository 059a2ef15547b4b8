//! `meshctl monitor`: every kind of event in every form, filters, and daemons that end.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use common::{Daemon, Reaction, assert_golden};
use control_api::{
    AttoSmt, Change, Event, Family, LinkClass, NodeId, NodeRef, OriginatorId, PartyRef, Role,
    SCHEMA, TunnelKind,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

fn node(byte: u8, name: &str) -> NodeRef {
    NodeRef {
        originator_id: OriginatorId::new([byte; 10]),
        name: Some(name.into()),
    }
}

/// One of each kind, and what else is said in another way.
fn changes() -> Vec<Change> {
    let (mill, school) = (node(0x22, "mill"), node(0x33, "school\u{1b}[31m"));
    let mesh0 = || "mesh0".to_owned();
    vec![
        Change::NeighborUp {
            node: mill.clone(),
            interface: mesh0(),
        },
        Change::NeighborDown {
            node: NodeRef {
                name: None,
                ..mill.clone()
            },
            interface: mesh0(),
        },
        Change::Link {
            node: mill.clone(),
            interface: mesh0(),
            from: LinkClass::Good,
            to: LinkClass::Fair,
            tq: 120,
        },
        Change::Route {
            gateway: school.clone(),
            next_hop: Some(mill.clone()),
            hops: Some(2),
        },
        Change::Route {
            gateway: school.clone(),
            next_hop: None,
            hops: None,
        },
        Change::Gateway {
            families: vec![Family::Ipv4, Family::Ipv6],
            from: Some(mill.clone()),
            to: Some(school.clone()),
            reason: Some("chosen: lowest cost, 1.9 ms".into()),
        },
        Change::Gateway {
            families: vec![Family::Ipv6],
            from: Some(school.clone()),
            to: None,
            reason: None,
        },
        Change::Tunnel {
            gateway: school.clone(),
            tunnel: Some(TunnelKind::Wireguard),
        },
        Change::Internet {
            online: true,
            via: Some(school),
            own_uplink: None,
        },
        Change::Internet {
            online: true,
            via: None,
            own_uplink: Some("wan".into()),
        },
        Change::Internet {
            online: false,
            via: None,
            own_uplink: None,
        },
        Change::Uplink {
            interface: "wan".into(),
            family: Family::Ipv4,
            works: false,
            reason: Some("no resolver answers".into()),
        },
        Change::Uplink {
            interface: "wan".into(),
            family: Family::Ipv6,
            works: true,
            reason: None,
        },
        Change::TableDamaged,
        Change::TableRestored,
        Change::Receipt {
            role: Role::Provider,
            neighbor: PartyRef {
                node_id: NodeId::new([0x44; 32]),
                name: Some("mill".into()),
            },
            epoch: 3,
            number: 41,
            amount_atto: AttoSmt::new(1_611_000_000_000_000_000),
            added_atto: AttoSmt::new(1_000_000_000_000_000),
        },
        Change::Reload {
            changed: vec!["sharing".into()],
            needs_restart: vec!["network".into()],
        },
        Change::Reload {
            changed: vec![],
            needs_restart: vec![],
        },
        Change::Warning {
            text: "a\nwarning".into(),
        },
        Change::Missed { events: 12 },
    ]
}

/// A daemon that tells of all this to whoever listens.
fn telling() -> (Daemon, Vec<Event>) {
    let changes = changes().into_iter().zip(7..);
    let events: Vec<Event> = changes
        .map(|(change, seq)| Event {
            schema: SCHEMA,
            seq,
            uptime_ms: seq * 1_250,
            change,
        })
        .collect();
    let mut lines = json!({"jsonrpc": "2.0", "id": 1, "result": {"schema": SCHEMA}}).to_string();
    for event in &events {
        let event = json!({"jsonrpc": "2.0", "method": "event", "params": event});
        lines.push_str(&format!("\n{event}"));
    }
    lines.push('\n');
    let daemon = Daemon::start(move |_| Reaction::Bytes(lines.clone().into_bytes()));
    (daemon, events)
}

/// The first lines of what `meshctl` prints, which then ends as after Ctrl-C.
fn first(daemon: &Daemon, arguments: &[&str], lines: usize) -> String {
    let mut command = daemon.command(arguments);
    let mut meshctl = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(meshctl.stdout.take().unwrap());
    let mut text = String::new();
    for _ in 0..lines {
        stdout.read_line(&mut text).unwrap();
    }
    kill(Pid::from_raw(meshctl.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(meshctl.wait().unwrap().code(), Some(0));
    assert_eq!(stdout.read_line(&mut text).unwrap(), 0, "{text}");
    text
}

#[test]
fn every_event_is_a_line_in_every_form() {
    let (daemon, events) = telling();

    let table = first(&daemon, &["monitor"], events.len());
    let ndjson = first(&daemon, &["--output", "ndjson", "monitor"], events.len());
    let tsv = first(&daemon, &["--output", "tsv", "monitor"], events.len() + 1);

    assert_golden("monitor.txt", &table);
    assert_golden("monitor.ndjson", &ndjson);
    assert_golden("monitor.tsv", &tsv);
    let read: Vec<Event> = ndjson
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(read, events);
}

#[test]
fn filters_let_through_what_is_wanted_and_what_was_missed() {
    let (daemon, _) = telling();
    let kinds = |arguments: &[&str], lines| -> Vec<String> {
        let arguments = [&["--output", "ndjson", "monitor"], arguments].concat();
        let text = first(&daemon, &arguments, lines);
        let event = |line| serde_json::from_str::<Value>(line).unwrap()["event"].clone();
        text.lines()
            .map(|line| event(line).as_str().unwrap().to_owned())
            .collect()
    };

    let filtered = kinds(&["--filter", "uplink,table"], 5);
    let of_a_name = kinds(&["--filter", "neighbor", "--node", "mill"], 2);
    let of_an_id = kinds(&["--node", "2222222222", "--filter", "neighbor"], 3);

    assert_eq!(
        filtered,
        [
            "uplink",
            "uplink",
            "table_damaged",
            "table_restored",
            "missed"
        ]
    );
    assert_eq!(of_a_name, ["neighbor_up", "missed"]);
    assert_eq!(of_an_id, ["neighbor_up", "neighbor_down", "missed"]);
}
