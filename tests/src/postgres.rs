//! A PostgreSQL of our own, in the sandbox.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::wait::wait_for;
use crate::{command, sandbox};

/// It takes three seconds, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// PostgreSQL refuses root, which is all that the sandbox has. In a user namespace of its own root is called
/// nobody, who owns the same files.
const AS_NOBODY: [&str; 3] = ["--user", "--map-user=65534", "--map-group=65534"];

/// Where Debian keeps the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Its only user, who may do everything.
const USER: &str = "meshd";

/// A running server with nothing in it, which ends with the value.
#[derive(Debug)]
pub struct Postgres {
    process: Child,
    port: u16,
}

impl Postgres {
    /// Starts a server whose files are in a directory that does not exist yet.
    ///
    /// # Errors
    /// It is not installed, or does not listen in time.
    pub fn start(directory: &Path) -> Result<Self> {
        command::run("ip", "link set lo up")?;
        let programs = programs()?;
        fs::create_dir_all(directory)?;
        let (data, log) = (directory.join("data"), directory.join("postgres.log"));
        let mut create = as_nobody(&programs.join("initdb"));
        create.args(["--username", USER, "--auth", "trust", "--no-sync"]);
        create.args(["--encoding", "UTF8", "--locale", "C", "--pgdata"]);
        let created = command::output(create.arg(&data), None)?;
        let said = String::from_utf8_lossy(&created.stderr);
        ensure!(created.status.success(), "initdb: {said}");
        let port = free_port()?;
        let mut server = as_nobody(&programs.join("postgres"));
        server
            .arg("-D")
            .arg(&data)
            .args(["-h", "127.0.0.1", "-k", ""]);
        server.args(["-p", &port.to_string()]);
        let output = File::create(&log)?;
        let process = server
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("start postgres")?;
        let server = Self { process, port };
        wait_for("PostgreSQL to answer", PATIENCE, || {
            let said = server.query("postgres", "SELECT 1");
            said.with_context(|| fs::read_to_string(&log).unwrap_or_default())
        })?;
        Ok(server)
    }

    /// Makes an empty database, and returns where it is.
    ///
    /// # Errors
    /// There is one of this name.
    pub fn create(&self, name: &str) -> Result<String> {
        self.query("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(format!("postgres://{USER}@127.0.0.1:{}/{name}", self.port))
    }

    /// Runs a statement, and returns what it found.
    ///
    /// # Errors
    /// It failed.
    pub fn query(&self, database: &str, statement: &str) -> Result<String> {
        let mut client = Command::new("psql");
        client.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        client.args(["-U", USER, "-d", database]);
        client.args([
            "-v",
            "ON_ERROR_STOP=1",
            "-X",
            "-q",
            "-A",
            "-t",
            "-c",
            statement,
        ]);
        let output = command::output(&mut client, None)?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{statement}: {complaint}");
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for Postgres {
    /// Its directory goes with it, so that it need not put it in order first. The other processes of the server
    /// notice that the first one is gone.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A place for the files of a server, of which there may be several.
#[must_use]
pub fn place(name: &str) -> PathBuf {
    Path::new(sandbox::FILES).join("postgres").join(name)
}

/// Of several versions, the newest.
fn programs() -> Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = Vec::new();
    for entry in fs::read_dir(VERSIONS).into_iter().flatten() {
        let entry = entry?;
        let programs = entry.path().join("bin");
        let version = entry.file_name().to_string_lossy().parse();
        if let (Ok(version), true) = (version, programs.join("initdb").is_file()) {
            versions.push((version, programs));
        }
    }
    let newest = versions.into_iter().max();
    let missing = "no PostgreSQL server; `make deps` installs what the laboratory needs";
    newest.map(|(_, programs)| programs).context(missing)
}

fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(AS_NOBODY).arg(program);
    command
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
