//! The control socket: connections in, questions to the driver, answers out.
//!
//! | room | what lives there |
//! |---|---|
//! | this file | the socket itself: who may connect, how many, how long |
//! | `answers` | the state of the daemon in the words of `control-api` |
//! | `interfaces` | the same for interfaces and radios |
//! | `gateways` | the same for who offers Internet |
//! | `receipts` | the same for who owes whom |
//! | `nodes` | who is meant by a name, an address or the digits of an id |
//! | `monitor` | what happens, told to who listens |
//! | `versions` | nodes that speak another version of the routing protocol |
//! | `doctor` | what is wrong, and what to do about it |
//!
//! Each connection is a small task that knows nothing but bytes and a channel: questions go to
//! the driver one at a time and only the driver's loop touches its state.

mod answers;
mod doctor;
mod gateways;
mod interfaces;
mod map;
mod monitor;
mod nodes;
mod receipts;
mod versions;

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use control_api::{Answer, Incoming, Method, RpcError, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use crate::events::Events;
pub(crate) use answers::{View, quality, tq_of_link, tunnel_kind};
pub(crate) use doctor::Machine;
pub use doctor::without_daemon;
pub(crate) use receipts::import;

/// Owner and group may use the socket.
const MODE: u32 = 0o660;
/// Connections at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 32;
/// Questions that wait for the driver; connections wait when it is full.
const QUEUE: usize = 8;
/// A connection that does not complete a question, or take its answer, for so long is closed: it
/// may be keeping the place of somebody else.
const PATIENCE: Duration = Duration::from_secs(10);

/// A question, and where the answer goes.
#[derive(Debug)]
pub struct Question {
    /// What is asked.
    pub method: Method,
    /// Where the answer goes; whoever asked may be gone.
    pub answer: oneshot::Sender<Result<Answer, RpcError>>,
}

/// The open socket. Dropping it leaves the file, which [`ControlSocket::remove`] removes.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    questions: mpsc::Receiver<Question>,
    asking: mpsc::Sender<Question>,
}

impl ControlSocket {
    /// Opens the socket at `path` with mode 0660, in place of one that a predecessor left. The
    /// caller makes sure that no other daemon runs with the same state.
    ///
    /// # Errors
    /// The directory is missing or not writable, or something that is no socket is in the way.
    pub fn open(path: &Path, events: Events) -> io::Result<Self> {
        remove_stale(path)?;
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
        let (sender, questions) = mpsc::channel(QUEUE);
        tokio::spawn(accept(listener, sender.clone(), events));
        Ok(Self {
            path: path.to_owned(),
            questions,
            asking: sender,
        })
    }

    /// For who asks the same questions another way.
    pub fn asking(&self) -> mpsc::Sender<Question> {
        self.asking.clone()
    }

    /// Waits for the next question.
    pub async fn receive(&mut self) -> Option<Question> {
        self.questions.recv().await
    }

    /// Removes the socket's file.
    pub fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            debug!(%error, path = %self.path.display(), "control socket not removed");
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another daemon answers",
                ));
            }
            fs::remove_file(path)
        }
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is something that is not a socket",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

async fn accept(listener: UnixListener, questions: mpsc::Sender<Question>, events: Events) {
    /// Out of file descriptors, most likely: try again when some are free.
    const RETRY: Duration = Duration::from_millis(100);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (questions, events) = (questions.clone(), events.clone());
                tokio::spawn(async move {
                    serve(stream, questions, events).await;
                    drop(place);
                });
            }
            Err(error) => {
                debug!(%error, "control connection not accepted");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn serve(mut stream: UnixStream, questions: mpsc::Sender<Question>, events: Events) {
    let mut session = Session::new();
    let mut buffer = [0; 4096];
    let mut deadline = Instant::now() + PATIENCE;
    loop {
        let read = timeout_at(deadline, stream.read(&mut buffer)).await;
        let Ok(Ok(len @ 1..)) = read else { return };
        session.handle_bytes(buffer.get(..len).unwrap_or_default());
        while let Some(incoming) = session.poll_incoming() {
            let incoming = match monitor::serve(&mut stream, incoming, &events).await {
                ControlFlow::Continue(incoming) => incoming,
                ControlFlow::Break(()) => return,
            };
            if let Some(line) = respond(incoming, &questions).await {
                let written = timeout(PATIENCE, stream.write_all(&line)).await;
                let Ok(Ok(())) = written else { return };
            }
            deadline = Instant::now() + PATIENCE;
        }
    }
}

async fn respond(incoming: Incoming, questions: &mpsc::Sender<Question>) -> Option<Vec<u8>> {
    let call = match incoming {
        Incoming::Reject(line) => return Some(line),
        Incoming::Call(call) => call,
    };
    let (answer, answered) = oneshot::channel();
    let question = Question {
        method: call.method.clone(),
        answer,
    };
    let outcome = match questions.send(question).await {
        Ok(()) => answered.await.unwrap_or_else(|_| Err(shutting_down())),
        Err(_) => Err(shutting_down()),
    };
    call.answer(outcome)
}

fn shutting_down() -> RpcError {
    RpcError::failed("meshd is shutting down")
}
