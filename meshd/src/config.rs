//! What the operator wrote, as values that need no further checking.
//!
//! [`Config::load`] reads a file, [`Config::parse`] its text, [`Config::check_system`] compares
//! the result with the machine. All errors are one line that names file, line, key, what is wrong
//! and what is allowed.
//!
//! | room | what lives there |
//! |---|---|
//! | `document` | YAML to a tree of what was written, and from a path to its line |
//! | `path`, `error` | where something is wrong, and how that is said |
//! | `fields` | typed reading of the tree: known, required, optional keys |
//! | `values`, `lan`, `radio`, `gateways`, `position`, `status_page` | the types, whose values are valid |
//! | `shown` | the configuration in force, without secrets |
//! | `system` | checks that ask the machine |
//!
//! **Architecture invariants.** Parsing depends on the text alone, but for the host name, which
//! is the default of `name`. A [`Config`] that exists is consistent.

mod control;
mod document;
mod error;
mod fields;
mod gateways;
mod lan;
mod numbers;
mod path;
mod position;
mod radio;
mod sharing;
mod shown;
mod status_page;
mod system;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path as FilePath, PathBuf};

use mesh_proto::Position;
use mesh_proto::gateway_policy::Policy;
use mesh_proto::record::MAX_DNS;
use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use document::Node;
use fields::{Fields, Value as _, describe, scalar};
use path::{Fault, Path};
use values::{AbsolutePath, SocketPath, Switch};

use crate::kernel::Numbers;
use crate::kernel::radio::RadioSettings;
use crate::uplink::{Check, Resolvers, Target};
pub use control::{GroupName, ReadOnly};
pub use error::ConfigError;
pub use lan::{Lan, LanMode};
pub use sharing::Sharing;
pub use status_page::{HostName, StatusPage};
pub use values::{Bandwidth, InterfaceName, NetworkName, NodeName, TunnelChoice, UplinkInterface};

/// Where meshd looks for its configuration unless told otherwise.
pub const DEFAULT_PATH: &str = "/etc/meshd/meshd.yaml";
/// Where meshd keeps its key unless told otherwise.
pub const DEFAULT_IDENTITY: &str = "/etc/meshd/identity.key";
/// Where meshd keeps what must survive a restart unless told otherwise.
pub const DEFAULT_STATE: &str = "/var/lib/meshd";
/// Where meshd listens to meshctl unless told otherwise.
pub const DEFAULT_CONTROL: &str = "/run/meshd/control.sock";

/// A real configuration is under 1 KiB; this leaves room for comments.
const MAX_FILE_BYTES: usize = 64 << 10;
/// More radios and ports than any router has.
const MAX_INTERFACES: usize = 16;

const ROOT_KEYS: &[&str] = &[
    "network",
    "network_key",
    "name",
    "position",
    "identity",
    "state",
    "control",
    "control_group",
    "control_read_only",
    "mesh",
    "lan",
    "uplink",
    "gateways",
    "sharing",
    "status_page",
    "tunnel",
    "numbers",
];
const MESH_KEYS: &[&str] = &["interface", "station_data", "radio"];
const UPLINK_KEYS: &[&str] = &["interface", "bandwidth", "check", "resolvers"];

const MESH_ALLOWED: &str = "a list of at least one, such as [{interface: mesh0}]";
const LAN_ALLOWED: &str = "a list such as [{interface: br-lan, mode: masquerade}]";
const UPLINK_ALLOWED: &str = "a list such as [wan, wwan0]";
const BANDWIDTH_ALLOWED: &str =
    "DOWN/UP, or a mapping of interfaces to that, such as {wan: 20M/5M, wwan0: 5M/1M}";
const CHECK_ALLOWED: &str = "off, or a list such as [\"dns://9.9.9.9\", \"tcp://192.0.2.1:443\"]";
const RESOLVERS_ALLOWED: &str = "auto, or a list such as [9.9.9.9, self]";
/// More targets than make sense to ask.
const MAX_TARGETS: usize = 32;
const TWO_ROLES: &str = "an interface that has no other role";

/// A complete, consistent configuration.
#[derive(Clone, Debug)]
pub struct Config {
    source: Source,
    settings: Settings,
}

#[derive(Clone, Debug)]
struct Settings {
    network: NetworkName,
    network_key: Option<PathBuf>,
    name: NodeName,
    position: Option<Position>,
    identity: PathBuf,
    state: PathBuf,
    control: PathBuf,
    control_group: Option<GroupName>,
    control_read_only: ReadOnly,
    mesh: Vec<MeshInterface>,
    lan: Vec<Lan>,
    uplink: Uplink,
    gateways: Policy,
    sharing: Sharing,
    status_page: Option<StatusPage>,
    tunnel: TunnelChoice,
    numbers: Numbers,
}

/// The text, kept so that checks against the system can name a line as well.
#[derive(Clone)]
struct Source {
    file: String,
    /// There may be keys in it.
    text: Zeroizing<String>,
}

/// An interface on which other nodes are heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshInterface {
    interface: InterfaceName,
    radio: Option<RadioSettings>,
    station_data: bool,
}

/// The node's own way to the Internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    interface: UplinkInterface,
    bandwidth: StatedBandwidth,
    check: Check,
    resolvers: Resolvers,
}

/// What the operator says that uplinks carry.
#[derive(Clone, Debug, PartialEq, Eq)]
enum StatedBandwidth {
    /// The same of all of them, or nothing.
    All(Option<Bandwidth>),
    /// Of each of these.
    Each(BTreeMap<InterfaceName, Bandwidth>),
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// The file is not a readable regular file of at most 64 KiB, or see [`Config::parse`].
    pub fn load(path: &FilePath) -> Result<Self, ConfigError> {
        let file = error::one_line(&path.display().to_string());
        let (bytes, mode) = read_file(path).map_err(|what| ConfigError::File {
            file: file.clone(),
            what,
        })?;
        let text = String::from_utf8(bytes).map(Zeroizing::new);
        let text = text.map_err(|error| not_utf8(file.clone(), &error))?;
        let config = Self::parse(&text, &file)?;
        let exposed = config.exposed_key(mode);
        exposed.map_or(Ok(config), Err)
    }

    /// What is wrong with a file of this mode, if it has the key of a mesh and is not its owner's
    /// alone.
    fn exposed_key(&self, mode: u32) -> Option<ConfigError> {
        const OTHERS: u32 = 0o077;
        let has_key = |mesh: &MeshInterface| mesh.radio().is_some_and(|radio| radio.key.is_some());
        let index = self.mesh().iter().position(has_key)?;
        let list = Path::default().key("mesh");
        let path = list.index(index).key("radio").key("key");
        let what = format!(
            "is in a file that is not its owner's alone (mode {:03o})",
            mode & 0o777
        );
        let fault = Fault::new(path, what, "a file of mode 600");
        (mode & OTHERS != 0).then(|| self.source.error(&fault))
    }

    /// Reads the text of a configuration; `file` is what errors call it.
    ///
    /// # Errors
    /// The first thing in it that is not as it should be.
    pub fn parse(text: &str, file: &str) -> Result<Self, ConfigError> {
        // To libyaml a byte order mark is a column, which would put the first key deeper than the
        // others.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let source = Source {
            file: error::one_line(file),
            text: Zeroizing::new(text.to_owned()),
        };
        if text.len() > MAX_FILE_BYTES {
            return Err(ConfigError::File {
                file: source.file,
                what: too_large(),
            });
        }
        let root = document::read(text).map_err(|error| source.syntax_error(error))?;
        let settings = Settings::read(&root).map_err(|fault| source.error(&fault))?;
        Ok(Self { source, settings })
    }

    /// The keys that differ in `new` and take effect only when meshd starts. All other keys may
    /// change while it runs.
    pub fn restart_keys_changed(&self, new: &Self) -> Vec<&'static str> {
        let (old, new) = (&self.settings, &new.settings);
        [
            ("network", old.network != new.network),
            ("network_key", old.network_key != new.network_key),
            ("identity", old.identity != new.identity),
            ("state", old.state != new.state),
            ("control", old.control != new.control),
            ("control_group", old.control_group != new.control_group),
            (
                "control_read_only",
                old.control_read_only != new.control_read_only,
            ),
            ("tunnel", old.tunnel != new.tunnel),
            ("numbers", old.numbers != new.numbers),
        ]
        .into_iter()
        .filter_map(|(key, changed)| changed.then_some(key))
        .collect()
    }

    /// Keeps what is in force in `running` for the keys that take effect only at a start.
    pub fn keep_restart_keys(&mut self, running: &Self) {
        let (new, old) = (&mut self.settings, &running.settings);
        new.network.clone_from(&old.network);
        new.network_key.clone_from(&old.network_key);
        new.identity.clone_from(&old.identity);
        new.state.clone_from(&old.state);
        new.control.clone_from(&old.control);
        new.control_group.clone_from(&old.control_group);
        new.control_read_only.clone_from(&old.control_read_only);
        new.tunnel = old.tunnel;
        new.numbers = old.numbers;
    }

    /// The mesh's name.
    pub const fn network(&self) -> &NetworkName {
        &self.settings.network
    }

    /// The file with the secret that the mesh's nodes share, if it has one.
    pub fn network_key(&self) -> Option<&FilePath> {
        self.settings.network_key.as_deref()
    }

    /// The node's name.
    pub const fn name(&self) -> &NodeName {
        &self.settings.name
    }

    /// Where the node stands, if the mesh is to know.
    pub const fn position(&self) -> Option<Position> {
        self.settings.position
    }

    /// The file with the node's key.
    pub fn identity(&self) -> &FilePath {
        &self.settings.identity
    }

    /// The directory for what must survive a restart.
    pub fn state(&self) -> &FilePath {
        &self.settings.state
    }

    /// The socket meshctl talks to.
    pub fn control(&self) -> &FilePath {
        &self.settings.control
    }

    /// The group that may use it, if not the one that meshd runs with.
    pub const fn control_group(&self) -> Option<&GroupName> {
        self.settings.control_group.as_ref()
    }

    /// Who may use the socket beside it, which is for questions only.
    pub const fn control_read_only(&self) -> &ReadOnly {
        &self.settings.control_read_only
    }

    /// The mesh interfaces: at least one, no two alike.
    pub fn mesh(&self) -> &[MeshInterface] {
        &self.settings.mesh
    }

    /// The LAN interfaces: no two alike, none of them a mesh interface.
    pub fn lan(&self) -> &[Lan] {
        &self.settings.lan
    }

    /// The uplink: not a mesh or LAN interface.
    pub const fn uplink(&self) -> &Uplink {
        &self.settings.uplink
    }

    /// Which gateways are used.
    pub const fn gateways(&self) -> &Policy {
        &self.settings.gateways
    }

    /// The terms of sharing.
    pub const fn sharing(&self) -> &Sharing {
        &self.settings.sharing
    }

    /// Where the status page is served, if it is.
    pub const fn status_page(&self) -> Option<&StatusPage> {
        self.settings.status_page.as_ref()
    }

    /// How traffic to gateways, and as a gateway, is wrapped.
    pub const fn tunnel(&self) -> TunnelChoice {
        self.settings.tunnel
    }

    /// What is ours of the kernel's numbers.
    pub const fn numbers(&self) -> &Numbers {
        &self.settings.numbers
    }
}

impl Settings {
    fn read(root: &Node) -> Result<Self, Fault> {
        let fields = Fields::of(root, Path::default(), ROOT_KEYS)?;
        let network = fields.required("network")?;
        let lan = read_lan(&fields)?;
        let settings = Self {
            status_page: StatusPage::read(&fields, &network, &lan)?,
            network,
            network_key: fields
                .optional("network_key")?
                .map(|AbsolutePath(path)| path),
            name: fields
                .optional("name")?
                .unwrap_or_else(NodeName::of_this_host),
            position: fields.optional("position")?,
            identity: path_or(fields.optional("identity")?, DEFAULT_IDENTITY),
            state: path_or(fields.optional("state")?, DEFAULT_STATE),
            control: fields
                .optional("control")?
                .map_or_else(|| DEFAULT_CONTROL.into(), |SocketPath(path)| path),
            control_group: fields.optional("control_group")?,
            control_read_only: fields.optional("control_read_only")?.unwrap_or_default(),
            mesh: read_mesh(&fields)?,
            lan,
            uplink: Uplink::read(&fields)?,
            gateways: gateways::read(&fields)?,
            sharing: Sharing::read(&fields)?,
            tunnel: fields.optional("tunnel")?.unwrap_or_default(),
            numbers: numbers::read(&fields)?,
        };
        settings.check_roles()?;
        settings.check_paths()?;
        lan::check_prefixes(&settings.network, &settings.lan, &fields.path_of("lan"))?;
        Ok(settings)
    }

    /// An interface has one role, and is named once.
    fn check_roles(&self) -> Result<(), Fault> {
        let mut seen: Vec<(Path, &InterfaceName)> = Vec::new();
        for (path, name) in self.interfaces() {
            if let Some((earlier, _)) = seen.iter().find(|(_, other)| *other == name) {
                return Err(Fault::new(
                    path,
                    format!("{name} is {earlier} already"),
                    TWO_ROLES,
                ));
            }
            seen.push((path, name));
        }
        Ok(())
    }

    /// Every interface that is named, with its place.
    fn interfaces(&self) -> Vec<(Path, &InterfaceName)> {
        let root = Path::default();
        let item = |list: &str, index| root.key(list).index(index).key("interface");
        let mesh = self
            .mesh
            .iter()
            .enumerate()
            .map(|(i, mesh)| (item("mesh", i), &mesh.interface));
        let lan = self
            .lan
            .iter()
            .enumerate()
            .map(|(i, lan)| (item("lan", i), lan.interface()));
        let names = self.uplink.interface.names();
        let place = root.key("uplink").key("interface");
        let uplink = names.iter().enumerate().map(|(i, name)| match names.len() {
            // It need not be a list.
            1 => (place.clone(), name),
            _ => (place.index(i), name),
        });
        mesh.chain(lan).chain(uplink).collect()
    }

    /// A socket in place of the key would destroy it.
    fn check_paths(&self) -> Result<(), Fault> {
        let clash = if self.state == self.identity {
            ("state", "identity")
        } else if self.control == self.identity {
            ("control", "identity")
        } else if self.control == self.state {
            ("control", "state")
        } else {
            return Ok(());
        };
        let (key, other) = clash;
        let path = Path::default().key(key);
        Err(Fault::new(
            path,
            format!("is the same path as {other}"),
            "another path",
        ))
    }
}

impl MeshInterface {
    /// The interface.
    pub const fn interface(&self) -> &InterfaceName {
        &self.interface
    }

    /// The radio it is to be made on; without one it is used as it is.
    pub const fn radio(&self) -> Option<&RadioSettings> {
        self.radio.as_ref()
    }

    /// Whether what the driver knows of neighbors counts.
    pub const fn station_data(&self) -> bool {
        self.station_data
    }
}

impl Uplink {
    /// Which interface it is.
    pub const fn interface(&self) -> &UplinkInterface {
        &self.interface
    }

    /// Who is asked whether it works.
    pub const fn check(&self) -> &Check {
        &self.check
    }

    /// Which resolvers are offered with it.
    pub const fn resolvers(&self) -> &Resolvers {
        &self.resolvers
    }

    /// What the operator says an interface carries.
    pub fn bandwidth(&self, interface: &str) -> Option<Bandwidth> {
        match &self.bandwidth {
            StatedBandwidth::All(bandwidth) => *bandwidth,
            StatedBandwidth::Each(all) => {
                let mut all = all.iter();
                let of_it = all.find(|(name, _)| name.as_str() == interface);
                of_it.map(|(_, bandwidth)| *bandwidth)
            }
        }
    }

    fn read(root: &Fields<'_>) -> Result<Self, Fault> {
        let node = root.node("uplink").unwrap_or(&Node::Null);
        let fields = Fields::of(node, root.path_of("uplink"), UPLINK_KEYS)?;
        let interface = match fields.node("interface") {
            Some(Node::List(_)) => {
                let names = fields.list("interface", MAX_INTERFACES, UPLINK_ALLOWED)?;
                if names.is_empty() {
                    return Err(fields.missing("interface", UPLINK_ALLOWED));
                }
                let names = names.into_iter().map(|(path, node)| scalar(node, path));
                UplinkInterface::Named(names.collect::<Result<_, _>>()?)
            }
            _ => fields
                .optional("interface")?
                .unwrap_or(UplinkInterface::Auto),
        };
        Ok(Self {
            bandwidth: StatedBandwidth::read(&fields, &interface)?,
            interface,
            check: read_check(&fields)?,
            resolvers: read_resolvers(&fields)?,
        })
    }
}

impl StatedBandwidth {
    fn read(uplink: &Fields<'_>, interface: &UplinkInterface) -> Result<Self, Fault> {
        const KEY: &str = "bandwidth";
        let path = uplink.path_of(KEY);
        let entries = match uplink.node(KEY) {
            Some(Node::Map(entries)) => entries,
            Some(node @ Node::Scalar(_)) => return Ok(Self::All(Some(scalar(node, path)?))),
            None => return Ok(Self::All(None)),
            Some(node) => return Err(Fault::new(path, describe(node), BANDWIDTH_ALLOWED)),
        };
        let mut each = BTreeMap::new();
        for (key, node) in entries {
            let place = path.key(key);
            let name = InterfaceName::from_text(key)
                .map_err(|what| Fault::new(place.clone(), what, InterfaceName::ALLOWED))?;
            let named = interface.names();
            if !named.is_empty() && !named.contains(&name) {
                let what = format!("{name} is not in uplink.interface");
                let names: Vec<&str> = named.iter().map(InterfaceName::as_str).collect();
                return Err(Fault::new(place, what, names.join(", ")));
            }
            if each.insert(name, scalar(node, place)?).is_some() {
                return Err(Fault::new(path.repeated(key), "is given twice", "once"));
            }
        }
        match each.is_empty() {
            true => Err(uplink.missing(KEY, BANDWIDTH_ALLOWED)),
            false => Ok(Self::Each(each)),
        }
    }
}

fn read_check(uplink: &Fields<'_>) -> Result<Check, Fault> {
    match uplink.node("check") {
        None => return Ok(Check::On),
        Some(node @ Node::Scalar(_)) => {
            return Ok(match scalar(node, uplink.path_of("check"))? {
                Switch(true) => Check::On,
                Switch(false) => Check::Off,
            });
        }
        Some(_) => {}
    }
    let targets = uplink.list("check", MAX_TARGETS, CHECK_ALLOWED)?;
    let targets = targets.into_iter().map(|(path, node)| scalar(node, path));
    let targets: Vec<Target> = targets.collect::<Result<_, _>>()?;
    if let Some(page) = Target::without_resolver(&targets) {
        let what = format!("{page} has a name, and no resolver is asked");
        let place = uplink.path_of("check");
        return Err(Fault::new(place, what, "a dns:// target beside it"));
    }
    match targets.is_empty() {
        true => Ok(Check::Off),
        false => Ok(Check::Of(targets)),
    }
}

fn read_resolvers(uplink: &Fields<'_>) -> Result<Resolvers, Fault> {
    match uplink.node("resolvers") {
        None => return Ok(Resolvers::Auto),
        Some(Node::Scalar(text)) if text == "auto" => return Ok(Resolvers::Auto),
        Some(_) => {}
    }
    let named = uplink.list("resolvers", MAX_DNS, RESOLVERS_ALLOWED)?;
    if named.is_empty() {
        return Err(uplink.missing("resolvers", RESOLVERS_ALLOWED));
    }
    let named = named.into_iter().map(|(path, node)| scalar(node, path));
    named.collect::<Result<_, _>>().map(Resolvers::Named)
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.file).finish()
    }
}

impl Source {
    fn error(&self, fault: &Fault) -> ConfigError {
        ConfigError::Value {
            file: self.file.clone(),
            line: document::line_of(&self.text, &fault.path),
            key: fault.path.to_string(),
            what: fault.what.clone(),
            allowed: fault.allowed.clone().into_owned(),
        }
    }

    fn syntax_error(&self, error: document::SyntaxError) -> ConfigError {
        ConfigError::Value {
            file: self.file.clone(),
            line: error.line,
            key: Path::default().to_string(),
            what: error::one_line(&error.what),
            allowed: error.allowed.to_owned(),
        }
    }
}

fn path_or(path: Option<AbsolutePath>, default: &str) -> PathBuf {
    path.map_or_else(|| default.into(), |AbsolutePath(path)| path)
}

fn read_mesh(root: &Fields<'_>) -> Result<Vec<MeshInterface>, Fault> {
    let items = root.list("mesh", MAX_INTERFACES, MESH_ALLOWED)?;
    if items.is_empty() {
        return Err(root.missing("mesh", MESH_ALLOWED));
    }
    let read = |(path, node)| {
        let fields = Fields::of(node, path, MESH_KEYS)?;
        let radio = |node| radio::read(node, fields.path_of("radio"));
        Ok(MeshInterface {
            interface: fields.required("interface")?,
            radio: fields.node("radio").map(radio).transpose()?,
            station_data: fields.optional("station_data")?.is_none_or(|Switch(on)| on),
        })
    };
    items.into_iter().map(read).collect()
}

fn read_lan(root: &Fields<'_>) -> Result<Vec<Lan>, Fault> {
    root.list("lan", MAX_INTERFACES, LAN_ALLOWED)?
        .into_iter()
        .map(|(path, node)| Lan::read(&Fields::of(node, path, lan::KEYS)?))
        .collect()
}

/// The content of a file, and its mode.
fn read_file(path: &FilePath) -> Result<(Vec<u8>, u32), String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    // Opening a FIFO would otherwise wait for somebody to write into it.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let limit = MAX_FILE_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > MAX_FILE_BYTES {
        Err(too_large())
    } else {
        Ok((bytes, metadata.mode()))
    }
}

fn too_large() -> String {
    "is larger than 64 KiB".to_owned()
}

fn not_utf8(file: String, error: &std::string::FromUtf8Error) -> ConfigError {
    let valid = error
        .as_bytes()
        .get(..error.utf8_error().valid_up_to())
        .unwrap_or_default();
    ConfigError::Value {
        file,
        line: valid.iter().filter(|byte| **byte == b'\n').count() + 1,
        key: Path::default().to_string(),
        what: "is not UTF-8".to_owned(),
        allowed: "UTF-8 text".to_owned(),
    }
}
