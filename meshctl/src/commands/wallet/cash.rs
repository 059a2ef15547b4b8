//! `meshctl wallet cash FILE…`

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall;
use control_api::{Exit, SCHEMA};
use ethereum::bindings::SmtChequeBook::{Cashed, cashCall, cashManyCall};
use ethereum::cheque::{ChequeFile, SignedCheque};
use ethereum::rpc::{self, BlockTag, Intent, Receipt};
use ethereum::text::amount;
use serde::Serialize;

use super::passphrase::Passphrases;
use super::settings::Settings;
use super::store::{Store, about};
use super::submit::Sender;
use super::tell;
use crate::cli::wallet::Consent;
use crate::failure::Failure;
use crate::output::{Column, Output, left, right, table};

/// 3 million units of gas: a tenth of a block. Whoever has more runs it again.
const MOST_CHEQUES: usize = 100;

/// Some nodes take no more in one request.
const BATCH: usize = 50;

/// 100 000 cheques.
const MOST_BYTES: u64 = 40 << 20;

const COLUMNS: [Column; 4] = [left("ISSUER"), left("BENEFICIARY"), right("SMT"), left("")];

pub(super) fn run(
    output: Output,
    store: &Store,
    passphrases: &Passphrases,
    settings: &Settings,
    files: &[PathBuf],
    consent: Consent,
) -> Result<(), Failure> {
    let files = files.iter().map(|file| read(file));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    settings.run(async {
        let sender = Sender::new(store, passphrases, settings, consent).await?;
        let cheques = cheques(files, sender.chain_id(), settings.book)?;
        // What it has cashed is not due any more, and what else it did is done.
        let earlier = sender.resume().await?.map(|done| done.receipt);
        let mut tried = try_all(settings, cheques).await?;
        let receipt = cash(&sender, settings, &mut tried).await?;
        let mut result = Cashing::new(settings.book, &tried, receipt.as_ref());
        let cashed = |it: Receipt| amount(total(&Paid::all(&it, settings.book)));
        result.earlier_smt = earlier.map(cashed);
        output.show(&result, Cashing::text)?;
        sender.forget()
    })
}

/// Cashes what pays in one transaction, if anything does.
async fn cash(
    sender: &Sender<'_>,
    settings: &Settings,
    tried: &mut [Tried],
) -> Result<Option<Receipt>, Failure> {
    let paying = choose(tried);
    let Some(first) = paying.first() else {
        return Ok(None);
    };
    let would = match paying.len() {
        1 => "1 cheque".to_owned(),
        count => format!("{count} cheques"),
    };
    let data = match paying.len() {
        1 => cashCall::from(first.clone()).abi_encode(),
        _ => many(&paying).abi_encode(),
    };
    let intent = Intent {
        from: sender.address(),
        to: settings.book,
        value: U256::ZERO,
        data: data.into(),
    };
    let total = expected(settings, &paying, tried).await?;
    let what = format!("Cash {would} for {} SMT", amount(total));
    let done = sender.submit(&intent, &what).await?;
    sender.must_have_succeeded(&done)?;
    Ok(Some(done.receipt))
}

/// Together they may pay less than each for itself: they draw on one deposit and one allowance.
async fn expected(
    settings: &Settings,
    paying: &[SignedCheque],
    tried: &[Tried],
) -> Result<U256, Failure> {
    for it in tried {
        tell(&it.preview());
    }
    let call = many(paying);
    let total = settings.node.call(settings.book, &call, BlockTag::Latest);
    Ok(total.await?)
}

fn many(cheques: &[SignedCheque]) -> cashManyCall {
    let cheques = cheques.iter().cloned();
    let (cheques, signatures) = cheques.map(|it| (it.cheque, it.signature)).unzip();
    cashManyCall {
        cheques,
        signatures,
    }
}

/// A cheque, and what the cheque book would do with it.
struct Tried {
    signed: SignedCheque,
    outcome: Result<U256, String>,
}

impl Tried {
    fn preview(&self) -> String {
        let cheque = &self.signed.cheque;
        let outcome = match &self.outcome {
            Ok(pays) => format!("pays {} SMT", amount(*pays)),
            Err(reason) => format!("does not pay: {reason}"),
        };
        format!("{} for {}: {outcome}", cheque.issuer, cheque.beneficiary)
    }
}

/// Calls the cheque book for each, without a transaction.
async fn try_all(settings: &Settings, cheques: Vec<SignedCheque>) -> Result<Vec<Tried>, Failure> {
    let mut tried = Vec::new();
    for batch in cheques.chunks(BATCH) {
        let calls: Vec<_> = batch
            .iter()
            .map(|it| (settings.book, cashCall::from(it.clone())))
            .collect();
        let answers = settings.node.calls(&calls, BlockTag::Latest).await?;
        for (signed, answer) in batch.iter().cloned().zip(answers) {
            let outcome = match answer {
                Ok(pays) => Ok(pays),
                Err(rpc::Error::Reverted(reason)) => Err(reason.to_string()),
                Err(error) => return Err(error.into()),
            };
            tried.push(Tried { signed, outcome });
        }
    }
    Ok(tried)
}

/// Those that are to be cashed: of a pair the newest that pays, and not more than fit. The others are told
/// why not. They come sorted by beneficiary and issuer, which is cheapest.
fn choose(tried: &mut [Tried]) -> Vec<SignedCheque> {
    let mut chosen: Vec<SignedCheque> = Vec::new();
    for it in tried.iter_mut().filter(|it| it.outcome.is_ok()) {
        let pair = |signed: &SignedCheque| (signed.cheque.issuer, signed.cheque.beneficiary);
        let is_older = chosen.iter().any(|newer| pair(newer) == pair(&it.signed));
        if is_older {
            it.outcome = Err("a newer one is cashed".to_owned());
        } else if chosen.len() == MOST_CHEQUES {
            it.outcome = Err("for the next run".to_owned());
        } else {
            chosen.push(it.signed.clone());
        }
    }
    chosen
}

/// All cheques of the files for this cheque book, each once, the newest of a pair first.
fn cheques(
    files: Vec<(PathBuf, Vec<ChequeFile>)>,
    chain_id: u64,
    book: Address,
) -> Result<Vec<SignedCheque>, Failure> {
    let mut cheques = Vec::new();
    for (path, parts) in files {
        let fits = |part: &ChequeFile| (part.chain_id, part.book) == (chain_id, book);
        let (ours, others): (Vec<_>, Vec<_>) = parts.into_iter().partition(fits);
        for other in others {
            let foreign = about(&path, foreign(&other, chain_id));
            if ours.is_empty() {
                return Err(foreign);
            }
            tell(foreign.message.as_deref().unwrap_or_default());
        }
        cheques.extend(ours.into_iter().flat_map(|part| part.cheques));
    }
    let order = |it: &SignedCheque| {
        let newest_first = std::cmp::Reverse(it.cheque.cumulative);
        (
            it.cheque.beneficiary,
            it.cheque.issuer,
            newest_first,
            it.signature.r,
        )
    };
    cheques.sort_by_key(order);
    cheques.dedup();
    Ok(cheques)
}

/// Cheques that cannot be cashed here.
fn foreign(file: &ChequeFile, chain_id: u64) -> Failure {
    let count = file.cheques.len();
    let message = match file.chain_id == chain_id {
        true => format!(
            "{count} of its cheques are for the cheque book {}",
            file.book
        ),
        false => format!(
            "{count} of its cheques are for chain {}, and this is {chain_id}",
            file.chain_id
        ),
    };
    Failure::new(Exit::VerificationFailed, message)
}

fn read(path: &Path) -> Result<(PathBuf, Vec<ChequeFile>), Failure> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(MOST_BYTES).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::file(path, &error))?;
    let files = ChequeFile::parse_all(&bytes).map_err(|error| {
        about(
            path,
            Failure::new(Exit::VerificationFailed, error.to_string()),
        )
    })?;
    Ok((path.to_owned(), files))
}

/// What became of the cheques. Amounts are exact, in decimal.
#[derive(Debug, Serialize)]
struct Cashing {
    schema: u32,
    transaction: Option<String>,
    block: Option<u64>,
    fee_ether: Option<String>,
    paid_smt: String,
    /// What an interrupted run had sent, which this one has seen the end of.
    earlier_smt: Option<String>,
    cheques: Vec<Paid>,
}

#[derive(Clone, Debug, Serialize)]
struct Paid {
    issuer: String,
    beneficiary: String,
    #[serde(serialize_with = "in_smt")]
    paid_smt: U256,
    /// Why it is nothing.
    reason: Option<String>,
}

fn in_smt<S: serde::Serializer>(units: &U256, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&amount(*units))
}

fn total(paid: &[Paid]) -> U256 {
    let paid = paid.iter().map(|it| it.paid_smt);
    paid.fold(U256::ZERO, U256::saturating_add)
}

impl Paid {
    /// What a transaction has cashed, as the cheque book tells.
    fn all(receipt: &Receipt, book: Address) -> Vec<Self> {
        let events = receipt.events::<Cashed>(book);
        let paid = events.iter().map(|it| Self {
            issuer: it.issuer.to_checksum(None),
            beneficiary: it.beneficiary.to_checksum(None),
            paid_smt: it.amount,
            reason: None,
        });
        paid.collect()
    }

    fn refused(tried: &Tried) -> Self {
        let reason = tried.outcome.as_ref().err().cloned();
        Self {
            issuer: tried.signed.cheque.issuer.to_checksum(None),
            beneficiary: tried.signed.cheque.beneficiary.to_checksum(None),
            paid_smt: U256::ZERO,
            // Somebody else was faster, or they draw on one deposit.
            reason: Some(reason.unwrap_or_else(|| "it did not pay any more".to_owned())),
        }
    }

    fn is_of(&self, tried: &Tried) -> bool {
        let cheque = &tried.signed.cheque;
        let pair = [cheque.issuer, cheque.beneficiary].map(|it| it.to_checksum(None));
        tried.outcome.is_ok() && [&self.issuer, &self.beneficiary] == [&pair[0], &pair[1]]
    }

    fn row(&self) -> [String; COLUMNS.len()] {
        [
            self.issuer.clone(),
            self.beneficiary.clone(),
            amount(self.paid_smt),
            self.reason.clone().unwrap_or_default(),
        ]
    }
}

impl Cashing {
    fn new(book: Address, tried: &[Tried], receipt: Option<&Receipt>) -> Self {
        let paid = receipt.map(|it| Paid::all(it, book)).unwrap_or_default();
        let cheques = tried.iter().map(|tried| {
            let of_it = paid.iter().find(|paid| paid.is_of(tried));
            of_it.cloned().unwrap_or_else(|| Paid::refused(tried))
        });
        Self {
            schema: SCHEMA,
            transaction: receipt.map(|it| it.transaction_hash.to_string()),
            block: receipt.map(|it| it.block_number),
            fee_ether: receipt.map(|it| amount(it.fee())),
            paid_smt: amount(total(&paid)),
            earlier_smt: None,
            cheques: cheques.collect(),
        }
    }

    fn text(&self) -> String {
        let rows = self.cheques.iter().map(Paid::row);
        let mut cheques = table(COLUMNS, rows, "No cheques.");
        if let Some(earlier) = &self.earlier_smt {
            cheques.push_str(&format!(
                "\npaid {earlier} SMT, which an earlier run had sent\n"
            ));
        }
        let (Some(transaction), Some(block)) = (&self.transaction, self.block) else {
            return format!("{cheques}\nnothing to cash\n");
        };
        let fee = self.fee_ether.as_deref().unwrap_or_default();
        format!(
            "{cheques}\npaid {} SMT\nin block {block} with {transaction}, for {fee} ether\n",
            self.paid_smt
        )
    }
}
