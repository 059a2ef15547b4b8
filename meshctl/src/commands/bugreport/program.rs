//! Other programs, which may be missing, hang, or never end.

use std::io::{self, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// As much as is read of what one says.
const MAX_BYTES: u64 = 1024 * 1024;

/// Where programs are that only root needs, and some shells do not look.
const MORE_PLACES: &str = "/usr/sbin:/sbin:/usr/bin:/bin";

/// What a program said, or why it did not.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) text: String,
    /// Whether it ran, and succeeded.
    pub(super) is_done: bool,
}

/// Runs a program, no longer than `limit`.
pub(super) fn run(name: &str, arguments: &[&str], limit: Duration) -> Output {
    match start(name, arguments) {
        Ok((child, reader)) => finish(child, reader, limit),
        Err(error) => Output {
            text: format!("({name}: {error})\n"),
            is_done: false,
        },
    }
}

fn start(name: &str, arguments: &[&str]) -> io::Result<(Child, io::PipeReader)> {
    let places = std::env::var("PATH").unwrap_or_default();
    let (reader, writer) = io::pipe()?;
    let child = Command::new(name)
        .args(arguments)
        .env("PATH", format!("{places}:{MORE_PLACES}"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()?;
    Ok((child, reader))
}

fn finish(mut child: Child, reader: io::PipeReader, limit: Duration) -> Output {
    let (sender, said) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // As far as it got. Who says more finds nobody listening any longer.
        let _ = reader.take(MAX_BYTES).read_to_end(&mut bytes);
        // Whoever waited may have given up.
        let _ = sender.send(bytes);
    });
    let said = said.recv_timeout(limit);
    if said.is_err() {
        // It has ended, then, or is beyond reach.
        let _ = child.kill();
    }
    let is_done = child.wait().is_ok_and(|status| status.success());
    match said {
        Ok(bytes) => Output {
            text: whole_lines(&bytes),
            is_done,
        },
        Err(_) => Output {
            text: format!("(no answer within {limit:?})\n"),
            is_done: false,
        },
    }
}

/// Half a line at the end of what was read may be half of something that is to be removed.
fn whole_lines(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    if bytes.len() as u64 == MAX_BYTES {
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn both_ways_to_say_something_are_heard() {
        let output = run("sh", &["-c", "echo out; echo error >&2; exit 3"], LIMIT);

        assert_eq!(output.text, "out\nerror\n");
        assert!(!output.is_done);
    }

    #[test]
    fn who_never_ends_is_ended() {
        let endless = run("yes", &[], LIMIT);
        let silent = run("sleep", &["1000"], Duration::from_millis(50));
        let missing = run("no-such-program", &[], LIMIT);

        assert!(endless.text.len() as u64 <= MAX_BYTES && endless.text.ends_with("y\n"));
        assert_eq!(silent.text, "(no answer within 50ms)\n");
        assert!(
            missing.text.starts_with("(no-such-program: "),
            "{missing:?}"
        );
        assert!(!endless.is_done && !silent.is_done && !missing.is_done);
    }
}
