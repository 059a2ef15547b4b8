//! What is due becomes cheques: one payer in each transaction.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, U256};
use receipts::{Amount, NetworkId};
use sqlx::{Any, Row, Transaction};

use super::{LAST_PLACE, Store, StoreError, value};
use crate::room::{Limit, Room, View, least_room};
use crate::tariff::{Split, Tariff};

/// Pairs of one payer that are settled in one transaction. Others follow in the next.
const BATCH: i64 = 200;

/// Cheques on one payer that are not cashed, of which there are no more, but for those of one transaction: the chain
/// is asked for each whenever something is due, and before a deposit is taken back all of them have to be cashed.
pub const MOST_UNCASHED: usize = 1000;

/// By whose terms it is settled, and who gets the fee.
#[derive(Debug, Clone)]
pub struct Terms {
    /// By network; what is not in here is not settled.
    pub tariffs: BTreeMap<NetworkId, Tariff>,
    /// For all networks that are not named.
    pub others: Option<Tariff>,
    /// Whose the fees are.
    pub fee_account: Address,
    /// What was paid before the first cheque of ours was another service's, and comes on top. Without this it counts
    /// against what is due: this database may have lost the memory of it.
    pub takes_over: bool,
}

impl Terms {
    /// The tariff of a network, if it is settled here at all.
    #[must_use]
    pub fn tariff(&self, network: &NetworkId) -> Option<&Tariff> {
        self.tariffs.get(network).or(self.others.as_ref())
    }
}

/// What a round of settlement has done for a payer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// What cheques have gained.
    pub debit: Amount,
    /// Why something is left, if it is.
    pub limit: Option<Limit>,
    /// Behind which more may be settled at once.
    pub next: Option<Place>,
}

/// Where a pair is in the line of what is due; by default before all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    number: i64,
    id: Vec<u8>,
}

/// A pair of which not all is settled. Locked.
struct DuePair {
    id: Vec<u8>,
    place: i64,
    network: NetworkId,
    beneficiary: Address,
    claimed: Amount,
    settled: Amount,
    unsettled: u64,
    unrewarded: u64,
}

impl DuePair {
    /// Of the receipts that wait, the part of what is due then, rounded up: each that does so no more has paid the fee
    /// on `minimum_amount`, as none is for less.
    fn unsettled_after(&self, debit: Amount) -> Result<u64, StoreError> {
        let due = self.claimed.checked_sub(self.settled)?;
        let rest = U256::from(due.checked_sub(debit)?.atto_smt());
        let waiting = (U256::from(self.unsettled) * rest).div_ceil(U256::from(due.atto_smt()));
        u64::try_from(waiting).map_err(|_| receipts::Overflow.into())
    }
}

/// A payer's cheque for one beneficiary. Locked with the payer.
#[derive(Debug, Clone, Copy)]
struct ChequeRow {
    base: Amount,
    cumulative: Amount,
    paid: Amount,
}

impl Store {
    /// Payers with something due, behind this one in order; not more than `most`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn payers_due(&self, behind: Address, most: u32) -> Result<Vec<Address>, StoreError> {
        let statement = format!(
            "SELECT DISTINCT consumer.account FROM pair \
             JOIN registration AS consumer ON consumer.node = pair.consumer \
             JOIN registration AS provider ON provider.node = pair.provider \
             WHERE pair.claimed <> pair.settled AND consumer.account > $1 \
             ORDER BY consumer.account LIMIT {most}"
        );
        self.accounts_behind(&statement, behind).await
    }

    /// Whose payments the chain has to be asked for before [`Self::settle`] with the same place: those who hold uncashed
    /// cheques of this payer, and those who get one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn beneficiaries(
        &self,
        payer: Address,
        fee_account: Address,
        behind: &Place,
    ) -> Result<BTreeSet<Address>, StoreError> {
        let statement = format!(
            "SELECT beneficiary FROM cheque WHERE issuer = $1 AND cumulative > paid \
             UNION SELECT provider.account FROM (SELECT pair.provider FROM pair \
             JOIN registration AS consumer ON consumer.node = pair.consumer \
             WHERE pair.claimed <> pair.settled AND consumer.account = $1 \
             AND (pair.place, pair.id) > ($2, $3) \
             ORDER BY pair.place, pair.id LIMIT {BATCH}) AS due \
             JOIN registration AS provider ON provider.node = due.provider"
        );
        let rows = sqlx::query(&statement)
            .bind(payer.as_slice())
            .bind(behind.number)
            .bind(behind.id.clone())
            .fetch_all(&self.pool)
            .await?;
        let mut accounts = BTreeSet::from([fee_account]);
        for row in rows {
            accounts.insert(value::read_account(row.try_get(0)?)?);
        }
        Ok(accounts)
    }

    /// Everybody who has a cheque of this payer, cashed or not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn holders(&self, payer: Address) -> Result<BTreeSet<Address>, StoreError> {
        let rows = sqlx::query("SELECT beneficiary FROM cheque WHERE issuer = $1")
            .bind(payer.as_slice())
            .fetch_all(&self.pool)
            .await?;
        let accounts = rows.iter().map(|row| value::read_account(row.try_get(0)?));
        accounts.collect()
    }

    /// Gives out on a payer what its providers are due, as far as the chain's views of it allow, to those behind a
    /// place. The last view is the one that is final.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn settle(
        &self,
        payer: Address,
        views: &[View],
        terms: &Terms,
        behind: &Place,
    ) -> Result<Settled, StoreError> {
        let Some(last) = views.last() else {
            return Ok(Settled::default());
        };
        let mut change = self.begin().await?;
        let Some(noted) = lock_payer(&mut change, payer).await? else {
            return Ok(Settled::default());
        };
        // What is noted as paid since would be missing in what it says of the deposit.
        if last.block < noted {
            return Ok(Settled {
                limit: Some(Limit::OldView),
                ..Settled::default()
            });
        }
        let mut cheques = read_cheques(&mut change, payer).await?;
        note_paid(&mut change, payer, &mut cheques, last).await?;
        let mut round = Round {
            payer,
            room: room(views, &cheques),
            known: last,
            terms,
            cheques,
            done: Settled::default(),
        };
        let pairs = lock_due_pairs(&mut change, payer, behind).await?;
        for pair in &pairs {
            round.settle(&mut change, pair).await?;
        }
        change.commit().await?;
        let goes_on = round.room.amount > Amount::ZERO || round.done.debit > Amount::ZERO;
        if pairs.len() as i64 == BATCH && goes_on {
            round.done.next = pairs.last().map(|pair| Place {
                number: pair.place,
                id: pair.id.clone(),
            });
        }
        Ok(round.done)
    }
}

struct Round<'a> {
    payer: Address,
    room: Room,
    known: &'a View,
    terms: &'a Terms,
    cheques: BTreeMap<Address, ChequeRow>,
    done: Settled,
}

impl Round<'_> {
    async fn settle(
        &mut self,
        change: &mut Transaction<'_, Any>,
        pair: &DuePair,
    ) -> Result<(), StoreError> {
        let Some(tariff) = self.terms.tariff(&pair.network) else {
            return Ok(());
        };
        // It was registered since the chain was asked: the next round asks for it.
        if !self.knows(pair.beneficiary) || !self.knows(self.terms.fee_account) {
            return Ok(());
        }
        let due = pair.claimed.checked_sub(pair.settled)?;
        let new_money = |debit| {
            let split = tariff.split(debit, pair.unrewarded);
            self.new_money(pair.beneficiary, &split)
        };
        let debit = most(due, |debit| new_money(debit) <= self.room.amount);
        let taken = new_money(debit);
        if debit < due {
            self.done.limit = Some(self.room.limit);
        }
        if debit == Amount::ZERO {
            return Ok(());
        }
        let split = tariff.split(debit, pair.unrewarded);
        self.give(change, pair.beneficiary, split.credit).await?;
        self.give(change, self.terms.fee_account, split.fee).await?;
        self.write_down(change, pair, debit, &split).await?;
        self.room.amount = self.room.amount.checked_sub(taken)?;
        self.done.debit = self.done.debit.checked_add(debit)?;
        Ok(())
    }

    fn knows(&self, beneficiary: Address) -> bool {
        self.cheques.contains_key(&beneficiary) || self.known.paid.contains_key(&beneficiary)
    }

    /// What of a debit can be cashed once it is signed: all that the chain has not paid already.
    fn new_money(&self, beneficiary: Address, split: &Split) -> Amount {
        let mut gains = BTreeMap::from([(beneficiary, split.credit.atto_smt())]);
        *gains.entry(self.terms.fee_account).or_default() += split.fee.atto_smt();
        let gains = gains.into_iter();
        let new = gains.map(|(to, gain)| gain.saturating_sub(self.paid_beyond(to)));
        Amount::new(new.sum())
    }

    /// What the chain has paid of which nothing is known here.
    fn paid_beyond(&self, beneficiary: Address) -> u128 {
        let cheque = self.cheque(beneficiary);
        let [paid, cumulative] = [cheque.paid, cheque.cumulative].map(Amount::atto_smt);
        paid.saturating_sub(cumulative)
    }

    /// A cheque as it is. What was paid before the first one is under it, or still to be accounted for.
    fn cheque(&self, beneficiary: Address) -> ChequeRow {
        let paid = self.paid_before(beneficiary);
        let base = if self.terms.takes_over {
            paid
        } else {
            Amount::ZERO
        };
        let first = ChequeRow {
            base,
            cumulative: base,
            paid,
        };
        self.cheques.get(&beneficiary).copied().unwrap_or(first)
    }

    fn paid_before(&self, beneficiary: Address) -> Amount {
        let paid = self.known.paid.get(&beneficiary);
        paid.copied().unwrap_or_default()
    }

    /// Raises a cheque, also if it stays below what was paid: when all receipts are known again, it says the same.
    async fn give(
        &mut self,
        change: &mut Transaction<'_, Any>,
        beneficiary: Address,
        amount: Amount,
    ) -> Result<(), StoreError> {
        if amount == Amount::ZERO {
            return Ok(());
        }
        let mut cheque = self.cheque(beneficiary);
        cheque.cumulative = cheque.cumulative.checked_add(amount)?;
        self.cheques.insert(beneficiary, cheque);
        put_cheque(change, self.payer, beneficiary, &cheque).await
    }

    async fn write_down(
        &self,
        change: &mut Transaction<'_, Any>,
        pair: &DuePair,
        debit: Amount,
        split: &Split,
    ) -> Result<(), StoreError> {
        let settled = value::amount(pair.settled.checked_add(debit)?);
        let statement = format!(
            "UPDATE pair SET settled = $2, rewarded = rewarded + $3, place = {LAST_PLACE}, \
             unsettled = $4 WHERE id = $1"
        );
        sqlx::query(&statement)
            .bind(pair.id.clone())
            .bind(settled.clone())
            .bind(value::count(split.seconds)?)
            .bind(value::count(pair.unsettled_after(debit)?)?)
            .execute(&mut **change)
            .await?;
        sqlx::query(
            "INSERT INTO settlement \
             (pair, settled, payer, debit, beneficiary, credit, fee_account, fee, seconds) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(pair.id.clone())
        .bind(settled)
        .bind(self.payer.as_slice())
        .bind(value::amount(debit))
        .bind(pair.beneficiary.as_slice())
        .bind(value::amount(split.credit))
        .bind(self.terms.fee_account.as_slice())
        .bind(value::amount(split.fee))
        .bind(value::count(split.seconds)?)
        .execute(&mut **change)
        .await?;
        Ok(())
    }
}

/// The most of an amount that fits, if all that is less than what fits does so too, and nothing always does.
fn most(amount: Amount, fits: impl Fn(Amount) -> bool) -> Amount {
    if fits(amount) {
        return amount;
    }
    let (mut fitting, mut too_much) = (0, amount.atto_smt());
    while too_much - fitting > 1 {
        let middle = fitting + (too_much - fitting) / 2;
        match fits(Amount::new(middle)) {
            true => fitting = middle,
            false => too_much = middle,
        }
    }
    Amount::new(fitting)
}

/// What may be signed: the least of what the views leave, and nothing on top of too many cheques.
fn room(views: &[View], cheques: &BTreeMap<Address, ChequeRow>) -> Room {
    let uncashed = cheques.values().filter(|it| it.cumulative > it.paid);
    if uncashed.count() >= MOST_UNCASHED {
        return Room {
            amount: Amount::ZERO,
            limit: Limit::Cheques,
        };
    }
    least_room(views, |view| outstanding(cheques, view))
}

/// What is signed and not cashed in a block.
fn outstanding(cheques: &BTreeMap<Address, ChequeRow>, view: &View) -> Amount {
    let unpaid = cheques.iter().map(|(beneficiary, cheque)| {
        let paid = view.paid.get(beneficiary).copied().unwrap_or(cheque.paid);
        cheque.cumulative.checked_sub(paid).unwrap_or_default()
    });
    unpaid.fold(Amount::ZERO, |sum, unpaid| {
        sum.checked_add(unpaid).unwrap_or(Amount::new(u128::MAX))
    })
}

/// Returns the block of what is noted as paid; nothing for who never was a payer.
async fn lock_payer(
    change: &mut Transaction<'_, Any>,
    payer: Address,
) -> Result<Option<u64>, StoreError> {
    let row = sqlx::query("UPDATE payer SET block = block WHERE account = $1 RETURNING block")
        .bind(payer.as_slice())
        .fetch_optional(&mut **change)
        .await?;
    row.map(|row| value::read_count(row.try_get(0)?))
        .transpose()
}

async fn read_cheques(
    change: &mut Transaction<'_, Any>,
    payer: Address,
) -> Result<BTreeMap<Address, ChequeRow>, StoreError> {
    let rows =
        sqlx::query("SELECT beneficiary, base, cumulative, paid FROM cheque WHERE issuer = $1")
            .bind(payer.as_slice())
            .fetch_all(&mut **change)
            .await?;
    let mut cheques = BTreeMap::new();
    for row in rows {
        let cheque = ChequeRow {
            base: value::read_amount(row.try_get(1)?)?,
            cumulative: value::read_amount(row.try_get(2)?)?,
            paid: value::read_amount(row.try_get(3)?)?,
        };
        cheques.insert(value::read_account(row.try_get(0)?)?, cheque);
    }
    Ok(cheques)
}

/// Remembers what was paid, also if it is more than was ever signed here, and as of which block.
async fn note_paid(
    change: &mut Transaction<'_, Any>,
    payer: Address,
    cheques: &mut BTreeMap<Address, ChequeRow>,
    view: &View,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE payer SET block = $2 WHERE account = $1")
        .bind(payer.as_slice())
        .bind(value::count(view.block)?)
        .execute(&mut **change)
        .await?;
    for (beneficiary, cheque) in cheques {
        let Some(paid) = view.paid.get(beneficiary) else {
            continue;
        };
        if *paid <= cheque.paid {
            continue;
        }
        cheque.paid = *paid;
        put_cheque(change, payer, *beneficiary, cheque).await?;
    }
    Ok(())
}

async fn put_cheque(
    change: &mut Transaction<'_, Any>,
    issuer: Address,
    beneficiary: Address,
    cheque: &ChequeRow,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO cheque (issuer, beneficiary, base, cumulative, paid) \
         VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (issuer, beneficiary) DO UPDATE SET base = excluded.base, \
         cumulative = excluded.cumulative, paid = excluded.paid",
    )
    .bind(issuer.as_slice())
    .bind(beneficiary.as_slice())
    .bind(value::amount(cheque.base))
    .bind(value::amount(cheque.cumulative))
    .bind(value::amount(cheque.paid))
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Locks a payer's pairs with something due, in the order of their ids, and returns them in that of their places.
async fn lock_due_pairs(
    change: &mut Transaction<'_, Any>,
    payer: Address,
    behind: &Place,
) -> Result<Vec<DuePair>, StoreError> {
    let statement = format!(
        "SELECT pair.id, provider.account FROM pair \
         JOIN registration AS consumer ON consumer.node = pair.consumer \
         JOIN registration AS provider ON provider.node = pair.provider \
         WHERE pair.claimed <> pair.settled AND consumer.account = $1 \
         AND (pair.place, pair.id) > ($2, $3) \
         ORDER BY pair.place, pair.id LIMIT {BATCH}"
    );
    let rows = sqlx::query(&statement)
        .bind(payer.as_slice())
        .bind(behind.number)
        .bind(behind.id.clone())
        .fetch_all(&mut **change)
        .await?;
    let mut by_id: BTreeMap<Vec<u8>, Address> = BTreeMap::new();
    for row in rows {
        by_id.insert(row.try_get(0)?, value::read_account(row.try_get(1)?)?);
    }
    let mut pairs = Vec::new();
    for (id, beneficiary) in by_id {
        pairs.push(lock_pair(change, id, beneficiary).await?);
    }
    pairs.sort_by_key(|pair| pair.place);
    Ok(pairs)
}

async fn lock_pair(
    change: &mut Transaction<'_, Any>,
    id: Vec<u8>,
    beneficiary: Address,
) -> Result<DuePair, StoreError> {
    let row = sqlx::query(
        "UPDATE pair SET id = id WHERE id = $1 \
         RETURNING network, claimed, settled, seconds, rewarded, place, unsettled",
    )
    .bind(id.clone())
    .fetch_one(&mut **change)
    .await?;
    let seconds = value::read_count(row.try_get(3)?)?;
    let rewarded = value::read_count(row.try_get(4)?)?;
    Ok(DuePair {
        id,
        place: row.try_get(5)?,
        network: value::read_network(row.try_get(0)?)?,
        beneficiary,
        unsettled: value::read_count(row.try_get(6)?)?,
        claimed: value::read_amount(row.try_get(1)?)?,
        settled: value::read_amount(row.try_get(2)?)?,
        unrewarded: seconds.saturating_sub(rewarded),
    })
}
