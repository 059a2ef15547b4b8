//! Receipts come in: of each epoch the one that counts is kept, and what it adds is claimed, once.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use receipts::{Amount, Equivocation, Offer, Party, Receipt};
use sqlx::{Any, Row, Transaction};

use super::registrations::lock_registration;
use super::{LAST_PLACE, Store, StoreError, rows, value};
use crate::claim::{PairClaim, PairId, SignedEpoch};

/// Epochs in one statement: four values each, of which SQLite takes 32766.
const BATCH: usize = 500;

/// Receipts of one payer that wait to be settled. If there are so many, no more are taken: whoever signs without
/// paying fills some 7 MB with them, and with the claims that come at that moment.
pub const MOST_UNSETTLED: u64 = 10_000;

/// What has become of a claim, pair by pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// In the order of the claim. Nothing: it was not taken, for as much of its payer is unsettled as may be.
    pub pairs: Vec<Option<AcceptedPair>>,
}

/// What a pair of the claim has added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedPair {
    /// Which.
    pub pair: PairId,
    /// Receipts that were not known, or more than what was.
    pub news: usize,
    /// Receipts that add nothing.
    pub known: usize,
    /// What the consumer has signed for in all.
    pub claimed: Amount,
    /// What of it is settled.
    pub settled: Amount,
}

/// A pair's row, locked.
struct Sum {
    claimed: Amount,
    settled: Amount,
    seconds: u64,
}

impl Store {
    /// Adds what is new of the claims on payers that may have more unsettled. `claims` are in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError::Overflow`] if a pair's receipts add up to more than 128 bits; [`StoreError`].
    pub async fn accept<'a>(
        &self,
        claims: impl IntoIterator<Item = &'a PairClaim>,
    ) -> Result<Accepted, StoreError> {
        let claims: Vec<_> = claims.into_iter().collect();
        let mut change = self.begin().await?;
        let accounts = lock_accounts(&mut change, &claims).await?;
        let mut backlogs = backlogs(&mut change, &accounts).await?;
        let mut pairs = Vec::new();
        for claim in claims {
            let payer = accounts.get(&claim.pair.consumer);
            let backlog = payer.and_then(|payer| backlogs.get_mut(payer));
            let Some(backlog) = backlog.filter(|backlog| **backlog < MOST_UNSETTLED) else {
                pairs.push(None);
                continue;
            };
            let accepted = accept_pair(&mut change, claim).await?;
            *backlog = backlog.saturating_add(accepted.news as u64);
            pairs.push(Some(accepted));
        }
        change.commit().await?;
        Ok(Accepted { pairs })
    }
}

/// The accounts of the consumers, which none of them leaves before the change is made.
async fn lock_accounts(
    change: &mut Transaction<'_, Any>,
    claims: &[&PairClaim],
) -> Result<BTreeMap<Party, Address>, StoreError> {
    let consumers: BTreeSet<_> = claims.iter().map(|claim| claim.pair.consumer).collect();
    let mut accounts = BTreeMap::new();
    for consumer in consumers {
        if let Some(account) = lock_registration(change, consumer).await? {
            accounts.insert(consumer, account);
        }
    }
    Ok(accounts)
}

/// Of those of the accounts that are payers, how many receipts are not settled.
async fn backlogs(
    change: &mut Transaction<'_, Any>,
    accounts: &BTreeMap<Party, Address>,
) -> Result<BTreeMap<Address, u64>, StoreError> {
    let accounts: BTreeSet<_> = accounts.values().copied().collect();
    let mut backlogs = BTreeMap::new();
    for account in accounts {
        let row = sqlx::query(
            "SELECT CAST((SELECT COALESCE(SUM(pair.unsettled), 0) FROM registration \
             JOIN pair ON pair.consumer = registration.node \
             WHERE registration.account = payer.account AND pair.claimed <> pair.settled) \
             AS BIGINT) FROM payer WHERE payer.account = $1",
        )
        .bind(account.as_slice())
        .fetch_optional(&mut **change)
        .await?;
        if let Some(row) = row {
            backlogs.insert(account, value::read_count(row.try_get(0)?)?);
        }
    }
    Ok(backlogs)
}

async fn accept_pair(
    change: &mut Transaction<'_, Any>,
    claim: &PairClaim,
) -> Result<AcceptedPair, StoreError> {
    let id = claim.pair.id();
    let mut sum = lock_pair(change, claim).await?;
    let epochs: Vec<_> = claim.receipts.iter().collect();
    let mut news = 0;
    let mut proof = claim.contradiction.clone();
    for batch in epochs.chunks(BATCH) {
        let known = known_epochs(change, id, batch).await?;
        let mut better = Vec::new();
        for (epoch, signed) in batch {
            let before = known.get(*epoch);
            let contradiction =
                before.and_then(|it| Equivocation::between(&it.receipt, &signed.receipt));
            proof = proof.or(contradiction);
            if before.is_none_or(|before| is_better(before, signed, claim.minimum)) {
                add(&mut sum, before, signed)?;
                better.push((**epoch, *signed));
            }
        }
        news += better.len();
        put_epochs(change, id, &better).await?;
    }
    if news > 0 {
        put_sum(change, id, &sum, news).await?;
    }
    if let Some(proof) = proof {
        put_contradiction(change, id, &proof).await?;
    }
    Ok(AcceptedPair {
        pair: id,
        news,
        known: epochs.len() - news,
        claimed: sum.claimed,
        settled: sum.settled,
    })
}

/// Whether a receipt counts in the place of one of the same epoch. If it adds next to nothing, the settlement of that
/// would take more than the fee on it pays for.
fn is_better(before: &SignedEpoch, signed: &SignedEpoch, minimum: Amount) -> bool {
    let added = signed.receipt.amount().checked_sub(before.receipt.amount());
    added.is_ok_and(|added| added >= minimum)
}

/// Counts a receipt in the place of one of the same epoch that is worth less. Of seconds it may have fewer, if the
/// consumer contradicts itself: then what was rewarded is not taken back.
fn add(
    sum: &mut Sum,
    before: Option<&SignedEpoch>,
    signed: &SignedEpoch,
) -> Result<(), StoreError> {
    let counted = before.map_or(Amount::ZERO, |it| it.receipt.amount());
    let added = signed.receipt.amount().checked_sub(counted)?;
    sum.claimed = sum.claimed.checked_add(added)?;
    let counted = before.map_or(0, SignedEpoch::seconds);
    let others = sum.seconds.saturating_sub(counted);
    let seconds = others.checked_add(signed.seconds());
    sum.seconds = seconds.ok_or(receipts::Overflow)?;
    Ok(())
}

async fn lock_pair(
    change: &mut Transaction<'_, Any>,
    claim: &PairClaim,
) -> Result<Sum, StoreError> {
    let zero = value::amount(Amount::ZERO);
    let pair = claim.pair;
    let row = sqlx::query(
        "INSERT INTO pair \
         (id, network, provider, consumer, claimed, settled, unsettled, place, seconds, rewarded) \
         VALUES ($1, $2, $3, $4, $5, $5, 0, 0, 0, 0) \
         ON CONFLICT (id) DO UPDATE SET id = excluded.id \
         RETURNING claimed, settled, seconds",
    )
    .bind(pair.id().as_bytes().as_slice())
    .bind(pair.network.as_bytes().as_slice())
    .bind(pair.provider.as_bytes().as_slice())
    .bind(pair.consumer.as_bytes().as_slice())
    .bind(zero)
    .fetch_one(&mut **change)
    .await?;
    Ok(Sum {
        claimed: value::read_amount(row.try_get(0)?)?,
        settled: value::read_amount(row.try_get(1)?)?,
        seconds: value::read_count(row.try_get(2)?)?,
    })
}

async fn known_epochs(
    change: &mut Transaction<'_, Any>,
    pair: PairId,
    epochs: &[(&u64, &SignedEpoch)],
) -> Result<BTreeMap<u64, SignedEpoch>, StoreError> {
    let numbers: Vec<_> = (2..epochs.len() + 2).map(|n| format!("${n}")).collect();
    let statement = format!(
        "SELECT epoch, offer, receipt FROM receipt WHERE pair = $1 AND epoch IN ({})",
        numbers.join(", ")
    );
    let mut query = sqlx::query(&statement).bind(pair.as_bytes().as_slice());
    for (epoch, _) in epochs {
        query = query.bind(value::epoch(**epoch));
    }
    let mut known = BTreeMap::new();
    for row in query.fetch_all(&mut **change).await? {
        let epoch = value::read_epoch(row.try_get(0)?);
        let signed = read_epoch(row.try_get(1)?, row.try_get(2)?)?;
        known.insert(epoch, signed);
    }
    Ok(known)
}

async fn put_epochs(
    change: &mut Transaction<'_, Any>,
    pair: PairId,
    epochs: &[(u64, &SignedEpoch)],
) -> Result<(), StoreError> {
    if epochs.is_empty() {
        return Ok(());
    }
    let statement = format!(
        "INSERT INTO receipt (pair, epoch, offer, receipt) VALUES {} \
         ON CONFLICT (pair, epoch) DO UPDATE SET offer = excluded.offer, receipt = excluded.receipt",
        rows(epochs.len(), 4)
    );
    let mut query = sqlx::query(&statement);
    for (epoch, signed) in epochs {
        query = query
            .bind(pair.as_bytes().as_slice())
            .bind(value::epoch(*epoch))
            .bind(signed.offer.to_bytes())
            .bind(signed.receipt.to_bytes());
    }
    query.execute(&mut **change).await?;
    Ok(())
}

async fn put_sum(
    change: &mut Transaction<'_, Any>,
    pair: PairId,
    sum: &Sum,
    news: usize,
) -> Result<(), StoreError> {
    let statement = format!(
        "UPDATE pair SET claimed = $2, seconds = $3, unsettled = unsettled + $4, \
         place = CASE WHEN claimed = settled THEN {LAST_PLACE} ELSE place END WHERE id = $1"
    );
    sqlx::query(&statement)
        .bind(pair.as_bytes().as_slice())
        .bind(value::amount(sum.claimed))
        .bind(value::count(sum.seconds)?)
        .bind(value::count(news as u64)?)
        .execute(&mut **change)
        .await?;
    Ok(())
}

/// One says it all.
async fn put_contradiction(
    change: &mut Transaction<'_, Any>,
    pair: PairId,
    proof: &Equivocation,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO contradiction (pair, proof) VALUES ($1, $2) ON CONFLICT (pair) DO NOTHING",
    )
    .bind(pair.as_bytes().as_slice())
    .bind(proof.to_bytes())
    .execute(&mut **change)
    .await?;
    Ok(())
}

pub(super) fn read_epoch(offer: Vec<u8>, receipt: Vec<u8>) -> Result<SignedEpoch, StoreError> {
    let offer = Offer::parse(&offer).map_err(|_| StoreError::Damaged("an offer is none"))?;
    let receipt = Receipt::parse(&receipt).map_err(|_| StoreError::Damaged("a receipt is none"))?;
    Ok(SignedEpoch { offer, receipt })
}
