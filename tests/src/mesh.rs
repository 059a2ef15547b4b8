//! Questions to a whole mesh: who reaches whom, and through which gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use control_api::{Originators, Status};

use crate::http::fetch;
use crate::internet::{HOST_V4, HOST_V6, Line, web_at};
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::probe::reachable;
use crate::wait::wait_for;

/// Long enough for a few hops on a busy machine, short enough to ask often.
const PATIENCE: Duration = Duration::from_millis(200);

/// The mesh addresses of every router.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    by_router: BTreeMap<String, [IpAddr; 2]>,
}

impl Addresses {
    /// Asks every router for its own.
    ///
    /// # Errors
    /// One does not answer.
    pub fn ask(lab: &Lab) -> Result<Self> {
        let mut by_router = BTreeMap::new();
        for node in lab.nodes() {
            let status = node.status()?;
            let both = [IpAddr::V6(status.mesh_ipv6), IpAddr::V4(status.mesh_ipv4)];
            by_router.insert(node.name().to_owned(), both);
        }
        Ok(Self { by_router })
    }

    /// A router's IPv6 address in the mesh.
    ///
    /// # Errors
    /// There was no such router.
    pub fn v6(&self, router: &str) -> Result<IpAddr> {
        self.of(router).map(|[v6, _]| v6)
    }

    /// A router's IPv4 address in the mesh.
    ///
    /// # Errors
    /// There was no such router.
    pub fn v4(&self, router: &str) -> Result<IpAddr> {
        self.of(router).map(|[_, v4]| v4)
    }

    fn of(&self, router: &str) -> Result<[IpAddr; 2]> {
        self.by_router
            .get(router)
            .copied()
            .ok_or_else(|| anyhow!("there was no router {router}"))
    }
}

/// Waits until every router has had an answer from every other, over IPv6 and over IPv4.
///
/// # Errors
/// It takes longer; the text lists who did not answer whom.
pub fn wait_all_pairs(lab: &Lab, bound: Duration) -> Result<()> {
    wait_pairs(lab, &Addresses::ask(lab)?, bound)
}

/// The same, when the addresses are known.
///
/// # Errors
/// As for [`wait_all_pairs`].
pub fn wait_pairs(lab: &Lab, addresses: &Addresses, bound: Duration) -> Result<()> {
    let mut open: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
    for (router, own) in &addresses.by_router {
        let all = addresses.by_router.values().flatten();
        open.insert(
            router,
            all.filter(|address| !own.contains(address))
                .copied()
                .collect(),
        );
    }
    wait_for("every router to reach every other", bound, || {
        probe_all(lab, &mut open)?;
        open.retain(|_, targets| !targets.is_empty());
        let left: Vec<String> = open
            .iter()
            .map(|(from, to)| format!("{from} to {to:?}"))
            .collect();
        ensure!(left.is_empty(), "no answer from {}", left.join(", from "));
        Ok(())
    })
}

/// Probes everything that is still open, from all routers at once.
fn probe_all(lab: &Lab, open: &mut BTreeMap<&str, BTreeSet<IpAddr>>) -> Result<()> {
    thread::scope(|scope| {
        let probes: Vec<_> = open
            .iter_mut()
            .map(|(router, targets)| {
                scope.spawn(move || {
                    let wanted: Vec<IpAddr> = targets.iter().copied().collect();
                    let answered = reachable(lab.node(router)?.namespace(), &wanted, PATIENCE)?;
                    targets.retain(|target| !answered.contains(target));
                    anyhow::Ok(())
                })
            })
            .collect();
        for probe in probes {
            probe
                .join()
                .unwrap_or_else(|_| Err(anyhow!("a prober panicked")))?;
        }
        Ok(())
    })
}

/// Waits until a router goes online through `gateway`, and returns its status.
///
/// # Errors
/// It does not; the text says what its status is instead.
pub fn wait_online_through(
    lab: &Lab,
    router: &str,
    gateway: &str,
    bound: Duration,
) -> Result<Status> {
    let what = format!("{router} to go online through {gateway}");
    wait_for(&what, bound, || {
        let status = lab.node(router)?.status()?;
        let via = status
            .internet
            .via
            .as_ref()
            .and_then(|via| via.name.as_deref());
        ensure!(
            status.internet.online && via == Some(gateway),
            "{:?}",
            status.internet
        );
        Ok(status)
    })
}

/// Waits until new connections from `phone` reach the Internet over these lines, IPv4 over the first
/// and IPv6 over the second.
///
/// # Errors
/// They do not; the text says over which instead.
pub fn wait_comes_from(phone: &Namespace, v4: &Line, v6: &Line, bound: Duration) -> Result<()> {
    const FETCH: Duration = Duration::from_secs(5);
    for (host, outside) in [(HOST_V4, IpAddr::V4(v4.v4)), (HOST_V6, IpAddr::V6(v6.v6))] {
        wait_for("new connections over a line", bound, || {
            let page = fetch(phone, web_at(host), "/", FETCH)?;
            ensure!(
                page.client == outside,
                "from {}, not {outside}",
                page.client
            );
            Ok(())
        })?;
    }
    Ok(())
}

/// The routers from one to another, both included, as each says where it sends packets.
///
/// # Errors
/// One does not know the way, or they send packets in a circle.
pub fn path(lab: &Lab, from: &str, to: &str) -> Result<Vec<String>> {
    let mut path = vec![from.to_owned()];
    let mut here = from.to_owned();
    while here != to {
        let answer: Originators = lab.node(&here)?.ctl("originators")?;
        let mut originators = answer.originators.into_iter();
        let target = originators.find(|originator| originator.name.as_deref() == Some(to));
        let next = target
            .and_then(|target| target.next_hop)
            .and_then(|next| next.name);
        here = next.with_context(|| format!("{here} knows no way to {to}"))?;
        if path.contains(&here) {
            bail!(
                "packets to {to} go in a circle: {}, {here}",
                path.join(", ")
            );
        }
        path.push(here.clone());
    }
    Ok(path)
}
