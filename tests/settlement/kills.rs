//! A service that is killed again and again, at moments that nobody chose.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use libtest_mimic::Trial;
use mesh_tests::harness::note;
use mesh_tests::redeemd::{Redeemd, Settings};
use mesh_tests::wait::wait_for;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::load::{Clients, Load};
use crate::valley::{Database, Valley, with_both};

const SEED: u64 = 7;
const CLIENTS: usize = 4;

/// PostgreSQL has its own life, and its own tests for this.
const fn kills_of(database: Database) -> usize {
    match database {
        Database::Sqlite => 24,
        Database::Postgres => 10,
    }
}

/// For one more answer. Killing goes on only while there is something to lose.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn tests() -> Vec<Trial> {
    with_both("kill_9_loses_and_doubles_nothing", kills)
}

fn kills(valley: &Valley) -> Result<()> {
    let load = Load::new()?;
    let expected = undisturbed(valley, &load)?;
    disturbed(valley, &load, &expected).with_context(|| format!("seed {SEED}"))
}

/// What becomes of it if nothing happens.
fn undisturbed(valley: &Valley, load: &Load) -> Result<Vec<String>> {
    let settings = Settings {
        database: Database::Sqlite.create()?,
        ..valley.settings.clone()
    };
    let service = Redeemd::start(&settings)?;
    load.enroll(valley, &service)?;
    for claim in &load.claims {
        ensure!(service.claim(claim)?.status == 200);
    }
    load.is_settled(valley, &settings, &service)?;
    load.cheques(valley, &service)
}

fn disturbed(valley: &Valley, load: &Load, expected: &[String]) -> Result<()> {
    let kills = kills_of(valley.database);
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut service = valley.start()?;
    load.enroll(valley, &service)?;
    // Near their places, so that there is something new to the end.
    let clients = Clients::new(load, 2, 10, SEED);
    let place = Mutex::new(service.address);
    let address = |_| *place.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        let clients = &clients;
        let senders: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(move || clients.send(load, address)))
            .collect();
        let share = clients.waiting() / (kills + 2);
        for kill in 0..kills {
            let until = kill * share + 1;
            wait_for("claims to be answered", PATIENCE, || {
                let answered = clients.answered.load(Ordering::Relaxed);
                ensure!(answered >= until, "{answered} of {until}");
                Ok(())
            })?;
            thread::sleep(Duration::from_micros(random.next_u64() % 60_000));
            service.kill()?;
            service = valley.start()?;
            clients.nothing_is_lost(load, &service)?;
            set(&place, service.address);
        }
        for sender in senders {
            sender.join().map_err(|_| anyhow!("panicked"))??;
        }
        anyhow::Ok(())
    })?;
    for claim in &load.claims {
        ensure!(service.claim(claim)?.status == 200);
    }
    let (answered, unanswered) = clients.figures();
    note(&format!(
        "{kills} kills, {answered} claims answered, {unanswered} not"
    ));
    ensure!(unanswered > 0, "no kill hit anything");
    load.is_settled(valley, &valley.settings, &service)?;
    ensure!(
        load.cheques(valley, &service)? == expected,
        "other cheques than undisturbed"
    );
    service.stop()
}

fn set(place: &Mutex<SocketAddr>, address: SocketAddr) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = address;
}
