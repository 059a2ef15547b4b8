//! What meshd's tools say to an Ethereum node, and what they sign for one.
//!
//! | module          | what it holds                                                    |
//! |-----------------|------------------------------------------------------------------|
//! | [`bindings`]    | the contracts of `contracts/`, as Rust types                     |
//! | [`cheque`]      | cheques, why the cheque book does not pay one, files of them     |
//! | [`key`]         | a private key, which signs hashes and EIP-712 structs            |
//! | [`keystore`]    | private keys in files, encrypted with a passphrase               |
//! | [`rpc`]         | an Ethereum node, asked by JSON-RPC over HTTP                    |
//! | [`send`]        | sending a transaction at most once                               |
//! | [`signature`]   | signatures of 64 bytes, and who made them                        |
//! | [`text`]        | addresses and amounts, as people write them                      |
//! | [`transaction`] | what is signed and sent                                          |
//!
//! **Invariants.** A key is in no `Debug`, no error and no text, and its memory is cleared. Of a node's URL,
//! whose path may be a password, nobody is told more than the host. What a node answers is a stranger's: it is
//! limited in size, and parsed before it is believed. Amounts are integers.

pub mod bindings;
pub mod cheque;
pub mod key;
pub mod keystore;
pub mod rpc;
pub mod send;
pub mod signature;
pub mod text;
pub mod transaction;
