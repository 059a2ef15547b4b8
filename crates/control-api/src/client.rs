//! The client's half: blocking, every call within a time limit.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::{
    Accounts, Arranged, CarriedFiles, ConfigText, Destination, Doctor, FrameError, FrameReader,
    GatewayChoice, Gateways, Id, Imported, Interfaces, Kept, LogLevel, LogLevelSet,
    MAX_IMPORT_CHUNK_BYTES, MAX_RESPONSE_BYTES, MeshMap, Method, Neighbors, NodeAccounts, NodeId,
    Originators, Probe, Probed, ReceiptsChunk, Reloaded, Request, Response, Routes, RpcError,
    SCHEMA, Settings, Stats, Status, Throughput, Version,
};

/// Read at once from the socket.
const READ_BYTES: usize = 16 * 1024;

/// How often an export begins anew because it was overtaken.
const EXPORT_ATTEMPTS: u32 = 3;

/// The largest log taken in, far beyond what a router keeps: a wrong daemon must not fill the
/// memory.
const MAX_LOG_BYTES: u64 = 256 * 1024 * 1024;

/// Why there is no answer. [`crate::Exit`] says how a command ends on each.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens at the socket.
    #[error("meshd is not running: nobody answers at {} ({source})", socket.display())]
    NotRunning {
        /// The socket's path.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The user may not use the socket.
    #[error("no permission to use {}: run as root or as a member of its group", socket.display())]
    Permission {
        /// The socket's path.
        socket: PathBuf,
    },
    /// The time limit passed.
    #[error("meshd did not answer within {limit:?}")]
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// The daemon went away before it answered.
    #[error("meshd closed the connection without an answer")]
    Closed,
    /// The socket failed in another way.
    #[error("control socket: {0}")]
    Io(io::Error),
    /// What came back is no answer to the request.
    #[error("answer not understood: {0}")]
    NotUnderstood(String),
    /// The daemon's answers have another layout.
    #[error("meshd answers in schema {found}, this program knows {SCHEMA}: update the older one")]
    Schema {
        /// The daemon's version of the layout.
        found: u64,
    },
    /// The export was overtaken again and again: by others, or by compactions of the log.
    #[error("the receipt log keeps changing, try again later")]
    LogChanges,
    /// The daemon said no.
    #[error("{0}")]
    Refused(#[from] RpcError),
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    frames: FrameReader,
    limit: Duration,
    next_id: u64,
}

impl Client {
    /// Connects. `limit` holds for the connection and for each call.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`], [`ClientError::Permission`], [`ClientError::Timeout`],
    /// [`ClientError::Io`].
    pub fn connect(socket: &Path, limit: Duration) -> Result<Self, ClientError> {
        let stream = connect_within(socket, limit)
            .map_err(|source| connect_error(source, socket.to_owned(), limit))?;
        Ok(Self {
            stream,
            frames: FrameReader::new(MAX_RESPONSE_BYTES),
            limit,
            next_id: 1,
        })
    }

    /// Calls `status`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn status(&mut self) -> Result<Status, ClientError> {
        self.call(Method::Status)
    }

    /// Calls `doctor`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn doctor(&mut self) -> Result<Doctor, ClientError> {
        self.call(Method::Doctor { fix: false })
    }

    /// Calls `doctor`, and has what can be mended be mended. The answer may name it still.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn mend(&mut self) -> Result<Doctor, ClientError> {
        self.call(Method::Doctor { fix: true })
    }

    /// Calls `interfaces`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn interfaces(&mut self) -> Result<Interfaces, ClientError> {
        self.call(Method::Interfaces)
    }

    /// Calls `neighbors`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn neighbors(&mut self) -> Result<Neighbors, ClientError> {
        self.call(Method::Neighbors)
    }

    /// Calls `originators`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn originators(&mut self) -> Result<Originators, ClientError> {
        self.call(Method::Originators)
    }

    /// Calls `map`.
    ///
    /// # Errors
    /// As [`Client::call`]; [`crate::ErrorCode::MethodNotFound`] from a daemon that knows no map yet.
    pub fn map(&mut self) -> Result<MeshMap, ClientError> {
        self.call(Method::Map)
    }

    /// Calls `routes`.
    ///
    /// # Errors
    /// As [`Client::call`]; [`crate::ErrorCode::NotFound`] when no route leads to `dest`.
    pub fn routes(&mut self, dest: Option<Destination>) -> Result<Routes, ClientError> {
        self.call(Method::Routes { dest })
    }

    /// Calls `gateways`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn gateways(&mut self) -> Result<Gateways, ClientError> {
        self.call(Method::Gateways)
    }

    /// Calls `gateways.select`.
    ///
    /// # Errors
    /// As [`Client::call`]; [`crate::ErrorCode::NotFound`] when no such gateway is known.
    pub fn select_gateway(&mut self, gateway: GatewayChoice) -> Result<Gateways, ClientError> {
        self.call(Method::GatewaysSelect { gateway })
    }

    /// Calls `probe`. The daemon may take the time that `probe` gives the node in addition to the limit.
    ///
    /// # Errors
    /// As [`Client::call`]; [`crate::ErrorCode::NotFound`] when there is no such node, or no way to it.
    pub fn probe(&mut self, probe: Probe) -> Result<Probed, ClientError> {
        let limit = self.limit;
        self.limit = limit.saturating_add(Duration::from_millis(probe.wait_ms.into()));
        let answer = self.call(Method::Probe(probe));
        self.limit = limit;
        answer
    }

    /// Calls `throughput`. The daemon may take the time that `request` gives the node in addition to the limit.
    ///
    /// # Errors
    /// As [`Client::call`]; [`crate::ErrorCode::NotFound`] when there is no such node, or no way to it,
    /// [`crate::ErrorCode::Permission`] when it takes part in no measurement.
    pub fn throughput(&mut self, request: Throughput) -> Result<Arranged, ClientError> {
        let limit = self.limit;
        self.limit = limit.saturating_add(Duration::from_millis(request.wait_ms.into()));
        let answer = self.call(Method::Throughput(request));
        self.limit = limit;
        answer
    }

    /// Calls `receipts.list`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn receipts(&mut self) -> Result<Accounts, ClientError> {
        self.call(Method::ReceiptsList)
    }

    /// Calls `receipts.show`.
    ///
    /// # Errors
    /// As [`Client::call`]; [`crate::ErrorCode::NotFound`] when there is no account with `node`.
    pub fn show_receipts(&mut self, node: String) -> Result<NodeAccounts, ClientError> {
        self.call(Method::ReceiptsShow { node })
    }

    /// Calls `receipts.stats`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn receipts_stats(&mut self) -> Result<Stats, ClientError> {
        self.call(Method::ReceiptsStats)
    }

    /// Calls `receipts.carried`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn carried_receipts(&mut self) -> Result<CarriedFiles, ClientError> {
        self.call(Method::ReceiptsCarried)
    }

    /// Hands a file over with `receipts.import`, piece by piece. The daemon answers the last one when
    /// it has checked the whole; that may take it `check` in addition to the limit.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn import_receipts(&mut self, file: &[u8], check: Duration) -> Result<Kept, ClientError> {
        let total_bytes = file.len() as u64;
        let limit = self.limit;
        let mut offset = 0;
        let mut kept = None;
        for piece in file.chunks(MAX_IMPORT_CHUNK_BYTES) {
            let end = offset + piece.len() as u64;
            if end == total_bytes {
                self.limit = limit.saturating_add(check);
            }
            let answer = self.call(Method::ReceiptsImport {
                offset,
                total_bytes,
                data: piece.to_vec().into(),
            });
            self.limit = limit;
            Imported { kept, .. } = answer?;
            offset = end;
        }
        kept.ok_or_else(|| ClientError::NotUnderstood("the file is not complete".into()))
    }

    /// Fetches the receipts of `owner` that the daemon carries.
    ///
    /// # Errors
    /// As [`Client::export_receipts`]; [`crate::ErrorCode::NotFound`] when there are none.
    pub fn export_carried(&mut self, owner: NodeId) -> Result<Vec<u8>, ClientError> {
        self.export(&|offset| Method::ReceiptsExportCarried { owner, offset })
    }

    /// Fetches an export of the receipt log, as of the time of the call.
    ///
    /// # Errors
    /// As [`Client::call`]; [`ClientError::LogChanges`].
    pub fn export_receipts(&mut self) -> Result<Vec<u8>, ClientError> {
        self.export(&|offset| Method::ReceiptsExport { offset })
    }

    fn export(&mut self, ask: &dyn Fn(u64) -> Method) -> Result<Vec<u8>, ClientError> {
        for _ in 0..EXPORT_ATTEMPTS {
            if let Some(log) = self.export_generation(ask)? {
                return Ok(log);
            }
        }
        Err(ClientError::LogChanges)
    }

    /// Calls `reload`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn reload(&mut self) -> Result<Reloaded, ClientError> {
        self.call(Method::Reload)
    }

    /// Calls `config.diff`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn config_diff(&mut self, text: ConfigText) -> Result<Reloaded, ClientError> {
        self.call(Method::ConfigDiff { text })
    }

    /// Calls `config.show`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn config(&mut self) -> Result<Settings, ClientError> {
        self.call(Method::ConfigShow)
    }

    /// Calls `log_level`.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn set_log_level(&mut self, level: LogLevel) -> Result<LogLevelSet, ClientError> {
        self.call(Method::LogLevel { level })
    }

    /// What answers, whichever schema it speaks.
    ///
    /// # Errors
    /// As [`Client::call`], without [`ClientError::Schema`].
    pub fn version(&mut self) -> Result<Version, ClientError> {
        let result = self.ask(Method::Status)?;
        Version::deserialize(result).map_err(|error| ClientError::NotUnderstood(error.to_string()))
    }

    /// Sends `method` and waits for its answer, which must be of the right type.
    ///
    /// # Errors
    /// All of [`ClientError`] but those of [`Client::connect`] and [`Client::export_receipts`].
    pub fn call<T: DeserializeOwned>(&mut self, method: Method) -> Result<T, ClientError> {
        parse_result(self.ask(method)?)
    }

    fn ask(&mut self, method: Method) -> Result<Value, ClientError> {
        let id = Id::from(self.next_id);
        self.next_id += 1;
        let deadline = Instant::now() + self.limit;
        self.send(
            &Request {
                id: Some(id.clone()),
                method,
            }
            .to_line(),
        )?;
        let line = self.receive(deadline)?;
        parse_answer(&line, &id)
    }

    fn send(&mut self, line: &[u8]) -> Result<(), ClientError> {
        let sent = self
            .stream
            .set_write_timeout(Some(self.limit))
            .and_then(|()| self.stream.write_all(line));
        sent.map_err(|error| self.io_error(error))
    }

    pub(crate) fn receive(&mut self, deadline: Instant) -> Result<String, ClientError> {
        let mut bytes = [0; READ_BYTES];
        loop {
            if let Some(line) = self.frames.poll_line() {
                return line
                    .map_err(|error: FrameError| ClientError::NotUnderstood(error.to_string()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ClientError::Timeout { limit: self.limit });
            }
            let read = self
                .stream
                .set_read_timeout(Some(left))
                .and_then(|()| self.stream.read(&mut bytes));
            match read {
                Ok(0) => return Err(ClientError::Closed),
                Ok(length) => self
                    .frames
                    .handle_bytes(bytes.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.io_error(error)),
            }
        }
    }

    /// The export, or `None` when it was overtaken.
    fn export_generation(
        &mut self,
        ask: &dyn Fn(u64) -> Method,
    ) -> Result<Option<Vec<u8>>, ClientError> {
        let mut log = Vec::new();
        let mut first: Option<(u64, u64)> = None;
        loop {
            let offset = log.len() as u64;
            let chunk: ReceiptsChunk = match self.call(ask(offset)) {
                Ok(chunk) => chunk,
                Err(ClientError::Refused(_)) if first.is_some() => return Ok(None),
                Err(error) => return Err(error),
            };
            let (generation, total) = *first.get_or_insert((chunk.generation, chunk.total_bytes));
            if chunk.generation != generation {
                return Ok(None);
            }
            check_chunk(&chunk, offset, total)?;
            log.extend(chunk.data.into_bytes());
            if log.len() as u64 >= total {
                return Ok(Some(log));
            }
        }
    }

    fn io_error(&self, error: io::Error) -> ClientError {
        if is_timeout(&error) {
            return ClientError::Timeout { limit: self.limit };
        }
        if matches!(
            error.kind(),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        ) {
            return ClientError::Closed;
        }
        ClientError::Io(error)
    }
}

/// On Linux the send timeout bounds `connect` as well (unix(7): it blocks while the listener's
/// backlog is full), and `std` cannot set it before connecting.
fn connect_within(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(limit))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

fn connect_error(source: io::Error, socket: PathBuf, limit: Duration) -> ClientError {
    if is_timeout(&source) {
        return ClientError::Timeout { limit };
    }
    if source.kind() == ErrorKind::PermissionDenied {
        return ClientError::Permission { socket };
    }
    if matches!(
        source.kind(),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused
    ) {
        return ClientError::NotRunning { socket, source };
    }
    ClientError::Io(source)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn parse_answer(line: &str, id: &Id) -> Result<Value, ClientError> {
    let response: Response<Value> = Response::parse(line).map_err(ClientError::NotUnderstood)?;
    match response.outcome {
        // A request that could not be read is answered without its id.
        Err(error) if response.id == *id || response.id == Id::Null => Err(error.into()),
        Ok(result) if response.id == *id => Ok(result),
        Ok(_) | Err(_) => Err(ClientError::NotUnderstood(
            "it answers another request".into(),
        )),
    }
}

fn parse_result<T: DeserializeOwned>(result: Value) -> Result<T, ClientError> {
    let found = result.get("schema").and_then(Value::as_u64);
    match found {
        Some(schema) if schema == u64::from(SCHEMA) => {}
        Some(found) => return Err(ClientError::Schema { found }),
        None => return Err(ClientError::NotUnderstood("no schema".into())),
    }
    T::deserialize(result).map_err(|error| ClientError::NotUnderstood(error.to_string()))
}

fn check_chunk(chunk: &ReceiptsChunk, offset: u64, total: u64) -> Result<(), ClientError> {
    let problem = if chunk.offset != offset {
        "a piece of another place of the export"
    } else if chunk.total_bytes != total {
        "the export became longer or shorter"
    } else if total > MAX_LOG_BYTES {
        "the export is too large"
    } else if chunk.data.is_empty() && offset < total {
        "an empty piece before the end of the export"
    } else if chunk.data.len() as u64 > total.saturating_sub(offset) {
        "a piece beyond the end of the export"
    } else {
        return Ok(());
    };
    Err(ClientError::NotUnderstood(problem.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Exit;

    fn exit_on_connect_error(kind: ErrorKind) -> Exit {
        let error = connect_error(kind.into(), "/run/x.sock".into(), Duration::from_secs(1));
        Exit::from(&error)
    }

    /// Root may connect to any socket, so the kernel's refusal is stated here.
    #[test]
    fn what_the_kernel_says_to_connect_decides_the_exit_code() {
        assert_eq!(exit_on_connect_error(ErrorKind::NotFound).code(), 3);
        assert_eq!(
            exit_on_connect_error(ErrorKind::ConnectionRefused).code(),
            3
        );
        assert_eq!(exit_on_connect_error(ErrorKind::PermissionDenied).code(), 5);
        assert_eq!(exit_on_connect_error(ErrorKind::WouldBlock).code(), 6);
        assert_eq!(exit_on_connect_error(ErrorKind::InvalidInput).code(), 1);
    }
}
