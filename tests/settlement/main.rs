//! The settlement service, as it runs: the program, a chain with the cheque book, and both kinds of database.

#![allow(clippy::indexing_slicing, reason = "tests")]

mod audit;
mod cash;
mod conservation;
mod exports;
mod hostile;
mod kills;
mod limits;
mod load;
mod once;
mod openapi;
mod redeem;
mod registrations;
mod start;
mod valley;

use std::process::ExitCode;

use mesh_tests::harness;

fn main() -> ExitCode {
    harness::main(|| {
        [
            cash::tests(),
            registrations::tests(),
            redeem::tests(),
            start::tests(),
            limits::tests(),
            once::tests(),
            kills::tests(),
            audit::tests(),
            hostile::tests(),
            conservation::tests(),
            openapi::tests(),
        ]
        .into_iter()
        .flatten()
        .collect()
    })
}
