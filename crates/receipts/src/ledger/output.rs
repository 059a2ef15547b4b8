//! What a ledger wants done and what it tells.

use super::Role;
use super::credit::Standing;
use crate::heading::Position;
use crate::identity::Party;
use crate::log::Record;
use crate::message::Refusal;
use crate::money::{Amount, Price, Totals};
use crate::receipt::Equivocation;

/// What the driver has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Append to the log. If [`Record::is_urgent`] it must be on disk before anything is sent to
    /// [`Record::peer`]; else it may wait in memory for a while.
    Persist(Record),
    /// Send to the neighbor. May be lost.
    Send {
        /// The neighbor.
        to: Party,
        /// A [`Message`](crate::Message) in bytes.
        payload: Vec<u8>,
    },
    /// Slow down what is carried for this neighbor to the free rate, or no longer. Said when it
    /// changes; nobody is held at first.
    Hold {
        /// The neighbor.
        peer: Party,
        /// Whether to slow it down.
        held: bool,
    },
    /// Slow down this node's own traffic through the mesh to the free rate, or no longer, so that
    /// no provider has to. Said when it changes.
    Throttle(bool),
    /// Something an operator may want to know.
    Event(Event),
}

/// Something that happened in an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A new epoch was opened for a consumer.
    OfferMade {
        /// The consumer.
        peer: Party,
        /// The gateway it reaches over this node.
        gateway: Party,
        /// The new epoch.
        epoch: u64,
        /// Its price.
        price: Price,
    },
    /// A provider's offer is in force. Whether its price is paid is decided when a receipt is
    /// asked for.
    OfferAccepted {
        /// The provider.
        peer: Party,
        /// The gateway that is reached over it.
        gateway: Party,
        /// The new epoch.
        epoch: u64,
        /// Its price.
        price: Price,
    },
    /// A consumer signed.
    ReceiptReceived {
        /// The consumer.
        peer: Party,
        /// The gateway it reaches over this node.
        gateway: Party,
        /// Place of the receipt.
        position: Position,
        /// Service in this epoch.
        totals: Totals,
        /// Its price.
        amount: Amount,
        /// By how much that is more than was known to be signed in this epoch.
        added: Amount,
    },
    /// This node signed.
    ReceiptGiven {
        /// The provider.
        peer: Party,
        /// The gateway that is reached over it.
        gateway: Party,
        /// Place of the receipt.
        position: Position,
        /// Service in this epoch.
        totals: Totals,
        /// Its price.
        amount: Amount,
        /// By how much that is more than was known to be signed in this epoch.
        added: Amount,
    },
    /// A request was refused: by the peer if this node is the provider, else by it.
    Refused {
        /// The other side.
        peer: Party,
        /// This node's side.
        role: Role,
        /// What was refused.
        refusal: Refusal,
    },
    /// The consumer does not confirm these bytes; they are not asked for again.
    Disputed {
        /// The consumer.
        peer: Party,
        /// How many.
        bytes: u128,
    },
    /// The peer knew more of the account than this node, which had lost part of its log.
    Adopted {
        /// The other side.
        peer: Party,
        /// This node's side.
        role: Role,
        /// Where the account stands now.
        position: Position,
    },
    /// A consumer signed two receipts for one place.
    Equivocation(Box<Equivocation>),
    /// A consumer has used up its window.
    Held {
        /// The consumer.
        peer: Party,
        /// Bytes it has had and neither signed nor been forgiven.
        exposure: u128,
        /// Bytes it may have.
        window: u64,
        /// Why the window is what it is.
        standing: Standing,
    },
    /// A consumer that was held has signed enough.
    Released {
        /// The consumer.
        peer: Party,
        /// Bytes it has had and neither signed nor been forgiven.
        exposure: u128,
        /// Bytes it may have.
        window: u64,
        /// Why the window is what it is.
        standing: Standing,
    },
}
