//! Receipts: what the kernel counted goes to the ledger; what the ledger wants done goes to the store, to
//! neighbors and to the kernel.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::Path;
use std::time::Instant;

use mesh_proto::{NodeId, OriginatorId, Router};
use receipts::log::Record;
use receipts::{Ledger, Party, Price, Receipt, Role};
use tracing::{debug, error, info, warn};

use super::Driver;
use super::credit::Grants;
use crate::history::Hour;
use crate::kernel::{Counters, KernelRequest, Shaping, TableChange, Warning};
use crate::usage::checkpoint::{Checkpoint, CheckpointFile, Kept, Side, Unsettled};
use crate::usage::{Carried, Usage};

/// What belongs to accounts besides the ledger.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) grants: Grants,
    checkpoint: Option<CheckpointFile>,
    /// Whether accounts are no longer what the checkpoint says.
    changed: bool,
    /// What a predecessor has counted and nobody has signed.
    left: Option<Vec<Unsettled>>,
}

impl Books {
    /// Where a predecessor has left off, whose runtime files are in `directory`; with the receipts that it
    /// may not have saved.
    pub(super) fn open(directory: &Path, owner: NodeId) -> (Self, Usage, Vec<Record>) {
        let file = CheckpointFile::within(directory, owner)
            .inspect_err(|error| warn!(%error, "a restart will lose what is not signed"));
        let checkpoint = file.ok();
        let found = checkpoint.as_ref().and_then(CheckpointFile::read);
        let left = found.is_some();
        let Checkpoint {
            metered,
            heads,
            unsettled,
        } = found.unwrap_or_default();
        let books = Self {
            checkpoint,
            left: left.then_some(unsettled),
            ..Self::default()
        };
        let heads = heads.iter().filter_map(from_kept).collect();
        (books, Usage::resume(metered), heads)
    }
}

impl Driver {
    /// Tells the kernel whose traffic is counted.
    pub(super) fn count_gateways(&mut self) {
        // Ourselves in any case: as soon as we are one, others may send, and the kernel has to know by then.
        let own = self.router.network().mesh_ipv6(self.router.id());
        let own = (own, node(self.ledger.owner()));
        let mut present: BTreeMap<Ipv6Addr, NodeId> = self.router.gateway_addresses().collect();
        present.extend([own]);
        if present.keys().eq(&self.counted_gateways) {
            return;
        }
        self.usage.note_gateways(present.clone());
        self.counted_gateways = present.into_keys().collect();
        let counted = TableChange::Gateways(self.counted_gateways.clone());
        self.kernel.request(KernelRequest::Table(counted));
    }

    /// Takes over what a predecessor has counted and nobody has signed.
    pub(super) fn take_over_unsettled(&mut self, now: Instant) {
        if let Some(left) = self.books.left.take() {
            self.ledger.resume(now, left.iter().map(from_checkpoint));
        }
    }

    /// How fast those are who are slowed down.
    pub(super) fn shaping(&self) -> Shaping {
        let sharing = self.config.sharing();
        Shaping {
            free: u32::try_from(sharing.free_bps() / 8).unwrap_or(u32::MAX),
            settlement: sharing.settlement().iter().copied().collect(),
        }
    }

    pub(super) fn handle_counters(&mut self, now: Instant, began: Instant, counters: &Counters) {
        if !counters.samples.is_empty() {
            self.note_neighbors(now);
        }
        self.note_room(counters.is_full);
        for ((peer, gateway), delta) in self.usage.handle_counters(counters) {
            let asked = self.router.price_to(gateway);
            let owed = self.router.price_via(peer, gateway);
            for (role, price, carried) in [
                (Role::Provider, asked, delta.provided),
                (Role::Consumer, owed, delta.consumed),
            ] {
                let Carried {
                    up_bytes,
                    down_bytes,
                } = carried;
                let usage = receipts::Usage {
                    peer: party(peer),
                    role,
                    gateway: party(gateway),
                    price: price.map(|price| Price::new(price.atto_smt_per_mib())),
                    up_bytes,
                    down_bytes,
                };
                account(&mut self.ledger, now, usage);
            }
            let hour = Hour {
                carried_bytes: delta.provided.bytes(),
                consumed_bytes: delta.consumed.bytes(),
                ..Hour::default()
            };
            self.history.add(now, &hour);
        }
        self.ledger.handle_reading(now, began);
        self.books.changed = true;
        self.books.grants.note_spent(&counters.spent);
    }

    /// Remembers which node is behind which address: one that has answered from there, since anybody can
    /// say hello in another's name.
    pub(super) fn note_neighbors(&mut self, now: Instant) {
        let router = &self.router;
        let neighbors = router.neighbors(now);
        let confirmed = neighbors.filter(|neighbor| neighbor.cost.is_finite());
        let nodes = confirmed.filter_map(|neighbor| {
            let record = router.record(neighbor.link.neighbor)?;
            let link = (neighbor.link.ifindex, neighbor.address);
            Some((link, record.node()))
        });
        self.usage.note_nodes(nodes);
    }

    /// Warns for as long as there is no room for further counters.
    fn note_room(&mut self, is_full: bool) {
        let line = Warning::CountersFull.to_string();
        match is_full {
            true => self.warn_once(&line),
            false => self.kernel_warnings.retain(|said| *said != line),
        }
    }

    pub(super) fn handle_receipt_message(
        &mut self,
        now: Instant,
        from: OriginatorId,
        bytes: &[u8],
    ) {
        let Some(node) = node_of(&self.router, from) else {
            return;
        };
        if let Err(error) = self.ledger.handle_message(now, party(node), bytes) {
            debug!(node = %from, %error, "receipt message dropped");
        }
        // What it claims may not have been counted yet.
        if self.ledger.waits_for_counters() {
            self.read_counters_soon(now);
        }
        self.books.changed = true;
        self.books.grants.note_change();
    }

    /// Carries out what the ledger asks for. Returns whether there was anything.
    pub(super) fn carry_out_receipts(&mut self, now: Instant) -> bool {
        // Before a receipt is saved: what it covers would be asked for again after a crash.
        self.write_checkpoint();
        let mut any = false;
        while let Some(output) = self.ledger.poll_output() {
            any = true;
            match output {
                receipts::Output::Persist(record) => self.store.submit(record),
                receipts::Output::Send { to, payload } => {
                    if let Some(payload) = self.store.hold_back(to, payload) {
                        self.send_receipt_message(now, to, payload);
                    }
                }
                receipts::Output::Hold { .. } => self.books.grants.note_change(),
                receipts::Output::Throttle(is_throttled) => {
                    match is_throttled {
                        true => warn!("a neighbor has not been paid: own traffic is slowed down"),
                        false => info!("own traffic goes on at full speed"),
                    }
                    self.books.grants.throttle(is_throttled);
                }
                receipts::Output::Event(event) => {
                    self.note_money(now, &event);
                    self.tell_receipts(now, &event);
                    log_event(&event);
                }
            }
        }
        self.grant_credit(now);
        any
    }

    fn note_money(&mut self, now: Instant, event: &receipts::Event) {
        let mut hour = Hour::default();
        if let receipts::Event::ReceiptReceived { added, .. } = event {
            hour.earned_atto = added.atto_smt();
        }
        if let receipts::Event::ReceiptGiven { added, .. } = event {
            hour.paid_atto = added.atto_smt();
        }
        self.history.add(now, &hour);
    }

    /// Writes down how far everything is accounted for, if that has changed.
    fn write_checkpoint(&mut self) {
        if !std::mem::take(&mut self.books.changed) {
            return;
        }
        let Some(file) = &mut self.books.checkpoint else {
            return;
        };
        let unsettled = self.ledger.unsettled().map(to_checkpoint);
        let checkpoint = Checkpoint {
            metered: self.usage.metered(),
            heads: self.ledger.heads().filter_map(|it| to_kept(&it)).collect(),
            unsettled: unsettled.collect(),
        };
        if let Err(error) = file.write(checkpoint) {
            let line = format!("what is not signed will be lost in a restart: {error}");
            self.warn_once(&line);
        }
    }
}

fn account(ledger: &mut Ledger, now: Instant, usage: receipts::Usage) {
    // Counted there, and shown with what else is dropped.
    if let Err(error) = ledger.handle_usage(now, usage) {
        debug!(peer = %usage.peer, %error, "usage not accounted");
    }
}

pub(super) fn party(node: NodeId) -> Party {
    Party::new(*node.as_bytes())
}

pub(super) fn node(party: Party) -> NodeId {
    NodeId::from_bytes(*party.as_bytes())
}

fn node_of(router: &Router, id: OriginatorId) -> Option<NodeId> {
    Some(router.record(id)?.node())
}

fn to_kept(record: &Record) -> Option<Kept> {
    let (side, receipt) = match record {
        Record::ReceiptReceived(receipt) => (Side::Provider, receipt),
        Record::ReceiptGiven(receipt) => (Side::Consumer, receipt),
        Record::OfferMade(_) | Record::OfferAccepted(_) | Record::Equivocation(_) => return None,
    };
    Some(Kept {
        side,
        receipt: hex::encode(receipt.to_bytes()),
    })
}

fn from_kept(kept: &Kept) -> Option<Record> {
    let receipt = Receipt::parse(&hex::decode(&kept.receipt).ok()?).ok()?;
    Some(match kept.side {
        Side::Provider => Record::ReceiptReceived(receipt),
        Side::Consumer => Record::ReceiptGiven(receipt),
    })
}

fn to_checkpoint(usage: receipts::Usage) -> Unsettled {
    Unsettled {
        peer: *usage.peer.as_bytes(),
        side: match usage.role {
            Role::Provider => Side::Provider,
            Role::Consumer => Side::Consumer,
        },
        gateway: *usage.gateway.as_bytes(),
        price: usage.price.map(Price::atto_smt_per_mib),
        up_bytes: usage.up_bytes,
        down_bytes: usage.down_bytes,
    }
}

fn from_checkpoint(left: &Unsettled) -> receipts::Usage {
    receipts::Usage {
        peer: Party::new(left.peer),
        role: match left.side {
            Side::Provider => Role::Provider,
            Side::Consumer => Role::Consumer,
        },
        gateway: Party::new(left.gateway),
        price: left.price.map(Price::new),
        up_bytes: left.up_bytes,
        down_bytes: left.down_bytes,
    }
}

/// Everyday bookkeeping at DEBUG; what somebody disputes or loses, an operator should read.
fn log_event(event: &receipts::Event) {
    use receipts::Event as E;
    match event {
        E::OfferMade {
            peer, epoch, price, ..
        } => debug!(%peer, epoch, %price, "offer made"),
        E::OfferAccepted {
            peer, epoch, price, ..
        } => debug!(%peer, epoch, %price, "offer accepted"),
        E::ReceiptReceived {
            peer,
            position,
            amount,
            ..
        } => {
            debug!(%peer, epoch = position.epoch, seq = position.seq, %amount, "receipt received");
        }
        E::ReceiptGiven {
            peer,
            position,
            amount,
            ..
        } => {
            debug!(%peer, epoch = position.epoch, seq = position.seq, %amount, "receipt given");
        }
        E::Refused {
            peer,
            role,
            refusal,
        } => warn!(%peer, ?role, ?refusal, "receipt refused"),
        E::Disputed { peer, bytes } => warn!(%peer, bytes, "bytes not confirmed"),
        E::Adopted {
            peer,
            role,
            position,
        } => warn!(
            %peer, ?role, epoch = position.epoch, seq = position.seq,
            "the neighbor's copy of the account was ahead of ours and has been taken over"
        ),
        E::Held {
            peer,
            exposure,
            window,
            standing,
        } => warn!(%peer, exposure, window, ?standing, "neighbor has used up its credit"),
        E::Released { peer, exposure, .. } => info!(%peer, exposure, "neighbor has signed again"),
        E::Equivocation(proof) => {
            error!(
                ?proof,
                "a neighbor signed two different receipts of one number"
            );
        }
    }
}
