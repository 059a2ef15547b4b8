//! Figures, how they are printed while they come in, and the file they end in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use mesh_tests::command;
use serde::{Deserialize, Serialize};

use crate::bed::Bed;
use crate::kind::Kind;

/// One measure of one daemon in one village.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) measure: String,
    pub(crate) daemon: String,
    pub(crate) topology: String,
    pub(crate) loss_percent: u32,
    pub(crate) unit: String,
    /// Every sample, in the order they were taken; `null` is one that was over the bound.
    pub(crate) samples: Vec<Option<f64>>,
    /// What a sample could be at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bound: Option<f64>,
    /// What was watched during each event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seen: Option<Seen>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

/// What was watched while something was broken; the lists have a value for each event.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) probes_lost: Vec<usize>,
    pub(crate) loops: Vec<u32>,
    pub(crate) longest_loop_ms: f64,
    /// Packets whose hop limit ran out, in all routers.
    pub(crate) hop_limit_drops: u64,
    /// How often the tables of all routers were read.
    pub(crate) reads_per_second: f64,
}

impl Figure {
    pub(crate) fn new(measure: &str, bed: &Bed, unit: &str) -> Self {
        Self::of(measure, bed.kind, &bed.topology, bed.loss, unit)
    }

    pub(crate) fn of(measure: &str, kind: Kind, topology: &str, loss: u32, unit: &str) -> Self {
        Self {
            measure: measure.to_owned(),
            daemon: kind.name().to_owned(),
            topology: topology.to_owned(),
            loss_percent: loss,
            unit: unit.to_owned(),
            samples: Vec::new(),
            bound: None,
            seen: None,
            note: None,
        }
    }

    /// Times in milliseconds, none longer than `bound`.
    pub(crate) fn times(
        measure: &str,
        bed: &Bed,
        bound: Duration,
        samples: impl IntoIterator<Item = Option<Duration>>,
    ) -> Self {
        let mut figure = Self::new(measure, bed, "ms");
        figure.bound = Some(bound.as_secs_f64() * 1e3);
        let ms = |time: Duration| (time.as_secs_f64() * 1e4).round() / 10.0;
        figure.samples = samples.into_iter().map(|time| time.map(ms)).collect();
        figure
    }

    /// One value for each of something.
    pub(crate) fn values(
        measure: &str,
        bed: &Bed,
        unit: &str,
        samples: impl IntoIterator<Item = f64>,
    ) -> Self {
        let mut figure = Self::new(measure, bed, unit);
        figure.samples = samples.into_iter().map(Some).collect();
        figure
    }

    /// Something that could not be measured, and why.
    pub(crate) fn missing(measure: &str, bed: &Bed, why: &str) -> Self {
        let mut figure = Self::new(measure, bed, "");
        figure.note = Some(format!("not measured: {why}"));
        figure
    }

    pub(crate) fn noted(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// The value that `percent` of the samples do not exceed (nearest rank); nothing when that is
    /// one over the bound.
    pub(crate) fn percentile(&self, percent: usize) -> Option<f64> {
        let mut sorted: Vec<f64> = self.samples.iter().flatten().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let rank = (self.samples.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied()
    }

    /// The mean of the samples; nothing when one was over the bound.
    pub(crate) fn mean(&self) -> Option<f64> {
        let known: Vec<f64> = self.samples.iter().copied().collect::<Option<_>>()?;
        let count = u32::try_from(known.len()).ok().filter(|count| *count > 0)?;
        Some(known.iter().sum::<f64>() / f64::from(count))
    }

    /// The same as [`Self::percentile`], for people.
    pub(crate) fn shown(&self, percent: usize) -> String {
        match (self.percentile(percent), self.bound) {
            (Some(value), _) => number(value),
            (None, Some(bound)) if !self.samples.is_empty() => format!("> {}", number(bound)),
            (None, _) => "-".to_owned(),
        }
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        0.0..0.0995 => format!("{value:.3}"),
        0.0995..9.95 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

/// Everything of one run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) command: String,
    pub(crate) seed: u64,
    /// Seconds since 1970.
    pub(crate) started: u64,
    pub(crate) seconds: u64,
    pub(crate) machine: String,
    pub(crate) kernel: String,
    pub(crate) daemons: Vec<Program>,
    pub(crate) busy: Vec<Busy>,
    pub(crate) figures: Vec<Figure>,
}

/// How much of the machine's processors was in use during a part of the run, by the laboratory and
/// by everybody else.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Busy {
    pub(crate) part: String,
    pub(crate) used_percent: f64,
    /// What the host of a virtual machine kept for itself; not part of the above.
    pub(crate) stolen_percent: f64,
}

/// A daemon of the run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) command: String,
}

impl Report {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))
    }
}

/// Takes figures from all villages, prints them, and keeps what was taken so far on disk.
#[derive(Debug)]
pub(crate) struct Recorder {
    begin: Instant,
    file: PathBuf,
    report: Mutex<Report>,
}

impl Recorder {
    pub(crate) fn new(file: PathBuf, command: String, seed: u64, kinds: &[Kind]) -> Self {
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let daemons = kinds.iter().map(|kind| Program {
            name: kind.name().to_owned(),
            version: kind.version(),
            command: kind.command_line(),
        });
        let report = Report {
            command,
            seed,
            started: started.unwrap_or_default().as_secs(),
            seconds: 0,
            machine: machine(),
            kernel: output("uname", "-sr"),
            daemons: daemons.collect(),
            busy: Vec::new(),
            figures: Vec::new(),
        };
        Self {
            begin: Instant::now(),
            file,
            report: Mutex::new(report),
        }
    }

    /// Prints a figure and writes all of them down.
    pub(crate) fn add(&self, figure: Figure) -> Result<()> {
        self.say(&row(&figure));
        self.change(|report| report.figures.push(figure))
    }

    /// How busy the machine was, in a part of the run.
    pub(crate) fn busy(&self, part: &str, load: Load) -> Result<()> {
        let busy = load.since(part);
        self.say(&format!(
            "{part}: {:.0} % of the processors in use, {:.0} % stolen",
            busy.used_percent, busy.stolen_percent
        ));
        self.change(|report| report.busy.push(busy))
    }

    /// A line of progress.
    pub(crate) fn say(&self, text: &str) {
        let seconds = self.begin.elapsed().as_secs();
        println!("{:3}:{:02}  {text}", seconds / 60, seconds % 60);
    }

    fn change(&self, change: impl FnOnce(&mut Report)) -> Result<()> {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut report);
        report.seconds = self.begin.elapsed().as_secs();
        let text = serde_json::to_string_pretty(&*report)?;
        fs::write(&self.file, text + "\n").with_context(|| format!("write {}", self.file.display()))
    }

    /// All figures, what belongs together side by side.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let mut figures = report.figures.clone();
        drop(report);
        let order = |daemon: &str| Kind::ALL.iter().position(|kind| kind.name() == daemon);
        figures.sort_by_cached_key(|figure| {
            let place = (figure.topology.clone(), figure.loss_percent);
            (figure.measure.clone(), place, order(&figure.daemon))
        });
        figures
    }
}

pub(crate) const HEAD: &str = "measure            daemon           topology  loss      p50      p90      p99      max     mean  unit      n";

pub(crate) fn row(figure: &Figure) -> String {
    let mut row = format!(
        "{:18} {:16} {:9} {:>2} %",
        figure.measure, figure.daemon, figure.topology, figure.loss_percent
    );
    for percent in [50, 90, 99, 100] {
        row.push_str(&format!(" {:>8}", figure.shown(percent)));
    }
    let mean = figure.mean().map_or_else(|| "-".to_owned(), number);
    row.push_str(&format!(" {mean:>8}"));
    row.push_str(&format!("  {:8} {:>2}", figure.unit, figure.samples.len()));
    if let Some(seen) = &figure.seen {
        row.push_str(&format!(
            "  {} loops, {} packets out of hops, {} probes lost; tables read {:.0}/s",
            seen.loops.iter().sum::<u32>(),
            seen.hop_limit_drops,
            seen.probes_lost.iter().sum::<usize>(),
            seen.reads_per_second
        ));
    }
    if let Some(note) = &figure.note {
        row.push_str(&format!("  {note}"));
    }
    row
}

/// How many times as much every peer takes as meshd, for each measure of which both are known.
pub(crate) fn ratios(figures: &[Figure]) -> Vec<String> {
    let peers = figures
        .iter()
        .filter(|figure| figure.daemon != Kind::Meshd.name());
    let compared = peers.filter(|figure| ["ms", "B/s", "ms/s", "MiB"].contains(&&*figure.unit));
    compared
        .filter_map(|theirs| {
            let ours = figures.iter().find(|ours| {
                ours.daemon == Kind::Meshd.name()
                    && (&ours.measure, &ours.topology) == (&theirs.measure, &theirs.topology)
                    && ours.loss_percent == theirs.loss_percent
                    && (ours.measure != "routing" || ours.note == theirs.note)
            })?;
            let mut row = format!(
                "{:18} {:16} {:9} {:>2} %",
                theirs.measure, theirs.daemon, theirs.topology, theirs.loss_percent
            );
            for percent in [50, 90, 99, 100] {
                row.push_str(&format!(
                    " {:>8}",
                    ratio(theirs, ours, |f| f.percentile(percent))
                ));
            }
            row.push_str(&format!(" {:>8}", ratio(theirs, ours, Figure::mean)));
            // Nothing can be said of a multiple of nothing.
            row.contains('×').then_some(row)
        })
        .collect()
}

fn ratio(theirs: &Figure, ours: &Figure, of: impl Fn(&Figure) -> Option<f64>) -> String {
    match (of(theirs), of(ours), theirs.bound) {
        (Some(theirs), Some(ours), _) if ours > 0.0 => format!("{} ×", number(theirs / ours)),
        (None, Some(ours), Some(bound)) if ours > 0.0 => format!("> {} ×", number(bound / ours)),
        _ => "-".to_owned(),
    }
}

fn output(program: &str, arguments: &str) -> String {
    command::run(program, arguments).map_or_else(|e| e.to_string(), |text| text.trim().to_owned())
}

fn machine() -> String {
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.unwrap_or_default().trim_matches([' ', '\t', ':']);
    let count = command::output(&mut Command::new("nproc"), None)
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default();
    format!("{count} × {model}")
}

/// What all processors together have done since the machine started, in ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    idle: u64,
    softirq: u64,
    stolen: u64,
    total: u64,
}

/// Processor time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// Of soft interrupts.
    pub(crate) softirq: Duration,
    /// Of everybody, these included.
    pub(crate) all: Duration,
}

impl Load {
    pub(crate) fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let words = text.lines().next().unwrap_or_default().split_whitespace();
        // proc(5): user nice system idle iowait irq softirq steal, and parts of user and nice.
        let ticks: Vec<u64> = words.filter_map(|word| word.parse().ok()).take(8).collect();
        Self {
            idle: ticks.iter().skip(3).take(2).sum(),
            softirq: ticks.iter().skip(6).take(1).sum(),
            stolen: ticks.iter().skip(7).sum(),
            total: ticks.iter().sum(),
        }
    }

    /// What was spent since.
    pub(crate) fn spent(self) -> Spent {
        /// `USER_HZ` of every architecture that Linux runs on today.
        const TICK: Duration = Duration::from_millis(10);
        let now = Self::now();
        let time = |now: u64, before: u64| {
            let ticks = now.saturating_sub(before);
            TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
        };
        let used = |load: Self| load.total.saturating_sub(load.idle + load.stolen);
        Spent {
            softirq: time(now.softirq, self.softirq),
            all: time(used(now), used(self)),
        }
    }

    fn since(self, part: &str) -> Busy {
        let now = Self::now();
        let total = now.total.saturating_sub(self.total).max(1);
        let percent = |now: u64, before: u64| {
            let ticks = u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
            100.0 * f64::from(ticks) / f64::from(u32::try_from(total).unwrap_or(u32::MAX))
        };
        let stolen_percent = percent(now.stolen, self.stolen);
        Busy {
            part: part.to_owned(),
            used_percent: (100.0 - percent(now.idle, self.idle) - stolen_percent).max(0.0),
            stolen_percent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(samples: &[Option<f64>]) -> Figure {
        let mut figure = Figure::of("cut", Kind::Meshd, "line:3", 0, "ms");
        figure.bound = Some(30_000.0);
        figure.samples = samples.to_vec();
        figure
    }

    #[test]
    fn percentiles_are_samples() {
        let ten: Vec<Option<f64>> = (1..=10).map(|n| Some(f64::from(n))).collect();
        let ten = figure(&ten);
        let found = [50, 90, 99, 100].map(|percent| ten.percentile(percent));
        assert_eq!(found, [Some(5.0), Some(9.0), Some(10.0), Some(10.0)]);
    }

    #[test]
    fn a_peer_over_the_bound_is_at_least_as_many_times_slower() {
        let ours = figure(&[Some(500.0)]);
        let mut theirs = figure(&[Some(4_000.0), None]);
        theirs.daemon = Kind::Babeld.name().to_owned();
        let rows = ratios(&[ours, theirs]);
        let row = rows.first().unwrap();
        assert!(row.contains(" 8.00 ×") && row.contains("> 60 ×"), "{row}");
    }

    #[test]
    fn what_was_over_the_bound_is_the_largest() {
        let figure = figure(&[None, Some(4.0), Some(2.0)]);
        assert_eq!(figure.shown(50), "4.00");
        assert_eq!(figure.shown(100), "> 30000");
    }
}
