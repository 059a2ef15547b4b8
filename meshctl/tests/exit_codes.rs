//! How commands end: the exit codes are part of the stable contract.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use common::{Daemon, Reaction, assert_golden, meshctl, sample, stderr_of, stdout_of, stdout_with};
use control_api::{Doctor, ErrorCode, RpcError, SCHEMA, Status};

const ASKING: [&[&str]; 20] = [
    &["status"],
    &["doctor"],
    &["interfaces"],
    &["neighbors"],
    &["originators"],
    &["routes"],
    &["graph"],
    &["metrics"],
    &["gateways"],
    &["gateways", "select", "auto"],
    &["receipts", "list"],
    &["receipts", "list", "--carried"],
    &["receipts", "show", "router-5"],
    &["receipts", "stats"],
    &["receipts", "export", "/nonexistent/export"],
    &["receipts", "export", "--carried", "/nonexistent"],
    &["reload"],
    &["config", "show"],
    &["monitor"],
    &["log-level", "info"],
];

fn refusing(code: ErrorCode, message: &'static str) -> Daemon {
    Daemon::start(move |_| Reaction::Answer(Err(RpcError::new(code, message))))
}

#[test]
fn without_a_daemon_every_question_ends_with_3() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("control.sock");
    let stale = directory.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    for socket in [missing, stale] {
        for arguments in ASKING {
            let output = meshctl()
                .arg("--socket")
                .arg(&socket)
                .args(arguments)
                .output()
                .unwrap();
            if arguments.first() == Some(&"doctor") {
                // It has more to say than one line.
                let stdout = stdout_with(&output, 3);
                let begin = "error    meshd: it is not running: nobody answers at ";
                assert!(stdout.starts_with(begin), "{stdout}");
                continue;
            }
            let stderr = stderr_of(&output, 3);
            assert!(
                stderr.starts_with("meshctl: meshd is not running: "),
                "{stderr}"
            );
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
    }
}

#[test]
fn a_daemon_that_stays_silent_ends_every_question_with_6() {
    let daemon = Daemon::start(|_| Reaction::Silence);
    for arguments in ASKING {
        let output = daemon.meshctl(&[&["--timeout", "0.1"], arguments].concat());
        assert_eq!(
            stderr_of(&output, 6),
            "meshctl: meshd did not answer within 100ms\n"
        );
    }
}

#[test]
fn what_the_daemon_refuses_decides_the_code() {
    let daemon = refusing(ErrorCode::NotFound, "no route to 10.9.9.9");
    let stderr = stderr_of(&daemon.meshctl(&["routes", "10.9.9.9"]), 4);
    assert_eq!(stderr, "meshctl: no route to 10.9.9.9\n");

    let daemon = refusing(ErrorCode::NotFound, "no gateway \"router-9\"");
    let stderr = stderr_of(&daemon.meshctl(&["gateways", "select", "router-9"]), 4);
    assert_eq!(stderr, "meshctl: no gateway \"router-9\"\n");

    let daemon = refusing(ErrorCode::Permission, "only root may reload");
    stderr_of(&daemon.meshctl(&["reload"]), 5);

    let daemon = refusing(
        ErrorCode::Failed,
        "meshd.yaml:3: nam\u{1b}[0m: unknown\nkey",
    );
    let stderr = stderr_of(&daemon.meshctl(&["reload"]), 1);
    assert_eq!(stderr, "meshctl: meshd.yaml:3: nam[0m: unknown key\n");
}

#[test]
fn an_answer_that_makes_no_sense_ends_with_1() {
    for bytes in [
        &b"hello\n"[..],
        b"\xff\n",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n",
    ] {
        let daemon = Daemon::start(move |_| Reaction::Bytes(bytes.to_vec()));
        let stderr = stderr_of(&daemon.meshctl(&["status"]), 1);
        assert!(stderr.contains("not understood"), "{stderr}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    let cases: [&[&str]; 20] = [
        &[],
        &["dance"],
        &["status", "now"],
        &["doctor", "mesh0"],
        &["routes", "10.0.0.0/99"],
        &["routes", ""],
        &["gateways", "select"],
        &["gateways", "select", ""],
        &["receipts"],
        &["receipts", "verify"],
        &["receipts", "export"],
        &["receipts", "export", "file", "--carried", "dir"],
        &["receipts", "import"],
        &["receipts", "show"],
        &["receipts", "stats", "--days", "0"],
        &["receipts", "stats", "--days", "8"],
        &["config", "check"],
        &["--timeout", "0", "status"],
        &["--timeout", "-1", "status"],
        &["--colour", "status"],
    ];
    for arguments in cases {
        let stderr = stderr_of(&meshctl().args(arguments).output().unwrap(), 2);
        assert!(
            stderr.contains("--help") || stderr.contains("Usage"),
            "{arguments:?}: {stderr}"
        );
    }
}

#[test]
fn help_and_version_end_with_0() {
    let help = stdout_of(&meshctl().arg("--help").output().unwrap());
    assert!(help.contains("6  no answer in time"), "{help}");
    assert!(
        help.contains("1  failed, or doctor found an error"),
        "{help}"
    );
    let version = stdout_of(&meshctl().arg("--version").output().unwrap());
    assert_eq!(version, format!("meshctl {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_error_that_doctor_finds_ends_with_1_and_the_findings() {
    let (doctor, json) = sample::<Doctor>("doctor-errors.json");
    let daemon = Daemon::answering(doctor);

    let text = stdout_with(&daemon.meshctl(&["doctor"]), 1);
    let with_json = stdout_with(&daemon.meshctl(&["--json", "doctor"]), 1);

    assert_golden("doctor-errors.txt", &text);
    assert_eq!(with_json, json);
}

#[test]
fn options_may_follow_the_command() {
    let daemon = Daemon::answering(sample::<Status>("status-gateway.json").0);

    let json = stdout_of(&daemon.meshctl(&["status", "--json"]));

    assert!(json.starts_with("{\n  \"schema\": 2,"), "{json}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let daemon = Daemon::answering(sample::<Status>("status-gateway.json").0);
    for arguments in [&["status"][..], &["--json", "status"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut child = daemon
            .command(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();

        let mut stderr = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();

        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}");
        assert_eq!(stderr, "");
    }
}

#[test]
fn a_full_disk_is_a_failure() {
    let daemon = Daemon::answering(sample::<Status>("status-gateway.json").0);
    let full = File::options().write(true).open("/dev/full").unwrap();

    let output = daemon
        .command(&["status"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .unwrap();

    let stderr = stderr_of(&output, 1);
    assert!(
        stderr.starts_with("meshctl: standard output: No space left"),
        "{stderr}"
    );
}

#[test]
fn a_good_configuration_is_valid() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("meshd.yaml");
    fs::write(&file, "network: village\nmesh: [{interface: mesh0}]\n").unwrap();
    let path = file.to_str().unwrap();

    let text = stdout_of(&meshctl().args(["config", "check", path]).output().unwrap());
    let json = stdout_of(
        &meshctl()
            .args(["--json", "config", "check", path])
            .output()
            .unwrap(),
    );

    assert_eq!(text, format!("{path}: valid\n"));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"schema": SCHEMA, "file": path, "valid": true})
    );
}

#[test]
fn a_bad_configuration_ends_with_2_and_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("meshd.yaml");
    let path = file.to_str().unwrap();

    let missing = stderr_of(
        &meshctl().args(["config", "check", path]).output().unwrap(),
        2,
    );
    assert!(
        missing.starts_with(&format!("meshctl: {path}: ")),
        "{missing}"
    );

    fs::write(
        &file,
        "network: village\nmesh: [{interface: mesh0}]\nnetwrok: x\n",
    )
    .unwrap();
    let unknown = stderr_of(
        &meshctl().args(["config", "check", path]).output().unwrap(),
        2,
    );
    assert!(
        unknown.starts_with(&format!("meshctl: {path}:3: netwrok: ")),
        "{unknown}"
    );
    assert_eq!(unknown.lines().count(), 1, "{unknown}");
}
