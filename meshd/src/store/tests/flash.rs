//! What a day costs the flash of a router.

use std::time::{Duration, Instant};

use super::super::keeper::{FLUSH_INTERVAL, Keeper, StateDirectory};
use super::super::segments::SEGMENT_BYTES;
use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A relay at 10 Mbit/s has a receipt to or from each of four neighbors every few seconds. Only those
/// are made here that are the newest when the buffer is written, as the others never leave it. Each
/// neighbor begins a new epoch every two hours: restarts, and prices that change.
#[test]
fn a_day_at_full_load_writes_at_most_two_mebibytes() {
    let model = Model::new();
    let opener = {
        let model = model.clone();
        Box::new(move || {
            let opened = SegmentLog::open(model.clone(), header(), SEGMENT_BYTES).unwrap();
            Ok(StateDirectory {
                directory: model.clone(),
                log: opened.log,
                state: opened.state,
                findings: opened.findings,
            })
        })
    };
    let start = Instant::now();
    let path = std::path::Path::new("state");
    let (mut keeper, _) = Keeper::start(start, path, header(), opener).unwrap();
    keeper.work(start, Mail::default());
    let mut accounts: Vec<Account> = (2..6).map(Account::with).collect();
    let mut submitted = 0;
    let mut passed = Duration::ZERO;
    let mut days = Vec::new();
    for day in 1..=3 {
        let before = model.pages();
        while passed < DAY * day {
            let opens = passed.as_secs().is_multiple_of(7200);
            for account in &mut accounts {
                if opens {
                    keeper.work(start + passed, mail([account.offer()], &mut submitted));
                }
                keeper.work(start + passed, mail([account.receipt()], &mut submitted));
            }
            passed += FLUSH_INTERVAL;
            keeper.work(start + passed, mail([], &mut submitted));
            assert_eq!(keeper.progress().saved, submitted);
        }
        days.push((model.pages() - before) * 4096);
    }
    println!(
        "bytes written on each day: {days:?}; files {:?}",
        sizes(&model)
    );
    assert!(days.iter().all(|bytes| *bytes <= 2 << 20), "{days:?}");
}

fn sizes(model: &Model) -> Vec<(String, usize)> {
    let files = model.files().into_iter();
    files.map(|(name, bytes)| (name, bytes.len())).collect()
}
