//! Tests in a virtual machine: of the laboratory in there, of what meshd expects from radios, and of
//! tunnels that not every kernel has.

mod hwsim;
mod kernel;
mod machine;
mod radio;
mod receipts;
mod trouble;
mod tunnels;
mod village;

use std::process::ExitCode;

use mesh_tests::harness;

fn main() -> ExitCode {
    harness::main_in_vm(|| {
        [
            machine::tests(),
            kernel::tests(),
            radio::tests(),
            tunnels::tests(),
            receipts::tests(),
            village::tests(),
            trouble::tests(),
        ]
        .into_iter()
        .flatten()
        .collect()
    })
}
