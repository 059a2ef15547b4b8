//! The thread, and connections that come in.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, yield_now};
use tracing::debug;

use super::seats::Seats;
use super::site::Site;
use super::{Place, Plan, connection};
use crate::control::Question;

/// hyper's deepest stack is a small part of it; what is not touched takes no memory.
const STACK_BYTES: usize = 512 * 1024;

/// Starts the thread, which ends when `plan` does.
///
/// # Errors
/// The kernel has no room for it.
pub(super) fn spawn(
    plan: watch::Receiver<Plan>,
    questions: mpsc::Sender<Question>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    thread::Builder::new()
        .name("status-page".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || runtime.block_on(run(plan, questions)))?;
    Ok(())
}

/// Listens as planned.
async fn run(mut plan: watch::Receiver<Plan>, questions: mpsc::Sender<Question>) {
    let site = Arc::new(Site::new(questions));
    let seats = Seats::default();
    let mut listening: BTreeMap<Place, JoinHandle<()>> = BTreeMap::new();
    loop {
        let wanted = plan.borrow_and_update().clone();
        site.set_terms(wanted.hosts, wanted.metrics);
        listening.retain(|place, task| {
            let stays = wanted.listeners.contains_key(place);
            if !stays {
                task.abort();
            }
            stays
        });
        for (place, listener) in wanted.listeners {
            let (seats, site) = (seats.clone(), Arc::clone(&site));
            listening
                .entry(place)
                .or_insert_with(|| tokio::spawn(accept(listener, seats, site)));
        }
        if plan.changed().await.is_err() {
            return;
        }
    }
}

/// Seats whoever connects. One that finds no seat is closed at once.
async fn accept(listener: Arc<StdListener>, seats: Seats, site: Arc<Site>) {
    /// Out of file descriptors, most likely: try again when some are free.
    const RETRY: Duration = Duration::from_millis(100);
    // A duplicate: the driver's ends with its place in the plan, this one with the task.
    let listener = listener.try_clone().and_then(TcpListener::from_std);
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => return debug!(%error, "status page not served"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                if let Some(seat) = seats.take(from.ip(), Instant::now()) {
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(connection::serve(stream, seat, Arc::clone(&site)));
                }
                // Who lost a seat closes its socket before the next one comes.
                yield_now().await;
            }
            Err(error) => {
                debug!(%error, "connection of the status page not accepted");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
