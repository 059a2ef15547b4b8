//! What is wrong, and mending it.

use std::time::Instant;

use control_api::{Answer, RpcError};
use tokio::sync::oneshot;
use tracing::info;

use super::Driver;
use crate::control::Machine;
use crate::kernel::TUNNEL_DEVICES;

impl Driver {
    /// Answers what is wrong, and begins to mend of it what can be. The machine is looked at beside the loop:
    /// files and programs may take their time.
    pub(super) fn examine(
        &mut self,
        now: Instant,
        fix: bool,
        answer: oneshot::Sender<Result<Answer, RpcError>>,
    ) {
        if fix {
            info!("mending what can be mended, as somebody asks");
            self.configure_kernel();
        }
        // Before the kernel was configured once, everything is still wrong.
        let base = self.base().filter(|_| self.configured);
        let names = self.links.values().map(|link| link.name.clone());
        let machine = Machine {
            base,
            tunnels: names
                .filter(|name| TUNNEL_DEVICES.contains(&name.as_str()))
                .collect(),
            config: self.config.clone(),
            mend: fix,
        };
        let known = self.view(now).known();
        tokio::spawn(async move {
            // Whoever asked may be gone.
            let _ = answer.send(Ok(machine.doctor(known).await.into()));
        });
    }
}
