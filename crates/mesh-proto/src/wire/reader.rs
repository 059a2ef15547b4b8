//! A cursor over untrusted bytes: every access is checked, nothing panics.

use super::ParseError;
use crate::{OriginatorId, SeqNo};

/// Takes values off the front of a byte slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether everything was taken.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been taken yet; takes it.
    pub const fn take_rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        rest
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] if there are fewer.
    pub const fn take(&mut self, len: usize) -> Result<&'a [u8], ParseError> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(ParseError::Truncated);
        };
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] if there are fewer.
    pub const fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let Some((taken, rest)) = self.rest.split_first_chunk() else {
            return Err(ParseError::Truncated);
        };
        self.rest = rest;
        Ok(*taken)
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] at the end, here and for the integers below.
    pub fn u8(&mut self) -> Result<u8, ParseError> {
        self.array().map(u8::from_be_bytes)
    }

    /// The next 16-bit integer.
    ///
    /// # Errors
    /// See [`Reader::u8`].
    pub fn u16(&mut self) -> Result<u16, ParseError> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next 24-bit integer.
    ///
    /// # Errors
    /// See [`Reader::u8`].
    pub fn u24(&mut self) -> Result<u32, ParseError> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_be_bytes([0, a, b, c]))
    }

    /// The next 32-bit integer.
    ///
    /// # Errors
    /// See [`Reader::u8`].
    pub fn u32(&mut self) -> Result<u32, ParseError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next 64-bit integer.
    ///
    /// # Errors
    /// See [`Reader::u8`].
    pub fn u64(&mut self) -> Result<u64, ParseError> {
        self.array().map(u64::from_be_bytes)
    }

    /// The next originator id.
    ///
    /// # Errors
    /// See [`Reader::u8`].
    pub fn originator_id(&mut self) -> Result<OriginatorId, ParseError> {
        self.array().map(OriginatorId::from_bytes)
    }

    /// The next sequence number.
    ///
    /// # Errors
    /// See [`Reader::u8`].
    pub fn seqno(&mut self) -> Result<SeqNo, ParseError> {
        self.u32().map(SeqNo::new)
    }

    /// Ends reading.
    ///
    /// # Errors
    /// [`ParseError::Malformed`] if bytes are left over.
    pub const fn finish(&self) -> Result<(), ParseError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(ParseError::Malformed)
        }
    }
}
