//! The node and the cheque book: what the command line says, or else the file.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use alloy_primitives::Address;
use control_api::Exit;
use ethereum::bindings::SmtChequeBook::tokenCall;
use ethereum::rpc::{BlockTag, Limits, Node, NodeUrl};
use ethereum::send::{Confirmation, FeePolicy};
use ethereum::text::{parse_address, parse_amount};
use serde::Deserialize;

use super::places;
use crate::cli::wallet::Chain;
use crate::failure::Failure;

/// A reorganization of more blocks is news.
const CONFIRMATIONS: u64 = 3;

/// `wallet.yaml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rpc: Option<NodeUrl>,
    book: Option<String>,
    chain_id: Option<u64>,
    confirmations: Option<u64>,
    max_priority_fee_gwei: Option<u64>,
    /// Digits: it is never a floating-point number.
    max_fee_ether: Option<String>,
    token: Option<String>,
}

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) node: Node,
    pub(super) book: Address,
    /// The token that the cheque book has to pay in, if the file names one.
    pinned: Option<Address>,
    /// Of the only chain that anything is signed for, if the file names one.
    chain_id: Option<u64>,
    pub(super) confirmation: Confirmation,
    pub(super) fees: FeePolicy,
}

/// What a node says that SMT is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) address: Address,
    /// It is what the file says as well.
    pub(super) is_pinned: bool,
}

impl Token {
    /// What to do about a node's word.
    pub(super) fn text(&self) -> String {
        let address = self.address.to_checksum(None);
        format!(
            "that SMT is {address} is the node's word; if the cheque book's operator says the same, put token: '{address}' into wallet.yaml"
        )
    }
}

impl Settings {
    pub(super) fn load(chain: &Chain) -> Result<Self, Failure> {
        let written = Written::load(chain)?;
        let fees = written.fees()?;
        let pinned = written.pinned(chain)?;
        let url = match &chain.rpc {
            Some(url) => Some(
                url.parse()
                    .map_err(|error| usage(format!("--rpc: {error}")))?,
            ),
            None => written.rpc,
        };
        let url: NodeUrl = url.ok_or_else(|| usage("no node: --rpc URL, or rpc in wallet.yaml"))?;
        let book = chain.book.map_or_else(|| book(written.book), Ok)?;
        let blocks = chain.confirmations.or(written.confirmations);
        Ok(Self {
            node: Node::new(url, Limits::default())?,
            book,
            pinned,
            chain_id: written.chain_id,
            confirmation: Confirmation {
                blocks: blocks.unwrap_or(CONFIRMATIONS),
                patience: Duration::from_secs(chain.patience),
            },
            fees,
        })
    }

    /// The token that the command line or the file names, without asking a node.
    pub(super) fn pinned(chain: &Chain) -> Result<Option<Address>, Failure> {
        Written::load(chain)?.pinned(chain)
    }

    /// The number of the node's chain, which has to be the one that the file names.
    pub(super) async fn ask_chain_id(&self) -> Result<u64, Failure> {
        let found = self.node.chain_id().await?;
        match self.chain_id {
            Some(expected) if expected != found => Err(usage(format!(
                "{} is a node of chain {found}, and chain_id in wallet.yaml is {expected}",
                self.node.host()
            ))),
            Some(_) | None => Ok(found),
        }
    }

    /// The token that the cheque book pays: SMT. A node could name any other that the wallet holds, to have that sent,
    /// so it has to be the one that the file names.
    pub(super) async fn token(&self) -> Result<Token, Failure> {
        let call = self.node.call(self.book, &tokenCall {}, BlockTag::Latest);
        let address = call.await?;
        match self.pinned {
            Some(pinned) if pinned != address => Err(usage(format!(
                "{} says that the cheque book pays the token {}, and token in wallet.yaml is {}",
                self.node.host(),
                address.to_checksum(None),
                pinned.to_checksum(None)
            ))),
            pinned => Ok(Token {
                address,
                is_pinned: pinned.is_some(),
            }),
        }
    }

    /// Talks to the node.
    pub(super) fn run<T>(
        &self,
        talk: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
        runtime.block_on(talk)
    }
}

impl Written {
    /// What nobody named may be missing.
    fn load(chain: &Chain) -> Result<Self, Failure> {
        let Some(path) = chain.config.clone().or_else(places::config) else {
            return Ok(Self::default());
        };
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&path, &text),
            Err(error) if chain.config.is_none() && error.kind() == io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(error) => Err(Failure::file(&path, &error)),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Failure> {
        // An empty file is no mapping, and says nothing.
        let written: Result<Option<Self>, _> = serde_yaml::from_str(text);
        let written = written.map_err(|error| usage(format!("{}: {error}", path.display())))?;
        Ok(written.unwrap_or_default())
    }

    fn pinned(&self, chain: &Chain) -> Result<Option<Address>, Failure> {
        let written = || self.token.as_deref().map(parse_address).transpose();
        let written = || written().map_err(|error| usage(format!("token in wallet.yaml: {error}")));
        chain.token.map_or_else(written, |token| Ok(Some(token)))
    }

    fn fees(&self) -> Result<FeePolicy, Failure> {
        let mut fees = FeePolicy::default();
        if let Some(gwei) = self.max_priority_fee_gwei {
            fees = fees.with_tip_gwei(gwei);
        }
        if let Some(ether) = &self.max_fee_ether {
            let invalid = |error| usage(format!("max_fee_ether in wallet.yaml: {error}"));
            fees = fees.with_most_fee(parse_amount(ether).map_err(invalid)?);
        }
        Ok(fees)
    }
}

fn book(written: Option<String>) -> Result<Address, Failure> {
    let text =
        written.ok_or_else(|| usage("no cheque book: --book ADDRESS, or book in wallet.yaml"))?;
    parse_address(&text).map_err(|error| usage(format!("book: {error}")))
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}
