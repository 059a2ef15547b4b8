//! What is shown: the last answers, the rates between them, and where the operator is.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use control_api::{Account, Gateway, Neighbor, OriginatorId, Status};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::panes::Pane;

/// How many rates are remembered: as many as a wide terminal has columns.
const HISTORY: usize = 240;

/// What the daemon answered at one moment.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) status: Status,
    pub(super) neighbors: Vec<Neighbor>,
    pub(super) gateways: Vec<Gateway>,
    pub(super) accounts: Vec<Account>,
}

/// Everything a frame is made of.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) has_colors: bool,
    pub(super) snapshot: Option<Snapshot>,
    /// Since when the daemon does not answer, and what is wrong.
    pub(super) lost: Option<(Duration, String)>,
    pub(super) now: Duration,
    pub(super) traffic: Traffic,
    pub(super) focus: Pane,
    /// Whether the pane has the screen for itself.
    pub(super) is_zoomed: bool,
    pub(super) shows_help: bool,
    places: BTreeMap<Pane, Place>,
}

/// Where the operator is in a pane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) row: usize,
    /// Which of its orders.
    pub(super) sort: usize,
}

/// What each neighbor carries for the Internet.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    before: BTreeMap<OriginatorId, (u64, u64)>,
    at: Option<Duration>,
    pub(super) rates: BTreeMap<OriginatorId, VecDeque<Rate>>,
    pub(super) all: VecDeque<Rate>,
}

/// In bit/s, to the gateway and from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) up_bps: u64,
    pub(super) down_bps: u64,
}

impl Model {
    /// Nothing is known yet.
    pub(super) fn new(has_colors: bool) -> Self {
        Self {
            has_colors,
            snapshot: None,
            lost: None,
            now: Duration::ZERO,
            traffic: Traffic::default(),
            focus: Pane::Links,
            is_zoomed: false,
            shows_help: false,
            places: BTreeMap::new(),
        }
    }

    /// An answer, or why there is none; what was known stays to be seen then.
    pub(super) fn take_in(&mut self, now: Duration, answer: Result<Snapshot, String>) {
        self.now = now;
        match answer {
            Ok(snapshot) => {
                self.lost = None;
                self.traffic.take_in(now, &snapshot.neighbors);
                self.snapshot = Some(snapshot);
            }
            Err(error) => {
                let since = self.lost.as_ref().map_or(now, |(since, _)| *since);
                self.lost = Some((since, error));
            }
        }
    }

    /// Where the operator is in a pane.
    pub(super) fn place(&self, pane: Pane) -> Place {
        self.places.get(&pane).copied().unwrap_or_default()
    }

    /// Returns whether to go on.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "a keyboard has more keys than mean something"
    )]
    pub(super) fn handle_key(&mut self, key: KeyEvent) -> bool {
        if key.kind == KeyEventKind::Release {
            return true;
        }
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if self.shows_help {
            self.shows_help = false;
            return !matches!(key.code, KeyCode::Char('q')) && !is_control;
        }
        match key.code {
            KeyCode::Char('c') if is_control => return false,
            KeyCode::Char('q') => return false,
            KeyCode::Char('?' | 'h') => self.shows_help = true,
            KeyCode::Tab | KeyCode::Right => self.focus = self.focus.next(),
            KeyCode::BackTab | KeyCode::Left => self.focus = self.focus.previous(),
            KeyCode::Enter => self.is_zoomed = !self.is_zoomed,
            KeyCode::Esc => self.is_zoomed = false,
            KeyCode::Char('s') => {
                let orders = self.focus.orders().len();
                let place = self.places.entry(self.focus).or_default();
                place.sort = (place.sort + 1) % orders.max(1);
            }
            code => self.scroll(code),
        }
        true
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "a keyboard has more keys than mean something"
    )]
    fn scroll(&mut self, code: KeyCode) {
        const PAGE: usize = 10;
        let rows = super::panes::rows(self, self.focus).len();
        let place = self.places.entry(self.focus).or_default();
        // Rows may have gone since.
        let row = place.row.min(rows.saturating_sub(1));
        let row = match code {
            KeyCode::Up | KeyCode::Char('k') => row.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => row + 1,
            KeyCode::PageUp => row.saturating_sub(PAGE),
            KeyCode::PageDown => row + PAGE,
            KeyCode::Home => 0,
            KeyCode::End => rows,
            _ => row,
        };
        place.row = row.min(rows.saturating_sub(1));
    }
}

impl Traffic {
    fn take_in(&mut self, now: Duration, neighbors: &[Neighbor]) {
        let elapsed = self.at.replace(now).map(|at| now.saturating_sub(at));
        let mut all = Rate::default();
        let mut counted = BTreeMap::new();
        // One with several links has an entry for each.
        for neighbor in neighbors {
            let bytes: &mut (u64, u64) = counted.entry(neighbor.originator_id).or_default();
            bytes.0 = bytes.0.max(neighbor.bytes_up);
            bytes.1 = bytes.1.max(neighbor.bytes_down);
        }
        if let Some(elapsed) = elapsed {
            for (id, bytes) in &counted {
                let before = self.before.get(id).copied().unwrap_or(*bytes);
                let rate = Rate {
                    up_bps: bits(before.0, bytes.0, elapsed),
                    down_bps: bits(before.1, bytes.1, elapsed),
                };
                all = all.plus(rate);
                remember(self.rates.entry(*id).or_default(), rate);
            }
            remember(&mut self.all, all);
        }
        self.rates.retain(|id, _| counted.contains_key(id));
        self.before = counted;
    }

    /// The last rate of a neighbor.
    pub(super) fn of(&self, id: OriginatorId) -> Rate {
        let rates = self.rates.get(&id);
        rates.and_then(VecDeque::back).copied().unwrap_or_default()
    }
}

impl Rate {
    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            up_bps: self.up_bps.saturating_add(other.up_bps),
            down_bps: self.down_bps.saturating_add(other.down_bps),
        }
    }

    pub(super) const fn total(self) -> u64 {
        self.up_bps.saturating_add(self.down_bps)
    }
}

fn remember(rates: &mut VecDeque<Rate>, rate: Rate) {
    rates.push_back(rate);
    if rates.len() > HISTORY {
        rates.pop_front();
    }
}

/// Counters that went back are those of another daemon, and only a base.
fn bits(before: u64, after: u64, elapsed: Duration) -> u64 {
    let bits = u128::from(after.saturating_sub(before)) * 8;
    let ms = elapsed.as_millis().max(1);
    u64::try_from(bits * 1000 / ms).unwrap_or(u64::MAX)
}
