//! A neighbor that carries on where a router's daemon has left off, and pays as it likes.
//!
//! Routing is that of meshd, so that the others notice nothing; the kernel keeps what the daemon left, so
//! that traffic flows. Only what is signed is up to the one who plays it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ed25519_dalek::SigningKey;
use mesh_proto::gateway_policy::Policy;
use mesh_proto::router::{Announcement, Event, Start, Transmit};
use mesh_proto::{IfIndex, Network, OriginatorId, Output, Router, RouterConfig};
use mesh_tests::daemon::NETWORK;
use mesh_tests::lab::Lab;
use mesh_tests::namespace::Namespace;
use mesh_tests::routing_port::RoutingPort;
use receipts::{CompactReceipt, Message, Offer, Receipt, Refusal, RefusalReason, Request, Totals};

/// The channel of payloads about receipts.
const CHANNEL: u8 = 1;
const MTU: u32 = 1500;
/// How long a packet is waited for at most, so how late a timer may be.
const LATE: Duration = Duration::from_millis(20);

/// What it does when it is asked for a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// Nothing.
    Silent,
    /// Confirms a sixteenth, and signs that.
    Short,
    /// Sends the first receipt it ever signed.
    Replaying,
    /// Signs what is asked, and then something else for the place before.
    Contradicting,
}

/// Somebody who plays a router until this is dropped.
pub(crate) struct Payer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Payer {
    /// Takes over from the daemon of a router, which hands over and ends.
    pub(crate) fn replace(lab: &mut Lab, router: &str, conduct: Conduct) -> Result<Self> {
        let node = lab.node_mut(router)?;
        node.take_daemon()?.hand_over()?;
        let key = meshd::identity::load(&node.files().directory().join("identity.key"))?;
        let epoch = fs::read_to_string(node.files().state().join("epoch"))?;
        let epoch = epoch.trim().parse::<u32>().context("number of starts")? + 1;
        let mut player = Player::new(node.namespace(), router, key, epoch, conduct)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                player.turn()?;
            }
            Ok(())
        });
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Ends it, and says whether it went well.
    pub(crate) fn end(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("it plays")?;
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("the payer panicked"))?
    }
}

impl Drop for Payer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Player {
    port: RoutingPort,
    ifindex: IfIndex,
    router: Router,
    key: SigningKey,
    conduct: Conduct,
    /// Of the newest epoch: its terms, and what was signed under them.
    offer: Option<Offer>,
    signed: Vec<Receipt>,
    /// What it said it would sign.
    confirmed: Option<Totals>,
}

impl Player {
    fn new(
        namespace: &Namespace,
        name: &str,
        key: SigningKey,
        epoch: u32,
        conduct: Conduct,
    ) -> Result<Self> {
        let port = RoutingPort::open(namespace)?;
        let now = Instant::now();
        let network = Network::new(NETWORK);
        let config = RouterConfig::new(network, Start::Warm(Vec::new()), epoch, epoch.into());
        let announcement = Announcement {
            name: name.to_owned(),
            ..Announcement::default()
        };
        let mut router = Router::new(config, key.clone(), announcement, now);
        let pays = Policy {
            maximum_price: None,
            ..Policy::default()
        };
        router.set_gateway_policy(now, pays);
        let ifindex = IfIndex(port.ifindex());
        router.handle_interface_up(now, ifindex, port.address(), MTU);
        Ok(Self {
            port,
            ifindex,
            router,
            key,
            conduct,
            offer: None,
            signed: Vec::new(),
            confirmed: None,
        })
    }

    fn turn(&mut self) -> Result<()> {
        let mut buffer = [0; 2048];
        let received = self.port.receive(&mut buffer, LATE)?;
        let now = Instant::now();
        if let Some((bytes, from)) = received {
            (self.router).handle_packet(now, self.ifindex, from, bytes);
        }
        if now >= self.router.poll_timeout() {
            self.router.handle_timeout(now);
        }
        while let Some(output) = self.router.poll_output() {
            match output {
                Output::Transmit(Transmit { to, bytes, .. }) => self.port.send(to, &bytes)?,
                Output::Event(Event::Payload {
                    from,
                    channel: CHANNEL,
                    bytes,
                }) => self.hear(now, from, &bytes)?,
                Output::Event(_) | Output::Route(_) => {}
            }
        }
        Ok(())
    }

    fn hear(&mut self, now: Instant, from: OriginatorId, bytes: &[u8]) -> Result<()> {
        match Message::parse(bytes)? {
            Message::Offer(offer) => {
                let known = self.offer.as_ref();
                if known.is_none_or(|known| known.epoch() < offer.epoch()) {
                    self.offer = Some(offer);
                    self.signed.clear();
                }
            }
            Message::Request(request) => {
                for answer in self.answers(&request)? {
                    let payload = answer.to_bytes();
                    self.router.send_payload(now, from, CHANNEL, payload);
                }
            }
            Message::Receipt(_) | Message::Refusal(_) | Message::Head(_) => {}
        }
        Ok(())
    }

    fn answers(&mut self, request: &Request) -> Result<Vec<Message>> {
        let Some(offer) = self.offer.clone() else {
            return Ok(Vec::new());
        };
        // An answer may be lost: asked for the same place again, it signs there again.
        let place = request.position.seq;
        self.signed.retain(|it| it.position().seq < place);
        let before = self.signed.last().cloned();
        let sign = |before: Option<&Receipt>, totals: Totals| {
            Receipt::sign(&self.key, &offer, before, totals).context("sign")
        };
        let as_asked = |before: Option<&Receipt>| sign(before, request.totals);
        Ok(match self.conduct {
            Conduct::Silent => Vec::new(),
            Conduct::Short if self.confirmed == Some(request.totals) => {
                let receipt = as_asked(before.as_ref())?;
                self.signed.push(receipt.clone());
                vec![message(&receipt)]
            }
            Conduct::Short => {
                let signed = before.as_ref().map_or(Totals::ZERO, |it| *it.totals());
                let confirmed = part(signed, request.totals);
                self.confirmed = Some(confirmed);
                vec![Message::Refusal(Refusal {
                    position: request.position,
                    confirmed,
                    reason: RefusalReason::Unconfirmed,
                })]
            }
            Conduct::Replaying => {
                if self.signed.is_empty() {
                    let first = as_asked(None)?;
                    self.signed.push(first);
                }
                self.signed.first().map(message).into_iter().collect()
            }
            Conduct::Contradicting => {
                let genuine = as_asked(before.as_ref())?;
                let other = sign(None, part(Totals::ZERO, request.totals))?;
                self.signed.push(genuine.clone());
                vec![message(&genuine), message(&other)]
            }
        })
    }
}

fn message(receipt: &Receipt) -> Message {
    Message::Receipt(CompactReceipt::from(receipt))
}

/// A sixteenth of what is asked for on top of what is signed.
fn part(signed: Totals, asked: Totals) -> Totals {
    Totals {
        up_bytes: signed.up_bytes + (asked.up_bytes - signed.up_bytes) / 16,
        down_bytes: signed.down_bytes + (asked.down_bytes - signed.down_bytes) / 16,
        seconds: signed.seconds,
    }
}
