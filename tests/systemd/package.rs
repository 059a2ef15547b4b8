//! The packages: where they are, and what dpkg does with them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use mesh_tests::{binaries, command};

/// The package file of this build, as `systemd/packages/debian/build.sh` left it beside the programs.
fn file(package: &str) -> Result<PathBuf> {
    let programs = binaries::find("meshd")?;
    let place = programs.with_file_name("debian");
    let files = fs::read_dir(&place).into_iter().flatten().flatten();
    let files = files.map(|entry| entry.path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&format!("{package}_")) && name.ends_with(".deb")
    };
    files.into_iter().find(is_it).with_context(|| {
        format!(
            "no package of {package} in {}: `make package-for-tests` makes it",
            place.display()
        )
    })
}

/// `dpkg` as an administrator runs it. Nothing is to survive this machine, so nothing is synchronized.
fn dpkg(action: &str, what: &Path) -> Result<String> {
    let mut dpkg = Command::new("dpkg");
    dpkg.args(["--force-unsafe-io", action]).arg(what);
    // None of ours asks, nor does a new configuration file.
    dpkg.env("DEBIAN_FRONTEND", "noninteractive");
    dpkg.env("PATH", env::var("PATH").unwrap_or_default());
    let output = command::output(&mut dpkg, None)?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "dpkg {action}: {said}");
    Ok(said)
}

/// Installs, or upgrades.
pub(crate) fn install(package: &str) -> Result<()> {
    dpkg("--install", &file(package)?).map(drop)
}

/// Removes, and keeps the configuration.
pub(crate) fn remove(package: &str) -> Result<()> {
    dpkg("--remove", Path::new(package)).map(drop)
}

/// Removes the configuration as well, and returns what was said about it.
pub(crate) fn purge(package: &str) -> Result<String> {
    dpkg("--purge", Path::new(package))
}
