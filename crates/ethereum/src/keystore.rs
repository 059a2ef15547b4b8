//! Private keys in files: Web3 Secret Storage, version 3, which geth, MetaMask and most others read and write.
//!
//! A passphrase becomes a key of AES, slowly: with scrypt, or with PBKDF2 in files of others. Keccak over what is
//! encrypted tells a wrong passphrase. The address is in the file in plain text, so that whoever has it
//! can see which account it is for; it is believed only after the key was read.

mod form;

use aes::Aes128;
use aes::cipher::{KeyIvInit, StreamCipher};
use alloy_primitives::{Address, B256, keccak256};
use ctr::Ctr128BE;
use hmac::Hmac;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::key::PrivateKey;

/// Geth's files take 256 MiB and 3 KiB, and with a larger p a few KiB more.
const MOST_MEMORY_BYTES: u64 = 257 << 20;

/// Eight times the work of geth's files: most of a minute on a router.
const MOST_WORK: u64 = 8 * (1 << 18) * 8;

/// About the same in rounds of PBKDF2. Files of others have 262144.
const MOST_ROUNDS: u32 = 1 << 24;

/// How much work a guess of the passphrase is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// As geth has it: 256 MiB of memory, and about a second.
    Standard,
    /// Geth's other choice, for machines that have little: 4 MiB of memory, and a tenth of the work. Whoever has the
    /// file tries passphrases more than ten times as fast, so that it needs a better one.
    Light,
}

/// A file that holds one private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keystore {
    address: Option<Address>,
    id: String,
    kdf: Kdf,
    iv: [u8; 16],
    ciphertext: [u8; 32],
    mac: B256,
}

/// How a passphrase becomes a key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kdf {
    Scrypt { params: ScryptParams, salt: Vec<u8> },
    Pbkdf2 { rounds: u32, salt: Vec<u8> },
}

/// n is 2 to the power of `log_n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ScryptParams {
    log_n: u8,
    r: u32,
    p: u32,
}

/// Why there is no key.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum KeystoreError {
    /// It is not JSON, or has not the form of such a file.
    #[error("no keystore file: {0}")]
    Form(String),
    /// Another version.
    #[error("a keystore file of version {0}; known is 3")]
    Version(u64),
    /// Something is in another form than geth and MetaMask write.
    #[error("keystore file: {0}")]
    Unknown(&'static str),
    /// Whoever made the file wants more than any honest one.
    #[error("keystore file: its {0} would take more than a minute")]
    TooExpensive(&'static str),
    /// The same, in MiB.
    #[error("keystore file: its scrypt would take {0} MiB of memory, and 257 are the most")]
    TooMuchMemory(u64),
    /// The passphrase is wrong, or the file is damaged: nobody can tell.
    #[error("wrong passphrase, or the file is damaged")]
    WrongPassphrase,
    /// The passphrase fits, and what it opens is not what the file says.
    #[error("the file says it is of another address than its key has")]
    OtherAddress,
    /// The operating system has no randomness.
    #[error("no randomness: {0}")]
    Randomness(String),
}

impl Strength {
    const fn params(self) -> ScryptParams {
        match self {
            Self::Standard => ScryptParams {
                log_n: 18,
                r: 8,
                p: 1,
            },
            Self::Light => ScryptParams {
                log_n: 12,
                r: 8,
                p: 6,
            },
        }
    }

    /// The memory that it takes to write and to open such a file.
    #[must_use]
    pub fn memory_bytes(self) -> u64 {
        self.params().memory_bytes()
    }
}

impl Keystore {
    /// Encrypts a key.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub fn encrypt(
        key: &PrivateKey,
        passphrase: &[u8],
        strength: Strength,
    ) -> Result<Self, KeystoreError> {
        let salt: [u8; 32] = random()?;
        let kdf = Kdf::Scrypt {
            params: strength.params(),
            salt: salt.to_vec(),
        };
        let iv = random()?;
        let derived = kdf.derive(passphrase)?;
        let mut ciphertext = *key.to_bytes();
        derived.apply(&iv, &mut ciphertext);
        Ok(Self {
            address: Some(key.address()),
            id: uuid(random()?),
            mac: derived.mac(&ciphertext),
            kdf,
            iv,
            ciphertext,
        })
    }

    /// The key.
    ///
    /// # Errors
    /// The passphrase does not fit, or the key is of another address than the file says.
    pub fn decrypt(&self, passphrase: &[u8]) -> Result<PrivateKey, KeystoreError> {
        let derived = self.kdf.derive(passphrase)?;
        let mac = derived.mac(&self.ciphertext);
        if !bool::from(mac.ct_eq(self.mac.as_slice())) {
            return Err(KeystoreError::WrongPassphrase);
        }
        let mut secret = Zeroizing::new(self.ciphertext);
        derived.apply(&self.iv, &mut secret);
        let key = PrivateKey::from_bytes(&secret);
        let key = key.map_err(|_| KeystoreError::Unknown("what it holds is no private key"))?;
        if self.address.is_some_and(|address| address != key.address()) {
            return Err(KeystoreError::OtherAddress);
        }
        Ok(key)
    }

    /// Whose key it is, as the file says.
    #[must_use]
    pub const fn address(&self) -> Option<Address> {
        self.address
    }

    /// The memory that it takes to open it.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        match &self.kdf {
            Kdf::Scrypt { params, .. } => params.memory_bytes(),
            Kdf::Pbkdf2 { .. } => 0,
        }
    }
}

impl ScryptParams {
    /// # Errors
    /// No honest file has these.
    fn new(n: u64, r: u32, p: u32) -> Result<Self, KeystoreError> {
        if !n.is_power_of_two() || n < 2 || r == 0 || p == 0 {
            return Err(KeystoreError::Unknown("scrypt: n, r or p is none"));
        }
        let log_n = n.trailing_zeros();
        let params = Self {
            log_n: u8::try_from(log_n).unwrap_or(u8::MAX),
            r,
            p,
        };
        if params.memory_bytes() > MOST_MEMORY_BYTES {
            let mib = params.memory_bytes().div_ceil(1 << 20);
            return Err(KeystoreError::TooMuchMemory(mib));
        }
        // Within that memory, none of these products leaves its range.
        let work = n.saturating_mul(r.into()).saturating_mul(p.into());
        match work <= MOST_WORK {
            true => Ok(params),
            false => Err(KeystoreError::TooExpensive("scrypt")),
        }
    }

    const fn n(self) -> u64 {
        1 << self.log_n
    }

    /// A block of 128 r bytes for each of n and of p, and two to work in (RFC 7914, section 6).
    fn memory_bytes(self) -> u64 {
        let block = u64::from(self.r).saturating_mul(128);
        let blocks = self.n().saturating_add(u64::from(self.p) + 2);
        block.saturating_mul(blocks)
    }
}

impl Kdf {
    fn derive(&self, passphrase: &[u8]) -> Result<Derived, KeystoreError> {
        let mut derived = Derived(Zeroizing::new([0; 32]));
        let out = derived.0.as_mut_slice();
        match self {
            Self::Scrypt { params, salt } => {
                let invalid = |()| KeystoreError::Unknown("scrypt: parameters");
                let params = scrypt::Params::new(params.log_n, params.r, params.p);
                let params = params.map_err(|_| invalid(()))?;
                scrypt::scrypt(passphrase, salt, &params, out).map_err(|_| invalid(()))?;
            }
            Self::Pbkdf2 { rounds, salt } => {
                let done = pbkdf2::pbkdf2::<Hmac<Sha256>>(passphrase, salt, *rounds, out);
                done.map_err(|_| KeystoreError::Unknown("pbkdf2: parameters"))?;
            }
        }
        Ok(derived)
    }
}

/// The first half encrypts, the second authenticates.
struct Derived(Zeroizing<[u8; 32]>);

impl Derived {
    fn apply(&self, iv: &[u8; 16], bytes: &mut [u8; 32]) {
        let [key, _] = self.halves();
        Ctr128BE::<Aes128>::new((&*key).into(), iv.into()).apply_keystream(bytes);
    }

    fn mac(&self, ciphertext: &[u8; 32]) -> B256 {
        let mut text = Zeroizing::new([0; 48]);
        let [_, key] = self.halves();
        let bytes = key.iter().chain(ciphertext);
        text.iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        keccak256(text.as_slice())
    }

    fn halves(&self) -> [Zeroizing<[u8; 16]>; 2] {
        let (first, second) = self.0.split_at(16);
        [first, second].map(|half| {
            let mut copy = Zeroizing::new([0; 16]);
            copy.copy_from_slice(half);
            copy
        })
    }
}

fn random<const N: usize>() -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0; N];
    let filled = getrandom::fill(&mut bytes);
    filled.map_err(|error| KeystoreError::Randomness(error.to_string()))?;
    Ok(bytes)
}

/// A random one (RFC 9562, version 4). Nobody uses it; geth wants one.
fn uuid(random: [u8; 16]) -> String {
    let bits = u128::from_be_bytes(random);
    let bits = bits & !(0xf << 76) | (4 << 76);
    let bits = bits & !(0b11 << 62) | (0b10 << 62);
    let digits = format!("{bits:032x}");
    let (a, rest) = digits.split_at(8);
    let (b, rest) = rest.split_at(4);
    let (c, rest) = rest.split_at(4);
    let (d, e) = rest.split_at(4);
    [a, b, c, d, e].join("-")
}

#[cfg(test)]
mod tests;
