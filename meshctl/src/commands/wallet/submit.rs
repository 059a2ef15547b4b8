//! Sending, at most once: what is signed is kept in a file beside the key before it is sent, and removed when its
//! end is known and has been shown. `ethereum::send` says what the node's answers mean. No answer but a confirmation
//! frees its number for another payment beside it: what a node refuses stays in the file, and is replaced.

use std::fs;
use std::io;
use std::path::PathBuf;

use alloy_primitives::{Address, B256, Bytes, U256};
use control_api::Exit;
use ethereum::key::PrivateKey;
use ethereum::rpc::{self, BlockTag, Intent, Receipt};
use ethereum::send::{self, Broadcast, Fees, Outcome, Pending, PrepareError, Progress};
use ethereum::text::amount;
use ethereum::transaction::Transaction;

use super::passphrase::{Passphrases, consent};
use super::settings::Settings;
use super::store::{Opened, Store};
use super::tell;
use crate::cli::wallet::Consent;
use crate::failure::Failure;
use crate::private_file;

/// Transfers of nothing: each costs a fee.
const MOST_FILLED: u64 = 16;

/// Whoever sends, and holds the lock.
pub(super) struct Sender<'a> {
    opened: Opened,
    pending: PathBuf,
    passphrases: &'a Passphrases,
    settings: &'a Settings,
    consent: Consent,
    chain_id: u64,
}

/// A transaction that is in a block, and did what it should.
pub(super) struct Done {
    pub(super) pending: Pending,
    pub(super) receipt: Receipt,
    /// An earlier run had signed it.
    pub(super) resumed: bool,
}

impl<'a> Sender<'a> {
    pub(super) async fn new(
        store: &Store,
        passphrases: &'a Passphrases,
        settings: &'a Settings,
        consent: Consent,
    ) -> Result<Self, Failure> {
        let opened = store.open()?;
        opened.lock()?;
        let pending = store.pending();
        // Of runs that were ended before it was kept, and so before anything was sent.
        private_file::remove_drafts(&pending).map_err(|error| Failure::file(&pending, &error))?;
        Ok(Self {
            opened,
            pending,
            passphrases,
            settings,
            consent,
            chain_id: settings.ask_chain_id().await?,
        })
    }

    pub(super) const fn address(&self) -> Address {
        self.opened.address
    }

    pub(super) const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// SMT, to sign something for it. Nobody but who has pinned it takes a node's word.
    pub(super) async fn token(&self) -> Result<Address, Failure> {
        let token = self.settings.token().await?;
        if token.is_pinned {
            return Ok(token.address);
        }
        let said = token.text();
        if self.consent.yes {
            let message = format!("{said}; --yes does not confirm that");
            return Err(Failure::new(Exit::Usage, message));
        }
        tell(&said);
        let question = format!("Is {} SMT?", token.address.to_checksum(None));
        consent(&question).map(|()| token.address)
    }

    /// Goes on with what an earlier run has signed, if its end is not known. The file stays until [`Sender::forget`].
    pub(super) async fn resume(&self) -> Result<Option<Done>, Failure> {
        let Some(mut pending) = self.kept()? else {
            return Ok(None);
        };
        if pending.is_refused() {
            if pending.is_unknown(&self.settings.node).await? {
                return Ok(None);
            }
            pending.accept();
            self.keep(&pending)?;
        }
        tell(&format!(
            "an earlier run signed {} and did not see its end",
            pending.hash()
        ));
        if self.consent.stuck.raise_fee {
            self.raise(&mut pending).await?;
        }
        self.fill_gap(pending.transaction().nonce).await?;
        if !self.give_again(&mut pending).await? {
            return Ok(None);
        }
        let receipt = self.confirm(&pending).await?;
        if receipt.is_none() {
            self.forget()?;
        }
        Ok(receipt.map(|receipt| Done {
            pending,
            receipt,
            resumed: true,
        }))
    }

    /// Whether somebody may have it.
    async fn give_again(&self, pending: &mut Pending) -> Result<bool, Failure> {
        match pending.broadcast(&self.settings.node).await? {
            Broadcast::Taken | Broadcast::NonceUsed => (),
            Broadcast::Underpriced(error) => {
                tell(&format!("{error}; --raise-fee lets it pay more"));
            }
            // It may be in a block, or on its way through another node.
            Broadcast::InDoubt(error) => tell(&error.to_string()),
            Broadcast::Invalid(error) => {
                tell(&error.to_string());
                return Ok(!self.refuse(pending).await?);
            }
        }
        Ok(true)
    }

    /// What an earlier run has signed, if it is this: it is not signed again.
    pub(super) async fn resumed(&self, intent: &Intent) -> Result<Option<Done>, Failure> {
        let Some(done) = self.resume().await? else {
            return Ok(None);
        };
        if done.pending.does(intent, self.chain_id) {
            return Ok(Some(done));
        }
        tell("it is confirmed, and was something else");
        self.forget()?;
        Ok(None)
    }

    /// Signs what is wanted, once its cost is consented to, and sends it.
    pub(super) async fn submit(&self, intent: &Intent, what: &str) -> Result<Done, Failure> {
        let node = &self.settings.node;
        let transaction = send::prepare(node, self.chain_id, intent, self.settings.fees).await?;
        let most = amount(transaction.most_fee());
        self.ask(&format!("{what} with a fee of {most} ether at most?"))?;
        let mut pending = self.sign(transaction).await?;
        self.give(&mut pending).await?;
        let hash = pending.hash();
        match self.confirm(&pending).await? {
            Some(receipt) => Ok(Done {
                pending,
                receipt,
                resumed: false,
            }),
            None => {
                self.forget()?;
                let message = format!("another transaction has taken the place of {hash}");
                Err(Failure::new(Exit::Failure, message))
            }
        }
    }

    /// The end is known and has been shown.
    pub(super) fn forget(&self) -> Result<(), Failure> {
        match fs::remove_file(&self.pending) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Failure::file(&self.pending, &error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// What failed in its block moved nothing.
    pub(super) fn must_have_succeeded(&self, done: &Done) -> Result<(), Failure> {
        if done.receipt.succeeded() {
            return Ok(());
        }
        self.forget()?;
        let message = format!(
            "{} failed in block {}: nothing was paid, and it has cost {} ether",
            done.receipt.transaction_hash,
            done.receipt.block_number,
            amount(done.receipt.fee())
        );
        Err(Failure::new(Exit::Failure, message))
    }

    fn kept(&self) -> Result<Option<Pending>, Failure> {
        let failed = |message: String| {
            let path = self.pending.display();
            Failure::new(Exit::Failure, format!("{path}: {message}"))
        };
        let bytes = match fs::read(&self.pending) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::file(&self.pending, &error)),
        };
        let pending = Pending::parse(&bytes).map_err(|error| failed(error.to_string()))?;
        let chain_id = pending.transaction().chain_id;
        if chain_id != self.chain_id || pending.from() != self.address() {
            let from = pending.from();
            return Err(failed(format!("it is of {from} on chain {chain_id}")));
        }
        Ok(Some(pending))
    }

    fn keep(&self, pending: &Pending) -> Result<(), Failure> {
        let json = pending.to_json();
        let json = json.map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
        let kept = private_file::replace(&self.pending, &json);
        kept.map_err(|error| Failure::file(&self.pending, &error))
    }

    fn key(&self) -> Result<PrivateKey, Failure> {
        self.opened.decrypt(self.passphrases)
    }

    /// Signs and keeps it, in the place of what was refused before.
    async fn sign(&self, transaction: Transaction) -> Result<Pending, Failure> {
        let key = self.key()?;
        let refused = self.kept()?.filter(Pending::is_refused);
        let Some(refused) = refused else {
            let pending = Pending::sign(&key, transaction);
            self.keep(&pending)?;
            return Ok(pending);
        };
        let pending = refused.sign_instead(&key, transaction);
        self.keep(&pending)?;
        self.fill_gap(pending.transaction().nonce).await?;
        Ok(pending)
    }

    /// A node that said too high a number, or another that knows less, leaves numbers out: nothing is in a block before
    /// they are used. What takes them moves nothing, so that it does not matter how often it is signed.
    async fn fill_gap(&self, nonce: u64) -> Result<(), Failure> {
        let node = &self.settings.node;
        let (from, now) = (self.address(), BlockTag::Pending);
        let next = node.transaction_count(from, now).await?;
        let missing = nonce.saturating_sub(next);
        if missing == 0 {
            return Ok(());
        }
        if missing > MOST_FILLED || !self.consent.stuck.fill_gap {
            tell(&format!(
                "its number is {nonce}, and the next is {next}: it waits for {missing} others. --fill-gap sends transfers of nothing in their place, {MOST_FILLED} at most"
            ));
            return Ok(());
        }
        let nothing = Intent {
            from,
            to: from,
            value: U256::ZERO,
            data: Bytes::new(),
        };
        let nothing = send::prepare(node, self.chain_id, &nothing, self.settings.fees).await?;
        let in_all = nothing.most_fee().saturating_mul(U256::from(missing));
        self.settings.fees.allows_fee(in_all)?;
        let most = amount(nothing.most_fee());
        let what = format!(
            "Send {missing} transfers of nothing, with a fee of {most} ether at most each? They replace what this key has sent from elsewhere and waits"
        );
        self.ask(&what)?;
        let key = self.key()?;
        for nonce in next..nonce {
            let nothing = Transaction {
                nonce,
                ..nothing.clone()
            };
            match Pending::sign(&key, nothing).broadcast(node).await? {
                Broadcast::Taken | Broadcast::NonceUsed => (),
                Broadcast::Underpriced(error)
                | Broadcast::Invalid(error)
                | Broadcast::InDoubt(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn ask(&self, question: &str) -> Result<(), Failure> {
        match self.consent.yes {
            true => {
                tell(question.trim_end_matches('?'));
                Ok(())
            }
            false => consent(question),
        }
    }

    async fn raise(&self, pending: &mut Pending) -> Result<(), Failure> {
        let fees = Fees::now(&self.settings.node, self.settings.fees).await?;
        pending.raise(&self.key()?, fees);
        self.settings.fees.allows(pending.transaction())?;
        let most = amount(pending.transaction().most_fee());
        self.ask(&format!("Let it have a fee of {most} ether at most?"))?;
        self.keep(pending)
    }

    /// The first time: what the node refuses, and does not know, nobody has, as far as can be told. What is between it
    /// and here may have sent it twice, and heard what the second one was worth.
    async fn give(&self, pending: &mut Pending) -> Result<(), Failure> {
        let hash = pending.hash();
        let in_doubt = |error: rpc::Error| in_doubt(&error, hash);
        let node = &self.settings.node;
        let refusal = match pending.broadcast(node).await.map_err(in_doubt)? {
            Broadcast::Taken => {
                tell(&format!("sent {hash}"));
                return Ok(());
            }
            Broadcast::NonceUsed => {
                tell(&format!("its number is used, by {hash} or another"));
                return Ok(());
            }
            Broadcast::Underpriced(error) | Broadcast::Invalid(error) => error,
            Broadcast::InDoubt(error) => return Err(in_doubt(error)),
        };
        if self.refuse(pending).await? {
            let message = format!("{refusal}; nothing was sent");
            return Err(Failure::new(Exit::Failure, message));
        }
        tell(&format!("{refusal}; but {hash} was sent"));
        Ok(())
    }

    /// Keeps it as refused, unless the node knows of it. What is signed next has its number.
    async fn refuse(&self, pending: &mut Pending) -> Result<bool, Failure> {
        let unknown = pending.is_unknown(&self.settings.node).await;
        if !unknown.map_err(|error| in_doubt(&error, pending.hash()))? {
            return Ok(false);
        }
        pending.refuse();
        self.keep(pending).map(|()| true)
    }

    async fn confirm(&self, pending: &Pending) -> Result<Option<Receipt>, Failure> {
        let until = self.settings.confirmation;
        let say = |progress: Progress| {
            tell(&match progress {
                Progress::Waiting => "waiting for a block".to_owned(),
                Progress::Blocks(blocks) => format!("in {blocks} of {} blocks", until.blocks),
                Progress::NoAnswer => "the node does not answer; trying again".to_owned(),
            });
        };
        let outcome = pending.confirm(&self.settings.node, until, say).await;
        match outcome.map_err(|error| in_doubt(&error, pending.hash()))? {
            Outcome::Confirmed(receipt) => Ok(Some(*receipt)),
            Outcome::Replaced(by) => self.replaced(by).map(|()| None),
            Outcome::Unknown(_) => {
                let message = format!(
                    "{} is not confirmed yet; the same command goes on waiting",
                    pending.hash()
                );
                Err(Failure::new(Exit::Timeout, message))
            }
        }
    }

    /// A node that lies could have it in a block later. So whoever knows says so, before it is forgotten.
    fn replaced(&self, by: Option<B256>) -> Result<(), Failure> {
        let host = self.settings.node.host();
        let (said, advice) = match by {
            Some(hash) => (
                format!("{hash}, which was signed before and refused, is in a block after all"),
                "that is paid, and this is not. --replaced lets this be paid as well".to_owned(),
            ),
            None => (
                format!("{host} says that another transaction has taken its place"),
                "nothing else was sent. If this key has sent something from elsewhere, --replaced forgets it; if not, ask another node (--rpc)".to_owned(),
            ),
        };
        if self.consent.stuck.replaced {
            tell(&format!(
                "{said}: what has its number was not sent, and will not be"
            ));
            return Ok(());
        }
        Err(Failure::new(Exit::Failure, format!("{said}: {advice}")))
    }
}

fn in_doubt(error: &rpc::Error, hash: B256) -> Failure {
    let message = format!("{error}; {hash} may be sent: the same command goes on, and pays once");
    Failure::new(Exit::Timeout, message)
}

impl From<PrepareError> for Failure {
    fn from(error: PrepareError) -> Self {
        match error {
            PrepareError::Node(error) => error.into(),
            PrepareError::TooLittleEther { .. } | PrepareError::TooDear { .. } => {
                Self::new(Exit::Failure, error.to_string())
            }
        }
    }
}
