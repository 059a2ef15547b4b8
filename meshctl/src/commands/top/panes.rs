//! The rows of each pane.

use std::cmp::Reverse;
use std::collections::VecDeque;

use control_api::{Account, AttoSmt, Gateway, Neighbor, Role};

use super::model::{Model, Rate, Snapshot};
use crate::format;

/// A part of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pane {
    Links,
    Gateways,
    Traffic,
    Receipts,
}

impl Pane {
    #[cfg(test)]
    pub(super) const ALL: [Self; 4] = [Self::Links, Self::Gateways, Self::Traffic, Self::Receipts];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Links => "Links",
            Self::Gateways => "Gateways",
            Self::Traffic => "Traffic",
            Self::Receipts => "Receipts",
        }
    }

    /// In which orders its rows may be.
    pub(super) const fn orders(self) -> &'static [&'static str] {
        match self {
            Self::Links => &["cost", "name", "heard"],
            Self::Gateways => &["cost", "name", "price"],
            Self::Traffic => &["rate", "name"],
            Self::Receipts => &["unpaid", "name", "amount"],
        }
    }

    pub(super) const fn next(self) -> Self {
        match self {
            Self::Links => Self::Gateways,
            Self::Gateways => Self::Traffic,
            Self::Traffic => Self::Receipts,
            Self::Receipts => Self::Links,
        }
    }

    pub(super) const fn previous(self) -> Self {
        self.next().next().next()
    }

    /// What there is to say when there are no rows.
    pub(super) const fn empty(self) -> &'static str {
        match self {
            Self::Links => "No neighbors are heard.",
            Self::Gateways => "No gateway is known.",
            Self::Traffic => "Nothing goes to the Internet.",
            Self::Receipts => "No accounts yet.",
        }
    }

    /// Its columns, the most important ones first; the first takes what room is left.
    pub(super) const fn columns(self) -> &'static [Column] {
        match self {
            Self::Links => &LINKS,
            Self::Gateways => &GATEWAYS,
            Self::Traffic => &TRAFFIC,
            Self::Receipts => &RECEIPTS,
        }
    }
}

/// A column of a pane.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) heading: &'static str,
    pub(super) width: usize,
    pub(super) is_number: bool,
    /// Whether it takes the room that is left.
    pub(super) grows: bool,
}

const fn text(heading: &'static str, width: usize) -> Column {
    Column {
        heading,
        width,
        is_number: false,
        grows: false,
    }
}

const fn number(heading: &'static str, width: usize) -> Column {
    Column {
        heading,
        width,
        is_number: true,
        grows: false,
    }
}

const fn growing(heading: &'static str, width: usize) -> Column {
    Column {
        heading,
        width,
        is_number: false,
        grows: true,
    }
}

static LINKS: [Column; 8] = [
    text("NAME", 11),
    number("TQ", 3),
    number("COST", 8),
    number("HEARD", 6),
    text("INTERFACE", 9),
    number("RX", 4),
    number("TX", 4),
    number("SINCE", 8),
];

static GATEWAYS: [Column; 7] = [
    text("NAME", 11),
    text("USED", 9),
    number("HOPS", 4),
    number("COST", 8),
    growing("REASON", 36),
    text("DOWN/UP", 11),
    text("TUNNEL", 9),
];

static TRAFFIC: [Column; 4] = [
    text("NAME", 10),
    number("DOWN", 7),
    number("UP", 7),
    growing("", 8),
];

static RECEIPTS: [Column; 6] = [
    text("NAME", 10),
    text("ROLE", 5),
    number("UNSIGNED", 8),
    number("SMT", 9),
    number("SIGNED", 7),
    number("UNPAID", 9),
];

/// One line of a pane.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    /// What its sparkline is drawn from, in the last column.
    pub(super) history: Vec<u128>,
    pub(super) state: State,
}

/// What stands out. Each is a word in the row as well: colour never is alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Plain,
    Good,
    Bad,
}

/// The rows of a pane, in the order that the operator wants.
pub(super) fn rows(model: &Model, pane: Pane) -> Vec<Row> {
    let Some(snapshot) = &model.snapshot else {
        return Vec::new();
    };
    let sort = model.place(pane).sort;
    match pane {
        Pane::Links => links(snapshot, sort),
        Pane::Gateways => gateways(snapshot, sort),
        Pane::Traffic => traffic(model, snapshot, sort),
        Pane::Receipts => receipts(snapshot, sort),
    }
}

fn links(snapshot: &Snapshot, sort: usize) -> Vec<Row> {
    let mut neighbors: Vec<&Neighbor> = snapshot.neighbors.iter().collect();
    match sort {
        1 => neighbors.sort_by_key(|it| neighbor_name(it)),
        2 => neighbors.sort_by_key(|it| it.last_heard_ms),
        _ => neighbors.sort_by_key(|it| (it.cost_us.unwrap_or(u64::MAX), neighbor_name(it))),
    }
    neighbors.into_iter().map(link).collect()
}

fn link(neighbor: &Neighbor) -> Row {
    let state = match neighbor.cost_us {
        None => State::Bad,
        Some(_) => State::Plain,
    };
    Row {
        cells: vec![
            neighbor_name(neighbor),
            neighbor.tq.to_string(),
            neighbor.cost_us.map_or("down".to_owned(), format::metric),
            heard(neighbor.last_heard_ms),
            format::name(Some(&neighbor.interface)),
            format::percent(neighbor.rx_quality),
            format::percent(neighbor.tx_quality),
            format::or_dash(neighbor.up_since_s, format::seconds),
        ],
        history: Vec::new(),
        state,
    }
}

fn heard(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms}ms"),
        _ => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
    }
}

fn neighbor_name(neighbor: &Neighbor) -> String {
    or_id(neighbor.name.as_deref(), neighbor.originator_id.short())
}

fn or_id(name: Option<&str>, id: String) -> String {
    let unknown = format::name(None);
    Some(format::name(name))
        .filter(|name| *name != unknown)
        .unwrap_or(id)
}

fn gateways(snapshot: &Snapshot, sort: usize) -> Vec<Row> {
    let mut gateways: Vec<&Gateway> = snapshot.gateways.iter().collect();
    let name = |gateway: &Gateway| or_id(Some(&gateway.name), gateway.originator_id.short());
    match sort {
        1 => gateways.sort_by_key(|it| name(it)),
        2 => gateways.sort_by_key(|it| it.price_atto_per_mib.unwrap_or(AttoSmt::new(u128::MAX))),
        _ => gateways.sort_by_key(|it| {
            let cost = it.cost_us.filter(|_| it.hops.is_some());
            (Reverse(it.selected), cost.unwrap_or(u64::MAX), name(it))
        }),
    }
    let row = |gateway: &Gateway| Row {
        cells: vec![
            name(gateway),
            super::super::gateways::used(gateway),
            format::or_dash(gateway.hops, |hops| hops.to_string()),
            format::or_dash(
                gateway.cost_us.filter(|_| gateway.hops.is_some()),
                format::metric,
            ),
            format::harmless(&gateway.reason),
            [gateway.bandwidth_down_bps, gateway.bandwidth_up_bps]
                .map(|bps| format::or_dash(bps, format::bit_rate))
                .join("/"),
            format::or_dash(gateway.tunnel, |kind| format::tunnel(kind).to_owned()),
        ],
        history: Vec::new(),
        state: match gateway.selected {
            true => State::Good,
            false => State::Plain,
        },
    };
    gateways.into_iter().map(row).collect()
}

fn traffic(model: &Model, snapshot: &Snapshot, sort: usize) -> Vec<Row> {
    let traffic = &model.traffic;
    let mut neighbors: Vec<&Neighbor> = snapshot.neighbors.iter().collect();
    // One with several links is counted once.
    neighbors.sort_by_key(|it| it.originator_id);
    neighbors.dedup_by_key(|it| it.originator_id);
    match sort {
        1 => neighbors.sort_by_key(|it| neighbor_name(it)),
        _ => neighbors.sort_by_key(|it| {
            (
                Reverse(traffic.of(it.originator_id).total()),
                neighbor_name(it),
            )
        }),
    }
    let nothing = VecDeque::new();
    let all = rate("all".to_owned(), &traffic.all, State::Good);
    let each = neighbors.into_iter().map(|neighbor| {
        let rates = traffic
            .rates
            .get(&neighbor.originator_id)
            .unwrap_or(&nothing);
        rate(neighbor_name(neighbor), rates, State::Plain)
    });
    std::iter::once(all).chain(each).collect()
}

fn rate(name: String, rates: &VecDeque<Rate>, state: State) -> Row {
    let last = rates.back().copied().unwrap_or_default();
    Row {
        cells: vec![
            name,
            format::bit_rate(last.down_bps),
            format::bit_rate(last.up_bps),
            String::new(),
        ],
        history: rates.iter().map(|rate| rate.total().into()).collect(),
        state,
    }
}

fn receipts(snapshot: &Snapshot, sort: usize) -> Vec<Row> {
    let mut accounts: Vec<&Account> = snapshot.accounts.iter().collect();
    let name = |account: &Account| or_id(account.name.as_deref(), account.node_id.short());
    match sort {
        1 => accounts.sort_by_key(|it| name(it)),
        2 => accounts.sort_by_key(|it| Reverse(amount(it))),
        _ => accounts.sort_by_key(|it| {
            (
                Reverse(it.unpaid_atto),
                Reverse(it.unsigned_bytes),
                name(it),
            )
        }),
    }
    let row = |account: &Account| Row {
        cells: vec![
            name(account),
            match account.role {
                _ if account.held => "HELD",
                Role::Provider => "earns",
                Role::Consumer => "pays",
            }
            .to_owned(),
            format::short_bytes(account.unsigned_bytes),
            format::short_smt(amount(account)),
            match (account.last_receipt_age_s, account.last_receipt) {
                (Some(age), _) => format::age(age),
                (None, Some(_)) => "earlier".to_owned(),
                (None, None) => "never".to_owned(),
            },
            format::or_dash(account.unpaid_atto, format::short_smt),
        ],
        history: Vec::new(),
        state: match account.held || account.equivocated {
            true => State::Bad,
            false => State::Plain,
        },
    };
    accounts.into_iter().map(row).collect()
}

fn amount(account: &Account) -> AttoSmt {
    let earlier = account.earlier_amount_atto.atto();
    AttoSmt::new(account.amount_atto.atto().saturating_add(earlier))
}
