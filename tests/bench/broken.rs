//! What breaks on the way: a link, a relay, a cable, a gateway.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, ensure};
use mesh_tests::internet::{HOST_V4, HOST_V6, echo_at};
use mesh_tests::namespace::Namespace;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

use crate::bed::Bed;
use crate::graph::Dice;
use crate::kind::Kind;
use crate::report::{Figure, Recorder, Seen};
use crate::start::COLD_BOUND;
use crate::watch::{Outage, PROBE, Probed, outage};

/// Nothing is waited for longer.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

/// A gateway is waited for longer: batmand takes a minute to choose its first.
const GATEWAY_BOUND: Duration = Duration::from_secs(60);

/// How often, and how long a village rests between two events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    pub(crate) count: usize,
    pub(crate) settle: Duration,
}

/// Cuts a link on the path of probes, silently, again and again: another pair of routers, another
/// link. A cut link is healed before the next is cut.
pub(crate) fn cuts(
    bed: &mut Bed,
    recorder: &Recorder,
    rounds: Rounds,
    dice: &mut Dice,
) -> Result<()> {
    let mut series = Series::default();
    for _ in 0..rounds.count {
        thread::sleep(rounds.settle);
        let (from, to) = far_pair(bed, dice)?;
        let probed = Probed::pair(bed, &from, &to)?;
        let mut cut = None;
        series.take(outage(bed, &probed, BOUND, |bed| {
            let (a, b) = link_in_use(bed, &from, &to, dice)?;
            bed.lab.air().cut(&a, &b)?;
            cut = Some((a, b));
            Ok(())
        }));
        if let Some((a, b)) = cut {
            bed.lab.air().heal(&a, &b)?;
        }
    }
    record("cut", bed, recorder, BOUND, series)
}

/// Takes the power from a relay on the path of probes, again and again.
pub(crate) fn relays(
    bed: &mut Bed,
    recorder: &Recorder,
    rounds: Rounds,
    dice: &mut Dice,
) -> Result<()> {
    let mut series = Series::default();
    for _ in 0..rounds.count {
        thread::sleep(rounds.settle);
        let (from, to) = far_pair(bed, dice)?;
        let probed = Probed::pair(bed, &from, &to)?;
        let mut relay = String::new();
        series.take(outage(bed, &probed, BOUND, |bed| {
            relay = relay_in_use(bed, &from, &to, dice)?;
            bed.power_off(&relay)
        }));
        if relay.is_empty() {
            continue;
        }
        bed.power_on(&relay)?;
        // A router that came back is part of the village before the next one goes.
        let _ = bed.wait_pairs(&Bed::pairs(&bed.routers()), Instant::now(), BOUND);
    }
    record("relay", bed, recorder, BOUND, series)
}

/// A link of the path of this moment, without which there is another path.
fn link_in_use(bed: &Bed, from: &str, to: &str, dice: &mut Dice) -> Result<(String, String)> {
    let path = path(bed, from, to)?;
    let links: Vec<(String, String)> = path
        .windows(2)
        .filter_map(|pair| Some((pair.first()?.clone(), pair.get(1)?.clone())))
        .filter(|(a, b)| bed.graph.without_link(a, b).connects(from, to))
        .collect();
    dice.pick(&links)
        .cloned()
        .with_context(|| format!("no link of the path {} may be cut", path.join(" ")))
}

/// A router between the two on the path of this moment, without whom there is another path.
fn relay_in_use(bed: &Bed, from: &str, to: &str, dice: &mut Dice) -> Result<String> {
    let mut between = path(bed, from, to)?;
    between.retain(|router| {
        router != from && router != to && bed.graph.without_router(router).connects(from, to)
    });
    dice.pick(&between).cloned().context("no relay may be lost")
}

/// Two routers at least half of the village apart.
fn far_pair(bed: &Bed, dice: &mut Dice) -> Result<(String, String)> {
    let routers = bed.routers();
    let from = dice.pick(&routers).context("an empty village")?.clone();
    let distances = bed.graph.distances(&from);
    let least = distances
        .values()
        .max()
        .copied()
        .unwrap_or_default()
        .div_ceil(2)
        .max(2);
    let far: Vec<&str> = distances
        .into_iter()
        .filter_map(|(router, distance)| (distance >= least).then_some(router))
        .collect();
    let to = (*dice.pick(&far).context("nobody is far away")?).to_owned();
    Ok((from, to))
}

/// The path once there is one: after the last event a village may still be at work.
fn path(bed: &Bed, from: &str, to: &str) -> Result<Vec<String>> {
    let target = bed.address(to)?;
    let what = format!("a path from {from} to {to} of {}", bed.label());
    wait_for(&what, BOUND, || bed.village.path(from, target))
}

/// What came of one event after the other.
#[derive(Debug, Default)]
struct Series {
    outages: Vec<Outage>,
    /// Events that did not take place: probes were lost before, or there was no path to break.
    skipped: Vec<Error>,
}

impl Series {
    fn take(&mut self, result: Result<Outage>) {
        match result {
            Ok(outage) => self.outages.push(outage),
            Err(error) => self.skipped.push(error),
        }
    }

    fn seen(&self) -> Seen {
        let followed = self.outages.iter().map(|outage| &outage.followed);
        let longest = followed
            .clone()
            .map(|followed| followed.longest_circle)
            .max();
        let polls: f64 = followed.clone().map(|f| f64::from(f.polls)).sum();
        let seconds: f64 = followed.map(|f| f.time.as_secs_f64()).sum();
        let outages = self.outages.iter();
        Seen {
            probes_lost: outages.clone().map(|outage| outage.lost).collect(),
            loops: outages
                .clone()
                .map(|outage| outage.followed.circles)
                .collect(),
            longest_loop_ms: longest.unwrap_or_default().as_secs_f64() * 1e3,
            hop_limit_drops: outages.map(|outage| outage.hop_limit).sum(),
            reads_per_second: polls / seconds.max(1e-3),
        }
    }
}

fn record(
    measure: &str,
    bed: &Bed,
    recorder: &Recorder,
    bound: Duration,
    series: Series,
) -> Result<()> {
    let silences = series.outages.iter().map(|outage| outage.silence);
    let mut figure = Figure::times(measure, bed, bound, silences);
    figure.seen = Some(series.seen());
    if let Some(last) = series.skipped.last() {
        let count = series.skipped.len();
        figure = figure.noted(format!("{count} events did not take place: {last:#}"));
    }
    recorder.add(figure)
}

/// The interface of the cable, at both ends.
const CABLE: &str = "wire0";

/// A cable between r1 and r2 beside the radio, on which r3 is between them.
pub(crate) fn with_cable(kind: Kind) -> Result<Bed> {
    Bed::with(kind, &Topology::line(3), 0, |bed| {
        // Who hears whom: r1 and r2 have r3 in between.
        bed.lab.air().cut("r1", "r2")?;
        bed.lab
            .air()
            .connect("r1", "r3", mesh_tests::air::Loss::NONE)?;
        bed.air.ip_batch(
            "link add cable type bridge mcast_snooping 0 stp_state 0\nlink set cable up\n",
        )?;
        for router in ["r1", "r2"] {
            let namespace = bed.lab.node(router)?.namespace().clone();
            bed.air.ip_batch(&format!(
                "link add plug-{router} type veth peer name {CABLE} netns {}\n\
                 link set plug-{router} master cable up\n",
                namespace.name()
            ))?;
            namespace.bring_up(CABLE)?;
            bed.add_interface(router, CABLE)?;
        }
        // The chain of the medium forwards between radios only.
        bed.air.nft(
            "add element bridge air links { \"plug-r1\" . \"plug-r2\" : accept, \
             \"plug-r2\" . \"plug-r1\" : accept }\n",
        )?;
        bed.lab.settle()
    })
}

/// Pulls the cable: both ends lose their carrier at once.
pub(crate) fn carriers(bed: &mut Bed, recorder: &Recorder, rounds: Rounds) -> Result<()> {
    bed.ensure_running(COLD_BOUND)?;
    let target = bed.address("r2")?;
    let mut series = Series::default();
    for _ in 0..rounds.count {
        thread::sleep(rounds.settle);
        let probed = Probed::pair(bed, "r1", "r2")?;
        wait_for("the path over the cable", BOUND, || {
            let path = bed.village.path("r1", target)?;
            ensure!(path.len() == 2, "{path:?}");
            Ok(())
        })?;
        let air = bed.air.clone();
        series.take(outage(bed, &probed, BOUND, |_| plugs(&air, "down")));
        plugs(&bed.air, "up")?;
    }
    record("carrier", bed, recorder, BOUND, series)
}

fn plugs(air: &Namespace, state: &str) -> Result<()> {
    air.ip_batch(&format!(
        "link set plug-r1 {state}\nlink set plug-r2 {state}\n"
    ))
}

/// Four routers in a circle: r2 and r4 are gateways, r1 and r3 hear both.
pub(crate) fn with_gateways(kind: Kind) -> Result<Bed> {
    Bed::with(kind, &Topology::ring(4), 0, |bed| {
        for gateway in ["r2", "r4"] {
            bed.lab.add_uplink(gateway)?;
            bed.gateways.insert(gateway.to_owned());
            if kind != Kind::Meshd {
                // What meshd does by itself: the provider knows no address of the mesh.
                let namespace = bed.lab.node(gateway)?.namespace();
                namespace.nft(
                    "table inet uplink {\nchain post {\n\
                     type nat hook postrouting priority 100\n\
                     oifname \"wan0\" masquerade\n}\n}\n",
                )?;
            }
        }
        bed.lab.settle()
    })
}

/// Takes the power from the gateway that is in use. r1 probes a host on the Internet: with meshd
/// through its tunnel, with Babel along the default routes of both gateways,
/// with batmand through its tunnel, over IPv4.
pub(crate) fn gateways(bed: &mut Bed, recorder: &Recorder, rounds: Rounds) -> Result<()> {
    bed.ensure_running(COLD_BOUND)?;
    let target = match bed.kind {
        Kind::Batmand => echo_at(HOST_V4),
        Kind::Meshd | Kind::Babeld | Kind::BabeldWireless | Kind::BabeldFast => echo_at(HOST_V6),
    };
    let probed = Probed {
        from: bed.lab.node("r1")?.namespace().clone(),
        target,
        destinations: Vec::new(),
    };
    let mut series = Series::default();
    for _ in 0..rounds.count {
        thread::sleep(rounds.settle);
        let gateway = gateway_in_use(bed, &probed.from, target)?;
        series.take(outage(bed, &probed, GATEWAY_BOUND, |bed| {
            bed.power_off(&gateway)
        }));
        bed.power_on(&gateway)?;
        let _ = bed.wait_pairs(&Bed::pairs(&bed.routers()), Instant::now(), BOUND);
    }
    record("gateway", bed, recorder, GATEWAY_BOUND, series)
}

/// The gateway whose line answers and questions take: it forwards them, so its counters grow.
fn gateway_in_use(bed: &Bed, from: &Namespace, target: SocketAddr) -> Result<String> {
    wait_for("a gateway in use", GATEWAY_BOUND * 2, || {
        let before = uplink_packets(bed)?;
        let pinger = mesh_tests::probe::Pinger::start(from, target, PROBE)?;
        pinger.wait_answers(20, Duration::from_secs(2))?;
        drop(pinger);
        let after = uplink_packets(bed)?;
        let grown = after.into_iter().zip(before);
        let used = grown.max_by_key(|((_, after), (_, before))| after.saturating_sub(*before));
        used.map(|((name, _), _)| name).context("no gateways")
    })
}

fn uplink_packets(bed: &Bed) -> Result<Vec<(String, u64)>> {
    let counts = bed.gateways.iter().map(|gateway| {
        let namespace = bed.lab.node(gateway)?.namespace();
        Ok((gateway.clone(), namespace.sent_packets("wan0")?))
    });
    counts.collect()
}
