//! The units, as systemd's own programs judge them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::harness::{note, plain};
use mesh_tests::{binaries, command};

/// A unit, and the most that `systemd-analyze security` may say of it, in tenths.
const UNITS: [(&str, u32); 2] = [("meshd.service", 20), ("redeemd.service", 15)];

/// What systemd before 254 does not know, and says so. Nothing depends on it.
const TOO_NEW: [&str; 2] = ["RestartSteps", "RestartMaxDelaySec"];

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        plain("units_are_hardened", hardened),
        plain("units_are_what_systemd_understands", understood),
        plain("users_are_what_systemd_understands", users),
    ]
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

fn hardened() -> Result<()> {
    for (unit, most) in UNITS {
        let path = directory().join(unit);
        let mut analyze = Command::new("systemd-analyze");
        analyze
            .args(["--no-pager", "security", "--offline=true", "--threshold"])
            .arg(most.to_string())
            .arg(path);
        let output = command::output(&mut analyze, None)?;
        let said = String::from_utf8_lossy(&output.stdout);
        let overall = said.lines().find(|line| line.contains("Overall exposure"));
        let overall = overall.with_context(|| format!("nothing was said of {unit}"))?;
        note(overall.trim_start_matches(['→', ' ']));
        ensure!(output.status.success(), "{unit} may do too much:\n{said}");
    }
    Ok(())
}

/// The programs are where they were built.
fn understood() -> Result<()> {
    let place = tempdir("units")?;
    for (unit, _) in UNITS {
        let text = fs::read_to_string(directory().join(unit))?;
        let program = unit.trim_end_matches(".service");
        let installed = format!("/usr/sbin/{program}");
        ensure!(
            text.contains(&installed),
            "{unit} does not start {installed}"
        );
        let built = binaries::find(program)?.display().to_string();
        fs::write(place.join(unit), text.replace(&installed, &built))?;
        let mut verify = Command::new("systemd-analyze");
        verify.args(["--man=no", "verify"]).arg(place.join(unit));
        let output = command::output(&mut verify, None)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let is_known = |line: &&str| TOO_NEW.iter().any(|key| line.contains(key));
        let wrong: Vec<&str> = said.lines().filter(|line| !is_known(line)).collect();
        ensure!(
            wrong.is_empty() && output.status.success(),
            "{unit}: {said}"
        );
    }
    Ok(())
}

fn users() -> Result<()> {
    let root = tempdir("users")?;
    let etc = root.join("etc");
    fs::create_dir_all(&etc)?;
    let mut sysusers = Command::new("systemd-sysusers");
    sysusers
        .arg("--root")
        .arg(&root)
        .arg(directory().join("meshd.sysusers"));
    let output = command::output(&mut sysusers, None)?;
    ensure!(output.status.success(), "{output:?}");
    for file in ["passwd", "group"] {
        let text = fs::read_to_string(etc.join(file))?;
        ensure!(
            text.lines().any(|line| line.starts_with("meshd:")),
            "{file}: {text}"
        );
    }
    Ok(())
}

/// An empty directory, in the sandbox, which takes it along.
fn tempdir(name: &str) -> Result<PathBuf> {
    let place = Path::new(mesh_tests::sandbox::FILES).join(name);
    fs::create_dir_all(&place)?;
    Ok(place)
}
