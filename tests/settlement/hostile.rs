//! Whoever means it badly gets a clear answer, and others do not notice.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::harness::note;
use mesh_tests::redeemd::{Redeemd, Settings};
use mesh_tests::rest::{self, Answer};
use mesh_tests::wait::wait_for;
use nix::libc::linger;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Linger;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use redeem_api::Problem;
use serde_json::json;
use std::os::fd::AsRawFd;

use crate::exports::Trade;
use crate::valley::{Person, Valley, with_sqlite};

const PATIENCE: Duration = Duration::from_secs(30);

/// What the memory of the service may grow by, in KiB, whatever is done to it: less than a tenth of what
/// is sent.
const GROWTH_KIB: u64 = 48 << 10;

/// A socket that is closed is reset.
const RESET: linger = linger {
    l_onoff: 1,
    l_linger: 0,
};

/// Claims of the most bytes that are taken.
const CLAIM_BYTES: usize = 4 << 20;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        with_sqlite("every_truncation_and_flip_of_an_export_is_refused", exports),
        with_sqlite("requests_of_no_sense_are_answered", requests),
        with_sqlite("too_much_is_refused_before_it_is_read", too_much),
        with_sqlite("who_is_slow_keeps_nobody_waiting", slow),
        with_sqlite("thousands_of_connections_of_one_client_are_not_kept", idle),
        with_sqlite("who_does_not_leave_after_the_answer_is_counted", lingering),
        with_sqlite("bodies_that_never_end_do_not_fill_the_memory", memory),
        with_sqlite("who_comes_too_often_is_told_to_wait", too_often),
        with_sqlite("who_hangs_up_stops_nobody", hanging_up),
    ]
}

/// That it is a problem, and says what to do.
pub(crate) fn is_problem(answer: &Answer, status: u16) -> Result<Problem> {
    ensure!(
        answer.status == status,
        "{}: {}",
        answer.status,
        answer.text()
    );
    let kind = answer.header("content-type");
    ensure!(
        kind == Some("application/problem+json"),
        "{kind:?}: {}",
        answer.text()
    );
    let problem: Problem = serde_json::from_slice(&answer.body)?;
    ensure!(
        problem.status == status && !problem.detail.is_empty(),
        "{problem:?}"
    );
    ensure!(problem.remedy.len() > 10, "{problem:?}");
    Ok(problem)
}

fn head(path: &str, more: &str) -> String {
    format!("{path} HTTP/1.1\r\nHost: redeemd\r\n{more}\r\n")
}

fn claim_head(length: usize) -> String {
    let fields = format!(
        "Content-Type: {}\r\nContent-Length: {length}\r\n",
        redeem_api::CLAIM_TYPE
    );
    head("POST /v1/claims", &fields)
}

fn small_export() -> Result<Vec<u8>> {
    let (relay, phone) = (Person::new("relay")?, Person::new("phone")?);
    let trade = Trade {
        network: "village",
        provider: &relay.node,
        consumer: &phone.node,
    };
    trade.export([(1, 1)])
}

fn exports(valley: &Valley) -> Result<()> {
    let service = valley.start()?;
    let export = small_export()?;
    let mut stream = BufReader::new(rest::connect(service.address, PATIENCE)?);
    let mut bring = |bytes: &[u8]| {
        let request = [claim_head(bytes.len()).as_bytes(), bytes].concat();
        stream.get_mut().write_all(&request)?;
        rest::read_answer(&mut stream)
    };
    ensure!(bring(&export)?.status == 200, "the export itself");
    let mut refused = 0;
    for length in 0..export.len() {
        is_refused(&bring(&export[..length])?).with_context(|| format!("{length} bytes"))?;
        refused += 1;
    }
    for bit in 0..8 * export.len() {
        let mut flipped = export.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        is_refused(&bring(&flipped)?).with_context(|| format!("bit {bit}"))?;
        refused += 1;
    }
    note(&format!("{refused} exports refused"));
    ensure!(!service.said().contains("panicked"), "{}", service.said());
    drop(stream);
    service.stop()
}

/// As no export, or as one in which something does not hold.
fn is_refused(answer: &Answer) -> Result<()> {
    let expected = if answer.status == 400 { 400 } else { 422 };
    is_problem(answer, expected).map(drop)
}

fn requests(valley: &Valley) -> Result<()> {
    let service = valley.start()?;
    let send = |path: &str| rest::send(service.address, path, None, &[], PATIENCE);
    for (path, status) in [
        ("GET /", 404),
        ("GET /v1/claims/1", 404),
        ("GET /v1/claims", 405),
        ("PUT /v1/claims", 405),
        ("DELETE /v1/service", 405),
        ("POST /healthz", 405),
        ("BREW /v1/service", 405),
        ("GET /v1/nodes/xyz", 400),
        ("GET /v1/nodes/%ff%fe", 400),
        ("GET /v1/cheques/%80", 400),
        ("GET /v1/cheques/0x12", 400),
        ("POST /v1/claims", 415),
        ("POST /v1/registrations", 415),
    ] {
        is_problem(&send(path)?, status).context(path)?;
    }
    for body in [
        "",
        "{",
        "[]",
        "{\"node\": 5}",
        "\"\\ud800\"",
        &"[".repeat(10_000),
    ] {
        let kind = Some("application/json");
        let path = "POST /v1/registrations";
        let answer = rest::send(service.address, path, kind, body.as_bytes(), PATIENCE)?;
        is_problem(&answer, 400).with_context(|| body.chars().take(20).collect::<String>())?;
    }
    pipelined(service.address)?;
    // Whatever is no HTTP, or more of it than anybody needs, is answered without a body, or not at all.
    let long = format!("X-Long: {}\r\n", "x".repeat(200_000));
    let many = "X-Many: x\r\n".repeat(10_000);
    for nonsense in [
        head("GET /v1/service", &long),
        head("GET /v1/service", &many),
        head(&format!("GET /{}", "x".repeat(200_000)), ""),
        "\x16\x03\x01\x02\r\n\r\n".to_owned(),
        head(
            "GET /v1/service",
            "Content-Length: 1\r\nContent-Length: 2\r\n",
        ),
        head(
            "POST /v1/claims",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        ) + "zz\r\n",
    ] {
        let mut stream = rest::connect(service.address, PATIENCE)?;
        let _ = stream.write_all(nonsense.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let status = answer.get(9).copied();
        ensure!(
            matches!(status, None | Some(b'4')),
            "{:?}",
            String::from_utf8_lossy(&answer)
        );
        ensure!(service.get("/healthz")?.status == 200);
    }
    ensure!(!service.said().contains("panicked"), "{}", service.said());
    service.stop()
}

/// Twenty requests before the first answer is read; the last one is no claim.
fn pipelined(service: SocketAddr) -> Result<()> {
    let mut stream = BufReader::new(rest::connect(service, PATIENCE)?);
    let mut requests = head("GET /v1/service", "").repeat(19);
    requests.push_str(&claim_head(3));
    requests.push_str("abc");
    stream.get_mut().write_all(requests.as_bytes())?;
    for _ in 0..19 {
        ensure!(rest::read_answer(&mut stream)?.status == 200);
    }
    is_problem(&rest::read_answer(&mut stream)?, 400).map(drop)
}

fn too_much(valley: &Valley) -> Result<()> {
    let service = valley.start()?;
    let before = service.memory_kib()?;
    let at_most = vec![0; CLAIM_BYTES];
    is_problem(&service.claim(&at_most)?, 400).context("as many bytes as are taken")?;
    is_problem(&service.claim(&[0; CLAIM_BYTES + 1])?, 413).context("one more")?;
    // It says so at once: nobody has to send it all to hear that it is too much.
    let mut stream = BufReader::new(rest::connect(service.address, PATIENCE)?);
    let announced = claim_head(100 << 30);
    stream.get_mut().write_all(announced.as_bytes())?;
    is_problem(&rest::read_answer(&mut stream)?, 413).context("announced")?;
    let mut stream = BufReader::new(rest::connect(service.address, PATIENCE)?);
    let fields = format!(
        "Content-Type: {}\r\nTransfer-Encoding: chunked\r\n",
        redeem_api::CLAIM_TYPE
    );
    stream
        .get_mut()
        .write_all(head("POST /v1/claims", &fields).as_bytes())?;
    let chunk = [b"10000\r\n".as_slice(), &[0; 1 << 16], b"\r\n"].concat();
    let mut sent = 0;
    while sent < 64 << 20 && stream.get_mut().write_all(&chunk).is_ok() {
        sent += chunk.len();
    }
    ensure!(sent < 32 << 20, "{sent} bytes were taken");
    is_problem(&rest::read_answer(&mut stream)?, 413).context("endless")?;
    does_not_grow(&service, before)?;
    service.stop()
}

fn does_not_grow(service: &Redeemd, before: u64) -> Result<()> {
    let after = service.memory_kib()?;
    note(&format!("memory: {before} KiB before, {after} KiB after"));
    ensure!(
        after < before + GROWTH_KIB,
        "{before} KiB became {after} KiB"
    );
    Ok(())
}

/// Heads and bodies that come a byte at a time.
fn slow(valley: &Valley) -> Result<()> {
    let settings = Settings {
        limits: json!({"requests_per_minute": 1_000_000, "request_seconds": 3, "client_connections": 64}),
        ..valley.settings.clone()
    };
    let service = Redeemd::start(&settings)?;
    let begin = Instant::now();
    let mut heads = Vec::new();
    for _ in 0..20 {
        let mut stream = rest::connect(service.address, PATIENCE)?;
        stream.write_all(b"GET /v1/service HTTP/1.1\r\nX-Slow: ")?;
        heads.push(stream);
    }
    let mut body = BufReader::new(rest::connect(service.address, PATIENCE)?);
    body.get_mut().write_all(claim_head(1000).as_bytes())?;
    let mut writer = body.get_ref().try_clone()?;
    let dripping = thread::spawn(move || {
        while writer.write_all(b"M").is_ok() && begin.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(50));
        }
    });
    let answer = rest::read_answer(&mut body)?;
    is_problem(&answer, 408)?;
    drop(body);
    let mut asked = 0;
    wait_for("slow heads to be given up", PATIENCE, || {
        let asking = Instant::now();
        ensure!(service.get("/v1/service")?.status == 200);
        ensure!(asking.elapsed() < Duration::from_secs(5), "others wait");
        asked += 1;
        heads.retain_mut(|stream| stream.write_all(b"x").is_ok());
        ensure!(heads.is_empty(), "{} of them are kept", heads.len());
        Ok(())
    })?;
    note(&format!(
        "given up after {:?}, others asked {asked} times",
        begin.elapsed()
    ));
    dripping.join().ok().context("the slow client panicked")?;
    service.stop()
}

fn idle(valley: &Valley) -> Result<()> {
    let service = valley.start()?;
    ensure!(service.get("/v1/service")?.status == 200);
    let before = service.memory_kib()?;
    let mut idle = Vec::new();
    // With the first, all places would be taken, until they are given up for being idle.
    for more in [600, 2400] {
        for _ in 0..more {
            idle.push(rest::connect(service.address, PATIENCE)?);
        }
        let asking = Instant::now();
        let mut other = BufReader::new(from_elsewhere(service.address)?);
        let request = head("GET /v1/service", "");
        other.get_mut().write_all(request.as_bytes())?;
        ensure!(rest::read_answer(&mut other)?.status == 200);
        let took = asking.elapsed();
        note(&format!(
            "{} idle connections, others are answered in {took:?}",
            idle.len()
        ));
        ensure!(took < Duration::from_secs(5), "others wait {took:?}");
    }
    does_not_grow(&service, before)?;
    drop(idle);
    wait_for("the client to be welcome again", PATIENCE, || {
        ensure!(service.get("/v1/service")?.status == 200);
        Ok(())
    })?;
    service.stop()
}

/// They are answered, and told that it was all; the other end of the line stays open.
fn lingering(valley: &Valley) -> Result<()> {
    const MOST: usize = 16;
    let settings = Settings {
        limits: json!({"requests_per_minute": 1_000_000, "client_connections": MOST}),
        ..valley.settings.clone()
    };
    let service = Redeemd::start(&settings)?;
    ensure!(service.get("/v1/service")?.status == 200);
    let (before, mut answered, mut most) = (service.descriptors()?, 0, 0);
    let mut kept = Vec::new();
    let request = head("GET /v1/service", "Connection: close\r\n");
    for _ in 0..400 {
        let mut stream = rest::connect(service.address, PATIENCE)?;
        // Of one too many nothing is read.
        let _ = stream.write_all(request.as_bytes());
        answered += usize::from(stream.read(&mut [0; 64]).is_ok_and(|read| read > 0));
        most = most.max(service.descriptors()?);
        kept.push(stream);
    }
    note(&format!(
        "{answered} of 400 were answered, {before} descriptors became {most}"
    ));
    // Some that the database or the chain take come on top.
    ensure!(most <= before + MOST + 8, "{before} became {most}");
    // They are not waited for, for ever.
    wait_for("the client to be welcome again", PATIENCE, || {
        ensure!(service.get("/v1/service")?.status == 200);
        Ok(())
    })?;
    drop(kept);
    service.stop()
}

/// A connection of another client.
fn from_elsewhere(service: SocketAddr) -> Result<TcpStream> {
    let stream = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    bind(stream.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 2, 0))?;
    connect(
        stream.as_raw_fd(),
        &SockaddrIn::new(127, 0, 0, 1, service.port()),
    )?;
    let stream = TcpStream::from(stream);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn memory(valley: &Valley) -> Result<()> {
    let settings = Settings {
        limits: json!({"client_connections": 100, "claims_in_memory_bytes": 16 << 20}),
        ..valley.settings.clone()
    };
    let service = Redeemd::start(&settings)?;
    ensure!(service.get("/v1/service")?.status == 200);
    let before = service.memory_kib()?;
    let body = vec![0; CLAIM_BYTES - 1];
    let mut streams = Vec::new();
    let mut sent = 0;
    for _ in 0..60 {
        let mut stream = rest::connect(service.address, Duration::from_millis(300))?;
        stream.write_all(claim_head(CLAIM_BYTES).as_bytes())?;
        // What it does not read, it does not keep.
        let _ = stream.write_all(&body);
        sent += body.len() >> 10;
        streams.push(stream);
    }
    ensure!(
        service.get("/v1/service")?.status == 200,
        "others are answered"
    );
    note(&format!("{sent} KiB sent"));
    does_not_grow(&service, before)?;
    drop(streams);
    wait_for("a claim to be taken again", PATIENCE, || {
        let answer = service.claim(&small_export()?)?;
        ensure!(answer.status == 200, "{}", answer.text());
        Ok(())
    })?;
    does_not_grow(&service, before)?;
    service.stop()
}

/// Clients that are gone before they are answered, at whatever moment, as on a bad line.
fn hanging_up(valley: &Valley) -> Result<()> {
    const CLIENTS: u64 = 300;
    const SEED: u64 = 20261127;
    note(&format!("seed {SEED}"));
    let service = valley.start()?;
    let export = small_export()?;
    let claim = [claim_head(export.len()).as_bytes(), &export].concat();
    let mut random = SEED;
    for _ in 0..CLIENTS {
        let body = serde_json::to_vec(&valley.registration(&Person::new("node")?, 1))?;
        let fields = format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
        let registration = [head("POST /v1/registrations", &fields).into_bytes(), body].concat();
        for request in [&registration, &claim] {
            // A generator of Knuth's (MMIX).
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let mut stream = rest::connect(service.address, PATIENCE)?;
            stream.write_all(request)?;
            thread::sleep(Duration::from_micros(random >> 32 & 0x3fff));
            setsockopt(&stream, Linger, &RESET)?;
        }
    }
    valley.register(&service, &Person::new("last")?)?;
    ensure!(service.claim(&export)?.status == 200, "a claim");
    ensure!(!service.said().contains("panicked"), "{}", service.said());
    service.stop()
}

fn too_often(valley: &Valley) -> Result<()> {
    let settings = Settings {
        limits: json!({"requests_per_minute": 30, "claims_per_minute": 2}),
        ..valley.settings.clone()
    };
    let service = Redeemd::start(&settings)?;
    let export = small_export()?;
    for _ in 0..2 {
        ensure!(service.claim(&export)?.status == 200);
    }
    let answer = service.claim(&export)?;
    is_problem(&answer, 429)?;
    let wait: u64 = answer.header("retry-after").context("how long?")?.parse()?;
    ensure!((1..=60).contains(&wait), "{wait} s");
    let mut asked = 0;
    let refused = loop {
        let answer = service.get("/v1/service")?;
        asked += 1;
        ensure!(asked < 40, "never");
        if answer.status != 200 {
            break answer;
        }
    };
    is_problem(&refused, 429)?;
    service.stop()
}
