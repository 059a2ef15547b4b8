//! `meshctl redeem`, on machines without meshd: files from USB sticks, lines that break, no line at all.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use ethereum::cheque::ChequeFile;
use libtest_mimic::Trial;
use mesh_tests::chain::CHAIN_ID;
use mesh_tests::daemon::{Finished, run};
use mesh_tests::redeemd::Redeemd;
use mesh_tests::{rest, sandbox};
use receipts::Equivocation;
use receipts::log::Record;
use serde_json::{Value, json};

use crate::exports::{FEE_PPM, PRICE, Trade, export};
use crate::valley::{Person, Valley, node, with_sqlite};

/// Some 450 receipts are a part.
const TWO_PARTS: u64 = 600;

/// Done in part: something waits.
const WAITS: i32 = 7;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        with_sqlite("one_stick_redeems_a_village", stick),
        with_sqlite("redeeming_goes_on_where_the_line_broke", broken_line),
        with_sqlite("receipts_wait_while_there_is_no_line", no_line),
        with_sqlite("what_is_not_taken_is_brought_again", not_taken),
        with_sqlite("who_asks_for_it_brings_everything_again", again),
        with_sqlite("no_cheque_is_replaced_but_by_a_higher_one", kept_cheques),
        with_sqlite("who_brings_less_than_is_known_is_told_what_is_known", less),
        with_sqlite("a_service_that_never_ends_fills_nothing", endless),
    ]
}

/// A file on a stick with what a relay has earned from a phone, one MiB in each epoch.
fn file(relay: &Person, phone: &Person, epochs: u64) -> Result<PathBuf> {
    let trade = Trade {
        network: "village",
        provider: &relay.node,
        consumer: &phone.node,
    };
    let export = trade.export((1..=epochs).map(|epoch| (epoch, 1)))?;
    let file = Path::new(sandbox::FILES).join(format!("{}.receipts", relay.id()));
    fs::write(&file, export)?;
    Ok(file)
}

fn redeem(options: &str, service: SocketAddr, files: &[PathBuf]) -> Result<(Finished, Value)> {
    let names: Vec<_> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let finished = run(
        "meshctl",
        &format!(
            "--json --socket /nonexistent redeem --service http://{service} {options} {}",
            names.join(" ")
        ),
    )?;
    let said = serde_json::from_str(&finished.out).with_context(|| format!("{finished:?}"))?;
    Ok((finished, said))
}

fn settled(relay: &Person, valley: &Valley, service: &Redeemd) -> Result<u128> {
    let known = node(service, relay)?;
    ensure!(known.account == Some(relay.account()), "{known:?}");
    let cheque = valley.cheque(service, relay.account())?;
    Ok(cheque.cheque.cumulative.try_into()?)
}

fn earned(mib: u64) -> u128 {
    let owed = u128::from(mib * PRICE);
    owed - owed * u128::from(FEE_PPM) / 1_000_000
}

fn stick(valley: &Valley) -> Result<()> {
    let service = valley.start()?;
    let phone = Person::new("phone")?;
    valley.enroll(&phone)?;
    valley.register(&service, &phone)?;
    let relays = ["first", "second", "third"].map(Person::new);
    let relays = relays.into_iter().collect::<Result<Vec<_>>>()?;
    let mut files = Vec::new();
    for (relay, epochs) in relays.iter().zip(1..) {
        valley.register(&service, relay)?;
        files.push(file(relay, &phone, epochs)?);
    }
    let (planned, said) = redeem("--dry-run", service.address, &files)?;
    ensure!(planned.code == 0 && said["dry_run"] == true, "{planned:?}");
    ensure!(
        node(&service, &relays[0])?.earned.is_empty(),
        "nothing was sent"
    );

    let (done, said) = redeem("", service.address, &files)?;
    ensure!(done.code == 0, "{done:?}");
    for (index, (relay, epochs)) in relays.iter().zip(1..).enumerate() {
        ensure!(
            said["files"][index]["pairs"][0]["state"] == "settled",
            "{said}"
        );
        let cheques = said["files"][index]["cheques"]
            .as_str()
            .context("no cheques")?;
        let cheques = ChequeFile::parse(&fs::read(cheques)?)?;
        ensure!(cheques.cheques == [valley.cheque(&service, relay.account())?]);
        ensure!(settled(relay, valley, &service)? == earned(epochs));
    }
    service.stop()
}

/// Lets so many bytes through to a service, and nothing after that.
fn breaking_line(to: SocketAddr, bytes: usize) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || -> Result<()> {
        let (mut client, _) = listener.accept()?;
        // Nobody else is let in.
        drop(listener);
        let mut server = TcpStream::connect(to)?;
        let (mut answers, mut back) = (server.try_clone()?, client.try_clone()?);
        let answering = thread::spawn(move || std::io::copy(&mut answers, &mut back));
        let mut left = bytes;
        let mut buffer = [0; 4096];
        while left > 0 {
            let read = client.read(&mut buffer)?.min(left);
            if read == 0 {
                break;
            }
            server.write_all(buffer.get(..read).unwrap_or_default())?;
            left -= read;
        }
        client.shutdown(Shutdown::Both)?;
        server.shutdown(Shutdown::Both)?;
        let _ = answering.join();
        Ok(())
    });
    Ok(address)
}

fn broken_line(valley: &Valley) -> Result<()> {
    let service = valley.start()?;
    let (relay, phone) = (Person::new("relay")?, Person::new("phone")?);
    valley.enroll(&phone)?;
    for person in [&relay, &phone] {
        valley.register(&service, person)?;
    }
    let files = [file(&relay, &phone, TWO_PARTS)?];
    // The first part is through, of the second only some.
    let line = breaking_line(service.address, 300 << 10)?;
    let (broken, said) = redeem("--patience 1", line, &files)?;
    let file = &said["files"][0];
    ensure!(broken.code == WAITS && file["parts"] == 2, "{broken:?}");
    ensure!(
        file["parts_waiting"] == 1 && file["offline"].is_string(),
        "{broken:?}"
    );
    let first = file["new"].as_u64().context("new")?;
    ensure!((400..TWO_PARTS).contains(&first), "{first} of {TWO_PARTS}");

    let (done, said) = redeem("", service.address, &files)?;
    let file = &said["files"][0];
    ensure!(done.code == 0 && file["parts_waiting"] == 0, "{done:?}");
    ensure!(
        file["new"] == TWO_PARTS - first && file["known"] == 0,
        "only the rest is sent: {done:?}"
    );
    ensure!(settled(&relay, valley, &service)? == earned(TWO_PARTS));

    let (again, said) = redeem("", service.address, &files)?;
    ensure!(again.code == 0 && said["files"][0]["new"] == 0, "{again:?}");
    ensure!(settled(&relay, valley, &service)? == earned(TWO_PARTS));
    service.stop()
}

fn no_line(valley: &Valley) -> Result<()> {
    let (relay, phone) = (Person::new("relay")?, Person::new("phone")?);
    let files = [file(&relay, &phone, 3)?];
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let (waits, said) = redeem("--patience 1", nobody, &files)?;
    ensure!(
        waits.code == WAITS && said["files"][0]["parts_waiting"] == 1,
        "{waits:?}"
    );
    let text = run(
        "meshctl",
        &format!(
            "redeem --service http://{nobody} --patience 1 {}",
            files[0].display()
        ),
    )?;
    ensure!(
        text.code == WAITS && text.out.contains("Not sent yet: 1 part"),
        "{text:?}"
    );

    let service = valley.start()?;
    valley.enroll(&phone)?;
    for person in [&relay, &phone] {
        valley.register(&service, person)?;
    }
    let (done, _) = redeem("", service.address, &files)?;
    ensure!(done.code == 0, "{done:?}");
    ensure!(settled(&relay, valley, &service)? == earned(3));
    service.stop()
}

fn not_taken(valley: &Valley) -> Result<()> {
    let service = valley.start()?;
    let (relay, phone) = (Person::new("relay")?, Person::new("phone")?);
    valley.enroll(&phone)?;
    valley.register(&service, &phone)?;
    let files = [file(&relay, &phone, 3)?];
    let (waits, said) = redeem("", service.address, &files)?;
    let pair = &said["files"][0]["pairs"][0];
    ensure!(
        waits.code == WAITS && pair["state"] == "provider_unknown",
        "{waits:?}"
    );
    valley.register(&service, &relay)?;
    let (done, _) = redeem("", service.address, &files)?;
    ensure!(done.code == 0, "{done:?}");
    ensure!(settled(&relay, valley, &service)? == earned(3));
    service.stop()
}

/// The service has lost its database, which nobody else notices.
fn again(valley: &Valley) -> Result<()> {
    let (relay, phone) = (Person::new("relay")?, Person::new("phone")?);
    valley.enroll(&phone)?;
    let files = [file(&relay, &phone, 3)?];
    for (options, new) in [("", 3), ("", 0), ("--again", 3)] {
        let mut settings = valley.settings.clone();
        settings.database = valley.database.create()?;
        let service = Redeemd::start(&settings)?;
        for person in [&relay, &phone] {
            valley.register(&service, person)?;
        }
        let (done, said) = redeem(options, service.address, &files)?;
        ensure!(done.code == 0, "{done:?}");
        ensure!(said["files"][0]["new"] == new, "{options}: {done:?}");
        service.stop()?;
    }
    Ok(())
}

/// The service goes on with an older database, the node moves to another account, the file is spoilt.
fn kept_cheques(valley: &Valley) -> Result<()> {
    let service = valley.start()?;
    // Not the relay of other tests: the cheques that these got are kept beside its receipts.
    let (relay, phone) = (Person::new("keeper")?, Person::new("phone")?);
    valley.enroll(&phone)?;
    for person in [&relay, &phone] {
        valley.register(&service, person)?;
    }
    let files = [file(&relay, &phone, 3)?];
    redeem("", service.address, &files)?;
    let kept = PathBuf::from(format!("{}.cheques.json", files[0].display()));
    let high = valley.cheque(&service, relay.account())?;
    service.stop()?;

    let mut settings = valley.settings.clone();
    settings.database = valley.database.create()?;
    let service = Redeemd::start(&settings)?;
    for person in [&relay, &phone] {
        valley.register(&service, person)?;
    }
    file(&relay, &phone, 1)?;
    redeem("", service.address, &files)?;
    let low = valley.cheque(&service, relay.account())?;
    ensure!(low.cheque.cumulative < high.cheque.cumulative, "{low:?}");
    let cheques = ChequeFile::parse(&fs::read(&kept)?)?.cheques;
    ensure!(cheques == [high.clone()], "{cheques:?}");

    let wallet = Person::new("other")?.wallet;
    let moved = valley.registration_to(&relay.node, &wallet, 2);
    ensure!(service.post("/v1/registrations", &moved)?.status == 200);
    file(&relay, &phone, 2)?;
    redeem("", service.address, &files)?;
    let other = valley.cheque(&service, wallet.address())?;
    let cheques = ChequeFile::parse(&fs::read(&kept)?)?.cheques;
    let has = |cheque| cheques.contains(cheque);
    ensure!(
        cheques.len() == 2 && has(&high) && has(&other),
        "{cheques:?}"
    );

    fs::write(&kept, "no cheques")?;
    let (spoilt, _) = redeem("", service.address, &files)?;
    ensure!(
        spoilt.code == 8 && spoilt.err.contains("move it away"),
        "{spoilt:?}"
    );
    ensure!(fs::read(&kept)? == b"no cheques", "it was replaced");
    service.stop()
}

/// An older export, with an older proof, by who has an older registration at hand.
fn less(valley: &Valley) -> Result<()> {
    let service = valley.start()?;
    let (relay, phone) = (Person::new("forgetful")?, Person::new("phone")?);
    valley.enroll(&phone)?;
    valley.register(&service, &phone)?;
    let later = valley.registration(&relay, 5);
    ensure!(service.post("/v1/registrations", &later)?.status == 200);
    let older = service.post("/v1/registrations", &valley.registration(&relay, 4))?;
    ensure!(
        older.status == 409
            && older
                .text()
                .contains("registration 5 of this node is known"),
        "{}",
        older.text()
    );

    let all = [file(&relay, &phone, 3)?];
    let (done, _) = redeem("", service.address, &all)?;
    ensure!(done.code == 0, "{done:?}");
    let cheque = valley.cheque(&service, relay.account())?;
    let trade = Trade {
        network: "village",
        provider: &relay.node,
        consumer: &phone.node,
    };
    let offer = trade.offer(1, PRICE);
    let proofs = [(2, 3), (4, 5)].map(|(one, other)| {
        let [one, other] = [one, other].map(|mib| trade.receipt(&offer, None, mib));
        let proof = Equivocation::between(&one?, &other?).context("no contradiction")?;
        anyhow::Ok(Record::Equivocation(Box::new(proof)))
    });
    for proof in proofs {
        let mut records = trade.records([(1, 1), (2, 1)])?;
        records.push(proof?);
        fs::write(&all[0], export("village", &relay.node, &records))?;
        let (done, said) = redeem("", service.address, &all)?;
        let file = &said["files"][0];
        ensure!(
            done.code == 0 && file["new"] == 0 && file["known"] == 2,
            "{done:?}"
        );
        let pair = &file["pairs"][0];
        let known = (3 * u128::from(PRICE)).to_string();
        ensure!(
            pair["state"] == "settled" && pair["signed_atto"] == known.as_str(),
            "{done:?}"
        );
    }
    ensure!(valley.cheque(&service, relay.account())? == cheque);
    proof_alone(valley, &service, &relay, &all[0])?;
    service.stop()
}

/// Of a pair of which nothing counts: there is nothing that pays for its place.
fn proof_alone(valley: &Valley, service: &Redeemd, relay: &Person, file: &Path) -> Result<()> {
    let stranger = Person::new("stranger")?;
    valley.register(service, &stranger)?;
    let trade = Trade {
        network: "village",
        provider: &relay.node,
        consumer: &stranger.node,
    };
    let offer = trade.offer(1, PRICE);
    let [one, other] = [2, 3].map(|mib| trade.receipt(&offer, None, mib));
    let proof = Equivocation::between(&one?, &other?).context("no contradiction")?;
    let records = [Record::Equivocation(Box::new(proof))];
    fs::write(file, export("village", &relay.node, &records))?;
    let text = run(
        "meshctl",
        &format!(
            "redeem --service http://{} {}",
            service.address,
            file.display()
        ),
    )?;
    ensure!(
        text.code == WAITS && text.out.contains("nor keep a proof without a receipt"),
        "{text:?}"
    );
    Ok(())
}

/// Answers as a service does, until it is asked for cheques: of these it has no end. Returns how much of them is sent.
fn endless_service(valley: &Valley, relay: &Person) -> Result<(SocketAddr, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let service = json!({
        "schema": 1, "chain_id": CHAIN_ID, "book": valley.book, "settlement_key": valley.key,
        "claim_bytes": 1 << 22, "tariffs": [],
    });
    let claim = json!({"schema": 1, "new": 3, "known": 0, "pairs": []});
    let node = json!({
        "schema": 1, "node": relay.id(), "account": relay.account(), "sequence": 1,
        "earned": [], "owed": [],
    });
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    thread::spawn(move || -> Result<()> {
        loop {
            let (stream, _) = listener.accept()?;
            let mut stream = BufReader::new(stream);
            let head = rest::read_request(&mut stream)?;
            let stream = stream.get_mut();
            let mut answer = |body: &Value| {
                let body = body.to_string();
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
                )
            };
            match head.split(' ').nth(1).unwrap_or_default() {
                "/v1/service" => answer(&service)?,
                "/v1/claims" => answer(&claim)?,
                path if path.starts_with("/v1/nodes/") => answer(&node)?,
                _ => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                    while stream.write_all(&[b' '; 1 << 16]).is_ok() {
                        count.fetch_add(1 << 16, Ordering::Relaxed);
                    }
                }
            }
        }
    });
    Ok((address, sent))
}

fn endless(valley: &Valley) -> Result<()> {
    let (relay, phone) = (Person::new("endless")?, Person::new("phone")?);
    let files = [file(&relay, &phone, 3)?];
    let (service, sent) = endless_service(valley, &relay)?;
    let options = format!(
        "--socket /nonexistent redeem --service http://{service} {}",
        files[0].display()
    );
    let done = run("meshctl", &options)?;
    ensure!(
        done.code == 1
            && done
                .err
                .contains("not an answer of a settlement service: too long"),
        "{done:?}"
    );
    // What is on its way does not count.
    let sent = sent.load(Ordering::Relaxed);
    ensure!(sent < 8 << 20, "{sent} bytes were taken");
    let kept = PathBuf::from(format!("{}.cheques.json", files[0].display()));
    ensure!(!kept.exists(), "there are cheques");
    Ok(())
}
