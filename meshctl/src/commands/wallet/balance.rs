//! `meshctl wallet balance`

use alloy_primitives::{Address, U256};
use control_api::SCHEMA;
use ethereum::bindings::SmtToken::balanceOfCall;
use ethereum::rpc::BlockTag;
use ethereum::text::amount;
use serde::Serialize;

use super::settings::Settings;
use super::store::Store;
use super::tell;
use crate::failure::Failure;
use crate::output::{Column, Output, left, right, table};

const COLUMNS: [Column; 3] = [right("SMT"), right("ETHER"), left("TOKEN")];

pub(super) fn run(output: Output, store: &Store, settings: &Settings) -> Result<(), Failure> {
    let address = store.open()?.address;
    let balance = settings.run(Balance::ask(settings, address))?;
    output.show(&balance, |balance| {
        let row = [&balance.smt, &balance.ether, &balance.token].map(String::clone);
        table(COLUMNS, [row], "")
    })
}

/// Exact amounts, in decimal.
#[derive(Debug, Serialize)]
struct Balance {
    schema: u32,
    address: String,
    chain_id: u64,
    smt: String,
    ether: String,
    /// What SMT is.
    token: String,
    /// The file of settings says so as well.
    token_is_pinned: bool,
}

impl Balance {
    async fn ask(settings: &Settings, address: Address) -> Result<Self, Failure> {
        let chain_id = settings.ask_chain_id().await?;
        let token = settings.token().await?;
        if !token.is_pinned {
            tell(&token.text());
        }
        let node = &settings.node;
        let call = balanceOfCall { account: address };
        let smt: U256 = node.call(token.address, &call, BlockTag::Latest).await?;
        let ether = node.balance(address, BlockTag::Latest).await?;
        Ok(Self {
            schema: SCHEMA,
            address: address.to_checksum(None),
            chain_id,
            smt: amount(smt),
            ether: amount(ether),
            token: token.address.to_checksum(None),
            token_is_pinned: token.is_pinned,
        })
    }
}
