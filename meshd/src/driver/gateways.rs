//! Which gateways may be used: what the configuration says, and what was selected since.

use std::time::Instant;

use control_api::{Answer, ErrorCode, GatewayChoice, Method, RpcError};
use mesh_proto::gateway_policy::{Allowed, NodePattern};
use tracing::info;

use super::Driver;

impl Driver {
    /// Takes a choice of the operator over and answers what is used now. It takes the place of `pin`
    /// in the configuration until the next one; everything else in there goes on to hold.
    pub(super) fn select_gateway(
        &mut self,
        now: Instant,
        gateway: &GatewayChoice,
    ) -> Result<Answer, RpcError> {
        self.selected = match gateway {
            GatewayChoice::Auto => None,
            GatewayChoice::Off => Some(Allowed::Nobody),
            GatewayChoice::Node(node) => Some(Allowed::Only(self.known_gateway(node)?)),
        };
        info!(%gateway, "gateway selected");
        self.set_gateway_policy(now);
        self.view(now).answer(&Method::Gateways)
    }

    /// Tells the router which gateways may be used.
    pub(super) fn set_gateway_policy(&mut self, now: Instant) {
        let mut policy = self.config.gateways().clone();
        if let Some(selected) = &self.selected {
            policy.allowed.clone_from(selected);
        }
        self.router.set_gateway_policy(now, policy);
    }

    /// Reads what an operator calls a gateway. One that is not known is a slip of the pen.
    fn known_gateway(&self, text: &str) -> Result<NodePattern, RpcError> {
        let node: NodePattern = text
            .parse()
            .map_err(|error| RpcError::invalid_params(format!("gateway: {error}")))?;
        let gateways = self.router.gateways().into_iter();
        let mut records = gateways.filter_map(|gateway| self.router.record(gateway.id));
        match records.any(|it| node.matches(it.originator(), &it.record().name)) {
            true => Ok(node),
            false => Err(RpcError::new(
                ErrorCode::NotFound,
                format!("no gateway {text:?}"),
            )),
        }
    }
}
