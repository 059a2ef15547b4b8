//! Interfaces of the mesh, and who is heard there.

use std::time::Duration;

use super::{Findings, View};
use crate::kernel::{Link, TUNNEL_OVERHEAD};

/// The least that IPv6 asks of a link (RFC 8200 §5), which the tunnel has to carry.
const MIN_MTU: u32 = 1280 + TUNNEL_OVERHEAD;

/// An interface that is not there, or carries nothing.
pub(super) fn interfaces(view: &View<'_>, findings: &mut Findings) {
    for mesh in view.config.mesh() {
        let name = mesh.interface().as_str();
        if let Some(problem) = view.radios.report.problems.get(name) {
            findings.error(name, problem.what.clone(), problem.advice.clone());
            continue;
        }
        let Some(link) = view.link_named(name) else {
            let advice = "make it, or correct `mesh` in the configuration";
            findings.error(name, "there is no such interface", advice);
            continue;
        };
        if !link.up {
            let advice = format!("ip link set {name} up");
            findings.error(name, "it is switched off", advice);
        } else if !link.carrier {
            let advice = match view.radio(name) {
                Some(_) => "it has joined nothing: see the log of whoever looks after it",
                None => "plug in the cable",
            };
            findings.error(name, "it has no carrier", advice);
        }
    }
}

/// An interface on which there is nobody else.
pub(super) fn unheard(view: &View<'_>, findings: &mut Findings) {
    for link in usable(view).filter(|link| !hears_anybody(view, link)) {
        let advice = match view.radio(&link.name) {
            Some(_) => {
                "the same id, frequency, width and key on all nodes; nearer, or a better antenna"
            }
            None => "is meshd running at the other end, with the same network and key?",
        };
        findings.note(&link.name, "no other node is heard", advice);
    }
}

/// Links that are too narrow for what goes through them.
pub(super) fn mtu(view: &View<'_>, findings: &mut Findings) {
    for link in mesh_links(view).filter(|link| link.mtu < MIN_MTU) {
        let name = &link.name;
        let problem = format!(
            "its MTU of {} is too small: IPv6 through the tunnel needs {MIN_MTU}",
            link.mtu
        );
        findings.error(name, problem, format!("ip link set {name} mtu 1500"));
    }
    // Those that answer, but not to packets as large as the interface takes.
    for neighbor in view.router.neighbors(view.now).filter(|it| it.narrow) {
        let Some(link) = view.links.get(&neighbor.link.ifindex) else {
            continue;
        };
        let problem = format!(
            "packets of {} bytes, its MTU, do not get to {} and back: the link is not used",
            link.mtu,
            view.display(neighbor.link.neighbor)
        );
        let advice = "give the interface the same MTU at all nodes of the link, and whatever is between \
                      them at least that";
        findings.error(&link.name, problem, advice);
    }
}

/// Links that are good in one direction only: packets would come, and their answers not.
pub(super) fn asymmetric(view: &View<'_>, findings: &mut Findings) {
    /// How much has to arrive in the good direction, of 255, and how much of that in the other one.
    const GOOD: u8 = 160;
    const BAD_PERCENT: u32 = 55;
    /// Before that, few hellos were counted, and one that was lost weighs much.
    const SETTLED: Duration = Duration::from_secs(20);
    let is_bad =
        |bad: u8, good: u8| good >= GOOD && u32::from(bad) * 100 <= u32::from(good) * BAD_PERCENT;
    for neighbor in view.router.neighbors(view.now) {
        let Some(link) = view.links.get(&neighbor.link.ifindex) else {
            continue;
        };
        let (here, there) = (neighbor.rx_quality, neighbor.tx_quality);
        let known = view.now.saturating_duration_since(neighbor.since);
        if known < SETTLED || !(is_bad(there, here) || is_bad(here, there)) {
            continue;
        }
        let who = view.display(neighbor.link.neighbor);
        let share = |quality: u8| u32::from(quality) * 100 / 255;
        let (how, weak, deaf) = if is_bad(there, here) {
            ("is heard well, and hears this node badly", "here", "there")
        } else {
            ("hears this node well, and is heard badly", "there", "here")
        };
        let (here, there) = (share(here), share(there));
        let problem = format!("{who} {how}: {here} % of its hellos arrive, and {there} % of ours");
        let advice = format!(
            "more power {weak} (iw dev NAME set txpower auto), or less noise {deaf}: aim that antenna elsewhere, \
             look for a bad plug, try another channel"
        );
        findings.warning(&link.name, problem, advice);
    }
}

/// The interfaces of the mesh that are there, those with problems of their radios excepted.
fn mesh_links<'a>(view: &'a View<'_>) -> impl Iterator<Item = &'a Link> {
    let names = view.config.mesh().iter();
    let names = names.map(|mesh| mesh.interface().as_str());
    let sound = names.filter(|name| !view.radios.report.problems.contains_key(*name));
    sound.filter_map(|name| view.link_named(name))
}

fn usable<'a>(view: &'a View<'_>) -> impl Iterator<Item = &'a Link> {
    mesh_links(view).filter(|link| link.up && link.carrier)
}

fn hears_anybody(view: &View<'_>, link: &Link) -> bool {
    let mut neighbors = view.router.neighbors(view.now);
    neighbors.any(|neighbor| neighbor.link.ifindex == link.ifindex)
}

/// Nodes nearby that speak another version of the routing protocol: `tests/e2e/versions.rs`.
pub(super) fn versions(view: &View<'_>, findings: &mut Findings) {
    for (subject, problem) in view.other_versions() {
        findings.warning(subject, problem, "upgrade meshd where it is older");
    }
}
