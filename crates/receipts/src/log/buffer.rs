//! Records on their way to the disk.

use super::{Record, epoch_of};

/// Records in the order in which they are to be written, of the receipts of each epoch only the
/// newest. So what waits is bounded by the number of accounts, not by traffic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Buffer {
    records: Vec<Record>,
}

impl Buffer {
    /// Adds a record. A receipt takes the place of an older one of its epoch, so it stays behind
    /// its offer.
    pub fn push(&mut self, record: Record) {
        let mut known = self.records.iter_mut();
        match known.find(|known| known.covers_the_same(&record)) {
            Some(known) if known.heading().position < record.heading().position => *known = record,
            Some(_) => {}
            None => self.records.push(record),
        }
    }

    /// In the order in which they are to be written.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether a record waits that must not.
    pub fn is_urgent(&self) -> bool {
        self.records.iter().any(Record::is_urgent)
    }
}

impl Record {
    /// Whether one of the two makes the other superfluous.
    fn covers_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::ReceiptReceived(one), Self::ReceiptReceived(two))
            | (Self::ReceiptGiven(one), Self::ReceiptGiven(two)) => {
                epoch_of(one.heading()) == epoch_of(two.heading())
            }
            (
                Self::OfferMade(_)
                | Self::OfferAccepted(_)
                | Self::ReceiptReceived(_)
                | Self::ReceiptGiven(_)
                | Self::Equivocation(_),
                _,
            ) => self == other,
        }
    }
}
