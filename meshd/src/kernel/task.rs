//! The netlink task: serves one request after the other, and reports what changes meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use mesh_proto::{Family, IfIndex, Mark, RouteChange, Target};
use rtnetlink::Handle;
use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::sync::mpsc;

use super::fib::Fib;
use super::gateways::Gateways;
use super::lines::Lines;
use super::link::Link;
use super::monitor::Monitor;
use super::neighbor::Neighbors;
use super::netlink::{KernelError, Notification, Notifications};
use super::nfnetlink::Nfnetlink;
use super::radio::{News as RadioNews, RadioPort, Station, UNFINISHED};
use super::shape::{self, Shape};
use super::traffic::{News, Traffic};
use super::uplink::{Defaults, Surroundings};
use super::{
    Base, KernelEvent, KernelRequest, NewFlows, SeenStation, Setup, TUNNEL_DEVICES, Warning,
    address, counters, link, marks, nat, netlink, route, rule, sysctl, uplink,
};
use crate::alarm::Alarm;

mod table;

use table::{Changes, Content};

/// Time from the first sign that something must be put back to doing so: what changes together is
/// then seen together, as when an interface goes down with all its routes.
pub(super) const SETTLING: Duration = Duration::from_millis(50);

/// What could not be put back is tried again after this time.
const RETRY: Duration = Duration::from_secs(1);

/// Either the next input comes, or the task ends.
type Next = ControlFlow<()>;

/// The state of the port.
pub(super) struct Task {
    setup: Setup,
    handle: Handle,
    requests: mpsc::Receiver<KernelRequest>,
    events: mpsc::Sender<KernelEvent>,
    monitor: Monitor,
    neighbors: Neighbors,
    nfnetlink: Nfnetlink,
    radios: RadioPort,
    alarm: Alarm,
    counters: counters::Reader,
    traffic: Traffic,
    /// When to look which neighbors carry traffic, if any are said to.
    look_at: Option<Instant>,
    base: Option<Base>,
    /// What is around uplinks, as the table was made for.
    surroundings: Surroundings,
    lines: Lines,
    /// What is to be known of routes of others.
    others: rule::Others,
    /// The table could not be made.
    is_table_due: bool,
    /// What else the table is to hold than it does.
    changes: Changes,
    /// What it was made for.
    content: Content,
    /// There are other flowtables, which was not reported yet.
    flowtables_changed: bool,
    /// A neighbor has used up its credit, which was not reported yet.
    credit_used_up: bool,
    /// Who damaged the table when that was reported last.
    damagers: BTreeSet<u32>,
    /// Others have damaged it, which was not reported yet.
    has_untold_damage: bool,
    gateways: Gateways,
    shape: Shape,
    new_flows: NewFlows,
    /// The marks that flows may have: there were routes for them.
    marks: marks::Marks,
    /// Mesh interfaces that were switched on if they were not. Later that is the operator's
    /// business.
    taken_up: BTreeSet<IfIndex>,
    /// When to put back what is missing: the kernel drops routes of interfaces that go down, and
    /// there are network managers that remove what they do not know.
    mend_at: Option<Instant>,
    fib: Fib,
}

impl Task {
    pub(super) fn new(
        setup: Setup,
        requests: mpsc::Receiver<KernelRequest>,
        events: mpsc::Sender<KernelEvent>,
    ) -> io::Result<Self> {
        let handle = netlink::open()?;
        Ok(Self {
            fib: Fib::new(handle.clone(), setup.clone())?,
            radios: RadioPort::open(setup.runtime.join("radio"))?,
            setup,
            handle,
            requests,
            events,
            monitor: Monitor::new()?,
            neighbors: Neighbors::default(),
            nfnetlink: Nfnetlink::open()?,
            alarm: Alarm::new()?,
            counters: counters::Reader::default(),
            traffic: Traffic::subscribe()?,
            look_at: None,
            base: None,
            surroundings: Surroundings::default(),
            lines: Lines::default(),
            others: rule::Others::default(),
            is_table_due: false,
            changes: Changes::default(),
            content: Content::default(),
            flowtables_changed: false,
            credit_used_up: false,
            damagers: BTreeSet::new(),
            has_untold_damage: false,
            gateways: Gateways::default(),
            shape: Shape::default(),
            new_flows: NewFlows::default(),
            marks: marks::Marks::default(),
            taken_up: BTreeSet::new(),
            mend_at: None,
        })
    }

    /// Runs until it is shut down, the driver is gone, or the kernel closed a socket.
    pub(super) async fn run(mut self, mut notifications: Notifications) {
        if let Err(error) = self.adopt().await {
            tracing::error!(%error, "can't read what is in the kernel");
            return;
        }
        let mut next = self.resync().await;
        while next.is_continue() {
            let due = self.deadline();
            let now = Instant::now();
            next = tokio::select! {
                biased;
                waited = self.alarm.wait_until(due) => match waited {
                    Ok(()) => self.handle_timeouts().await,
                    Err(error) => give_up("timer", &error),
                },
                () = ready(()), if self.changes.are_overdue(now) => self.change_table().await,
                request = self.requests.recv() => match request {
                    Some(request) => self.serve(request).await,
                    None => Next::Break(()),
                },
                notification = notifications.next() => match notification {
                    Some(notification) => self.notice(notification).await,
                    None => Next::Break(()),
                },
                news = self.traffic.receive() => match news {
                    Ok(news) => self.hear(news).await,
                    Err(error) => give_up("netfilter's socket", &error),
                },
                news = self.radios.news() => match news {
                    Some(news) => self.hear_of_radios(news).await,
                    None => Next::Break(()),
                },
                // Last: a run of nft takes long, and then does for all that was asked for.
                () = ready(()), if self.changes.are_due() => self.change_table().await,
            };
        }
    }

    /// When something is due that nobody asks for.
    fn deadline(&self) -> Option<Instant> {
        let due = [
            self.mend_at,
            self.look_at,
            self.marks.deadline(),
            self.gateways.deadline(),
            self.radios.deadline(),
        ];
        due.into_iter().flatten().min()
    }

    /// Takes note of what the kernel's filter tells.
    async fn hear(&mut self, news: News) -> Next {
        if news.traffic {
            self.look_soon();
        }
        if self.base.is_none() {
            return Next::Continue(());
        }
        self.flowtables_changed |= news.flowtables_changed;
        self.credit_used_up |= news.credit_used_up;
        self.report_noticed().await?;
        if !news.damaged_by.is_empty() {
            self.damagers = news.damaged_by;
            return self.report(KernelEvent::TableDamaged).await;
        }
        Next::Continue(())
    }

    /// Reports what the filter told while the table was changed.
    async fn report_noticed(&mut self) -> Next {
        if std::mem::take(&mut self.credit_used_up) {
            self.report(KernelEvent::CreditUsedUp).await?;
        }
        if std::mem::take(&mut self.flowtables_changed) {
            self.report(KernelEvent::FlowtablesChanged).await?;
        }
        if std::mem::take(&mut self.has_untold_damage) {
            self.report(KernelEvent::TableDamaged).await?;
        }
        Next::Continue(())
    }

    fn look_soon(&mut self) {
        let at = self.traffic.look_at(Instant::now());
        self.look_at.get_or_insert(at);
    }

    /// Does what is due.
    async fn handle_timeouts(&mut self) -> Next {
        let now = Instant::now();
        if self.mend_at.is_some_and(|at| now >= at) {
            self.mend().await;
            self.report_noticed().await?;
        }
        if self.marks.handle_timeouts(now) {
            self.follow_marks().await;
        }
        if self.gateways.handle_timeouts(now) {
            self.changes.note();
        }
        if let Some(report) = self.radios.look_after(now) {
            self.report(KernelEvent::RadiosChanged(report)).await?;
        }
        if self.look_at.is_some_and(|at| now >= at) {
            self.look_at_traffic().await
        } else {
            Next::Continue(())
        }
    }

    /// Passes on what was found out about radios.
    async fn hear_of_radios(&mut self, news: RadioNews) -> Next {
        let event = match news {
            RadioNews::Report(report) => KernelEvent::RadiosChanged(report),
            RadioNews::Stations(stations) => {
                let seen = match stations {
                    Ok(stations) => self.resolve(stations).await,
                    Err(error) => Err(error),
                };
                let request = KernelRequest::ReadStations;
                seen.map_or_else(
                    |error| KernelEvent::RequestFailed { request, error },
                    KernelEvent::Stations,
                )
            }
            RadioNews::Removed(_) => return Next::Continue(()),
        };
        self.report(event).await
    }

    /// Takes over the routes of a predecessor, and the gateways it knew.
    async fn adopt(&mut self) -> Result<(), KernelError> {
        if let Some(found) = self.adopt_addresses(nat::GATEWAYS)? {
            self.gateways.adopt(Instant::now(), found);
        }
        if let Some(charged) = self.adopt_addresses(shape::CHARGED)? {
            self.shape.adopt(charged);
        }
        let routes = self.fib.adopt().await?;
        let marked = self.fib.marked();
        self.marks.follow(Instant::now(), &marked, &marked);
        self.lines = self.adopt_lines().await?;
        let working = rule::marked(&self.handle, &self.setup.numbers).await?;
        let adopted = KernelEvent::Adopted {
            routes,
            lines: self.lines.names_of(&working),
        };
        // If nobody listens any more, the next event will tell.
        let _ = self.report(adopted).await;
        Ok(())
    }

    /// The uplinks that a predecessor gave marks.
    async fn adopt_lines(&self) -> Result<Lines, KernelError> {
        let found = uplink::lines(&self.handle, &self.setup.numbers).await?;
        let links = link::list(&self.handle).await?;
        let links: Vec<Link> = links.iter().filter_map(Link::from_message).collect();
        let name = |index| links.iter().find(|link| link.ifindex == index);
        let named = |(mark, index)| Some((mark, name(index)?.name.clone()));
        Ok(Lines::adopted(
            found.into_iter().filter_map(named).collect(),
        ))
    }

    /// The addresses in a set that a predecessor left, if it left one.
    fn adopt_addresses(&mut self, set: &str) -> Result<Option<BTreeSet<Ipv6Addr>>, KernelError> {
        let found = match self.nfnetlink.elements(set) {
            Err(KernelError::TableMissing) => return Ok(None),
            found => found?,
        };
        let addresses = found.iter().map(|it| Ipv6Addr::from(it.part::<16>(0)));
        Ok(Some(addresses.collect()))
    }

    async fn report(&self, event: KernelEvent) -> Next {
        match self.events.send(event).await {
            Ok(()) => Next::Continue(()),
            Err(_) => Next::Break(()),
        }
    }

    async fn report_all(&self, events: Vec<KernelEvent>) -> Next {
        for event in events {
            self.report(event).await?;
        }
        Next::Continue(())
    }

    async fn serve(&mut self, request: KernelRequest) -> Next {
        let answer = match &request {
            KernelRequest::Configure(base) => self
                .configure(base.clone())
                .await
                .map(|warnings| KernelEvent::Configured { warnings }),
            KernelRequest::Routes(changes) => Ok(self.change_routes(changes).await),
            KernelRequest::Table(change) => {
                self.note_change(change.clone()).await;
                return match self.is_gateway_uncounted() {
                    true => self.change_table().await,
                    false => Next::Continue(()),
                };
            }
            KernelRequest::ReadCounters => {
                let began = Instant::now();
                let counters = self.read_counters().await;
                counters.map(|counters| KernelEvent::Counters { began, counters })
            }
            KernelRequest::ReadStations => {
                self.radios.read_stations();
                return Next::Continue(());
            }
            &KernelRequest::Shutdown { leave } => {
                let warnings = if leave {
                    self.change_table().await?;
                    Vec::new()
                } else {
                    self.remove_everything().await
                };
                let _ = self.report(KernelEvent::ShutDown { warnings }).await;
                return Next::Break(());
            }
        };
        let configured = matches!(answer, Ok(KernelEvent::Configured { .. }));
        let event = answer.unwrap_or_else(|error| KernelEvent::RequestFailed { request, error });
        self.report(event).await?;
        // Those that there were when the kernel was configured are in its answer.
        self.flowtables_changed &= !configured;
        self.report_noticed().await?;
        // Which default routes are not into the mesh depends on the configuration.
        if configured {
            self.base
                .iter()
                .for_each(|base| self.radios.configure(base));
            self.follow_uplinks().await
        } else {
            Next::Continue(())
        }
    }

    async fn notice(&mut self, notification: Notification) -> Next {
        let outcome = match notification {
            Notification::Overrun => {
                self.mend_soon();
                return self.resync().await;
            }
            Notification::Message(message) => {
                if self.is_loss(&message) {
                    self.mend_soon();
                }
                self.monitor.handle_message(&message)
            }
        };
        for event in &outcome.events {
            self.follow(event).await;
        }
        let mut events = outcome.events;
        events.retain(|event| self.is_of_interest(event));
        self.report_all(events).await?;
        if outcome.uplinks_changed {
            self.follow_uplinks().await?;
        }
        Next::Continue(())
    }

    /// Neighbors matter on mesh interfaces only.
    fn is_of_interest(&self, event: &KernelEvent) -> bool {
        let &KernelEvent::NeighborFailed { ifindex, .. } = event else {
            return true;
        };
        let mesh = self.base.as_ref().map(|base| &base.mesh);
        let name = self.monitor.name(ifindex);
        name.zip(mesh)
            .is_some_and(|(name, mesh)| mesh.contains(name))
    }

    /// Reports which neighbors carry traffic, if any do.
    async fn look_at_traffic(&mut self) -> Next {
        self.look_at = None;
        let seen = match self.traffic.look(Instant::now(), &mut self.nfnetlink) {
            Ok(seen) => seen,
            Err(error) => {
                // Whoever reads the counters next hears of it.
                tracing::debug!(%error);
                return Next::Continue(());
            }
        };
        let mut macs = seen.macs.iter();
        if macs.any(|&mac| self.neighbors.address(mac).is_none())
            && let Err(error) = self.neighbors.update(&self.handle, &seen.macs).await
        {
            tracing::debug!(%error);
        }
        let mut neighbors = seen.addresses;
        for &(ifindex, mac) in &seen.macs {
            let address = self.neighbors.address((ifindex, mac));
            neighbors.extend(address.map(|address| (ifindex, address)));
        }
        if neighbors.is_empty() {
            return Next::Continue(());
        }
        let neighbors = neighbors.into_iter().collect();
        self.report(KernelEvent::Carrying { neighbors }).await
    }

    /// Reads and reports whatever changed since the last report.
    async fn resync(&mut self) -> Next {
        match self.monitor.resync(&self.handle).await {
            Ok(events) => {
                for event in &events {
                    self.follow(event).await;
                }
                self.report_all(events).await?;
            }
            Err(error) => tracing::warn!(%error),
        }
        self.follow_uplinks().await
    }

    /// Keeps what depends on routes over uplinks in step with them, and reports default routes.
    async fn follow_uplinks(&mut self) -> Next {
        let defaults = match Defaults::read(&self.handle, self.monitor.tables()).await {
            Ok(defaults) => defaults,
            Err(error) => {
                tracing::warn!(%error);
                return Next::Continue(());
            }
        };
        if let Some(base) = self.base.clone()
            && let Err(error) = self.follow_defaults(base, &defaults).await
        {
            tracing::warn!(%error);
        }
        let mesh = self.base.as_ref().map(|base| &base.mesh);
        let is_mesh = |name: &str| {
            TUNNEL_DEVICES.contains(&name) || mesh.is_some_and(|mesh| mesh.contains(name))
        };
        let events = self.monitor.set_default_routes(&defaults, is_mesh);
        self.report_all(events).await
    }

    /// Leads over uplinks as their routes do now, and then looks around them: making the table takes long.
    async fn follow_defaults(
        &mut self,
        base: Base,
        defaults: &Defaults,
    ) -> Result<(), KernelError> {
        self.lead_to_uplinks(&base, defaults).await?;
        if self.surroundings(&base, defaults).await? != self.surroundings {
            log_all(self.configure(base).await?);
        }
        Ok(())
    }

    /// Keeps what belongs to an interface in step with it.
    async fn follow(&mut self, event: &KernelEvent) {
        if let KernelEvent::LinkChanged(link) = event {
            self.follow_link(link).await;
        } else if let KernelEvent::LinkRemoved { ifindex, name } = event {
            self.fib.forget_interface(*ifindex);
            self.taken_up.remove(ifindex);
            self.neighbors.forget(*ifindex);
            if name != UNFINISHED {
                self.radios.look();
            }
        }
    }

    async fn follow_link(&mut self, link: &Link) {
        if !link.carrier {
            self.fib.forget_interface(link.ifindex);
        }
        let Some(base) = &self.base else { return };
        let is_mesh = base.mesh.contains(&link.name);
        let is_ours_to_make = base.radios.contains_key(&link.name);
        // One that is not there may be this one, by another name.
        let mut radios = base.radios.keys();
        let is_missing =
            link.name != UNFINISHED && radios.any(|name| self.monitor.link(name).is_none());
        // One that comes late has settings of its own, and asks for its routes only once.
        if is_mesh || base.outside.contains(&link.name) {
            self.mend_soon();
        }
        if is_mesh || is_missing {
            self.radios.look();
        }
        if is_mesh
            && !is_ours_to_make
            && let Err(error) = self.take_up(link).await
        {
            tracing::warn!(%error);
        }
    }

    /// Switches on a mesh interface that is new to us.
    async fn take_up(&mut self, link: &Link) -> Result<(), KernelError> {
        let is_new = self.taken_up.insert(link.ifindex);
        if is_new && !link.up {
            link::set_up(&self.handle, link).await
        } else {
            Ok(())
        }
    }

    /// Whether something is gone that we put there.
    fn is_loss(&self, message: &RouteNetlinkMessage) -> bool {
        let is_tunnel = |index: u32| self.fib.tunnels.has(IfIndex(index));
        if let RouteNetlinkMessage::DelRule(message) = message {
            rule::is_ours(message)
        } else if let RouteNetlinkMessage::DelRoute(message) = message {
            let numbers = &self.setup.numbers;
            uplink::is_in_table_of_ours(numbers, message)
                || route::key_of(numbers, message).is_some_and(|key| self.fib.wants(key))
        } else if let RouteNetlinkMessage::DelLink(message) = message {
            is_tunnel(message.header.index)
        } else if let RouteNetlinkMessage::DelAddress(message) = message {
            is_tunnel(message.header.index)
        } else {
            false
        }
    }

    fn mend_soon(&mut self) {
        self.mend_at
            .get_or_insert_with(|| Instant::now() + SETTLING);
    }

    /// Puts back what is missing.
    async fn mend(&mut self) {
        self.mend_at = None;
        let Some(base) = self.base.clone() else {
            return;
        };
        let outcome = match self.is_table_due {
            true => self.configure(base).await,
            false => self.establish(&base).await,
        };
        let error = match outcome {
            Ok(warnings) => return log_all(warnings),
            Err(error) => error,
        };
        match self.is_table_due {
            // It was said when it failed first.
            true => tracing::debug!(%error),
            false => tracing::warn!(%error),
        }
        self.mend_at.get_or_insert(Instant::now() + RETRY);
    }
}

fn log_all(warnings: Vec<Warning>) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// Ends the task: without this it would be blind.
fn give_up(what: &str, error: &io::Error) -> Next {
    tracing::error!(%error, "{what}");
    Next::Break(())
}

/// Requests.
impl Task {
    /// Makes everything what it should be. Begins with what can't be done without, and with the
    /// filter, so that nothing is forwarded that should not be.
    async fn configure(&mut self, base: Base) -> Result<Vec<Warning>, KernelError> {
        self.counters.begin(base.mesh_mtu);
        let defaults = Defaults::read(&self.handle, self.monitor.tables()).await?;
        let surroundings = self.surroundings(&base, &defaults).await?;
        self.lines.follow(&base);
        self.marks.note_lines(&self.lines.working(&base));
        let made = self.make_table(&base, &surroundings).await?;
        let mut warnings: Vec<Warning> = made.into_iter().collect();
        warnings.extend(self.offloads(&base)?);
        self.surroundings = surroundings;
        // Not before: without the filter nothing else may be made, or put back later.
        self.base = Some(base.clone());
        warnings.extend(self.set_up_mesh(&base).await?);
        self.fib.set_mesh_ipv4(base.mesh_ipv4);
        warnings.extend(self.establish(&base).await?);
        Ok(warnings)
    }

    /// Makes tunnel, sysctls, addresses, routes and rules what they should be.
    async fn establish(&mut self, base: &Base) -> Result<Vec<Warning>, KernelError> {
        let mtu = self.mesh_mtu(base);
        let device = self.fib.tunnels.ensure_vxlan(mtu).await?;
        let mut warnings = sysctl::configure(base);
        let wanted = self.own_addresses(base);
        let surplus = address::add_missing(&self.handle, device, &wanted).await?;
        warnings.extend(self.fib.tunnels.ensure_wireguard(mtu, &wanted).await?);
        warnings.extend(self.restore_routes().await.into_iter().map(Warning::Kernel));
        // Only now: with its address, a route would be gone as well.
        address::remove(&self.handle, surplus).await?;
        let defaults = Defaults::read(&self.handle, self.monitor.tables()).await?;
        self.lead_to_uplinks(base, &defaults).await?;
        Ok(warnings)
    }

    /// Makes routing rules and the tables of uplinks what they should be. What stays with an uplink can do so
    /// before another is used.
    async fn lead_to_uplinks(
        &mut self,
        base: &Base,
        defaults: &Defaults,
    ) -> Result<(), KernelError> {
        let (handle, numbers) = (&self.handle, &self.setup.numbers);
        let index = |name: &str| Some(self.monitor.link(name)?.ifindex);
        let lines = self.lines.all();
        let lines = lines.filter_map(|(mark, name)| Some((mark, index(name)?)));
        let lines: BTreeMap<Mark, IfIndex> = lines.collect();
        uplink::reconcile_lines(handle, numbers, defaults, &lines).await?;
        self.others = self.lines.others(base, defaults, index);
        rule::reconcile(handle, &self.setup, Some(base), &self.marked()).await?;
        let interface = |family| index(base.uplinks.of(family).name()?);
        let uplinks = Family::BOTH.map(|family| (family, interface(family)));
        uplink::reconcile(handle, numbers, defaults, uplinks).await
    }

    /// What is around interfaces that lead out.
    async fn surroundings(
        &self,
        base: &Base,
        defaults: &Defaults,
    ) -> Result<Surroundings, KernelError> {
        let outside = base.outside.iter().map(String::as_str);
        let names = outside.chain(base.uplinks.names());
        let index = |name| Some((self.monitor.link(name)?.ifindex, name));
        Surroundings::read(&self.handle, defaults, &names.filter_map(index).collect()).await
    }

    async fn set_up_mesh(&mut self, base: &Base) -> Result<Vec<Warning>, KernelError> {
        let messages = link::list(&self.handle).await?;
        let links: Vec<Link> = messages.iter().filter_map(Link::from_message).collect();
        let is_ours_to_make = |name: &String| base.radios.contains_key(name);
        let mesh = links.iter().filter(|link| base.mesh.contains(&link.name));
        for link in mesh.filter(|link| !is_ours_to_make(&link.name)) {
            self.taken_up.remove(&link.ifindex);
            self.take_up(link).await?;
        }
        let lans = base.lan.iter().map(|lan| &lan.interface);
        let names = base.mesh.iter().chain(lans);
        let names = names
            .filter(|name| !is_ours_to_make(name))
            .map(String::as_str);
        let names = names.chain(base.uplinks.names());
        let missing = names.filter(|name| links.iter().all(|link| link.name != **name));
        Ok(missing
            .map(|it| Warning::NoInterface(it.to_owned()))
            .collect())
    }

    /// The largest packet that every link of the mesh takes.
    fn mesh_mtu(&self, base: &Base) -> u32 {
        let links = base.mesh.iter().filter_map(|name| self.monitor.link(name));
        links
            .map(|link| link.mtu)
            .fold(base.mesh_mtu.into(), u32::min)
    }

    fn own_addresses(&self, base: &Base) -> BTreeSet<IpAddr> {
        [
            IpAddr::V4(base.mesh_ipv4),
            IpAddr::V6(self.setup.mesh_ipv6()),
        ]
        .into()
    }

    /// Puts back routes. Those into interfaces that are down have to wait for them.
    async fn restore_routes(&mut self) -> Vec<KernelError> {
        let monitor = &self.monitor;
        let is_open = |target| match target {
            Target::NextHop { ifindex, .. } => monitor.has_carrier(ifindex),
            Target::Tunnel { .. } => true,
        };
        self.fib.restore(is_open).await
    }

    async fn change_routes(&mut self, changes: &[RouteChange]) -> KernelEvent {
        let before = self.fib.marked();
        let failed = self.fib.change(changes).await;
        let after = self.fib.marked();
        if !failed.is_empty() {
            // Perhaps the kernel is not as we believe.
            self.mend_soon();
        }
        if after != before {
            self.marks.follow(Instant::now(), &before, &after);
            self.follow_marks().await;
        }
        KernelEvent::RoutesApplied { failed }
    }

    /// Leads flows to the gateways of their marks, as far as they are there, and gives others a new one.
    async fn follow_marks(&mut self) {
        let Some(base) = &self.base else { return };
        self.changes.note();
        let marked = self.marked();
        let rules = rule::reconcile(&self.handle, &self.setup, Some(base), &marked);
        if let Err(error) = rules.await {
            tracing::warn!(%error);
            self.mend_soon();
        }
    }

    fn marked(&self) -> rule::Marked {
        rule::Marked {
            routed: self.fib.marked(),
            waiting: self.marks.waiting(),
            lines: self
                .base
                .iter()
                .flat_map(|it| self.lines.working(it))
                .collect(),
            others: self.others.clone(),
            delegated: self.surroundings.delegated.clone(),
            own: self.surroundings.own.clone(),
        }
    }

    /// Finds out who the stations are.
    async fn resolve(
        &mut self,
        stations: Vec<(IfIndex, Station)>,
    ) -> Result<Vec<SeenStation>, KernelError> {
        let macs = stations.iter().map(|(ifindex, it)| (*ifindex, it.mac));
        self.neighbors.find(&self.handle, macs.collect()).await?;
        let seen = |(ifindex, station): (IfIndex, Station)| SeenStation {
            ifindex,
            address: self.neighbors.address((ifindex, station.mac)),
            station,
        };
        Ok(stations.into_iter().map(seen).collect())
    }

    /// Removes what is ours, rules first, so that no packet meets a half of it, and the filter
    /// last.
    async fn remove_everything(&mut self) -> Vec<Warning> {
        let mut warnings: Vec<Warning> = Vec::new();
        let marked = rule::Marked::default();
        let rules = rule::reconcile(&self.handle, &self.setup, None, &marked).await;
        warnings.extend(rules.err().map(Warning::Kernel));
        warnings.extend(self.fib.remove_everything().await);
        let uplinks = uplink::remove_everything(&self.handle, &self.setup.numbers).await;
        warnings.extend(uplinks.err().map(Warning::Kernel));
        let radios = self.radios.remove_everything().await;
        warnings.extend(radios.err().map(Warning::Kernel));
        let tunnels = self.fib.tunnels.remove_everything().await;
        warnings.extend(tunnels.err().map(Warning::Kernel));
        let table = nat::remove(&self.setup).await;
        warnings.extend(table.err().map(Warning::Kernel));
        warnings
    }
}
