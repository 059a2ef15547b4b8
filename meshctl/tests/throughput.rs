//! `meshctl throughput` before a daemon that arranges what it is told, and a node that says what it is told.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;

use common::{Daemon, Reaction, assert_golden, sample, stderr_of, stdout_of};
use control_api::{Arranged, Direction, ErrorCode, Method, Report, RpcError, Throughput};

const TOKEN: [u8; 16] = [0xab; 16];

fn asked(method: &Method) -> &Throughput {
    let Method::Throughput(throughput) = method else {
        panic!("meshctl asks {method:?}")
    };
    throughput
}

/// A daemon whose node does `what` on the connection that says the token.
fn village(what: impl Fn(&Throughput, TcpStream) + Send + 'static) -> Daemon {
    let what = std::sync::Arc::new(Mutex::new(what));
    Daemon::start(move |method| {
        let throughput = asked(method).clone();
        assert_eq!(throughput.node, "router-2");
        let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let what = std::sync::Arc::clone(&what);
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut said = [0; TOKEN.len()];
            stream.read_exact(&mut said).unwrap();
            assert_eq!(said, TOKEN);
            stream.write_all(&[1]).unwrap();
            what.lock().unwrap()(&throughput, stream);
        });
        let arranged = Arranged {
            address: Ipv6Addr::LOCALHOST,
            own_address: Ipv6Addr::LOCALHOST,
            port,
            ..sample::<Arranged>("arranged.json").0
        };
        arranged.into()
    })
}

/// Reports so many quarters of a second of 20 Mbit/s, whatever arrives.
fn report(mut stream: TcpStream, quarters: u64) {
    for quarter in 1..=quarters {
        let report = Report {
            time_us: quarter * 250_000,
            bytes: quarter * 625_000,
        };
        stream.write_all(&report.to_bytes()).unwrap();
    }
    let mut block = [0; 4096];
    while matches!(stream.read(&mut block), Ok(1..)) {}
}

const UP: [&str; 6] = [
    "throughput",
    "router-2",
    "--direction",
    "up",
    "--seconds",
    "3",
];

#[test]
fn what_goes_up_is_what_the_node_says_has_arrived() {
    let daemon = village(|asked, stream| {
        assert_eq!((asked.direction, asked.seconds), (Direction::Up, 3));
        report(stream, 12);
    });
    assert_golden("throughput.txt", &stdout_of(&daemon.meshctl(&UP)));
    for form in ["json", "ndjson", "tsv"] {
        let arguments = [&UP[..], &["--output", form]].concat();
        let output = daemon.meshctl(&arguments);
        assert_golden(&format!("throughput.{form}"), &stdout_of(&output));
    }
}

#[test]
fn both_directions_are_measured_one_after_the_other() {
    let daemon = village(|asked, mut stream| match asked.direction {
        Direction::Up => report(stream, 4),
        Direction::Down => while stream.write_all(&[7; 4096]).is_ok() {},
    });
    let text = stdout_of(&daemon.meshctl(&["throughput", "router-2", "--seconds", "1"]));
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("THROUGHPUT router-2 (02020202)"),
        "{text}"
    );
    assert!(lines[1].starts_with("down  "), "{text}");
    assert_eq!(lines[2], "up    20.0 Mbit/s, 2.3 MiB in 1.0 s", "{text}");
    assert_eq!(lines.len(), 3, "progress is for terminals");
}

#[test]
fn a_test_that_breaks_off_says_how_far_it_came() {
    let daemon = village(|_, mut stream| {
        let report = Report {
            time_us: 1_500_000,
            bytes: 3_750_000,
        };
        stream.write_all(&report.to_bytes()).unwrap();
    });
    let output = daemon.meshctl(&UP);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.ends_with("up    20.0 Mbit/s, 3.5 MiB in 1.5 s, not to the end\n"),
        "{text}"
    );
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "meshctl: router-2 (02020202) ended the test after 1.5 s\n"
    );
}

#[test]
fn a_node_that_falls_silent_is_not_waited_for_for_ever() {
    let daemon = village(|_, mut stream| {
        stream.write_all(&[7; 100]).unwrap();
        let _ = stream.read(&mut [0]);
    });
    let down = ["throughput", "router-2", "--direction", "down"];
    let output = daemon.meshctl(&down);
    assert_eq!(output.status.code(), Some(6));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("nothing moves any more"), "{said}");
}

#[test]
fn why_there_is_no_test_decides_the_exit_code() {
    for (code, exit) in [
        (ErrorCode::Permission, 5),
        (ErrorCode::NotFound, 4),
        (ErrorCode::Failed, 1),
    ] {
        let daemon =
            Daemon::start(move |_| Reaction::Answer(Err(RpcError::new(code, "router-2 says no"))));
        assert_eq!(
            stderr_of(&daemon.meshctl(&UP), exit),
            "meshctl: router-2 says no\n"
        );
    }
    let silent = Arranged {
        token: None,
        ..sample::<Arranged>("arranged.json").0
    };
    let output = Daemon::answering(silent).meshctl(&UP);
    let header = common::printed(&output);
    assert!(header.starts_with("THROUGHPUT router-2"), "{header}");
    assert_eq!(output.status.code(), Some(6));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "meshctl: no answer from router-2 (02020202)\n");
}

#[test]
fn seconds_are_one_to_thirty() {
    for seconds in ["0", "31", "x"] {
        let daemon = village(|_, _| panic!("nobody is asked"));
        let output = daemon.meshctl(&["throughput", "router-2", "--seconds", seconds]);
        stderr_of(&output, 2);
    }
}
