//! The status page: HTTP for people and Prometheus on the LANs of this node.
//!
//! | room | what lives there |
//! |---|---|
//! | this file | what the driver knows of it: where to listen, and what keeps it from that |
//! | `server` | the thread, connections in |
//! | `seats` | how many connections there may be, and whose has to go |
//! | `connection` | one connection: bytes, deadlines |
//! | `site` | requests to answers |
//! | `hosts` | by which names this node may be asked |
//! | `kept` | answers for a second, and whom to ask for new ones |
//! | `file` | the page itself |
//!
//! **Architecture invariants.** Everything but opening sockets happens on a thread of its own, which asks the
//! driver as meshctl does, once a second at most however many ask it: who floods the page takes nothing from
//! routing but a share of the processor. Nothing can be changed through it. A socket is bound to the device of a
//! LAN, or to loopback, before it listens, so what comes from the mesh, a tunnel or an uplink never meets it.

mod connection;
mod file;
mod hosts;
mod kept;
mod seats;
mod server;
mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use mesh_proto::IfIndex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::config::Config;
use crate::control::Question;
use crate::kernel::Link;
use hosts::Hosts;

/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 64;
/// The device of the addresses of loopback. Bound to it, a socket takes nothing that came over a wire, whatever
/// `route_localnet` says.
const LOOPBACK: &str = "lo";

/// The page as the driver sees it.
#[derive(Debug)]
pub(crate) struct StatusPage {
    questions: mpsc::Sender<Question>,
    /// Where it is to be served, and with which socket; none if that failed.
    places: BTreeMap<Place, Option<Arc<TcpListener>>>,
    /// To the thread, once there is one.
    plan: Option<watch::Sender<Plan>>,
    problems: Vec<String>,
}

/// An address on an interface. One that was removed and came back under its name is another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    at: SocketAddr,
    device: String,
    ifindex: Option<IfIndex>,
}

/// What the thread is to do.
#[derive(Clone, Debug, Default)]
struct Plan {
    listeners: BTreeMap<Place, Arc<TcpListener>>,
    hosts: Arc<Hosts>,
    metrics: bool,
}

impl StatusPage {
    /// Nothing is served before [`StatusPage::follow`].
    pub(crate) const fn new(questions: mpsc::Sender<Question>) -> Self {
        Self {
            questions,
            places: BTreeMap::new(),
            plan: None,
            problems: Vec::new(),
        }
    }

    /// Serves it where the configuration says, on the interfaces that there are now.
    pub(crate) fn follow(&mut self, config: &Config, links: &BTreeMap<IfIndex, Link>) {
        let wanted = places(config, links);
        if !self.places.keys().eq(&wanted) {
            self.serve(config, wanted);
        }
    }

    /// The same after the configuration was read again. What failed is tried once more.
    pub(crate) fn follow_anew(&mut self, config: &Config, links: &BTreeMap<IfIndex, Link>) {
        self.serve(config, places(config, links));
    }

    /// What keeps it from being served, one sentence each.
    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    fn serve(&mut self, config: &Config, wanted: BTreeSet<Place>) {
        if wanted.is_empty() && self.plan.is_none() {
            return;
        }
        self.open(wanted);
        let open = self.places.iter();
        let open = open.filter_map(|(place, it)| Some((place.clone(), Arc::clone(it.as_ref()?))));
        let plan = Plan {
            listeners: open.collect(),
            hosts: Arc::new(Hosts::new(config)),
            metrics: config.status_page().is_some_and(|page| page.metrics()),
        };
        self.tell(plan);
    }

    fn open(&mut self, wanted: BTreeSet<Place>) {
        self.places.retain(|place, _| wanted.contains(place));
        self.problems.clear();
        for place in wanted {
            let opened = match self.places.remove(&place).flatten() {
                Some(listener) => Ok(listener),
                None => listen(&place).map(Arc::new),
            };
            if let Err(error) = &opened {
                let Place { at, device, .. } = &place;
                warn!(%at, %device, %error, "status page not served");
                let problem = format!("the status page is not served at {at} on {device}: {error}");
                self.problems.push(problem);
            }
            self.places.insert(place, opened.ok());
        }
    }

    fn tell(&mut self, plan: Plan) {
        if let Some(thread) = &self.plan {
            thread.send_replace(plan);
            return;
        }
        let (sender, receiver) = watch::channel(plan);
        match server::spawn(receiver, self.questions.clone()) {
            Ok(()) => self.plan = Some(sender),
            Err(error) => {
                warn!(%error, "no thread for the status page");
                self.problems
                    .push(format!("the status page has no thread: {error}"));
            }
        }
    }
}

/// Addresses of loopback on its device, all others on each LAN that there is.
fn places(config: &Config, links: &BTreeMap<IfIndex, Link>) -> BTreeSet<Place> {
    let listen = config.status_page().map_or(&[][..], |page| page.listen());
    let is_lan = |link: &&Link| {
        let mut lan = config.lan().iter();
        lan.any(|lan| lan.interface().as_str() == link.name)
    };
    let on_lans = |at: SocketAddr| {
        links.values().filter(is_lan).map(move |link| Place {
            at,
            device: link.name.clone(),
            ifindex: Some(link.ifindex),
        })
    };
    let mut places = BTreeSet::new();
    for &at in listen {
        match at.ip().is_loopback() {
            true => {
                places.insert(Place {
                    at,
                    device: LOOPBACK.to_owned(),
                    ifindex: None,
                });
            }
            false => places.extend(on_lans(at)),
        }
    }
    places
}

/// Listens on an address that the interface need not have yet (`IP_FREEBIND`): it answers as soon as it does.
fn listen(place: &Place) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(place.at),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    match place.at {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
        }
    }
    // A successor does not wait for connections of its predecessor.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(place.device.as_bytes()))?;
    socket.bind(&place.at.into())?;
    socket.listen(BACKLOG)?;
    info!(at = %place.at, device = place.device, "status page served");
    Ok(socket.into())
}
