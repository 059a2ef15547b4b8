//! An export of receipts, sorted by who owes whom, and verified as far as it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use receipts::log::{Record, Signatures, VerifyError, verify_without_signatures};
use receipts::{Amount, BadSignature, Equivocation, NetworkId, Offer, Party, Receipt};
use redeem_api::CONSUMERS;
use sha2::{Digest, Sha256};

/// What somebody brings: all figures in it hold, and signatures are checked of what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The network of all of it.
    pub network: NetworkId,
    /// The node whose log it was. Whoever brings it need not be that.
    pub owner: Party,
    /// By provider and consumer, in the order of their ids.
    pub pairs: Vec<PairClaim>,
}

/// What a consumer has signed for a provider, once [`verify_signatures`] has found so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairClaim {
    /// The two, in their network.
    pub pair: Pair,
    /// Of each epoch the newest receipt.
    pub receipts: BTreeMap<u64, SignedEpoch>,
    /// That the consumer signed two receipts for one place.
    pub contradiction: Option<Equivocation>,
    /// Receipts that were left out, for they are too dear.
    pub refused: u64,
    /// What adds less is not counted. One atto-SMT, until a tariff says more: of two receipts for the same amount,
    /// neither is worth anything beside the other.
    pub minimum: Amount,
}

/// Who earns from whom, where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The mesh.
    pub network: NetworkId,
    /// Who carried.
    pub provider: Party,
    /// Who pays.
    pub consumer: Party,
}

/// Names a pair: SHA-256 of network, provider and consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PairId([u8; 32]);

impl PairId {
    /// The id.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Pair {
    /// What it is called.
    #[must_use]
    pub fn id(&self) -> PairId {
        let digest = Sha256::new()
            .chain_update(self.network.as_bytes())
            .chain_update(self.provider.as_bytes())
            .chain_update(self.consumer.as_bytes())
            .finalize();
        PairId(digest.into())
    }
}

/// A receipt, and the offer it was given for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedEpoch {
    /// The terms.
    pub offer: Offer,
    /// What was signed under them.
    pub receipt: Receipt,
}

impl SignedEpoch {
    /// How long the consumer was served.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.receipt.totals().seconds.into()
    }
}

/// Why something brought is worth nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// It is no export, or something in it does not hold.
    #[error(transparent)]
    Invalid(#[from] VerifyError),
    /// Something that would count is not signed by whom it names.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// The end is missing.
    #[error("it has no end: a part of it may be missing")]
    NoEnd,
    /// Too many others would have to be looked for.
    #[error("more than {CONSUMERS} consumers")]
    Consumers,
}

impl Claim {
    /// Reads an export, and verifies everything in it but signatures: frames, chain, every amount.
    ///
    /// # Errors
    /// [`ClaimError`], for the first thing that does not hold.
    pub fn read(export: &[u8]) -> Result<Self, ClaimError> {
        let mut report = verify_without_signatures(export)?;
        if !report.has_end {
            return Err(ClaimError::NoEnd);
        }
        let network = report.header.network;
        let mut pairs: BTreeMap<PairId, PairClaim> = BTreeMap::new();
        for ((provider, consumer, epoch), receipt) in report.newest {
            // It has been looked at: the offer stands before its receipts.
            let Some(offer) = report.terms.remove(&receipt.offer_hash()) else {
                continue;
            };
            let pair = claim_of(&mut pairs, network, provider, consumer);
            pair.receipts.insert(epoch, SignedEpoch { offer, receipt });
        }
        for proof in report.equivocations {
            let heading = *proof.receipts().0.heading();
            let pair = claim_of(&mut pairs, network, heading.provider, heading.consumer);
            pair.contradiction.get_or_insert(proof);
        }
        let consumers: BTreeSet<_> = pairs.values().map(|claim| claim.pair.consumer).collect();
        if consumers.len() > CONSUMERS {
            return Err(ClaimError::Consumers);
        }
        Ok(Self {
            network,
            owner: report.header.owner,
            pairs: pairs.into_values().collect(),
        })
    }
}

/// Verifies every signature (`verify_strict`) of what is to be kept. What a newer receipt replaces does not count.
/// Takes about 60 µs for each.
///
/// # Errors
/// [`ClaimError::Signature`].
pub fn verify_signatures(pairs: &[PairClaim]) -> Result<(), ClaimError> {
    let mut signatures = Signatures::default();
    for pair in pairs {
        for signed in pair.receipts.values() {
            signatures.check(&Record::OfferMade(signed.offer.clone()))?;
            signatures.check(&Record::ReceiptReceived(signed.receipt.clone()))?;
        }
        if let Some(proof) = &pair.contradiction {
            signatures.check(&Record::Equivocation(Box::new(proof.clone())))?;
        }
    }
    Ok(())
}

fn claim_of(
    pairs: &mut BTreeMap<PairId, PairClaim>,
    network: NetworkId,
    provider: Party,
    consumer: Party,
) -> &mut PairClaim {
    let pair = Pair {
        network,
        provider,
        consumer,
    };
    pairs.entry(pair.id()).or_insert_with(|| PairClaim {
        pair,
        receipts: BTreeMap::new(),
        contradiction: None,
        refused: 0,
        minimum: Amount::new(1),
    })
}

impl fmt::Display for PairId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
