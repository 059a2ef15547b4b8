//! `meshctl wallet send TO AMOUNT`

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::SolCall;
use control_api::{Exit, SCHEMA};
use ethereum::bindings::SmtToken::transferCall;
use ethereum::rpc::Intent;
use ethereum::text::amount;
use serde::Serialize;

use super::passphrase::Passphrases;
use super::settings::Settings;
use super::store::Store;
use super::submit::{Done, Sender};
use crate::cli::wallet::Consent;
use crate::failure::Failure;
use crate::output::Output;

/// What somebody is to be paid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payment {
    pub(super) to: Address,
    pub(super) amount: U256,
    pub(super) ether: bool,
}

pub(super) fn run(
    output: Output,
    store: &Store,
    passphrases: &Passphrases,
    settings: &Settings,
    payment: Payment,
    consent: Consent,
) -> Result<(), Failure> {
    settings.run(async {
        let sender = Sender::new(store, passphrases, settings, consent).await?;
        let done = send(&sender, settings, payment).await?;
        sender.must_have_succeeded(&done)?;
        output.show(&Sent::new(payment, &done), Sent::text)?;
        sender.forget()
    })
}

/// A payment that an earlier run has signed is not signed again.
async fn send(sender: &Sender<'_>, settings: &Settings, payment: Payment) -> Result<Done, Failure> {
    let token = match payment.ether {
        // Nothing is signed for it.
        true => settings.token().await?.address,
        false => sender.token().await?,
    };
    let intent = payment.intent(sender.address(), token, settings.book)?;
    if let Some(done) = sender.resumed(&intent).await? {
        return Ok(done);
    }
    let what = format!("Pay {} to {}", payment.text(), payment.to.to_checksum(None));
    sender.submit(&intent, &what).await
}

impl Payment {
    fn intent(self, from: Address, token: Address, book: Address) -> Result<Intent, Failure> {
        // Contracts of ours that are sent something cannot give it back.
        if [Address::ZERO, token, book].contains(&self.to) {
            let message = "nobody gets what is sent there: it is address 0, SMT or the cheque book";
            return Err(Failure::new(Exit::Usage, message));
        }
        if self.amount.is_zero() {
            return Err(Failure::new(Exit::Usage, "nothing is nothing to send"));
        }
        let transfer = transferCall {
            to: self.to,
            value: self.amount,
        };
        let (to, value, data) = match self.ether {
            true => (self.to, self.amount, Bytes::new()),
            false => (token, U256::ZERO, transfer.abi_encode().into()),
        };
        Ok(Intent {
            from,
            to,
            value,
            data,
        })
    }

    const fn asset(self) -> &'static str {
        match self.ether {
            true => "ether",
            false => "SMT",
        }
    }

    fn text(self) -> String {
        format!("{} {}", amount(self.amount), self.asset())
    }
}

/// A payment that was made. Amounts are exact, in decimal.
#[derive(Debug, Serialize)]
struct Sent {
    schema: u32,
    transaction: String,
    block: u64,
    from: String,
    to: String,
    asset: &'static str,
    amount: String,
    fee_ether: String,
    /// An earlier run had signed it, and this one has only seen its end.
    resumed: bool,
}

impl Sent {
    fn new(payment: Payment, done: &Done) -> Self {
        Self {
            schema: SCHEMA,
            transaction: done.receipt.transaction_hash.to_string(),
            block: done.receipt.block_number,
            from: done.pending.from().to_checksum(None),
            to: payment.to.to_checksum(None),
            asset: payment.asset(),
            amount: amount(payment.amount),
            fee_ether: amount(done.receipt.fee()),
            resumed: done.resumed,
        }
    }

    fn text(&self) -> String {
        let when = match self.resumed {
            true => ", which an earlier run had sent",
            false => "",
        };
        format!(
            "paid {} {} to {}{when}\nin block {} with {}, for {} ether\n",
            self.amount, self.asset, self.to, self.block, self.transaction, self.fee_ether
        )
    }
}
