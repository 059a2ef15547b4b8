//! The page as a browser shows it, at the width of a small telephone.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use control_api::Position;
use control_api::page::{MapLine, MapNode};
use control_api::{NodeRef, OriginatorId, StatusPage};
use libtest_mimic::Trial;
use mesh_tests::browser::Browser;
use mesh_tests::harness::{in_lab, note};
use mesh_tests::internet::{HOST_V4, web_at};
use mesh_tests::kept;
use mesh_tests::lab::Lab;
use mesh_tests::mesh::{wait_all_pairs, wait_online_through};
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

use super::{PATIENCE, get, must_serve, on_lan, village};

pub(super) fn tests() -> Vec<Trial> {
    vec![in_lab(
        "status_page_shows_a_village_and_runs_nobodys_script",
        || Topology::line(5),
        shown,
    )]
}

const URL: &str = "http://192.168.1.1/";
/// Nodes tell of their links when they have had the time to know them; traffic is counted now and then.
const TOLD: Duration = Duration::from_secs(150);
/// A small telephone.
const WIDTH: u32 = 360;
/// The page has had an answer, and shown all of it.
const SHOWN: &str = "document.querySelectorAll('#map g').length > 0 && \
    document.getElementById('footer').textContent.indexOf('meshd') === 0";

fn shown(lab: &mut Lab) -> Result<()> {
    let phone = village(lab)?;
    lab.add_uplink("r5")?;
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    wait_online_through(lab, "r1", "r5", PATIENCE)?;
    wait_for("the page", PATIENCE, || must_serve(&phone, on_lan()))?;
    mesh_tests::http::exchange(&phone, web_at(HOST_V4), 3_000_000, PATIENCE)?;
    let place = kept::place("status-page", "about.txt", "What a telephone shows.\n")?;
    let files = lab.node("r1")?.files().directory().join("browser");
    let page = wait_for("all of it to be told", TOLD, || {
        let said = get(&phone, on_lan(), "/status.json")?;
        let page: StatusPage = serde_json::from_slice(&said.body)?;
        let links = page.map.lines.iter().filter(|line| line.tq.is_some());
        let (links, received) = (links.count(), page.traffic.received_bytes);
        ensure!(
            links == 4 && received > 1 << 20,
            "{received}: {:?}",
            page.map
        );
        Ok(page)
    })?;

    let mut browser = Browser::start(&phone, &files.join("en"), WIDTH, "en-US")?;
    browser.visit(URL, SHOWN)?;
    english(&mut browser)?;
    browser.screenshot(&place.join("village-en.png"), 2)?;
    fits(&mut browser)?;
    other_language(&mut browser)?;
    strangers(&mut browser, &page)?;
    crowd(&mut browser, &page, &place)?;
    located(&mut browser, &page)?;
    offline(&mut browser, &page, &place)?;
    drop(browser);

    let mut browser = Browser::start(&phone, &files.join("zh"), WIDTH, "zh-CN")?;
    browser.visit(URL, SHOWN)?;
    chinese(&mut browser)?;
    browser.screenshot(&place.join("village-zh.png"), 2)?;
    fits(&mut browser)?;
    gone(lab, &mut browser)?;
    note(&format!("pictures are in {}", place.display()));
    Ok(())
}

fn says(browser: &mut Browser, id: &str, wanted: &str) -> Result<()> {
    let text = browser.text(&format!("document.getElementById('{id}').innerText"))?;
    ensure!(text.contains(wanted), "{id} says {text:?}, not {wanted:?}");
    Ok(())
}

fn english(browser: &mut Browser) -> Result<()> {
    for (id, text) in [
        ("name", "r1"),
        ("network", "Mesh “laboratory”"),
        ("answer", "Internet: yes"),
        ("through", "through r5, 4 hops, for"),
        ("neighbors", "r2"),
        ("neighbors", "mesh0"),
        ("neighbors", "arrive"),
        ("size", "5 routers"),
        ("map", "r5"),
        ("received", "MiB"),
        ("earned", "0 SMT"),
        ("footer", "meshd 0."),
    ] {
        says(browser, id, text)?;
    }
    let path = browser.text("document.getElementById('path').innerText.replace(/\\s+/g, ' ')")?;
    ensure!(path.starts_with("r1 → r2 → 2 more → r5 → "), "{path}");
    let language = browser.text("document.documentElement.lang")?;
    ensure!(language == "en", "{language}");
    // What is pressed is explained.
    browser.value("document.querySelectorAll('#map g')[1].dispatchEvent(new MouseEvent('click', {bubbles: true}))")?;
    browser.wait("/hop|router/.test(document.getElementById('chosen').textContent)")?;
    browser.value("document.querySelector('#map .chosen').dispatchEvent(new MouseEvent('click', {bubbles: true}))")?;
    browser.wait("!document.querySelector('#map .chosen')")?;
    ensure!(
        browser.complaints().is_empty(),
        "{:?}",
        browser.complaints()
    );
    Ok(())
}

fn chinese(browser: &mut Browser) -> Result<()> {
    for (id, text) in [
        ("answer", "互联网：已连接"),
        ("through", "经由 r5，4 跳，已持续"),
        ("size", "5 台路由器"),
        ("legend", "本路由器"),
        ("footer", "已运行"),
    ] {
        says(browser, id, text)?;
    }
    let language = browser.text("document.documentElement.lang")?;
    ensure!(language == "zh-CN", "{language}");
    // No text is left in the other language.
    let rest = browser.text(
        "Array.prototype.map.call(document.querySelectorAll('[data-text]'), \
         function (it) { return it.textContent; }).join(' ')",
    )?;
    ensure!(!rest.chars().any(|it| it.is_ascii_alphabetic()), "{rest}");
    Ok(())
}

/// Nothing is wider than the screen, and nothing that is pressed is too small for a thumb.
fn fits(browser: &mut Browser) -> Result<()> {
    let width = browser.value("document.documentElement.scrollWidth")?;
    ensure!(width == WIDTH, "{width} pixels wide");
    let small = browser
        .value("document.getElementById('language').getBoundingClientRect().height >= 40")?;
    ensure!(small == true, "a small button");
    Ok(())
}

fn other_language(browser: &mut Browser) -> Result<()> {
    browser.value("document.getElementById('language').click()")?;
    says(browser, "answer", "互联网")?;
    browser.value("document.getElementById('language').click()")?;
    says(browser, "answer", "Internet: yes")
}

/// How strangers may call their nodes.
const NAMES: [&str; 4] = [
    "<script>window.owned = 1</script>",
    "<img src=x onerror='window.owned=1'>",
    "\"><svg onload=window.owned=1>",
    "\u{202e}{{7*7}}javascript:alert(1)",
];

/// The same page, with these names wherever there is one.
fn misnamed(page: &StatusPage) -> StatusPage {
    let mut page = page.clone();
    for (at, name) in NAMES.iter().enumerate() {
        let name = Some((*name).to_owned());
        if let Some(node) = page.map.nodes.get_mut(at) {
            node.node.name.clone_from(&name);
        }
        if let Some(step) = page.path.get_mut(at) {
            step.node.name.clone_from(&name);
        }
    }
    page.node.name = Some(NAMES[0].to_owned());
    page.network = NAMES[1].to_owned();
    page.version = NAMES[2].to_owned();
    if let Some(via) = &mut page.internet.via {
        via.name = Some(NAMES[0].to_owned());
    }
    for neighbor in &mut page.neighbors {
        neighbor.node.name = Some(NAMES[1].to_owned());
        neighbor.interface = NAMES[2].to_owned();
    }
    page
}

/// Whoever names its node like this is shown as what it is: a text.
fn strangers(browser: &mut Browser, page: &StatusPage) -> Result<()> {
    browser.answer_instead(serde_json::to_string(&misnamed(page))?)?;
    browser.visit(URL, SHOWN)?;
    says(browser, "name", "<script>window.owned = 1")?;
    says(browser, "neighbors", "<img src=x onerror=")?;
    let tags = "document.querySelectorAll('script').length === 1 && !document.querySelector('img, #map script, iframe')";
    ensure!(
        browser.value(tags)? == true,
        "a name became part of the page"
    );
    let owned = browser.value("window.owned === undefined")?;
    ensure!(owned == true, "a name was run");
    let title = browser.text("document.title")?;
    ensure!(title.starts_with("<script>"), "{title}");
    let text = browser.text("document.body.innerText")?;
    ensure!(
        !text.contains('\u{202e}'),
        "a name turns the text around it"
    );
    fits(browser)?;
    // Were one to get in, it would not be run.
    browser.value(
        "(function () { var it = document.createElement('script'); it.textContent = 'window.owned = 2'; \
         document.body.appendChild(it); it.remove(); }())",
    )?;
    ensure!(
        browser.value("window.owned === undefined")? == true,
        "the policy lets scripts in"
    );
    ensure!(
        browser
            .complaints()
            .iter()
            .any(|it| it.contains("Content Security Policy")),
        "{:?}",
        browser.complaints()
    );
    Ok(())
}

/// A hundred nodes, up to six hops away, four of them gateways.
fn crowd(browser: &mut Browser, page: &StatusPage, place: &Path) -> Result<()> {
    let mut page = page.clone();
    let own = page.map.nodes.first().context("no node")?.clone();
    page.map.nodes = vec![own];
    page.map.lines.clear();
    let mut neighbors = Vec::new();
    for number in 2..=100_u32 {
        // The first eight are neighbors, each other node hangs on an earlier one.
        let above = if number <= 9 {
            0
        } else {
            1 + (number * number / 7 + number * 5) % (number / 3 + 4).min(number - 2)
        };
        let hops = (page.map.nodes.get(above as usize))
            .and_then(|it| it.hops)
            .unwrap_or(0)
            + 1;
        let node = NodeRef {
            originator_id: OriginatorId::new([u8::try_from(number)?; 10]),
            name: Some(format!("router-{number}")),
        };
        page.map.lines.push(MapLine {
            from: usize::try_from(above)?,
            to: page.map.nodes.len(),
            hops: 1,
            tq: Some(200),
        });
        if above == 0 {
            let mut neighbor = page.neighbors.first().context("no neighbor")?.clone();
            neighbor.node = node.clone();
            neighbor.signal_dbm = Some(-48 - i32::try_from(number)? * 5);
            neighbor.tq = 255 - u8::try_from(number)? * 20;
            neighbor.usable = number < 9;
            neighbors.push(neighbor);
        }
        page.map.nodes.push(MapNode {
            node,
            hops: Some(hops),
            gateway: [17, 40, 66, 93].contains(&number),
            position: None,
        });
    }
    page.neighbors = neighbors;
    browser.answer_instead(serde_json::to_string(&page)?)?;
    browser.visit(URL, "document.querySelectorAll('#map g').length === 100")?;
    says(browser, "size", "100 routers")?;
    says(browser, "neighbors", "−58 dBm")?;
    says(browser, "neighbors", "no connection")?;
    // Two answers later there is a line to aim by.
    browser.wait("document.querySelectorAll('.trend').length === 8")?;
    fits(browser)?;
    browser.screenshot(&place.join("hundred.png"), 2)
}

/// Nodes that say where they are lie there: north is up, east is right, and one that does not say is below.
fn located(browser: &mut Browser, page: &StatusPage) -> Result<()> {
    let mut page = page.clone();
    let places = [(0, 0), (3_000, 0), (0, 3_000), (-3_000, -3_000)];
    for (node, (north, east)) in page.map.nodes.iter_mut().zip(places) {
        node.position = Some(Position {
            latitude_udeg: 48_000_000 + north,
            longitude_udeg: 11_000_000 + east,
        });
    }
    browser.answer_instead(serde_json::to_string(&page)?)?;
    browser.visit(URL, "document.querySelectorAll('#map g').length === 5")?;
    let at = |browser: &mut Browser, number: usize| -> Result<(f64, f64)> {
        let group = format!("document.querySelectorAll('#map g')[{number}]");
        let place = browser.text(&format!("{group}.getAttribute('transform')"))?;
        let place = place.trim_start_matches("translate(").trim_end_matches(')');
        let (x, y) = place.split_once(',').context("no place")?;
        Ok((x.parse()?, y.parse()?))
    };
    let (own, north, east) = (at(browser, 0)?, at(browser, 1)?, at(browser, 2)?);
    let (south_west, nowhere) = (at(browser, 3)?, at(browser, 4)?);
    let same = |a: f64, b: f64| (a - b).abs() < 1.0;
    ensure!(
        north.1 < own.1 - 20.0 && same(north.0, own.0),
        "{north:?} is not north of {own:?}"
    );
    ensure!(
        east.0 > own.0 + 20.0 && same(east.1, own.1),
        "{east:?} is not east of {own:?}"
    );
    ensure!(
        south_west.0 < own.0 && south_west.1 > own.1,
        "{south_west:?}"
    );
    // Here a degree of longitude is two thirds of one of latitude.
    let ratio = (east.0 - own.0) / (own.1 - north.1);
    ensure!((0.6..0.74).contains(&ratio), "{ratio}");
    ensure!(
        nowhere.1 > south_west.1,
        "{nowhere:?} is among those that said where they are"
    );
    Ok(())
}

fn offline(browser: &mut Browser, page: &StatusPage, place: &Path) -> Result<()> {
    let mut page = page.clone();
    page.internet.online = false;
    page.internet.since_s = 754;
    page.internet.hops = None;
    page.internet.next_hop = None;
    page.internet.last_online_s = Some(754);
    page.path.clear();
    page.neighbors.clear();
    page.map.nodes.truncate(1);
    page.map.lines.clear();
    browser.answer_instead(serde_json::to_string(&page)?)?;
    browser.visit(URL, SHOWN)?;
    says(browser, "answer", "Internet: no")?;
    says(browser, "through", "for 13 min; before that through r5")?;
    says(browser, "alone", "No other router is heard.")?;
    ensure!(
        browser.value("document.getElementById('way').hidden")? == true,
        "a path"
    );
    fits(browser)?;
    browser.screenshot(&place.join("offline.png"), 2)
}

/// A router that is switched off is said to be.
fn gone(lab: &mut Lab, browser: &mut Browser) -> Result<()> {
    lab.node_mut("r1")?.take_daemon()?.terminate()?;
    browser.wait("document.getElementById('notice').innerText.indexOf('路由器没有应答') === 0")?;
    lab.start("r1")?;
    browser.wait("document.getElementById('notice').hidden")
}
