//! A request to measure what the way to a node carries, and the answer to it.
//!
//! ```text
//! request: 0       16          17        18       answer: 0       16        17
//!          | token | direction | seconds |                | token | verdict |
//! ```
//! Both travel as data does, as an [`Echo`](super::Echo) and its reply do. The measurement itself is no part of
//! this protocol: whoever accepts listens for a connection that says the token.

use super::{ParseError, reader::Reader};

/// The longest measurement, in seconds.
pub const MAX_SECONDS: u8 = 30;

/// What a measurement is known by. Fresh and random: who does not know it cannot take part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token([u8; Self::LEN]);

impl Token {
    /// In bytes.
    pub const LEN: usize = 16;

    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// It is a secret of two nodes while it counts.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// Who sends, as the one who asks sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the one who asks.
    Up,
    /// To the one who asks.
    Down,
}

/// "Let us measure what there is between us."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThroughputRequest {
    /// What the answer must repeat, and the connection must say.
    pub token: Token,
    /// Who is to send.
    pub direction: Direction,
    /// For how long, 1 to [`MAX_SECONDS`].
    pub seconds: u8,
}

/// "Come", or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThroughputAnswer {
    /// The request's.
    pub token: Token,
    /// Whether it may begin.
    pub verdict: Verdict,
}

/// Whether a measurement may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A connection that says the token is waited for.
    Accepted,
    /// This node takes part in none.
    Refused,
    /// It takes part in another one.
    Busy,
    /// There were as many lately as there may be.
    TooMany,
    /// It cannot listen.
    Failed,
}

impl Direction {
    const UP: u8 = 0;
    const DOWN: u8 = 1;
}

impl Verdict {
    const ACCEPTED: u8 = 0;
    const REFUSED: u8 = 1;
    const BUSY: u8 = 2;
    const TOO_MANY: u8 = 3;
    const FAILED: u8 = 4;
}

impl ThroughputRequest {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let token = Token(reader.array()?);
        let direction = match reader.u8()? {
            Direction::UP => Direction::Up,
            Direction::DOWN => Direction::Down,
            _ => return Err(ParseError::Malformed),
        };
        let seconds = reader.u8()?;
        if !(1..=MAX_SECONDS).contains(&seconds) {
            return Err(ParseError::Malformed);
        }
        Ok(Self {
            token,
            direction,
            seconds,
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.token.as_bytes());
        out.push(match self.direction {
            Direction::Up => Direction::UP,
            Direction::Down => Direction::DOWN,
        });
        out.push(self.seconds);
    }
}

impl ThroughputAnswer {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            token: Token(reader.array()?),
            verdict: match reader.u8()? {
                Verdict::ACCEPTED => Verdict::Accepted,
                Verdict::REFUSED => Verdict::Refused,
                Verdict::BUSY => Verdict::Busy,
                Verdict::TOO_MANY => Verdict::TooMany,
                Verdict::FAILED => Verdict::Failed,
                _ => return Err(ParseError::Malformed),
            },
        })
    }

    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.token.as_bytes());
        out.push(match self.verdict {
            Verdict::Accepted => Verdict::ACCEPTED,
            Verdict::Refused => Verdict::REFUSED,
            Verdict::Busy => Verdict::BUSY,
            Verdict::TooMany => Verdict::TOO_MANY,
            Verdict::Failed => Verdict::FAILED,
        });
    }
}
