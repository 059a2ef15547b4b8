//! Which account a node belongs to, and which accounts are payers of this service.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use receipts::Party;
use sqlx::{Any, Row, Transaction};

use super::{Store, StoreError, value};

/// As many nodes may have registered after one of which nothing was ever brought. Then it is forgotten: registrations
/// cost nothing, and these are the only ones that nobody has paid for. They take some 30 MB.
pub const MOST_UNUSED: i64 = 100_000;

/// A node's account, as both have signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Who earns and pays.
    pub node: Party,
    /// Where to, and from what.
    pub account: Address,
    /// A later one replaces those before.
    pub sequence: u64,
    /// Ed25519, of the node.
    pub node_signature: [u8; 64],
    /// ERC-2098, of the account.
    pub account_signature: [u8; 64],
}

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// It counts from now on, or has before.
    Done,
    /// The node has another account, and owes something that is not in cheques yet.
    Owes,
    /// The node has another account, to or by which more was paid than is known here.
    PaidBeyond,
    /// A later one is known, or another with the same number.
    Outdated {
        /// The number of the one that counts.
        sequence: u64,
    },
}

impl Store {
    /// Remembers a verified registration, if it is later than what is known.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn register(&self, registration: &Registration) -> Result<Registered, StoreError> {
        let mut change = self.begin().await?;
        lock_registration(&mut change, registration.node).await?;
        if owes_as_another(&mut change, registration).await? {
            return Ok(Registered::Owes);
        }
        if leaves_payments(&mut change, registration).await? {
            return Ok(Registered::PaidBeyond);
        }
        sqlx::query(
            "INSERT INTO registration \
             (node, account, sequence, node_signature, account_signature, place) \
             VALUES ($1, $2, $3, $4, $5, (SELECT COALESCE(MAX(place), 0) + 1 FROM registration)) \
             ON CONFLICT (node) DO UPDATE SET account = excluded.account, \
             sequence = excluded.sequence, node_signature = excluded.node_signature, \
             account_signature = excluded.account_signature \
             WHERE registration.sequence < excluded.sequence",
        )
        .bind(registration.node.as_bytes().as_slice())
        .bind(registration.account.as_slice())
        .bind(value::count(registration.sequence)?)
        .bind(registration.node_signature.as_slice())
        .bind(registration.account_signature.as_slice())
        .execute(&mut *change)
        .await?;
        let row = sqlx::query("SELECT account, sequence FROM registration WHERE node = $1")
            .bind(registration.node.as_bytes().as_slice())
            .fetch_one(&mut *change)
            .await?;
        change.commit().await?;
        self.forget_unused().await?;
        let account = value::read_account(row.try_get(0)?)?;
        let sequence = value::read_count(row.try_get(1)?)?;
        let counts = account == registration.account && sequence == registration.sequence;
        Ok(match counts {
            true => Registered::Done,
            false => Registered::Outdated { sequence },
        })
    }

    /// Each node's turn comes once. It is locked before it is asked whether anything was brought of it.
    async fn forget_unused(&self) -> Result<(), StoreError> {
        let mut change = self.begin().await?;
        let lock = format!(
            "UPDATE registration SET node = node \
             WHERE place = (SELECT MAX(place) FROM registration) - {MOST_UNUSED} RETURNING node"
        );
        for row in sqlx::query(&lock).fetch_all(&mut *change).await? {
            let node: Vec<u8> = row.try_get(0)?;
            sqlx::query(
                "DELETE FROM registration WHERE node = $1 \
                 AND NOT EXISTS (SELECT 1 FROM pair WHERE provider = $1) \
                 AND NOT EXISTS (SELECT 1 FROM pair WHERE consumer = $1)",
            )
            .bind(node)
            .execute(&mut *change)
            .await?;
        }
        change.commit().await?;
        Ok(())
    }

    /// The accounts of those of these nodes that have one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn accounts(
        &self,
        nodes: &BTreeSet<Party>,
    ) -> Result<BTreeMap<Party, Address>, StoreError> {
        let mut accounts = BTreeMap::new();
        for node in nodes {
            if let Some((account, _)) = self.registration(*node).await? {
                accounts.insert(*node, account);
            }
        }
        Ok(accounts)
    }

    /// A node's account, and the number of the registration that says so.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn registration(&self, node: Party) -> Result<Option<(Address, u64)>, StoreError> {
        let row = sqlx::query("SELECT account, sequence FROM registration WHERE node = $1")
            .bind(node.as_bytes().as_slice())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| {
            let account = value::read_account(row.try_get(0)?)?;
            Ok((account, value::read_count(row.try_get(1)?)?))
        })
        .transpose()
    }

    /// Remembers that an account lets this service draw on a deposit.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn add_payer(&self, account: Address) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO payer (account, block) VALUES ($1, 0) ON CONFLICT (account) DO NOTHING",
        )
        .bind(account.as_slice())
        .execute(&self.writers)
        .await?;
        Ok(())
    }

    /// Whether an account has ever let this service draw on a deposit, as far as is known.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_payer(&self, account: Address) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT account FROM payer WHERE account = $1")
            .bind(account.as_slice())
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.is_some())
    }
}

/// A node's account, which it keeps until the change is made.
pub(super) async fn lock_registration(
    change: &mut Transaction<'_, Any>,
    node: Party,
) -> Result<Option<Address>, StoreError> {
    let row = sqlx::query("UPDATE registration SET node = node WHERE node = $1 RETURNING account")
        .bind(node.as_bytes().as_slice())
        .fetch_optional(&mut **change)
        .await?;
    row.map(|row| value::read_account(row.try_get(0)?))
        .transpose()
}

/// Whether a node would leave an account behind on which something is due: who owes pays first.
async fn owes_as_another(
    change: &mut Transaction<'_, Any>,
    registration: &Registration,
) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "SELECT pair.id FROM pair JOIN registration ON registration.node = pair.consumer \
         WHERE pair.consumer = $1 AND pair.claimed <> pair.settled \
         AND registration.account <> $2 LIMIT 1",
    )
    .bind(registration.node.as_bytes().as_slice())
    .bind(registration.account.as_slice())
    .fetch_optional(&mut **change)
    .await?;
    Ok(row.is_some())
}

/// Whether a node would leave an account behind that has been part of payments of which receipts are not known here:
/// brought again, they would be paid to, or by, the other account once more.
async fn leaves_payments(
    change: &mut Transaction<'_, Any>,
    registration: &Registration,
) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "SELECT cheque.paid FROM registration JOIN cheque \
         ON cheque.beneficiary = registration.account OR cheque.issuer = registration.account \
         WHERE registration.node = $1 AND registration.account <> $2 \
         AND cheque.paid > cheque.cumulative LIMIT 1",
    )
    .bind(registration.node.as_bytes().as_slice())
    .bind(registration.account.as_slice())
    .fetch_optional(&mut **change)
    .await?;
    Ok(row.is_some())
}
