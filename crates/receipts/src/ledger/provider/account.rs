//! One account of what this node carries for a neighbor to one gateway.
//!
//! ```text
//! traffic ──> epoch opened (Offer persisted) ──> enough bytes or time ──> Offer, Request
//!    ^                                                 ^     │ lost: sent again, the same
//!    │                                                 │     ├─> Receipt: checked, persisted ──┐
//!    │                                                 │     └─> Refusal: asks for less ───────┤
//!    │                                                 └───────────────────────────────────────┘
//!    └── ended by the consumer; or terms changed: after a last receipt
//! ```
//!
//! # Invariants
//! - An epoch is opened by traffic of this run, never by what the log says.
//! - A receipt is taken only if its figures are those this run asked for, so
//!   `signed + unsigned + disputed` is what was counted.
//! - An account opens epochs no faster than it asks again.
//! - An offer is in the log before it is sent, and before the first receipt under it. A compaction may
//!   take one out that was made to a stranger, so it is then written a second time: with the first
//!   receipt, in front of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::credit::{self, Carried, Standing};
use super::super::output::Event;
use super::super::view::{AccountDetails, AccountView, Counts, PairView, ReceiptView, Refused};
use super::super::{MessageError, Role, Usage};
use super::{Context, Pair};
use crate::heading::Position;
use crate::identity::{ContentHash, Party};
use crate::log::Record;
use crate::message::{Head, Message, Refusal, RefusalReason, Request};
use crate::money::{Amount, Overflow, Price, Totals};
use crate::offer::{Offer, Terms};
use crate::receipt::{CompactReceipt, Equivocation, Receipt};
use crate::state::AccountState;

/// Traffic reports further apart than this are not one continuous service.
const SERVICE_GAP: Duration = Duration::from_secs(10);

/// Requests for the last receipt of an epoch before the bytes are given up and the new terms
/// apply: about 15 minutes, and longer than any outage of a radio link that is still alive.
const CLOSING_ATTEMPTS: u32 = 8;

/// How often a request is lowered at once before the retry timer slows it down.
const QUICK_LOWERINGS: u32 = 3;

/// Contents asked for at one place, to recognize the answer.
const MAX_ASKED: usize = 8;

/// Receipts kept in memory, so that another content at an older place is a proof too.
const MAX_RECENT: usize = 16;

#[derive(Debug)]
pub(super) struct Account {
    gateway: Party,
    state: AccountState,
    /// What is announced on the way to the gateway; for want of that, what was offered last.
    price: Option<Price>,
    /// The epoch in which receipts are asked for: opened in this run and not ended.
    open: Option<u64>,
    /// Up to this epoch, offers were made to a stranger: they may have been taken out of the log.
    strange_until: u64,
    /// When the newest epoch was opened.
    opened_at: Option<Instant>,
    /// Counted in this epoch beyond the last receipt.
    unsigned: Totals,
    /// Since when there is anything unsigned.
    unsigned_since: Option<Instant>,
    /// While the epoch is being closed: what belongs to the next one.
    next_epoch: Option<Totals>,
    pending: Option<Pending>,
    /// What was asked for at the place after the last receipt.
    asked: Vec<Totals>,
    /// The last receipts, the newest at the back.
    recent: VecDeque<Receipt>,
    /// Epochs opened since the last receipt, and when the next may be.
    openings: u32,
    open_after: Option<Instant>,
    /// Why the consumer refused last, so that the same is told once; a receipt clears it.
    last_refusal: Option<RefusalReason>,
    /// The same in full, and also when a receipt has come since.
    refused: Option<Refused>,
    /// When the last receipt came.
    signed_at: Option<Instant>,
    /// In this run.
    disputed_bytes: u128,
    signed_bytes: u128,
    service: ServiceClock,
}

/// The request that waits for its answer.
#[derive(Debug)]
struct Pending {
    request: Request,
    attempts: u32,
    retry_at: Instant,
    /// Whether a refusal of this attempt was acted on: once only, or two nodes could keep each
    /// other busy.
    helped: bool,
}

/// Counts seconds in which there was traffic.
#[derive(Debug, Default)]
struct ServiceClock {
    last: Option<Instant>,
    carry: Duration,
}

impl ServiceClock {
    /// Whole seconds of service that this report completes.
    fn tick(&mut self, now: Instant) -> u32 {
        if let Some(last) = self.last.replace(now) {
            self.carry += now.saturating_duration_since(last).min(SERVICE_GAP);
        }
        let whole = u32::try_from(self.carry.as_secs()).unwrap_or(0);
        self.carry -= Duration::from_secs(u64::from(whole));
        whole
    }
}

impl Account {
    pub(super) fn new(gateway: Party, state: AccountState) -> Self {
        let unsigned = state.offer().filter(|_| state.receipt().is_none());
        Self {
            gateway,
            strange_until: unsigned.map_or(0, Offer::epoch),
            price: state.offer().map(Offer::price),
            recent: state.receipt().cloned().into_iter().collect(),
            state,
            open: None,
            opened_at: None,
            unsigned: Totals::ZERO,
            unsigned_since: None,
            next_epoch: None,
            pending: None,
            asked: Vec::new(),
            openings: 0,
            open_after: None,
            last_refusal: None,
            refused: None,
            signed_at: None,
            disputed_bytes: 0,
            signed_bytes: 0,
            service: ServiceClock::default(),
        }
    }

    pub(super) const fn last_traffic(&self) -> Option<Instant> {
        self.service.last
    }

    /// Nothing is lost if the account is forgotten: the consumer will show its head.
    pub(super) fn is_settled(&self) -> bool {
        self.uncollected() == 0 && self.disputed_bytes == 0
    }

    /// Bytes for which there is no receipt yet.
    fn uncollected(&self) -> u128 {
        self.unsigned.bytes() + self.next_epoch.unwrap_or_default().bytes()
    }

    pub(super) fn handle_usage(
        &mut self,
        usage: &Usage,
        context: &mut Context<'_>,
    ) -> Result<(), Overflow> {
        let carried = Totals {
            up_bytes: usage.up_bytes,
            down_bytes: usage.down_bytes,
            seconds: self.service.tick(context.now),
        };
        self.price = usage.price.or(self.price);
        self.note_terms(context);
        match &mut self.next_epoch {
            Some(next) => *next = next.checked_add(&carried)?,
            None => self.unsigned = self.unsigned.checked_add(&carried)?,
        }
        self.unsigned_since.get_or_insert(context.now);
        self.proceed(context);
        Ok(())
    }

    pub(super) fn handle_new_terms(&mut self, context: &mut Context<'_>) {
        self.note_terms(context);
        if self.next_epoch.is_some() {
            self.proceed(context);
        }
    }

    /// The open epoch's offer.
    fn offer(&self) -> Option<&Offer> {
        self.state.offer_of(self.open?)
    }

    /// Ends the epoch if its offer is not on the present terms: at once if nothing is unsigned,
    /// else after a last receipt.
    fn note_terms(&mut self, context: &Context<'_>) {
        let Some(offer) = self.offer() else { return };
        let credit_bytes = context.desk.config.credit.known_bytes;
        let fits = Some(offer.price()) == self.price && offer.credit_bytes() == credit_bytes;
        if fits || self.next_epoch.is_some() {
            return;
        }
        if self.unsigned.bytes() == 0 {
            self.close();
        } else {
            self.next_epoch = Some(Totals::ZERO);
        }
    }

    /// Takes the next step, if one is due: opens an epoch, asks.
    pub(super) fn proceed(&mut self, context: &mut Context<'_>) {
        self.proceed_if(false, context);
    }

    /// The same, and asks for whatever is unsigned: the consumer is held.
    pub(super) fn ask_now(&mut self, context: &mut Context<'_>) {
        self.proceed_if(true, context);
    }

    fn proceed_if(&mut self, at_once: bool, context: &mut Context<'_>) {
        if self.advance(context, at_once).is_err() {
            // Nobody can sign figures that are out of range; another epoch begins at zero.
            self.give_up_unsigned(context);
            self.close();
        }
    }

    fn advance(&mut self, context: &mut Context<'_>, at_once: bool) -> Result<(), Overflow> {
        if self.pending.is_some() || self.uncollected() == 0 {
            return Ok(());
        }
        if self.next_epoch.is_some() && self.unsigned.bytes() == 0 {
            self.close();
        }
        if self.open.is_none() {
            self.open_epoch(context);
        }
        if self.offer().is_some() && (at_once || self.is_due(context)) {
            let signed = self.signed();
            self.ask_for(signed.checked_add(&self.unsigned)?, context)?;
        }
        Ok(())
    }

    /// A stranger is asked with its first bytes: its window is small, and it is none once it has signed.
    fn is_due(&self, context: &Context<'_>) -> bool {
        let config = &context.desk.config;
        let standing = context.pair.standing();
        let window = config.credit.window(standing);
        let enough = credit::ask_after(config.receipt_every_bytes, window);
        let is_long = |since| context.now >= since + config.receipt_every;
        self.next_epoch.is_some()
            || standing == Standing::Stranger
            || self.unsigned.bytes() >= u128::from(enough)
            || self.unsigned_since.is_none_or(is_long)
    }

    /// Whether an epoch will be opened as soon as its time has come.
    fn wants_epoch(&self, pair: &Pair) -> bool {
        self.open.is_none()
            && self.uncollected() > 0
            && self.price.is_some()
            && pair.newest_epoch < u64::MAX
    }

    fn open_epoch(&mut self, context: &mut Context<'_>) {
        let too_early = self.open_after.is_some_and(|after| context.now < after);
        let (Some(epoch), Some(price)) = (context.pair.newest_epoch.checked_add(1), self.price)
        else {
            return;
        };
        if too_early {
            return;
        }
        let terms = Terms {
            gateway: self.gateway,
            price: self.carry_over(price, context),
            credit_bytes: context.desk.config.credit.known_bytes,
            previous: self
                .state
                .receipt()
                .map_or(ContentHash::NONE, Receipt::hash),
        };
        let (consumer, network) = (context.pair.consumer, context.desk.config.network);
        let offer = Offer::sign(&context.desk.key, network, consumer, epoch, terms);
        self.state.set_offer(&offer);
        self.open = Some(epoch);
        self.opened_at = Some(context.now);
        self.open_after = Some(context.now + context.desk.retry_interval(self.openings));
        self.openings = self.openings.saturating_add(1);
        context.pair.newest_epoch = epoch;
        if !context.pair.has_signed {
            self.strange_until = epoch;
        }
        context.desk.event(Event::OfferMade {
            peer: consumer,
            gateway: self.gateway,
            epoch,
            price: terms.price,
        });
        context.desk.persist(Record::OfferMade(offer));
    }

    /// Moves what was counted for the next epoch into the one that opens; says at which price.
    ///
    /// If the epoch before could not be closed with a last receipt, its bytes are billed at the
    /// lower of two prices, which nobody can dispute: at the old one, in an epoch that is closed
    /// like the one before, or at the new one.
    fn carry_over(&mut self, price: Price, context: &mut Context<'_>) -> Price {
        let Some(next) = self.next_epoch else {
            return price;
        };
        let old = self.state.offer().map_or(price, Offer::price);
        if self.unsigned.bytes() > 0 && old < price {
            return old;
        }
        self.next_epoch = None;
        if let Ok(both) = self.unsigned.checked_add(&next) {
            self.unsigned = both;
        } else {
            self.give_up_unsigned(context);
            self.unsigned = next;
        }
        self.unsigned_since = Some(context.now);
        price
    }

    /// The epoch is over whatever is unsigned; that is carried over into the next one.
    fn end_epoch(&mut self, context: &mut Context<'_>) {
        self.close();
        if self.next_epoch.is_some() && self.openings >= CLOSING_ATTEMPTS {
            self.give_up_unsigned(context);
        }
        self.proceed(context);
    }

    fn close(&mut self) {
        self.open = None;
        self.forget_pending();
    }

    fn forget_pending(&mut self) {
        self.pending = None;
        self.asked.clear();
    }

    /// Signed for in the open epoch.
    fn signed(&self) -> Totals {
        self.open
            .map_or(Totals::ZERO, |epoch| self.state.signed_in(epoch))
    }

    /// The last receipt of the open epoch: with it, the consumer has shown that it has the offer.
    fn last(&self) -> Option<&Receipt> {
        self.state.receipt_of(self.open?)
    }

    /// Asks for a receipt with these figures in the place after the last one.
    fn ask_for(&mut self, totals: Totals, context: &mut Context<'_>) -> Result<(), Overflow> {
        let attempts = self.pending.as_ref().map_or(0, |pending| pending.attempts);
        self.set_pending(totals, attempts, context.now)?;
        self.send_request(context);
        Ok(())
    }

    fn set_pending(
        &mut self,
        totals: Totals,
        attempts: u32,
        retry_at: Instant,
    ) -> Result<(), Overflow> {
        let Some(offer) = self.offer() else {
            return Ok(());
        };
        // What has no amount cannot be signed.
        offer.price().charge(&totals)?;
        let last_seq = self.last().map_or(0, |last| last.position().seq);
        let position = Position {
            epoch: offer.epoch(),
            seq: last_seq.checked_add(1).ok_or(Overflow)?,
        };
        let request = Request {
            position,
            totals,
            offer: offer.hash().short(),
        };
        if self.asked.len() >= MAX_ASKED {
            self.asked.remove(0);
        }
        self.asked.push(totals);
        self.pending = Some(Pending {
            request,
            attempts,
            retry_at,
            helped: true,
        });
        Ok(())
    }

    /// Sends the pending request, the same each time.
    fn send_request(&mut self, context: &mut Context<'_>) {
        let consumer = context.pair.consumer;
        let offer = self.offer().filter(|_| self.last().is_none()).cloned();
        let Some(pending) = &mut self.pending else {
            return;
        };
        pending.retry_at = context.now + context.desk.retry_interval(pending.attempts);
        pending.attempts = pending.attempts.saturating_add(1);
        pending.helped = false;
        if let Some(offer) = offer {
            context.desk.send(consumer, &Message::Offer(offer));
        }
        let request = Message::Request(pending.request);
        context.desk.send(consumer, &request);
    }

    pub(super) fn handle_timeout(&mut self, context: &mut Context<'_>) {
        match &self.pending {
            None => self.proceed(context),
            Some(pending) if context.now < pending.retry_at => {}
            Some(pending) if self.next_epoch.is_some() && pending.attempts >= CLOSING_ATTEMPTS => {
                self.give_up_unsigned(context);
                self.proceed(context);
            }
            Some(_) => self.send_request(context),
        }
    }

    pub(super) fn timeout(&self, pair: &Pair, receipt_every: Duration) -> Option<Instant> {
        match &self.pending {
            Some(pending) => Some(pending.retry_at),
            None if self.wants_epoch(pair) => self.open_after,
            None if self.open.is_none() || self.unsigned.bytes() == 0 => None,
            None => self.unsigned_since.map(|since| since + receipt_every),
        }
    }

    fn give_up_unsigned(&mut self, context: &mut Context<'_>) {
        let unsigned = std::mem::take(&mut self.unsigned);
        self.dispute(unsigned.bytes(), context);
        self.unsigned_since = None;
        self.forget_pending();
    }

    fn dispute(&mut self, bytes: u128, context: &mut Context<'_>) {
        self.disputed_bytes = self.disputed_bytes.saturating_add(bytes);
        let peer = context.pair.consumer;
        context.desk.event(Event::Disputed { peer, bytes });
    }

    pub(super) fn has_offer_of(&self, epoch: u64) -> bool {
        self.state.offer_of(epoch).is_some()
    }

    pub(super) fn has_offer(&self, offer: &Offer) -> bool {
        let known = self.state.offer_of(offer.epoch());
        known.is_some_and(|known| known.hash() == offer.hash())
    }

    pub(super) fn handle_receipt(
        &mut self,
        compact: &CompactReceipt,
        context: &mut Context<'_>,
    ) -> Result<(), MessageError> {
        let epoch = compact.position().epoch;
        let offer = self.state.offer_of(epoch).ok_or(MessageError::Stale)?;
        let receipt = compact.complete(offer)?;
        self.handle_known(&receipt, context)
            .unwrap_or(Err(MessageError::Unexpected))
    }

    /// A receipt of an epoch whose offer is known. `None` if this run knows nothing of it: its
    /// place is not one of the last, and its figures were not asked for.
    pub(super) fn handle_known(
        &mut self,
        receipt: &Receipt,
        context: &mut Context<'_>,
    ) -> Option<Result<(), MessageError>> {
        let place = receipt.position();
        let known = self.recent.iter().find(|known| known.position() == place);
        if let Some(known) = known {
            let contradiction = Equivocation::between(known, receipt);
            return Some(contradiction.map_or(Ok(()), |proof| accuse(proof, context)));
        }
        let is_asked = self.open == Some(place.epoch) && self.is_next(receipt);
        (is_asked && self.asked.contains(receipt.totals()))
            .then(|| self.handle_asked(receipt, context))
    }

    /// Whether nothing is missing before this receipt in its epoch.
    fn is_next(&self, receipt: &Receipt) -> bool {
        let Position { epoch, seq } = receipt.position();
        let last = self.state.receipt_of(epoch);
        last.map_or(0, |last| last.position().seq).checked_add(1) == Some(seq)
    }

    /// A receipt that answers a request.
    fn handle_asked(
        &mut self,
        receipt: &Receipt,
        context: &mut Context<'_>,
    ) -> Result<(), MessageError> {
        if let Some(last) = self.last() {
            receipt.check_follows(last)?;
        }
        receipt.check_first()?;
        receipt.verify()?;
        let covered = receipt.totals().beyond(&self.signed());
        self.take(receipt, covered, context)?;
        self.proceed(context);
        Ok(())
    }

    /// Books a checked receipt that covers so much of what is unsigned. An open epoch that does not
    /// name it as the one before has no future: the consumer does not sign there.
    fn take(
        &mut self,
        receipt: &Receipt,
        covered: Totals,
        context: &mut Context<'_>,
    ) -> Result<(), MessageError> {
        let place = receipt.position();
        let known = self.state.receipt_of(place.epoch);
        let may_lack_offer = known.is_none() && place.epoch <= self.strange_until;
        let known = known.map_or(Amount::ZERO, Receipt::amount);
        let added = receipt.amount().checked_sub(known)?;
        self.state.set_receipt(receipt)?;
        if let Some(offer) = self.state.offer_of(place.epoch).filter(|_| may_lack_offer) {
            context.desk.persist(Record::OfferMade(offer.clone()));
        }
        self.signed_bytes = self.signed_bytes.saturating_add(covered.bytes());
        self.unsigned = self.unsigned.beyond(&covered);
        self.unsigned_since = (self.unsigned.bytes() > 0).then_some(context.now);
        self.forget_pending();
        self.openings = 0;
        if self.open != Some(place.epoch) {
            self.close();
        }
        if self.recent.len() >= MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(receipt.clone());
        self.last_refusal = None;
        self.signed_at = Some(context.now);
        context.pair.has_signed = true;
        let record = Record::ReceiptReceived(receipt.clone());
        context.desk.persist(record);
        context.desk.event(Event::ReceiptReceived {
            peer: context.pair.consumer,
            gateway: self.gateway,
            position: receipt.position(),
            totals: *receipt.totals(),
            amount: receipt.amount(),
            added,
        });
        Ok(())
    }

    /// Whether a request for this place waits for its answer.
    pub(super) fn waits_for(&self, position: Position) -> bool {
        let pending = self.pending.as_ref();
        pending.is_some_and(|pending| pending.request.position == position)
    }

    /// The pending request was refused.
    pub(super) fn handle_refusal(&mut self, refusal: Refusal, context: &mut Context<'_>) {
        if self.last_refusal.replace(refusal.reason) != Some(refusal.reason) {
            context.desk.event(Event::Refused {
                peer: context.pair.consumer,
                role: Role::Provider,
                refusal,
            });
        }
        let Some(pending) = &mut self.pending else {
            return;
        };
        self.refused = Some(Refused {
            at: context.now,
            asked: pending.request.totals,
            refusal,
        });
        if std::mem::replace(&mut pending.helped, true) {
            return;
        }
        match refusal.reason {
            RefusalReason::Ended => self.show_and_end(context),
            // It has given receipts under it, so it has lost its log.
            RefusalReason::UnknownOffer if self.last().is_some() => self.show_and_end(context),
            // What is still owed at the old price may be too dear by now.
            RefusalReason::Price if self.next_epoch.is_some() => self.end_epoch(context),
            RefusalReason::Unconfirmed => self.lower(refusal.confirmed, context),
            // The request is sent again in its time, with the offer if that was lost.
            RefusalReason::UnknownOffer | RefusalReason::NothingNew | RefusalReason::Price => {}
        }
    }

    /// The consumer does not go on in this epoch: shows it what it signed, in case it has lost
    /// that, and goes on in the next one.
    fn show_and_end(&mut self, context: &mut Context<'_>) {
        if let Some(head) = self.state.head() {
            let head = Message::Head(Box::new(head));
            context.desk.send(context.pair.consumer, &head);
        }
        self.end_epoch(context);
    }

    /// The consumer confirms less: asks for that, and books the rest as disputed.
    fn lower(&mut self, confirmed: Totals, context: &mut Context<'_>) {
        let Some(pending) = &self.pending else { return };
        let (asked, attempts) = (pending.request.totals, pending.attempts);
        let retry_at = pending.retry_at;
        let signed = self.signed();
        let lowered = asked.at_most(&confirmed);
        if lowered == asked || !lowered.covers(&signed) {
            return;
        }
        let disputed = asked.beyond(&lowered);
        self.unsigned = self.unsigned.beyond(&disputed);
        self.dispute(disputed.bytes(), context);
        if lowered.bytes() == signed.bytes() {
            self.pending = None;
            self.unsigned_since = (self.unsigned.bytes() > 0).then_some(context.now);
            return self.proceed(context);
        }
        let asked = match attempts <= QUICK_LOWERINGS {
            true => self.ask_for(lowered, context),
            false => self.set_pending(lowered, attempts, retry_at),
        };
        if asked.is_err() {
            self.give_up_unsigned(context);
        }
    }

    /// Whether the consumer shows a later place of this account than is known here.
    pub(super) fn is_behind(&self, head: &Head) -> bool {
        let known = self.state.receipt().map(Receipt::position);
        let shown = head.receipt().map(Receipt::position);
        shown > known
    }

    /// Takes over what a verified head says.
    pub(super) fn adopt(
        &mut self,
        head: &Head,
        context: &mut Context<'_>,
    ) -> Result<(), MessageError> {
        let news = head.receipt().filter(|_| self.is_behind(head));
        if let (Some(news), Some(known)) = (news, self.state.receipt())
            && news.position().epoch == known.position().epoch
        {
            news.check_follows(known)?;
        }
        if let Some(news) = news {
            news.check_first()?;
        }
        if !self.has_offer(head.offer()) {
            if self.open == Some(head.offer().epoch()) {
                // This node has lost its log and opened the epoch a second time.
                self.close();
            }
            self.state.set_offer(head.offer());
            if !self.has_offer(head.offer()) {
                return Err(MessageError::Stale);
            }
            let record = Record::OfferMade(head.offer().clone());
            context.desk.persist(record);
            if !context.pair.has_signed {
                self.strange_until = self.strange_until.max(head.offer().epoch());
            }
        }
        context.desk.event(Event::Adopted {
            peer: context.pair.consumer,
            role: Role::Provider,
            position: head.position(),
        });
        let Some(news) = news else { return Ok(()) };
        // What an answer that was lost on the way covers is unsigned here. Others were lost with a
        // log, and with them the counts of their run.
        let epoch = news.position().epoch;
        let is_counted = epoch > context.pair.epoch_at_start || context.desk.resumed;
        let covered = match is_counted && self.is_next(news) {
            true => news.totals().beyond(&self.state.signed_in(epoch)),
            false => Totals::ZERO,
        };
        self.take(news, covered, context)
    }

    /// Whether what is carried costs anything.
    pub(super) fn costs(&self) -> bool {
        let offered = self.offer().map(Offer::price);
        offered
            .or(self.price)
            .is_some_and(|price| price > Price::FREE)
    }

    pub(super) fn carried(&self) -> Carried {
        Carried {
            unsigned: self.uncollected(),
            disputed: self.disputed_bytes,
            signed: self.signed_bytes,
        }
    }

    /// The newest receipt.
    pub(super) fn head(&self) -> Option<&Receipt> {
        self.state.receipt()
    }

    /// What is counted and neither signed nor disputed, by the price it was carried at.
    pub(super) fn unsettled(&self, peer: Party) -> impl Iterator<Item = Usage> + use<> {
        let gateway = self.gateway;
        let usage = move |counted: Totals, price| Usage {
            peer,
            role: Role::Provider,
            gateway,
            price,
            up_bytes: counted.up_bytes,
            down_bytes: counted.down_bytes,
        };
        let next = self.next_epoch.unwrap_or_default();
        let old = match self.next_epoch {
            Some(_) => self.state.offer().map(Offer::price).or(self.price),
            None => self.price,
        };
        [usage(self.unsigned, old), usage(next, self.price)]
            .into_iter()
            .filter(|usage| !usage.is_empty())
    }

    pub(super) fn view(&self, pair: PairView) -> AccountView {
        let counts = Counts {
            unsigned_bytes: self.uncollected(),
            unpaid: self.unpaid(),
            signed_at: self.signed_at,
            disputed_bytes: self.disputed_bytes,
            last_refusal: self.last_refusal,
        };
        pair.account(self.gateway, &self.state, counts)
    }

    /// The price of what is unsigned, as it would be asked for now.
    fn unpaid(&self) -> Option<Amount> {
        let offered = self.offer().map(Offer::price).or(self.price)?;
        let next = self.next_epoch.unwrap_or_default();
        let unsigned = offered.charge(&self.unsigned).ok()?;
        let next = self.price?.charge(&next).ok()?;
        unsigned.checked_add(next).ok()
    }

    pub(super) fn details(&self, pair: PairView) -> AccountDetails {
        AccountDetails {
            account: self.view(pair),
            offered_at: self.opened_at,
            receipts: self.recent.iter().map(ReceiptView::from).collect(),
            refused: self.refused,
        }
    }
}

/// Keeps a proof if its signature holds. One says it all; more would only fill the log.
fn accuse(proof: Equivocation, context: &mut Context<'_>) -> Result<(), MessageError> {
    proof.receipts().1.verify()?;
    if context.pair.proof.is_none() {
        context.pair.proof = Some(Box::new(proof.clone()));
        let record = Record::Equivocation(Box::new(proof.clone()));
        context.desk.persist(record);
        context.desk.event(Event::Equivocation(Box::new(proof)));
    }
    Err(MessageError::Contradiction)
}
