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
//! There are two sockets: one for those who may do everything, and one beside it for those who may only ask.
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
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use control_api::{Answer, ErrorCode, Incoming, Method, RpcError, Session, read_only_socket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use crate::config::{Config, GroupName, ReadOnly};
use crate::events::Events;
pub(crate) use answers::{View, quality, tq_of_link, tunnel_kind};
pub(crate) use doctor::Machine;
pub use doctor::without_daemon;
pub(crate) use receipts::import;

/// Owner and group may use the socket.
const MODE: u32 = 0o660;
/// Everybody may.
const OPEN_MODE: u32 = 0o666;
/// Connections at a time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 32;
/// The same of those who may only ask: whatever they do, there are places for others.
const MAX_ASKING: usize = 16;
/// Of those as many may listen to events.
const MAX_LISTENING: usize = 4;
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

/// What a connection may do.
#[derive(Clone, Debug)]
enum Rights {
    /// Everything.
    All,
    /// Ask; and listen, while there are places.
    Asking(Arc<Semaphore>),
}

/// The open sockets. Dropping them leaves the files, which [`ControlSocket::remove`] removes.
#[derive(Debug)]
pub struct ControlSocket {
    paths: Vec<PathBuf>,
    questions: mpsc::Receiver<Question>,
    asking: mpsc::Sender<Question>,
}

impl ControlSocket {
    /// Opens the sockets in place of those that a predecessor left. The caller makes sure that no other daemon
    /// runs with the same state.
    ///
    /// # Errors
    /// The directory is missing or not writable, something that is no socket is in the way, or meshd may not give
    /// a socket to the group.
    pub fn open(config: &Config, events: &Events) -> io::Result<Self> {
        let path = config.control();
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let (sender, questions) = mpsc::channel(QUEUE);
        let listener = listen(path, MODE, config.control_group())?;
        let places = Semaphore::new(MAX_CONNECTIONS);
        let (questions_of_all, events_of_all) = (sender.clone(), events.clone());
        tokio::spawn(accept(
            listener,
            places,
            Rights::All,
            questions_of_all,
            events_of_all,
        ));
        let mut paths = vec![path.to_owned()];
        let beside = read_only_socket(path);
        let mode = match config.control_read_only() {
            ReadOnly::All => Some(OPEN_MODE),
            ReadOnly::Group(_) => Some(MODE),
            // One may have been left that is not wanted any more.
            ReadOnly::Off => remove_stale(&beside).map(|()| None)?,
        };
        if let Some(mode) = mode {
            let listener = listen(&beside, mode, config.control_read_only().group())?;
            let places = Semaphore::new(MAX_ASKING);
            let rights = Rights::Asking(Arc::new(Semaphore::new(MAX_LISTENING)));
            let sender = sender.clone();
            tokio::spawn(accept(listener, places, rights, sender, events.clone()));
            paths.push(beside);
        }
        Ok(Self {
            paths,
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

    /// Removes the sockets' files.
    pub fn remove(self) {
        for path in self.paths {
            if let Err(error) = fs::remove_file(&path) {
                debug!(%error, path = %path.display(), "control socket not removed");
            }
        }
    }
}

/// A socket in place of one that was left. Until it has its group nobody else may use it.
fn listen(path: &Path, mode: u32, group: Option<&GroupName>) -> io::Result<UnixListener> {
    remove_stale(path)?;
    let listener = UnixListener::bind(path)?;
    if let Some(group) = group {
        let gid = group.gid().ok_or(io::ErrorKind::NotFound)?;
        chown(path, None, Some(gid.as_raw()))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(listener)
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

async fn accept(
    listener: UnixListener,
    places: Semaphore,
    rights: Rights,
    questions: mpsc::Sender<Question>,
    events: Events,
) {
    /// Out of file descriptors, most likely: try again when some are free.
    const RETRY: Duration = Duration::from_millis(100);
    let places = Arc::new(places);
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (questions, events) = (questions.clone(), events.clone());
                let rights = rights.clone();
                tokio::spawn(async move {
                    serve(stream, rights, questions, events).await;
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

async fn serve(
    mut stream: UnixStream,
    rights: Rights,
    questions: mpsc::Sender<Question>,
    events: Events,
) {
    let mut session = Session::new();
    let mut buffer = [0; 4096];
    let mut deadline = Instant::now() + PATIENCE;
    loop {
        let read = timeout_at(deadline, stream.read(&mut buffer)).await;
        let Ok(Ok(len @ 1..)) = read else { return };
        session.handle_bytes(buffer.get(..len).unwrap_or_default());
        while let Some(incoming) = session.poll_incoming() {
            let Some(incoming) = rights.admit(incoming) else {
                continue;
            };
            let incoming = match monitor::serve(&mut stream, incoming, &events, &rights).await {
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

impl Rights {
    /// What is answered; in place of what may not be asked the refusal, if one is wanted.
    fn admit(&self, incoming: Incoming) -> Option<Incoming> {
        let call = match (self, incoming) {
            (Self::Asking(_), Incoming::Call(call)) if !call.method.is_read_only() => call,
            (Self::Asking(_) | Self::All, admitted) => return Some(admitted),
        };
        let message = format!(
            "{} has effects, and this socket is for questions only: be root or a member of the group of the other one",
            call.method.name()
        );
        let refusal = RpcError::new(ErrorCode::Permission, message);
        call.answer(Err(refusal)).map(Incoming::Reject)
    }

    /// A place to listen to events; `None` when there is none.
    fn listening(&self) -> Option<Listening> {
        match self {
            Self::All => Some(Listening(None)),
            Self::Asking(places) => {
                let place = Arc::clone(places).try_acquire_owned().ok()?;
                Some(Listening(Some(place)))
            }
        }
    }
}

/// Held by who listens.
struct Listening(
    #[expect(dead_code, reason = "dropping it is what it is for")] Option<OwnedSemaphorePermit>,
);

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
