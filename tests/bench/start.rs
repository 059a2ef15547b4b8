//! Beginnings: a whole village, a new router, a router that has forgotten everything.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bed::Bed;
use crate::graph::Dice;
use crate::report::{Figure, Recorder};

/// Nobody is waited for longer.
pub(crate) const COLD_BOUND: Duration = Duration::from_secs(60);
const JOIN_BOUND: Duration = Duration::from_secs(40);

/// How long nothing else starts. babeld has its luck with its first hellos within this time; if
/// not, it waits for its timers, which others do not disturb.
const QUIET: Duration = Duration::from_secs(4);

/// Starts all daemons at once, `starts` times. The clock begins with the first process; the last
/// start is left running. Villages that share a `turn` start one after the other.
pub(crate) fn cold(
    bed: &mut Bed,
    recorder: &Recorder,
    starts: usize,
    turn: &Mutex<()>,
) -> Result<()> {
    let routers = bed.routers();
    let pairs = Bed::pairs(&routers);
    let mut times = Vec::new();
    let mut launching = Duration::ZERO;
    for number in 0..starts.max(1) {
        let mine = turn.lock().unwrap_or_else(PoisonError::into_inner);
        if number > 0 {
            bed.stop_all()?;
        }
        let start = Instant::now();
        bed.launch(&routers)?;
        launching = launching.max(start.elapsed());
        let quick = bed.wait_pairs(&pairs, start, QUIET);
        drop(mine);
        times.push(
            quick
                .or_else(|_| bed.wait_pairs(&pairs, start, COLD_BOUND))
                .ok(),
        );
    }
    let figure = Figure::times("cold start", bed, COLD_BOUND, times);
    recorder.add(figure.noted(format!(
        "of which up to {} ms to start {} processes",
        launching.as_millis(),
        routers.len()
    )))
}

/// Lets `count` routers, one after the other, join a village that runs without them.
pub(crate) fn join(
    bed: &mut Bed,
    recorder: &Recorder,
    count: usize,
    settle: Duration,
    dice: &mut Dice,
) -> Result<()> {
    let late = latecomers(bed, count, dice);
    let mut present = bed.routers();
    present.retain(|router| !late.contains(router));
    for router in bed.routers() {
        bed.forget(&router)?;
    }
    let start = Instant::now();
    bed.launch(&present)?;
    if let Err(missing) = bed.wait_pairs(&Bed::pairs(&present), start, COLD_BOUND) {
        let why = format!("the village before it: {missing}");
        return recorder.add(Figure::missing("join", bed, &why));
    }
    let mut times = Vec::new();
    for router in late {
        thread::sleep(settle);
        let start = Instant::now();
        bed.launch(std::slice::from_ref(&router))?;
        times.push(reaches_all(bed, &router, &present, start));
        present.push(router);
    }
    recorder.add(Figure::times("join", bed, JOIN_BOUND, times))
}

/// Routers without whom the others are still one village, and who hear one of them.
fn latecomers(bed: &Bed, count: usize, dice: &mut Dice) -> Vec<String> {
    let mut candidates = bed.routers();
    dice.shuffle(&mut candidates);
    let mut graph = bed.graph.clone();
    let mut late = Vec::new();
    for router in candidates {
        let without = graph.without_router(&router);
        if late.len() < count && without.spans(graph.routers().len() - 1) {
            graph = without;
            late.push(router);
        }
    }
    // The last to leave is next to the rest, so it must be the first to come.
    late.reverse();
    late
}

/// Until `router` and every one of the `others` have reached each other.
fn reaches_all(bed: &Bed, router: &str, others: &[String], start: Instant) -> Option<Duration> {
    let both = others.iter().flat_map(|other| {
        let (one, two) = (router.to_owned(), other.clone());
        [(one.clone(), two.clone()), (two, one)]
    });
    let pairs = both.filter(|(from, to)| from != to).collect();
    bed.wait_pairs(&pairs, start, JOIN_BOUND).ok()
}

/// Reboots `count` routers, one after the other: power off, kernel and disk empty but for the
/// identity, power on at once.
pub(crate) fn reboot(
    bed: &mut Bed,
    recorder: &Recorder,
    count: usize,
    settle: Duration,
    dice: &mut Dice,
) -> Result<()> {
    let routers = bed.routers();
    let mut times = Vec::new();
    for _ in 0..count {
        thread::sleep(settle);
        let Some(router) = dice.pick(&routers).cloned() else {
            break;
        };
        bed.power_off(&router)?;
        bed.forget(&router)?;
        let start = Instant::now();
        bed.power_on(&router)?;
        times.push(reaches_all(bed, &router, &routers, start));
    }
    recorder.add(Figure::times("reboot", bed, JOIN_BOUND, times).noted("state lost"))
}
