//! A service that is killed: before each of its writes, and again and again at moments that nobody chose.

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

use crate::exports::Trade;
use crate::load::{Clients, Load};
use crate::valley::{Database, Person, Valley, with_both};

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
    let mut trials = with_both("kill_9_loses_and_doubles_nothing", kills);
    trials.extend(with_both(
        "kill_9_before_any_write_loses_and_doubles_nothing",
        every_write,
    ));
    trials
}

/// The system calls by which a claim reaches a database, and is answered.
const fn writes_of(database: Database) -> &'static [&'static str] {
    match database {
        Database::Sqlite => &["pwrite64", "fsync", "sendto", "write"],
        Database::Postgres => &["sendto", "write"],
    }
}

/// More than one claim takes.
const MOST_WRITES: usize = 200;

/// One claim, by a service that is killed before its first write, its second, and so on until it outlives the claim.
fn every_write(valley: &Valley) -> Result<()> {
    let (relay, phone) = (Person::new("relay")?, Person::new("phone")?);
    valley.enroll(&phone)?;
    let trade = Trade {
        network: "village",
        provider: &relay.node,
        consumer: &phone.node,
    };
    let claim = trade.export([(1, 3), (2, 1)])?;
    let people = [relay, phone];
    let expected = Scene::new(valley, &people, &claim)?.cheques()?;
    for call in writes_of(valley.database) {
        let mut writes = 0;
        for nth in 1.. {
            ensure!(nth < MOST_WRITES, "it writes for ever");
            let mut scene = Scene::new(valley, &people, &claim)?;
            if scene.outlives(call, nth)? {
                break;
            }
            let cheques = scene.cheques();
            let cheques = cheques.with_context(|| format!("killed at {call} {nth}"))?;
            ensure!(cheques == expected, "killed at {call} {nth}: {cheques:?}");
            writes = nth;
        }
        note(&format!("killed before each of {writes} {call}"));
        ensure!(writes > 0, "{call} is no way to the database");
    }
    Ok(())
}

/// A service with an empty database, and a claim that is brought to it.
struct Scene<'a> {
    valley: &'a Valley,
    settings: Settings,
    service: Redeemd,
    people: &'a [Person; 2],
    claim: &'a [u8],
}

impl<'a> Scene<'a> {
    fn new(valley: &'a Valley, people: &'a [Person; 2], claim: &'a [u8]) -> Result<Self> {
        let settings = Settings {
            database: valley.database.create()?,
            ..valley.settings.clone()
        };
        let service = Redeemd::start(&settings)?;
        for person in people {
            valley.register(&service, person)?;
        }
        Ok(Self {
            valley,
            settings,
            service,
            people,
            claim,
        })
    }

    /// Whether the claim is answered before the service is killed; else it is there again.
    fn outlives(&mut self, call: &str, nth: usize) -> Result<bool> {
        let trap = self.service.kill_at(call, nth)?;
        let answer = self.service.claim(self.claim);
        drop(trap);
        if answer.is_ok_and(|it| it.status == 200) && self.service.get("/healthz").is_ok() {
            return Ok(true);
        }
        self.service.ends()?;
        self.service = Redeemd::start(&self.settings)?;
        Ok(false)
    }

    /// What is given for the claim in the end, and that everything fits together.
    fn cheques(&self) -> Result<Vec<String>> {
        ensure!(self.service.claim(self.claim)?.status == 200);
        crate::valley::audit(&self.settings)?;
        let accounts = self.people.iter().map(Person::account);
        let accounts = accounts.chain([self.valley.settings.fee_account]);
        let cheques = accounts.map(|it| Ok(self.service.get(&format!("/v1/cheques/{it}"))?.text()));
        cheques.collect()
    }
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
