//! `meshctl reload` and configurations on trial.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use common::{Daemon, Reaction, sample, stderr_of, stdout_of};
use control_api::{ErrorCode, Method, Reloaded, RpcError};

/// A daemon that does what it is told, and what it was told.
fn daemon() -> (Daemon, mpsc::Receiver<Method>) {
    let (sender, asked) = mpsc::channel();
    let reloaded = sample::<Reloaded>("reload.json").0;
    let daemon = Daemon::start(move |method| {
        sender.send(method.clone()).unwrap();
        reloaded.clone().into()
    });
    (daemon, asked)
}

#[test]
fn each_option_has_its_question() {
    let (daemon, asked) = daemon();
    for (option, method, said) in [
        (&["--confirmed"][..], Method::ReloadConfirm, "Kept: "),
        (&["--revert"], Method::ReloadRevert, "Taken back: "),
        (&[], Method::Reload, "Changed: "),
        // Without a terminal nobody is asked.
        (
            &["--confirm", "60"],
            Method::ReloadTry { within_s: 60 },
            "On trial for 60 s: meshctl reload --confirmed keeps it.",
        ),
    ] {
        let text = stdout_of(&daemon.meshctl(&[&["reload"], option].concat()));
        assert!(text.contains(said), "{text}");
        assert_eq!(asked.try_iter().collect::<Vec<_>>(), [method]);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (daemon, asked) = daemon();
    for options in [
        &["--confirm", "0"][..],
        &["--confirm", "3601"],
        &["--confirm", "60", "--confirmed"],
        &["--confirmed", "--revert"],
    ] {
        stderr_of(&daemon.meshctl(&[&["reload"], options].concat()), 2);
    }
    assert_eq!(asked.try_iter().count(), 0);
    let none = || RpcError::new(ErrorCode::NotFound, "no configuration is on trial");
    let daemon = Daemon::start(move |_| Reaction::Answer(Err(none())));
    stderr_of(&daemon.meshctl(&["reload", "--confirmed"]), 4);
}

/// What is asked when `typed` is typed on a terminal while `within` seconds last, and how it ends. `script` of
/// util-linux gives a terminal to a program; the shell it starts makes room for meshctl, or Ctrl-C would end that
/// shell too, and tell of it instead.
fn on_a_terminal(within: u32, typed: &[u8]) -> (Vec<Method>, Option<i32>, String) {
    let (daemon, asked) = daemon();
    let command = format!(
        "exec {} --socket {} reload --confirm {within}",
        env!("CARGO_BIN_EXE_meshctl"),
        daemon.socket().display()
    );
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("On trial") {
        assert_ne!(stdout.read_line(&mut text).unwrap(), 0, "{text}");
    }
    // Kept open: the end of what is typed would be the end of the terminal.
    let mut terminal = child.stdin.take().unwrap();
    terminal.write_all(typed).unwrap();
    terminal.flush().unwrap();
    stdout.read_to_string(&mut text).unwrap();
    let code = child.wait().unwrap().code();
    drop(terminal);
    (asked.try_iter().collect(), code, text)
}

#[test]
fn enter_keeps_it() {
    let (asked, code, text) = on_a_terminal(60, b"\n");
    let tried = Method::ReloadTry { within_s: 60 };
    assert_eq!(asked, [tried, Method::ReloadConfirm], "{text}");
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("Enter keeps it, Ctrl-C takes it back"),
        "{text}"
    );
}

#[test]
fn silence_leaves_it_to_the_daemon() {
    let (asked, code, text) = on_a_terminal(1, b"");
    assert_eq!(asked, [Method::ReloadTry { within_s: 1 }], "{text}");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("not confirmed"), "{text}");
}

/// Ctrl-C, and the end of input.
#[test]
fn who_goes_takes_it_back() {
    for typed in [b"\x03", b"\x04"] {
        let (asked, code, text) = on_a_terminal(60, typed);
        let tried = Method::ReloadTry { within_s: 60 };
        assert_eq!(asked, [tried, Method::ReloadRevert], "{text}");
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("Taken back: "), "{text}");
    }
}
