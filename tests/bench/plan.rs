//! What is measured where, and what at the same time.
//!
//! The daemons run side by side, each in a village of its own, so that all of them have the same
//! machine in the same minutes. What takes processor time in a burst, the cold start of many
//! processes, is done in turn. How busy the machine was is written down with the figures.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use mesh_tests::topology::Topology;

use crate::Measure;
use crate::bed::Bed;
use crate::graph::Dice;
use crate::kind::Kind;
use crate::report::{Figure, Load, Recorder};
use crate::throughput::Tunnel;
use crate::{broken, change, clients, crowd, idle, page, start, throughput, uplinks};

/// A village of more routers than this is big: only some loss at a time, peers started less often.
const BIG: usize = 25;
/// A village in which the rarer events are measured.
const SMALL: usize = 9;
/// A start of babeld takes a quarter of a minute as often as not.
const PEER_STARTS: usize = 3;
/// Rounds of asking the status page, of which each takes most of a minute.
const MOST_OF_THE_PAGE: usize = 3;
const CALM_LOSS: u32 = 30;
const CALM: Duration = Duration::from_secs(600);

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) measures: BTreeSet<Measure>,
    pub(crate) topologies: Vec<Topology>,
    pub(crate) losses: Vec<u32>,
    pub(crate) tunnels: Vec<Tunnel>,
    pub(crate) rounds: usize,
    pub(crate) starts: usize,
    pub(crate) settle: Duration,
    pub(crate) idle: Duration,
    pub(crate) seed: u64,
}

impl Plan {
    fn wants(&self, measure: Measure) -> bool {
        self.measures.contains(&measure)
    }

    /// Where idle figures are taken, at the first loss of the list.
    fn biggest(&self) -> usize {
        let sizes = self
            .topologies
            .iter()
            .map(|topology| topology.routers().count());
        sizes.max().unwrap_or_default()
    }

    /// Ours is started and cut more often: its events are over sooner. A link that is back is a
    /// link to babeld only after some of its hellos, which by default are 4 s apart.
    fn rounds(&self, kind: Kind) -> broken::Rounds {
        let slow = matches!(kind, Kind::Babeld | Kind::BabeldWireless);
        broken::Rounds {
            count: self.rounds * if kind == Kind::Meshd { 2 } else { 1 },
            settle: if slow {
                self.settle * 3 / 2
            } else {
                self.settle
            },
        }
    }

    /// In bigger villages the peers are cut less often, or all of it would take an hour.
    fn cuts(&self, kind: Kind, size: usize) -> broken::Rounds {
        let mut rounds = self.rounds(kind);
        if kind != Kind::Meshd && size > SMALL {
            rounds.count = rounds.count * 2 / 3;
        }
        rounds
    }

    fn rare(&self, kind: Kind) -> broken::Rounds {
        let rounds = self.rounds(kind);
        broken::Rounds {
            count: (rounds.count / 3).max(1),
            ..rounds
        }
    }

    /// The same choices for every daemon.
    fn dice(&self, salt: u64) -> Dice {
        Dice::new(self.seed ^ salt.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }
}

/// Measures all of it.
pub(crate) fn run(plan: &Plan, recorder: &Recorder) -> Result<()> {
    thread::scope(|scope| {
        // A few routers with little to do, beside the small villages, which come first.
        let few = scope.spawn(|| cables_and_gateways(plan, recorder));
        all_villages(plan, recorder)?;
        let few = few.join();
        few.unwrap_or_else(|_| Err(anyhow!("a measure panicked")))
    })?;
    if plan.kinds.contains(&Kind::Meshd) {
        ours_alone(plan, recorder)?;
    }
    if plan.wants(Measure::Reshuffle) {
        let mut beds = build(plan, recorder, &Topology::grid(5, 10), &[0])?;
        side_by_side(recorder, "reshuffle", &mut beds, |bed| {
            change::reshuffle(bed, recorder, 3, &mut plan.dice(6))
        })?;
    }
    if plan.wants(Measure::Calm) {
        let mut beds = build(plan, recorder, &Topology::grid(3, 3), &[CALM_LOSS])?;
        side_by_side(recorder, "calm", &mut beds, |bed| {
            change::calm(bed, recorder, CALM)
        })?;
    }
    Ok(())
}

/// What only meshd does, or only routes made by hand beside it. One after the other: all of it is about
/// what processors do.
fn ours_alone(plan: &Plan, recorder: &Recorder) -> Result<()> {
    if plan.wants(Measure::Crowd) {
        let mut beds = [Bed::new(Kind::Meshd, &Topology::line(2), 0)?];
        side_by_side(recorder, "crowd", &mut beds, |bed| {
            crowd::measure(bed, recorder, plan.rounds)
        })?;
    }
    if plan.wants(Measure::Throughput) {
        let load = Load::now();
        throughput::measure(recorder, &plan.tunnels, plan.rounds)?;
        recorder.busy("throughput", load)?;
    }
    if plan.wants(Measure::Uplinks) {
        let mut beds = [uplinks::with_three_gateways()?];
        side_by_side(recorder, "uplinks", &mut beds, |bed| {
            uplinks::measure(bed, recorder, plan.rounds)
        })?;
    }
    if plan.wants(Measure::Clients) {
        let mut beds = [clients::village()?];
        side_by_side(recorder, "clients", &mut beds, |bed| {
            clients::measure(bed, recorder)
        })?;
    }
    if plan.wants(Measure::StatusPage) {
        let mut beds = [page::village()?];
        side_by_side(recorder, "status page", &mut beds, |bed| {
            page::measure(bed, recorder, plan.rounds.min(MOST_OF_THE_PAGE))
        })?;
    }
    Ok(())
}

fn all_villages(plan: &Plan, recorder: &Recorder) -> Result<()> {
    let measured_there = [
        Measure::Cold,
        Measure::Cut,
        Measure::Idle,
        Measure::Relay,
        Measure::Join,
        Measure::Reboot,
    ];
    if !measured_there.iter().any(|measure| plan.wants(*measure)) {
        return Ok(());
    }
    for topology in &plan.topologies {
        let big = topology.routers().count() > BIG;
        let at_once = if big { 1 } else { plan.losses.len().max(1) };
        for losses in plan.losses.chunks(at_once) {
            villages(plan, recorder, topology, losses)?;
        }
    }
    Ok(())
}

/// Everything that is measured in one topology.
fn villages(plan: &Plan, recorder: &Recorder, topology: &Topology, losses: &[u32]) -> Result<()> {
    let size = topology.routers().count();
    let mut beds = build(plan, recorder, topology, losses)?;
    let name = |what: &str| format!("{what} in {topology}");
    if size <= SMALL && plan.wants(Measure::Join) && !topology.to_string().starts_with("line") {
        side_by_side(recorder, &name("join"), &mut beds, |bed| {
            start::join(
                bed,
                recorder,
                plan.rounds.div_ceil(5),
                plan.settle,
                &mut plan.dice(1),
            )?;
            bed.stop_all()
        })?;
    }
    cold(plan, recorder, topology, &mut beds)?;
    if plan.wants(Measure::Idle) && plan.biggest() == size {
        let first = plan.losses.first().copied();
        let calm = beds.iter_mut().filter(|bed| Some(bed.loss) == first);
        in_parallel(recorder, &name("idle"), calm.collect(), |bed| {
            idle::measure(bed, recorder, plan.settle * 4, plan.idle)
        })?;
    }
    let detours = !topology.to_string().starts_with("line");
    if plan.wants(Measure::Cut) && detours {
        side_by_side(recorder, &name("cut"), &mut beds, |bed| {
            broken::cuts(bed, recorder, plan.cuts(bed.kind, size), &mut plan.dice(2))
        })?;
    }
    if size <= SMALL && plan.wants(Measure::Relay) && detours {
        side_by_side(recorder, &name("relay"), &mut beds, |bed| {
            broken::relays(bed, recorder, plan.rare(bed.kind), &mut plan.dice(3))
        })?;
    }
    if size <= SMALL && plan.wants(Measure::Reboot) && detours {
        let count = (plan.rounds / 3).max(1);
        side_by_side(recorder, &name("reboot"), &mut beds, |bed| {
            start::reboot(bed, recorder, count, plan.settle, &mut plan.dice(4))
        })?;
    }
    Ok(())
}

/// The cold starts, which also leave every village running for what follows. In turn, so that
/// nothing else starts at the same time; but while the timers of one peer run, others start.
fn cold(plan: &Plan, recorder: &Recorder, topology: &Topology, beds: &mut [Bed]) -> Result<()> {
    let big = topology.routers().count() > SMALL;
    let starts = |kind: Kind| match kind {
        _ if !plan.wants(Measure::Cold) => 1,
        Kind::Meshd => plan.starts,
        Kind::Batmand if big => 1,
        Kind::Babeld | Kind::BabeldWireless | Kind::BabeldFast | Kind::Batmand => {
            plan.starts.min(PEER_STARTS)
        }
    };
    let turn = Mutex::new(());
    let (ours, peers): (Vec<&mut Bed>, Vec<&mut Bed>) =
        beds.iter_mut().partition(|bed| bed.kind == Kind::Meshd);
    if !ours.is_empty() {
        let load = Load::now();
        for bed in ours {
            start::cold(bed, recorder, starts(bed.kind), &turn)?;
        }
        recorder.busy(&format!("cold start of meshd in {topology}"), load)?;
    }
    let part = format!("cold start of the others in {topology}");
    in_parallel(recorder, &part, peers, |bed| {
        start::cold(bed, recorder, starts(bed.kind), &turn)
    })
}

fn cables_and_gateways(plan: &Plan, recorder: &Recorder) -> Result<()> {
    let (mut cables, mut uplinks) = (Vec::new(), Vec::new());
    for kind in &plan.kinds {
        if plan.wants(Measure::Carrier) {
            cables.push(broken::with_cable(*kind)?);
        }
        if plan.wants(Measure::Gateway) {
            uplinks.push(broken::with_gateways(*kind)?);
        }
    }
    thread::scope(|scope| {
        let cables = scope.spawn(|| {
            side_by_side(recorder, "carrier", &mut cables, |bed| {
                broken::carriers(bed, recorder, plan.rare(bed.kind))
            })
        });
        side_by_side(recorder, "gateway", &mut uplinks, |bed| {
            let mut rounds = plan.rare(bed.kind);
            // It takes minutes for each.
            if bed.kind == Kind::Batmand {
                rounds.count = 1;
            }
            broken::gateways(bed, recorder, rounds)
        })?;
        let cables = cables.join();
        cables.unwrap_or_else(|_| Err(anyhow!("a measure panicked")))
    })
}

fn build(
    plan: &Plan,
    recorder: &Recorder,
    topology: &Topology,
    losses: &[u32],
) -> Result<Vec<Bed>> {
    let mut beds = Vec::new();
    for loss in losses {
        for kind in &plan.kinds {
            beds.push(Bed::new(*kind, topology, *loss)?);
        }
    }
    recorder.say(&format!("{} villages of {topology} are built", beds.len()));
    Ok(beds)
}

fn side_by_side(
    recorder: &Recorder,
    part: &str,
    beds: &mut [Bed],
    work: impl Fn(&mut Bed) -> Result<()> + Sync,
) -> Result<()> {
    in_parallel(recorder, part, beds.iter_mut().collect(), work)
}

/// What fails in one village is a figure that is missing there, and no end for the others.
fn in_parallel(
    recorder: &Recorder,
    part: &str,
    beds: Vec<&mut Bed>,
    work: impl Fn(&mut Bed) -> Result<()> + Sync,
) -> Result<()> {
    if beds.is_empty() {
        return Ok(());
    }
    let load = Load::now();
    thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = beds
            .into_iter()
            .map(|bed| {
                scope.spawn(move || {
                    let Err(error) = work(bed) else {
                        return Ok(());
                    };
                    let word = part.split(' ').next().unwrap_or(part);
                    recorder.add(Figure::missing(word, bed, &format!("{error:#}")))
                })
            })
            .collect();
        for worker in workers {
            worker
                .join()
                .unwrap_or_else(|_| Err(anyhow!("a measure panicked")))?;
        }
        Ok::<(), anyhow::Error>(())
    })?;
    recorder.busy(part, load)
}
