//! What this node carries for one neighbor: an account for each gateway, one window for all.

mod account;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::credit::{self, Carried, Standing};
use super::desk::Desk;
use super::output::{Event, Output};
use super::view::{AccountView, Hold, PairDetails, PairView};
use super::{IDLE, MessageError, Role, Usage};
use crate::identity::Party;
use crate::message::{Head, Refusal};
use crate::money::Overflow;
use crate::receipt::{CompactReceipt, Equivocation, Receipt};
use crate::state::PairState;
use account::Account;

#[derive(Debug)]
pub(super) struct Provided {
    pair: Pair,
    /// By gateway.
    accounts: BTreeMap<Party, Account>,
    held: bool,
    /// When it was held last.
    hold: Option<Hold>,
    exposure: u128,
    window: Option<u64>,
    /// Its part of what all strangers have had.
    pooled: u128,
}

/// What all accounts with one consumer have in common.
#[derive(Debug)]
struct Pair {
    consumer: Party,
    newest_epoch: u64,
    /// Later ones were opened in this run.
    epoch_at_start: u64,
    has_signed: bool,
    /// That it contradicted itself.
    proof: Option<Box<Equivocation>>,
}

impl Pair {
    const fn standing(&self) -> Standing {
        if self.proof.is_some() {
            Standing::Cheat
        } else if self.has_signed {
            Standing::Known
        } else {
            Standing::Stranger
        }
    }
}

/// What an account needs for each step.
#[derive(Debug)]
struct Context<'a> {
    now: Instant,
    pair: &'a mut Pair,
    desk: &'a mut Desk,
}

impl Provided {
    pub(super) fn new(consumer: Party, state: PairState, proof: Option<Equivocation>) -> Self {
        let accounts = state.accounts.into_iter();
        Self {
            pair: Pair {
                consumer,
                newest_epoch: state.newest_epoch,
                epoch_at_start: state.newest_epoch,
                has_signed: state.has_receipt,
                proof: proof.map(Box::new),
            },
            accounts: accounts
                .map(|(gateway, account)| (gateway, Account::new(gateway, account)))
                .collect(),
            held: false,
            hold: None,
            exposure: 0,
            window: None,
            pooled: 0,
        }
    }

    pub(super) fn has_account(&self, gateway: Party) -> bool {
        self.accounts.contains_key(&gateway)
    }

    pub(super) fn account_count(&self) -> usize {
        self.accounts.len()
    }

    /// The account that can best be forgotten: of a stranger, or settled; without traffic for a
    /// while; used longest ago.
    pub(super) fn dispensable(&self, now: Instant) -> Option<(Party, Option<Instant>)> {
        let idle = self.accounts.iter().filter(|(_, account)| {
            let is_idle = account.last_traffic().is_none_or(|last| now >= last + IDLE);
            is_idle && (!self.pair.has_signed || account.is_settled())
        });
        let used = idle.map(|(gateway, account)| (*gateway, account.last_traffic()));
        used.min_by_key(|(_, last)| *last)
    }

    /// Forgets an account; says whether there is nothing left that must be remembered.
    pub(super) fn forget(&mut self, now: Instant, gateway: Party, desk: &mut Desk) -> bool {
        self.accounts.remove(&gateway);
        self.review(now, desk);
        self.accounts.is_empty() && self.pair.standing() == Standing::Stranger
    }

    pub(super) fn handle_usage(
        &mut self,
        now: Instant,
        usage: &Usage,
        desk: &mut Desk,
    ) -> Result<(), Overflow> {
        let Self { pair, accounts, .. } = self;
        let account = account(accounts, usage.gateway);
        account.handle_usage(usage, &mut Context { now, pair, desk })
    }

    pub(super) fn handle_new_terms(&mut self, now: Instant, desk: &mut Desk) {
        self.for_each(now, desk, Account::handle_new_terms);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, desk: &mut Desk) {
        self.for_each(now, desk, Account::handle_timeout);
    }

    fn for_each(
        &mut self,
        now: Instant,
        desk: &mut Desk,
        step: fn(&mut Account, &mut Context<'_>),
    ) {
        let Self { pair, accounts, .. } = self;
        let mut context = Context { now, pair, desk };
        for account in accounts.values_mut() {
            step(account, &mut context);
        }
    }

    pub(super) fn timeout(&self, receipt_every: Duration) -> Option<Instant> {
        let accounts = self.accounts.values();
        accounts
            .filter_map(|account| account.timeout(&self.pair, receipt_every))
            .min()
    }

    pub(super) fn handle_receipt(
        &mut self,
        now: Instant,
        receipt: &CompactReceipt,
        desk: &mut Desk,
    ) -> Result<(), MessageError> {
        let Self { pair, accounts, .. } = self;
        let epoch = receipt.position().epoch;
        let account = accounts
            .values_mut()
            .find(|account| account.has_offer_of(epoch))
            .ok_or(MessageError::Stale)?;
        account.handle_receipt(receipt, &mut Context { now, pair, desk })
    }

    pub(super) fn handle_refusal(
        &mut self,
        now: Instant,
        refusal: Refusal,
        desk: &mut Desk,
    ) -> Result<(), MessageError> {
        let Self { pair, accounts, .. } = self;
        let account = accounts
            .values_mut()
            .find(|account| account.waits_for(refusal.position))
            .ok_or(MessageError::Stale)?;
        account.handle_refusal(refusal, &mut Context { now, pair, desk });
        Ok(())
    }

    /// The consumer shows where an account stands: this node has lost part of its log, or a
    /// contradiction comes to light.
    pub(super) fn handle_head(
        &mut self,
        now: Instant,
        head: &Head,
        desk: &mut Desk,
    ) -> Result<(), MessageError> {
        let Self { pair, accounts, .. } = self;
        let epoch = head.offer().epoch();
        let mut context = Context { now, pair, desk };
        let known = accounts.get_mut(&head.offer().gateway());
        if let Some(known) = known
            && let Some(receipt) = head.receipt()
            && known.has_offer(head.offer())
            && let Some(result) = known.handle_known(receipt, &mut context)
        {
            return result;
        }
        let known = accounts.get(&head.offer().gateway());
        let is_ahead =
            epoch > context.pair.newest_epoch || known.is_none_or(|known| known.is_behind(head));
        if !is_ahead {
            return Err(MessageError::Stale);
        }
        head.verify()?;
        context.pair.newest_epoch = context.pair.newest_epoch.max(epoch);
        let account = account(accounts, head.offer().gateway());
        account.adopt(head, &mut context)?;
        account.proceed(&mut context);
        Ok(())
    }

    /// Compares what the neighbor has had with its window.
    pub(super) fn review(&mut self, now: Instant, desk: &mut Desk) {
        let standing = self.pair.standing();
        let mut carried = Carried::default();
        let priced = self.accounts.values().filter(|account| account.costs());
        let mut has_price = false;
        for account in priced {
            has_price = true;
            carried.add(&account.carried());
        }
        self.exposure = if has_price { carried.exposure() } else { 0 };
        let others = desk.strangers_bytes.saturating_sub(self.pooled);
        let credit = desk.config.credit;
        let (pooled, window) = match standing {
            Standing::Stranger => (self.exposure, credit.stranger_window(others)),
            Standing::Known | Standing::Cheat => (0, credit.window(standing)),
        };
        self.pooled = pooled;
        desk.strangers_bytes = others.saturating_add(pooled);
        let held = has_price && credit::is_over(self.held, self.exposure, window, window / 2);
        self.window = Some(window);
        if held != self.held {
            self.held = held;
            self.note_hold(now, window);
            self.tell_held(window, desk);
            if held {
                self.for_each(now, desk, Account::ask_now);
            }
        }
    }

    fn note_hold(&mut self, now: Instant, window_bytes: u64) {
        if self.held {
            self.hold = Some(Hold {
                since: now,
                until: None,
                exposure_bytes: self.exposure,
                window_bytes,
                standing: self.pair.standing(),
            });
        } else if let Some(hold) = &mut self.hold {
            hold.until = Some(now);
        }
    }

    fn tell_held(&self, window: u64, desk: &mut Desk) {
        let (peer, held) = (self.pair.consumer, self.held);
        let (exposure, standing) = (self.exposure, self.pair.standing());
        desk.output(Output::Hold { peer, held });
        desk.event(if held {
            Event::Held {
                peer,
                exposure,
                window,
                standing,
            }
        } else {
            Event::Released {
                peer,
                exposure,
                window,
                standing,
            }
        });
    }

    pub(super) const fn standing(&self) -> Standing {
        self.pair.standing()
    }

    /// Bytes that may still be carried for it before it is held.
    pub(super) fn credit_left(&self, desk: &Desk) -> u64 {
        if self.held {
            return 0;
        }
        let window = self
            .window
            .unwrap_or_else(|| desk.config.credit.window(self.pair.standing()));
        u64::try_from(u128::from(window).saturating_sub(self.exposure)).unwrap_or(u64::MAX)
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = &Receipt> {
        self.accounts.values().filter_map(Account::head)
    }

    pub(super) fn unsettled(&self) -> impl Iterator<Item = Usage> + '_ {
        let peer = self.pair.consumer;
        let accounts = self.accounts.values();
        accounts.flat_map(move |account| account.unsettled(peer))
    }

    fn view(&self) -> PairView {
        PairView {
            peer: self.pair.consumer,
            role: Role::Provider,
            standing: self.pair.standing(),
            held: self.held,
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
            role: Role::Provider,
            accounts: accounts
                .map(|account| account.details(self.view()))
                .collect(),
            hold: self.hold,
            proof: self.pair.proof.as_deref().cloned(),
        }
    }
}

fn account(accounts: &mut BTreeMap<Party, Account>, gateway: Party) -> &mut Account {
    accounts
        .entry(gateway)
        .or_insert_with(|| Account::new(gateway, crate::state::AccountState::default()))
}
