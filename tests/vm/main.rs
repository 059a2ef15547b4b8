//! Tests in a virtual machine: of the laboratory in there, and of what meshd expects from radios.

mod kernel;
mod machine;
mod radio;
mod village;

use std::process::ExitCode;

use mesh_tests::harness;

fn main() -> ExitCode {
    harness::main_in_vm(|| {
        [
            machine::tests(),
            kernel::tests(),
            radio::tests(),
            village::tests(),
        ]
        .into_iter()
        .flatten()
        .collect()
    })
}
