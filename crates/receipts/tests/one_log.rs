//! A log that every machine writes alike. With `WRITE_LOG=FILE` it is written there, for another machine to
//! read and compare: `tests/cross/run.sh`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod common;

use std::{env, fs};

use common::{network, offer, party, receipts};
use receipts::log::{Header, Record, SegmentHeader, Writer, recover, verify};

fn first() -> SegmentHeader {
    SegmentHeader::first(Header {
        network: network(),
        owner: party(1),
    })
}

fn records() -> Vec<Record> {
    let offer = Record::OfferMade(offer());
    let receipts = receipts(3).into_iter().map(Record::ReceiptReceived);
    [offer].into_iter().chain(receipts).collect()
}

#[test]
fn a_log_is_written_and_read() {
    let records = records();
    let (mut writer, mut log) = Writer::create(&first());
    log.extend(records.iter().flat_map(|record| writer.append(record)));
    // The daemon's own have no end, exports have.
    let recovered = recover(&log, &first()).unwrap();
    assert_eq!(recovered.records, records);
    assert_eq!(recovered.cut, None);
    log.extend(writer.end(records.len() as u64));
    verify(&log).unwrap();
    if let Some(file) = env::var_os("WRITE_LOG") {
        fs::write(file, log).unwrap();
    }
}
