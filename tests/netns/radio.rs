//! The emulated radio: range, silence and loss.

use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::air::Loss;
use mesh_tests::harness::{in_lab, note};
use mesh_tests::lab::Lab;
use mesh_tests::namespace::Namespace;
use mesh_tests::probe::{self, Pinger};
use mesh_tests::topology::Topology;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        in_lab(
            "radio_reaches_neighbors_only",
            || Topology::line(3),
            reaches_neighbors_only,
        ),
        in_lab(
            "radio_cut_is_silent_and_heals",
            || Topology::line(2),
            cut_is_silent_and_heals,
        ),
        in_lab(
            "radio_power_off_silences_all_links",
            || Topology::line(3),
            power_off,
        ),
        in_lab(
            "radio_loss_is_what_was_asked_for",
            || Topology::line(2),
            loss,
        ),
        in_lab(
            "radio_loss_may_differ_by_direction",
            || Topology::line(2),
            one_way,
        ),
        in_lab("probes_measure_a_cut", || Topology::line(2), probes),
    ]
}

const PORT: u16 = 4000;
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x77);

/// Sends numbered packets to the group, or to one address, and counts what `receiver` hears.
fn heard(
    sender: &Namespace,
    receiver: &Namespace,
    to: Option<Ipv6Addr>,
    count: usize,
) -> Result<usize> {
    let ear =
        receiver.within(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT)).context("listen"))?;
    ear.join_multicast_v6(&GROUP, receiver.interface_index("mesh0")?)?;
    ear.set_read_timeout(Some(Duration::from_millis(100)))?;
    let target = SocketAddrV6::new(
        to.unwrap_or(GROUP),
        PORT,
        0,
        sender.interface_index("mesh0")?,
    );
    let mouth = sender.within(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).context("speak"))?;

    let sent = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..count {
                let _ = mouth.send_to(b"anybody there?", target);
                // The other thread must keep up, or its full buffer counts as radio loss.
                if sent.fetch_add(1, Ordering::Relaxed) % 32 == 31 {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let mut buffer = [0; 64];
        let mut received = 0;
        loop {
            match ear.recv(&mut buffer) {
                Ok(_) => received += 1,
                Err(_) if sent.load(Ordering::Relaxed) == count => break Ok(received),
                Err(_) => (),
            }
        }
    })
}

fn link_local(namespace: &Namespace) -> Result<Ipv6Addr> {
    let text = namespace.ip("-6 -o addr show dev mesh0 scope link")?;
    let address = text
        .split_whitespace()
        .find_map(|word| word.strip_suffix("/64"));
    Ok(address.context("no link-local address")?.parse()?)
}

fn namespaces(lab: &Lab) -> Result<[Namespace; 2]> {
    Ok([
        lab.node("r1")?.namespace().clone(),
        lab.node("r2")?.namespace().clone(),
    ])
}

fn reaches_neighbors_only(lab: &mut Lab) -> Result<()> {
    let [r1, r2] = namespaces(lab)?;
    let r3 = lab.node("r3")?.namespace();
    for (from, to, expected) in [(&r1, &r2, 10), (&r2, r3, 10), (&r1, r3, 0), (r3, &r1, 0)] {
        let count = heard(from, to, None, 10)?;
        ensure!(
            count == expected,
            "{} heard {count} of 10 from {}",
            to.name(),
            from.name()
        );
    }
    // Knowing the address of somebody out of range does not help.
    let count = heard(&r1, r3, Some(link_local(r3)?), 3)?;
    ensure!(count == 0, "r3 heard {count} unicast packets from r1");
    Ok(())
}

fn cut_is_silent_and_heals(lab: &mut Lab) -> Result<()> {
    let [r1, r2] = namespaces(lab)?;
    let start = Instant::now();
    lab.air().cut("r1", "r2")?;
    note(&format!(
        "cutting both directions took {:?}",
        start.elapsed()
    ));
    for (from, to) in [(&r1, &r2), (&r2, &r1)] {
        let count = heard(from, to, None, 10)?;
        ensure!(
            count == 0,
            "{} heard {count} from {} over a cut link",
            to.name(),
            from.name()
        );
        ensure!(
            from.has_carrier("mesh0")?,
            "{} lost its carrier",
            from.name()
        );
    }
    lab.air()
        .cut("r1", "r2")
        .context("cutting a link that is cut changes nothing")?;
    lab.air().heal("r1", "r2")?;
    let count = heard(&r1, &r2, None, 10)?;
    ensure!(count == 10, "r2 heard {count} of 10 over the healed link");
    ensure!(
        lab.air().cut("r1", "r9").is_err(),
        "a link to nobody was cut"
    );
    Ok(())
}

fn power_off(lab: &mut Lab) -> Result<()> {
    let [r1, r2] = namespaces(lab)?;
    lab.air().power_off("r2")?;
    ensure!(heard(&r1, &r2, None, 5)? == 0, "r2 still hears r1");
    ensure!(
        heard(&r2, lab.node("r3")?.namespace(), None, 5)? == 0,
        "r3 still hears r2"
    );
    // What is healed meanwhile stays silent.
    lab.air().heal("r1", "r2")?;
    ensure!(heard(&r1, &r2, None, 5)? == 0, "r2 hears r1 without power");
    lab.air().power_on("r2")?;
    ensure!(heard(&r1, &r2, None, 5)? == 5, "r2 does not hear r1 again");
    Ok(())
}

/// Five standard deviations: one false alarm in millions of runs.
fn ensure_loss(what: &str, sent: usize, heard: usize, expected: Loss) -> Result<()> {
    let fraction = f64::from(expected.per_million()) / 1e6;
    let sent_f = f64::from(u32::try_from(sent)?);
    let lost = f64::from(u32::try_from(sent - heard)?);
    let margin = 5.0 * (sent_f * fraction * (1.0 - fraction)).sqrt();
    let expected = sent_f * fraction;
    ensure!(
        (lost - expected).abs() <= margin,
        "{what}: {lost} of {sent} were lost instead of {expected} ± {margin:.0}"
    );
    Ok(())
}

fn loss(lab: &mut Lab) -> Result<()> {
    let [r1, r2] = namespaces(lab)?;
    for percent in [0, 10, 50] {
        let loss = Loss::percent(percent);
        lab.air().connect("r1", "r2", loss)?;
        let count = heard(&r1, &r2, None, 2000)?;
        ensure_loss(&format!("multicast at {percent} %"), 2000, count, loss)?;
    }
    // A resolved neighbor, or the loss of its solicitations would delay the unicast packets.
    let (address, radio) = (link_local(&r2)?, "02:00:00:00:00:02");
    r1.ip(&format!(
        "neigh replace {address} lladdr {radio} dev mesh0 nud permanent"
    ))?;
    let count = heard(&r1, &r2, Some(address), 2000)?;
    ensure_loss(
        "unicast at 50 %",
        2000,
        count,
        Loss::percent(50).after_retries(),
    )
}

fn one_way(lab: &mut Lab) -> Result<()> {
    let [r1, r2] = namespaces(lab)?;
    lab.air().hear("r1", "r2", Loss::percent(100))?;
    ensure!(heard(&r1, &r2, None, 20)? == 0, "r2 hears r1 at 100 % loss");
    ensure!(
        heard(&r2, &r1, None, 20)? == 20,
        "r1 does not hear r2 at 0 % loss"
    );
    Ok(())
}

fn probes(lab: &mut Lab) -> Result<()> {
    let [r1, r2] = namespaces(lab)?;
    let target = SocketAddrV6::new(
        link_local(&r2)?,
        probe::PORT,
        0,
        r1.interface_index("mesh0")?,
    );
    let pinger = Pinger::start(&r1, target.into(), Duration::from_millis(5))?;
    let bound = Duration::from_secs(5);
    pinger.wait_answers(20, bound)?;
    let clean = pinger.report_since(Instant::now() - Duration::from_millis(50));
    let start = Instant::now();
    lab.air().cut("r1", "r2")?;
    let cut = Instant::now();
    thread::sleep(Duration::from_millis(200));
    let least = cut.elapsed();
    lab.air().heal("r1", "r2")?;
    let most = start.elapsed() + Duration::from_millis(100);
    pinger.wait_answers(10, bound)?;
    let report = pinger.stop();
    ensure!(clean.lost <= 1, "before the cut: {clean}");
    ensure!(
        report.lost > 0 && (least..most).contains(&report.longest_outage),
        "cut for {least:?} to {most:?}, measured: {report}"
    );
    Ok(())
}
