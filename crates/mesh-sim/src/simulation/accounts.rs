//! Accounts: who carried how much for whom, and what is said about it.

use mesh_proto::{NodeId, OriginatorId};
use receipts::{NetworkId, Party, Price, Role};

use super::Simulation;
use crate::books::{Books, Bytes, Service};
use crate::node::NodeIndex;
use crate::radio::Direction;
use crate::random;

/// The channel of payloads that receipts are on.
const CHANNEL: u8 = 1;

/// What is carried, and how it is settled.
#[derive(Clone, Debug)]
pub struct Accounting {
    /// The most that a flow brings in half a second in each direction, in bytes; how much it is, is
    /// drawn each time.
    pub most_bytes: u64,
    /// What everybody's ledger is told, but for what it pays at most.
    pub ledger: receipts::LedgerConfig,
}

impl Accounting {
    /// Up to 60 KiB in half a second, about 1 Mbit/s; ledgers as the daemon has them.
    pub fn new(network: &str) -> Self {
        Self {
            most_bytes: 60 << 10,
            ledger: receipts::LedgerConfig::new(NetworkId::from_name(network)),
        }
    }
}

impl Simulation {
    /// Every node keeps books of what flows to the Internet cost. To be called before time passes.
    pub fn keep_accounts(&mut self, accounting: Accounting) {
        for node in &mut self.nodes {
            node.open_books(accounting.ledger.clone());
        }
        self.accounting = Some(accounting);
    }

    /// A node that starts from now on pays at most so much, `None`: whatever others ask for. Otherwise
    /// it pays nothing.
    pub fn set_maximum_price(&mut self, node: NodeIndex, most: Option<mesh_proto::Price>) {
        self.node_mut(node).set_maximum_price(most);
    }

    /// Flows carry up to so many bytes in half a second from now on, in each direction.
    pub fn set_traffic(&mut self, most_bytes: u64) {
        if let Some(accounting) = &mut self.accounting {
            accounting.most_bytes = most_bytes;
        }
    }

    /// The books of a node, if it keeps any.
    pub fn books(&self, node: NodeIndex) -> Option<&Books> {
        self.node(node).books.as_ref()
    }

    /// By how many bytes anybody, while something was carried for it, ever owed more than its window
    /// and what was carried since counters were last read.
    pub const fn overdrawn(&self) -> u128 {
        self.overdrawn
    }

    /// Packets of flows to the Internet pass, kernels count them, and daemons read what they counted.
    pub(super) fn carry_bytes(&mut self) {
        let Some(most) = self.accounting.as_ref().map(|it| it.most_bytes) else {
            return;
        };
        let flows: Vec<_> = self.flows.all().filter(|flow| flow.to.is_none()).collect();
        for flow in flows {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let [up, down] = [(); 2].map(|()| random::below(&mut self.bytes, most) as u64);
            if let Some(gateway) = self.gateway_of(flow.from) {
                self.carry_flow(flow.from, gateway, Bytes { up, down });
            }
        }
        for node in self.nodes() {
            self.read_counters(node);
        }
    }

    fn carry_flow(&mut self, client: NodeIndex, gateway: NodeIndex, bytes: Bytes) {
        let (there, back) = (self.path(client, gateway), self.path(gateway, client));
        let arrives = there.last() == Some(&gateway) && back.last() == Some(&client);
        let may = self.books(client).is_some_and(Books::may_consume);
        let up = pairs(&there).map(|(consumer, provider)| (provider, consumer));
        let serves = |(provider, consumer)| self.serves(provider, consumer);
        if !arrives || !may || !up.chain(pairs(&back)).all(serves) {
            return;
        }
        let Some(gateway) = self.books(gateway).map(Books::party) else {
            return;
        };
        let mut sent = bytes.up;
        for (from, to) in pairs(&there) {
            sent = self.pass((from, to), Role::Consumer, gateway, sent);
        }
        let mut sent = bytes.down;
        for (from, to) in pairs(&back) {
            sent = self.pass((from, to), Role::Provider, gateway, sent);
        }
    }

    fn serves(&self, provider: NodeIndex, consumer: NodeIndex) -> bool {
        let consumer = self.books(consumer).map(Books::party);
        let provider = self.books(provider);
        provider.zip(consumer).is_some_and(|(it, to)| it.serves(to))
    }

    /// Bytes go over a link; `sender` is the role of who sends them. What is lost only the sender
    /// counts. Returns how many arrive.
    fn pass(
        &mut self,
        (from, to): (NodeIndex, NodeIndex),
        sender: Role,
        gateway: Party,
        sent: u64,
    ) -> u64 {
        let delivered = self.radio.direction(from, to).map(Direction::delivered);
        let arrived = share(sent, delivered.unwrap_or(0.0));
        let receiver = match sender {
            Role::Consumer => Role::Provider,
            Role::Provider => Role::Consumer,
        };
        for (here, there, role, counted) in
            [(from, to, sender, sent), (to, from, receiver, arrived)]
        {
            let bytes = match sender {
                Role::Consumer => Bytes {
                    up: counted,
                    down: 0,
                },
                Role::Provider => Bytes {
                    up: 0,
                    down: counted,
                },
            };
            let Some(peer) = self.books(there).map(Books::party) else {
                continue;
            };
            if let Some(books) = &mut self.node_mut(here).books {
                books.carry(
                    Service {
                        peer,
                        role,
                        gateway,
                    },
                    bytes,
                );
            }
        }
        arrived
    }

    /// A node's daemon reads its kernel's counters, at the prices of this moment.
    fn read_counters(&mut self, index: NodeIndex) {
        let now = self.instant();
        let node = self.node_mut(index);
        let (Some(router), Some(books)) = (&node.router, &mut node.books) else {
            return;
        };
        let counted = books.read(now, |service| {
            let [peer, gateway] = [service.peer, service.gateway].map(node_id);
            let price = match service.role {
                Role::Provider => router.price_to(gateway),
                Role::Consumer => router.price_via(peer, gateway),
            };
            price.map(|price| Price::new(price.atto_smt_per_mib()))
        });
        let mut overdrawn = 0;
        for account in books.accounts().filter(|it| it.role == Role::Provider) {
            let services = counted.iter().filter(|(service, _)| {
                service.peer == account.peer && service.role == Role::Provider
            });
            let latest: u64 = services.map(|(_, bytes)| bytes.sum()).sum();
            if latest == 0 {
                // What is beyond the window was carried before it was.
                continue;
            }
            let most = u128::from(books.window(&account)) + u128::from(latest);
            overdrawn = overdrawn.max(account.exposure_bytes.saturating_sub(most));
        }
        self.overdrawn = self.overdrawn.max(overdrawn);
        self.drain(index);
    }

    /// A neighbor's ledger says something to that of `index`.
    pub(super) fn hear(&mut self, index: NodeIndex, from: OriginatorId, payload: &[u8]) {
        let now = self.instant();
        let from = self.by_id.get(&from).copied();
        let from = from.and_then(|from| self.books(from)).map(Books::party);
        if let (Some(from), Some(books)) = (from, &mut self.node_mut(index).books) {
            books.hear(now, from, payload);
        }
    }

    /// Gives the next message of a node's ledger to its router. Returns whether there was one.
    pub(super) fn say(&mut self, index: NodeIndex) -> bool {
        let now = self.instant();
        let node = self.node_mut(index);
        let message = node.books.as_mut().and_then(Books::next_message);
        let Some((to, payload)) = message else {
            return false;
        };
        if let Some(router) = &mut node.router {
            // Whether it arrives nobody knows.
            router.send_payload(now, node_id(to).originator_id(), CHANNEL, payload);
        }
        true
    }
}

fn pairs(path: &[NodeIndex]) -> impl Iterator<Item = (NodeIndex, NodeIndex)> {
    path.iter().copied().zip(path.iter().copied().skip(1))
}

const fn node_id(party: Party) -> NodeId {
    NodeId::from_bytes(*party.as_bytes())
}

/// A share of bytes, rounded down.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bytes of half a second are far below 2⁵², and a share is not above 1"
)]
fn share(bytes: u64, share: f64) -> u64 {
    (bytes as f64 * share) as u64
}
