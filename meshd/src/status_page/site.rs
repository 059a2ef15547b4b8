//! Requests to answers. All of it is for reading.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use control_api::metrics;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    HeaderName, HeaderValue, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};
use tokio::sync::mpsc;

use super::file;
use super::hosts::Hosts;
use super::kept::Kept;
use crate::control::Question;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// What every answer says beside itself: nothing is fetched, framed or told to others.
const ALWAYS: [(HeaderName, &str); 5] = [
    (CONTENT_SECURITY_POLICY, file::POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// The site.
#[derive(Debug)]
pub(super) struct Site {
    kept: Kept,
    terms: Mutex<Terms>,
}

#[derive(Clone, Debug, Default)]
struct Terms {
    hosts: Arc<Hosts>,
    metrics: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Page,
    Status,
    Metrics,
}

impl Site {
    pub(super) fn new(questions: mpsc::Sender<Question>) -> Self {
        Self {
            kept: Kept::new(questions),
            terms: Mutex::default(),
        }
    }

    pub(super) fn set_terms(&self, hosts: Arc<Hosts>, metrics: bool) {
        *self.terms.lock().unwrap_or_else(PoisonError::into_inner) = Terms { hosts, metrics };
    }

    fn terms(&self) -> Terms {
        let terms = self.terms.lock();
        terms.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers one request. hyper leaves the body out where the method is HEAD.
    pub(super) async fn answer(&self, request: &Parts) -> Response<Whole> {
        let terms = self.terms();
        if !terms.hosts.accept(&request.uri, &request.headers) {
            return refusal(
                StatusCode::MISDIRECTED_REQUEST,
                "this is not the host you mean",
            );
        }
        let resource = match request.uri.path() {
            "/" => Resource::Page,
            "/status.json" => Resource::Status,
            "/metrics" if terms.metrics => Resource::Metrics,
            _ => return refusal(StatusCode::NOT_FOUND, "there is nothing here"),
        };
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return response;
        }
        match resource {
            Resource::Page => page(&request.headers),
            Resource::Status => fresh(JSON, self.kept.status().await),
            Resource::Metrics => fresh(metrics::CONTENT_TYPE, self.kept.metrics().await),
        }
    }
}

fn page(headers: &HeaderMap) -> Response<Whole> {
    let packed = accepts_gzip(headers);
    let bytes = if packed { file::PACKED } else { file::PLAIN };
    let mut response = answer(StatusCode::OK, HTML, Bytes::from_static(bytes));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Whether gzip is named and not ruled out (RFC 9110, section 12.5.3). `*` does not count: every browser names it.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let codings = values.filter_map(|value| value.to_str().ok());
    let mut codings = codings.flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map(str::trim);
        let is_zero =
            weight.is_some_and(|weight| weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !is_zero
    })
}

fn fresh(kind: &'static str, bytes: Option<Bytes>) -> Response<Whole> {
    match bytes {
        Some(bytes) => answer(StatusCode::OK, kind, bytes),
        None => refusal(StatusCode::SERVICE_UNAVAILABLE, "meshd does not answer"),
    }
}

fn refusal(status: StatusCode, why: &'static str) -> Response<Whole> {
    answer(status, TEXT, Bytes::from_static(why.as_bytes()))
}

fn answer(status: StatusCode, kind: &'static str, bytes: Bytes) -> Response<Whole> {
    let mut response = Response::new(Whole(Some(bytes)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A body of known length that is sent at once.
#[derive(Debug)]
pub(super) struct Whole(Option<Bytes>);

impl Body for Whole {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_take_gzip_gets_none() {
        for (said, takes) in [
            ("gzip, deflate", true),
            ("GZIP", true),
            ("br;q=1.0, gzip;q=0.2", true),
            ("gzip; q=0", false),
            ("gzip;q=0.000", false),
            ("identity", false),
            ("*", false),
            ("xgzip", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(said));
            assert_eq!(accepts_gzip(&headers), takes, "{said}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
