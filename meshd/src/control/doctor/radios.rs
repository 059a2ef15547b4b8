//! Radios: what they are allowed, how they join, and whom they refuse.

use super::{Findings, View};
use crate::kernel::radio::{InterfaceKind, MacAddress, PeerLink, RadioState, WORLD};

/// No country was chosen, so only what all allow is.
pub(super) fn country(view: &View<'_>, findings: &mut Findings) {
    if view.radios.report.countries.contains(WORLD) {
        let problem = "it is not set: most of 5 GHz is forbidden, and power limited";
        let advice = "iw reg set and the two letters of the country; OpenWrt: option country";
        findings.warning("regulatory domain", problem, advice);
    }
}

/// What nodes cannot hear each other by, or should not.
pub(super) fn kind(view: &View<'_>, findings: &mut Findings) {
    for state in &view.radios.report.interfaces {
        examine_kind(state, findings);
    }
}

fn examine_kind(state: &RadioState, findings: &mut Findings) {
    let (name, kind) = (&state.interface.name, state.interface.kind);
    if kind != InterfaceKind::MESH && kind != InterfaceKind::IBSS {
        let problem = format!(
            "it is of type {}: not all nodes in reach hear it",
            kind.name()
        );
        findings.warning(name, problem, "use 802.11s, or an ad hoc network");
    }
    if state.forwards {
        let problem = "the radios forward for each other, which meshd does better";
        let advice =
            format!("iw dev {name} set mesh_param mesh_fwding 0; OpenWrt: option mesh_fwding 0");
        findings.warning(name, problem, advice);
    }
}

/// What everybody in reach can read.
pub(super) fn open(view: &View<'_>, findings: &mut Findings) {
    for state in &view.radios.report.interfaces {
        examine_encryption(state, findings);
    }
}

fn examine_encryption(state: &RadioState, findings: &mut Findings) {
    if state.encrypted != Some(false) {
        return;
    }
    let name = &state.interface.name;
    let problem =
        "it is not encrypted: everybody in reach can read what stays in the mesh, and send into it";
    let advice = match state.interface.kind == InterfaceKind::MESH {
        true => {
            "the same `radio: key: {sae: PASSWORD}` on all nodes (OpenWrt: option encryption sae, option key); those \
             without it are heard no longer"
        }
        false => {
            "802.11s can be encrypted: `radio: mode: 802.11s` with `key: {sae: PASSWORD}`, if all radios can do it; \
             `tunnel: wireguard` hides at least what goes to gateways"
        }
    };
    findings.warning(name, problem, advice);
}

/// Stations that somebody has blocked.
pub(super) fn peers(view: &View<'_>, findings: &mut Findings) {
    for state in &view.radios.report.interfaces {
        let name = &state.interface.name;
        let stations = view.stations_at(state.interface.ifindex).iter();
        for seen in stations.filter(|it| it.station.peer_link == Some(PeerLink::BLOCKED)) {
            let mac = MacAddress(seen.station.mac);
            let who = view.station_name(seen).unwrap_or_else(|| mac.to_string());
            let advice = format!("iw dev {name} station set {mac} plink_action open");
            findings.error(name, format!("its peer link with {who} is blocked"), advice);
        }
    }
}

/// Neighbors that have another key.
pub(super) fn key(view: &View<'_>, findings: &mut Findings) {
    for state in &view.radios.report.interfaces {
        let stations = view.stations_at(state.interface.ifindex);
        let mut established = stations.iter().map(|seen| seen.station.peer_link);
        let has_peers = established.any(|link| link == Some(PeerLink::ESTABLISHED));
        examine_key(state, has_peers, findings);
    }
}

fn examine_key(state: &RadioState, has_peers: bool, findings: &mut Findings) {
    let name = &state.interface.name;
    if !state.refusals.is_empty() && !has_peers {
        let count = state.refusals.len();
        let problem = format!(
            "the key is probably wrong: {count} {} heard, none of them accepts it",
            if count == 1 { "node is" } else { "nodes are" }
        );
        findings.error(name, problem, "give all nodes the same `key: sae`");
        return;
    }
    for (mac, count) in &state.refusals {
        let problem = format!(
            "{} has another key: refused {count} times",
            MacAddress(*mac)
        );
        let advice = "if it is one of ours, give it the same `key: sae`";
        findings.warning(name, problem, advice);
    }
}
