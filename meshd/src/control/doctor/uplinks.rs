//! This node's own ways to the Internet.

use std::collections::BTreeSet;

use mesh_proto::Mark;

use super::{Findings, View};
use crate::config::UplinkInterface;
use crate::uplink::{Fault, Health, resolvers_of};

/// Every line that could be an uplink and is none.
pub(super) fn failing(view: &View<'_>, findings: &mut Findings) {
    for (line, health) in view.watcher.lines() {
        if let Health::Fails(fault) = health {
            let problem = format!("{}: {fault}", line.family);
            findings.error(&line.interface, problem, advice_for(fault));
        }
    }
}

/// Named ones that are not there.
pub(super) fn missing(view: &View<'_>, findings: &mut Findings) {
    for name in view.config.uplink().interface().names() {
        let name = name.as_str();
        if view.watcher.lines().all(|(line, _)| line.interface != name) {
            let problem = "an uplink without carrier or without a default route";
            let advice = "plug it in; is its DHCP or PPP client running?";
            findings.error(name, problem, advice);
        }
    }
}

/// The way to the Internet leads over an interface that has another role, and so is nobody's.
pub(super) fn one_armed(view: &View<'_>, findings: &mut Findings) {
    let is_auto = *view.config.uplink().interface() == UplinkInterface::Auto;
    if !is_auto || view.watcher.lines().next().is_some() {
        return;
    }
    for name in view.default_routes.within(view.config, view.links) {
        let problem =
            "the default route leads over it, and it is a `lan` interface: no uplink is used";
        let advice = "have the provider's line at an interface of its own, of a VLAN for example, or take this \
                      one out of `lan`; if there is no provider, remove the route or set `uplink: off`";
        findings.warning(name, problem, advice);
    }
}

/// More lines than there are marks for flows that stay with theirs
/// ([decision 12](../../../../docs/decisions/0012-flows-stay-with-their-gateway.md)).
pub(super) fn without_a_mark(view: &View<'_>, findings: &mut Findings) {
    let lines = view.watcher.lines();
    let names: BTreeSet<&str> = lines.map(|(line, _)| line.interface.as_str()).collect();
    let marks = Mark::spare().count();
    if names.len() > marks {
        let problem = format!(
            "{} interfaces lead to the Internet ({}), and only {marks} can have flows that stay with them: others \
             are cut off when the uplink in use changes",
            names.len(),
            names.iter().copied().collect::<Vec<_>>().join(", ")
        );
        let advice = format!("name the best {marks} in `uplink.interface`");
        findings.warning("uplink", problem, advice);
    }
}

/// A way to the Internet on which no name is found.
pub(super) fn resolvers(view: &View<'_>, findings: &mut Findings) {
    if let Some(shared) = view.shared {
        if shared.offered.is_empty() {
            let problem = "no resolver is offered with it: whoever uses it finds no names";
            let advice = "name some that answer in `uplink.resolvers`, or `self` if one on this node \
                          answers the mesh";
            findings.error(shared.uplink.to_string(), problem, advice);
        }
    } else if let Some((gateway, _)) = view.router.gateway()
        && resolvers_of(view.router, gateway).is_empty()
    {
        let problem = format!(
            "{} offers no resolver: no names are found",
            view.display(gateway)
        );
        let advice = "its operator can name some in `uplink.resolvers`; until then use another with \
                      `meshctl gateways select`, or name one to this node's own resolver";
        findings.error("gateways", problem, advice);
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
