//! The store on a disk that fails and loses power, in virtual time; what needs a real file system is
//! in `directory`.

mod crash;
mod directory;
mod flash;
mod keeping;

use ed25519_dalek::SigningKey;
use receipts::log::{Header, Record, verify};
use receipts::{ContentHash, NetworkId, Offer, Party, Price, Receipt, State, Terms, Totals};

use super::keeper::{ExportRequest, Mail};
use super::model::Model;
use super::segments::{Opened, SegmentLog};

const OWNER: u8 = 7;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn party(seed: u8) -> Party {
    Party::of(&key(seed))
}

fn header() -> Header {
    Header {
        network: NetworkId::from_name("village"),
        owner: party(OWNER),
    }
}

/// What the owner writes as provider of a consumer.
struct Account {
    consumer: u8,
    offer: Option<Offer>,
    last: Option<Receipt>,
}

impl Account {
    fn with(consumer: u8) -> Self {
        Self {
            consumer,
            offer: None,
            last: None,
        }
    }

    fn offer(&mut self) -> Record {
        let epoch = self.offer.as_ref().map_or(1, |offer| offer.epoch() + 1);
        let terms = Terms {
            gateway: party(OWNER),
            price: Price::new(5),
            credit_bytes: 1 << 20,
            previous: ContentHash::NONE,
        };
        let consumer = party(self.consumer);
        let offer = Offer::sign(&key(OWNER), header().network, consumer, epoch, terms);
        self.offer = Some(offer.clone());
        self.last = None;
        Record::OfferMade(offer)
    }

    fn receipt(&mut self) -> Record {
        let offer = self.offer.as_ref().expect("an offer first");
        let up_bytes = self.last.as_ref().map_or(0, |last| last.totals().up_bytes) + (2 << 20);
        let totals = Totals {
            up_bytes,
            down_bytes: 0,
            seconds: 1,
        };
        let receipt = Receipt::sign(&key(self.consumer), offer, self.last.as_ref(), totals);
        let receipt = receipt.unwrap();
        self.last = Some(receipt.clone());
        Record::ReceiptReceived(receipt)
    }

    fn records(&mut self, receipts: usize) -> Vec<Record> {
        let mut records = vec![self.offer()];
        records.extend((0..receipts).map(|_| self.receipt()));
        records
    }
}

fn state_of<'a>(records: impl IntoIterator<Item = &'a Record>) -> State {
    let mut state = State::new(header());
    for record in records {
        state.apply(record).unwrap();
    }
    state
}

/// Segments of some ten records each.
fn open(disk: Model) -> Opened<Model> {
    SegmentLog::open(disk, header(), 2048).unwrap()
}

fn mail(records: impl IntoIterator<Item = Record>, submitted: &mut u64) -> Mail {
    let mut mail = Mail::default();
    for record in records {
        mail.records.push(record);
        *submitted += 1;
    }
    mail.submitted = *submitted;
    mail
}
