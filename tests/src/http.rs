//! A web server and a client, as small as they can be and still be honest HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::namespace::Namespace;

/// Where the server listens.
pub const PORT: u16 = 80;

/// What the server says of a PUT whose content arrived.
const WHOLE: &str = "whole";

/// First line of the server's page.
pub const GREETING: &str = "Hello from the Internet.";

/// Answers `/` with a page that says who asked, `/bytes/N` with the N bytes of [`content`], and
/// `/generate_204` with nothing. To a PUT it answers whether what came was that.
#[derive(Debug)]
pub struct Server {
    stopped: Arc<AtomicBool>,
    namespace: Namespace,
    port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server on a port of every address of the namespace.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(namespace: &Namespace, port: u16) -> Result<Self> {
        Self::start_with(namespace, port, answer)
    }

    /// Starts a captive portal: whatever is asked for, it sends people to its own page.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start_portal(namespace: &Namespace, port: u16) -> Result<Self> {
        Self::start_with(namespace, port, refer)
    }

    fn start_with(namespace: &Namespace, port: u16, answer: Answer) -> Result<Self> {
        let listener = namespace.within(|| {
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port));
            listener.with_context(|| format!("listen on port {port}"))
        })?;
        let stopped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopped);
        let thread = thread::spawn(move || serve(&listener, &flag, answer));
        Ok(Self {
            stopped,
            namespace: namespace.clone(),
            port,
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread from `accept`.
        let _ = self
            .namespace
            .within(|| Ok(TcpStream::connect((Ipv6Addr::LOCALHOST, self.port))?));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Answer = fn(TcpStream) -> Result<()>;

fn serve(listener: &TcpListener, stopped: &AtomicBool, answer: Answer) {
    for stream in listener.incoming() {
        if stopped.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(stream) = stream {
            // A client that leaves in the middle is its own problem.
            thread::spawn(move || answer(stream));
        }
    }
}

/// Bytes of which none can be missing, or be in the place of another, unnoticed.
#[must_use]
pub fn content(count: usize) -> Vec<u8> {
    /// A prime: packets begin at another place of it each time.
    const PERIOD: usize = 65_521;
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    let period: Vec<u8> = (0..PERIOD).map(|_| next()).collect();
    let mut bytes = period.repeat(count / PERIOD + 1);
    bytes.truncate(count);
    bytes
}

/// What is asked for.
struct Request {
    path: String,
    /// What came with it.
    body: Vec<u8>,
}

fn read_request(stream: &TcpStream) -> Result<Request> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(reader.read_line(&mut head)? > 0, "half a request: {head}");
    }
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.unwrap_or("0").parse()?];
    reader.read_exact(&mut body)?;
    let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
    Ok(Request { path, body })
}

fn refer(mut stream: TcpStream) -> Result<()> {
    read_request(&stream)?;
    stream.write_all(
        b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/login\r\n\
          Content-Length: 0\r\nConnection: close\r\n\r\n",
    )?;
    Ok(stream.shutdown(Shutdown::Write)?)
}

fn answer(mut stream: TcpStream) -> Result<()> {
    let client = stream.peer_addr()?.ip().to_canonical();
    let Request { path, body } = read_request(&stream)?;
    let (status, body) = match path.strip_prefix("/bytes/").map(str::parse::<usize>) {
        _ if body == content(body.len()) && !body.is_empty() => ("200 OK", WHOLE.into()),
        Some(Ok(count)) => ("200 OK", content(count)),
        Some(Err(_)) => ("404 Not Found", Vec::new()),
        None if path == "/generate_204" => ("204 No Content", Vec::new()),
        None => (
            "200 OK",
            format!("{GREETING}\nYou come from {client}.\n").into_bytes(),
        ),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nX-Client: {client}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)?;
    stream.shutdown(Shutdown::Write)?;
    Ok(())
}

/// What the client got.
#[derive(Clone, Debug)]
pub struct Page {
    /// The address the server saw the request come from.
    pub client: IpAddr,
    /// The page itself.
    pub body: Vec<u8>,
}

impl Page {
    /// The page as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Fetches a page from inside a namespace.
///
/// # Errors
/// No connection or nothing new within `patience`, an answer cut short, or one that is not
/// `200 OK`.
pub fn fetch(
    namespace: &Namespace,
    server: SocketAddr,
    path: &str,
    patience: Duration,
) -> Result<Page> {
    namespace
        .within(|| request("GET", server, path, &[], patience))
        .with_context(|| format!("GET http://{server}{path} from {}", namespace.name()))
}

/// Fetches so many bytes, and sends as many, and compares each with what was sent.
///
/// # Errors
/// As for [`fetch`], or they are not the same.
pub fn exchange(
    namespace: &Namespace,
    server: SocketAddr,
    count: usize,
    patience: Duration,
) -> Result<()> {
    let page = fetch(namespace, server, &format!("/bytes/{count}"), patience)?;
    ensure!(page.body == content(count), "not what {server} sent");
    let sent = namespace.within(|| request("PUT", server, "/", &content(count), patience));
    let page = sent.with_context(|| format!("PUT http://{server} from {}", namespace.name()))?;
    ensure!(page.text() == WHOLE, "{server} got something else");
    Ok(())
}

fn request(
    method: &str,
    server: SocketAddr,
    path: &str,
    body: &[u8],
    patience: Duration,
) -> Result<Page> {
    let mut stream = TcpStream::connect_timeout(&server, patience).context("connect")?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        server.ip(),
        body.len()
    )?;
    stream.write_all(body).context("send")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("read the answer")?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Result<Page> {
    let end = b"\r\n\r\n";
    let split = answer.windows(end.len()).position(|window| window == end);
    let (head, rest) = answer
        .split_at_checked(split.context("no header")?)
        .unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    let body = rest.get(end.len()..).unwrap_or_default();
    let field = |name: &str| {
        let mut values = head.lines().filter_map(|line| line.strip_prefix(name));
        values
            .next()
            .map(str::trim)
            .ok_or_else(|| anyhow!("no {name} in {head}"))
    };
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("the answer is {}", head.lines().next().unwrap_or_default());
    }
    if field("Content-Length:")?.parse() != Ok(body.len()) {
        bail!("the answer was cut short after {} bytes", body.len());
    }
    Ok(Page {
        client: field("X-Client:")?.parse()?,
        body: body.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: &str, length: usize, body: &str) -> Vec<u8> {
        format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nX-Client: 192.0.2.1\r\n\r\n{body}"
        )
        .into_bytes()
    }

    #[test]
    fn a_page_has_its_body_and_its_client() {
        let page = parse(&answer("200 OK", 5, "hello")).unwrap();
        assert_eq!(page.text(), "hello");
        assert_eq!(page.client.to_string(), "192.0.2.1");
    }

    #[test]
    fn content_tells_what_is_missing() {
        let all = content(200_000);
        assert_eq!(all.len(), 200_000);
        assert!(all.starts_with(&content(1000)));
        let without = [&all[..1000], &all[2000..]].concat();
        assert_ne!(without, content(199_000));
    }

    #[test]
    fn half_a_page_is_not_a_page() {
        assert!(parse(&answer("200 OK", 6, "hello")).is_err());
        assert!(parse(&answer("404 Not Found", 0, "")).is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\n").is_err());
    }
}
