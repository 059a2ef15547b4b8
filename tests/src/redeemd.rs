//! redeemd, the settlement service, with its configuration, log and signals.

use std::env;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use alloy_primitives::Address;
use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::rest::{self, Answer};
use crate::wait::wait_for;
use crate::{binaries, command, sandbox};

/// A service starts in tenths of a second, and answers in less.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names another build of the program.
const PROGRAM: &str = "REDEEMD";

/// What a service is told. Everything else is as it is by default.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the chain is asked.
    pub rpc: String,
    /// The chain.
    pub chain_id: u64,
    /// The cheque book.
    pub book: Address,
    /// A file that [`new_key`] made.
    pub key: PathBuf,
    /// Whose the fees are.
    pub fee_account: Address,
    /// Where receipts are kept.
    pub database: String,
    /// By whose terms: as in the configuration.
    pub tariffs: Value,
    /// How much is too much: as in the configuration.
    pub limits: Value,
    /// How many blocks below the newest one is final.
    pub confirmations: u64,
}

impl Settings {
    /// Writes it down. JSON is YAML.
    fn write(&self) -> Result<PathBuf> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = Path::new(sandbox::FILES).join(format!("redeemd-{number}.yaml"));
        let text = json!({
            "listen": "127.0.0.1:0",
            "database": self.database,
            "settlement_key": self.key,
            "chain": {
                "rpc": self.rpc,
                "chain_id": self.chain_id,
                "book": self.book,
                "confirmations": self.confirmations,
                // Its clock is the chain's own, and stands still.
                "max_block_age_seconds": u32::MAX,
            },
            "fee_account": self.fee_account,
            "tariffs": self.tariffs,
            "limits": self.limits,
        });
        fs::write(&file, text.to_string()).with_context(|| file.display().to_string())?;
        Ok(file)
    }
}

/// A running service, which is killed with the value.
#[derive(Debug)]
pub struct Redeemd {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
    log: PathBuf,
}

/// Makes a settlement key in a file, and returns its account.
///
/// # Errors
/// The file exists.
pub fn new_key(file: &Path) -> Result<Address> {
    let arguments = format!("key {}", file.display());
    let said = command::run(&program()?.display().to_string(), &arguments)?;
    said.trim().parse().with_context(|| said.clone())
}

/// Has everything in a database checked.
///
/// # Errors
/// The program cannot be started.
pub fn audit(settings: &Settings) -> Result<Output> {
    let mut audit = Command::new(program()?);
    audit.args(["audit", "--config"]).arg(settings.write()?);
    command::output(&mut audit, None)
}

/// What a service says that does not start.
///
/// # Errors
/// It does.
pub fn refusal(settings: &Settings) -> Result<String> {
    let mut service = Redeemd::spawn(settings)?;
    let status = wait_for("redeemd to end", PATIENCE, || {
        service.process.try_wait()?.context("it runs")
    })?;
    ensure!(!status.success(), "{status}: {}", service.said());
    Ok(service.said())
}

impl Redeemd {
    /// Starts a service, on a port that is free.
    ///
    /// # Errors
    /// It ends at once: what it said is in the text. Or it does not listen in time.
    pub fn start(settings: &Settings) -> Result<Self> {
        Self::spawn(settings)?.listens()
    }

    /// The same, without waiting: [`Self::listens`] does.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn spawn(settings: &Settings) -> Result<Self> {
        let config = settings.write()?;
        let log = config.with_extension("log");
        let process = Command::new(program()?)
            .args(["serve", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("start redeemd")?;
        Ok(Self {
            process,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
        })
    }

    /// Waits until it listens.
    ///
    /// # Errors
    /// It has ended: what it said is in the text. Or it does not listen in time.
    pub fn listens(mut self) -> Result<Self> {
        let found = wait_for("redeemd to listen, or to end", PATIENCE, || {
            if self.process.try_wait()?.is_some() {
                return Ok(None);
            }
            let said = self.said();
            let address = listening(&said).ok_or_else(|| anyhow!(said))?;
            Ok(Some(address))
        })?;
        self.address = found.ok_or_else(|| anyhow!(self.said()))?;
        Ok(self)
    }

    /// Its log so far.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks for something.
    ///
    /// # Errors
    /// There is no answer.
    pub fn get(&self, path: &str) -> Result<Answer> {
        rest::send(self.address, &format!("GET {path}"), None, &[], PATIENCE)
    }

    /// Brings an export.
    ///
    /// # Errors
    /// There is no answer.
    pub fn claim(&self, export: &[u8]) -> Result<Answer> {
        claim(self.address, export)
    }

    /// Sends a document.
    ///
    /// # Errors
    /// There is no answer.
    pub fn post(&self, path: &str, document: &impl serde::Serialize) -> Result<Answer> {
        let body = serde_json::to_vec(document)?;
        let kind = Some("application/json");
        rest::send(self.address, &format!("POST {path}"), kind, &body, PATIENCE)
    }

    /// Ends it as an operator does, and makes sure that it ends well.
    ///
    /// # Errors
    /// It does not end, or badly.
    pub fn stop(mut self) -> Result<()> {
        kill(self.pid()?, Signal::SIGTERM)?;
        let status = wait_for("redeemd to end", PATIENCE, || {
            self.process.try_wait()?.context("it runs")
        })?;
        ensure!(
            status.success(),
            "redeemd ended with {status}: {}",
            self.said()
        );
        Ok(())
    }

    /// Ends it as a power cut does.
    ///
    /// # Errors
    /// It had ended before.
    pub fn kill(&mut self) -> Result<()> {
        ensure!(
            self.process.try_wait()?.is_none(),
            "redeemd ended by itself: {}",
            self.said()
        );
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Lays a trap: it is killed, as by kill -9, when one of its threads begins this system call for the n-th time
    /// from now on.
    ///
    /// # Errors
    /// It cannot be traced.
    pub fn kill_at(&self, call: &str, nth: usize) -> Result<Trap> {
        let log = self.log.with_extension("trap");
        let process = Command::new("strace")
            .args(["--follow-forks", "--output=/dev/null"])
            .arg(format!("--attach={}", self.process.id()))
            .arg(format!("--trace={call}"))
            .arg(format!("--inject={call}:signal=SIGKILL:when={nth}"))
            .stdin(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("start strace")?;
        let trap = Trap(process);
        wait_for("strace to be attached", PATIENCE, || {
            let said = fs::read_to_string(&log)?;
            ensure!(said.contains(" attached"), said);
            Ok(())
        })?;
        Ok(trap)
    }

    /// Waits until somebody else has ended it.
    ///
    /// # Errors
    /// Nobody does.
    pub fn ends(&mut self) -> Result<()> {
        wait_for("redeemd to be killed", PATIENCE, || {
            self.process.try_wait()?.context("it runs").map(drop)
        })
    }

    /// The memory it has, in KiB.
    ///
    /// # Errors
    /// It has ended.
    pub fn memory_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("VmRSS:"));
        let line = line.with_context(|| format!("redeemd has ended: {}", self.said()))?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// How many files and sockets it has open.
    ///
    /// # Errors
    /// It has ended.
    pub fn descriptors(&self) -> Result<usize> {
        let open = fs::read_dir(format!("/proc/{}/fd", self.process.id()));
        let open = open.with_context(|| format!("redeemd has ended: {}", self.said()))?;
        Ok(open.count())
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(self.process.id().try_into()?))
    }
}

impl Drop for Redeemd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What kills a service at a moment that was chosen. It is gone with the value.
#[derive(Debug)]
pub struct Trap(Child);

impl Drop for Trap {
    fn drop(&mut self) {
        // Whatever it traces goes on. Asked to end, it would wait for what is being killed, which waits for it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Brings an export to a service.
///
/// # Errors
/// There is no answer.
pub fn claim(service: SocketAddr, export: &[u8]) -> Result<Answer> {
    let kind = Some("application/vnd.meshd.receipts");
    rest::send(service, "POST /v1/claims", kind, export, PATIENCE)
}

/// The program that is started. `REDEEMD` names another build of it, for measurements.
///
/// # Errors
/// It has not been built.
pub fn program() -> Result<PathBuf> {
    match env::var_os(PROGRAM) {
        Some(program) => Ok(program.into()),
        None => binaries::find("redeemd"),
    }
}

fn listening(log: &str) -> Option<SocketAddr> {
    let (_, behind) = log.split_once("redeemd listens address=")?;
    let (address, _) = behind.split_once(' ')?;
    address.parse().ok()
}
