//! Reading fixed little-endian fields from bytes that a stranger sent.

/// Why bytes are not what they were taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The input ends before the last field.
    #[error("truncated")]
    Truncated,
    /// Bytes follow the last field.
    #[error("{0} bytes too many")]
    TooLong(usize),
    /// A signed object does not begin with our domain tag.
    #[error("not an object of this protocol")]
    Tag,
    /// The object's kind byte is not the one expected here.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// An offer's seq must be 0, a receipt's must not.
    #[error("seq {0} is not possible here")]
    Seq(u32),
    /// The message has a version we do not speak.
    #[error("unknown message version {0}")]
    Version(u8),
    /// The message has a type we do not know.
    #[error("unknown message type {0}")]
    MessageType(u8),
    /// The refusal has a reason we do not know.
    #[error("unknown refusal reason {0}")]
    Reason(u8),
    /// Two objects that must speak of the same thing do not.
    #[error("parts do not belong together")]
    Mismatched,
}

/// A cursor that cannot run past the end.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let (field, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(ParseError::Truncated)?;
        self.rest = rest;
        Ok(*field)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], ParseError> {
        let (field, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(ParseError::Truncated)?;
        self.rest = rest;
        Ok(field)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ParseError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ParseError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ParseError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Result<u128, ParseError> {
        self.array().map(u128::from_le_bytes)
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// States that everything was read.
    pub(crate) fn finish(self) -> Result<(), ParseError> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(ParseError::TooLong(extra)),
        }
    }
}
