//! What each kind of input means.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use control_api::{Answer, Method};
use mesh_proto::{Family, IfIndex, Route, RouteChange};
use tracing::{debug, info, warn};

use super::{Driver, SETTLING_LIMIT, Ways, announcement};
use crate::config::{LanMode, MeshInterface};
use crate::control::{self, Question, View};
use crate::kernel::{self, Base, KernelError, KernelEvent, KernelRequest, Lan, Link, Warning};
use crate::uplink::{Bps, Check, Fault, Health, Line, Shared, Uplink, inner_interfaces};

impl Driver {
    pub(super) fn handle_kernel_event(&mut self, now: Instant, event: KernelEvent) {
        match event {
            KernelEvent::LinkChanged(link) => self.handle_link(now, link),
            KernelEvent::LinkRemoved { ifindex, .. } => self.handle_link_removed(now, ifindex),
            KernelEvent::LinkLocalChanged { ifindex, address } => {
                match address {
                    Some(address) => self.link_locals.insert(ifindex, address),
                    None => self.link_locals.remove(&ifindex),
                };
                self.update_interface(now, ifindex);
            }
            KernelEvent::DefaultRoutesChanged { family, routes } => {
                self.default_routes.handle_change(family, routes);
                // The first report has both families, this one last. Before it, half of what a
                // predecessor shared would be withdrawn for a moment.
                if self.settled || family == Family::Ipv6 {
                    self.update_uplink(now);
                    self.settle(now);
                }
            }
            KernelEvent::Carrying { neighbors } => {
                self.expect_traffic(now);
                for (ifindex, address) in neighbors {
                    self.router.handle_carrying(now, ifindex, address);
                }
            }
            KernelEvent::TableDamaged => {
                self.tell_table_damaged();
                self.log_once("the nftables table was changed by somebody else: mending it");
                self.configure_kernel();
            }
            KernelEvent::FlowtablesChanged => self.configure_kernel(),
            // It may have signed for more by the time it is known what it used up.
            KernelEvent::CreditUsedUp => self.read_counters_soon(now),
            KernelEvent::NeighborFailed { ifindex, address } => {
                debug!(%ifindex, %address, "neighbor does not answer the kernel");
                self.router.handle_neighbor_failed(now, ifindex, address);
            }
            KernelEvent::Configured { warnings } => self.handle_configured(&warnings),
            KernelEvent::RoutesApplied { failed } => self.handle_failed_routes(now, &failed),
            KernelEvent::Counters { began, counters } => {
                self.handle_counters(now, began, &counters);
            }
            KernelEvent::RadiosChanged(report) => self.handle_radios(now, report),
            KernelEvent::Stations(seen) => self.handle_stations(now, seen),
            // The port makes it anew by itself.
            KernelEvent::TableFailed(error) => self.warn_once(&error.to_string()),
            KernelEvent::RequestFailed { request, error } => {
                self.handle_failed_request(now, &request, &error);
            }
            KernelEvent::Adopted { .. }
            | KernelEvent::TableChanged
            | KernelEvent::ShutDown { .. } => {}
        }
    }

    fn handle_link(&mut self, now: Instant, link: Link) {
        let ifindex = link.ifindex;
        let before = self.links.insert(ifindex, link);
        let appeared = before.is_none_or(|before| before.name != self.name_of(ifindex));
        // What was asked for first is done after the first links were told of, and with them.
        if appeared && self.configured && self.is_configured(self.name_of(ifindex)) {
            self.configure_kernel();
        }
        self.page.follow(&self.config, &self.links);
        self.update_interface(now, ifindex);
        self.update_uplink(now);
    }

    fn handle_link_removed(&mut self, now: Instant, ifindex: IfIndex) {
        self.links.remove(&ifindex);
        self.link_locals.remove(&ifindex);
        self.page.follow(&self.config, &self.links);
        self.update_interface(now, ifindex);
        self.update_uplink(now);
    }

    /// The name of an interface; its number's digits never collide with a configured name.
    pub(super) fn name_of(&self, ifindex: IfIndex) -> &str {
        self.links
            .get(&ifindex)
            .map_or("?", |link| link.name.as_str())
    }

    fn is_configured(&self, name: &str) -> bool {
        let mut uplinks = self.config.uplink().interface().names().iter();
        inner_interfaces(&self.config).contains(name) || uplinks.any(|it| it.as_str() == name)
    }

    /// Takes a mesh interface into use when it is ready, and out of use when it is not.
    pub(super) fn update_interface(&mut self, now: Instant, ifindex: IfIndex) {
        // Others would hear that there is no uplink, and believe it until they hear otherwise.
        if !self.settled {
            return;
        }
        let configured = |link: &&Link| {
            let mut mesh = self.config.mesh().iter();
            link.carrier && mesh.any(|mesh| mesh.interface().as_str() == link.name)
        };
        let link = self.links.get(&ifindex).filter(configured);
        let ready = link.zip(self.link_locals.get(&ifindex));
        let Some((link, link_local)) = ready else {
            if self.sockets.close(ifindex) {
                info!(
                    interface = self.name_of(ifindex),
                    "mesh interface out of use"
                );
            }
            self.router.handle_interface_down(now, ifindex);
            return;
        };
        match self.sockets.open(ifindex, &link.name) {
            Ok(true) => info!(interface = link.name, "mesh interface in use"),
            Ok(false) => {}
            Err(error) => {
                warn!(%error, interface = link.name, "mesh interface cannot be used");
                return;
            }
        }
        self.router
            .handle_interface_up(now, ifindex, *link_local, link.mtu);
        let bps = link.speed_mbps.map(|mbps| u64::from(mbps) * 1_000_000);
        self.router.handle_speed(now, ifindex, bps);
        self.follow_mesh_mtu();
    }

    /// Chooses the uplink anew.
    pub(super) fn update_uplink(&mut self, now: Instant) {
        let lines = self.default_routes.lines(&self.config, &self.links);
        let own = self.router.record(self.router.id());
        let own = own.map(|signed| signed.record().ipv4);
        self.watcher.watch(now, &lines, self.config.uplink(), own);
        self.tell_uplinks(&lines);
        let working = Uplink::choose(&lines, |line| self.works(now, line));
        let ways = self.ways(now, &lines, working.as_ref());
        let stated = |interface: &str| {
            let stated = self.config.uplink().bandwidth(interface)?;
            Some(Bps {
                down: stated.down_bps(),
                up: stated.up_bps(),
            })
        };
        let own = self.router.network().mesh_ipv6(self.router.id());
        let shared = working.map(|uplink| {
            let resolvers = self.answering(now, &uplink);
            let offered = self.config.uplink().resolvers();
            Shared {
                offered: offered.offer(&resolvers, own.into()),
                resolvers,
                bandwidth: self.watcher.bandwidth(&uplink, stated),
                uplink,
            }
        });
        if ways != self.ways {
            self.ways = ways;
            self.configure_kernel();
        }
        if shared != self.shared {
            self.shared = shared;
            self.announce(now);
        }
    }

    /// The resolvers that answer over an uplink, as far as that is found out.
    fn answering(&self, now: Instant, uplink: &Uplink) -> Vec<IpAddr> {
        let config = self.config.uplink();
        if *config.check() == Check::Off {
            return config.resolvers().unasked(self.watcher.told(), uplink);
        }
        match self.watcher.resolvers(uplink) {
            found if found.is_empty() && self.trusts_predecessor(now) => {
                self.left_resolvers.clone()
            }
            found => found,
        }
    }

    /// What a predecessor shared goes on until it is found out that it does not work.
    pub(super) fn trusts_predecessor(&self, now: Instant) -> bool {
        self.took_over && now < self.started + SETTLING_LIMIT
    }

    fn works(&self, now: Instant, line: &Line) -> bool {
        match self.watcher.health(line) {
            Health::Works => true,
            Health::Unknown => self.trusts_predecessor(now) && self.left_lines.contains(line),
            Health::Fails(_) => false,
        }
    }

    /// What the kernel should do with these lines, of which some work.
    fn ways(&self, now: Instant, lines: &[Line], working: Option<&Uplink>) -> Ways {
        let is_captive =
            |line: &Line| matches!(self.watcher.health(line), Health::Fails(Fault::Captive(_)));
        // Somebody has to visit the portal, and can only do so from here.
        let is_last = working.is_none() && self.router.gateway().is_none();
        let portal = || Uplink::choose(lines, is_captive).filter(|_| is_last);
        let used = working.cloned().or_else(portal);
        let fails = |line: &Line| matches!(self.watcher.health(line), Health::Fails(_));
        let way = |family| {
            let mut of_it = lines.iter().filter(|line| line.family == family).peekable();
            match used.as_ref().and_then(|used| used.carries(family)) {
                Some(interface) => kernel::Uplink::Over(interface.clone()),
                None if of_it.peek().is_some() && of_it.all(fails) => kernel::Uplink::Dead,
                None => kernel::Uplink::None,
            }
        };
        let is_used = |line: &Line| {
            let used = used.as_ref().and_then(|used| used.carries(line.family));
            used == Some(&line.interface)
        };
        let others = lines
            .iter()
            .filter(|it| self.works(now, it) && !is_used(it));
        let others = others.map(|line| (line.interface.clone(), line.family));
        let named = self.config.uplink().interface().names().iter();
        let named = named.map(|name| name.as_str().to_owned());
        let leading = lines.iter().map(|line| line.interface.clone());
        let all: BTreeSet<String> = leading.chain(named).collect();
        // What has led out may do so again, and nobody is to come in there meanwhile.
        let inner = inner_interfaces(&self.config);
        let outer = self.links.values().map(|link| &link.name);
        let outer = outer.filter(|name| !inner.contains(name.as_str()));
        let once = outer
            .filter(|name| self.ways.outside.contains(*name))
            .cloned();
        Ways {
            uplinks: kernel::Uplinks {
                ipv4: way(Family::Ipv4),
                ipv6: way(Family::Ipv6),
                others: others.collect(),
                all: all.clone(),
            },
            outside: all.into_iter().chain(once).collect(),
        }
    }

    pub(super) fn announce(&mut self, now: Instant) {
        self.names_due = Some(now);
        self.router.set_position(self.config.position());
        self.router
            .announce(now, announcement(&self.config, self.shared.as_ref()));
        self.count_gateways();
    }

    /// Takes over what a predecessor left. Its counters are the base of ours, so they are read
    /// before anything else is carried.
    pub(super) fn settle(&mut self, now: Instant) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        self.configure_kernel();
        self.read_counters(now);
        let interfaces: Vec<IfIndex> = self.links.keys().copied().collect();
        for ifindex in interfaces {
            self.update_interface(now, ifindex);
        }
    }

    /// Tells the kernel what everything but routes should be.
    pub(super) fn configure_kernel(&mut self) {
        if let Some(base) = self.base() {
            self.mesh_mtu = base.mesh_mtu;
            self.kernel.request(KernelRequest::Configure(base));
        }
    }

    /// What everything but routes should be, once that is known.
    pub(super) fn base(&self) -> Option<Base> {
        let own = self.router.record(self.router.id());
        let mesh_ipv4 = own.filter(|_| self.settled)?.record().ipv4;
        let lan = self.config.lan().iter().map(|lan| Lan {
            interface: lan.interface().as_str().to_owned(),
            mode: match lan.mode() {
                LanMode::Masquerade => kernel::LanMode::Masquerade,
                LanMode::Routed { prefixes } => kernel::LanMode::Routed {
                    prefixes: prefixes.clone(),
                },
            },
        });
        let mesh = self
            .config
            .mesh()
            .iter()
            .map(|mesh| mesh.interface().as_str().to_owned());
        let radio = |mesh: &MeshInterface| {
            let name = mesh.interface().as_str().to_owned();
            mesh.radio().map(|radio| (name, radio.clone()))
        };
        Some(Base {
            radios: self.config.mesh().iter().filter_map(radio).collect(),
            mesh: mesh.collect(),
            lan: lan.collect(),
            uplinks: self.ways.uplinks.clone(),
            outside: self.ways.outside.clone(),
            mesh_ipv4,
            mesh_mtu: self.router.mesh_mtu(),
            shaping: self.shaping(),
        })
    }

    /// Sizes tunnels anew if the narrowest link of the mesh is another than before.
    pub(super) fn follow_mesh_mtu(&mut self) {
        if self.router.mesh_mtu() != self.mesh_mtu {
            self.configure_kernel();
        }
    }

    fn handle_configured(&mut self, warnings: &[Warning]) {
        self.configured = true;
        self.unconfigured = false;
        self.tell_table_restored();
        let lines: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        for line in lines
            .iter()
            .filter(|line| !self.kernel_warnings.contains(line))
        {
            warn!("{line}");
            self.tell_warning(line);
        }
        self.kernel_warnings = lines;
    }

    /// Offers refused routes again if they are still wanted: the interface may be coming up.
    fn handle_failed_routes(&mut self, now: Instant, failed: &[(RouteChange, KernelError)]) {
        for (change, error) in failed {
            debug!(?change, %error, "route refused");
        }
        self.refused_routes
            .extend(failed.iter().map(|(change, _)| *change));
        if !failed.is_empty() {
            self.try_again_soon(now);
        }
    }

    pub(super) fn offer_refused_routes(&mut self) {
        let mut refused = std::mem::take(&mut self.refused_routes);
        if refused.is_empty() {
            return;
        }
        let wanted: BTreeSet<Route> = self.router.routes().collect();
        refused
            .retain(|change| matches!(change, RouteChange::Set(route) if wanted.contains(route)));
        self.kernel.request(KernelRequest::Routes(refused));
    }

    fn handle_failed_request(
        &mut self,
        now: Instant,
        request: &KernelRequest,
        error: &KernelError,
    ) {
        if matches!(request, KernelRequest::Configure(_)) {
            if !self.configured {
                // A router without its filter would forward what it must not.
                self.failure = Some(anyhow::anyhow!("{error}"));
                return;
            }
            self.unconfigured = true;
            self.try_again_soon(now);
        }
        self.warn_once(&error.to_string());
    }

    /// Warns unless the same was said already since the kernel was last as it should be.
    pub(super) fn warn_once(&mut self, line: &str) {
        if self.log_once(line) {
            self.tell_warning(line);
        }
    }

    /// Returns whether it was not said already.
    fn log_once(&mut self, line: &str) -> bool {
        if self.kernel_warnings.iter().any(|said| said == line) {
            return false;
        }
        warn!("{line}");
        self.kernel_warnings.push(line.to_owned());
        true
    }

    pub(super) fn handle_question(&mut self, now: Instant, question: Question) {
        let Question { method, answer } = question;
        if let Method::ReceiptsExport { offset } = method {
            self.export(offset, answer);
            return;
        }
        if let Method::Doctor { fix } = method {
            return self.examine(now, fix, answer);
        }
        if let Method::ReceiptsImport {
            offset,
            total_bytes,
            data,
        } = method
        {
            let data = data.into_bytes();
            return control::import(&mut self.carried, (offset, total_bytes), &data, answer);
        }
        if let Method::Probe(probe) = &method {
            return self.probe(now, probe, answer);
        }
        if let Method::Throughput(wanted) = &method {
            return self.arrange_throughput(now, wanted, answer);
        }
        let outcome = if method == Method::Reload {
            self.reload(now).map(Answer::from)
        } else if let Some(outcome) = self.try_out(now, &method) {
            outcome.map(Answer::from)
        } else if let Method::ConfigDiff { text } = &method {
            self.config_diff(text).map(Answer::from)
        } else if let Method::LogLevel { level } = method {
            self.set_log_level(level).map(Answer::from)
        } else if let Method::GatewaysSelect { gateway } = &method {
            self.select_gateway(now, gateway)
        } else {
            self.view(now).answer(&method)
        };
        // Whoever asked may be gone.
        let _ = answer.send(outcome);
    }

    pub(super) fn view(&self, now: Instant) -> View<'_> {
        View {
            now,
            started: self.started,
            router: &self.router,
            ledger: &self.ledger,
            config: &self.config,
            links: &self.links,
            link_locals: &self.link_locals,
            radios: &self.radios,
            usage: &self.usage,
            shared: self.shared.as_ref(),
            default_routes: &self.default_routes,
            watcher: &self.watcher,
            internet: &self.internet,
            history: &self.history,
            carried: &self.carried,
            selected: self.selected.as_ref(),
            saving: &self.saving,
            warnings: (self.kernel_warnings.iter().cloned())
                .chain(self.trial.warning(now))
                .chain(self.page.problems().iter().cloned())
                .collect(),
        }
    }
}
