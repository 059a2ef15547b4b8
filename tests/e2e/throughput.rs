//! `meshctl throughput`: what a shaped link carries, and every way in which a test does not come to its end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddrV6, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use control_api::{Arranged, Client, Direction, Throughput};
use libtest_mimic::Trial;
use mesh_tests::binaries;
use mesh_tests::daemon::Finished;
use mesh_tests::harness::{in_lab, note};
use mesh_tests::lab::{Lab, MESH};
use mesh_tests::mesh::wait_all_pairs;
use mesh_tests::topology::Topology;
use mesh_tests::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "throughput_is_what_the_links_carry",
            || Topology::line(3),
            shaped,
        ),
        in_lab(
            "throughput_is_measured_by_who_knows_the_token",
            || Topology::line(2),
            token,
        ),
        in_lab(
            "throughput_tests_are_one_at_a_time_and_not_too_many",
            || Topology::line(2),
            bounded,
        ),
        in_lab(
            "throughput_that_cannot_be_measured_is_said_clearly",
            || Topology::line(3),
            refused,
        ),
        in_lab(
            "throughput_ends_with_the_node_or_the_link",
            || Topology::line(2),
            broken,
        ),
    ]
}

const PATIENCE: Duration = Duration::from_secs(30);

/// `meshctl throughput`, which has to run on the router: the bytes flow from there.
fn start(lab: &Lab, router: &str, arguments: &str) -> Result<Child> {
    let node = lab.node(router)?;
    let mut command = Command::new(binaries::find("meshctl")?);
    command.arg("--socket").arg(node.files().socket());
    command
        .arg("throughput")
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    node.namespace().within(|| Ok(command.spawn()?))
}

fn finish(child: Child) -> Result<Finished> {
    let output = child.wait_with_output()?;
    Ok(Finished {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

fn run(lab: &Lab, router: &str, arguments: &str) -> Result<Finished> {
    finish(start(lab, router, arguments)?)
}

/// Runs it, and expects it to fail so.
fn expect(lab: &Lab, arguments: &str, code: i32, words: &str) -> Result<()> {
    let finished = run(lab, "r1", arguments)?;
    ensure!(
        finished.code == code && finished.err.contains(words),
        "{arguments}: {finished:?}, not {code} {words:?}"
    );
    Ok(())
}

/// Starts one and waits until bytes flow.
fn start_flowing(lab: &Lab, arguments: &str) -> Result<Child> {
    let mut child = start(lab, "r1", &format!("--output ndjson {arguments}"))?;
    let mut stdout = BufReader::new(child.stdout.take().context("no output")?);
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    ensure!(line.contains(r#""kind":"progress""#), "{line:?}");
    child.stdout = Some(stdout.into_inner());
    Ok(child)
}

fn interrupt(child: Child) -> Result<()> {
    kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGINT)?;
    finish(child).map(drop)
}

fn figures(json: &str) -> Result<Vec<(String, u64)>> {
    let answer: Value = serde_json::from_str(json).with_context(|| json.to_owned())?;
    let results = answer.get("results").and_then(Value::as_array);
    let figure = |it: &Value| -> Option<(String, u64)> {
        ensure_complete(it)?;
        let direction = it.get("direction")?.as_str()?.to_owned();
        Some((direction, it.get("bps")?.as_u64()?))
    };
    let figures: Option<Vec<_>> = results.into_iter().flatten().map(figure).collect();
    figures.with_context(|| json.to_owned())
}

fn ensure_complete(result: &Value) -> Option<()> {
    (result.get("complete")? == true).then_some(())
}

/// Two hops; the first carries 20 Mbit/s one way, and 8 the other.
fn shaped(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    for (router, mbit) in [("r1", 8), ("r2", 20)] {
        let shape =
            format!("qdisc replace dev {MESH} root tbf rate {mbit}mbit burst 16k latency 100ms");
        lab.node(router)?.namespace().run("tc", &shape)?;
    }
    let within = |bps: u64, mbit: u64| bps.abs_diff(mbit * 1_000_000) <= mbit * 150_000;
    let finished = run(lab, "r1", "r2 --seconds 5 --json")?;
    ensure!(finished.code == 0, "{finished:?}");
    let measured = figures(&finished.out)?;
    note(&format!(
        "20 Mbit/s down and 8 Mbit/s up measured as {measured:?}"
    ));
    let directions: Vec<&str> = measured.iter().map(|(it, _)| it.as_str()).collect();
    ensure!(directions == ["down", "up"], "{measured:?}");
    for ((direction, bps), mbit) in measured.iter().zip([20, 8]) {
        ensure!(within(*bps, mbit), "{direction}: {bps} of {mbit} Mbit/s");
    }
    // What goes to r3 goes over r2.
    let finished = run(lab, "r1", "r3 --seconds 3 --direction up --json")?;
    ensure!(finished.code == 0, "{finished:?}");
    let measured = figures(&finished.out)?;
    let slower = |it: &(String, u64)| it.0 == "up" && (2_000_000..8_000_000).contains(&it.1);
    ensure!(
        measured.len() == 1 && measured.iter().all(slower),
        "{measured:?}"
    );
    let finished = run(lab, "r1", "r2 --seconds 2 --direction down --output tsv")?;
    ensure!(finished.out.lines().count() == 2, "{finished:?}");
    Ok(())
}

fn arrange(lab: &Lab, seconds: u8) -> Result<Arranged> {
    let socket = lab.node("r1")?.files().socket();
    Ok(Client::connect(&socket, PATIENCE)?.throughput(Throughput {
        node: "r2".to_owned(),
        direction: Direction::Down,
        seconds,
        wait_ms: 5000,
    })?)
}

/// Connects on r1 and says `token`; whether it is let in.
fn is_let_in(lab: &Lab, arranged: &Arranged, token: &[u8]) -> Result<bool> {
    let there = SocketAddrV6::new(arranged.address, arranged.port, 0, 0);
    lab.node("r1")?.namespace().within(|| {
        let mut stream = TcpStream::connect(there)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(token)?;
        let mut first = [0];
        Ok(matches!(stream.read(&mut first), Ok(1)) && first == [1])
    })
}

fn token(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    let closed = arrange(lab, 1)?;
    wait_for("the port to be closed when nobody comes", PATIENCE, || {
        ensure!(is_let_in(lab, &closed, &[0; 16]).is_err(), "it is open");
        Ok(())
    })?;
    let arranged = arrange(lab, 1)?;
    let token = arranged.token.clone().context("no token")?.into_bytes();
    ensure!(!is_let_in(lab, &arranged, &[0; 16])?, "any token will do");
    ensure!(is_let_in(lab, &arranged, &token)?, "the token will not do");
    wait_for("the token to count no longer", PATIENCE, || {
        let again = is_let_in(lab, &arranged, &token);
        ensure!(again.is_err(), "{again:?}");
        Ok(())
    })
}

fn bounded(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    let first = start_flowing(lab, "r2 --seconds 30 --direction down")?;
    expect(lab, "r2 --seconds 1", 1, "another throughput test")?;
    // Routing goes on meanwhile.
    let answer: Value = lab.node("r1")?.ctl("ping r2 --count 10 --interval 0.1")?;
    let received = answer.get("received").and_then(Value::as_u64);
    ensure!(received >= Some(8), "{answer}");
    interrupt(first)?;
    wait_for("the next one to be let in", PATIENCE, || {
        interrupt(start_flowing(lab, "r2 --seconds 29 --direction up")?)
    })?;
    wait_for("the minute to be over", PATIENCE, || {
        expect(lab, "r2 --seconds 2", 1, "has had enough")
    })
}

fn refused(lab: &mut Lab) -> Result<()> {
    lab.node_mut("r3")?.config.sharing = Some("{throughput_tests: refused}".to_owned());
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    expect(lab, "r3", 5, "takes part in no throughput tests")?;
    expect(lab, "r1", 1, "this node itself")?;
    expect(lab, "nobody", 4, "no node \"nobody\" is known")?;
    expect(lab, "r2 --seconds 31", 2, "31")?;
    let tcp = "table inet firewall { chain input { type filter hook input priority -10; \
        tcp dport 5525 drop; }; }";
    lab.node("r2")?.namespace().nft(tcp)?;
    expect(lab, "r2", 6, "a firewall may drop")?;
    let afar = "table inet firewall { chain input { type filter hook input priority -10; \
        ip6 saddr fd00::/8 udp dport 5525 drop; }; }";
    lab.node("r2")?.namespace().nft(afar)?;
    expect(lab, "r2 --timeout 2", 6, "no answer from r2")?;
    lab.air().cut("r1", "r2")?;
    wait_for("there to be no way", PATIENCE, || {
        expect(lab, "r2", 4, "no way to r2")
    })
}

fn broken(lab: &mut Lab) -> Result<()> {
    lab.start_all()?;
    wait_all_pairs(lab, PATIENCE)?;
    let running = start_flowing(lab, "r2 --seconds 30 --direction up")?;
    lab.node_mut("r2")?.take_daemon()?.crash()?;
    let finished = finish(running)?;
    ensure!(finished.code == 1, "{finished:?}");
    ensure!(
        finished.err.contains("ended the test after"),
        "{finished:?}"
    );
    ensure!(finished.out.contains(r#""complete":false"#), "{finished:?}");

    lab.start("r2")?;
    wait_all_pairs(lab, PATIENCE)?;
    let running = start_flowing(lab, "r2 --seconds 30 --direction down")?;
    lab.air().cut("r1", "r2")?;
    let finished = finish(running)?;
    ensure!(finished.code == 6, "{finished:?}");
    ensure!(
        finished.err.contains("nothing moves any more"),
        "{finished:?}"
    );
    Ok(())
}
