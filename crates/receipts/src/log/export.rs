//! What a node carries to the settlement service, or to an auditor.

use std::collections::BTreeMap;

use super::{Header, Record, Writer};
use crate::heading::{Heading, Position};
use crate::identity::{ContentHash, Party};
use crate::receipt::Receipt;

/// A log with the newest receipt of every pair and epoch, the offers they were given under and all
/// proofs of equivocation; in the order of `records`.
///
/// Cumulative receipts make the others superfluous. A receipt whose offer was lost is left out:
/// nobody could check its amount.
pub fn export<'a>(header: &Header, records: impl IntoIterator<Item = &'a Record>) -> Vec<u8> {
    let records: Vec<&Record> = records.into_iter().collect();
    let offers = first_of_each_offer(&records);
    let newest = newest_receipts(&records);
    let (mut writer, mut out) = Writer::create(header);
    for (index, record) in records.into_iter().enumerate() {
        let wanted = match record {
            Record::OfferMade(offer) | Record::OfferAccepted(offer) => {
                offers.get(&offer.hash()) == Some(&index)
                    && newest
                        .values()
                        .any(|(_, receipt)| receipt.offer_hash() == offer.hash())
            }
            Record::ReceiptReceived(receipt) | Record::ReceiptGiven(receipt) => {
                let is_newest = newest.get(&account(receipt.heading())).map(|(i, _)| *i);
                let offer = offers.get(&receipt.offer_hash());
                is_newest == Some(index) && offer.is_some_and(|offer| *offer < index)
            }
            Record::Equivocation(_) => true,
        };
        if wanted {
            out.extend(writer.append(record));
        }
    }
    out
}

type Account = (Party, Party, u64);

fn account(heading: &Heading) -> Account {
    (heading.provider, heading.consumer, heading.position.epoch)
}

/// Where each offer stands first: after an account was adopted from a neighbor it can stand twice.
fn first_of_each_offer(records: &[&Record]) -> BTreeMap<ContentHash, usize> {
    let mut found = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        if let Record::OfferMade(offer) | Record::OfferAccepted(offer) = record {
            found.entry(offer.hash()).or_insert(index);
        }
    }
    found
}

fn newest_receipts<'a>(records: &[&'a Record]) -> BTreeMap<Account, (usize, &'a Receipt)> {
    let mut newest: BTreeMap<Account, (usize, &Receipt)> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        let (Record::ReceiptReceived(receipt) | Record::ReceiptGiven(receipt)) = record else {
            continue;
        };
        let known = newest
            .get(&account(receipt.heading()))
            .map(|(_, known)| known.position());
        let position: Position = receipt.position();
        if known.is_none_or(|known| known < position) {
            newest.insert(account(receipt.heading()), (index, receipt));
        }
    }
    newest
}
