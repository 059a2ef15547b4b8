//! `redeemd check` as people and scripts see it: output and exit status.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;
use std::process::{Command, Output};

use ed25519_dalek::SigningKey;
use receipts::log::{Header, Record, SegmentHeader, Writer};
use receipts::{ContentHash, MIB, NetworkId, Offer, Party, Price, Receipt, Terms, Totals};
use tempfile::TempDir;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn party(seed: u8) -> Party {
    Party::of(&key(seed))
}

fn network() -> NetworkId {
    NetworkId::from_name("village")
}

/// The offer of provider 1 to consumer 2, and receipts for that many MiB each.
fn account(mebibytes: &[u64]) -> (Offer, Vec<Receipt>) {
    let terms = Terms {
        gateway: party(1),
        price: Price::new(500_000_000_000_000_000),
        credit_bytes: 8 * MIB,
        previous: ContentHash::NONE,
    };
    let offer = Offer::sign(&key(1), network(), party(2), 1, terms);
    let mut receipts: Vec<Receipt> = Vec::new();
    for n in mebibytes {
        let totals = Totals {
            up_bytes: MIB,
            down_bytes: n * MIB,
            seconds: 60,
        };
        receipts.push(Receipt::sign(&key(2), &offer, receipts.last(), totals).unwrap());
    }
    (offer, receipts)
}

fn log(owner: u8, records: &[Record]) -> Vec<u8> {
    let (mut writer, mut bytes) = Writer::create(&SegmentHeader::first(Header {
        network: network(),
        owner: party(owner),
    }));
    for record in records {
        bytes.extend(writer.append(record));
    }
    bytes.extend(writer.end(records.len() as u64));
    bytes
}

fn provider_log() -> Vec<u8> {
    let (offer, receipts) = account(&[1, 2]);
    let mut records = vec![Record::OfferMade(offer)];
    records.extend(receipts.into_iter().map(Record::ReceiptReceived));
    log(1, &records)
}

fn consumer_log(mebibytes: &[u64]) -> Vec<u8> {
    let (offer, receipts) = account(mebibytes);
    let mut records = vec![Record::OfferAccepted(offer)];
    records.extend(receipts.into_iter().map(Record::ReceiptGiven));
    log(2, &records)
}

/// Files with this content, and the command with their names.
fn check(options: &[&str], contents: &[&[u8]]) -> (Output, Vec<PathBuf>) {
    let dir = TempDir::new().unwrap();
    let mut files = Vec::new();
    for (n, content) in contents.iter().enumerate() {
        let file = dir.path().join(format!("{n}.log"));
        std::fs::write(&file, content).unwrap();
        files.push(file);
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_redeemd"));
    (
        command
            .arg("check")
            .args(options)
            .args(&files)
            .output()
            .unwrap(),
        files,
    )
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn rows(output: &Output) -> Vec<Vec<String>> {
    text(&output.stdout)
        .lines()
        .skip(2)
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

#[test]
fn a_sound_log_is_added_up() {
    let (output, _) = check(&["--full-ids"], &[&provider_log()]);
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(0), String::new())
    );
    let title = format!(
        "network {}: verified 1 file, 1 offer, 2 receipts",
        network()
    );
    assert_eq!(text(&output.stdout).lines().next(), Some(title.as_str()));
    let (provider, consumer) = (party(1).to_string(), party(2).to_string());
    let row = [
        &provider, &consumer, "1", "1048576", "2097152", "60", "1.5", "SMT",
    ];
    assert_eq!(rows(&output), [row]);
}

#[test]
fn both_sides_of_an_account_count_once() {
    let (output, _) = check(&[], &[&provider_log(), &consumer_log(&[1, 2, 3])]);
    assert_eq!(output.status.code(), Some(0));
    let rows = rows(&output);
    assert_eq!(rows.len(), 1);
    assert_eq!(
        rows.first().unwrap().get(6).unwrap(),
        "2",
        "the newer receipt"
    );
}

#[test]
fn a_contradiction_between_files_is_named() {
    let (output, _) = check(&[], &[&provider_log(), &consumer_log(&[1, 9])]);
    let line = text(&output.stdout).lines().last().unwrap().to_owned();
    assert!(
        line.starts_with("contradiction: consumer 8139770ea87d175f signed two"),
        "{line}"
    );
}

#[test]
fn a_damaged_file_is_not_added_up() {
    let mut damaged = consumer_log(&[1, 2, 3]);
    let end = damaged.len() - Writer::END_LEN;
    *damaged.get_mut(end - 1).unwrap() ^= 1;
    let (output, files) = check(&[], &[&provider_log(), &damaged]);
    assert_eq!(output.status.code(), Some(1));
    let problem = format!(
        "redeemd: {}: does not verify: record 3 at byte 976: check sum does not match\n",
        files.last().unwrap().display()
    );
    assert_eq!(text(&output.stderr), problem);
    assert_eq!(
        rows(&output).first().unwrap().get(6).unwrap(),
        "1.5",
        "the other file stands"
    );
}

#[test]
fn a_file_that_may_have_been_cut_off_is_named_and_added_up() {
    let mut cut = provider_log();
    cut.truncate(cut.len() - Writer::END_LEN);
    let (output, files) = check(&[], &[&cut]);
    assert_eq!(output.status.code(), Some(1));
    let problem = format!(
        "redeemd: {}: has no end: more may have been cut off\n",
        files.last().unwrap().display()
    );
    assert_eq!(text(&output.stderr), problem);
    assert_eq!(rows(&output).first().unwrap().get(6).unwrap(), "1.5");
}

#[test]
fn a_file_that_is_no_log_does_not_verify() {
    let (output, _) = check(&[], &[b"hello"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).ends_with("not a receipt log\n"));
}

#[test]
fn bad_usage_and_unreadable_files_exit_with_2() {
    let (output, _) = check(&[], &[]);
    assert_eq!(output.status.code(), Some(2));
    let (output, _) = check(&["/nonexistent/receipts.log"], &[&provider_log()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("/nonexistent/receipts.log: cannot be read"));
    assert_eq!(
        rows(&output).len(),
        1,
        "the other file is checked all the same"
    );
}
