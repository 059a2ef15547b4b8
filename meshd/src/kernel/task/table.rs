//! What is done with the table of nftables: it is made, changed, read.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::time::Instant;

use ipnet::IpNet;

use super::{RETRY, Task};
use crate::kernel::netlink::KernelError;
use crate::kernel::shape::Credit;
use crate::kernel::{Base, NewFlows, TUNNEL_DEVICES, Warning, counters, nat, nft};

/// How often to make the table of nftables anew while others change something there as well.
const TABLE_TRIES: usize = 3;

impl Task {
    /// Makes the table of nftables, or has it tried again soon.
    pub(super) async fn make_table(
        &mut self,
        base: &Base,
        attached: &BTreeSet<IpNet>,
    ) -> Result<Option<Warning>, KernelError> {
        let made = self.try_table(base, attached).await;
        self.is_table_due = made.is_err();
        if self.is_table_due {
            self.mend_at.get_or_insert(Instant::now() + RETRY);
        }
        made
    }

    /// Makes the table, again if others changed nftables at the same time: it may have been ours.
    async fn try_table(
        &mut self,
        base: &Base,
        attached: &BTreeSet<IpNet>,
    ) -> Result<Option<Warning>, KernelError> {
        let mut warning = None;
        for _ in 0..TABLE_TRIES {
            let before = self.nfnetlink.generation()?;
            let flows = self.marks.flows(self.new_flows, &self.fib.marked());
            let wanted = nat::Wanted {
                setup: &self.setup,
                base,
                attached,
                gateways: &self.gateways.counted(),
                flows: &flows,
                shape: &self.shape,
            };
            let made = nat::apply(wanted, &mut self.nfnetlink).await;
            let _ = self.is_damaged();
            let made = made?;
            self.shape.note_applied();
            let is_new = !matches!(made, nat::Made::Kept);
            let counters = is_new.then(|| counters::generation(&mut self.nfnetlink));
            let counters = counters.transpose()?;
            if let nat::Made::Replaced(reset) = made {
                warning = Some(reset);
            }
            // After the news of it were skipped, or something could come in between.
            if self.nfnetlink.generation()? == before.wrapping_add(1) {
                counters.into_iter().for_each(|it| self.counters.made(it));
                return Ok(warning);
            }
        }
        Err(KernelError::Disturbed)
    }

    /// Whether the news so far tell of damage to our table: of what nft does for us, too.
    pub(super) fn is_damaged(&mut self) -> bool {
        let news = self.traffic.news_so_far();
        if news.traffic {
            self.look_soon();
        }
        self.flowtables_changed |= news.flowtables_changed;
        self.credit_used_up |= news.credit_used_up;
        news.table_damaged
    }

    /// Which flowtables have devices of ours: their flows go past our rules.
    pub(super) fn offloads(&mut self, base: &Base) -> Result<Vec<Warning>, KernelError> {
        let found = self.nfnetlink.flowtables()?;
        let lan = base.lan.iter().map(|lan| lan.interface.as_str());
        let ours = base.mesh.iter().map(String::as_str).chain(lan);
        let ours: Vec<&str> = ours.chain(TUNNEL_DEVICES).collect();
        let warnings = found.into_iter().filter_map(|flowtable| {
            let device = ours.iter().find(|device| flowtable.has(device))?;
            Some(Warning::FlowOffload {
                device: (*device).to_owned(),
                is_hardware: flowtable.is_hardware,
                flowtable: flowtable.name,
            })
        });
        Ok(warnings.collect())
    }

    pub(super) async fn set_gateways(
        &mut self,
        gateways: BTreeSet<Ipv6Addr>,
    ) -> Result<(), KernelError> {
        let before = self.gateways.counted();
        self.gateways.set(Instant::now(), gateways);
        // One that was lost counts for a while. What leads to another must not wait for nft to say so.
        if self.gateways.counted() == before {
            return Ok(());
        }
        self.follow_gateways().await
    }

    pub(super) async fn follow_gateways(&mut self) -> Result<(), KernelError> {
        let commands = nat::gateway_elements(&self.gateways.counted());
        let followed = self.change_table(&commands).await;
        if followed.is_err() {
            self.is_table_due = true;
            self.mend_soon();
        }
        followed
    }

    pub(super) async fn set_credit(&mut self, credit: Credit) -> Result<(), KernelError> {
        self.shape.set_credit(credit);
        self.find_senders().await?;
        self.follow_shape().await
    }

    /// Looks for the Ethernet addresses of neighbors that have credit. Says whether there are others than
    /// before.
    async fn find_senders(&mut self) -> Result<bool, KernelError> {
        let links = self.shape.links();
        self.neighbors.find_links(&self.handle, &links).await?;
        Ok(self.shape.note_senders(self.neighbors.all()))
    }

    /// Has the table slow down whom it should. If that fails, it is made anew.
    pub(super) async fn follow_shape(&mut self) -> Result<(), KernelError> {
        let followed = self.try_shape().await;
        match &followed {
            Ok(()) => self.shape.note_applied(),
            Err(_) => {
                self.is_table_due = true;
                self.mend_soon();
            }
        }
        followed
    }

    async fn try_shape(&mut self) -> Result<(), KernelError> {
        let Some(shaping) = self.base.as_ref().map(|base| base.shaping.clone()) else {
            return Ok(());
        };
        let quotas = self.nfnetlink.quotas()?;
        let commands = self.shape.changes(&shaping, &quotas);
        match commands.is_empty() {
            true => Ok(()),
            false => self.change_table(&commands).await,
        }
    }

    /// Changes something in the table. It must be there: what it is made of goes in when it is made.
    async fn change_table(&mut self, commands: &str) -> Result<(), KernelError> {
        if self.base.is_none() {
            return Ok(());
        }
        let before = self.nfnetlink.generation()?;
        let was_damaged = self.is_damaged();
        nft::apply(&self.setup.nft, commands).await?;
        let _ = self.is_damaged();
        // Others may have changed our table meanwhile.
        if was_damaged || self.nfnetlink.generation()? != before.wrapping_add(1) {
            self.is_table_due = true;
            self.mend_soon();
        }
        Ok(())
    }

    pub(super) async fn set_new_flows(&mut self, new_flows: NewFlows) -> Result<(), KernelError> {
        self.new_flows = new_flows;
        let Some(base) = self.base.clone().filter(|base| !base.lan.is_empty()) else {
            // They go into the table when it is made, if there are local hosts.
            return Ok(());
        };
        let attached = self.attached.clone();
        self.make_table(&base, &attached).await.map(drop)
    }

    pub(super) async fn read_counters(&mut self) -> Result<counters::Counters, KernelError> {
        if let Err(error) = self.fib.tunnels.note_endpoints(Instant::now()) {
            // The device is gone, and soon there again.
            tracing::debug!(%error);
        }
        let (mut counters, is_new) = self.counters.read(&mut self.nfnetlink)?;
        let macs = counters.macs();
        let mut unknown = macs.iter();
        if is_new || unknown.any(|&mac| self.neighbors.address(mac).is_none()) {
            self.neighbors.update(&self.handle, &macs).await?;
        }
        counters.resolve(&self.neighbors);
        self.shape.note_spent(&counters.spent);
        if self.find_senders().await? {
            let followed = self.follow_shape().await;
            followed.unwrap_or_else(|error| tracing::warn!(%error, "credit"));
        }
        if is_new {
            self.make_room(&mut counters).await;
        }
        Ok(counters)
    }

    /// Removes counters that are not needed where others may be. They have been read.
    async fn make_room(&mut self, counters: &mut counters::Counters) {
        let idle = self
            .counters
            .idle(Instant::now(), self.setup.counter_idle_time, counters);
        if idle.is_empty() {
            return;
        }
        match self.change_table(&counters.removing(&idle)).await {
            Ok(()) => {
                self.counters.removed(&idle);
                counters.removed = idle;
            }
            // With the next reading it is tried again.
            Err(error) => tracing::warn!(%error, "counters not removed"),
        }
    }
}
