//! What is watched while something is broken: probes, tables and counters.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use mesh_tests::fib::{self, Village};
use mesh_tests::namespace::Namespace;
use mesh_tests::probe::Pinger;
use mesh_tests::wait::wait_for;

use crate::bed::Bed;

/// Between two probes.
pub(crate) const PROBE: Duration = Duration::from_millis(10);
/// An answer that takes longer counts as silence.
const LATE: Duration = Duration::from_millis(300);
/// Healed is what has had every answer for so long.
const STEADY: Duration = Duration::from_secs(2);
/// Nobody is looked at for less: some notice a dead link only after a while.
const LEAST: Duration = Duration::from_secs(3);
/// How often the tables are read.
const FOLLOW: Duration = Duration::from_millis(33);

/// What followed from one event.
#[derive(Clone, Debug)]
pub(crate) struct Outage {
    /// The longest silence; nothing when it was not healed in time.
    pub(crate) silence: Option<Duration>,
    /// Probes that had no answer.
    pub(crate) lost: usize,
    pub(crate) followed: Followed,
    /// Packets whose hop limit ran out, of all routers.
    pub(crate) hop_limit: u64,
}

/// What was seen in the tables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Followed {
    pub(crate) polls: u32,
    pub(crate) time: Duration,
    /// Circles that appeared.
    pub(crate) circles: u32,
    pub(crate) longest_circle: Duration,
}

/// Who probes whom.
#[derive(Clone, Debug)]
pub(crate) struct Probed {
    pub(crate) from: Namespace,
    pub(crate) target: SocketAddr,
    /// Where the tables are followed to.
    pub(crate) destinations: Vec<IpAddr>,
}

impl Probed {
    /// A pair of routers, both ways.
    pub(crate) fn pair(bed: &Bed, from: &str, to: &str) -> Result<Self> {
        let (own, other) = (bed.address(from)?, bed.address(to)?);
        Ok(Self {
            from: bed.lab.node(from)?.namespace().clone(),
            target: SocketAddr::new(other, mesh_tests::probe::PORT),
            destinations: vec![own, other],
        })
    }
}

/// Lets `event` happen under probes and measures what follows, for `bound` at most.
pub(crate) fn outage(
    bed: &mut Bed,
    probed: &Probed,
    bound: Duration,
    event: impl FnOnce(&mut Bed) -> Result<()>,
) -> Result<Outage> {
    let pinger = Pinger::start(&probed.from, probed.target, PROBE)?;
    wait_for("undisturbed probes before the event", bound, || {
        ensure!(
            pinger.is_steady(Duration::from_millis(700), LATE),
            "some get lost"
        );
        Ok(())
    })?;
    let before = hop_limit_drops(bed)?;
    let (village, destinations) = (Arc::clone(&bed.village), probed.destinations.clone());
    let (result, followed) = follow(&village, &destinations, || {
        let since = Instant::now();
        event(bed)?;
        let healed = loop {
            if since.elapsed() >= LEAST && pinger.is_steady(STEADY, LATE) {
                break true;
            }
            if since.elapsed() >= bound {
                break false;
            }
            thread::sleep(Duration::from_millis(20));
        };
        anyhow::Ok((healed, pinger.report_since(since)))
    });
    let (healed, report) = result?;
    Ok(Outage {
        silence: healed.then_some(report.longest_outage),
        lost: report.lost,
        followed: followed?,
        hop_limit: hop_limit_drops(bed)?.saturating_sub(before),
    })
}

/// Reads the tables of the village again and again while `work` is done.
pub(crate) fn follow<T>(
    village: &Village,
    destinations: &[IpAddr],
    work: impl FnOnce() -> T,
) -> (T, Result<Followed>) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let follower = scope.spawn(|| read_until(village, destinations, &stop));
        let done = work();
        stop.store(true, Ordering::Relaxed);
        let followed = follower.join();
        (
            done,
            followed.unwrap_or_else(|_| Err(anyhow!("the follower panicked"))),
        )
    })
}

fn read_until(village: &Village, destinations: &[IpAddr], stop: &AtomicBool) -> Result<Followed> {
    let start = Instant::now();
    let mut followed = Followed::default();
    let mut alive: BTreeMap<(IpAddr, BTreeSet<String>), Instant> = BTreeMap::new();
    let mut next = start;
    while !stop.load(Ordering::Relaxed) {
        let mut seen = BTreeMap::new();
        for destination in destinations {
            for circle in village.circles(*destination)? {
                let key = (*destination, circle);
                let since = alive.get(&key).copied();
                followed.circles += u32::from(since.is_none());
                let since = since.unwrap_or_else(Instant::now);
                followed.longest_circle = followed.longest_circle.max(since.elapsed());
                seen.insert(key, since);
            }
        }
        alive = seen;
        followed.polls += 1;
        next += FOLLOW;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    followed.time = start.elapsed();
    Ok(followed)
}

/// Packets of all routers that had been on the way for too long, since they were built.
fn hop_limit_drops(bed: &Bed) -> Result<u64> {
    let namespaces = bed.namespaces().into_values();
    namespaces
        .map(|namespace| fib::hop_limit_drops(&namespace))
        .sum()
}
