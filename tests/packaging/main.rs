//! What a package installs beside the programs, as far as it can be judged without installing it.

mod sbom;
mod units;

use std::process::ExitCode;

use mesh_tests::harness;

fn main() -> ExitCode {
    harness::main(|| {
        [units::tests(), sbom::tests()]
            .into_iter()
            .flatten()
            .collect()
    })
}
