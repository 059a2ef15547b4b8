//! The same seed gives the same run, packet for packet.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use common::{mesh, run, secs};
use mesh_sim::scenario::Inheritance;
use mesh_sim::{Action, NodeIndex, Report, Simulation, Step};

fn eventful(seed: u64) -> Simulation {
    let mut simulation = mesh("grid:4x3", seed, 0.1);
    for step in [
        Step::new(secs(4.0), Action::Cut(NodeIndex(0), NodeIndex(1))),
        Step::new(secs(5.0), Action::Restart(NodeIndex(5), Inheritance::Warm)),
        Step::new(secs(6.0), Action::Heal(NodeIndex(0), NodeIndex(1))),
    ] {
        simulation.schedule(step);
    }
    simulation
}

#[test]
fn equal_seeds_give_equal_runs() {
    let reports: Vec<Report> = (0..2).map(|_| run(&mut eventful(7), 8.0)).collect();
    assert_eq!(reports[0], reports[1]);
    let other = run(&mut eventful(8), 8.0);
    assert_ne!(reports[0].trace_hash, other.trace_hash);
}

/// Time may pass in steps of any size: looking at a mesh does not change it.
#[test]
fn pauses_change_nothing() {
    let whole = run(&mut eventful(7), 8.0);
    let mut simulation = eventful(7);
    for tenth in 1..=80 {
        simulation.run_until(secs(f64::from(tenth) / 10.0));
    }
    assert_eq!(run(&mut simulation, 8.0).trace_hash, whole.trace_hash);
}
