//! What is signed on a payer: as much as is certain to be paid.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::command;
use mesh_tests::contracts::SmtChequeBook::{requestWithdrawalCall, withdrawCall};
use mesh_tests::redeemd::Redeemd;
use mesh_tests::wait::wait_for;
use redeem_api::{ClaimAnswer, PairAnswer, PairState};
use std::time::{Duration, Instant};

use crate::exports::{PRICE, Trade};
use crate::hostile::is_problem;
use crate::valley::{EPOCH, PLENTY, Person, Valley, node, with_both, with_sqlite};

/// How long a service waits for a connection to its chain's node.
const CONNECT: Duration = Duration::from_secs(5);

/// A round is made every minute, and at the start.
const ROUND: Duration = Duration::from_secs(120);

pub(crate) fn tests() -> Vec<Trial> {
    let mut trials = with_both("an_allowance_is_signed_twice_in_advance", allowance);
    trials.extend([
        with_sqlite(
            "who_has_no_deposit_or_another_service_owes_nothing_here",
            strangers,
        ),
        with_sqlite("nothing_is_signed_while_a_change_is_announced", change),
        with_sqlite("cheques_are_covered_whatever_is_withdrawn", withdrawal),
        with_sqlite("a_deposit_is_given_out_once_and_more_by_itself", deposit),
        with_sqlite("what_comes_while_the_chain_is_away_is_kept", unreachable),
        with_sqlite("a_chain_that_hangs_keeps_nobody_waiting", hanging),
        with_sqlite("what_is_not_final_is_not_counted_on", confirmations),
        with_sqlite("dear_receipts_and_other_networks_are_not_taken", tariffs),
        with_sqlite(
            "a_number_that_no_database_counts_spoils_nothing_else",
            huge_epoch,
        ),
    ]);
    trials
}

struct Pair {
    relay: Person,
    phone: Person,
}

impl Pair {
    fn new() -> Result<Self> {
        Ok(Self {
            relay: Person::new("relay")?,
            phone: Person::new("phone")?,
        })
    }

    fn register(&self, valley: &Valley, service: &Redeemd) -> Result<()> {
        valley.register(service, &self.relay)?;
        valley.register(service, &self.phone)
    }

    fn trade(&self) -> Trade<'_> {
        Trade {
            network: "village",
            provider: &self.relay.node,
            consumer: &self.phone.node,
        }
    }

    /// Brings receipts of one epoch for so many MiB.
    fn bring(&self, service: &Redeemd, mib: u64) -> Result<PairAnswer> {
        bring(service, &self.trade().export([(1, mib)])?)
    }
}

fn bring(service: &Redeemd, export: &[u8]) -> Result<PairAnswer> {
    let mut answer: ClaimAnswer = service.claim(export)?.json()?;
    answer.pairs.pop().context("no pair")
}

/// That so many MiB are claimed, and of these so many settled.
fn is(answer: &PairAnswer, claimed: u64, settled: u64, state: PairState) -> Result<()> {
    let figures = (answer.claimed_atto.atto(), answer.settled_atto.atto());
    let expected = (smt(claimed), smt(settled));
    ensure!(
        figures == expected && answer.state == state,
        "{answer:?}, expected {expected:?} {state:?}"
    );
    Ok(())
}

fn smt(mib: u64) -> u128 {
    u128::from(mib * PRICE)
}

fn strangers(valley: &Valley) -> Result<()> {
    let service = valley.start()?;
    let pair = Pair::new()?;
    is(&pair.bring(&service, 1)?, 0, 0, PairState::ProviderUnknown)?;
    valley.register(&service, &pair.relay)?;
    is(&pair.bring(&service, 1)?, 0, 0, PairState::ConsumerUnknown)?;
    valley.register(&service, &pair.phone)?;
    is(&pair.bring(&service, 1)?, 0, 0, PairState::NoDeposit)?;
    valley.deposit(&pair.phone, PLENTY)?;
    is(&pair.bring(&service, 1)?, 0, 0, PairState::NoDeposit)?;
    pays_nothing(valley, &service, &pair)?;
    // It names the fee account, which is nobody's key.
    valley.authorize(&pair.phone, valley.settings.fee_account, PLENTY)?;
    is(&pair.bring(&service, 1)?, 0, 0, PairState::NoDeposit)?;
    ensure!(valley.audit()?.contains("0 receipts of 0 pairs"));
    // It changes its mind: three days later that counts.
    valley.authorize(&pair.phone, valley.key, PLENTY)?;
    is(&pair.bring(&service, 1)?, 0, 0, PairState::NoDeposit)?;
    valley.chain.pass(3 * EPOCH)?;
    let apply = mesh_tests::contracts::SmtChequeBook::applyChangeCall {};
    valley
        .chain
        .send(pair.phone.account(), valley.book, &apply)?;
    is(&pair.bring(&service, 1)?, 1, 1, PairState::Settled)
}

/// Who has a deposit and allows nothing of it, or allows much and has none.
fn pays_nothing(valley: &Valley, service: &Redeemd, pair: &Pair) -> Result<()> {
    for (name, deposit, allowance) in [("miser", PLENTY, 0), ("beggar", 0, PLENTY)] {
        let stranger = Person::new(name)?;
        valley.register(service, &stranger)?;
        valley.deposit(&stranger, deposit)?;
        valley.authorize(&stranger, valley.key, allowance)?;
        let trade = Trade {
            consumer: &stranger.node,
            ..pair.trade()
        };
        let answer = bring(service, &trade.export([(1, 1)])?)?;
        is(&answer, 0, 0, PairState::NoDeposit).context(name)?;
    }
    Ok(())
}

fn change(valley: &Valley) -> Result<()> {
    let service = valley.start()?;
    let pair = Pair::new()?;
    pair.register(valley, &service)?;
    valley.enroll(&pair.phone)?;
    is(&pair.bring(&service, 1)?, 1, 1, PairState::Settled)?;
    valley.authorize(&pair.phone, valley.key, 1)?;
    is(&pair.bring(&service, 2)?, 2, 1, PairState::DepositUsedUp)?;
    valley.chain.pass(3 * EPOCH)?;
    let apply = mesh_tests::contracts::SmtChequeBook::applyChangeCall {};
    // What was signed before is paid before.
    valley.cash(&valley.cheque(&service, pair.relay.account())?)?;
    valley.cash(&valley.cheque(&service, valley.settings.fee_account)?)?;
    valley
        .chain
        .send(pair.phone.account(), valley.book, &apply)?;
    let left = pair.bring(&service, 2)?;
    ensure!(left.state == PairState::AllowanceUsedUp, "{left:?}");
    ensure!(
        left.settled_atto.atto() == smt(1) + 2,
        "two of 1 atto: {left:?}"
    );
    // It leaves.
    valley.authorize(&pair.phone, valley.settings.fee_account, 1)?;
    valley.chain.pass(3 * EPOCH)?;
    valley
        .chain
        .send(pair.phone.account(), valley.book, &apply)?;
    let left = pair.bring(&service, 3)?;
    ensure!(left.state == PairState::PayerLeft, "{left:?}");
    ensure!(
        left.claimed_atto.atto() == smt(3),
        "what is owed is kept: {left:?}"
    );
    valley.audit().map(drop)
}

fn allowance(valley: &Valley) -> Result<()> {
    let service = valley.start()?;
    let pair = Pair::new()?;
    pair.register(valley, &service)?;
    valley.deposit(&pair.phone, PLENTY)?;
    valley.authorize(&pair.phone, valley.key, smt(10))?;
    is(
        &pair.bring(&service, 50)?,
        50,
        20,
        PairState::AllowanceUsedUp,
    )?;
    let (relay, fees) = (pair.relay.account(), valley.settings.fee_account);
    // The fee is cashed first each day, so that of ten go to the relay what it leaves.
    valley.cash(&valley.cheque(&service, fees)?)?;
    valley.cash(&valley.cheque(&service, relay)?)?;
    ensure!(valley.tokens(relay)? + valley.tokens(fees)? == smt(10));
    is(
        &pair.bring(&service, 50)?,
        50,
        30,
        PairState::AllowanceUsedUp,
    )?;
    valley.chain.pass(EPOCH)?;
    is(
        &pair.bring(&service, 50)?,
        50,
        30,
        PairState::AllowanceUsedUp,
    )?;
    valley.cash(&valley.cheque(&service, relay)?)?;
    // Nobody brings anything: a service settles when it begins, and in rounds.
    service.stop()?;
    let service = valley.start()?;
    wait_for("more to be settled", ROUND, || {
        let known = node(&service, &pair.relay)?;
        is(&known.earned[0], 50, 40, PairState::Pending)
    })?;
    valley.chain.pass(EPOCH)?;
    valley.cash(&valley.cheque(&service, relay)?)?;
    is(&pair.bring(&service, 50)?, 50, 50, PairState::Settled)?;
    for _ in 0..5 {
        valley.chain.pass(EPOCH)?;
        for account in [relay, fees] {
            // All of it may have been cashed.
            let _ = valley.cash(&valley.cheque(&service, account)?);
        }
    }
    let owed = smt(50);
    ensure!(
        valley.tokens(fees)? == owed / 100,
        "{}",
        valley.tokens(fees)?
    );
    ensure!(valley.tokens(relay)? == owed - owed / 100);
    valley.audit().map(drop)
}

/// A payer announces to take everything back, and does as soon as it may.
fn withdrawal(valley: &Valley) -> Result<()> {
    let service = valley.start()?;
    let pair = Pair::new()?;
    pair.register(valley, &service)?;
    valley.deposit(&pair.phone, smt(100))?;
    valley.authorize(&pair.phone, valley.key, smt(30))?;
    is(&pair.bring(&service, 60)?, 60, 60, PairState::Settled)?;
    let payer = pair.phone.account();
    let amount = smt(100).try_into()?;
    valley
        .chain
        .send(payer, valley.book, &requestWithdrawalCall { amount })?;
    is(&pair.bring(&service, 90)?, 90, 60, PairState::DepositUsedUp)?;
    let accounts = [valley.settings.fee_account, pair.relay.account()];
    for _ in 0..3 {
        for account in accounts {
            let _ = valley.cash(&valley.cheque(&service, account)?);
        }
        valley.chain.pass(EPOCH)?;
    }
    let mut paid = 0;
    for account in accounts {
        paid += valley.tokens(account)?;
        let cheque = valley.cheque(&service, account)?;
        let given: u128 = cheque.cheque.cumulative.try_into()?;
        ensure!(valley.paid(payer, account)? == given, "a cheque bounced");
    }
    ensure!(paid == smt(60), "{paid}");
    valley.chain.send(payer, valley.book, &withdrawCall {})?;
    ensure!(valley.tokens(payer)? == smt(40));
    is(&pair.bring(&service, 90)?, 90, 60, PairState::DepositUsedUp)?;
    valley.audit().map(drop)
}

fn deposit(valley: &Valley) -> Result<()> {
    let service = valley.start()?;
    let pair = Pair::new()?;
    pair.register(valley, &service)?;
    valley.deposit(&pair.phone, smt(3))?;
    valley.authorize(&pair.phone, valley.key, PLENTY)?;
    is(&pair.bring(&service, 7)?, 7, 3, PairState::DepositUsedUp)?;
    valley.cash(&valley.cheque(&service, pair.relay.account())?)?;
    is(&pair.bring(&service, 7)?, 7, 3, PairState::DepositUsedUp)?;
    valley.deposit(&pair.phone, smt(10))?;
    service.stop()?;
    let service = valley.start()?;
    wait_for("a round", ROUND, || {
        is(
            &node(&service, &pair.relay)?.earned[0],
            7,
            7,
            PairState::Settled,
        )
    })?;
    valley.audit().map(drop)
}

/// Nobody is let through to this chain.
struct Cut;

impl Cut {
    /// Whoever asks is refused, and connections that there are, are reset.
    fn new(valley: &Valley) -> Result<Self> {
        Self::by(valley, "reject with tcp reset")
    }

    /// Whoever asks hears nothing.
    fn silent(valley: &Valley) -> Result<Self> {
        Self::by(valley, "drop")
    }

    fn by(valley: &Valley, verdict: &str) -> Result<Self> {
        let port = valley.chain.rpc().port();
        let table = format!(
            "table inet cut {{\n chain out {{\n type filter hook output priority 0;\n \
             tcp dport {port} {verdict}\n }}\n }}\n"
        );
        command::run_with("nft", "-f -", Some(&table))?;
        Ok(Self)
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        let _ = command::run("nft", "delete table inet cut");
    }
}

fn unreachable(valley: &Valley) -> Result<()> {
    let pair = Pair::new()?;
    let stranger = Person::new("stranger")?;
    let service = valley.start()?;
    pair.register(valley, &service)?;
    valley.register(&service, &stranger)?;
    valley.enroll(&pair.phone)?;
    valley.enroll(&stranger)?;
    is(&pair.bring(&service, 1)?, 1, 1, PairState::Settled)?;
    let others = Trade {
        consumer: &stranger.node,
        ..pair.trade()
    };
    let cut = Cut::new(valley)?;
    is(&pair.bring(&service, 5)?, 5, 1, PairState::Pending)?;
    is_problem(&service.claim(&others.export([(1, 1)])?)?, 503)?;
    service.stop()?;
    // It also begins without.
    let service = valley.start()?;
    is(&pair.bring(&service, 6)?, 6, 1, PairState::Pending)?;
    drop(cut);
    is(
        &bring(&service, &others.export([(1, 1)])?)?,
        1,
        1,
        PairState::Settled,
    )?;
    is(&pair.bring(&service, 6)?, 6, 6, PairState::Settled)?;
    valley.audit()?;
    other_chain_later(valley, &pair)
}

/// A node that does not answer at the start, and then is one of another chain.
fn other_chain_later(valley: &Valley, pair: &Pair) -> Result<()> {
    let settings = mesh_tests::redeemd::Settings {
        chain_id: 1,
        database: valley.database.create()?,
        ..valley.settings.clone()
    };
    let cut = Cut::new(valley)?;
    let service = Redeemd::start(&settings)?;
    wait_for("the chain to be missed", ROUND, || {
        let said = service.said();
        ensure!(said.contains("settled when the chain answers"), said);
        Ok(())
    })?;
    drop(cut);
    for person in [&pair.relay, &pair.phone] {
        let statement = redeem_api::Statement {
            chain_id: 1,
            book: valley.book,
            node: receipts::Party::of(&person.node),
            account: person.account(),
            sequence: 1,
        };
        let request = redeem_api::RegistrationRequest {
            node_signature: statement.sign_as_node(&person.node),
            account_signature: statement.sign_as_account(&person.wallet),
            ..valley.registration(person, 1)
        };
        let answer = service.post("/v1/registrations", &request)?;
        ensure!(answer.status == 200, "{}", answer.text());
    }
    is_problem(&service.claim(&pair.trade().export([(1, 1)])?)?, 503).map(drop)
}

fn hanging(valley: &Valley) -> Result<()> {
    let pair = Pair::new()?;
    let stranger = Person::new("stranger")?;
    let service = valley.start()?;
    pair.register(valley, &service)?;
    valley.register(&service, &stranger)?;
    valley.enroll(&pair.phone)?;
    is(&pair.bring(&service, 1)?, 1, 1, PairState::Settled)?;
    service.stop()?;
    let cut = Cut::silent(valley)?;
    let starting = Instant::now();
    let service = valley.start()?;
    let took = starting.elapsed();
    ensure!(took < CONNECT, "it listens after {took:?}");
    is(&pair.bring(&service, 5)?, 5, 1, PairState::Pending)?;
    let others = Trade {
        consumer: &stranger.node,
        ..pair.trade()
    };
    let answer = service.claim(&others.export([(1, 1)])?)?;
    is_problem(&answer, 503)?;
    answer.header("retry-after").context("for how long?")?;
    chain_is(&service, 503, "redeemd_chain_up 0")?;
    drop(cut);
    is(&pair.bring(&service, 6)?, 6, 6, PairState::Settled)?;
    chain_is(&service, 200, "redeemd_chain_up 1")?;
    valley.audit().map(drop)
}

/// What whoever runs the service sees of the chain's node.
fn chain_is(service: &Redeemd, status: u16, metric: &str) -> Result<()> {
    let health = service.get("/healthz")?;
    ensure!(health.status == status, "{health:?}");
    let metrics = service.get("/metrics")?;
    let text = String::from_utf8_lossy(&metrics.body);
    ensure!(text.lines().any(|line| line == metric), "{text}");
    Ok(())
}

fn confirmations(valley: &Valley) -> Result<()> {
    let settings = mesh_tests::redeemd::Settings {
        confirmations: 3,
        ..valley.settings.clone()
    };
    let service = Redeemd::start(&settings)?;
    let pair = Pair::new()?;
    pair.register(valley, &service)?;
    valley.enroll(&pair.phone)?;
    // The payer came with the last block: three more make it final.
    for _ in 0..3 {
        is(&pair.bring(&service, 1)?, 0, 0, PairState::NoDeposit)?;
        valley.chain.pass(12)?;
    }
    is(&pair.bring(&service, 1)?, 1, 1, PairState::Settled)
}

fn tariffs(valley: &Valley) -> Result<()> {
    let settings = mesh_tests::redeemd::Settings {
        tariffs: serde_json::json!([
            { "network": "village", "maximum_price": PRICE, "minimum_amount": PRICE }
        ]),
        ..valley.settings.clone()
    };
    let service = Redeemd::start(&settings)?;
    let pair = Pair::new()?;
    pair.register(valley, &service)?;
    valley.enroll(&pair.phone)?;
    let elsewhere = Trade {
        network: "city",
        ..pair.trade()
    };
    let answer = bring(&service, &elsewhere.export([(1, 1)])?)?;
    is(&answer, 0, 0, PairState::NetworkUnknown)?;
    for (price, state) in [(PRICE + 1, PairState::TooDear), (0, PairState::Free)] {
        is(&bring(&service, &priced(&pair, price, 1)?)?, 0, 0, state)?;
    }
    is(
        &bring(&service, &priced(&pair, PRICE - 1, 1)?)?,
        0,
        0,
        PairState::Free,
    )?;
    is(&pair.bring(&service, 1)?, 1, 1, PairState::Settled)?;
    // It adds half of what has to be added.
    let little = priced(&pair, PRICE * 3 / 4, 2)?;
    is(&bring(&service, &little)?, 1, 1, PairState::Settled)?;
    is(&pair.bring(&service, 2)?, 2, 2, PairState::Settled)
}

fn priced(pair: &Pair, price: u64, mib: u64) -> Result<Vec<u8>> {
    let trade = pair.trade();
    let offer = trade.offer(1, price);
    let receipt = trade.receipt(&offer, None, mib)?;
    let records = [
        receipts::log::Record::OfferMade(offer),
        receipts::log::Record::ReceiptReceived(receipt),
    ];
    Ok(crate::exports::export(
        "village",
        &pair.relay.node,
        &records,
    ))
}

/// A provider chooses the numbers of epochs. What it offers to others is in their logs too, and these have to
/// remain worth something.
fn huge_epoch(valley: &Valley) -> Result<()> {
    let service = valley.start()?;
    let pair = Pair::new()?;
    pair.register(valley, &service)?;
    valley.enroll(&pair.phone)?;
    let epochs = [(1, 1), (1 << 63, 2), (u64::MAX, 3)];
    is(
        &bring(&service, &pair.trade().export(epochs)?)?,
        6,
        6,
        PairState::Settled,
    )?;
    is(
        &bring(&service, &pair.trade().export(epochs)?)?,
        6,
        6,
        PairState::Settled,
    )?;
    valley.audit().map(drop)
}
