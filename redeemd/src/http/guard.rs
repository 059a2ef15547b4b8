//! What every request goes through.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use axum::extract::{Extension, MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, InsufficientCapacity, Quota, RateLimiter};
use receipts::Party;

use super::Shared;
use super::problem::Refusal;
use crate::config::Limits;
use crate::service::ServiceError;

/// Clients, or nodes, that are remembered before those that have waited long enough are forgotten.
const REMEMBERED: usize = 10_000;

/// Who sent a request, as far as the connection says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client(pub(super) SocketAddr);

/// Whom a request counts for.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientNetwork(IpAddr);

/// How often somebody has come.
pub(super) struct Guard {
    clients: DefaultKeyedRateLimiter<IpAddr>,
    logs: DefaultKeyedRateLimiter<(IpAddr, [u8; 32])>,
    claim_bytes: DefaultKeyedRateLimiter<IpAddr>,
    strangers: DefaultKeyedRateLimiter<IpAddr>,
}

impl Guard {
    pub(super) fn new(limits: &Limits) -> Self {
        let per_minute = |times| Quota::per_minute(at_least_one(times));
        Self {
            clients: RateLimiter::keyed(per_minute(limits.requests_per_minute)),
            logs: RateLimiter::keyed(per_minute(limits.claims_per_minute)),
            claim_bytes: RateLimiter::keyed(per_minute(limits.claim_bytes_per_minute)),
            strangers: RateLimiter::keyed(per_minute(limits.strangers_per_minute)),
        }
    }

    /// Counts a claim of the log of a node, for who brings it: what others send in its name is not held against it.
    ///
    /// # Errors
    /// There were too many, or too long ones.
    pub(super) fn claim_of(
        &self,
        owner: &Party,
        bytes: usize,
        client: ClientNetwork,
    ) -> Result<(), Refusal> {
        let key = (client.0, *owner.as_bytes());
        count(&self.logs, &key, 1)
            .map_err(|wait| Refusal::too_often("too many claims of this node", wait))?;
        count(&self.claim_bytes, &client.0, bytes)
            .map_err(|wait| Refusal::too_often("too many bytes of claims of this client", wait))
    }

    /// Counts accounts that the chain is asked for, and may know nothing of.
    ///
    /// # Errors
    /// There were too many.
    pub(super) fn strangers(
        &self,
        accounts: usize,
        client: ClientNetwork,
    ) -> Result<(), ServiceError> {
        let counted = count(&self.strangers, &client.0, accounts);
        counted.map_err(|wait| ServiceError::Strangers { wait })
    }
}

const fn at_least_one(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

/// Counts so many times at once, or says how long to wait. More than a whole minute's count as that.
fn count<K: Clone + std::hash::Hash + Eq>(
    limiter: &DefaultKeyedRateLimiter<K>,
    key: &K,
    times: usize,
) -> Result<(), Duration> {
    if limiter.len() > REMEMBERED {
        limiter.retain_recent();
    }
    let Some(times) = NonZeroU32::new(u32::try_from(times).unwrap_or(u32::MAX)) else {
        return Ok(());
    };
    let counted = match limiter.check_key_n(key, times) {
        Ok(counted) => counted,
        Err(InsufficientCapacity(most)) => limiter
            .check_key_n(key, at_least_one(most))
            .unwrap_or(Ok(())),
    };
    counted.map_err(|until| until.wait_time_from(DefaultClock::default().now()))
}

/// Counts the client's requests, and ends what takes too long.
pub(super) async fn guard(
    State(shared): State<Shared>,
    client: Option<Extension<Client>>,
    mut request: Request,
    next: Next,
) -> Response {
    let begin = Instant::now();
    let patience = Duration::from_secs(shared.0.limits.request_seconds.into());
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let peer = client.map_or(IpAddr::from([0; 4]), |Extension(Client(from))| from.ip());
    let client = network_of(client_of(peer, request.headers(), &shared.0.limits));
    request.extensions_mut().insert(ClientNetwork(client));
    let response = match count(&shared.0.guard.clients, &client, 1) {
        Err(wait) => Refusal::too_often("too many requests of this client", wait).into_response(),
        Ok(()) => tokio::time::timeout(patience, next.run(request))
            .await
            .unwrap_or_else(|_| Refusal::timeout().into_response()),
    };
    let status = response.status().as_u16();
    shared.0.metrics.request(route, status, begin.elapsed());
    response
}

/// Behind a proxy, what that one says last.
fn client_of(peer: IpAddr, headers: &HeaderMap, limits: &Limits) -> IpAddr {
    if !limits.behind_proxy {
        return peer;
    }
    let forwarded = headers.get_all("x-forwarded-for").iter().next_back();
    let last = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next());
    last.and_then(|address| address.trim().parse().ok())
        .unwrap_or(peer)
}

/// Whoever has an IPv6 address has a whole /64 of them.
pub(super) fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn an_ipv6_client_is_its_network() {
        let network = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8::1:2:3:4"), "2001:db8::");
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn a_proxy_is_believed_only_if_there_is_one() {
        let mut headers = HeaderMap::new();
        headers.append(
            "x-forwarded-for",
            HeaderValue::from_static("198.51.100.1, 192.0.2.1"),
        );
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        let client = |behind_proxy| {
            let limits = Limits {
                behind_proxy,
                ..Limits::default()
            };
            client_of(peer, &headers, &limits).to_string()
        };
        assert_eq!(client(false), "127.0.0.1");
        assert_eq!(client(true), "192.0.2.1");
    }
}
