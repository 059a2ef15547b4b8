//! What may happen, and in which proportions.

use std::fmt;

use proptest::prelude::*;
use receipts::{Amount, Price};
use redeemd::tariff::{Ppm, Tariff};

use super::chain::CONFIRMATIONS;
use super::people::{ACCOUNTS, NETWORKS, NODES, first_account};

/// Settlement services, each with a cheque book of its own.
pub(super) const BOOKS: usize = 2;
/// Of each service, on one database. Each asks a node of its own what the chain says.
pub(super) const PROCESSES: usize = 2;

/// Something that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A consumer signs for more, in the epoch that is open or a new one.
    Sign {
        network: usize,
        provider: usize,
        consumer: usize,
        mib: u64,
        new_epoch: bool,
    },
    /// A consumer signs two receipts for one place, gives one away and keeps the other.
    Contradict {
        network: usize,
        provider: usize,
        consumer: usize,
        given: u64,
        kept: u64,
    },
    /// Somebody brings the log of a node, up to a record.
    Bring {
        book: usize,
        process: usize,
        network: usize,
        node: usize,
        records: usize,
    },
    /// A node moves to another account, if it has one with this service at all.
    Register {
        book: usize,
        process: usize,
        node: usize,
        account: usize,
    },
    /// A payer does something on a chain.
    Pay {
        book: usize,
        payer: usize,
        act: Act,
    },
    /// All cheques on a payer are cashed, as far as it goes.
    Cash {
        book: usize,
        payer: usize,
    },
    NextEpoch,
    /// The newest blocks of a chain were none.
    Reorganize {
        book: usize,
        blocks: usize,
    },
    /// A process asks a node that is so many blocks behind.
    Look(Look),
    /// A process goes by what it was told, whatever has happened since. If it has not asked, it does.
    Settle(Look),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) book: usize,
    pub(super) process: usize,
    pub(super) payer: usize,
    pub(super) behind: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Deposit(u128),
    /// Less would be asked for, and while it is, nothing is reliable.
    AllowAtLeast(u128),
    Announce(u128),
    Withdraw,
}

/// What a second cheque book differs in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Elsewhere {
    /// Another contract on the same chain.
    Contract,
    /// The same address on another chain.
    Chain,
}

/// A run.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) elsewhere: Elsewhere,
    /// With which of the services each node registers.
    pub(super) members: Vec<[bool; BOOKS]>,
    /// What each account begins with at each cheque book: deposit and allowance.
    pub(super) funds: Vec<[(u128, u128); BOOKS]>,
    pub(super) tariff: Tariff,
    pub(super) steps: Vec<Step>,
}

/// A line for each step, however it is asked for.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "another {:?}, {:?}", self.elsewhere, self.tariff)?;
        writeln!(f, "members {:?}, funds {:?}", self.members, self.funds)?;
        let mut steps = self.steps.iter();
        steps.try_for_each(|step| writeln!(f, "{step:?}"))
    }
}

pub(super) fn plans() -> impl Strategy<Value = Plan> {
    let elsewhere = prop_oneof![Just(Elsewhere::Contract), Just(Elsewhere::Chain)];
    let fund = || (amount(), amount());
    let funds = prop::collection::vec([fund(), fund()], ACCOUNTS);
    let steps = prop::collection::vec(step(), 1..120);
    (elsewhere, members(), funds, tariff(), steps).prop_map(
        |(elsewhere, members, funds, tariff, steps)| Plan {
            elsewhere,
            members,
            funds,
            tariff,
            steps,
        },
    )
}

/// Of receipts, a few make 200.
fn amount() -> impl Strategy<Value = u128> {
    prop_oneof![0..200_u128, 0..2_000_u128]
}

fn members() -> impl Strategy<Value = Vec<[bool; BOOKS]>> {
    let member = prop_oneof![
        6 => Just([true, false]),
        1 => Just([false, true]),
        2 => Just([true, true]),
        1 => Just([false, false]),
    ];
    prop::collection::vec(member, NODES)
}

fn tariff() -> impl Strategy<Value = Tariff> {
    let share = 0..1_000_000_u32;
    (0..200_000_u32, 0..5_u64, share).prop_map(|(fee, bonus_per_second, share)| Tariff {
        maximum_price: Price::MAX,
        minimum_amount: Amount::ZERO,
        fee: Ppm::new(fee).expect("less than a million"),
        bonus_per_second,
        bonus_share: Ppm::new(share).expect("less than a million"),
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => sign(),
        1 => contradict(),
        10 => bring(),
        3 => register(),
        8 => pay(),
        4 => (book(), account()).prop_map(|(book, payer)| Step::Cash { book, payer }),
        3 => Just(Step::NextEpoch),
        4 => (book(), 1..=CONFIRMATIONS).prop_map(|(book, blocks)| Step::Reorganize { book, blocks }),
        4 => look().prop_map(Step::Look),
        12 => look().prop_map(Step::Settle),
    ]
}

/// Most of it happens in one place, and is about one account, or little would come together.
fn book() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(0_usize), 1 => Just(1_usize)]
}

/// Often that of the last two nodes.
fn account() -> impl Strategy<Value = usize> {
    prop_oneof![Just(first_account(NODES - 1)), 0..ACCOUNTS]
}

/// A provider, and a consumer that is another node.
fn pair() -> impl Strategy<Value = (usize, usize)> {
    let consumer = prop_oneof![NODES - 2..NODES, 0..NODES];
    let others = |consumer| (1..NODES).prop_map(move |next| ((consumer + next) % NODES, consumer));
    consumer.prop_flat_map(others)
}

fn sign() -> impl Strategy<Value = Step> {
    let new_epoch = prop::bool::weighted(0.2);
    (0..NETWORKS, pair(), 0..40_u64, new_epoch).prop_map(
        |(network, (provider, consumer), mib, new_epoch)| Step::Sign {
            network,
            provider,
            consumer,
            mib,
            new_epoch,
        },
    )
}

fn contradict() -> impl Strategy<Value = Step> {
    (0..NETWORKS, pair(), 0..40_u64, 0..40_u64).prop_map(
        |(network, (provider, consumer), given, kept)| Step::Contradict {
            network,
            provider,
            consumer,
            given,
            kept,
        },
    )
}

fn bring() -> impl Strategy<Value = Step> {
    let records = prop_oneof![0..40_usize, Just(usize::MAX)];
    (book(), 0..PROCESSES, 0..NETWORKS, 0..NODES, records).prop_map(
        |(book, process, network, node, records)| Step::Bring {
            book,
            process,
            network,
            node,
            records,
        },
    )
}

fn register() -> impl Strategy<Value = Step> {
    (book(), 0..PROCESSES, 0..NODES, account()).prop_map(|(book, process, node, account)| {
        Step::Register {
            book,
            process,
            node,
            account,
        }
    })
}

fn pay() -> impl Strategy<Value = Step> {
    let act = prop_oneof![
        3 => amount().prop_map(Act::Deposit),
        3 => amount().prop_map(Act::AllowAtLeast),
        2 => amount().prop_map(Act::Announce),
        2 => Just(Act::Withdraw),
    ];
    (book(), account(), act).prop_map(|(book, payer, act)| Step::Pay { book, payer, act })
}

fn look() -> impl Strategy<Value = Look> {
    let behind = prop_oneof![Just(0), 0..2 * CONFIRMATIONS];
    (book(), 0..PROCESSES, account(), behind).prop_map(|(book, process, payer, behind)| Look {
        book,
        process,
        payer,
        behind,
    })
}
