//! What meshd's tools say to an Ethereum node, and what they sign for one.
//!
//! | module       | what it holds                                                              |
//! |--------------|----------------------------------------------------------------------------|
//! | [`bindings`] | the contracts of `contracts/`, as Rust types                               |
//! | [`key`]      | a private key: it signs hashes and EIP-712 structs                         |
//! | [`signature`]| signatures of 64 bytes, and who made them                                  |
//! | [`cheque`]   | cheques: what is signed, verdicts of the cheque book, files of cheques      |
//! | [`rpc`]      | an Ethereum node, asked by JSON-RPC over HTTP                              |
//! | [`keystore`] | private keys in files, encrypted with a passphrase                            |
//! | [`transaction`] | what is signed and sent                                                    |
//! | [`text`]     | addresses and amounts, as people write them                                 |
//!
//! **Invariants.** A key is in no `Debug`, no error and no text, and its memory is cleared. Of a node's URL,
//! whose path may be a password, nobody is told more than the host. What a node answers is a stranger's: it is
//! limited in size, and parsed before it is believed. Amounts are integers.

pub mod bindings;
pub mod cheque;
pub mod key;
pub mod keystore;
pub mod rpc;
pub mod signature;
pub mod text;
pub mod transaction;
