//! The two rtnetlink sockets: one for requests, one for notifications.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt, TryStreamExt};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::{Handle, MulticastGroup};

/// The kernel answers within milliseconds; later than this, no answer will come.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Why a request to the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The kernel refused.
    #[error("{action}: {source}")]
    Refused {
        /// What was asked of it.
        action: String,
        /// Its answer.
        source: io::Error,
    },
    /// The kernel sent something that can't be understood.
    #[error("{action}: unexpected answer: {detail}")]
    Unexpected {
        /// What was asked of it.
        action: String,
        /// What is wrong with the answer.
        detail: String,
    },
    /// The kernel did not answer in time.
    #[error("{0}: no answer from the kernel")]
    NoAnswer(String),
    /// A device has our tunnel's name but is something else.
    #[error("{name} exists, but is not a VXLAN device: it is not ours to replace")]
    ForeignDevice {
        /// The device.
        name: String,
    },
    /// Every id we may give to a next hop object is in use.
    #[error("there is no id left for another next hop object")]
    NoNexthopId,
    /// Every tunnel device we may make is in use.
    #[error("there is no device left for another tunnel")]
    NoTunnelDevice,
    /// A request came before the first `Configure`.
    #[error("nothing is configured yet")]
    NotConfigured,
    /// The nftables table or its counters are gone: somebody flushed the ruleset.
    #[error("the nftables table inet meshd is not complete: somebody changed it")]
    TableMissing,
    /// The `nft` program is not there.
    #[error("can't find the program {}: install nftables", .0.display())]
    NftMissing(PathBuf),
    /// The `nft` program could not be run.
    #[error("can't run {}: {source}", program.display())]
    NftUnusable {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `nft` did not finish in time.
    #[error("nft did not finish within {} s", .0.as_secs())]
    NftTimeout(Duration),
    /// Somebody kept changing nftables while we did.
    #[error("others keep changing nftables: our table may not be what it should be")]
    Disturbed,
    /// `nft` refused the ruleset.
    #[error("nft: {0}")]
    NftRefused(String),
}

impl KernelError {
    /// Makes an error of what rtnetlink reports.
    pub(super) fn from_rtnetlink(action: String, error: rtnetlink::Error) -> Self {
        if let rtnetlink::Error::NetlinkError(message) = &error {
            return Self::Refused {
                action,
                source: message.to_io(),
            };
        }
        Self::Unexpected {
            action,
            detail: error.to_string(),
        }
    }

    /// The same error as part of something larger.
    pub(super) fn within(self, larger: &str) -> Self {
        let Self::Refused { action, source } = self else {
            return self;
        };
        Self::Refused {
            action: format!("{larger}: {action}"),
            source,
        }
    }

    /// Whether the kernel's answer was one of these `errno` values.
    pub(super) fn is_errno(&self, numbers: &[nix::errno::Errno]) -> bool {
        numbers.iter().any(|&number| self.is_number(number as i32))
    }

    /// The same for what nix has no name for on every processor; as `libc` has it, whose values differ on mips.
    pub(super) fn is_number(&self, number: i32) -> bool {
        let Self::Refused { source, .. } = self else {
            return false;
        };
        source.raw_os_error() == Some(number)
    }
}

/// What the kernel tells without being asked.
#[derive(Debug)]
pub(super) enum Notification {
    /// Something changed.
    Message(Box<RouteNetlinkMessage>),
    /// Notifications were lost: the socket's buffer was full.
    Overrun,
}

/// Notifications in the order the kernel sent them; ends when the socket does.
pub(super) type Notifications = Pin<Box<dyn Stream<Item = Notification> + Send>>;

/// Opens the socket for requests.
///
/// Strict checking lets the kernel filter dumps (Linux 4.20); without it the answers are larger,
/// and everything is filtered here in any case.
pub(super) fn open() -> io::Result<Handle> {
    let (connection, handle, _) =
        rtnetlink::new_connection_with_strict_check().or_else(|_| rtnetlink::new_connection())?;
    tokio::spawn(connection);
    Ok(handle)
}

/// Opens the socket for notifications of links, addresses, neighbors, routes and rules.
pub(super) fn subscribe() -> io::Result<Notifications> {
    let (connection, _, messages) = rtnetlink::new_multicast_connection(&[
        MulticastGroup::Link,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Neigh,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
        MulticastGroup::Ipv4Rule,
        MulticastGroup::Ipv6Rule,
    ])?;
    tokio::spawn(connection);
    Ok(Box::pin(messages.filter_map(async |(message, _)| {
        notification(message.payload)
    })))
}

fn notification(payload: NetlinkPayload<RouteNetlinkMessage>) -> Option<Notification> {
    if let NetlinkPayload::InnerMessage(message) = payload {
        return Some(Notification::Message(Box::new(message)));
    }
    matches!(payload, NetlinkPayload::Overrun(_)).then_some(Notification::Overrun)
}

/// Waits for the answer to a request.
pub(super) async fn ask(
    action: impl Fn() -> String,
    answer: impl Future<Output = Result<(), rtnetlink::Error>>,
) -> Result<(), KernelError> {
    match tokio::time::timeout(ANSWER_LIMIT, answer).await {
        Ok(result) => result.map_err(|error| KernelError::from_rtnetlink(action(), error)),
        Err(_) => Err(KernelError::NoAnswer(action())),
    }
}

/// Waits for all of a dump.
pub(super) async fn dump<T>(
    action: &str,
    answer: impl Stream<Item = Result<T, rtnetlink::Error>>,
) -> Result<Vec<T>, KernelError> {
    match tokio::time::timeout(ANSWER_LIMIT, answer.try_collect()).await {
        Ok(result) => result.map_err(|error| KernelError::from_rtnetlink(action.to_owned(), error)),
        Err(_) => Err(KernelError::NoAnswer(action.to_owned())),
    }
}
