//! `redeemd`: the command line. The map and the invariants are in the library.
//!
//! Exit status: 0 done, 1 something does not verify, or does not fit together, 2 bad usage, a file or
//! a service that is not there.

mod check;
mod settler;

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use ethereum::key::PrivateKey;
use ethereum::rpc::{Limits, Node};
use receipts::Amount;
use redeemd::chain::{Chain, ChainError};
use redeemd::config::Config;
use redeemd::http::{self, Shared};
use redeemd::service::Service;
use redeemd::store::{Audit, Book, Store};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use zeroize::Zeroizing;

/// A node that takes longer is as good as none: others wait.
const RPC: Limits = Limits {
    connect: Duration::from_secs(5),
    whole: Duration::from_secs(10),
    answer_bytes: 8 << 20,
};

/// Settles bandwidth receipts.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Take claims and give out cheques, over HTTP, until SIGTERM or SIGINT
    Serve {
        /// The configuration file
        #[arg(long, default_value = "/etc/redeemd/redeemd.yaml")]
        config: PathBuf,
    },
    /// Check that everything in the database fits together, every signature included; also while it is served
    Audit {
        /// The configuration file
        #[arg(long, default_value = "/etc/redeemd/redeemd.yaml")]
        config: PathBuf,
    },
    /// Print all cheques on a payer that are not cashed, for `meshctl wallet cash`: when it takes its deposit back
    Cheques {
        /// The payer's account
        payer: String,
        /// The configuration file
        #[arg(long, default_value = "/etc/redeemd/redeemd.yaml")]
        config: PathBuf,
    },
    /// Make a settlement key, in a new file that only its owner can read, and print its account
    Key {
        /// The file
        file: PathBuf,
    },
    /// Print the OpenAPI document of the service
    Openapi,
    /// Verify receipt logs or exports offline and print what each consumer owes each provider
    Check {
        /// Files written by `meshctl receipts export`, or receipt logs of stopped nodes
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Print node ids in full (64 digits)
        #[arg(long)]
        full_ids: bool,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve { config } => serve(&config),
        Command::Audit { config } => audit(&config),
        Command::Cheques { payer, config } => cheques(&payer, &config),
        Command::Key { file } => key(&file),
        Command::Openapi => openapi(),
        Command::Check { files, full_ids } => {
            check::run(&files, full_ids, &mut io::stdout(), &mut io::stderr()).map_err(Into::into)
        }
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "redeemd: {error:#}");
        ExitCode::from(2)
    })
}

#[tokio::main]
async fn serve(config: &Path) -> Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let config = read(config)?;
    let listener = TcpListener::bind(config.listen);
    let listener = listener
        .await
        .with_context(|| format!("listen on {}", config.listen))?;
    let store = Store::open(&config.database, &book(&config)).await?;
    if store.is_new() {
        info!("made a new database: nothing is known of what was settled before");
    }
    let service = Arc::new(service(&config, store)?);
    let address = listener.local_addr()?;
    // Before anybody is told that there is somebody to end.
    let ended = ended()?;
    info!(%address, settlement_key = %service.chain.us, "redeemd listens");
    let settler = settler::spawn(Arc::clone(&service));
    let shared = Shared::new(Arc::clone(&service), config.limits);
    tokio::select! {
        served = settler::attend(settler, http::serve(listener, shared, ended)) => served?,
        wrong = other_chain(&service) => return Err(wrong.into()),
    }
    info!("redeemd ends");
    Ok(ExitCode::SUCCESS)
}

/// A wrong chain is a fault of the configuration; one that does not answer at the start may come back.
async fn other_chain(service: &Service) -> ChainError {
    match service.chain.check().await {
        Ok(()) => {}
        Err(error @ ChainError::OtherChain { .. }) => return error,
        Err(error) => warn!(%error, "claims are kept and settled when the chain answers"),
    }
    std::future::pending().await
}

fn ended() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn read(config: &Path) -> Result<Config> {
    Config::read(config).with_context(|| config.display().to_string())
}

fn book(config: &Config) -> Book {
    Book {
        chain_id: config.chain.chain_id,
        address: config.chain.book,
        settlement_key: config.key.address(),
    }
}

/// Who only looks makes no database where the configuration has the wrong name of one.
async fn open_existing(config: &Config) -> Result<Store> {
    Ok(Store::open_existing(&config.database, &book(config)).await?)
}

fn service(config: &Config, store: Store) -> Result<Service> {
    let chain = Chain::new(
        Node::new(config.chain.rpc.clone(), RPC)?,
        config.chain.chain_id,
        config.chain.book,
        config.key.address(),
        config.chain.confirmations,
        config.chain.max_block_age,
    );
    Ok(Service::new(
        store,
        chain,
        config.chain.chain_id,
        config.key.clone(),
        config.terms.clone(),
    ))
}

#[tokio::main(flavor = "current_thread")]
async fn audit(config: &Path) -> Result<ExitCode> {
    let config = read(config)?;
    let audit = open_existing(&config).await?.audit().await?;
    print_audit(&audit, &mut io::stdout())?;
    Ok(match audit.findings.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

#[tokio::main(flavor = "current_thread")]
async fn cheques(payer: &str, config: &Path) -> Result<ExitCode> {
    let payer = ethereum::text::parse_address(payer).context("the payer")?;
    let config = read(config)?;
    let store = open_existing(&config).await?;
    let cheques = service(&config, store)?.uncashed(payer).await?;
    io::stdout().write_all(&cheques.to_json()?)?;
    writeln!(io::stdout())?;
    Ok(ExitCode::SUCCESS)
}

fn print_audit(audit: &Audit, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{} receipts of {} pairs, {} settlements, {} cheques",
        audit.receipts, audit.pairs, audit.settlements, audit.cheques
    )?;
    writeln!(out, "claimed  {}", audit.claimed)?;
    writeln!(out, "debited  {}", audit.debits)?;
    writeln!(out, "credited {}", audit.credits)?;
    writeln!(out, "fees     {}", audit.fees)?;
    if audit.paid_beyond > Amount::ZERO {
        let beyond = audit.paid_beyond;
        writeln!(out, "paid without receipts that are known: {beyond}")?;
    }
    for finding in &audit.findings {
        writeln!(out, "FAULT: {finding}")?;
    }
    if audit.findings.is_empty() {
        writeln!(out, "everything fits together")?;
    }
    Ok(())
}

fn key(file: &Path) -> Result<ExitCode> {
    let key = PrivateKey::random().context("no random numbers")?;
    let digits = Zeroizing::new(hex::encode(key.to_bytes().as_ref()));
    let mut options = OpenOptions::new();
    let created = options.write(true).create_new(true).mode(0o600).open(file);
    let mut created = created.with_context(|| file.display().to_string())?;
    created.write_all(digits.as_bytes())?;
    created.sync_all()?;
    writeln!(io::stdout(), "{}", key.address())?;
    Ok(ExitCode::SUCCESS)
}

fn openapi() -> Result<ExitCode> {
    let document = serde_json::to_string_pretty(&http::document())?;
    writeln!(io::stdout(), "{document}")?;
    Ok(ExitCode::SUCCESS)
}
