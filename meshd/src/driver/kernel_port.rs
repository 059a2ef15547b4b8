//! Requests to the kernel task.

use std::collections::VecDeque;
use std::mem;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::kernel::{KernelRequest, TableChange};

/// Requests that wait for room in the kernel task's queue. Waiting for it in the loop could
/// deadlock: the task stops taking requests while its events are not received.
#[derive(Debug)]
pub(super) struct KernelPort {
    sender: mpsc::Sender<KernelRequest>,
    waiting: VecDeque<KernelRequest>,
}

impl KernelPort {
    pub(super) fn new(sender: mpsc::Sender<KernelRequest>) -> Self {
        Self {
            sender,
            waiting: VecDeque::new(),
        }
    }

    /// Asks for something, after everything asked for before. What waits is merged where it can
    /// be, so the queue is bounded by what the kernel has, not by how often it changes.
    pub(super) fn request(&mut self, request: KernelRequest) {
        match (self.waiting.back_mut(), request) {
            (Some(KernelRequest::Routes(waiting)), KernelRequest::Routes(more)) => {
                waiting.extend(more);
            }
            (Some(KernelRequest::ReadCounters), KernelRequest::ReadCounters)
            | (Some(KernelRequest::ReadStations), KernelRequest::ReadStations) => {}
            (Some(KernelRequest::Configure(waiting)), KernelRequest::Configure(newer)) => {
                *waiting = newer;
            }
            (_, KernelRequest::Table(change)) => self.request_table(change),
            (_, request) => self.waiting.push_back(request),
        }
        self.flush();
    }

    /// It says all there is to say of its kind.
    fn request_table(&mut self, change: TableChange) {
        let kind = mem::discriminant(&change);
        let older = self.waiting.iter_mut().find_map(|it| {
            let KernelRequest::Table(older) = it else {
                return None;
            };
            (mem::discriminant(older) == kind).then_some(older)
        });
        match older {
            Some(older) => *older = change,
            None => self.waiting.push_back(KernelRequest::Table(change)),
        }
    }

    /// Hands over as much as there is room for.
    pub(super) fn flush(&mut self) {
        while let Some(request) = self.waiting.pop_front() {
            match self.sender.try_send(request) {
                Ok(()) => {}
                Err(TrySendError::Full(request)) => {
                    self.waiting.push_front(request);
                    return;
                }
                // The loop sees the closed event channel.
                Err(TrySendError::Closed(_)) => return,
            }
        }
    }
}
