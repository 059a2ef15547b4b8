//! What is wrong with this node, and what to do about it.

use control_api::{Doctor, Finding, SCHEMA, Severity};

use super::View;
use crate::kernel::radio::{InterfaceKind, MacAddress, PeerLink, RadioState, WORLD};
use crate::kernel::{Link, TUNNEL_OVERHEAD};
use crate::uplink::{Fault, Health, resolvers_of};

/// The least that IPv6 asks of a link (RFC 8200 §5), which the tunnel has to carry.
const MIN_MTU: u32 = 1280 + TUNNEL_OVERHEAD;

impl View<'_> {
    pub(super) fn doctor(&self) -> Doctor {
        let mut findings = Vec::new();
        for mesh in self.config.mesh() {
            let name = mesh.interface().as_str();
            match self.radios.report.problems.get(name) {
                Some(problem) => {
                    findings.push(error(name, problem.what.clone(), problem.advice.clone()));
                }
                None => self.examine_link(name, &mut findings),
            }
        }
        self.examine_neighbors(&mut findings);
        self.examine_country(&mut findings);
        for state in &self.radios.report.interfaces {
            examine_kind(state, &mut findings);
            self.examine_stations(state, &mut findings);
        }
        self.examine_uplinks(&mut findings);
        self.examine_resolvers(&mut findings);
        self.examine_saving(&mut findings);
        for warning in self.warnings() {
            findings.push(Finding {
                severity: Severity::Warning,
                subject: "meshd".to_owned(),
                problem: warning,
                advice: String::new(),
            });
        }
        if let Some((problem, advice)) = self.priced_out() {
            findings.push(Finding {
                severity: Severity::Warning,
                subject: "gateways".to_owned(),
                problem,
                advice,
            });
        }
        for (prefix, problem) in self.prefix_conflicts() {
            findings.push(Finding {
                severity: Severity::Warning,
                subject: prefix.to_string(),
                problem,
                advice: "give the LAN of one of them other addresses and `prefixes`".to_owned(),
            });
        }
        findings.sort_by_key(|finding| finding.severity);
        Doctor {
            schema: SCHEMA,
            findings,
        }
    }

    fn examine_link(&self, name: &str, findings: &mut Vec<Finding>) {
        let Some(link) = self.link_named(name) else {
            let advice = "make it, or correct `mesh` in the configuration";
            findings.push(error(name, "there is no such interface", advice));
            return;
        };
        let state = self.radio(name);
        if !link.up {
            let advice = format!("ip link set {name} up");
            findings.push(error(name, "it is switched off", advice));
        } else if !link.carrier {
            let advice = match state {
                Some(_) => "it has joined nothing: see the log of whoever looks after it",
                None => "plug in the cable",
            };
            findings.push(error(name, "it has no carrier", advice));
        } else if !self.hears_anybody(link) {
            findings.push(Finding {
                severity: Severity::Note,
                subject: name.to_owned(),
                problem: "no other node is heard".to_owned(),
                advice: match state {
                    Some(_) => {
                        "the same id, frequency, width and key on all nodes; nearer, or a \
                                better antenna"
                    }
                    None => "is meshd running at the other end, with the same network and key?",
                }
                .to_owned(),
            });
        }
        if link.mtu < MIN_MTU {
            let problem = format!(
                "its MTU of {} is too small: IPv6 through the tunnel needs {MIN_MTU}",
                link.mtu
            );
            findings.push(error(name, problem, format!("ip link set {name} mtu 1500")));
        }
    }

    /// Those that answer, but not to packets as large as the interface takes.
    fn examine_neighbors(&self, findings: &mut Vec<Finding>) {
        for neighbor in self.router.neighbors(self.now).filter(|it| it.narrow) {
            let link = self.links.get(&neighbor.link.ifindex);
            let (Some(link), node) = (link, self.node_ref(neighbor.link.neighbor)) else {
                continue;
            };
            let who = node.name.unwrap_or_else(|| node.originator_id.to_string());
            let problem = format!(
                "packets of {} bytes, its MTU, do not get to {who} and back: the link is not used",
                link.mtu
            );
            let advice = "give the interface the same MTU at all nodes of the link, and whatever \
                          is between them at least that";
            findings.push(error(&link.name, problem, advice));
        }
    }

    /// Every line that could be an uplink and is none; or that a named one is not there.
    fn examine_uplinks(&self, findings: &mut Vec<Finding>) {
        for (line, health) in self.watcher.lines() {
            if let Health::Fails(fault) = health {
                let problem = format!("{}: {fault}", line.family);
                findings.push(error(&line.interface, problem, advice_for(fault)));
            }
        }
        for name in self.config.uplink().interface().names() {
            let name = name.as_str();
            if self.watcher.lines().all(|(line, _)| line.interface != name) {
                let problem = "an uplink without carrier or without a default route";
                let advice = "plug it in; is its DHCP or PPP client running?";
                findings.push(error(name, problem, advice));
            }
        }
    }

    /// A way to the Internet on which no name is found.
    fn examine_resolvers(&self, findings: &mut Vec<Finding>) {
        if let Some(shared) = self.shared {
            if shared.offered.is_empty() {
                let problem = "no resolver is offered with it: whoever uses it finds no names";
                let advice = "name some that answer in `uplink.resolvers`, or `self` if one on this \
                              node answers the mesh";
                findings.push(error(&shared.uplink.to_string(), problem, advice));
            }
        } else if let Some((gateway, _)) = self.router.gateway()
            && resolvers_of(self.router, gateway).is_empty()
        {
            let problem = format!(
                "{} offers no resolver: no names are found",
                self.display(gateway)
            );
            let advice = "its operator can name some in `uplink.resolvers`; until then use another \
                          with `meshctl gateways select`, or name one to this node's own resolver";
            findings.push(error("gateways", problem, advice));
        }
    }

    fn examine_saving(&self, findings: &mut Vec<Finding>) {
        if let Some(problem) = &self.saving.problem {
            let problem = format!("they cannot be saved: {problem}");
            let advice = "make room, or make it writable: until then no neighbor gets an offer, and \
                          what is carried without one is carried for nothing";
            findings.push(error("receipts", problem, advice));
        }
        for finding in &self.saving.findings {
            findings.push(Finding {
                severity: match finding.is_ordinary() {
                    true => Severity::Note,
                    false => Severity::Warning,
                },
                subject: "receipts".to_owned(),
                problem: finding.to_string(),
                advice: finding.advice().to_owned(),
            });
        }
    }

    fn hears_anybody(&self, link: &Link) -> bool {
        let mut neighbors = self.router.neighbors(self.now);
        neighbors.any(|neighbor| neighbor.link.ifindex == link.ifindex)
    }

    fn examine_country(&self, findings: &mut Vec<Finding>) {
        if self.radios.report.countries.contains(WORLD) {
            findings.push(Finding {
                severity: Severity::Warning,
                subject: "regulatory domain".to_owned(),
                problem: "it is not set: most of 5 GHz is forbidden, and power limited".to_owned(),
                advice: "iw reg set and the two letters of the country; OpenWrt: option country"
                    .to_owned(),
            });
        }
    }

    fn examine_stations(&self, state: &RadioState, findings: &mut Vec<Finding>) {
        let name = &state.interface.name;
        let stations = self.stations_at(state.interface.ifindex);
        for seen in stations {
            let station = &seen.station;
            let who = self.station_name(seen);
            let who = who.unwrap_or_else(|| MacAddress(station.mac).to_string());
            if station.peer_link == Some(PeerLink::BLOCKED) {
                let advice = format!(
                    "iw dev {name} station set {} plink_action open",
                    MacAddress(station.mac)
                );
                findings.push(error(
                    name,
                    format!("its peer link with {who} is blocked"),
                    advice,
                ));
            }
        }
        let mut established = stations.iter().map(|seen| seen.station.peer_link);
        let has_peers = established.any(|link| link == Some(PeerLink::ESTABLISHED));
        if !state.refusals.is_empty() && !has_peers {
            let count = state.refusals.len();
            let problem = format!(
                "the key is probably wrong: {count} {} heard, none of them accepts it",
                if count == 1 { "node is" } else { "nodes are" }
            );
            let advice = "give all nodes the same `key: sae`";
            findings.push(error(name, problem, advice));
        } else {
            for (mac, count) in &state.refusals {
                let mac = MacAddress(*mac);
                findings.push(Finding {
                    severity: Severity::Warning,
                    subject: name.clone(),
                    problem: format!("{mac} has another key: refused {count} times"),
                    advice: "if it is one of ours, give it the same `key: sae`".to_owned(),
                });
            }
        }
    }
}

/// What nodes cannot hear each other by, or should not.
fn examine_kind(state: &RadioState, findings: &mut Vec<Finding>) {
    let (name, kind) = (&state.interface.name, state.interface.kind);
    if kind != InterfaceKind::MESH && kind != InterfaceKind::IBSS {
        findings.push(Finding {
            severity: Severity::Warning,
            subject: name.clone(),
            problem: format!(
                "it is of type {}: not all nodes in reach hear it",
                kind.name()
            ),
            advice: "use 802.11s, or an ad hoc network".to_owned(),
        });
    }
    if state.forwards {
        findings.push(Finding {
            severity: Severity::Warning,
            subject: name.clone(),
            problem: "the radios forward for each other, which meshd does better".to_owned(),
            advice: format!(
                "iw dev {name} set mesh_param mesh_fwding 0; OpenWrt: option mesh_fwding 0"
            ),
        });
    }
}

const fn advice_for(fault: &Fault) -> &'static str {
    match fault {
        Fault::Silent => {
            "the provider's side is broken, or `check` asks whom it does not let through"
        }
        Fault::NoDns => {
            "ask the provider; other resolvers can be named in `check`, and `resolvers: [self]` lets a \
             resolver on this node ask those of its own network"
        }
        Fault::OnlyDns => {
            "ask the provider whether the line is paid for, or wants somebody to log in"
        }
        Fault::Captive(_) => "open that page from this node's network and do what it asks",
        Fault::Circle => {
            "it is plugged into a local network of another router of the mesh: unplug it, or make it a \
             `mesh` interface at both ends"
        }
    }
}

fn error(subject: &str, problem: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding {
        severity: Severity::Error,
        subject: subject.to_owned(),
        problem: problem.into(),
        advice: advice.into(),
    }
}
