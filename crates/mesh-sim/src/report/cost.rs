//! What a run took of the machine.

use std::time::Duration;

use serde::Serialize;

/// What a run took of the machine; differs from run to run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Time that passed, s.
    pub wall_s: f64,
    /// Events handled in each second of it.
    pub events_per_s: f64,
    /// The most memory the process had so far, MiB; `null` where the system does not say.
    pub peak_rss_mib: Option<f64>,
}

impl Cost {
    /// The cost of a run that took `wall` for `events`, and of the process up to now.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2⁵²")]
    pub fn new(wall: Duration, events: u64) -> Self {
        Self {
            wall_s: wall.as_secs_f64(),
            events_per_s: events as f64 / wall.as_secs_f64().max(1e-9),
            peak_rss_mib: peak_rss_kib().map(|kib| kib as f64 / 1024.0),
        }
    }
}

/// What proc(5) calls `VmHWM`, KiB.
fn peak_rss_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
