//! By which names this node may be asked.
//!
//! A page of strangers can give its own name one of this node's addresses, and what a browser then fetches from
//! here counts as that page's own (DNS rebinding). The name it asks for gives it away.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use hyper::header::HOST;
use hyper::{HeaderMap, Uri};

use crate::config::{Config, HostName};

/// Names in lower case, and addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hosts {
    names: BTreeSet<String>,
    addresses: BTreeSet<IpAddr>,
}

impl Hosts {
    /// Those that the configuration says.
    pub(super) fn new(config: &Config) -> Self {
        let Some(page) = config.status_page() else {
            return Self::default();
        };
        let names = page.host_names().iter().map(HostName::as_str);
        let own = format!("{}.mesh", config.name()).to_ascii_lowercase();
        let names = names.map(str::to_owned).chain([own, "localhost".into()]);
        Self {
            names: names.collect(),
            addresses: page.listen().iter().map(|at| at.ip()).collect(),
        }
    }

    /// Whether a request is meant for this node. What the request line names comes before `Host`, which has to
    /// be there once (RFC 9112, section 3.2).
    pub(super) fn accept(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut said = headers.get_all(HOST).iter();
        let (Some(host), None) = (said.next(), said.next()) else {
            return false;
        };
        let host = host.to_str().is_ok_and(|host| self.is_ours(host));
        let named = uri.authority().is_none_or(|it| self.is_ours(it.as_str()));
        host && named
    }

    /// Any port: whoever could choose it can choose the right one as well.
    fn is_ours(&self, host: &str) -> bool {
        if let Some(rest) = host.strip_prefix('[') {
            let Some((address, port)) = rest.split_once(']') else {
                return false;
            };
            let address: Option<Ipv6Addr> = address.parse().ok();
            return is_port(port) && address.is_some_and(|it| self.addresses.contains(&it.into()));
        }
        let at = host.find(':').unwrap_or(host.len());
        let (name, port) = host.split_at_checked(at).unwrap_or((host, ""));
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let address: Option<IpAddr> = name.parse().ok();
        let is_address = address.is_some_and(|it| self.addresses.contains(&it));
        is_port(port) && (is_address || self.names.contains(&name))
    }
}

/// `:80`, or nothing.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || (text.strip_prefix(':'))
            .is_some_and(|port| port.len() <= 5 && port.bytes().all(|it| it.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Hosts {
        let text = "network: village\nname: Mill\nmesh: [{interface: mesh0}]\n\
                    lan: [{interface: lan0}]\n\
                    status_page: {listen: [\"192.168.1.1:80\", \"[fd12::1]:80\"], \
                    host_names: [router.lan]}\n";
        Hosts::new(&Config::parse(text, "m.yaml").unwrap())
    }

    #[test]
    fn who_means_this_node_is_answered() {
        for host in [
            "192.168.1.1",
            "192.168.1.1:8080",
            "[fd12::1]",
            "[FD12:0::1]:80",
            "localhost:80",
            "router.lan",
            "ROUTER.LAN.:80",
            "mill.mesh",
            "192.168.1.1:",
        ] {
            assert!(hosts().is_ours(host), "{host}");
        }
    }

    #[test]
    fn who_means_somebody_else_is_not() {
        for host in [
            "",
            ":",
            "192.168.1.2",
            "192.168.1.1.example.com",
            "evil.example",
            "evil.example:80",
            "router.lan.evil.example",
            "mill",
            "other.mesh",
            "[fd12::2]",
            "[fd12::1",
            "fd12::1",
            "router.lan:80:80",
            "router.lan:http",
            "user@router.lan",
            "router.lan/",
            "router.lan..",
            "[192.168.1.1]",
        ] {
            assert!(!hosts().is_ours(host), "{host:?}");
        }
    }

    #[test]
    fn both_names_count_and_one_host_is_needed() {
        let accept = |uri: &'static str, said: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in said {
                headers.append(HOST, host.parse().unwrap());
            }
            hosts().accept(&Uri::from_static(uri), &headers)
        };
        assert!(accept("/", &["router.lan"]));
        assert!(accept("http://router.lan/", &["router.lan"]));
        assert!(!accept("http://evil.example/", &["router.lan"]));
        assert!(!accept("http://router.lan/", &["evil.example"]));
        assert!(!accept("/", &[]));
        assert!(!accept("/", &["router.lan", "router.lan"]));
    }
}
