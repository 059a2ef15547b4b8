//! One account of what a neighbor carries for this node from one gateway.
//!
//! ```text
//! Offer ──> kept ──> Request ──> the next place?  ── no ──> the last receipt again, or refused: ended
//!                                price right?     ── no ──> refused
//!                                own count confirms? sign, persist, send
//!                                not yet?  held until the count catches up, or refused
//! ```
//!
//! # Invariants
//! - This node signs only in epochs whose offer it got in this run, and each place once. What an
//!   earlier run signed is sealed, so nothing has to be read back in order to go on.
//! - It signs only under an offer that names the last receipt of the account, so that nothing is
//!   signed for twice because a receipt was lost.
//! - `signed ≤ counted + tolerance`, over all epochs of this run.
//! - An offer reaches the log with the first receipt under it, so that strangers cannot fill it,
//!   and before that receipt is sent.

use std::collections::VecDeque;
use std::time::Instant;

use super::super::output::Event;
use super::super::view::{AccountDetails, AccountView, Counts, PairView, ReceiptView, Refused};
use super::super::{MessageError, Role, Usage};
use super::{Context, Pair};
use crate::identity::Party;
use crate::log::Record;
use crate::message::{Head, Message, Refusal, RefusalReason, Request};
use crate::money::{Amount, Overflow, Price, Totals};
use crate::offer::Offer;
use crate::receipt::{CompactReceipt, Receipt};
use crate::state::AccountState;

/// Receipts remembered, for people.
const MAX_RECENT: usize = 16;

#[derive(Debug)]
pub(super) struct Account {
    gateway: Party,
    state: AccountState,
    open: Option<Open>,
    /// When the newest epoch was opened.
    opened_at: Option<Instant>,
    /// What the provider announces on the way to the gateway.
    announced: Option<Price>,
    /// Counted in this run.
    counted: Totals,
    /// Signed in this run, over all epochs.
    signed: Totals,
    /// Signed in this run of what an earlier one may have counted.
    unseen_bytes: u64,
    /// Counted when the request came that was signed last: what came before is settled, also if
    /// the provider did not ask for all of it.
    settled: Totals,
    last_traffic: Option<Instant>,
    held: Option<Held>,
    /// What was refused last, so that the same is told once; a signature clears it.
    last_refusal: Option<RefusalReason>,
    /// The same in full, and also when something was signed since.
    refused: Option<Refused>,
    /// When something was signed last.
    signed_at: Option<Instant>,
    /// The last receipts, the newest at the back.
    recent: VecDeque<ReceiptView>,
}

/// An epoch whose offer came in this run.
#[derive(Debug)]
struct Open {
    epoch: u64,
    /// The request that was signed last; with it, the offer is in the log.
    answered: Option<Request>,
    /// Counted when the announced price fell below this epoch's.
    dear_since: Option<u128>,
}

/// A request that the own count does not confirm yet.
#[derive(Debug)]
struct Held {
    request: Request,
    came_at: Instant,
    refuse_at: Instant,
    /// Counted when it came.
    counted: Totals,
}

impl Held {
    /// Whether counters were read since it came.
    fn is_counted(&self, counted_at: Option<Instant>) -> bool {
        counted_at >= Some(self.came_at)
    }
}

/// What becomes of a request for the next place.
enum Verdict {
    Sign,
    /// Claims more than was counted: wait, then refuse.
    Unconfirmed,
    Refuse(RefusalReason),
}

impl Account {
    pub(super) fn new(gateway: Party, state: AccountState) -> Self {
        Self {
            gateway,
            recent: state.receipt().map(ReceiptView::from).into_iter().collect(),
            state,
            open: None,
            opened_at: None,
            announced: None,
            counted: Totals::ZERO,
            signed: Totals::ZERO,
            unseen_bytes: 0,
            settled: Totals::ZERO,
            last_traffic: None,
            held: None,
            last_refusal: None,
            refused: None,
            signed_at: None,
        }
    }

    pub(super) const fn last_traffic(&self) -> Option<Instant> {
        self.last_traffic
    }

    /// Whether a request waits for this node's count.
    pub(super) const fn is_asked(&self) -> bool {
        self.held.is_some()
    }

    pub(super) fn handle_usage(
        &mut self,
        usage: &Usage,
        context: &mut Context<'_>,
    ) -> Result<(), Overflow> {
        self.last_traffic = Some(context.now);
        let carried = Totals {
            up_bytes: usage.up_bytes,
            down_bytes: usage.down_bytes,
            seconds: 0,
        };
        let before = self.counted.bytes();
        self.counted = self.counted.checked_add(&carried)?;
        self.announced = usage.price.or(self.announced);
        self.note_price(before);
        Ok(())
    }

    /// Remembers since when the open epoch is dearer than what is announced.
    fn note_price(&mut self, counted_before: u128) {
        let Some(offer) = self.offer() else { return };
        let is_dear = self.announced.is_some_and(|price| offer.price() > price);
        if let Some(open) = &mut self.open {
            open.dear_since = match open.dear_since {
                Some(since) if is_dear => Some(since),
                None if is_dear => Some(counted_before),
                Some(_) | None => None,
            };
        }
    }

    /// The open epoch's offer.
    fn offer(&self) -> Option<&Offer> {
        self.state.offer_of(self.open.as_ref()?.epoch)
    }

    pub(super) fn is_open(&self, epoch: u64) -> bool {
        self.open.as_ref().is_some_and(|open| open.epoch == epoch)
    }

    pub(super) fn has_open(&self, offer: &Offer) -> bool {
        self.offer().is_some_and(|open| open.hash() == offer.hash())
    }

    /// The last receipt given, in whatever epoch.
    pub(super) const fn last(&self) -> Option<&Receipt> {
        self.state.receipt()
    }

    /// The last receipt given in an earlier epoch, if the offer does not name it: one of the two
    /// has lost receipts. What they were for could be asked for again, so nothing is signed under
    /// this offer.
    pub(super) fn head_beyond(&self, offer: &Offer) -> Option<Head> {
        let head = self.is_beyond(offer).then(|| self.state.head());
        head.flatten()
    }

    fn is_beyond(&self, offer: &Offer) -> bool {
        self.state.receipt().is_some_and(|last| {
            last.position().epoch < offer.epoch() && last.hash() != offer.terms().previous
        })
    }

    pub(super) fn head_of(&self, epoch: u64) -> Option<Head> {
        self.state.head_of(epoch)
    }

    /// A new epoch. What the provider lost of the one before it is shown.
    pub(super) fn accept(&mut self, offer: &Offer, context: &mut Context<'_>) {
        if let Some(head) = self.head_beyond(offer) {
            let head = Message::Head(Box::new(head));
            context.desk.send(context.pair.provider, &head);
        }
        self.state.set_offer(offer);
        self.open = Some(Open {
            epoch: offer.epoch(),
            answered: None,
            dear_since: None,
        });
        self.opened_at = Some(context.now);
        self.held = None;
        context.pair.newest_epoch = offer.epoch();
        context.desk.event(Event::OfferAccepted {
            peer: context.pair.provider,
            gateway: self.gateway,
            epoch: offer.epoch(),
            price: offer.price(),
        });
    }

    /// A request in the open epoch.
    pub(super) fn handle_request(&mut self, request: &Request, context: &mut Context<'_>) {
        let (Some(offer), Some(open)) = (self.offer(), &self.open) else {
            return;
        };
        let last = self.state.receipt_of(open.epoch);
        if let Some(last) = last.filter(|_| open.answered.as_ref() == Some(request)) {
            let again = Message::Receipt(CompactReceipt::from(last));
            return context.desk.send(context.pair.provider, &again);
        }
        let last_seq = last.map_or(0, |last| last.position().seq);
        let is_next = last_seq.checked_add(1) == Some(request.position.seq);
        let is_offered = request.offer == offer.hash().short();
        if !is_offered || !is_next || self.is_beyond(offer) {
            return self.refuse(request, RefusalReason::Ended, context);
        }
        let held = self.held.as_ref();
        if held.is_none_or(|held| held.request != *request) {
            self.held = Some(Held {
                request: *request,
                came_at: context.now,
                refuse_at: context.now + context.desk.config.confirm_within,
                counted: self.counted,
            });
        }
        self.judge_held(context);
    }

    /// Judges the request that waits, if any: after it came, after new usage, in the end.
    pub(super) fn judge_held(&mut self, context: &mut Context<'_>) {
        let Some(held) = &self.held else { return };
        let (request, counted) = (held.request, held.counted);
        let is_early = context.now < held.refuse_at || !held.is_counted(context.desk.counted_at);
        match self.judge(&request, context) {
            Ok(Verdict::Unconfirmed) | Err(Overflow) if is_early => return,
            Ok(Verdict::Unconfirmed) | Err(Overflow) => {
                self.refuse(&request, RefusalReason::Unconfirmed, context);
            }
            Ok(Verdict::Refuse(reason)) => self.refuse(&request, reason, context),
            Ok(Verdict::Sign) => match self.sign(&request, context) {
                Ok(()) => self.settled = counted,
                // Figures out of range; whoever asks for them gets an answer and nothing signed.
                Err(_) => self.refuse(&request, RefusalReason::Unconfirmed, context),
            },
        }
        self.held = None;
    }

    /// When the request that waits is refused, once everything is counted that it is about.
    pub(super) fn timeout(&self, counted_at: Option<Instant>) -> Option<Instant> {
        let held = self.held.as_ref();
        held.filter(|held| held.is_counted(counted_at))
            .map(|held| held.refuse_at)
    }

    fn judge(&self, request: &Request, context: &Context<'_>) -> Result<Verdict, Overflow> {
        let (Some(offer), Some(open)) = (self.offer(), &self.open) else {
            return Ok(Verdict::Refuse(RefusalReason::Ended));
        };
        if open.answered.is_none() && offer.price() > Price::FREE && self.known_price().is_none() {
            return Ok(Verdict::Unconfirmed);
        }
        if self.is_too_dear(offer, open, context) {
            return Ok(Verdict::Refuse(RefusalReason::Price));
        }
        let last = self.state.signed_in(open.epoch);
        if !request.totals.covers(&last) || request.totals.bytes() == last.bytes() {
            return Ok(Verdict::Refuse(RefusalReason::NothingNew));
        }
        let claimed = self.claimed(&request.totals)?;
        let unseen = self.beyond_count(&claimed, context);
        let fresh = unseen.saturating_sub(self.unseen_bytes.into());
        let is_granted = unseen <= u128::from(offer.credit_bytes())
            && fresh <= u128::from(context.pair.unseen.bytes);
        Ok(
            match is_granted && u64::from(claimed.seconds) <= self.most_seconds(context) {
                true => Verdict::Sign,
                false => Verdict::Unconfirmed,
            },
        )
    }

    /// What the provider announces, or what was paid last if it has announced nothing in this run yet.
    fn known_price(&self) -> Option<Price> {
        let paid = self.state.receipt().map(Receipt::position);
        let paid = paid.and_then(|place| self.state.offer_of(place.epoch));
        self.announced.or(paid.map(Offer::price))
    }

    /// At its first receipt an epoch must not be dearer than the operator allows or the provider
    /// announces. Later the announced price may be lower for as long as it takes to close the epoch:
    /// until a credit window has been counted, the offer's or our own, whichever is less.
    fn is_too_dear(&self, offer: &Offer, open: &Open, context: &Context<'_>) -> bool {
        if open.answered.is_none() {
            let known = self.known_price().unwrap_or(Price::FREE);
            return offer.price() > context.desk.config.max_price.min(known);
        }
        let counted = self.counted.bytes();
        let config = &context.desk.config;
        let window = offer.credit_bytes().min(config.credit.known_bytes);
        open.dear_since
            .is_some_and(|since| counted.saturating_sub(since) > window.into())
    }

    /// All that would be signed in this run after signing `totals` in the open epoch.
    fn claimed(&self, totals: &Totals) -> Result<Totals, Overflow> {
        let epoch = self.open.as_ref().map_or(0, |open| open.epoch);
        totals
            .checked_sub(&self.state.signed_in(epoch))?
            .checked_add(&self.signed)
    }

    /// By how much that is more than was counted and tolerance: in bytes, the worst of up, down
    /// and both.
    fn beyond_count(&self, claimed: &Totals, context: &Context<'_>) -> u128 {
        let tolerance = &context.desk.config.tolerance;
        let beyond = |claimed: u128, counted: u128| {
            let share = counted / 100 * u128::from(tolerance.percent)
                + counted % 100 * u128::from(tolerance.percent) / 100;
            claimed.saturating_sub(counted + share + u128::from(tolerance.bytes))
        };
        let counted = &self.counted;
        if counted.bytes() == 0 {
            // A provider could offer ways to gateways without end, and claim a tolerance for each.
            return claimed.bytes();
        }
        beyond(claimed.bytes(), counted.bytes())
            .max(beyond(claimed.up_bytes.into(), counted.up_bytes.into()))
            .max(beyond(claimed.down_bytes.into(), counted.down_bytes.into()))
    }

    fn most_seconds(&self, context: &Context<'_>) -> u64 {
        context.pair.elapsed(context.now).as_secs()
            + u64::from(context.desk.config.tolerance.seconds)
            + u64::from(context.pair.unseen.seconds)
    }

    fn sign(&mut self, request: &Request, context: &mut Context<'_>) -> Result<(), MessageError> {
        let offer = self.offer().ok_or(MessageError::Unexpected)?.clone();
        let last = self.state.receipt_of(offer.epoch());
        let is_first = last.is_none();
        let receipt = Receipt::sign(&context.desk.key, &offer, last, request.totals)?;
        let known = last.map_or(Amount::ZERO, Receipt::amount);
        let added = receipt.amount().checked_sub(known)?;
        let claimed = self.claimed(&request.totals)?;
        let unseen = self.beyond_count(&claimed, context);
        self.state.set_receipt(&receipt)?;
        self.signed = claimed;
        self.draw_unseen(unseen, context.pair);
        self.last_refusal = None;
        self.signed_at = Some(context.now);
        self.remember(&receipt);
        context.pair.has_signed = true;
        if let Some(open) = &mut self.open {
            open.answered = Some(*request);
        }
        if is_first {
            context.desk.persist(Record::OfferAccepted(offer));
        }
        self.give(&receipt, added, context);
        Ok(())
    }

    fn give(&self, receipt: &Receipt, added: Amount, context: &mut Context<'_>) {
        let provider = context.pair.provider;
        context.desk.persist(Record::ReceiptGiven(receipt.clone()));
        let message = Message::Receipt(CompactReceipt::from(receipt));
        context.desk.send(provider, &message);
        context.desk.event(Event::ReceiptGiven {
            peer: provider,
            gateway: self.gateway,
            position: receipt.position(),
            totals: *receipt.totals(),
            amount: receipt.amount(),
            added,
        });
    }

    fn remember(&mut self, receipt: &Receipt) {
        if self.recent.len() >= MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(receipt.into());
    }

    /// Books what was signed beyond the count of this run.
    fn draw_unseen(&mut self, unseen: u128, pair: &mut Pair) {
        let unseen = u64::try_from(unseen).unwrap_or(u64::MAX);
        let fresh = unseen.saturating_sub(self.unseen_bytes);
        pair.unseen.bytes = pair.unseen.bytes.saturating_sub(fresh);
        self.unseen_bytes = self.unseen_bytes.max(unseen);
    }

    fn refuse(&mut self, request: &Request, reason: RefusalReason, context: &mut Context<'_>) {
        let refusal = Refusal {
            position: request.position,
            confirmed: self.confirmed(context),
            reason,
        };
        self.refused = Some(Refused {
            at: context.now,
            asked: request.totals,
            refusal,
        });
        let provider = context.pair.provider;
        context.desk.send(provider, &Message::Refusal(refusal));
        if self.last_refusal.replace(reason) != Some(reason) {
            context.desk.event(Event::Refused {
                peer: provider,
                role: Role::Consumer,
                refusal,
            });
        }
    }

    /// The cumulative figures of this epoch that the own count confirms exactly.
    fn confirmed(&self, context: &Context<'_>) -> Totals {
        let elapsed = context.pair.elapsed(context.now).as_secs();
        let counted = Totals {
            seconds: u32::try_from(elapsed).unwrap_or(u32::MAX),
            ..self.counted
        };
        let epoch = self.open.as_ref().map_or(0, |open| open.epoch);
        let last = self.state.signed_in(epoch);
        last.checked_add(&counted.beyond(&self.signed))
            .unwrap_or(last)
    }

    /// Takes over a receipt that an earlier run gave, and seals its epoch.
    pub(super) fn adopt(
        &mut self,
        head: &Head,
        receipt: &Receipt,
        context: &mut Context<'_>,
    ) -> Result<(), MessageError> {
        let epoch = receipt.position().epoch;
        self.state.set_offer(head.offer());
        self.state.set_receipt(receipt)?;
        self.remember(receipt);
        if self.open.as_ref().is_some_and(|open| open.epoch <= epoch) {
            self.open = None;
            self.held = None;
        }
        context.pair.newest_epoch = context.pair.newest_epoch.max(epoch);
        context.pair.has_signed = true;
        context.pair.grant_unseen(context.desk);
        context
            .desk
            .persist(Record::OfferAccepted(head.offer().clone()));
        let record = Record::ReceiptGiven(receipt.clone());
        context.desk.persist(record);
        context.desk.event(Event::Adopted {
            peer: context.pair.provider,
            role: Role::Consumer,
            position: receipt.position(),
        });
        Ok(())
    }

    /// Credit of the newest epoch and what is surely unsigned in this account, if it costs anything that
    /// this node pays: what came down. Of what went up, the provider may have got nothing, and never ask
    /// for it. What is dearer than `max_price` from the start is not owed: others sent it, and go on to.
    pub(super) fn owed(&self, max_price: Price) -> Option<(u64, u128)> {
        let has_signed = self.open.as_ref().is_some_and(|it| it.answered.is_some());
        let is_paid = |price| price > Price::FREE && (has_signed || price <= max_price);
        let offer = self.state.offer().filter(|offer| is_paid(offer.price()))?;
        Some((offer.credit_bytes(), self.unsigned().down_bytes.into()))
    }

    /// Counted and not signed; without what the provider could have asked for and did not.
    fn unsigned(&self) -> Totals {
        let since_settled = self.counted.beyond(&self.settled);
        self.counted.beyond(&self.signed).at_most(&since_settled)
    }

    /// The newest receipt.
    pub(super) fn head(&self) -> Option<&Receipt> {
        self.state.receipt()
    }

    pub(super) fn unsettled(&self, peer: Party) -> Option<Usage> {
        let counted = self.counted.beyond(&self.signed);
        let usage = Usage {
            peer,
            role: Role::Consumer,
            gateway: self.gateway,
            price: self.announced,
            up_bytes: counted.up_bytes,
            down_bytes: counted.down_bytes,
        };
        (!usage.is_empty()).then_some(usage)
    }

    pub(super) fn view(&self, pair: PairView) -> AccountView {
        let counts = Counts {
            unsigned_bytes: self.unsigned().bytes(),
            unpaid: self.unpaid(),
            signed_at: self.signed_at,
            disputed_bytes: 0,
            last_refusal: self.last_refusal,
        };
        pair.account(self.gateway, &self.state, counts)
    }

    /// The price of what is unsigned.
    fn unpaid(&self) -> Option<Amount> {
        let price = self.offer().map(Offer::price).or(self.announced)?;
        price.charge(&self.unsigned()).ok()
    }

    pub(super) fn details(&self, pair: PairView) -> AccountDetails {
        AccountDetails {
            account: self.view(pair),
            offered_at: self.opened_at,
            receipts: self.recent.iter().copied().collect(),
            refused: self.refused,
        }
    }
}
