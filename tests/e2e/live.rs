//! What happens, told and shown as it happens: `meshctl monitor` and `meshctl top`.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use control_api::{Change, Event, LinkClass, NodeRef, Role, Status};
use libtest_mimic::Trial;
use mesh_tests::air::Loss;
use mesh_tests::binaries;
use mesh_tests::daemon::{self, Files};
use mesh_tests::harness::{in_lab, note};
use mesh_tests::http::fetch;
use mesh_tests::internet::{HOST_V4, Trouble, web_at};
use mesh_tests::lab::Lab;
use mesh_tests::mesh::{wait_all_pairs, wait_online_through};
use mesh_tests::terminal::Terminal;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;
use nix::sys::signal::Signal;
use serde::Deserialize as _;
use serde_json::Value;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "monitor_tells_what_happens_in_its_order",
            || Topology::line(3),
            order,
        ),
        in_lab(
            "monitor_holds_nobody_up_and_says_what_was_missed",
            || Topology::line(1),
            slow,
        ),
        in_lab(
            "top_shows_the_village_and_leaves_the_terminal_in_order",
            || Topology::line(3),
            top,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(180);

/// `meshctl monitor` of a router, and what it has said.
struct Watching {
    child: Child,
    file: PathBuf,
    /// Lines before this one are dealt with.
    next: usize,
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Watching {
    fn start(files: &Files, options: &[&str]) -> Result<Self> {
        let file = files.directory().join("events.ndjson");
        let child = Command::new(binaries::find("meshctl")?)
            .arg("--socket")
            .arg(files.socket())
            .args(["--output", "ndjson", "monitor"])
            .args(options)
            .stdin(Stdio::null())
            .stdout(File::create(&file)?)
            .spawn()?;
        Ok(Self {
            child,
            file,
            next: 0,
        })
    }

    /// Waits for an event after the last one that was waited for.
    fn expect(&mut self, what: &str, is: impl Fn(&Change) -> bool) -> Result<Event> {
        let (file, next) = (self.file.clone(), self.next);
        let (index, event) = wait_for(what, PATIENCE, || {
            let events = events(&file)?;
            let mut later = events.iter().enumerate().skip(next);
            let found = later.find(|(_, event)| is(&event.change));
            let (index, event) = found.with_context(|| {
                let rest: Vec<String> = events
                    .iter()
                    .skip(next)
                    .map(|it| format!("{it:?}"))
                    .collect();
                format!("only {}", rest.join("\n"))
            })?;
            Ok((index, event.clone()))
        })?;
        self.next = index + 1;
        Ok(event)
    }
}

fn events(file: &Path) -> Result<Vec<Event>> {
    let text = fs::read_to_string(file)?;
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines();
    lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn is(node: Option<&NodeRef>, name: &str) -> bool {
    node.and_then(|node| node.name.as_deref()) == Some(name)
}

fn order(lab: &mut Lab) -> Result<()> {
    lab.node_mut("r1")?.config.sharing = Some("{fee: 1000000}".to_owned());
    lab.node_mut("r2")?.config.pay_any_price();
    lab.add_phone("r2")?;
    lab.add_uplink_of("r1", "100M/100M")?;
    lab.add_uplink_of("r3", "5M/1M")?;
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    wait_online_through(lab, "r2", "r1", PATIENCE)?;
    let mut r2 = Watching::start(lab.node("r2")?.files(), &[])?;
    let mut r1 = Watching::start(lab.node("r1")?.files(), &["--filter", "uplink,internet"])?;
    // r1 is filtered, so it is not seen to listen; the trouble with its uplink takes seconds to be noticed.
    wait_heard(lab, "r2", &mut r2)?;

    receipt(lab, &mut r2)?;
    switch(lab, &mut r1, &mut r2)?;
    loss(lab, &mut r2)?;
    let all = events(&r2.file)?;
    let in_order = all.windows(2).all(|pair| match pair {
        [before, after] => before.seq + 1 == after.seq && before.uptime_ms <= after.uptime_ms,
        _ => true,
    });
    ensure!(in_order, "{all:?}");
    let damage = all.iter().filter(|it| it.change == Change::TableDamaged);
    ensure!(damage.count() == 1, "told more than once: {all:?}");
    Ok(())
}

fn receipt(lab: &Lab, r2: &mut Watching) -> Result<()> {
    fetch(
        lab.node("r2")?.phone()?,
        web_at(HOST_V4),
        "/bytes/2000000",
        PATIENCE,
    )?;
    r2.expect("a receipt given", |change| {
        matches!(change, Change::Receipt { role: Role::Consumer, neighbor, .. }
            if neighbor.name.as_deref() == Some("r1"))
    })
    .map(drop)
}

/// The uplink in use dies.
fn switch(lab: &mut Lab, r1: &mut Watching, r2: &mut Watching) -> Result<()> {
    let line = lab.node("r1")?.line()?.clone();
    lab.internet_mut()?.trouble(&line, Some(Trouble::Silent))?;
    let event = r1.expect("r1 to say why its uplink is dead", |change| {
        matches!(
            change,
            Change::Uplink {
                works: false,
                reason: Some(_),
                ..
            }
        )
    })?;
    note(&format!("{:?}", event.change));
    let event = r2.expect("r2 to use r3", |change| {
        matches!(change, Change::Gateway { from, to, .. }
            if is(from.as_ref(), "r1") && is(to.as_ref(), "r3"))
    })?;
    // One family may go before the other.
    let is_reason = |change: &Change| {
        matches!(change, Change::Gateway { reason: Some(reason), .. }
            if reason.starts_with("chosen"))
    };
    ensure!(is_reason(&event.change), "{event:?}");
    r2.expect("the tunnel to r3", |change| {
        matches!(change, Change::Tunnel { gateway, tunnel: Some(_) } if is(Some(gateway), "r3"))
    })?;
    r2.expect("the way to r3", |change| {
        matches!(change, Change::Route { gateway, next_hop, hops: Some(1) }
            if is(Some(gateway), "r3") && is(next_hop.as_ref(), "r3"))
    })?;
    r2.expect("r2 to be online through r3", |change| {
        matches!(change, Change::Internet { online: true, via, .. } if is(via.as_ref(), "r3"))
    })?;
    Ok(())
}

/// Of packets, a neighbor, and the table.
fn loss(lab: &mut Lab, r2: &mut Watching) -> Result<()> {
    // So much that the link is worse, and so little that it is not lost.
    lab.air().connect("r1", "r2", Loss::percent(50))?;
    r2.expect("the link to r1 to be worse", |change| {
        matches!(change, Change::Link { node, from, to, .. } if is(Some(node), "r1") && to < from)
    })?;
    lab.air().connect("r1", "r2", Loss::NONE)?;
    r2.expect("the link to r1 to be good again", |change| {
        matches!(change, Change::Link { node, interface, to: LinkClass::Good, from, tq }
            if is(Some(node), "r1") && interface == "mesh0" && *from < LinkClass::Good && *tq >= 160)
    })?;

    lab.node("r2")?
        .namespace()
        .run("nft", "delete table inet meshd")?;
    r2.expect("the damage", |change| *change == Change::TableDamaged)?;
    r2.expect("the table to be back", |change| {
        *change == Change::TableRestored
    })?;

    lab.power_off("r3")?;
    r2.expect("r3 to be gone", |change| {
        matches!(change, Change::NeighborDown { node, interface }
            if is(Some(node), "r3") && interface == "mesh0")
    })?;
    r2.expect("no gateway to be left", |change| {
        matches!(change, Change::Gateway { from, to: None, .. } if is(from.as_ref(), "r3"))
    })?;
    r2.expect("no Internet", |change| {
        matches!(change, Change::Internet { online: false, .. })
    })?;
    Ok(())
}

/// Reloads until that is heard of.
fn wait_heard(lab: &Lab, router: &str, watching: &mut Watching) -> Result<()> {
    wait_for("the reader to be there", PATIENCE, || {
        let _: Value = lab.node(router)?.ctl("reload")?;
        ensure!(!events(&watching.file)?.is_empty());
        Ok(())
    })
}

/// As many readers as there may be, none of which reads.
fn slow(lab: &mut Lab) -> Result<()> {
    const READERS: usize = 8;
    const RELOADS: usize = 4000;
    const BATCH: usize = 50;
    const MAX_GROWTH_KIB: u64 = 1536;
    lab.start("r1")?;
    let node = lab.node_mut("r1")?;
    let socket = node.files().socket();
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(listen(&socket)?);
    }
    let refused = daemon::run("meshctl", &format!("--socket {} monitor", socket.display()))?;
    ensure!(
        refused.code == 1 && refused.err.contains("as many as may"),
        "{refused:?}"
    );
    let mut asking = UnixStream::connect(&socket)?;
    let mut answers = BufReader::new(asking.try_clone()?);
    let before = rss_kib(node.daemon()?.id())?;
    for _ in 0..RELOADS / BATCH {
        asking.write_all(
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"reload\"}\n"
                .repeat(BATCH)
                .as_bytes(),
        )?;
        for _ in 0..BATCH {
            let mut line = String::new();
            answers.read_line(&mut line)?;
            ensure!(line.contains("\"result\""), "{line}");
        }
    }
    let growth = rss_kib(node.daemon()?.id())?.saturating_sub(before);
    note(&format!(
        "{RELOADS} events, {READERS} readers that do not read: {growth} KiB"
    ));
    ensure!(growth <= MAX_GROWTH_KIB, "{growth} KiB");
    let _: Status = node.ctl("status")?;

    // Who reads again is told what it missed, and everything else in order.
    let mut reader = readers.swap_remove(0);
    let (mut missed, mut last) = (0, None);
    while last.is_none_or(|last| last + 1 < RELOADS as u64) {
        let event = next_event(&mut reader)?;
        let step = if let Change::Missed { events } = event.change {
            missed += events;
            events
        } else {
            ensure!(matches!(event.change, Change::Reload { .. }), "{event:?}");
            1
        };
        let expected = last.map_or(0, |last| last + step);
        ensure!(event.seq == expected, "{event:?} after {last:?}");
        last = Some(event.seq);
    }
    ensure!(missed > 0, "the kernel kept everything");
    note(&format!("{missed} of them missed by a reader"));
    Ok(())
}

fn listen(socket: &Path) -> Result<BufReader<UnixStream>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"monitor\"}\n")?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    ensure!(line.contains("\"result\""), "{line}");
    Ok(reader)
}

fn next_event(reader: &mut BufReader<UnixStream>) -> Result<Event> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let notification: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
    let params = notification.get("params").context("no params")?;
    Ok(Event::deserialize(params)?)
}

fn rss_kib(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let mut lines = status.lines();
    let line = lines
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn top(lab: &mut Lab) -> Result<()> {
    const LEFT: &str = "\x1b[?1049l";
    lab.add_uplink("r3")?;
    lab.start_all()?;
    wait_online_through(lab, "r2", "r3", PATIENCE)?;
    let node = lab.node_mut("r2")?;
    let mut program = Command::new(binaries::find("meshctl")?);
    program
        .arg("--socket")
        .arg(node.files().socket())
        .arg("top");
    let mut terminal = Terminal::start(&program, 80, 24)?;
    for words in [
        "Links",
        "Gateways",
        "Traffic",
        "Receipts",
        "r1",
        "r3",
        "through r3",
    ] {
        terminal.wait_text(0, words)?;
    }
    ensure!(!terminal.is_in_order()?, "keys would be echoed");

    let mark = terminal.text().len();
    terminal.press("?")?;
    terminal.wait_text(mark, "this help")?;
    terminal.press("x\t")?;
    let mark = terminal.text().len();
    terminal.resize(40, 12)?;
    terminal.wait_text(mark, "Gateways")?;

    let mark = terminal.text().len();
    node.take_daemon()?.terminate()?;
    terminal.wait_text(mark, "NO ANSWER")?;
    let mark = terminal.text().len();
    node.launch()?;
    node.daemon()?.wait_ready()?;
    terminal.wait_text(mark, "Internet")?;

    terminal.press("q")?;
    ensure!(terminal.wait_end()?.success());
    terminal.wait_text(0, LEFT)?;
    ensure!(terminal.is_in_order()?, "typing is not shown any more");

    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut terminal = Terminal::start(&program, 80, 24)?;
        terminal.wait_text(0, "Links")?;
        terminal.signal(signal)?;
        ensure!(terminal.wait_end()?.success());
        terminal.wait_text(0, LEFT)?;
        ensure!(terminal.is_in_order()?, "after {signal}");
    }
    Ok(())
}
