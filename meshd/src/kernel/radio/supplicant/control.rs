//! The control socket of wpa_supplicant (wpa_ctrl.h): one datagram each way, and events in between.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::time::timeout;

/// It answers at once, unless it is in the middle of the arithmetic of a handshake.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// How the names of our sockets begin. No interface's name has a colon.
const CLIENT: &str = "meshd:";
/// The longest message it sends.
const MESSAGE_BYTES: usize = 4096;

/// A connection to it.
pub(super) struct Connection {
    socket: UnixDatagram,
    path: PathBuf,
    /// What it told without being asked.
    pub(super) events: Vec<String>,
}

impl Connection {
    pub(super) async fn open(directory: &Path, interface: &str) -> io::Result<Self> {
        let server = directory.join(interface);
        if !server.exists() {
            return Err(io::ErrorKind::NotFound.into());
        }
        // It answers to a name, and what it still owes an earlier connection is no answer to this.
        static OPENED: AtomicU32 = AtomicU32::new(0);
        remove_connections(directory);
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("{CLIENT}{}-{number}", std::process::id()));
        let socket = UnixDatagram::bind(&path)?;
        let mut connection = Self {
            socket,
            path,
            events: Vec::new(),
        };
        connection.socket.connect(server)?;
        connection.ask("ATTACH").await?;
        Ok(connection)
    }

    pub(super) async fn ask(&mut self, command: &str) -> io::Result<String> {
        let answer = async {
            self.socket.send(command.as_bytes()).await?;
            let mut buffer = vec![0; MESSAGE_BYTES];
            loop {
                let length = self.socket.recv(&mut buffer).await?;
                let message = buffer.get(..length).unwrap_or_default();
                let message = String::from_utf8_lossy(message).into_owned();
                // Events begin with their priority: `<3>`.
                if !message.starts_with('<') {
                    return Ok(message);
                }
                self.events.push(message);
            }
        };
        match timeout(ANSWER_LIMIT, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Removes the sockets of connections that a predecessor left behind.
fn remove_connections(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(CLIENT.as_bytes())
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program in the middle of arithmetic answers when nobody waits any more.
    #[tokio::test(start_paused = true)]
    async fn a_late_answer_is_not_taken_for_that_to_a_later_question() {
        let directory = tempfile::tempdir().unwrap();
        let server = UnixDatagram::bind(directory.path().join("mesh0")).unwrap();
        let serve = async {
            let mut buffer = [0; 64];
            let (_, late) = server.recv_from(&mut buffer).await.unwrap();
            let (_, client) = server.recv_from(&mut buffer).await.unwrap();
            for (answer, to) in [("OK\n", late), ("OK\n", client.clone())] {
                let path = to.as_pathname().unwrap();
                // The first one may have nobody to go to.
                let _ = server.send_to(answer.as_bytes(), path).await;
            }
            let length = server.recv(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], b"PING");
            let path = client.as_pathname().unwrap();
            server.send_to(b"PONG\n", path).await.unwrap();
        };
        let ask = async {
            let first = Connection::open(directory.path(), "mesh0").await;
            assert_eq!(first.err().unwrap().kind(), io::ErrorKind::TimedOut);
            let mut second = Connection::open(directory.path(), "mesh0").await.unwrap();
            assert_eq!(second.ask("PING").await.unwrap(), "PONG\n");
        };
        tokio::join!(serve, ask);
    }
}
