//! An Ethereum node, asked by JSON-RPC over HTTP.

mod answer;
mod error;
mod http;
mod url;

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use alloy_sol_types::SolCall;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use http::Http;

pub use answer::{Block, Receipt};
pub use error::{Error, Revert};
pub use http::{Limits, client, reason};
pub use url::{NodeUrl, UrlError};

/// Which state of the chain is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockTag {
    /// With what waits to be in the next block.
    Pending,
    /// The newest block.
    Latest,
    /// The block of this number.
    Number(u64),
    /// The block of this hash, and nothing if it is not, or no longer, one of the chain (EIP-1898).
    Hash(B256),
}

impl BlockTag {
    fn json(self) -> Value {
        match self {
            Self::Pending => json!("pending"),
            Self::Latest => json!("latest"),
            Self::Number(number) => json!(U64::from(number)),
            Self::Hash(hash) => json!({"blockHash": hash, "requireCanonical": true}),
        }
    }
}

/// What a transaction would do, to ask what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Who sends it.
    pub from: Address,
    /// Who receives it.
    pub to: Address,
    /// The ether that goes with it, in wei.
    pub value: U256,
    /// What a contract is called with.
    pub data: Bytes,
}

/// A node. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Node {
    http: Http,
}

impl Node {
    /// Prepares to ask a node. Nothing is sent.
    ///
    /// # Errors
    /// TLS cannot be prepared.
    pub fn new(url: NodeUrl, limits: Limits) -> Result<Self, Error> {
        let http = Http::new(url, limits, http::trusted_by_mozilla())?;
        Ok(Self { http })
    }

    /// Who is asked, for messages.
    #[must_use]
    pub fn host(&self) -> String {
        self.http.url.host()
    }

    /// What a function of a contract returns.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::Reverted`] if the contract refuses.
    pub async fn call<C: SolCall>(
        &self,
        to: Address,
        call: &C,
        at: BlockTag,
    ) -> Result<C::Return, Error> {
        let answer = self.ask("eth_call", call_parameters(to, call, at));
        self.decode::<C>(&answer.await?)
    }

    /// What several calls return, asked for in one request, in the order of the calls.
    ///
    /// # Errors
    /// The request failed. What is wrong with one call is in its place.
    pub async fn calls<C: SolCall>(
        &self,
        calls: &[(Address, C)],
        at: BlockTag,
    ) -> Result<Vec<Result<C::Return, Error>>, Error> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let parameters = calls.iter().map(|(to, call)| {
            let parameters = call_parameters(*to, call, at);
            ("eth_call", parameters)
        });
        let answers = self.batch(parameters.collect()).await?;
        let answers = answers.into_iter();
        Ok(answers.map(|it| self.decode::<C>(&it?)).collect())
    }

    /// The chain's number.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn chain_id(&self) -> Result<u64, Error> {
        self.quantity("eth_chainId", json!([])).await
    }

    /// A block.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::Malformed`] if there is no such block.
    pub async fn block(&self, at: BlockTag) -> Result<Block, Error> {
        match at {
            BlockTag::Hash(hash) => self.ask("eth_getBlockByHash", json!([hash, false])).await,
            BlockTag::Pending | BlockTag::Latest | BlockTag::Number(_) => {
                let parameters = json!([at.json(), false]);
                self.ask("eth_getBlockByNumber", parameters).await
            }
        }
    }

    /// The number of a block, and its hash: whatever is asked for by that is said of one state, also if the chain
    /// is reorganized meanwhile.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::Malformed`] if there is no such block, or it is none yet.
    pub async fn pin(&self, at: BlockTag) -> Result<(u64, BlockTag), Error> {
        let block = self.block(at).await?;
        let hash = block
            .hash
            .ok_or_else(|| self.malformed("a block", "it has no hash"))?;
        Ok((block.number, BlockTag::Hash(hash)))
    }

    /// Somebody's ether, in wei.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn balance(&self, of: Address, at: BlockTag) -> Result<U256, Error> {
        self.ask("eth_getBalance", json!([of, at.json()])).await
    }

    /// How many transactions somebody has sent, which is the number of the next.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn transaction_count(&self, of: Address, at: BlockTag) -> Result<u64, Error> {
        let parameters = json!([of, at.json()]);
        self.quantity("eth_getTransactionCount", parameters).await
    }

    /// The tip that the node thinks is enough, in wei for each unit of gas.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn max_priority_fee(&self) -> Result<u128, Error> {
        let method = "eth_maxPriorityFeePerGas";
        let tip: U256 = self.ask(method, json!([])).await?;
        u128::try_from(tip).map_err(|_| self.malformed(method, "more than 128 bits"))
    }

    /// How much gas a transaction would take.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::Reverted`] if it would fail.
    pub async fn estimate_gas(&self, intent: &Intent) -> Result<u64, Error> {
        let parameters = json!([{
            "from": intent.from, "to": intent.to, "value": intent.value, "data": intent.data,
        }]);
        self.quantity("eth_estimateGas", parameters).await
    }

    /// Gives the node a signed transaction, and returns its hash.
    ///
    /// # Errors
    /// Any [`Error`]. Unless it is [`Error::Refused`] the node may have taken it all the same.
    pub async fn send_raw_transaction(&self, transaction: &Bytes) -> Result<B256, Error> {
        let parameters = json!([transaction]);
        self.ask("eth_sendRawTransaction", parameters).await
    }

    /// What became of a transaction, if it is in a block.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn receipt(&self, transaction: B256) -> Result<Option<Receipt>, Error> {
        let parameters = json!([transaction]);
        self.ask("eth_getTransactionReceipt", parameters).await
    }

    /// Whether the node knows a transaction, in a block or waiting for one.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn knows(&self, transaction: B256) -> Result<bool, Error> {
        let parameters = json!([transaction]);
        let known: Value = self.ask("eth_getTransactionByHash", parameters).await?;
        Ok(!known.is_null())
    }

    async fn quantity(&self, method: &'static str, parameters: Value) -> Result<u64, Error> {
        let number: U64 = self.ask(method, parameters).await?;
        Ok(number.to())
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: &'static str,
        parameters: Value,
    ) -> Result<T, Error> {
        let answer = self
            .http
            .post(request(0, method, parameters).to_string().into());
        let answer: Answer = self.parse(method, &answer.await?)?;
        let result = self.result(method, answer)?;
        serde_json::from_value(result).map_err(|error| self.malformed(method, error))
    }

    /// Answers come in any order; they are returned in that of the requests.
    async fn batch(
        &self,
        requests: Vec<(&'static str, Value)>,
    ) -> Result<Vec<Result<Bytes, Error>>, Error> {
        let methods: Vec<_> = requests.iter().map(|(method, _)| *method).collect();
        let numbered = requests.into_iter().enumerate();
        let requests: Vec<_> = numbered
            .map(|(id, (method, parameters))| request(id, method, parameters))
            .collect();
        let body = Value::Array(requests).to_string();
        let said = self.http.post(body.into()).await?;
        // A node that takes no batches, or none so long, answers with one error.
        if let Ok(one) = serde_json::from_slice::<Answer>(&said) {
            let refusal = self.result("a batch", one).err();
            return Err(refusal.unwrap_or_else(|| self.malformed("a batch", "one answer")));
        }
        let mut answers: Vec<Answer> = self.parse("a batch", &said)?;
        let results = methods.into_iter().enumerate().map(|(id, method)| {
            let place = answers.iter().position(|it| it.id == Some(id));
            let Some(place) = place else {
                return Err(self.malformed(method, "an answer is missing"));
            };
            let result = self.result(method, answers.swap_remove(place))?;
            serde_json::from_value(result).map_err(|error| self.malformed(method, error))
        });
        Ok(results.collect())
    }

    fn parse<T: DeserializeOwned>(&self, method: &'static str, answer: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(answer).map_err(|error| self.malformed(method, error))
    }

    fn result(&self, method: &'static str, answer: Answer) -> Result<Value, Error> {
        let Some(error) = answer.error else {
            let result = answer.result;
            return result.ok_or_else(|| self.malformed(method, "neither a result nor an error"));
        };
        if let Some(revert) = error.revert() {
            return Err(Error::Reverted(revert));
        }
        let said: String = error.message.chars().take(MESSAGE_CHARACTERS).collect();
        Err(Error::Refused {
            host: self.host(),
            method,
            code: error.code,
            message: self.http.url.hide_in(&said),
        })
    }

    fn decode<C: SolCall>(&self, answer: &Bytes) -> Result<C::Return, Error> {
        // An address without a contract returns nothing, and so does not decode.
        C::abi_decode_returns(answer).map_err(|_| Error::Malformed {
            host: self.host(),
            method: C::SIGNATURE,
            reason: "is this contract on this chain?".to_owned(),
        })
    }

    fn malformed(&self, method: &'static str, reason: impl ToString) -> Error {
        let reason = self.http.url.hide_in(&reason.to_string());
        Error::Malformed {
            host: self.host(),
            method,
            reason,
        }
    }
}

/// Of what a node says about an error. One line, for people.
const MESSAGE_CHARACTERS: usize = 300;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    id: Option<usize>,
    /// `null` is a result: of a transaction that is not in a block.
    #[serde(default, deserialize_with = "some")]
    result: Option<Value>,
    error: Option<error::RpcError>,
}

fn some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn request(id: usize, method: &'static str, parameters: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": parameters})
}

fn call_parameters<C: SolCall>(to: Address, call: &C, at: BlockTag) -> Value {
    let data = Bytes::from(call.abi_encode());
    json!([{"to": to, "data": data}, at.json()])
}

#[cfg(test)]
mod tests;
