//! The status page: who may read it, and what it does with those who do not mean well.

mod browser;
mod hostile;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use control_api::{Reloaded, StatusPage};
use libtest_mimic::Trial;
use mesh_tests::daemon;
use mesh_tests::harness::{in_lab, note};
use mesh_tests::lab::{Lab, PHONE, PHONE_V6, ROUTER_ON_LAN};
use mesh_tests::mesh::{wait_all_pairs, wait_online_through};
use mesh_tests::namespace::Namespace;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        in_lab(
            "status_page_is_for_the_lan_and_nobody_else",
            || Topology::line(2),
            reach,
        ),
        in_lab(
            "status_page_answers_what_it_is_asked_and_no_more",
            || Topology::line(2),
            answers,
        ),
        in_lab(
            "status_page_comes_and_goes_with_addresses_and_configuration",
            || Topology::line(1),
            comes_and_goes,
        ),
        in_lab(
            "status_page_survives_those_who_mean_no_good",
            || Topology::line(2),
            hostile::hostile,
        ),
        in_lab(
            "status_page_is_not_served_where_strangers_would_see_it",
            || Topology::line(1),
            refused,
        ),
    ];
    tests.extend(browser::tests());
    tests
}

const PATIENCE: Duration = Duration::from_secs(30);
const LAN_V6: &str = "fd00:1::1";

fn on_lan() -> SocketAddr {
    SocketAddr::new(ROUTER_ON_LAN.parse().unwrap_or(IpAddr::from([0; 4])), 80)
}

/// The page on the LAN of `r1`, and for its own users.
fn page() -> String {
    format!(
        "{{listen: [\"{ROUTER_ON_LAN}:80\", \"[{LAN_V6}]:80\", \"127.0.0.1:8080\"], host_names: [router.lan]}}"
    )
}

/// What came back.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends these bytes, and reads until the other side closes.
fn send(from: &Namespace, to: SocketAddr, bytes: &[u8]) -> Result<Answer> {
    let answer = from.within(|| {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(3))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(bytes)?;
        let mut answer = Vec::new();
        // Who is refused early may find the connection reset behind the answer.
        let _ = stream.read_to_end(&mut answer);
        Ok(answer)
    })?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.with_context(|| format!("{to} answered {} bytes", answer.len()))?;
    let (head, body) = answer.split_at_checked(end).unwrap_or_default();
    let head = String::from_utf8_lossy(head).into_owned();
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok(Answer {
        status,
        head,
        body: body.get(4..).unwrap_or_default().to_vec(),
    })
}

fn ask(from: &Namespace, to: SocketAddr, method: &str, path: &str, host: &str) -> Result<Answer> {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    send(from, to, head.as_bytes())
}

fn get(from: &Namespace, to: SocketAddr, path: &str) -> Result<Answer> {
    let host = match to.ip() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    ask(from, to, "GET", path, &host)
}

fn must_serve(from: &Namespace, to: SocketAddr) -> Result<()> {
    let answer = get(from, to, "/status.json")?;
    ensure!(answer.status == 200, "{to}: {}", answer.head);
    let page: StatusPage = serde_json::from_slice(&answer.body)?;
    ensure!(page.node.name.as_deref() == Some("r1"), "{page:?}");
    Ok(())
}

fn must_not_serve(from: &Namespace, to: SocketAddr) -> Result<()> {
    match get(from, to, "/") {
        Err(_) => Ok(()),
        Ok(answer) => bail!("{} reaches {to}: {}", from.name(), answer.head),
    }
}

fn village(lab: &mut Lab) -> Result<Namespace> {
    lab.add_phone("r1")?;
    lab.node_mut("r1")?.config.status_page = Some(page());
    Ok(lab.node("r1")?.phone()?.clone())
}

/// Packets for the LAN's address come to `r1` from the mesh and from the provider too.
fn reach(lab: &mut Lab) -> Result<()> {
    let phone = village(lab)?;
    lab.add_uplink("r1")?;
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    wait_for("the page", PATIENCE, || must_serve(&phone, on_lan()))?;
    must_serve(&phone, format!("[{LAN_V6}]:80").parse()?)?;
    let router = lab.node("r1")?.namespace().clone();
    must_serve(&router, "127.0.0.1:8080".parse()?)?;

    let status = lab.node("r1")?.status()?;
    let line = lab.node("r1")?.line()?.clone();
    let (provider, other) = (lab.internet()?.provider(), lab.node("r2")?.namespace());
    let to_router = router.link_local("mesh0")?;
    other.ip(&format!(
        "route add {ROUTER_ON_LAN}/32 via inet6 {to_router} dev mesh0"
    ))?;
    other.ip(&format!("route add {LAN_V6}/128 via {to_router} dev mesh0"))?;
    provider.ip(&format!("route add {ROUTER_ON_LAN}/32 via {}", line.v4))?;
    provider.ip(&format!("route add {LAN_V6}/128 via {}", line.v6))?;
    let both: [IpAddr; 2] = [ROUTER_ON_LAN.parse()?, LAN_V6.parse()?];
    let of_mesh: [IpAddr; 2] = [status.mesh_ipv6.into(), status.mesh_ipv4.into()];
    for address in of_mesh.into_iter().chain(both) {
        must_not_serve(other, SocketAddr::new(address, 80))?;
        must_not_serve(other, SocketAddr::new(address, 8080))?;
    }
    let of_line = [IpAddr::from(line.v4), IpAddr::from(line.v6)];
    for address in of_line.into_iter().chain(both) {
        must_not_serve(provider, SocketAddr::new(address, 80))?;
        must_not_serve(provider, SocketAddr::new(address, 8080))?;
    }
    // Nor does a phone reach what is for the router's own users.
    must_not_serve(&phone, SocketAddr::new(ROUTER_ON_LAN.parse()?, 8080))?;
    must_serve(&phone, on_lan())
}

fn answers(lab: &mut Lab) -> Result<()> {
    let phone = village(lab)?;
    lab.add_uplink("r2")?;
    lab.start_all()?;
    wait_online_through(lab, "r1", "r2", PATIENCE)?;
    wait_for("the page", PATIENCE, || must_serve(&phone, on_lan()))?;
    the_page(&phone)?;
    the_figures(lab, &phone)?;
    what_else_is_asked(&phone)?;
    names(&phone)
}

fn the_page(phone: &Namespace) -> Result<()> {
    let plain = get(phone, on_lan(), "/")?;
    ensure!(plain.status == 200, "{}", plain.head);
    ensure!(plain.field("content-encoding").is_none(), "{}", plain.head);
    ensure!(plain.text().starts_with("<!DOCTYPE html>"), "no page");
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("vary", "accept-encoding"),
    ] {
        ensure!(plain.field(name) == Some(value), "{name}: {}", plain.head);
    }
    let policy = plain.field("content-security-policy").context("policy")?;
    ensure!(
        policy.starts_with("default-src 'none'; script-src 'sha256-"),
        "{policy}"
    );
    ensure!(policy.ends_with("frame-ancestors 'none'"), "{policy}");
    let head = "GET / HTTP/1.1\r\nHost: router.lan\r\nAccept-Encoding: gzip, deflate\r\nConnection: close\r\n\r\n";
    let packed = send(phone, on_lan(), head.as_bytes())?;
    ensure!(
        packed.field("content-encoding") == Some("gzip"),
        "{}",
        packed.head
    );
    ensure!(packed.body.starts_with(&[0x1f, 0x8b]), "no gzip");
    ensure!(
        packed.body.len() <= 40 * 1024,
        "{} bytes",
        packed.body.len()
    );
    note(&format!(
        "the page is {} bytes, {} compressed",
        plain.body.len(),
        packed.body.len()
    ));
    let only_head = ask(phone, on_lan(), "HEAD", "/", ROUTER_ON_LAN)?;
    let length = only_head.field("content-length").context("length")?;
    ensure!(only_head.body.is_empty(), "HEAD has a body");
    ensure!(length.parse() == Ok(plain.body.len()), "{}", only_head.head);
    Ok(())
}

fn the_figures(lab: &Lab, phone: &Namespace) -> Result<()> {
    let answer = get(phone, on_lan(), "/status.json")?;
    ensure!(
        answer.field("content-type") == Some("application/json"),
        "{}",
        answer.head
    );
    ensure!(
        answer.field("cache-control") == Some("no-store"),
        "{}",
        answer.head
    );
    let page: StatusPage = serde_json::from_slice(&answer.body)?;
    let status = lab.node("r1")?.status()?;
    ensure!(page.schema == 1 && page.internet.online, "{page:?}");
    ensure!(page.internet.via == status.internet.via, "{page:?}");
    let names: Vec<_> = page
        .path
        .iter()
        .map(|step| step.node.name.as_deref())
        .collect();
    ensure!(names == [Some("r1"), Some("r2")], "{names:?}");
    ensure!(
        page.neighbors.len() == 1 && page.map.nodes.len() == 2,
        "{page:?}"
    );
    let metrics = get(phone, on_lan(), "/metrics")?;
    let told = lab.node("r1")?.ctl_text("metrics")?;
    let kind = metrics.field("content-type").unwrap_or_default();
    ensure!(
        kind.starts_with("text/plain; version=0.0.4"),
        "{}",
        metrics.head
    );
    // Figures change, names do not.
    let series = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| match line.starts_with('#') {
            true => line,
            false => line.rsplit_once(' ').map_or(line, |(series, _)| series),
        });
        lines
            .filter(|line| !line.contains("dropped"))
            .map(str::to_owned)
            .collect()
    };
    ensure!(
        series(&metrics.text()) == series(&told),
        "{}",
        metrics.text()
    );
    Ok(())
}

fn what_else_is_asked(phone: &Namespace) -> Result<()> {
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("GET", "//", 404),
        ("GET", "/../etc/passwd", 404),
        ("GET", "/status.json/", 404),
        ("GET", "/?a=b", 200),
        ("POST", "/", 405),
        ("PUT", "/status.json", 405),
        ("DELETE", "/metrics", 405),
        ("OPTIONS", "/", 405),
        ("POST", "/nothing", 404),
    ] {
        let answer = ask(phone, on_lan(), method, path, ROUTER_ON_LAN)?;
        ensure!(answer.status == status, "{method} {path}: {}", answer.head);
        ensure!(
            answer.field("x-content-type-options").is_some(),
            "{}",
            answer.head
        );
        if status == 405 {
            ensure!(
                answer.field("allow") == Some("GET, HEAD"),
                "{}",
                answer.head
            );
        }
    }
    Ok(())
}

fn names(phone: &Namespace) -> Result<()> {
    for (host, status) in [
        (ROUTER_ON_LAN, 200),
        ("192.168.1.1:80", 200),
        ("localhost", 200),
        ("router.lan", 200),
        ("R1.mesh", 200),
        ("r2.mesh", 421),
        ("evil.example", 421),
        ("192.168.1.1.evil.example", 421),
        ("192.168.1.2", 421),
    ] {
        for path in ["/", "/status.json", "/metrics", "/nothing"] {
            let wanted = if status == 200 && path == "/nothing" {
                404
            } else {
                status
            };
            let answer = ask(phone, on_lan(), "GET", path, host)?;
            ensure!(answer.status == wanted, "{host} {path}: {}", answer.head);
        }
    }
    let nameless = send(
        phone,
        on_lan(),
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
    )?;
    ensure!(nameless.status == 421, "{}", nameless.head);
    Ok(())
}

fn comes_and_goes(lab: &mut Lab) -> Result<()> {
    let phone = village(lab)?;
    let router = lab.node("r1")?.namespace().clone();
    router.ip(&format!("addr del {ROUTER_ON_LAN}/24 dev lan0"))?;
    lab.start_all()?;
    let v6 = format!("[{LAN_V6}]:80").parse()?;
    wait_for("the page over IPv6", PATIENCE, || must_serve(&phone, v6))?;
    must_not_serve(&phone, on_lan())?;

    router.ip(&format!("addr add {ROUTER_ON_LAN}/24 dev lan0"))?;
    wait_for("the page at the new address", PATIENCE, || {
        must_serve(&phone, on_lan())
    })?;

    // As when netifd makes a bridge anew.
    router.ip("link del lan0")?;
    router.ip_batch(&format!(
        "link add lan0 type veth peer name eth0 netns {}\n\
         addr add {ROUTER_ON_LAN}/24 dev lan0\n",
        phone.name()
    ))?;
    router.bring_up("lan0")?;
    phone.bring_up("eth0")?;
    phone.ip_batch(&format!(
        "addr add {PHONE}/24 dev eth0\naddr add {PHONE_V6}/64 dev eth0 nodad\n"
    ))?;
    wait_for("the page on the new interface", PATIENCE, || {
        must_serve(&phone, on_lan())
    })?;

    configured_otherwise(lab, &phone)
}

fn configured_otherwise(lab: &mut Lab, phone: &Namespace) -> Result<()> {
    let reload = |lab: &mut Lab, page: Option<String>| -> Result<()> {
        let node = lab.node_mut("r1")?;
        node.config.status_page = page;
        node.files().write_config(&node.config)?;
        let reloaded: Reloaded = node.ctl("reload")?;
        ensure!(reloaded.changed == ["status_page"], "{reloaded:?}");
        Ok(())
    };
    let listen = format!("listen: [\"{ROUTER_ON_LAN}:80\"]");
    reload(lab, Some(format!("{{{listen}, metrics: off}}")))?;
    wait_for("metrics to be off", PATIENCE, || {
        let answer = get(phone, on_lan(), "/metrics")?;
        ensure!(answer.status == 404, "{}", answer.head);
        Ok(())
    })?;
    let answer = ask(phone, on_lan(), "GET", "/", "router.lan")?;
    ensure!(answer.status == 421, "a name of before: {}", answer.head);

    reload(lab, None)?;
    wait_for("the page to be gone", PATIENCE, || {
        must_not_serve(phone, on_lan())
    })?;

    // Somebody else is there.
    let router = lab.node("r1")?.namespace().clone();
    let other = router.within(|| Ok(std::net::TcpListener::bind(on_lan())?))?;
    reload(lab, Some(format!("{{{listen}}}")))?;
    let warnings = lab.node("r1")?.status()?.warnings;
    ensure!(
        warnings
            .iter()
            .any(|it| it.contains("192.168.1.1:80 on lan0")),
        "{warnings:?}"
    );
    drop(other);
    reload(lab, Some(format!("{{{listen}, metrics: off}}")))?;
    wait_for("the page where somebody else was", PATIENCE, || {
        must_serve(phone, on_lan())
    })?;
    let warnings = lab.node("r1")?.status()?.warnings;
    ensure!(
        !warnings.iter().any(|it| it.contains("page")),
        "{warnings:?}"
    );
    // A successor takes the place of its predecessor at once.
    lab.node_mut("r1")?.take_daemon()?.hand_over()?;
    lab.start("r1")?;
    wait_for("the page of the successor", PATIENCE, || {
        must_serve(phone, on_lan())
    })
}

fn refused(lab: &mut Lab) -> Result<()> {
    lab.add_phone("r1")?;
    lab.add_uplink("r1")?;
    lab.settle()?;
    let router = lab.node("r1")?.namespace().clone();
    router.ip("addr add 10.9.9.9/32 dev wan0")?;
    router.ip("addr add 10.8.8.8/32 dev mesh0")?;
    for (at, mentioned) in [
        ("0.0.0.0:80", "every address"),
        ("[::]:80", "every address"),
        (
            "198.51.100.2:80",
            "neither private nor in a prefix of a lan",
        ),
        ("10.9.9.9:80", "is an address of wan0, which is no lan"),
        ("10.8.8.8:80", "is an address of mesh0, which is no lan"),
    ] {
        let node = lab.node_mut("r1")?;
        node.config.status_page = Some(format!("{{listen: [\"{at}\"]}}"));
        node.files().write_config(&node.config)?;
        let arguments = format!("--check --config {}", node.files().config().display());
        let finished = router.within(|| daemon::run("meshd", &arguments))?;
        ensure!(finished.code == 2, "{at}: {finished:?}");
        let line = finished.err.trim();
        ensure!(
            line.contains(mentioned) && line.contains("status_page.listen[0]"),
            "{line}"
        );
        ensure!(line.lines().count() == 1, "{line}");
    }
    Ok(())
}
