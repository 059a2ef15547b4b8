//! The program: everything is in the library, which the program of routers has as well.

use std::process::ExitCode;

fn main() -> ExitCode {
    meshctl::run(std::env::args_os())
}
