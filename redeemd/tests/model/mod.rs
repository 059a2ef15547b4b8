//! Two settlement services with a cheque book each, and a few people who sign receipts, bring them to either, pay,
//! cash, move to other accounts, and take back what they can: the parts that are ours are the real ones, and of
//! each chain there are the rules of the cheque book, in a few lines. What the real one does is in
//! `tests/settlement`.
//!
//! ```text
//! steps    what may happen                people   keys and accounts
//! world    what it does, what must hold   logs     what nodes have signed
//! settler  a service, two processes       chain    its cheque book, block by block
//! ```
//!
//! What must hold, whatever happens, in whatever order:
//! - Debits are credits and fees; they are no more than what was deposited, nor than what allowances let be cashed
//!   before a payer can take anything back. No cheque bounces, also if processes see other blocks than each other,
//!   the newest of which vanish.
//! - Of each epoch of a pair, in each network, the highest amount counts once with a service that both nodes are
//!   registered with, and not at all with one that only one of them, or none, is registered with.
//! - A registration or a cheque for one cheque book is worth nothing to another, of another address or chain.
//! - Whoever colludes has in the end no more than what others have signed for its nodes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "tests"
)]

mod chain;
mod logs;
mod people;
mod settler;
mod steps;
mod world;

use std::panic::{self, AssertUnwindSafe};
use std::time::SystemTime;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestRunner};

use steps::{Plan, plans};
use world::World;

/// Runs so many random plans, each on empty databases. Of one that fails, panics with the least of its steps with
/// which it still fails.
pub(crate) fn holds(cases: u32, empty_database: impl Fn() -> String) {
    let mut config = Config::default();
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs(),
    };
    config.rng_seed = RngSeed::Fixed(seed);
    eprintln!("again: PROPTEST_RNG_SEED={seed}");
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    let fails = |plan: &Plan| {
        let run = || runtime.block_on(run(plan, &empty_database));
        panic::catch_unwind(AssertUnwindSafe(run)).is_err()
    };
    let mut runner = TestRunner::new(config);
    for case in 1..=cases {
        let plan = plans().new_tree(&mut runner).unwrap().current();
        if fails(&plan) {
            eprintln!("case {case} of seed {seed} fails");
            let plan = shorten(plan, fails);
            eprintln!("{plan:?}");
            runtime.block_on(run(&plan, &empty_database));
        }
    }
}

/// Leaves out the steps that a failure does not need, many at once first.
fn shorten(mut plan: Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let tells = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let mut size = plan.steps.len();
    while size > 0 {
        let mut first = 0;
        while first < plan.steps.len() {
            let mut shorter = plan.clone();
            let last = plan.steps.len().min(first + size);
            shorter.steps.drain(first..last);
            match fails(&shorter) {
                true => plan = shorter,
                false => first = last,
            }
        }
        size /= 2;
    }
    panic::set_hook(tells);
    plan
}

async fn run(plan: &Plan, empty_database: impl Fn() -> String) {
    let mut world = World::new(plan, empty_database).await;
    for step in &plan.steps {
        world.step(step).await;
    }
    world.check().await;
    world.end().await;
}
