//! What is done with the table of nftables: it is made, changed, read.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use super::{Next, RETRY, Task};
use crate::kernel::netlink::KernelError;
use crate::kernel::uplink::Surroundings;
use crate::kernel::{
    Base, KernelEvent, Setup, TUNNEL_DEVICES, TableChange, Warning, counters, marks, nat, nft,
};

/// How often to make the table of nftables anew while others change something there as well.
const TABLE_TRIES: usize = 3;

/// How long changes wait for everything else.
const PATIENCE: Duration = Duration::from_secs(1);

/// What changed since the table was made, and waits until nothing else does: one run of nft does for all
/// of it, and what is urgent, routes above all, need not wait for many.
#[derive(Debug, Default)]
pub(super) struct Changes {
    due_since: Option<Instant>,
    /// The driver waits for an answer.
    are_asked_for: bool,
}

impl Changes {
    /// There are some.
    pub(super) fn note(&mut self) {
        self.due_since.get_or_insert_with(Instant::now);
    }

    /// The driver asks for some.
    fn ask(&mut self) {
        self.note();
        self.are_asked_for = true;
    }

    pub(super) const fn are_due(&self) -> bool {
        self.due_since.is_some()
    }

    /// Whether they have waited long enough.
    pub(super) fn are_overdue(&self, now: Instant) -> bool {
        let waited = |since| now.saturating_duration_since(since);
        self.due_since
            .is_some_and(|since| waited(since) >= PATIENCE)
    }
}

/// What the table holds that changes often, besides who is slowed down.
#[derive(Debug, Default)]
pub(super) struct Content {
    gateways: BTreeSet<Ipv6Addr>,
    flows: marks::Flows,
}

impl Content {
    /// Commands that change a table with this to one with something else.
    fn changes_to(&self, other: &Self, setup: &Setup, base: &Base) -> String {
        let mut commands = String::new();
        if self.gateways != other.gateways {
            commands += &nat::gateway_elements(&other.gateways);
        }
        if self.flows != other.flows && !base.lan.is_empty() {
            commands += &other.flows.replacing(&setup.numbers);
        }
        commands
    }
}

impl Task {
    /// Makes the table of nftables, or has it tried again soon.
    pub(super) async fn make_table(
        &mut self,
        base: &Base,
        surroundings: &Surroundings,
    ) -> Result<Option<Warning>, KernelError> {
        let made = self.try_table(base, surroundings).await;
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
        surroundings: &Surroundings,
    ) -> Result<Option<Warning>, KernelError> {
        let mut warning = None;
        for _ in 0..TABLE_TRIES {
            self.hears_of_damage(None);
            let before = self.nfnetlink.generation()?;
            let content = self.content(base);
            let wanted = nat::Wanted {
                setup: &self.setup,
                base,
                surroundings,
                lines: &self.lines,
                gateways: &content.gateways,
                flows: &content.flows,
                shape: &self.shape,
            };
            let made = nat::apply(wanted, &mut self.nfnetlink).await;
            let ours = made.as_ref().ok().and_then(|(_, process)| *process);
            self.hears_of_damage(ours);
            let (made, _) = made?;
            self.content = content;
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

    /// Whether the news so far tell of damage to our table by others than `ours`, a run of nft. It is to be reported
    /// then, unless that has been done: the kernel tells of each piece that is gone.
    pub(super) fn hears_of_damage(&mut self, ours: Option<u32>) -> bool {
        let news = self.traffic.news_so_far();
        if news.traffic {
            self.look_soon();
        }
        self.flowtables_changed |= news.flowtables_changed;
        self.credit_used_up |= news.credit_used_up;
        let mut others = news.damaged_by;
        // A table is so much news that some get lost, and then most likely ours.
        let is_ours = |it: u32| ours.is_some_and(|ours| it == ours || it == 0);
        others.retain(|it| !is_ours(*it));
        // Before there was a table of ours it was somebody else's.
        self.has_untold_damage |= self.base.is_some() && !others.is_subset(&self.damagers);
        !others.is_empty()
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

    /// Takes note of what the table is to hold.
    pub(super) async fn note_change(&mut self, change: TableChange) {
        match change {
            TableChange::Gateways(gateways) => self.gateways.set(Instant::now(), gateways),
            TableChange::NewFlows(new_flows) => self.new_flows = new_flows,
            TableChange::Throttle(is_throttled) => self.shape.is_throttled = is_throttled,
            TableChange::Credit(credit) => {
                self.shape.set_credit(credit);
                if let Err(error) = self.find_senders().await {
                    tracing::warn!(%error, "credit");
                }
            }
        }
        self.changes.ask();
    }

    /// Whether packets to and from a gateway are not counted yet. That can't wait: they may come any moment.
    pub(super) fn is_gateway_uncounted(&self) -> bool {
        self.base.is_some() && !self.gateways.counted().is_subset(&self.content.gateways)
    }

    /// Changes the table to what it is to hold, and tells whoever asked for it.
    pub(super) async fn change_table(&mut self) -> Next {
        let changes = std::mem::take(&mut self.changes);
        let changed = self.try_changes().await;
        if changed.is_err() {
            self.is_table_due = true;
            self.mend_soon();
        }
        match (changed, changes.are_asked_for) {
            (Ok(()), true) => self.report(KernelEvent::TableChanged).await?,
            (Err(error), true) => self.report(KernelEvent::TableFailed(error)).await?,
            (Ok(()), false) => {}
            (Err(error), false) => tracing::warn!(%error),
        }
        self.report_noticed().await
    }

    async fn try_changes(&mut self) -> Result<(), KernelError> {
        let Some(base) = &self.base else {
            // It goes in when the table is made.
            return Ok(());
        };
        let content = self.content(base);
        let quotas = self.nfnetlink.quotas()?;
        let commands = [
            self.content.changes_to(&content, &self.setup, base),
            self.shape.changes(&base.shaping, &quotas),
        ];
        self.apply(&commands.concat()).await?;
        self.content = content;
        self.shape.note_applied();
        Ok(())
    }

    /// What the table is to hold besides who is slowed down.
    fn content(&self, base: &Base) -> Content {
        let lines = self.lines.working(base);
        Content {
            gateways: self.gateways.counted(),
            flows: self
                .marks
                .flows(self.new_flows, &(&self.fib.marked() | &lines)),
        }
    }

    /// Looks for the Ethernet addresses of neighbors that have credit. Says whether there are others than
    /// before. If it fails, those that are known count: nobody else is among them in any case.
    async fn find_senders(&mut self) -> Result<bool, KernelError> {
        let links = self.shape.links();
        let found = self.neighbors.find_links(&self.handle, &links).await;
        let are_others = self.shape.note_senders(self.neighbors.all());
        found.map(|_| are_others)
    }

    /// Changes something in the table. It must be there: what it is made of goes in when it is made.
    async fn apply(&mut self, commands: &str) -> Result<(), KernelError> {
        if commands.is_empty() {
            return Ok(());
        }
        let before = self.nfnetlink.generation()?;
        let was_damaged = self.hears_of_damage(None);
        let ours = nft::apply(&self.setup.nft, commands).await?;
        let is_damaged = self.hears_of_damage(ours);
        // Others may have changed our table meanwhile.
        if was_damaged || is_damaged || self.nfnetlink.generation()? != before.wrapping_add(1) {
            self.is_table_due = true;
            self.mend_soon();
        }
        Ok(())
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
            self.changes.note();
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
        match self.apply(&counters.removing(&idle)).await {
            Ok(()) => {
                self.counters.removed(&idle);
                counters.removed = idle;
            }
            // With the next reading it is tried again.
            Err(error) => tracing::warn!(%error, "counters not removed"),
        }
    }
}
