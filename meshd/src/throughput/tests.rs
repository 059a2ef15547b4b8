//! Bounds with made-up times; connections over loopback.

use super::*;

const HERE: Ipv6Addr = Ipv6Addr::LOCALHOST;

fn id(byte: u8) -> OriginatorId {
    OriginatorId::from_bytes([byte; 10])
}

fn token(number: u8) -> Token {
    Token::from_bytes([number; 16])
}

fn request(number: u8, seconds: u8) -> ThroughputRequest {
    ThroughputRequest {
        token: token(number),
        direction: Direction::Down,
        seconds,
    }
}

#[test]
fn one_node_measures_a_minute_in_ten_and_all_two() {
    let mut tests = Tests::default();
    let start = Instant::now();
    let mut admit = |second: u64, from: u8, number: u8| {
        let now = start + Duration::from_secs(second);
        tests.admit(now, false, id(from), &request(number, 30))
    };
    assert_eq!(admit(0, 1, 1), Verdict::Accepted);
    assert_eq!(admit(40, 1, 2), Verdict::Accepted);
    assert_eq!(admit(80, 1, 3), Verdict::TooMany, "a minute of its own");
    assert_eq!(admit(80, 2, 4), Verdict::Accepted, "another node");
    assert_eq!(admit(120, 3, 5), Verdict::Accepted);
    assert_eq!(admit(160, 4, 6), Verdict::TooMany, "two minutes of all");
    assert_eq!(admit(599, 1, 7), Verdict::TooMany);
    assert_eq!(
        admit(601, 1, 8),
        Verdict::Accepted,
        "the first is forgotten"
    );
    assert_eq!(admit(601, 4, 9), Verdict::TooMany);
}

#[test]
fn a_recorded_request_begins_nothing() {
    let mut tests = Tests::default();
    let now = Instant::now();
    assert_eq!(
        tests.admit(now, false, id(1), &request(1, 1)),
        Verdict::Accepted
    );
    assert_eq!(
        tests.admit(now, false, id(1), &request(1, 1)),
        Verdict::TooMany
    );
}

#[test]
fn while_one_runs_others_wait_and_its_own_request_may_come_again() {
    let mut tests = Tests::default();
    let now = Instant::now();
    assert_eq!(
        tests.admit(now, false, id(1), &request(1, 5)),
        Verdict::Accepted
    );
    assert_eq!(
        tests.admit(now, true, id(1), &request(1, 5)),
        Verdict::Accepted
    );
    assert_eq!(tests.admit(now, true, id(1), &request(2, 5)), Verdict::Busy);
    assert_eq!(tests.admit(now, true, id(2), &request(1, 5)), Verdict::Busy);
    assert_eq!(
        tests.admit(now, false, id(2), &request(3, 5)),
        Verdict::Accepted
    );
}

/// A measurement at a port of its own, and whether it ended well.
fn served(
    theirs: Ipv6Addr,
    request: ThroughputRequest,
) -> (SocketAddr, thread::JoinHandle<io::Result<()>>) {
    let listener = listen_at(SocketAddrV6::new(HERE, 0, 0, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || serve(listener, theirs, &request));
    (address, thread)
}

fn connect(address: SocketAddr, token: &Token) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(token.as_bytes()).unwrap();
    stream
}

#[test]
fn only_the_connection_that_says_the_token_measures() {
    let (address, thread) = served(HERE, request(1, 1));
    let mut silent = TcpStream::connect(address).unwrap();
    let mut wrong = connect(address, &token(2));
    let mut right = connect(address, &token(1));
    let mut answer = [0];
    right.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [1]);
    right.read_exact(&mut [0; 4096]).unwrap();
    for other in [&mut silent, &mut wrong] {
        // With what was said unread, the end is a reset.
        assert!(matches!(other.read(&mut answer), Ok(0) | Err(_)));
    }
    assert!(TcpStream::connect(address).is_err(), "the port is closed");
    drop(right);
    thread.join().unwrap().unwrap();
}

#[test]
fn who_comes_from_elsewhere_is_not_let_in() {
    let (address, thread) = served("fd00::1".parse().unwrap(), request(1, 1));
    let mut stream = connect(address, &token(1));
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    let error = thread.join().unwrap().unwrap_err();
    let kinds = [ErrorKind::TimedOut, ErrorKind::WouldBlock];
    assert!(kinds.contains(&error.kind()), "{error}");
}

#[test]
fn who_sends_is_told_what_arrives_to_the_end() {
    let upwards = ThroughputRequest {
        direction: Direction::Up,
        ..request(1, 1)
    };
    let (address, thread) = served(HERE, upwards);
    let mut stream = connect(address, &token(1));
    stream.read_exact(&mut [0]).unwrap();
    let sender = stream.try_clone().unwrap();
    let sending = thread::spawn(move || send(&sender, Duration::from_secs(10)));
    let mut reports = Vec::new();
    let mut bytes = [0; Report::LEN];
    while stream.read_exact(&mut bytes).is_ok() {
        reports.push(Report::from_bytes(bytes));
    }
    drop(stream);
    thread.join().unwrap().unwrap();
    sending.join().unwrap().unwrap();
    let last = reports.last().unwrap();
    assert!(last.time_us >= 1_000_000, "{reports:?}");
    assert!(reports.len() >= 2, "{reports:?}");
    assert!(reports.is_sorted_by_key(|it| (it.time_us, it.bytes)));
}

#[test]
fn an_end_that_goes_away_ends_it() {
    let (address, thread) = served(
        HERE,
        ThroughputRequest {
            direction: Direction::Up,
            ..request(1, 30)
        },
    );
    let mut stream = connect(address, &token(1));
    stream.read_exact(&mut [0]).unwrap();
    stream.write_all(&[0; 100]).unwrap();
    drop(stream);
    assert!(thread.join().unwrap().is_err());
}
