//! What the service does, whoever asks: claims in, cheques out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, U256};
use alloy_sol_types::Eip712Domain;
use control_api::{AttoSmt, NodeId};
use ethereum::cheque::{Cheque, ChequeFile, SignedCheque};
use ethereum::key::PrivateKey;
use receipts::{Amount, Party};
use redeem_api::{ClaimAnswer, PairAnswer, PairState, SCHEMA, Statement};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, error, info, warn};

use crate::chain::{Chain, ChainError};
use crate::claim::{Claim, ClaimError, Pair, PairClaim, verify_signatures};
use crate::room::Limit;
use crate::store::{Place, Registered, Registration, Settled, Store, StoreError, Terms};
use crate::tariff::Tariff;

/// How long a request waits for a processor before it is sent away.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the chain may be asked for one claim, whatever it is about.
const CHAIN_PATIENCE: Duration = Duration::from_secs(15);

/// Payers that are looked through at once, when what is due is settled without being asked for.
const PAGE: u32 = 100;

/// A settlement service.
#[derive(Debug)]
pub struct Service {
    /// What it knows.
    pub store: Store,
    /// Where deposits are.
    pub chain: Chain,
    /// The number of that.
    pub chain_id: u64,
    /// By whose terms.
    pub terms: Terms,
    /// How long the chain may be asked for one claim.
    pub chain_patience: Duration,
    key: PrivateKey,
    domain: Eip712Domain,
    /// One for each: verifying and signing is all that takes time.
    processors: Arc<Semaphore>,
    /// Who settles on a payer at the moment; others find their work done.
    settling: Mutex<BTreeMap<Address, Arc<Mutex<()>>>>,
}

/// Why the service did not do something.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// What was brought is worth nothing.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// Amounts out of all bounds.
    #[error("the amounts add up to more than can be counted")]
    Overflow,
    /// Whoever brings it has had too many accounts looked up that are no payers.
    #[error("too many accounts without a deposit")]
    Strangers {
        /// After which it may try again.
        wait: Duration,
    },
    /// There is too much to do.
    #[error("all processors are busy")]
    Busy,
    /// The database.
    #[error(transparent)]
    Store(StoreError),
    /// The chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Overflow(_) => Self::Overflow,
            error @ (StoreError::Database(_)
            | StoreError::Schema(_)
            | StoreError::Damaged(_)
            | StoreError::OtherBook(_)
            | StoreError::UnknownKind) => Self::Store(error),
        }
    }
}

impl Service {
    /// A service with this key, by these terms.
    #[must_use]
    pub fn new(store: Store, chain: Chain, chain_id: u64, key: PrivateKey, terms: Terms) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            domain: ethereum::bindings::domain(chain_id, chain.book),
            store,
            chain,
            chain_id,
            terms,
            chain_patience: CHAIN_PATIENCE,
            key,
            processors: Arc::new(Semaphore::new(processors)),
            settling: Mutex::default(),
        }
    }

    /// Takes an export in: verifies it, keeps what is new of it, and settles what that makes due. `may_ask` says whether
    /// the chain may be asked about so many accounts that are not known as payers.
    ///
    /// # Errors
    /// [`ServiceError`]. If it is not [`ServiceError::Claim`], the same can be brought again.
    pub async fn claim(
        &self,
        export: axum::body::Bytes,
        may_ask: impl FnOnce(usize) -> Result<(), ServiceError>,
    ) -> Result<ClaimAnswer, ServiceError> {
        let claim = self.compute(move || Claim::read(&export)).await??;
        let accounts = self.accounts(&claim).await?;
        let begin = Instant::now();
        let sifted = self.sift(claim, &accounts, may_ask, begin + self.chain_patience);
        let (kept, mut answers) = sifted.await?;
        let left = self.chain_patience.saturating_sub(begin.elapsed());
        let verified = self.compute(move || verify_signatures(&kept).map(|()| kept));
        let kept = verified.await??;
        let accepted = self.store.accept(&kept).await?.pairs;
        let mut limits = BTreeMap::new();
        let due = kept.iter().zip(&accepted);
        // What was not taken can be, once what was before is settled.
        let due = due.filter(|(_, it)| it.is_none_or(|it| it.claimed != it.settled));
        let settling = async {
            for payer in payers(due.map(|(claim, _)| claim), &accounts) {
                limits.insert(payer, self.settle(payer).await);
            }
        };
        if timeout(left, settling).await.is_err() {
            warn!("the chain does not answer in time: what was taken is settled later");
        }
        for (claim, accepted) in kept.iter().zip(&accepted) {
            let limit = accounts.get(&claim.pair.consumer);
            let limit = limit.and_then(|payer| limits.get(payer)).copied().flatten();
            answers.push(match accepted {
                Some(_) => PairAnswer {
                    refused: claim.refused,
                    ..self.pair_answer(&claim.pair, limit).await?
                },
                None => refusal(&claim.pair, PairState::TooMuchUnsettled),
            });
        }
        let sum = |count: fn(&crate::store::AcceptedPair) -> usize| {
            accepted.iter().flatten().map(count).sum::<usize>() as u64
        };
        Ok(ClaimAnswer {
            schema: SCHEMA,
            new: sum(|pair| pair.news),
            known: sum(|pair| pair.known),
            pairs: answers,
        })
    }

    /// What of a claim may be kept, and what is told of the rest. No signature has been verified for it yet.
    async fn sift(
        &self,
        claim: Claim,
        accounts: &BTreeMap<Party, Address>,
        may_ask: impl FnOnce(usize) -> Result<(), ServiceError>,
        deadline: Instant,
    ) -> Result<(Vec<PairClaim>, Vec<PairAnswer>), ServiceError> {
        let (mut kept, mut answers) = (Vec::new(), Vec::new());
        for pair in claim.pairs {
            match self.judge(pair, accounts) {
                Ok(pair) if self.has_place(&pair).await? => kept.push(pair),
                Ok(pair) => answers.push(without_place(&pair)),
                Err((pair, state)) => answers.push(refusal(&pair, state)),
            }
        }
        let payers = payers(kept.iter(), accounts);
        let strangers = self.strangers(&payers, may_ask, deadline).await?;
        kept.retain(|claim| {
            let payer = accounts.get(&claim.pair.consumer);
            let state = payer.and_then(|payer| strangers.get(payer));
            answers.extend(state.map(|state| refusal(&claim.pair, *state)));
            state.is_none()
        });
        Ok((kept, answers))
    }

    /// Does what takes a processor for long, when one is free, and where nobody else waits for it.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let permit = Arc::clone(&self.processors).acquire_owned();
        let permit = tokio::time::timeout(PATIENCE, permit).await;
        let permit = permit.ok().and_then(Result::ok).ok_or(ServiceError::Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.map_err(|_| ServiceError::Busy)
    }

    async fn accounts(&self, claim: &Claim) -> Result<BTreeMap<Party, Address>, StoreError> {
        let parties = claim.pairs.iter();
        let parties = parties.flat_map(|claim| [claim.pair.provider, claim.pair.consumer]);
        self.store.accounts(&parties.collect()).await
    }

    /// What of a pair's receipts is taken, or why nothing.
    fn judge(
        &self,
        mut claim: PairClaim,
        accounts: &BTreeMap<Party, Address>,
    ) -> Result<PairClaim, (Pair, PairState)> {
        let pair = claim.pair;
        let Some(tariff) = self.terms.tariff(&pair.network) else {
            return Err((pair, PairState::NetworkUnknown));
        };
        claim.minimum = claim.minimum.max(tariff.minimum_amount);
        let least = claim.minimum;
        claim
            .receipts
            .retain(|_, signed| signed.receipt.amount() >= least);
        retain_affordable(&mut claim, tariff);
        if claim.receipts.is_empty() && claim.contradiction.is_none() {
            return Err((pair, nothing_taken(&claim)));
        }
        if !accounts.contains_key(&pair.provider) {
            return Err((pair, PairState::ProviderUnknown));
        }
        match accounts.contains_key(&pair.consumer) {
            true => Ok(claim),
            false => Err((pair, PairState::ConsumerUnknown)),
        }
    }

    /// Whether there is something to keep a claim's proof with, if a proof is all it has: receipts pay for their place.
    async fn has_place(&self, claim: &PairClaim) -> Result<bool, StoreError> {
        Ok(
            !claim.receipts.is_empty()
                || self.store.pair(&claim.pair).await?.claimed > Amount::ZERO,
        )
    }

    /// Those of the accounts that are no payers of ours, and why. Only who has a deposit for us can fill our database.
    /// The chain is asked for all at once: a claim may be of as many strangers as it has room for.
    async fn strangers(
        &self,
        accounts: &BTreeSet<Address>,
        may_ask: impl FnOnce(usize) -> Result<(), ServiceError>,
        deadline: Instant,
    ) -> Result<BTreeMap<Address, PairState>, ServiceError> {
        let mut unknown = BTreeSet::new();
        for account in accounts {
            if !self.store.is_payer(*account).await? {
                unknown.insert(*account);
            }
        }
        if unknown.is_empty() {
            return Ok(BTreeMap::new());
        }
        let asked = timeout_at(deadline, self.chain.payers(&unknown, may_ask)).await;
        let payers = match asked.unwrap_or_else(|_| Err(self.chain.late().into())) {
            Ok(payers) => payers,
            // What others owe is taken without it.
            Err(ServiceError::Chain(error)) if unknown.len() < accounts.len() => {
                warn!(%error, "the chain does not answer");
                let all = unknown.into_iter();
                return Ok(all.map(|it| (it, PairState::ChainUnreachable)).collect());
            }
            Err(error) => return Err(error),
        };
        for payer in &payers {
            self.store.add_payer(*payer).await?;
        }
        let strangers = unknown.difference(&payers);
        Ok(strangers.map(|it| (*it, PairState::NoDeposit)).collect())
    }

    /// Gives out what is due on a payer; says what keeps the rest back, if anything does and it is known.
    async fn settle(&self, payer: Address) -> Option<Limit> {
        match self.try_settle(payer).await {
            Ok(settled) => settled.limit,
            Err(error) => {
                warn!(%payer, %error, "could not settle");
                None
            }
        }
    }

    async fn try_settle(&self, payer: Address) -> Result<Settled, ServiceError> {
        let turn = self.turn(payer).await;
        let _turn = turn.lock().await;
        let mut all = Settled::default();
        let mut place = Place::default();
        loop {
            let fee_account = self.terms.fee_account;
            let asked = self.store.beneficiaries(payer, fee_account, &place);
            let views = self.chain.views(payer, &asked.await?).await?;
            let round = self.store.settle(payer, &views, &self.terms, &place);
            let round = round.await?;
            all.debit = all.debit.checked_add(round.debit).unwrap_or(all.debit);
            all.limit = round.limit.or(all.limit);
            let Some(next) = round.next else {
                debug!(%payer, debit = %all.debit, limit = ?all.limit, "settled");
                return Ok(all);
            };
            place = next;
        }
    }

    async fn turn(&self, payer: Address) -> Arc<Mutex<()>> {
        let mut settling = self.settling.lock().await;
        // Of those nobody waits for, none has to be remembered.
        settling.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(settling.entry(payer).or_default())
    }

    /// Gives out what is due on all payers, as far as it goes now: deposits may have come, or cheques been cashed.
    pub async fn settle_all(&self) {
        let mut behind = Address::ZERO;
        loop {
            let payers = match self.store.payers_due(behind, PAGE).await {
                Ok(payers) => payers,
                Err(error) => return warn!(%error, "could not look for what is due"),
            };
            let Some(last) = payers.last() else { return };
            behind = *last;
            for payer in payers {
                self.settle(payer).await;
            }
        }
    }

    /// Looks whether the chain's node follows the chain, which is not asked otherwise as long as nothing is due.
    pub async fn watch_chain(&self) -> bool {
        let followed = self.chain.follow().await;
        match &followed {
            Ok(()) => {}
            Err(error @ ChainError::Stale { .. }) => error!(%error, "nothing is settled"),
            Err(error) => warn!(%error, "the chain does not answer"),
        }
        followed.is_ok()
    }

    /// Looks up what was paid on all cheques, also on those that are known to be cashed: a database that was restored
    /// knows of less. Returns whether the chain has told.
    pub async fn look_at_all(&self) -> bool {
        let mut behind = Address::ZERO;
        loop {
            let payers = match self.store.all_issuers(behind, PAGE).await {
                Ok(payers) => payers,
                Err(error) => {
                    warn!(%error, "could not look for what was paid");
                    return false;
                }
            };
            let Some(last) = payers.last() else {
                return true;
            };
            behind = *last;
            for payer in payers {
                match self.look_at(payer).await {
                    Ok(true) => {}
                    Ok(false) => return false,
                    Err(error) => {
                        warn!(%payer, %error, "could not look up what was paid");
                        return false;
                    }
                }
            }
        }
    }

    async fn look_at(&self, payer: Address) -> Result<bool, ServiceError> {
        let holders = self.store.holders(payer).await?;
        let views = self.chain.views(payer, &holders).await?;
        let first = Place::default();
        let settled = self.store.settle(payer, &views, &self.terms, &first);
        Ok(settled.await?.limit != Some(Limit::OldView))
    }

    /// Looks through all payers on whom cheques are not cashed: what has been, makes room for more, and of those who
    /// take something back the operator has to know.
    pub async fn watch_payers(&self) {
        let mut behind = Address::ZERO;
        loop {
            let payers = match self.store.issuers(behind, PAGE).await {
                Ok(payers) => payers,
                Err(error) => return warn!(%error, "could not look for what is not cashed"),
            };
            let Some(last) = payers.last() else { return };
            behind = *last;
            for payer in payers {
                self.settle(payer).await;
                self.warn_of(payer).await;
            }
        }
    }

    async fn warn_of(&self, payer: Address) {
        match self.chain.takes_back_at(payer).await {
            Ok(None) => {}
            Ok(Some(at)) => warn!(
                %payer,
                at,
                "takes something back: what `redeemd cheques` prints for it has to be cashed before"
            ),
            Err(error) => warn!(%payer, %error, "the chain does not answer"),
        }
    }

    async fn pair_answer(
        &self,
        pair: &Pair,
        limit: Option<Limit>,
    ) -> Result<PairAnswer, StoreError> {
        let known = self.store.pair(pair).await?;
        let state = match limit {
            _ if known.claimed == known.settled => PairState::Settled,
            None => PairState::Pending,
            Some(Limit::NotOurPayer) => PairState::PayerLeft,
            Some(Limit::Deposit) => PairState::DepositUsedUp,
            Some(Limit::Allowance) => PairState::AllowanceUsedUp,
            Some(Limit::Cheques) => PairState::TooManyCheques,
            Some(Limit::OldView) => PairState::Pending,
        };
        Ok(answer(pair, known.claimed, known.settled, state))
    }

    /// Remembers which account a node belongs to. Both have signed it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn register(
        &self,
        statement: &Statement,
        node_signature: [u8; 64],
        account_signature: [u8; 64],
    ) -> Result<Registered, StoreError> {
        let registration = Registration {
            node: statement.node,
            account: statement.account,
            sequence: statement.sequence,
            node_signature,
            account_signature,
        };
        let registered = self.store.register(&registration).await?;
        info!(node = %statement.node, account = %statement.account, ?registered, "registration");
        Ok(registered)
    }

    /// The cheques of a beneficiary, signed, of payers behind this one; as many as are told of at once. They say
    /// what is in the database, so that signing them again gives the same.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn cheques(
        &self,
        beneficiary: Address,
        behind: Address,
    ) -> Result<ChequeFile, ServiceError> {
        let cheques = self.store.cheques(beneficiary, behind).await?;
        self.sign(cheques).await
    }

    /// All cheques on a payer that are not cashed, as far as is known. Whoever cashes them pays nobody but those they
    /// are for.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn uncashed(&self, payer: Address) -> Result<ChequeFile, ServiceError> {
        let cheques = self.store.uncashed(payer).await?;
        self.sign(cheques).await
    }

    async fn sign(&self, cheques: Vec<crate::store::Cheque>) -> Result<ChequeFile, ServiceError> {
        let (key, domain) = (self.key.clone(), self.domain.clone());
        let sign = move |known: &crate::store::Cheque| {
            let cheque = Cheque {
                issuer: known.issuer,
                beneficiary: known.beneficiary,
                cumulative: U256::from(known.cumulative.atto_smt()),
            };
            SignedCheque::new(&key, &domain, cheque)
        };
        let signed = self.compute(move || cheques.iter().map(sign).collect());
        Ok(ChequeFile {
            chain_id: self.chain_id,
            book: self.chain.book,
            cheques: signed.await?,
        })
    }
}

/// The most that a deposit can hold, and so that is ever paid: 96 bits.
const MOST: Amount = Amount::new((1 << 96) - 1);

/// Dearer receipts than the tariff has are left out, and those that nobody could ever pay.
fn retain_affordable(claim: &mut PairClaim, tariff: &Tariff) {
    let maximum = tariff.maximum_price;
    let all = claim.receipts.len();
    claim
        .receipts
        .retain(|_, signed| signed.offer.price() <= maximum && signed.receipt.amount() <= MOST);
    claim.refused = (all - claim.receipts.len()) as u64;
}

/// What is told of a pair of which no receipt is taken.
const fn nothing_taken(claim: &PairClaim) -> PairState {
    match claim.refused {
        0 => PairState::Free,
        _ => PairState::TooDear,
    }
}

/// What is told of a pair whose proof is not kept.
fn without_place(claim: &PairClaim) -> PairAnswer {
    PairAnswer {
        refused: claim.refused + 1,
        ..refusal(&claim.pair, nothing_taken(claim))
    }
}

fn refusal(pair: &Pair, state: PairState) -> PairAnswer {
    answer(pair, Amount::ZERO, Amount::ZERO, state)
}

fn payers<'a>(
    claims: impl Iterator<Item = &'a PairClaim>,
    accounts: &BTreeMap<Party, Address>,
) -> BTreeSet<Address> {
    let payers = claims.map(|claim| accounts.get(&claim.pair.consumer));
    payers.flatten().copied().collect()
}

/// What is told of a pair.
#[must_use]
pub fn answer(pair: &Pair, claimed: Amount, settled: Amount, state: PairState) -> PairAnswer {
    PairAnswer {
        network: pair.network.to_string(),
        provider: NodeId::new(*pair.provider.as_bytes()),
        consumer: NodeId::new(*pair.consumer.as_bytes()),
        claimed_atto: AttoSmt::new(claimed.atto_smt()),
        settled_atto: AttoSmt::new(settled.atto_smt()),
        state,
        refused: 0,
    }
}

#[cfg(test)]
mod tests {
    use ethereum::rpc::{Limits, Node};

    use super::*;
    use crate::store::Book;

    async fn service(directory: &tempfile::TempDir) -> Service {
        let url = format!("sqlite:{}", directory.path().join("redeemd.db").display());
        let key = PrivateKey::from_bytes(&[7; 32]).unwrap();
        let book = Book {
            chain_id: 1,
            address: Address::repeat_byte(0xbb),
            settlement_key: key.address(),
        };
        let store = Store::open(&url, &book).await.unwrap();
        let nobody = "http://127.0.0.1:1".parse().unwrap();
        let node = Node::new(nobody, Limits::default()).unwrap();
        let chain = Chain::new(node, 1, book.address, key.address(), 0, Duration::MAX);
        let terms = Terms {
            tariffs: BTreeMap::new(),
            others: None,
            fee_account: Address::repeat_byte(0xfe),
            takes_over: false,
        };
        Service::new(store, chain, 1, key, terms)
    }

    #[tokio::test]
    async fn cheques_are_signed_when_a_processor_is_free() {
        let directory = tempfile::tempdir().unwrap();
        let service = service(&directory).await;
        let all = service.processors.available_permits();
        let all = u32::try_from(all).unwrap();
        let taken = service.processors.acquire_many(all).await.unwrap();
        let cheques = || service.cheques(Address::repeat_byte(1), Address::ZERO);
        let waits = tokio::time::timeout(Duration::from_millis(300), cheques()).await;
        assert!(waits.is_err());
        drop(taken);
        assert_eq!(cheques().await.unwrap().cheques, []);
    }
}
