//! What follows from how saving goes, and exports of what was saved.

use std::time::Instant;

use control_api::{Answer, ErrorCode, MAX_CHUNK_BYTES, ReceiptsChunk, RpcError, SCHEMA};
use mesh_proto::NodeId;
use receipts::{Ledger, Party, State};
use tokio::sync::oneshot;
use tracing::{debug, error, info, warn};

use super::outputs::RECEIPTS_CHANNEL;
use super::{Driver, ledger_config};
use crate::store::{ExportError, Piece};

impl Driver {
    /// Something was saved, or could not be.
    pub(super) fn handle_saving(&mut self, now: Instant) {
        if let Some(state) = self.store.take_state() {
            self.begin_ledger_anew(state);
        }
        for (to, payload) in self.store.take_released() {
            self.send_receipt_message(now, to, payload);
        }
        self.log_saving();
    }

    /// The log could not be read at the start and now can. Nothing was signed meanwhile: that takes
    /// an epoch, and an epoch takes a disk.
    fn begin_ledger_anew(&mut self, state: State) {
        let terms = ledger_config(&self.config, state.header().network);
        match Ledger::new(terms, self.key.clone(), state) {
            Ok(ledger) => {
                self.ledger = ledger;
                self.books.grants.begin_anew();
                info!("receipt log read: accounts go on where it ends");
            }
            Err(error) => error!(%error, "receipt log"),
        }
    }

    pub(super) fn send_receipt_message(&mut self, now: Instant, to: Party, payload: Vec<u8>) {
        let to = NodeId::from_bytes(*to.as_bytes()).originator_id();
        if !self.router.send_payload(now, to, RECEIPTS_CHANNEL, payload) {
            debug!(node = %to, "receipt message not sent: no link");
        }
    }

    /// Logs once what is wrong, and once that it is not any longer.
    pub(super) fn log_saving(&mut self) {
        let progress = self.store.progress().clone();
        if progress.findings != self.saving.findings {
            for finding in &progress.findings {
                if finding.is_ordinary() {
                    info!("{finding}");
                } else {
                    warn!("{finding}: {}", finding.advice());
                }
            }
        }
        if progress.problem != self.saving.problem {
            match &progress.problem {
                Some(problem) => {
                    warn!("receipts cannot be saved, no new epochs until they can: {problem}");
                }
                None => info!("receipts are saved again"),
            }
        }
        self.saving = progress;
        self.books.grants.note_change();
    }

    /// Hands out a piece of the export from `offset`.
    pub(super) fn export(&self, offset: u64, answer: oneshot::Sender<Result<Answer, RpcError>>) {
        self.store.export(offset, MAX_CHUNK_BYTES, |piece| {
            // Whoever asked may be gone.
            let _ = answer.send(piece.map(chunk).map_err(export_error));
        });
    }
}

fn chunk(piece: Piece) -> Answer {
    let Piece {
        export,
        offset,
        total_bytes,
        data,
    } = piece;
    ReceiptsChunk {
        schema: SCHEMA,
        generation: export,
        offset,
        total_bytes,
        data: data.into(),
    }
    .into()
}

fn export_error(error: ExportError) -> RpcError {
    let code = match error {
        ExportError::Unreadable(_) => ErrorCode::Failed,
        ExportError::Overtaken => ErrorCode::InvalidParams,
    };
    RpcError::new(code, error.to_string())
}
