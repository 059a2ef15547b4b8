//! Ctrl-C as the ordinary end of a command.

use std::io;
use std::process;
use std::thread;

use control_api::Exit;
use nix::sys::signal::{SigSet, Signal};

use crate::failure::Failure;

/// On Ctrl-C, `end` says the last word and how the command ended. What is being written is written to its end.
pub(super) fn on_interrupt(end: impl FnOnce() -> Exit + Send + 'static) -> Result<(), Failure> {
    watch(end).map_err(|error| Failure::new(Exit::Failure, error.to_string()))
}

fn watch(end: impl FnOnce() -> Exit + Send + 'static) -> io::Result<()> {
    let mut interrupt = SigSet::empty();
    interrupt.add(Signal::SIGINT);
    // Threads inherit it, so the signal waits for the one that asks for it.
    interrupt.thread_block()?;
    thread::Builder::new().spawn(move || {
        let _ = interrupt.wait();
        let exit = end();
        let _whole = io::stdout().lock();
        process::exit(exit.code().into());
    })?;
    Ok(())
}
