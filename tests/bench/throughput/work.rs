//! What the daemons of relays do, beside what they relay.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mesh_tests::namespace::Namespace;

use super::way::Village;
use crate::idle::cpu_ns;
use crate::report::Recorder;

/// Of all relays together; what was counted when, or in some time.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    at: Option<Instant>,
    time: Duration,
    /// Nanoseconds of processor time.
    cpu_ns: f64,
    /// How often a daemon was given a processor.
    turns: f64,
    /// Packets that came to a relay.
    packets: f64,
}

impl Work {
    /// Since the village was built.
    pub(super) fn so_far(village: &Village) -> Result<Self> {
        let mut work = Self {
            at: Some(Instant::now()),
            ..Self::default()
        };
        for process in &village.relays {
            let process = Path::new("/proc").join(process.to_string());
            work.cpu_ns += cpu_ns(&process)?;
            work.turns += turns(&process)?;
        }
        for namespace in village.relay_namespaces() {
            work.packets += packets(namespace?)?;
        }
        Ok(work)
    }

    /// What is new since then.
    pub(super) fn since(&self, before: &Self) -> Self {
        let both = self.at.zip(before.at);
        let time = both.map(|(now, then)| now.saturating_duration_since(then));
        Self {
            at: None,
            time: time.unwrap_or_default(),
            cpu_ns: self.cpu_ns - before.cpu_ns,
            turns: self.turns - before.turns,
            packets: self.packets - before.packets,
        }
    }

    /// Both times together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            at: None,
            time: self.time + other.time,
            cpu_ns: self.cpu_ns + other.cpu_ns,
            turns: self.turns + other.turns,
            packets: self.packets + other.packets,
        }
    }

    /// As figures of one relay in a second.
    pub(super) fn record(&self, recorder: &Recorder, village: &Village, when: &str) -> Result<()> {
        let relays = f64::from(u32::try_from(village.relays.len())?);
        let seconds = self.time.as_secs_f64();
        let each = |all: f64| all / relays / seconds;
        let note = format!(
            "meshd of a relay, {when}; {:.0} packets a second pass it",
            each(self.packets)
        );
        for (measure, unit, value) in [
            ("relay cpu", "ms/s", each(self.cpu_ns) / 1e6),
            ("relay turns", "1/s", each(self.turns)),
        ] {
            let mut figure = village.figure(measure, unit);
            figure.samples.push(Some(value));
            recorder.add(figure.noted(note.clone()))?;
        }
        Ok(())
    }
}

/// The third number of `schedstat`: time slices run (Documentation/scheduler/sched-stats.rst).
fn turns(process: &Path) -> Result<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir(process.join("task")).context("a daemon has ended")? {
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let turns: Option<f64> = text
            .split_whitespace()
            .nth(2)
            .and_then(|it| it.parse().ok());
        sum += turns.unwrap_or_default();
    }
    Ok(sum)
}

/// The first number behind the bytes, of what was received (proc_pid_net(5)).
fn packets(namespace: &Namespace) -> Result<f64> {
    let text = namespace.within(|| Ok(fs::read_to_string("/proc/thread-self/net/dev")?))?;
    let line = text.lines().find_map(|l| l.trim().strip_prefix("mesh0:"));
    let packets = line.context("no mesh0")?.split_whitespace().nth(1);
    packets.context("a short line")?.parse().context("a count")
}
