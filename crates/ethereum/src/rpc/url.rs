//! The URL of a node, which may be a password.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;
use serde::Deserialize;
use thiserror::Error;

/// Shorter parts of a URL are words, not passwords.
const PASSWORD_LENGTH: usize = 8;

/// Where a node is asked. Providers have their customers write keys into paths and queries: what is shown of
/// it is the host and the port.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct NodeUrl(Url);

/// Why a text is no URL of a node. It has no part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    /// It is no URL.
    #[error("no URL of a node: expected https://HOST or http://127.0.0.1:PORT")]
    Form,
    /// Whoever is on the way could read and change what is said in plain text.
    #[error("http only leads to this machine (127.0.0.1, [::1], localhost): elsewhere use https")]
    Plain,
}

impl NodeUrl {
    /// Who is asked, for messages.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0
            .port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// All of it, to ask.
    #[must_use]
    pub fn url(&self) -> Url {
        self.0.clone()
    }

    /// What a node says, without what may be a password: some repeat the key that they refuse.
    pub(super) fn hide_in(&self, text: &str) -> String {
        let path = self.0.path_segments().into_iter().flatten();
        let query = self.0.query().unwrap_or_default().split(['&', '=']);
        let user = [self.0.username(), self.0.password().unwrap_or_default()];
        let parts = path.chain(query).chain(user);
        parts
            .filter(|part| part.len() >= PASSWORD_LENGTH)
            .fold(text.to_owned(), |text, part| text.replace(part, "…"))
    }
}

impl FromStr for NodeUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let url = Url::parse(text).map_err(|_| UrlError::Form)?;
        let host = url.host_str().ok_or(UrlError::Form)?;
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if is_this_machine(host) => Ok(Self(url)),
            "http" => Err(UrlError::Plain),
            _ => Err(UrlError::Form),
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl TryFrom<String> for NodeUrl {
    type Error = UrlError;

    fn try_from(text: String) -> Result<Self, UrlError> {
        text.parse()
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host())
    }
}

impl fmt::Debug for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NodeUrl").field(&self.host()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_url_is_the_host() {
        let text =
            "https://user:secretpassword@node.example:8443/v3/0123456789abcdef?key=fedcba9876";
        let url: NodeUrl = text.parse().unwrap();
        assert_eq!(url.to_string(), "node.example:8443");
        assert_eq!(format!("{url:?}"), "NodeUrl(\"node.example:8443\")");
        let said = "project 0123456789abcdef of secretpassword has no key fedcba9876";
        assert_eq!(url.hide_in(said), "project … of … has no key …");
    }

    #[test]
    fn plain_text_stays_on_this_machine() {
        for text in [
            "http://127.0.0.1:8545",
            "http://[::1]:8545/",
            "http://localhost",
            "https://192.0.2.1",
        ] {
            assert!(text.parse::<NodeUrl>().is_ok(), "{text}");
        }
        for (text, error) in [
            ("http://192.168.1.1:8545", UrlError::Plain),
            ("http://localhost.example", UrlError::Plain),
            ("http://127.0.0.1.example", UrlError::Plain),
            ("ws://127.0.0.1", UrlError::Form),
            ("file:///etc/passwd", UrlError::Form),
            ("127.0.0.1:8545", UrlError::Form),
            ("", UrlError::Form),
        ] {
            assert_eq!(text.parse::<NodeUrl>(), Err(error), "{text}");
        }
    }
}
