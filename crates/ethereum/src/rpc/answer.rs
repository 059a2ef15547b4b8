//! What nodes answer, as they write it.

use alloy_primitives::{Address, B256, LogData, U64, U256};
use alloy_sol_types::SolEvent;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// A block, without its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Block {
    /// Its number.
    #[serde(deserialize_with = "quantity")]
    pub number: u64,
    /// Its hash; a pending block has none.
    pub hash: Option<B256>,
    /// Seconds since 1970.
    #[serde(deserialize_with = "quantity")]
    pub timestamp: u64,
    /// What a unit of gas costs at least, in wei.
    #[serde(rename = "baseFeePerGas", deserialize_with = "wei")]
    pub base_fee: u128,
}

/// What became of a transaction that is in a block.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The transaction.
    pub transaction_hash: B256,
    /// Its block.
    #[serde(deserialize_with = "quantity")]
    pub block_number: u64,
    #[serde(deserialize_with = "quantity")]
    status: u64,
    /// Units of gas that it took.
    #[serde(deserialize_with = "quantity")]
    pub gas_used: u64,
    /// What each cost, in wei.
    #[serde(deserialize_with = "wei")]
    pub effective_gas_price: u128,
    logs: Vec<Log>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Log {
    address: Address,
    #[serde(flatten)]
    data: LogData,
}

impl Receipt {
    /// Whether it did what it should. One that failed changed nothing, and has cost gas all the same.
    #[must_use]
    pub const fn succeeded(&self) -> bool {
        self.status == 1
    }

    /// What it cost, in wei.
    #[must_use]
    pub fn fee(&self) -> U256 {
        U256::from(self.gas_used).saturating_mul(U256::from(self.effective_gas_price))
    }

    /// The events of this kind that one contract told of, in order.
    #[must_use]
    pub fn events<E: SolEvent>(&self, contract: Address) -> Vec<E> {
        let logs = self.logs.iter().filter(|log| log.address == contract);
        logs.filter_map(|log| E::decode_log_data(&log.data).ok())
            .collect()
    }
}

fn quantity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    U64::deserialize(deserializer).map(|number| number.to())
}

fn wei<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
    let fee = U256::deserialize(deserializer)?;
    u128::try_from(fee).map_err(|_| D::Error::custom("a fee of more than 128 bits"))
}
