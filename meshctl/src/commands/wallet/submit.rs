//! Sending, at most once: what is signed is kept in a file beside the key before it is sent, and removed when its
//! end is known and has been shown. `ethereum::send` says what the node's answers mean.

use std::fs;
use std::io;
use std::path::PathBuf;

use alloy_primitives::{Address, B256};
use control_api::Exit;
use ethereum::key::PrivateKey;
use ethereum::rpc::{self, Intent, Receipt};
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
        Ok(Self {
            opened,
            pending: store.pending(),
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
        tell(&format!(
            "an earlier run signed {} and did not see its end",
            pending.hash()
        ));
        if self.consent.raise_fee {
            self.raise(&mut pending).await?;
        }
        match pending.broadcast(&self.settings.node).await? {
            Broadcast::Taken | Broadcast::NonceUsed => (),
            Broadcast::Underpriced(error) => {
                tell(&format!("{error}; --raise-fee lets it pay more"));
            }
            // It may be in a block, or on its way through another node.
            Broadcast::Invalid(error) | Broadcast::InDoubt(error) => tell(&error.to_string()),
        }
        match self.confirm(&pending).await? {
            Some(receipt) => Ok(Some(Done {
                pending,
                receipt,
                resumed: true,
            })),
            None => {
                tell("another transaction has taken its place: it was not sent, and will not be");
                self.forget()?;
                Ok(None)
            }
        }
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
        if !self.consent.yes {
            consent(&format!(
                "{what} with a fee of {} ether at most?",
                amount(transaction.most_fee())
            ))?;
        }
        let pending = self.sign(transaction)?;
        self.keep(&pending)?;
        self.give(&pending).await?;
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

    fn sign(&self, transaction: Transaction) -> Result<Pending, Failure> {
        Ok(Pending::sign(&self.key()?, transaction))
    }

    async fn raise(&self, pending: &mut Pending) -> Result<(), Failure> {
        let fees = Fees::now(&self.settings.node, self.settings.fees).await?;
        pending.raise(&self.key()?, fees);
        self.settings.fees.allows(pending.transaction())?;
        let most = amount(pending.transaction().most_fee());
        if !self.consent.yes {
            consent(&format!("Let it have a fee of {most} ether at most?"))?;
        }
        self.keep(pending)
    }

    /// The first time: what the node refuses, and does not know, nobody has. What is between it and here may have
    /// sent it twice, and heard what the second one was worth.
    async fn give(&self, pending: &Pending) -> Result<(), Failure> {
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
        if node.knows(hash).await.map_err(in_doubt)? {
            tell(&format!("{refusal}; but {hash} was sent"));
            return Ok(());
        }
        self.forget()?;
        let message = format!("{refusal}; nothing was sent");
        Err(Failure::new(Exit::Failure, message))
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
            Outcome::Replaced => Ok(None),
            Outcome::Unknown(_) => {
                let message = format!(
                    "{} is not confirmed yet; the same command goes on waiting",
                    pending.hash()
                );
                Err(Failure::new(Exit::Timeout, message))
            }
        }
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
