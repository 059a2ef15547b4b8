//! The built program under its names.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

const MESH: &str = env!("CARGO_BIN_EXE_mesh");

fn run(program: &Path, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_link_is_the_program_of_its_name() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["meshd", "meshctl"] {
        let link = directory.path().join(name);
        symlink(MESH, &link).unwrap();

        let said = stdout(&run(&link, &["--version"]));

        assert_eq!(said, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn the_first_argument_is_a_name_too() {
    for name in ["meshd", "meshctl"] {
        let said = stdout(&run(Path::new(MESH), &[name, "--version"]));

        assert_eq!(said, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn links_have_the_exit_codes_of_the_programs() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("meshctl");
    symlink(MESH, &link).unwrap();
    let socket = directory.path().join("none.sock");

    let down = run(&link, &["--socket", socket.to_str().unwrap(), "status"]);

    assert_eq!(down.status.code(), Some(3), "{down:?}");
}

#[test]
fn without_a_name_it_says_what_it_is() {
    for arguments in [&[][..], &["status"], &["--version"]] {
        let refused = run(Path::new(MESH), arguments);

        assert_eq!(refused.status.code(), Some(2));
        assert!(
            String::from_utf8(refused.stderr)
                .unwrap()
                .contains("mesh meshctl")
        );
    }
}
