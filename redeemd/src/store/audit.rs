//! Whether everything in a database fits together, down to every signature.

mod finding;

use std::collections::BTreeMap;

use alloy_primitives::Address;
use control_api::NodeId;
use receipts::{Amount, Equivocation, Heading};
use redeem_api::{RegistrationRequest, Signature64};
use sqlx::any::AnyRow;
use sqlx::{Any, Row, Transaction};

use super::claims::read_epoch;
use super::{Store, StoreError, value};
use crate::claim::{Pair, SignedEpoch};

pub use finding::Finding;

/// Rows that are read at once.
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
    /// Paid by the chain beyond what is known to be given: receipts for it are missing, or payers have paid by
    /// themselves.
    pub paid_beyond: Amount,
    /// What does not fit, if anything.
    pub findings: Vec<Finding>,
}

struct PairRow {
    fits: bool,
    claimed: Amount,
    settled: Amount,
}

type Sums<K> = BTreeMap<K, Amount>;

impl Store {
    /// Checks everything, in one view of the database: nobody has to stop for it, or wait.
    ///
    /// # Errors
    /// [`StoreError`]; what does not fit is no error but a finding.
    pub async fn audit(&self) -> Result<Audit, StoreError> {
        // It writes nothing, so that it need not begin as a writer.
        let mut view = self.pool.begin().await?;
        if self.kind == super::Kind::Postgres {
            sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                .execute(&mut *view)
                .await?;
        }
        let mut audit = Audit::default();
        audit.check_registrations(&mut view).await?;
        let pairs = read_pairs(&mut view).await?;
        audit.pairs = pairs.len() as u64;
        let signed = audit.check_receipts(&mut view).await?;
        audit.check_contradictions(&mut view).await?;
        let given = audit.check_settlements(&mut view, &pairs).await?;
        audit.check_pairs(&pairs, &signed)?;
        audit.check_cheques(&mut view, given).await?;
        view.rollback().await?;
        Ok(audit)
    }
}

impl Audit {
    async fn check_registrations(
        &mut self,
        view: &mut Transaction<'_, Any>,
    ) -> Result<(), StoreError> {
        let book = super::read_book(view).await?;
        let rows = sqlx::query(
            "SELECT node, account, sequence, node_signature, account_signature FROM registration",
        )
        .fetch_all(&mut **view)
        .await?;
        for row in &rows {
            let request = RegistrationRequest {
                node: NodeId::new(*value::read_party(row.try_get(0)?)?.as_bytes()),
                account: value::read_account(row.try_get(1)?)?,
                sequence: value::read_count(row.try_get(2)?)?,
                node_signature: read_signature(row.try_get(3)?)?,
                account_signature: read_signature(row.try_get(4)?)?,
            };
            if request.verify(book.chain_id, book.address).is_err() {
                let node = request.node.to_string();
                self.findings.push(Finding::Registration { node });
            }
        }
        Ok(())
    }

    async fn check_receipts(
        &mut self,
        view: &mut Transaction<'_, Any>,
    ) -> Result<Sums<Vec<u8>>, StoreError> {
        let mut sums = Sums::new();
        let (mut pair, mut epoch) = (Vec::new(), i64::MIN);
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
                self.receipts += 1;
                // What is none at all adds nothing either.
                let signed = read_epoch(row.try_get(2)?, row.try_get(3)?).ok();
                let number = value::read_epoch(epoch);
                if !signed.as_ref().is_some_and(|it| holds(&pair, number, it)) {
                    self.findings.push(Finding::Receipt {
                        pair: hex::encode(&pair),
                        epoch: number,
                    });
                }
                let amount = signed.map_or(Amount::ZERO, |it| it.receipt.amount());
                add(&mut sums, pair.clone(), amount)?;
            }
            if rows.len() as i64 != PAGE {
                return Ok(sums);
            }
        }
    }

    async fn check_contradictions(
        &mut self,
        view: &mut Transaction<'_, Any>,
    ) -> Result<(), StoreError> {
        let rows = sqlx::query("SELECT pair, proof FROM contradiction")
            .fetch_all(&mut **view)
            .await?;
        for row in &rows {
            let (pair, proof): (Vec<u8>, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
            let proof = Equivocation::parse(&proof).ok();
            let proof = proof.filter(|it| it.verify().is_ok());
            let of = proof.map(|it| pair_of(it.receipts().0.heading()).id());
            if of.is_none_or(|id| id.as_bytes().as_slice() != pair) {
                let pair = hex::encode(&pair);
                self.findings.push(Finding::Contradiction { pair });
            }
        }
        Ok(())
    }

    fn check_pairs(
        &mut self,
        pairs: &BTreeMap<Vec<u8>, PairRow>,
        signed: &Sums<Vec<u8>>,
    ) -> Result<(), StoreError> {
        for (pair, row) in pairs {
            self.claimed = self.claimed.checked_add(row.claimed)?;
            if !row.fits {
                let pair = hex::encode(pair);
                self.findings.push(Finding::Pair { pair });
            }
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
        let mut sums: Sums<Vec<u8>> = Sums::new();
        let (mut pair, mut settled): (Vec<u8>, Vec<u8>) = Default::default();
        loop {
            let rows = sqlx::query(&format!(
                "SELECT pair, settled, payer, debit, beneficiary, credit, fee_account, fee \
                 FROM settlement WHERE pair > $1 OR (pair = $1 AND settled > $2) \
                 ORDER BY pair, settled LIMIT {PAGE}"
            ))
            .bind(pair.clone())
            .bind(settled.clone())
            .fetch_all(&mut **view)
            .await?;
            for row in &rows {
                (pair, settled) = (row.try_get(0)?, row.try_get(1)?);
                self.check_settlement(row, &pair, &mut sums, &mut given)?;
            }
            if rows.len() as i64 != PAGE {
                break;
            }
        }
        for (pair, row) in pairs {
            let settlements = sums.get(pair).copied().unwrap_or_default();
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

    /// Adds a settlement to what the pair's add up to, and to what its accounts were given.
    fn check_settlement(
        &mut self,
        row: &AnyRow,
        pair: &[u8],
        sums: &mut Sums<Vec<u8>>,
        given: &mut Sums<(Address, Address)>,
    ) -> Result<(), StoreError> {
        let settled = value::read_amount(row.try_get(1)?)?;
        let payer = value::read_account(row.try_get(2)?)?;
        let debit = value::read_amount(row.try_get(3)?)?;
        let beneficiary = value::read_account(row.try_get(4)?)?;
        let credit = value::read_amount(row.try_get(5)?)?;
        let fee_account = value::read_account(row.try_get(6)?)?;
        let fee = value::read_amount(row.try_get(7)?)?;
        self.settlements += 1;
        self.debits = self.debits.checked_add(debit)?;
        self.credits = self.credits.checked_add(credit)?;
        self.fees = self.fees.checked_add(fee)?;
        add(given, (payer, beneficiary), credit)?;
        add(given, (payer, fee_account), fee)?;
        add(sums, pair.to_vec(), debit)?;
        if credit.checked_add(fee)? != debit {
            let pair = hex::encode(pair);
            self.findings.push(Finding::Split { pair });
        }
        let settlements = sums.get(pair).copied().unwrap_or_default();
        if settlements != settled {
            self.findings.push(Finding::Settled {
                pair: hex::encode(pair),
                settlements,
                settled,
            });
        }
        Ok(())
    }

    async fn check_cheques(
        &mut self,
        view: &mut Transaction<'_, Any>,
        mut given: Sums<(Address, Address)>,
    ) -> Result<(), StoreError> {
        let rows = sqlx::query("SELECT issuer, beneficiary, base, cumulative, paid FROM cheque")
            .fetch_all(&mut **view)
            .await?;
        for row in &rows {
            let issuer = value::read_account(row.try_get(0)?)?;
            let beneficiary = value::read_account(row.try_get(1)?)?;
            let base = value::read_amount(row.try_get(2)?)?;
            let cumulative = value::read_amount(row.try_get(3)?)?;
            let paid = value::read_amount(row.try_get(4)?)?;
            let settlements = given.remove(&(issuer, beneficiary)).unwrap_or_default();
            self.cheques += 1;
            let beyond = paid.checked_sub(cumulative).unwrap_or_default();
            self.paid_beyond = self.paid_beyond.checked_add(beyond)?;
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
fn holds(pair: &[u8], epoch: u64, signed: &SignedEpoch) -> bool {
    let heading = signed.receipt.heading();
    pair_of(heading).id().as_bytes().as_slice() == pair
        && heading.position.epoch == epoch
        && signed.offer.verify().is_ok()
        && signed.receipt.check_offer(&signed.offer).is_ok()
        && signed.receipt.verify().is_ok()
}

fn pair_of(heading: &Heading) -> Pair {
    Pair {
        network: heading.network,
        provider: heading.provider,
        consumer: heading.consumer,
    }
}

fn add<K: Ord>(sums: &mut Sums<K>, key: K, amount: Amount) -> Result<(), StoreError> {
    let sum = sums.entry(key).or_default();
    *sum = sum.checked_add(amount)?;
    Ok(())
}

fn read_signature(bytes: Vec<u8>) -> Result<Signature64, StoreError> {
    let bytes = bytes.try_into();
    let bytes = bytes.map_err(|_| StoreError::Damaged("a signature is not 64 bytes long"))?;
    Ok(Signature64(bytes))
}

async fn read_pairs(
    view: &mut Transaction<'_, Any>,
) -> Result<BTreeMap<Vec<u8>, PairRow>, StoreError> {
    let rows = sqlx::query("SELECT id, network, provider, consumer, claimed, settled FROM pair")
        .fetch_all(&mut **view)
        .await?;
    let mut pairs = BTreeMap::new();
    for row in rows {
        let id: Vec<u8> = row.try_get(0)?;
        let pair = Pair {
            network: value::read_network(row.try_get(1)?)?,
            provider: value::read_party(row.try_get(2)?)?,
            consumer: value::read_party(row.try_get(3)?)?,
        };
        let row = PairRow {
            fits: pair.id().as_bytes().as_slice() == id,
            claimed: value::read_amount(row.try_get(4)?)?,
            settled: value::read_amount(row.try_get(5)?)?,
        };
        pairs.insert(id, row);
    }
    Ok(pairs)
}
