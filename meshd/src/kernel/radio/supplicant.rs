//! Encrypted meshes: wpa_supplicant does SAE (IEEE 802.11-2020 §12.4) and opens the peer links.
//!
//! It is told everything by a configuration in a directory that only root may enter, and watched
//! over its control socket there. It goes on without us: a new meshd finds it running, and as long
//! as its configuration is the right one, leaves it alone.
//!
//! The arithmetic of a handshake can keep it from answering for seconds on a slow router, and routes
//! must not wait for it: so it is looked after by a task of its own.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::Problem;
use super::settings::RadioSettings;
use crate::kernel::program;

mod configuration;
mod control;
mod refusals;

use configuration::{configuration, write_private};
use control::Connection;
use refusals::Refusals;

/// A program that cannot take more than its start-up has this long for it, on a slow router.
const START_LIMIT: Duration = Duration::from_secs(30);
/// One that has not answered for so many questions in a row is started anew: it is stuck.
const MAX_SILENCES: u32 = 10;
/// How often it is looked after.
const LOOK_AFTER: Duration = Duration::from_secs(5);
/// How soon it is started again after that failed.
const RETRY: Duration = Duration::from_secs(2);
/// What it answers when its state is asked for and it is in the mesh.
const JOINED: &str = "wpa_state=COMPLETED";
/// How long it may take to end before it is killed. One that is in the middle of arithmetic is not
/// worth waiting for.
const END_LIMIT: Duration = Duration::from_secs(1);

/// Why there is no encrypted mesh.
#[derive(Debug, thiserror::Error)]
enum SupplicantError {
    /// The program is not there.
    #[error(
        "can't find the program wpa_supplicant: install wpa_supplicant (OpenWrt: wpad-mesh-wolfssl)"
    )]
    Missing,
    /// It cannot be started.
    #[error("can't run wpa_supplicant: {0}")]
    Unusable(io::Error),
    /// It gave up.
    #[error("wpa_supplicant ended: {0}")]
    Ended(String),
    /// Its files cannot be made.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not answer.
    #[error("wpa_supplicant does not answer: {0}")]
    Silent(io::Error),
    /// It says no.
    #[error("wpa_supplicant refuses {0}")]
    Refused(&'static str),
}

impl SupplicantError {
    /// What an operator can do about it.
    const fn advice(&self) -> &'static str {
        match self {
            Self::Missing => "install it, and restart nothing: it is looked for again",
            Self::Unusable(_) | Self::Ended(_) => "run wpa_supplicant by hand to see why",
            Self::File { .. } => "make room, or let meshd write there",
            Self::Silent(_) | Self::Refused(_) => "wait: it is started again",
        }
    }

    /// Whether it may just have something else to do.
    fn is_busy(&self) -> bool {
        matches!(self, Self::Silent(error) if error.kind() == io::ErrorKind::TimedOut)
    }
}

impl From<SupplicantError> for Problem {
    fn from(error: SupplicantError) -> Self {
        Self {
            what: error.to_string(),
            advice: error.advice().to_owned(),
        }
    }
}

/// A wpa_supplicant for one interface, and the task that looks after it. Dropping this leaves it
/// running, and to itself.
pub(super) struct Supplicant {
    state: watch::Receiver<State>,
    task: JoinHandle<()>,
}

/// How it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// What is wrong.
    pub(super) problem: Option<Problem>,
    /// Whether it joined the mesh, as far as it says.
    pub(super) joined: bool,
    /// Neighbors that have another key than we, as far as can be told, and how often the handshake
    /// failed since it last succeeded.
    pub(super) refusals: BTreeMap<[u8; 6], u32>,
}

impl Supplicant {
    /// Has it run with these settings from now on; its files go into `directory`. Must be called
    /// within a tokio runtime.
    pub(super) fn start(directory: PathBuf, interface: &str, settings: RadioSettings) -> Self {
        let keeper = Keeper::new(directory, interface);
        let (state, receiver) = watch::channel(State::default());
        Self {
            state: receiver,
            task: tokio::spawn(keeper.keep(settings, state)),
        }
    }

    /// How it was when it was last looked after.
    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }
}

impl Drop for Supplicant {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends the wpa_supplicant of an interface, whoever started it, and leaves no key behind. Nobody
/// may look after it any more, or it is started again.
pub(super) async fn end(directory: PathBuf, interface: String) {
    let mut keeper = Keeper::new(directory, &interface);
    keeper.stop().await;
    let _ = fs::remove_dir_all(&keeper.directory);
}

/// Who starts, asks and ends the program.
struct Keeper {
    directory: PathBuf,
    interface: String,
    connection: Option<Connection>,
    joined: bool,
    refusals: Refusals,
    /// Questions in a row that had no answer.
    silences: u32,
}

impl Keeper {
    fn new(directory: PathBuf, interface: &str) -> Self {
        Self {
            directory,
            interface: interface.to_owned(),
            connection: None,
            joined: false,
            refusals: Refusals::default(),
            silences: 0,
        }
    }

    async fn keep(mut self, settings: RadioSettings, state: watch::Sender<State>) {
        loop {
            let problem = self.ensure(&settings).await.err().map(Problem::from);
            let wait = if problem.is_some() { RETRY } else { LOOK_AFTER };
            state.send_replace(State {
                problem,
                joined: self.joined,
                refusals: self.refusals.counts(Instant::now()),
            });
            tokio::time::sleep(wait).await;
        }
    }

    /// Makes sure that it runs with these settings. One that is busy is left alone.
    async fn ensure(&mut self, settings: &RadioSettings) -> Result<(), SupplicantError> {
        self.prepare_directory()?;
        let wanted = configuration(&self.control_directory(), settings);
        let path = self.configuration_path();
        let found = fs::read(&path).map(Zeroizing::new);
        if found.is_ok_and(|found| *found == *wanted.as_bytes()) {
            match self.ask("STATUS").await {
                Ok(answer) => {
                    self.joined = answer.lines().any(|line| line == JOINED);
                    self.silences = 0;
                    return Ok(());
                }
                Err(error) if error.is_busy() && self.silences < MAX_SILENCES => {
                    self.silences += 1;
                    // Its arithmetic is for neighbors, whom it has in the mesh only.
                    self.joined = true;
                    return Ok(());
                }
                _ => {}
            }
        }
        self.stop().await;
        write_private(&path, wanted.as_bytes()).map_err(|source| file(&path, source))?;
        self.launch().await
    }

    /// Ends it, if it runs: asks it to, and kills it if it takes too long.
    async fn stop(&mut self) {
        let end = async {
            let _ = self.ask("TERMINATE").await;
            // It answers before it ends.
            while self.process().is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(END_LIMIT, end).await.is_err()
            && let Some(process) = self.process()
        {
            let _ = kill(process, Signal::SIGKILL);
        }
        // Or the next would take it for running.
        let _ = fs::remove_file(self.control_directory().join(&self.interface));
        self.connection = None;
        self.joined = false;
        self.refusals = Refusals::default();
        self.silences = 0;
    }

    /// The process it runs in.
    fn process(&self) -> Option<Pid> {
        let number = fs::read_to_string(self.pid_path()).ok()?;
        let id = number.trim().parse().ok()?;
        // The number may be that of another process by now.
        let words = fs::read(format!("/proc/{id}/cmdline")).ok()?;
        let configuration = self.configuration_path();
        let mut words = words.split(|byte| *byte == 0);
        let is_ours = words.any(|word| word == configuration.as_os_str().as_bytes());
        is_ours.then(|| Pid::from_raw(id))
    }

    async fn launch(&mut self) -> Result<(), SupplicantError> {
        // It writes its number into a file that is there, whoever may read that.
        let path = self.pid_path();
        write_private(&path, b"").map_err(|source| file(&path, source))?;
        let output = match timeout(START_LIMIT, self.run()).await {
            Ok(output) => output?,
            Err(_) => return Err(SupplicantError::Unusable(io::ErrorKind::TimedOut.into())),
        };
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            // Its first complaint says most; the others follow from it.
            let is_complaint = |line: &&str| !line.starts_with("Successfully initialized");
            let complaint = said.lines().find(is_complaint);
            let complaint = complaint.unwrap_or("without a word").trim().to_owned();
            return Err(SupplicantError::Ended(complaint));
        }
        match self.ask("PING").await {
            Err(error) if !error.is_busy() => Err(error),
            _ => Ok(()),
        }
    }

    /// Runs the program, which goes on in the background once it has begun.
    async fn run(&self) -> Result<Output, SupplicantError> {
        for program in program::candidates(Path::new("wpa_supplicant")) {
            let command = Command::new(program)
                .args(["-B", "-D", "nl80211", "-i", &self.interface, "-c"])
                .arg(self.configuration_path())
                .arg("-P")
                .arg(self.pid_path())
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .output();
            match command.await {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                output => return output.map_err(SupplicantError::Unusable),
            }
        }
        Err(SupplicantError::Missing)
    }

    async fn ask(&mut self, command: &'static str) -> Result<String, SupplicantError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.control_directory(), &self.interface)
                .await
                .map_err(SupplicantError::Silent)?,
        };
        let answer = connection.ask(command).await;
        for event in connection.events.drain(..) {
            self.refusals.note(&event, Instant::now());
        }
        let answer = answer.map_err(SupplicantError::Silent)?;
        self.connection = Some(connection);
        match answer.trim() {
            "FAIL" | "UNKNOWN COMMAND" => Err(SupplicantError::Refused(command)),
            answer => Ok(answer.to_owned()),
        }
    }

    fn prepare_directory(&self) -> Result<(), SupplicantError> {
        let directory = &self.directory;
        let make = || {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
            fs::set_permissions(directory, Permissions::from_mode(0o700))
        };
        make().map_err(|source| file(directory, source))
    }

    fn configuration_path(&self) -> PathBuf {
        self.directory.join("wpa_supplicant.conf")
    }

    fn pid_path(&self) -> PathBuf {
        self.directory.join("pid")
    }

    fn control_directory(&self) -> PathBuf {
        self.directory.join("control")
    }
}

fn file(path: &Path, source: io::Error) -> SupplicantError {
    SupplicantError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Child;

    use futures_util::future::join_all;
    use tempfile::TempDir;
    use tokio::net::UnixDatagram;

    use super::*;

    /// A process with `word` on its command line that does not listen to SIGTERM.
    fn stubborn(word: &Path) -> Child {
        let mut shell = std::process::Command::new("sh");
        let shell = shell.args(["-c", "trap '' TERM; echo; read line", "sh"]);
        let shell = shell.arg(word).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        // It has set its trap once it says something.
        let said = child.stdout.as_mut().unwrap().read(&mut [0]);
        assert_eq!(said.unwrap(), 1);
        child
    }

    /// What is there of a wpa_supplicant that answers nothing.
    fn stuck(interface: &str) -> (TempDir, UnixDatagram, Child) {
        let directory = tempfile::tempdir().unwrap();
        let keeper = Keeper::new(directory.path().to_owned(), interface);
        fs::create_dir(keeper.control_directory()).unwrap();
        let socket = keeper.control_directory().join(interface);
        let socket = UnixDatagram::bind(socket).unwrap();
        write_private(&keeper.configuration_path(), b"key").unwrap();
        let child = stubborn(&keeper.configuration_path());
        fs::write(keeper.pid_path(), format!("{}\n", child.id())).unwrap();
        (directory, socket, child)
    }

    #[tokio::test]
    async fn those_that_are_stuck_are_killed_at_once_and_leave_no_key() {
        let mut all = [stuck("mesh0"), stuck("mesh1")];
        let names = ["mesh0", "mesh1"].map(str::to_owned);
        let start = Instant::now();
        let ends = all.iter().zip(names);
        join_all(ends.map(|((directory, ..), name)| end(directory.path().to_owned(), name))).await;
        let took = start.elapsed();
        assert!(took < END_LIMIT * 3 / 2, "{took:?}");
        for (directory, _, child) in &mut all {
            assert_eq!(child.wait().unwrap().signal(), Some(9));
            assert!(!directory.path().exists());
        }
    }

    #[tokio::test]
    async fn the_number_of_another_process_is_no_reason_to_kill_it() {
        let directory = tempfile::tempdir().unwrap();
        let keeper = Keeper::new(directory.path().to_owned(), "mesh0");
        let mut other = stubborn(Path::new("/other.conf"));
        fs::write(keeper.pid_path(), other.id().to_string()).unwrap();
        end(directory.path().to_owned(), "mesh0".to_owned()).await;
        drop(other.stdin.take());
        assert_eq!(other.wait().unwrap().signal(), None);
    }
}
