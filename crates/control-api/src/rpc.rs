//! Request, response and error, as in the JSON-RPC 2.0 specification
//! (<https://www.jsonrpc.org/specification>).
//!
//! Left out on purpose: batches (refused with one error: a line is a request, and lines may be
//! sent one after the other without waiting) and parameters by position.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{FrameError, Method};

/// What an error is about, in the numbers of JSON-RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub enum ErrorCode {
    /// -32700: the line is not JSON.
    ParseError,
    /// -32600: it is JSON, but not a request.
    InvalidRequest,
    /// -32601: there is no such method.
    MethodNotFound,
    /// -32602: the method has no such parameters.
    InvalidParams,
    /// -32603: the daemon could not write its answer.
    Internal,
    /// -32000: the request was understood and failed.
    Failed,
    /// -32001: what was asked for does not exist.
    NotFound,
    /// -32002: the peer may not do that.
    Permission,
    /// Any other number.
    Other(i64),
}

impl From<i64> for ErrorCode {
    fn from(code: i64) -> Self {
        match code {
            -32700 => Self::ParseError,
            -32600 => Self::InvalidRequest,
            -32601 => Self::MethodNotFound,
            -32602 => Self::InvalidParams,
            -32603 => Self::Internal,
            -32000 => Self::Failed,
            -32001 => Self::NotFound,
            -32002 => Self::Permission,
            other => Self::Other(other),
        }
    }
}

impl From<ErrorCode> for i64 {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::ParseError => -32700,
            ErrorCode::InvalidRequest => -32600,
            ErrorCode::MethodNotFound => -32601,
            ErrorCode::InvalidParams => -32602,
            ErrorCode::Internal => -32603,
            ErrorCode::Failed => -32000,
            ErrorCode::NotFound => -32001,
            ErrorCode::Permission => -32002,
            ErrorCode::Other(other) => other,
        }
    }
}

/// The answer to a request that was not fulfilled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// What it is about.
    pub code: ErrorCode,
    /// One sentence for people.
    pub message: String,
}

impl RpcError {
    /// An error with any code.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// What was asked for does not exist.
    #[must_use]
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// The request was understood and failed.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Failed, message)
    }

    /// The method has no such parameters.
    #[must_use]
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidParams, message)
    }
}

impl From<FrameError> for RpcError {
    fn from(error: FrameError) -> Self {
        let code = match error {
            FrameError::TooLong { .. } => ErrorCode::InvalidRequest,
            FrameError::NotUtf8 => ErrorCode::ParseError,
        };
        Self::new(code, error.to_string())
    }
}

/// What the client calls its request; the response repeats it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// In a response only: the request's id could not be made out.
    Null,
    /// A number.
    Number(serde_json::Number),
    /// A text.
    Text(String),
}

impl From<u64> for Id {
    fn from(id: u64) -> Self {
        Self::Number(id.into())
    }
}

/// A request, or a notification when it has no id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What the response will repeat; `None` when none is wanted.
    pub id: Option<Id>,
    /// What is asked.
    pub method: Method,
}

/// A line that is no request of ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// The id for the response; `None` for a notification, which gets none.
    pub id: Option<Id>,
    /// What is wrong.
    pub error: RpcError,
}

impl Request {
    /// Reads one line.
    ///
    /// # Errors
    /// [`Rejected`] with -32700, -32600, -32601 or -32602.
    pub fn parse(line: &str) -> Result<Self, Rejected> {
        let object = parse_object(line)?;
        let id = parse_id(&object)?;
        match parse_method(object) {
            Ok(method) => Ok(Self { id, method }),
            // Without an id only a well-formed request is a notification.
            Err(error) if id.is_none() && error.code == ErrorCode::InvalidRequest => {
                Err(Rejected {
                    id: Some(Id::Null),
                    error,
                })
            }
            Err(error) => Err(Rejected { id, error }),
        }
    }

    /// The line to send, its newline included.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        let mut object = Map::new();
        object.insert("jsonrpc".into(), "2.0".into());
        match &self.id {
            None => {}
            Some(Id::Null) => drop(object.insert("id".into(), Value::Null)),
            Some(Id::Number(id)) => drop(object.insert("id".into(), id.clone().into())),
            Some(Id::Text(id)) => drop(object.insert("id".into(), id.clone().into())),
        }
        object.insert("method".into(), self.method.name().into());
        if let Some(params) = self.method.params() {
            object.insert("params".into(), params);
        }
        let mut line = Value::Object(object).to_string().into_bytes();
        line.push(b'\n');
        line
    }
}

impl Rejected {
    /// The response to send, its newline included; `None` for a notification.
    #[must_use]
    pub fn to_line(&self) -> Option<Vec<u8>> {
        let id = self.id.clone()?;
        Some(
            Response::<()> {
                id,
                outcome: Err(self.error.clone()),
            }
            .to_line(),
        )
    }

    fn anonymous(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            id: Some(Id::Null),
            error: RpcError::new(code, message),
        }
    }
}

impl From<FrameError> for Rejected {
    fn from(error: FrameError) -> Self {
        Self {
            id: Some(Id::Null),
            error: error.into(),
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Response<T = Value> {
    /// The request's id.
    pub id: Id,
    /// The result, or why there is none.
    pub outcome: Result<T, RpcError>,
}

/// How a response is spelled.
#[derive(Serialize, Deserialize)]
struct ResponseObject<T> {
    jsonrpc: String,
    id: Id,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    result: Option<T>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<RpcError>,
}

/// `#[serde(default)]` alone would ask for `T: Default`.
const fn none<T>() -> Option<T> {
    None
}

impl<T: Serialize> Response<T> {
    /// The line to send, its newline included.
    #[must_use]
    pub fn to_line(&self) -> Vec<u8> {
        let (result, error) = match &self.outcome {
            Ok(result) => (Some(result), None),
            Err(error) => (None, Some(error.clone())),
        };
        let jsonrpc = "2.0".to_owned();
        let object = ResponseObject {
            jsonrpc,
            id: self.id.clone(),
            result,
            error,
        };
        let mut line = serde_json::to_vec(&object).unwrap_or_else(|_| CANNOT_ANSWER.to_vec());
        line.push(b'\n');
        line
    }
}

/// Our types always have a JSON form; another's `Serialize` may not.
const CANNOT_ANSWER: &[u8] =
    br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"answer has no JSON form"}}"#;

impl<T: DeserializeOwned> Response<T> {
    /// Reads one line.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(line: &str) -> Result<Self, String> {
        let object: ResponseObject<T> =
            serde_json::from_str(line).map_err(|error| error.to_string())?;
        if object.jsonrpc != "2.0" {
            return Err("not JSON-RPC 2.0".into());
        }
        let outcome = match (object.result, object.error) {
            (Some(result), None) => Ok(result),
            (None, Some(error)) => Err(error),
            (Some(_), Some(_)) => return Err("both a result and an error".into()),
            (None, None) => return Err("neither a result nor an error".into()),
        };
        Ok(Self {
            id: object.id,
            outcome,
        })
    }
}

fn parse_object(line: &str) -> Result<Map<String, Value>, Rejected> {
    match serde_json::from_str(line) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Array(_)) => Err(Rejected::anonymous(
            ErrorCode::InvalidRequest,
            "batches are not supported: send one request a line",
        )),
        Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => Err(
            Rejected::anonymous(ErrorCode::InvalidRequest, "a request is a JSON object"),
        ),
        Err(error) => Err(Rejected::anonymous(
            ErrorCode::ParseError,
            format!("not JSON: {error}"),
        )),
    }
}

fn parse_id(object: &Map<String, Value>) -> Result<Option<Id>, Rejected> {
    match object.get("id") {
        None => Ok(None),
        Some(Value::Number(id)) => Ok(Some(Id::Number(id.clone()))),
        Some(Value::String(id)) => Ok(Some(Id::Text(id.clone()))),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            Err(Rejected::anonymous(
                ErrorCode::InvalidRequest,
                "`id` is a number or a text, or absent",
            ))
        }
    }
}

fn parse_method(mut object: Map<String, Value>) -> Result<Method, RpcError> {
    if object.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        let message = "`jsonrpc` must be \"2.0\"";
        return Err(RpcError::new(ErrorCode::InvalidRequest, message));
    }
    let Some(Value::String(name)) = object.remove("method") else {
        return Err(RpcError::new(
            ErrorCode::InvalidRequest,
            "`method` must be a text",
        ));
    };
    Method::parse(&name, object.remove("params"))
}
