//! `--watch`: a result again and again, until Ctrl-C or until nobody reads it.

use std::io;
use std::os::fd::AsFd as _;
use std::process;
use std::thread;
use std::time::Duration;

use control_api::Exit;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};

use crate::cli::Watch;
use crate::failure::Failure;
use crate::output::{Frame, Output};

impl Watch {
    /// Shows a result as often as is wanted. What cannot be asked at first ends it; later on a daemon that is
    /// not there, or a route that is gone, may be back the next time.
    pub(super) fn run(
        &self,
        output: Output,
        show: impl Fn(Output) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(interval) = self.interval else {
            return show(output);
        };
        let of = |frame| Output { frame, ..output };
        end_on_interrupt().map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
        show(of(Frame::First))?;
        while has_reader_after(interval) {
            match show(of(Frame::Later)) {
                Err(failure) if may_pass(failure.exit) => failure.say(),
                shown => shown?,
            }
        }
        Ok(())
    }
}

fn may_pass(exit: Exit) -> bool {
    matches!(exit, Exit::NotRunning | Exit::NotFound | Exit::Timeout)
}

/// Ctrl-C is how watching ends, so it is a success. What is being written is written to its end.
fn end_on_interrupt() -> io::Result<()> {
    let mut interrupt = SigSet::empty();
    interrupt.add(Signal::SIGINT);
    // Threads inherit it, so the signal waits for the one that asks for it.
    interrupt.thread_block()?;
    thread::Builder::new().spawn(move || {
        let _ = interrupt.wait();
        let _whole = io::stdout().lock();
        process::exit(Exit::Ok.code().into());
    })?;
    Ok(())
}

/// Waits, but no longer than somebody reads: a pipe without a reader has an error.
fn has_reader_after(interval: Duration) -> bool {
    let stdout = io::stdout();
    let mut waiting = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    let timeout = PollTimeout::try_from(interval).unwrap_or(PollTimeout::MAX);
    match poll(&mut waiting, timeout) {
        // Stopped and continued: the screen may be another one by now.
        Ok(0) | Err(Errno::EINTR) => true,
        Ok(_) | Err(_) => false,
    }
}
