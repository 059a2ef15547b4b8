//! `meshctl receipts list|verify|export`

pub(super) mod export;
pub(super) mod list;
pub(super) mod verify;

use std::path::Path;

use control_api::Exit;
use receipts::log::VerifyError;

use crate::failure::Failure;

fn unverified(file: &Path, error: &VerifyError) -> Failure {
    Failure::new(
        Exit::VerificationFailed,
        format!("{}: {error}", file.display()),
    )
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{count} {what}s")
    }
}
