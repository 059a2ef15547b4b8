//! What each step does, and what must hold afterwards.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use ethereum::cheque::SignedCheque;
use redeem_api::{PairAnswer, PairState};
use redeemd::claim::Pair;

use super::chain::EPOCHS_IN_LOCK;
use super::logs::{Logs, Trade, amounts, export};
use super::people::{
    ACCOUNTS, NETWORKS, NODES, address, addresses, beneficiaries, first_account, node_of,
};
use super::settler::Settler;
use super::steps::{Act, BOOKS, Elsewhere, Plan, Step};

pub(super) struct World {
    settlers: Vec<Settler>,
    logs: Logs,
    /// Of each epoch that was brought to a service which has to take it, the most that was signed.
    brought: Vec<BTreeMap<(Pair, u64), u128>>,
    /// The accounts that each node has ever belonged to with a service.
    accounts: Vec<BTreeMap<usize, BTreeSet<usize>>>,
}

impl World {
    pub(super) async fn new(plan: &Plan, empty_database: impl Fn() -> String) -> Self {
        let book = Address::repeat_byte(0xbb);
        let other = match plan.elsewhere {
            Elsewhere::Contract => (1, Address::repeat_byte(0xb2)),
            Elsewhere::Chain => (2, book),
        };
        let mut settlers = Vec::new();
        for (chain_id, book) in [(1, book), other] {
            let database = empty_database();
            settlers.push(Settler::new(&database, chain_id, book, plan.tariff).await);
        }
        for (payer, funds) in plan.funds.iter().enumerate() {
            for (settler, (deposit, allowance)) in settlers.iter_mut().zip(funds) {
                let acts = [Act::Deposit(*deposit), Act::AllowAtLeast(*allowance)];
                for act in acts {
                    settler.chain.change(|block| block.act(address(payer), act));
                }
            }
        }
        let mut world = Self {
            settlers,
            logs: Logs::default(),
            brought: vec![BTreeMap::new(); BOOKS],
            accounts: vec![BTreeMap::new(); BOOKS],
        };
        for (node, member) in plan.members.iter().enumerate() {
            for book in (0..BOOKS).filter(|book| member[*book]) {
                let request = world.settlers[book].enroll(node).await;
                world.settlers[1 - book].refuses(&request);
                world.belongs(book, node, first_account(node));
            }
        }
        world
    }

    fn belongs(&mut self, book: usize, node: usize, account: usize) {
        let accounts = self.accounts[book].entry(node).or_default();
        accounts.insert(account);
    }

    pub(super) async fn step(&mut self, step: &Step) {
        match *step {
            Step::Sign {
                network,
                provider,
                consumer,
                mib,
                new_epoch,
            } => {
                let trade = Trade {
                    network,
                    provider,
                    consumer,
                };
                self.logs.sign(trade, mib, new_epoch);
            }
            Step::Contradict {
                network,
                provider,
                consumer,
                given,
                kept,
            } => {
                let trade = Trade {
                    network,
                    provider,
                    consumer,
                };
                self.logs.contradict(trade, given, kept);
            }
            Step::Bring {
                book,
                process,
                network,
                node,
                records,
            } => self.bring(book, process, network, node, records).await,
            Step::Register {
                book,
                process,
                node,
                account,
            } => self.register(book, process, node, account).await,
            Step::Pay { book, payer, act } => self.pay(book, address(payer), act).await,
            Step::Cash { book, payer } => self.settlers[book].cash(address(payer)).await,
            Step::NextEpoch => self.settlers.iter_mut().for_each(Settler::next_epoch),
            Step::Reorganize { book, blocks } => {
                self.settlers[book].reorganize(blocks);
                self.settlers[book].is_covered().await;
            }
            Step::Look(look) => self.settlers[look.book].look(look).await,
            Step::Settle(look) => {
                self.settlers[look.book].settle(look).await;
                self.settlers[look.book].is_covered().await;
            }
        }
    }

    async fn register(&mut self, book: usize, process: usize, node: usize, account: usize) {
        if !self.settlers[book].knows(node) {
            return;
        }
        let settler = &mut self.settlers[book];
        let request = settler.register(process, node, account).await;
        self.settlers[1 - book].refuses(&request);
        self.belongs(book, node, account);
    }

    async fn pay(&mut self, book: usize, payer: Address, act: Act) {
        let settler = &mut self.settlers[book];
        let withdraws = matches!(act, Act::Withdraw);
        if withdraws && settler.chain.newest().can_withdraw(payer) {
            settler.before_withdrawal(payer).await;
        }
        settler.chain.change(|block| block.act(payer, act));
    }

    /// Brings a log, and checks what is said of each pair in it.
    async fn bring(
        &mut self,
        book: usize,
        process: usize,
        network: usize,
        node: usize,
        records: usize,
    ) {
        let records = self.logs.until(network, node, records);
        let export = export(network, node, records);
        let amounts = amounts(records);
        let answer = self.settlers[book].claim(process, export).await;
        let pairs: BTreeSet<_> = amounts.keys().map(|(pair, _)| *pair).collect();
        assert_eq!(answer.pairs.len(), pairs.len());
        for pair in pairs {
            let epochs = amounts.iter().filter(|((of, _), _)| *of == pair);
            let signed = epochs.clone().map(|(_, amount)| amount).sum::<u128>();
            let refused = self.refusal(book, &pair, signed);
            if refused.is_none() {
                for (epoch, amount) in epochs {
                    let most = self.brought[book].entry(*epoch).or_default();
                    *most = (*most).max(*amount);
                }
            }
            let said = answer.pairs.iter().find(|it| is_of(it, &pair)).unwrap();
            match refused {
                Some(state) => assert_eq!(said.state, state),
                None => assert_eq!(said.claimed_atto.atto(), self.claimed(book, &pair)),
            }
        }
    }

    /// Why a service takes nothing of a pair, if it must not.
    fn refusal(&self, book: usize, pair: &Pair, signed: u128) -> Option<PairState> {
        let known = |party| self.settlers[book].knows(node_of(party));
        match () {
            () if signed == 0 => Some(PairState::Free),
            () if !known(pair.provider) => Some(PairState::ProviderUnknown),
            () if !known(pair.consumer) => Some(PairState::ConsumerUnknown),
            () => None,
        }
    }

    fn claimed(&self, book: usize, pair: &Pair) -> u128 {
        let epochs = self.brought[book].iter();
        let epochs = epochs.filter(|((of, _), _)| of == pair);
        epochs.map(|(_, amount)| amount).sum()
    }

    pub(super) async fn check(&self) {
        for (settler, brought) in self.settlers.iter().zip(&self.brought) {
            settler.is_covered().await;
            settler.adds_up(brought.values().sum()).await;
        }
    }

    /// Everything comes out: all is brought everywhere, settled and cashed.
    pub(super) async fn end(&mut self) {
        for book in 0..BOOKS {
            self.bring_all(book).await;
            self.settlers[book].next_epoch();
            for payer in addresses() {
                self.settlers[book].settle_now(*payer).await;
            }
        }
        self.check().await;
        for book in 0..BOOKS {
            self.present_all(book).await;
        }
        self.check().await;
        self.counts_where_it_is_registered().await;
        for (book, settler) in self.settlers.iter().enumerate() {
            let everybody = beneficiaries().map(|it| settler.chain.newest().wealth(it));
            assert_eq!(everybody.sum::<i128>(), 0, "SMT appeared or vanished");
            self.nobody_gains(book);
        }
    }

    /// Twice. The second time there is nothing new.
    async fn bring_all(&mut self, book: usize) {
        for process in [0, 1] {
            for (network, node) in (0..NETWORKS).flat_map(|it| (0..NODES).map(move |n| (it, n))) {
                let all = usize::MAX;
                self.bring(book, process, network, node, all).await;
            }
        }
    }

    /// Every cheque at both cheque books. Within a lock, the one it is for pays it whole.
    async fn present_all(&mut self, book: usize) {
        let cheques = self.settlers[book].signed().await;
        for cheque in &cheques {
            let paid = self.settlers[1 - book].chain.present(cheque);
            assert_eq!(paid, 0, "a cheque for one book is paid by another");
        }
        let chain = &mut self.settlers[book].chain;
        for _ in 0..EPOCHS_IN_LOCK {
            chain.next_epoch();
            for cheque in &cheques {
                chain.present(cheque);
            }
        }
        for SignedCheque { cheque, .. } in &cheques {
            let paid = chain.newest().paid(cheque.issuer, cheque.beneficiary);
            assert_eq!(paid, cheque.cumulative.to::<u128>(), "a cheque bounced");
        }
    }

    /// Once with each service that both nodes are registered with, which for most is one.
    async fn counts_where_it_is_registered(&self) {
        let mut signed: BTreeMap<Pair, u128> = BTreeMap::new();
        for ((pair, _), amount) in amounts(self.logs.all()) {
            *signed.entry(pair).or_default() += amount;
        }
        for (pair, signed) in signed {
            for settler in &self.settlers {
                let nodes = [pair.provider, pair.consumer].map(node_of);
                let both = nodes.into_iter().all(|node| settler.knows(node));
                let expected = if both { signed } else { 0 };
                assert_eq!(
                    settler.claimed(&pair).await.atto_smt(),
                    expected,
                    "{nodes:?}"
                );
            }
        }
    }

    /// Of all who may collude: together they have what they had, and no more than others have signed for their nodes.
    fn nobody_gains(&self, book: usize) {
        let newest = self.settlers[book].chain.newest();
        let accounts = &self.accounts[book];
        for ring in 0..1_u32 << ACCOUNTS {
            let is_in = |account: &usize| ring >> account & 1 == 1;
            let income = self.brought[book].iter().filter(|((pair, _), _)| {
                let [earns, pays] =
                    [pair.provider, pair.consumer].map(|it| &accounts[&node_of(it)]);
                earns.iter().any(is_in) && !pays.iter().all(is_in)
            });
            let income = income.map(|(_, amount)| amount).sum::<u128>();
            let members = (0..ACCOUNTS).filter(is_in);
            let gain = members.map(|it| newest.wealth(address(it))).sum::<i128>();
            assert!(gain <= income.cast_signed(), "{ring:b} has gained {gain}");
        }
    }
}

fn is_of(answer: &PairAnswer, pair: &Pair) -> bool {
    let nodes = [answer.provider, answer.consumer].map(|it| it.to_string());
    answer.network == pair.network.to_string()
        && nodes == [pair.provider, pair.consumer].map(|it| it.to_string())
}
