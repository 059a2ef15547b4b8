//! Reading the configuration again, and the receipt log for export.

use std::time::Instant;

use control_api::{ErrorCode, MAX_CHUNK_BYTES, Reloaded, RpcError, SCHEMA};
use tracing::{error, info};

use super::{Driver, credit, max_price};
use crate::config::Config;

impl Driver {
    /// SIGHUP: the same as the control socket's reload, with the outcome in the log.
    pub(super) fn handle_reload_signal(&mut self, now: Instant) {
        match self.reload(now) {
            Ok(Reloaded {
                changed,
                needs_restart,
                ..
            }) => {
                info!(?changed, ?needs_restart, "configuration read again");
            }
            Err(error) => error!(%error, "configuration not taken over"),
        }
    }

    /// Reads the configuration again and takes over what may change while running. A bad one
    /// changes nothing.
    pub(super) fn reload(&mut self, now: Instant) -> Result<Reloaded, RpcError> {
        let mut new = Config::load(&self.config_path)
            .and_then(|new| new.check_system().map(|_| new))
            .map_err(|error| RpcError::failed(error.to_string()))?;
        let needs_restart = self.config.restart_keys_changed(&new);
        new.keep_restart_keys(&self.config);
        let old = std::mem::replace(&mut self.config, new);
        let changed = changed_keys(&old, &self.config);
        self.ledger
            .set_terms(now, credit(&self.config), max_price(&self.config));
        let interfaces: Vec<_> = self.links.keys().copied().collect();
        for ifindex in interfaces {
            self.update_interface(now, ifindex);
        }
        self.set_gateway_policy(now);
        self.update_uplink(now);
        self.configure_kernel();
        self.announce(now);
        let owned = |keys: Vec<&str>| keys.into_iter().map(str::to_owned).collect();
        Ok(Reloaded {
            schema: SCHEMA,
            changed: owned(changed),
            needs_restart: owned(needs_restart),
        })
    }

    /// A piece of the receipt log from `offset`. The log only grows, so its generation stays.
    pub(super) fn export(&mut self, offset: u64) -> Result<control_api::ReceiptsChunk, RpcError> {
        let total_bytes = self.store.log_len();
        if offset > total_bytes {
            let message = format!("the log ends at {total_bytes}");
            return Err(RpcError::new(ErrorCode::InvalidParams, message));
        }
        let data = self.store.read_log(offset, MAX_CHUNK_BYTES);
        let data = data
            .map_err(|error| RpcError::failed(error.to_string()))?
            .into();
        Ok(control_api::ReceiptsChunk {
            schema: SCHEMA,
            generation: 0,
            offset,
            total_bytes,
            data,
        })
    }
}

/// The keys whose new value is in force without a restart.
fn changed_keys(old: &Config, new: &Config) -> Vec<&'static str> {
    [
        ("name", old.name() != new.name()),
        ("mesh", old.mesh() != new.mesh()),
        ("lan", old.lan() != new.lan()),
        ("uplink", old.uplink() != new.uplink()),
        ("gateways", old.gateways() != new.gateways()),
        ("sharing", old.sharing() != new.sharing()),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}
