//! JSON-RPC over HTTP, a connection for each request.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use alloy_primitives::Bytes;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json};

/// Why a node did not do what it was asked for.
#[derive(Debug, Deserialize)]
pub(super) struct RpcError {
    code: i64,
    pub(super) message: String,
    #[serde(default)]
    data: Value,
}

impl RpcError {
    /// What a contract said, if it was one that refused (code 3, as geth has it).
    pub(super) fn reverted(&self) -> Option<Bytes> {
        if self.code == 3 {
            serde_json::from_value(self.data.clone()).ok()
        } else {
            None
        }
    }
}

/// Asks a node, and returns what it answered: a result, or why there is none.
pub(super) fn request(
    node: SocketAddr,
    method: &str,
    parameters: &Value,
    patience: Duration,
) -> Result<Result<Value, RpcError>> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters});
    let answer = post(node, &body.to_string(), patience);
    let answer = answer.with_context(|| format!("ask {node} for {method}"))?;
    let mut answer: Value = serde_json::from_slice(&answer)?;
    match answer.get_mut("error") {
        Some(error) => Ok(Err(serde_json::from_value(error.take())?)),
        None => Ok(Ok(answer.get_mut("result").map(Value::take).with_context(
            || format!("{method}: neither a result nor an error"),
        )?)),
    }
}

fn post(server: SocketAddr, body: &str, patience: Duration) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, patience).context("connect")?;
    stream.set_read_timeout(Some(patience))?;
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: {server}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("read the answer")?;
    let end = b"\r\n\r\n";
    let head = answer.windows(end.len()).position(|window| window == end);
    let body = answer.split_off(head.context("no header")? + end.len());
    let status = String::from_utf8_lossy(answer.get(..12).unwrap_or_default()).into_owned();
    ensure!(
        status == "HTTP/1.1 200",
        "{status}: {}",
        String::from_utf8_lossy(&body)
    );
    Ok(body)
}

/// A number as nodes write it: in hexadecimal, with 0x.
pub(super) fn quantity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.strip_prefix("0x").unwrap_or_default();
    u64::from_str_radix(digits, 16)
        .map_err(|_| de::Error::custom(format_args!("{text} is no quantity")))
}
