//! Tests of the laboratory itself, and of what meshd expects from a kernel.
//!
//! A figure measured in the laboratory is worth as much as its radio is true; a kernel that
//! lacks something fails here, with the name of what is missing, before meshd fails for it.

mod bench;
mod fib;
mod internet;
mod kernel;
mod radio;
mod sandbox;
mod snapshot;

use std::process::ExitCode;

use mesh_tests::harness;

fn main() -> ExitCode {
    harness::main(|| {
        [
            sandbox::tests(),
            radio::tests(),
            internet::tests(),
            snapshot::tests(),
            kernel::tests(),
            fib::tests(),
            bench::tests(),
        ]
        .into_iter()
        .flatten()
        .collect()
    })
}
