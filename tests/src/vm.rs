//! A virtual machine of our own, for what the kernel of this one has not: 802.11 radios above all.
//!
//! [`enter`] boots a stock kernel in QEMU and runs this program again in there, as root, with the
//! file system of the machine outside below a layer in memory that takes what is written.
//!
//! | module | what it holds |
//! |---|---|
//! | `kernel` | the kernel and its modules, which `tests/deps.sh test` fetched |
//! | `initramfs` | what the kernel starts with: enough to reach the file system outside |
//! | `qemu` | the machine itself, and what it says |
//!
//! A test author sees none of this. `harness::main_in_vm` is the `main` of such a test program,
//! `harness::in_radio_lab` a test in it whose routers have 802.11 radios. `Lab::use_radios` says
//! what their meshd makes of them, `Lab::air` cuts and heals as everywhere, `Air::phy` tells which
//! radio is whose, and `Air::replug` replaces them all. `harness::in_lab` works as well, and so
//! does everything else of the laboratory. [`wait_for`](crate::wait::wait_for) is more patient.
//!
//! Programs in there find `/run/netns`, debugfs, and every module of the kernel through
//! `modprobe`. They have no network outside, and less time than they think: no hardware helps, so
//! the processor is 10 to 20 times slower.

mod initramfs;
mod kernel;
mod qemu;

use std::fs;
use std::path::Path;
use std::process;
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub(crate) use self::initramfs::Errand;
use self::kernel::Kernel;
use self::qemu::{End, Machine};
use crate::{kept, sandbox};

/// On the command line of the kernel inside. The environment would not do: whoever takes a machine
/// for a virtual one may unload its drivers.
const MARK: &str = "mesh-lab.vm";

/// Moves the rest of the program into a virtual machine, where it may take as long as `bound`.
/// Call it first in `main`, before any thread.
///
/// The calling process passes on what the inner one prints, and ends with its exit status; only
/// the inner one returns from here. The machine is in a sandbox, so that nothing is left of it
/// however the calling process ends.
///
/// # Errors
/// QEMU or the kernel is missing, the machine did not come up, or it took too long: the text says
/// so, with the end of what the kernel had to say.
pub fn enter(bound: Duration) -> Result<()> {
    if inside() {
        return Ok(());
    }
    sandbox::enter()?;
    process::exit(boot(bound)?);
}

/// Whether this is the virtual machine.
#[must_use]
pub fn inside() -> bool {
    fs::read_to_string("/proc/cmdline")
        .is_ok_and(|line| line.split_whitespace().any(|word| word == MARK))
}

/// Runs this program in the virtual machine and returns its exit status. What the kernel said is
/// kept unless that is 0.
fn boot(bound: Duration) -> Result<i32> {
    let kernel = Kernel::find()?;
    let share = kept::root()?;
    let files = Path::new(sandbox::FILES).join("vm");
    fs::create_dir_all(&files).with_context(|| format!("create {}", files.display()))?;
    let image = initramfs::build(&kernel, &Errand::of_this_program(&share)?)?;
    let machine = Machine {
        kernel: &kernel.image(),
        share: &share,
        files: &files,
    };
    let end = machine.run(&image, bound)?;
    // If nothing was kept. That of the checkout may be another machine's as well.
    if !share.starts_with(env!("CARGO_MANIFEST_DIR")) {
        let _ = fs::remove_dir(&share);
    }
    if let End::Done(0) = end {
        return Ok(0);
    }
    let console = machine.console();
    let place = kept::place("vm", "console.txt", &console)?;
    match end {
        End::Done(status) => {
            eprintln!("what the kernel said: {}/console.txt", place.display());
            Ok(status)
        }
        End::Lost(what) => bail!(
            "the virtual machine {what}; its console, kept in {}, ends with:\n{}",
            place.display(),
            last_lines(&console)
        ),
    }
}

/// What may be of interest of a kernel's last words.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(60);
    lines.get(first..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_those_at_the_end() {
        let text: Vec<String> = (0..100).map(|line| format!("{line}\n")).collect();
        let last = last_lines(&text.concat());
        assert!(last.starts_with("40\n") && last.ends_with("\n99"), "{last}");
        assert_eq!(last_lines("one"), "one");
    }
}
