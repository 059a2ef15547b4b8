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

use common::{Daemon, assert_golden, meshctl, stderr_of, stdout_of, stdout_with};
use control_api::{
    CarriedFile, CarriedFiles, Imported, Kept, KeptAs, Method, NodeId, PartyRef, ReceiptsChunk,
    RpcError, SCHEMA,
};
use ed25519_dalek::SigningKey;
use receipts::log::{Header, Record, SegmentHeader, Writer};
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
    let (mut writer, mut log) = Writer::create(&SegmentHeader::first(Header {
        network: network(),
        owner: Party::of(&key(owner)),
    }));
    log.extend(records.iter().flat_map(|record| writer.append(record)));
    log.extend(writer.end(records.len() as u64));
    log
}

/// What is left of an export that was cut off behind each of its records.
fn cuts(records: &[Record]) -> Vec<Vec<u8>> {
    let header = SegmentHeader::first(Header {
        network: network(),
        owner: Party::of(&key(1)),
    });
    let (mut writer, mut log) = Writer::create(&header);
    let mut cuts = vec![log.clone()];
    for record in records {
        log.extend(writer.append(record));
        cuts.push(log.clone());
    }
    cuts
}

/// Node 1 earned in two epochs from node 2, and owes node 3.
fn records() -> Vec<Record> {
    let mut records = Vec::new();
    for epoch in [1, 2] {
        let offer = offer(1, 2, epoch);
        records.push(Record::OfferMade(offer.clone()));
        let first = Receipt::sign(&key(2), &offer, None, totals(1)).unwrap();
        let newest = Receipt::sign(&key(2), &offer, Some(&first), totals(2)).unwrap();
        records.push(Record::ReceiptReceived(newest));
    }
    let offer = offer(3, 1, 7);
    records.push(Record::OfferAccepted(offer.clone()));
    let receipt = Receipt::sign(&key(1), &offer, None, totals(5)).unwrap();
    records.push(Record::ReceiptGiven(receipt));
    records
}

/// A daemon that hands an export out in pieces of `piece` bytes.
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
    verify_all(&[file])
}

fn verify_all(files: &[&Path]) -> Output {
    meshctl()
        .args(["receipts", "verify"])
        .args(files)
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
            "schema": SCHEMA,
            "file": file.to_str().unwrap(),
            "bytes": bytes,
            "receipts": 3,
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
    assert_eq!(stderr, "meshctl: the export of meshd: not a receipt log\n");
    assert_eq!(fs::read_to_string(&file).unwrap(), "older");

    assert_eq!(names_in(directory.path()), ["export", "folder"]);
    assert!(names_in(&folder).is_empty());
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
    for length in [0, 103, 104 + 1, log.len() - 1] {
        fs::write(&file, &log[..length]).unwrap();
        stderr_of(&verify(&file), 8);
    }
}

#[test]
fn an_export_that_is_cut_between_two_records_is_incomplete_and_ends_with_8() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export");
    for cut in cuts(&records()) {
        fs::write(&file, cut).unwrap();
        let text = stdout_with(&verify(&file), 8);
        assert!(text.contains("It has no end"), "{text}");
    }
    // What is left of it is shown.
    let text = stdout_with(&verify(&file), 8);
    assert_golden(
        "receipts-verify-incomplete.txt",
        &relative(&text, directory.path()),
    );
    let output = meshctl()
        .args(["--json", "receipts", "verify"])
        .arg(&file)
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_str(&stdout_with(&output, 8)).unwrap();
    assert_eq!(json["files"][0]["complete"], false);
    assert_eq!(
        (&json["valid"], &json["receipts"]),
        (&true.into(), &3.into())
    );
}

#[test]
fn an_export_of_meshd_that_has_no_end_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("export");
    let cut = cuts(&records()).pop().unwrap();

    let stderr = stderr_of(&export(&daemon_with(cut, 100), &file), 1);

    assert!(stderr.contains("has no end"), "{stderr}");
    assert!(!file.exists());
}

#[test]
fn an_incomplete_file_can_be_carried_and_is_said_to_be_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stick");
    let cut = cuts(&records()).pop().unwrap();
    fs::write(&file, &cut).unwrap();

    let text = stdout_of(&import(&importing(cut.clone(), KeptAs::New), &file));
    assert!(text.contains("It has no end"), "{text}");

    let daemon = carrying([cut, log_of_consumer(&[1])]);
    let text = stdout_of(&export_carried(&daemon, directory.path()));
    assert_eq!(
        text.matches("all valid, without an end\n").count(),
        1,
        "{text}"
    );
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

/// Node 2's log of what it owes node 1 in epoch 2, a receipt for each of these MiB.
fn log_of_consumer(mib: &[u64]) -> Vec<u8> {
    let offer = offer(1, 2, 2);
    let mut records = vec![Record::OfferAccepted(offer.clone())];
    let mut last: Option<Receipt> = None;
    for mib in mib {
        let receipt = Receipt::sign(&key(2), &offer, last.as_ref(), totals(*mib)).unwrap();
        records.push(Record::ReceiptGiven(receipt.clone()));
        last = Some(receipt);
    }
    log_of(2, &records)
}

#[test]
fn several_files_are_added_up_and_what_is_in_two_counts_once() {
    let directory = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| directory.path().join(name));
    fs::write(&a, log_of(1, &records())).unwrap();
    fs::write(&b, log_of_consumer(&[1, 2, 4])).unwrap();

    let text = stdout_of(&verify_all(&[&a, &b, &a]));

    assert_golden(
        "receipts-verify-several.txt",
        &relative(&text, directory.path()),
    );
}

#[test]
fn files_that_contradict_each_other_end_with_8_and_name_the_cheat() {
    let directory = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| directory.path().join(name));
    fs::write(&a, log_of(1, &records())).unwrap();
    fs::write(&b, log_of_consumer(&[1, 3])).unwrap();
    stdout_of(&verify(&a));
    stdout_of(&verify(&b));

    let text = stdout_with(&verify_all(&[&a, &b]), 8);

    let [provider, consumer] = [1, 2].map(short);
    let line = format!(
        "\n{consumer} cheated {provider}: two different receipts 2 of epoch 2, one in each of two \
         files\n"
    );
    assert!(text.ends_with(&line), "{text}");
}

#[test]
fn files_of_two_networks_are_not_added_up() {
    let directory = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| directory.path().join(name));
    fs::write(&a, log_of(1, &records())).unwrap();
    let header = Header {
        network: NetworkId::from_name("town"),
        owner: Party::of(&key(1)),
    };
    fs::write(&b, Writer::create(&SegmentHeader::first(header)).1).unwrap();

    let stderr = stderr_of(&verify_all(&[&a, &b]), 8);

    assert!(
        stderr.starts_with(&format!("meshctl: {}: ", b.display())),
        "{stderr}"
    );
    assert!(stderr.contains("in network"), "{stderr}");
}

fn short(node: u8) -> String {
    Party::of(&key(node)).to_string()[..8].to_owned()
}

/// A daemon that takes a file in and says that it kept it.
fn importing(expected: Vec<u8>, outcome: KeptAs) -> Daemon {
    let received = std::sync::Mutex::new(Vec::new());
    Daemon::start(move |method| {
        let Method::ReceiptsImport { offset, data, .. } = method.clone() else {
            panic!("asked for {method:?}")
        };
        let mut received = received.lock().unwrap();
        assert_eq!(offset, received.len() as u64);
        received.extend(data.into_bytes());
        let is_whole = *received == expected;
        let kept = is_whole.then(|| Kept {
            owner: NodeId::new(*Party::of(&key(1)).as_bytes()),
            receipts: 5,
            outcome,
        });
        Imported {
            schema: SCHEMA,
            received_bytes: received.len() as u64,
            kept,
        }
        .into()
    })
}

fn import(daemon: &Daemon, file: &Path) -> Output {
    daemon
        .command(&["receipts", "import"])
        .arg(file)
        .output()
        .unwrap()
}

#[test]
fn an_import_says_whose_receipts_it_handed_over() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stick");
    let log = log_of(1, &records());
    fs::write(&file, &log).unwrap();

    let text = stdout_of(&import(&importing(log.clone(), KeptAs::New), &file));
    assert_golden("receipts-import.txt", &relative(&text, directory.path()));

    let text = stdout_of(&import(&importing(log.clone(), KeptAs::Newer), &file));
    assert!(text.ends_with("in place of an older file.\n"), "{text}");
    let text = stdout_of(&import(&importing(log.clone(), KeptAs::Held), &file));
    assert!(text.ends_with("meshd carries them already.\n"), "{text}");

    let output = importing(log, KeptAs::New)
        .command(&["--json", "receipts", "import"])
        .arg(&file)
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_str(&stdout_of(&output)).unwrap();
    assert_eq!(json["outcome"], "new");
    assert_eq!(json["schema"], SCHEMA);
    assert_eq!(json["pairs"].as_array().unwrap().len(), 2);
}

#[test]
fn a_file_that_does_not_hold_never_reaches_the_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stick");
    let daemon = Daemon::start(|method| panic!("asked for {method:?}"));
    let log = log_of(1, &records());
    for at in (0..log.len()).step_by(131) {
        let mut changed = log.clone();
        changed[at] ^= 4;
        fs::write(&file, &changed).unwrap();
        stderr_of(&import(&daemon, &file), 8);
        fs::write(&file, &log[..at]).unwrap();
        let code = import(&daemon, &file).status.code().unwrap();
        assert!(code == 8 || log_ends_at(&log[..at]), "cut at {at}: {code}");
    }
    stderr_of(&import(&daemon, &directory.path().join("missing")), 4);
    fs::write(&file, vec![0; (1 << 20) + 1]).unwrap();
    let stderr = stderr_of(&import(&daemon, &file), 1);
    assert!(stderr.contains("longer than 1048576 bytes"), "{stderr}");
}

/// Whether a cut falls between two records, so that a whole file is left.
fn log_ends_at(log: &[u8]) -> bool {
    receipts::log::verify(log).is_ok()
}

#[test]
fn what_the_daemon_refuses_to_carry_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("stick");
    fs::write(&file, log_of(1, &records())).unwrap();
    let daemon = Daemon::start(|_| {
        common::Reaction::Answer(Err(RpcError::failed("No space left on device")))
    });

    let output = import(&daemon, &file);

    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, "meshctl: No space left on device\n");
}

/// A daemon that carries the files of nodes 1 and 2 as given.
fn carrying(files: [Vec<u8>; 2]) -> Daemon {
    Daemon::start(move |method| {
        let file = |node: u8, bytes: &Vec<u8>| CarriedFile {
            owner: PartyRef {
                node_id: NodeId::new(*Party::of(&key(node)).as_bytes()),
                name: None,
            },
            bytes: bytes.len() as u64,
        };
        if *method == Method::ReceiptsCarried {
            return CarriedFiles {
                schema: SCHEMA,
                files: vec![file(1, &files[0]), file(2, &files[1])],
            }
            .into();
        }
        let Method::ReceiptsExportCarried { owner, offset } = *method else {
            panic!("asked for {method:?}")
        };
        let is_first = owner.as_bytes() == Party::of(&key(1)).as_bytes();
        let file = &files[usize::from(!is_first)];
        let from = usize::try_from(offset).unwrap();
        ReceiptsChunk {
            schema: SCHEMA,
            generation: 0,
            offset,
            total_bytes: file.len() as u64,
            data: file[from..file.len().min(from + 100)].to_vec().into(),
        }
        .into()
    })
}

fn export_carried(daemon: &Daemon, directory: &Path) -> Output {
    daemon
        .command(&["receipts", "export", "--carried"])
        .arg(directory)
        .output()
        .unwrap()
}

#[test]
fn carried_receipts_are_written_to_files_that_verify() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let files = [log_of(1, &records()), log_of_consumer(&[1, 2])];

    let text = stdout_of(&export_carried(&carrying(files.clone()), &out));

    assert_golden(
        "receipts-export-carried.txt",
        &relative(&text, directory.path()),
    );
    for (node, file) in [1, 2].into_iter().zip(files) {
        let path = out.join(format!("{}.receipts", Party::of(&key(node))));
        assert_eq!(fs::read(&path).unwrap(), file);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        stdout_of(&verify(&path));
    }
}

#[test]
fn a_carried_file_that_does_not_hold_any_more_is_left_out_and_said() {
    let directory = tempfile::tempdir().unwrap();
    let mut damaged = log_of(1, &records());
    damaged[500] ^= 1;

    let text = stdout_with(
        &export_carried(
            &carrying([damaged, log_of_consumer(&[1, 2])]),
            directory.path(),
        ),
        8,
    );

    assert!(text.contains("not exported"), "{text}");
    let owner = Party::of(&key(2));
    assert_eq!(names_in(directory.path()), [format!("{owner}.receipts")]);
}
