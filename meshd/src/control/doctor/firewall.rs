//! Firewalls of others in the way of the mesh. They are theirs: nothing of them is ever changed.

use std::collections::BTreeMap;

use mesh_proto::Family;

use super::{Findings, Machine};
use crate::kernel::{
    Base, Firewalls, Hook, Packet, TUNNEL_DEVICES, TUNNEL_PORT, WIREGUARD_GATEWAY_PORT,
};
use crate::udp;

/// What has to get through, and what it is called.
struct Journey<'a> {
    what: &'static str,
    packet: Packet<'a>,
}

impl Journey<'_> {
    /// The command that lets it through `chain`.
    fn permission(&self, chain: &str) -> String {
        let Packet { from, to, udp, .. } = &self.packet;
        let to = to.map_or_else(String::new, |to| format!(" oifname \"{to}\""));
        let port = udp.map_or_else(String::new, |port| format!(" udp dport {port}"));
        format!("nft insert rule {chain} iifname \"{from}\"{to}{port} accept")
    }
}

/// What is surely dropped by a firewall that somebody else looks after.
pub(super) fn in_the_way(machine: &Machine, findings: &mut Findings) {
    let Some(base) = &machine.base else {
        return;
    };
    // Who has no nft, or one that does not print JSON, has been told by meshd itself or does without this.
    let firewalls = Firewalls::read().unwrap_or_default();
    let mut dropped: BTreeMap<String, Vec<Journey<'_>>> = BTreeMap::new();
    for journey in journeys(base, &machine.tunnels) {
        if let Some(chain) = firewalls.dropping(&journey.packet) {
            dropped.entry(chain).or_default().push(journey);
        }
    }
    for (chain, journeys) in dropped {
        let mut what: Vec<&str> = journeys.iter().map(|it| it.what).collect();
        what.dedup();
        let problem = format!("its chain {chain} drops {}", what.join(", "));
        let permissions = journeys.iter().map(|it| it.permission(&chain));
        let permissions: Vec<String> = permissions.collect();
        let advice = format!(
            "have it let that pass: {}; OpenWrt: a zone with these devices",
            permissions.join("; ")
        );
        findings.error("firewall", problem, advice);
    }
}

fn journeys<'a>(base: &'a Base, tunnels: &'a [String]) -> Vec<Journey<'a>> {
    let mesh = || base.mesh.iter().map(String::as_str);
    let lan = || base.lan.iter().map(|lan| lan.interface.as_str());
    // Of WireGuard a gateway has one end, and the others are for using gateways; VXLAN's is for both.
    let [vxlan, gateway, ..] = TUNNEL_DEVICES;
    let tunnels = || tunnels.iter().map(String::as_str);
    let outward = || tunnels().filter(|name| *name != gateway);
    let inward = || tunnels().filter(|name| [vxlan, gateway].contains(name));
    let mut all = Vec::new();
    for from in mesh() {
        let ports = [
            (udp::PORT, "what neighbors tell"),
            (TUNNEL_PORT, "tunnels"),
            (WIREGUARD_GATEWAY_PORT, "tunnels"),
        ];
        all.extend(ports.map(|(port, what)| received(what, from, port)));
        all.extend(mesh().map(|to| {
            let mut journey = forwarded(
                "what nodes send each other through this one",
                Family::Ipv6,
                from,
                to,
            );
            journey.packet.udp = Some(TUNNEL_PORT);
            journey
        }));
    }
    for from in lan() {
        let what = "what local hosts send into the mesh";
        all.extend(outward().map(|to| forwarded(what, Family::Ipv4, from, to)));
    }
    for family in Family::BOTH {
        let to = base.uplinks.of(family).name();
        let from_mesh = inward().map(|from| ("what the mesh sends to the Internet", from));
        let from_lan = lan().map(|from| ("what local hosts send to the Internet", from));
        let from = from_mesh.chain(from_lan);
        all.extend(to.into_iter().flat_map(|to| {
            let from = from.clone();
            from.map(move |(what, from)| forwarded(what, family, from, to))
        }));
    }
    all
}

const fn received<'a>(what: &'static str, from: &'a str, port: u16) -> Journey<'a> {
    Journey {
        what,
        packet: Packet {
            hook: Hook::Input,
            family: Family::Ipv6,
            from,
            to: None,
            udp: Some(port),
        },
    }
}

const fn forwarded<'a>(
    what: &'static str,
    family: Family,
    from: &'a str,
    to: &'a str,
) -> Journey<'a> {
    Journey {
        what,
        packet: Packet {
            hook: Hook::Forward,
            family,
            from,
            to: Some(to),
            udp: None,
        },
    }
}
