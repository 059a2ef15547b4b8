//! The scalars of the configuration. A value of one of these types is valid.

use std::fmt;
use std::path::PathBuf;

use mesh_proto::Price;

use super::error::quoted;
use super::fields::Value;
use crate::uplink::{Resolver, Target};

/// The name all nodes of a mesh share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkName(String);

/// What a node's operator calls it: like a host name without domain, so that it can become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeName(String);

/// The name of a network interface as the kernel takes it (`dev_valid_name` in net/core/dev.c),
/// without characters that nftables reads as a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(String);

/// Which interface leads to the Internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UplinkInterface {
    /// Whichever has a default route that is not ours.
    Auto,
    /// None: this node is never a gateway.
    Off,
    /// These and no others, the first that works. They may come and go.
    Named(Vec<InterfaceName>),
}

/// What an uplink carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    down_bps: u64,
    up_bps: u64,
}

/// A path that does not depend on where meshd was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AbsolutePath(pub(super) PathBuf);

/// A path that a Unix socket can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SocketPath(pub(super) PathBuf);

/// How a LAN interface is connected to the mesh, without the prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ModeWord {
    Masquerade,
    Routed,
}

/// Whether something is done.
pub(super) struct Switch(pub(super) bool);

/// How packets to gateways, and as a gateway to nodes, are wrapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TunnelChoice {
    /// In WireGuard where both ends have it, else in VXLAN.
    #[default]
    Auto,
    /// In WireGuard only.
    Wireguard,
    /// In VXLAN only.
    Vxlan,
}

/// How much may be unpaid, in bytes.
pub(super) struct Credit(pub(super) u64);

/// How fast something may be, in bit/s.
pub(super) struct Rate(pub(super) u64);

impl NetworkName {
    const MAX_LEN: usize = 32;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for NetworkName {
    const ALLOWED: &'static str = "1 to 32 of the letters a-z and A-Z, digits, '-', '_' and '.'";

    fn from_text(text: &str) -> Result<Self, String> {
        check_length(text, Self::MAX_LEN)?;
        check_alphabet(text, |c| c.is_ascii_alphanumeric() || "-_.".contains(c))?;
        Ok(Self(text.to_owned()))
    }
}

impl NodeName {
    const MAX_LEN: usize = 32;
    const OF_A_NAMELESS_HOST: &str = "node";

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that this machine has anyway.
    pub(super) fn of_this_host() -> Self {
        // Unlike /etc/hostname it is what the kernel was told, and it needs no buffer or FFI.
        Self::from_hostname(
            &std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default(),
        )
    }

    /// The first label of any host name, with what a node's name cannot have replaced by `-`.
    fn from_hostname(hostname: &str) -> Self {
        let label = hostname.trim().split('.').next().unwrap_or_default();
        let valid = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = label.chars().map(valid).skip_while(|c| *c == '-').collect();
        // All of it is ASCII now, so characters are bytes.
        let name = name
            .get(..Self::MAX_LEN)
            .unwrap_or(&name)
            .trim_end_matches('-');
        Self(
            if name.is_empty() {
                Self::OF_A_NAMELESS_HOST
            } else {
                name
            }
            .to_owned(),
        )
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for NodeName {
    const ALLOWED: &'static str =
        "1 to 32 of the letters a-z and A-Z, digits and '-', which is neither first nor last";

    fn from_text(text: &str) -> Result<Self, String> {
        check_length(text, Self::MAX_LEN)?;
        check_alphabet(text, |c| c.is_ascii_alphanumeric() || c == '-')?;
        match text.starts_with('-') || text.ends_with('-') {
            true => Err(format!("{} begins or ends with '-'", quoted(text))),
            false => Ok(Self(text.to_owned())),
        }
    }
}

impl InterfaceName {
    /// IFNAMSIZ is 16 and counts a terminating zero (include/uapi/linux/if.h).
    const MAX_LEN: usize = 15;
    /// The tunnel device that meshd makes and removes itself.
    const TUNNEL: &str = "meshd0";

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for InterfaceName {
    const ALLOWED: &'static str =
        "a network interface: 1 to 15 ASCII characters without blanks and / : * % \" \\";

    fn from_text(text: &str) -> Result<Self, String> {
        check_length(text, Self::MAX_LEN)?;
        check_alphabet(text, |c| c.is_ascii_graphic() && !"/:*%\"\\".contains(c))?;
        match text {
            "." | ".." => Err(format!("{} is not an interface name", quoted(text))),
            "lo" => Err("\"lo\" is the loopback interface".to_owned()),
            Self::TUNNEL => Err(format!("{} is meshd's own tunnel device", quoted(text))),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl UplinkInterface {
    /// Those that are named.
    pub fn names(&self) -> &[InterfaceName] {
        match self {
            Self::Auto | Self::Off => &[],
            Self::Named(names) => names,
        }
    }
}

impl Value for UplinkInterface {
    const ALLOWED: &'static str = "the name of a network interface or a list of them, auto or off";

    fn from_text(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            // YAML 1.1 takes `off` for a bool, so tools that write YAML make these of it.
            "off" | "false" | "no" => Ok(Self::Off),
            "on" | "true" | "yes" => Err(format!("{} does not say which interface", quoted(text))),
            _ => InterfaceName::from_text(text).map(|name| Self::Named(vec![name])),
        }
    }
}

impl Bandwidth {
    /// 100 Gbit/s: no village has more, and sums of it fit into a u64 for centuries.
    const MAX_BPS: u64 = 100_000_000_000;

    /// From the Internet, bit/s.
    pub const fn down_bps(self) -> u64 {
        self.down_bps
    }

    /// To the Internet, bit/s.
    pub const fn up_bps(self) -> u64 {
        self.up_bps
    }

    fn rate(text: &str) -> Option<u64> {
        with_unit(text, &BIT_RATES).filter(|rate| (1..=Self::MAX_BPS).contains(rate))
    }
}

impl Value for Bandwidth {
    const ALLOWED: &'static str =
        "DOWN/UP in bit/s, each from 1 to 100G with k, M or G for thousands, such as 20M/5M";

    fn from_text(text: &str) -> Result<Self, String> {
        let Some((down, up)) = text.split_once('/') else {
            return Err(format!("{} is not two rates", quoted(text)));
        };
        let rate = |which: &str, text: &str| {
            Self::rate(text.trim()).ok_or_else(|| format!("{which} rate is {}", quoted(text)))
        };
        Ok(Self {
            down_bps: rate("download", down)?,
            up_bps: rate("upload", up)?,
        })
    }
}

impl Value for Target {
    const ALLOWED: &'static str =
        "icmp://ADDRESS, tcp://ADDRESS:PORT, dns://ADDRESS or http://HOST/PATH";

    fn from_text(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| format!("is {}", quoted(text)))
    }
}

impl Value for Resolver {
    const ALLOWED: &'static str = "a public address, or self for a resolver on this node";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|()| format!("is {}", quoted(text)))
    }
}

impl Value for AbsolutePath {
    const ALLOWED: &'static str = "an absolute path";

    fn from_text(text: &str) -> Result<Self, String> {
        if text.chars().any(char::is_control) {
            return Err(format!("{} has control characters", quoted(text)));
        }
        match text.starts_with('/') {
            true => Ok(Self(PathBuf::from(text))),
            false => Err(format!("{} does not begin with /", quoted(text))),
        }
    }
}

impl SocketPath {
    /// `sun_path` has 108 bytes with the terminating zero (unix(7)), and the name of the socket beside it is three
    /// bytes longer.
    const MAX_LEN: usize = 104;
}

impl Value for SocketPath {
    const ALLOWED: &'static str = "an absolute path of at most 104 bytes";

    fn from_text(text: &str) -> Result<Self, String> {
        let AbsolutePath(path) = AbsolutePath::from_text(text)?;
        match text.len() {
            ..=Self::MAX_LEN => Ok(Self(path)),
            len => Err(format!("is {len} bytes long")),
        }
    }
}

impl Value for ModeWord {
    const ALLOWED: &'static str = "masquerade or routed";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "masquerade" => Ok(Self::Masquerade),
            "routed" => Ok(Self::Routed),
            _ => Err(format!("is {}", quoted(text))),
        }
    }
}

impl Value for Switch {
    const ALLOWED: &'static str = "on or off";

    fn from_text(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            // YAML 1.1 takes the words for bools, so tools that write YAML make these of them.
            "on" | "true" | "yes" => Ok(Self(true)),
            "off" | "false" | "no" => Ok(Self(false)),
            _ => Err(format!("is {}", quoted(text))),
        }
    }
}

impl Value for TunnelChoice {
    const ALLOWED: &'static str = "auto, wireguard or vxlan";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "wireguard" => Ok(Self::Wireguard),
            "vxlan" => Ok(Self::Vxlan),
            _ => Err(format!("is {}", quoted(text))),
        }
    }
}

impl Value for Price {
    const ALLOWED: &'static str = "a whole number of atto-SMT per MiB, 0 to 18446744073709551615";

    fn from_text(text: &str) -> Result<Self, String> {
        with_unit(text, &[])
            .map(Self::new)
            .ok_or_else(|| format!("is {}", quoted(text)))
    }
}

impl Credit {
    const MIN: u64 = 64 << 10;
    const MAX: u64 = 1 << 30;
    /// The credit window of the design: enough for a page, too little to be worth cheating for.
    pub(super) const DEFAULT: Self = Self(8 << 20);
    /// The same for who has never paid.
    pub(super) const STRANGERS: Self = Self(1 << 20);
}

impl Value for Credit {
    const ALLOWED: &'static str = "64KiB to 1GiB, in bytes or with KiB, MiB or GiB, such as 8MiB";

    fn from_text(text: &str) -> Result<Self, String> {
        with_unit(
            text,
            &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)],
        )
        .filter(|bytes| (Self::MIN..=Self::MAX).contains(bytes))
        .map(Self)
        .ok_or_else(|| format!("is {}", quoted(text)))
    }
}

impl Rate {
    const MIN: u64 = 8_000;
    const MAX: u64 = 1_000_000_000;
    /// What slows down whom nobody pays for: enough for words, and to ask what is wrong.
    pub(super) const FREE: Self = Self(256_000);
}

impl Value for Rate {
    const ALLOWED: &'static str = "8k to 1G bit/s, with k, M or G for thousands, such as 256k";

    fn from_text(text: &str) -> Result<Self, String> {
        with_unit(text, &BIT_RATES)
            .filter(|rate| (Self::MIN..=Self::MAX).contains(rate))
            .map(Self)
            .ok_or_else(|| format!("is {}", quoted(text)))
    }
}

/// As makers of lines and radios count: thousands.
const BIT_RATES: [(&str, u64); 4] = [
    ("k", 1_000),
    ("K", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
];

/// A whole decimal number, with one of the units if it likes. Signs, `_`, `0x…` and exponents,
/// which YAML would take, are not numbers here: whoever writes them means something else.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let unit = |(name, factor): &(&str, u64)| Some((text.strip_suffix(name)?, *factor));
    let (digits, factor) = units.iter().find_map(unit).unwrap_or((text, 1));
    let digits = digits.trim_end_matches(' ');
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// A whole decimal number.
pub(super) fn whole_number(text: &str) -> Option<u64> {
    with_unit(text, &[])
}

pub(super) fn check_length(text: &str, max: usize) -> Result<(), String> {
    match text.len() {
        0 => Err("is empty".to_owned()),
        len if len > max => Err(format!("{} is {len} bytes long", quoted(text))),
        _ => Ok(()),
    }
}

fn check_alphabet(text: &str, allowed: impl Fn(char) -> bool) -> Result<(), String> {
    match text.chars().find(|c| !allowed(*c)) {
        None => Ok(()),
        Some(c) => Err(format!(
            "{} contains '{}'",
            quoted(text),
            super::error::printable(c.encode_utf8(&mut [0; 4]))
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_hostname_gives_a_valid_node_name() {
        for (hostname, name) in [
            ("router-1\n", "router-1"),
            ("router-1.village.example", "router-1"),
            ("haus_am_see", "haus-am-see"),
            ("-x-", "x"),
            ("路由器", "node"),
            ("", "node"),
            (
                "a2345678901234567890123456789012345",
                "a2345678901234567890123456789012",
            ),
            (
                "a234567890123456789012345678901-345",
                "a234567890123456789012345678901",
            ),
        ] {
            let made = NodeName::from_hostname(hostname);
            assert_eq!(made.as_str(), name);
            assert_eq!(NodeName::from_text(name), Ok(made));
        }
    }

    #[test]
    fn rates_are_decimal() {
        let bandwidth = Bandwidth::from_text("20M/1500k").unwrap();
        assert_eq!(
            (bandwidth.down_bps(), bandwidth.up_bps()),
            (20_000_000, 1_500_000)
        );
        let bandwidth = Bandwidth::from_text("100G / 1").unwrap();
        assert_eq!(
            (bandwidth.down_bps(), bandwidth.up_bps()),
            (100_000_000_000, 1)
        );
        for bad in [
            "101G/1", "0/1", "1/0", "-1/1", "1.5M/1", "1m/1", "1/1/1", "/", "M/k", "1 M5/1",
        ] {
            assert!(Bandwidth::from_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_binary() {
        for (text, bytes) in [
            ("64KiB", 65_536),
            ("8 MiB", 8_388_608),
            ("1GiB", 1_073_741_824),
        ] {
            assert_eq!(Credit::from_text(text).unwrap().0, bytes);
        }
        assert_eq!(Credit::from_text("65536").unwrap().0, 65_536);
        for bad in [
            "63KiB",
            "2GiB",
            "8MB",
            "8Mib",
            "0x100000",
            "",
            "MiB",
            "99999999999999999GiB",
            // 1 GiB, if the product were allowed to wrap.
            "17179869185GiB",
        ] {
            assert!(Credit::from_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_yaml_1_1_makes_of_off_is_off() {
        for off in ["off", "Off", "OFF", "false", "False", "no"] {
            assert_eq!(UplinkInterface::from_text(off), Ok(UplinkInterface::Off));
        }
        assert_eq!(
            UplinkInterface::from_text("auto"),
            Ok(UplinkInterface::Auto)
        );
        assert!(UplinkInterface::from_text("on").is_err());
    }
}
