//! Routers in the air, phones behind them, and the Internet behind some.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use control_api::{Doctor, Status};
use serde::de::DeserializeOwned;

use crate::air::{Air, Loss};
use crate::command;
use crate::daemon::{self, Config, Daemon, Files, Mode, Radio};
use crate::internet::{Internet, Line};
use crate::namespace::Namespace;
use crate::probe::EchoServer;
use crate::sandbox;
use crate::topology::Topology;

/// The IPv4 address of every router on its LAN: the same behind each, as in real villages.
pub const ROUTER_ON_LAN: &str = "192.168.1.1";
/// The IPv4 address of every phone.
pub const PHONE: &str = "192.168.1.100";
/// The same for IPv6.
pub const PHONE_V6: &str = "fd00:1::100";

/// The interface of every router into the mesh.
pub const MESH: &str = "mesh0";

/// What a router is asked after a failure.
const QUESTIONS: [&str; 6] = [
    "status",
    "neighbors",
    "originators",
    "routes",
    "gateways",
    "receipts list",
];

/// A village.
#[derive(Debug)]
pub struct Lab {
    tag: String,
    files: PathBuf,
    nodes: BTreeMap<String, Node>,
    internet: Option<Internet>,
    air: Air,
}

/// A router: its kernel, its files, and its daemon while that runs.
#[derive(Debug)]
pub struct Node {
    name: String,
    namespace: Namespace,
    files: Files,
    phone: Option<Namespace>,
    line: Option<Line>,
    daemon: Option<Daemon>,
    _echo: EchoServer,
    /// What [`Lab::start`] writes into the configuration file.
    pub config: Config,
}

impl Node {
    /// The router's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The router's network namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The files of the daemon.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// The gateway's line to the provider.
    ///
    /// # Errors
    /// It has none.
    pub fn line(&self) -> Result<&Line> {
        self.line
            .as_ref()
            .with_context(|| format!("{} has no uplink", self.name))
    }

    /// The phone's network namespace.
    ///
    /// # Errors
    /// Nobody is on the router's LAN.
    pub fn phone(&self) -> Result<&Namespace> {
        self.phone
            .as_ref()
            .with_context(|| format!("{} has no phone", self.name))
    }

    /// The running daemon.
    ///
    /// # Errors
    /// None runs.
    pub fn daemon(&mut self) -> Result<&mut Daemon> {
        self.daemon
            .as_mut()
            .with_context(|| format!("no meshd runs on {}", self.name))
    }

    /// Takes the daemon out, to end it.
    ///
    /// # Errors
    /// None runs.
    pub fn take_daemon(&mut self) -> Result<Daemon> {
        self.daemon
            .take()
            .with_context(|| format!("no meshd runs on {}", self.name))
    }

    /// Writes the configuration and starts meshd, without waiting for it.
    ///
    /// # Errors
    /// One runs already, or it could not be started.
    pub fn launch(&mut self) -> Result<()> {
        self.launch_with(&[])
    }

    /// The same with these variables in the environment of meshd.
    ///
    /// # Errors
    /// As for [`Self::launch`].
    pub fn launch_with(&mut self, variables: &[(&str, &OsStr)]) -> Result<()> {
        if self.daemon.is_some() {
            bail!("meshd runs on {} already", self.name);
        }
        self.files.write_config(&self.config)?;
        let daemon = Daemon::start_with(&self.namespace, &self.files, variables)?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Asks the daemon through `meshctl --json`.
    ///
    /// # Errors
    /// meshctl failed, or answered something else.
    pub fn ctl<T: DeserializeOwned>(&self, arguments: &str) -> Result<T> {
        daemon::ctl(&self.files, arguments).with_context(|| format!("on {}", self.name))
    }

    /// `meshctl status`.
    ///
    /// # Errors
    /// As for [`Self::ctl`].
    pub fn status(&self) -> Result<Status> {
        self.ctl("status")
    }

    /// `meshctl doctor`, whose exit status says whether there are errors.
    ///
    /// # Errors
    /// meshctl printed something else; the text holds it.
    pub fn doctor(&self) -> Result<Doctor> {
        let socket = self.files.socket();
        let finished = daemon::run(
            "meshctl",
            &format!("--socket {} --json doctor", socket.display()),
        )?;
        serde_json::from_str(&finished.out).with_context(|| finished.err)
    }

    /// Asks the daemon through `meshctl`, for people.
    ///
    /// # Errors
    /// meshctl failed.
    pub fn ctl_text(&self, arguments: &str) -> Result<String> {
        daemon::ctl_text(&self.files, arguments)
    }
}

impl Lab {
    /// An empty village. Its namespaces are called after `tag`, which may be empty for the only
    /// village there is.
    ///
    /// # Errors
    /// The kernel lacks something, or a village of that tag exists.
    pub fn new(tag: &str) -> Result<Self> {
        Self::in_air(tag, Air::new(&scoped(tag, "air"))?)
    }

    fn in_air(tag: &str, air: Air) -> Result<Self> {
        let files = Path::new(sandbox::FILES).join(tag);
        fs::create_dir_all(&files).with_context(|| format!("create {}", files.display()))?;
        Ok(Self {
            tag: tag.to_owned(),
            files,
            nodes: BTreeMap::new(),
            internet: None,
            air,
        })
    }

    /// A village with the routers and links of a topology; the links are perfect.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn with_topology(tag: &str, topology: &Topology) -> Result<Self> {
        Self::new(tag)?.furnish(topology)
    }

    /// The same in a virtual machine, where every router has an 802.11 radio. Its configuration
    /// makes an interface of an open 802.11s mesh on it; without meshd there is none.
    ///
    /// # Errors
    /// This is not the virtual machine, another village has the radios, or as for [`Self::new`].
    pub fn with_radios(tag: &str, topology: &Topology) -> Result<Self> {
        let air = Air::with_radios(topology.routers().count())?;
        let mut lab = Self::in_air(tag, air)?.furnish(topology)?;
        lab.use_radios(&Radio::open(Mode::Mesh))?;
        Ok(lab)
    }

    fn furnish(mut self, topology: &Topology) -> Result<Self> {
        for router in topology.routers() {
            self.add_router(&router)?;
        }
        for (a, b) in topology.links() {
            self.air.connect(&a, &b, Loss::NONE)?;
        }
        self.settle()?;
        Ok(self)
    }

    /// Adds a router with a radio that nobody hears yet.
    ///
    /// # Errors
    /// The name is taken, or the kernel refuses.
    pub fn add_router(&mut self, name: &str) -> Result<()> {
        let namespace = Namespace::new(&scoped(&self.tag, name))?;
        self.air.attach(name, &namespace, MESH)?;
        let node = Node {
            name: name.to_owned(),
            files: Files::new(self.files.join(name))?,
            phone: None,
            line: None,
            daemon: None,
            _echo: EchoServer::start(&namespace)?,
            config: Config::new(name),
            namespace,
        };
        self.nodes.insert(name.to_owned(), node);
        Ok(())
    }

    /// Tells every router, in its configuration, what to make of the 802.11 radio it has now.
    ///
    /// # Errors
    /// A router has no such radio.
    pub fn use_radios(&mut self, radio: &Radio) -> Result<()> {
        for (name, node) in &mut self.nodes {
            let phy = self.air.phy(name);
            let phy = phy.with_context(|| format!("{name} has no 802.11 radio"))?;
            node.config.mesh = radio.to_yaml(MESH, phy);
        }
        Ok(())
    }

    /// What the kernel calls a router's 802.11 radio.
    ///
    /// # Errors
    /// It has none.
    pub fn phy(&self, router: &str) -> Result<&str> {
        let phy = self.air.phy(router);
        phy.with_context(|| format!("{router} has no 802.11 radio"))
    }

    /// Gives a router a LAN with a phone on it.
    ///
    /// # Errors
    /// There is no such router, or it has a phone.
    pub fn add_phone(&mut self, router: &str) -> Result<()> {
        let phone = Namespace::new(&scoped(&self.tag, &format!("{router}-phone")))?;
        let node = self.node_mut(router)?;
        node.namespace.ip_batch(&format!(
            "link add lan0 type veth peer name eth0 netns {}\n\
             addr add {ROUTER_ON_LAN}/24 dev lan0\n\
             addr add fd00:1::1/64 dev lan0 nodad\n",
            phone.name()
        ))?;
        node.namespace.bring_up("lan0")?;
        phone.bring_up("eth0")?;
        phone.ip_batch(&format!(
            "addr add {PHONE}/24 dev eth0\n\
             addr add {PHONE_V6}/64 dev eth0 nodad\n\
             route add default via {ROUTER_ON_LAN}\n\
             route add default via fd00:1::1\n"
        ))?;
        node.config.lan = Some("[{interface: lan0, mode: masquerade}]".to_owned());
        node.phone = Some(phone);
        Ok(())
    }

    /// Gives a router a line to the Internet.
    ///
    /// # Errors
    /// There is no such router, or it has a line.
    pub fn add_uplink(&mut self, router: &str) -> Result<()> {
        let namespace = self.node(router)?.namespace.clone();
        if self.internet.is_none() {
            let provider = scoped(&self.tag, "provider");
            self.internet = Some(Internet::new(&provider, &scoped(&self.tag, "internet"))?);
        }
        let line = self.internet_mut()?.connect(&namespace, "wan0")?;
        let node = self.node_mut(router)?;
        node.config.uplink = Some("{interface: wan0}".to_owned());
        node.line = Some(line);
        Ok(())
    }

    /// Gives a router a line to the Internet that is said to carry `DOWN/UP`.
    ///
    /// # Errors
    /// As for [`Self::add_uplink`].
    pub fn add_uplink_of(&mut self, router: &str, bandwidth: &str) -> Result<()> {
        self.add_uplink(router)?;
        let uplink = format!("{{interface: wan0, bandwidth: {bandwidth}}}");
        self.node_mut(router)?.config.uplink = Some(uplink);
        Ok(())
    }

    /// Waits until every interface has its addresses. Building is quick, but the kernel finishes
    /// it in the background, at its own pace.
    ///
    /// # Errors
    /// It takes longer than it ever should.
    pub fn settle(&self) -> Result<()> {
        for node in self.nodes.values() {
            node.namespace.settle()?;
            node.phone.as_ref().map_or(Ok(()), Namespace::settle)?;
        }
        self.internet.as_ref().map_or(Ok(()), Internet::settle)
    }

    /// The radio medium, for cutting and healing.
    pub fn air(&mut self) -> &mut Air {
        &mut self.air
    }

    /// The Internet.
    ///
    /// # Errors
    /// No router has an uplink.
    pub fn internet(&self) -> Result<&Internet> {
        self.internet.as_ref().context("no router has an uplink")
    }

    /// The Internet, to change it.
    ///
    /// # Errors
    /// No router has an uplink.
    pub fn internet_mut(&mut self) -> Result<&mut Internet> {
        self.internet.as_mut().context("no router has an uplink")
    }

    /// A router.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes
            .get(name)
            .ok_or_else(|| anyhow!("there is no router {name}"))
    }

    /// A router, to change something about it.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn node_mut(&mut self, name: &str) -> Result<&mut Node> {
        self.nodes
            .get_mut(name)
            .ok_or_else(|| anyhow!("there is no router {name}"))
    }

    /// All routers, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Starts meshd on one router and waits until it answers.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(&mut self, router: &str) -> Result<()> {
        self.settle()?;
        let node = self.node_mut(router)?;
        node.launch()?;
        node.daemon()?.wait_ready()
    }

    /// Starts meshd on every router at once and waits until all answer.
    ///
    /// # Errors
    /// One does not come up.
    pub fn start_all(&mut self) -> Result<()> {
        self.settle()?;
        for node in self.nodes.values_mut() {
            node.launch()?;
        }
        for node in self.nodes.values_mut() {
            node.daemon()?.wait_ready()?;
        }
        Ok(())
    }

    /// A router loses power: its daemon has no last word, its radio falls silent, and its line
    /// goes dead.
    ///
    /// # Errors
    /// There is no such router.
    pub fn power_off(&mut self, router: &str) -> Result<()> {
        self.air.power_off(router)?;
        let node = self.node_mut(router)?;
        let line = node.line.clone();
        if let Some(daemon) = node.daemon.take() {
            daemon.crash()?;
        }
        if let Some(line) = line {
            self.internet()?.unplug(&line)?;
        }
        Ok(())
    }

    /// Writes everything there is to know into `directory`: logs, configurations and kernel
    /// state of every namespace. For after a failure, so whatever cannot be had is left out.
    pub fn dump(&self, directory: &Path) {
        for node in self.nodes.values() {
            let target = directory.join(&node.name);
            let _ = fs::create_dir_all(&target);
            for file in [node.files.log(), node.files.config()] {
                let _ = fs::copy(&file, target.join(file.file_name().unwrap_or_default()));
            }
            let mut kernel = describe(&node.namespace, &KERNEL);
            if self.air.phy(&node.name).is_some() {
                kernel.push_str(&describe(&node.namespace, &WIRELESS));
            }
            let _ = fs::write(target.join("kernel.txt"), kernel);
            if let Some(phone) = &node.phone {
                let _ = fs::write(target.join("phone.txt"), describe(phone, &KERNEL));
            }
            for question in QUESTIONS {
                let Ok(answer) = node.ctl_text(question) else {
                    break;
                };
                let file = format!("{}.txt", question.replace(' ', "-"));
                let _ = fs::write(target.join(file), answer);
            }
        }
        let _ = fs::write(directory.join("air.txt"), self.describe_air());
        if let Some(internet) = &self.internet {
            let _ = fs::write(
                directory.join("provider.txt"),
                describe(internet.provider(), &KERNEL),
            );
        }
    }

    fn describe_air(&self) -> String {
        match self.air.namespace() {
            Ok(namespace) => describe(namespace, &KERNEL),
            Err(_) => self.air.describe_radios(),
        }
    }
}

fn scoped(tag: &str, name: &str) -> String {
    if tag.is_empty() {
        name.to_owned()
    } else {
        format!("{tag}.{name}")
    }
}

/// A program and its arguments.
type Question = (&'static str, &'static str);

/// What is asked in a namespace after a failure.
const KERNEL: [Question; 8] = [
    ("ip", "-d -s link show"),
    ("ip", "addr show"),
    ("ip", "-4 rule show"),
    ("ip", "-6 rule show"),
    ("ip", "-4 route show table all"),
    ("ip", "-6 route show table all"),
    ("ip", "neigh show"),
    ("nft", "list ruleset"),
];

/// And where there is an 802.11 radio.
const WIRELESS: [Question; 3] = [
    ("iw", "dev"),
    ("iw", "dev mesh0 station dump"),
    ("iw", "reg get"),
];

fn describe(namespace: &Namespace, questions: &[Question]) -> String {
    let mut text = String::new();
    for (program, arguments) in questions {
        let answer = namespace
            .within(|| command::run(program, arguments))
            .unwrap_or_else(|error| format!("{error:#}\n"));
        text.push_str(&format!("# {program} {arguments}\n{answer}\n"));
    }
    text
}
