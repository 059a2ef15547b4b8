//! What others pay for what this node carries, and how it treats those who do not.

use std::net::IpAddr;

use mesh_proto::Price;

use super::document::Node;
use super::error::quoted;
use super::fields::{Fields, Value, scalar};
use super::path::Fault;
use super::values::{Credit, Rate};

pub(super) const KEYS: &[&str] = &[
    "fee",
    "credit",
    "stranger_credit",
    "free_rate",
    "settlement",
    "throughput_tests",
];

/// More than any settlement service has.
const MAX_ADDRESSES: usize = 16;

/// The terms of sharing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharing {
    fee: Price,
    credit_bytes: u64,
    stranger_credit_bytes: u64,
    free_bps: u64,
    settlement: Vec<IpAddr>,
    throughput_tests: bool,
}

impl Sharing {
    /// What this node takes for carrying to and from the Internet.
    pub const fn fee(&self) -> Price {
        self.fee
    }

    /// How many bytes a neighbor may leave unpaid.
    pub const fn credit_bytes(&self) -> u64 {
        self.credit_bytes
    }

    /// How many bytes a neighbor may leave unpaid that has never paid.
    pub const fn stranger_credit_bytes(&self) -> u64 {
        self.stranger_credit_bytes
    }

    /// What a neighbor gets that has used up its credit, in bit/s and each direction.
    pub const fn free_bps(&self) -> u64 {
        self.free_bps
    }

    /// Where receipts are redeemed: what local networks always reach.
    pub fn settlement(&self) -> &[IpAddr] {
        &self.settlement
    }

    /// Whether other nodes may measure what the way to this one carries.
    pub const fn throughput_tests(&self) -> bool {
        self.throughput_tests
    }

    pub(super) fn read(root: &Fields<'_>) -> Result<Self, Fault> {
        let node = root.node("sharing").unwrap_or(&Node::Null);
        let fields = Fields::of(node, root.path_of("sharing"), KEYS)?;
        let credit = |key, default| Ok(fields.optional::<Credit>(key)?.unwrap_or(default).0);
        let settlement = fields
            .list("settlement", MAX_ADDRESSES, "a list of addresses")?
            .into_iter()
            .map(|(path, node)| scalar(node, path));
        Ok(Self {
            fee: fields.optional("fee")?.unwrap_or(Price::FREE),
            credit_bytes: credit("credit", Credit::DEFAULT)?,
            stranger_credit_bytes: credit("stranger_credit", Credit::STRANGERS)?,
            free_bps: fields.optional("free_rate")?.unwrap_or(Rate::FREE).0,
            settlement: settlement.collect::<Result<_, _>>()?,
            throughput_tests: fields
                .optional("throughput_tests")?
                .is_none_or(|Tests(allowed)| allowed),
        })
    }
}

/// Whether they are allowed.
struct Tests(bool);

impl Value for Tests {
    const ALLOWED: &'static str = "allowed or refused";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "allowed" => Ok(Self(true)),
            "refused" => Ok(Self(false)),
            _ => Err(format!("is {}", quoted(text))),
        }
    }
}

impl Value for IpAddr {
    const ALLOWED: &'static str = "an address of IPv4 or IPv6";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("is {}", quoted(text)))
    }
}
