//! Which resolvers an uplink is offered with, and where the provider's are learnt.
//!
//! Nobody tells us of the provider's: they come by DHCP, router advertisements or PPP, and whoever
//! speaks that writes them into a file.

use std::fs;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use mesh_proto::{Family, OriginatorId, Router};

use super::target::{Check, DNS_PORT, Target, is_far};
use super::{Uplink, is_public};
use crate::names;

/// Where resolvers are written down by whoever configures interfaces.
const FILES: [&str; 5] = [
    "/etc/resolv.conf",
    // netifd, on OpenWrt
    "/tmp/resolv.conf.d/resolv.conf.auto",
    // systemd-networkd
    "/run/systemd/resolve/resolv.conf",
    "/run/NetworkManager/no-stub-resolv.conf",
    // pppd with `usepeerdns`
    "/etc/ppp/resolv.conf",
];
/// More than the providers of one node have.
const MAX_TOLD: usize = 8;
const MAX_FILE_LEN: u64 = 65_536;

/// Which resolvers are offered with an uplink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Resolvers {
    /// Those of the Internet that answer: of the targets of the check, and the provider's.
    #[default]
    Auto,
    /// These.
    Named(Vec<Resolver>),
}

/// A resolver that is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolver {
    /// One of the Internet.
    Address(IpAddr),
    /// This node, where one of its own answers the mesh.
    Own,
}

impl FromStr for Resolver {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "self" {
            return Ok(Self::Own);
        }
        let address = text.parse().ok().filter(|it| is_public(*it));
        address.map(Self::Address).ok_or(())
    }
}

impl Resolvers {
    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let named = match self {
            Self::Auto => &[],
            Self::Named(list) => list.as_slice(),
        };
        named.iter().filter_map(|it| match it {
            Resolver::Address(address) => Some(*address),
            Resolver::Own => None,
        })
    }

    fn has_own(&self) -> bool {
        matches!(self, Self::Named(list) if list.contains(&Resolver::Own))
    }

    /// Everybody who is asked: who tells whether an uplink works, and what could be offered with it.
    /// `told` are the resolvers of providers. One that is private is of use to this node alone.
    pub(super) fn targets(&self, check: &Check, told: &[IpAddr]) -> Vec<Target> {
        let mut targets = match check {
            Check::Off => return Vec::new(),
            Check::On => Target::defaults(),
            Check::Of(targets) => targets.clone(),
        };
        let is_useful = |it: &IpAddr| *check == Check::On && (is_public(*it) || self.has_own());
        let told = told.iter().copied().filter(is_useful);
        for address in self.addresses().chain(told) {
            let target = Target::Dns(SocketAddr::new(address, DNS_PORT));
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        targets
    }

    /// What may answer over an uplink where nobody is asked: the provider's first, which surely can be
    /// reached.
    pub(crate) fn unasked(&self, told: &[IpAddr], uplink: &Uplink) -> Vec<IpAddr> {
        let is_open = *self == Self::Auto || self.has_own();
        let defaults = Target::defaults().into_iter().filter_map(|it| match it {
            Target::Dns(at) => Some(at.ip()),
            Target::Icmp(_) | Target::Tcp(_) | Target::Http(_) => None,
        });
        let others = told.iter().copied().chain(defaults);
        let mut all: Vec<IpAddr> = Vec::new();
        for address in self.addresses().chain(others.filter(|_| is_open)) {
            if uplink.carries(family_of(address)).is_some() && !all.contains(&address) {
                all.push(address);
            }
        }
        all
    }

    /// What is offered where these answer, by a node at `own`.
    pub(crate) fn offer(&self, answering: &[IpAddr], own: IpAddr) -> Vec<IpAddr> {
        let is_open = *self == Self::Auto;
        let public = answering.iter().copied().filter(|it| is_public(*it));
        let named = self.addresses().filter(|it| answering.contains(it));
        let own = self.has_own().then_some(own);
        let offered = public.filter(|_| is_open).chain(named);
        own.into_iter().chain(offered).collect()
    }
}

const fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::Ipv4,
        IpAddr::V6(_) => Family::Ipv6,
    }
}

/// The resolvers that a gateway offers, as far as nodes that use it can ask them: those of the Internet,
/// and the gateway itself.
pub(crate) fn resolvers_of(router: &Router, gateway: OriginatorId) -> Vec<IpAddr> {
    let record = router.record(gateway);
    let offer = record.and_then(|signed| signed.record().gateway.as_ref());
    let offered = offer.map_or(&[] as &[IpAddr], |offer| &offer.dns);
    let own = IpAddr::V6(router.network().mesh_ipv6(gateway));
    let usable = |it: &IpAddr| is_public(*it) || *it == own;
    offered.iter().copied().filter(usable).collect()
}

/// The resolvers that providers told others on this machine of.
pub(super) fn told() -> Vec<IpAddr> {
    let texts = FILES.iter().filter_map(|it| read_file(it).ok());
    let mut all = Vec::new();
    for address in texts.flat_map(|text| read(&text)) {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    all.truncate(MAX_TOLD);
    all
}

/// Reads what is no larger than such a file is. Whatever else is there could take for ever.
fn read_file(path: &str) -> io::Result<String> {
    let mut text = String::new();
    if fs::metadata(path)?.is_file() {
        let file = fs::File::open(path)?;
        file.take(MAX_FILE_LEN).read_to_string(&mut text)?;
    }
    Ok(text)
}

/// The resolvers in a file like resolv.conf(5). Ours may have been linked there: what is in it is what we
/// found out, perhaps from another gateway.
fn read(text: &str) -> Vec<IpAddr> {
    let foreign = Some(text).filter(|it| !it.starts_with(names::HEADER));
    let lines = foreign.unwrap_or_default().lines();
    let named = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_it = words.next() == Some("nameserver");
        words.next().filter(|_| is_it)?.parse().ok()
    });
    named.filter(|it| is_far(*it)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn named(texts: &[&str]) -> Resolvers {
        Resolvers::Named(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    /// Those that are asked.
    fn asked(resolvers: &Resolvers, check: &Check, told: &[&str]) -> Vec<String> {
        let targets = resolvers.targets(check, &addresses(told)).into_iter();
        targets.map(|target| target.to_string()).collect()
    }

    const OWN: &str = "fd84:613a:cbe3::1";

    fn offered(resolvers: &Resolvers, answering: &[&str]) -> Vec<IpAddr> {
        resolvers.offer(&addresses(answering), OWN.parse().unwrap())
    }

    #[test]
    fn what_the_provider_says_is_asked_beside_the_defaults_as_far_as_it_can_be_offered() {
        let told = ["203.0.113.53", "192.168.1.1", "9.9.9.9", "2001:db8::53"];
        let defaults = Target::defaults().len();
        let all = asked(&Resolvers::Auto, &Check::On, &told);
        let public = ["dns://203.0.113.53:53", "dns://[2001:db8::53]:53"];
        assert_eq!(all[defaults..], public);
        let all = asked(&named(&["self"]), &Check::On, &told);
        assert_eq!(all[defaults..].len(), 3, "{all:?}");
        let all = asked(&named(&["198.51.100.53"]), &Check::On, &told);
        let all = &all[defaults..];
        assert_eq!(all, ["dns://198.51.100.53:53", public[0], public[1]]);
    }

    #[test]
    fn an_operator_who_names_targets_is_believed() {
        let target = Target::parse("icmp://192.0.2.1").unwrap();
        let check = Check::Of(vec![target]);
        let told = ["203.0.113.53"];
        assert_eq!(asked(&Resolvers::Auto, &check, &told), ["icmp://192.0.2.1"]);
        let all = asked(&named(&["198.51.100.53"]), &check, &told);
        assert_eq!(all, ["icmp://192.0.2.1", "dns://198.51.100.53:53"]);
        let all = asked(&named(&["198.51.100.53"]), &Check::Off, &told);
        assert!(all.is_empty());
    }

    #[test]
    fn what_is_offered_answers_and_can_be_asked_by_others() {
        let answering = ["192.168.1.1", "9.9.9.9", "203.0.113.53"];
        let public = addresses(&["9.9.9.9", "203.0.113.53"]);
        assert_eq!(offered(&Resolvers::Auto, &answering), public);
        let one = named(&["203.0.113.53", "198.51.100.53"]);
        assert_eq!(offered(&one, &answering), public[1..]);
        assert_eq!(offered(&one, &["9.9.9.9"]), addresses(&[]));
        let own = named(&["203.0.113.53", "self"]);
        assert_eq!(offered(&own, &answering), addresses(&[OWN, "203.0.113.53"]));
        for text in [
            "192.168.1.1",
            "100.64.0.1",
            "fd00::1",
            "::1",
            "Self",
            "9.9.9.9:53",
            "",
        ] {
            assert_eq!(text.parse::<Resolver>(), Err(()), "{text:?}");
        }
    }

    #[test]
    fn where_nobody_is_asked_the_providers_come_first() {
        let uplink = Uplink {
            ipv4: Some("wan0".to_owned()),
            ipv6: None,
        };
        let told = addresses(&["192.168.1.1", "203.0.113.53", "2001:db8::53"]);
        let found = Resolvers::Auto.unasked(&told, &uplink);
        let all = [
            "192.168.1.1",
            "203.0.113.53",
            "9.9.9.9",
            "223.5.5.5",
            "1.1.1.1",
        ];
        assert_eq!(found, addresses(&all));
        assert_eq!(Resolvers::Auto.offer(&found, told[0]), found[1..]);
        let found = named(&["198.51.100.53"]).unasked(&told, &uplink);
        assert_eq!(found, addresses(&["198.51.100.53"]));
        assert_eq!(
            named(&["self"]).unasked(&told, &uplink),
            addresses(&all),
            "whom our own resolver asks"
        );
    }

    #[test]
    fn resolvers_are_read_from_files_that_are_not_ours() {
        let text = "# from wan\nsearch example.com\nnameserver 203.0.113.53\n nameserver\tfd00::53 # x\n\
                    nameserver 127.0.0.53\nnameserver fe80::1%eth0\nnameserver\nnameserver x\n\
                    #nameserver 192.0.2.1\nnameservers 192.0.2.1\n";
        assert_eq!(read(text), addresses(&["203.0.113.53", "fd00::53"]));
        let ours = format!("{}\nnameserver 203.0.113.53\n", names::HEADER);
        assert!(read(&ours).is_empty());
    }
}
