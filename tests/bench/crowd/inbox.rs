//! How full the router's inbox is.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use mesh_tests::lab::Node;
use mesh_tests::routing_port::PORT;

/// The receive queue of the router's socket. To look at it costs the router nothing, unlike a
/// question on its control socket.
pub(super) struct Inbox {
    sockets: File,
}

impl Inbox {
    /// That of a node's daemon, which need not run yet.
    pub(super) fn of(node: &Node) -> Result<Self> {
        // Once open, it shows the namespace that it was opened in.
        let open = || File::open("/proc/thread-self/net/udp6").context("open /proc/net/udp6");
        let sockets = node.namespace().within(open)?;
        Ok(Self { sockets })
    }

    /// Bytes of memory that packets wait in.
    pub(super) fn queued(&self) -> Result<u64> {
        let queues = self.field(4)?;
        let bytes = queues.split_once(':').map(|(_, received)| received);
        u64::from_str_radix(bytes.unwrap_or_default(), 16).context("a length in /proc/net/udp6")
    }

    /// Packets that found no room.
    pub(super) fn dropped(&self) -> Result<u64> {
        self.field(12)?.parse().context("drops in /proc/net/udp6")
    }

    /// A field of the socket's line, counted from 0.
    fn field(&self, number: usize) -> Result<String> {
        let mut text = [0; 4096];
        let len = self.sockets.read_at(&mut text, 0)?;
        let text = String::from_utf8_lossy(text.get(..len).unwrap_or_default()).into_owned();
        let port = format!(":{PORT:04X} ");
        let line = text.lines().find(|line| line.contains(&port));
        let line = line.context("meshd does not listen: it has ended, or not begun")?;
        let field = line.split_whitespace().nth(number);
        Ok(field.context("a short line in /proc/net/udp6")?.to_owned())
    }
}
