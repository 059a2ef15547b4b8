//! `meshctl ping NODE`

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use control_api::{Exit, MAX_PROBE_WAIT_MS, NodeRef, Probe, Probed, SCHEMA};
use serde::Serialize;

use super::Daemon;
use super::interrupt::on_interrupt;
use crate::cli::{Format, probe::Ping};
use crate::failure::Failure;
use crate::format;
use crate::output::{self, Output};
use crate::tsv::Layout;

/// An answer is waited for until the next question is due, and at least so long.
const LEAST_WAIT: Duration = Duration::from_secs(1);

const LAYOUT: Layout = Layout {
    list: "probes",
    columns: &["seq", "rtt_us"],
};

/// A question and what came of it.
#[derive(Clone, Copy, Debug, Serialize)]
struct Shot {
    /// From 1.
    seq: u32,
    /// `null` if nobody answered.
    rtt_us: Option<u64>,
}

/// As one line of NDJSON.
#[derive(Debug, Serialize)]
struct ShotLine<'a> {
    schema: u32,
    kind: &'static str,
    node: &'a NodeRef,
    #[serde(flatten)]
    shot: Shot,
}

/// All of them.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    schema: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    node: &'a NodeRef,
    address: std::net::Ipv6Addr,
    sent: usize,
    received: usize,
    loss_percent: f64,
    #[serde(flatten)]
    times: Times,
    #[serde(skip_serializing_if = "Option::is_none")]
    probes: Option<&'a [Shot]>,
}

/// Of the answers, in microseconds; `null` if there were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Times {
    min_us: Option<u64>,
    avg_us: Option<u64>,
    max_us: Option<u64>,
    /// The standard deviation, as ping(8) has it.
    mdev_us: Option<u64>,
}

/// What has happened so far.
#[derive(Debug)]
struct Run {
    output: Output,
    node: NodeRef,
    address: std::net::Ipv6Addr,
    shots: Vec<Shot>,
}

pub(super) fn run(daemon: &Daemon, output: Output, options: &Ping) -> Result<(), Failure> {
    let start = Instant::now();
    let first = ask(daemon, options)?;
    let run = Run {
        output,
        node: first.node.clone(),
        address: first.address,
        shots: Vec::new(),
    };
    run.begin()?;
    let shared = Arc::new(Mutex::new(run));
    let at_end = Arc::clone(&shared);
    on_interrupt(move || {
        locked(&at_end)
            .end()
            .map_or_else(|failure| failure.exit, |()| Exit::Ok)
    })?;
    locked(&shared).note(1, first.rtt_us)?;
    for seq in 2..=options.count.unwrap_or(u32::MAX) {
        let due = start + options.interval.saturating_mul(seq - 1);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let rtt_us = match ask(daemon, options) {
            Ok(probed) => probed.rtt_us,
            // It may be back the next time.
            Err(failure) if matches!(failure.exit, Exit::NotFound | Exit::NotRunning) => {
                failure.say();
                None
            }
            Err(failure) => return Err(failure),
        };
        locked(&shared).note(seq, rtt_us)?;
    }
    let run = locked(&shared);
    run.end()
}

fn ask(daemon: &Daemon, options: &Ping) -> Result<Probed, Failure> {
    let wait = options.interval.max(LEAST_WAIT).min(daemon.limit);
    let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    let probe = Probe {
        node: options.node.clone(),
        towards: None,
        wait_ms: wait_ms.clamp(1, MAX_PROBE_WAIT_MS),
    };
    Ok(daemon.connect()?.probe(probe)?)
}

/// A thread that panicked has printed why, and what was counted is still true.
fn locked(run: &Mutex<Run>) -> MutexGuard<'_, Run> {
    run.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run {
    fn begin(&self) -> Result<(), Failure> {
        match self.output.format {
            Format::Table => {
                let node = format::node(&self.node);
                output::write_all(&format!("PING {node} {}\n", self.address))
            }
            Format::Json | Format::Ndjson | Format::Tsv => Ok(()),
        }
    }

    fn note(&mut self, seq: u32, rtt_us: Option<u64>) -> Result<(), Failure> {
        let shot = Shot { seq, rtt_us };
        self.shots.push(shot);
        match self.output.format {
            Format::Table => output::write_all(&match rtt_us {
                Some(us) => format!("answer: seq={seq} time={}\n", format::round_trip(us)),
                None => format!("no answer: seq={seq}\n"),
            }),
            Format::Ndjson => self.output.show(
                &ShotLine {
                    schema: SCHEMA,
                    kind: "probe",
                    node: &self.node,
                    shot,
                },
                |_| String::new(),
            ),
            Format::Json | Format::Tsv => Ok(()),
        }
    }

    /// Prints what it came to. Nobody there is a failure.
    fn end(&self) -> Result<(), Failure> {
        let rtts: Vec<u64> = self.shots.iter().filter_map(|it| it.rtt_us).collect();
        let is_line = self.output.format == Format::Ndjson;
        let lost = self.shots.len() - rtts.len();
        let summary = Summary {
            schema: SCHEMA,
            kind: is_line.then_some("summary"),
            node: &self.node,
            address: self.address,
            sent: self.shots.len(),
            received: rtts.len(),
            loss_percent: percent(lost, self.shots.len()),
            times: Times::of(&rtts),
            probes: (!is_line).then_some(&self.shots),
        };
        self.output.show_list(&summary, LAYOUT, text)?;
        match rtts.is_empty() {
            true => Err(Failure::silent(Exit::Timeout)),
            false => Ok(()),
        }
    }
}

impl Times {
    fn of(rtts: &[u64]) -> Self {
        let count = rtts.len() as u128;
        if count == 0 {
            return Self::default();
        }
        let sum: u128 = rtts.iter().map(|it| u128::from(*it)).sum();
        let squares: u128 = rtts.iter().map(|it| u128::from(*it).pow(2)).sum();
        let average = sum / count;
        // Rounding may leave the mean of the squares below the square of the mean.
        let variance = (squares / count).saturating_sub(average.pow(2));
        let in_us = |value: u128| u64::try_from(value).ok();
        Self {
            min_us: rtts.iter().min().copied(),
            avg_us: in_us(average),
            max_us: rtts.iter().max().copied(),
            mdev_us: in_us(variance.isqrt()),
        }
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    let tenths = (part * 1000).checked_div(whole).unwrap_or_default();
    tenths as f64 / 10.0
}

fn text(summary: &Summary<'_>) -> String {
    let mut text = format!(
        "\n{}: {} sent, {} answered, {}% lost\n",
        format::node(summary.node),
        summary.sent,
        summary.received,
        summary.loss_percent
    );
    let Times {
        min_us: Some(min),
        avg_us: Some(avg),
        max_us: Some(max),
        mdev_us: Some(mdev),
    } = summary.times
    else {
        return text;
    };
    let [min, avg, max, mdev] = [min, avg, max, mdev].map(format::round_trip);
    text.push_str(&format!("min {min}, avg {avg}, max {max}, mdev {mdev}\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_ping() {
        let times = Times::of(&[1000, 2000, 4000]);
        assert_eq!(times.min_us, Some(1000));
        assert_eq!(times.avg_us, Some(2333));
        assert_eq!(times.max_us, Some(4000));
        // √((1 + 4 + 16) / 3 − 2.333²) ms
        assert_eq!(times.mdev_us, Some(1247));
        assert_eq!(Times::of(&[]), Times::default());
        assert_eq!(Times::of(&[7]).mdev_us, Some(0));
    }

    #[test]
    fn loss_has_one_decimal() {
        assert_eq!(percent(1, 3).to_string(), "33.3");
        assert_eq!(percent(0, 5).to_string(), "0");
        assert_eq!(percent(5, 5).to_string(), "100");
    }
}
