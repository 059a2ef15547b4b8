//! Who takes part: nodes that sign receipts, and accounts that pay and are paid.

use std::sync::LazyLock;

use alloy_primitives::Address;
use ed25519_dalek::SigningKey;
use ethereum::key::PrivateKey;
use receipts::{NetworkId, Party};

/// Each begins with an account of its own, but for the last two, which share one.
pub(super) const NODES: usize = 4;
/// The last is nobody's, until a node moves to it.
pub(super) const ACCOUNTS: usize = 4;
/// The same pairs trade in both, in epochs of the same numbers.
pub(super) const NETWORKS: usize = 2;
/// Whose the fees are: none of the above.
pub(super) const FEE_ACCOUNT: Address = Address::repeat_byte(0xfe);

static NODE_KEYS: LazyLock<Vec<SigningKey>> =
    LazyLock::new(|| seeds(NODES).map(|it| SigningKey::from_bytes(&it)).collect());
static PARTIES: LazyLock<Vec<Party>> = LazyLock::new(|| NODE_KEYS.iter().map(Party::of).collect());
static WALLETS: LazyLock<Vec<PrivateKey>> =
    LazyLock::new(|| seeds(ACCOUNTS).map(|it| secret(&it)).collect());
static ADDRESSES: LazyLock<Vec<Address>> =
    LazyLock::new(|| WALLETS.iter().map(PrivateKey::address).collect());

fn seeds(count: usize) -> impl Iterator<Item = [u8; 32]> {
    (1..=count).map(|seed| [seed as u8; 32])
}

fn secret(seed: &[u8; 32]) -> PrivateKey {
    PrivateKey::from_bytes(seed).expect("it is no multiple of the order")
}

pub(super) fn node_key(node: usize) -> &'static SigningKey {
    &NODE_KEYS[node]
}

pub(super) fn party(node: usize) -> Party {
    PARTIES[node]
}

pub(super) fn node_of(party: Party) -> usize {
    let found = PARTIES.iter().position(|it| *it == party);
    found.expect("one of ours")
}

pub(super) fn wallet(account: usize) -> &'static PrivateKey {
    &WALLETS[account]
}

pub(super) fn address(account: usize) -> Address {
    ADDRESSES[account]
}

pub(super) fn addresses() -> &'static [Address] {
    &ADDRESSES
}

/// Everybody to whom a cheque may be.
pub(super) fn beneficiaries() -> impl Iterator<Item = Address> {
    addresses().iter().copied().chain([FEE_ACCOUNT])
}

pub(super) fn first_account(node: usize) -> usize {
    node.min(NODES - 2)
}

/// Signs for every settlement service. So a cheque is worth nothing to another only because of its domain.
pub(super) fn settlement_key() -> PrivateKey {
    secret(&[0xcc; 32])
}

pub(super) fn network(network: usize) -> NetworkId {
    NetworkId::from_name(["village", "valley"][network])
}
