//! Asking a target, over one interface and no other.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mesh_proto::Family;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Line;
use super::checks::Outcome;
use super::target::{Page, Target};

/// After so long a datagram is sent again.
const REPEAT: Duration = Duration::from_millis(500);
/// The longest answer of a resolver without extensions (RFC 1035 §4.2.1), and more.
const DATAGRAM_BYTES: usize = 1500;
/// How much of a page is read: its status and, of a portal's, where to go.
const HEAD_BYTES: usize = 2048;
/// What resolvers are asked for when there is no page whose name they have to know.
const SOME_NAME: &str = "example.com";

/// Asks, and waits for the answer for at most `limit`. `resolvers` tell where pages are.
pub(super) async fn ask(
    line: &Line,
    target: &Target,
    resolvers: &[SocketAddr],
    name: Option<&str>,
    limit: Duration,
) -> Outcome {
    let asking = async {
        match target {
            Target::Icmp(address) => echo(line, *address).await,
            Target::Tcp(at) => connect(line, *at).await.map(drop),
            Target::Dns(at) => resolve(line, *at, name.unwrap_or(SOME_NAME))
                .await
                .map(drop),
            Target::Http(page) => return get(line, page, resolvers).await,
        }
        .map(|()| Outcome::Answered)
    };
    match timeout(limit, asking).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => {
            tracing::trace!(%target, interface = line.interface, %error);
            Outcome::Silent
        }
        Err(_) => Outcome::Silent,
    }
}

/// An answer that makes no sense.
fn nonsense(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

async fn connect(line: &Line, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind_device(Some(line.interface.as_bytes()))?;
    // Nothing is sent any more when the question has been answered.
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    socket.connect(to).await
}

async fn datagrams(line: &Line, kind: Type, to: SocketAddr) -> io::Result<UdpSocket> {
    let (domain, protocol) = match (to, kind) {
        (SocketAddr::V4(_), Type::DGRAM) => (Domain::IPV4, Protocol::UDP),
        (SocketAddr::V6(_), Type::DGRAM) => (Domain::IPV6, Protocol::UDP),
        (SocketAddr::V4(_), _) => (Domain::IPV4, Protocol::ICMPV4),
        (SocketAddr::V6(_), _) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, kind.nonblocking().cloexec(), Some(protocol))?;
    socket.bind_device(Some(line.interface.as_bytes()))?;
    let socket = UdpSocket::from_std(socket.into())?;
    socket.connect(to).await?;
    Ok(socket)
}

/// Sends a question, again and again, until `read` makes something of what comes back.
async fn exchange<T>(
    socket: &UdpSocket,
    question: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<T> {
    let mut buffer = [0; DATAGRAM_BYTES];
    loop {
        socket.send(question).await?;
        let answer = async {
            loop {
                let length = socket.recv(&mut buffer).await?;
                if let Some(answer) = read(buffer.get(..length).unwrap_or_default()) {
                    return io::Result::Ok(answer);
                }
            }
        };
        if let Ok(answer) = timeout(REPEAT, answer).await {
            return answer;
        }
    }
}

/// ICMP echo over a raw socket: the unprivileged kind is for groups that a sysctl names.
async fn echo(line: &Line, to: IpAddr) -> io::Result<()> {
    let socket = datagrams(line, Type::RAW, SocketAddr::new(to, 0)).await?;
    let nonce = getrandom::u64().map_err(io::Error::other)?.to_be_bytes();
    let request = echo_request(to, nonce);
    exchange(&socket, &request, |packet| is_echo_of(to, nonce, packet)).await
}

/// The message of RFC 792 and RFC 4443 §4.1; identifier, sequence number and data are the nonce.
fn echo_request(to: IpAddr, nonce: [u8; 8]) -> Vec<u8> {
    const ECHO_V4: u8 = 8;
    const ECHO_V6: u8 = 128;
    let (kind, checksum) = match to {
        IpAddr::V4(_) => (
            ECHO_V4,
            internet_checksum(&[[ECHO_V4, 0].as_slice(), &nonce].concat()),
        ),
        // The kernel's business (RFC 3542 §3.1).
        IpAddr::V6(_) => (ECHO_V6, 0),
    };
    let [high, low] = checksum.to_be_bytes();
    [[kind, 0, high, low].as_slice(), &nonce].concat()
}

fn is_echo_of(to: IpAddr, nonce: [u8; 8], packet: &[u8]) -> Option<()> {
    const REPLY_V4: u8 = 0;
    const REPLY_V6: u8 = 129;
    let (message, reply) = match to {
        // A raw socket of IPv4 shows the IP header too.
        IpAddr::V4(_) => {
            let words = usize::from(packet.first()? & 0x0f);
            (packet.get(words * 4..)?, REPLY_V4)
        }
        IpAddr::V6(_) => (packet, REPLY_V6),
    };
    let is_it = *message.first()? == reply && message.get(4..)?.starts_with(&nonce);
    is_it.then_some(())
}

/// RFC 1071, of an even number of bytes.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let (words, _) = bytes.as_chunks::<2>();
    let sum: u32 = words
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or_default()
}

/// The addresses of a name, as a resolver knows them.
async fn resolve(line: &Line, resolver: SocketAddr, name: &str) -> io::Result<Vec<IpAddr>> {
    let id = getrandom::u32().map_err(io::Error::other)?.to_be_bytes();
    let id = u16::from_be_bytes([id[0], id[1]]);
    let kind = match line.family {
        Family::Ipv4 => TYPE::A,
        Family::Ipv6 => TYPE::AAAA,
    };
    let name = Name::new(name).map_err(|_| nonsense("a bad name"))?;
    let mut query = Packet::new_query(id);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    let question = Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false);
    query.questions.push(question);
    let query = query.build_bytes_vec().map_err(io::Error::other)?;
    let socket = datagrams(line, Type::DGRAM, resolver).await?;
    exchange(&socket, &query, |answer| read_answer(id, answer)).await?
}

/// The addresses in an answer, or that the resolver could not find out.
fn read_answer(id: u16, bytes: &[u8]) -> Option<io::Result<Vec<IpAddr>>> {
    let answer = Packet::parse(bytes).ok()?;
    if answer.id() != id || !answer.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    if answer.rcode() != RCODE::NoError {
        return Some(Err(nonsense("the resolver does not know")));
    }
    let addresses = answer.answers.iter().filter_map(|record| {
        if let RData::A(a) = &record.rdata {
            Some(Ipv4Addr::from(a.address).into())
        } else if let RData::AAAA(aaaa) = &record.rdata {
            Some(Ipv6Addr::from(aaaa.address).into())
        } else {
            None
        }
    });
    Some(Ok(addresses.collect()))
}

/// Fetches a page that should be empty.
async fn get(line: &Line, page: &Page, resolvers: &[SocketAddr]) -> io::Result<Outcome> {
    let address = match page.host.parse() {
        Ok(address) => address,
        Err(_) => find(line, &page.host, resolvers).await?,
    };
    let mut stream = connect(line, SocketAddr::new(address, page.port)).await?;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        page.path,
        page.authority()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    loop {
        if let Some(outcome) = read_head(page, &head)? {
            return Ok(outcome);
        }
        if head.len() >= HEAD_BYTES || stream.read_buf(&mut head).await? == 0 {
            return Err(nonsense("no HTTP"));
        }
    }
}

/// Asks all resolvers at once: with one that is dead before it, a page would have no time left.
async fn find(line: &Line, name: &str, resolvers: &[SocketAddr]) -> io::Result<IpAddr> {
    let mut asking = JoinSet::new();
    for resolver in resolvers.iter().copied() {
        let (line, name) = (line.clone(), name.to_owned());
        asking.spawn(async move { resolve(&line, resolver, &name).await });
    }
    while let Some(answer) = asking.join_next().await {
        if let Ok(Ok(addresses)) = answer
            && let Some(address) = addresses.first()
        {
            return Ok(*address);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// What an answer means, once its head is there.
fn read_head(page: &Page, bytes: &[u8]) -> io::Result<Option<Outcome>> {
    const EMPTY: u16 = 204;
    /// RFC 6585 §6.
    const PORTAL: u16 = 511;
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let is_whole = match response.parse(bytes) {
        Ok(status) => status.is_complete() || bytes.len() >= HEAD_BYTES,
        // What was read until then will do.
        Err(httparse::Error::TooManyHeaders) => true,
        Err(_) => return Err(nonsense("no HTTP")),
    };
    let Some(code) = response.code.filter(|_| is_whole) else {
        return Ok(None);
    };
    if code == EMPTY {
        return Ok(Some(Outcome::Answered));
    }
    // A server that is in trouble or refuses is no portal.
    if code >= 400 && code != PORTAL {
        return Err(nonsense("the server has an error"));
    }
    let place = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("location"));
    let place = place.map_or_else(
        || page.authority(),
        |header| String::from_utf8_lossy(header.value).into_owned(),
    );
    let shown = place.chars().filter(|c| c.is_ascii_graphic()).take(100);
    Ok(Some(Outcome::Captive(shown.collect())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
    const NONCE: [u8; 8] = *b"12345678";

    #[test]
    fn an_echo_is_told_from_other_packets() {
        let request = echo_request(V4, NONCE);
        assert_eq!(internet_checksum(&request), 0);
        let mut reply = [vec![0x46; 24], request].concat();
        assert_eq!(is_echo_of(V4, NONCE, &reply), None, "our own request");
        reply[24] = 0;
        assert_eq!(is_echo_of(V4, NONCE, &reply), Some(()));
        assert_eq!(is_echo_of(V4, *b"12345679", &reply), None);
        for length in 0..reply.len() {
            assert_eq!(is_echo_of(V4, NONCE, &reply[..length]), None);
        }
        let mut reply = echo_request(V6, NONCE);
        reply[0] = 129;
        assert_eq!(is_echo_of(V6, NONCE, &reply), Some(()));
    }

    fn page() -> Page {
        let Some(Target::Http(page)) = Target::parse("http://example.com/generate_204") else {
            unreachable!();
        };
        page
    }

    #[test]
    fn an_empty_page_is_the_right_one() {
        let head = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n";
        for length in 0..head.len() {
            assert_eq!(read_head(&page(), &head[..length]).unwrap(), None);
        }
        let outcome = read_head(&page(), head).unwrap();
        assert_eq!(outcome, Some(Outcome::Answered));
    }

    #[test]
    fn any_other_page_is_a_portals() {
        let there = b"HTTP/1.0 302 Found\r\nlocation: http://portal/ login\r\n\r\n";
        let outcome = read_head(&page(), there).unwrap();
        assert_eq!(
            outcome,
            Some(Outcome::Captive("http://portal/login".to_owned()))
        );
        let here = b"HTTP/1.1 200 OK\r\n\r\n<html>";
        let outcome = read_head(&page(), here).unwrap();
        assert_eq!(outcome, Some(Outcome::Captive("example.com".to_owned())));
        let long = format!("HTTP/1.1 302 Found\r\n{}", "a: b\r\n".repeat(40));
        let outcome = read_head(&page(), long.as_bytes()).unwrap();
        assert_eq!(outcome, Some(Outcome::Captive("example.com".to_owned())));
        let long = format!("HTTP/1.1 200 OK\r\ncookie: {}", "x".repeat(HEAD_BYTES));
        let outcome = read_head(&page(), long.as_bytes()).unwrap();
        assert_eq!(outcome, Some(Outcome::Captive("example.com".to_owned())));
        assert!(read_head(&page(), b"HTTP/1.1 503 Busy\r\n\r\n").is_err());
        assert!(read_head(&page(), b"HTTP/1.1 403 Forbidden\r\n\r\n").is_err());
        assert!(read_head(&page(), b"SSH-2.0-x\r\n").is_err());
    }

    /// Over the loopback interface, which is all there is where there are no namespaces.
    fn here() -> Line {
        Line {
            interface: "lo".to_owned(),
            family: Family::Ipv4,
        }
    }

    /// Answers one question: this name is at [`V4`].
    async fn answer_once(socket: UdpSocket) -> io::Result<()> {
        let mut buffer = [0; DATAGRAM_BYTES];
        let (length, from) = socket.recv_from(&mut buffer).await?;
        let query = Packet::parse(&buffer[..length]).map_err(io::Error::other)?;
        let mut reply = Packet::new_reply(query.id());
        let name = query.questions[0].qname.clone();
        let data = RData::A(Ipv4Addr::LOCALHOST.into());
        let record = simple_dns::ResourceRecord::new(name, CLASS::IN, 60, data);
        reply.answers.push(record);
        let reply = reply.build_bytes_vec().map_err(io::Error::other)?;
        socket.send_to(&reply, from).await.map(drop)
    }

    #[tokio::test]
    async fn a_name_is_found_beside_resolvers_that_are_dead() {
        let open = || UdpSocket::bind(SocketAddr::new(V4, 0));
        let (dead, alive) = (open().await.unwrap(), open().await.unwrap());
        let resolvers = [&dead, &dead, &alive].map(|it| it.local_addr().unwrap());
        let answering = tokio::spawn(answer_once(alive));
        let (line, begin) = (here(), std::time::Instant::now());
        let found = find(&line, "example.com", &resolvers);
        assert_eq!(found.await.unwrap(), V4);
        assert!(begin.elapsed() < REPEAT, "{:?}", begin.elapsed());
        answering.await.unwrap().unwrap();
    }

    #[test]
    fn only_an_answer_to_the_question_counts() {
        let mut packet = Packet::new_reply(7);
        let bytes = packet.build_bytes_vec().unwrap();
        assert!(matches!(read_answer(7, &bytes), Some(Ok(addresses)) if addresses.is_empty()));
        assert!(read_answer(8, &bytes).is_none());
        assert!(read_answer(7, &Packet::new_query(7).build_bytes_vec().unwrap()).is_none());
        *packet.rcode_mut() = RCODE::ServerFailure;
        let bytes = packet.build_bytes_vec().unwrap();
        assert!(matches!(read_answer(7, &bytes), Some(Err(_))));
        assert!(read_answer(7, b"nonsense").is_none());
    }
}
