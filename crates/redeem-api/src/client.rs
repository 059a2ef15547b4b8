//! Asks a settlement service.

use std::time::Duration;

use ethereum::cheque::{ChequeFile, ChequeFileError};
use ethereum::rpc::{self, Limits, NodeUrl};
use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

use crate::{
    CHEQUES, CLAIM_TYPE, ClaimAnswer, NodeAnswer, Problem, RegistrationAnswer, RegistrationRequest,
    ServiceAnswer,
};

/// How long the service is waited for when it says nothing of it.
const PAUSE: Duration = Duration::from_secs(2);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Somebody who is paid by more gets no cheques: 4 MB of them.
const MOST_CHEQUES: usize = 10_000;

/// A settlement service, asked over HTTPS, or over HTTP on the same machine.
#[derive(Debug, Clone)]
pub struct Service {
    client: Client,
    url: NodeUrl,
    answer_bytes: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no way to the service, or it says nothing.
    #[error("{host}: {reason}")]
    Unreachable {
        /// Which service.
        host: String,
        /// What happened.
        reason: String,
    },
    /// The service refuses, and says why.
    #[error("{host}: {}. {}", .problem.detail, .problem.remedy)]
    Refused {
        /// Which service.
        host: String,
        /// What it said.
        problem: Box<Problem>,
        /// It may be asked again after this.
        retry_after: Option<Duration>,
    },
    /// It is no settlement service, or speaks another version.
    #[error("{host}: not an answer of a settlement service: {reason}")]
    Malformed {
        /// Who was asked.
        host: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// TLS cannot be prepared.
    #[error(transparent)]
    Tls(#[from] rpc::Error),
}

impl ClientError {
    /// Whether the same can be tried again, and after which pause.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        match self {
            Self::Unreachable { .. } => Some(PAUSE),
            Self::Refused {
                problem,
                retry_after,
                ..
            } => {
                let passes = matches!(problem.status, 408 | 429 | 502 | 503 | 504);
                passes.then(|| retry_after.unwrap_or(PAUSE).min(LONGEST_PAUSE))
            }
            Self::Malformed { .. } | Self::Tls(_) => None,
        }
    }
}

impl Service {
    /// Prepares to ask. Nothing is sent.
    ///
    /// # Errors
    /// TLS cannot be prepared.
    pub fn new(url: NodeUrl, limits: Limits) -> Result<Self, ClientError> {
        Ok(Self {
            client: rpc::client(&limits)?,
            url,
            answer_bytes: limits.answer_bytes,
        })
    }

    /// Who is asked, for messages.
    #[must_use]
    pub fn host(&self) -> String {
        self.url.host()
    }

    /// Brings an export.
    ///
    /// # Errors
    /// [`ClientError`]. The service may have taken it all the same; bringing it again changes nothing.
    pub async fn claim(&self, export: Vec<u8>) -> Result<ClaimAnswer, ClientError> {
        let request = self.client.post(self.at("/v1/claims"));
        let kind = HeaderValue::from_static(CLAIM_TYPE);
        self.ask(request.header(CONTENT_TYPE, kind).body(export))
            .await
    }

    /// Registers a node's account.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn register(
        &self,
        registration: &RegistrationRequest,
    ) -> Result<RegistrationAnswer, ClientError> {
        let body = serde_json::to_vec(registration).map_err(|error| self.malformed(error))?;
        let request = self.client.post(self.at("/v1/registrations"));
        let kind = HeaderValue::from_static("application/json");
        self.ask(request.header(CONTENT_TYPE, kind).body(body))
            .await
    }

    /// What is known of a node; nothing, if it has never been heard of.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn node(&self, node: &str) -> Result<Option<NodeAnswer>, ClientError> {
        let answer = self.ask(self.client.get(self.at(&format!("/v1/nodes/{node}"))));
        found(answer.await)
    }

    /// All cheques of a node, or an account; nothing, if it is unknown.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn cheques(&self, of: &str) -> Result<Option<ChequeFile>, ClientError> {
        let mut url = self.at(&format!("/v1/cheques/{of}"));
        let Some(mut all) = self.some_cheques(url.clone()).await? else {
            return Ok(None);
        };
        let mut full = all.cheques.len() >= CHEQUES;
        while full {
            let last = all.cheques.last().map(|signed| signed.cheque.issuer);
            let after = last.unwrap_or_default();
            url.set_query(Some(&format!("after={after}")));
            let more = self.some_cheques(url.clone()).await?;
            let more = more.ok_or_else(|| self.malformed("half of the cheques are missing"))?;
            if (more.chain_id, more.book) != (all.chain_id, all.book) {
                return Err(self.malformed("cheques of several cheque books"));
            }
            full = more.cheques.len() >= CHEQUES;
            let first = more.cheques.first();
            if first.is_some_and(|signed| signed.cheque.issuer <= after) {
                return Err(self.malformed("the same cheques again"));
            }
            all.cheques.extend(more.cheques);
            if all.cheques.len() > MOST_CHEQUES {
                return Err(self.malformed("cheques without end"));
            }
        }
        Ok(Some(all))
    }

    async fn some_cheques(&self, url: reqwest::Url) -> Result<Option<ChequeFile>, ClientError> {
        let Some(body) = found(self.body(self.client.get(url)).await)? else {
            return Ok(None);
        };
        let file = ChequeFile::parse(&body);
        file.map(Some)
            .map_err(|error: ChequeFileError| self.malformed(error))
    }

    /// Where cheques of this service are cashed, and its terms.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn service(&self) -> Result<ServiceAnswer, ClientError> {
        self.ask(self.client.get(self.at("/v1/service"))).await
    }

    fn at(&self, path: &str) -> reqwest::Url {
        let mut url = self.url.url();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{path}"));
        url
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let body = self.body(request).await?;
        serde_json::from_slice(&body).map_err(|error| self.malformed(error))
    }

    async fn body(&self, request: RequestBuilder) -> Result<Vec<u8>, ClientError> {
        let answer = request
            .send()
            .await
            .map_err(|error| self.unreachable(error))?;
        let status = answer.status();
        let retry_after = seconds(&answer);
        let body = self.read(answer).await?;
        if status.is_success() {
            return Ok(body);
        }
        let host = self.host();
        Err(match serde_json::from_slice(&body) {
            Ok(problem) => ClientError::Refused {
                host,
                problem: Box::new(problem),
                retry_after,
            },
            // A proxy in front of a service that is down.
            Err(_) if status.is_server_error() => ClientError::Unreachable {
                host,
                reason: status.to_string(),
            },
            Err(_) => self.malformed(status),
        })
    }

    async fn read(&self, mut answer: Response) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        loop {
            let chunk = answer.chunk().await;
            let Some(chunk) = chunk.map_err(|error| self.unreachable(error))? else {
                return Ok(body);
            };
            if body.len().saturating_add(chunk.len()) > self.answer_bytes {
                return Err(self.malformed("too long"));
            }
            body.extend_from_slice(&chunk);
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> ClientError {
        ClientError::Unreachable {
            host: self.host(),
            reason: rpc::reason(error),
        }
    }

    fn malformed(&self, reason: impl ToString) -> ClientError {
        ClientError::Malformed {
            host: self.host(),
            reason: reason.to_string(),
        }
    }
}

fn seconds(answer: &Response) -> Option<Duration> {
    let value = answer.headers().get(RETRY_AFTER)?;
    value.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

fn found<T>(answer: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Err(ClientError::Refused { problem, .. })
            if problem.status == StatusCode::NOT_FOUND.as_u16() =>
        {
            Ok(None)
        }
        other => other.map(Some),
    }
}
