//! Those who mean no good: what is no request, what never becomes one, and many of them.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mesh_tests::crowd::allow_files;
use mesh_tests::harness::note;
use mesh_tests::lab::{Lab, ROUTER_ON_LAN};
use mesh_tests::mesh::wait_all_pairs;
use mesh_tests::namespace::Namespace;
use mesh_tests::wait::wait_for;

use super::{PATIENCE, must_serve, on_lan, send, village};

pub(super) fn hostile(lab: &mut Lab) -> Result<()> {
    let phone = village(lab)?;
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    wait_for("the page", PATIENCE, || must_serve(&phone, on_lan()))?;
    malformed(&phone)?;
    slow(&phone)?;
    crowd(&phone)?;
    must_serve(&phone, on_lan())?;
    ensure!(
        lab.node_mut("r1")?.daemon()?.is_running()?,
        "meshd has ended"
    );
    let neighbors = lab.node("r1")?.status()?.neighbors;
    ensure!(neighbors == 1, "{neighbors} neighbors");
    Ok(())
}

fn malformed(phone: &Namespace) -> Result<()> {
    let host = format!("Host: {ROUTER_ON_LAN}\r\nConnection: close\r\n");
    let long = "a".repeat(9000);
    let mut many = String::new();
    for number in 0..500 {
        let _ = write!(many, "a{number}: b\r\n");
    }
    for (what, bytes, allowed) in [
        (
            "nothing of HTTP",
            "\u{1}\u{2}\u{3}\r\n\r\n".to_owned(),
            vec![400],
        ),
        (
            "a long path",
            format!("GET /{long} HTTP/1.1\r\n{host}\r\n"),
            vec![414, 431],
        ),
        (
            "a long field",
            format!("GET / HTTP/1.1\r\n{host}X: {long}\r\n\r\n"),
            vec![431],
        ),
        (
            "many fields",
            format!("GET / HTTP/1.1\r\n{host}{many}\r\n"),
            vec![431],
        ),
        (
            "two lengths",
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            vec![400],
        ),
        ("no version", format!("GET /\r\n{host}\r\n"), vec![400]),
        (
            "two hosts",
            format!("GET / HTTP/1.1\r\n{host}Host: {ROUTER_ON_LAN}\r\n\r\n"),
            vec![421],
        ),
        (
            "a stranger in the request line",
            format!("GET http://evil.example/ HTTP/1.1\r\n{host}\r\n"),
            vec![421],
        ),
        (
            "a proxy's request",
            format!("CONNECT evil.example:443 HTTP/1.1\r\n{host}\r\n"),
            vec![421],
        ),
    ] {
        let answer = send(phone, on_lan(), bytes.as_bytes()).with_context(|| what.to_owned())?;
        ensure!(allowed.contains(&answer.status), "{what}: {}", answer.head);
    }
    // A body nobody reads: the answer comes before its end.
    let head = format!("POST / HTTP/1.1\r\n{host}Content-Length: 1000000000\r\n\r\n");
    let answer = send(phone, on_lan(), head.as_bytes())?;
    ensure!(answer.status == 405, "{}", answer.head);
    Ok(())
}

/// Half a request, and a reader that does not read: neither may stay.
fn slow(phone: &Namespace) -> Result<()> {
    let begin = Instant::now();
    let closed =
        phone.within(|| {
            let mut stream = TcpStream::connect(on_lan())?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: ")?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut rest = Vec::new();
            // An end, or a reset.
            let ended = stream.read_to_end(&mut rest);
            Ok(ended.is_ok()
                || ended.is_err_and(|it| it.kind() == std::io::ErrorKind::ConnectionReset))
        })?;
    let after = begin.elapsed();
    ensure!(closed, "half a request keeps its connection for {after:?}");
    ensure!((4..12).contains(&after.as_secs()), "closed after {after:?}");
    note(&format!(
        "half a request is closed after {:.1} s",
        after.as_secs_f64()
    ));
    Ok(())
}

/// Many who connect and say nothing, from one address and from many: a browser is answered all the same.
fn crowd(phone: &Namespace) -> Result<()> {
    let hosts: Vec<Ipv4Addr> = (101..=220)
        .map(|it| Ipv4Addr::new(192, 168, 1, it))
        .collect();
    let lines = hosts
        .iter()
        .map(|host| format!("addr replace {host}/24 dev eth0\n"));
    phone.ip_batch(&lines.collect::<String>())?;
    allow_files(5 * hosts.len())?;
    let mut held = Vec::new();
    for _ in 0..5 {
        for host in &hosts {
            let mut stream = phone.within(|| connect_from(*host))?;
            // It may have lost its place by then.
            let _ = stream.write_all(b"GET / HT");
            held.push(stream);
        }
        let begin = Instant::now();
        must_serve(phone, on_lan())?;
        let took = begin.elapsed();
        ensure!(took < Duration::from_secs(2), "a browser waits {took:?}");
        thread::sleep(Duration::from_millis(50));
    }
    note(&format!(
        "{} silent connections of {} hosts",
        held.len(),
        hosts.len()
    ));
    Ok(())
}

/// A connection from this address.
fn connect_from(from: Ipv4Addr) -> Result<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from.into(), 0).into())?;
    socket.connect_timeout(&on_lan().into(), Duration::from_secs(3))?;
    Ok(socket.into())
}
