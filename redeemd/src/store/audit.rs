//! Whether everything in a database fits together, down to every signature.

mod finding;

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use control_api::NodeId;
use receipts::{Amount, Equivocation, Heading, Overflow};
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
    unsettled: u64,
    place: i64,
    seconds: u64,
    rewarded: u64,
}

impl PairRow {
    /// Something waits while something is due, and has had a place in line since something was.
    fn waits_as_due(&self) -> bool {
        let is_due = self.claimed != self.settled;
        let was_due = self.claimed > Amount::ZERO;
        (self.unsettled > 0) == is_due && (self.place > 0) == was_due
    }
}

/// What receipts, or settlements, of a pair add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sum {
    amount: Amount,
    seconds: u64,
}

impl Sum {
    fn add(&mut self, amount: Amount, seconds: u64) -> Result<(), StoreError> {
        self.amount = self.amount.checked_add(amount)?;
        self.seconds = self.seconds.checked_add(seconds).ok_or(Overflow)?;
        Ok(())
    }
}

/// By pair.
type Sums = BTreeMap<Vec<u8>, Sum>;

/// By issuer and beneficiary.
type Given = BTreeMap<(Address, Address), Amount>;

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
        audit.check_contradictions(&mut view, &pairs).await?;
        let (moved, given) = audit.check_settlements(&mut view).await?;
        audit.check_pairs(&pairs, &signed, &moved)?;
        audit.check_payers(&mut view, &given).await?;
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
    ) -> Result<Sums, StoreError> {
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
                let says = |it: SignedEpoch| (it.receipt.amount(), it.seconds());
                let (amount, seconds) = signed.map(says).unwrap_or_default();
                sums.entry(pair.clone()).or_default().add(amount, seconds)?;
            }
            if rows.len() as i64 != PAGE {
                return Ok(sums);
            }
        }
    }

    async fn check_contradictions(
        &mut self,
        view: &mut Transaction<'_, Any>,
        pairs: &BTreeMap<Vec<u8>, PairRow>,
    ) -> Result<(), StoreError> {
        let rows = sqlx::query("SELECT pair, proof FROM contradiction")
            .fetch_all(&mut **view)
            .await?;
        for row in &rows {
            let (pair, proof): (Vec<u8>, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
            let proof = Equivocation::parse(&proof).ok();
            let proof = proof.filter(|it| it.verify().is_ok());
            let of = proof.map(|it| pair_of(it.receipts().0.heading()).id());
            let is_of = of.is_some_and(|id| id.as_bytes().as_slice() == pair);
            if !is_of || !pairs.contains_key(&pair) {
                let pair = hex::encode(&pair);
                self.findings.push(Finding::Contradiction { pair });
            }
        }
        Ok(())
    }

    fn check_pairs(
        &mut self,
        pairs: &BTreeMap<Vec<u8>, PairRow>,
        signed: &Sums,
        moved: &Sums,
    ) -> Result<(), StoreError> {
        for (id, row) in pairs {
            self.claimed = self.claimed.checked_add(row.claimed)?;
            let signed = signed.get(id).copied().unwrap_or_default();
            let moved = moved.get(id).copied().unwrap_or_default();
            self.check_pair(hex::encode(id), row, signed, moved);
        }
        for id in signed.keys().chain(moved.keys()) {
            if !pairs.contains_key(id) {
                let pair = hex::encode(id);
                self.findings.push(Finding::NoPair { pair });
            }
        }
        Ok(())
    }

    fn check_pair(&mut self, pair: String, row: &PairRow, signed: Sum, moved: Sum) {
        if !row.fits {
            self.findings.push(Finding::Pair { pair: pair.clone() });
        }
        if signed.amount != row.claimed {
            self.findings.push(Finding::Claimed {
                pair: pair.clone(),
                receipts: signed.amount,
                claimed: row.claimed,
            });
        }
        if moved.amount != row.settled || row.settled > row.claimed {
            self.findings.push(Finding::Settled {
                pair: pair.clone(),
                settlements: moved.amount,
                settled: row.settled,
            });
        }
        if signed.seconds != row.seconds {
            self.findings.push(Finding::Seconds {
                pair: pair.clone(),
                receipts: signed.seconds,
                seconds: row.seconds,
            });
        }
        if moved.seconds != row.rewarded {
            self.findings.push(Finding::Rewarded {
                pair: pair.clone(),
                settlements: moved.seconds,
                rewarded: row.rewarded,
            });
        }
        if !row.waits_as_due() {
            self.findings.push(Finding::Waiting { pair });
        }
    }

    /// Returns what was moved of each pair, and what each beneficiary was given by each issuer.
    async fn check_settlements(
        &mut self,
        view: &mut Transaction<'_, Any>,
    ) -> Result<(Sums, Given), StoreError> {
        let (mut moved, mut given) = (Sums::new(), Given::new());
        let (mut pair, mut settled): (Vec<u8>, Vec<u8>) = Default::default();
        loop {
            let rows = sqlx::query(&format!(
                "SELECT pair, settled, payer, debit, beneficiary, credit, fee_account, fee, seconds \
                 FROM settlement WHERE pair > $1 OR (pair = $1 AND settled > $2) \
                 ORDER BY pair, settled LIMIT {PAGE}"
            ))
            .bind(pair.clone())
            .bind(settled.clone())
            .fetch_all(&mut **view)
            .await?;
            for row in &rows {
                (pair, settled) = (row.try_get(0)?, row.try_get(1)?);
                let moved = moved.entry(pair.clone()).or_default();
                self.check_settlement(row, &pair, moved, &mut given)?;
            }
            if rows.len() as i64 != PAGE {
                return Ok((moved, given));
            }
        }
    }

    /// Adds a settlement to what the pair's add up to, and to what its accounts were given.
    fn check_settlement(
        &mut self,
        row: &AnyRow,
        pair: &[u8],
        moved: &mut Sum,
        given: &mut Given,
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
        moved.add(debit, value::read_count(row.try_get(8)?)?)?;
        if credit.checked_add(fee)? != debit {
            let pair = hex::encode(pair);
            self.findings.push(Finding::Split { pair });
        }
        if moved.amount != settled {
            self.findings.push(Finding::Settled {
                pair: hex::encode(pair),
                settlements: moved.amount,
                settled,
            });
        }
        Ok(())
    }

    /// Whoever was settled on is known as a payer: its row is what is locked for it.
    async fn check_payers(
        &mut self,
        view: &mut Transaction<'_, Any>,
        given: &Given,
    ) -> Result<(), StoreError> {
        let rows = sqlx::query("SELECT account FROM payer")
            .fetch_all(&mut **view)
            .await?;
        let known = rows.iter().map(|row| value::read_account(row.try_get(0)?));
        let known = known.collect::<Result<BTreeSet<_>, StoreError>>()?;
        let settled: BTreeSet<_> = given.keys().map(|(payer, _)| *payer).collect();
        let missing = settled.difference(&known).copied();
        let missing = missing.map(|account| Finding::Payer { account });
        self.findings.extend(missing);
        Ok(())
    }

    async fn check_cheques(
        &mut self,
        view: &mut Transaction<'_, Any>,
        mut given: Given,
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

fn add(given: &mut Given, key: (Address, Address), amount: Amount) -> Result<(), StoreError> {
    let sum = given.entry(key).or_default();
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
    let rows = sqlx::query(
        "SELECT id, network, provider, consumer, claimed, settled, unsettled, place, seconds, \
         rewarded FROM pair",
    )
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
            unsettled: value::read_count(row.try_get(6)?)?,
            place: row.try_get(7)?,
            seconds: value::read_count(row.try_get(8)?)?,
            rewarded: value::read_count(row.try_get(9)?)?,
        };
        pairs.insert(id, row);
    }
    Ok(pairs)
}
