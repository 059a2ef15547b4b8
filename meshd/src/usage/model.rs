//! Accounting next to a model of the kernel, which knows what was really carried.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use mesh_proto::{IfIndex, NodeId};
use proptest::prelude::*;

use super::checkpoint::Metered;
use super::{Link, Usage};
use crate::kernel::{Counted, CounterKey, CounterSample, Counters, Flow, Neighbor};

const FLOWS: [Flow; 4] = [Flow::UpRx, Flow::UpTx, Flow::DownRx, Flow::DownTx];
const NODES: u8 = 2;
const GATEWAYS: u8 = 2;

/// Bytes by node, gateway and whether we were paid for them.
type Bytes = BTreeMap<(NodeId, NodeId, bool), u64>;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A neighbor and we carry something.
    Carry {
        node: u8,
        gateway: u8,
        flow: Flow,
        bytes: u64,
    },
    /// The counters are read and accounted for, and that is written down.
    Read,
    /// The same, but the daemon ends before it is written down, and its successor reads what is.
    ReadAndCrash,
    /// The daemon ends, and its successor goes on.
    Handover,
    /// The same, but what was written down is lost.
    HandoverWithout,
    /// The table is gone with what was not read, and we make it anew.
    NewTable,
    /// The same in another network namespace, where the numbers begin anew, with another daemon.
    NewNamespace,
    /// Somebody puts back a table with what its counters were at the last reading.
    Restore,
    /// Somebody empties the sets.
    Flush,
    /// A neighbor takes another link-local address.
    Rename { node: u8 },
    /// The kernel does not know whose Ethernet address is whose until it is asked twice more.
    Hide,
    /// What was read makes room.
    MakeRoom,
}

impl Event {
    /// Whether something is lost by it that nobody could know.
    const fn loses(self) -> bool {
        matches!(
            self,
            Self::HandoverWithout
                | Self::NewTable
                | Self::NewNamespace
                | Self::Restore
                | Self::Flush
        )
    }
}

fn events() -> impl Strategy<Value = Event> {
    let carry = (0..NODES, 0..GATEWAYS, 0..FLOWS.len(), 1_u64..5000);
    let carry = carry.prop_map(|(node, gateway, flow, bytes)| Event::Carry {
        node,
        gateway,
        flow: FLOWS[flow],
        bytes,
    });
    prop_oneof![
        8 => carry,
        4 => Just(Event::Read),
        1 => Just(Event::ReadAndCrash),
        1 => Just(Event::Handover),
        1 => Just(Event::HandoverWithout),
        1 => Just(Event::NewTable),
        1 => Just(Event::NewNamespace),
        1 => Just(Event::Restore),
        1 => Just(Event::Flush),
        1 => (0..NODES).prop_map(|node| Event::Rename { node }),
        1 => Just(Event::Hide),
        1 => Just(Event::MakeRoom),
    ]
}

/// What a daemon has written down.
#[derive(Clone, Default)]
struct Written {
    metered: Metered,
    billed: Bytes,
}

#[derive(Default)]
struct World {
    counters: BTreeMap<CounterKey, Counted>,
    generation: u64,
    from_zero: bool,
    last_read: BTreeMap<CounterKey, Counted>,
    /// How often nodes have changed their address.
    renamed: [u8; NODES as usize],
    /// Readings until the kernel knows addresses again.
    hidden: u8,
    carried: Bytes,
    usage: Usage,
    billed: Bytes,
    written: Written,
}

fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

fn gateway_node(number: u8) -> NodeId {
    NodeId::from_bytes([0xf0 | number; 32])
}

fn gateway(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into())
}

const fn is_paid(flow: Flow) -> bool {
    matches!(flow, Flow::UpRx | Flow::DownTx)
}

impl World {
    fn link(number: u8, renamed: u8) -> Link {
        let host = u16::from(number) << 8 | u16::from(renamed);
        (IfIndex(1), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host))
    }

    fn carry(&mut self, number: u8, to: u8, flow: Flow, bytes: u64) {
        let neighbor = match flow {
            Flow::UpRx | Flow::DownRx => Neighbor::Mac([number; 6]),
            Flow::UpTx | Flow::DownTx => {
                Neighbor::LinkLocal(Self::link(number, self.renamed[usize::from(number)]).1)
            }
        };
        let key = CounterKey {
            flow,
            ifindex: IfIndex(1),
            neighbor,
            gateway: gateway(to),
        };
        let counted = self.counters.entry(key).or_default();
        counted.bytes += bytes;
        counted.packets += 1;
        let carried = (node(number), gateway_node(to), is_paid(flow));
        *self.carried.entry(carried).or_default() += bytes;
    }

    fn reading(&self, makes_room: bool) -> Counters {
        let address = |neighbor| match neighbor {
            Neighbor::LinkLocal(address) => Some(address),
            Neighbor::Mac([number, ..]) => {
                let link = Self::link(number, self.renamed[usize::from(number)]);
                (self.hidden == 0).then_some(link.1)
            }
        };
        let samples = self.counters.iter().map(|(&key, &all)| CounterSample {
            key,
            address: address(key.neighbor),
            all,
            merged: [Counted::default(); 2],
        });
        let removed = self.counters.keys().filter(|_| makes_room).copied();
        Counters {
            generation: self.generation,
            from_zero: self.from_zero,
            frame: 1500,
            samples: samples.collect(),
            removed: removed.collect(),
            is_full: false,
            spent: BTreeMap::new(),
        }
    }

    /// Reads and accounts.
    fn read(&mut self, makes_room: bool) {
        let links = (0..NODES).flat_map(|number| {
            let renamed = 0..=self.renamed[usize::from(number)];
            renamed.map(move |renamed| (Self::link(number, renamed), node(number)))
        });
        self.usage.note_nodes(links);
        let gateways = (0..GATEWAYS).map(|number| (gateway(number), gateway_node(number)));
        self.usage.note_gateways(gateways);
        let reading = self.reading(makes_room);
        self.hidden = self.hidden.saturating_sub(1);
        for ((node, gateway), delta) in self.usage.handle_counters(&reading) {
            for (carried, is_paid) in [(delta.provided, true), (delta.consumed, false)] {
                let billed = self.billed.entry((node, gateway, is_paid)).or_default();
                *billed += carried.up_bytes + carried.down_bytes;
            }
        }
        self.last_read.clone_from(&self.counters);
        if makes_room {
            self.counters.clear();
        }
    }

    fn write(&mut self) {
        self.written = Written {
            metered: self.usage.metered(),
            billed: self.billed.clone(),
        };
    }

    /// A successor reads what is written.
    fn succeed(&mut self) {
        self.usage = Usage::resume(self.written.metered.clone());
        self.billed = self.written.billed.clone();
        self.from_zero = false;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Carry {
                node,
                gateway,
                flow,
                bytes,
            } => self.carry(node, gateway, flow, bytes),
            Event::Read => {
                self.read(false);
                self.write();
            }
            Event::ReadAndCrash => {
                self.read(false);
                self.succeed();
            }
            Event::Handover => self.succeed(),
            Event::HandoverWithout => {
                // What was billed is in receipts.
                self.usage = Usage::default();
                self.from_zero = false;
                self.write();
            }
            Event::NewTable => {
                self.counters.clear();
                self.generation += 1;
                self.from_zero = true;
            }
            Event::NewNamespace => {
                self.counters.clear();
                self.succeed();
                self.from_zero = true;
            }
            Event::Restore => {
                self.counters.clone_from(&self.last_read);
                self.generation += 1;
                self.from_zero = false;
            }
            Event::Flush => self.counters.clear(),
            Event::Rename { node } => {
                let renamed = &mut self.renamed[usize::from(node)];
                *renamed = renamed.saturating_add(1);
            }
            Event::Hide => self.hidden = 2,
            Event::MakeRoom => {
                // Only what has a name by now, or never had one.
                if self.hidden == 0 {
                    self.read(true);
                    self.write();
                }
            }
        }
    }

    fn overbilled(&self) -> Option<String> {
        let mut billed = self.billed.iter();
        let carried = |it| self.carried.get(it).copied().unwrap_or_default();
        let over = billed.find(|(it, billed)| **billed > carried(it))?;
        Some(format!("{over:?} of {:?}", self.carried))
    }
}

/// What happens, and what was billed and carried in the end.
fn run(events: &[Event]) -> (Bytes, Bytes) {
    let mut world = World {
        from_zero: true,
        ..World::default()
    };
    world.read(false);
    world.write();
    for event in events {
        world.handle(*event);
        assert_eq!(world.overbilled(), None, "after {event:?}");
    }
    world.hidden = 0;
    world.read(false);
    assert_eq!(world.overbilled(), None, "in the end");
    let mut billed = world.billed;
    billed.retain(|_, bytes| *bytes > 0);
    (billed, world.carried)
}

proptest! {
    #[test]
    fn resets_wraps_and_missed_polls_never_overbill(
        events in prop::collection::vec(events(), 1..80)
    ) {
        run(&events);
    }

    #[test]
    fn nothing_is_lost_where_it_is_written_down(
        events in prop::collection::vec(events(), 1..80)
    ) {
        let events: Vec<Event> = events.into_iter().filter(|it| !it.loses()).collect();
        let (billed, carried) = run(&events);
        prop_assert_eq!(billed, carried);
    }
}
