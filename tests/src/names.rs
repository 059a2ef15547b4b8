//! Names: dnsmasq as routers and providers run it, and what it tells those who ask.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

use crate::lab::Node;
use crate::namespace::Namespace;

/// Where resolvers listen.
const PORT: u16 = 53;
/// The longest answer without extensions (RFC 1035 §4.2.1).
const DATAGRAM_BYTES: usize = 512;

/// A running dnsmasq.
#[derive(Debug)]
pub struct Dnsmasq(Child);

impl Dnsmasq {
    /// Starts it with these options and nothing of the machine's configuration.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(namespace: &Namespace, options: &str) -> Result<Self> {
        let mut command = Command::new("dnsmasq");
        let command = command
            .args(["--no-daemon", "--conf-file=/dev/null", "--no-hosts"])
            .arg("--pid-file=")
            .args(options.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = namespace.within(|| command.spawn().context("start dnsmasq"))?;
        Ok(Self(child))
    }

    /// One on the Internet, which listens at one address and knows one host by every name.
    ///
    /// # Errors
    /// It could not be started.
    pub fn answering(namespace: &Namespace, at: Ipv4Addr, answer: Ipv4Addr) -> Result<Self> {
        // What it does not know, such as the IPv6 address, does not exist.
        let options = format!(
            "--no-resolv --bind-interfaces --listen-address={at} --address=/#/{answer} --local=/#/"
        );
        Self::start(namespace, &options)
    }

    /// A router's, which has names and resolvers from meshd, as the manual says.
    ///
    /// # Errors
    /// It could not be started.
    pub fn beside_meshd(router: &Node) -> Result<Self> {
        let directory = router.files().directory().display();
        let options = format!(
            "--resolv-file={directory}/resolv.conf --hostsdir={directory}/hosts.d --local=/mesh/"
        );
        Self::start(router.namespace(), &options)
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The addresses of a name, IPv4 first, as a resolver tells somebody inside `namespace`; none if there
/// is no such name.
///
/// # Errors
/// It does not answer, or could not find out.
pub fn addresses(
    namespace: &Namespace,
    resolver: IpAddr,
    name: &str,
    patience: Duration,
) -> Result<Vec<IpAddr>> {
    let ask = |kind| namespace.within(|| ask(resolver, name, kind, patience));
    Ok([ask(TYPE::A)?, ask(TYPE::AAAA)?].concat())
}

/// The addresses of a name in one family.
///
/// # Errors
/// As for [`addresses`].
pub(crate) fn ask(
    resolver: IpAddr,
    name: &str,
    kind: TYPE,
    patience: Duration,
) -> Result<Vec<IpAddr>> {
    const ID: u16 = 0x6d73;
    let mut query = Packet::new_query(ID);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    let (kind, class) = (QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN));
    query
        .questions
        .push(Question::new(Name::new(name)?, kind, class, false));
    let own: IpAddr = match resolver {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0)).context("open UDP")?;
    socket.set_read_timeout(Some(patience))?;
    socket.connect(SocketAddr::new(resolver, PORT))?;
    socket.send(&query.build_bytes_vec()?)?;
    let mut bytes = [0; DATAGRAM_BYTES];
    let length = socket
        .recv(&mut bytes)
        .with_context(|| format!("no answer from {resolver}"))?;
    let answer = Packet::parse(bytes.get(..length).unwrap_or_default())?;
    ensure!(answer.id() == ID, "another answer");
    let code = answer.rcode();
    ensure!(
        [RCODE::NoError, RCODE::NameError].contains(&code),
        "{code:?}"
    );
    let records = answer.answers.iter().filter_map(|record| {
        if let RData::A(a) = &record.rdata {
            Some(Ipv4Addr::from(a.address).into())
        } else if let RData::AAAA(aaaa) = &record.rdata {
            Some(Ipv6Addr::from(aaaa.address).into())
        } else {
            None
        }
    });
    Ok(records.collect())
}
