//! `--output` and `--watch`: the forms of results for programs, and results that come again.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Daemon, Reaction, assert_golden, meshctl, sample, stderr_of, stdout_of};
use control_api::{
    Accounts, Answer, CarriedFiles, ErrorCode, Gateways, Interfaces, Neighbors, Originators,
    Routes, RpcError, SCHEMA, Settings, Stats, Status,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The forms beside table and JSON, and that no field of a record is left out of the columns.
fn assert_forms<T>(arguments: &[&str], name: &str, list: &str)
where
    T: DeserializeOwned + Into<Answer>,
{
    let (result, json) = sample::<T>(&format!("{name}.json"));
    let daemon = Daemon::answering(result);
    let form = |form| stdout_of(&daemon.meshctl(&[&["--output", form], arguments].concat()));

    let tsv = form("tsv");
    let ndjson = form("ndjson");

    assert_eq!(form("json"), json);
    assert_eq!(ndjson.lines().count(), 1, "{ndjson}");
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&ndjson).unwrap(), value);
    assert_golden(&format!("{name}.tsv"), &tsv);

    let columns: Vec<&str> = tsv.lines().next().unwrap().split('\t').collect();
    for line in tsv.lines() {
        assert_eq!(line.split('\t').count(), columns.len(), "{line}");
    }
    let records = value[list].as_array().unwrap();
    assert_eq!(tsv.lines().count(), records.len() + 1);
    for record in records {
        for key in record.as_object().unwrap().keys() {
            let inside = format!("{key}.");
            let has = |column: &&str| column == key || column.starts_with(&inside);
            assert!(columns.iter().any(has), "{name}: {key}");
        }
    }
}

#[test]
fn every_list_has_every_form() {
    assert_forms::<Interfaces>(&["interfaces"], "interfaces", "interfaces");
    assert_forms::<Neighbors>(&["neighbors"], "neighbors", "neighbors");
    assert_forms::<Originators>(&["originators"], "originators", "originators");
    assert_forms::<Routes>(&["routes"], "routes", "routes");
    assert_forms::<Gateways>(&["gateways"], "gateways", "gateways");
    assert_forms::<Accounts>(&["receipts", "list"], "receipts-list", "accounts");
    let carried = ["receipts", "list", "--carried"];
    assert_forms::<CarriedFiles>(&carried, "receipts-carried", "files");
    assert_forms::<Stats>(&["receipts", "stats"], "receipts-stats", "hours");
    assert_forms::<Settings>(&["config", "show"], "config-show", "settings");
}

#[test]
fn what_is_no_list_has_a_line_for_each_value() {
    let daemon = Daemon::answering(sample::<Status>("status-gateway.json").0);

    let tsv = stdout_of(&daemon.meshctl(&["status", "--output", "tsv"]));

    assert_golden("status-gateway.tsv", &tsv);
}

#[test]
fn an_empty_list_still_has_its_header() {
    let daemon = Daemon::answering(Neighbors {
        schema: SCHEMA,
        neighbors: vec![],
    });

    let tsv = stdout_of(&daemon.meshctl(&["--output", "tsv", "neighbors"]));

    assert!(tsv.starts_with("originator_id\tnode_id\tname\t"), "{tsv}");
    assert_eq!(tsv.lines().count(), 1, "{tsv}");
}

#[test]
fn only_what_changes_can_be_watched() {
    let daemon = Daemon::answering(sample::<Status>("status-gateway.json").0);
    let cases: [&[&str]; 5] = [
        &["reload", "--watch"],
        &["--watch", "status"],
        &["status", "--watch", "0.09"],
        &["gateways", "--watch", "2", "select", "auto"],
        &["status", "--output", "yaml"],
    ];
    for arguments in cases {
        stderr_of(&daemon.meshctl(arguments), 2);
    }
}

/// A running `meshctl`, and what it prints.
struct Watching {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Watching {
    fn start(daemon: &Daemon, arguments: &[&str]) -> Self {
        let mut command = daemon.command(arguments);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// Its exit code and what it said on standard error.
    fn end(mut self) -> (Option<i32>, String) {
        drop(self.stdout);
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().unwrap();
        pipe.read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stderr)
    }
}

#[test]
fn ndjson_has_a_line_for_each_interval_until_ctrl_c() {
    let daemon = Daemon::answering(sample::<Neighbors>("neighbors.json").0);
    let arguments = ["neighbors", "--output", "ndjson", "--watch", "0.1"];
    let mut watching = Watching::start(&daemon, &arguments);

    for _ in 0..3 {
        let value: Value = serde_json::from_str(&watching.line()).unwrap();
        assert_eq!(value["schema"], SCHEMA);
    }
    let id = i32::try_from(watching.child.id()).unwrap();
    kill(Pid::from_raw(id), Signal::SIGINT).unwrap();

    let mut rest = String::new();
    watching.stdout.read_to_string(&mut rest).unwrap();
    assert!(rest.is_empty() || rest.ends_with("}\n"), "{rest}");
    assert_eq!(watching.end(), (Some(0), String::new()));
}

#[test]
fn the_header_of_tab_separated_values_is_printed_once() {
    let daemon = Daemon::answering(sample::<Neighbors>("neighbors.json").0);
    let mut watching =
        Watching::start(&daemon, &["--output", "tsv", "neighbors", "--watch", "0.1"]);

    let lines: Vec<String> = (0..5).map(|_| watching.line()).collect();

    let headers = lines.iter().filter(|it| it.starts_with("originator_id"));
    assert_eq!(headers.count(), 1, "{lines:?}");
    assert_eq!((&lines[1], &lines[2]), (&lines[3], &lines[4]));
}

#[test]
fn watching_ends_at_once_when_nobody_reads() {
    let daemon = Daemon::answering(sample::<Status>("status-gateway.json").0);
    let mut watching = Watching::start(&daemon, &["status", "--watch", "86400"]);

    assert!(watching.line().starts_with("Internet: yes"));

    assert_eq!(watching.end(), (Some(0), String::new()));
}

#[test]
fn watching_survives_what_may_pass() {
    let (routes, _) = sample::<Routes>("routes.json");
    let asked = AtomicUsize::new(0);
    let daemon = Daemon::start(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        1 => Reaction::Answer(Err(RpcError::new(ErrorCode::NotFound, "no route"))),
        3 => Reaction::Answer(Err(RpcError::new(ErrorCode::Permission, "not for you"))),
        _ => routes.clone().into(),
    });
    let arguments = ["routes", "x", "--output", "ndjson", "--watch", "0.1"];
    let mut watching = Watching::start(&daemon, &arguments);

    assert_eq!(watching.line(), watching.line());
    assert_eq!(watching.line(), "");

    let said = "meshctl: no route\nmeshctl: not for you\n".to_owned();
    assert_eq!(watching.end(), (Some(5), said));
}

/// `script` of util-linux gives a terminal to a program.
#[test]
fn on_a_terminal_each_frame_takes_the_place_of_the_one_before() {
    let (routes, _) = sample::<Routes>("routes.json");
    let asked = AtomicUsize::new(0);
    let daemon = Daemon::start(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => routes.clone().into(),
        _ => Reaction::Answer(Err(RpcError::new(ErrorCode::Permission, "enough"))),
    });
    let socket = daemon.socket();
    let command = format!(
        "{} --socket {} routes --watch 0.1",
        env!("CARGO_BIN_EXE_meshctl"),
        socket.display()
    );

    let output = std::process::Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();

    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(5), "{text:?}");
    assert_eq!(text.matches("\u{1b}[HTABLE").count(), 2, "{text:?}");
    assert_eq!(text.matches("\u{1b}[J").count(), 2, "{text:?}");
}

#[test]
fn versions_of_both_are_shown_and_of_one_without_a_daemon() {
    let (mut status, _) = sample::<Status>("status-gateway.json");
    status.schema = SCHEMA + 7;
    status.version = "9.8.7".into();
    let daemon = Daemon::answering(status);

    let text = stdout_of(&daemon.meshctl(&["version"]));
    let json = stdout_of(&daemon.meshctl(&["--json", "version"]));

    let own = env!("CARGO_PKG_VERSION");
    let client = format!("meshctl  {own} (schema {SCHEMA})");
    assert_eq!(
        text,
        format!("{client}\nmeshd    9.8.7 (schema {})\n", SCHEMA + 7)
    );
    let expected = serde_json::json!({
        "schema": SCHEMA,
        "client": {"schema": SCHEMA, "version": own},
        "daemon": {"schema": SCHEMA + 7, "version": "9.8.7"},
    });
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), expected);

    let absent = meshctl()
        .args(["--socket", "/nonexistent/s", "version"])
        .output()
        .unwrap();
    assert_eq!(absent.status.code(), Some(3));
    assert_eq!(
        String::from_utf8(absent.stdout).unwrap(),
        format!("{client}\nmeshd    -\n")
    );
    let stderr = String::from_utf8(absent.stderr).unwrap();
    assert!(
        stderr.starts_with("meshctl: meshd is not running"),
        "{stderr}"
    );
}

#[test]
fn completions_name_every_command_and_a_shell_takes_them() {
    let script = |shell| stdout_of(&meshctl().args(["completions", shell]).output().unwrap());
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = script(shell);
        for word in ["neighbors", "completions", "output", "watch"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let complete = format!(
        "{}\nCOMP_WORDS=(meshctl neigh) COMP_CWORD=1\n_meshctl meshctl neigh meshctl\necho \"${{COMPREPLY[*]}}\"",
        script("bash")
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &complete])
        .output()
        .unwrap();
    assert_eq!(stdout_of(&output), "neighbors\n");
    stderr_of(
        &meshctl().args(["completions", "tcsh"]).output().unwrap(),
        2,
    );
}
