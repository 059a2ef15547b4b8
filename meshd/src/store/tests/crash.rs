//! Loss of power at every byte of a write and at every step of a compaction.

use std::collections::BTreeMap;

use receipts::log::{CutReason, SegmentHeader, Writer};

use super::super::model::{Tail, Trouble};
use super::super::recovery::Finding;
use super::super::segments::SEGMENT_BYTES;
use super::*;

/// A segment that begins the log, with the end of each record.
fn segment(header: SegmentHeader, records: &[Record]) -> (Vec<u8>, Vec<usize>, SegmentHeader) {
    let (mut writer, mut bytes) = Writer::create(&header);
    let mut ends = vec![bytes.len()];
    for record in records {
        bytes.extend(writer.append(record));
        ends.push(bytes.len());
    }
    let next = SegmentHeader {
        number: header.number + 1,
        previous: writer.last(),
        ..header
    };
    (bytes, ends, next)
}

fn disk(files: &[(&str, &[u8])]) -> Model {
    let files = files
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
    Model::with_files(files.collect())
}

/// Segments of two records each.
fn open_short(disk: Model) -> Opened<Model> {
    SegmentLog::open(disk, header(), 600).unwrap()
}

#[test]
fn a_write_torn_at_any_byte_of_the_last_segment_loses_nothing_before_it() {
    let (mut one, mut two) = (Account::with(2), Account::with(3));
    let sealed = one.records(4);
    let last = [two.records(1), vec![one.receipt()]].concat();
    let (first_bytes, _, second) = segment(SegmentHeader::first(header()), &sealed);
    let (bytes, ends, _) = segment(second, &last);
    // What was cut off earlier may show again: records that were never acknowledged.
    let old = segment(second, &Account::with(4).records(4)).0;
    let more = Account::with(5).records(1);

    for synced in 0..=bytes.len() {
        let whole = ends.iter().filter(|end| **end <= synced).count();
        let whole = &last[..whole.saturating_sub(1)];
        let expected = state_of(sealed.iter().chain(whole));
        for tail in Tail::ALL {
            let torn = tail.tear(&old, synced, &bytes[synced..], 0);
            let torn = [&bytes[..synced], &torn[synced.min(torn.len())..]].concat();
            let model = disk(&[("00000001.log", &first_bytes), ("00000002.log", &torn)]);
            let opened = open_short(model.clone());

            let note = format!("synced {synced}, {tail:?}: {:?}", opened.findings);
            assert_holds(&opened.state, &expected, &note);
            if tail == Tail::Nothing {
                assert_eq!(opened.state, expected, "{note}");
                assert!(opened.findings.iter().all(Finding::is_ordinary), "{note}");
            }
            let state = opened.state.clone();
            go_on(opened.log, &more);
            let again = open_short(model);
            assert_eq!(again.findings, [], "{note}");
            assert_kept(&again.state, &state, &note);
            assert_kept(&again.state, &state_of(&more), &note);
        }
    }
}

fn go_on(mut log: SegmentLog<Model>, more: &[Record]) {
    log.append(more).unwrap();
    if log.wants_compaction() {
        log.compact().unwrap();
    }
}

fn assert_holds(state: &State, expected: &State, note: &str) {
    for (peer, pair) in expected.providing() {
        assert_eq!(state.providing().get(peer), Some(pair), "{note}");
    }
}

/// The same after a compaction, which takes out what was only offered to strangers.
fn assert_kept(state: &State, expected: &State, note: &str) {
    let pairs = expected.providing().iter();
    for (peer, pair) in pairs.filter(|(_, pair)| pair.has_receipt()) {
        assert_eq!(state.providing().get(peer), Some(pair), "{note}");
    }
}

/// A log of several segments, and what is in it.
fn grown() -> (Model, State) {
    let model = Model::new();
    let mut log = open(model.clone()).log;
    let mut records = Vec::new();
    for consumer in 2..8 {
        let batch = Account::with(consumer).records(9);
        log.append(&batch).unwrap();
        records.extend(batch);
    }
    (model, state_of(&records))
}

#[test]
fn compaction_leaves_what_counts_in_few_segments() {
    let (model, state) = grown();
    let mut log = open(model.clone()).log;
    assert_eq!(model.files().len(), 6);
    assert!(log.wants_compaction());

    log.compact().unwrap();

    let files = model.files();
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        ["00000007.log", "00000008.log"]
    );
    assert!(!log.wants_compaction());
    let again = open(model);
    assert_eq!((again.state, again.findings), (state, vec![]));
}

#[test]
fn a_crash_at_any_step_of_a_compaction_loses_nothing() {
    let (grown, state) = grown();
    for tail in Tail::ALL {
        for step in 0.. {
            let model = Model::with_files(grown.files());
            let mut log = open(model.clone()).log;
            model.set_trouble(Trouble::PowerCut(step, tail));
            let _ = log.compact();
            if model.has_power() {
                assert!(step > 10, "{step}");
                break;
            }
            for left in model.after_power_cut() {
                let note = format!("step {step}, {tail:?}: {:?}", left.files().keys());
                let Opened {
                    mut log,
                    state: found,
                    findings,
                } = open(left.clone());
                assert_eq!(found, state, "{note}");
                assert_eq!(findings, [], "{note}");
                // What the crash left is cleaned up, and the log goes on.
                log.remove_temporaries();
                log.compact().unwrap();
                let more = Account::with(9).records(1);
                log.append(&more).unwrap();
                let again = open(left.clone());
                assert_eq!(again.findings, [], "{note}");
                assert_eq!(again.state.providing().len(), 7, "{note}");
                assert!(left.files().len() <= 3, "{note}: {:?}", left.files().keys());
            }
        }
    }
}

#[test]
fn a_compaction_that_was_interrupted_is_done_again() {
    let (mut files, records) = several();
    let header = SegmentHeader {
        number: 5,
        ..SegmentHeader::first(header())
    };
    files.insert("00000005.log".to_owned(), segment(header, &records[0]).0);
    let opened = open(Model::with_files(files));
    assert_eq!(opened.findings, []);
    assert_eq!(opened.state, state_of(records.iter().flatten()));
    assert!(opened.log.wants_compaction());
}

#[test]
fn a_compaction_that_fails_leaves_the_log_as_it_was() {
    let (model, state) = grown();
    let before = model.files();
    let mut log = open(model.clone()).log;
    model.set_trouble(Trouble::Failing);
    assert!(log.compact().is_err());
    model.set_trouble(Trouble::None);
    log.remove_temporaries();
    assert_eq!(model.files(), before);
    log.append(&Account::with(9).records(1)).unwrap();
    assert_eq!(
        open(model).state.providing().len(),
        state.providing().len() + 1
    );
}

#[test]
fn a_write_that_fails_leaves_nothing_of_it_in_front_of_the_next() {
    let model = Model::new();
    let mut log = open(model.clone()).log;
    let mut account = Account::with(2);
    let first = account.records(1);
    log.append(&first).unwrap();
    model.set_trouble(Trouble::Failing);
    let second = [account.receipt()];
    assert!(log.append(&second).is_err());
    model.set_trouble(Trouble::None);
    assert_eq!(open(model.clone()).state, state_of(&first));
    let third = [second[0].clone(), account.receipt()];
    log.append(&third).unwrap();
    let again = open(model);
    assert_eq!(again.state, state_of(first.iter().chain(&third)));
    assert_eq!(again.findings, []);
}

fn several() -> (BTreeMap<String, Vec<u8>>, Vec<Vec<Record>>) {
    let mut header = SegmentHeader::first(header());
    let (mut files, mut records) = (BTreeMap::new(), Vec::new());
    for consumer in 2..6 {
        let batch = Account::with(consumer).records(2);
        let (bytes, _, next) = segment(header, &batch);
        files.insert(format!("{:08}.log", header.number), bytes);
        records.push(batch);
        header = next;
    }
    (files, records)
}

#[test]
fn a_missing_segment_is_reported_and_costs_nothing_else() {
    for (missing, first, last) in [(vec![1], 1, 1), (vec![2], 2, 2), (vec![2, 3], 2, 3)] {
        let (mut files, records) = several();
        for number in &missing {
            files.remove(&format!("{number:08}.log"));
        }
        let left = (1..)
            .zip(&records)
            .filter(|(number, _)| !missing.contains(number));
        let model = Model::with_files(files);
        let Opened {
            mut log,
            state,
            findings,
        } = open(model.clone());
        assert_eq!(findings, [Finding::Missing { first, last }]);
        assert_eq!(state, state_of(left.flat_map(|(_, records)| records)));
        // Once.
        assert!(log.wants_compaction());
        log.compact().unwrap();
        let again = open(model);
        assert_eq!((again.state, again.findings), (state, vec![]));
    }
}

#[test]
fn a_name_far_ahead_costs_nothing() {
    let (mut files, records) = several();
    let stray = format!("{}.log", u32::MAX);
    files.insert(stray, Vec::new());
    let model = Model::with_files(files);
    let Opened { mut log, state, .. } = open(model.clone());
    assert_eq!(state, state_of(records.iter().flatten()));
    log.compact().unwrap();
    let more = Account::with(9).records(2);
    log.append(&more).unwrap();
    let again = open(model);
    assert_eq!(again.state, state_of(records.iter().flatten().chain(&more)));
}

#[test]
fn a_segment_that_was_replaced_is_reported() {
    let (mut files, _) = several();
    let header = SegmentHeader {
        number: 2,
        previous: receipts::log::ChainHash::new([1; 32]),
        ..SegmentHeader::first(header())
    };
    let other = segment(header, &Account::with(9).records(1)).0;
    files.insert("00000002.log".to_owned(), other);
    let findings = open(Model::with_files(files)).findings;
    let segments = [2, 3].map(|segment| Finding::Unchained { segment });
    assert_eq!(findings, segments);
}

#[test]
fn a_damaged_segment_gives_what_can_be_used_of_it_and_is_kept() {
    for damaged in 1..=4u64 {
        let (mut files, records) = several();
        let name = format!("{damaged:08}.log");
        // In the offer, so that the two receipts behind it must be found by their signatures.
        files.get_mut(&name).unwrap()[200] ^= 1;
        let model = Model::with_files(files.clone());
        let Opened {
            mut log,
            state,
            findings,
        } = open(model.clone());
        let [
            Finding::Damaged {
                segment,
                salvaged: 2,
                ..
            },
        ] = findings[..]
        else {
            panic!("{findings:?}");
        };
        assert_eq!(segment, damaged);
        for (index, records) in records.iter().enumerate() {
            let pair = &state.providing()[&records[0].peer()];
            assert_eq!(
                (pair.newest_epoch(), pair.has_receipt()),
                (1, true),
                "{index}"
            );
        }
        // A record written before the damage is mended does not cost what is behind it.
        let more = Account::with(9).records(1);
        log.append(&more).unwrap();
        let after = open(model.clone());
        assert_eq!(after.state.providing().len(), 5);
        log.compact().unwrap();
        let kept = &model.files()[&(name.clone() + ".damaged")];
        assert_eq!(kept, &files[&name]);
        let again = open(model.clone());
        assert_eq!((again.state, again.findings), (after.state, vec![]));
    }
}

#[test]
fn a_damaged_header_costs_nothing() {
    for segment in 1..=4u64 {
        for byte in 0..SegmentHeader::LEN {
            let (mut files, records) = several();
            files.get_mut(&format!("{segment:08}.log")).unwrap()[byte] ^= 1;
            let opened = open(Model::with_files(files));
            assert_eq!(
                opened.state,
                state_of(records.iter().flatten()),
                "{segment}, {byte}"
            );
            assert!(opened.log.wants_compaction());
        }
    }
}

#[test]
fn what_is_left_of_a_compaction_does_not_count_and_goes() {
    let (mut files, records) = several();
    files.insert("00000005.log.tmp".to_owned(), b"half".to_vec());
    files.insert("notes".to_owned(), b"of somebody else".to_vec());
    files.insert("1.log".to_owned(), b"of somebody else".to_vec());
    let model = Model::with_files(files);
    let mut opened = open(model.clone());
    assert_eq!(opened.findings, []);
    assert_eq!(opened.state, state_of(records.iter().flatten()));
    assert!(!opened.log.wants_compaction());
    opened.log.remove_temporaries();
    let names: Vec<_> = model.files().into_keys().collect();
    assert!(names.contains(&"notes".to_owned()) && names.contains(&"1.log".to_owned()));
    assert!(!names.contains(&"00000005.log.tmp".to_owned()));
}

/// 1.4 MiB.
fn many() -> Vec<Record> {
    let records = (2..=250).flat_map(|consumer| Account::with(consumer).records(19));
    records.collect()
}

fn open_whole(model: Model) -> Opened<Model> {
    SegmentLog::open(model, header(), SEGMENT_BYTES).unwrap()
}

#[test]
fn a_batch_of_any_length_is_read_again() {
    let records = many();
    let model = Model::new();
    open_whole(model.clone()).log.append(&records).unwrap();
    let again = open_whole(model.clone());
    assert_eq!((again.state, again.findings), (state_of(&records), vec![]));
    assert!(model.files().values().all(|file| file.len() < 1 << 20));
}

#[test]
fn a_segment_that_is_too_long_is_read_to_its_end_and_kept_beside_the_log() {
    let records = many();
    let (sound, ..) = segment(SegmentHeader::first(header()), &records);
    assert!(sound.len() > 1 << 20);
    let more = Account::with(251).records(1);
    for junk in [0, 1, 2 << 20] {
        let long = [sound.clone(), vec![0xA5; junk]].concat();
        let model = disk(&[("00000001.log", &long)]);
        let mut opened = open_whole(model.clone());
        assert_eq!(opened.state, state_of(&records), "{junk}");
        let [Finding::Damaged { cut, .. }] = opened.findings[..] else {
            panic!("{:?}", opened.findings)
        };
        assert_eq!((cut.reason, cut.lost_bytes), (CutReason::TooLong, junk));

        opened.log.append(&more).unwrap();
        assert!(opened.log.wants_compaction());
        opened.log.compact().unwrap();
        assert!(model.files()["00000001.log.damaged"] == long);
        let again = open_whole(model);
        assert_eq!(again.findings, []);
        let all = records.iter().chain(&more);
        assert_eq!(again.state, state_of(all), "{junk}");
    }
}

#[test]
fn what_follows_a_segment_is_not_written_over_even_if_no_record_is_in_it() {
    let records = Account::with(2).records(3);
    let (mut long, ..) = segment(SegmentHeader::first(header()), &records);
    long.resize(2 << 20, 0);
    let model = disk(&[("00000001.log", &long)]);
    let mut opened = open_whole(model.clone());
    assert!(!opened.findings.iter().any(Finding::is_ordinary));
    opened.log.append(&Account::with(3).records(1)).unwrap();
    assert!(model.files()["00000001.log"] == long);
    assert!(opened.log.wants_compaction());
}

#[test]
fn a_file_beyond_all_measure_is_an_error_and_not_touched() {
    let model = disk(&[("00000001.log", &vec![0; (64 << 20) + 1])]);
    let refused = SegmentLog::open(model, header(), SEGMENT_BYTES);
    let problem = refused.unwrap_err().to_string();
    assert_eq!(
        problem,
        "00000001.log is longer than 67108864 bytes: move it away"
    );
}
