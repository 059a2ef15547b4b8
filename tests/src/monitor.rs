//! Every change that a kernel makes to its routes, rules, addresses and links while somebody looks.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;
use crate::wait::wait_for;

/// Routes in a table that nobody uses, to see that the monitor listens and has heard everything.
const MARKERS: [&str; 2] = ["192.0.2.77", "192.0.2.78"];

/// `ip monitor`, writing into a file.
#[derive(Debug)]
pub struct Monitor {
    child: Child,
    namespace: Namespace,
    file: PathBuf,
}

impl Monitor {
    /// Begins to listen; when it returns, nothing is missed any more.
    ///
    /// # Errors
    /// `ip` could not be started.
    pub fn start(namespace: &Namespace, directory: &Path) -> Result<Self> {
        let file = directory.join("monitor.txt");
        let out = File::create(&file)?;
        let mut command = Command::new("ip");
        command.args(["monitor", "link", "address", "route", "rule", "nexthop"]);
        command.stdin(Stdio::null()).stdout(out);
        let child = namespace.within(|| command.spawn().context("start ip monitor"))?;
        let monitor = Self {
            child,
            namespace: namespace.clone(),
            file,
        };
        let [first, _] = MARKERS;
        wait_for("ip monitor to listen", Duration::from_secs(5), || {
            monitor.mark(first)
        })?;
        Ok(monitor)
    }

    /// Makes a change of no consequence and looks whether it has been heard.
    fn mark(&self, marker: &str) -> Result<()> {
        self.namespace
            .ip(&format!("route replace blackhole {marker} table 77"))?;
        self.namespace.ip("route flush table 77")?;
        ensure!(
            fs::read_to_string(&self.file)?.contains(marker),
            "it has not heard of {marker}"
        );
        Ok(())
    }

    /// What changed since the start, a line each.
    ///
    /// # Errors
    /// The monitor is deaf.
    pub fn stop(self) -> Result<Vec<String>> {
        let [_, last] = MARKERS;
        wait_for("ip monitor to catch up", Duration::from_secs(5), || {
            self.mark(last)
        })?;
        let text = fs::read_to_string(&self.file)?;
        let lines = text
            .lines()
            .filter(|line| !MARKERS.iter().any(|marker| line.contains(marker)));
        Ok(lines.map(|line| line.trim_end().to_owned()).collect())
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
