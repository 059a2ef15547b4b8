//! Who is meant by a name, an address, or the first digits of an id.

use std::net::IpAddr;

use control_api::RpcError;
use mesh_proto::OriginatorId;

use super::answers::View;

/// As many digits of an id name a node.
const LEAST_DIGITS: usize = 8;

impl View<'_> {
    /// The node of the mesh, this one included, that `text` names. Ids come before names: any node may give
    /// itself the digits of another's id as its name.
    ///
    /// # Errors
    /// [`control_api::ErrorCode::NotFound`] for nobody, [`control_api::ErrorCode::InvalidParams`] for
    /// several.
    pub(crate) fn node_called(&self, text: &str) -> Result<OriginatorId, RpcError> {
        let others = self.router.originators().map(|it| it.id);
        let all: Vec<OriginatorId> = [self.router.id()].into_iter().chain(others).collect();
        let among = |is_meant: &dyn Fn(OriginatorId) -> bool| -> Vec<OriginatorId> {
            all.iter().copied().filter(|id| is_meant(*id)).collect()
        };
        let found = match text.parse::<IpAddr>() {
            Ok(address) => among(&|id| self.has_address(id, address)),
            Err(_) => {
                let by_id = among(&|id| self.has_digits(id, text));
                match by_id.is_empty() {
                    true => among(&|id| self.has_name(id, text)),
                    false => by_id,
                }
            }
        };
        match found.as_slice() {
            [] => Err(RpcError::not_found(format!("no node {text:?} is known"))),
            [id] => Ok(*id),
            several => {
                let several: Vec<String> = several.iter().map(OriginatorId::to_string).collect();
                let message = format!(
                    "{text:?} may be several nodes, give more digits of an id: {}",
                    several.join(", ")
                );
                Err(RpcError::invalid_params(message))
            }
        }
    }

    fn has_address(&self, id: OriginatorId, address: IpAddr) -> bool {
        match address {
            IpAddr::V6(address) => self.router.network().mesh_ipv6(id) == address,
            IpAddr::V4(address) => {
                let record = self.router.record(id);
                record.is_some_and(|signed| signed.record().ipv4 == address)
            }
        }
    }

    fn has_digits(&self, id: OriginatorId, text: &str) -> bool {
        let digits = text.to_ascii_lowercase();
        let key = self.router.record(id).map(|signed| signed.node());
        let ids = [
            Some(id.to_string()),
            key.map(|key| hex::encode(key.as_bytes())),
        ];
        let mut ids = ids.into_iter().flatten();
        digits.len() >= LEAST_DIGITS && ids.any(|id| id.starts_with(&digits))
    }

    fn has_name(&self, id: OriginatorId, text: &str) -> bool {
        let record = self.router.record(id);
        record.is_some_and(|signed| signed.record().name == text)
    }
}
