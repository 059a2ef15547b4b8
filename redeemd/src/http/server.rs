//! Connections: how many, how slow, and how they end.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::guard::Client;
use super::{Shared, router};

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
    let router = router(shared);
    let connections = GracefulShutdown::new();
    let mut end = pin!(end);
    loop {
        let place = Arc::clone(&places);
        let next = async { (place.acquire_owned().await, listener.accept().await) };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = &mut end => break,
        };
        match accepted {
            Err(error) => pause_after(&error).await,
            Ok((stream, from)) => {
                let router = router.clone().layer(Extension(Client(from)));
                let watcher = connections.watcher();
                tokio::spawn(async move {
                    let _place = place;
                    connection(stream, router, watcher).await;
                });
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

/// Out of file descriptors, for instance: others have to end first.
async fn pause_after(error: &io::Error) {
    warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn connection(
    stream: TcpStream,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let _ = stream.set_nodelay(true);
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
