//! What was verified, in exports of a limited length: for whoever takes no longer ones, or over a line that breaks.

use super::{Record, Report, SegmentHeader, Writer};
use crate::offer::Offer;
use crate::receipt::Receipt;

impl Report {
    /// The newest receipt of each epoch with its offer, and the proofs, in exports of at most so many bytes, but
    /// of one epoch or proof at least. Each can be verified by itself. The same report gives the same parts.
    pub fn parts(&self, most_bytes: usize) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        let mut part = Part::begin(self);
        for group in self.groups() {
            if part.records > 0 && part.len_with(&group) > most_bytes {
                parts.push(part.end());
                part = Part::begin(self);
            }
            part.add(&group);
        }
        if part.records > 0 || parts.is_empty() {
            parts.push(part.end());
        }
        parts
    }

    /// What belongs into one export.
    fn groups(&self) -> impl Iterator<Item = Vec<Record>> + '_ {
        let epochs = self.newest.values().filter_map(|receipt| {
            let offer = self.terms.get(&receipt.offer_hash())?;
            Some(self.epoch(offer, receipt))
        });
        let proofs = self.equivocations.iter();
        epochs.chain(proofs.map(|proof| vec![Record::Equivocation(Box::new(proof.clone()))]))
    }

    fn epoch(&self, offer: &Offer, receipt: &Receipt) -> Vec<Record> {
        let (offer, receipt) = (offer.clone(), receipt.clone());
        match receipt.heading().provider == self.header.owner {
            true => vec![Record::OfferMade(offer), Record::ReceiptReceived(receipt)],
            false => vec![Record::OfferAccepted(offer), Record::ReceiptGiven(receipt)],
        }
    }
}

struct Part {
    writer: Writer,
    bytes: Vec<u8>,
    records: u64,
}

impl Part {
    fn begin(report: &Report) -> Self {
        let (writer, bytes) = Writer::create(&SegmentHeader::first(report.header));
        Self {
            writer,
            bytes,
            records: 0,
        }
    }

    fn len_with(&self, records: &[Record]) -> usize {
        let added: usize = records.iter().map(Record::stored_len).sum();
        self.bytes.len() + added + Writer::END_LEN
    }

    fn add(&mut self, records: &[Record]) {
        for record in records {
            self.bytes.extend(self.writer.append(record));
            self.records += 1;
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.bytes.extend(self.writer.end(self.records));
        self.bytes
    }
}
