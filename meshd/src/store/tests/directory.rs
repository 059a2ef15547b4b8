//! The store on a real file system, with its thread.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::stat::Mode;

use super::super::recovery::Finding;
use super::super::{EPOCH_FILE, LOG_DIRECTORY, MAX_HELD, Store, StoreError};
use super::*;

/// For what takes milliseconds.
const AMPLE: Duration = Duration::from_secs(60);

fn open(directory: &Path) -> Result<(Store, State), StoreError> {
    Store::open(directory, header().network, header().owner)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(future)
}

fn wait_for(store: &mut Store, saved: u64) {
    block_on(async {
        let reached = async {
            while store.progress().saved < saved {
                store.changed().await;
            }
        };
        tokio::time::timeout(AMPLE, reached).await.unwrap();
    });
}

fn export(store: &Store) -> Vec<u8> {
    let (sender, receiver) = mpsc::channel();
    store.export(0, usize::MAX, move |piece| sender.send(piece).unwrap());
    receiver.recv_timeout(AMPLE).unwrap().unwrap().data
}

#[test]
fn records_survive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, state) = open(directory.path()).unwrap();
    assert_eq!(state, State::new(header()));
    let records = Account::with(2).records(2);
    records
        .iter()
        .for_each(|record| store.submit(record.clone()));
    let exported = export(&store);
    assert_eq!(verify(&exported).unwrap().receipts, 1);
    drop(store);
    let (store, state) = open(directory.path()).unwrap();
    assert_eq!(state, state_of(&records));
    assert_eq!(export(&store), exported);
    assert_eq!(store.progress().findings, []);
}

#[test]
fn a_pipe_among_the_segments_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join(LOG_DIRECTORY);
    fs::create_dir(&log).unwrap();
    nix::unistd::mkfifo(&log.join("00000001.log"), Mode::S_IRWXU).unwrap();
    let (sender, receiver) = mpsc::channel();
    let path = directory.path().to_owned();
    std::thread::spawn(move || {
        let _ = sender.send(open(&path).map(|(_, state)| state));
    });
    let state = receiver.recv_timeout(AMPLE).unwrap().unwrap();
    assert_eq!(state, State::new(header()));
}

#[test]
fn a_message_waits_for_the_record_about_its_neighbor_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path()).unwrap();
    let mut account = Account::with(2);
    store.submit(account.offer());
    for message in [vec![1], vec![2]] {
        assert_eq!(store.hold_back(party(2), message), None);
    }
    assert_eq!(store.hold_back(party(3), vec![3]), Some(vec![3]));
    wait_for(&mut store, 1);
    assert_eq!(
        store.hold_back(party(2), vec![4]),
        None,
        "not ahead of the others"
    );
    let released = [1, 2, 4].map(|message| (party(2), vec![message]));
    assert_eq!(store.take_released(), released);
    // A receipt keeps nothing waiting.
    store.submit(account.receipt());
    assert_eq!(store.hold_back(party(2), vec![5]), Some(vec![5]));
}

#[test]
fn messages_that_wait_are_few() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(LOG_DIRECTORY), "in the way").unwrap();
    let (mut store, _) = open(directory.path()).unwrap();
    store.submit(Account::with(2).offer());
    for _ in 0..100 {
        assert_eq!(store.hold_back(party(2), vec![0; 400]), None);
    }
    assert_eq!(store.take_released(), []);
    assert_eq!(store.held[&party(2)].messages.len(), MAX_HELD);
    let problem = store.progress().problem.clone().unwrap();
    assert!(
        problem.ends_with("receipts: File exists (os error 17)"),
        "{problem}"
    );
}

#[test]
fn closing_says_what_could_not_be_saved() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join(LOG_DIRECTORY);
    let (mut store, _) = open(directory.path()).unwrap();
    store.submit(Account::with(2).offer());
    wait_for(&mut store, 1);
    fs::remove_dir_all(&log).unwrap();
    store.submit(Account::with(3).offer());
    let error = block_on(store.close(AMPLE)).unwrap_err().to_string();
    assert!(error.contains("No such file or directory"), "{error}");

    let (mut store, _) = open(directory.path()).unwrap();
    store.submit(Account::with(3).offer());
    block_on(store.close(AMPLE)).unwrap();
    assert_eq!(open(directory.path()).unwrap().1.providing().len(), 1);
}

#[test]
fn every_start_has_a_higher_epoch() {
    let directory = tempfile::tempdir().unwrap();
    for epoch in [1, 2, 3] {
        let (store, _) = open(directory.path()).unwrap();
        assert_eq!(store.begin_epoch(), epoch);
    }
    let (store, _) = open(directory.path()).unwrap();
    store.save_epoch(77);
    drop(store);
    let (store, _) = open(directory.path()).unwrap();
    assert_eq!(store.begin_epoch(), 78);
    drop(store);
    fs::write(directory.path().join(EPOCH_FILE), "many\n").unwrap();
    let (store, _) = open(directory.path()).unwrap();
    assert_eq!(store.begin_epoch(), 1, "neighbors will tell");
}

#[test]
fn a_second_daemon_is_kept_out() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open(directory.path()).unwrap();
    assert!(matches!(open(directory.path()), Err(StoreError::Locked(_))));
    drop(store);
    assert!(open(directory.path()).is_ok());
}

#[test]
fn the_log_of_another_node_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = open(directory.path()).unwrap();
    store.submit(Account::with(2).offer());
    drop(store);
    let path = directory.path().join(LOG_DIRECTORY).join("00000001.log");
    let before = fs::read(&path).unwrap();
    let refused = Store::open(directory.path(), header().network, party(8));
    let Err(error @ StoreError::ForeignLog { .. }) = refused else {
        panic!("{refused:?}");
    };
    let error = error.to_string();
    assert!(error.starts_with(&path.display().to_string()), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_log_of_the_first_version_is_named_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let old = directory.path().join("receipts.log");
    fs::write(&old, "MESHLOG").unwrap();
    let (store, _) = open(directory.path()).unwrap();
    assert_eq!(store.progress().findings, [Finding::OldLog]);
    assert_eq!(fs::read(&old).unwrap(), b"MESHLOG");
}
