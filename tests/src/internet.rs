//! The Internet as a village sees it: a provider with one line per gateway, and a web server.
//!
//! The provider routes public addresses only. It has no route back to any address used inside a
//! mesh or a home, so whatever comes back through it was translated by the gateway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;

use crate::http::Server;
use crate::namespace::Namespace;
use crate::probe::EchoServer;

/// The Internet host, IPv4.
pub const HOST_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));
/// The Internet host, IPv6.
pub const HOST_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 0x10));

/// A provider and an Internet host behind it.
#[derive(Debug)]
pub struct Internet {
    provider: Namespace,
    host: Namespace,
    lines: u8,
    web: Server,
    _echo: EchoServer,
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
        let web = Server::start(&host)?;
        let echo = EchoServer::start(&host)?;
        Ok(Self {
            provider,
            host,
            lines: 0,
            web,
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

    /// Lays a line to `gateway`, which gets an interface with addresses and default routes.
    ///
    /// # Errors
    /// The interface exists, or the kernel refuses.
    pub fn connect(&mut self, gateway: &Namespace, interface: &str) -> Result<Line> {
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
             route add default via 198.51.100.{} dev {interface}\n\
             route add default via 2001:db8:100:{number:x}::1 dev {interface}\n",
            net + 1
        ))?;
        Ok(Line { port, v4, v6 })
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
