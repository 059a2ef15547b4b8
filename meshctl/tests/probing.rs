//! `meshctl ping` and `meshctl traceroute` before a daemon that answers as it is told.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Daemon, Reaction, assert_golden, sample, stderr_of, stdout_of, stdout_with};
use control_api::{
    ErrorCode, Method, NextHop, NodeRef, OriginatorId, Probe, Probed, Quality, RpcError, Status,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

fn id(byte: u8) -> OriginatorId {
    OriginatorId::new([byte; 10])
}

fn node(byte: u8) -> NodeRef {
    NodeRef {
        originator_id: id(byte),
        name: Some(format!("router-{byte}")),
    }
}

fn probed(byte: u8, rtt_us: Option<u64>, next: Option<u8>) -> Probed {
    Probed {
        node: node(byte),
        rtt_us,
        next_hop: next.map(|next| NextHop {
            node: node(next),
            rx_quality: Quality::new(0.98),
            tx_quality: Quality::new(0.9),
        }),
        ..sample::<Probed>("probed.json").0
    }
}

fn asked(method: &Method) -> &Probe {
    let Method::Probe(probe) = method else {
        panic!("meshctl asks {method:?}")
    };
    probe
}

/// A node that answers three times in four, later and later.
fn unsteady() -> Daemon {
    let count = AtomicUsize::new(0);
    Daemon::start(move |method| {
        assert_eq!(asked(method).node, "router-5");
        let number = count.fetch_add(1, Ordering::Relaxed) as u64;
        let rtt = (number % 4 != 3).then_some(1000 * (number + 1));
        probed(5, rtt, None).into()
    })
}

const PING: [&str; 6] = ["ping", "router-5", "--interval", "0.1", "--count", "4"];

#[test]
fn ping_counts_answers_and_losses() {
    assert_golden("ping.txt", &stdout_of(&unsteady().meshctl(&PING)));
    for form in ["json", "ndjson", "tsv"] {
        let arguments = [&PING[..], &["--output", form]].concat();
        let output = unsteady().meshctl(&arguments);
        assert_golden(&format!("ping.{form}"), &stdout_of(&output));
    }
}

#[test]
fn an_answer_may_take_a_second_and_no_longer_than_is_waited_at_all() {
    for (arguments, wait_ms) in [
        (["--interval", "0.1", "--timeout", "5"], 1000),
        (["--interval", "3", "--timeout", "5"], 3000),
        (["--interval", "3", "--timeout", "0.5"], 500),
    ] {
        let daemon = Daemon::start(move |method| {
            assert_eq!(asked(method).wait_ms, wait_ms);
            probed(5, Some(1), None).into()
        });
        let arguments = [&["ping", "router-5", "--count", "1"], &arguments[..]].concat();
        stdout_of(&daemon.meshctl(&arguments));
    }
}

#[test]
fn nobody_who_answers_is_no_answer_in_time() {
    let daemon = Daemon::answering(probed(5, None, None));
    let text = stdout_with(&daemon.meshctl(&PING), 6);
    assert!(text.contains("4 sent, 0 answered, 100% lost"), "{text}");
    let json = [&PING[..], &["--json"]].concat();
    let value: Value = serde_json::from_str(&stdout_with(&daemon.meshctl(&json), 6)).unwrap();
    assert_eq!(value["min_us"], Value::Null);
}

#[test]
fn a_node_that_is_gone_may_come_back() {
    let count = AtomicUsize::new(0);
    let daemon = Daemon::start(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        1 => Reaction::Answer(Err(RpcError::new(
            ErrorCode::NotFound,
            "no way to router-5",
        ))),
        _ => probed(5, Some(1000), None).into(),
    });
    let output = daemon.meshctl(&PING);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("4 sent, 3 answered, 25% lost"), "{text}");
    assert_eq!(output.stderr, b"meshctl: no way to router-5\n");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn ctrl_c_gives_the_summary() {
    let daemon = Daemon::answering(probed(5, Some(1500), None));
    let mut command = daemon.command(&["ping", "router-5", "--interval", "600"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("answer: seq=1") {
        line.clear();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0);
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("1 sent, 1 answered, 0% lost"), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A village in which router-1 is this node, and each sends what is for router-4 to the one that `way` says.
fn village(way: impl Fn(u8) -> (Option<u64>, Option<u8>) + Send + 'static) -> Daemon {
    let mut status = sample::<Status>("status-gateway.json").0;
    status.originator_id = id(1);
    Daemon::start(move |method| {
        if *method == Method::Status {
            return status.clone().into();
        }
        let probe = asked(method);
        let byte = (1..=4)
            .find(|byte| [format!("router-{byte}"), id(*byte).to_string()].contains(&probe.node));
        let Some(byte) = byte else {
            panic!("nobody is called {}", probe.node)
        };
        let (rtt, next) = way(byte);
        probed(byte, rtt, next).into()
    })
}

/// Each answers, and knows the next.
fn line(byte: u8) -> (Option<u64>, Option<u8>) {
    let rtt = u64::from(byte - 1) * 1234;
    (Some(rtt), (byte < 4).then_some(byte + 1))
}

const TRACEROUTE: [&str; 2] = ["traceroute", "router-4"];

#[test]
fn traceroute_names_the_nodes_on_the_way() {
    let daemon = village(line);
    assert_golden("traceroute.txt", &stdout_of(&daemon.meshctl(&TRACEROUTE)));
    for form in ["json", "ndjson", "tsv"] {
        let arguments = [&TRACEROUTE[..], &["--output", form]].concat();
        let output = daemon.meshctl(&arguments);
        assert_golden(&format!("traceroute.{form}"), &stdout_of(&output));
    }
    let here = stdout_of(&daemon.meshctl(&["--json", "traceroute", "router-1"]));
    let here: Value = serde_json::from_str(&here).unwrap();
    assert_eq!(
        (&here["reached"], here["hops"].as_array().unwrap().len()),
        (&true.into(), 0)
    );
}

#[test]
fn traceroute_says_where_the_way_ends() {
    let silent = |byte| match byte {
        3 => (None, None),
        other => line(other),
    };
    let lost = |byte| match byte {
        2 => (Some(1), None),
        other => line(other),
    };
    let circle = |byte| match byte {
        3 => (Some(1), Some(2)),
        other => line(other),
    };
    for (daemon, code, said, hops) in [
        (village(silent), 6, "router-3 (03030303) does not answer", 2),
        (
            village(lost),
            4,
            "router-2 (02020202) knows no way there",
            1,
        ),
        (village(circle), 1, "the way leads back to router-2", 2),
    ] {
        let output = daemon.meshctl(&[&TRACEROUTE[..], &["--json"]].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
        let trace: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(trace["reached"], false);
        assert_eq!(trace["hops"].as_array().unwrap().len(), hops, "{trace}");
    }
}

#[test]
fn an_unknown_node_is_not_found() {
    let error = || RpcError::new(ErrorCode::NotFound, "no node \"x\" is known");
    let daemon = Daemon::start(move |_| Reaction::Answer(Err(error())));
    for command in ["ping", "traceroute"] {
        let said = stderr_of(&daemon.meshctl(&[command, "x"]), 4);
        assert_eq!(said, "meshctl: no node \"x\" is known\n");
    }
}

#[test]
fn a_name_cannot_act_on_the_terminal() {
    let evil = NodeRef {
        name: Some("ev\u{1b}[31mil\n".into()),
        ..node(5)
    };
    let answer = Probed {
        node: evil,
        ..probed(5, Some(1), None)
    };
    let daemon = Daemon::answering(answer);
    let text = stdout_of(&daemon.meshctl(&["ping", "x", "--count", "1"]));
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert!(text.starts_with("PING ev[31mil (05050505)"), "{text:?}");
}
