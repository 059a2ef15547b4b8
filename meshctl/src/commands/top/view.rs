//! A frame, as a function of the model alone.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Paragraph};

use super::model::{Model, Snapshot};
use super::panes::{self, Column, Pane, Row, State};
use crate::bars::bars;
use crate::format;

/// Where four panes have room, side by side and one above the other.
const GRID: (u16, u16) = (76, 18);

const KEYS: [(&str, &str); 9] = [
    ("Tab, ← →", "the next pane, the one before"),
    ("↑ ↓ PgUp PgDn", "the rows of a pane"),
    ("Home End", "the first row, the last one"),
    ("Enter", "this pane alone, with more columns; again: all"),
    ("s", "another order of its rows"),
    ("?", "this help; any key ends it"),
    ("q, Ctrl-C", "end"),
    ("", ""),
    ("TQ", "quality of a link, 0 to 255; COST: its airtime"),
];

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let [head, body, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(header(model, head.width), head);
    let is_grid = !model.is_zoomed && body.width >= GRID.0 && body.height >= GRID.1;
    if is_grid {
        for (pane, area) in grid(body) {
            draw_pane(frame, model, pane, area);
        }
    } else {
        draw_pane(frame, model, model.focus, body);
    }
    frame.render_widget(footer(model, is_grid), foot);
    if model.shows_help {
        draw_help(frame, body);
    }
}

fn grid(area: Rect) -> [(Pane, Rect); 4] {
    let halves = [Constraint::Percentage(50), Constraint::Percentage(50)];
    let [above, below] = Layout::vertical(halves).areas(area);
    let [links, gateways] = Layout::horizontal(halves).areas(above);
    let [traffic, receipts] = Layout::horizontal(halves).areas(below);
    [
        (Pane::Links, links),
        (Pane::Gateways, gateways),
        (Pane::Traffic, traffic),
        (Pane::Receipts, receipts),
    ]
}

/// What a villager wants to know, and whether it is true still.
fn header(model: &Model, width: u16) -> Paragraph<'static> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let state = match (&model.lost, &model.snapshot) {
        (Some((since, error)), _) => {
            let s = model.now.saturating_sub(*since).as_secs();
            let text = format!(
                "NO ANSWER for {}: {}",
                format::seconds(s),
                format::harmless(error)
            );
            Line::styled(
                cut(&text, width),
                colored(model, Color::Red).add_modifier(Modifier::REVERSED),
            )
        }
        (None, Some(snapshot)) => {
            let color = match snapshot.status.internet.online {
                true => Color::Green,
                false => Color::Red,
            };
            let text = super::super::status::internet(&snapshot.status.internet);
            Line::styled(cut(&text, width), colored(model, color))
        }
        (None, None) => Line::raw("…"),
    };
    let node = model.snapshot.as_ref().map(node).unwrap_or_default();
    Paragraph::new(vec![Line::styled(cut(&node, width), bold), state])
}

fn node(snapshot: &Snapshot) -> String {
    let status = &snapshot.status;
    let warnings = match status.warnings.len() {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        count => format!(", {count} warnings"),
    };
    format!(
        "{} in {}: {} neighbors, {} nodes, {} gateways, up {}{warnings}",
        format::name(Some(&status.name)),
        format::cut(&status.network, 20),
        status.neighbors,
        status.originators,
        status.gateways,
        format::seconds(status.uptime_s)
    )
}

/// The most important keys first: a small screen has no room for all.
fn footer(model: &Model, is_grid: bool) -> Line<'static> {
    let zoom = match (is_grid, model.is_zoomed) {
        (true, _) => "  Enter zoom",
        (false, true) => "  Enter all panes",
        (false, false) => "",
    };
    Line::raw(format!(" q quit  ? help  Tab pane  s sort  ↑↓ rows{zoom}"))
}

fn draw_pane(frame: &mut Frame<'_>, model: &Model, pane: Pane, area: Rect) {
    let has_focus = model.focus == pane;
    let rows = panes::rows(model, pane);
    let title = title(model, pane, rows.len());
    let block = Block::bordered().title(title).border_type(match has_focus {
        true => BorderType::Double,
        false => BorderType::Plain,
    });
    let inner = block.inner(area);
    frame.render_widget(block, area);
    if rows.is_empty() {
        frame.render_widget(Paragraph::new(pane.empty()), inner);
        return;
    }
    let columns = Fitted::new(pane.columns(), inner.width.into());
    let heading = Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED);
    let mut lines = vec![Line::styled(columns.heading(), heading)];
    let room = usize::from(inner.height).saturating_sub(1);
    let selected = model.place(pane).row.min(rows.len() - 1);
    let first = (selected + 1).saturating_sub(room);
    for (index, row) in rows.iter().enumerate().skip(first).take(room) {
        let style = style(model, row.state);
        let is_selected = has_focus && index == selected;
        lines.push(Line::from(Span::styled(
            columns.row(row),
            match is_selected {
                true => style.add_modifier(Modifier::REVERSED),
                false => style,
            },
        )));
    }
    frame.render_widget(Paragraph::new(lines), inner);
}

fn title(model: &Model, pane: Pane, rows: usize) -> String {
    // The sum of all traffic is a row, but no neighbor.
    let count = match pane {
        Pane::Traffic => rows.saturating_sub(1),
        Pane::Links | Pane::Gateways | Pane::Receipts => rows,
    };
    let name = pane.title();
    if model.focus != pane {
        return format!(" {name} ({count}) ");
    }
    let place = model.place(pane);
    let order = pane.orders().get(place.sort).copied().unwrap_or_default();
    format!("▶ {name} ({count}) by {order} ")
}

/// Without colours where they are not wanted.
fn colored(model: &Model, color: Color) -> Style {
    match model.has_colors {
        true => Style::new().fg(color),
        false => Style::new(),
    }
}

fn style(model: &Model, state: State) -> Style {
    match state {
        State::Plain => Style::new(),
        State::Good => colored(model, Color::Green).add_modifier(Modifier::BOLD),
        State::Bad => colored(model, Color::Red),
    }
}

/// As many columns as there is room for.
struct Fitted {
    columns: Vec<(&'static Column, usize)>,
}

impl Fitted {
    fn new(columns: &'static [Column], width: usize) -> Self {
        let mut fitted: Vec<(&'static Column, usize)> = Vec::new();
        let mut room = width;
        for column in columns {
            let gap = usize::from(!fitted.is_empty());
            let Some(rest) = room.checked_sub(column.width + gap) else {
                break;
            };
            room = rest;
            fitted.push((column, column.width));
        }
        // A sparkline and a reason make use of everything, and names grow as far as they go.
        let grows = fitted.iter().position(|(column, _)| column.grows);
        let for_name = if grows.is_some() { room / 2 } else { room };
        if let Some((_, width)) = fitted.first_mut() {
            let more = for_name.min(format::NAME_CHARS.saturating_sub(*width));
            *width += more;
            room -= more;
        }
        if let Some((_, width)) = grows.and_then(|index| fitted.get_mut(index)) {
            *width += room;
        }
        Self { columns: fitted }
    }

    fn heading(&self) -> String {
        let cells = self.columns.iter();
        let cells = cells.map(|(column, width)| cell(column.heading, column, *width));
        cells.collect::<Vec<_>>().join(" ")
    }

    fn row(&self, row: &Row) -> String {
        let cells = self.columns.iter().zip(&row.cells);
        let cells = cells.map(|((column, width), text)| match column.heading {
            "" => sparkline(&row.history, *width),
            _ => cell(text, column, *width),
        });
        cells.collect::<Vec<_>>().join(" ")
    }
}

fn cell(text: &str, column: &Column, width: usize) -> String {
    let text = format::cut(text, width);
    match column.is_number {
        true => format!("{text:>width$}"),
        false => format!("{text:<width$}"),
    }
}

/// The newest at the right end.
fn sparkline(history: &[u128], width: usize) -> String {
    let newest = history.get(history.len().saturating_sub(width)..);
    let line = bars(newest.unwrap_or_default(), 1, 1).concat();
    let missing = newest.map_or(0, <[u128]>::len);
    // What is 0 at the end was cut off.
    format!("{:>width$}", format!("{line:<missing$}"))
}

fn draw_help(frame: &mut Frame<'_>, body: Rect) {
    let width = body.width.min(66);
    let height = body
        .height
        .min(u16::try_from(KEYS.len()).unwrap_or(u16::MAX) + 2);
    let area = Rect {
        x: body.x + (body.width - width) / 2,
        y: body.y + (body.height - height) / 2,
        width,
        height,
    };
    let lines = KEYS
        .iter()
        .map(|(key, what)| Line::raw(format!(" {key:<14} {what}")));
    frame.render_widget(Clear, area);
    let block = Block::bordered().title(" Keys ");
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

fn cut(text: &str, width: u16) -> String {
    format::cut(text, width.into())
}
