//! The Internet as a village sees it: a provider with one line per gateway, a web server, and the
//! public services that meshd asks whether an uplink works.
//!
//! The provider routes public addresses only. It has no route back to any address used inside a
//! mesh or a home, so whatever comes back through it was translated by the gateway.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use simple_dns::TYPE;

use crate::http::Server;
use crate::names::{self, Dnsmasq};
use crate::namespace::Namespace;
use crate::probe::EchoServer;

/// The Internet host, IPv4.
pub const HOST_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));
/// The Internet host, IPv6.
pub const HOST_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 0x10));

/// Public resolvers, all of them the one host.
const PUBLIC: [&str; 8] = [
    "9.9.9.9",
    "1.1.1.1",
    "223.5.5.5",
    "8.8.8.8",
    "2620:fe::fe",
    "2606:4700:4700::1111",
    "2400:3200::1",
    "2001:4860:4860::8888",
];

/// The port of a provider's captive portal.
const PORTAL: u16 = 8080;

/// A provider and an Internet host behind it.
#[derive(Debug)]
pub struct Internet {
    provider: Namespace,
    host: Namespace,
    lines: u8,
    web: Server,
    troubles: BTreeMap<String, Trouble>,
    _portal: Server,
    _tls: Server,
    resolvers: Vec<Dnsmasq>,
    _echo: EchoServer,
}

/// What is wrong with a line though it has a carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing comes through.
    Silent,
    /// Everything but resolvers.
    NoDns,
    /// Nothing but resolvers.
    OnlyDns,
    /// Nothing but a page that wants a password.
    Portal,
    /// Nothing of this family comes through.
    NoIpv4,
    /// Nothing of this family comes through.
    NoIpv6,
    /// Two packets in five are lost on their way to the gateway.
    Lossy,
}

impl Trouble {
    /// What the provider does with packets from a line.
    fn rules(self, port: &str) -> (String, String) {
        let from = format!("iifname {port}");
        let filter = match self {
            Self::Silent => format!("{from} drop\noifname {port} drop\n"),
            Self::NoIpv4 => format!("{from} meta nfproto ipv4 drop\n"),
            Self::NoIpv6 => format!("{from} meta nfproto ipv6 drop\n"),
            Self::Lossy => format!("oifname {port} numgen random mod 5 < 2 drop\n"),
            Self::NoDns => format!("{from} meta l4proto {{ tcp, udp }} th dport 53 drop\n"),
            Self::OnlyDns => format!(
                "{from} meta l4proto != {{ icmp, icmpv6 }} th dport != 53 drop\n{from} icmp type echo-request drop\n{from} icmpv6 type echo-request drop\n"
            ),
            Self::Portal => {
                format!("{from} meta l4proto {{ tcp, udp }} th dport 53 accept\n{from} reject\n")
            }
        };
        let redirect = match self {
            Self::Portal => format!("{from} tcp dport 80 redirect to :{PORTAL}\n"),
            Self::Silent
            | Self::NoDns
            | Self::OnlyDns
            | Self::NoIpv4
            | Self::NoIpv6
            | Self::Lossy => String::new(),
        };
        (filter, redirect)
    }
}

/// A gateway's line to the provider, seen from the gateway.
#[derive(Clone, Debug)]
pub struct Line {
    /// The interface at the provider's end.
    port: String,
    /// The address the provider gave the gateway.
    pub v4: Ipv4Addr,
    /// The same for IPv6.
    pub v6: Ipv6Addr,
}

impl Line {
    /// The provider's router, by which everything is reached.
    #[must_use]
    pub fn routers(&self) -> [IpAddr; 2] {
        let v4 = Ipv4Addr::from_bits(self.v4.to_bits() - 1);
        let v6 = Ipv6Addr::from_bits(self.v6.to_bits() - 1);
        [v4.into(), v6.into()]
    }
}

impl Internet {
    /// A provider nobody is connected to yet, and a host that serves pages on port 80 and
    /// echoes probes.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(provider: &str, host: &str) -> Result<Self> {
        let (provider, host) = (Namespace::new(provider)?, Namespace::new(host)?);
        provider.set("net/ipv4/ip_forward", "1")?;
        provider.set("net/ipv6/conf/all/forwarding", "1")?;
        provider.ip_batch(&format!(
            "link add web0 type veth peer name eth0 netns {}\n\
             addr add 203.0.113.1/24 dev web0\n\
             addr add 2001:db8:ff::1/64 dev web0 nodad\n",
            host.name()
        ))?;
        provider.bring_up("web0")?;
        host.bring_up("eth0")?;
        host.ip_batch(
            "addr add 203.0.113.10/24 dev eth0\n\
             addr add 2001:db8:ff::10/64 dev eth0 nodad\n\
             route add default via 203.0.113.1\n\
             route add default via 2001:db8:ff::1\n",
        )?;
        for address in PUBLIC {
            host.ip(&format!("addr add {address} dev lo"))?;
            let via = match address.contains(':') {
                true => "2001:db8:ff::10",
                false => "203.0.113.10",
            };
            provider.ip(&format!("route add {address} via {via}"))?;
        }
        let web = Server::start(&host, crate::http::PORT)?;
        let tls = Server::start(&host, 443)?;
        let portal = Server::start_portal(&provider, PORTAL)?;
        // Every name is the host's.
        let resolver = Dnsmasq::start(
            &host,
            &format!("--no-resolv --address=/#/{HOST_V4} --address=/#/{HOST_V6}"),
        )?;
        let echo = EchoServer::start(&host)?;
        Ok(Self {
            provider,
            host,
            lines: 0,
            web,
            troubles: BTreeMap::new(),
            _portal: portal,
            _tls: tls,
            resolvers: vec![resolver],
            _echo: echo,
        })
    }

    /// Waits until the interfaces have their addresses.
    ///
    /// # Errors
    /// It takes longer than it ever should.
    pub fn settle(&self) -> Result<()> {
        self.provider.settle()?;
        self.host.settle()
    }

    /// The host's namespace.
    #[must_use]
    pub fn host(&self) -> &Namespace {
        &self.host
    }

    /// The provider's namespace.
    #[must_use]
    pub fn provider(&self) -> &Namespace {
        &self.provider
    }

    /// The web server on the host.
    #[must_use]
    pub fn web(&self) -> &Server {
        &self.web
    }

    /// Adds a resolver of the provider's, which answers every question with its own address, whatever
    /// the trouble on lines.
    ///
    /// # Errors
    /// The kernel refuses, or it could not be started.
    pub fn add_resolver(&mut self, address: Ipv4Addr) -> Result<()> {
        self.provider.ip(&format!("addr add {address} dev lo"))?;
        let resolver = Dnsmasq::answering(&self.provider, address, address)?;
        self.resolvers.push(resolver);
        Ok(())
    }

    /// Lays a line to `gateway`, which gets an interface with addresses and default routes.
    ///
    /// # Errors
    /// The interface exists, or the kernel refuses.
    pub fn connect(&mut self, gateway: &Namespace, interface: &str) -> Result<Line> {
        self.connect_with(gateway, interface, 0)
    }

    /// The same with a metric, of which the kernel prefers the lowest.
    ///
    /// # Errors
    /// The interface exists, or the kernel refuses.
    pub fn connect_with(
        &mut self,
        gateway: &Namespace,
        interface: &str,
        metric: u32,
    ) -> Result<Line> {
        let number = self.lines;
        self.lines += 1;
        let port = format!("line{number}");
        let net = number * 4;
        let v4 = Ipv4Addr::new(198, 51, 100, net + 2);
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0x100, u16::from(number), 0, 0, 0, 2);
        self.provider.ip_batch(&format!(
            "link add {port} type veth peer name {interface} netns {gateway}\n\
             addr add 198.51.100.{}/30 dev {port}\n\
             addr add 2001:db8:100:{number:x}::1/64 dev {port} nodad\n",
            net + 1,
            gateway = gateway.name(),
        ))?;
        // Or the address would go with the plug and not come back with it.
        self.provider
            .set(&format!("net/ipv6/conf/{port}/keep_addr_on_down"), "1")?;
        self.provider.bring_up(&port)?;
        gateway.bring_up(interface)?;
        gateway.ip_batch(&format!(
            "addr add {v4}/30 dev {interface}\n\
             addr add {v6}/64 dev {interface} nodad\n\
             route add default via 198.51.100.{} dev {interface} metric {metric}\n\
             route add default via 2001:db8:100:{number:x}::1 dev {interface} metric {metric}\n",
            net + 1
        ))?;
        Ok(Line { port, v4, v6 })
    }

    /// Sets the largest packet that the provider sends over a line.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_mtu(&self, line: &Line, mtu: u32) -> Result<()> {
        let command = format!("link set {} mtu {mtu}", line.port);
        self.provider.ip(&command).map(drop)
    }

    /// Has a line carry at most so many kbit/s to the gateway, behind a queue of half a second; `None`
    /// ends that.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn throttle(&self, line: &Line, kbit: Option<u32>) -> Result<()> {
        let command = match kbit {
            Some(kbit) => format!(
                "qdisc replace dev {} root tbf rate {kbit}kbit burst 4k latency 500ms",
                line.port
            ),
            None => format!("qdisc del dev {} root", line.port),
        };
        self.provider.run("tc", &command).map(drop)
    }

    /// Makes trouble on a line, or ends it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn trouble(&mut self, line: &Line, trouble: Option<Trouble>) -> Result<()> {
        match trouble {
            Some(trouble) => self.troubles.insert(line.port.clone(), trouble),
            None => self.troubles.remove(&line.port),
        };
        let rules = self.troubles.iter().map(|(port, it)| it.rules(port));
        let (filter, redirect): (Vec<String>, Vec<String>) = rules.unzip();
        let table = format!(
            "table inet trouble {{}}\ndelete table inet trouble\ntable inet trouble {{\n\
             chain filter {{ type filter hook forward priority 0;\n{} }}\n\
             chain portal {{ type nat hook prerouting priority -100;\n{} }}\n}}\n",
            filter.concat(),
            redirect.concat()
        );
        self.provider.nft(&table)
    }

    /// Pulls the plug of a line at the provider's end: the gateway sees the carrier go.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn unplug(&self, line: &Line) -> Result<()> {
        self.provider
            .ip(&format!("link set {} down", line.port))
            .map(drop)
    }

    /// Plugs it in again.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn plug_in(&self, line: &Line) -> Result<()> {
        self.provider
            .ip(&format!("link set {} up", line.port))
            .map(drop)
    }
}

/// Asks a public resolver for a name, from inside `namespace`.
///
/// # Errors
/// No answer within `patience`.
pub fn resolve(namespace: &Namespace, patience: Duration) -> Result<()> {
    let resolver = Ipv4Addr::new(9, 9, 9, 9).into();
    let ask = || names::ask(resolver, "example.com", TYPE::A, patience);
    namespace.within(ask).map(drop)
}

/// Where the host's web server listens.
#[must_use]
pub fn web_at(host: IpAddr) -> SocketAddr {
    SocketAddr::new(host, crate::http::PORT)
}

/// Where the host echoes probes.
#[must_use]
pub fn echo_at(host: IpAddr) -> SocketAddr {
    SocketAddr::new(host, crate::probe::PORT)
}
