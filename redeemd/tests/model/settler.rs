//! A settlement service: two processes on one database, and the cheque book they sign for.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use alloy_primitives::Address;
use control_api::NodeId;
use ethereum::cheque::SignedCheque;
use ethereum::rpc::{Limits, Node};
use receipts::Amount;
use redeem_api::{ClaimAnswer, RegistrationRequest, Statement};
use redeemd::chain::Chain as Asked;
use redeemd::claim::Pair;
use redeemd::service::Service;
use redeemd::store::{Book, PairReport, Place, Registered, Store, Terms};
use redeemd::tariff::{Ppm, Tariff};

use super::chain::{CONFIRMATIONS, Chain, EPOCHS_IN_LOCK, Seen};
use super::people::{
    FEE_ACCOUNT, NODES, address, addresses, beneficiaries, first_account, node_key, node_of, party,
    settlement_key, wallet,
};
use super::steps::{Look, PROCESSES};

/// Nobody listens there: what the chain says, the model puts in itself, from wherever the process looks.
static NOBODY: LazyLock<Node> = LazyLock::new(|| {
    let url = "http://127.0.0.1:1".parse().expect("a URL");
    Node::new(url, Limits::default()).expect("a client")
});

/// What is in cheques, by issuer and beneficiary.
type Given = BTreeMap<(Address, Address), u128>;

pub(super) struct Settler {
    pub(super) chain: Chain,
    chain_id: u64,
    book: Address,
    terms: Terms,
    processes: Vec<Service>,
    seen: Vec<Option<Seen>>,
    /// The blocks in which yesterday and today began. Nobody settles by what was so before yesterday: the newest block
    /// of a node that is followed is much less than a day old.
    dawns: [usize; 2],
    /// The last registration of each node that has one here.
    registered: BTreeMap<usize, RegistrationRequest>,
}

impl Settler {
    pub(super) async fn new(url: &str, chain_id: u64, book: Address, tariff: Tariff) -> Self {
        let key = settlement_key();
        let terms = Terms {
            tariffs: BTreeMap::new(),
            others: Some(tariff),
            fee_account: FEE_ACCOUNT,
            takes_over: false,
        };
        let mut processes = Vec::new();
        for _ in 0..PROCESSES {
            let of = Book {
                chain_id,
                address: book,
                settlement_key: key.address(),
            };
            let store = Store::open(url, &of).await.unwrap();
            let asked = Asked::new(
                NOBODY.clone(),
                chain_id,
                book,
                key.address(),
                0,
                Duration::MAX,
            );
            let service = Service::new(store, asked, chain_id, key.clone(), terms.clone());
            processes.push(service);
        }
        for account in addresses() {
            processes[0].store.add_payer(*account).await.unwrap();
        }
        Self {
            chain: Chain::new(ethereum::bindings::domain(chain_id, book)),
            chain_id,
            book,
            terms,
            processes,
            seen: (0..PROCESSES).map(|_| None).collect(),
            dawns: [0; 2],
            registered: BTreeMap::new(),
        }
    }

    fn store(&self) -> &Store {
        &self.processes[0].store
    }

    pub(super) fn knows(&self, node: usize) -> bool {
        self.registered.contains_key(&node)
    }

    /// Of a node that is registered here.
    fn account(&self, node: usize) -> Address {
        self.registered[&node].account
    }

    /// What says that a node belongs to an account, with the next number.
    fn registration(&self, node: usize, account: usize) -> RegistrationRequest {
        let before = self.registered.get(&node);
        let statement = Statement {
            chain_id: self.chain_id,
            book: self.book,
            node: party(node),
            account: wallet(account).address(),
            sequence: before.map_or(1, |it| it.sequence + 1),
        };
        RegistrationRequest {
            node: NodeId::new(*statement.node.as_bytes()),
            account: statement.account,
            sequence: statement.sequence,
            node_signature: statement.sign_as_node(node_key(node)),
            account_signature: statement.sign_as_account(wallet(account)),
        }
    }

    pub(super) async fn enroll(&mut self, node: usize) -> RegistrationRequest {
        self.register(0, node, first_account(node)).await
    }

    /// A node moves to another account, which it can as long as it owes nothing.
    pub(super) async fn register(
        &mut self,
        process: usize,
        node: usize,
        account: usize,
    ) -> RegistrationRequest {
        let request = self.registration(node, account);
        let owed = self.store().node(party(node)).await.unwrap().owed;
        let before = self.registered.get(&node).copied();
        let stays = before.is_none_or(|it| it.account == request.account);
        let owes = owed.iter().any(|pair| pair.claimed != pair.settled);
        let expected = match stays || !owes {
            true => Registered::Done,
            false => Registered::Owes,
        };
        assert_eq!(self.offer(process, &request).await, expected);
        if expected == Registered::Done {
            self.registered.insert(node, request);
            if let Some(before) = before {
                let outdated = self.offer(process, &before).await;
                assert_ne!(outdated, Registered::Done, "an older registration counts");
            }
        }
        request
    }

    async fn offer(&self, process: usize, request: &RegistrationRequest) -> Registered {
        let statement = request.verify(self.chain_id, self.book).unwrap();
        let (node, account) = (request.node_signature.0, request.account_signature.0);
        let registered = self.processes[process].register(&statement, node, account);
        registered.await.unwrap()
    }

    /// What nobody has signed for this service is worth nothing to it.
    pub(super) fn refuses(&self, request: &RegistrationRequest) {
        assert!(
            request.verify(self.chain_id, self.book).is_err(),
            "a registration with one service counts for another"
        );
    }

    pub(super) async fn claim(&self, process: usize, export: Vec<u8>) -> ClaimAnswer {
        self.processes[process]
            .claim(export.into(), |_| Ok(()))
            .await
            .unwrap()
    }

    pub(super) async fn claimed(&self, pair: &Pair) -> Amount {
        self.store().pair(pair).await.unwrap().claimed
    }

    /// A process asks the chain, as it stood so many blocks ago, before it settles.
    pub(super) async fn look(&mut self, look: Look) {
        let newest = self.chain.height().saturating_sub(look.behind);
        let seen = self.ask(look.process, address(look.payer), newest).await;
        self.seen[look.process] = Some(seen);
    }

    async fn ask(&self, process: usize, payer: Address, newest: usize) -> Seen {
        let store = &self.processes[process].store;
        let first = Place::default();
        let asked = store.beneficiaries(payer, FEE_ACCOUNT, &first);
        let asked = asked.await.unwrap();
        self.chain.look(payer, &asked, newest.max(self.dawns[0]))
    }

    pub(super) async fn settle(&mut self, look: Look) {
        if self.seen[look.process].is_none() {
            self.look(look).await;
        }
        let seen = self.seen[look.process].take();
        if let Some(seen) = seen.filter(|it| it.newest >= self.dawns[0]) {
            self.settle_by(look.process, seen).await;
        }
    }

    pub(super) async fn settle_now(&mut self, payer: Address) {
        let seen = self.ask(0, payer, self.chain.height()).await;
        self.settle_by(0, seen).await;
    }

    async fn settle_by(&mut self, process: usize, seen: Seen) {
        let (pairs, given) = (self.pairs().await, self.given().await);
        let store = &self.processes[process].store;
        let first = Place::default();
        let settled = store.settle(seen.payer, &seen.views, &self.terms, &first);
        let debit = settled.await.unwrap().debit.atto_smt();
        self.moved(seen.payer, debit, &pairs, &given).await;
    }

    /// What a settlement has moved: from a payer, for what its nodes owe, to whom they owe it, and to nobody else.
    async fn moved(
        &self,
        payer: Address,
        debit: u128,
        pairs: &BTreeMap<Pair, PairReport>,
        given: &Given,
    ) {
        let mut owed: BTreeMap<Address, u128> = BTreeMap::new();
        for (pair, after) in self.pairs().await {
            let before = pairs[&pair].settled;
            let settled = after.settled.checked_sub(before).unwrap().atto_smt();
            if settled > 0 {
                let [provider, consumer] = [pair.provider, pair.consumer].map(node_of);
                assert_eq!(self.account(consumer), payer, "somebody else is debited");
                *owed.entry(self.account(provider)).or_default() += settled;
            }
        }
        assert_eq!(owed.values().sum::<u128>(), debit);
        let mut fee = debit;
        for ((issuer, beneficiary), sum) in self.given().await {
            let before = given.get(&(issuer, beneficiary)).copied();
            let gained = sum - before.unwrap_or_default();
            assert!(gained == 0 || issuer == payer, "on another's deposit");
            if beneficiary == FEE_ACCOUNT {
                fee -= gained;
            } else if gained > 0 {
                assert!(gained <= owed[&beneficiary], "more than was owed");
                fee -= gained;
            }
        }
        assert_eq!(fee, 0, "a debit is credits and fees");
    }

    async fn pairs(&self) -> BTreeMap<Pair, PairReport> {
        let mut pairs = BTreeMap::new();
        for node in 0..NODES {
            let owed = self.store().node(party(node)).await.unwrap().owed;
            pairs.extend(owed.into_iter().map(|report| (report.pair, report)));
        }
        pairs
    }

    async fn given(&self) -> Given {
        let mut given = Given::new();
        for beneficiary in beneficiaries() {
            let cheques = self.store().cheques(beneficiary, Address::ZERO);
            let cheques = cheques.await.unwrap();
            let cheques = cheques.into_iter();
            given.extend(cheques.map(|it| ((it.issuer, it.beneficiary), it.cumulative.atto_smt())));
        }
        given
    }

    /// All cheques on a payer are cashed, as far as its deposit and allowance go.
    pub(super) async fn cash(&mut self, payer: Address) {
        for ((issuer, beneficiary), sum) in self.given().await {
            if issuer == payer {
                self.chain
                    .change(|block| block.cash(payer, beneficiary, sum));
            }
        }
    }

    /// Before a lock is over, providers cash: in two whole epochs they get all of it.
    pub(super) async fn before_withdrawal(&mut self, payer: Address) {
        for _ in 0..EPOCHS_IN_LOCK {
            self.chain.change(|block| block.renew_allowance(payer));
            self.cash(payer).await;
        }
        let given = self.given().await;
        assert_eq!(self.outstanding(&given, payer), 0, "a cheque bounced");
    }

    fn outstanding(&self, given: &Given, payer: Address) -> u128 {
        let newest = self.chain.newest();
        let given = given.iter().filter(|((issuer, _), _)| *issuer == payer);
        given
            .map(|((issuer, beneficiary), sum)| sum - newest.paid(*issuer, *beneficiary))
            .sum()
    }

    pub(super) fn next_epoch(&mut self) {
        self.chain.next_epoch();
        self.dawns = [self.dawns[1], self.chain.height() - CONFIRMATIONS];
    }

    pub(super) fn reorganize(&mut self, blocks: usize) {
        self.chain.reorganize(blocks);
        self.seen.fill_with(|| None);
    }

    /// Every cheque that the service gives out, signed.
    pub(super) async fn signed(&self) -> Vec<SignedCheque> {
        let mut signed = Vec::new();
        for beneficiary in beneficiaries() {
            let file = self.processes[1].cheques(beneficiary, Address::ZERO);
            let file = file.await.unwrap();
            assert_eq!((file.chain_id, file.book), (self.chain_id, self.book));
            signed.extend(file.cheques);
        }
        signed
    }

    /// That no cheque can bounce.
    pub(super) async fn is_covered(&self) {
        let given = self.given().await;
        for payer in addresses() {
            let deposit = self.chain.newest().deposit(*payer);
            let outstanding = self.outstanding(&given, *payer);
            assert!(
                outstanding <= deposit.balance,
                "more is signed than is there"
            );
            assert!(
                outstanding <= deposit.allowance * EPOCHS_IN_LOCK,
                "more is signed than can be cashed within the lock"
            );
        }
    }

    /// That the database is what receipts and settlements make it.
    pub(super) async fn adds_up(&self, brought: u128) {
        let audit = self.store().audit().await.unwrap();
        assert_eq!(audit.findings, []);
        assert_eq!(audit.debits, audit.credits.checked_add(audit.fees).unwrap());
        assert_eq!(audit.claimed.atto_smt(), brought, "each epoch counts once");
        assert!(audit.debits <= audit.claimed);
        let given = self.given().await.into_values().sum::<u128>();
        assert_eq!(given, audit.debits.atto_smt());
        let tariff = self.terms.others.expect("one for all");
        if audit.debits > Amount::ZERO && tariff.fee > Ppm::ZERO {
            assert!(audit.fees > Amount::ZERO, "who pays itself loses nothing");
        }
    }
}
