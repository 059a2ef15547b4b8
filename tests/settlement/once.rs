//! Every receipt counts once, however many services on one database it is brought to, and how often.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use alloy_primitives::{Address, U256};
use anyhow::{Context, Result, anyhow, ensure};
use libtest_mimic::Trial;
use mesh_tests::harness::note;
use mesh_tests::redeemd::{Redeemd, Settings};
use redeem_api::ClaimAnswer;

use crate::load::{Clients, Load};
use crate::valley::{Valley, with_both};

const SEEDS: [u64; 1] = [1];
const CLIENTS: usize = 6;

pub(crate) fn tests() -> Vec<Trial> {
    with_both("two_services_count_every_receipt_once", once)
}

fn once(valley: &Valley) -> Result<()> {
    let load = Load::new()?;
    for seed in SEEDS {
        let settings = Settings {
            database: valley.database.create()?,
            ..valley.settings.clone()
        };
        let services = [Redeemd::start(&settings)?, Redeemd::start(&settings)?];
        run(valley, &settings, &load, &services, seed).with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

fn run(
    valley: &Valley,
    settings: &Settings,
    load: &Load,
    services: &[Redeemd; 2],
    seed: u64,
) -> Result<()> {
    load.enroll(valley, &services[0])?;
    // Far from their places: complete logs come before their beginnings, and beginnings after.
    let clients = Clients::new(load, 2, 1000, seed);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| watch(valley, load, services, &done));
        let senders: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let clients = &clients;
                let to = move |claim: usize| services[(claim + client) % 2].address;
                scope.spawn(move || clients.send(load, to))
            })
            .collect();
        let sent: Vec<_> = senders.into_iter().map(|it| it.join()).collect();
        done.store(true, Ordering::Relaxed);
        let looks = watch.join().map_err(|_| anyhow!("panicked"))??;
        note(&format!(
            "seed {seed}: {} claims answered, {looks} looks at the cheques",
            clients.answered.load(Ordering::Relaxed)
        ));
        for sent in sent {
            sent.map_err(|_| anyhow!("panicked"))??;
        }
        anyhow::Ok(())
    })?;
    // Whoever brings it now brings nothing new.
    for claim in &load.claims {
        let answer: ClaimAnswer = services[1].claim(claim)?.json()?;
        ensure!(answer.new == 0, "{answer:?}");
    }
    load.is_settled(valley, settings, &services[0])
}

/// A cheque never says less than before, whichever service is asked.
fn watch(
    valley: &Valley,
    load: &Load,
    services: &[Redeemd; 2],
    done: &AtomicBool,
) -> Result<usize> {
    let mut most: BTreeMap<(Address, Address), U256> = BTreeMap::new();
    let mut looks = 0;
    while !done.load(Ordering::Relaxed) {
        for person in &load.people {
            for signed in valley.cheques(&services[looks % 2], person.account())? {
                let cheque = &signed.cheque;
                let before = most.entry((cheque.issuer, cheque.beneficiary)).or_default();
                ensure!(*before <= cheque.cumulative, "{cheque:?} after {before}");
                *before = cheque.cumulative;
            }
            looks += 1;
        }
    }
    Ok(looks)
}
