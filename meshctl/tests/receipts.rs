//! Receipts in a file: exported from a daemon, checked without one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use common::{Daemon, assert_golden, meshctl, stderr_of, stdout_of};
use control_api::{Method, ReceiptsChunk, RpcError, SCHEMA};
use ed25519_dalek::SigningKey;
use receipts::log::{Header, Record, Writer};
use receipts::{ContentHash, Equivocation, NetworkId, Offer, Party, Price, Receipt, Terms, Totals};

/// 0.0015 SMT.
const PRICE: Price = Price::new(1_500_000_000_000_000);

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

fn network() -> NetworkId {
    NetworkId::from_name("village")
}

fn offer(provider: u8, consumer: u8, epoch: u64) -> Offer {
    let consumer = Party::of(&key(consumer));
    let terms = Terms {
        gateway: Party::of(&key(provider)),
        price: PRICE,
        credit_bytes: 8 << 20,
        previous: ContentHash::NONE,
    };
    Offer::sign(&key(provider), network(), consumer, epoch, terms)
}

fn totals(mib: u64) -> Totals {
    Totals {
        up_bytes: mib << 20,
        down_bytes: mib << 24,
        seconds: 60,
    }
}

fn log_of(owner: u8, records: &[Record]) -> Vec<u8> {
    let (mut writer, mut log) = Writer::create(&Header {
        network: network(),
        owner: Party::of(&key(owner)),
    });
    log.extend(records.iter().flat_map(|record| writer.append(record)));
    log
}

/// Node 1 earned in two epochs from node 2, and owes node 3; three receipts were replaced.
fn records() -> Vec<Record> {
    let mut records = Vec::new();
    for epoch in [1, 2] {
        let offer = offer(1, 2, epoch);
        records.push(Record::OfferMade(offer.clone()));
        let mut last: Option<Receipt> = None;
        for mib in [1, 2] {
            let receipt = Receipt::sign(&key(2), &offer, last.as_ref(), totals(mib)).unwrap();
            records.push(Record::ReceiptReceived(receipt.clone()));
            last = Some(receipt);
        }
    }
    let offer = offer(3, 1, 7);
    records.push(Record::OfferAccepted(offer.clone()));
    let receipt = Receipt::sign(&key(1), &offer, None, totals(5)).unwrap();
    records.push(Record::ReceiptGiven(receipt));
    records
}

/// A daemon that hands its log out in pieces of `piece` bytes.
fn daemon_with(log: Vec<u8>, piece: usize) -> Daemon {
    Daemon::start(move |method| {
        let Method::ReceiptsExport { offset } = *method else {
            panic!("asked for {method:?}")
        };
        let Some(rest) = usize::try_from(offset)
            .ok()
            .and_then(|offset| log.get(offset..))
        else {
            return common::Reaction::Answer(Err(RpcError::invalid_params("beyond the end")));
        };
        let data = rest[..rest.len().min(piece)].to_vec().into();
        let total_bytes = log.len() as u64;
        ReceiptsChunk {
            schema: SCHEMA,
            generation: 0,
            offset,
            total_bytes,
            data,
        }
        .into()
    })
}

fn export(daemon: &Daemon, file: &Path) -> Output {
    daemon
        .command(&["receipts", "export"])
        .arg(file)
        .output()
        .unwrap()
}

fn verify(file: &Path) -> Output {
    meshctl()
        .args(["receipts", "verify"])
        .arg(file)
        .output()
        .unwrap()
}

/// The output without the directory, which is another in every run.
fn relative(text: &str, directory: &Path) -> String {
    text.replace(&format!("{}/", directory.display()), "")
}

#[test]
fn an_export_can_be_verified_and_says_who_owes_what() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export");
    let daemon = daemon_with(log_of(1, &records()), 100);

    let exported = stdout_of(&export(&daemon, &file));
    let verified = stdout_of(&verify(&file));
    let json = stdout_of(
        &meshctl()
            .args(["--json", "receipts", "verify"])
            .arg(&file)
            .output()
            .unwrap(),
    );

    assert_golden(
        "receipts-export.txt",
        &relative(&exported, directory.path()),
    );
    assert_golden(
        "receipts-verify.txt",
        &relative(&verified, directory.path()),
    );
    assert_golden("receipts-verify.json", &relative(&json, directory.path()));
}

#[test]
fn an_export_in_json_counts_what_it_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export");
    let daemon = daemon_with(log_of(1, &records()), 1 << 16);

    let output = daemon
        .command(&["--json", "receipts", "export"])
        .arg(&file)
        .output()
        .unwrap();

    let json: serde_json::Value = serde_json::from_str(&stdout_of(&output)).unwrap();
    let bytes = fs::metadata(&file).unwrap().len();
    assert_eq!(
        json,
        serde_json::json!({
            "schema": 1,
            "file": file.to_str().unwrap(),
            "bytes": bytes,
            "receipts": 3,
            "unreadable_bytes": 0,
        })
    );
}

#[test]
fn an_export_is_for_its_owner_and_replaces_what_was_there() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export");
    fs::write(&file, "older").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let daemon = daemon_with(log_of(1, &records()), 1 << 16);

    stdout_of(&export(&daemon, &file));

    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    stdout_of(&verify(&file));
    assert_eq!(names_in(directory.path()), ["export"]);
}

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn an_export_that_fails_leaves_everything_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon_with(log_of(1, &records()), 1 << 16);

    stderr_of(
        &export(&daemon, &directory.path().join("missing/export")),
        4,
    );

    let folder = directory.path().join("folder");
    fs::create_dir(&folder).unwrap();
    stderr_of(&export(&daemon, &folder), 1);
    stderr_of(&export(&daemon, Path::new("/")), 1);

    let file = directory.path().join("export");
    fs::write(&file, "older").unwrap();
    let broken = daemon_with(b"not a log".to_vec(), 100);
    let stderr = stderr_of(&export(&broken, &file), 1);
    assert_eq!(stderr, "meshctl: the log of meshd: not a receipt log\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), "older");

    assert_eq!(names_in(directory.path()), ["export", "folder"]);
    assert!(names_in(&folder).is_empty());
}

/// Records after a damage stand for themselves; only what lies in it is lost.
#[test]
fn an_export_of_a_damaged_log_is_valid_and_says_what_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export");
    let mut log = log_of(1, &records());
    // In the first receipt, which a later one replaces.
    let within = log_of(1, &records()[..1]).len() + 50;
    log[within] ^= 1;
    let daemon = daemon_with(log, 1 << 16);

    let text = stdout_of(&export(&daemon, &file));

    assert!(text.contains("3 receipts"), "{text}");
    assert!(
        text.ends_with("is damaged: 296 bytes could not be used.\n"),
        "{text}"
    );
    let verified = verify(&file);
    assert_eq!(
        verified.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
}

#[test]
fn a_changed_file_ends_with_8() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export");
    let log = log_of(1, &records());
    for at in (0..log.len()).step_by(97) {
        let mut changed = log.clone();
        changed[at] ^= 0x10;
        fs::write(&file, &changed).unwrap();
        let stderr = stderr_of(&verify(&file), 8);
        assert!(
            stderr.starts_with(&format!("meshctl: {}: ", file.display())),
            "{stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    for length in [0, 63, 64 + 1, log.len() - 1] {
        fs::write(&file, &log[..length]).unwrap();
        stderr_of(&verify(&file), 8);
    }
}

#[test]
fn a_file_that_is_not_there_ends_with_4() {
    let directory = tempfile::tempdir().unwrap();

    let stderr = stderr_of(&verify(&directory.path().join("missing")), 4);

    assert!(stderr.contains("No such file"), "{stderr}");
}

#[test]
fn a_cheating_consumer_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export");
    let offer = offer(1, 2, 1);
    let [first, second] =
        [1, 2].map(|mib| Receipt::sign(&key(2), &offer, None, totals(mib)).unwrap());
    let proof = Equivocation::between(&first, &second).unwrap();
    let records = [
        Record::OfferMade(offer),
        Record::ReceiptReceived(second),
        Record::Equivocation(Box::new(proof)),
    ];
    fs::write(&file, log_of(1, &records)).unwrap();

    let text = stdout_of(&verify(&file));

    let [provider, consumer] = [1, 2].map(|byte| Party::of(&key(byte)).to_string()[..8].to_owned());
    let line = format!("\n{consumer} cheated {provider}: two different receipts 1 of epoch 1\n");
    assert!(text.ends_with(&line), "{text}");
}
