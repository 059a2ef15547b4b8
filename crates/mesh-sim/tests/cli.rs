//! The command line: what it prints, what `--help` explains, and its exit codes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::process::{Command, Output};

use mesh_sim::scenario::SCENARIOS;
use serde_json::Value;

fn mesh_sim(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-sim"));
    command.args(arguments.split_whitespace()).output().unwrap()
}

fn text(arguments: &str) -> String {
    String::from_utf8(mesh_sim(arguments).stdout).unwrap()
}

fn json(arguments: &str) -> Value {
    serde_json::from_str(&text(&format!("{arguments} --json"))).unwrap()
}

#[test]
fn help_explains_every_scenario() {
    let help = text("run --help");
    let section = help.split("Scenarios (").nth(1).unwrap();
    let section = section.split("\n\n").next().unwrap();
    let explained: Vec<_> = section
        .lines()
        .skip(1)
        .filter_map(|line| line.get(2..14))
        .filter(|name| !name.trim().is_empty())
        .map(str::trim)
        .collect();
    let all: Vec<_> = SCENARIOS.iter().map(|s| s.name).collect();
    assert_eq!(explained, all);
}

#[test]
fn help_explains_every_figure() {
    let help = text("run --help");
    let report = text("run --topology line:3 --scenario gateway --duration 45");
    let of_the_run = ["topology", "links", "scenario", "virtual time", "seed"];
    let [rows, outages, phases] = report.splitn(3, "\n\n").collect::<Vec<_>>()[..] else {
        panic!("three parts: {report}");
    };
    let rows = rows.lines().filter_map(|line| line.get(..20));
    let rows = rows.map(|row| row.split(',').next().unwrap().trim());
    let columns = [
        "steps",
        "recovered",
        "count",
        "open",
        "p50",
        "p90",
        "p99",
        "max",
    ];
    let phase_columns = ["routed in s", "relapses", "unrouted pair-s", "online in s"];
    for column in columns {
        assert!(outages.contains(column), "{column}: {outages}");
    }
    for column in phase_columns {
        assert!(phases.contains(column), "{column}: {phases}");
    }
    let figures = help.split("\nFigures (").nth(1).unwrap();
    for figure in rows.chain(columns).chain(phase_columns) {
        let is_known = of_the_run.contains(&figure) || figures.contains(figure);
        assert!(is_known, "{figure:?} is not explained");
    }
}

#[test]
fn exit_codes_are_as_documented() {
    for (arguments, code) in [
        ("run --topology line:3 --duration 5", 0),
        ("run --topology line:3 --duration 5 --seeds 1..2", 0),
        // Too short for anybody to hear of anybody.
        ("run --topology line:3 --duration 0.01", 1),
        (
            "run --topology line:3 --duration 0.01 --seeds 1..2 --json",
            1,
        ),
        ("run --topology star:3", 2),
        ("run --topology file:/nowhere", 2),
        ("run --topology line:3 --scenario flood", 2),
        ("run --topology line:3 --seeds 3..2", 2),
        ("run --topology line:3 --loss 101", 2),
        ("run --topology line:3 --cut 0-2@1", 2),
        ("run", 2),
    ] {
        let output = mesh_sim(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {output:?}");
        assert_eq!(
            output.stderr.is_empty(),
            code < 2,
            "{arguments}: {output:?}"
        );
    }
}

#[test]
fn json_has_what_the_text_has() {
    let arguments = "run --topology ring:5 --seed 7 --loss 10 --scenario cut --duration 40";
    let (one, two) = (json(arguments), json(arguments));
    assert_eq!(one["trace_hash"], two["trace_hash"]);
    assert_ne!(
        one["trace_hash"],
        json(&arguments.replace("seed 7", "seed 8"))["trace_hash"]
    );
    let shown = text(arguments);
    assert!(
        shown.contains(one["trace_hash"].as_str().unwrap()),
        "{shown}"
    );
    assert_eq!(one["scenario"], "cut");
    assert_eq!(one["loops"]["seen"], 0);
    assert!(one["cost"]["peak_rss_mib"].as_f64().unwrap() > 1.0);
    assert!(one["control_steady"]["bytes_per_node_s"].as_f64().unwrap() > 1.0);
    let (first, sum) = (
        one["events"].as_u64(),
        json("run --topology ring:5 --seeds 1..3"),
    );
    assert!(first.unwrap() > 1000);
    let each = sum["each"].as_array().unwrap();
    let events: u64 = each.iter().map(|run| run["events"].as_u64().unwrap()).sum();
    assert_eq!((each.len(), sum["events"].as_u64()), (3, Some(events)));
}

#[test]
fn steps_on_the_command_line_are_taken() {
    let arguments = "run --topology ring:4 --duration 14 --cut 0-1@5 1-2@5 --heal 0-1@7 \
                     --stop 3@9 --start 3@10 --restart-cold 2@11 --restart-warm 2@12";
    let phases = json(arguments);
    let labels: Vec<_> = phases["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|phase| phase["label"].as_str().unwrap())
        .collect();
    assert_eq!(
        labels,
        [
            "power on",
            "cut 0-1, cut 1-2",
            "heal 0-1",
            "stop 3 cold",
            "start 3 cold",
            "restart 2 cold",
            "restart 2 warm"
        ]
    );
}
