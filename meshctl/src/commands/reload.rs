//! `meshctl reload`

use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use control_api::{Exit, Method, Reloaded};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::Daemon;
use super::interrupt::on_signals;
use crate::cli::reload::Reload;
use crate::failure::Failure;
use crate::format;
use crate::output::{self, Output};

pub(super) fn run(daemon: &Daemon, output: Output, options: &Reload) -> Result<(), Failure> {
    if options.confirmed {
        let kept: Reloaded = daemon.connect()?.call(Method::ReloadConfirm)?;
        return output.show(&kept, |kept| done("Kept", kept));
    }
    if options.revert {
        let back: Reloaded = daemon.connect()?.call(Method::ReloadRevert)?;
        return output.show(&back, |back| done("Taken back", back));
    }
    match options.confirm {
        Some(within_s) => try_out(daemon, output, within_s),
        None => output.show(&daemon.connect()?.reload()?, text),
    }
}

fn try_out(daemon: &Daemon, output: Output, within_s: u32) -> Result<(), Failure> {
    let start = Instant::now();
    let tried: Reloaded = daemon.connect()?.call(Method::ReloadTry { within_s })?;
    let asks = output.is_text() && io::stdin().is_terminal();
    if asks {
        take_back_on_signals(daemon)?;
    }
    output.show(&tried, |tried| {
        let how = match asks {
            true => "Enter keeps it, Ctrl-C takes it back",
            false => "meshctl reload --confirmed keeps it",
        };
        format!("{}On trial for {within_s} s: {how}.\n", text(tried))
    })?;
    if !asks {
        return Ok(());
    }
    let limit = Duration::from_secs(within_s.into());
    match wait_for_enter(limit.saturating_sub(start.elapsed())) {
        Reaction::Enter => {
            let kept: Reloaded = daemon.connect()?.call(Method::ReloadConfirm)?;
            output::write_all(&done("Kept", &kept))
        }
        Reaction::Gone => take_back(daemon).and(Err(Failure::silent(Exit::Failure))),
        Reaction::Nothing => Err(Failure::new(
            Exit::Failure,
            "not confirmed: what was before is in force again",
        )),
    }
}

/// Ctrl-C, and a terminal that hangs up.
fn take_back_on_signals(daemon: &Daemon) -> Result<(), Failure> {
    let daemon = daemon.clone();
    let signals = [Signal::SIGINT, Signal::SIGHUP, Signal::SIGTERM];
    on_signals(&signals, move || match take_back(&daemon) {
        Ok(()) => Exit::Failure,
        Err(failure) => {
            failure.say();
            failure.exit
        }
    })
}

/// Nobody may be there to read it.
fn take_back(daemon: &Daemon) -> Result<(), Failure> {
    let back: Reloaded = daemon.connect()?.call(Method::ReloadRevert)?;
    let _ = output::write_all(&done("Taken back", &back));
    Ok(())
}

enum Reaction {
    Enter,
    Nothing,
    /// There is no terminal any more.
    Gone,
}

fn wait_for_enter(limit: Duration) -> Reaction {
    let end = Instant::now() + limit;
    let stdin = io::stdin();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut waiting = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        match poll(
            &mut waiting,
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
        ) {
            Ok(0) => return Reaction::Nothing,
            Err(Errno::EINTR) => {}
            Ok(_) => {
                return match stdin.lock().read(&mut [0; 64]) {
                    Ok(1..) => Reaction::Enter,
                    Ok(0) | Err(_) => Reaction::Gone,
                };
            }
            Err(_) => return Reaction::Gone,
        }
    }
}

fn done(what: &str, result: &Reloaded) -> String {
    match result.changed.as_slice() {
        [] => format!("{what}: nothing was changed.\n"),
        keys => format!("{what}: {}.\n", format::harmless(&keys.join(", "))),
    }
}

fn text(result: &Reloaded) -> String {
    let mut text = match result.changed.as_slice() {
        [] => "Read again, nothing changed.\n".to_owned(),
        keys => format!("Changed: {}.\n", format::harmless(&keys.join(", "))),
    };
    if !result.needs_restart.is_empty() {
        let keys = format::harmless(&result.needs_restart.join(", "));
        text.push_str(&format!(
            "In force after a restart of meshd only: {keys}.\n"
        ));
    }
    text
}
