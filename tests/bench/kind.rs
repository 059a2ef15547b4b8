//! The daemons that are compared, and how each is set up on a router.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mesh_tests::command;
use mesh_tests::lab::Node;
use mesh_tests::namespace::Namespace;
use mesh_tests::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// What a router is to the Internet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing: there is no Internet in the village.
    #[default]
    Relay,
    /// It has an uplink and shares it.
    Gateway,
    /// It uses a gateway.
    Client,
}

/// A daemon with one set of options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Ours, with its defaults.
    Meshd,
    /// Babel with its defaults: it takes a veth for a wire.
    Babeld,
    /// Babel told that the interface is a radio.
    BabeldWireless,
    /// The same with a hello every second instead of every four.
    BabeldFast,
    /// B.A.T.M.A.N. III with its defaults.
    Batmand,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Meshd,
        Self::Babeld,
        Self::BabeldWireless,
        Self::BabeldFast,
        Self::Batmand,
    ];

    /// The name on the command line, in namespaces and in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Meshd => "meshd",
            Self::Babeld => "babeld",
            Self::BabeldWireless => "babeld-wireless",
            Self::BabeldFast => "babeld-fast",
            Self::Batmand => "batmand",
        }
    }

    /// What is run, for the report.
    pub(crate) fn command_line(self) -> String {
        match self {
            Self::Meshd => "meshd --config FILE, every key at its default".to_owned(),
            Self::Babeld | Self::BabeldWireless | Self::BabeldFast => {
                format!(
                    "babeld {}",
                    self.babeld_options("DIR", &["mesh0"]).join(" ")
                )
            }
            Self::Batmand => "batmand --disable-client-nat mesh0".to_owned(),
        }
    }

    /// What the program says about itself.
    pub(crate) fn version(self) -> String {
        let (program, option) = match self {
            Self::Meshd => match mesh_tests::binaries::find("meshd") {
                Ok(path) => (path.display().to_string(), "--version"),
                Err(error) => return format!("{error:#}"),
            },
            Self::Babeld | Self::BabeldWireless | Self::BabeldFast => ("babeld".to_owned(), "-V"),
            Self::Batmand => ("batmand".to_owned(), "-v"),
        };
        match command::output(Command::new(program).arg(option), None) {
            Ok(output) => {
                let text = [output.stdout, output.stderr].concat();
                let text = String::from_utf8_lossy(&text);
                text.lines().next().unwrap_or_default().trim().to_owned()
            }
            Err(error) => format!("{error:#}"),
        }
    }

    /// Whether the program can be run here.
    pub(crate) fn check(self) -> Result<()> {
        let version = self.version();
        if !version.contains(char::is_numeric) || version.contains("missing") {
            bail!("{} cannot be measured: {version}", self.name());
        }
        Ok(())
    }

    /// Gives a router the addresses that the daemon does not bring itself. meshd has its own.
    pub(crate) fn prepare(self, node: &Node, number: u8) -> Result<Option<IpAddr>> {
        let namespace = node.namespace();
        match self {
            Self::Meshd => Ok(None),
            Self::Babeld | Self::BabeldWireless | Self::BabeldFast => {
                let address = Ipv6Addr::new(0xfd00, 0xbabe, 0, 0, 0, 0, 0, u16::from(number));
                namespace.ip(&format!("addr add {address}/128 dev lo"))?;
                Ok(Some(IpAddr::V6(address)))
            }
            Self::Batmand => {
                let address = Ipv4Addr::new(10, 7, 0, number);
                // Nothing but what batmand routes may be asked for with ARP, or probes for routers
                // far away would fill the neighbor tables of the whole machine.
                namespace.ip("rule add priority 32000 to 10.7.0.0/16 unreachable")?;
                batmand_address(namespace, address, "mesh0")?;
                Ok(Some(IpAddr::V4(address)))
            }
        }
    }

    /// Gives a second interface what the daemon needs there.
    pub(crate) fn prepare_interface(
        self,
        node: &mut Node,
        number: u8,
        interface: &str,
    ) -> Result<()> {
        match self {
            Self::Meshd => {
                node.config.mesh = format!("[{{interface: mesh0}}, {{interface: {interface}}}]");
                Ok(())
            }
            Self::Babeld | Self::BabeldWireless | Self::BabeldFast => Ok(()),
            Self::Batmand => {
                let address = Ipv4Addr::new(10, 8, 0, number);
                batmand_address(node.namespace(), address, interface)
            }
        }
    }

    /// Starts the peer on a router; meshd is started by the laboratory.
    pub(crate) fn start(self, node: &Node, interfaces: &[&str], role: Role) -> Result<Peer> {
        let directory = node.files().directory().display().to_string();
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(node.files().directory().join("peer.log"))?;
        let mut command = match self {
            Self::Meshd => bail!("meshd is no peer"),
            Self::Babeld | Self::BabeldWireless | Self::BabeldFast => {
                let mut command = Command::new("babeld");
                command.args(self.babeld_options(&directory, interfaces));
                if role == Role::Gateway {
                    command.args(["-C", "redistribute ip ::/0 eq 0 proto 3 allow"]);
                }
                command
            }
            // Its control socket has one place for all namespaces, so it gets a /run of its own.
            Self::Batmand => {
                let mut command = Command::new("unshare");
                let interfaces = interfaces.join(" ");
                // Without one of these options it has nothing to do with gateways; of the three
                // routing classes, 3 is the quickest to leave a gateway.
                let options = match role {
                    Role::Relay => "",
                    Role::Gateway => "-g 5000",
                    Role::Client => "-r 3",
                };
                let script = format!(
                    "mount -t tmpfs none /run && \
                     exec batmand --disable-client-nat {options} {interfaces}"
                );
                command.args(["--mount", "sh", "-c", &script]);
                command
            }
        };
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let namespace = node.namespace().clone();
        let child = namespace.within(|| command.spawn().context("start the peer"))?;
        Ok(Peer {
            kind: self,
            child,
            namespace,
            ending: None,
            ended: false,
        })
    }

    fn babeld_options(self, directory: &str, interfaces: &[&str]) -> Vec<String> {
        let mut options = vec![
            "-c".to_owned(),
            "/dev/null".to_owned(),
            "-S".to_owned(),
            format!("{directory}/state/babel"),
            "-I".to_owned(),
            String::new(),
            "-C".to_owned(),
            "redistribute ip fd00:babe::/64 allow".to_owned(),
            "-C".to_owned(),
            "redistribute local deny".to_owned(),
        ];
        let default = match self {
            Self::BabeldWireless => Some("default type wireless"),
            Self::BabeldFast => Some("default type wireless hello-interval 1"),
            Self::Meshd | Self::Babeld | Self::Batmand => None,
        };
        if let Some(default) = default {
            options.extend(["-C".to_owned(), default.to_owned()]);
        }
        options.extend(interfaces.iter().map(|name| (*name).to_owned()));
        options
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn batmand_address(namespace: &Namespace, address: Ipv4Addr, interface: &str) -> Result<()> {
    let [a, b, _, _] = address.octets();
    namespace
        .ip(&format!(
            "addr add {address}/16 broadcast {a}.{b}.255.255 dev {interface}"
        ))
        .map(drop)
}

/// A running peer. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Peer {
    kind: Kind,
    child: Child,
    namespace: Namespace,
    /// Who was sent a signal.
    ending: Option<Pid>,
    ended: bool,
}

impl Peer {
    /// The process that routes.
    pub(crate) fn id(&mut self) -> Result<u32> {
        match self.kind {
            // The one that was started ends when the other is in the background.
            Kind::Batmand => wait_for("batmand to be in the background", START, || {
                ensure!(self.child.try_wait()?.is_some(), "it is starting");
                find("batmand", &self.namespace)
            }),
            Kind::Meshd | Kind::Babeld | Kind::BabeldWireless | Kind::BabeldFast => {
                Ok(self.child.id())
            }
        }
    }

    /// Tells it to end, without waiting.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        let id = Pid::from_raw(i32::try_from(self.id()?)?);
        self.ending = Some(id);
        kill(id, signal).with_context(|| format!("send {signal} to {}", self.kind))
    }

    /// Waits until the process that was told to has ended.
    pub(crate) fn wait_end(&mut self) -> Result<()> {
        wait_for("a peer to end", START, || {
            let ended = match (self.kind, self.ending) {
                (Kind::Batmand, Some(id)) => collect(id),
                _ => self.child.try_wait()?.is_some(),
            };
            ensure!(ended, "{} still runs", self.kind);
            self.ended = true;
            Ok(())
        })
    }
}

/// Takes the exit status of a process in the background, which this one has inherited: it is
/// process 1 in here. Whether there was one, or nothing to wait for.
fn collect(id: Pid) -> bool {
    !matches!(
        waitpid(id, Some(WaitPidFlag::WNOHANG)),
        Ok(WaitStatus::StillAlive)
    )
}

/// How long a start or an end may take on a busy machine.
const START: Duration = Duration::from_secs(15);

/// A daemon puts itself into the background, so it is known by its name and its namespace only.
fn find(name: &str, namespace: &Namespace) -> Result<u32> {
    let wanted = fs::metadata(Path::new("/run/netns").join(namespace.name()))?.ino();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|id| id.parse().ok()) else {
            continue;
        };
        let at = entry.path();
        let is_it = fs::read_to_string(at.join("comm")).is_ok_and(|comm| comm.trim() == name)
            // One that has ended and that nobody has collected has no namespace any more.
            && fs::metadata(at.join("ns/net")).is_ok_and(|file| file.ino() == wanted);
        if is_it {
            return Ok(id);
        }
    }
    bail!("no {name} runs in {}", namespace.name())
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.kind == Kind::Batmand && !self.ended {
            if self.ending.is_none() {
                let _ = self.signal(Signal::SIGKILL);
            }
            let _ = self.wait_end();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
