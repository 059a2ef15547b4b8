//! When what is written, and what happens if it cannot be.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::export::Piece;
use super::super::keeper::{FLUSH_INTERVAL, Keeper, RETRY_INTERVAL, StateDirectory};
use super::super::model::{Tail, Trouble};
use super::super::{ExportError, StoreError};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct Desk {
    model: Model,
    /// Reading the log fails.
    unreadable: Arc<Mutex<bool>>,
    keeper: Keeper<Model>,
    now: Instant,
    submitted: u64,
}

impl Desk {
    fn at(model: Model, unreadable: bool) -> (Self, State) {
        let unreadable = Arc::new(Mutex::new(unreadable));
        let now = Instant::now();
        let opener = opener(model.clone(), Arc::clone(&unreadable));
        let (keeper, state) = Keeper::start(now, Path::new("state"), header(), opener).unwrap();
        let mut desk = Self {
            model,
            unreadable,
            keeper,
            now,
            submitted: 0,
        };
        desk.work([]);
        (desk, state)
    }

    fn new() -> Self {
        Self::at(Model::new(), false).0
    }

    fn work(&mut self, records: impl IntoIterator<Item = Record>) -> Option<State> {
        let mail = mail(records, &mut self.submitted);
        self.keeper.work(self.now, mail)
    }

    fn pass(&mut self, time: Duration) -> Option<State> {
        self.now += time;
        self.work([])
    }

    fn saved(&self) -> u64 {
        self.keeper.progress().saved
    }

    fn problem(&self) -> Option<&str> {
        self.keeper.progress().problem.as_deref()
    }

    fn on_disk(&self) -> State {
        open(self.model.clone()).state
    }

    fn piece(&mut self, offset: u64, max: usize) -> Result<Piece, ExportError> {
        let answer = Arc::new(Mutex::new(None));
        let there = Arc::clone(&answer);
        let reply = Box::new(move |piece| *there.lock().unwrap() = Some(piece));
        let mut mail = mail([], &mut self.submitted);
        mail.exports.push_back(ExportRequest { offset, max, reply });
        self.keeper.work(self.now, mail);
        let answer = answer.lock().unwrap().take();
        answer.unwrap()
    }

    fn export(&mut self, max: usize) -> Vec<u8> {
        let mut export = Vec::new();
        loop {
            let piece = self.piece(export.len() as u64, max).unwrap();
            assert!(piece.data.len() <= max);
            export.extend(piece.data);
            if export.len() as u64 == piece.total_bytes {
                return export;
            }
        }
    }
}

fn opener(model: Model, unreadable: Arc<Mutex<bool>>) -> super::super::keeper::Opener<Model> {
    Box::new(move || {
        if *unreadable.lock().unwrap() {
            let error = std::io::Error::from_raw_os_error(5);
            return Err(StoreError::at(Path::new("state"))(error));
        }
        let opened = open(model.clone());
        Ok(StateDirectory {
            directory: model.clone(),
            log: opened.log,
            state: opened.state,
            findings: opened.findings,
        })
    })
}

#[test]
fn an_offer_is_saved_at_once_and_receipts_within_minutes() {
    let mut desk = Desk::new();
    let mut account = Account::with(2);
    let offer = account.offer();
    desk.work([offer.clone()]);
    assert_eq!((desk.saved(), desk.on_disk()), (1, state_of([&offer])));

    let receipts = [account.receipt(), account.receipt()];
    desk.work([receipts[0].clone()]);
    desk.pass(SECOND);
    desk.work([receipts[1].clone()]);
    assert_eq!((desk.saved(), desk.on_disk()), (1, state_of([&offer])));
    assert_eq!(
        desk.keeper.deadline(),
        Some(desk.now - SECOND + FLUSH_INTERVAL)
    );
    desk.pass(FLUSH_INTERVAL - SECOND);
    assert_eq!(desk.saved(), 3);
    assert_eq!(desk.on_disk(), state_of([&offer, &receipts[1]]));
    assert_eq!(desk.keeper.deadline(), None, "nothing to do");
}

#[test]
fn an_offer_takes_along_what_waits() {
    let mut desk = Desk::new();
    let (mut one, mut two) = (Account::with(2), Account::with(3));
    let early = one.records(1);
    let late = two.offer();
    desk.work(early.clone());
    desk.work([one.receipt()]);
    desk.work([late]);
    assert_eq!(desk.saved(), 4);
    assert_eq!(desk.on_disk().providing().len(), 2);
}

#[test]
fn the_end_saves_everything() {
    let mut desk = Desk::new();
    let records = Account::with(2).records(2);
    desk.work(records[..1].to_vec());
    let mut last = mail(records[1..].to_vec(), &mut desk.submitted);
    last.ends = true;
    desk.keeper.work(desk.now, last);
    assert!(desk.keeper.progress().ended);
    assert_eq!(desk.on_disk(), state_of(&records));
}

#[test]
fn on_a_full_disk_records_wait_and_receipts_are_taken() {
    let mut desk = Desk::new();
    let (mut one, mut two) = (Account::with(2), Account::with(3));
    let early = one.records(0);
    desk.work(early.clone());
    desk.model.set_trouble(Trouble::Failing);
    let offer = two.offer();
    desk.work([offer.clone()]);
    assert_eq!(desk.saved(), 1, "nothing that needs the offer may be sent");
    assert!(desk.problem().unwrap().starts_with("state/receipts: "));
    let receipts: Vec<Record> = (0..50).map(|_| one.receipt()).collect();
    desk.work(receipts.clone());
    assert_eq!(desk.keeper.deadline(), Some(desk.now + RETRY_INTERVAL));

    // Not before its time, and then everything.
    desk.model.set_trouble(Trouble::None);
    desk.pass(RETRY_INTERVAL - SECOND);
    assert_eq!(desk.saved(), 1);
    desk.pass(SECOND);
    assert_eq!((desk.saved(), desk.problem()), (desk.submitted, None));
    let all = early.iter().chain([&offer]).chain(&receipts);
    assert_eq!(desk.on_disk(), state_of(all));
}

#[test]
fn a_number_of_starts_that_cannot_be_saved_is_tried_again() {
    let mut desk = Desk::new();
    desk.model.set_trouble(Trouble::Failing);
    let mail = Mail {
        epoch: Some(9),
        ..Mail::default()
    };
    desk.keeper.work(desk.now, mail);
    assert!(desk.problem().unwrap().starts_with("state/epoch: "));
    desk.model.set_trouble(Trouble::None);
    desk.pass(RETRY_INTERVAL);
    assert_eq!((desk.problem(), desk.keeper.last_epoch()), (None, 9));
}

#[test]
fn a_log_that_can_be_read_later_replaces_what_did_not_know_of_it() {
    let known = Account::with(2).records(3);
    let model = Model::new();
    open(model.clone()).log.append(&known).unwrap();
    let (mut desk, state) = Desk::at(model, true);
    assert_eq!(state, State::new(header()));
    assert!(desk.problem().unwrap().contains("state"));
    // Of accounts that began at epoch 1 again.
    desk.work([Account::with(3).offer()]);
    assert_eq!(desk.saved(), 0);

    *desk.unreadable.lock().unwrap() = false;
    let late = desk.pass(RETRY_INTERVAL);
    assert_eq!(late, Some(state_of(&known)));
    assert_eq!(desk.problem(), None);
    assert_eq!(desk.on_disk(), state_of(&known));
}

#[test]
fn a_log_that_is_new_when_it_can_be_made_takes_what_waited() {
    let (mut desk, _) = Desk::at(Model::new(), true);
    let records = Account::with(2).records(1);
    desk.work(records.clone());
    *desk.unreadable.lock().unwrap() = false;
    assert_eq!(desk.pass(RETRY_INTERVAL), None);
    assert_eq!((desk.saved(), desk.on_disk()), (2, state_of(&records)));
}

#[test]
fn a_log_that_has_grown_is_compacted() {
    let mut desk = Desk::new();
    for _ in 0..4 {
        for consumer in 2..12 {
            desk.work(Account::with(consumer).records(9));
            desk.pass(FLUSH_INTERVAL);
        }
    }
    let bytes: usize = desk.model.files().values().map(Vec::len).sum();
    let kept = 10 * (280 + 296);
    assert!(
        bytes < 2 * kept + 5 * 2048 + 1000,
        "{bytes} of which {kept} are worth keeping"
    );
    assert_eq!(desk.on_disk().providing().len(), 10);
}

#[test]
fn offers_that_strangers_do_not_sign_do_not_fill_the_disk() {
    let mut desk = Desk::new();
    desk.work(Account::with(2).records(1));
    for consumer in 3..=250 {
        desk.work([Account::with(consumer).offer()]);
    }
    let bytes: usize = desk.model.files().values().map(Vec::len).sum();
    assert!(bytes < 6 * 2048 + 1000, "{bytes}");
    assert!(desk.on_disk().providing()[&party(2)].has_receipt());
}

#[test]
fn an_export_holds_what_is_not_saved_yet_in_pieces_of_any_size() {
    let mut desk = Desk::new();
    let (mut one, mut two) = (Account::with(2), Account::with(3));
    let first = one.records(30);
    desk.work(first[..1].to_vec());
    for record in &first[1..] {
        desk.work([record.clone()]);
        desk.pass(FLUSH_INTERVAL);
    }
    desk.model.set_trouble(Trouble::Failing);
    desk.work(two.records(2));
    let newest = one.receipt();
    desk.work([newest.clone()]);
    let whole = desk.export(usize::MAX);
    let report = verify(&whole).unwrap();
    assert_eq!((report.offers, report.receipts), (2, 2));
    assert!(report.has_end);
    let positions: Vec<_> = report.newest.values().map(Receipt::position).collect();
    assert!(positions.contains(&newest.heading().position));
    for max in [1, 100, 1000] {
        assert_eq!(desk.export(max), whole, "{max}");
    }
}

#[test]
fn an_export_stays_what_it_was_while_records_come() {
    let mut desk = Desk::new();
    let mut account = Account::with(2);
    desk.work(account.records(3));
    desk.pass(FLUSH_INTERVAL);
    let whole = desk.export(usize::MAX);
    let first = desk.piece(0, 200).unwrap();
    desk.work([account.receipt(), account.offer(), account.receipt()]);
    desk.work(Account::with(3).records(2));
    desk.pass(FLUSH_INTERVAL);
    let rest = desk.piece(200, usize::MAX).unwrap();
    assert_eq!(first.export, rest.export);
    assert_eq!([first.data, rest.data].concat(), whole);
}

#[test]
fn an_export_is_overtaken_by_another_and_by_a_compaction() {
    let mut desk = Desk::new();
    let mut account = Account::with(2);
    desk.work(account.records(3));
    desk.piece(0, 200).unwrap();
    desk.piece(0, 300).unwrap();
    assert_eq!(desk.piece(200, 100), Err(ExportError::Overtaken));
    desk.piece(300, 1).unwrap();
    for _ in 0..60 {
        desk.work([account.receipt()]);
        desk.pass(FLUSH_INTERVAL);
    }
    assert_eq!(desk.piece(301, 100), Err(ExportError::Overtaken));
    let (mut unreadable, _) = Desk::at(Model::new(), true);
    assert!(matches!(
        unreadable.piece(0, 1),
        Err(ExportError::Unreadable(_))
    ));
}

#[derive(Debug, Clone)]
enum Step {
    Offer(usize),
    Receipt(usize),
    Wait(u64),
    Trouble(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..3usize).prop_map(Step::Offer),
        6 => (0..3usize).prop_map(Step::Receipt),
        3 => (1..400u64).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Trouble),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever was said to be saved is there after a loss of power at any operation, and nothing was
    /// kept waiting for longer than a flush interval by a disk that works.
    #[test]
    fn a_loss_of_power_takes_only_what_was_not_said_to_be_saved(
        steps in proptest::collection::vec(step(), 1..60),
        cut in 0..40usize,
        tail in 0..4usize,
    ) {
        let mut desk = Desk::new();
        desk.model.set_trouble(Trouble::PowerCut(cut, Tail::ALL[tail]));
        let mut accounts = [2, 3, 4].map(Account::with);
        let mut submitted: Vec<(Record, Instant)> = Vec::new();
        for step in steps {
            if !desk.model.has_power() {
                break;
            }
            let record = match step {
                Step::Offer(account) => Some(accounts[account].offer()),
                Step::Receipt(account) if accounts[account].offer.is_some() => {
                    Some(accounts[account].receipt())
                }
                Step::Receipt(_) => None,
                Step::Wait(seconds) => {
                    desk.pass(SECOND * u32::try_from(seconds).unwrap());
                    None
                }
                Step::Trouble(failing) => {
                    desk.model.set_trouble(match failing {
                        true => Trouble::Failing,
                        false => Trouble::PowerCut(cut, Tail::ALL[tail]),
                    });
                    None
                }
            };
            submitted.extend(record.clone().map(|record| (record, desk.now)));
            desk.work(record);
            let unsaved = &submitted[usize::try_from(desk.saved()).unwrap()..];
            if desk.problem().is_none() {
                for (record, since) in unsaved {
                    prop_assert!(!record.is_urgent());
                    prop_assert!(desk.now - *since < FLUSH_INTERVAL);
                }
            }
        }
        let saved = usize::try_from(desk.saved()).unwrap();
        let known = state_of(submitted[..saved].iter().map(|(record, _)| record));
        for left in desk.model.after_power_cut() {
            let found = open(left).state;
            for (peer, pair) in known.providing() {
                let found = found.providing().get(peer);
                prop_assert!(found.is_some_and(|it| it.newest_epoch() >= pair.newest_epoch()));
                for (gateway, account) in pair.accounts() {
                    let found = found.and_then(|pair| pair.accounts().get(gateway));
                    let position = found.and_then(receipts::AccountState::position);
                    prop_assert!(position >= account.position());
                }
            }
        }
    }
}
