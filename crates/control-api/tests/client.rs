//! The client against a real Unix socket.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use control_api::{
    Client, ClientError, ErrorCode, Exit, HexBytes, Imported, Kept, KeptAs, MAX_IMPORT_CHUNK_BYTES,
    MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES, Method, NodeId, ReceiptsChunk, Reloaded, Request,
    Response, RpcError, SCHEMA,
};

/// Ample for an answer that comes, on a busy machine as well.
const AMPLE: Duration = Duration::from_secs(30);

/// For an answer that never comes.
const SHORT: Duration = Duration::from_millis(100);

/// A server for one connection that answers each request line with `answer`'s bytes.
struct Server {
    _directory: tempfile::TempDir,
    socket: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(mut answer: impl FnMut(&Request, &mut UnixStream) + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for line in lines.map_while(Result::ok) {
                answer(&Request::parse(&line).unwrap(), &mut stream);
            }
        });
        Self {
            _directory: directory,
            socket,
            thread: Some(thread),
        }
    }

    fn answering(line: &'static str) -> Self {
        Self::start(move |_, stream| stream.write_all(line.as_bytes()).unwrap())
    }

    fn client(&self, limit: Duration) -> Client {
        Client::connect(&self.socket, limit).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            thread::panicking() || matches!(ended, Some(Ok(()))),
            "the server failed"
        );
    }
}

fn respond<T: serde::Serialize>(
    request: &Request,
    stream: &mut UnixStream,
    outcome: Result<T, RpcError>,
) {
    let id = request.id.clone().unwrap();
    stream
        .write_all(&Response { id, outcome }.to_line())
        .unwrap();
}

fn reloaded() -> Reloaded {
    Reloaded {
        schema: SCHEMA,
        changed: vec!["name".into()],
        needs_restart: vec![],
    }
}

#[test]
fn calls_are_answered_one_after_the_other() {
    let server = Server::start(|request, stream| {
        if request.method == Method::Reload {
            return respond(request, stream, Ok(reloaded()));
        }
        respond::<()>(request, stream, Err(RpcError::not_found("no route to x")));
    });
    let mut client = server.client(AMPLE);

    assert_eq!(client.reload().unwrap(), reloaded());
    let error = client.routes(Some("x".parse().unwrap())).unwrap_err();
    assert_eq!(error.to_string(), "no route to x");
    assert_eq!(Exit::from(&error), Exit::NotFound);
    assert_eq!(client.reload().unwrap(), reloaded());
}

#[test]
fn nobody_listening_is_not_running() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.sock");
    let stale = directory.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());

    for socket in [missing, stale] {
        let error = Client::connect(&socket, AMPLE).unwrap_err();
        assert!(matches!(error, ClientError::NotRunning { .. }), "{error}");
        assert_eq!(Exit::from(&error).code(), 3);
        assert!(
            error.to_string().contains(socket.to_str().unwrap()),
            "{error}"
        );
    }
}

#[test]
fn a_path_too_long_for_a_socket_is_a_failure() {
    let error = Client::connect(PathBuf::from("/x".repeat(100)).as_path(), AMPLE).unwrap_err();

    assert_eq!(Exit::from(&error), Exit::Failure);
}

#[test]
fn silence_is_a_timeout() {
    let server = Server::start(|_, _| {});
    let mut client = server.client(SHORT);

    let error = client.reload().unwrap_err();

    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    assert_eq!(Exit::from(&error).code(), 6);
    drop(client);
}

/// The limit is for the whole answer, not for each piece of it.
#[test]
fn an_answer_that_trickles_in_is_a_timeout() {
    let server = Server::start(|_, stream| {
        while stream.write_all(b"x").is_ok() {
            thread::sleep(SHORT / 20);
        }
    });
    let mut client = server.client(SHORT);
    let begin = Instant::now();

    let error = client.reload().unwrap_err();

    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    assert!(begin.elapsed() < AMPLE);
    drop(client);
}

/// A listener that never accepts: `connect` itself blocks once its backlog is full.
#[test]
fn a_daemon_that_hangs_does_not_hang_the_client() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("control.sock");
    let listener =
        socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    listener
        .bind(&socket2::SockAddr::unix(&socket).unwrap())
        .unwrap();
    listener.listen(0).unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut waiting = Vec::new();
        let error = loop {
            match Client::connect(&socket, SHORT) {
                Ok(client) => waiting.push(client),
                Err(error) => break error,
            }
            assert!(waiting.len() < 16, "the backlog never fills");
        };
        sender.send(error).unwrap();
    });

    let error = receiver.recv_timeout(AMPLE).unwrap();

    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
}

#[test]
fn a_daemon_that_leaves_is_a_failure() {
    let server = Server::start(|_, stream| stream.shutdown(std::net::Shutdown::Both).unwrap());

    let error = server.client(AMPLE).reload().unwrap_err();

    assert!(matches!(error, ClientError::Closed), "{error}");
    assert_eq!(Exit::from(&error), Exit::Failure);
}

#[test]
fn an_answer_to_something_else_is_refused() {
    let cases = [
        ("no JSON\n", "answer not understood"),
        (
            r#"{"jsonrpc":"2.0","id":99,"result":{"schema":2}}"#,
            "another request",
        ),
        (
            r#"{"jsonrpc":"2.0","id":99,"error":{"code":-32001,"message":"x"}}"#,
            "another request",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, "no schema"),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"schema":1}}"#,
            "schema 1",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"result":{"schema":2}}"#,
            "missing field",
        ),
        ("\u{7f}", "answer not understood"),
    ];
    for (line, problem) in cases {
        let server = Server::start(move |_, stream| {
            stream.write_all(line.as_bytes()).unwrap();
            stream.write_all(b"\n").unwrap();
        });
        let error = server.client(AMPLE).reload().unwrap_err();
        assert!(error.to_string().contains(problem), "{line}: {error}");
        assert_eq!(Exit::from(&error), Exit::Failure);
    }
}

#[test]
fn a_request_the_daemon_cannot_read_is_reported_as_such() {
    let server = Server::answering(
        "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"not JSON\"}}\n",
    );

    let error = server.client(AMPLE).reload().unwrap_err();

    assert_eq!(error.to_string(), "not JSON");
}

#[test]
fn an_answer_without_end_is_refused() {
    let server = Server::start(|_, stream| {
        let piece = vec![b'x'; 1024 * 1024];
        for _ in 0..=MAX_RESPONSE_BYTES / piece.len() {
            // The client hangs up when it has had enough.
            if stream.write_all(&piece).is_err() {
                break;
            }
        }
    });

    let error = server.client(AMPLE).reload().unwrap_err();

    assert!(error.to_string().contains("longer than"), "{error}");
}

#[test]
fn the_exit_code_follows_the_daemons_error() {
    let cases = [
        (ErrorCode::NotFound, 4),
        (ErrorCode::Permission, 5),
        (ErrorCode::Failed, 1),
        (ErrorCode::MethodNotFound, 1),
        (ErrorCode::Other(-1), 1),
    ];
    for (code, exit) in cases {
        let error = ClientError::from(RpcError::new(code, "x"));
        assert_eq!(Exit::from(&error).code(), exit, "{code:?}");
        assert_eq!(ErrorCode::from(i64::from(code)), code);
    }
}

/// A server whose export is `log` in pieces of `piece` bytes, of the generation that `generation`
/// gives for each request.
fn log_server(
    log: Vec<u8>,
    piece: usize,
    generation: impl Fn(u64) -> u64 + Send + 'static,
) -> Server {
    let mut requests = 0;
    Server::start(move |request, stream| {
        let Method::ReceiptsExport { offset } = request.method else {
            panic!("not an export")
        };
        requests += 1;
        let rest = &log[usize::try_from(offset).unwrap()..];
        let data = rest[..rest.len().min(piece)].to_vec();
        let chunk = ReceiptsChunk {
            schema: SCHEMA,
            generation: generation(requests),
            offset,
            total_bytes: log.len() as u64,
            data: HexBytes::from(data),
        };
        respond(request, stream, Ok(chunk));
    })
}

fn log_bytes() -> Vec<u8> {
    (0..1000u32).map(|n| n.to_le_bytes()[0]).collect()
}

#[test]
fn an_export_is_put_together_from_its_pieces() {
    for piece in [1, 7, 999, 1000, 5000] {
        let server = log_server(log_bytes(), piece, |_| 1);
        assert_eq!(
            server.client(AMPLE).export_receipts().unwrap(),
            log_bytes(),
            "{piece}"
        );
    }
    let server = log_server(vec![], 10, |_| 1);
    assert!(server.client(AMPLE).export_receipts().unwrap().is_empty());
}

#[test]
fn an_export_begins_anew_when_it_is_overtaken() {
    let server = log_server(log_bytes(), 300, |request| u64::from(request > 2));
    assert_eq!(server.client(AMPLE).export_receipts().unwrap(), log_bytes());

    let server = log_server(log_bytes(), 300, |request| request);
    let error = server.client(AMPLE).export_receipts().unwrap_err();
    assert!(matches!(error, ClientError::LogChanges), "{error}");
}

#[test]
fn pieces_that_do_not_fit_are_refused() {
    let chunk = |offset, total_bytes, bytes| ReceiptsChunk {
        schema: SCHEMA,
        generation: 1,
        offset,
        total_bytes,
        data: HexBytes::from(vec![0; bytes]),
    };
    for (chunk, problem) in [
        (chunk(5, 10, 1), "another place"),
        (chunk(0, 10, 0), "an empty piece"),
        (chunk(0, 10, 11), "beyond the end"),
        (chunk(0, u64::MAX, 0), "too large"),
    ] {
        let server =
            Server::start(move |request, stream| respond(request, stream, Ok(chunk.clone())));
        let error = server.client(AMPLE).export_receipts().unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn an_export_that_changes_its_length_is_refused() {
    let server = Server::start(|request, stream| {
        let Method::ReceiptsExport { offset } = request.method else {
            panic!("not an export")
        };
        let chunk = ReceiptsChunk {
            schema: SCHEMA,
            generation: 1,
            offset,
            total_bytes: 100 + offset,
            data: HexBytes::from(vec![0; 10]),
        };
        respond(request, stream, Ok(chunk));
    });

    let error = server.client(AMPLE).export_receipts().unwrap_err();

    assert!(error.to_string().contains("longer or shorter"), "{error}");
}

#[test]
fn carried_receipts_are_fetched_like_an_export() {
    let owner = NodeId::new([7; 32]);
    let server = Server::start(move |request, stream| {
        let Method::ReceiptsExportCarried { owner: of, offset } = request.method else {
            panic!("not an export of what is carried")
        };
        assert_eq!(of, owner);
        let log = log_bytes();
        let from = usize::try_from(offset).unwrap();
        let data = log[from..log.len().min(from + 300)].to_vec();
        let chunk = ReceiptsChunk {
            schema: SCHEMA,
            generation: 5,
            offset,
            total_bytes: log.len() as u64,
            data: data.into(),
        };
        respond(request, stream, Ok(chunk));
    });

    assert_eq!(
        server.client(AMPLE).export_carried(owner).unwrap(),
        log_bytes()
    );
}

fn kept() -> Kept {
    Kept {
        owner: NodeId::new([7; 32]),
        receipts: 3,
        outcome: KeptAs::New,
    }
}

/// A server that puts pieces together and says what became of the whole after `check`.
fn import_server(expected: Vec<u8>, check: Duration) -> Server {
    let mut bytes = Vec::new();
    Server::start(move |request, stream| {
        let Method::ReceiptsImport {
            offset,
            total_bytes,
            data,
        } = request.method.clone()
        else {
            panic!("not an import")
        };
        let line = request.to_line();
        assert!(line.len() <= MAX_REQUEST_BYTES, "{} bytes", line.len());
        assert_eq!(offset, bytes.len() as u64);
        assert_eq!(total_bytes, expected.len() as u64);
        bytes.extend(data.into_bytes());
        let is_whole = bytes.len() == expected.len();
        if is_whole {
            assert_eq!(bytes, expected);
            thread::sleep(check);
        }
        let answer = Imported {
            schema: SCHEMA,
            received_bytes: bytes.len() as u64,
            kept: is_whole.then(kept),
        };
        respond(request, stream, Ok(answer));
    })
}

#[test]
fn a_file_is_imported_in_pieces_that_fit_requests() {
    for len in [1, MAX_IMPORT_CHUNK_BYTES, 3 * MAX_IMPORT_CHUNK_BYTES + 1] {
        let file: Vec<u8> = (0..len).map(|n| n.to_le_bytes()[0]).collect();
        let server = import_server(file.clone(), Duration::ZERO);
        let mut client = server.client(AMPLE);
        assert_eq!(
            client.import_receipts(&file, Duration::ZERO).unwrap(),
            kept()
        );
    }
}

#[test]
fn checking_an_imported_file_may_take_longer_than_the_limit() {
    let server = import_server(vec![1; 100], 2 * SHORT);
    let mut client = server.client(SHORT);
    assert_eq!(client.import_receipts(&[1; 100], AMPLE).unwrap(), kept());
}

#[test]
fn a_file_that_the_daemon_never_finds_complete_is_an_error() {
    let server = Server::start(|request, stream| {
        let answer = Imported {
            schema: SCHEMA,
            received_bytes: 1,
            kept: None,
        };
        respond(request, stream, Ok(answer));
    });
    let mut client = server.client(AMPLE);
    let error = client.import_receipts(&[1; 100], AMPLE).unwrap_err();
    assert!(error.to_string().contains("not complete"), "{error}");
}
