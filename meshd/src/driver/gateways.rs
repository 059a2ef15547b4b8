//! Which gateways may be used.

use std::time::Instant;

use super::Driver;

impl Driver {
    /// Tells the router which gateways may be used.
    pub(super) fn set_gateway_policy(&mut self, now: Instant) {
        let policy = self.config.gateways().clone();
        self.router.set_gateway_policy(now, policy);
    }
}
