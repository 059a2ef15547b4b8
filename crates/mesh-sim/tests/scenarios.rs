//! Every scenario runs, the same for the same seed, and measures what it says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use std::time::Duration;

use common::{mesh, run, run_until_routed, secs};
use mesh_sim::scenario::{Named, SCENARIOS};
use mesh_sim::{Action, Flow, NodeIndex, Report, Step};

fn play(scenario: &Named, topology: &str, seed: u64) -> Report {
    let mut simulation = mesh(topology, seed, 0.0);
    let duration = Duration::from_secs(scenario.seconds);
    let plan = scenario.plan(simulation.topology(), seed, duration, 4);
    simulation.follow(plan);
    run(&mut simulation, duration.as_secs_f64())
}

fn play_by_name(name: &str, topology: &str, seed: u64) -> Report {
    play(Named::find(name).unwrap(), topology, seed)
}

#[test]
fn equal_seeds_play_alike() {
    for scenario in SCENARIOS {
        let one = play(scenario, "ring:5", 1);
        assert_eq!(one, play(scenario, "ring:5", 1), "{}", scenario.name);
        let other = play(scenario, "ring:5", 2);
        assert_ne!(one.trace_hash, other.trace_hash, "{}", scenario.name);
    }
}

#[test]
fn every_step_is_taken_and_followed() {
    let count = |report: &Report, kind: &str| {
        let kinds = report.outages.iter();
        kinds
            .filter(|k| k.kind == kind)
            .map(|k| k.steps)
            .sum::<u64>()
    };
    for (name, kind, steps) in [
        ("cut", "cut", 12),
        ("cut", "heal", 12),
        ("relay", "stop", 8),
        ("reboot", "restart", 8),
        ("reboot-cold", "start", 6),
        ("partition", "partition", 1),
        ("reshuffle", "rewire", 3),
        ("gateway", "stop", 3),
        ("join", "start", 4),
        ("weather", "fade", 1),
    ] {
        let report = play_by_name(name, "grid:3x3", 1);
        assert_eq!(count(&report, kind), steps, "{name}: {report}");
    }
}

#[test]
fn only_links_and_nodes_that_can_be_spared_are_taken() {
    for name in ["cut", "relay"] {
        let report = play_by_name(name, "ring:6", 3);
        let taken = report
            .phases
            .iter()
            .filter(|p| ["cut", "stop"].contains(&p.kind.as_str()));
        for phase in taken {
            assert!(phase.routed_after_s.is_some(), "{name}: {phase:?}");
            assert!(phase.flows.count > 0, "no flow used it: {phase:?}");
        }
        let on_a_line = play_by_name(name, "line:4", 3);
        let labels: Vec<_> = on_a_line.phases.iter().map(|p| p.label.as_str()).collect();
        let spared = |label: &&str| !label.starts_with("cut ");
        assert!(labels.iter().all(spared), "{labels:?}");
    }
}

/// Here a router that lost its way asks for another, and who passes the request on passes it to the
/// dead one, as nobody has told it yet.
#[test]
fn a_request_that_died_with_a_relay_is_made_again() {
    let scenario = Named::find("relay").unwrap();
    let mut simulation = mesh("grid:7x7", 10, 0.0);
    let duration = Duration::from_secs(scenario.seconds);
    let plan = scenario.plan(simulation.topology(), 10, duration, 20);
    simulation.follow(plan);
    let report = run(&mut simulation, duration.as_secs_f64());
    let stops = report.outages.iter().find(|kind| kind.kind == "stop");
    let flows = &stops.unwrap().flows;
    assert!(flows.count > 20 && flows.max_ms.unwrap() < 800, "{report}");
}

/// A stop in some ninety takes seconds, all others less than one.
#[test]
fn a_dead_gateway_is_seen_in_the_uplinks() {
    let mut slow = 0;
    for seed in 1..=10 {
        let report = play_by_name("gateway", "grid:3x3", seed);
        let stops = report.phases.iter().filter(|phase| phase.kind == "stop");
        for stop in stops {
            // Seven nodes are no gateways, and all used the better one. Some are led to it by another
            // way first, which turns out to end as well.
            assert!(stop.uplinks.count >= 7, "{seed}: {stop:?}");
            let longest = f64::from(stop.uplinks.max_ms.unwrap()) / 1000.0;
            let online = stop.online_after_s.unwrap();
            assert!(longest <= online + 0.001, "{seed}: {longest} {online}");
            assert!(online <= 3.5, "{seed}: with traffic everywhere: {stop:?}");
            assert!(stop.flows.count >= 4, "{seed}: {stop:?}");
            slow += u32::from(online > 0.7);
        }
    }
    assert!(slow <= 1, "{slow} of 30 stops");
}

#[test]
fn checks_tell_routed_from_delivered() {
    let mut line = mesh("line:2", 1, 0.5);
    line.schedule(Step::new(secs(20.0), Action::Check));
    let report = run(&mut line, 21.0);
    let check = report.phases[0].check.unwrap();
    assert_eq!(check.routed_percent, 100.0, "{report}");
    assert_eq!(check.delivered_percent, 93.75, "four tries at 50 %");
    assert_eq!(check.after_s, 20.0);
}

#[test]
fn a_flow_is_out_from_the_cut_to_the_way_around() {
    let mut ring = mesh("ring:5", 1, 0.0);
    let node = NodeIndex;
    ring.add_flow(Flow {
        from: node(0),
        to: Some(node(1)),
    });
    ring.schedule(Step::new(secs(8.0), Action::Cut(node(0), node(1))));
    let report = run_until_routed(&mut ring, 30.0);
    let cut = &report.phases[1];
    assert_eq!((cut.flows.count, cut.flows.open), (1, 0), "{cut:?}");
    let (longest, routed) = (cut.pairs.max_ms.unwrap(), cut.routed_after_s.unwrap());
    assert!(
        (f64::from(longest) / 1000.0 - routed).abs() <= 0.001,
        "{cut:?}"
    );
    assert!(cut.flows.max_ms.unwrap() <= longest);
    // 0 and 1 both ways, and four more pairs that are nearer through that link.
    assert!((2..=6).contains(&cut.pairs.count), "{cut:?}");
}

#[test]
fn an_outage_that_lasts_counts_as_open() {
    let mut ring = mesh("ring:4", 1, 0.0);
    let node = NodeIndex;
    ring.schedule(Step::new(secs(8.0), Action::Cut(node(0), node(1))));
    let report = run(&mut ring, 8.1);
    let cut = report.outages.iter().find(|k| k.kind == "cut").unwrap();
    assert!(cut.pairs.count >= 2, "{cut:?}");
    assert_eq!(cut.pairs.open, cut.pairs.count);
    assert_eq!(cut.pairs.max_ms, Some(100));
    assert_eq!(report.pairs.unrouted as u64, cut.pairs.open);
    assert_eq!(report.pairs.first[0].path.len(), 2, "{:?}", report.pairs);
    assert!(!report.is_good());
}

#[test]
fn churn_leaves_nobody_without_routes() {
    // In the first, a node loses its count of starts, and only nodes two hops away remember it. In
    // the second, a route comes back after whoever hears of it forgot its proof.
    for (topology, seed) in [("grid:6x6", 97), ("grid:5x5", 82)] {
        let mut simulation = mesh(topology, seed, 0.1);
        let churn = Named::find("churn").unwrap();
        let plan = churn.plan(simulation.topology(), seed, secs(60.0), 20);
        simulation.follow(plan);
        simulation.run_until(secs(60.0));
        assert_eq!(simulation.unrouted().count(), 0, "{topology} {seed}");
    }
}
