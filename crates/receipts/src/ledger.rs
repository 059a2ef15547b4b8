//! The state machine: usage, messages and time in; [`Output`] out.
//!
//! One [`Ledger`] holds two kinds of accounts. For neighbors whose traffic this node carries it is
//! the provider (`provider`: offers, asks, keeps receipts, holds who does not sign); for neighbors
//! who carry its traffic it is the consumer (`consumer`: compares, signs or refuses). There is an
//! account for each neighbor and gateway, because what a byte costs depends on the way.
//!
//! # Driving it
//! After every `handle_*` call, drain [`Ledger::poll_output`]. On [`Output::Persist`] append the
//! record to the log, and if it is urgent sync it, **before anything is sent to the same
//! neighbor**: hold its messages back, or take no output until then. If saving fails, keep the
//! record and try again: the ledger repeats later what it believes to be on disk. Outputs that nobody
//! takes are bounded: above a limit, messages are refused as [`MessageError::Busy`]. Call [`Ledger::handle_timeout`] when
//! [`Ledger::poll_timeout`] says so.
//!
//! Before a process ends, and whenever receipts or readings change them, write down
//! [`Ledger::unsettled`] and [`Ledger::heads`] where they do not outlive the kernel's counters, and let
//! the next process apply the heads to its state and [`Ledger::resume`] with the rest. Then nothing is lost at a restart and nothing billed twice.
//!
//! # What the consumer signs
//! In one run of the process, all figures signed in an account together stay within what this
//! node counted, plus the [`Tolerance`]. The tolerance is granted once per run, not per receipt,
//! so asking often gains nothing. After a loss of power the bytes of the run before that were
//! counted but not yet signed are unknown; a provider with a receipt in the recovered log is
//! granted the smaller of the offer's credit and [`Tolerance::restart_bytes`] for them, once for
//! all its accounts. A stranger is granted nothing.
//!
//! A figure above that is not refused at once: the provider may have read its counters a moment
//! earlier than this node. It is judged again with each usage report, and refused after
//! [`LedgerConfig::confirm_within`] and a reading of counters that began after it came
//! ([`Ledger::handle_reading`]), with the figures that would be signed.
//!
//! # What the provider does with a refusal
//! It asks again for what the consumer confirms and books the rest as disputed: on a lossy radio
//! link those are the bytes that were sent and never arrived. What is disputed beyond a hundredth
//! fills the window like what is not signed, so that a consumer that confirms less than it gets is
//! held in the end.

mod consumer;
mod credit;
mod desk;
mod errors;
mod output;
mod provider;
mod view;

pub use credit::{Credit, Standing};
pub use errors::{Counters, LedgerError, MessageError, UsageError};
pub use output::{Event, Output};
pub use view::{AccountDetails, AccountView, Hold, PairDetails, ReceiptView, Refused};

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;

use crate::identity::{NetworkId, Party};
use crate::log::{Header, Record};
use crate::message::{Head, Message, Request};
use crate::money::Price;
use crate::offer::Offer;
use crate::state::{PairState, State};
use consumer::Consumed;
use desk::{Desk, Suspects};
use provider::Provided;

/// Accounts, both kinds together. A village has tens of neighbors; the limit only stops a flood of
/// invented ones from filling the memory (about 1 KiB each).
const MAX_ACCOUNTS: usize = 1024;

/// Accounts of each kind with one neighbor. A node uses at most 15 gateways at a time.
const MAX_PAIR_ACCOUNTS: usize = 16;

/// An account without traffic for so long gives way to a new one.
const IDLE: Duration = Duration::from_secs(600);

/// Outputs that may wait while the log cannot be written. One message causes a handful; neighbors
/// repeat what is refused above this.
const MAX_OUTPUTS: usize = 256;

/// What the operator and the driver decide.
#[derive(Debug, Clone)]
pub struct LedgerConfig {
    /// The mesh all accounts are in.
    pub network: NetworkId,
    /// Bytes that consumers may leave unpaid.
    pub credit: Credit,
    /// The most that this node pays. Nothing by default, so it signs for what is free, and whoever has
    /// not said that it pays owes nothing.
    pub max_price: Price,
    /// Ask for a receipt after this many new bytes, or a quarter of the window if that is less …
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
    /// Nothing is paid; a receipt every 2 MiB or minute.
    pub const fn new(network: NetworkId) -> Self {
        Self {
            network,
            credit: Credit::new(),
            max_price: Price::FREE,
            receipt_every_bytes: 2 << 20,
            receipt_every: Duration::from_secs(60),
            tolerance: Tolerance::new(),
            retry_after: Duration::from_secs(4),
            confirm_within: Duration::from_secs(3),
        }
    }
}

/// How much more than its own count the consumer signs, per account and run of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerance {
    /// Hundredths of the own count.
    pub percent: u8,
    /// Plus this many bytes: what is in flight when counters are read.
    pub bytes: u64,
    /// Plus this many bytes, for all accounts with a provider known from before a restart.
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
    /// The gateway from or to which they were carried.
    pub gateway: Party,
    /// The price announced on the way to the gateway right now, as provider by this node, as
    /// consumer by the peer. `None`: there is no way now, the last price stays.
    pub price: Option<Price>,
    /// Bytes from the consumer towards the gateway.
    pub up_bytes: u64,
    /// Bytes from the gateway towards the consumer.
    pub down_bytes: u64,
}

impl Usage {
    /// Whether nothing was counted.
    pub const fn is_empty(&self) -> bool {
        self.up_bytes == 0 && self.down_bytes == 0
    }
}

/// All accounts of one node. See the module's documentation for how to drive it.
#[derive(Debug)]
pub struct Ledger {
    desk: Desk,
    providing: BTreeMap<Party, Provided>,
    consuming: BTreeMap<Party, Consumed>,
    suspects: Suspects,
    throttled: bool,
    counters: Counters,
}

impl Ledger {
    /// A ledger that knows what the log says, with as many accounts as there may be. The owner of `key`
    /// is this node.
    ///
    /// # Errors
    /// [`LedgerError::ForeignState`] if `recovered` is of another network or node.
    pub fn new(
        config: LedgerConfig,
        key: SigningKey,
        mut recovered: State,
    ) -> Result<Self, LedgerError> {
        let desk = Desk::new(config, key);
        let header = *recovered.header();
        let (network, owner) = (desk.config.network, desk.me);
        if header != (Header { network, owner }) {
            return Err(LedgerError::ForeignState(header));
        }
        recovered.limit_accounts(MAX_PAIR_ACCOUNTS, MAX_ACCOUNTS);
        let State {
            mut providing,
            consuming,
            mut equivocators,
            ..
        } = recovered;
        for cheat in equivocators.keys() {
            providing.entry(*cheat).or_default();
        }
        let provided = |(peer, state)| {
            let proof = equivocators.remove(&peer);
            (peer, Provided::new(peer, state, proof))
        };
        let consumed = |(peer, state)| (peer, Consumed::new(peer, state, &desk));
        Ok(Self {
            providing: providing.into_iter().map(provided).collect(),
            consuming: consuming.into_iter().map(consumed).collect(),
            desk,
            suspects: Suspects::default(),
            throttled: false,
            counters: Counters::default(),
        })
    }

    /// Goes on with what the ledger of the run before had [`Self::unsettled`], before anything
    /// else. Nothing is then granted for what that run may have counted and lost.
    pub fn resume(&mut self, now: Instant, unsettled: impl IntoIterator<Item = Usage>) {
        self.desk.resumed = true;
        for consumed in self.consuming.values_mut() {
            consumed.revoke_unseen();
        }
        for usage in unsettled {
            // Counted among those that are dropped.
            let _ = self.handle_usage(now, usage);
        }
    }

    /// This node.
    pub const fn owner(&self) -> Party {
        self.desk.me
    }

    /// Takes in what the kernel counted since the last report.
    ///
    /// # Errors
    /// [`UsageError`] if the count is out of range or there are too many accounts; counted in
    /// [`Self::counters`]. Not a reason to log: it may come with each report.
    pub fn handle_usage(&mut self, now: Instant, usage: Usage) -> Result<(), UsageError> {
        if usage.is_empty() {
            return Ok(());
        }
        let result = self.count(now, &usage);
        self.counters.count_usage(&result);
        result
    }

    /// All counters were read, from `began` on, and what they say was taken in. Only what was counted
    /// after a request came says that it claims too much: a slow machine reads late.
    pub fn handle_reading(&mut self, now: Instant, began: Instant) {
        self.desk.counted_at = self.desk.counted_at.max(Some(began));
        for consumed in self.consuming.values_mut() {
            consumed.judge_held(now, &mut self.desk);
            consumed.review(now, &self.desk);
        }
        self.throttle();
    }

    fn count(&mut self, now: Instant, usage: &Usage) -> Result<(), UsageError> {
        let peer = usage.peer;
        if !self.make_room(now, peer, usage.role, usage.gateway) {
            return Err(UsageError::TooManyAccounts);
        }
        let desk = &mut self.desk;
        match usage.role {
            Role::Provider => {
                let provided = provided(&mut self.providing, peer);
                let counted = provided.handle_usage(now, usage, desk);
                provided.review(now, desk);
                counted?;
            }
            Role::Consumer => {
                let consumed = consumed(&mut self.consuming, peer, desk);
                let counted = consumed.handle_usage(now, usage, desk);
                consumed.judge_held(now, desk);
                self.review_consumed(now, peer);
                counted?;
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
        if matches!(result, Err(MessageError::Signature(_))) {
            self.suspects.note_bad(now, from);
        }
        self.counters.count_message(&result);
        result
    }

    fn dispatch(&mut self, now: Instant, from: Party, payload: &[u8]) -> Result<(), MessageError> {
        if from == self.desk.me {
            return Err(MessageError::Foreign);
        }
        if self.desk.outputs.len() > MAX_OUTPUTS {
            return Err(MessageError::Busy);
        }
        let message = Message::parse(payload)?;
        if message.is_signed() && !self.suspects.may_try(now, from) {
            return Err(MessageError::Busy);
        }
        let result = match message {
            Message::Offer(offer) => self.handle_offer(now, from, &offer),
            Message::Request(request) => {
                self.handle_request(now, from, &request);
                Ok(())
            }
            Message::Receipt(receipt) => self.as_provider_of(from, |provided, desk| {
                provided.handle_receipt(now, &receipt, desk)
            }),
            Message::Refusal(refusal) => self.as_provider_of(from, |provided, desk| {
                provided.handle_refusal(now, refusal, desk)
            }),
            Message::Head(head) => self.handle_head(now, from, &head),
        };
        if let Some(provided) = self.providing.get_mut(&from) {
            provided.review(now, &mut self.desk);
        }
        self.review_consumed(now, from);
        result
    }

    fn as_provider_of(
        &mut self,
        consumer: Party,
        handle: impl FnOnce(&mut Provided, &mut Desk) -> Result<(), MessageError>,
    ) -> Result<(), MessageError> {
        let provided = self.providing.get_mut(&consumer);
        handle(provided.ok_or(MessageError::Unexpected)?, &mut self.desk)
    }

    fn handle_offer(
        &mut self,
        now: Instant,
        from: Party,
        offer: &Offer,
    ) -> Result<(), MessageError> {
        if !self.desk.concerns(offer.heading(), from, self.desk.me) {
            return Err(MessageError::Foreign);
        }
        let newest = self.consuming.get(&from).map_or(0, Consumed::newest_epoch);
        if offer.epoch() > newest {
            // Only now: no account gives way to one that anybody can invent.
            offer.verify()?;
            if !self.make_room(now, from, Role::Consumer, offer.gateway()) {
                return Err(MessageError::TooManyAccounts);
            }
        }
        let consumed = consumed(&mut self.consuming, from, &self.desk);
        let result = consumed.handle_offer(now, offer, &mut self.desk);
        self.forget_if_empty(from);
        result
    }

    fn handle_request(&mut self, now: Instant, from: Party, request: &Request) {
        let consumed = consumed(&mut self.consuming, from, &self.desk);
        consumed.handle_request(now, request, &mut self.desk);
        self.forget_if_empty(from);
    }

    /// A stranger's message that left no account leaves nothing else.
    fn forget_if_empty(&mut self, provider: Party) {
        let consumed = self.consuming.get(&provider);
        if consumed.is_some_and(Consumed::is_forgettable) {
            self.consuming.remove(&provider);
        }
    }

    /// A head carries the signature of the node that it is shown to, on its offer or its receipt.
    /// So it cannot be invented, and an account is opened for it once it is verified.
    fn handle_head(&mut self, now: Instant, from: Party, head: &Head) -> Result<(), MessageError> {
        let (heading, gateway) = (head.offer().heading(), head.offer().gateway());
        let role = if self.desk.concerns(heading, self.desk.me, from) {
            Role::Provider
        } else if self.desk.concerns(heading, from, self.desk.me) {
            Role::Consumer
        } else {
            return Err(MessageError::Foreign);
        };
        if !self.has_account(from, role, gateway) {
            head.verify()?;
        }
        if !self.make_room(now, from, role, gateway) {
            return Err(MessageError::TooManyAccounts);
        }
        let desk = &mut self.desk;
        match role {
            Role::Provider => provided(&mut self.providing, from).handle_head(now, head, desk),
            Role::Consumer => {
                let consumed = consumed(&mut self.consuming, from, desk);
                let result = consumed.handle_head(now, head, desk);
                self.forget_if_empty(from);
                result
            }
        }
    }

    /// Does what is due: asks, asks again, refuses what could not be confirmed in time.
    pub fn handle_timeout(&mut self, now: Instant) {
        for provided in self.providing.values_mut() {
            provided.handle_timeout(now, &mut self.desk);
            provided.review(now, &mut self.desk);
        }
        for consumed in self.consuming.values_mut() {
            consumed.judge_held(now, &mut self.desk);
            consumed.review(now, &self.desk);
        }
        self.throttle();
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let every = self.desk.config.receipt_every;
        let providing = self.providing.values();
        let providing = providing.filter_map(|provided| provided.timeout(every));
        let consuming = self.consuming.values();
        let consuming = consuming.filter_map(|consumed| consumed.timeout(&self.desk));
        providing.chain(consuming).min()
    }

    /// What to do next. An urgent [`Output::Persist`] must be on disk before anything is sent to the
    /// same neighbor.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.desk.outputs.pop_front()
    }

    /// Changes what the operator decides. Where the offered credit is another, a new epoch opens
    /// after a last receipt in the old one. Of what this node pays, epochs in which it has signed
    /// stay.
    pub fn set_terms(&mut self, now: Instant, credit: Credit, max_price: Price) {
        self.desk.config.credit = credit;
        self.desk.config.max_price = max_price;
        for provided in self.providing.values_mut() {
            provided.handle_new_terms(now, &mut self.desk);
            provided.review(now, &mut self.desk);
        }
    }

    /// What is counted and neither signed nor disputed, by account and price: for
    /// [`Self::resume`] in the next run.
    pub fn unsettled(&self) -> impl Iterator<Item = Usage> + '_ {
        let providing = self.providing.values().flat_map(Provided::unsettled);
        let consuming = self.consuming.values().flat_map(Consumed::unsettled);
        providing.chain(consuming)
    }

    /// The newest receipt of each account, as it stands in the log. Where receipts wait in memory,
    /// [`State::apply`] these in the next run of a process that did not end cleanly: its accounts
    /// then stand where [`Self::unsettled`] goes on.
    pub fn heads(&self) -> impl Iterator<Item = Record> + '_ {
        let received = self.providing.values().flat_map(Provided::heads);
        let given = self.consuming.values().flat_map(Consumed::heads);
        let received = received.cloned().map(Record::ReceiptReceived);
        received.chain(given.cloned().map(Record::ReceiptGiven))
    }

    /// All accounts, in the order of the peers' keys and then the gateways', provided before
    /// consumed.
    pub fn accounts(&self) -> impl Iterator<Item = AccountView> + '_ {
        let providing = self.providing.values().flat_map(Provided::views);
        let consuming = self.consuming.values().flat_map(Consumed::views);
        providing.chain(consuming)
    }

    /// All that is known of the accounts with one neighbor, provided before consumed.
    pub fn pairs_with(&self, peer: Party) -> impl Iterator<Item = PairDetails> + '_ {
        let providing = self.providing.get(&peer).map(Provided::details);
        let consuming = self.consuming.get(&peer).map(Consumed::details);
        providing.into_iter().chain(consuming)
    }

    /// Whether a provider waits for a receipt until this node has counted as much: the sooner the
    /// counters are read, the better.
    pub fn waits_for_counters(&self) -> bool {
        self.consuming.values().any(Consumed::is_asked)
    }

    /// Bytes that this node may still carry for a neighbor before it is held: for the kernel, which
    /// sees what is carried before it is counted here.
    pub fn credit_left(&self, consumer: Party) -> u64 {
        let desk = &self.desk;
        match self.providing.get(&consumer) {
            Some(provided) => provided.credit_left(desk),
            None => desk.config.credit.stranger_window(desk.strangers_bytes),
        }
    }

    /// Bytes that may still be carried for all strangers together.
    pub fn strangers_credit_left(&self) -> u64 {
        let desk = &self.desk;
        desk.config.credit.pool_left(desk.strangers_bytes)
    }

    /// What is known of a neighbor as a consumer.
    pub fn standing(&self, consumer: Party) -> Standing {
        let provided = self.providing.get(&consumer);
        provided.map_or(Standing::Stranger, Provided::standing)
    }

    /// Messages and counts taken in and dropped.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    fn review_consumed(&mut self, now: Instant, provider: Party) {
        if let Some(consumed) = self.consuming.get_mut(&provider) {
            consumed.review(now, &self.desk);
            self.throttle();
        }
    }

    /// This node goes slow while it owes any provider too much.
    fn throttle(&mut self) {
        let throttled = self.consuming.values().any(Consumed::is_throttled);
        if std::mem::replace(&mut self.throttled, throttled) != throttled {
            self.desk.output(Output::Throttle(throttled));
        }
    }

    fn has_account(&self, peer: Party, role: Role, gateway: Party) -> bool {
        match role {
            Role::Provider => self
                .providing
                .get(&peer)
                .is_some_and(|p| p.has_account(gateway)),
            Role::Consumer => self
                .consuming
                .get(&peer)
                .is_some_and(|c| c.has_account(gateway)),
        }
    }

    /// Makes sure that this account exists or can be opened; one that is not used gives way.
    fn make_room(&mut self, now: Instant, peer: Party, role: Role, gateway: Party) -> bool {
        if self.has_account(peer, role, gateway) {
            return true;
        }
        let of_pair = match role {
            Role::Provider => self.providing.get(&peer).map_or(0, Provided::account_count),
            Role::Consumer => self.consuming.get(&peer).map_or(0, Consumed::account_count),
        };
        if of_pair >= MAX_PAIR_ACCOUNTS {
            return self.evict(now, |at, with| at == role && with == peer);
        }
        let providing = self.providing.values().map(Provided::account_count);
        let consuming = self.consuming.values().map(Consumed::account_count);
        let all: usize = providing.chain(consuming).sum();
        all < MAX_ACCOUNTS || self.evict(now, |_, _| true)
    }

    /// Forgets the account that was used longest ago, of those that may give way.
    fn evict(&mut self, now: Instant, among: impl Fn(Role, Party) -> bool) -> bool {
        let providing = self.providing.iter();
        let providing = providing
            .filter(|(peer, _)| among(Role::Provider, **peer))
            .filter_map(|(peer, pair)| Some((Role::Provider, *peer, pair.dispensable(now)?)));
        let consuming = self.consuming.iter();
        let consuming = consuming
            .filter(|(peer, _)| among(Role::Consumer, **peer))
            .filter_map(|(peer, pair)| Some((Role::Consumer, *peer, pair.dispensable(now)?)));
        let oldest = providing
            .chain(consuming)
            .min_by_key(|(_, _, (_, last))| *last);
        let Some((role, peer, (gateway, _))) = oldest else {
            return false;
        };
        match role {
            Role::Provider => {
                let provided = provided(&mut self.providing, peer);
                if provided.forget(now, gateway, &mut self.desk) {
                    self.providing.remove(&peer);
                }
            }
            Role::Consumer => {
                consumed(&mut self.consuming, peer, &self.desk).forget(gateway);
                self.forget_if_empty(peer);
            }
        }
        true
    }
}

fn provided(pairs: &mut BTreeMap<Party, Provided>, consumer: Party) -> &mut Provided {
    pairs
        .entry(consumer)
        .or_insert_with(|| Provided::new(consumer, PairState::default(), None))
}

fn consumed<'a>(
    pairs: &'a mut BTreeMap<Party, Consumed>,
    provider: Party,
    desk: &Desk,
) -> &'a mut Consumed {
    pairs
        .entry(provider)
        .or_insert_with(|| Consumed::new(provider, PairState::default(), desk))
}
