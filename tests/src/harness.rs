//! How a test gets its village, and what is kept when it fails.

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::lab::Lab;
use crate::topology::Topology;
use crate::{container, kept, sandbox, vm};

/// What ends by itself ends in a fraction of this.
const VM_BOUND: Duration = Duration::from_secs(30 * 60);

/// What one test does with its village.
pub type Body = fn(&mut Lab) -> Result<()>;

/// A test in a village of its own, named after the test.
#[must_use]
pub fn in_lab(name: &'static str, topology: fn() -> Topology, body: Body) -> Trial {
    trial(name, move || Lab::with_topology(name, &topology()), body)
}

/// The same with 802.11 radios, which takes [`main_in_vm`].
#[must_use]
pub fn in_radio_lab(name: &'static str, topology: fn() -> Topology, body: Body) -> Trial {
    trial(name, move || Lab::with_radios(name, &topology()), body)
}

fn trial(
    name: &'static str,
    build: impl FnOnce() -> Result<Lab> + Send + 'static,
    body: Body,
) -> Trial {
    Trial::test(name, move || {
        let mut lab = build().map_err(|e| failed(&e))?;
        let result = panic::catch_unwind(AssertUnwindSafe(|| body(&mut lab)));
        let error = match result {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => anyhow!("the test panicked, see above"),
        };
        let text = format!("{error:#}");
        Err(match keep(name, &lab, &text) {
            Ok(place) => format!("{text}\nlogs and kernel state: {}", place.display()).into(),
            Err(error) => format!("{text}\nlogs and kernel state are lost: {error:#}").into(),
        })
    })
}

/// A test that needs no village.
#[must_use]
pub fn plain(name: impl Into<String>, body: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || body().map_err(|error| failed(&error)))
}

/// Prints a figure beside the results: measured, not judged.
pub fn note(text: &str) {
    eprintln!("    measured: {text}");
}

fn failed(error: &anyhow::Error) -> Failed {
    format!("{error:#}").into()
}

/// The `main` of a test program: enters the sandbox and runs what the command line asks for.
///
/// One test at a time unless told otherwise: most of them watch how long something takes.
#[must_use]
pub fn main(trials: fn() -> Vec<Trial>) -> ExitCode {
    main_within(sandbox::enter, trials)
}

/// The same in a virtual machine, whose kernel has 802.11 radios and every other module. There is
/// one set of radios, so that it has to stay one test at a time.
#[must_use]
pub fn main_in_vm(trials: fn() -> Vec<Trial>) -> ExitCode {
    main_within(|| vm::enter(VM_BOUND), trials)
}

/// The same in a container whose first process is systemd.
#[must_use]
pub fn main_under_systemd(trials: fn() -> Vec<Trial>) -> ExitCode {
    main_within(container::enter, trials)
}

fn main_within(enter: impl FnOnce() -> Result<()>, trials: fn() -> Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    if let Err(error) = enter() {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    arguments.test_threads.get_or_insert(1);
    libtest_mimic::run(&arguments, trials()).exit_code()
}

/// Writes logs and kernel state where they survive the sandbox, and returns where that is.
///
/// # Errors
/// Neither the checkout nor the temporary directory can be written.
pub fn keep(name: &str, lab: &Lab, failure: &str) -> Result<PathBuf> {
    let place = kept::place(name, "failure.txt", failure)?;
    lab.dump(&place);
    Ok(place)
}
