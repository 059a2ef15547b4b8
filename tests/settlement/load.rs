//! A load of claims: of several people in several networks, each log in many versions, all overlapping.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use mesh_tests::redeemd::{self, Redeemd, Settings};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use receipts::Amount;
use receipts::log::Record;
use redeem_api::{ClaimAnswer, NodeAnswer, PairState};

use crate::exports::{FEE_PPM, PRICE, Trade, export, of_consumer};
use crate::valley::{Person, Valley, audit, node};

const NETWORKS: [&str; 2] = ["village", "valley"];
const PEOPLE: usize = 4;

/// Of each provider and consumer in each network: epochs, and receipts in each.
const EPOCHS: u64 = 3;
const RECEIPTS: u64 = 4;

pub(crate) struct Load {
    pub(crate) people: Vec<Person>,
    /// In the order in which nodes would have them.
    pub(crate) claims: Vec<Vec<u8>>,
}

impl Load {
    /// Everybody carries for everybody.
    pub(crate) fn new() -> Result<Self> {
        let people = (0..PEOPLE).map(|number| Person::new(&format!("person {number}")));
        let people = people.collect::<Result<Vec<_>>>()?;
        let mut claims = Vec::new();
        for network in NETWORKS {
            for owner in 0..PEOPLE {
                let records = records(network, &people, owner)?;
                let lengths = (2..records.len()).step_by(7).chain([records.len()]);
                claims.extend(
                    lengths.map(|length| export(network, &people[owner].node, &records[..length])),
                );
            }
        }
        // All logs grow at the same time.
        claims.sort_by_key(Vec::len);
        Ok(Self { people, claims })
    }

    pub(crate) fn enroll(&self, valley: &Valley, service: &Redeemd) -> Result<()> {
        for person in &self.people {
            valley.enroll(person)?;
            valley.register(service, person)?;
        }
        Ok(())
    }

    /// What each has to get in the end, from each.
    pub(crate) fn owed() -> u128 {
        u128::from(RECEIPTS * PRICE * EPOCHS) * NETWORKS.len() as u128
    }

    /// That everybody was given exactly what it is owed, and the service its fee.
    pub(crate) fn is_settled(
        &self,
        valley: &Valley,
        settings: &Settings,
        service: &Redeemd,
    ) -> Result<()> {
        let fee = Self::owed() * u128::from(FEE_PPM) / 1_000_000;
        let others = (PEOPLE - 1) as u128;
        for person in &self.people {
            let cheques = valley.cheques(service, person.account())?;
            ensure!(cheques.len() as u128 == others, "{cheques:?}");
            for signed in cheques {
                let given: u128 = signed.cheque.cumulative.try_into()?;
                ensure!(given == Self::owed() - fee, "{signed:?}");
            }
            for pair in node(service, person)?.earned {
                ensure!(pair.state == PairState::Settled, "{pair:?}");
            }
        }
        for signed in valley.cheques(service, valley.settings.fee_account)? {
            let given: u128 = signed.cheque.cumulative.try_into()?;
            ensure!(given == fee * others, "{signed:?}");
        }
        let pairs = NETWORKS.len() * PEOPLE * (PEOPLE - 1);
        let found = audit(settings)?;
        let receipts = format!("{} receipts of {pairs} pairs", pairs as u64 * EPOCHS);
        let debits = Amount::new(Self::owed() * (PEOPLE as u128) * others);
        for expected in [
            receipts,
            format!("claimed  {debits}"),
            format!("debited  {debits}"),
        ] {
            ensure!(found.contains(&expected), "{found}, expected {expected}");
        }
        Ok(())
    }

    /// All cheques, as they are handed out.
    pub(crate) fn cheques(&self, valley: &Valley, service: &Redeemd) -> Result<Vec<String>> {
        let accounts = self.people.iter().map(Person::account);
        let accounts = accounts.chain([valley.settings.fee_account]);
        let cheques = accounts.map(|it| Ok(service.get(&format!("/v1/cheques/{it}"))?.text()));
        cheques.collect()
    }
}

fn records(network: &str, people: &[Person], owner: usize) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for other in (0..people.len()).filter(|other| *other != owner) {
        let trade = |provider: usize, consumer: usize| Trade {
            network,
            provider: &people[provider].node,
            consumer: &people[consumer].node,
        };
        let epochs = || (1..=EPOCHS).map(|epoch| (epoch, RECEIPTS));
        records.extend(trade(owner, other).records(epochs())?);
        records.extend(of_consumer(&trade(other, owner).records(epochs())?));
    }
    Ok(records)
}

/// What is still to be sent, and what was answered.
pub(crate) struct Clients {
    waiting: Mutex<VecDeque<usize>>,
    pub(crate) answered: AtomicUsize,
    unanswered: AtomicUsize,
    /// By network, provider and consumer: the most that was ever said to be claimed, and settled.
    promised: Mutex<BTreeMap<String, (u128, u128)>>,
}

impl Clients {
    /// Each claim so many times. `spread` is how far from its place a claim may be sent.
    pub(crate) fn new(load: &Load, times: usize, spread: u64, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let all = (0..load.claims.len()).flat_map(|claim| (0..times).map(move |_| claim));
        let mut order: Vec<_> = all
            .map(|claim| {
                (
                    claim as u64 + random.next_u64() % spread.max(1),
                    random.next_u64(),
                    claim,
                )
            })
            .collect();
        order.sort_unstable();
        Self {
            waiting: Mutex::new(order.into_iter().map(|(.., claim)| claim).collect()),
            answered: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
            promised: Mutex::default(),
        }
    }

    /// Sends until everything was answered. `service` says where to, and may say something else every time.
    pub(crate) fn send(&self, load: &Load, service: impl Fn(usize) -> SocketAddr) -> Result<()> {
        while let Some(claim) = self.next() {
            // Whatever is not answered is sent again, by whoever comes to it.
            match redeemd::claim(service(claim), &load.claims[claim]) {
                Ok(answer) if answer.status == 200 => self.note(&answer.json()?)?,
                Ok(answer) if answer.status == 503 => self.put_back(claim),
                Ok(answer) => anyhow::bail!("{}: {}", answer.status, answer.text()),
                Err(error) if error.to_string() == "connect" => self.put_back(claim),
                Err(_) => {
                    self.unanswered.fetch_add(1, Ordering::Relaxed);
                    self.put_back(claim);
                }
            }
        }
        Ok(())
    }

    /// How many claims are still to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.lock().map_or(0, |waiting| waiting.len())
    }

    /// How many requests were answered, and how many were not.
    pub(crate) fn figures(&self) -> (usize, usize) {
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (count(&self.answered), count(&self.unanswered))
    }

    fn next(&self) -> Option<usize> {
        self.waiting.lock().ok()?.pop_front()
    }

    fn put_back(&self, claim: usize) {
        if let Ok(mut waiting) = self.waiting.lock() {
            waiting.push_back(claim);
        }
    }

    fn note(&self, answer: &ClaimAnswer) -> Result<()> {
        let mut promised = self
            .promised
            .lock()
            .ok()
            .context("another thread panicked")?;
        for pair in &answer.pairs {
            ensure!(pair.state.is_kept(), "{pair:?}");
            let key = format!("{} {} {}", pair.network, pair.provider, pair.consumer);
            let most = promised.entry(key).or_default();
            most.0 = most.0.max(pair.claimed_atto.atto());
            most.1 = most.1.max(pair.settled_atto.atto());
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// That the service still has everything it has ever said it had.
    pub(crate) fn nothing_is_lost(&self, load: &Load, service: &Redeemd) -> Result<()> {
        let promised = self
            .promised
            .lock()
            .ok()
            .context("another thread panicked")?;
        let promised = promised.clone();
        for person in &load.people {
            let known: NodeAnswer = node(service, person)?;
            for pair in &known.earned {
                let key = format!("{} {} {}", pair.network, pair.provider, pair.consumer);
                let (claimed, settled) = promised.get(&key).copied().unwrap_or_default();
                let has = (pair.claimed_atto.atto(), pair.settled_atto.atto());
                ensure!(
                    has.0 >= claimed && has.1 >= settled,
                    "{pair:?}, which was {claimed} and {settled}"
                );
            }
        }
        Ok(())
    }
}
