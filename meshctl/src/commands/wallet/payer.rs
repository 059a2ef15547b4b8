//! `meshctl wallet deposit|authorize|withdraw`: what a payer does with the cheque book.

use alloy_primitives::aliases::U96;
use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall;
use control_api::{Exit, SCHEMA};
use ethereum::bindings::SmtChequeBook::{
    applyChangeCall, authorizeCall, depositCall, requestWithdrawalCall, withdrawCall,
};
use ethereum::bindings::SmtToken::{allowanceCall, approveCall};
use ethereum::rpc::{BlockTag, Intent};
use ethereum::text::amount;
use serde::Serialize;

use super::passphrase::Passphrases;
use super::settings::Settings;
use super::store::Store;
use super::submit::{Done, Sender};
use crate::cli::wallet::Consent;
use crate::failure::Failure;
use crate::output::Output;

/// Something that a payer tells the cheque book.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Deposit(U256),
    Authorize { key: Address, allowance: U256 },
    Apply,
    Announce(U256),
    Withdraw,
}

pub(super) fn run(
    output: Output,
    store: &Store,
    passphrases: &Passphrases,
    settings: &Settings,
    step: Step,
    consent: Consent,
) -> Result<(), Failure> {
    settings.run(async {
        let sender = Sender::new(store, passphrases, settings, consent).await?;
        let intent = step.intent(sender.address(), settings.book)?;
        let done = match sender.resumed(&intent).await? {
            Some(done) => done,
            None => {
                if let Step::Deposit(amount) = step {
                    allow(&sender, settings, amount).await?;
                }
                sender.submit(&intent, &step.text()).await?
            }
        };
        sender.must_have_succeeded(&done)?;
        output.show(&Told::new(step, &done), Told::text)?;
        sender.forget()
    })
}

/// Lets the cheque book take this much, and no more, out of the wallet.
async fn allow(sender: &Sender<'_>, settings: &Settings, most: U256) -> Result<(), Failure> {
    let (owner, spender) = (sender.address(), settings.book);
    let token = sender.token().await?;
    let known = allowanceCall { owner, spender };
    let known = settings.node.call(token, &known, BlockTag::Latest).await?;
    if known >= most {
        return Ok(());
    }
    let approve = approveCall {
        spender,
        value: most,
    };
    let intent = call(owner, token, &approve);
    let what = format!("Let the cheque book take {} SMT", amount(most));
    let done = sender.submit(&intent, &what).await?;
    sender.must_have_succeeded(&done)?;
    sender.forget()
}

fn call<C: SolCall>(from: Address, to: Address, call: &C) -> Intent {
    Intent {
        from,
        to,
        value: U256::ZERO,
        data: call.abi_encode().into(),
    }
}

/// Deposits and allowances have 96 bits: 79 billion SMT.
fn narrow(value: U256) -> Result<U96, Failure> {
    let narrow = U96::checked_from_limbs_slice(value.as_limbs());
    narrow.ok_or_else(|| Failure::new(Exit::Usage, "more than a deposit can hold"))
}

impl Step {
    fn intent(self, payer: Address, book: Address) -> Result<Intent, Failure> {
        Ok(match self {
            Self::Deposit(amount) => call(payer, book, &depositCall { payer, amount }),
            Self::Authorize { key, allowance } => {
                let allowance = narrow(allowance)?;
                let authorize = authorizeCall {
                    settlementKey: key,
                    allowance,
                };
                call(payer, book, &authorize)
            }
            Self::Apply => call(payer, book, &applyChangeCall {}),
            Self::Announce(value) => {
                let amount = narrow(value)?;
                call(payer, book, &requestWithdrawalCall { amount })
            }
            Self::Withdraw => call(payer, book, &withdrawCall {}),
        })
    }

    fn text(self) -> String {
        match self {
            Self::Deposit(value) => format!("Deposit {} SMT", amount(value)),
            Self::Authorize { key, allowance } => format!(
                "Let {} sign cheques for {} SMT a day",
                key.to_checksum(None),
                amount(allowance)
            ),
            Self::Apply => "Let what was asked for with authorize count".to_owned(),
            Self::Announce(value) => format!("Announce to withdraw {} SMT", amount(value)),
            Self::Withdraw => "Withdraw what was announced".to_owned(),
        }
    }
}

/// A step that is in a block.
#[derive(Debug, Serialize)]
struct Told {
    schema: u32,
    transaction: String,
    block: u64,
    step: String,
    fee_ether: String,
    /// An earlier run had signed it, and this one has only seen its end.
    resumed: bool,
}

impl Told {
    fn new(step: Step, done: &Done) -> Self {
        Self {
            schema: SCHEMA,
            transaction: done.receipt.transaction_hash.to_string(),
            block: done.receipt.block_number,
            step: step.text(),
            fee_ether: amount(done.receipt.fee()),
            resumed: done.resumed,
        }
    }

    fn text(&self) -> String {
        let Self {
            step,
            block,
            transaction,
            fee_ether,
            ..
        } = self;
        format!("{step}: done in block {block} with {transaction}, for {fee_ether} ether\n")
    }
}
