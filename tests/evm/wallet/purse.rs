//! A wallet with some ether, beside a cheque book.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use alloy_primitives::Address;
use anyhow::{Context, Result, bail, ensure};
use ethereum::cheque::{ChequeFile, SignedCheque};
use mesh_tests::chain::CHAIN_ID;
use mesh_tests::contracts::{Cheque, domain};
use mesh_tests::wait::wait_for;
use mesh_tests::{binaries, command, sandbox};
use serde_json::Value;

use super::{Book, SMT};

pub(super) const PASSPHRASE: &str = "correct horse battery staple";

/// Of a machine that does something else at the same time.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Purse {
    pub(super) book: Book,
    pub(super) address: Address,
    pub(super) directory: PathBuf,
}

/// What a program said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Said {
    pub(super) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("{self:?}"))
    }
}

impl Purse {
    /// A new wallet with one ether.
    pub(super) fn new() -> Result<Self> {
        let mut purse = Self::empty()?;
        let new = purse.json(&["new", "--light"])?;
        purse.address = super::text(&new, "/address")?.parse()?;
        let (from, to) = (purse.book.anybody, purse.address);
        purse.book.chain.give_ether(from, to, SMT)?;
        Ok(purse)
    }

    /// A place for a wallet.
    pub(super) fn empty() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = PathBuf::from(format!("{}/purse-{number}", sandbox::FILES));
        fs::create_dir_all(&directory)?;
        let purse = Self {
            book: Book::new()?,
            address: Address::ZERO,
            directory,
        };
        purse.write("passphrase", format!("{PASSPHRASE}\n").as_bytes())?;
        Ok(purse)
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// A file for its owner.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<String> {
        let path = self.path(name);
        let mut options = OpenOptions::new();
        let file = options.create(true).write(true).truncate(true).mode(0o600);
        file.open(&path)?.write_all(bytes)?;
        Ok(path)
    }

    /// Whether something that was signed is kept.
    pub(super) fn has_pending(&self) -> bool {
        self.directory.join("wallet.json.pending").exists()
    }

    /// Cheques of the usual key in a file.
    pub(super) fn cheques(&self, cheques: &[Cheque]) -> Result<String> {
        self.cheques_of(cheques, CHAIN_ID, self.book.address)
    }

    pub(super) fn cheques_of(
        &self,
        cheques: &[Cheque],
        chain_id: u64,
        book: Address,
    ) -> Result<String> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let domain = domain(chain_id, book);
        let cheques = cheques.iter().map(|cheque| SignedCheque {
            cheque: cheque.clone(),
            signature: self.book.key.sign_for(&domain, cheque),
        });
        let file = ChequeFile {
            chain_id,
            book,
            cheques: cheques.collect(),
        };
        self.write(&format!("cheques-{number}.json"), &file.to_json()?)
    }

    /// The program, which nobody sits in front of: without a terminal.
    pub(super) fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new("setsid");
        command
            .arg(binaries::find("meshctl")?)
            .arg("wallet")
            .args(self.usual())
            .args(arguments)
            .env("HOME", &self.directory);
        // The last one counts only where it is the only one.
        if !arguments.contains(&"--confirmations") {
            command.args(["--confirmations", "1"]);
        }
        Ok(command)
    }

    /// What is the same for every command.
    pub(super) fn usual(&self) -> Vec<String> {
        [
            ["--keystore".to_owned(), self.path("wallet.json")],
            ["--passphrase-file".to_owned(), self.path("passphrase")],
            [
                "--rpc".to_owned(),
                format!("http://{}", self.book.chain.rpc()),
            ],
            ["--book".to_owned(), self.book.address.to_string()],
            ["--token".to_owned(), self.book.token.to_string()],
        ]
        .concat()
    }

    /// Runs a command that does what it should.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<Said> {
        self.run_with(arguments, None)
    }

    pub(super) fn run_with(&self, arguments: &[&str], input: Option<&str>) -> Result<Said> {
        let (code, said) = self.ends(arguments, input)?;
        ensure!(code == Some(0), "{arguments:?}: {code:?}, {said:?}");
        Ok(said)
    }

    pub(super) fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments = [&["--json"], arguments].concat();
        self.run(&arguments)?.json()
    }

    /// Runs a command that does not, and ends with this code.
    pub(super) fn fails(&self, arguments: &[&str], expected: i32) -> Result<Said> {
        let (code, said) = self.ends(arguments, None)?;
        ensure!(code == Some(expected), "{arguments:?}: {code:?}, {said:?}");
        Ok(said)
    }

    fn ends(&self, arguments: &[&str], input: Option<&str>) -> Result<(Option<i32>, Said)> {
        let output = command::output(&mut self.command(arguments)?, input)?;
        let said = Said {
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        };
        Ok((output.status.code(), said))
    }

    /// Starts a command that takes a while.
    pub(super) fn start(&self, arguments: &[&str]) -> Result<Running> {
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| self.directory.join(name));
        let process = self
            .command(arguments)?
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .spawn()?;
        Ok(Running {
            process,
            stdout,
            stderr,
        })
    }
}

/// A command that is not done yet. It is killed if its test is.
pub(super) struct Running {
    process: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    pub(super) fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn said(&self) -> Result<Said> {
        Ok(Said {
            stdout: fs::read_to_string(&self.stdout)?,
            stderr: fs::read_to_string(&self.stderr)?,
        })
    }

    /// Waits until it says something to a person.
    pub(super) fn says(&self, text: &str) -> Result<()> {
        wait_for(text, PATIENCE, || {
            let said = self.said()?;
            ensure!(said.stderr.contains(text), "{said:?}");
            Ok(())
        })
    }

    /// Waits for its end, which is a good one.
    pub(super) fn end(mut self) -> Result<Said> {
        let status = wait_for("an end", PATIENCE, || {
            let status = self.process.try_wait()?;
            status.with_context(|| format!("{:?}", self.said()))
        })?;
        let said = self.said()?;
        if !status.success() {
            bail!("{status}: {said:?}");
        }
        Ok(said)
    }

    /// Ends it with no time for anything.
    pub(super) fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
