//! meshd and meshctl in one program: on a router's flash, what both need is there once.
//!
//! The name it is called by decides: `meshd` and `meshctl` are links to it. Called by any other
//! name, its first argument does: `mesh meshctl status`.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "mesh is meshd and meshctl: call it by one of these names, or as `mesh meshd` or `mesh meshctl`";
/// As both programs have it for a wrong command line.
const BAD_USAGE: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Meshd,
    Meshctl,
}

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let mut program = arguments.first().and_then(|name| named(name));
    if program.is_none() {
        program = arguments.get(1).and_then(|name| named(name));
        arguments = arguments.split_off(1.min(arguments.len()));
    }
    match program {
        Some(Program::Meshd) => meshd::program::run(arguments),
        Some(Program::Meshctl) => meshctl::run(arguments),
        None => {
            // Standard error gone: there is nobody left to tell.
            let _ = writeln!(io::stderr(), "{USAGE}");
            BAD_USAGE.into()
        }
    }
}

/// The program of a name or path.
fn named(name: &OsStr) -> Option<Program> {
    match Path::new(name).file_name()?.to_str()? {
        "meshd" => Some(Program::Meshd),
        "meshctl" => Some(Program::Meshctl),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_a_path_is_the_name() {
        for (path, program) in [
            ("meshd", Some(Program::Meshd)),
            ("/usr/sbin/meshd", Some(Program::Meshd)),
            ("../sbin/meshctl", Some(Program::Meshctl)),
            ("mesh", None),
            ("/meshd/mesh", None),
            ("meshd.old", None),
            ("", None),
            ("/", None),
        ] {
            assert_eq!(named(OsStr::new(path)), program, "{path}");
        }
    }
}
