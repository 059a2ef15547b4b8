//! Many runs summed up.

use serde::Serialize;

use super::{Cost, Kind, Loops, Report};

/// What runs of many seeds showed together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Seeds {
    /// Runs.
    pub runs: u64,
    /// Seeds of runs that had a loop, or in which pairs were unrouted at the end.
    pub bad: Vec<u64>,
    /// Events of all runs.
    pub events: u64,
    /// Loops of all runs.
    pub loops: Loops,
    /// The longest cold start, s; `null` if any mesh never came up.
    pub longest_cold_start_s: Option<f64>,
    /// Neighbors given up without a cause.
    pub neighbor_drops_without_cause: u64,
    /// Outages of all runs by kind of step.
    pub outages: Vec<Kind>,
    /// What the runs took of the machine.
    pub cost: Option<Cost>,
    /// Each run.
    pub each: Vec<Report>,
}

impl Default for Seeds {
    fn default() -> Self {
        Self {
            runs: 0,
            bad: Vec::new(),
            events: 0,
            loops: Loops {
                seen: 0,
                contested: 0,
                first: Vec::new(),
            },
            longest_cold_start_s: Some(0.0),
            neighbor_drops_without_cause: 0,
            outages: Vec::new(),
            cost: None,
            each: Vec::new(),
        }
    }
}

impl Seeds {
    /// Adds a run.
    pub fn add(&mut self, report: Report) {
        self.runs += 1;
        if !report.is_good() {
            self.bad.push(report.seed);
        }
        self.events += report.events;
        self.loops.seen += report.loops.seen;
        self.loops.contested += report.loops.contested;
        self.loops.first.extend(report.loops.first.iter().cloned());
        let longest = self.longest_cold_start_s.zip(report.cold_start_s);
        self.longest_cold_start_s = longest.map(|(a, b)| a.max(b));
        self.neighbor_drops_without_cause += report.neighbor_drops_without_cause;
        Kind::merge_all(&mut self.outages, &report.outages);
        self.each.push(report);
    }

    /// Whether all runs were good.
    pub const fn is_good(&self) -> bool {
        self.bad.is_empty()
    }
}
