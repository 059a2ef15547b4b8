//! Receipts that nodes have signed, and the exports in which they are brought.

use anyhow::Result;
use ed25519_dalek::SigningKey;
use receipts::log::{Header, Record, SegmentHeader, Writer};
use receipts::{ContentHash, MIB, NetworkId, Offer, Party, Price, Receipt, Terms, Totals};

/// A hundred times ten thousand, so that a fee of so many millionths leaves no fractions, and what became of
/// each receipt does not depend on the order.
pub(crate) const PRICE: u64 = 1_000_000;

/// Of every provider, in every network.
pub(crate) const FEE_PPM: u64 = 10_000;

/// A provider and a consumer, who go on signing.
pub(crate) struct Trade<'a> {
    pub(crate) network: &'a str,
    pub(crate) provider: &'a SigningKey,
    pub(crate) consumer: &'a SigningKey,
}

impl Trade<'_> {
    /// The records that a provider has of epochs with so many receipts each: every receipt is for one more MiB.
    pub(crate) fn records(
        &self,
        epochs: impl IntoIterator<Item = (u64, u64)>,
    ) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for (epoch, receipts) in epochs {
            let offer = self.offer(epoch, PRICE);
            records.push(Record::OfferMade(offer.clone()));
            let mut last = None;
            for mib in 1..=receipts {
                let receipt = self.receipt(&offer, last.as_ref(), mib)?;
                records.push(Record::ReceiptReceived(receipt.clone()));
                last = Some(receipt);
            }
        }
        Ok(records)
    }

    pub(crate) fn offer(&self, epoch: u64, price: u64) -> Offer {
        let terms = Terms {
            gateway: Party::of(self.provider),
            price: Price::new(price),
            credit_bytes: 0,
            previous: ContentHash::NONE,
        };
        let network = NetworkId::from_name(self.network);
        let consumer = Party::of(self.consumer);
        Offer::sign(self.provider, network, consumer, epoch, terms)
    }

    /// For so many MiB in all.
    pub(crate) fn receipt(
        &self,
        offer: &Offer,
        last: Option<&Receipt>,
        mib: u64,
    ) -> Result<Receipt> {
        let totals = Totals {
            up_bytes: mib * MIB,
            seconds: u32::try_from(mib)?,
            ..Totals::ZERO
        };
        Ok(Receipt::sign(self.consumer, offer, last, totals)?)
    }

    /// One export of the provider's with all of it.
    pub(crate) fn export(&self, epochs: impl IntoIterator<Item = (u64, u64)>) -> Result<Vec<u8>> {
        Ok(export(self.network, self.provider, &self.records(epochs)?))
    }
}

/// The same records as the consumer has them.
pub(crate) fn of_consumer(records: &[Record]) -> Vec<Record> {
    let turned = records.iter().cloned().map(|record| match record {
        Record::OfferMade(offer) => Record::OfferAccepted(offer),
        Record::ReceiptReceived(receipt) => Record::ReceiptGiven(receipt),
        other @ (Record::OfferAccepted(_) | Record::ReceiptGiven(_) | Record::Equivocation(_)) => {
            other
        }
    });
    turned.collect()
}

pub(crate) fn export(network: &str, owner: &SigningKey, records: &[Record]) -> Vec<u8> {
    let (mut writer, mut bytes) = Writer::create(&SegmentHeader::first(Header {
        network: NetworkId::from_name(network),
        owner: Party::of(owner),
    }));
    for record in records {
        bytes.extend(writer.append(record));
    }
    bytes.extend(writer.end(records.len() as u64));
    bytes
}
