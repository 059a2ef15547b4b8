//! Whether everything in a database fits together, down to every signature.

use std::collections::BTreeMap;
use std::fmt;

use alloy_primitives::Address;
use receipts::Amount;
use sqlx::{Any, Row, Transaction};

use super::claims::read_epoch;
use super::{Store, StoreError, value};

/// Receipts that are read at once.
const PAGE: i64 = 2000;

/// What was found in a database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Audit {
    /// Pairs of provider and consumer.
    pub pairs: u64,
    /// Receipts, whose signatures and those of their offers were verified.
    pub receipts: u64,
    /// Moves from what was due to cheques.
    pub settlements: u64,
    /// Cheques.
    pub cheques: u64,
    /// Signed by consumers.
    pub claimed: Amount,
    /// Debited from payers: credits and fees.
    pub debits: Amount,
    /// Given to providers.
    pub credits: Amount,
    /// Kept by the service.
    pub fees: Amount,
    /// What does not fit, if anything.
    pub findings: Vec<Finding>,
}

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A receipt does not hold.
    Receipt {
        /// Of this pair.
        pair: String,
        /// And epoch.
        epoch: u64,
    },
    /// A pair's claim is not the sum of its receipts.
    Claimed {
        /// Which pair.
        pair: String,
        /// What the receipts add up to.
        receipts: Amount,
        /// What is written.
        claimed: Amount,
    },
    /// A pair's settlements are not what its row says, or more than what was claimed.
    Settled {
        /// Which pair.
        pair: String,
        /// What the settlements add up to.
        settlements: Amount,
        /// What is written.
        settled: Amount,
    },
    /// A debit is not what was credited and kept.
    Split {
        /// Of which pair.
        pair: String,
    },
    /// A cheque is not the sum of what it was raised by.
    Cheque {
        /// On whose deposit.
        issuer: Address,
        /// For whom.
        beneficiary: Address,
        /// What the settlements add up to, over what was paid by others.
        settlements: Amount,
        /// What is written.
        cumulative: Amount,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receipt { pair, epoch } => {
                write!(f, "pair {pair}: the receipt of epoch {epoch} does not hold")
            }
            Self::Claimed {
                pair,
                receipts,
                claimed,
            } => {
                write!(f, "pair {pair}: claimed {claimed}, receipts say {receipts}")
            }
            Self::Settled {
                pair,
                settlements,
                settled,
            } => {
                write!(
                    f,
                    "pair {pair}: settled {settled}, settlements say {settlements}"
                )
            }
            Self::Split { pair } => {
                write!(f, "pair {pair}: a debit is not credit and fee")
            }
            Self::Cheque {
                issuer,
                beneficiary,
                settlements,
                cumulative,
            } => write!(
                f,
                "cheque of {issuer} for {beneficiary}: {cumulative}, settlements say {settlements}"
            ),
        }
    }
}

struct PairRow {
    claimed: Amount,
    settled: Amount,
}

type Sums<K> = BTreeMap<K, Amount>;

impl Store {
    /// Checks everything, in one view of the database: nobody has to stop for it. In PostgreSQL nothing waits
    /// for it; in SQLite writers do.
    ///
    /// # Errors
    /// [`StoreError`]; what does not fit is no error but a finding.
    pub async fn audit(&self) -> Result<Audit, StoreError> {
        let mut view = self.begin().await?;
        if self.kind == super::Kind::Postgres {
            sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                .execute(&mut *view)
                .await?;
        }
        let mut audit = Audit::default();
        let pairs = read_pairs(&mut view).await?;
        audit.pairs = pairs.len() as u64;
        let signed = audit.check_receipts(&mut view).await?;
        let given = audit.check_settlements(&mut view, &pairs).await?;
        audit.check_claims(&pairs, &signed)?;
        audit.check_cheques(&mut view, given).await?;
        view.rollback().await?;
        Ok(audit)
    }
}

impl Audit {
    async fn check_receipts(
        &mut self,
        view: &mut Transaction<'_, Any>,
    ) -> Result<Sums<Vec<u8>>, StoreError> {
        let mut sums = Sums::new();
        let (mut pair, mut epoch) = (Vec::new(), 0);
        loop {
            let rows = sqlx::query(&format!(
                "SELECT pair, epoch, offer, receipt FROM receipt \
                 WHERE pair > $1 OR (pair = $1 AND epoch > $2) ORDER BY pair, epoch LIMIT {PAGE}"
            ))
            .bind(pair.clone())
            .bind(epoch)
            .fetch_all(&mut **view)
            .await?;
            for row in &rows {
                (pair, epoch) = (row.try_get(0)?, row.try_get(1)?);
                let signed = read_epoch(row.try_get(2)?, row.try_get(3)?)?;
                self.receipts += 1;
                if !holds(&pair, epoch, &signed) {
                    self.findings.push(Finding::Receipt {
                        pair: hex::encode(&pair),
                        epoch: value::read_count(epoch)?,
                    });
                }
                add(&mut sums, pair.clone(), signed.receipt.amount())?;
            }
            if rows.len() as i64 != PAGE {
                return Ok(sums);
            }
        }
    }

    fn check_claims(
        &mut self,
        pairs: &BTreeMap<Vec<u8>, PairRow>,
        signed: &Sums<Vec<u8>>,
    ) -> Result<(), StoreError> {
        for (pair, row) in pairs {
            self.claimed = self.claimed.checked_add(row.claimed)?;
            let receipts = signed.get(pair).copied().unwrap_or_default();
            if receipts != row.claimed {
                self.findings.push(Finding::Claimed {
                    pair: hex::encode(pair),
                    receipts,
                    claimed: row.claimed,
                });
            }
        }
        Ok(())
    }

    /// Returns what each beneficiary was given by each issuer.
    async fn check_settlements(
        &mut self,
        view: &mut Transaction<'_, Any>,
        pairs: &BTreeMap<Vec<u8>, PairRow>,
    ) -> Result<Sums<(Address, Address)>, StoreError> {
        let mut given = Sums::new();
        let mut settled: Sums<Vec<u8>> = Sums::new();
        let rows = sqlx::query(
            "SELECT pair, payer, debit, beneficiary, credit, fee_account, fee FROM settlement \
             ORDER BY pair, settled",
        )
        .fetch_all(&mut **view)
        .await?;
        for row in &rows {
            let pair: Vec<u8> = row.try_get(0)?;
            let payer = value::read_account(row.try_get(1)?)?;
            let debit = value::read_amount(row.try_get(2)?)?;
            let credit = value::read_amount(row.try_get(4)?)?;
            let fee = value::read_amount(row.try_get(6)?)?;
            if credit.checked_add(fee)? != debit {
                let pair = hex::encode(&pair);
                self.findings.push(Finding::Split { pair });
            }
            self.settlements += 1;
            self.debits = self.debits.checked_add(debit)?;
            self.credits = self.credits.checked_add(credit)?;
            self.fees = self.fees.checked_add(fee)?;
            add(&mut settled, pair, debit)?;
            let beneficiary = value::read_account(row.try_get(3)?)?;
            let fee_account = value::read_account(row.try_get(5)?)?;
            add(&mut given, (payer, beneficiary), credit)?;
            add(&mut given, (payer, fee_account), fee)?;
        }
        for (pair, row) in pairs {
            let settlements = settled.get(pair).copied().unwrap_or_default();
            if settlements != row.settled || row.settled > row.claimed {
                self.findings.push(Finding::Settled {
                    pair: hex::encode(pair),
                    settlements,
                    settled: row.settled,
                });
            }
        }
        Ok(given)
    }

    async fn check_cheques(
        &mut self,
        view: &mut Transaction<'_, Any>,
        mut given: Sums<(Address, Address)>,
    ) -> Result<(), StoreError> {
        let rows = sqlx::query("SELECT issuer, beneficiary, base, cumulative FROM cheque")
            .fetch_all(&mut **view)
            .await?;
        for row in &rows {
            let issuer = value::read_account(row.try_get(0)?)?;
            let beneficiary = value::read_account(row.try_get(1)?)?;
            let base = value::read_amount(row.try_get(2)?)?;
            let cumulative = value::read_amount(row.try_get(3)?)?;
            let settlements = given.remove(&(issuer, beneficiary)).unwrap_or_default();
            self.cheques += 1;
            if base.checked_add(settlements)? != cumulative {
                self.findings.push(Finding::Cheque {
                    issuer,
                    beneficiary,
                    settlements,
                    cumulative,
                });
            }
        }
        given.retain(|_, sum| *sum > Amount::ZERO);
        let missing = given
            .into_iter()
            .map(|((issuer, beneficiary), settlements)| Finding::Cheque {
                issuer,
                beneficiary,
                settlements,
                cumulative: Amount::ZERO,
            });
        self.findings.extend(missing);
        Ok(())
    }
}

/// Whether a receipt is signed, under an offer that is, and lies where it belongs.
fn holds(pair: &[u8], epoch: i64, signed: &crate::claim::SignedEpoch) -> bool {
    let heading = signed.receipt.heading();
    let of = crate::claim::Pair {
        network: heading.network,
        provider: heading.provider,
        consumer: heading.consumer,
    };
    of.id().as_bytes().as_slice() == pair
        && u64::try_from(epoch) == Ok(heading.position.epoch)
        && signed.offer.verify().is_ok()
        && signed.receipt.check_offer(&signed.offer).is_ok()
        && signed.receipt.verify().is_ok()
}

fn add<K: Ord>(sums: &mut Sums<K>, key: K, amount: Amount) -> Result<(), StoreError> {
    let sum = sums.entry(key).or_default();
    *sum = sum.checked_add(amount)?;
    Ok(())
}

async fn read_pairs(
    view: &mut Transaction<'_, Any>,
) -> Result<BTreeMap<Vec<u8>, PairRow>, StoreError> {
    let rows = sqlx::query("SELECT id, claimed, settled FROM pair")
        .fetch_all(&mut **view)
        .await?;
    let mut pairs = BTreeMap::new();
    for row in rows {
        let sums = PairRow {
            claimed: value::read_amount(row.try_get(1)?)?,
            settled: value::read_amount(row.try_get(2)?)?,
        };
        pairs.insert(row.try_get(0)?, sums);
    }
    Ok(pairs)
}
