//! A daemon for tests: a real Unix socket, answers in the types of control-api.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use control_api::{Answer, Incoming, Method, RpcError, Session};
use serde::de::DeserializeOwned;

/// What the daemon does with a request.
pub(crate) enum Reaction {
    /// It answers.
    Answer(Result<Answer, RpcError>),
    /// It never does.
    Silence,
    /// It sends these bytes instead.
    Bytes(Vec<u8>),
}

impl<T: Into<Answer>> From<T> for Reaction {
    fn from(result: T) -> Self {
        Self::Answer(Ok(result.into()))
    }
}

/// A daemon that lives until its test ends.
pub(crate) struct Daemon {
    directory: tempfile::TempDir,
}

impl Daemon {
    /// Listens, and reacts to each request as `react` says.
    pub(crate) fn start(react: impl Fn(&Method) -> Reaction + Send + 'static) -> Self {
        let daemon = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let listener = UnixListener::bind(daemon.socket()).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&mut stream.unwrap(), &react);
            }
        });
        daemon
    }

    /// A daemon that gives one answer to everything.
    pub(crate) fn answering(result: impl Into<Answer>) -> Self {
        let answer = result.into();
        Self::start(move |_| Reaction::Answer(Ok(answer.clone())))
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    /// Runs `meshctl` with this daemon's socket.
    pub(crate) fn meshctl(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = meshctl();
        command.arg("--socket").arg(self.socket()).args(arguments);
        command
    }
}

pub(crate) fn meshctl() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshctl"));
    command.stdin(Stdio::null());
    command
}

fn serve(stream: &mut std::os::unix::net::UnixStream, react: &impl Fn(&Method) -> Reaction) {
    let mut session = Session::new();
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut bytes) {
        session.handle_bytes(bytes.get(..length).unwrap());
        while let Some(incoming) = session.poll_incoming() {
            let Incoming::Call(call) = incoming else {
                panic!("meshctl sent {incoming:?}")
            };
            let line = match react(&call.method) {
                Reaction::Answer(outcome) => call.answer(outcome).unwrap(),
                Reaction::Silence => continue,
                Reaction::Bytes(line) => line,
            };
            // A client that has had enough hangs up.
            if stream.write_all(&line).is_err() {
                return;
            }
        }
    }
}

/// The result that control-api's own tests hold fixed, and its JSON.
pub(crate) fn sample<T: DeserializeOwned>(name: &str) -> (T, String) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/control-api/tests/golden");
    let json = std::fs::read_to_string(golden.join(name)).unwrap();
    (serde_json::from_str(&json).unwrap(), json)
}

/// Compares with `tests/golden/NAME`; `UPDATE_GOLDEN=1` writes it anew.
#[track_caller]
pub(crate) fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, golden, "{name}");
}

#[track_caller]
pub(crate) fn stdout_of(output: &Output) -> String {
    stdout_with(output, 0)
}

/// What a command printed that ended with `code` and had nothing for standard error.
#[track_caller]
pub(crate) fn stdout_with(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr, "");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command printed, however it ended.
pub(crate) fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The one line on standard error of a command that ended with `code` and printed nothing else.
#[track_caller]
pub(crate) fn stderr_of(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    stderr
}
