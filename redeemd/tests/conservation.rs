//! Whatever is brought, in whatever order, and whatever payers do meanwhile: no SMT appears, none is lost, and no
//! cheque bounces. The store is a real one; of the chain there are the rules of the cheque book, in a few lines.
//! What the real one does is in `tests/settlement`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use alloy_primitives::Address;
use ed25519_dalek::SigningKey;
use ethereum::key::PrivateKey;
use proptest::prelude::*;
use receipts::log::{Header, Record, SegmentHeader, Writer};
use receipts::{Amount, ContentHash, NetworkId, Offer, Party, Price, Receipt, Terms, Totals};
use redeem_api::Statement;
use redeemd::claim::{Claim, Pair};
use redeemd::room::{Standing, View};
use redeemd::store::{Book, Place, Registered, Registration, Store};
use redeemd::tariff::{Ppm, Tariff};
use tempfile::TempDir;

/// Nodes. Each has an account of its own, but for the last two, which share one.
const NODES: u8 = 4;
const NETWORKS: [&str; 2] = ["village", "valley"];
const FEE_ACCOUNT: Address = Address::repeat_byte(0xfe);
/// How long a lock of the cheque book is, in epochs.
const LOCK_EPOCHS: u128 = 3;
/// Whole ones that are in it wherever it begins.
const EPOCHS_IN_LOCK: u128 = 2;

fn network_id(network: usize) -> NetworkId {
    NetworkId::from_name(NETWORKS.get(network).unwrap())
}

fn key(node: u8) -> SigningKey {
    SigningKey::from_bytes(&[node + 1; 32])
}

fn wallet(node: u8) -> PrivateKey {
    PrivateKey::from_bytes(&[node.min(NODES - 2) + 1; 32]).unwrap()
}

fn account(node: u8) -> Address {
    static ACCOUNTS: LazyLock<Vec<Address>> =
        LazyLock::new(|| (0..NODES).map(|node| wallet(node).address()).collect());
    *ACCOUNTS.get(usize::from(node)).unwrap()
}

fn accounts() -> BTreeSet<Address> {
    (0..NODES).map(account).collect()
}

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    /// A consumer signs for more, in the epoch that is open or a new one.
    Sign {
        network: usize,
        provider: u8,
        consumer: u8,
        mib: u64,
        new_epoch: bool,
    },
    /// Somebody brings the log of a node, up to a record.
    Bring {
        network: usize,
        node: u8,
        records: usize,
    },
    /// A payer's account changes on the chain.
    Deposit {
        payer: u8,
        amount: u128,
    },
    Allow {
        payer: u8,
        amount: u128,
    },
    Announce {
        payer: u8,
        amount: u128,
    },
    Withdraw {
        payer: u8,
    },
    /// Everything is cashed that can be.
    Cash {
        payer: u8,
    },
    NextEpoch,
    Settle {
        payer: u8,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = 0..NODES;
    let network = 0..NETWORKS.len();
    let amount = prop_oneof![0..200_u128, 0..20_000_u128];
    let sign = (
        network.clone(),
        node.clone(),
        node.clone(),
        0..40_u64,
        prop::bool::weighted(0.2),
    )
        .prop_filter("nobody pays itself", |(_, provider, consumer, ..)| {
            provider != consumer
        })
        .prop_map(|(network, provider, consumer, mib, new_epoch)| Step::Sign {
            network,
            provider,
            consumer,
            mib,
            new_epoch,
        });
    let bring =
        (network, node.clone(), 0..40_usize).prop_map(|(network, node, records)| Step::Bring {
            network,
            node,
            records,
        });
    let step = prop_oneof![
        6 => sign,
        6 => bring,
        2 => (node.clone(), amount.clone()).prop_map(|(payer, amount)| Step::Deposit { payer, amount }),
        2 => (node.clone(), amount.clone()).prop_map(|(payer, amount)| Step::Allow { payer, amount }),
        1 => (node.clone(), amount).prop_map(|(payer, amount)| Step::Announce { payer, amount }),
        1 => node.clone().prop_map(|payer| Step::Withdraw { payer }),
        2 => node.clone().prop_map(|payer| Step::Cash { payer }),
        2 => Just(Step::NextEpoch),
        5 => node.prop_map(|payer| Step::Settle { payer }),
    ];
    prop::collection::vec(step, 1..80)
}

/// A payer's account in the cheque book.
#[derive(Debug, Default, Clone)]
struct Deposit {
    balance: u128,
    allowance: u128,
    spent: u128,
    withdrawing: u128,
    /// Epochs until what was announced may be taken.
    wait: u128,
}

/// The cheque book.
#[derive(Debug, Default)]
struct Chain {
    deposits: BTreeMap<Address, Deposit>,
    paid: BTreeMap<(Address, Address), u128>,
    /// What each account has in its pocket, beside its deposit: may be less than nothing.
    purse: BTreeMap<Address, i128>,
}

impl Chain {
    fn view(&self, payer: Address, beneficiaries: &BTreeSet<Address>) -> View {
        let deposit = self.deposits.get(&payer).cloned().unwrap_or_default();
        let paid = |to: &Address| self.paid.get(&(payer, *to)).copied().unwrap_or(0);
        View {
            block: 0,
            standing: Standing {
                reliable: Amount::new(deposit.balance.saturating_sub(deposit.withdrawing)),
                allowance: Amount::new(deposit.allowance),
                names_us: true,
            },
            paid: beneficiaries
                .iter()
                .map(|to| (*to, Amount::new(paid(to))))
                .collect(),
        }
    }

    fn cash(&mut self, issuer: Address, beneficiary: Address, cumulative: u128) {
        let deposit = self.deposits.entry(issuer).or_default();
        let paid = self.paid.entry((issuer, beneficiary)).or_default();
        let left = deposit.allowance.saturating_sub(deposit.spent);
        let amount = cumulative
            .saturating_sub(*paid)
            .min(deposit.balance)
            .min(left);
        *paid += amount;
        deposit.balance -= amount;
        deposit.spent += amount;
        *self.purse.entry(beneficiary).or_default() += i128::try_from(amount).unwrap();
    }
}

/// What a node has written down in a network.
#[derive(Debug, Default, Clone)]
struct Log(Vec<Record>);

struct World {
    store: Store,
    terms: redeemd::store::Terms,
    chain: Chain,
    logs: BTreeMap<(usize, u8), Log>,
    /// The last receipt of each pair, and its offer.
    last: BTreeMap<(usize, u8, u8), (Offer, Option<Receipt>)>,
    /// Of each epoch that was brought, the most that was signed.
    brought: BTreeMap<(Pair, u64), u128>,
}

impl World {
    async fn new(directory: &TempDir, tariff: Tariff) -> Self {
        let url = format!("sqlite:{}", directory.path().join("redeemd.db").display());
        let book = Book {
            chain_id: 1,
            address: Address::repeat_byte(0xbb),
            settlement_key: Address::repeat_byte(0xcc),
        };
        let store = Store::open(&url, &book).await.unwrap();
        for node in 0..NODES {
            let statement = Statement {
                chain_id: book.chain_id,
                book: book.address,
                node: Party::of(&key(node)),
                account: account(node),
                sequence: 1,
            };
            let registration = Registration {
                node: statement.node,
                account: statement.account,
                sequence: statement.sequence,
                node_signature: statement.sign_as_node(&key(node)).0,
                account_signature: statement.sign_as_account(&wallet(node)).0,
            };
            assert_eq!(
                store.register(&registration).await.unwrap(),
                Registered::Done
            );
            store.add_payer(account(node)).await.unwrap();
        }
        Self {
            store,
            terms: redeemd::store::Terms {
                tariffs: BTreeMap::new(),
                others: Some(tariff),
                fee_account: FEE_ACCOUNT,
                takes_over: false,
            },
            chain: Chain::default(),
            logs: BTreeMap::new(),
            last: BTreeMap::new(),
            brought: BTreeMap::new(),
        }
    }

    async fn step(&mut self, step: &Step) {
        match *step {
            Step::Sign {
                network,
                provider,
                consumer,
                mib,
                new_epoch,
            } => {
                self.sign(network, provider, consumer, mib, new_epoch);
            }
            Step::Bring {
                network,
                node,
                records,
            } => self.bring(network, node, records).await,
            Step::Deposit { payer, amount } => {
                *self.chain.purse.entry(account(payer)).or_default() -=
                    i128::try_from(amount).unwrap();
                self.deposit(payer).balance += amount;
            }
            Step::Allow { payer, amount } => {
                // Less would be asked for, and while it is, nothing is reliable.
                let deposit = self.deposit(payer);
                deposit.allowance = deposit.allowance.max(amount);
            }
            Step::Announce { payer, amount } => {
                let deposit = self.deposit(payer);
                deposit.withdrawing = amount.min(deposit.balance);
                deposit.wait = LOCK_EPOCHS;
            }
            Step::Withdraw { payer } => self.withdraw(payer).await,
            Step::Cash { payer } => self.cash(account(payer)).await,
            Step::NextEpoch => {
                for deposit in self.chain.deposits.values_mut() {
                    deposit.spent = 0;
                    deposit.wait = deposit.wait.saturating_sub(1);
                }
            }
            Step::Settle { payer } => self.settle(account(payer)).await,
        }
    }

    fn deposit(&mut self, payer: u8) -> &mut Deposit {
        self.chain.deposits.entry(account(payer)).or_default()
    }

    fn sign(&mut self, network: usize, provider: u8, consumer: u8, mib: u64, new_epoch: bool) {
        let pair = (network, provider, consumer);
        let id = network_id(network);
        let known = self.last.get(&pair).filter(|_| !new_epoch);
        let (offer, before) = known.cloned().unwrap_or_else(|| {
            let last = self.last.get(&pair);
            let epoch = last.map_or(1, |(offer, _)| offer.epoch() + 1);
            let terms = Terms {
                gateway: Party::of(&key(provider)),
                price: Price::new(u64::from(provider) + 1),
                credit_bytes: 0,
                previous: ContentHash::NONE,
            };
            let offer = Offer::sign(&key(provider), id, Party::of(&key(consumer)), epoch, terms);
            self.log(network, provider)
                .0
                .push(Record::OfferMade(offer.clone()));
            self.log(network, consumer)
                .0
                .push(Record::OfferAccepted(offer.clone()));
            (offer, None)
        });
        let signed = before.as_ref().map_or(Totals::ZERO, |it| *it.totals());
        let totals = Totals {
            up_bytes: signed.up_bytes + mib * receipts::MIB,
            seconds: signed.seconds + 1,
            ..signed
        };
        let receipt = Receipt::sign(&key(consumer), &offer, before.as_ref(), totals).unwrap();
        self.log(network, provider)
            .0
            .push(Record::ReceiptReceived(receipt.clone()));
        self.log(network, consumer)
            .0
            .push(Record::ReceiptGiven(receipt.clone()));
        self.last.insert(pair, (offer, Some(receipt)));
    }

    fn log(&mut self, network: usize, node: u8) -> &mut Log {
        self.logs.entry((network, node)).or_default()
    }

    async fn bring(&mut self, network: usize, node: u8, records: usize) {
        let log = self.log(network, node).clone();
        let records = log.0.get(..records).unwrap_or(&log.0);
        let (mut writer, mut bytes) = Writer::create(&SegmentHeader::first(Header {
            network: network_id(network),
            owner: Party::of(&key(node)),
        }));
        for record in records {
            bytes.extend(writer.append(record));
        }
        bytes.extend(writer.end(records.len() as u64));
        let claim = Claim::verify(&bytes).unwrap();
        for pair in &claim.pairs {
            for (epoch, signed) in &pair.receipts {
                let most = self.brought.entry((pair.pair, *epoch)).or_default();
                *most = signed.receipt.amount().atto_smt().max(*most);
            }
        }
        self.store.accept(&claim.pairs).await.unwrap();
    }

    async fn settle(&mut self, payer: Address) {
        let first = Place::default();
        let asked = self.store.beneficiaries(payer, FEE_ACCOUNT, &first);
        let asked = asked.await.unwrap();
        let view = self.chain.view(payer, &asked);
        self.store
            .settle(payer, &[view], &self.terms, &first)
            .await
            .unwrap();
    }

    async fn cash(&mut self, issuer: Address) {
        for beneficiary in accounts().into_iter().chain([FEE_ACCOUNT]) {
            for cheque in self
                .store
                .cheques(beneficiary, Address::ZERO)
                .await
                .unwrap()
            {
                if cheque.issuer == issuer {
                    let cumulative = cheque.cumulative.atto_smt();
                    self.chain.cash(issuer, beneficiary, cumulative);
                }
            }
        }
    }

    /// Before the lock is over, providers cash: in two whole epochs they get all of it.
    async fn withdraw(&mut self, payer: u8) {
        if self.deposit(payer).wait > 0 {
            return;
        }
        for _ in 0..EPOCHS_IN_LOCK {
            self.deposit(payer).spent = 0;
            self.cash(account(payer)).await;
        }
        assert_eq!(
            self.outstanding(account(payer)).await,
            0,
            "a cheque bounced"
        );
        let deposit = self.deposit(payer);
        let amount = deposit.withdrawing.min(deposit.balance);
        deposit.balance -= amount;
        deposit.withdrawing = 0;
        *self.chain.purse.entry(account(payer)).or_default() += i128::try_from(amount).unwrap();
    }

    async fn outstanding(&self, issuer: Address) -> u128 {
        let mut sum = 0;
        for beneficiary in accounts().into_iter().chain([FEE_ACCOUNT]) {
            let cheques = self
                .store
                .cheques(beneficiary, Address::ZERO)
                .await
                .unwrap();
            for cheque in cheques.iter().filter(|cheque| cheque.issuer == issuer) {
                let paid = self.chain.paid.get(&(issuer, beneficiary)).copied();
                sum += cheque.cumulative.atto_smt() - paid.unwrap_or(0);
            }
        }
        sum
    }

    async fn check(&mut self) {
        for payer in accounts() {
            let deposit = self.chain.deposits.get(&payer).cloned().unwrap_or_default();
            let outstanding = self.outstanding(payer).await;
            assert!(
                outstanding <= deposit.balance,
                "more is signed than is there"
            );
            assert!(
                outstanding <= deposit.allowance * EPOCHS_IN_LOCK,
                "more is signed than can be cashed within the lock"
            );
        }
        let audit = self.store.audit().await.unwrap();
        assert_eq!(audit.findings, []);
        assert_eq!(audit.debits, audit.credits.checked_add(audit.fees).unwrap());
        let brought = self.brought.values().sum::<u128>();
        assert_eq!(audit.claimed.atto_smt(), brought, "each epoch counts once");
        assert!(audit.debits <= audit.claimed);
    }

    /// What all accounts but the service's have together.
    fn wealth(&self) -> i128 {
        let purses = accounts()
            .into_iter()
            .map(|it| self.chain.purse.get(&it).copied());
        let deposits = self.chain.deposits.values().map(|it| it.balance);
        purses.map(Option::unwrap_or_default).sum::<i128>()
            + i128::try_from(deposits.sum::<u128>()).unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_smt_appears_and_no_cheque_bounces(
        steps in steps(),
        fee in 0..200_000_u32,
        bonus_per_second in 0..5_u64,
        share in 0..1_000_000_u32,
    ) {
        let tariff = Tariff {
            maximum_price: Price::MAX,
            minimum_amount: Amount::ZERO,
            fee: Ppm::new(fee).unwrap(),
            bonus_per_second,
            bonus_share: Ppm::new(share).unwrap(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = TempDir::new().unwrap();
            let mut world = World::new(&directory, tariff).await;
            for step in &steps {
                world.step(step).await;
            }
            world.check().await;
            // All of them collude: together they have what they had, less what the service kept.
            for node in 0..NODES {
                world.settle(account(node)).await;
            }
            for payer in accounts() {
                world.cash(payer).await;
            }
            world.check().await;
            let fees = world.chain.purse.get(&FEE_ACCOUNT).copied().unwrap_or_default();
            assert_eq!(world.wealth() + fees, 0, "SMT appeared or vanished");
            if world.store.audit().await.unwrap().debits > Amount::ZERO && fee > 0 {
                assert!(world.store.audit().await.unwrap().fees > Amount::ZERO, "a ring lost nothing");
            }
        });
    }
}
