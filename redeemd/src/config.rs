//! The configuration file: parsed into what cannot be wrong, or refused in one line.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy_primitives::Address;
use ethereum::key::PrivateKey;
use ethereum::rpc::NodeUrl;
use receipts::{Amount, NetworkId, Price};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::store::Terms;
use crate::tariff::{Ppm, Tariff};

/// Everything a service is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// `sqlite:FILE` or `postgres://…`.
    pub database: String,
    /// Signs cheques.
    pub key: PrivateKey,
    /// Where the cheque book is.
    pub chain: ChainConfig,
    /// By whose terms, and who gets the fee.
    pub terms: Terms,
    /// How much is too much.
    pub limits: Limits,
}

/// Where the cheque book is.
#[derive(Debug, Clone)]
pub struct ChainConfig {
    /// Who is asked.
    pub rpc: NodeUrl,
    /// The chain.
    pub chain_id: u64,
    /// The contract.
    pub book: Address,
    /// How many blocks below the newest one is final.
    pub confirmations: u64,
    /// How old the newest block may be.
    pub max_block_age: Duration,
}

/// How much is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The longest claim, in bytes.
    pub claim_bytes: usize,
    /// Requests of one client (an IPv4 address or an IPv6 /64) in a minute.
    pub requests_per_minute: u32,
    /// Claims of the log of one node in a minute.
    pub claims_per_minute: u32,
    /// Bytes of claims of one client in a minute: to verify a million takes up to half a second.
    pub claim_bytes_per_minute: u32,
    /// Accounts that are not known as payers, and are asked for at the chain for one client, in a minute.
    pub strangers_per_minute: u32,
    /// How long a request may take, from its head to the answer.
    pub request_seconds: u32,
    /// Connections at the same time.
    pub connections: usize,
    /// Of these, of one client, unless there is a proxy.
    pub client_connections: usize,
    /// Bytes of claims in memory at the same time; as many as one claim may have at least.
    pub claims_in_memory_bytes: usize,
    /// The client is the last address in `X-Forwarded-For`, which a proxy in front of this service sets.
    pub behind_proxy: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            claim_bytes: redeem_api::CLAIM_BYTES,
            requests_per_minute: 600,
            claims_per_minute: 120,
            claim_bytes_per_minute: 64 << 20,
            strangers_per_minute: 1000,
            request_seconds: 60,
            connections: 512,
            client_connections: 16,
            claims_in_memory_bytes: 128 << 20,
            behind_proxy: false,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The configuration cannot be read.
    #[error("{}: {error}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is no YAML, or has other keys than it should.
    #[error("{0}")]
    Form(String),
    /// A value is wrong.
    #[error("{key}: {reason}")]
    Value {
        /// Of which key.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

const SETTLEMENT_KEY: &str = "settlement_key";

/// The longest key of a configuration that is shown if it is wrong.
const NAME_LENGTH: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    listen: SocketAddr,
    database: Option<String>,
    database_file: Option<PathBuf>,
    settlement_key: PathBuf,
    chain: WrittenChain,
    fee_account: String,
    #[serde(default)]
    takes_over: bool,
    tariffs: Vec<WrittenTariff>,
    #[serde(default)]
    limits: Limits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenChain {
    rpc: Option<String>,
    rpc_file: Option<PathBuf>,
    chain_id: u64,
    book: String,
    #[serde(default = "confirmations")]
    confirmations: u64,
    #[serde(default = "max_block_age_seconds")]
    max_block_age_seconds: u64,
}

/// About two and a half minutes on the main chain.
const fn confirmations() -> u64 {
    12
}

/// Many blocks, and little of the three days that payers have to wait.
const fn max_block_age_seconds() -> u64 {
    15 * 60
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTariff {
    network: Option<String>,
    #[serde(default = "any_price")]
    maximum_price: u64,
    #[serde(default = "minimum_amount")]
    minimum_amount: u64,
    #[serde(default)]
    fee_ppm: u32,
    #[serde(default)]
    bonus_per_second: u64,
    #[serde(default)]
    bonus_share_ppm: u32,
}

const fn any_price() -> u64 {
    u64::MAX
}

/// A millionth of an SMT.
const fn minimum_amount() -> u64 {
    1_000_000_000_000
}

impl Config {
    /// Reads a configuration, and the key it names.
    ///
    /// # Errors
    /// [`ConfigError`]; no secret is in it.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(file).map_err(|error| unreadable(file, error))?;
        let written: Written =
            serde_yaml::from_str(&text).map_err(|error| form(&error.to_string()))?;
        let rpc = one_of("chain.rpc", written.chain.rpc, written.chain.rpc_file)?;
        let chain = ChainConfig {
            rpc: rpc.parse().map_err(|error| wrong("chain.rpc", error))?,
            chain_id: written.chain.chain_id,
            book: account("chain.book", &written.chain.book)?,
            confirmations: written.chain.confirmations,
            max_block_age: Duration::from_secs(written.chain.max_block_age_seconds),
        };
        let terms = Terms {
            fee_account: account("fee_account", &written.fee_account)?,
            takes_over: written.takes_over,
            ..terms(written.tariffs)?
        };
        Ok(Self {
            listen: written.listen,
            database: one_of("database", written.database, written.database_file)?,
            key: read_key(&written.settlement_key)?,
            chain,
            terms,
            limits: written.limits,
        })
    }
}

fn terms(tariffs: Vec<WrittenTariff>) -> Result<Terms, ConfigError> {
    let mut terms = Terms {
        tariffs: BTreeMap::new(),
        others: None,
        fee_account: Address::ZERO,
        takes_over: false,
    };
    for written in tariffs {
        let tariff = tariff(&written)?;
        let known = match &written.network {
            Some(name) => terms.tariffs.insert(NetworkId::from_name(name), tariff),
            None => terms.others.replace(tariff),
        };
        if known.is_some() {
            return Err(wrong("tariffs", "two for the same network"));
        }
    }
    if terms.tariffs.is_empty() && terms.others.is_none() {
        return Err(wrong("tariffs", "no network would be settled"));
    }
    Ok(terms)
}

fn tariff(written: &WrittenTariff) -> Result<Tariff, ConfigError> {
    let ppm = |key, parts| {
        let reason = "parts of a million, so 1000000 at most";
        Ppm::new(parts).ok_or_else(|| wrong(key, reason))
    };
    let share = ppm("tariffs.bonus_share_ppm", written.bonus_share_ppm)?;
    if share.is_whole() {
        let reason = "less than 1000000: who pays itself has to lose";
        return Err(wrong("tariffs.bonus_share_ppm", reason));
    }
    Ok(Tariff {
        maximum_price: Price::new(written.maximum_price),
        minimum_amount: Amount::new(written.minimum_amount.into()),
        fee: ppm("tariffs.fee_ppm", written.fee_ppm)?,
        bonus_per_second: written.bonus_per_second,
        bonus_share: share,
    })
}

/// A secret may be in a file of its own, so that the configuration can be shown to others.
fn one_of(
    key: &'static str,
    value: Option<String>,
    file: Option<PathBuf>,
) -> Result<String, ConfigError> {
    match (value, file) {
        (Some(value), None) => Ok(value),
        (None, Some(file)) => {
            let text = fs::read_to_string(&file).map_err(|error| no_file(key, &error))?;
            Ok(text.trim().to_owned())
        }
        _ => Err(wrong(key, "give it, or a file with it, and not both")),
    }
}

fn account(key: &'static str, text: &str) -> Result<Address, ConfigError> {
    let account = ethereum::text::parse_address(text).map_err(|error| wrong(key, error))?;
    match account.is_zero() {
        true => Err(wrong(key, "it is nobody's")),
        false => Ok(account),
    }
}

/// 64 hexadecimal digits, in a file that nobody else can read.
///
/// # Errors
/// [`ConfigError`].
pub fn read_key(file: &Path) -> Result<PrivateKey, ConfigError> {
    let metadata = fs::metadata(file).map_err(|error| no_file(SETTLEMENT_KEY, &error))?;
    if metadata.mode() & 0o077 != 0 && !is_credential(file) {
        return Err(wrong(SETTLEMENT_KEY, "others can read the file; chmod 600"));
    }
    let text = fs::read_to_string(file).map_err(|error| no_file(SETTLEMENT_KEY, &error))?;
    let text = Zeroizing::new(text);
    let mut secret = Zeroizing::new([0; 32]);
    let digits = text.trim();
    let no_key = || wrong(SETTLEMENT_KEY, "the file has no key");
    hex::decode_to_slice(digits, secret.as_mut()).map_err(|_| no_key())?;
    PrivateKey::from_bytes(&secret).map_err(|_| no_key())
}

/// systemd lets the service read its credentials by an access control list, which shows as rights of the group.
fn is_credential(file: &Path) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|directory| file.starts_with(directory))
}

/// Somebody may have written the secret itself where a file with it is expected.
fn no_file(key: &'static str, error: &std::io::Error) -> ConfigError {
    wrong(key, format!("the file cannot be read: {error}"))
}

/// What is wrong with the form, without the values: one of them may be a secret in the wrong place.
fn form(error: &str) -> ConfigError {
    let (before, strings) = error.split_once('"').unwrap_or((error, ""));
    let after = strings.rsplit_once('"');
    let error = after.map_or(before.to_owned(), |(_, after)| format!("{before}…{after}"));
    let is_name = |text: &str| {
        text.len() <= NAME_LENGTH && text.bytes().all(|it| it.is_ascii_lowercase() || it == b'_')
    };
    let parts: Vec<_> = error.split('`').collect();
    // One that is in a value itself: where that ends cannot be told.
    let parts = match parts.len() % 2 {
        0 => vec![before.split('`').next().unwrap_or_default(), "…"],
        _ => parts,
    };
    let shown = parts
        .iter()
        .enumerate()
        .map(|(place, part)| match place % 2 {
            1 if !is_name(part) => "…",
            _ => part,
        });
    ConfigError::Form(shown.collect::<Vec<_>>().join("`"))
}

fn unreadable(file: &Path, error: std::io::Error) -> ConfigError {
    let file = file.to_owned();
    ConfigError::File { file, error }
}

fn wrong(key: &'static str, reason: impl ToString) -> ConfigError {
    let reason = reason.to_string();
    ConfigError::Value { key, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_every_key_and_the_limits_that_are_default() {
        let example = include_str!("../../config/redeemd.yaml");
        let written: Written = serde_yaml::from_str(example).unwrap();
        assert_eq!(written.limits, Limits::default());
        let keys: serde_yaml::Value = serde_yaml::from_str(example).unwrap();
        let keys = keys.get("limits").and_then(serde_yaml::Value::as_mapping);
        assert_eq!(keys.unwrap().len(), 10, "a limit is missing in the example");
        let terms = terms(written.tariffs).unwrap();
        assert!(terms.others.is_some() && terms.tariffs.len() == 1);
    }

    #[test]
    fn no_value_is_in_an_error() {
        let example = include_str!("../../config/redeemd.yaml");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("redeemd.yaml");
        let secret = "5ec2e7".repeat(11).split_off(2);
        let key = "settlement_key: /etc/redeemd/settlement.key";
        let rpc = "rpc: http://127.0.0.1:8545";
        let database = "database: sqlite:/var/lib/redeemd/redeemd.db";
        let url = format!("https://chain.example/v1/{secret}");
        for (line, written, says) in [
            (key, format!("settlement_key: {secret}"), "settlement_key"),
            (key, format!("settlement_key: [{secret}]"), "settlement_key"),
            (key, format!("{secret}: settlement_key"), "unknown field"),
            (key, format!("'`{secret}': {key}"), "unknown field"),
            (rpc, format!("rpc_file: {url}"), "chain.rpc"),
            (rpc, format!("rpc: wss{url}"), "chain.rpc"),
            (rpc, format!("rpc: {url}\n  rpc_url: {url}"), "`rpc_url`"),
            (
                "chain:",
                format!("chain: {url}\nchains:"),
                "chain: invalid type",
            ),
            (
                "chain:",
                format!("chain: '{url}\"'\nchains:"),
                "chain: invalid type",
            ),
            (
                database,
                format!("database_file: postgres://{secret}@a/b"),
                "database",
            ),
        ] {
            fs::write(&file, example.replacen(line, &written, 1)).unwrap();
            let error = Config::read(&file).unwrap_err().to_string();
            assert!(!error.contains(&secret), "{error}");
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_bonus_that_gives_the_whole_fee_back_is_refused() {
        let tariff = "[{fee_ppm: 100, bonus_per_second: 1, bonus_share_ppm: 1000000}]";
        let written = serde_yaml::from_str(tariff).unwrap();
        let refusal = terms(written).unwrap_err().to_string();
        assert!(refusal.contains("who pays itself has to lose"), "{refusal}");
    }
}
