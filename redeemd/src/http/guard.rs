//! What every request goes through.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use axum::extract::{Extension, MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use receipts::Party;

use super::Shared;
use super::problem::Refusal;
use crate::config::Limits;

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
}

impl Guard {
    pub(super) fn new(limits: &Limits) -> Self {
        let per_minute = |times: u32| {
            let times = NonZeroU32::new(times).unwrap_or(NonZeroU32::MIN);
            Quota::per_minute(times)
        };
        Self {
            clients: RateLimiter::keyed(per_minute(limits.requests_per_minute)),
            logs: RateLimiter::keyed(per_minute(limits.claims_per_minute)),
        }
    }

    /// Counts a claim of the log of a node, for who brings it: what others send in its name is not held against it.
    ///
    /// # Errors
    /// There were too many.
    pub(super) fn claim_of(&self, owner: &Party, client: ClientNetwork) -> Result<(), Refusal> {
        let key = (client.0, *owner.as_bytes());
        check(&self.logs, &key, "too many claims of this node")
    }
}

fn check<K: Clone + std::hash::Hash + Eq>(
    limiter: &DefaultKeyedRateLimiter<K>,
    key: &K,
    what: &str,
) -> Result<(), Refusal> {
    if limiter.len() > REMEMBERED {
        limiter.retain_recent();
    }
    limiter.check_key(key).map_err(|until| {
        let wait = until.wait_time_from(DefaultClock::default().now());
        Refusal::too_often(what, wait.as_secs() + 1)
    })
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
    let clients = &shared.0.guard.clients;
    let allowed = check(clients, &client, "too many requests of this client");
    let response = match allowed {
        Err(refusal) => refusal.into_response(),
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
