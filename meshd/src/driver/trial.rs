//! A configuration on trial: what was in force before comes back unless somebody confirms it in time, so that whoever
//! cut the own way to the router has it back without a way to it.
//!
//! The file stays as it is: it is the operator's. A daemon that ends meanwhile starts with what the file says.

use std::time::{Duration, Instant};

use control_api::{Method, Reloaded, RpcError};
use tracing::{info, warn};

use super::Driver;
use super::reload::{changed_keys, reloaded};
use crate::config::Config;

/// What becomes of the configuration in force.
#[derive(Debug)]
pub(super) enum Trial {
    /// It stays.
    None,
    /// It goes at this time.
    Until(Instant, Box<Config>),
    /// It came back: that of the file was not confirmed.
    Failed,
}

impl Trial {
    /// When the time to confirm is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Until(until, _) => Some(*until),
            Self::None | Self::Failed => None,
        }
    }

    /// What operators should know of it.
    pub(super) fn warning(&self, now: Instant) -> Option<String> {
        match self {
            Self::None => None,
            Self::Until(until, _) => Some(format!(
                "the configuration is on trial for {} s more: meshctl reload --confirmed keeps it",
                until.saturating_duration_since(now).as_secs()
            )),
            Self::Failed => Some(
                "the configuration file was not confirmed and is not in force: a restart or \
                 meshctl reload would take it over"
                    .to_owned(),
            ),
        }
    }
}

impl Driver {
    /// Answers what concerns trials; `None` if `method` does not.
    pub(super) fn try_out(
        &mut self,
        now: Instant,
        method: &Method,
    ) -> Option<Result<Reloaded, RpcError>> {
        if let Method::ReloadTry { within_s } = method {
            return Some(self.begin_trial(now, Duration::from_secs((*within_s).into())));
        }
        let is_confirmed = *method == Method::ReloadConfirm;
        if !is_confirmed && *method != Method::ReloadRevert {
            return None;
        }
        let Trial::Until(_, before) = std::mem::replace(&mut self.trial, Trial::None) else {
            return Some(Err(RpcError::not_found("no configuration is on trial")));
        };
        let changed = match is_confirmed {
            true => changed_keys(&before, &self.config),
            false => self.revert(now, *before),
        };
        info!(?changed, is_confirmed, "configuration no longer on trial");
        Some(Ok(reloaded(changed, Vec::new())))
    }

    /// One trial after another comes back to what was confirmed last.
    fn begin_trial(&mut self, now: Instant, within: Duration) -> Result<Reloaded, RpcError> {
        let (reloaded, old) = self.reload_file(now)?;
        let before = match std::mem::replace(&mut self.trial, Trial::None) {
            Trial::Until(_, confirmed) => confirmed,
            Trial::None | Trial::Failed => Box::new(old),
        };
        self.trial = Trial::Until(now + within, before);
        info!(changed = ?reloaded.changed, ?within, "configuration on trial");
        Ok(reloaded)
    }

    /// Goes back if the time to confirm is over.
    pub(super) fn end_trial_in_time(&mut self, now: Instant) {
        if self.trial.deadline().is_none_or(|until| now < until) {
            return;
        }
        if let Trial::Until(_, before) = std::mem::replace(&mut self.trial, Trial::None) {
            let changed = self.revert(now, *before);
            warn!(
                ?changed,
                "the configuration was not confirmed in time: that of before is in force again, the \
                 file is as it is"
            );
        }
    }

    fn revert(&mut self, now: Instant, before: Config) -> Vec<&'static str> {
        let (changed, _) = self.take_over(now, before);
        self.tell_reload(&reloaded(changed.clone(), Vec::new()));
        self.trial = Trial::Failed;
        changed
    }
}
