//! What a node says of itself, as Prometheus reads it: the text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
//!
//! Names begin with `meshd_` and end with their base unit; counters end with `_total` and begin at 0 when the daemon
//! does, unless their help says otherwise. Labels tell neighbors, interfaces and reasons apart and nothing else, so
//! the number of time series grows with what is around a node, not with the mesh. Neighbors are told apart by their ids:
//! what they call themselves is in `meshd_neighbor_info` alone, so that one with a new name goes on where it was.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use crate::{
    Accounts, InterfaceRole, Interfaces, Neighbor, Neighbors, NodeId, OriginatorId, Role, Status,
};

/// The media type of [`Metrics`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is said of one moment. Displayed as the text.
#[derive(Clone, Copy, Debug)]
pub struct Metrics<'a> {
    /// The answer to `status`.
    pub status: &'a Status,
    /// The answer to `neighbors`.
    pub neighbors: &'a Neighbors,
    /// The answer to `interfaces`.
    pub interfaces: &'a Interfaces,
    /// The answer to `receipts.list`.
    pub accounts: &'a Accounts,
}

impl fmt::Display for Metrics<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Text(String::new());
        node(&mut text, self.status);
        routing(&mut text, self.status);
        neighbors(&mut text, self.neighbors, self.accounts);
        links(&mut text, self.neighbors);
        interfaces(&mut text, self.interfaces);
        receipts(&mut text, self.accounts, self.neighbors);
        f.write_str(&text.0)
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Counter,
    Gauge,
}

/// A label and its value, which may be anybody's words.
type Label<'a> = (&'static str, &'a str);

/// The text so far.
struct Text(String);

impl Text {
    /// A metric without labels.
    fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl fmt::Display) {
        self.family(name, kind, help, [(Vec::new(), value)]);
    }

    /// A metric with its time series; nothing, if there are none.
    fn family<'a, V: fmt::Display>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        series: impl IntoIterator<Item = (Vec<Label<'a>>, V)>,
    ) {
        let mut series = series.into_iter().peekable();
        if series.peek().is_none() {
            return;
        }
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for (labels, value) in series {
            self.write(format_args!("{name}"));
            let mut mark = '{';
            for (label, text) in &labels {
                self.write(format_args!("{mark}{label}=\"{}\"", Escaped(text)));
                mark = ',';
            }
            let end = if labels.is_empty() { "" } else { "}" };
            self.write(format_args!("{end} {value}\n"));
        }
    }

    fn write(&mut self, text: fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = self.0.write_fmt(text);
    }
}

/// The value of a label: three characters mean something else in it.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            char => f.write_char(char),
        })
    }
}

/// Seconds, of thousandths or millionths.
struct Seconds {
    parts: u64,
    digits: usize,
}

impl Seconds {
    const fn of_ms(ms: u64) -> Self {
        Self {
            parts: ms,
            digits: 3,
        }
    }

    const fn of_us(us: u64) -> Self {
        Self {
            parts: us,
            digits: 6,
        }
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal(f, self.parts.into(), self.digits)
    }
}

/// Tokens, of 10⁻¹⁸.
struct Smt(u128);

impl fmt::Display for Smt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal(f, self.0, 18)
    }
}

/// So many parts of which 10 to the power of `digits` are one.
fn decimal(f: &mut fmt::Formatter<'_>, parts: u128, digits: usize) -> fmt::Result {
    let text = format!("{parts:0width$}", width = digits + 1);
    let (whole, rest) = text.split_at(text.len() - digits);
    write!(f, "{whole}.{rest}")
}

fn node(text: &mut Text, status: &Status) {
    let (id, version) = (status.originator_id.to_string(), status.version.as_str());
    let labels = [
        ("version", version),
        ("network", &status.network),
        ("name", &status.name),
        ("originator_id", &id),
    ];
    let help = "The node that is asked.";
    text.family("meshd_info", Kind::Gauge, help, [(Vec::from(labels), 1_u8)]);
    let mut gauge = |name, help, value: u64| text.one(name, Kind::Gauge, help, value);
    gauge(
        "meshd_uptime_seconds",
        "Since the daemon started.",
        status.uptime_s,
    );
    let internet = &status.internet;
    gauge(
        "meshd_internet_up",
        "Whether the Internet is reachable, 0 or 1.",
        internet.online.into(),
    );
    gauge(
        "meshd_internet_since_seconds",
        "Since the present way to the Internet was chosen, or since there is none.",
        internet.since_s,
    );
    if let Some(hops) = internet.hops {
        let help = "Hops in the mesh to the gateway in use, 0 with an uplink of its own.";
        gauge("meshd_internet_hops", help, hops.into());
    }
    gauge(
        "meshd_originators",
        "Other nodes that are reachable.",
        status.originators.into(),
    );
    gauge(
        "meshd_gateways",
        "Gateways that are reachable, this node included if it is one.",
        status.gateways.into(),
    );
    gauge(
        "meshd_warnings",
        "What an operator ought to put right: meshctl status names it.",
        status.warnings.len().try_into().unwrap_or(u64::MAX),
    );
    if let Some(via) = internet.via.as_ref().filter(|_| internet.online) {
        let id = via.originator_id.to_string();
        let name = via.name.as_deref().unwrap_or_default();
        let labels = vec![("gateway", id.as_str()), ("name", name)];
        let help = "The gateway in use, if it is another node.";
        text.family(
            "meshd_internet_gateway_info",
            Kind::Gauge,
            help,
            [(labels, 1_u8)],
        );
    }
}

fn routing(text: &mut Text, status: &Status) {
    let counters = &status.counters;
    let mut counter = |name, help, value: u64| text.one(name, Kind::Counter, help, value);
    counter(
        "meshd_routing_received_packets_total",
        "Packets of the routing protocol that came, dropped ones included.",
        counters.rx_packets,
    );
    counter(
        "meshd_routing_received_bytes_total",
        "Their bytes, behind the UDP header.",
        counters.rx_bytes,
    );
    counter(
        "meshd_routing_sent_packets_total",
        "Packets of the routing protocol that were sent.",
        counters.tx_packets,
    );
    counter(
        "meshd_routing_sent_bytes_total",
        "Their bytes, behind the UDP header.",
        counters.tx_bytes,
    );
    let drops = counters.drops.iter();
    text.family(
        "meshd_routing_dropped_packets_total",
        Kind::Counter,
        "Packets of the routing protocol, or parts of them, that were dropped.",
        drops.map(|(reason, count)| (vec![("reason", reason.as_str())], count)),
    );
}

/// What neighbors, and all with whom there are accounts, call themselves.
fn neighbors(text: &mut Text, neighbors: &Neighbors, accounts: &Accounts) {
    let ids = ids(neighbors);
    let accounts = accounts.accounts.iter();
    let accounts = accounts.map(|it| (label_of(it.node_id, &ids), &it.name));
    let links = neighbors.neighbors.iter();
    let links = links.map(|it| (it.originator_id.to_string(), &it.name));
    // Of a neighbor over several links, and with several accounts, it is the same.
    let names: BTreeMap<String, &Option<String>> = accounts.chain(links).collect();
    let series = names.iter().map(|(id, name)| {
        let name = name.as_deref().unwrap_or_default();
        (vec![("neighbor", id.as_str()), ("name", name)], 1_u8)
    });
    text.family(
        "meshd_neighbor_info",
        Kind::Gauge,
        "What a neighbor calls itself: to be joined with the others by its id.",
        series,
    );
}

/// Which originator has which key, as far as neighbors have said.
fn ids(neighbors: &Neighbors) -> BTreeMap<NodeId, OriginatorId> {
    let ids = neighbors.neighbors.iter();
    ids.filter_map(|it| Some((it.node_id?, it.originator_id)))
        .collect()
}

/// What somebody is called in labels with whom there is an account.
fn label_of(node: NodeId, ids: &BTreeMap<NodeId, OriginatorId>) -> String {
    let id = ids.get(&node);
    id.map_or_else(|| node.to_string(), OriginatorId::to_string)
}

/// A link and the labels that tell it from others.
struct Link<'a> {
    neighbor: &'a Neighbor,
    id: String,
}

impl<'a> Link<'a> {
    fn labels(&self) -> Vec<Label<'_>> {
        vec![
            ("interface", &self.neighbor.interface),
            ("neighbor", &self.id),
        ]
    }

    fn labels_and(&self, more: Label<'a>) -> Vec<Label<'_>> {
        let mut labels = self.labels();
        labels.push(more);
        labels
    }
}

fn links(text: &mut Text, neighbors: &Neighbors) {
    let links = neighbors.neighbors.iter().map(|neighbor| Link {
        neighbor,
        id: neighbor.originator_id.to_string(),
    });
    let links: Vec<Link<'_>> = links.collect();
    text.family(
        "meshd_link_up",
        Kind::Gauge,
        "Whether a link to a neighbor is usable, 0 or 1.",
        links
            .iter()
            .map(|it| (it.labels(), u8::from(it.neighbor.cost_us.is_some()))),
    );
    let received = |it: &Link<'_>| it.neighbor.rx_quality.share();
    text.family(
        "meshd_link_receive_quality_ratio",
        Kind::Gauge,
        "The share of the neighbor's hellos that arrive here.",
        links.iter().map(|it| (it.labels(), received(it))),
    );
    let sent = |it: &Link<'_>| it.neighbor.tx_quality.share();
    text.family(
        "meshd_link_transmit_quality_ratio",
        Kind::Gauge,
        "The share of our hellos that arrive there.",
        links.iter().map(|it| (it.labels(), sent(it))),
    );
    let costs = links.iter().filter_map(|it| {
        let cost = it.neighbor.cost_us?;
        Some((it.labels(), Seconds::of_us(cost)))
    });
    text.family(
        "meshd_link_airtime_seconds",
        Kind::Gauge,
        "What 1500 bytes take over the link: its metric. Only of usable ones.",
        costs,
    );
    let heard = |it: &Link<'_>| Seconds::of_ms(it.neighbor.last_heard_ms);
    text.family(
        "meshd_link_last_heard_seconds",
        Kind::Gauge,
        "Since anything was heard from the neighbor.",
        links.iter().map(|it| (it.labels(), heard(it))),
    );
    let carried = links.iter().flat_map(|it| {
        let up = (it.labels_and(("direction", "up")), it.neighbor.bytes_up);
        let down = (it.labels_and(("direction", "down")), it.neighbor.bytes_down);
        [up, down]
    });
    text.family(
        "meshd_link_carried_bytes_total",
        Kind::Counter,
        "Bytes exchanged with the neighbor towards a gateway (up) and from one (down).",
        carried,
    );
}

fn interfaces(text: &mut Text, interfaces: &Interfaces) {
    let all = &interfaces.interfaces;
    let labels = |name, role| {
        let role = match role {
            InterfaceRole::Mesh => "mesh",
            InterfaceRole::Lan => "lan",
            InterfaceRole::Uplink => "uplink",
        };
        vec![("interface", name), ("role", role)]
    };
    text.family(
        "meshd_interface_up",
        Kind::Gauge,
        "Whether an interface does its part, 0 or 1; an uplink does while it works.",
        all.iter()
            .map(|it| (labels(it.name.as_str(), it.role), u8::from(it.in_use))),
    );
    let radios = all
        .iter()
        .filter_map(|it| Some((it.name.as_str(), it.radio.as_ref()?)));
    let stations = radios.flat_map(|(interface, radio)| {
        radio.stations.iter().filter_map(move |station| {
            let neighbor = station.originator_id.map(|id| id.to_string());
            Some((interface, station, neighbor, station.signal_dbm?))
        })
    });
    let stations: Vec<_> = stations.collect();
    let series = stations
        .iter()
        .map(|(interface, station, neighbor, signal)| {
            let mut labels = vec![("interface", *interface), ("station", &station.mac)];
            labels.extend(neighbor.as_deref().map(|id| ("neighbor", id)));
            (labels, *signal)
        });
    text.family(
        "meshd_station_signal_dbm",
        Kind::Gauge,
        "How strong a station's frames arrive, on average.",
        series,
    );
}

/// What all accounts with a neighbor in one role come to, over all gateways.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    bytes: u64,
    unsigned: u64,
    atto: u128,
    held: bool,
}

fn receipts(text: &mut Text, accounts: &Accounts, neighbors: &Neighbors) {
    let ids = ids(neighbors);
    let mut sums: BTreeMap<(String, &str), Sums> = BTreeMap::new();
    for account in &accounts.accounts {
        let id = label_of(account.node_id, &ids);
        let role = match account.role {
            Role::Provider => "provider",
            Role::Consumer => "consumer",
        };
        let sum = sums.entry((id, role)).or_default();
        let bytes = [account.earlier_bytes, account.bytes_up, account.bytes_down];
        sum.bytes = bytes.into_iter().fold(sum.bytes, u64::saturating_add);
        sum.unsigned = sum.unsigned.saturating_add(account.unsigned_bytes);
        let atto = [account.earlier_amount_atto, account.amount_atto];
        let atto = atto.into_iter().map(crate::AttoSmt::atto);
        sum.atto = atto.fold(sum.atto, u128::saturating_add);
        sum.held |= account.held;
    }
    let series = || {
        sums.iter().map(|((id, role), sum)| {
            let labels = vec![("neighbor", id.as_str()), ("role", *role)];
            (labels, *sum)
        })
    };
    text.family(
        "meshd_receipts_bytes_total",
        Kind::Counter,
        "Bytes that receipts were signed for; the role is ours: a provider earns. Goes on over restarts.",
        series().map(|(labels, sum)| (labels, sum.bytes)),
    );
    text.family(
        "meshd_receipts_smt_total",
        Kind::Counter,
        "What these receipts promise, in SMT. Goes on over restarts.",
        series().map(|(labels, sum)| (labels, Smt(sum.atto))),
    );
    text.family(
        "meshd_receipts_unsigned_bytes",
        Kind::Gauge,
        "Bytes that were counted and no receipt covers yet.",
        series().map(|(labels, sum)| (labels, sum.unsigned)),
    );
    text.family(
        "meshd_receipts_held",
        Kind::Gauge,
        "Whether the consumer is slowed down until it signs, 0 or 1.",
        series().map(|(labels, sum)| (labels, u8::from(sum.held))),
    );
}
