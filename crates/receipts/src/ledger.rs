//! The state machine: usage, messages and time in; [`Output`] out.
//!
//! One [`Ledger`] holds two kinds of accounts. For neighbors whose traffic this node carries it is
//! the provider (`provider.rs`: offers, asks, keeps receipts); for neighbors who carry its traffic
//! it is the consumer (`consumer.rs`: compares, signs or refuses).
//!
//! # Driving it
//! After every `handle_*` call, drain [`Ledger::poll_output`]. On [`Output::Persist`] append the
//! record to the log and sync it **before taking the next output**. If that fails, give the record
//! back with [`Ledger::persist_failed`] and stop draining: it comes first the next time. Dropping
//! the outputs instead would not do, because the ledger repeats later what it believes to be on
//! disk. While the queue is blocked it is bounded: above a limit, messages are refused as
//! [`MessageError::Busy`]. Call [`Ledger::handle_timeout`] when [`Ledger::poll_timeout`] says so.
//!
//! # What the consumer signs
//! In one run of the process, all figures signed for a provider together stay within what this
//! node counted, plus the [`Tolerance`]. The tolerance is granted once per run, not per receipt,
//! so asking often gains nothing. After a restart the bytes of the run before that were counted
//! but not yet signed are unknown; for a provider with a receipt in the recovered log, the smaller
//! of the offer's credit and [`Tolerance::restart_bytes`] is granted for them. A provider that
//! slows down at its own credit window has no more than that unsigned; so this, once per restart,
//! is the most a consumer can lose. A stranger is granted nothing.
//!
//! A figure above that is not refused at once: the provider may have read its counters a moment
//! earlier than this node. It is judged again with each usage report and refused after
//! [`LedgerConfig::confirm_within`], with the figures that would be signed.
//!
//! # What the provider does with a refusal
//! It asks again for what the consumer confirms and books the rest as disputed: on a lossy radio
//! link those are the bytes that were sent and never arrived. They are shown in [`AccountView`], so
//! that an operator, and the credit window, can tell a bad link from a bad neighbor.

mod consumer;
mod provider;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;

use crate::codec::ParseError;
use crate::heading::{Heading, Position};
use crate::identity::{BadSignature, ContentHash, NetworkId, Party};
use crate::log::{Header, Record};
use crate::message::{Head, Message, Refusal};
use crate::money::{Amount, Overflow, Price, Totals};
use crate::receipt::{Equivocation, ReceiptError};
use crate::state::{PairState, State};
use consumer::ConsumerAccount;
use provider::ProviderAccount;

/// Accounts of each kind. A village has tens of neighbors; the limit only stops a flood of invented
/// ones from filling the memory (about 1 KiB each).
const MAX_ACCOUNTS: usize = 1024;

/// Outputs that may wait while the log cannot be written. One message causes a handful; neighbors
/// repeat what is refused above this.
const MAX_OUTPUTS: usize = 256;

/// What the operator and the driver decide.
#[derive(Debug, Clone)]
pub struct LedgerConfig {
    /// The mesh all accounts are in.
    pub network: NetworkId,
    /// What this node asks for.
    pub price: Price,
    /// Bytes a consumer may leave unpaid, as offered.
    pub credit_bytes: u64,
    /// Offers above this are refused.
    pub max_price: Price,
    /// Ask for a receipt after this many new bytes …
    pub receipt_every_bytes: u64,
    /// … or after this time, if there are any.
    pub receipt_every: Duration,
    /// How much more than its own count the consumer signs.
    pub tolerance: Tolerance,
    /// Ask again after this time, doubling up to 5 minutes.
    pub retry_after: Duration,
    /// How long the consumer waits for its own count to catch up before it refuses. Longer than
    /// the interval of usage reports.
    pub confirm_within: Duration,
}

impl LedgerConfig {
    /// Community mode: price 0; a receipt every 2 MiB or minute.
    pub const fn new(network: NetworkId) -> Self {
        Self {
            network,
            price: Price::FREE,
            credit_bytes: 8 << 20,
            max_price: Price::MAX,
            receipt_every_bytes: 2 << 20,
            receipt_every: Duration::from_secs(60),
            tolerance: Tolerance::new(),
            retry_after: Duration::from_secs(4),
            confirm_within: Duration::from_secs(3),
        }
    }
}

/// How much more than its own count the consumer signs, per provider and run of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerance {
    /// Hundredths of the own count.
    pub percent: u8,
    /// Plus this many bytes: what is in flight when counters are read.
    pub bytes: u64,
    /// Plus this many bytes for a provider known from before a restart.
    pub restart_bytes: u64,
    /// Seconds of service beyond the time since the provider was first seen.
    pub seconds: u32,
    /// Plus this many for a provider known from before a restart.
    pub restart_seconds: u32,
}

impl Tolerance {
    /// 1 % + 64 KiB; 8 MiB after a restart; a minute, ten after a restart.
    pub const fn new() -> Self {
        Self {
            percent: 1,
            bytes: 64 << 10,
            restart_bytes: 8 << 20,
            seconds: 60,
            restart_seconds: 600,
        }
    }
}

impl Default for Tolerance {
    fn default() -> Self {
        Self::new()
    }
}

/// Which side of an account this node is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// This node carries bytes for the peer.
    Provider,
    /// The peer carries bytes for this node.
    Consumer,
}

/// Bytes counted in the kernel since the last report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// The neighbor.
    pub peer: Party,
    /// `Provider`: carried by this node for the peer. `Consumer`: carried by the peer for this one.
    pub role: Role,
    /// Bytes from the consumer towards the gateway.
    pub up_bytes: u64,
    /// Bytes from the gateway towards the consumer.
    pub down_bytes: u64,
}

/// What the driver has to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Append to the log and sync before taking the next output.
    Persist(Record),
    /// Send to the neighbor. May be lost.
    Send {
        /// The neighbor.
        to: Party,
        /// A [`Message`] in bytes.
        payload: Vec<u8>,
    },
    /// Something an operator may want to know.
    Event(Event),
}

/// Something that happened in an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A new epoch was offered to a consumer.
    OfferMade {
        /// The consumer.
        peer: Party,
        /// The new epoch.
        epoch: u64,
        /// Its price.
        price: Price,
    },
    /// A provider's offer is in force.
    OfferAccepted {
        /// The provider.
        peer: Party,
        /// The new epoch.
        epoch: u64,
        /// Its price.
        price: Price,
    },
    /// A consumer signed.
    ReceiptReceived {
        /// The consumer.
        peer: Party,
        /// Place in the account.
        position: Position,
        /// Service in this epoch.
        totals: Totals,
        /// Its price.
        amount: Amount,
    },
    /// This node signed.
    ReceiptGiven {
        /// The provider.
        peer: Party,
        /// Place in the account.
        position: Position,
        /// Service in this epoch.
        totals: Totals,
        /// Its price.
        amount: Amount,
    },
    /// A request or an offer was refused: by the peer if this node is the provider, else by it.
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
}

/// Why a message was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not a message.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// About another network, or not about the sender and this node.
    #[error("not about the sender and this node")]
    Foreign,
    /// A signature is not valid.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// Overtaken by what is known already.
    #[error("out of date")]
    Stale,
    /// Nothing was asked, or the account does not exist.
    #[error("not expected")]
    Unexpected,
    /// The receipt does not fit the account.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The consumer contradicts what it signed.
    #[error("contradicts what was signed before")]
    Contradiction,
    /// No room for another account.
    #[error("too many accounts")]
    TooManyAccounts,
    /// The outputs of earlier messages have not been taken: the log cannot be written.
    #[error("the log cannot be written")]
    Busy,
    /// Figures out of range.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

/// Why the ledger cannot do what it was told by its own side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The recovered state is of another network or node.
    #[error("the recovered state is of node {} in network {}", .0.owner, .0.network)]
    ForeignState(Header),
    /// Figures out of range.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// No room for another account.
    #[error("too many accounts")]
    TooManyAccounts,
}

/// Messages handled, and why others were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Taken in.
    pub accepted: u64,
    /// Dropped: not parsed.
    pub malformed: u64,
    /// Dropped: other network or parties.
    pub foreign: u64,
    /// Dropped: signature not valid.
    pub forged: u64,
    /// Dropped: overtaken or not expected; harmless when messages are repeated.
    pub stale: u64,
    /// Dropped: contradicts the account, or out of range.
    pub inconsistent: u64,
    /// Dropped: the log cannot be written.
    pub busy: u64,
}

impl Counters {
    const fn count(&mut self, result: &Result<(), MessageError>) {
        let counter = match result {
            Ok(()) => &mut self.accepted,
            Err(MessageError::Parse(_)) => &mut self.malformed,
            Err(MessageError::Foreign) => &mut self.foreign,
            Err(MessageError::Signature(_)) => &mut self.forged,
            Err(MessageError::Stale | MessageError::Unexpected) => &mut self.stale,
            Err(MessageError::Busy) => &mut self.busy,
            Err(
                MessageError::Receipt(_)
                | MessageError::Contradiction
                | MessageError::TooManyAccounts
                | MessageError::Overflow(_),
            ) => &mut self.inconsistent,
        };
        *counter = counter.wrapping_add(1);
    }
}

/// Where an account stands, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountView {
    /// The other side.
    pub peer: Party,
    /// This node's side.
    pub role: Role,
    /// Place of the last receipt, of the offer if there is none; `None` before the first offer.
    pub position: Option<Position>,
    /// Price of the epoch, if its offer is known.
    pub price: Option<Price>,
    /// Credit of the epoch, if its offer is known.
    pub credit_bytes: Option<u64>,
    /// Service signed for in this epoch.
    pub signed: Totals,
    /// Its price.
    pub amount: Amount,
    /// Signed for in earlier epochs.
    pub earlier_amount: Amount,
    /// Bytes counted and not signed for.
    pub unsigned_bytes: u128,
    /// Bytes the consumer did not confirm since this process started. Zero as consumer.
    pub disputed_bytes: u128,
    /// The last receipt.
    pub last_hash: Option<ContentHash>,
    /// Whether the consumer is known to have signed two receipts for one place.
    pub equivocated: bool,
}

/// All accounts of one node. See the module's documentation for how to drive it.
#[derive(Debug)]
pub struct Ledger {
    desk: Desk,
    providing: BTreeMap<Party, ProviderAccount>,
    consuming: BTreeMap<Party, ConsumerAccount>,
    counters: Counters,
}

/// What every account needs: the terms, the key, the way out.
#[derive(Debug)]
struct Desk {
    config: LedgerConfig,
    /// Wipes itself when dropped.
    key: SigningKey,
    me: Party,
    outputs: VecDeque<Output>,
}

impl Desk {
    fn persist(&mut self, record: Record) {
        self.outputs.push_back(Output::Persist(record));
    }

    fn send(&mut self, to: Party, message: &Message) {
        self.outputs.push_back(Output::Send {
            to,
            payload: message.to_bytes(),
        });
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Whether a signed object is about these two in this network.
    fn concerns(&self, heading: &Heading, provider: Party, consumer: Party) -> bool {
        *heading
            == Heading {
                network: self.config.network,
                provider,
                consumer,
                position: heading.position,
            }
    }
}

impl Ledger {
    /// A ledger that goes on where the log ended. The owner of `key` is this node.
    ///
    /// # Errors
    /// [`LedgerError::ForeignState`] if `recovered` is of another network or node.
    pub fn new(
        config: LedgerConfig,
        key: SigningKey,
        recovered: State,
    ) -> Result<Self, LedgerError> {
        let me = Party::of(&key);
        let header = *recovered.header();
        if header
            != (Header {
                network: config.network,
                owner: me,
            })
        {
            return Err(LedgerError::ForeignState(header));
        }
        let State {
            providing,
            consuming,
            equivocators,
            ..
        } = recovered;
        let mut providing: BTreeMap<Party, ProviderAccount> = providing
            .into_iter()
            .map(|(peer, state)| (peer, ProviderAccount::new(peer, state)))
            .collect();
        for peer in equivocators {
            providing
                .entry(peer)
                .and_modify(ProviderAccount::set_equivocated);
        }
        let consuming = consuming
            .into_iter()
            .map(|(peer, state)| (peer, ConsumerAccount::new(peer, state)))
            .collect();
        let desk = Desk {
            config,
            key,
            me,
            outputs: VecDeque::new(),
        };
        Ok(Self {
            desk,
            providing,
            consuming,
            counters: Counters::default(),
        })
    }

    /// This node.
    pub const fn owner(&self) -> Party {
        self.desk.me
    }

    /// Takes in what the kernel counted since the last report.
    ///
    /// # Errors
    /// [`LedgerError`] if the count is out of range or there are too many accounts.
    pub fn handle_usage(&mut self, now: Instant, usage: Usage) -> Result<(), LedgerError> {
        if usage.up_bytes == 0 && usage.down_bytes == 0 {
            return Ok(());
        }
        self.make_room(usage.peer, usage.role)
            .map_err(|_| LedgerError::TooManyAccounts)?;
        let Self {
            desk,
            providing,
            consuming,
            ..
        } = self;
        match usage.role {
            Role::Provider => {
                let account = provider_account(providing, usage.peer);
                account.handle_usage(now, &usage, desk)?;
            }
            Role::Consumer => {
                let account = consumer_account(consuming, usage.peer);
                account.handle_usage(now, &usage)?;
                account.judge_held(now, desk);
            }
        }
        Ok(())
    }

    /// Takes in a message that the mesh delivered from a neighbor.
    ///
    /// # Errors
    /// [`MessageError`] if it was dropped; counted in [`Self::counters`]. Not a reason to log:
    /// anybody can send anything.
    pub fn handle_message(
        &mut self,
        now: Instant,
        from: Party,
        payload: &[u8],
    ) -> Result<(), MessageError> {
        let result = self.dispatch(now, from, payload);
        self.counters.count(&result);
        result
    }

    fn dispatch(&mut self, now: Instant, from: Party, payload: &[u8]) -> Result<(), MessageError> {
        if from == self.desk.me {
            return Err(MessageError::Foreign);
        }
        if self.desk.outputs.len() > MAX_OUTPUTS {
            return Err(MessageError::Busy);
        }
        match Message::parse(payload)? {
            Message::Offer(offer) => {
                if !self.desk.concerns(offer.heading(), from, self.desk.me) {
                    return Err(MessageError::Foreign);
                }
                self.make_room(from, Role::Consumer)?;
                let account = consumer_account(&mut self.consuming, from);
                account.handle_offer(now, &offer, &mut self.desk)
            }
            Message::Request(request) => {
                match self.consuming.get_mut(&from) {
                    Some(account) => account.handle_request(now, &request, &mut self.desk),
                    None => consumer::refuse_unknown(from, request.position, &mut self.desk),
                }
                Ok(())
            }
            Message::Receipt(receipt) => {
                let account = self
                    .providing
                    .get_mut(&from)
                    .ok_or(MessageError::Unexpected)?;
                account.handle_receipt(now, &receipt, &mut self.desk)
            }
            Message::Refusal(refusal) => {
                let account = self
                    .providing
                    .get_mut(&from)
                    .ok_or(MessageError::Unexpected)?;
                account.handle_refusal(now, refusal, &mut self.desk)
            }
            Message::Head(head) => self.handle_head(now, from, &head),
        }
    }

    fn handle_head(&mut self, now: Instant, from: Party, head: &Head) -> Result<(), MessageError> {
        let heading = head.offer().heading();
        if self.desk.concerns(heading, self.desk.me, from) {
            let account = self
                .providing
                .get_mut(&from)
                .ok_or(MessageError::Unexpected)?;
            account.handle_head(now, head, &mut self.desk)
        } else if self.desk.concerns(heading, from, self.desk.me) {
            let account = self
                .consuming
                .get_mut(&from)
                .ok_or(MessageError::Unexpected)?;
            account.handle_head(head, &mut self.desk)
        } else {
            Err(MessageError::Foreign)
        }
    }

    /// Does what is due: asks, asks again, refuses what could not be confirmed in time.
    pub fn handle_timeout(&mut self, now: Instant) {
        for account in self.providing.values_mut() {
            account.handle_timeout(now, &mut self.desk);
        }
        for account in self.consuming.values_mut() {
            account.judge_held(now, &mut self.desk);
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let every = self.desk.config.receipt_every;
        let providing = self
            .providing
            .values()
            .filter_map(|account| account.timeout(every));
        let consuming = self.consuming.values().filter_map(ConsumerAccount::timeout);
        providing.chain(consuming).min()
    }

    /// What to do next. An [`Output::Persist`] must be on disk before the next call, or given back.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.desk.outputs.pop_front()
    }

    /// Gives back a record that could not be written, and with it everything that depends on it:
    /// [`Self::poll_output`] begins with it again. Drain again later, for example with the next
    /// usage report.
    pub fn persist_failed(&mut self, record: Record) {
        self.desk.outputs.push_front(Output::Persist(record));
    }

    /// Changes what this node asks for. Bytes carried so far stay at the old price: each account
    /// asks for a last receipt, then opens a new epoch.
    pub fn set_sharing(&mut self, now: Instant, price: Price, credit_bytes: u64) {
        self.desk.config.price = price;
        self.desk.config.credit_bytes = credit_bytes;
        for account in self.providing.values_mut() {
            account.handle_new_terms(now, &mut self.desk);
        }
    }

    /// Changes what this node is ready to pay. Epochs already accepted stay.
    pub const fn set_max_price(&mut self, max_price: Price) {
        self.desk.config.max_price = max_price;
    }

    /// All accounts, in the order of the peers' keys, provided before consumed.
    pub fn accounts(&self) -> impl Iterator<Item = AccountView> + '_ {
        let providing = self.providing.values().map(ProviderAccount::view);
        let consuming = self.consuming.values().map(ConsumerAccount::view);
        providing.chain(consuming)
    }

    /// Messages taken in and dropped.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Makes sure that an account with `peer` exists or can be opened; one that was never used
    /// gives way.
    fn make_room(&mut self, peer: Party, role: Role) -> Result<(), MessageError> {
        let Self {
            providing,
            consuming,
            ..
        } = self;
        let (known, count) = match role {
            Role::Provider => (providing.contains_key(&peer), providing.len()),
            Role::Consumer => (consuming.contains_key(&peer), consuming.len()),
        };
        if known || count < MAX_ACCOUNTS {
            return Ok(());
        }
        // An account with a consumer is opened by traffic, so only one with a provider, opened by
        // an offer, can be unused.
        let unused = consuming
            .iter()
            .find(|(_, account)| role == Role::Consumer && account.is_unused())
            .map(|(provider, _)| *provider)
            .ok_or(MessageError::TooManyAccounts)?;
        consuming.remove(&unused);
        Ok(())
    }
}

fn provider_account(
    accounts: &mut BTreeMap<Party, ProviderAccount>,
    consumer: Party,
) -> &mut ProviderAccount {
    accounts
        .entry(consumer)
        .or_insert_with(|| ProviderAccount::new(consumer, PairState::default()))
}

fn consumer_account(
    accounts: &mut BTreeMap<Party, ConsumerAccount>,
    provider: Party,
) -> &mut ConsumerAccount {
    accounts
        .entry(provider)
        .or_insert_with(|| ConsumerAccount::new(provider, PairState::default()))
}
