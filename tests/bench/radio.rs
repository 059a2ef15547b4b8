//! On 802.11 radios, in a virtual machine: meshd beside batman-adv, babeld, batmand and routes made
//! by hand, one after the other on the same simulated radios.
//!
//! batman-adv works below IP, so everything here is seen from outside: probes, transfers, and what
//! an interface has sent.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mesh_tests::command;
use mesh_tests::daemon::{Mode, Radio};
use mesh_tests::iperf::{self, Direction, Ends};
use mesh_tests::lab::{Lab, MESH};
use mesh_tests::mesh::{Addresses, path};
use mesh_tests::namespace::Namespace;
use mesh_tests::probe::{PORT, Pinger, reachable};
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

use crate::kind::{Kind, Peer, Role};
use crate::report::{Figure, Recorder};

/// How long everything may take.
pub(crate) const BOUND: Duration = Duration::from_secs(2 * 60 * 60);
/// Between two probes.
const PROBE: Duration = Duration::from_millis(10);
/// An answer that takes longer counts as silence: an emulated processor is slow.
const LATE: Duration = Duration::from_secs(1);
/// Healed is what has had every answer for so long.
const STEADY: Duration = Duration::from_secs(2);
/// How long an outage is watched at most.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a village may take until all reach all.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a village is left alone after a link is back, and before it is called idle.
const SETTLE: Duration = Duration::from_secs(10);
/// How long an idle village is looked at.
const IDLE: Duration = Duration::from_secs(30);
/// How long a transfer takes.
const TRANSFER: Duration = Duration::from_secs(5);
/// How many transfers there are over each distance.
const TRANSFERS: usize = 3;

/// Who routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contender {
    /// Nobody: routes made by hand, which never change.
    Static,
    Meshd,
    /// meshd that does not ask drivers whom they hear.
    MeshdBlind,
    BatmanIv,
    BatmanV,
    Babeld,
    Batmand,
}

impl Contender {
    const ALL: [Self; 7] = [
        Self::Static,
        Self::Meshd,
        Self::MeshdBlind,
        Self::BatmanIv,
        Self::BatmanV,
        Self::Babeld,
        Self::Batmand,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Static => "kernel routes",
            Self::Meshd => "meshd",
            Self::MeshdBlind => "meshd-blind",
            Self::BatmanIv => "batman-adv IV",
            Self::BatmanV => "batman-adv V",
            Self::Babeld => "babeld-wireless",
            Self::Batmand => "batmand",
        }
    }

    const fn is_meshd(self) -> bool {
        matches!(self, Self::Meshd | Self::MeshdBlind)
    }
}

/// A village on radios.
struct Village {
    contender: Contender,
    lab: Lab,
    addresses: BTreeMap<String, IpAddr>,
    peers: Vec<Peer>,
}

/// Transfers and idle costs of everybody, in a line.
pub(crate) fn costs(recorder: &Recorder) -> Result<()> {
    for contender in Contender::ALL {
        let line = Village::start(contender, &Topology::line(5))?;
        for figure in transfers(&line)? {
            recorder.add(figure)?;
        }
        recorder.add(idle(&line)?)?;
    }
    for figure in ratios(&recorder.figures()) {
        recorder.add(figure)?;
    }
    Ok(())
}

/// Outages of everybody who routes, in a circle; of meshd four times as many, for the rare ones.
pub(crate) fn outages(recorder: &Recorder, rounds: usize) -> Result<()> {
    let routing = Contender::ALL.into_iter();
    for contender in routing.filter(|it| *it != Contender::Static) {
        let rounds = if contender.is_meshd() {
            4 * rounds
        } else {
            rounds
        };
        let mut ring = Village::start(contender, &Topology::ring(4))?;
        recorder.add(cuts(&mut ring, rounds)?)?;
        if contender.is_meshd() {
            recorder.add(silences(&mut ring, rounds)?)?;
        }
    }
    Ok(())
}

impl Village {
    fn start(contender: Contender, topology: &Topology) -> Result<Self> {
        let mut lab = Lab::with_radios("radio", topology)?;
        let mut village = if contender.is_meshd() {
            start_meshd(&mut lab, contender)?;
            let asked = Addresses::ask(&lab)?;
            let addresses = lab.nodes().map(|node| {
                let name = node.name().to_owned();
                Ok((name.clone(), asked.v6(&name)?))
            });
            let addresses = addresses.collect::<Result<_>>()?;
            Self {
                contender,
                lab,
                addresses,
                peers: Vec::new(),
            }
        } else {
            join(&lab)?;
            Self {
                contender,
                lab,
                addresses: BTreeMap::new(),
                peers: Vec::new(),
            }
        };
        village.start_peers(topology)?;
        village.wait_all_pairs()?;
        Ok(village)
    }

    fn start_peers(&mut self, topology: &Topology) -> Result<()> {
        for (number, node) in (1_u8..).zip(self.lab.nodes()) {
            let namespace = node.namespace();
            let address = match self.contender {
                Contender::Meshd | Contender::MeshdBlind => continue,
                Contender::Static => by_hand(number, namespace)?,
                Contender::BatmanIv => batman_adv(number, namespace, "BATMAN_IV")?,
                Contender::BatmanV => batman_adv(number, namespace, "BATMAN_V")?,
                Contender::Babeld | Contender::Batmand => {
                    let kind = if self.contender == Contender::Babeld {
                        Kind::BabeldWireless
                    } else {
                        Kind::Batmand
                    };
                    let address = kind.prepare(node, number)?.context("no address")?;
                    self.peers.push(kind.start(node, &[MESH], Role::Relay)?);
                    address
                }
            };
            self.addresses.insert(node.name().to_owned(), address);
        }
        if self.contender == Contender::Static {
            self.route_by_hand(topology)?;
        }
        Ok(())
    }

    /// Routes along a line.
    fn route_by_hand(&self, topology: &Topology) -> Result<()> {
        let routers: Vec<String> = topology.routers().collect();
        for (at, router) in routers.iter().enumerate() {
            let namespace = self.namespace(router)?;
            for (to, other) in routers.iter().enumerate().filter(|(to, _)| *to != at) {
                let next = routers.get(if to > at { at + 1 } else { at - 1 });
                let next = self.namespace(next.context("no neighbor")?)?;
                namespace.ip(&format!(
                    "-6 route add {}/128 via {} dev {MESH}",
                    self.address(other)?,
                    next.link_local(MESH)?
                ))?;
            }
        }
        Ok(())
    }

    fn wait_all_pairs(&self) -> Result<()> {
        wait_for("every router to reach every other", PATIENCE, || {
            for router in self.addresses.keys() {
                let others = self.addresses.iter().filter(|(name, _)| *name != router);
                let others: Vec<IpAddr> = others.map(|(_, address)| *address).collect();
                let answered = reachable(self.namespace(router)?, &others, LATE)?;
                ensure!(
                    answered.len() == others.len(),
                    "{router} reaches {} of {}",
                    answered.len(),
                    others.len()
                );
            }
            Ok(())
        })
    }

    fn namespace(&self, router: &str) -> Result<&Namespace> {
        Ok(self.lab.node(router)?.namespace())
    }

    fn address(&self, router: &str) -> Result<IpAddr> {
        let address = self.addresses.get(router).copied();
        address.with_context(|| format!("{router} has no address"))
    }

    /// How long outages took in a circle of four.
    fn times(&self, measure: &str, samples: Vec<Option<Duration>>) -> Figure {
        let mut figure = self.figure(measure, "ring:4", "ms");
        figure.bound = Some(LONGEST.as_secs_f64() * 1e3);
        let ms = |time: Duration| (time.as_secs_f64() * 1e4).round() / 10.0;
        figure.samples = samples.into_iter().map(|time| time.map(ms)).collect();
        figure
    }

    fn figure(&self, measure: &str, topology: &str, unit: &str) -> Figure {
        Figure {
            measure: measure.to_owned(),
            daemon: self.contender.name().to_owned(),
            topology: topology.to_owned(),
            loss_percent: 0,
            unit: unit.to_owned(),
            samples: Vec::new(),
            bound: None,
            seen: None,
            note: None,
        }
    }
}

fn start_meshd(lab: &mut Lab, contender: Contender) -> Result<()> {
    lab.use_radios(&Radio::open(Mode::Mesh))?;
    if contender == Contender::MeshdBlind {
        let routers: Vec<String> = lab.nodes().map(|node| node.name().to_owned()).collect();
        for router in routers {
            let mesh = &mut lab.node_mut(&router)?.config.mesh;
            *mesh = mesh.replace("[{", "[{station_data: off, ");
        }
    }
    lab.start_all()
}

/// Makes the interfaces that meshd would make, by hand.
fn join(lab: &Lab) -> Result<()> {
    for node in lab.nodes() {
        let namespace = node.namespace();
        let index = lab.phy(node.name())?.trim_start_matches("phy");
        // By its number: the names are looked up in the /sys of another namespace.
        namespace.run("iw", &format!("phy#{index} interface add {MESH} type mp"))?;
        namespace.ip(&format!("link set {MESH} up"))?;
        let options = "freq 2412 HT20 mesh_fwding 0 mesh_rssi_threshold 0";
        namespace.run("iw", &format!("dev {MESH} mesh join labmesh {options}"))?;
        namespace.run("iw", &format!("dev {MESH} set mesh_param mesh_nolearn 1"))?;
    }
    lab.settle()
}

fn by_hand(number: u8, namespace: &Namespace) -> Result<IpAddr> {
    let address = Ipv6Addr::new(0xfd00, 0x57a7, 0, 0, 0, 0, 0, u16::from(number));
    namespace.ip(&format!("addr add {address}/128 dev lo"))?;
    namespace.set("net/ipv6/conf/all/forwarding", "1")?;
    Ok(IpAddr::V6(address))
}

fn batman_adv(number: u8, namespace: &Namespace, algorithm: &str) -> Result<IpAddr> {
    let address = Ipv4Addr::new(10, 9, 0, number);
    command::run("modprobe", "batman-adv")?;
    namespace.run("batctl", &format!("routing_algo {algorithm}"))?;
    namespace.ip("link add bat0 type batadv")?;
    // batman-adv adds up to 32 bytes, which otherwise means fragments.
    namespace.ip(&format!("link set {MESH} mtu 1532"))?;
    namespace.ip(&format!("link set {MESH} master bat0"))?;
    namespace.ip("link set bat0 up")?;
    namespace.ip(&format!("addr add {address}/24 dev bat0"))?;
    Ok(IpAddr::V4(address))
}

/// A circle of four has two ways from r1 to r3. The one in use falls silent.
fn cuts(village: &mut Village, rounds: usize) -> Result<Figure> {
    let target = SocketAddr::new(village.address("r3")?, PORT);
    let from = village.namespace("r1")?.clone();
    let mut samples = Vec::new();
    for _ in 0..rounds {
        thread::sleep(SETTLE);
        samples.push(outage(village, &from, target)?);
    }
    Ok(village.times("cut (radio)", samples))
}

/// Which way is in use only shows when it is gone: both are tried.
fn outage(village: &mut Village, from: &Namespace, target: SocketAddr) -> Result<Option<Duration>> {
    let pinger = Pinger::start(from, target, PROBE)?;
    for relay in ["r2", "r4"] {
        wait_for("undisturbed probes", PATIENCE, || {
            ensure!(pinger.is_steady(STEADY, LATE), "some get lost");
            Ok(())
        })?;
        let since = Instant::now();
        village.lab.air().cut("r1", relay)?;
        let healed = loop {
            thread::sleep(Duration::from_millis(50));
            if since.elapsed() > STEADY + LATE && pinger.is_steady(STEADY, LATE) {
                break true;
            }
            if since.elapsed() > LONGEST {
                break false;
            }
        };
        let report = pinger.report_since(since);
        village.lab.air().heal("r1", relay)?;
        if !healed {
            return Ok(None);
        }
        if report.longest_outage > Duration::from_millis(100) {
            return Ok(Some(report.longest_outage));
        }
    }
    bail!("{}: neither way was in use", village.contender.name())
}

/// The same while nothing is sent: until r1 has another way.
fn silences(village: &mut Village, rounds: usize) -> Result<Figure> {
    let mut samples = Vec::new();
    for _ in 0..rounds {
        thread::sleep(SETTLE);
        let before = path(&village.lab, "r1", "r3")?;
        let relay = before.get(1).context("no way to r3")?;
        let since = Instant::now();
        village.lab.air().cut("r1", relay)?;
        let time = loop {
            if path(&village.lab, "r1", "r3").is_ok_and(|now| now != before) {
                break Some(since.elapsed());
            }
            if since.elapsed() > LONGEST {
                break None;
            }
            thread::sleep(Duration::from_millis(50));
        };
        village.lab.air().heal("r1", relay)?;
        samples.push(time);
    }
    Ok(village.times("cut, idle (radio)", samples))
}

/// TCP from one to four hops to r5, in Mbit/s.
fn transfers(village: &Village) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (hops, client) in [(1, "r4"), (2, "r3"), (3, "r2"), (4, "r1")] {
        let mut figure = village.figure(&format!("transfer, {hops} hops"), "line:5", "Mbit/s");
        for _ in 0..TRANSFERS {
            figure.samples.push(Some(transfer(village, client)?));
        }
        figures.push(figure);
    }
    Ok(figures)
}

fn transfer(village: &Village, client: &str) -> Result<f64> {
    let ends = Ends {
        client: village.namespace(client)?,
        server: village.namespace("r5")?,
        address: village.address("r5")?,
        port: iperf::PORT,
        most_mbps: None,
    };
    Ok(iperf::transfer(&ends, Direction::Up, TRANSFER)?.mbps)
}

/// Each daemon's transfers as a part of what routes made by hand carry.
fn ratios(figures: &[Figure]) -> Vec<Figure> {
    let is_transfer = |figure: &&Figure| figure.measure.starts_with("transfer");
    let transfers: Vec<&Figure> = figures.iter().filter(is_transfer).collect();
    let plain = |measure: &str| {
        let mut all = transfers.iter();
        let figure = all.find(|it| it.measure == measure && it.daemon == "kernel routes")?;
        figure.mean()
    };
    let ratio = |figure: &&Figure| {
        let share = figure.mean()? / plain(&figure.measure)?;
        Some(Figure {
            measure: figure.measure.replace("transfer", "share"),
            unit: "of plain".to_owned(),
            samples: vec![Some(share)],
            ..(*figure).clone()
        })
    };
    transfers.iter().filter_map(ratio).collect()
}

/// What each router sends when nothing happens, beacons not included.
fn idle(village: &Village) -> Result<Figure> {
    thread::sleep(SETTLE);
    let sent = || -> Result<Vec<f64>> {
        let routers = village.addresses.keys();
        routers
            .map(|router| sent_bytes(village.namespace(router)?))
            .collect()
    };
    let (begin, before) = (Instant::now(), sent()?);
    thread::sleep(IDLE);
    let seconds = begin.elapsed().as_secs_f64();
    let after = sent()?;
    let mut figure = village.figure("idle ethernet", "line:5", "B/s");
    let grown = after
        .iter()
        .zip(before)
        .map(|(after, before)| after - before);
    figure.samples = grown.map(|bytes| Some(bytes / seconds)).collect();
    figure.note = Some("sent per router, Ethernet headers included".to_owned());
    Ok(figure)
}

fn sent_bytes(namespace: &Namespace) -> Result<f64> {
    let text = namespace.within(|| Ok(fs::read_to_string("/proc/thread-self/net/dev")?))?;
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("mesh0:"));
    let bytes = line.context("no mesh0")?.split_whitespace().nth(8);
    bytes.context("a short line")?.parse().context("a count")
}
