//! What people ask for.

use alloy_primitives::Address;
use receipts::{Amount, Party};
use redeem_api::CHEQUES;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Store, StoreError, value};
use crate::claim::Pair;

/// No more pairs are told of at once.
pub const MOST_PAIRS: usize = 1000;

/// A node as this service knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReport {
    /// Its account, and the number of the registration that says so.
    pub registration: Option<(Address, u64)>,
    /// Where it is the provider: up to [`MOST_PAIRS`].
    pub earned: Vec<PairReport>,
    /// Where it is the consumer: up to [`MOST_PAIRS`].
    pub owed: Vec<PairReport>,
}

/// What is between two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairReport {
    /// The two.
    pub pair: Pair,
    /// What the consumer has signed for.
    pub claimed: Amount,
    /// What of it became cheques, and fees.
    pub settled: Amount,
}

/// What a beneficiary was given by an issuer in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cheque {
    /// On whose deposit.
    pub issuer: Address,
    /// To whom.
    pub beneficiary: Address,
    /// What was ever given, of this service or another.
    pub cumulative: Amount,
    /// What of it is known to be cashed.
    pub paid: Amount,
}

impl Store {
    /// What is known of a node.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn node(&self, node: Party) -> Result<NodeReport, StoreError> {
        Ok(NodeReport {
            registration: self.registration(node).await?,
            earned: self.pairs("provider", node).await?,
            owed: self.pairs("consumer", node).await?,
        })
    }

    /// What is between two nodes: nothing, if nothing was ever brought.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn pair(&self, pair: &Pair) -> Result<PairReport, StoreError> {
        let row = sqlx::query(
            "SELECT network, provider, consumer, claimed, settled FROM pair WHERE id = $1",
        )
        .bind(pair.id().as_bytes().as_slice())
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map_or(
            Ok(PairReport {
                pair: *pair,
                claimed: Amount::ZERO,
                settled: Amount::ZERO,
            }),
            read_pair,
        )
    }

    async fn pairs(&self, role: &'static str, node: Party) -> Result<Vec<PairReport>, StoreError> {
        let statement = format!(
            "SELECT network, provider, consumer, claimed, settled FROM pair \
             WHERE {role} = $1 ORDER BY id LIMIT {MOST_PAIRS}"
        );
        let rows = sqlx::query(&statement)
            .bind(node.as_bytes().as_slice())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(read_pair).collect()
    }

    /// A payer's cheques that are not known to be cashed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn uncashed(&self, issuer: Address) -> Result<Vec<Cheque>, StoreError> {
        let rows = sqlx::query(
            "SELECT issuer, beneficiary, cumulative, paid FROM cheque \
             WHERE issuer = $1 AND cumulative > paid ORDER BY beneficiary",
        )
        .bind(issuer.as_slice())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_cheque).collect()
    }

    /// Payers with cheques that are not known to be cashed, behind this one in order; not more than `most`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn issuers(&self, behind: Address, most: u32) -> Result<Vec<Address>, StoreError> {
        let statement = format!(
            "SELECT DISTINCT issuer FROM cheque \
             WHERE cumulative > paid AND issuer > $1 ORDER BY issuer LIMIT {most}"
        );
        self.accounts_behind(&statement, behind).await
    }

    /// Payers with cheques, cashed or not, behind this one in order; not more than `most`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn all_issuers(
        &self,
        behind: Address,
        most: u32,
    ) -> Result<Vec<Address>, StoreError> {
        let statement = format!(
            "SELECT DISTINCT issuer FROM cheque WHERE issuer > $1 ORDER BY issuer LIMIT {most}"
        );
        self.accounts_behind(&statement, behind).await
    }

    /// A beneficiary's cheques of the payers behind this one in order; up to [`CHEQUES`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn cheques(
        &self,
        beneficiary: Address,
        behind: Address,
    ) -> Result<Vec<Cheque>, StoreError> {
        let statement = format!(
            "SELECT issuer, beneficiary, cumulative, paid FROM cheque \
             WHERE beneficiary = $1 AND issuer > $2 \
             ORDER BY issuer LIMIT {CHEQUES}"
        );
        let rows = sqlx::query(&statement)
            .bind(beneficiary.as_slice())
            .bind(behind.as_slice())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(read_cheque).collect()
    }
}

fn read_cheque(row: &AnyRow) -> Result<Cheque, StoreError> {
    Ok(Cheque {
        issuer: value::read_account(row.try_get(0)?)?,
        beneficiary: value::read_account(row.try_get(1)?)?,
        cumulative: value::read_amount(row.try_get(2)?)?,
        paid: value::read_amount(row.try_get(3)?)?,
    })
}

fn read_pair(row: &AnyRow) -> Result<PairReport, StoreError> {
    Ok(PairReport {
        pair: Pair {
            network: value::read_network(row.try_get(0)?)?,
            provider: value::read_party(row.try_get(1)?)?,
            consumer: value::read_party(row.try_get(2)?)?,
        },
        claimed: value::read_amount(row.try_get(3)?)?,
        settled: value::read_amount(row.try_get(4)?)?,
    })
}
