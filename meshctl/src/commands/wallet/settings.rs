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
use ethereum::text::parse_address;
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
}

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) node: Node,
    pub(super) book: Address,
    /// Of the only chain that anything is signed for, if the file names one.
    chain_id: Option<u64>,
    pub(super) confirmation: Confirmation,
    pub(super) fees: FeePolicy,
}

impl Settings {
    pub(super) fn load(chain: &Chain) -> Result<Self, Failure> {
        let written = Written::load(chain)?;
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
            chain_id: written.chain_id,
            confirmation: Confirmation {
                blocks: blocks.unwrap_or(CONFIRMATIONS),
                patience: Duration::from_secs(chain.patience),
            },
            fees: written
                .max_priority_fee_gwei
                .map_or_else(FeePolicy::default, FeePolicy::gwei),
        })
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

    /// The token that the cheque book pays: SMT.
    pub(super) async fn token(&self) -> Result<Address, Failure> {
        let token = self.node.call(self.book, &tokenCall {}, BlockTag::Latest);
        Ok(token.await?)
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
}

fn book(written: Option<String>) -> Result<Address, Failure> {
    let text =
        written.ok_or_else(|| usage("no cheque book: --book ADDRESS, or book in wallet.yaml"))?;
    parse_address(&text).map_err(|error| usage(format!("book: {error}")))
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}
