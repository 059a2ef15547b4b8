//! Ctrl-C, and other signals, as the ordinary end of a command.

use std::io;
use std::process;
use std::thread;

use control_api::Exit;
use nix::sys::signal::{SigSet, Signal};

use crate::failure::Failure;

/// On Ctrl-C, `end` says the last word and how the command ended. What is being written is written to its end.
pub(super) fn on_interrupt(end: impl FnOnce() -> Exit + Send + 'static) -> Result<(), Failure> {
    on_signals(&[Signal::SIGINT], end)
}

/// The same on any of these signals.
pub(super) fn on_signals(
    signals: &[Signal],
    end: impl FnOnce() -> Exit + Send + 'static,
) -> Result<(), Failure> {
    let signals = signals.iter().copied().collect();
    watch(signals, end).map_err(|error| Failure::new(Exit::Failure, error.to_string()))
}

fn watch(signals: SigSet, end: impl FnOnce() -> Exit + Send + 'static) -> io::Result<()> {
    // Threads inherit it, so a signal waits for the one that asks for it.
    signals.thread_block()?;
    thread::Builder::new().spawn(move || {
        let _ = signals.wait();
        let exit = end();
        let _whole = io::stdout().lock();
        process::exit(exit.code().into());
    })?;
    Ok(())
}
