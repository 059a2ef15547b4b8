//! What must not be lost: SQLite in a file, or PostgreSQL, with one schema and the same statements.
//!
//! ```text
//! schema.sql      what is kept
//! value           numbers and keys as they lie in a column
//! registrations   which account a node belongs to
//! claims          receipts come in
//! settlements     what is due becomes cheques
//! reports         what people ask for
//! audit           whether all of it fits together
//! ```
//!
//! # Invariants
//! - Every change is one transaction. It locks the rows it decides by before it reads them, pairs in the
//!   order of their ids and before them registrations in that of their nodes, or the payer, so that several processes
//!   can work on one database.
//! - What is known by its signature is kept with it.

mod audit;
mod claims;
mod registrations;
mod reports;
mod settlements;
mod value;

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use alloy_primitives::Address;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Any, AnyPool, Row, Transaction};

pub use audit::{Audit, Finding};
pub use claims::{Accepted, AcceptedPair, MOST_UNSETTLED};
pub use registrations::{MOST_UNUSED, Registered, Registration};
pub use reports::{Cheque, MOST_PAIRS, NodeReport, PairReport};
pub use settlements::{MOST_UNCASHED, Place, Settled, Terms};

/// How long a statement waits for the locks of others.
const PATIENCE: Duration = Duration::from_secs(10);

/// Behind all pairs. Two that come at the very same time may have one place; whose it is first does not matter.
const LAST_PLACE: &str = "(SELECT COALESCE(MAX(place), 0) + 1 FROM pair)";

/// Connections to PostgreSQL. SQLite has one writer, and readers that see what was committed.
const CONNECTIONS: u32 = 8;

/// The receipts, registrations and cheques of one service.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    /// For changes. SQLite has one writer, whose turn processes find by trying again and again: in here they
    /// queue for one connection.
    writers: AnyPool,
    kind: Kind,
    is_new: bool,
}

/// Whose cheques a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Book {
    /// The chain.
    pub chain_id: u64,
    /// The contract.
    pub address: Address,
    /// The account of the key that signs.
    pub settlement_key: Address,
}

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, or refuses.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// It could not be brought to the present schema.
    #[error("database schema: {0}")]
    Schema(#[from] sqlx::migrate::MigrateError),
    /// What is in it cannot have been written by this program.
    #[error("the database is damaged: {0}")]
    Damaged(&'static str),
    /// It belongs to something else.
    #[error(
        "the database holds cheques of chain {}, contract {}, settlement key {}", .0.chain_id, .0.address, .0.settlement_key
    )]
    OtherBook(Book),
    /// Neither of the two databases.
    #[error("a database is sqlite:FILE or postgres://…")]
    UnknownKind,
    /// Receipts add up to more than can be counted.
    #[error(transparent)]
    Overflow(#[from] receipts::Overflow),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    fn of(url: &str) -> Result<Self, StoreError> {
        match url.split_once(':') {
            Some(("sqlite", _)) => Ok(Self::Sqlite),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres),
            _ => Err(StoreError::UnknownKind),
        }
    }

    /// What a connection has to be told before anything else.
    const fn settings(self) -> &'static [&'static str] {
        match self {
            // With a write-ahead log, readers do not wait for the writer; FULL makes it reach the disk
            // before a commit returns.
            Self::Sqlite => &[
                "PRAGMA journal_mode = WAL",
                "PRAGMA synchronous = FULL",
                "PRAGMA foreign_keys = ON",
            ],
            Self::Postgres => &["SET lock_timeout = '10s'", "SET synchronous_commit = on"],
        }
    }

    /// In SQLite a transaction that began reading may be refused when it wants to write, so each begins as
    /// the writer it will be.
    const fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }
}

impl Store {
    /// Opens a database, creates or updates what is in it, and makes sure that it is about this book.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(url: &str, book: &Book) -> Result<Self, StoreError> {
        let mut store = Self::connect(url, "rwc").await?;
        store.migrate().await?;
        store.is_new = store.begin_book(book).await?;
        store.belongs_to(book).await?;
        Ok(store)
    }

    /// Opens a database that is there and about this book.
    ///
    /// # Errors
    /// [`StoreError`], also if there is none, or nothing in it.
    pub async fn open_existing(url: &str, book: &Book) -> Result<Self, StoreError> {
        let store = Self::connect(&url.replace("mode=rwc", "mode=rw"), "rw").await?;
        store.belongs_to(book).await?;
        Ok(store)
    }

    /// Whether there was nothing in it when it was opened.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.is_new
    }

    async fn connect(url: &str, mode: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let kind = Kind::of(url)?;
        let url: Cow<'_, str> = match kind {
            Kind::Sqlite if !url.contains('?') => format!("{url}?mode={mode}").into(),
            Kind::Sqlite | Kind::Postgres => url.into(),
        };
        let connect = AnyConnectOptions::from_str(&url)?;
        let pool = Self::pool(kind, CONNECTIONS, connect.clone()).await?;
        let writers = match kind {
            Kind::Sqlite => Self::pool(kind, 1, connect).await?,
            Kind::Postgres => pool.clone(),
        };
        Ok(Self {
            pool,
            writers,
            kind,
            is_new: false,
        })
    }

    async fn pool(
        kind: Kind,
        connections: u32,
        connect: AnyConnectOptions,
    ) -> Result<AnyPool, StoreError> {
        let pool = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(PATIENCE)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if kind == Kind::Sqlite {
                        let wait = format!("PRAGMA busy_timeout = {}", PATIENCE.as_millis());
                        sqlx::query(&wait).execute(&mut *connection).await?;
                    }
                    for setting in kind.settings() {
                        sqlx::query(setting).execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            })
            .connect_with(connect)
            .await?;
        Ok(pool)
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let first = Migration::new(
            1,
            Cow::Borrowed("settlement"),
            MigrationType::Simple,
            Cow::Borrowed(include_str!("schema.sql")),
            false,
        );
        let migrator = Migrator {
            migrations: Cow::Owned(vec![first]),
            ..Migrator::DEFAULT
        };
        match self.kind {
            // It takes a lock that is made for this.
            Kind::Postgres => migrator.run(&self.pool).await?,
            // All of it is one change, so that of several processes one makes it.
            Kind::Sqlite => {
                let mut change = self.begin().await?;
                migrator.run(&mut *change).await?;
                change.commit().await?;
            }
        }
        Ok(())
    }

    /// Returns whether there was none.
    async fn begin_book(&self, book: &Book) -> Result<bool, StoreError> {
        let begun = sqlx::query(
            "INSERT INTO book (id, chain_id, address, settlement_key) VALUES (1, $1, $2, $3) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(value::count(book.chain_id)?)
        .bind(book.address.as_slice())
        .bind(book.settlement_key.as_slice())
        .execute(&self.writers)
        .await?;
        Ok(begun.rows_affected() > 0)
    }

    async fn belongs_to(&self, book: &Book) -> Result<(), StoreError> {
        let mut view = self.pool.begin().await?;
        let known = read_book(&mut view).await?;
        view.rollback().await?;
        match known == *book {
            true => Ok(()),
            false => Err(StoreError::OtherBook(known)),
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn is_there(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// What a query for accounts finds behind this one.
    async fn accounts_behind(
        &self,
        statement: &str,
        behind: Address,
    ) -> Result<Vec<Address>, StoreError> {
        let rows = sqlx::query(statement)
            .bind(behind.as_slice())
            .fetch_all(&self.pool)
            .await?;
        let accounts = rows.iter().map(|row| value::read_account(row.try_get(0)?));
        accounts.collect()
    }

    /// Begins a change. Also if whoever wants it is gone by then, with a client that hung up: given up
    /// half-way, the connection would be within a change for ever, and it is the only one of SQLite's.
    async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let (writers, statement) = (self.writers.clone(), self.kind.begin());
        let begun = tokio::spawn(async move { begin(&writers, statement).await });
        Ok(begun.await.map_err(|_| sqlx::Error::WorkerCrashed)??)
    }
}

async fn begin(
    writers: &AnyPool,
    statement: &'static str,
) -> Result<Transaction<'static, Any>, sqlx::Error> {
    match writers.begin_with(statement).await {
        // SQLite ends a change by itself when the disk is full or broken, and sqlx does not notice.
        Err(sqlx::Error::InvalidSavePointStatement) => {
            writers.acquire().await?.close().await?;
            writers.begin_with(statement).await
        }
        begun => begun,
    }
}

async fn read_book(view: &mut Transaction<'_, Any>) -> Result<Book, StoreError> {
    let row = sqlx::query("SELECT chain_id, address, settlement_key FROM book")
        .fetch_one(&mut **view)
        .await?;
    Ok(Book {
        chain_id: value::read_count(row.try_get(0)?)?,
        address: value::read_account(row.try_get(1)?)?,
        settlement_key: value::read_account(row.try_get(2)?)?,
    })
}

/// `($1, $2), ($3, $4)` for two rows of two columns.
fn rows(rows: usize, columns: usize) -> String {
    let row = |first: usize| {
        let numbers = (first..first + columns).map(|number| format!("${number}"));
        format!("({})", numbers.collect::<Vec<_>>().join(", "))
    };
    let all = (0..rows).map(|index| row(index * columns + 1));
    all.collect::<Vec<_>>().join(", ")
}
