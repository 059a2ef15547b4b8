//! Waiting for a point in time, with one timer of the kernel's.
//!
//! The runtime's own timers are kept on a wheel that wakes the process at the wheel's divisions as
//! well, two to four times for a wait of a second, and once more when a nearer time is set. A
//! daemon that does nothing else notices.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Instant;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;

use crate::watch;

/// A timer that can be waited for again and again.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: AsyncFd<Timer>,
    /// What the timer is set to.
    set_to: Option<Instant>,
}

impl Alarm {
    /// Not set yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The kernel has no more timers or file descriptors for us.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Self {
            timer: watch::for_input(Timer(timer))?,
            set_to: None,
        })
    }

    /// Waits until a time has come; for ever without one. The kernel is told only when the time is
    /// another than that of the last wait, so giving up and waiting again costs nothing.
    ///
    /// # Errors
    /// What the kernel refuses, which it has no reason to.
    pub(crate) async fn wait_until(&mut self, time: Option<Instant>) -> io::Result<()> {
        let Some(time) = time else {
            return std::future::pending().await;
        };
        while Instant::now() < time {
            self.set(time)?;
            // It may be an earlier time that has come, while nobody waited for it.
            self.timer.readable().await?.clear_ready();
        }
        Ok(())
    }

    /// Setting it also takes back what it has to tell of its last time, so it is never read.
    fn set(&mut self, time: Instant) -> io::Result<()> {
        /// Zero would switch the timer off.
        const SOONEST: TimeSpec = TimeSpec::new(0, 1);
        if self.set_to == Some(time) {
            return Ok(());
        }
        let wait = TimeSpec::from(time.saturating_duration_since(Instant::now())).max(SOONEST);
        let Timer(timer) = self.timer.get_ref();
        timer.set(Expiration::OneShot(wait), TimerSetTimeFlags::empty())?;
        self.set_to = Some(time);
        Ok(())
    }
}

/// Has what the runtime asks of a file descriptor.
#[derive(Debug)]
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
