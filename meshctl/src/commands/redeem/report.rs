//! What was sent, and what became of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use control_api::{AttoSmt, NodeId};
use receipts::log::Report;
use receipts::{Amount, Party};
use redeem_api::{ClaimAnswer, NodeAnswer, PairAnswer, PairState};
use serde::Serialize;

use super::bundle::Bundle;
use crate::commands::receipts::counted;
use crate::format;
use crate::output::{Column, left, right, table};

const COLUMNS: [Column; 5] = [
    left("PROVIDER"),
    left("CONSUMER"),
    right("SIGNED SMT"),
    right("IN CHEQUES"),
    left("STATE"),
];

/// What `redeem` did.
#[derive(Debug, Serialize)]
pub(super) struct Redeemed {
    pub(super) schema: u32,
    pub(super) dry_run: bool,
    pub(super) files: Vec<RedeemedFile>,
}

/// One file of receipts.
#[derive(Debug, Serialize)]
pub(super) struct RedeemedFile {
    file: String,
    owner: NodeId,
    receipts: usize,
    /// New to the service.
    new: u64,
    /// Redeemed before.
    known: u64,
    parts: usize,
    /// Parts that have to be sent once more.
    pub(super) parts_waiting: usize,
    /// Why there was no way to the service.
    pub(super) offline: Option<String>,
    /// Where the cheques are.
    pub(super) cheques: Option<String>,
    pairs: Vec<Pair>,
}

/// Who earns from whom.
#[derive(Debug, Serialize)]
struct Pair {
    provider: NodeId,
    consumer: NodeId,
    /// In this file, or more if the service has more.
    signed_atto: AttoSmt,
    settled_atto: AttoSmt,
    /// Unknown if it was not asked for.
    state: Option<PairState>,
    /// Receipts, and proofs, that the service has not taken.
    refused: u64,
}

impl Redeemed {
    /// Whether it has to be done once more.
    pub(super) fn waits(&self) -> bool {
        !self.dry_run && self.files.iter().any(|file| file.parts_waiting > 0)
    }

    pub(super) fn text(&self) -> String {
        if self.files.is_empty() {
            return "There is nothing to redeem.\n".to_owned();
        }
        let files = self.files.iter().map(|file| file.text(self.dry_run));
        files.collect::<Vec<_>>().join("\n")
    }
}

impl RedeemedFile {
    /// Before anything is sent.
    pub(super) fn planned(bundle: &Bundle) -> Self {
        Self {
            file: bundle.file.display().to_string(),
            owner: bundle.owner(),
            receipts: bundle.report.newest.len(),
            new: 0,
            known: 0,
            parts: bundle.parts.len(),
            parts_waiting: bundle.parts.len(),
            offline: None,
            cheques: None,
            pairs: pairs(&bundle.report),
        }
    }

    /// What the service says of a part; whether it keeps all that this node earns by it. What the node owes, others
    /// bring as well, unless that is all there is.
    pub(super) fn add(&mut self, answer: ClaimAnswer) -> bool {
        self.new = self.new.saturating_add(answer.new);
        self.known = self.known.saturating_add(answer.known);
        let earns = |pair: &&PairAnswer| pair.provider == self.owner;
        let is_kept = PairAnswer::is_kept;
        let kept = match answer.pairs.iter().any(|pair| earns(&pair)) {
            true => answer.pairs.iter().filter(earns).all(is_kept),
            false => answer.pairs.iter().all(is_kept),
        };
        answer.pairs.iter().for_each(|pair| self.note(pair));
        kept
    }

    /// What the service knows by now; a state that it gave with its answer says more.
    pub(super) fn know(&mut self, known: &NodeAnswer) {
        for pair in known.earned.iter().chain(&known.owed) {
            let Some(ours) = self.pair(pair) else {
                continue;
            };
            ours.settled_atto = pair.settled_atto;
            ours.signed_atto = ours.signed_atto.max(pair.claimed_atto);
            let settled = pair.state == PairState::Settled;
            if settled && ours.state.is_none_or(PairState::is_kept) || ours.state.is_none() {
                ours.state = Some(pair.state);
            }
        }
    }

    fn note(&mut self, answer: &PairAnswer) {
        let Some(pair) = self.pair(answer) else {
            return;
        };
        pair.settled_atto = answer.settled_atto;
        pair.signed_atto = pair.signed_atto.max(answer.claimed_atto);
        pair.state = Some(answer.state);
        pair.refused = pair.refused.saturating_add(answer.refused);
    }

    fn pair(&mut self, of: &PairAnswer) -> Option<&mut Pair> {
        let mut pairs = self.pairs.iter_mut();
        pairs.find(|pair| pair.provider == of.provider && pair.consumer == of.consumer)
    }

    fn text(&self, dry_run: bool) -> String {
        let mut text = format!(
            "{}: {} of {}\n\n{}",
            format::harmless(&self.file),
            counted(self.receipts, "receipt"),
            self.owner.short(),
            table(
                COLUMNS,
                self.pairs.iter().map(Pair::row),
                "Nobody owes anybody anything."
            ),
        );
        // Writing to a string does not fail.
        let _ = match (dry_run, &self.offline) {
            (true, _) => writeln!(text, "\nNothing was sent: {}.", counted(self.parts, "part")),
            (false, Some(reason)) => writeln!(
                text,
                "\nOffline. Not sent yet: {} of {}.\n{}\nRun the same again when there is Internet: nothing counts twice.",
                counted(self.parts_waiting, "part"),
                format::harmless(&self.file),
                format::harmless(reason),
            ),
            (false, None) => writeln!(text, "\n{} new, {} redeemed before.", self.new, self.known),
        };
        if let Some(cheques) = &self.cheques {
            let _ = writeln!(
                text,
                "Cheques: {}\nCashing them costs a fee in ether, whatever they are worth: meshctl wallet cash says how much before it asks.",
                format::harmless(cheques)
            );
        }
        for advice in self.advice() {
            let _ = writeln!(text, "{advice}");
        }
        text
    }

    /// What can be done about what was not taken, or is kept back: each once.
    fn advice(&self) -> Vec<&'static str> {
        let states = self.pairs.iter().filter_map(|pair| pair.state);
        let mut advice: Vec<_> = states.filter_map(remedy).collect();
        if self.pairs.iter().any(|pair| pair.refused > 0) {
            advice.push(
                "not all was taken: the service does not settle such prices or amounts, nor keep a proof without a receipt.",
            );
        }
        if self.pairs.iter().any(Pair::is_below_minimum) {
            advice.push("below minimum: the service settles no such small amount of an epoch.");
        }
        advice.sort_unstable();
        advice.dedup();
        advice
    }
}

fn remedy(state: PairState) -> Option<&'static str> {
    match state {
        PairState::Settled | PairState::Free => None,
        PairState::Pending => Some("pending: the service goes on with it by itself."),
        PairState::DepositUsedUp => {
            Some("deposit used up: the rest follows when the consumer has deposited more.")
        }
        PairState::AllowanceUsedUp => {
            Some("allowance used up: the rest follows when cheques have been cashed.")
        }
        PairState::TooManyCheques => {
            Some("too many cheques: the rest follows when some of the consumer's have been cashed.")
        }
        PairState::PayerLeft => {
            Some("payer left: the rest follows if the consumer names this service again.")
        }
        PairState::ConsumerUnknown => {
            Some("consumer unknown: it has no account with this service yet; try again later.")
        }
        PairState::ProviderUnknown => {
            Some("provider unknown: register it (meshctl account), then try again.")
        }
        PairState::NoDeposit => {
            Some("no deposit: the consumer's account has none for this service; try again later.")
        }
        PairState::ChainUnreachable => {
            Some("chain unreachable: the service cannot see deposits now; try again later.")
        }
        PairState::NetworkUnknown => Some("network unknown: this service does not settle it."),
        PairState::TooDear => Some("too dear: this service does not settle such a price."),
        PairState::TooMuchUnsettled => Some(
            "too much unsettled: try again when the consumer has deposited, or cheques were cashed.",
        ),
    }
}

impl Pair {
    fn row(&self) -> [String; COLUMNS.len()] {
        [
            self.provider.short(),
            self.consumer.short(),
            format::smt(self.signed_atto),
            format::smt(self.settled_atto),
            self.state_text().to_owned(),
        ]
    }

    const fn state_text(&self) -> &'static str {
        match self.state {
            None => "not sent",
            Some(PairState::Free) if self.is_below_minimum() => "below minimum",
            Some(state) => state_text(state),
        }
    }

    /// Something was signed, and it is too little for the service.
    const fn is_below_minimum(&self) -> bool {
        matches!(self.state, Some(PairState::Free)) && self.signed_atto.atto() > 0
    }
}

const fn state_text(state: PairState) -> &'static str {
    match state {
        PairState::Settled => "settled",
        PairState::Pending => "pending",
        PairState::DepositUsedUp => "deposit used up",
        PairState::AllowanceUsedUp => "allowance used up",
        PairState::TooManyCheques => "too many cheques",
        PairState::PayerLeft => "payer left",
        PairState::ConsumerUnknown => "consumer unknown",
        PairState::ProviderUnknown => "provider unknown",
        PairState::NoDeposit => "no deposit",
        PairState::ChainUnreachable => "chain unreachable",
        PairState::NetworkUnknown => "network unknown",
        PairState::TooDear => "too dear",
        PairState::TooMuchUnsettled => "too much unsettled",
        PairState::Free => "free",
    }
}

/// Also those of which there is a proof alone. Sums that leave the range are left out: the service would refuse them.
fn pairs(report: &Report) -> Vec<Pair> {
    let mut signed: BTreeMap<(Party, Party), Amount> = BTreeMap::new();
    for proof in &report.equivocations {
        let heading = proof.receipts().0.heading();
        signed.insert((heading.provider, heading.consumer), Amount::ZERO);
    }
    for pair in report.pairs().unwrap_or_default() {
        signed.insert((pair.provider, pair.consumer), pair.amount);
    }
    let pair = |((provider, consumer), amount): (&(Party, Party), &Amount)| Pair {
        provider: NodeId::new(*provider.as_bytes()),
        consumer: NodeId::new(*consumer.as_bytes()),
        signed_atto: AttoSmt::new(amount.atto_smt()),
        settled_atto: AttoSmt::default(),
        state: None,
        refused: 0,
    };
    signed.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_not_called_free() {
        let state = |state, atto| {
            let node = NodeId::new([1; 32]);
            let pair = Pair {
                provider: node,
                consumer: node,
                signed_atto: AttoSmt::new(atto),
                settled_atto: AttoSmt::default(),
                state,
                refused: 0,
            };
            pair.state_text()
        };
        assert_eq!(state(Some(PairState::Free), 0), "free");
        assert_eq!(state(Some(PairState::Free), 1), "below minimum");
        assert_eq!(state(Some(PairState::Settled), 1), "settled");
        assert_eq!(state(None, 1), "not sent");
    }
}
