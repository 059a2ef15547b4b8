//! Connections: how many, how slow, and how they end.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use super::guard::{Client, network_of};
use super::linger::Lingering;
use super::{Shared, router};
use crate::config::Limits;

/// How long the head of a request may take; also how long a connection may lie idle.
const HEAD: Duration = Duration::from_secs(15);

/// How long a connection is kept, however much it is used: who reads slowly does not stay for ever.
const LIFE: Duration = Duration::from_secs(300);

/// How long requests that have begun may take when the service ends.
const FAREWELL: Duration = Duration::from_secs(30);

/// The longest head of a request, in bytes.
const HEAD_BYTES: usize = 16 * 1024;

/// Answers on a socket until `end` does. Requests that have begun by then are answered.
///
/// # Errors
/// None: a connection that cannot be accepted is logged.
pub async fn serve(listener: TcpListener, shared: Shared, end: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(shared.0.limits.connections));
    let clients = Clients::new(&shared.0.limits);
    let router = router(shared);
    let connections = GracefulShutdown::new();
    let mut end = pin!(end);
    loop {
        let free = Arc::clone(&places);
        let next = async { (free.acquire_owned().await.ok(), listener.accept().await) };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = &mut end => break,
        };
        match accepted {
            Err(error) => pause_after(&error).await,
            Ok((stream, from)) => {
                let Some(seat) = clients.seat(from.ip()) else {
                    debug!(%from, "too many connections of this client");
                    continue;
                };
                let place = Place {
                    _of_all: permit,
                    _of_client: seat,
                };
                let _ = stream.set_nodelay(true);
                let router = router.clone().layer(Extension(Client(from)));
                let stream = Lingering::new(stream, place);
                tokio::spawn(connection(stream, router, connections.watcher()));
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(FAREWELL, connections.shutdown())
        .await
        .is_err()
    {
        warn!("some requests were not answered");
    }
}

/// What a connection takes of what there is, until its socket is closed.
pub(super) struct Place {
    _of_all: Option<OwnedSemaphorePermit>,
    _of_client: Seat,
}

/// How many connections each client has, so that none keeps others out.
#[derive(Clone)]
struct Clients {
    open: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    most: usize,
}

/// One of them, which ends with the value.
struct Seat {
    clients: Clients,
    client: IpAddr,
}

impl Clients {
    fn new(limits: &Limits) -> Self {
        let most = match limits.behind_proxy {
            true => usize::MAX,
            false => limits.client_connections,
        };
        Self {
            open: Arc::default(),
            most,
        }
    }

    /// Nothing, if it has as many as it may.
    fn seat(&self, client: IpAddr) -> Option<Seat> {
        let client = network_of(client);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(client).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Seat {
            clients: self.clone(),
            client,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let open = self.clients.open.lock();
        let mut open = open.unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = open.entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Out of file descriptors, for instance: others have to end first.
async fn pause_after(error: &io::Error) {
    warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn connection(
    stream: Lingering,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(LIFE, watcher.watch(connection)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a connection ended"),
        Err(_) => debug!("a connection was ended for its age"),
    }
}
