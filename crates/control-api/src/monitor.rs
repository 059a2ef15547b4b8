//! The client's half of `monitor`: one event after the other.

use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::{Client, ClientError, Event, Method, Monitoring};

/// What happens in the daemon, until it ends.
#[derive(Debug)]
pub struct Monitor {
    client: Client,
}

/// How an event is spelled.
#[derive(Deserialize)]
struct Notification {
    params: Event,
}

impl Monitor {
    /// Calls `monitor`. Nothing else can be asked over this connection then.
    ///
    /// # Errors
    /// As [`Client::call`]; [`crate::ErrorCode::Failed`] when as many as may listen already.
    pub fn begin(mut client: Client) -> Result<Self, ClientError> {
        let Monitoring { .. } = client.call(Method::Monitor)?;
        Ok(Self { client })
    }

    /// The next event, or `None` when there was none for so long.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub fn next_within(&mut self, limit: Duration) -> Result<Option<Event>, ClientError> {
        let line = match self.client.receive(Instant::now() + limit) {
            Ok(line) => line,
            Err(ClientError::Timeout { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let event: Notification = serde_json::from_str(&line)
            .map_err(|error| ClientError::NotUnderstood(error.to_string()))?;
        Ok(Some(event.params))
    }
}
