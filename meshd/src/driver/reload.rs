//! Reading the configuration again.

use std::time::Instant;

use control_api::{Change, ConfigText, LogLevel, LogLevelSet, Reloaded, RpcError, SCHEMA};
use tracing::{error, info};

use super::trial::Trial;
use super::{Driver, credit, max_price};
use crate::config::Config;

impl Driver {
    /// SIGHUP: the same as the control socket's reload, with the outcome in the log.
    pub(super) fn handle_reload_signal(&mut self, now: Instant) {
        self.supervisor.handle_reloading();
        match self.reload(now) {
            Ok(Reloaded {
                changed,
                needs_restart,
                ..
            }) => {
                info!(?changed, ?needs_restart, "configuration read again");
            }
            Err(error) => {
                error!(%error, "configuration not taken over");
                self.tell_warning(&format!("configuration not taken over: {error}"));
            }
        }
        self.supervisor.handle_reloaded(Instant::now());
    }

    /// Reads the configuration again and takes over what may change while running, for good. A bad one
    /// changes nothing.
    pub(super) fn reload(&mut self, now: Instant) -> Result<Reloaded, RpcError> {
        let (reloaded, _) = self.reload_file(now)?;
        self.trial = Trial::None;
        Ok(reloaded)
    }

    /// What was read and taken over, and what was in force before.
    pub(super) fn reload_file(&mut self, now: Instant) -> Result<(Reloaded, Config), RpcError> {
        let mut new = Config::load(&self.config_path)
            .and_then(|new| new.check_system().map(|_| new))
            .map_err(|error| RpcError::failed(error.to_string()))?;
        let needs_restart = self.config.restart_keys_changed(&new);
        new.keep_restart_keys(&self.config);
        let (changed, old) = self.take_over(now, new);
        let reloaded = reloaded(changed, owned(needs_restart));
        self.tell_reload(&reloaded);
        Ok((reloaded, old))
    }

    pub(super) fn tell_reload(&self, reloaded: &Reloaded) {
        self.events.tell(Change::Reload {
            changed: reloaded.changed.clone(),
            needs_restart: reloaded.needs_restart.clone(),
        });
    }

    /// Puts a configuration in force that has the restart keys of the present one. Returns the keys that
    /// changed, and what was in force before.
    pub(super) fn take_over(&mut self, now: Instant, new: Config) -> (Vec<&'static str>, Config) {
        let old = std::mem::replace(&mut self.config, new);
        self.ledger
            .set_terms(now, credit(&self.config), max_price(&self.config));
        let interfaces: Vec<_> = self.links.keys().copied().collect();
        for ifindex in interfaces {
            self.update_interface(now, ifindex);
        }
        self.page.follow_anew(&self.config, &self.links);
        self.set_gateway_policy(now);
        self.update_uplink(now);
        self.configure_kernel();
        self.announce(now);
        (changed_keys(&old, &self.config), old)
    }

    /// What [`Driver::reload`] would say if the file had this text. Changes nothing.
    pub(super) fn config_diff(&self, text: &ConfigText) -> Result<Reloaded, RpcError> {
        let new = Config::parse(text.as_str(), "configuration")
            .and_then(|new| new.check_system().map(|_| new))
            .map_err(|error| RpcError::failed(error.to_string()))?;
        Ok(Reloaded {
            schema: SCHEMA,
            changed: owned(changed_keys(&self.config, &new)),
            needs_restart: owned(self.config.restart_keys_changed(&new)),
        })
    }

    /// Until the next one, or until the daemon ends.
    pub(super) fn set_log_level(&self, level: LogLevel) -> Result<LogLevelSet, RpcError> {
        self.log
            .set(level)
            .map_err(|error| RpcError::failed(error.to_string()))?;
        info!(%level, "log level set");
        Ok(LogLevelSet {
            schema: SCHEMA,
            level,
        })
    }
}

pub(super) fn reloaded(changed: Vec<&str>, needs_restart: Vec<String>) -> Reloaded {
    Reloaded {
        schema: SCHEMA,
        changed: owned(changed),
        needs_restart,
    }
}

fn owned(keys: Vec<&str>) -> Vec<String> {
    keys.into_iter().map(str::to_owned).collect()
}

/// The keys whose new value is in force without a restart.
pub(super) fn changed_keys(old: &Config, new: &Config) -> Vec<&'static str> {
    [
        ("name", old.name() != new.name()),
        ("position", old.position() != new.position()),
        ("mesh", old.mesh() != new.mesh()),
        ("lan", old.lan() != new.lan()),
        ("uplink", old.uplink() != new.uplink()),
        ("gateways", old.gateways() != new.gateways()),
        ("sharing", old.sharing() != new.sharing()),
        ("status_page", old.status_page() != new.status_page()),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}
