//! What is settled without being asked for.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use redeemd::service::Service;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often what is due is looked through: deposits may have come, or cheques been cashed.
const ROUND: Duration = Duration::from_secs(60);

/// How often payers are looked at of whom cheques are not cashed: what they announce takes three days.
const WATCH: Duration = Duration::from_secs(15 * 60);

/// Begins, for as long as the process lives.
pub(crate) fn spawn(service: Arc<Service>) -> JoinHandle<Infallible> {
    tokio::spawn(settle(service))
}

async fn settle(service: Arc<Service>) -> Infallible {
    let (mut round, mut watch) = (every(ROUND), every(WATCH));
    let mut looked = false;
    loop {
        tokio::select! {
            _ = round.tick() => {
                // Else each payer would be waited for, one after the other.
                if service.watch_chain().await {
                    service.settle_all().await;
                }
            }
            _ = watch.tick() => {
                // Whether the database was restored is only asked when it may have been: at the start.
                if service.watch_chain().await {
                    looked = looked || service.look_at_all().await;
                    service.watch_payers().await;
                }
            }
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Serves until that is over. Without the settler, nothing would become of much that is taken, and nobody would be
/// warned of payers that leave: then it is better to begin anew.
///
/// # Errors
/// The settler has ended before.
pub(crate) async fn attend(
    settler: JoinHandle<Infallible>,
    serving: impl Future<Output = ()>,
) -> Result<()> {
    let end = settler.abort_handle();
    tokio::select! {
        () = serving => {
            end.abort();
            Ok(())
        }
        ended = settler => ended.map(drop).context("the settler has ended"),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn nothing_is_served_without_the_settler() {
        let dies = tokio::spawn(async { panic!("of something") });
        let error = attend(dies, pending()).await.unwrap_err();
        let said = format!("{error:#}");
        assert!(said.starts_with("the settler has ended: "), "{said}");
        assert!(said.contains("of something"), "{said}");
    }

    #[tokio::test]
    async fn the_settler_ends_with_what_is_served() {
        attend(tokio::spawn(pending()), ready(())).await.unwrap();
    }
}
