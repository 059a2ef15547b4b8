//! The kernel port on this kernel, in network namespaces.
//!
//! Needs no privileges: the program moves itself into a user namespace, in which it may do
//! everything to the network namespaces it makes. Each test has namespaces of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that can't go on fails"
)]
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "tests wait for one event of many"
)]

mod configure;
mod counting;
mod directions;
mod events;
mod filter;
mod lab;
mod life;
mod neighbors;
mod nexthops;
mod routes;
mod sandbox;
mod shaping;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    if !arguments.list {
        sandbox::enter();
    }
    let tests: Vec<Trial> = [
        configure::tests(),
        counting::tests(),
        directions::tests(),
        events::tests(),
        filter::tests(),
        life::tests(),
        neighbors::tests(),
        nexthops::tests(),
        routes::tests(),
        shaping::tests(),
    ]
    .into_iter()
    .flatten()
    .map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    })
    .collect();
    libtest_mimic::run(&arguments, tests).exit();
}

/// A test and its name.
type Test = (&'static str, fn());
