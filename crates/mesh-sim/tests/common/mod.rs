//! What the tests of this directory share: runs in virtual time, and what every run must keep.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part of this"
)]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::time::Duration;

use mesh_proto::Route;
use mesh_sim::{NodeIndex, Options, Report, Simulation, Topology};

pub fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A mesh of which every link loses the share `loss` of broadcasts.
pub fn mesh(topology: &str, seed: u64, loss: f64) -> Simulation {
    let options = Options {
        loss,
        ..Options::new(seed)
    };
    Simulation::new(Topology::from_spec(topology, seed).unwrap(), options)
}

/// Everybody pays what others ask for. To be called before time passes.
pub fn everybody_pays(simulation: &mut Simulation) {
    for node in simulation.nodes() {
        simulation.set_maximum_price(node, None);
    }
}

/// Runs until `until`, then checks what must always hold.
#[track_caller]
pub fn run(simulation: &mut Simulation, until: f64) -> Report {
    simulation.run_until(secs(until));
    let report = Report::new(simulation, "test", None);
    let seed = report.seed;
    let loops: Vec<_> = report.loops.first.iter().map(ToString::to_string).collect();
    assert_eq!(report.loops.seen, 0, "seed {seed}: {loops:#?}");
    assert_eq!(report.busy_timers, 0, "seed {seed}");
    assert_eq!(report.refused_changes, 0, "seed {seed}");
    for node in simulation.nodes() {
        let Some(router) = simulation.router(node) else {
            continue;
        };
        // Kernels know no backups.
        let plain = |route: Route| (route.key(), route.target);
        let kernel: Vec<_> = simulation.routes(node).into_iter().map(plain).collect();
        let wanted: Vec<_> = router.routes().map(plain).collect();
        assert_eq!(kernel, wanted, "seed {seed}: routes of node {node}");
    }
    report
}

/// The same, and all pairs are routed at the end.
#[track_caller]
pub fn run_until_routed(simulation: &mut Simulation, until: f64) -> Report {
    let report = run(simulation, until);
    assert_eq!(
        report.pairs.unrouted, 0,
        "seed {} at {until} s: {:#?}",
        report.seed, report.phases
    );
    report
}

/// Opposite corners of a mesh: its first and last node.
pub fn last(simulation: &Simulation) -> NodeIndex {
    NodeIndex(simulation.topology().nodes.len() - 1)
}
