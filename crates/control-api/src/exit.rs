//! Exit codes of `meshctl`, part of the stable contract.

use std::process::ExitCode;

use crate::{ClientError, ErrorCode, RpcError};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// 0: done.
    Ok = 0,
    /// 1: failed, or `doctor` found an error.
    Failure = 1,
    /// 2: the command line or the configuration is wrong.
    Usage = 2,
    /// 3: no daemon listens at the socket.
    NotRunning = 3,
    /// 4: what was asked for does not exist.
    NotFound = 4,
    /// 5: the user may not do that.
    Permission = 5,
    /// 6: the daemon did not answer in time.
    Timeout = 6,
    /// 7: it works, but not all of it: something waits, is missing, or could be better.
    Degraded = 7,
    /// 8: the receipts do not hold.
    VerificationFailed = 8,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl From<&ClientError> for Exit {
    fn from(error: &ClientError) -> Self {
        match error {
            ClientError::NotRunning { .. } => Self::NotRunning,
            ClientError::Permission { .. } => Self::Permission,
            ClientError::Timeout { .. } => Self::Timeout,
            ClientError::Refused(error) => error.into(),
            ClientError::Closed
            | ClientError::Io(_)
            | ClientError::NotUnderstood(_)
            | ClientError::Schema { .. }
            | ClientError::LogChanges => Self::Failure,
        }
    }
}

impl From<&RpcError> for Exit {
    fn from(error: &RpcError) -> Self {
        match error.code {
            ErrorCode::NotFound => Self::NotFound,
            ErrorCode::Permission => Self::Permission,
            ErrorCode::ParseError
            | ErrorCode::InvalidRequest
            | ErrorCode::MethodNotFound
            | ErrorCode::InvalidParams
            | ErrorCode::Internal
            | ErrorCode::Failed
            | ErrorCode::Other(_) => Self::Failure,
        }
    }
}
