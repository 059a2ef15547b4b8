//! `--watch`: a result again and again, until Ctrl-C or until nobody reads it.

use std::io;
use std::os::fd::AsFd as _;
use std::time::Duration;

use control_api::Exit;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::interrupt::on_interrupt;
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
        // Ctrl-C is how watching ends, so it is a success.
        on_interrupt(|| Exit::Ok)?;
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

/// Waits, but no longer than somebody reads: a pipe without a reader has an error.
pub(super) fn has_reader_after(interval: Duration) -> bool {
    let stdout = io::stdout();
    let mut waiting = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    let timeout = PollTimeout::try_from(interval).unwrap_or(PollTimeout::MAX);
    match poll(&mut waiting, timeout) {
        // Stopped and continued: the screen may be another one by now.
        Ok(0) | Err(Errno::EINTR) => true,
        Ok(_) | Err(_) => false,
    }
}
