//! `meshctl wallet balance`

use alloy_primitives::{Address, U256};
use control_api::SCHEMA;
use ethereum::bindings::SmtToken::balanceOfCall;
use ethereum::rpc::BlockTag;
use ethereum::text::amount;
use serde::Serialize;

use super::settings::Settings;
use super::store::Store;
use crate::failure::Failure;
use crate::output::{Column, Output, right, table};

const COLUMNS: [Column; 2] = [right("SMT"), right("ETHER")];

pub(super) fn run(output: Output, store: &Store, settings: &Settings) -> Result<(), Failure> {
    let address = store.open()?.address;
    let balance = settings.run(Balance::ask(settings, address))?;
    output.show(&balance, |balance| {
        let row = [balance.smt.clone(), balance.ether.clone()];
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
}

impl Balance {
    async fn ask(settings: &Settings, address: Address) -> Result<Self, Failure> {
        let chain_id = settings.ask_chain_id().await?;
        let token = settings.token().await?;
        let node = &settings.node;
        let call = balanceOfCall { account: address };
        let smt: U256 = node.call(token, &call, BlockTag::Latest).await?;
        let ether = node.balance(address, BlockTag::Latest).await?;
        Ok(Self {
            schema: SCHEMA,
            address: address.to_checksum(None),
            chain_id,
            smt: amount(smt),
            ether: amount(ether),
        })
    }
}
