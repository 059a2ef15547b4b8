//! The one event loop: it owns all state, and every input passes through it.
//!
//! Packets, kernel events, questions from the control socket, signals and timers come in one at a
//! time; after each, everything that follows from it goes out, in order. Nothing else in the
//! daemon decides anything.
//!
//! | room | what lives there |
//! |---|---|
//! | this file | start, loop, shutdown |
//! | `inputs` | what each kind of input means |
//! | `outputs` | what router and ledger want done |
//! | `accounts` | what the kernel counted, and what the ledger wants done |
//! | `radios` | what is known of radios, and what it means for routing |
//! | `kernel_port` | requests that wait for room in the kernel task's queue |
//! | `probing` | nodes that are asked whether they are there |
//! | `throughput` | measurements of what a way carries, ours and those of others |
//! | `reload` | the configuration read again |
//! | `doctor` | what is wrong, and mending it |
//! | `trial` | a configuration that goes unless it is confirmed |
//! | `saving` | what follows from how saving receipts goes; exports |
//! | `naming` | what resolvers on this machine should know |
//! | `gateways` | which gateways may be used |
//! | `telling` | what is told to those who listen |
//! | `internet` | since when there is Internet, and through whom |

mod accounts;
mod credit;
mod doctor;
mod gateways;
mod inputs;
pub(crate) mod internet;
mod kernel_port;
mod naming;
mod outputs;
mod probing;
pub(crate) mod radios;
mod reload;
mod saving;
mod telling;
mod throughput;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ed25519_dalek::SigningKey;
use ipnet::IpNet;
use mesh_proto::gateway_policy::Allowed;
use mesh_proto::record::USUAL_MTU;
use mesh_proto::router::{Announcement, Start};
use mesh_proto::{
    IfIndex, Network, NodeId, OriginatorId, RouteChange, Router, RouterConfig, Tunnels,
    WireguardKey,
};
use receipts::{Credit, Ledger, LedgerConfig, NetworkId, Party, Price, State};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::alarm::Alarm;
use crate::carried::Carried;
use crate::config::{Config, TunnelChoice};
use crate::control::ControlSocket;
use crate::events::Events;
use crate::history::History;
use crate::identity;
use crate::instance::Instance;
use crate::kernel::{self, KernelEvent, KernelRequest, Link, NewFlows, Setup, WireguardSecret};
use crate::log::Log;
use crate::names::NameFiles;
use crate::status_page::StatusPage;
use crate::store::{Progress, Store};
use crate::supervisor::Supervisor;
use crate::throughput::Tests;
use crate::udp::{Datagram, Received, Sockets};
use crate::uplink::{DefaultRoutes, Line, Shared, Watcher};
use crate::usage::Usage;
use accounts::Books;
use internet::Internet;
use kernel_port::KernelPort;
use probing::Probing;
use radios::Radios;
use telling::Told;
use throughput::Arranging;
use trial::Trial;

/// How often the byte counters are read while traffic flows; receipts are at most this far behind.
const COUNTER_INTERVAL: Duration = Duration::from_millis(500);
/// How much earlier they are read if something else wakes us: each wake costs more than reading.
const COUNTER_HASTE: Duration = Duration::from_millis(200);
/// How long after a reading there may be the next because somebody wants one.
const COUNTER_PAUSE: Duration = Duration::from_millis(20);
/// How long after the last word of traffic they are read: what was counted since is not told.
const COUNTER_TIME: Duration = Duration::from_secs(2);
/// How long it may take to find out which uplink there is, and whether it works.
const SETTLING_LIMIT: Duration = Duration::from_secs(2);
/// How long the kernel task may take to remove everything.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);

/// The daemon at work.
pub(crate) struct Driver {
    config_path: PathBuf,
    log: Log,
    events: Events,
    told: Told,
    config: Config,
    trial: Trial,
    started: Instant,
    /// For a ledger that has to begin anew. Wipes itself when dropped.
    key: SigningKey,
    router: Router,
    ledger: Ledger,
    store: Store,
    sockets: Sockets,
    kernel: KernelPort,
    links: BTreeMap<IfIndex, Link>,
    link_locals: BTreeMap<IfIndex, Ipv6Addr>,
    default_routes: DefaultRoutes,
    watcher: Watcher,
    /// What the mesh may use of our own uplinks.
    shared: Option<Shared>,
    ways: Ways,
    /// The uplinks that worked, as a predecessor knew.
    left_lines: BTreeSet<Line>,
    /// The resolvers that a predecessor knew.
    left_resolvers: Vec<IpAddr>,
    internet: Internet,
    /// The gateway that was selected at run time, in place of the configured one.
    selected: Option<Allowed>,
    usage: Usage,
    books: Books,
    history: History,
    carried: Carried,
    probing: Probing,
    arranging: Arranging,
    /// Those that others ask for.
    throughput: Tests,
    counted_gateways: BTreeSet<Ipv6Addr>,
    new_flows: NewFlows,
    /// Prefixes of ours that others announce too, as far as it was logged.
    logged_conflicts: BTreeSet<(IpNet, OriginatorId)>,
    /// What tunnels are sized for.
    mesh_mtu: u16,
    radios: Radios,
    page: StatusPage,
    supervisor: Supervisor,
    names: NameFiles,
    /// When to write them again, if there is reason to.
    names_due: Option<Instant>,
    /// When to read the byte counters, and to try again what failed, if there is reason to.
    next_counters: Option<Instant>,
    /// When they were read last.
    counters_asked: Instant,
    /// Until when traffic is assumed to flow.
    traffic_until: Instant,
    /// Whether the kernel may be told what everything but routes should be. First it has to say which
    /// uplinks there are: to forward makes it forget what routers advertised there, unless it is told
    /// otherwise before; and after a predecessor, what belongs to them would go and come back. Until then
    /// nothing is said to neighbors either.
    settled: bool,
    /// Whether there was a predecessor.
    took_over: bool,
    /// Whether the kernel has been what it should be at least once.
    configured: bool,
    /// Whether it is to be made so again, because that failed.
    unconfigured: bool,
    /// Why the daemon cannot go on.
    failure: Option<anyhow::Error>,
    /// What the kernel could not do as it should, in the words shown to operators.
    kernel_warnings: Vec<String>,
    /// Routes the kernel refused, to be offered again with the next reading of counters.
    refused_routes: Vec<RouteChange>,
    /// How saving goes, as far as it was logged.
    saving: Progress,
}

/// What a driver is made of.
struct Parts {
    config_path: PathBuf,
    log: Log,
    events: Events,
    page: StatusPage,
    config: Config,
    key: SigningKey,
    router: Router,
    ledger: Ledger,
    store: Store,
    books: Books,
    usage: Usage,
    kernel: KernelPort,
}

/// What the kernel should do with our own uplinks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ways {
    uplinks: kernel::Uplinks,
    /// The interfaces that lead out, whether they work or not.
    outside: BTreeSet<String>,
}

/// Runs the daemon until a signal ends it.
///
/// # Errors
/// What keeps it from starting, or the loss of the kernel port.
pub async fn run(config: Config, config_path: PathBuf, key: SigningKey, log: Log) -> Result<()> {
    let mut signals = Signals::install()?;
    // The locks come first: whoever has them owns what is in the kernel, and the state.
    let _instance = Instance::claim().context("network namespace")?;
    let network = NetworkId::from_name(config.network().as_str());
    let stored = Store::open(config.state(), network, Party::of(&key))?;
    let path = config.control().to_owned();
    let events = Events::new(Instant::now());
    let mut control = ControlSocket::open(&config, &events)
        .with_context(|| format!("control socket {}", path.display()))?;
    let page = StatusPage::new(control.asking());
    let (mut driver, mut events) =
        Driver::start(config, config_path, key, stored, (log, events, page)).await?;
    let outcome = driver
        .run_until_signal(&mut events, &mut control, &mut signals)
        .await;
    control.remove();
    let end = *outcome.as_ref().unwrap_or(&driver.end_of_failure());
    let stopped = driver.shut_down(&mut events, end).await;
    outcome.map(drop).and(stopped)
}

/// How the daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Everything of ours is removed.
    Clean,
    /// Everything stays for the successor, so that traffic goes on.
    Handover,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hand_over: Signal,
    reload: Signal,
}

enum SignalAction {
    End(End),
    Reload,
}

impl Signals {
    fn install() -> Result<Self> {
        let on = |kind| signal(kind).context("signal handler");
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hand_over: on(SignalKind::user_defined1())?,
            reload: on(SignalKind::hangup())?,
        })
    }

    async fn receive(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.terminate.recv() => SignalAction::End(End::Clean),
            _ = self.interrupt.recv() => SignalAction::End(End::Clean),
            _ = self.hand_over.recv() => SignalAction::End(End::Handover),
            _ = self.reload.recv() => SignalAction::Reload,
        }
    }
}

impl Driver {
    async fn start(
        config: Config,
        config_path: PathBuf,
        key: SigningKey,
        (mut store, mut state): (Store, State),
        (log, listeners, page): (Log, Events, StatusPage),
    ) -> Result<(Self, mpsc::Receiver<KernelEvent>)> {
        let network = network(&config)?;
        let secret = match config.tunnel() {
            TunnelChoice::Vxlan => None,
            TunnelChoice::Auto | TunnelChoice::Wireguard => kernel::wireguard_secret()?,
        };
        let wireguard = secret.as_ref().map(WireguardSecret::public);
        let tunnels = tunnels(config.tunnel(), wireguard)?;
        let mut setup = setup(&config, &network, &key);
        setup.vxlan = tunnels.has_vxlan();
        setup.wireguard = secret;
        let (requests, mut events) = kernel::spawn(setup).context("netlink")?;
        let (start, lines) = what_was_left(&mut events).await?;
        let warm = matches!(start, Start::Warm(_));
        let now = Instant::now();
        let seed = getrandom::u64().context("randomness")?;
        let router_config = RouterConfig {
            tunnels,
            ..RouterConfig::new(network, start, store.begin_epoch(), seed)
        };
        let announcement = announcement(&config, None);
        let runtime = config.control().parent().unwrap_or(Path::new("/"));
        let owner = NodeId::from_bytes(key.verifying_key().to_bytes());
        let (books, usage, unsaved) = Books::open(runtime, owner);
        for record in unsaved {
            state.apply(&record).context("accounts")?;
            store.submit(record);
        }
        let terms = ledger_config(&config, state.header().network);
        let ledger = Ledger::new(terms, key.clone(), state).context("receipt log")?;
        let parts = Parts {
            router: Router::new(router_config, key.clone(), announcement, now),
            config_path,
            log,
            events: listeners,
            page,
            config,
            key,
            ledger,
            store,
            books,
            usage,
            kernel: KernelPort::new(requests),
        };
        let mut driver = Self::new(parts, now, warm);
        driver.left_lines = lines;
        driver.set_gateway_policy(now);
        driver.router.set_position(driver.config.position());
        driver.take_over_unsettled(now);
        driver.log_saving();
        driver.page.follow(&driver.config, &driver.links);
        info!(
            network = driver.router.network().name(),
            name = driver.config.name().as_str(),
            node = %driver.router.id(),
            address = %driver.router.network().mesh_ipv6(driver.router.id()),
            took_over = warm,
            "meshd started"
        );
        Ok((driver, events))
    }

    /// A driver to which nothing has happened yet.
    fn new(parts: Parts, now: Instant, took_over: bool) -> Self {
        let Parts {
            config_path,
            log,
            events,
            page,
            config,
            key,
            router,
            ledger,
            store,
            books,
            usage,
            kernel,
        } = parts;
        let runtime = config.control().parent().unwrap_or(Path::new("/"));
        let names = NameFiles::within(runtime);
        let network = NetworkId::from_name(config.network().as_str());
        let carried = Carried::within(config.state(), network, ledger.owner());
        let until_names = if took_over {
            SETTLING_LIMIT
        } else {
            Duration::ZERO
        };
        Self {
            key,
            router,
            config_path,
            log,
            events,
            told: Told::default(),
            config,
            trial: Trial::None,
            started: now,
            ledger,
            store,
            sockets: Sockets::new(),
            kernel,
            links: BTreeMap::new(),
            link_locals: BTreeMap::new(),
            default_routes: DefaultRoutes::default(),
            watcher: Watcher::new(),
            shared: None,
            ways: Ways::default(),
            left_lines: BTreeSet::new(),
            left_resolvers: names.left_resolvers(),
            internet: Internet::new(now),
            selected: None,
            usage,
            books,
            history: History::new(now),
            carried,
            probing: Probing::default(),
            arranging: Arranging::default(),
            throughput: Tests::default(),
            counted_gateways: BTreeSet::new(),
            new_flows: NewFlows::default(),
            logged_conflicts: BTreeSet::new(),
            mesh_mtu: USUAL_MTU,
            radios: Radios::default(),
            page,
            supervisor: Supervisor::from_environment(now),
            names,
            names_due: Some(now + until_names),
            next_counters: Some(now + SETTLING_LIMIT + COUNTER_HASTE),
            counters_asked: now,
            traffic_until: now,
            settled: false,
            took_over,
            configured: false,
            unconfigured: false,
            failure: None,
            kernel_warnings: Vec::new(),
            refused_routes: Vec::new(),
            saving: Progress::default(),
        }
    }

    async fn run_until_signal(
        &mut self,
        events: &mut mpsc::Receiver<KernelEvent>,
        control: &mut ControlSocket,
        signals: &mut Signals,
    ) -> Result<End> {
        let mut alarm = Alarm::new().context("timer")?;
        loop {
            let now = Instant::now();
            self.handle_timeouts(now);
            self.carry_out(now);
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            let deadline = self.deadline();
            tokio::select! {
                action = signals.receive() => match action {
                    SignalAction::End(end) => return Ok(end),
                    SignalAction::Reload => self.handle_reload_signal(Instant::now()),
                },
                event = events.recv() => match event {
                    Some(event) => self.handle_kernel_event(Instant::now(), event),
                    None => bail!("the netlink task ended"),
                },
                () = self.store.changed() => self.handle_saving(Instant::now()),
                news = self.watcher.changed() => {
                    if self.watcher.take_in(news) {
                        self.update_uplink(Instant::now());
                        self.rename_soon(Instant::now());
                    }
                }
                question = control.receive() => match question {
                    Some(question) => self.handle_question(Instant::now(), question),
                    None => bail!("the control socket closed"),
                },
                received = self.sockets.receive() => match received {
                    Received::Datagram(Datagram { ifindex, source, bytes }) => {
                        self.router.handle_packet(Instant::now(), ifindex, source, bytes);
                    }
                    Received::Refused { ifindex, address } => {
                        self.router.handle_refusal(Instant::now(), ifindex, address);
                    }
                },
                waited = alarm.wait_until(Some(deadline)) => waited.context("timer")?,
            }
        }
    }

    /// When something is due without any input.
    fn deadline(&self) -> Instant {
        let others = self.ledger.poll_timeout().into_iter();
        let others = others.chain(self.next_counters);
        let others = others.chain(self.radios.due).chain(self.names_due);
        let others = others.chain(self.probing.deadline());
        let others = others.chain(self.arranging.deadline());
        let others = others.chain(self.trial.deadline());
        let others = others.chain(self.supervisor.deadline());
        others.fold(self.router.poll_timeout(), Instant::min)
    }

    fn handle_timeouts(&mut self, now: Instant) {
        if now >= self.router.poll_timeout() {
            self.router.handle_timeout(now);
        }
        if self.ledger.poll_timeout().is_some_and(|at| now >= at) {
            self.ledger.handle_timeout(now);
        }
        if (self.next_counters).is_some_and(|at| now + COUNTER_HASTE >= at) {
            let flows = now < self.traffic_until;
            self.next_counters = flows.then_some(now + COUNTER_INTERVAL);
            self.update_uplink(now);
            self.settle(now);
            if self.unconfigured {
                self.configure_kernel();
            }
            self.count_gateways();
            self.read_counters(now);
            self.offer_refused_routes();
        }
        self.ask_radios(now);
        self.give_up_probes(now);
        self.continue_arranging(now);
        self.end_trial_in_time(now);
        self.supervisor.handle_timeout(now);
        if self.names_due.is_some_and(|at| now >= at) {
            self.write_names(now);
        }
    }

    /// Traffic flows, so bytes are counted.
    fn expect_traffic(&mut self, now: Instant) {
        self.traffic_until = now + COUNTER_TIME;
        self.try_again_soon(now);
    }

    /// Reads the counters, and tries again what failed, within [`COUNTER_INTERVAL`].
    fn try_again_soon(&mut self, now: Instant) {
        self.next_counters.get_or_insert(now + COUNTER_INTERVAL);
    }

    fn read_counters(&mut self, now: Instant) {
        self.counters_asked = now;
        self.kernel.request(KernelRequest::ReadCounters);
    }

    /// Reads the counters because somebody waits for it, but not all the time.
    fn read_counters_soon(&mut self, now: Instant) {
        let at = self.counters_asked + COUNTER_PAUSE;
        if now >= at {
            self.read_counters(now);
        } else {
            let next = self.next_counters.map(|next| next.min(at + COUNTER_HASTE));
            self.next_counters = next.or(Some(at + COUNTER_HASTE));
        }
    }

    /// A daemon that took routes over and cannot go on leaves them as it found them.
    fn end_of_failure(&self) -> End {
        if self.took_over {
            End::Handover
        } else {
            End::Clean
        }
    }

    async fn shut_down(mut self, events: &mut mpsc::Receiver<KernelEvent>, end: End) -> Result<()> {
        self.supervisor.handle_stopping();
        if end == End::Clean {
            self.names.remove();
            let now = Instant::now();
            self.router.leave(now);
            self.carry_out(now);
        }
        self.kernel.request(KernelRequest::Shutdown {
            leave: end == End::Handover,
        });
        let finish = async {
            while let Some(event) = events.recv().await {
                self.kernel.flush();
                if let KernelEvent::ShutDown { warnings } = event {
                    return Some(warnings);
                }
            }
            None
        };
        let finished = tokio::time::timeout(SHUTDOWN_PATIENCE, finish).await;
        if let Err(error) = self.store.close(SHUTDOWN_PATIENCE).await {
            warn!("receipts are lost: {error:#}");
        }
        let Ok(Some(warnings)) = finished else {
            bail!("the kernel did not answer within {SHUTDOWN_PATIENCE:?}");
        };
        for warning in &warnings {
            warn!(%warning, "not removed");
        }
        match end {
            End::Handover => info!("meshd stopped; its routes stay for the successor"),
            End::Clean if warnings.is_empty() => {
                info!("meshd stopped; everything of its own is removed");
            }
            End::Clean => info!("meshd stopped"),
        }
        Ok(())
    }
}

/// What a predecessor left, and which uplinks worked, which is the first thing the kernel port says.
async fn what_was_left(
    events: &mut mpsc::Receiver<KernelEvent>,
) -> Result<(Start, BTreeSet<Line>)> {
    match events.recv().await {
        Some(KernelEvent::Adopted { routes, lines }) => {
            let start = match routes.is_empty() {
                true => Start::Cold,
                false => Start::Warm(routes),
            };
            let lines = lines.into_iter();
            let line = |(interface, family)| Line { interface, family };
            Ok((start, lines.map(line).collect()))
        }
        _ => bail!("the kernel did not say which routes there are"),
    }
}

/// Checks that the daemon may configure the network, and ask over one interface and no other: better
/// one clear line at the start than every request refused, or an uplink taken for dead.
///
/// # Errors
/// It may not.
pub fn require_capabilities() -> Result<()> {
    /// Their bits in the sets of capabilities (`linux/capability.h`).
    const NEEDED: u64 = 1 << 12 | 1 << 13;
    let status = fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    if effective.is_some_and(|set| set & NEEDED != NEEDED) {
        bail!("may not configure the network: run as root or with CAP_NET_ADMIN and CAP_NET_RAW");
    }
    Ok(())
}

/// The mesh, with its secret if it has one.
fn network(config: &Config) -> Result<Network> {
    let name = config.network().as_str();
    Ok(match config.network_key() {
        Some(path) => Network::with_secret(name, &identity::load_network_key(path)?),
        None => Network::new(name),
    })
}

/// What the kernel port is told of this node.
fn setup(config: &Config, network: &Network, key: &SigningKey) -> Setup {
    let id = NodeId::from_bytes(key.verifying_key().to_bytes()).originator_id();
    let mut setup = Setup::new(network.prefix(), id);
    setup.numbers = *config.numbers();
    if let Some(directory) = config.control().parent() {
        setup.runtime = directory.to_owned();
    }
    setup
}

/// The tunnels that the operator wants and the kernel has: those of WireGuard if there is a key for them.
fn tunnels(choice: TunnelChoice, wireguard: Option<WireguardKey>) -> Result<Tunnels> {
    let wireguard = wireguard.map(Tunnels::wireguard);
    match choice {
        TunnelChoice::Auto => Ok(wireguard.map_or(Tunnels::VXLAN, Tunnels::or_vxlan)),
        TunnelChoice::Vxlan => Ok(Tunnels::VXLAN),
        TunnelChoice::Wireguard => {
            wireguard.context("`tunnel: wireguard` is configured, but this kernel has no WireGuard")
        }
    }
}

/// What the mesh is told about this node.
fn announcement(config: &Config, shared: Option<&Shared>) -> Announcement {
    Announcement {
        name: config.name().as_str().to_owned(),
        prefixes: config
            .lan()
            .iter()
            .flat_map(|lan| lan.prefixes())
            .copied()
            .collect(),
        gateway: shared.map(Shared::offer),
        fee: config.sharing().fee(),
    }
}

/// The most that a neighbor may ask for. Terms that were accepted before stay.
fn max_price(config: &Config) -> Price {
    let most = config.gateways().maximum_price;
    most.map_or(Price::MAX, |most| Price::new(most.atto_smt_per_mib()))
}

fn ledger_config(config: &Config, network: NetworkId) -> LedgerConfig {
    LedgerConfig {
        credit: credit(config),
        max_price: max_price(config),
        ..LedgerConfig::new(network)
    }
}

fn credit(config: &Config) -> Credit {
    Credit {
        known_bytes: config.sharing().credit_bytes(),
        stranger_bytes: config.sharing().stranger_credit_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_are_those_that_are_wanted_and_possible() {
        let key = WireguardKey::from_bytes([3; 32]);
        let (vxlan, wireguard) = (Tunnels::VXLAN, Tunnels::wireguard(key));
        for (choice, with, without) in [
            (TunnelChoice::Auto, Some(wireguard.or_vxlan()), Some(vxlan)),
            (TunnelChoice::Vxlan, Some(vxlan), Some(vxlan)),
            (TunnelChoice::Wireguard, Some(wireguard), None),
        ] {
            assert_eq!(tunnels(choice, Some(key)).ok(), with, "{choice:?}");
            assert_eq!(tunnels(choice, None).ok(), without, "{choice:?}");
        }
    }
}
