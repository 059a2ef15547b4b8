//! What Solidity's compiler said about our contracts, as Rust types.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

use alloy_sol_types::sol;

sol!(SmtChequeBook, "../contracts/out/SmtChequeBook.json");
sol!(SmtToken, "../contracts/out/SmtToken.json");
