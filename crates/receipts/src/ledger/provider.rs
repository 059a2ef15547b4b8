//! One account of what this node carries for a neighbor.
//!
//! ```text
//! first traffic ──> Offer (persisted, sent) ──> enough bytes or time ──> Request
//!      ^                                                                   │ lost: sent again, the same
//!      │                                                                   ├─> Receipt: checked, persisted
//!      └── terms changed: last Request of the epoch, then a new Offer      └─> Refusal: asks for less
//! ```

use std::time::{Duration, Instant};

use super::{AccountView, Desk, Event, MessageError, Role, Usage};
use crate::heading::Position;
use crate::identity::Party;
use crate::log::Record;
use crate::message::{Head, Message, Refusal, RefusalReason, Request};
use crate::money::{Overflow, Totals};
use crate::offer::Offer;
use crate::receipt::{CompactReceipt, Equivocation, Receipt};
use crate::state::PairState;

/// Traffic reports further apart than this are not one continuous service.
const SERVICE_GAP: Duration = Duration::from_secs(10);

/// Longest wait between two requests: a neighbor that comes back is asked within this time.
const MAX_RETRY: Duration = Duration::from_secs(300);

/// Requests for the last receipt of an epoch before the bytes are given up and the new terms
/// apply: about 15 minutes, and longer than any outage of a radio link that is still alive.
const CLOSING_ATTEMPTS: u32 = 8;

/// How often a request is lowered at once before the retry timer slows it down.
const QUICK_LOWERINGS: u32 = 3;

/// Contents asked for at one place, to recognize the answer.
const MAX_ASKED: usize = 8;

#[derive(Debug)]
pub(super) struct ProviderAccount {
    consumer: Party,
    state: PairState,
    /// Counted in this epoch beyond the last receipt.
    unsigned: Totals,
    /// Since when there is anything unsigned.
    unsigned_since: Option<Instant>,
    /// While the epoch is being closed: what belongs to the next one.
    next_epoch: Option<Totals>,
    pending: Option<Pending>,
    /// What this process asked for at the place after the last receipt.
    asked: Vec<Totals>,
    /// Whether the consumer has shown that it has the epoch's offer.
    offer_known: bool,
    /// Why it refused last, so that the same is told once; a receipt clears it.
    last_refusal: Option<RefusalReason>,
    disputed_bytes: u128,
    equivocated: bool,
    service: ServiceClock,
}

/// The request that waits for its answer.
#[derive(Debug)]
struct Pending {
    request: Request,
    attempts: u32,
    retry_at: Instant,
    /// Whether this attempt's refusal was answered with what the consumer lacked: once only, or
    /// two nodes could keep each other busy.
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

impl ProviderAccount {
    pub(super) fn new(consumer: Party, state: PairState) -> Self {
        Self {
            consumer,
            state,
            unsigned: Totals::ZERO,
            unsigned_since: None,
            next_epoch: None,
            pending: None,
            asked: Vec::new(),
            offer_known: false,
            last_refusal: None,
            disputed_bytes: 0,
            equivocated: false,
            service: ServiceClock::default(),
        }
    }

    pub(super) const fn set_equivocated(&mut self) {
        self.equivocated = true;
    }

    pub(super) fn handle_usage(
        &mut self,
        now: Instant,
        usage: &Usage,
        desk: &mut Desk,
    ) -> Result<(), Overflow> {
        let seconds = self.service.tick(now);
        let carried = Totals {
            up_bytes: usage.up_bytes,
            down_bytes: usage.down_bytes,
            seconds,
        };
        self.handle_new_terms(now, desk);
        match &mut self.next_epoch {
            Some(next) => *next = next.checked_add(&carried)?,
            None => self.unsigned = self.unsigned.checked_add(&carried)?,
        }
        self.unsigned_since.get_or_insert(now);
        self.ask_if_due(now, desk)
    }

    /// Makes the offer match the terms: at once if nothing is unsigned, else after a last receipt.
    /// An account without traffic in this process gets its offer with the first.
    pub(super) fn handle_new_terms(&mut self, now: Instant, desk: &mut Desk) {
        let current = self.state.current_offer();
        let fits = current.is_some_and(|offer| {
            offer.price() == desk.config.price && offer.credit_bytes() == desk.config.credit_bytes
        });
        if fits || self.next_epoch.is_some() {
            return;
        }
        if current.is_some() && self.unsigned.bytes() > 0 {
            self.next_epoch = Some(Totals::ZERO);
            // Out of range: the request would fail the same way later; the epoch is given up then.
            let _ = self.ask_if_due(now, desk);
        } else if self.service.last.is_some() {
            self.open_epoch(now, desk);
        }
    }

    fn open_epoch(&mut self, now: Instant, desk: &mut Desk) {
        // Nobody lives to see 2^64 epochs; a hostile head can claim one, and then this account is
        // at its end.
        let Some(epoch) = self.state.newest_epoch().checked_add(1) else {
            return;
        };
        let config = &desk.config;
        let offer = Offer::sign(
            &desk.key,
            config.network,
            self.consumer,
            epoch,
            config.price,
            config.credit_bytes,
        );
        self.state.set_offer(&offer);
        self.forget_pending();
        self.offer_known = false;
        self.last_refusal = None;
        if let Some(next) = self.next_epoch.take() {
            self.unsigned = next;
        }
        self.unsigned_since = (self.unsigned.bytes() > 0).then_some(now);
        desk.persist(Record::OfferMade(offer.clone()));
        desk.event(Event::OfferMade {
            peer: self.consumer,
            epoch,
            price: offer.price(),
        });
        desk.send(self.consumer, &Message::Offer(offer));
    }

    fn forget_pending(&mut self) {
        self.pending = None;
        self.asked.clear();
    }

    fn ask_if_due(&mut self, now: Instant, desk: &mut Desk) -> Result<(), Overflow> {
        if self.pending.is_some() {
            return Ok(());
        }
        if self.unsigned.bytes() == 0 {
            if self.next_epoch.is_some() {
                self.open_epoch(now, desk);
            }
            return Ok(());
        }
        let config = &desk.config;
        let enough = self.unsigned.bytes() >= u128::from(config.receipt_every_bytes);
        let long = self
            .unsigned_since
            .is_none_or(|since| now >= since + config.receipt_every);
        if enough || long || self.next_epoch.is_some() {
            let totals = self.state.signed().checked_add(&self.unsigned)?;
            self.ask_for(now, totals, desk)?;
        }
        Ok(())
    }

    /// Asks for a receipt with these figures in the place after the last one.
    fn ask_for(&mut self, now: Instant, totals: Totals, desk: &mut Desk) -> Result<(), Overflow> {
        let Some(offer) = self.state.current_offer() else {
            return Ok(());
        };
        let seq = self
            .state
            .current_receipt()
            .map_or(0, |receipt| receipt.position().seq);
        let request = Request {
            position: Position {
                epoch: offer.epoch(),
                seq: seq.checked_add(1).ok_or(Overflow)?,
            },
            totals,
            amount: offer.price().charge(&totals)?,
            offer_hash: offer.hash(),
        };
        self.remember_asked(totals);
        let attempts = self.pending.as_ref().map_or(0, |pending| pending.attempts);
        self.pending = Some(Pending {
            request,
            attempts,
            retry_at: now,
            helped: false,
        });
        self.send_request(now, desk);
        Ok(())
    }

    /// Sends the pending request, the same each time.
    fn send_request(&mut self, now: Instant, desk: &mut Desk) {
        let Some(pending) = &mut self.pending else {
            return;
        };
        pending.retry_at = now + retry_interval(desk.config.retry_after, pending.attempts);
        pending.attempts = pending.attempts.saturating_add(1);
        pending.helped = false;
        if let Some(offer) = self.state.offer().filter(|_| !self.offer_known) {
            desk.send(self.consumer, &Message::Offer(offer.clone()));
        }
        desk.send(self.consumer, &Message::Request(pending.request));
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, desk: &mut Desk) {
        match &self.pending {
            Some(pending) if now < pending.retry_at => {}
            Some(pending) if self.next_epoch.is_some() && pending.attempts >= CLOSING_ATTEMPTS => {
                self.give_up_unsigned(desk);
                self.open_epoch(now, desk);
            }
            Some(_) => self.send_request(now, desk),
            None => {
                if self.ask_if_due(now, desk).is_err() {
                    self.give_up_unsigned(desk);
                    self.open_epoch(now, desk);
                }
            }
        }
    }

    pub(super) fn timeout(&self, receipt_every: Duration) -> Option<Instant> {
        match &self.pending {
            Some(pending) => Some(pending.retry_at),
            None if self.unsigned.bytes() == 0 => None,
            None => self.unsigned_since.map(|since| since + receipt_every),
        }
    }

    fn give_up_unsigned(&mut self, desk: &mut Desk) {
        let unsigned = std::mem::take(&mut self.unsigned);
        self.dispute(unsigned.bytes(), desk);
        self.unsigned_since = None;
        self.forget_pending();
    }

    fn dispute(&mut self, bytes: u128, desk: &mut Desk) {
        self.disputed_bytes = self.disputed_bytes.saturating_add(bytes);
        desk.event(Event::Disputed {
            peer: self.consumer,
            bytes,
        });
    }

    pub(super) fn handle_receipt(
        &mut self,
        now: Instant,
        compact: &CompactReceipt,
        desk: &mut Desk,
    ) -> Result<(), MessageError> {
        let offer = self.state.current_offer().ok_or(MessageError::Unexpected)?;
        if compact.position().epoch != offer.epoch() {
            return Err(MessageError::Stale);
        }
        let receipt = compact.complete(offer)?;
        if let Some(last) = self.state.current_receipt() {
            if receipt.position() == last.position() {
                return self.handle_repeated(&receipt, desk);
            }
            receipt.check_follows(last)?;
        }
        receipt.check_first()?;
        let last_seq = self
            .state
            .current_receipt()
            .map_or(0, |last| last.position().seq);
        if last_seq.checked_add(1) != Some(receipt.position().seq) {
            return Err(MessageError::Unexpected);
        }
        receipt.verify()?;
        self.take(now, &receipt, desk)
    }

    /// A receipt for the place of the last one: the same again, or a contradiction.
    fn handle_repeated(&mut self, receipt: &Receipt, desk: &mut Desk) -> Result<(), MessageError> {
        let known = self
            .state
            .current_receipt()
            .ok_or(MessageError::Unexpected)?;
        let Some(proof) = Equivocation::between(known, receipt) else {
            return Ok(());
        };
        receipt.verify()?;
        // One proof says it all; more would only fill the log.
        if !self.equivocated {
            self.equivocated = true;
            desk.persist(Record::Equivocation(Box::new(proof.clone())));
            desk.event(Event::Equivocation(Box::new(proof)));
        }
        Err(MessageError::Contradiction)
    }

    /// Books a checked receipt.
    fn take(
        &mut self,
        now: Instant,
        receipt: &Receipt,
        desk: &mut Desk,
    ) -> Result<(), MessageError> {
        let covered = receipt.totals().beyond(&self.state.signed());
        // Or each would cost a record, and bring the next question.
        if covered.bytes() == 0 {
            return Err(MessageError::Unexpected);
        }
        self.state.set_receipt(receipt)?;
        // An answer to a question of an earlier process speaks of bytes this one never counted.
        // (It could equal ours to the byte by chance; that would cost the provider one receipt.)
        if self.asked.contains(receipt.totals()) {
            self.unsigned = self.unsigned.beyond(&covered);
        }
        self.forget_pending();
        self.offer_known = true;
        self.last_refusal = None;
        self.unsigned_since = (self.unsigned.bytes() > 0).then_some(now);
        desk.persist(Record::ReceiptReceived(receipt.clone()));
        desk.event(Event::ReceiptReceived {
            peer: self.consumer,
            position: receipt.position(),
            totals: *receipt.totals(),
            amount: receipt.amount(),
        });
        Ok(self.ask_if_due(now, desk)?)
    }

    pub(super) fn handle_refusal(
        &mut self,
        now: Instant,
        refusal: Refusal,
        desk: &mut Desk,
    ) -> Result<(), MessageError> {
        let Some(pending) = self.pending.as_mut() else {
            return self.handle_refused_offer(refusal, desk);
        };
        if pending.request.position != refusal.position {
            return self.handle_refused_offer(refusal, desk);
        }
        let first = !std::mem::replace(&mut pending.helped, true);
        self.tell_refusal(refusal, desk);
        match refusal.reason {
            RefusalReason::UnknownOffer if first => self.offer_again(desk),
            RefusalReason::Gap if first => self.show_head(desk),
            RefusalReason::Unconfirmed if first => self.lower(now, refusal.confirmed, desk)?,
            // Repeated within one attempt, or nothing that another message could mend now: the
            // request is sent again in its time.
            RefusalReason::UnknownOffer
            | RefusalReason::Gap
            | RefusalReason::Unconfirmed
            | RefusalReason::Amount
            | RefusalReason::NothingNew
            | RefusalReason::Price => {}
        }
        Ok(())
    }

    fn handle_refused_offer(
        &mut self,
        refusal: Refusal,
        desk: &mut Desk,
    ) -> Result<(), MessageError> {
        let offer = self.state.current_offer().ok_or(MessageError::Unexpected)?;
        if refusal.position != offer.heading().position {
            return Err(MessageError::Stale);
        }
        self.tell_refusal(refusal, desk);
        Ok(())
    }

    fn tell_refusal(&mut self, refusal: Refusal, desk: &mut Desk) {
        if self.last_refusal.replace(refusal.reason) != Some(refusal.reason) {
            desk.event(Event::Refused {
                peer: self.consumer,
                role: Role::Provider,
                refusal,
            });
        }
    }

    /// The consumer does not know the offer. If it was sent along with the request it was lost on
    /// the way, and the retry sends it again.
    fn offer_again(&mut self, desk: &mut Desk) {
        if !std::mem::replace(&mut self.offer_known, false) {
            return;
        }
        let (Some(offer), Some(pending)) = (self.state.current_offer(), &self.pending) else {
            return;
        };
        desk.send(self.consumer, &Message::Offer(offer.clone()));
        desk.send(self.consumer, &Message::Request(pending.request));
    }

    /// The consumer lost receipts that it gave: show the last one.
    fn show_head(&self, desk: &mut Desk) {
        let (Some(offer), Some(pending)) = (self.state.current_offer(), &self.pending) else {
            return;
        };
        let Ok(head) = Head::new(offer.clone(), self.state.current_receipt().cloned()) else {
            return;
        };
        desk.send(self.consumer, &Message::Head(Box::new(head)));
        desk.send(self.consumer, &Message::Request(pending.request));
    }

    /// The consumer confirms less: ask for that, and book the rest as disputed.
    fn lower(
        &mut self,
        now: Instant,
        confirmed: Totals,
        desk: &mut Desk,
    ) -> Result<(), MessageError> {
        let Some(pending) = &self.pending else {
            return Ok(());
        };
        let (asked, attempts, retry_at) =
            (pending.request.totals, pending.attempts, pending.retry_at);
        let signed = self.state.signed();
        let lowered = asked.at_most(&confirmed);
        if lowered == asked || !lowered.covers(&signed) {
            return Err(MessageError::Unexpected);
        }
        let disputed = asked.beyond(&lowered);
        self.unsigned = self.unsigned.beyond(&disputed);
        self.dispute(disputed.bytes(), desk);
        if lowered.bytes() == signed.bytes() {
            self.pending = None;
            self.unsigned_since = (self.unsigned.bytes() > 0).then_some(now);
            return Ok(self.ask_if_closing(now, desk)?);
        }
        if attempts <= QUICK_LOWERINGS {
            return Ok(self.ask_for(now, lowered, desk)?);
        }
        self.replace_pending(lowered, attempts, retry_at)?;
        Ok(())
    }

    /// While an epoch is being closed, the next step does not wait for traffic.
    fn ask_if_closing(&mut self, now: Instant, desk: &mut Desk) -> Result<(), Overflow> {
        match self.next_epoch {
            Some(_) => self.ask_if_due(now, desk),
            None => Ok(()),
        }
    }

    /// Changes the pending request's figures; the retry timer sends it.
    fn replace_pending(
        &mut self,
        totals: Totals,
        attempts: u32,
        retry_at: Instant,
    ) -> Result<(), Overflow> {
        let (Some(pending), Some(offer)) = (&self.pending, self.state.current_offer()) else {
            return Ok(());
        };
        let amount = offer.price().charge(&totals)?;
        let request = Request {
            totals,
            amount,
            ..pending.request
        };
        self.remember_asked(totals);
        self.pending = Some(Pending {
            request,
            attempts,
            retry_at,
            helped: true,
        });
        Ok(())
    }

    fn remember_asked(&mut self, totals: Totals) {
        if self.asked.len() >= MAX_ASKED {
            self.asked.remove(0);
        }
        self.asked.push(totals);
    }

    /// The consumer shows where the account stands: this node has lost part of its log, or a
    /// contradiction comes to light.
    pub(super) fn handle_head(
        &mut self,
        now: Instant,
        head: &Head,
        desk: &mut Desk,
    ) -> Result<(), MessageError> {
        if let (Some(theirs), Some(known)) = (head.receipt(), self.state.receipt())
            && theirs.position() == known.position()
            && theirs.hash() != known.hash()
        {
            return self.handle_repeated(theirs, desk);
        }
        let other_offer = self.state.current_offer().map(Offer::hash) != Some(head.offer().hash());
        let known = self.state.position();
        let is_newer = known.is_none_or(|known| head.position() > known);
        let is_first_offer = other_offer && known == Some(head.position());
        if !is_newer && !is_first_offer {
            return Err(MessageError::Stale);
        }
        if let (Some(theirs), Some(known)) = (head.receipt(), self.state.receipt())
            && theirs.position().epoch == known.position().epoch
        {
            theirs.check_follows(known)?;
        }
        head.offer().verify()?;
        head.receipt().map_or(Ok(()), Receipt::verify)?;
        self.adopt(now, head, other_offer, desk)
    }

    fn adopt(
        &mut self,
        now: Instant,
        head: &Head,
        other_offer: bool,
        desk: &mut Desk,
    ) -> Result<(), MessageError> {
        if other_offer {
            // Nothing under that offer answers what this process asked for.
            self.forget_pending();
            self.state.set_offer(head.offer());
            desk.persist(Record::OfferMade(head.offer().clone()));
        }
        self.offer_known = true;
        desk.event(Event::Adopted {
            peer: self.consumer,
            role: Role::Provider,
            position: head.position(),
        });
        match head.receipt() {
            Some(receipt) => self.take(now, receipt, desk)?,
            None => self.forget_pending(),
        }
        self.handle_new_terms(now, desk);
        Ok(())
    }

    pub(super) fn view(&self) -> AccountView {
        let offer = self.state.current_offer();
        let next = self.next_epoch.unwrap_or_default();
        AccountView {
            peer: self.consumer,
            role: Role::Provider,
            position: self.state.position(),
            price: offer.map(Offer::price),
            credit_bytes: offer.map(Offer::credit_bytes),
            signed: self.state.signed(),
            amount: self.state.amount(),
            earlier_amount: self.state.earlier_amount(),
            unsigned_bytes: self.unsigned.bytes() + next.bytes(),
            disputed_bytes: self.disputed_bytes,
            last_hash: self.state.receipt().map(Receipt::hash),
            equivocated: self.equivocated,
        }
    }
}

fn retry_interval(first: Duration, attempts: u32) -> Duration {
    first
        .saturating_mul(1_u32.checked_shl(attempts.min(16)).unwrap_or(u32::MAX))
        .min(MAX_RETRY)
}
