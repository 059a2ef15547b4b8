//! Whether an uplink leads back into the mesh: it may be plugged into a local network of another of its
//! routers, and then everything answers, through that one's gateway.
//!
//! A datagram with a secret is sent over the uplink to this node's own mesh address, which means something
//! in the mesh alone. If it arrives, the mesh has brought it: from uplinks nothing comes in that is for such
//! addresses. Who could bring it otherwise has seen it and is in the mesh as well.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::{sleep_until, timeout};

use super::shared::Interface;

/// Between two datagrams.
const INTERVAL: Duration = Duration::from_secs(15);
/// The same while one came back lately, or the uplink is new, as the mesh's routes may be too.
const SOON: Duration = Duration::from_secs(2);
/// For how long it is new.
const NEW: Duration = Duration::from_secs(20);
/// So many in a row have to be lost until the uplink leads elsewhere.
const LOST: u32 = 5;
/// A secret that nobody guesses.
const SECRET_BYTES: usize = 16;

/// What became of the datagrams of one uplink.
#[derive(Debug)]
struct Circle {
    leads_back: bool,
    /// When that changed.
    since: Instant,
    /// In a row.
    lost: u32,
}

impl Circle {
    const fn new(now: Instant) -> Self {
        Self {
            leads_back: false,
            since: now,
            lost: 0,
        }
    }

    /// Takes in whether a datagram came back. Returns whether that changes what is known.
    fn note(&mut self, now: Instant, came_back: bool) -> bool {
        self.lost = if came_back { 0 } else { self.lost + 1 };
        let leads_back = came_back || (self.leads_back && self.lost < LOST);
        let is_news = leads_back != self.leads_back;
        if is_news {
            (self.leads_back, self.since) = (leads_back, now);
        }
        is_news
    }

    /// How long after a datagram the next one is sent.
    fn pause(&self, now: Instant) -> Duration {
        let is_new = now.saturating_duration_since(self.since) < NEW;
        if self.leads_back || is_new {
            SOON
        } else {
            INTERVAL
        }
    }
}

/// Sends datagrams over an uplink.
#[derive(Debug)]
pub(super) struct Sender {
    interface: Arc<Interface>,
    own: Ipv4Addr,
    circle: Circle,
    /// When the next one is sent.
    due: Instant,
}

impl Sender {
    /// `own` is this node's address in the mesh.
    pub(super) fn new(now: Instant, interface: Arc<Interface>, own: Ipv4Addr) -> Self {
        Self {
            interface,
            own,
            circle: Circle::new(now),
            due: now,
        }
    }

    /// Waits until the uplink leads back into the mesh, or does not any more. At first it does not.
    pub(super) async fn changed(&mut self) -> bool {
        loop {
            sleep_until(self.due.into()).await;
            let pause = self.circle.pause(Instant::now());
            self.due = Instant::now() + pause;
            let came_back = match timeout(pause, self.send()).await {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    tracing::trace!(interface = self.interface.name(), %error, "nothing can be sent back");
                    false
                }
                Err(_) => false,
            };
            if self.circle.note(Instant::now(), came_back) {
                return self.circle.leads_back;
            }
        }
    }

    /// Sends one, and waits until it has come back. Filters of the other router may drop what comes from
    /// an address of the mesh, where they are strict; and from there the kernel takes nothing that has
    /// another address of this node, which it keeps in a network that is routed.
    async fn send(&self) -> io::Result<()> {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        let home = UdpSocket::bind((self.own, 0)).await?;
        let to = home.local_addr()?;
        // What is ours says nothing of whether anybody uses the uplink.
        let ours = self.interface.ask();
        for from in [Ipv4Addr::UNSPECIFIED, self.own] {
            let out = self.socket(from)?;
            if let Err(error) = out.send_to(&secret, &to.into()) {
                tracing::trace!(interface = self.interface.name(), %from, %error);
            }
        }
        drop(ours);
        let mut buffer = [0; SECRET_BYTES + 1];
        loop {
            let length = home.recv(&mut buffer).await?;
            if buffer.get(..length) == Some(&secret) {
                return Ok(());
            }
        }
    }

    /// What is sent here goes over the uplink, also what is for this node itself.
    fn socket(&self, from: Ipv4Addr) -> io::Result<Socket> {
        let kind = Type::DGRAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::IPV4, kind, Some(Protocol::UDP))?;
        socket.bind_device(Some(self.interface.name().as_bytes()))?;
        socket.bind(&SocketAddrV4::new(from, 0).into())?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_comes_back_is_enough_and_one_that_does_not_says_little() {
        let now = Instant::now();
        let mut circle = Circle::new(now);
        assert!(!circle.note(now, false));
        assert!(circle.note(now, true) && circle.leads_back);
        for _ in 1..LOST {
            assert!(!circle.note(now, false), "it may have been lost");
        }
        assert!(!circle.note(now, true));
        for _ in 1..LOST {
            assert!(!circle.note(now, false));
        }
        assert!(circle.note(now, false) && !circle.leads_back);
    }

    #[test]
    fn little_is_sent_over_an_uplink_that_leads_out() {
        let begin = Instant::now();
        let mut circle = Circle::new(begin);
        assert_eq!(circle.pause(begin), SOON);
        assert_eq!(circle.pause(begin + NEW), INTERVAL);
        let later = begin + Duration::from_secs(3600);
        circle.note(later, true);
        assert_eq!(circle.pause(later + NEW), SOON, "it may be plugged out");
    }

    #[tokio::test]
    async fn what_comes_back_is_known_by_its_secret() {
        let own = Ipv4Addr::LOCALHOST;
        let interface = Arc::new(Interface::new("lo".to_owned()));
        let mut sender = Sender::new(Instant::now(), interface, own);
        assert!(sender.changed().await);
    }
}
