//! What one neighbor carries for this node: an account for each gateway.

mod account;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::credit::{self, Standing};
use super::desk::Desk;
use super::view::{AccountView, Hold, PairDetails, PairView};
use super::{IDLE, MessageError, Role, Usage};
use crate::identity::Party;
use crate::message::{Head, Message, Refusal, RefusalReason, Request};
use crate::money::{Overflow, Totals};
use crate::offer::Offer;
use crate::receipt::Equivocation;
use crate::receipt::Receipt;
use crate::state::{AccountState, PairState};
use account::Account;

/// Without traffic for so long, what is unsigned is no reason to go slow: the provider is gone.
const THROTTLE_IDLE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Consumed {
    pair: Pair,
    /// By gateway.
    accounts: BTreeMap<Party, Account>,
    throttled: bool,
    /// When this node went slow last.
    hold: Option<Hold>,
    exposure: u128,
    window: Option<u64>,
}

/// What all accounts with one provider have in common.
#[derive(Debug)]
struct Pair {
    provider: Party,
    newest_epoch: u64,
    /// Whether this node has ever given it a receipt.
    has_signed: bool,
    /// An offer of it is in the log, so this node has signed even if the receipt was lost.
    is_in_log: bool,
    /// What is left to be signed of what an earlier run may have counted.
    unseen: Unseen,
    /// When the provider was first heard of in this run.
    since: Option<Instant>,
    /// When it was last shown a head.
    shown: Option<Instant>,
    last_traffic: Option<Instant>,
}

/// Bytes and seconds of an earlier run that nobody has counted: granted once.
#[derive(Debug, Clone, Copy, Default)]
struct Unseen {
    granted: bool,
    bytes: u64,
    seconds: u32,
}

impl Pair {
    fn elapsed(&self, now: Instant) -> Duration {
        self.since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// Receipts were given in an earlier run.
    const fn grant_unseen(&mut self, desk: &Desk) {
        if !self.unseen.granted && !desk.resumed {
            self.unseen = Unseen {
                granted: true,
                bytes: desk.config.tolerance.restart_bytes,
                seconds: desk.config.tolerance.restart_seconds,
            };
        }
    }

    /// Shows a head, unless one was shown a moment ago.
    fn show(&mut self, now: Instant, head: Option<Head>, desk: &mut Desk) {
        if let Some(head) = head.filter(|_| self.may_show(now, desk)) {
            self.shown = Some(now);
            desk.send(self.provider, &Message::Head(Box::new(head)));
        }
    }

    fn may_show(&self, now: Instant, desk: &Desk) -> bool {
        self.shown
            .is_none_or(|shown| now >= shown + desk.config.retry_after)
    }

    fn refuse(&self, request: &Request, reason: RefusalReason, desk: &mut Desk) {
        let refusal = Refusal {
            position: request.position,
            confirmed: Totals::ZERO,
            reason,
        };
        desk.send(self.provider, &Message::Refusal(refusal));
    }
}

/// What an account needs for each step.
#[derive(Debug)]
struct Context<'a> {
    now: Instant,
    pair: &'a mut Pair,
    desk: &'a mut Desk,
}

impl Consumed {
    pub(super) fn new(provider: Party, state: PairState, desk: &Desk) -> Self {
        let mut pair = Pair {
            provider,
            newest_epoch: state.newest_epoch,
            has_signed: state.has_receipt,
            is_in_log: state.newest_epoch > 0,
            unseen: Unseen::default(),
            since: None,
            shown: None,
            last_traffic: None,
        };
        if state.has_receipt {
            pair.grant_unseen(desk);
        }
        let accounts = state.accounts.into_iter();
        Self {
            pair,
            accounts: accounts
                .map(|(gateway, account)| (gateway, Account::new(gateway, account)))
                .collect(),
            throttled: false,
            hold: None,
            exposure: 0,
            window: None,
        }
    }

    /// Nothing was lost with the run before.
    pub(super) fn revoke_unseen(&mut self) {
        self.pair.unseen.bytes = 0;
    }

    pub(super) fn has_account(&self, gateway: Party) -> bool {
        self.accounts.contains_key(&gateway)
    }

    pub(super) fn account_count(&self) -> usize {
        self.accounts.len()
    }

    /// Nothing that must be remembered: above all, no epoch in which this node has signed.
    pub(super) fn is_forgettable(&self) -> bool {
        self.accounts.is_empty() && !self.pair.has_signed && !self.pair.is_in_log
    }

    /// The account that can best be forgotten: one without traffic, or not for a while.
    pub(super) fn dispensable(&self, now: Instant) -> Option<(Party, Option<Instant>)> {
        let idle = self.accounts.iter().filter(|(_, account)| {
            let last = account.last_traffic();
            last.is_none_or(|last| now >= last + IDLE) && !account.is_asked()
        });
        let used = idle.map(|(gateway, account)| (*gateway, account.last_traffic()));
        used.min_by_key(|(_, last)| *last)
    }

    pub(super) fn forget(&mut self, gateway: Party) {
        self.accounts.remove(&gateway);
    }

    pub(super) fn handle_usage(
        &mut self,
        now: Instant,
        usage: &Usage,
        desk: &mut Desk,
    ) -> Result<(), Overflow> {
        let Self { pair, accounts, .. } = self;
        pair.since.get_or_insert(now);
        pair.last_traffic = Some(now);
        let account = account(accounts, usage.gateway);
        account.handle_usage(usage, &mut Context { now, pair, desk })
    }

    /// The highest epoch known of the pair; 0 if none.
    pub(super) const fn newest_epoch(&self) -> u64 {
        self.pair.newest_epoch
    }

    /// The caller has verified an offer of an epoch above [`Self::newest_epoch`].
    pub(super) fn handle_offer(
        &mut self,
        now: Instant,
        offer: &Offer,
        desk: &mut Desk,
    ) -> Result<(), MessageError> {
        let Self { pair, accounts, .. } = self;
        pair.since.get_or_insert(now);
        if let Some(known) = accounts.get(&offer.gateway())
            && known.has_open(offer)
        {
            pair.show(now, known.head_beyond(offer), desk);
            return Ok(());
        }
        if offer.epoch() <= pair.newest_epoch {
            return self.handle_old_offer(now, offer, desk);
        }
        let account = account(accounts, offer.gateway());
        account.accept(offer, &mut Context { now, pair, desk });
        Ok(())
    }

    /// The provider has lost its log and begins again, or a newer offer has overtaken this one:
    /// shows it the newest epoch.
    fn handle_old_offer(
        &mut self,
        now: Instant,
        offer: &Offer,
        desk: &mut Desk,
    ) -> Result<(), MessageError> {
        let epoch = self.pair.newest_epoch;
        if self.pair.may_show(now, desk) {
            offer.verify()?;
            let mut accounts = self.accounts.values();
            let newest = accounts.find_map(|account| account.head_of(epoch));
            self.pair.show(now, newest, desk);
        }
        Err(MessageError::Stale)
    }

    pub(super) fn handle_request(&mut self, now: Instant, request: &Request, desk: &mut Desk) {
        let Self { pair, accounts, .. } = self;
        pair.since.get_or_insert(now);
        let epoch = request.position.epoch;
        let mut open = accounts.values_mut();
        match open.find(|account| account.is_open(epoch)) {
            Some(account) => account.handle_request(request, &mut Context { now, pair, desk }),
            None if epoch <= pair.newest_epoch => pair.refuse(request, RefusalReason::Ended, desk),
            None => pair.refuse(request, RefusalReason::UnknownOffer, desk),
        }
    }

    /// Whether a request waits for this node's count.
    pub(super) fn is_asked(&self) -> bool {
        self.accounts.values().any(Account::is_asked)
    }

    /// Judges the requests that wait: after new usage, and in the end.
    pub(super) fn judge_held(&mut self, now: Instant, desk: &mut Desk) {
        let Self { pair, accounts, .. } = self;
        let mut context = Context { now, pair, desk };
        for account in accounts.values_mut() {
            account.judge_held(&mut context);
        }
    }

    pub(super) fn timeout(&self, desk: &Desk) -> Option<Instant> {
        let accounts = self.accounts.values();
        let held = accounts.filter_map(|account| account.timeout(desk.counted_at));
        held.chain(self.throttled_until()).min()
    }

    fn throttled_until(&self) -> Option<Instant> {
        let last = self.pair.last_traffic.filter(|_| self.throttled);
        last.map(|last| last + THROTTLE_IDLE)
    }

    /// The provider shows a receipt of ours that our log may have lost. It is taken over, so that
    /// nothing is signed in its epoch any more.
    pub(super) fn handle_head(
        &mut self,
        now: Instant,
        head: &Head,
        desk: &mut Desk,
    ) -> Result<(), MessageError> {
        let Self { pair, accounts, .. } = self;
        let theirs = head.receipt().ok_or(MessageError::Stale)?;
        let known = accounts
            .get(&head.offer().gateway())
            .and_then(Account::last);
        if let Some(known) = known {
            if let Some(proof) = Equivocation::between(known, theirs) {
                proof.verify()?;
                desk.event(super::Event::Equivocation(Box::new(proof)));
                return Err(MessageError::Contradiction);
            }
            if known.position() >= theirs.position() {
                return Err(MessageError::Stale);
            }
            if known.position().epoch == theirs.position().epoch {
                theirs.check_follows(known)?;
            }
        }
        head.verify()?;
        let account = account(accounts, head.offer().gateway());
        account.adopt(head, theirs, &mut Context { now, pair, desk })
    }

    /// Whether this node has to go slow because of what it has not signed for this provider.
    pub(super) fn review(&mut self, now: Instant, desk: &Desk) {
        let mut credit_bytes = u64::MAX;
        self.exposure = 0;
        let max_price = desk.config.max_price;
        let owed = self.accounts.values().filter_map(|it| it.owed(max_price));
        for (credit, exposure) in owed {
            credit_bytes = credit_bytes.min(credit);
            self.exposure = self.exposure.saturating_add(exposure);
        }
        if !self.pair.has_signed {
            // To a provider that has no receipt yet, this node is a stranger.
            credit_bytes = credit_bytes.min(desk.config.credit.stranger_bytes);
        }
        let gone = self
            .pair
            .last_traffic
            .is_none_or(|last| now >= last + THROTTLE_IDLE);
        let (slow_at, fast_below) = (credit_bytes - credit_bytes / 4, credit_bytes / 2);
        self.window = (credit_bytes < u64::MAX).then_some(slow_at);
        let throttled = self.exposure > 0
            && !gone
            && credit::is_over(self.throttled, self.exposure, slow_at, fast_below);
        if throttled != self.throttled {
            self.throttled = throttled;
            self.note_hold(now, slow_at);
        }
    }

    fn note_hold(&mut self, now: Instant, window_bytes: u64) {
        if self.throttled {
            self.hold = Some(Hold {
                since: now,
                until: None,
                exposure_bytes: self.exposure,
                window_bytes,
                standing: self.standing(),
            });
        } else if let Some(hold) = &mut self.hold {
            hold.until = Some(now);
        }
    }

    /// What this node is to the provider.
    const fn standing(&self) -> Standing {
        match self.pair.has_signed {
            true => Standing::Known,
            false => Standing::Stranger,
        }
    }

    pub(super) const fn is_throttled(&self) -> bool {
        self.throttled
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = &Receipt> {
        self.accounts.values().filter_map(Account::head)
    }

    pub(super) fn unsettled(&self) -> impl Iterator<Item = Usage> + '_ {
        let peer = self.pair.provider;
        let accounts = self.accounts.values();
        accounts.filter_map(move |account| account.unsettled(peer))
    }

    fn view(&self) -> PairView {
        PairView {
            peer: self.pair.provider,
            role: Role::Consumer,
            standing: self.standing(),
            held: self.throttled,
            exposure_bytes: self.exposure,
            window_bytes: self.window,
        }
    }

    pub(super) fn views(&self) -> impl Iterator<Item = AccountView> + '_ {
        let pair = self.view();
        self.accounts
            .values()
            .map(move |account| account.view(pair))
    }

    pub(super) fn details(&self) -> PairDetails {
        let accounts = self.accounts.values();
        PairDetails {
            role: Role::Consumer,
            accounts: accounts
                .map(|account| account.details(self.view()))
                .collect(),
            hold: self.hold,
            proof: None,
        }
    }
}

fn account(accounts: &mut BTreeMap<Party, Account>, gateway: Party) -> &mut Account {
    accounts
        .entry(gateway)
        .or_insert_with(|| Account::new(gateway, AccountState::default()))
}
