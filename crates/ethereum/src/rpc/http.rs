//! Requests and answers of HTTP.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use rustls::{ClientConfig, RootCertStore};

use super::{Error, NodeUrl};

/// How long a node may take, and how much it may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For a connection.
    pub connect: Duration,
    /// For a whole request, answer included.
    pub whole: Duration,
    /// Bytes of an answer.
    pub answer_bytes: usize,
}

/// Nodes of providers answer within a second, but the way there may be that of a village.
impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            whole: Duration::from_secs(30),
            answer_bytes: 8 << 20,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client,
    pub(super) url: NodeUrl,
    answer_bytes: usize,
}

impl Http {
    pub(super) fn new(url: NodeUrl, limits: Limits, trusted: RootCertStore) -> Result<Self, Error> {
        Ok(Self {
            client: client_that_trusts(trusted, &limits)?,
            url,
            answer_bytes: limits.answer_bytes,
        })
    }

    pub(super) async fn post(&self, body: Vec<u8>) -> Result<Vec<u8>, Error> {
        let request = self.client.post(self.url.url());
        let json = HeaderValue::from_static("application/json");
        let request = request.header(CONTENT_TYPE, json).body(body);
        let answer = request.send().await.map_err(|error| self.failed(error))?;
        if !answer.status().is_success() {
            return Err(Error::Status {
                host: self.url.host(),
                status: answer.status().as_u16(),
            });
        }
        self.read(answer).await
    }

    async fn read(&self, mut answer: Response) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.failed(error))? {
            if body.len().saturating_add(chunk.len()) > self.answer_bytes {
                return Err(Error::TooLarge {
                    host: self.url.host(),
                    limit: self.answer_bytes,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn failed(&self, error: reqwest::Error) -> Error {
        let host = self.url.host();
        if error.is_timeout() {
            return Error::Timeout { host };
        }
        let reason = reason(error);
        Error::Unreachable { host, reason }
    }
}

/// What asks over HTTP and HTTPS, without following redirections: the URL may be a password, which is for one host.
///
/// # Errors
/// TLS cannot be prepared.
pub fn client(limits: &Limits) -> Result<Client, Error> {
    client_that_trusts(trusted_by_mozilla(), limits)
}

fn client_that_trusts(trusted: RootCertStore, limits: &Limits) -> Result<Client, Error> {
    Client::builder()
        .tls_backend_preconfigured(tls(trusted)?)
        .connect_timeout(limits.connect)
        .timeout(limits.whole)
        .redirect(Policy::none())
        .referer(false)
        .build()
        .map_err(|error| Error::Tls(deepest(&error.without_url())))
}

/// Whom Mozilla trusts, from within the program: routers have no /etc/ssl.
pub(super) fn trusted_by_mozilla() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

fn tls(trusted: RootCertStore) -> Result<ClientConfig, Error> {
    let provider = rustls::crypto::ring::default_provider().into();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Tls(error.to_string()))?;
    let config = config.with_root_certificates(trusted);
    Ok(config.with_no_client_auth())
}

/// Why a request failed, in one line without the URL.
#[must_use]
pub fn reason(error: reqwest::Error) -> String {
    deepest(&error.without_url())
}

/// What was wrong in the first place. What is around it says "error sending request".
fn deepest(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}
