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

use std::time::SystemTime;

use proptest::test_runner::{Config, RngSeed, TestRunner};

use steps::{Plan, plans};
use world::World;

/// Runs so many random plans, each on empty databases. Of one that fails, says the shortest that fails as well.
pub(crate) fn holds(
    cases: u32,
    empty_database: impl Fn() -> String,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => SystemTime::UNIX_EPOCH.elapsed()?.as_secs(),
    };
    config.rng_seed = RngSeed::Fixed(seed);
    eprintln!("again: PROPTEST_RNG_SEED={seed}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    TestRunner::new(config)
        .run(&plans(), |plan| {
            runtime.block_on(run(&plan, &empty_database));
            Ok(())
        })
        .map_err(|failed| format!("PROPTEST_RNG_SEED={seed}: {failed}").into())
}

async fn run(plan: &Plan, empty_database: impl Fn() -> String) {
    let mut world = World::new(plan, empty_database).await;
    for step in &plan.steps {
        world.step(step).await;
    }
    world.check().await;
    world.end().await;
}
