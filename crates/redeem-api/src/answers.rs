//! What the service answers.

use alloy_primitives::Address;
use control_api::{AttoSmt, NodeId};
use serde::{Deserialize, Serialize};

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClaimAnswer {
    /// Version of this answer.
    pub schema: u32,
    /// Receipts that were not known, or worth more than what was.
    pub new: u64,
    /// Receipts that add nothing: they have been redeemed before.
    pub known: u64,
    /// By who owes whom.
    pub pairs: Vec<PairAnswer>,
}

/// What is between two nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PairAnswer {
    /// The mesh: 32 hexadecimal digits.
    pub network: String,
    /// Who earns.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub provider: NodeId,
    /// Who pays.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub consumer: NodeId,
    /// What the consumer has signed for, as far as it was brought here.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub claimed_atto: AttoSmt,
    /// What of it is in cheques.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub settled_atto: AttoSmt,
    /// What becomes of the rest.
    pub state: PairState,
    /// Of a claim: receipts, and proofs that the consumer contradicts itself, that were not taken. Receipts are too
    /// dear; a proof is kept with a receipt of the same pair.
    #[serde(default)]
    pub refused: u64,
}

impl PairAnswer {
    /// Whether the service remembers everything, so that nothing needs to be brought again.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.state.is_kept() && self.refused == 0
    }
}

/// Whether everything is settled, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PairState {
    /// Nothing is left.
    Settled,
    /// The rest follows by itself: it is kept.
    Pending,
    /// Kept until the payer has deposited more, or takes nothing back any more.
    DepositUsedUp,
    /// Kept until cheques on the payer are cashed: no more is signed than its allowance lets be cashed in time.
    AllowanceUsedUp,
    /// Kept until cheques on the payer are cashed: there are too many that are not.
    TooManyCheques,
    /// Kept until the payer names this service again.
    PayerLeft,
    /// Not taken: the consumer has no account here. Keep it, and bring it again.
    ConsumerUnknown,
    /// Not taken: the provider has no account here. Register it, and bring it again.
    ProviderUnknown,
    /// Not taken: the consumer's account has no deposit that this service may draw on.
    NoDeposit,
    /// Not taken: whether there is a deposit cannot be told now. Bring it again.
    ChainUnreachable,
    /// Not taken: this network is not settled here.
    NetworkUnknown,
    /// Not taken: dearer than this service settles.
    TooDear,
    /// Not taken: too many receipts of this payer are not settled. Bring it again when it has deposited more, or its
    /// cheques have been cashed.
    TooMuchUnsettled,
    /// Nothing to settle: it was free, or for less than is settled here.
    Free,
}

impl PairState {
    /// Whether the service remembers the receipts that it has taken.
    #[must_use]
    pub const fn is_kept(self) -> bool {
        match self {
            Self::Settled
            | Self::Pending
            | Self::DepositUsedUp
            | Self::AllowanceUsedUp
            | Self::TooManyCheques
            | Self::PayerLeft
            | Self::Free => true,
            Self::ConsumerUnknown
            | Self::ProviderUnknown
            | Self::NoDeposit
            | Self::ChainUnreachable
            | Self::NetworkUnknown
            | Self::TooDear
            | Self::TooMuchUnsettled => false,
        }
    }
}

/// A registration counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegistrationAnswer {
    /// Version of this answer.
    pub schema: u32,
    /// The node.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub node: NodeId,
    /// Its account.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub account: Address,
    /// The number of the registration.
    pub sequence: u64,
}

/// A node, as the service knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeAnswer {
    /// Version of this answer.
    pub schema: u32,
    /// Which node.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub node: NodeId,
    /// Its account.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub account: Option<Address>,
    /// The number of the registration that says so: the next one needs a higher one.
    pub sequence: Option<u64>,
    /// Where it is the provider. At most 1000.
    pub earned: Vec<PairAnswer>,
    /// Where it is the consumer. At most 1000.
    pub owed: Vec<PairAnswer>,
}

/// What somebody has to know who wants to deal with this service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceAnswer {
    /// Version of this answer.
    pub schema: u32,
    /// The chain.
    pub chain_id: u64,
    /// The cheque book.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub book: Address,
    /// What payers name in the cheque book.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub settlement_key: Address,
    /// The most bytes of one claim.
    pub claim_bytes: u64,
    /// The terms.
    pub tariffs: Vec<TariffAnswer>,
}

/// The terms of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TariffAnswer {
    /// 32 hexadecimal digits; none: all others.
    pub network: Option<String>,
    /// Dearer bytes are not settled, in 10⁻¹⁸ SMT per MiB.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub maximum_price_atto_per_mib: AttoSmt,
    /// Receipts for less are not settled, in 10⁻¹⁸ SMT.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub minimum_atto: AttoSmt,
    /// The service's part, in millionths.
    pub fee_ppm: u32,
    /// What a second of service gets back from the fee.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub bonus_atto_per_second: AttoSmt,
    /// The most of a fee that is given back, in millionths of it.
    pub bonus_share_ppm: u32,
}
