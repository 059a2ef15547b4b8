//! meshd as a router runs it: a configuration file, a process, its log, signals, meshctl.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use control_api::Status;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;

use crate::namespace::Namespace;
use crate::wait::{patience, wait_for};
use crate::{binaries, command, sandbox, vm};

/// The network every router of the laboratory belongs to, unless a test says otherwise.
pub const NETWORK: &str = "laboratory";

/// How long a start or an end may take on a machine that is busy building something else.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long meshctl waits for an answer, as it does by itself outside of the virtual machine.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What is written into the configuration file. Fields that are `None` are left out, so that the
/// daemon's own defaults are tested as well.
#[derive(Clone, Debug)]
pub struct Config {
    /// `network`.
    pub network: String,
    /// `name`.
    pub name: String,
    /// `mesh`, in YAML.
    pub mesh: String,
    /// `position`.
    pub position: Option<String>,
    /// `lan`, in YAML.
    pub lan: Option<String>,
    /// `uplink`, in YAML.
    pub uplink: Option<String>,
    /// `gateways`, in YAML.
    pub gateways: Option<String>,
    /// `sharing`, in YAML.
    pub sharing: Option<String>,
    /// `status_page`, in YAML.
    pub status_page: Option<String>,
    /// `tunnel`.
    pub tunnel: Option<String>,
    /// `numbers`, in YAML.
    pub numbers: Option<String>,
    /// `control_read_only`.
    pub control_read_only: Option<String>,
}

impl Config {
    /// The shortest configuration there is.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            network: NETWORK.to_owned(),
            name: name.to_owned(),
            mesh: "[{interface: mesh0}]".to_owned(),
            position: None,
            lan: None,
            uplink: None,
            gateways: None,
            sharing: None,
            status_page: None,
            tunnel: None,
            numbers: None,
            control_read_only: None,
        }
    }

    /// Pays whatever others ask for.
    pub fn pay_any_price(&mut self) {
        self.gateways = Some("{maximum_price: any}".to_owned());
    }

    /// The configuration file of a router that keeps its files in `directory`.
    #[must_use]
    pub fn to_yaml(&self, directory: &Path) -> String {
        let directory = directory.display();
        let mut text = format!(
            "network: {}\n\
             name: {}\n\
             identity: {directory}/identity.key\n\
             state: {directory}/state\n\
             control: {directory}/control.sock\n\
             mesh: {}\n",
            self.network, self.name, self.mesh
        );
        let optional = [
            ("position", &self.position),
            ("lan", &self.lan),
            ("uplink", &self.uplink),
            ("gateways", &self.gateways),
            ("sharing", &self.sharing),
            ("status_page", &self.status_page),
            ("tunnel", &self.tunnel),
            ("numbers", &self.numbers),
            ("control_read_only", &self.control_read_only),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                let _ = writeln!(text, "{key}: {value}");
            }
        }
        text
    }
}

/// What a router makes of its 802.11 radio: `radio` of an interface in `mesh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Radio {
    /// `mode`.
    pub mode: Mode,
    /// `id`: what radios of one network have in common.
    pub id: String,
    /// `frequency_mhz`: the middle of the channel.
    pub frequency_mhz: u32,
    /// `width`, left out if empty.
    pub width: String,
    /// The password of `key`, for SAE; an open network without.
    pub password: Option<String>,
}

/// How radios meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A mesh of 802.11s.
    Mesh,
    /// The older way, an independent basic service set.
    Ibss,
}

impl Radio {
    /// The radio of a village that anybody may join, on channel 1.
    #[must_use]
    pub fn open(mode: Mode) -> Self {
        Self {
            mode,
            id: "labmesh".to_owned(),
            frequency_mhz: 2412,
            width: "ht20".to_owned(),
            password: None,
        }
    }

    /// The same for those who know the password.
    #[must_use]
    pub fn with_password(self, password: &str) -> Self {
        Self {
            password: Some(password.to_owned()),
            ..self
        }
    }

    /// `mesh` with one interface, made on the radio that the kernel calls `phy`.
    #[must_use]
    pub fn to_yaml(&self, interface: &str, phy: &str) -> String {
        let mode = match self.mode {
            Mode::Mesh => "802.11s",
            Mode::Ibss => "ibss",
        };
        let mut radio = format!(
            "phy: {phy}, mode: {mode}, id: {}, frequency_mhz: {}",
            self.id, self.frequency_mhz
        );
        if !self.width.is_empty() {
            let _ = write!(radio, ", width: {}", self.width);
        }
        if let Some(password) = &self.password {
            let _ = write!(radio, ", key: {{sae: \"{password}\"}}");
        }
        format!("[{{interface: {interface}, radio: {{{radio}}}}}]")
    }
}

/// The files of one router's daemon. They outlive the process, as on a router.
#[derive(Clone, Debug)]
pub struct Files {
    directory: PathBuf,
}

impl Files {
    /// An empty directory for one router.
    ///
    /// # Errors
    /// It could not be created.
    pub fn new(directory: PathBuf) -> Result<Self> {
        fs::create_dir_all(directory.join("state"))
            .with_context(|| format!("create {}", directory.display()))?;
        Ok(Self { directory })
    }

    /// Where they are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.directory.join("meshd.yaml")
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.join("control.sock")
    }

    /// Where the daemon keeps what it must not forget.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// What every daemon of this router has logged.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.directory.join("meshd.log")
    }

    /// The log as text; empty before the first start.
    #[must_use]
    pub fn log_text(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Writes the configuration file. Only its owner can read it: there may be a password in it.
    ///
    /// # Errors
    /// It could not be written.
    pub fn write_config(&self, config: &Config) -> Result<()> {
        File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(self.config())
            .and_then(|mut file| file.write_all(config.to_yaml(&self.directory).as_bytes()))
            .context("write meshd.yaml")
    }

    /// Has nft take two seconds longer until what this returns is dropped, as on a router that is busy.
    ///
    /// # Errors
    /// The program in its place cannot be written.
    pub fn slow_nft(&self) -> Result<Spoilt> {
        self.spoil_nft("sleep 2")
    }

    /// Has nft fail until what this returns is dropped.
    ///
    /// # Errors
    /// The program in its place cannot be written.
    pub fn break_nft(&self) -> Result<Spoilt> {
        self.spoil_nft("exit 1")
    }

    fn spoil_nft(&self, first: &str) -> Result<Spoilt> {
        let nft = self.programs().join("nft");
        let flag = self.directory.join("spoilt");
        File::create(&flag)?;
        fs::create_dir_all(self.programs())?;
        let script = format!(
            "#!/bin/sh\nPATH=${{PATH#*:}}\n[ ! -e {} ] || {first}\nexec nft \"$@\"\n",
            flag.display()
        );
        fs::write(&nft, script)?;
        fs::set_permissions(&nft, Permissions::from_mode(0o755))?;
        Ok(Spoilt(flag))
    }

    /// Has the router's DHCP client write down these resolvers, for a daemon that is started afterwards.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn tell_resolvers(&self, resolvers: &[IpAddr]) -> Result<()> {
        let lines = resolvers.iter().map(|it| format!("nameserver {it}\n"));
        fs::write(self.told(), lines.collect::<String>()).context("write what the provider tells")
    }

    fn told(&self) -> PathBuf {
        self.directory.join("told.conf")
    }

    /// Programs that come before those of the system.
    fn programs(&self) -> PathBuf {
        self.directory.join("bin")
    }
}

/// A program that is not as it should be until this is dropped.
#[derive(Debug)]
pub struct Spoilt(PathBuf);

impl Drop for Spoilt {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A running meshd. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    files: Files,
}

impl Daemon {
    /// Starts meshd with the configuration that was written; its log is appended to.
    ///
    /// # Errors
    /// It was not built or could not be started. Whether it runs, [`Self::wait_ready`] tells.
    pub fn start(namespace: &Namespace, files: &Files) -> Result<Self> {
        Self::start_with(namespace, files, &[])
    }

    /// The same with these variables in its environment.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub fn start_with(
        namespace: &Namespace,
        files: &Files,
        variables: &[(&str, &OsStr)],
    ) -> Result<Self> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(files.log())?;
        let meshd = binaries::find("meshd")?;
        // What /sys shows of radios belongs to the namespace it was mounted in.
        let mut command = match vm::inside() {
            true => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace.name()]).arg(meshd);
                command
            }
            false if files.told().exists() => {
                let mut command = Command::new("unshare");
                let script = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
                command.args(["--mount", "sh", "-c", script, "sh"]).args([
                    &files.told(),
                    Path::new(sandbox::TOLD),
                    &meshd,
                ]);
                command
            }
            false => Command::new(meshd),
        };
        command.arg("--config").arg(files.config());
        let path = std::env::var("PATH").context("PATH")?;
        command
            .env("PATH", format!("{}:{path}", files.programs().display()))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = namespace.within(|| command.spawn().context("start meshd"))?;
        Ok(Self {
            name: namespace.name().to_owned(),
            child,
            files: files.clone(),
        })
    }

    /// Waits until the daemon answers on its control socket.
    ///
    /// # Errors
    /// It has ended, or does not answer; the text holds the end of its log.
    pub fn wait_ready(&mut self) -> Result<()> {
        let what = format!("meshd of {} to answer on its control socket", self.name);
        // A daemon that has ended will not answer any more.
        let ended = wait_for(&what, PATIENCE, || match self.child.try_wait()? {
            Some(status) => Ok(Some(status)),
            None => ctl::<Status>(&self.files, "status").map(|_| None),
        });
        match ended {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(anyhow!("meshd of {} has ended: {status}", self.name)),
            Err(error) => Err(error),
        }
        .map_err(|error| anyhow!("{error:#}; its log ends with:\n{}", self.log_tail()))
    }

    fn log_tail(&self) -> String {
        let log = self.files.log_text();
        let lines: Vec<&str> = log.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// The process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The processor time that its threads have taken, of those that are there still.
    ///
    /// # Errors
    /// It has ended, or the kernel does not tell.
    pub fn cpu_time(&self) -> Result<Duration> {
        let mut sum = Duration::ZERO;
        for thread in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            // Nanoseconds, where the other files have ticks (sched-stats.rst of the kernel's documentation).
            let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            let ns = text.split(' ').next().and_then(|ns| ns.parse().ok());
            sum += Duration::from_nanos(ns.unwrap_or_default());
        }
        ensure!(!sum.is_zero(), "no schedstat");
        Ok(sum)
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// The kernel does not know the process.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(id, signal).with_context(|| format!("send {signal} to meshd of {}", self.name))
    }

    /// Sends a signal and waits for the end.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn end_with(mut self, signal: Signal) -> Result<ExitStatus> {
        self.signal(signal)?;
        self.wait_end(&format!("to end after {signal}"))
    }

    /// Waits for an end that is due.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn wait_end(&mut self, what: &str) -> Result<ExitStatus> {
        let what = format!("meshd of {} {what}", self.name);
        wait_for(&what, PATIENCE, || match self.child.try_wait()? {
            Some(status) => Ok(status),
            None => bail!("it is still running"),
        })
    }

    /// SIGTERM, and a clean end.
    ///
    /// # Errors
    /// It does not end in time or not with exit status 0.
    pub fn terminate(self) -> Result<()> {
        self.end_cleanly(Signal::SIGTERM)
    }

    /// SIGUSR1: it ends and leaves everything to its successor.
    ///
    /// # Errors
    /// It does not end in time or not with exit status 0.
    pub fn hand_over(self) -> Result<()> {
        self.end_cleanly(Signal::SIGUSR1)
    }

    fn end_cleanly(self, signal: Signal) -> Result<()> {
        let name = self.name.clone();
        let status = self.end_with(signal)?;
        if !status.success() {
            bail!("meshd of {name} ended with {status} after {signal}");
        }
        Ok(())
    }

    /// SIGKILL: no chance to tidy up.
    ///
    /// # Errors
    /// It was dead already.
    pub fn crash(self) -> Result<()> {
        let name = self.name.clone();
        let status = self.end_with(Signal::SIGKILL)?;
        if status.signal() != Some(Signal::SIGKILL as i32) {
            bail!("meshd of {name} was dead already: {status}");
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a run of one of our programs left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The exit status, or -1 after a signal.
    pub code: i32,
    /// stdout.
    pub out: String,
    /// stderr.
    pub err: String,
}

/// Runs `meshd` or `meshctl`, arguments split at blanks, until it ends. One that does not within
/// ten seconds, or more in the virtual machine, is ended, and has the status of that.
///
/// # Errors
/// It was not built or could not be started; how it ends is for the caller to judge.
pub fn run(program: &str, arguments: &str) -> Result<Finished> {
    let mut command = Command::new("timeout");
    command
        .arg(patience(PATIENCE).as_secs().to_string())
        .arg(binaries::find(program)?);
    let output = command::output(command.args(arguments.split_whitespace()), None)?;
    Ok(Finished {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Asks the daemon behind these files through `meshctl --json`, as a program would.
///
/// # Errors
/// meshctl failed, or answered something else; the text holds what it printed.
pub fn ctl<T: DeserializeOwned>(files: &Files, arguments: &str) -> Result<T> {
    let text = ctl_text(files, &format!("--json {arguments}"))?;
    serde_json::from_str(&text).with_context(|| format!("meshctl {arguments} printed {text}"))
}

/// Asks the daemon behind these files through `meshctl`, for people.
///
/// # Errors
/// As for [`ctl`].
pub fn ctl_text(files: &Files, arguments: &str) -> Result<String> {
    let seconds = patience(ANSWER_LIMIT).as_secs();
    let socket = files.socket();
    let options = format!("--socket {} --timeout {seconds}", socket.display());
    let finished = run("meshctl", &format!("{options} {arguments}"))?;
    if finished.code != 0 {
        bail!(
            "meshctl {arguments} ended with {}: {}",
            finished.code,
            finished.err.trim()
        );
    }
    Ok(finished.out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_is_left_to_the_daemon() {
        let mut config = Config::new("r1");
        assert!(!config.to_yaml(Path::new("/x")).contains("uplink"));
        config.uplink = Some("off".to_owned());
        let text = config.to_yaml(Path::new("/x"));
        assert!(text.contains("control: /x/control.sock\n") && text.ends_with("uplink: off\n"));
    }

    #[test]
    fn a_radio_is_part_of_the_interface_made_on_it() {
        let open = Radio::open(Mode::Mesh);
        assert_eq!(
            open.to_yaml("mesh0", "phy3"),
            "[{interface: mesh0, radio: {phy: phy3, mode: 802.11s, id: labmesh, \
             frequency_mhz: 2412, width: ht20}}]"
        );
        let mut secret = Radio::open(Mode::Ibss).with_password("se cret");
        secret.width.clear();
        let text = secret.to_yaml("mesh0", "phy3");
        assert!(
            text.contains("mode: ibss") && !text.contains("width"),
            "{text}"
        );
        assert!(text.ends_with("2412, key: {sae: \"se cret\"}}}]"), "{text}");
    }
}
