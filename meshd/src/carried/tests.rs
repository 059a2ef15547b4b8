use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use receipts::log::{Record, SegmentHeader, Writer};
use receipts::{ContentHash, MIB, Offer, Price, Receipt, Terms, Totals};
use std::os::unix::fs::PermissionsExt;

use super::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn party(seed: u8) -> Party {
    Party::of(&key(seed))
}

fn network() -> NetworkId {
    NetworkId::from_name("village")
}

/// A file of `owner` with `count` receipts of one epoch, each of so many MiB.
fn file_of(owner: u8, epoch: u64, mib: &[u64]) -> Vec<u8> {
    file_in(network(), owner, epoch, mib)
}

fn file_in(network: NetworkId, owner: u8, epoch: u64, mib: &[u64]) -> Vec<u8> {
    let terms = Terms {
        gateway: party(9),
        price: Price::new(1000),
        credit_bytes: 8 * MIB,
        previous: ContentHash::NONE,
    };
    let offer = Offer::sign(&key(owner), network, party(200), epoch, terms);
    let mut records = vec![Record::OfferMade(offer.clone())];
    let mut last: Option<Receipt> = None;
    for mib in mib {
        let totals = Totals {
            down_bytes: mib * MIB,
            ..Totals::ZERO
        };
        let receipt = Receipt::sign(&key(200), &offer, last.as_ref(), totals).unwrap();
        records.push(Record::ReceiptReceived(receipt.clone()));
        last = Some(receipt);
    }
    log_of(network, owner, &records)
}

fn log_of(network: NetworkId, owner: u8, records: &[Record]) -> Vec<u8> {
    let (mut writer, mut log) = Writer::create(&SegmentHeader::first(Header {
        network,
        owner: party(owner),
    }));
    log.extend(records.iter().flat_map(|record| writer.append(record)));
    log
}

/// The same as an export has it.
fn with_end(mut file: Vec<u8>, records: u64) -> Vec<u8> {
    let header = SegmentHeader::parse(&file).unwrap();
    let writer = log::recover(&file, &header).unwrap().writer;
    file.extend(writer.end(records));
    file
}

fn carried(state: &Path) -> Carried {
    Carried::within(state, network(), party(1))
}

fn shelf(state: &Path) -> Shelf {
    carried(state).shelf().clone()
}

fn whole(shelf: &Shelf, owner: u8) -> Vec<u8> {
    shelf.read(party(owner), 0, usize::MAX).unwrap().data
}

/// Imports in pieces, and waits for the answer to each.
fn import(carried: &mut Carried, file: &[u8], piece: usize) -> Result<Progress, CarriedError> {
    let mut offset = 0;
    let mut last = None;
    for piece in file.chunks(piece) {
        let place = (offset, file.len() as u64);
        last = Some(import_piece(carried, place, piece)?);
        offset += piece.len() as u64;
    }
    Ok(last.unwrap())
}

fn import_piece(
    carried: &mut Carried,
    place: (u64, u64),
    piece: &[u8],
) -> Result<Progress, CarriedError> {
    let (sender, receiver) = mpsc::channel();
    carried.import(place, piece, move |outcome| sender.send(outcome).unwrap());
    let outcome = receiver.recv().unwrap();
    // The answer comes a moment before the thread is gone.
    if let Some(thread) = carried.checking.take() {
        thread.join().unwrap();
    }
    outcome
}

#[test]
fn a_file_arrives_in_pieces_and_is_kept_as_it_is() {
    let state = tempfile::tempdir().unwrap();
    let file = file_of(2, 1, &[1, 2]);
    for piece in [1, 100, file.len() - 1, file.len()] {
        let progress = import(&mut carried(state.path()), &file, piece).unwrap();
        assert_eq!(progress.received_bytes, file.len() as u64);
        let kept = progress.kept.unwrap();
        assert_eq!((kept.owner, kept.receipts), (party(2), 2));
    }
    let shelf = shelf(state.path());
    assert_eq!(shelf.list().unwrap(), [(party(2), file.len() as u64)]);
    assert_eq!(whole(&shelf, 2), file);
    let path = shelf.path(party(2));
    let mode = fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let mode = fs::metadata(&shelf.directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
}

#[test]
fn a_whole_file_takes_the_place_of_one_that_may_be_cut_off_and_never_the_other_way_round() {
    let state = tempfile::tempdir().unwrap();
    let shelf = shelf(state.path());
    let cut = file_of(2, 1, &[1]);
    let whole_file = with_end(cut.clone(), 2);
    assert_eq!(shelf.keep(&cut).unwrap().outcome, KeptAs::New);
    assert_eq!(shelf.keep(&whole_file).unwrap().outcome, KeptAs::Newer);
    assert_eq!(shelf.keep(&cut).unwrap().outcome, KeptAs::Held);
    assert_eq!(whole(&shelf, 2), whole_file);
    // What has more counts more.
    let more = file_of(2, 1, &[1, 2]);
    assert_eq!(shelf.keep(&more).unwrap().outcome, KeptAs::Newer);
    assert_eq!(shelf.keep(&whole_file).unwrap().outcome, KeptAs::Held);
}

#[test]
fn a_file_is_read_in_pieces() {
    let state = tempfile::tempdir().unwrap();
    let shelf = shelf(state.path());
    let file = file_of(2, 1, &[1]);
    shelf.keep(&file).unwrap();

    let piece = shelf.read(party(2), 10, 7).unwrap();

    assert_eq!(piece.data, file[10..17]);
    assert_eq!(piece.total_bytes, file.len() as u64);
    let beyond = file.len() as u64 + 1;
    assert!(matches!(
        shelf.read(party(2), beyond, 7),
        Err(CarriedError::OutOfPlace)
    ));
    assert!(matches!(
        shelf.read(party(3), 0, 7),
        Err(CarriedError::NotFound(_))
    ));
}

#[test]
fn the_newer_file_of_an_owner_stays_in_whatever_order_they_come() {
    let (older, newer) = (file_of(2, 1, &[1]), file_of(2, 1, &[1, 2]));
    for order in [[&older, &newer], [&newer, &older]] {
        let state = tempfile::tempdir().unwrap();
        let shelf = shelf(state.path());
        let outcomes = order.map(|file| shelf.keep(file).unwrap().outcome);
        assert_eq!(whole(&shelf, 2), newer);
        let second = match order[1] == &newer {
            true => KeptAs::Newer,
            false => KeptAs::Held,
        };
        assert_eq!(outcomes, [KeptAs::New, second]);
        assert_eq!(shelf.keep(&newer).unwrap().outcome, KeptAs::Held);
    }
}

#[test]
fn of_files_that_lack_something_of_each_other_the_first_stays() {
    let state = tempfile::tempdir().unwrap();
    let shelf = shelf(state.path());
    let file = file_of(2, 1, &[1]);
    shelf.keep(&file).unwrap();
    for other in [file_of(2, 2, &[1]), file_of(2, 1, &[3])] {
        assert!(matches!(shelf.keep(&other), Err(CarriedError::Differs(_))));
        assert_eq!(whole(&shelf, 2), file);
    }
    // Another owner's is another matter.
    shelf.keep(&file_of(3, 1, &[1])).unwrap();
    assert_eq!(shelf.list().unwrap().len(), 2);
}

#[test]
fn a_damaged_file_gives_way() {
    let state = tempfile::tempdir().unwrap();
    let shelf = shelf(state.path());
    let file = file_of(2, 1, &[1]);
    shelf.keep(&file_of(2, 1, &[1, 2])).unwrap();
    let path = shelf.path(party(2));
    fs::write(&path, b"worn flash").unwrap();

    assert_eq!(shelf.keep(&file).unwrap().outcome, KeptAs::Newer);

    assert_eq!(whole(&shelf, 2), file);
}

#[test]
fn there_is_room_for_16_owners() {
    let state = tempfile::tempdir().unwrap();
    let shelf = shelf(state.path());
    for owner in 2..18 {
        shelf.keep(&file_of(owner, 1, &[1])).unwrap();
    }
    let refused = shelf.keep(&file_of(18, 1, &[1]));
    assert!(matches!(refused, Err(CarriedError::TooMany(_))));
    shelf.keep(&file_of(17, 1, &[1, 2])).unwrap();
    fs::remove_file(shelf.path(party(2))).unwrap();
    shelf.keep(&file_of(18, 1, &[1])).unwrap();
}

#[test]
fn files_of_this_node_and_of_other_networks_are_refused() {
    let state = tempfile::tempdir().unwrap();
    let shelf = shelf(state.path());
    let own = shelf.keep(&file_of(1, 1, &[1]));
    assert!(matches!(own, Err(CarriedError::Own)));
    let foreign = NetworkId::from_name("town");
    let refused = shelf.keep(&file_in(foreign, 2, 1, &[1]));
    assert!(matches!(refused, Err(CarriedError::ForeignNetwork(_))));
    assert!(matches!(shelf.keep(&[]), Err(CarriedError::Length(0))));
    let long = vec![0; MAX_BYTES + 1];
    assert!(matches!(shelf.keep(&long), Err(CarriedError::Length(_))));
    assert!(shelf.list().unwrap().is_empty());
}

#[test]
fn a_signature_that_is_not_valid_is_found_out() {
    let state = tempfile::tempdir().unwrap();
    let shelf = shelf(state.path());
    let file = file_of(2, 1, &[1]);
    shelf.keep(&file).unwrap();
    // Sound frames around a receipt that nobody signed.
    let offer = file_of(2, 1, &[]);
    let receipt = Receipt::parse(&file[file.len() - Receipt::LEN..]).unwrap();
    let mut bytes = receipt.to_bytes();
    *bytes.last_mut().unwrap() ^= 1;
    let forged = Receipt::parse(&bytes).unwrap();
    let recovered = log::recover(
        &offer,
        &SegmentHeader::first(Header {
            network: network(),
            owner: party(2),
        }),
    );
    let mut records = recovered.unwrap().records;
    records.push(Record::ReceiptReceived(forged));
    let refused = shelf.keep(&log_of(network(), 2, &records));
    assert!(matches!(refused, Err(CarriedError::Invalid(_))));
    assert_eq!(whole(&shelf, 2), file);
}

#[test]
fn pieces_out_of_place_are_refused_and_change_nothing() {
    let state = tempfile::tempdir().unwrap();
    let mut carried = carried(state.path());
    let file = file_of(2, 1, &[1]);
    let total = file.len() as u64;
    let mut take = |place, piece: &[u8]| import_piece(&mut carried, place, piece);

    assert!(take((5, total), &file[5..]).is_err(), "nothing has begun");
    take((0, total), &file[..100]).unwrap();
    assert!(
        take((100, total + 1), &file[100..]).is_err(),
        "another file"
    );
    assert!(take((101, total), &file[101..]).is_err(), "a gap");
    take((100, total), &file[100..200]).unwrap();
    assert!(take((0, MAX_BYTES as u64 + 1), &file).is_err(), "too long");
    let kept = take((200, total), &file[200..]).unwrap().kept.unwrap();
    assert_eq!(kept.outcome, KeptAs::New);

    take((0, total), &file[..100]).unwrap();
    take((0, total), &file[..200]).unwrap();
    assert!(take((200, total), &[0; 5000]).is_err(), "beyond the end");
    assert!(take((200, total), &file[200..]).is_err(), "that ended it");
}

#[test]
fn while_a_file_is_checked_another_has_to_wait() {
    let state = tempfile::tempdir().unwrap();
    let mut carried = carried(state.path());
    let file = file_of(2, 1, &[1]);
    let (go, wait) = mpsc::channel::<()>();
    let (sender, receiver) = mpsc::channel();
    let place = (0, file.len() as u64);
    let done = sender.clone();
    carried.import(place, &file, move |outcome| {
        wait.recv().unwrap();
        done.send(outcome).unwrap();
    });

    carried.import(place, &file, move |outcome| sender.send(outcome).unwrap());

    let refused = receiver.recv().unwrap();
    assert!(matches!(refused, Err(CarriedError::Busy)), "{refused:?}");
    go.send(()).unwrap();
    assert!(receiver.recv().unwrap().is_ok());
}

#[test]
fn what_the_file_system_refuses_is_said_and_loses_nothing() {
    let state = tempfile::tempdir().unwrap();
    let shelf = shelf(state.path());
    // Root may write anywhere: a file where the directory should be stops even root.
    fs::write(&shelf.directory, b"in the way").unwrap();

    let refused = shelf.keep(&file_of(2, 1, &[1])).unwrap_err();

    let message = refused.to_string();
    assert!(message.contains("carried"), "{message}");
    assert!(message.contains("Not a directory"), "{message}");
    assert!(shelf.list().is_err());

    fs::remove_file(&shelf.directory).unwrap();
    let file = file_of(2, 1, &[1]);
    shelf.keep(&file).unwrap();
    let draft = shelf.path(party(2)).with_extension("draft");
    fs::create_dir(&draft).unwrap();
    let refused = shelf.keep(&file_of(2, 1, &[1, 2])).unwrap_err();
    assert!(matches!(refused, CarriedError::Io { .. }), "{refused}");
    assert_eq!(whole(&shelf, 2), file);
}

#[test]
fn what_else_lies_in_the_directory_is_not_a_file_of_an_owner() {
    let state = tempfile::tempdir().unwrap();
    let shelf = shelf(state.path());
    shelf.keep(&file_of(2, 1, &[1])).unwrap();
    let upper = party(3).to_string().to_ascii_uppercase();
    for name in ["notes.receipts", "x", &format!("{upper}.receipts")] {
        fs::write(shelf.directory.join(name), b"x").unwrap();
    }
    assert_eq!(shelf.list().unwrap().len(), 1);
}

/// Files that somebody made from a valid one: cut, changed, lengthened, or nothing of it.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let file = file_of(2, 1, &[1, 2, 3]);
    let len = file.len();
    let changed = (Just(file.clone()), 0..len, 1..=255_u8).prop_map(|(mut file, at, bits)| {
        file[at] ^= bits;
        file
    });
    let cut = (Just(file.clone()), 0..len).prop_map(|(file, at)| file[..at].to_vec());
    let longer = (Just(file), prop::collection::vec(any::<u8>(), 1..600))
        .prop_map(|(file, more)| [file, more].concat());
    prop_oneof![
        changed,
        cut,
        longer,
        prop::collection::vec(any::<u8>(), 0..600)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn files_of_any_bytes_never_crash_and_never_replace_a_valid_one(
        files in prop::collection::vec(hostile(), 1..4),
        piece in 1..5000_usize,
    ) {
        let state = tempfile::tempdir().unwrap();
        let mut carried = carried(state.path());
        let valid = file_of(2, 1, &[1]);
        carried.shelf().keep(&valid).unwrap();
        for file in files.iter().filter(|file| !file.is_empty()) {
            // A cut between two records leaves a valid file, which holds more or less.
            let sound = log::verify(file).ok();
            let outcome = import(&mut carried, file, piece);
            prop_assert_eq!(outcome.is_ok(), sound.is_some());
            let kept = whole(carried.shelf(), 2);
            prop_assert!(kept == valid || sound.is_some() && kept == *file);
            let report = log::verify(&kept).unwrap();
            prop_assert!(report.covers(&log::verify(&valid).unwrap()));
        }
        prop_assert_eq!(carried.shelf().list().unwrap().len(), 1);
    }
}
