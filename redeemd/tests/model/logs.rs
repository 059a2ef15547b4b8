//! What nodes have signed, and written down.

use std::collections::BTreeMap;

use receipts::log::{Header, Record, SegmentHeader, Writer};
use receipts::{ContentHash, MIB, Offer, Price, Receipt, Terms, Totals};
use redeemd::claim::Pair;

use super::people::{network, node_key, party};

/// A provider and a consumer in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Trade {
    pub(super) network: usize,
    pub(super) provider: usize,
    pub(super) consumer: usize,
}

#[derive(Debug, Default)]
pub(super) struct Logs {
    /// By network and owner.
    records: BTreeMap<(usize, usize), Vec<Record>>,
    /// The last of each.
    epochs: BTreeMap<Trade, Epoch>,
}

#[derive(Debug, Clone)]
struct Epoch {
    offer: Offer,
    last: Option<Receipt>,
    is_over: bool,
}

impl Logs {
    pub(super) fn sign(&mut self, trade: Trade, mib: u64, new_epoch: bool) {
        let mut epoch = self.epoch(trade, new_epoch);
        let receipt = epoch.next(trade, mib);
        self.write(
            trade,
            Record::ReceiptReceived(receipt.clone()),
            Record::ReceiptGiven(receipt.clone()),
        );
        epoch.last = Some(receipt);
        self.epochs.insert(trade, epoch);
    }

    /// Two receipts for one place. Nothing can follow both.
    pub(super) fn contradict(&mut self, trade: Trade, given: u64, kept: u64) {
        let mut epoch = self.epoch(trade, false);
        self.write(
            trade,
            Record::ReceiptReceived(epoch.next(trade, given)),
            Record::ReceiptGiven(epoch.next(trade, kept)),
        );
        epoch.is_over = true;
        self.epochs.insert(trade, epoch);
    }

    fn write(&mut self, trade: Trade, of_provider: Record, of_consumer: Record) {
        let owners = [trade.provider, trade.consumer];
        for (owner, record) in owners.into_iter().zip([of_provider, of_consumer]) {
            let log = self.records.entry((trade.network, owner)).or_default();
            log.push(record);
        }
    }

    fn epoch(&mut self, trade: Trade, new_epoch: bool) -> Epoch {
        let last = self.epochs.get(&trade);
        if let Some(open) = last.filter(|it| !it.is_over && !new_epoch) {
            return open.clone();
        }
        let offer = offer(trade, last.map_or(1, |it| it.offer.epoch() + 1));
        self.write(
            trade,
            Record::OfferMade(offer.clone()),
            Record::OfferAccepted(offer.clone()),
        );
        Epoch {
            offer,
            last: None,
            is_over: false,
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Record> {
        self.records.values().flatten()
    }

    /// The log of a node, up to a record.
    pub(super) fn until(&self, network: usize, owner: usize, records: usize) -> &[Record] {
        let log = self.records.get(&(network, owner));
        let log = log.map_or(&[][..], Vec::as_slice);
        log.get(..records).unwrap_or(log)
    }
}

fn offer(trade: Trade, epoch: u64) -> Offer {
    let terms = Terms {
        gateway: party(trade.provider),
        price: Price::new(trade.provider as u64 + 1),
        credit_bytes: 0,
        previous: ContentHash::NONE,
    };
    let key = node_key(trade.provider);
    Offer::sign(
        key,
        network(trade.network),
        party(trade.consumer),
        epoch,
        terms,
    )
}

impl Epoch {
    fn next(&self, trade: Trade, mib: u64) -> Receipt {
        let signed = self.last.as_ref().map_or(Totals::ZERO, |it| *it.totals());
        let totals = Totals {
            up_bytes: signed.up_bytes + mib * MIB,
            seconds: signed.seconds + 1,
            ..signed
        };
        let key = node_key(trade.consumer);
        Receipt::sign(key, &self.offer, self.last.as_ref(), totals).unwrap()
    }
}

/// As `meshctl receipts export` writes it.
pub(super) fn export(of_network: usize, owner: usize, records: &[Record]) -> Vec<u8> {
    let (mut writer, mut bytes) = Writer::create(&SegmentHeader::first(Header {
        network: network(of_network),
        owner: party(owner),
    }));
    for record in records {
        bytes.extend(writer.append(record));
    }
    bytes.extend(writer.end(records.len() as u64));
    bytes
}

/// What has been signed for in each epoch.
pub(super) fn amounts<'a>(
    records: impl IntoIterator<Item = &'a Record>,
) -> BTreeMap<(Pair, u64), u128> {
    let mut amounts = BTreeMap::new();
    for record in records {
        let (Record::ReceiptReceived(receipt) | Record::ReceiptGiven(receipt)) = record else {
            continue;
        };
        let heading = receipt.heading();
        let pair = Pair {
            network: heading.network,
            provider: heading.provider,
            consumer: heading.consumer,
        };
        let most: &mut u128 = amounts.entry((pair, heading.position.epoch)).or_default();
        *most = receipt.amount().atto_smt().max(*most);
    }
    amounts
}
