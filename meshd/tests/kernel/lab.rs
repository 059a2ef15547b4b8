//! Network namespaces, the port in them, and what the kernel says about it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use mesh_proto::{IfIndex, Network, OriginatorId, Route, RouteChange, Target, Tunnel};
use meshd::kernel::{
    self, Base, Counters, KernelEvent, KernelRequest, Lan, LanMode, NewFlows, Setup, Shaping,
    TableChange, Uplinks, Warning,
};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getpid, gettid};
use serde_json::Value;
use tokio::sync::{mpsc as async_mpsc, oneshot};

/// Far longer than anything takes, so that only what never comes runs into it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A network namespace, kept by a thread that lives in it.
pub(crate) struct Namespace {
    path: String,
    jobs: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        let (jobs, queue) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (ready, path) = mpsc::channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            ready
                .send(format!("/proc/{}/task/{}/ns/net", getpid(), gettid()))
                .expect("a listener");
            queue.into_iter().for_each(|job| job());
        });
        let namespace = Self {
            path: path.recv().expect("a namespace"),
            jobs,
        };
        namespace.run("ip link set lo up");
        namespace
    }

    /// Calls a function in the namespace.
    pub(crate) fn call<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (result, answer) = mpsc::channel();
        self.jobs
            .send(Box::new(move || {
                let _ = result.send(job());
            }))
            .expect("the namespace's thread");
        answer.recv().expect("a job that does not panic")
    }

    /// Runs a shell script, which must succeed, and returns what it prints.
    pub(crate) fn run(&self, script: &str) -> String {
        let (ok, text) = self.try_run(script);
        assert!(ok, "{script}: {text}");
        text
    }

    /// Runs a shell script. Returns whether it succeeded, and what it printed.
    pub(crate) fn try_run(&self, script: &str) -> (bool, String) {
        let script = format!("exec 2>&1; set -e; {script}");
        self.call(move || {
            let output = Command::new("sh")
                .args(["-c", &script])
                .output()
                .expect("a shell");
            (
                output.status.success(),
                String::from_utf8(output.stdout).expect("text"),
            )
        })
    }

    /// The JSON a command prints; `ip` prints nothing for an empty list.
    pub(crate) fn json(&self, command: &str) -> Value {
        let text = self.run(command);
        if text.trim().is_empty() {
            return Value::Array(Vec::new());
        }
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{command}: {error}: {text}"))
    }

    /// Joins two namespaces by a cable: `name` here, `peer_name` there, both switched on, and
    /// settled: with carrier and usable addresses.
    pub(crate) fn connect(&self, name: &str, peer: &Self, peer_name: &str) {
        self.run(&format!(
            "ip link add {name} type veth peer name {peer_name} netns {}",
            peer.path
        ));
        for (namespace, name) in [(self, name), (peer, peer_name)] {
            namespace.run(&format!(
                "echo 0 > /proc/sys/net/ipv6/conf/{name}/accept_dad; ip link set {name} up"
            ));
        }
        for (namespace, name) in [(self, name), (peer, peer_name)] {
            let operational = format!("ip link show {name} up | grep -q 'state UP'");
            eventually("carrier", || {
                namespace.try_run(&operational).0.then_some(())
            });
            namespace.link_local(name);
        }
    }

    pub(crate) fn ifindex(&self, name: &str) -> IfIndex {
        let links = self.json(&format!("ip -j link show {name}"));
        IfIndex(
            links[0]["ifindex"]
                .as_u64()
                .expect("an index")
                .try_into()
                .expect("32 bits"),
        )
    }

    pub(crate) fn link_local(&self, name: &str) -> std::net::Ipv6Addr {
        let command = format!("ip -j -6 addr show dev {name} scope link");
        eventually(&format!("a link-local address on {name}"), || {
            let links = self.json(&command);
            // `ip` prints empty objects for what it leaves out.
            let addresses = links
                .as_array()?
                .iter()
                .flat_map(|link| link["addr_info"].as_array());
            addresses
                .flatten()
                .find_map(|address| address["local"].as_str()?.parse().ok())
        })
    }

    /// Everything in the namespace that the port could change. Statistics and timers aside; it
    /// waits until duplicate address detection is over.
    pub(crate) fn snapshot(&self) -> Vec<String> {
        eventually("addresses in use", || {
            let tentative = self.run("ip -6 -o addr show tentative");
            tentative.trim().is_empty().then_some(())
        });
        let commands = [
            "ip -j -d link | sed -E 's/\"(linkmode|operstate)\":\"[A-Z]+\"//g'",
            "ip -o addr | sed -E 's/ (valid|preferred)_lft [^ ]+//g'",
            "ip -4 route show table all",
            // Forwarding, which stays switched on, adds anycast routes.
            "ip -6 route show table all | sed -E 's/ expires [^ ]+//; /^anycast/d'",
            "ip nexthop",
            "ip -4 rule",
            "ip -6 rule",
            "ip neigh show nud permanent",
            "nft -s list ruleset",
        ];
        commands
            .iter()
            .flat_map(|command| {
                let text = self.run(command);
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                // The kernel lists routes of a family in no order that would mean anything.
                if command.contains("route") {
                    lines.sort();
                }
                lines
            })
            .collect()
    }
}

/// Waits until `look` finds something.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The port, running in a namespace like in a daemon: on a thread with a runtime of its own.
pub(crate) struct Port {
    requests: async_mpsc::Sender<KernelRequest>,
    events: async_mpsc::Receiver<KernelEvent>,
    /// Events that nobody waited for yet.
    unseen: Vec<KernelEvent>,
    /// Dropped, it stops the runtime at once, as if the daemon were killed.
    life: Option<oneshot::Sender<()>>,
    spawner: tokio::runtime::Handle,
    thread: Option<thread::JoinHandle<()>>,
    clock: tokio::runtime::Runtime,
}

impl Port {
    pub(crate) fn start(namespace: &Namespace, setup: Setup) -> Self {
        Self::start_with(namespace, setup, || {})
    }

    /// Starts the port on a thread that was prepared for it.
    pub(crate) fn start_with(
        namespace: &Namespace,
        setup: Setup,
        prepare: impl FnOnce() + Send + 'static,
    ) -> Self {
        let path = namespace.path.clone();
        let (ready, channels) = mpsc::channel();
        let (life, death) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let file = File::open(path).expect("the namespace's file");
            setns(file, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
            prepare();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let channels = kernel::spawn(setup).expect("netlink sockets");
                let handle = tokio::runtime::Handle::current();
                ready.send((channels, handle)).expect("a listener");
                let _ = death.await;
            });
        });
        let ((requests, events), spawner) = channels.recv().expect("a port");
        let clock = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        Self {
            requests,
            events,
            unseen: Vec::new(),
            life: Some(life),
            spawner,
            thread: Some(thread),
            clock: clock.expect("a runtime"),
        }
    }

    /// Stops the port as if the daemon were killed.
    pub(crate) fn kill(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.life.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    /// Calls a function while the port's thread stands still.
    pub(crate) fn hold(&self, during: impl FnOnce()) {
        let (held, is_held) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        self.spawner.spawn(async move {
            held.send(()).expect("a listener");
            let _ = released.recv();
        });
        is_held.recv().expect("the port's thread");
        during();
        release.send(()).expect("the port's thread");
    }

    pub(crate) fn request(&self, request: KernelRequest) {
        self.requests.blocking_send(request).expect("the port");
    }

    /// The next event that `pick` picks; others are kept for later.
    pub(crate) fn wait<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(&mut KernelEvent) -> Option<T>,
    ) -> T {
        let mut position = 0;
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(event) = self.unseen.get_mut(position) {
                if let Some(picked) = pick(event) {
                    self.unseen.remove(position);
                    return picked;
                }
                position += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let next = async { tokio::time::timeout(left, self.events.recv()).await };
            match self.clock.block_on(next) {
                Ok(Some(event)) => self.unseen.push(event),
                Ok(None) => panic!("the port ended while waiting for {what}: {:?}", self.unseen),
                Err(_) => panic!("no {what}, but {:?}", self.unseen),
            }
        }
    }

    /// Whether an event that nobody waited for was among those so far.
    pub(crate) fn saw(&self, is_it: impl Fn(&KernelEvent) -> bool) -> bool {
        self.unseen.iter().any(is_it)
    }

    /// The answer to a request: what `pick` makes of it.
    fn answer<T>(&mut self, request: KernelRequest, pick: fn(KernelEvent) -> Option<T>) -> T {
        self.request(request);
        let event = self.wait("answer", |event| {
            let is_answer = matches!(
                event,
                KernelEvent::Configured { .. }
                    | KernelEvent::RoutesApplied { .. }
                    | KernelEvent::TableChanged
                    | KernelEvent::TableFailed(_)
                    | KernelEvent::Counters { .. }
                    | KernelEvent::RequestFailed { .. }
                    | KernelEvent::ShutDown { .. }
            );
            is_answer.then(|| std::mem::replace(event, KernelEvent::TableChanged))
        });
        let text = format!("{event:?}");
        pick(event).unwrap_or_else(|| panic!("another answer was expected than {text}"))
    }

    pub(crate) fn adopted(&mut self) -> Vec<Route> {
        self.wait("adopted routes", |event| match event {
            KernelEvent::Adopted { routes, .. } => Some(routes.clone()),
            _ => None,
        })
    }

    pub(crate) fn configure(&mut self, base: &Base) -> Vec<Warning> {
        self.answer(
            KernelRequest::Configure(base.clone()),
            |event| match event {
                KernelEvent::Configured { warnings } => Some(warnings),
                _ => None,
            },
        )
    }

    pub(crate) fn fail(&mut self, request: KernelRequest) -> kernel::KernelError {
        self.answer(request, |event| match event {
            KernelEvent::RequestFailed { error, .. } => Some(error),
            _ => None,
        })
    }

    pub(crate) fn change(
        &mut self,
        changes: Vec<RouteChange>,
    ) -> Vec<(RouteChange, kernel::KernelError)> {
        self.answer(KernelRequest::Routes(changes), |event| match event {
            KernelEvent::RoutesApplied { failed } => Some(failed),
            _ => None,
        })
    }

    /// Sets routes, all of which must be accepted.
    pub(crate) fn set(&mut self, routes: &[Route]) {
        let failed = self.change(routes.iter().copied().map(RouteChange::Set).collect());
        assert!(failed.is_empty(), "{failed:?}");
    }

    pub(crate) fn set_gateways(&mut self, gateways: BTreeSet<std::net::Ipv6Addr>) {
        self.change_table(TableChange::Gateways(gateways));
    }

    pub(crate) fn set_new_flows(&mut self, new_flows: NewFlows) {
        self.change_table(TableChange::NewFlows(new_flows));
    }

    /// Has the table hold something else.
    pub(crate) fn change_table(&mut self, change: TableChange) {
        self.answer(KernelRequest::Table(change), |event| match event {
            KernelEvent::TableChanged => Some(()),
            _ => None,
        });
    }

    pub(crate) fn counters(&mut self) -> Counters {
        self.answer(KernelRequest::ReadCounters, |event| match event {
            KernelEvent::Counters { counters, .. } => Some(counters),
            _ => None,
        })
    }

    pub(crate) fn shut_down(mut self, leave: bool) -> Vec<Warning> {
        self.answer(KernelRequest::Shutdown { leave }, |event| match event {
            KernelEvent::ShutDown { warnings } => Some(warnings),
            _ => None,
        })
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The node with this number.
pub(crate) fn id(number: u8) -> OriginatorId {
    OriginatorId::from_bytes([number, 1, 2, 3, 4, 5, 6, 7, 8, 9])
}

/// The way into a tunnel of VXLAN to a node.
pub(crate) fn vxlan(peer: u8) -> Target {
    Target::Tunnel {
        peer: id(peer),
        tunnel: Tunnel::Vxlan,
    }
}

pub(crate) fn setup(number: u8) -> Setup {
    Setup::new(Network::new("test").prefix(), id(number))
}

pub(crate) fn mesh_ipv4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(100, 64, 0, number)
}

/// The configuration of a node with a mesh interface `mesh0` and nothing else.
pub(crate) fn base(number: u8) -> Base {
    Base {
        mesh: BTreeSet::from(["mesh0".to_owned()]),
        radios: BTreeMap::new(),
        lan: Vec::new(),
        uplinks: Uplinks::default(),
        outside: BTreeSet::new(),
        mesh_ipv4: mesh_ipv4(number),
        mesh_mtu: 1500,
        shaping: Shaping::default(),
    }
}

pub(crate) fn masqueraded(interface: &str) -> Lan {
    Lan {
        interface: interface.to_owned(),
        mode: LanMode::Masquerade,
    }
}

pub(crate) fn routed(interface: &str, prefixes: &[&str]) -> Lan {
    let prefixes = prefixes
        .iter()
        .map(|prefix| prefix.parse().expect("a prefix"))
        .collect();
    Lan {
        interface: interface.to_owned(),
        mode: LanMode::Routed { prefixes },
    }
}

/// A namespace with `mesh0`, and the other end of its cable.
pub(crate) fn node() -> (Namespace, Namespace) {
    let (node, other) = (Namespace::new(), Namespace::new());
    node.connect("mesh0", &other, "mesh0");
    (node, other)
}
