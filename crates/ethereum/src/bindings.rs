//! What Solidity's compiler said about our contracts, as Rust types.

use std::borrow::Cow;

use alloy_primitives::{Address, U256};
use alloy_sol_types::Eip712Domain;

pub use generated::{SmtChequeBook, SmtToken};

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    reason = "generated"
)]
mod generated {
    use alloy_sol_types::sol;

    sol!(
        #[sol(all_derives)]
        SmtChequeBook,
        "../../contracts/out/SmtChequeBook.json"
    );
    sol!(
        #[sol(all_derives)]
        SmtToken,
        "../../contracts/out/SmtToken.json"
    );
}

/// The domain of the cheques that one cheque book on one chain takes.
#[must_use]
pub fn domain(chain_id: u64, book: Address) -> Eip712Domain {
    Eip712Domain {
        name: Some(Cow::Borrowed("SmtChequeBook")),
        version: Some(Cow::Borrowed("1")),
        chain_id: Some(U256::from(chain_id)),
        verifying_contract: Some(book),
        salt: None,
    }
}
