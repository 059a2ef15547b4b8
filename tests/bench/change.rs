//! Villages that change a lot, and one that does not change at all.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mesh_tests::air::Loss;
use mesh_tests::probe::Pinger;

use crate::bed::Bed;
use crate::graph::{Dice, Graph};
use crate::report::{Figure, Recorder};
use crate::start::COLD_BOUND;
use crate::watch::{PROBE, Probed};

/// How long after the reshuffle deliveries are counted.
const AFTER: Duration = Duration::from_secs(15);
const COUNTED: Duration = Duration::from_secs(10);
const FLOWS: usize = 100;

/// Replaces half of the links by others, at once, and counts deliveries between random pairs.
pub(crate) fn reshuffle(
    bed: &mut Bed,
    recorder: &Recorder,
    count: usize,
    dice: &mut Dice,
) -> Result<()> {
    bed.ensure_running(COLD_BOUND)?;
    let original = bed.graph.clone();
    let mut ratios = Vec::new();
    for _ in 0..count {
        let wanted = reshuffled(&original, dice)?;
        relink(bed, &wanted)?;
        let changed = Instant::now();
        let routers = bed.routers();
        let mut pairs: Vec<_> = Bed::pairs(&routers).into_iter().collect();
        dice.shuffle(&mut pairs);
        pairs.truncate(FLOWS);
        thread::sleep(AFTER.saturating_sub(changed.elapsed()));
        let (sent, back) = bed.volley.delivery(&pairs, PROBE * 10, COUNTED);
        let ratio = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        ratios.push(100.0 * ratio(back) / ratio(sent.max(1)));
    }
    relink(bed, &original)?;
    let figure = Figure::values("reshuffle", bed, "%", ratios);
    recorder.add(figure.noted("delivered from 15 s to 25 s after half of the links changed"))
}

/// Half of the links, and as many others, all routers connected.
fn reshuffled(graph: &Graph, dice: &mut Dice) -> Result<Graph> {
    let routers: Vec<String> = graph.routers().into_iter().map(str::to_owned).collect();
    for _ in 0..1000 {
        let mut links: Vec<_> = graph.links().iter().cloned().collect();
        let count = links.len();
        dice.shuffle(&mut links);
        links.truncate(count / 2);
        let mut kept: BTreeSet<_> = links.into_iter().collect();
        while kept.len() < count {
            let (a, b) = (dice.pick(&routers), dice.pick(&routers));
            let (a, b) = (a.context("no routers")?, b.context("no routers")?);
            if a < b && !graph.has(a, b) {
                kept.insert((a.clone(), b.clone()));
            }
        }
        let candidate = Graph::new(kept.into_iter());
        if candidate.spans(routers.len()) {
            return Ok(candidate);
        }
    }
    anyhow::bail!("a thousand reshuffled villages all fell apart")
}

fn relink(bed: &mut Bed, wanted: &Graph) -> Result<()> {
    let gone: Vec<_> = bed
        .graph
        .links()
        .difference(wanted.links())
        .cloned()
        .collect();
    let new: Vec<_> = wanted
        .links()
        .difference(bed.graph.links())
        .cloned()
        .collect();
    for (a, b) in gone {
        bed.lab.air().cut(&a, &b)?;
    }
    for (a, b) in new {
        bed.lab.air().connect(&a, &b, Loss::percent(bed.loss))?;
    }
    bed.graph = wanted.clone();
    Ok(())
}

/// Follows one flow from corner to corner in a village where nothing happens but loss, and counts
/// how often its path changes.
pub(crate) fn calm(bed: &mut Bed, recorder: &Recorder, time: Duration) -> Result<()> {
    bed.ensure_running(COLD_BOUND)?;
    thread::sleep(Duration::from_secs(60));
    let last = format!("r{}", bed.routers().len());
    let probed = Probed::pair(bed, "r1", &last)?;
    let destination = bed.address(&last)?;
    let pinger = Pinger::start(&probed.from, probed.target, PROBE)?;
    let start = Instant::now();
    let (mut changes, mut gaps) = (0_u32, 0_u32);
    let mut path = bed.village.path("r1", destination).ok();
    while start.elapsed() < time {
        let now = bed.village.path("r1", destination).ok();
        if now != path {
            changes += 1;
            gaps += u32::from(now.is_none());
            path = now;
        }
        thread::sleep(Duration::from_millis(33));
    }
    let report = pinger.report_since(start);
    let figure = Figure::values("calm: changes", bed, "changes", [f64::from(changes)]);
    recorder.add(figure.noted(format!(
        "of the path in {} s, of which {gaps} to no path; {} of {} probes lost, longest silence {} ms",
        time.as_secs(),
        report.lost,
        report.sent,
        report.longest_outage.as_millis()
    )))
}
