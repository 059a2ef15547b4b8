//! A village that runs one kind of daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mesh_tests::air::Loss;
use mesh_tests::fib::Village;
use mesh_tests::lab::Lab;
use mesh_tests::namespace::Namespace;
use mesh_tests::topology::Topology;
use mesh_tests::volley::{Pair, Volley};
use nix::sys::signal::Signal;

use crate::graph::Graph;
use crate::kind::{Kind, Peer, Role};

/// Routers, links, and the daemons while they run.
#[derive(Debug)]
pub(crate) struct Bed {
    pub(crate) kind: Kind,
    pub(crate) topology: String,
    /// Loss of a broadcast in percent; unicast loses the fourth power of it.
    pub(crate) loss: u32,
    pub(crate) lab: Lab,
    pub(crate) graph: Graph,
    pub(crate) addresses: BTreeMap<String, IpAddr>,
    pub(crate) village: Arc<Village>,
    pub(crate) volley: Volley,
    pub(crate) gateways: BTreeSet<String>,
    /// Where the medium is.
    pub(crate) air: Namespace,
    interfaces: BTreeMap<String, Vec<&'static str>>,
    peers: BTreeMap<String, Peer>,
}

impl Bed {
    /// Builds the village and learns all addresses; no daemon runs.
    pub(crate) fn new(kind: Kind, topology: &Topology, loss: u32) -> Result<Self> {
        Self::with(kind, topology, loss, |_| Ok(()))
    }

    /// The same, with something added to the village before addresses are learned.
    pub(crate) fn with(
        kind: Kind,
        topology: &Topology,
        loss: u32,
        furnish: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<Self> {
        let tag = format!("{kind}.{topology}.{loss}").replace([':', 'x'], "-");
        let mut lab = Lab::with_topology(&tag, topology)?;
        for (a, b) in topology.links() {
            lab.air().connect(&a, &b, Loss::percent(loss))?;
        }
        let graph = Graph::new(topology.links());
        let mut bed = Self {
            kind,
            topology: topology.to_string(),
            loss,
            graph,
            addresses: BTreeMap::new(),
            village: Arc::new(Village::open(&BTreeMap::new())?),
            air: lab.air().namespace()?.clone(),
            volley: Volley::new(&BTreeMap::new(), &BTreeMap::new())?,
            gateways: BTreeSet::new(),
            interfaces: BTreeMap::new(),
            peers: BTreeMap::new(),
            lab,
        };
        for (number, name) in (1_u8..).zip(bed.routers()) {
            let address = kind.prepare(bed.lab.node(&name)?, number)?;
            bed.addresses.extend(address.map(|address| (name, address)));
        }
        furnish(&mut bed)?;
        if kind == Kind::Meshd {
            bed.learn_addresses()?;
        }
        bed.village = Arc::new(Village::open(&bed.namespaces())?);
        bed.volley = Volley::new(&bed.namespaces(), &bed.addresses)?;
        Ok(bed)
    }

    /// A mesh address comes from the key, and the key from the first start.
    fn learn_addresses(&mut self) -> Result<()> {
        let routers = self.routers();
        self.lab.start_all().context("the first start of meshd")?;
        for name in &routers {
            let status = self.lab.node(name)?.status()?;
            self.addresses
                .insert(name.clone(), IpAddr::V6(status.mesh_ipv6));
        }
        self.stop(&routers)
    }

    /// Adds an interface to a router that the daemon shall use as well.
    pub(crate) fn add_interface(&mut self, router: &str, interface: &'static str) -> Result<()> {
        let position = self.routers().iter().position(|name| name == router);
        let number = position.and_then(|position| u8::try_from(position + 1).ok());
        let number = number.with_context(|| format!("there is no router {router}"))?;
        self.kind
            .prepare_interface(self.lab.node_mut(router)?, number, interface)?;
        let interfaces = self.interfaces.entry(router.to_owned());
        interfaces.or_insert_with(|| vec!["mesh0"]).push(interface);
        Ok(())
    }

    /// The names of all routers.
    pub(crate) fn routers(&self) -> Vec<String> {
        self.lab
            .nodes()
            .map(|node| node.name().to_owned())
            .collect()
    }

    pub(crate) fn namespaces(&self) -> BTreeMap<String, Namespace> {
        self.lab
            .nodes()
            .map(|node| (node.name().to_owned(), node.namespace().clone()))
            .collect()
    }

    /// Every ordered pair of these routers.
    pub(crate) fn pairs(among: &[String]) -> BTreeSet<Pair> {
        among
            .iter()
            .flat_map(|from| among.iter().map(move |to| (from.clone(), to.clone())))
            .filter(|(from, to)| from != to)
            .collect()
    }

    /// A router's address in the mesh.
    pub(crate) fn address(&self, router: &str) -> Result<IpAddr> {
        let address = self.addresses.get(router).copied();
        address.with_context(|| format!("{router} has no address"))
    }

    /// Starts the daemon on these routers, without waiting for anything.
    pub(crate) fn launch(&mut self, routers: &[String]) -> Result<()> {
        for router in routers {
            if self.kind == Kind::Meshd {
                self.lab.node_mut(router)?.launch()?;
                continue;
            }
            let radio = vec!["mesh0"];
            let interfaces = self.interfaces.get(router).unwrap_or(&radio);
            let role = match self.gateways.contains(router) {
                _ if self.gateways.is_empty() => Role::Relay,
                true => Role::Gateway,
                false => Role::Client,
            };
            let peer = self.kind.start(self.lab.node(router)?, interfaces, role)?;
            self.peers.insert(router.clone(), peer);
        }
        Ok(())
    }

    /// Ends the daemons on these routers, all at once and in good order: all of them remove what
    /// they told the kernel.
    pub(crate) fn stop(&mut self, routers: &[String]) -> Result<()> {
        for router in routers {
            match self.peers.get_mut(router) {
                Some(peer) => peer.signal(Signal::SIGTERM)?,
                None if self.kind == Kind::Meshd => {
                    self.lab
                        .node_mut(router)?
                        .daemon()?
                        .signal(Signal::SIGTERM)?;
                }
                None => (),
            }
        }
        for router in routers {
            match self.peers.remove(router) {
                Some(mut peer) => peer.wait_end()?,
                None if self.kind == Kind::Meshd => {
                    let mut daemon = self.lab.node_mut(router)?.take_daemon()?;
                    daemon.wait_end("to end")?;
                }
                None => (),
            }
        }
        Ok(())
    }

    /// Takes the power from a router: no last word, silence, and nothing left in the kernel.
    pub(crate) fn power_off(&mut self, router: &str) -> Result<()> {
        self.lab.power_off(router)?;
        if let Some(mut peer) = self.peers.remove(router) {
            peer.signal(Signal::SIGKILL)?;
        }
        Ok(())
    }

    /// Gives it back, with the daemon started.
    pub(crate) fn power_on(&mut self, router: &str) -> Result<()> {
        self.flush(router)?;
        self.lab.air().power_on(router)?;
        if let Ok(line) = self.lab.node(router)?.line() {
            let line = line.clone();
            self.lab.internet()?.plug_in(&line)?;
        }
        self.launch(&[router.to_owned()])
    }

    /// What a kernel forgets when it boots.
    fn flush(&self, router: &str) -> Result<()> {
        let namespace = self.lab.node(router)?.namespace();
        let script = match self.kind {
            Kind::Meshd => {
                "ip link del meshd0 2>/dev/null; ip nexthop flush 2>/dev/null
                 for f in -4 -6; do
                   ip $f route flush table all proto 155; ip $f rule flush protocol 155
                 done 2>/dev/null
                 nft delete table inet meshd 2>/dev/null; true"
            }
            Kind::Babeld | Kind::BabeldWireless | Kind::BabeldFast => {
                "ip -6 route flush proto babel; ip -4 route flush proto babel; true"
            }
            Kind::Batmand => {
                "for t in 65 66 67 68; do ip route flush table $t; done 2>/dev/null
                 ip rule | sed -n 's/^\\(6[67][0-9][0-9]\\):.*/\\1/p' |
                   while read p; do ip rule del priority $p; done; true"
            }
        };
        let file = self.lab.node(router)?.files().directory().join("flush.sh");
        fs::write(&file, script)?;
        namespace.run("sh", &file.display().to_string()).map(drop)
    }

    /// Deletes what a daemon keeps on disk, other than who it is.
    pub(crate) fn forget(&self, router: &str) -> Result<()> {
        let state = self.lab.node(router)?.files().state();
        let _ = fs::remove_dir_all(&state);
        fs::create_dir_all(&state).context("an empty state directory")
    }

    /// The process of each router's daemon.
    pub(crate) fn processes(&mut self) -> Result<BTreeMap<String, u32>> {
        let mut processes = BTreeMap::new();
        for router in self.routers() {
            let id = match self.peers.get_mut(&router) {
                Some(peer) => peer.id()?,
                None => self.lab.node_mut(&router)?.daemon()?.id(),
            };
            processes.insert(router, id);
        }
        Ok(processes)
    }

    /// Probes all these pairs until each has had its answer; the time the last one took.
    pub(crate) fn wait_pairs(
        &self,
        pairs: &BTreeSet<Pair>,
        start: Instant,
        bound: Duration,
    ) -> Result<Duration, Missing> {
        // Few enough that a village of fifty is not busy with probes.
        let interval = Duration::from_millis(if pairs.len() > 500 { 100 } else { 20 });
        let answered = self.volley.first_answers(pairs, start, interval, bound);
        let missing = pairs.len() - answered.len();
        match answered.values().max() {
            Some(last) if missing == 0 => Ok(*last),
            _ => Err(Missing {
                missing,
                pairs: pairs.len(),
            }),
        }
    }

    /// Starts all daemons if none run, and waits until every router reaches every other.
    pub(crate) fn ensure_running(&mut self, bound: Duration) -> Result<()> {
        let routers = self.routers();
        let running = |bed: &mut Self| {
            !bed.peers.is_empty()
                || bed
                    .lab
                    .node_mut("r1")
                    .is_ok_and(|node| node.daemon().is_ok())
        };
        if !running(self) {
            self.launch(&routers)?;
        }
        match self.wait_pairs(&Self::pairs(&routers), Instant::now(), bound) {
            Ok(_) => Ok(()),
            Err(missing) => bail!("{}: {missing} after {bound:?}", self.label()),
        }
    }

    /// Ends all daemons.
    pub(crate) fn stop_all(&mut self) -> Result<()> {
        let routers = self.routers();
        self.stop(&routers)
    }

    /// What is measured here, for the table.
    pub(crate) fn label(&self) -> String {
        format!("{} {} at {} % loss", self.kind, self.topology, self.loss)
    }
}

/// Pairs that do not reach each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missing {
    missing: usize,
    pairs: usize,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} pairs without answer", self.missing, self.pairs)
    }
}
