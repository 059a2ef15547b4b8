//! The Debian packages on a machine with systemd: installed, upgraded, removed, purged, and at work in a mesh.

mod installed;
mod package;
mod unit;

use std::process::ExitCode;

use mesh_tests::harness;

fn main() -> ExitCode {
    harness::main_under_systemd(installed::tests)
}
