//! Frames as they are drawn; `UPDATE_GOLDEN=1` writes them anew.

use std::path::Path;
use std::time::Duration;

use control_api::{Account, Accounts, AttoSmt, Gateways, NodeId, OriginatorId, Status};
use control_api::{Gateway, Neighbor, Neighbors, Quality, Role};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;
use serde::de::DeserializeOwned;

use super::model::{Model, Snapshot};
use super::panes::Pane;
use super::view;

fn sample<T: DeserializeOwned>(name: &str) -> T {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/control-api/tests/golden");
    serde_json::from_str(&std::fs::read_to_string(golden.join(name)).unwrap()).unwrap()
}

/// Numbers that look like some, the same each time.
fn scattered(seed: usize, below: usize) -> usize {
    (seed * 7919 + 104_729) % 7907 % below
}

/// A node in the middle of others, so many seconds after its start.
fn snapshot(nodes: usize, second: u64) -> Snapshot {
    let others: Vec<usize> = (2..=nodes).collect();
    let status = Status {
        neighbors: u32::try_from(others.len()).unwrap(),
        originators: u32::try_from(nodes).unwrap(),
        gateways: u32::try_from(others.iter().filter(|it| *it % 3 == 2).count()).unwrap(),
        uptime_s: 7380 + second,
        ..sample("status-gateway.json")
    };
    Snapshot {
        status,
        neighbors: others
            .iter()
            .map(|number| neighbor(*number, second))
            .collect(),
        gateways: others
            .iter()
            .filter(|it| *it % 3 == 2)
            .map(|it| gateway(*it))
            .collect(),
        accounts: others.iter().map(|number| account(*number)).collect(),
    }
}

fn id(number: usize) -> [u8; 32] {
    let mut id = [u8::try_from(number).unwrap(); 32];
    id[0] = u8::try_from(scattered(number, 256)).unwrap();
    id
}

fn neighbor(number: usize, second: u64) -> Neighbor {
    let mut all: Neighbors = sample("neighbors.json");
    let carried = scattered(number, 400) as u64 * 1000 * (second * second % 7 + second * 3);
    let tq = u8::try_from(255 - scattered(number, 200)).unwrap();
    Neighbor {
        originator_id: OriginatorId::new(id(number)[..10].try_into().unwrap()),
        name: (number != 4).then(|| format!("router-{number}")),
        interface: "mesh0".to_owned(),
        tq,
        rx_quality: Quality::new(f64::from(tq) / 255.0),
        tx_quality: Quality::new(1.0),
        cost_us: (number != 5).then(|| 153_000 / u64::from(tq)),
        last_heard_ms: scattered(number, 2400) as u64,
        up_since_s: Some(7000),
        bytes_up: carried / 10,
        bytes_down: carried,
        ..all.neighbors.swap_remove(0)
    }
}

fn gateway(number: usize) -> Gateway {
    let mut all: Gateways = sample("gateways.json");
    let is_used = number == 2;
    Gateway {
        originator_id: OriginatorId::new(id(number)[..10].try_into().unwrap()),
        name: format!("router-{number}"),
        selected: is_used,
        used_for: Vec::new(),
        hops: (number != 5).then_some(u32::try_from(1 + number / 20).unwrap()),
        cost_us: Some(scattered(number, 9000) as u64),
        reason: match is_used {
            true => "chosen: lowest cost, 1.9 ms".to_owned(),
            false => "costs 2.4 ms, not 15 % less than 1.9 ms".to_owned(),
        },
        ..all.gateways.swap_remove(0)
    }
}

fn account(number: usize) -> Account {
    let mut all: Accounts = sample("receipts-list.json");
    let amount = scattered(number, 5000) as u128 * 1_000_000_000_000_000;
    Account {
        node_id: NodeId::new(id(number)),
        name: (number != 4).then(|| format!("router-{number}")),
        role: match number % 4 {
            2 => Role::Consumer,
            _ => Role::Provider,
        },
        held: number == 3,
        unsigned_bytes: scattered(number, 9000) as u64 * 1000,
        amount_atto: AttoSmt::new(amount),
        earlier_amount_atto: AttoSmt::new(0),
        unpaid_atto: Some(AttoSmt::new(amount / 100)),
        last_receipt_age_s: Some(scattered(number, 4000) as u64),
        equivocated: false,
        ..all.accounts.swap_remove(0)
    }
}

/// After half a minute.
fn model(nodes: usize) -> Model {
    let mut model = Model::new(true);
    for second in 0..30 {
        model.take_in(Duration::from_secs(second), Ok(snapshot(nodes, second)));
    }
    model
}

fn press(model: &mut Model, code: KeyCode) -> bool {
    model.handle_key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn terminal(model: &Model, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, model)).unwrap();
    terminal
}

fn text(model: &Model, width: u16, height: u16) -> String {
    let terminal = terminal(model, width, height);
    let buffer = terminal.backend().buffer();
    let row = |y| -> String { (0..width).map(|x| buffer[(x, y)].symbol()).collect() };
    (0..height)
        .map(|y| row(y).trim_end().to_owned() + "\n")
        .collect()
}

#[track_caller]
fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{name}");
}

#[test]
fn villages_of_5_and_of_100_fit_the_screen() {
    assert_golden("top-5.txt", &text(&model(5), 80, 24));
    assert_golden("top-100.txt", &text(&model(100), 80, 24));
}

#[test]
fn one_pane_fits_a_small_screen() {
    let mut model = model(5);
    assert_golden("top-small.txt", &text(&model, 40, 12));
    press(&mut model, KeyCode::Tab);
    press(&mut model, KeyCode::Tab);
    assert_golden("top-small-traffic.txt", &text(&model, 40, 12));
}

#[test]
fn a_pane_alone_has_more_columns() {
    let mut model = model(100);
    press(&mut model, KeyCode::Enter);
    assert_golden("top-links.txt", &text(&model, 80, 24));
    press(&mut model, KeyCode::Tab);
    assert_golden("top-gateways.txt", &text(&model, 80, 24));
}

#[test]
fn help_is_shown_until_a_key() {
    let mut model = model(5);
    press(&mut model, KeyCode::Char('?'));
    assert_golden("top-help.txt", &text(&model, 80, 24));
    assert!(press(&mut model, KeyCode::Char('x')));
    assert!(!text(&model, 80, 24).contains("Keys"));
}

#[test]
fn a_daemon_that_is_gone_is_shown_and_comes_back() {
    let mut model = model(5);
    for second in 30..34 {
        model.take_in(
            Duration::from_secs(second),
            Err("meshd is not running".into()),
        );
    }
    let lost = text(&model, 80, 24);
    assert!(
        lost.contains("NO ANSWER for 3s: meshd is not running"),
        "{lost}"
    );
    assert!(lost.contains("router-2"), "what was known stays: {lost}");

    model.take_in(Duration::from_secs(34), Ok(snapshot(5, 1)));
    let back = text(&model, 80, 24);
    assert!(back.contains("Internet: yes"), "{back}");
    let all = back.lines().find(|line| line.contains("all ")).unwrap();
    let rates: Vec<&str> = all.split_whitespace().skip(1).take(2).collect();
    assert_eq!(rates, ["0", "0"], "counters went back: {all}");
}

#[test]
fn keys_do_what_the_help_says() {
    let mut model = model(100);
    assert_eq!(model.focus, Pane::Links);
    press(&mut model, KeyCode::BackTab);
    assert_eq!(model.focus, Pane::Receipts);
    press(&mut model, KeyCode::Tab);
    press(&mut model, KeyCode::Char('s'));
    assert!(text(&model, 80, 24).contains("▶ Links (99) by name"));
    press(&mut model, KeyCode::End);
    assert!(
        text(&model, 80, 24).contains("router-99"),
        "the last by name"
    );
    press(&mut model, KeyCode::Home);
    press(&mut model, KeyCode::Up);
    assert_eq!(model.place(Pane::Links).row, 0);
    assert!(!press(&mut model, KeyCode::Char('q')));
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert!(!model.handle_key(control_c));
}

#[test]
fn without_colours_nothing_is_coloured_and_all_is_said() {
    let mut model = model(5);
    let with = text(&model, 80, 24);
    model.has_colors = false;
    assert_eq!(text(&model, 80, 24), with);
    let terminal = terminal(&model, 80, 24);
    let mut cells = terminal.backend().buffer().content().iter();
    assert!(cells.all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
}

fn sizes() -> impl Iterator<Item = (u16, u16)> {
    let heights = [0, 1, 2, 3, 5, 9, 24, 60];
    let widths = [0, 1, 2, 3, 9, 12, 20, 39, 66, 76, 80, 200];
    widths
        .into_iter()
        .flat_map(move |width| heights.map(|height| (width, height)))
}

#[test]
fn no_size_is_too_small_and_no_answer_too_empty() {
    let mut empty = snapshot(1, 0);
    empty.gateways.clear();
    let mut of_nothing = Model::new(true);
    of_nothing.take_in(Duration::ZERO, Ok(empty));
    for mut model in [Model::new(true), of_nothing, model(5)] {
        for pane in Pane::ALL {
            assert_eq!(model.focus, pane);
            for shows_help in [false, true] {
                model.shows_help = shows_help;
                for (width, height) in sizes() {
                    terminal(&model, width, height);
                }
            }
            model.shows_help = false;
            press(&mut model, KeyCode::Tab);
        }
    }
}
