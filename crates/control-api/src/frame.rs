//! Bytes to lines.

/// Why a line could not be handed out. The reader goes on with the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The line is longer than the limit.
    #[error("line longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes, without the newline.
        limit: usize,
    },
    /// The line is not UTF-8.
    #[error("line is not UTF-8")]
    NotUtf8,
}

/// Splits a stream of bytes into lines, incrementally.
///
/// Holds at most the limit and the bytes of one [`FrameReader::handle_bytes`], provided that the
/// caller drains [`FrameReader::poll_line`] after each: the rest of a line that is too long is
/// dropped as it comes in.
#[derive(Debug)]
pub struct FrameReader {
    buffer: Vec<u8>,
    /// Where the first line not yet handed out begins in `buffer`.
    start: usize,
    /// Bytes after `start` known to hold no newline, so that each is looked at once.
    scanned: usize,
    limit: usize,
    /// Inside a line already reported as too long.
    discarding: bool,
}

impl FrameReader {
    /// A reader for lines of at most `limit` bytes, the newline not counted.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            limit,
            discarding: false,
        }
    }

    /// Takes in what was read from the socket.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.start = 0;
        let wanted = self.skip_discarded(bytes);
        self.buffer.extend_from_slice(wanted);
    }

    /// The next complete line without its newline, or what is wrong with it.
    pub fn poll_line(&mut self) -> Option<Result<String, FrameError>> {
        let pending = self.buffer.get(self.start..).unwrap_or_default();
        let unscanned = pending.get(self.scanned..).unwrap_or_default();
        let Some(newline) = unscanned.iter().position(|byte| *byte == b'\n') else {
            self.scanned = pending.len();
            return self.give_up_if_too_long();
        };
        let length = self.scanned + newline;
        let line = pending.get(..length).unwrap_or_default().to_vec();
        self.start += length + 1;
        self.scanned = 0;
        if length > self.limit {
            return Some(Err(FrameError::TooLong { limit: self.limit }));
        }
        Some(String::from_utf8(line).map_err(|_| FrameError::NotUtf8))
    }

    /// `bytes` without the rest of a line that was too long.
    fn skip_discarded<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if !self.discarding {
            return bytes;
        }
        let Some(newline) = bytes.iter().position(|byte| *byte == b'\n') else {
            return &[];
        };
        self.discarding = false;
        bytes.get(newline + 1..).unwrap_or_default()
    }

    fn give_up_if_too_long(&mut self) -> Option<Result<String, FrameError>> {
        if self.scanned <= self.limit {
            return None;
        }
        self.buffer.clear();
        self.start = 0;
        self.scanned = 0;
        self.discarding = true;
        Some(Err(FrameError::TooLong { limit: self.limit }))
    }
}
