//! The status page: where it is served, and under which names.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use mesh_proto::Network;
use mesh_proto::identity::MESH_IPV4_RANGE;

use super::error::quoted;
use super::fields::{Fields, Value, scalar};
use super::lan::Lan;
use super::path::{Fault, Path};
use super::values::{NetworkName, Switch};

pub(super) const KEYS: &[&str] = &["listen", "host_names", "metrics"];

/// More addresses than a router has towards its LANs.
const MAX_ADDRESSES: usize = 16;
/// More names than anybody gives to a router.
const MAX_NAMES: usize = 16;
const LISTEN_ALLOWED: &str = "a list of at least one, such as [\"192.168.1.1:80\"]";
const NAMES_ALLOWED: &str = "a list such as [router.lan]";

/// A page about this node, for people on its LANs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusPage {
    listen: Vec<SocketAddr>,
    host_names: Vec<HostName>,
    metrics: bool,
}

/// A name that a browser may ask for: in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

impl StatusPage {
    /// Where it is served: at least one address, each of loopback or of what a LAN may have, none twice.
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// What this router is called, besides its addresses, `localhost` and `NAME.mesh`.
    pub fn host_names(&self) -> &[HostName] {
        &self.host_names
    }

    /// Whether Prometheus may ask too.
    pub const fn metrics(&self) -> bool {
        self.metrics
    }

    /// Nothing, unless there is such a key with a value.
    pub(super) fn read(
        root: &Fields<'_>,
        network: &NetworkName,
        lans: &[Lan],
    ) -> Result<Option<Self>, Fault> {
        let Some(node) = root.node("status_page") else {
            return Ok(None);
        };
        let fields = Fields::of(node, root.path_of("status_page"), KEYS)?;
        let names = fields.list("host_names", MAX_NAMES, NAMES_ALLOWED)?;
        let names = names.into_iter().map(|(path, node)| scalar(node, path));
        Ok(Some(Self {
            listen: read_listen(&fields, network, lans)?,
            host_names: names.collect::<Result<_, _>>()?,
            metrics: fields.optional("metrics")?.is_none_or(|Switch(on)| on),
        }))
    }
}

fn read_listen(
    fields: &Fields<'_>,
    network: &NetworkName,
    lans: &[Lan],
) -> Result<Vec<SocketAddr>, Fault> {
    let items = fields.list("listen", MAX_ADDRESSES, LISTEN_ALLOWED)?;
    if items.is_empty() {
        return Err(fields.missing("listen", LISTEN_ALLOWED));
    }
    let mut listen = Vec::new();
    for (path, node) in items {
        let at: SocketAddr = scalar(node, path.clone())?;
        check_address(at.ip(), network, lans, &path)?;
        if listen.contains(&at) {
            return Err(Fault::new(path, format!("{at} is given twice"), "once"));
        }
        listen.push(at);
    }
    Ok(listen)
}

/// What nobody but the machine itself and its LANs can have. That a LAN has it now is another question, which
/// [`super::Config::check_system`] asks.
fn check_address(
    address: IpAddr,
    network: &NetworkName,
    lans: &[Lan],
    path: &Path,
) -> Result<(), Fault> {
    let fault = |what: &str, allowed: &'static str| {
        Err(Fault::new(
            path.clone(),
            format!("{address} is {what}"),
            allowed,
        ))
    };
    const OWN: &str = "an address of loopback or of a LAN";
    let prefix = Network::new(network.as_str()).prefix();
    let is_of_mesh = match address {
        IpAddr::V4(address) => MESH_IPV4_RANGE.contains(&address),
        IpAddr::V6(address) => prefix.contains(&address),
    };
    let is_announced = || {
        let mut prefixes = lans.iter().flat_map(Lan::prefixes);
        prefixes.any(|prefix: &IpNet| prefix.contains(&address))
    };
    if address.is_unspecified() {
        return fault(
            "every address, those of the mesh and of uplinks included",
            OWN,
        );
    }
    if address.is_loopback() {
        return Ok(());
    }
    if lans.is_empty() {
        return fault(
            "not of loopback, and there is no lan",
            "an address of loopback",
        );
    }
    if is_of_mesh {
        return fault("in the mesh's own range", OWN);
    }
    if !is_private(address) && !is_announced() {
        return fault("neither private nor in a prefix of a lan", OWN);
    }
    Ok(())
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

impl HostName {
    /// RFC 1035, section 2.3.4.
    const MAX_LEN: usize = 253;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for HostName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for HostName {
    const ALLOWED: &'static str =
        "a host name: labels of letters, digits and '-' with '.' between them";

    fn from_text(text: &str) -> Result<Self, String> {
        let is_label = |label: &str| {
            let mut chars = label.chars();
            (1..=63).contains(&label.len())
                && chars.all(|c| c.is_ascii_alphanumeric() || c == '-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        match text.len() <= Self::MAX_LEN && text.split('.').all(is_label) {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(format!("is {}", quoted(text))),
        }
    }
}

impl Value for SocketAddr {
    const ALLOWED: &'static str = "ADDRESS:PORT, such as 192.168.1.1:80 or [fd12::1]:80";

    fn from_text(text: &str) -> Result<Self, String> {
        let at: Option<Self> = text.parse().ok();
        let has_scope = |at: &Self| matches!(at, Self::V6(at) if at.scope_id() != 0);
        at.filter(|at| at.port() != 0 && !has_scope(at))
            .ok_or_else(|| format!("is {}", quoted(text)))
    }
}
