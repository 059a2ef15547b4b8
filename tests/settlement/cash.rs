//! From receipts to tokens.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use receipts::Amount;
use redeem_api::{ClaimAnswer, PairState};

use crate::exports::{FEE_PPM, PRICE, Trade};
use crate::valley::{PLENTY, Person, Valley, node, with_both};

pub(crate) fn tests() -> Vec<Trial> {
    with_both("receipts_become_tokens", receipts_become_tokens)
}

fn receipts_become_tokens(valley: &Valley) -> Result<()> {
    let (relay, phone) = (Person::new("relay")?, Person::new("phone")?);
    let service = valley.start()?;
    valley.enroll(&phone)?;
    for person in [&relay, &phone] {
        valley.register(&service, person)?;
    }
    let trade = Trade {
        network: "village",
        provider: &relay.node,
        consumer: &phone.node,
    };
    let answer: ClaimAnswer = service.claim(&trade.export([(1, 3), (4, 2)])?)?.json()?;
    let owed = u128::from(5 * PRICE);
    ensure!(answer.new == 2 && answer.known == 0, "{answer:?}");
    ensure!(answer.pairs[0].state == PairState::Settled, "{answer:?}");
    ensure!(answer.pairs[0].settled_atto.atto() == owed, "{answer:?}");

    let fee = u128::from(FEE_PPM) * owed / 1_000_000;
    let fees = valley.settings.fee_account;
    for (account, expected) in [(relay.account(), owed - fee), (fees, fee)] {
        let cheque = valley.cheque(&service, account)?;
        valley.cash(&cheque)?;
        ensure!(valley.tokens(account)? == expected, "{account}");
        ensure!(valley.cash(&cheque).is_err(), "it pays once");
    }
    // The same by the node's id, and after the service has ended and begun again.
    let path = format!("/v1/cheques/{}", relay.id());
    let before = service.get(&path)?.text();
    service.stop()?;
    let service = valley.start()?;
    ensure!(service.get(&path)?.text() == before, "{before}");

    // What comes later goes on top.
    let answer: ClaimAnswer = service.claim(&trade.export([(1, 3), (4, 7)])?)?.json()?;
    ensure!(answer.new == 1 && answer.known == 1, "{answer:?}");
    valley.cash(&valley.cheque(&service, relay.account())?)?;
    let owed = u128::from(10 * PRICE);
    ensure!(valley.tokens(relay.account())? == owed - owed / 100);
    let known = node(&service, &relay)?;
    ensure!(known.earned[0].claimed_atto.atto() == owed, "{known:?}");
    ensure!(known.account == Some(relay.account()), "{known:?}");
    ensure!(owed < PLENTY, "the deposit was no limit");
    let (audited, owed) = (valley.audit()?, Amount::new(owed));
    ensure!(audited.contains(&format!("debited  {owed}")), "{audited}");
    service.stop()
}
