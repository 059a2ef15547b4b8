//! The file, as it is written.

use alloy_primitives::{Address, hex};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Kdf, Keystore, KeystoreError, MOST_ROUNDS, ScryptParams};

/// Longer ones are nobody's.
const MOST_SALT_BYTES: usize = 1024;

/// What a file is at most. Honest ones have 500 bytes.
const MOST_BYTES: usize = 64 << 10;

#[derive(Deserialize)]
struct Version {
    version: u64,
}

#[derive(Deserialize, Serialize)]
struct Written {
    version: u64,
    #[serde(default)]
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// Some early ones have a capital letter.
    #[serde(alias = "Crypto")]
    crypto: Crypto,
}

#[derive(Deserialize, Serialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    kdf: String,
    kdfparams: Value,
    mac: String,
}

#[derive(Deserialize, Serialize)]
struct CipherParams {
    iv: String,
}

#[derive(Deserialize, Serialize)]
struct WrittenScrypt {
    dklen: u32,
    n: u64,
    p: u32,
    r: u32,
    salt: String,
}

#[derive(Deserialize, Serialize)]
struct WrittenPbkdf2 {
    c: u32,
    dklen: u32,
    prf: String,
    salt: String,
}

impl Keystore {
    /// Reads a file.
    ///
    /// # Errors
    /// It is none, of another version, or wants more time or memory than it may.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeystoreError> {
        if bytes.len() > MOST_BYTES {
            return Err(KeystoreError::Form("too large".to_owned()));
        }
        let Version { version } = serde_json::from_slice(bytes).map_err(form)?;
        if version != 3 {
            return Err(KeystoreError::Version(version));
        }
        let written: Written = serde_json::from_slice(bytes).map_err(form)?;
        written.parse()
    }

    /// The file, which [`Keystore::parse`] reads, and others do.
    ///
    /// # Errors
    /// Never: everything in it has a form in JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let (kdf, kdfparams) = self.kdf.write()?;
        serde_json::to_vec(&Written {
            version: 3,
            id: self.id.clone(),
            address: self.address.map(hex::encode),
            crypto: Crypto {
                cipher: "aes-128-ctr".to_owned(),
                cipherparams: CipherParams {
                    iv: hex::encode(self.iv),
                },
                ciphertext: hex::encode(self.ciphertext),
                kdf: kdf.to_owned(),
                kdfparams,
                mac: hex::encode(self.mac),
            },
        })
    }
}

impl Written {
    fn parse(self) -> Result<Keystore, KeystoreError> {
        if self.crypto.cipher != "aes-128-ctr" {
            return Err(KeystoreError::Unknown("its cipher is not aes-128-ctr"));
        }
        let address = self.address.as_deref().map(array::<20>).transpose();
        Ok(Keystore {
            address: address?.map(Address::from),
            id: self.id,
            kdf: Kdf::parse(&self.crypto.kdf, self.crypto.kdfparams)?,
            iv: array(&self.crypto.cipherparams.iv)?,
            ciphertext: array(&self.crypto.ciphertext)?,
            mac: array::<32>(&self.crypto.mac)?.into(),
        })
    }
}

impl Kdf {
    fn parse(name: &str, parameters: Value) -> Result<Self, KeystoreError> {
        match name {
            "scrypt" => serde_json::from_value(parameters)
                .map_err(form)
                .and_then(WrittenScrypt::parse),
            "pbkdf2" => serde_json::from_value(parameters)
                .map_err(form)
                .and_then(WrittenPbkdf2::parse),
            _ => Err(KeystoreError::Unknown("its kdf is not scrypt or pbkdf2")),
        }
    }

    fn write(&self) -> Result<(&'static str, Value), serde_json::Error> {
        match self {
            Self::Scrypt { params, salt } => {
                let written = WrittenScrypt {
                    dklen: 32,
                    n: params.n(),
                    p: params.p,
                    r: params.r,
                    salt: hex::encode(salt),
                };
                Ok(("scrypt", serde_json::to_value(written)?))
            }
            Self::Pbkdf2 { rounds, salt } => {
                let written = WrittenPbkdf2 {
                    c: *rounds,
                    dklen: 32,
                    prf: "hmac-sha256".to_owned(),
                    salt: hex::encode(salt),
                };
                Ok(("pbkdf2", serde_json::to_value(written)?))
            }
        }
    }
}

impl WrittenScrypt {
    fn parse(self) -> Result<Kdf, KeystoreError> {
        derives_32(self.dklen)?;
        Ok(Kdf::Scrypt {
            params: ScryptParams::new(self.n, self.r, self.p)?,
            salt: salt(&self.salt)?,
        })
    }
}

impl WrittenPbkdf2 {
    fn parse(self) -> Result<Kdf, KeystoreError> {
        derives_32(self.dklen)?;
        if self.prf != "hmac-sha256" {
            return Err(KeystoreError::Unknown("pbkdf2: prf is not hmac-sha256"));
        }
        match self.c {
            0 => Err(KeystoreError::Unknown("pbkdf2: c is 0")),
            rounds if rounds <= MOST_ROUNDS => Ok(Kdf::Pbkdf2 {
                rounds,
                salt: salt(&self.salt)?,
            }),
            _ => Err(KeystoreError::TooExpensive("pbkdf2")),
        }
    }
}

fn derives_32(dklen: u32) -> Result<(), KeystoreError> {
    match dklen {
        32 => Ok(()),
        _ => Err(KeystoreError::Unknown("dklen is not 32")),
    }
}

fn salt(digits: &str) -> Result<Vec<u8>, KeystoreError> {
    let salt = hex::decode(digits).ok();
    let salt = salt.filter(|salt| salt.len() <= MOST_SALT_BYTES);
    salt.ok_or(KeystoreError::Unknown("salt is not hexadecimal"))
}

fn array<const N: usize>(digits: &str) -> Result<[u8; N], KeystoreError> {
    let unknown = KeystoreError::Unknown("iv, ciphertext, mac or address has another length");
    hex::decode_to_array(digits).map_err(|_| unknown)
}

fn form(error: serde_json::Error) -> KeystoreError {
    KeystoreError::Form(error.to_string())
}
