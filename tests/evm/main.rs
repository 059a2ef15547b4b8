//! The contracts on a real EVM, each test on a chain of its own.

#![allow(clippy::indexing_slicing, reason = "tests")]

mod book;
mod cheques;
mod committed;
mod gas;
mod hostile;
mod many;
mod model;
mod node;
mod payers;
mod wallet;

use std::process::ExitCode;

use mesh_tests::harness;

fn main() -> ExitCode {
    harness::main(|| {
        [
            committed::tests(),
            payers::tests(),
            cheques::tests(),
            many::tests(),
            hostile::tests(),
            model::tests(),
            gas::tests(),
            node::tests(),
            wallet::tests(),
        ]
        .into_iter()
        .flatten()
        .collect()
    })
}
