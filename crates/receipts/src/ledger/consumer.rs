//! One account of what a neighbor carries for this node.
//!
//! ```text
//! Offer ──> price acceptable? kept ──> Request ──> known place? the stored receipt again
//!                                         │         own count confirms? sign, persist, send
//!                                         └──────── not yet? held until the count catches up, or refused
//! ```
//!
//! # Invariants
//! - One place in the account gets one receipt: whatever is asked for a place already signed, the
//!   stored receipt is the answer.
//! - `signed ≤ counted + tolerance`, over all epochs of this run of the process.
//! - An offer reaches the log with the first receipt under it, so that strangers cannot fill it.

use std::time::{Duration, Instant};

use super::{AccountView, Desk, Event, MessageError, Role, Tolerance, Usage};
use crate::heading::Position;
use crate::identity::Party;
use crate::log::Record;
use crate::message::{Head, Message, Refusal, RefusalReason, Request};
use crate::money::{Overflow, Totals};
use crate::offer::Offer;
use crate::receipt::{CompactReceipt, Equivocation, Receipt};
use crate::state::PairState;

#[derive(Debug)]
pub(super) struct ConsumerAccount {
    provider: Party,
    state: PairState,
    /// Whether the offer is in the log.
    offer_logged: bool,
    /// Bytes counted in this run of the process.
    counted: Totals,
    /// Signed in this run of the process, over all epochs.
    signed: Totals,
    /// Whether receipts were given in an earlier run: its last bytes are unknown.
    known_before: bool,
    /// When the provider was first heard of in this run.
    since: Option<Instant>,
    held: Option<Held>,
    /// The epoch of an offer that is too dear.
    too_dear: Option<u64>,
    /// What was refused last, so that the same is told once; a signature clears it.
    last_refusal: Option<RefusalReason>,
}

/// A request that the own count does not confirm yet.
#[derive(Debug)]
struct Held {
    request: Request,
    refuse_at: Instant,
}

/// What becomes of a request for the next place.
enum Verdict {
    Sign,
    /// Claims more than was counted: wait, then refuse.
    Unconfirmed,
    Refuse(RefusalReason),
}

impl ConsumerAccount {
    pub(super) fn new(provider: Party, state: PairState) -> Self {
        let known_before = state.receipt().is_some();
        let offer_logged = state.offer().is_some();
        Self {
            provider,
            state,
            offer_logged,
            counted: Totals::ZERO,
            signed: Totals::ZERO,
            known_before,
            since: None,
            held: None,
            too_dear: None,
            last_refusal: None,
        }
    }

    /// Never counted for and never signed: it can be forgotten.
    pub(super) fn is_unused(&self) -> bool {
        self.counted.bytes() == 0 && self.state.receipt().is_none()
    }

    pub(super) fn handle_usage(&mut self, now: Instant, usage: &Usage) -> Result<(), Overflow> {
        self.since.get_or_insert(now);
        let carried = Totals {
            up_bytes: usage.up_bytes,
            down_bytes: usage.down_bytes,
            seconds: 0,
        };
        self.counted = self.counted.checked_add(&carried)?;
        Ok(())
    }

    pub(super) fn handle_offer(
        &mut self,
        now: Instant,
        offer: &Offer,
        desk: &mut Desk,
    ) -> Result<(), MessageError> {
        self.since.get_or_insert(now);
        let known = self.state.current_offer();
        if known.is_some_and(|known| known.hash() == offer.hash()) {
            return Ok(());
        }
        if self.was_accepted(offer) {
            offer.verify()?;
            self.state.set_offer(offer);
            self.offer_logged = false;
            return Ok(());
        }
        if offer.epoch() <= self.state.newest_epoch() {
            // The provider lost its log and begins again: show it where the account stands.
            offer.verify()?;
            self.show_head(desk);
            return Err(MessageError::Stale);
        }
        if offer.price() > desk.config.max_price {
            self.too_dear = Some(offer.epoch());
            let position = offer.heading().position;
            self.refuse(position, Totals::ZERO, RefusalReason::Price, desk);
            return Ok(());
        }
        offer.verify()?;
        self.accept(offer, desk);
        Ok(())
    }

    /// Our log lost the offer and kept receipts given under it.
    fn was_accepted(&self, offer: &Offer) -> bool {
        let last = self.state.receipt();
        self.state.current_offer().is_none()
            && last.is_some_and(|last| last.check_offer(offer).is_ok())
    }

    fn accept(&mut self, offer: &Offer, desk: &mut Desk) {
        self.state.set_offer(offer);
        self.offer_logged = false;
        self.too_dear = None;
        self.held = None;
        desk.event(Event::OfferAccepted {
            peer: self.provider,
            epoch: offer.epoch(),
            price: offer.price(),
        });
    }

    fn show_head(&self, desk: &mut Desk) {
        let Some(offer) = self.state.current_offer() else {
            return;
        };
        if let Ok(head) = Head::new(offer.clone(), self.state.current_receipt().cloned()) {
            desk.send(self.provider, &Message::Head(Box::new(head)));
        }
    }

    pub(super) fn handle_request(&mut self, now: Instant, request: &Request, desk: &mut Desk) {
        self.since.get_or_insert(now);
        let last = self.state.receipt();
        if let Some(last) = last.filter(|last| last.position() == request.position) {
            let stored = Message::Receipt(CompactReceipt::from(last));
            return desk.send(self.provider, &stored);
        }
        if self
            .state
            .position()
            .is_some_and(|known| known > request.position)
        {
            return self.show_head(desk);
        }
        let repeated = self
            .held
            .as_ref()
            .is_some_and(|held| held.request == *request);
        if !repeated {
            let refuse_at = now + desk.config.confirm_within;
            self.held = Some(Held {
                request: *request,
                refuse_at,
            });
        }
        self.judge_held(now, desk);
    }

    /// Judges the request that waits, if any: after it came, after new usage, in the end.
    pub(super) fn judge_held(&mut self, now: Instant, desk: &mut Desk) {
        let Some(held) = &self.held else { return };
        let (request, refuse_at) = (held.request, held.refuse_at);
        let tolerance = desk.config.tolerance;
        match self
            .judge(now, &request, &tolerance)
            .unwrap_or(Verdict::Unconfirmed)
        {
            Verdict::Unconfirmed if now < refuse_at => return,
            Verdict::Sign => self.sign(now, &request, desk),
            Verdict::Unconfirmed => {
                self.refuse_held(now, &request, RefusalReason::Unconfirmed, desk);
            }
            Verdict::Refuse(reason) => self.refuse_held(now, &request, reason, desk),
        }
        self.held = None;
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.refuse_at)
    }

    fn judge(
        &self,
        now: Instant,
        request: &Request,
        tolerance: &Tolerance,
    ) -> Result<Verdict, Overflow> {
        if self.too_dear == Some(request.position.epoch) {
            return Ok(Verdict::Refuse(RefusalReason::Price));
        }
        let Some(offer) = self.state.current_offer() else {
            return Ok(Verdict::Refuse(RefusalReason::UnknownOffer));
        };
        let last_seq = self
            .state
            .current_receipt()
            .map_or(0, |last| last.position().seq);
        if request.position.epoch != offer.epoch() || request.offer_hash != offer.hash() {
            return Ok(Verdict::Refuse(RefusalReason::UnknownOffer));
        }
        if last_seq.checked_add(1) != Some(request.position.seq) {
            return Ok(Verdict::Refuse(RefusalReason::Gap));
        }
        if offer.price().charge(&request.totals) != Ok(request.amount) {
            return Ok(Verdict::Refuse(RefusalReason::Amount));
        }
        let last = self.state.signed();
        if !request.totals.covers(&last) || request.totals.bytes() == last.bytes() {
            return Ok(Verdict::Refuse(RefusalReason::NothingNew));
        }
        let claimed = request
            .totals
            .checked_sub(&last)?
            .checked_add(&self.signed)?;
        Ok(match self.confirms(now, &claimed, offer, tolerance)? {
            true => Verdict::Sign,
            false => Verdict::Unconfirmed,
        })
    }

    /// Whether all that would then be signed in this run is within what was counted.
    fn confirms(
        &self,
        now: Instant,
        claimed: &Totals,
        offer: &Offer,
        tolerance: &Tolerance,
    ) -> Result<bool, Overflow> {
        let unseen = match self.known_before {
            true => offer.credit_bytes().min(tolerance.restart_bytes),
            false => 0,
        };
        let within = |claimed: u128, counted: u128| {
            let share = counted * u128::from(tolerance.percent) / 100;
            claimed <= counted + share + u128::from(tolerance.bytes) + u128::from(unseen)
        };
        let seconds = u64::from(tolerance.seconds)
            + if self.known_before {
                u64::from(tolerance.restart_seconds)
            } else {
                0
            }
            + self.elapsed(now).as_secs();
        Ok(within(claimed.bytes(), self.counted.bytes())
            && within(claimed.up_bytes.into(), self.counted.up_bytes.into())
            && within(claimed.down_bytes.into(), self.counted.down_bytes.into())
            && u64::from(claimed.seconds) <= seconds)
    }

    fn elapsed(&self, now: Instant) -> Duration {
        self.since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    fn sign(&mut self, now: Instant, request: &Request, desk: &mut Desk) {
        if self.try_sign(request, desk).is_err() {
            // Figures out of range; whoever asks for them gets an answer and nothing signed.
            self.refuse_held(now, request, RefusalReason::Unconfirmed, desk);
        }
    }

    fn try_sign(&mut self, request: &Request, desk: &mut Desk) -> Result<(), MessageError> {
        let offer = self
            .state
            .current_offer()
            .ok_or(MessageError::Unexpected)?
            .clone();
        let last = self.state.current_receipt();
        let receipt = Receipt::sign(&desk.key, &offer, last, request.totals)?;
        let added = request.totals.checked_sub(&self.state.signed())?;
        let signed = self.signed.checked_add(&added)?;
        self.state.set_receipt(&receipt)?;
        self.signed = signed;
        self.last_refusal = None;
        if !std::mem::replace(&mut self.offer_logged, true) {
            desk.persist(Record::OfferAccepted(offer));
        }
        desk.persist(Record::ReceiptGiven(receipt.clone()));
        desk.send(
            self.provider,
            &Message::Receipt(CompactReceipt::from(&receipt)),
        );
        desk.event(Event::ReceiptGiven {
            peer: self.provider,
            position: receipt.position(),
            totals: *receipt.totals(),
            amount: receipt.amount(),
        });
        Ok(())
    }

    fn refuse_held(
        &mut self,
        now: Instant,
        request: &Request,
        reason: RefusalReason,
        desk: &mut Desk,
    ) {
        let confirmed = self.confirmed(now);
        self.refuse(request.position, confirmed, reason, desk);
    }

    fn refuse(
        &mut self,
        position: Position,
        confirmed: Totals,
        reason: RefusalReason,
        desk: &mut Desk,
    ) {
        let refusal = Refusal {
            position,
            confirmed,
            reason,
        };
        desk.send(self.provider, &Message::Refusal(refusal));
        if self.last_refusal.replace(reason) != Some(reason) {
            desk.event(Event::Refused {
                peer: self.provider,
                role: Role::Consumer,
                refusal,
            });
        }
    }

    /// The cumulative figures of this epoch that the own count confirms exactly.
    fn confirmed(&self, now: Instant) -> Totals {
        let elapsed = u32::try_from(self.elapsed(now).as_secs()).unwrap_or(u32::MAX);
        let counted = Totals {
            seconds: elapsed,
            ..self.counted
        };
        let last = self.state.signed();
        last.checked_add(&counted.beyond(&self.signed))
            .unwrap_or(last)
    }

    /// The provider shows receipts of ours that our log has lost.
    pub(super) fn handle_head(&mut self, head: &Head, desk: &mut Desk) -> Result<(), MessageError> {
        let theirs = head.receipt().ok_or(MessageError::Stale)?;
        let contradiction = self
            .state
            .receipt()
            .and_then(|known| Equivocation::between(known, theirs));
        if let Some(proof) = contradiction {
            proof.verify()?;
            desk.event(Event::Equivocation(Box::new(proof)));
            return Err(MessageError::Contradiction);
        }
        if self
            .state
            .position()
            .is_some_and(|known| known >= theirs.position())
        {
            return Err(MessageError::Stale);
        }
        head.offer().verify()?;
        theirs.verify()?;
        self.adopt(head.offer(), theirs, desk)
    }

    fn adopt(
        &mut self,
        offer: &Offer,
        receipt: &Receipt,
        desk: &mut Desk,
    ) -> Result<(), MessageError> {
        if let Some(known) = self.state.receipt()
            && known.position().epoch == receipt.position().epoch
        {
            receipt.check_follows(known)?;
        }
        self.state.set_receipt(receipt)?;
        self.state.set_offer(offer);
        self.offer_logged = true;
        self.known_before = true;
        self.held = None;
        desk.persist(Record::OfferAccepted(offer.clone()));
        desk.persist(Record::ReceiptGiven(receipt.clone()));
        let position = receipt.position();
        desk.event(Event::Adopted {
            peer: self.provider,
            role: Role::Consumer,
            position,
        });
        Ok(())
    }

    pub(super) fn view(&self) -> AccountView {
        let offer = self.state.current_offer();
        AccountView {
            peer: self.provider,
            role: Role::Consumer,
            position: self.state.position(),
            price: offer.map(Offer::price),
            credit_bytes: offer.map(Offer::credit_bytes),
            signed: self.state.signed(),
            amount: self.state.amount(),
            earlier_amount: self.state.earlier_amount(),
            unsigned_bytes: self.counted.beyond(&self.signed).bytes(),
            disputed_bytes: 0,
            last_hash: self.state.receipt().map(Receipt::hash),
            equivocated: false,
        }
    }
}

/// Answers a request from a provider with whom there is no account: nothing is kept.
pub(super) fn refuse_unknown(provider: Party, position: Position, desk: &mut Desk) {
    let reason = RefusalReason::UnknownOffer;
    let refusal = Refusal {
        position,
        confirmed: Totals::ZERO,
        reason,
    };
    desk.send(provider, &Message::Refusal(refusal));
}
