//! The meshd that is measured.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mesh_tests::binaries;
use mesh_tests::lab::Node;
use mesh_tests::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What it runs under.
pub(super) enum Tool {
    /// As on a router.
    None,
    /// valgrind counts its instructions into this file.
    Callgrind(PathBuf),
}

impl Tool {
    /// How many times longer everything may take.
    pub(super) const fn slowness(&self) -> u32 {
        match self {
            Self::None => 1,
            Self::Callgrind(_) => 10,
        }
    }

    fn command(&self, meshd: &Path) -> Command {
        match self {
            Self::None => Command::new(meshd),
            Self::Callgrind(file) => {
                let mut command = Command::new("valgrind");
                // Nothing is left in /tmp for debuggers that nobody will attach.
                command.args(["--tool=callgrind", "--quiet", "--vgdb=no"]);
                command.arg(format!("--callgrind-out-file={}", file.display()));
                command.arg(meshd);
                command
            }
        }
    }
}

/// A running meshd. Dropping it kills it.
pub(super) struct Subject {
    child: Child,
    process: PathBuf,
}

impl Subject {
    /// Starts it on a node that has been configured, without waiting for anything.
    pub(super) fn start(node: &Node, tool: &Tool) -> Result<Self> {
        let log = File::options().append(true).open(node.files().log());
        let log = log.context("open the log of its first start")?;
        let mut command = tool.command(&binaries::find("meshd")?);
        command.arg("--config").arg(node.files().config());
        command.stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let start = || command.spawn().context("start meshd");
        let child = node.namespace().within(start)?;
        let process = Path::new("/proc").join(child.id().to_string());
        Ok(Self { child, process })
    }

    /// Where the kernel tells of it.
    pub(super) fn process(&self) -> &Path {
        &self.process
    }

    /// Makes sure that it has not ended by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("meshd has ended: {status}"),
            None => Ok(()),
        }
    }

    /// Tells it to end, and waits until it has.
    pub(super) fn end(mut self, bound: Duration) -> Result<()> {
        let id = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(id, Signal::SIGTERM).context("tell meshd to end")?;
        let status = wait_for("meshd to end", bound, || match self.child.try_wait()? {
            Some(status) => Ok(status),
            None => bail!("it still runs"),
        })?;
        ensure!(status.success(), "meshd ended with {status}");
        Ok(())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The instructions of a run, from the file that callgrind has written, which is removed.
pub(super) fn take_total(file: &Path) -> Result<f64> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    fs::remove_file(file)?;
    let total = text.lines().find_map(|line| {
        let totals = line.strip_prefix("totals:");
        totals
            .or(line.strip_prefix("summary:"))?
            .trim()
            .parse()
            .ok()
    });
    total.with_context(|| format!("no totals in {}", file.display()))
}
