//! Nothing outlives the laboratory, however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use mesh_tests::binaries;
use mesh_tests::harness::plain;
use mesh_tests::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        plain(
            "sandbox_killed_from_outside_takes_everything_along",
            killed_from_outside,
        ),
        plain("sandbox_killed_inside_ends_with_its_status", killed_inside),
    ]
}

fn killed_from_outside() -> Result<()> {
    let mut guard = village()?;
    kill(Pid::from_raw(i32::try_from(guard.id())?), Signal::SIGKILL)?;
    guard.wait()?;
    wait_for(
        "everything started by a killed laboratory to be gone",
        BOUND,
        || {
            let left = strangers()?;
            ensure!(left.is_empty(), "processes {left:?} are left");
            Ok(())
        },
    )
}

fn killed_inside() -> Result<()> {
    let mut guard = village()?;
    // The first process of the other sandbox is the only child of its guard.
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", guard.id()))?;
    kill(Pid::from_raw(children.trim().parse()?), Signal::SIGKILL)?;
    let status = guard.wait()?;
    ensure!(status.code() == Some(137), "the guard ended with {status}");
    let left = strangers()?;
    ensure!(left.is_empty(), "processes {left:?} are left");
    Ok(())
}

const BOUND: Duration = Duration::from_secs(5);

/// Starts a laboratory in a sandbox inside ours, with a program that would run for ever.
fn village() -> Result<Child> {
    let mut guard = Command::new(binaries::find("mesh-lab")?)
        .args([
            "shell",
            "--bare",
            "--topology",
            "line:2",
            "--",
            "sleep",
            "infinity",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .context("start mesh-lab")?;
    let out = guard.stdout.take().context("no stdout")?;
    let line = BufReader::new(out)
        .lines()
        .next()
        .context("mesh-lab ended")??;
    ensure!(line.starts_with("line:2 is up"), "mesh-lab said {line:?}");
    wait_for(
        "the program in the laboratory",
        BOUND,
        || match strangers()?.len() {
            // The first process, and `sleep`.
            2.. => Ok(()),
            count => bail!("{count} processes in another sandbox"),
        },
    )?;
    Ok(guard)
}

/// The processes we see that live in another process namespace than ours. Those that are dead
/// and only wait for somebody to take note do not count.
fn strangers() -> Result<BTreeSet<u32>> {
    let ours = fs::read_link("/proc/self/ns/pid").context("this needs a /proc of its own")?;
    let mut strangers = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(id) = entry?.file_name().to_string_lossy().parse() else {
            continue;
        };
        // One that ends while we look has neither.
        let foreign = fs::read_link(format!("/proc/{id}/ns/pid")).is_ok_and(|its| its != ours);
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        if foreign && !status.is_empty() && !status.contains("State:\tZ") {
            strangers.insert(id);
        }
    }
    Ok(strangers)
}
