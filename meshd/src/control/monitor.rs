//! `monitor`: events over a connection, until it is closed.

use std::ops::ControlFlow;
use std::time::Duration;

use control_api::{Incoming, Method, Monitoring, RpcError, SCHEMA};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{PATIENCE, Rights};
use crate::events::{Events, Reader};

/// Who takes nothing for so long keeps the place of somebody else. Pausing the output of a terminal is shorter.
const STALLED: Duration = Duration::from_secs(60);

/// Serves `monitor` to the end of the connection; anything else is handed back.
pub(super) async fn serve(
    stream: &mut UnixStream,
    incoming: Incoming,
    events: &Events,
    rights: &Rights,
) -> ControlFlow<(), Incoming> {
    let call = match incoming {
        Incoming::Call(call) if call.method == Method::Monitor => call,
        Incoming::Call(_) | Incoming::Reject(_) => return ControlFlow::Continue(incoming),
    };
    let reader = rights.listening().zip(events.listen());
    let outcome = match &reader {
        Some(_) => Ok(Monitoring { schema: SCHEMA }.into()),
        None => Err(RpcError::failed("as many as may listen do so already")),
    };
    let line = call.answer(outcome).unwrap_or_default();
    let Some((_place, reader)) = reader else {
        return ControlFlow::Continue(Incoming::Reject(line));
    };
    if let Ok(Ok(())) = timeout(PATIENCE, stream.write_all(&line)).await {
        tell(stream, reader).await;
    }
    ControlFlow::Break(())
}

/// What the other end says meanwhile is not listened to.
async fn tell(stream: &mut UnixStream, mut reader: Reader) {
    let mut ignored = [0; 256];
    loop {
        tokio::select! {
            line = reader.next() => {
                let Some(line) = line else { return };
                let written = timeout(STALLED, stream.write_all(&line)).await;
                let Ok(Ok(())) = written else { return };
            }
            read = stream.read(&mut ignored) => {
                let Ok(1..) = read else { return };
            }
        }
    }
}
