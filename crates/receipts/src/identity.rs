//! Who: parties and networks; and the hash that names an offer or a receipt.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

/// One side of an account: an Ed25519 public key, 32 bytes as in RFC 8032.
///
/// Any 32 bytes can be a `Party`; bytes that are no point of the curve, or a point of small order,
/// have no valid signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Party([u8; 32]);

/// A signature does not match, or the key is not one that can sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bad signature")]
pub struct BadSignature;

impl Party {
    /// The party whose public key these bytes are.
    pub const fn new(public_key: [u8; 32]) -> Self {
        Self(public_key)
    }

    /// The party that signs with `key`.
    pub fn of(key: &SigningKey) -> Self {
        Self(key.verifying_key().to_bytes())
    }

    /// The public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks that this party signed `message`.
    ///
    /// # Errors
    /// [`BadSignature`] by the rules of `verify_strict`: canonical encodings, no small-order points.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), BadSignature> {
        verify(&self.key()?, message, signature)
    }

    /// The point of the key. To find it takes a tenth of checking a signature, so whoever checks many keeps it.
    pub(crate) fn key(&self) -> Result<VerifyingKey, BadSignature> {
        VerifyingKey::from_bytes(&self.0).map_err(|_| BadSignature)
    }
}

pub(crate) fn verify(
    key: &VerifyingKey,
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), BadSignature> {
    key.verify_strict(message, &Signature::from_bytes(signature))
        .map_err(|_| BadSignature)
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Party({self})")
    }
}

pub(crate) fn sign(key: &SigningKey, message: &[u8]) -> [u8; 64] {
    key.sign(message).to_bytes()
}

/// The mesh a signature was given in, so that it is worth nothing in another.
///
/// 16 bytes: whoever names a network gains nothing from two names with one id, so resistance to
/// second preimages is enough.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId([u8; 16]);

impl NetworkId {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// The network with this id.
    pub const fn new(id: [u8; 16]) -> Self {
        Self(id)
    }

    /// The id of a network by its name: the first 16 bytes of SHA-256 over
    /// `"meshd receipts network\0"` and the name in UTF-8.
    pub fn from_name(name: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(b"meshd receipts network\0")
            .chain_update(name)
            .finalize();
        Self(leading(&digest.into()))
    }

    /// The id.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetworkId({self})")
    }
}

/// Names the content of an offer or a receipt: the first 28 bytes of SHA-256 over the signed bytes.
///
/// 28 bytes, because two such hashes, both parties and all figures then fill 256 bytes exactly; the
/// resistance to collisions (112 bits) stays above what the signatures need.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash([u8; 28]);

impl ContentHash {
    /// Length in bytes.
    pub const LEN: usize = 28;

    /// Stands in a receipt for the predecessor that the first one of an epoch does not have.
    pub const NONE: Self = Self([0; 28]);

    /// A hash that somebody sent.
    pub const fn new(hash: [u8; 28]) -> Self {
        Self(hash)
    }

    /// The hash of `content`.
    pub(crate) fn of(content: &[u8]) -> Self {
        Self(leading(&Sha256::digest(content).into()))
    }

    /// The hash.
    pub const fn as_bytes(&self) -> &[u8; 28] {
        &self.0
    }

    /// Its first 8 bytes: enough to tell apart what two neighbors both know.
    pub fn short(&self) -> [u8; 8] {
        let mut out = [0; 8];
        for (to, from) in out.iter_mut().zip(self.0) {
            *to = from;
        }
        out
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

fn leading<const N: usize>(digest: &[u8; 32]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(digest) {
        *to = *from;
    }
    out
}
