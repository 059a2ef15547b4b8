//! The server's half of one connection, without I/O.

use crate::{
    Answer, FrameReader, Id, MAX_REQUEST_BYTES, Method, Rejected, Request, Response, RpcError,
};

/// One connection: bytes in, requests out.
///
/// After each [`Session::handle_bytes`], drain [`Session::poll_incoming`]. Requests may be
/// answered in any order; the memory it takes is bounded by [`MAX_REQUEST_BYTES`] and the size of
/// one read.
#[derive(Debug)]
pub struct Session {
    frames: FrameReader,
}

/// What came in.
#[derive(Debug)]
pub enum Incoming {
    /// A request to answer.
    Call(Call),
    /// Nonsense: the line to send back for it.
    Reject(Vec<u8>),
}

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Call {
    id: Option<Id>,
    /// What is asked.
    pub method: Method,
}

impl Session {
    /// A new connection.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            frames: FrameReader::new(MAX_REQUEST_BYTES),
        }
    }

    /// Takes in what was read from the socket.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.frames.handle_bytes(bytes);
    }

    /// The next request, if one is complete. Empty lines and broken notifications are passed over.
    pub fn poll_incoming(&mut self) -> Option<Incoming> {
        loop {
            let rejected = match self.frames.poll_line()? {
                Ok(line) if line.trim().is_empty() => continue,
                Ok(line) => match Request::parse(&line) {
                    Ok(Request { id, method }) => {
                        return Some(Incoming::Call(Call { id, method }));
                    }
                    Err(rejected) => rejected,
                },
                Err(error) => Rejected::from(error),
            };
            if let Some(line) = rejected.to_line() {
                return Some(Incoming::Reject(line));
            }
        }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl Call {
    /// The line to send back; `None` when the peer wants no answer.
    #[must_use]
    pub fn answer(self, outcome: Result<Answer, RpcError>) -> Option<Vec<u8>> {
        Some(
            Response {
                id: self.id?,
                outcome,
            }
            .to_line(),
        )
    }
}
