//! `receipts.carried` and `receipts.import`: the receipts of other nodes, on their way to the
//! Internet.

use serde::{Deserialize, Serialize};

use super::PartyRef;
use crate::NodeId;

/// The files that this node carries for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedFiles {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// In the order of their owners' ids.
    pub files: Vec<CarriedFile>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedFile {
    /// Whose receipts it holds.
    pub owner: PartyRef,
    /// Its length.
    pub bytes: u64,
}

/// What became of a piece of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// [`crate::SCHEMA`].
    pub schema: u32,
    /// Bytes of the file that have arrived.
    pub received_bytes: u64,
    /// What became of the file; `null` before its last piece.
    pub kept: Option<Kept>,
}

/// What became of an imported file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Whose receipts it holds.
    pub owner: NodeId,
    /// How many.
    pub receipts: u64,
    /// What it meant for the file that was there before.
    pub outcome: KeptAs,
}

/// What an imported file meant for the one of the same owner that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeptAs {
    /// There was none.
    New,
    /// It has more, and took its place.
    Newer,
    /// It has nothing more, and was not kept.
    Held,
}
