//! What is asked to find out whether an uplink works.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use mesh_proto::Family;

/// Where resolvers listen.
pub(super) const DNS_PORT: u16 = 53;

/// Who is asked whether an uplink works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nobody: it is taken to.
    Off,
    /// [`Target::defaults`], and the resolvers that the provider told of.
    On,
    /// These.
    Of(Vec<Target>),
}

/// A host or service on the Internet, and what it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An echo request (RFC 792, RFC 4443).
    Icmp(IpAddr),
    /// A connection, closed as soon as it is open.
    Tcp(SocketAddr),
    /// A question to a resolver (RFC 1035).
    Dns(SocketAddr),
    /// A page known to be empty (status 204). Whatever else comes is a captive portal's.
    Http(Page),
}

/// A page, named without encryption: portals can't answer in the name of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What comes after that, with the slash.
    pub path: String,
}

/// What is asked unless the operator says otherwise: public resolvers of several operators and
/// countries, because no single one is reachable everywhere.
const DEFAULTS: [&str; 13] = [
    "dns://9.9.9.9",
    "tcp://1.1.1.1:443",
    "dns://223.5.5.5",
    "icmp://8.8.8.8",
    "dns://1.1.1.1",
    "dns://[2620:fe::fe]",
    "tcp://[2606:4700:4700::1111]:443",
    "dns://[2400:3200::1]",
    "icmp://[2001:4860:4860::8888]",
    "dns://[2606:4700:4700::1111]",
    "http://cp.cloudflare.com/generate_204",
    "http://connectivitycheck.gstatic.com/generate_204",
    "http://connect.rom.miui.com/generate_204",
];

impl Target {
    const HTTP_PORT: u16 = 80;

    /// What is asked unless the operator says otherwise.
    pub fn defaults() -> Vec<Self> {
        DEFAULTS.into_iter().filter_map(Self::parse).collect()
    }

    /// Reads `icmp://ADDRESS`, `tcp://ADDRESS:PORT`, `dns://ADDRESS` or `http://HOST/PATH`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        match scheme {
            "icmp" => Some(Self::Icmp(address(rest)?)),
            "tcp" => Some(Self::Tcp(rest.parse().ok().filter(is_host)?)),
            "dns" => {
                let with_port = || rest.parse().ok().filter(is_host);
                let alone = address(rest).map(|it| SocketAddr::new(it, DNS_PORT));
                Some(Self::Dns(alone.or_else(with_port)?))
            }
            "http" => Page::parse(rest).map(Self::Http),
            _ => None,
        }
    }

    /// A page that can't be found: it has a name, and there is no resolver among the targets.
    pub fn without_resolver(targets: &[Self]) -> Option<&Self> {
        let has_resolver = targets.iter().any(|it| matches!(it, Self::Dns(_)));
        let has_name = |target: &&Self| target.family().is_none();
        targets.iter().find(has_name).filter(|_| !has_resolver)
    }

    /// The only family in which it can be asked, if there is only one.
    pub fn family(&self) -> Option<Family> {
        let address = match self {
            Self::Icmp(address) => Some(*address),
            Self::Tcp(at) | Self::Dns(at) => Some(at.ip()),
            Self::Http(page) => page.host.parse().ok(),
        };
        address.map(|address| match address {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        })
    }
}

fn is_host(at: &SocketAddr) -> bool {
    at.port() != 0 && is_far(at.ip())
}

/// An address; one of IPv6 may stand in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let address = match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    };
    address.filter(|it| is_far(*it))
}

/// Whether an address can be that of a host behind an uplink.
pub(super) fn is_far(address: IpAddr) -> bool {
    let is_near = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
    };
    !(is_near || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

impl Page {
    fn parse(text: &str) -> Option<Self> {
        let (authority, path) = match text.split_once('/') {
            Some((authority, path)) => (authority, format!("/{path}")),
            None => (text, "/".to_owned()),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (authority, Target::HTTP_PORT),
        };
        let is_graphic = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let host = match address(host) {
            Some(address) => address.to_string(),
            None if is_name(host) => host.to_owned(),
            None => return None,
        };
        (port != 0 && is_graphic(&path)).then_some(Self { host, port, path })
    }

    /// Host and port as a request names them: the port only if it is not HTTP's.
    pub fn authority(&self) -> String {
        let host = match self.host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => self.host.clone(),
        };
        match self.port {
            Target::HTTP_PORT => host,
            port => format!("{host}:{port}"),
        }
    }
}

/// Whether it can be the name of a host (RFC 1123 §2.1); an address of the last label's digits is
/// none.
fn is_name(host: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_label = |label: &str| (1..64).contains(&label.len()) && label.bytes().all(is_part);
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    host.len() < 254 && host.split('.').all(is_label) && !is_number
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Icmp(IpAddr::V6(address)) => write!(f, "icmp://[{address}]"),
            Self::Icmp(address) => write!(f, "icmp://{address}"),
            Self::Tcp(at) => write!(f, "tcp://{at}"),
            Self::Dns(at) => write!(f, "dns://{at}"),
            Self::Http(page) => write!(f, "http://{}{}", page.authority(), page.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_can_be_read_and_ask_in_both_families() {
        let defaults = Target::defaults();
        assert_eq!(defaults.len(), DEFAULTS.len());
        for family in [Family::Ipv4, Family::Ipv6] {
            let of_it = defaults
                .iter()
                .filter(|target| target.family() == Some(family));
            assert_eq!(of_it.count(), 5);
        }
    }

    #[test]
    fn what_is_read_is_written_the_same_way() {
        for text in [
            "icmp://192.0.2.1",
            "icmp://[2001:db8::1]",
            "tcp://192.0.2.1:443",
            "tcp://[2001:db8::1]:443",
            "dns://192.0.2.1:53",
            "dns://[2001:db8::1]:5353",
            "http://example.com/",
            "http://example.com:8080/a/b?c=d",
            "http://[2001:db8::1]:8080/",
            "http://192.0.2.1/generate_204",
        ] {
            assert_eq!(Target::parse(text).unwrap().to_string(), text);
        }
        let same = ["dns://2001:db8::1", "dns://[2001:db8::1]:53"].map(Target::parse);
        assert_eq!(same[0], same[1]);
    }

    #[test]
    fn nonsense_is_no_target() {
        for text in [
            "",
            "192.0.2.1",
            "icmp://",
            "icmp://example.com",
            "icmp://192.0.2.1:7",
            "tcp://192.0.2.1",
            "tcp://192.0.2.1:0",
            "tcp://example.com:80",
            "dns://example.com",
            "https://example.com/",
            "http:///path",
            "http://exa mple.com/",
            "http://example.com:0/",
            "http://example.com:99999/",
            "http://example.com/a b",
            "http://example.com/\r\nHost: x",
            "http://[192.0.2.1]/",
            "http://a..b/",
            "http://.a/",
            "http://127.0.0.1/",
            "http://1.2.3/",
            "icmp://127.0.0.1",
            "icmp://0.0.0.0",
            "icmp://224.0.0.1",
            "icmp://[fe80::1]",
            "icmp://[::ffff:192.0.2.1]",
            "tcp://[::1]:80",
            "dns://255.255.255.255",
        ] {
            assert_eq!(Target::parse(text), None, "{text:?}");
        }
    }
}
