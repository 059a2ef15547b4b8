//! A client that shows everything of an answer, and can be as rude as a test needs it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    head: String,
    /// What follows the head.
    pub body: Vec<u8>,
}

impl Answer {
    /// A field of the head, whose name is given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    }

    /// The body as text, for messages.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of a success.
    ///
    /// # Errors
    /// It is none, or something else.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        ensure!(self.status == 200, "{}: {}", self.status, self.text());
        serde_json::from_slice(&self.body).with_context(|| self.text())
    }
}

/// Sends a request on a connection of its own.
///
/// # Errors
/// No connection, or no whole answer within `patience`.
pub fn send(
    server: SocketAddr,
    head: &str,
    kind: Option<&str>,
    body: &[u8],
    patience: Duration,
) -> Result<Answer> {
    let mut stream = connect(server, patience)?;
    let kind = kind.map_or_else(String::new, |kind| format!("Content-Type: {kind}\r\n"));
    let length = body.len();
    let head = format!(
        "{head} HTTP/1.1\r\nHost: {server}\r\n{kind}Content-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    // A server that has heard enough answers before it has read all.
    let sent = stream.write_all(&[head.as_bytes(), body].concat());
    let answer = read_answer(&mut BufReader::new(stream));
    answer.with_context(|| match sent {
        Ok(()) => "read the answer".to_owned(),
        Err(error) => format!("send the request: {error}"),
    })
}

/// Opens a connection on which nothing is waited for longer than said.
///
/// # Errors
/// There is none.
pub fn connect(server: SocketAddr, patience: Duration) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, patience).context("connect")?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The next request that comes on a connection: its head, when all of it is there.
///
/// # Errors
/// There is none, or it is cut short.
pub fn read_request(stream: &mut impl BufRead) -> Result<String> {
    let head = read_head(stream)?;
    let length = head.to_lowercase();
    let length = length
        .split_once("content-length: ")
        .map_or("0", |(_, it)| it);
    let length = length.lines().next().unwrap_or_default().parse()?;
    std::io::copy(&mut stream.take(length), &mut std::io::sink())?;
    Ok(head)
}

fn read_head(stream: &mut impl BufRead) -> Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let before = head.len();
        stream.read_line(&mut head).context("read the head")?;
        ensure!(head.len() > before, "the connection ended after {head:?}");
    }
    Ok(head)
}

/// Reads one answer, so that others may follow on the same connection.
///
/// # Errors
/// There is none, or it is cut short.
pub fn read_answer(stream: &mut impl BufRead) -> Result<Answer> {
    let head = read_head(stream)?;
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    let mut answer = Answer {
        status: status.with_context(|| format!("no status in {head:?}"))?,
        head,
        body: Vec::new(),
    };
    let length = answer.header("content-length").unwrap_or("0").parse()?;
    stream.take(length).read_to_end(&mut answer.body)?;
    ensure!(
        answer.body.len() as u64 == length,
        "the answer was cut short"
    );
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_follow_each_other() {
        let mut bytes: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}\
            HTTP/1.1 404 Not Found\r\nContent-Type: a/b\r\ncontent-length: 0\r\n\r\n";
        let first = read_answer(&mut bytes).unwrap();
        assert_eq!(first.text(), "{}");
        let second = read_answer(&mut bytes).unwrap();
        assert_eq!(
            (second.status, second.header("content-type")),
            (404, Some("a/b"))
        );
        assert!(read_answer(&mut bytes).is_err(), "nothing is left");
    }

    #[test]
    fn half_an_answer_is_none() {
        let mut bytes: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}";
        assert!(read_answer(&mut bytes).is_err());
    }
}
