//! What is between a wallet and its node, and does with transactions as some do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use mesh_tests::rest;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// What it does with a transaction. Everything else it passes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    /// Passes it on twice, and the second answer back.
    Repeats,
    /// Passes it on, and says that it was refused.
    TakesAndRefuses,
    /// Refuses it.
    Refuses,
    /// Takes it, and says that more were sent before than were.
    CountsTooHigh,
    /// Refuses it, and says that another has its number.
    SaysReplaced,
}

/// Serves until the tests end.
pub(super) fn start(node: SocketAddr, manner: Manner) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || serve(client, node, manner));
        }
    });
    Ok(address)
}

fn serve(mut client: TcpStream, node: SocketAddr, manner: Manner) -> Result<()> {
    let request = read_request(&mut BufReader::new(&client))?;
    let pass_on = || {
        let kind = Some("application/json");
        let answer = rest::send(node, "POST /", kind, &request, PATIENCE);
        answer.map(|answer| answer.body)
    };
    let parsed: Value = serde_json::from_slice(&request)?;
    let refusal = json!({
        "jsonrpc": "2.0", "id": parsed["id"],
        "error": {"code": -32000, "message": "insufficient funds for gas * price + value"},
    });
    let refusal = refusal.to_string().into_bytes();
    let said = |answer: Value| answer.to_string().into_bytes();
    let id = &parsed["id"];
    let counts = &parsed["method"] == "eth_getTransactionCount";
    let answer = match (&parsed["method"] == "eth_sendRawTransaction", manner) {
        (false, Manner::CountsTooHigh | Manner::SaysReplaced) if counts => {
            said(json!({ "jsonrpc": "2.0", "id": id, "result": "0x2" }))
        }
        (false, _) => pass_on()?,
        (true, Manner::CountsTooHigh) => pass_on()?,
        (true, Manner::SaysReplaced) => said(json!({
            "jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": "nonce too low"},
        })),
        (true, Manner::Repeats) => pass_on().and_then(|_| pass_on())?,
        (true, Manner::TakesAndRefuses) => pass_on().map(|_| refusal)?,
        (true, Manner::Refuses) => refusal,
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        answer.len()
    );
    client.write_all(&[head.as_bytes(), &answer].concat())?;
    Ok(())
}

/// The body of a request.
fn read_request(stream: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut length = 0;
    for line in stream.by_ref().lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().context("a length")?;
        }
    }
    let mut body = Vec::new();
    stream.take(length).read_to_end(&mut body)?;
    Ok(body)
}
