//! Bodies of claims: kept as they come, within the memory that all of them have together.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Refusal;
use crate::config::Limits;

/// How long a body waits for memory that others have.
const PATIENCE: Duration = Duration::from_secs(10);

/// The memory of all claims. Who sends slowly has only what it has sent.
pub(super) struct Memory {
    free: Arc<Semaphore>,
    /// Bytes of one claim.
    most: usize,
}

/// A claim, and the memory it takes.
pub(super) struct Claim {
    pub(super) export: Bytes,
    /// None: it is empty.
    pub(super) _memory: Option<OwnedSemaphorePermit>,
}

impl Memory {
    pub(super) fn new(limits: &Limits) -> Self {
        let all = limits.claims_in_memory_bytes.max(limits.claim_bytes);
        Self {
            free: Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS))),
            most: limits.claim_bytes,
        }
    }

    /// Reads a claim.
    ///
    /// # Errors
    /// It is too large, which is told before it is sent if its head says so; it does not arrive whole; or there
    /// is no memory for it.
    pub(super) async fn read(&self, headers: &HeaderMap, mut body: Body) -> Result<Claim, Refusal> {
        if announced(headers).is_some_and(|length| length > self.most as u64) {
            return Err(Refusal::too_large(self.most));
        }
        let (mut export, mut memory) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::invalid("the body did not arrive whole"))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if data.len() > self.most.saturating_sub(export.len()) {
                return Err(Refusal::too_large(self.most));
            }
            let more = self.take(data.len()).await?;
            match &mut memory {
                None => memory = Some(more),
                Some(memory) => memory.merge(more),
            }
            export.extend_from_slice(&data);
        }
        let export = export.into();
        Ok(Claim {
            export,
            _memory: memory,
        })
    }

    async fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let full = || Refusal::unavailable("too many claims are being sent");
        let bytes = u32::try_from(bytes).map_err(|_| full())?;
        let more = Arc::clone(&self.free).acquire_many_owned(bytes);
        let more = tokio::time::timeout(PATIENCE, more).await;
        more.ok().and_then(Result::ok).ok_or_else(full)
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}
