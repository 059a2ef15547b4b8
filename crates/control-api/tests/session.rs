//! The server's half of a connection against every kind of peer.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use control_api::{
    Answer, ConfigText, Destination, Direction, FrameError, FrameReader, GatewayChoice, Id,
    Incoming, LogLevel, MAX_PROBE_WAIT_MS, MAX_REQUEST_BYTES, Method, NodeId, Probe, Reloaded,
    Request, Response, Route, RouteTo, RpcError, SCHEMA, Session, Throughput,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const STREAM: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n\
    {\"jsonrpc\":\"2.0\",\"id\":\"\xc3\xa9\",\"method\":\"routes\",\"params\":{\"dest\":\"10.0.0.1\"}}\r\n\
    \n\
    nonsense\n\
    \xff\xfe\n\
    {\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"receipts.export\",\"params\":{\"offset\":7}}\n";

/// What came of everything polled: a method's name and parameters, or an error's code.
fn drain(session: &mut Session) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(incoming) = session.poll_incoming() {
        seen.push(match incoming {
            Incoming::Call(call) => format!("{:?}", call.method),
            Incoming::Reject(line) => format!("error {}", error_in(&line)["code"]),
        });
    }
    seen
}

fn error_in(line: &[u8]) -> Value {
    assert_eq!(line.last(), Some(&b'\n'));
    let response: Value = serde_json::from_slice(line).unwrap();
    assert_eq!(response["jsonrpc"], "2.0");
    assert!(response.get("result").is_none());
    response["error"].clone()
}

/// The response to one line: (id, code, message).
fn rejection(line: &str) -> (Value, i64, String) {
    let mut session = Session::new();
    session.handle_bytes(line.as_bytes());
    session.handle_bytes(b"\n");
    let Some(Incoming::Reject(answer)) = session.poll_incoming() else {
        panic!("{line} was not rejected");
    };
    assert!(session.poll_incoming().is_none(), "one answer for one line");
    let error = error_in(&answer);
    let id = serde_json::from_slice::<Value>(&answer).unwrap()["id"].clone();
    (
        id,
        error["code"].as_i64().unwrap(),
        error["message"].as_str().unwrap().to_owned(),
    )
}

#[test]
fn a_stream_means_the_same_wherever_it_is_cut() {
    let mut session = Session::new();
    session.handle_bytes(STREAM);
    let whole = drain(&mut session);
    assert_eq!(
        whole,
        [
            "Status",
            "Routes { dest: Some(Address(10.0.0.1)) }",
            "error -32700",
            "error -32700",
            "ReceiptsExport { offset: 7 }",
        ]
    );

    for at in 0..=STREAM.len() {
        let (head, tail) = STREAM.split_at(at);
        let mut session = Session::new();
        session.handle_bytes(head);
        let mut seen = drain(&mut session);
        session.handle_bytes(tail);
        seen.extend(drain(&mut session));
        assert_eq!(seen, whole, "cut at {at}");
    }
}

#[test]
fn a_stream_means_the_same_byte_by_byte() {
    let mut session = Session::new();
    let mut seen = Vec::new();
    for byte in STREAM {
        session.handle_bytes(&[*byte]);
        seen.extend(drain(&mut session));
    }

    assert_eq!(seen.len(), 5);
}

#[test]
fn the_longest_line_passes_and_one_byte_more_does_not() {
    let longest = vec![b'x'; 100];
    let mut frames = FrameReader::new(100);
    frames.handle_bytes(&longest);
    assert_eq!(frames.poll_line(), None);
    frames.handle_bytes(b"\n");
    assert_eq!(frames.poll_line().unwrap().unwrap().len(), 100);

    frames.handle_bytes(&longest);
    frames.handle_bytes(b"y\nnext\n");

    assert_eq!(
        frames.poll_line(),
        Some(Err(FrameError::TooLong { limit: 100 }))
    );
    assert_eq!(frames.poll_line(), Some(Ok("next".into())));
    assert_eq!(frames.poll_line(), None);
}

#[test]
fn a_line_without_end_is_reported_once_and_takes_no_memory() {
    let mut session = Session::new();
    let mut seen = Vec::new();
    for _ in 0..100 {
        session.handle_bytes(&[b'x'; 4096]);
        seen.extend(drain(&mut session));
    }
    assert_eq!(
        seen,
        ["error -32600"],
        "{MAX_REQUEST_BYTES} bytes are the limit"
    );

    // The rest of it ends exactly with a read, and within one.
    session.handle_bytes(b"rest\n");
    session.handle_bytes(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n");
    assert_eq!(drain(&mut session), ["Status"]);

    session.handle_bytes(&vec![b'x'; MAX_REQUEST_BYTES + 1]);
    assert_eq!(drain(&mut session), ["error -32600"]);
    session.handle_bytes(b"rest\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"gateways\"}\n");
    assert_eq!(drain(&mut session), ["Gateways"]);
}

#[test]
fn nonsense_is_answered_with_what_is_wrong() {
    let cases = [
        ("{", Value::Null, -32700),
        ("{\"jsonrpc\":\"2.0\",\"method\"", Value::Null, -32700),
        ("1", Value::Null, -32600),
        ("null", Value::Null, -32600),
        ("[]", Value::Null, -32600),
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"status"}]"#,
            Value::Null,
            -32600,
        ),
        ("{}", Value::Null, -32600),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"status"}"#,
            Value::Null,
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","id":[1],"method":"status"}"#,
            Value::Null,
            -32600,
        ),
        (
            r#"{"jsonrpc":"1.0","id":1,"method":"status"}"#,
            json!(1),
            -32600,
        ),
        (r#"{"id":1,"method":"status"}"#, json!(1), -32600),
        (r#"{"jsonrpc":"2.0","id":"a"}"#, json!("a"), -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, json!(1), -32600),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"reboot"}"#,
            json!(1),
            -32601,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"status","params":[]}"#,
            json!(1),
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"status","params":{"x":1}}"#,
            json!(1),
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"routes","params":{"dest":7}}"#,
            json!(1),
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"routes","params":{"dest":"1/99"}}"#,
            json!(1),
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"gateways.select"}"#,
            json!(1),
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"gateways.select","params":{"gateway":""}}"#,
            json!(1),
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"receipts.show"}"#,
            json!(1),
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"receipts.import","params":{"offset":0,"total_bytes":1,"data":"x"}}"#,
            json!(1),
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"receipts.export_carried","params":{"owner":"07","offset":0}}"#,
            json!(1),
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"receipts.export"}"#,
            json!(1),
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"receipts.export","params":{"offset":-1}}"#,
            json!(1),
            -32602,
        ),
    ];
    for (line, id, code) in cases {
        let (answered, found, message) = rejection(line);
        assert_eq!((answered, found), (id, code), "{line}: {message}");
    }
}

#[test]
fn a_batch_is_told_how_to_ask_instead() {
    let (_, _, message) = rejection(r#"[{"jsonrpc":"2.0","id":1,"method":"status"}]"#);

    assert_eq!(
        message,
        "batches are not supported: send one request a line"
    );
}

#[test]
fn deep_nesting_is_an_error_and_no_stack_overflow() {
    let (_, code, _) = rejection(&"[".repeat(60_000));

    assert_eq!(code, -32700);
}

#[test]
fn an_unknown_method_is_repeated_in_part_only() {
    let long = json!({"jsonrpc": "2.0", "id": 1, "method": "x".repeat(30_000)}).to_string();
    let (_, code, message) = rejection(&long);

    assert_eq!(code, -32601);
    assert!(message.len() < 60, "{message}");
}

#[test]
fn a_notification_is_never_answered() {
    let mut session = Session::new();
    session.handle_bytes(b"{\"jsonrpc\":\"2.0\",\"method\":\"nothing\"}\n");
    session.handle_bytes(b"{\"jsonrpc\":\"2.0\",\"method\":\"reload\"}\n");

    let Some(Incoming::Call(call)) = session.poll_incoming() else {
        panic!("no call")
    };

    assert_eq!(call.method, Method::Reload);
    assert_eq!(call.answer(Err(RpcError::failed("x"))), None);
    assert!(session.poll_incoming().is_none());
}

#[test]
fn an_answer_repeats_the_id_on_one_line() {
    let reloaded = Reloaded {
        schema: SCHEMA,
        changed: vec!["a\nb".into()],
        needs_restart: vec![],
    };
    for id in [json!(7), json!("x\ny"), json!(-1), json!(1.5)] {
        let mut session = Session::new();
        let line = json!({"jsonrpc": "2.0", "id": id, "method": "reload"}).to_string() + "\n";
        session.handle_bytes(line.as_bytes());
        let Some(Incoming::Call(call)) = session.poll_incoming() else {
            panic!("no call")
        };

        let answer = call.answer(Ok(Answer::from(reloaded.clone()))).unwrap();

        let (newline, text) = answer.split_last().unwrap();
        assert_eq!(*newline, b'\n');
        assert!(!text.contains(&b'\n'));
        let response: Response<Reloaded> =
            Response::parse(std::str::from_utf8(text).unwrap()).unwrap();
        assert_eq!(serde_json::to_value(&response.id).unwrap(), id);
        assert_eq!(response.outcome, Ok(reloaded.clone()));
    }
}

#[test]
fn every_request_reads_back_as_it_was_written() {
    let methods = [
        Method::Status,
        Method::Doctor { fix: false },
        Method::Doctor { fix: true },
        Method::Interfaces,
        Method::Neighbors,
        Method::Originators,
        Method::Map,
        Method::Routes { dest: None },
        Method::Routes {
            dest: Some("10.1.2.3".parse().unwrap()),
        },
        Method::Routes {
            dest: Some("fd12::/64".parse().unwrap()),
        },
        Method::Routes {
            dest: Some("router-5".parse().unwrap()),
        },
        Method::Gateways,
        Method::GatewaysSelect {
            gateway: GatewayChoice::Auto,
        },
        Method::GatewaysSelect {
            gateway: GatewayChoice::Off,
        },
        Method::GatewaysSelect {
            gateway: GatewayChoice::Node("router-5".into()),
        },
        Method::Probe(Probe {
            node: "router-5".into(),
            towards: None,
            wait_ms: 1,
        }),
        Method::Probe(Probe {
            node: "router-5".into(),
            towards: Some("fd12::1".into()),
            wait_ms: MAX_PROBE_WAIT_MS,
        }),
        Method::Throughput(Throughput {
            node: "router-5".into(),
            direction: Direction::Up,
            seconds: 30,
            wait_ms: 1,
        }),
        Method::ReceiptsList,
        Method::ReceiptsShow {
            node: "router-5".into(),
        },
        Method::ReceiptsStats,
        Method::ReceiptsCarried,
        Method::ReceiptsImport {
            offset: 3,
            total_bytes: u64::MAX,
            data: vec![0, 0xff].into(),
        },
        Method::ReceiptsExportCarried {
            owner: NodeId::new([7; 32]),
            offset: 1,
        },
        Method::ReceiptsExport { offset: u64::MAX },
        Method::Reload,
        Method::ConfigShow,
        Method::Monitor,
        Method::ReloadConfirm,
        Method::ReloadRevert,
        Method::ReloadTry { within_s: 1 },
        Method::ReloadTry { within_s: 3600 },
        Method::ConfigDiff {
            text: ConfigText::new("network: \"x\"\n".into()),
        },
        Method::LogLevel {
            level: LogLevel::Debug,
        },
    ];
    for method in methods {
        for id in [None, Some(Id::from(u64::MAX)), Some(Id::Text("x".into()))] {
            let request = Request {
                id,
                method: method.clone(),
            };
            let line = String::from_utf8(request.to_line()).unwrap();
            assert_eq!(
                Request::parse(line.strip_suffix('\n').unwrap()),
                Ok(request),
                "{line}"
            );
        }
    }
}

#[test]
fn a_response_is_a_result_or_an_error() {
    let bad = [
        r#"{"jsonrpc":"2.0","id":1}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#,
        r#"{"jsonrpc":"1.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":{},"result":{}}"#,
        r#"{"jsonrpc":"2.0","result":{}}"#,
        "[]",
        "",
    ];
    for line in bad {
        assert!(Response::<Value>::parse(line).is_err(), "{line}");
    }
}

fn route(table: u32, prefix: &str, owner: u8, name: &str) -> Route {
    let node = control_api::NodeRef {
        originator_id: control_api::OriginatorId::new([owner; 10]),
        name: Some(name.into()),
    };
    Route {
        table,
        prefix: prefix.parse().unwrap(),
        owner: node.clone(),
        to: RouteTo::Neighbor {
            via: "fe80::1".parse().unwrap(),
            node,
        },
        interface: Some("mesh0".into()),
        metric_us: Some(1000),
    }
}

/// The prefixes selected for `dest` among a few routes.
fn selected(dest: &str) -> Result<Vec<String>, RpcError> {
    let routes = vec![
        route(5525, "10.1.2.0/24", 0xaa, "router-a"),
        route(5525, "10.1.2.128/25", 0xbb, "router-b"),
        route(5525, "fd12::/64", 0xaa, "router-a"),
        route(5526, "0.0.0.0/0", 0xcc, "aaaaaaaa"),
        route(5526, "10.1.2.129/32", 0xcc, "aaaaaaaa"),
    ];
    let found = dest.parse::<Destination>().unwrap().select(routes)?;
    Ok(found.iter().map(|route| route.prefix.to_string()).collect())
}

#[test]
fn a_destination_selects_as_the_kernel_does() {
    assert_eq!(selected("10.1.2.5").unwrap(), ["10.1.2.0/24"]);
    // The first table with a match decides, even against a longer prefix in a later one.
    assert_eq!(selected("10.1.2.129").unwrap(), ["10.1.2.128/25"]);
    assert_eq!(selected("192.0.2.1").unwrap(), ["0.0.0.0/0"]);
    assert_eq!(
        selected("10.1.2.0/24").unwrap(),
        ["10.1.2.0/24", "10.1.2.128/25", "10.1.2.129/32"]
    );
    assert_eq!(selected("10.1.2.77/24").unwrap().len(), 3);
    assert_eq!(selected("router-b").unwrap(), ["10.1.2.128/25"]);
    assert_eq!(selected("BBBBBBBBBB").unwrap(), ["10.1.2.128/25"]);
}

#[test]
fn a_name_cannot_pose_as_another_nodes_id() {
    assert_eq!(selected("aaaaaaaa").unwrap(), ["10.1.2.0/24", "fd12::/64"]);
}

#[test]
fn no_route_is_not_found() {
    for dest in ["fd99::1", "172.16.0.0/12", "router-z", "aaaa"] {
        let error = selected(dest).unwrap_err();
        assert_eq!(error, RpcError::not_found(format!("no route to {dest}")));
    }
    for nothing in ["", "a/b", "10.0.0.0/33"] {
        assert!(nothing.parse::<Destination>().is_err(), "{nothing:?}");
    }
}

proptest! {
    /// Whatever a peer sends, each of its lines gets at most one answer, and the next request
    /// is understood.
    #[test]
    fn garbage_ends_with_its_line(garbage in prop::collection::vec(any::<u8>(), 0..600), cut in 1usize..64) {
        let mut session = Session::new();
        let mut answers = 0;
        for piece in garbage.chunks(cut) {
            session.handle_bytes(piece);
            answers += drain(&mut session).len();
        }
        session.handle_bytes(b"\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}\n");
        let last = drain(&mut session);

        let lines = garbage.iter().filter(|byte| **byte == b'\n').count() + 1;
        prop_assert!(answers + last.len() - 1 <= lines);
        prop_assert_eq!(last.last().map(String::as_str), Some("Status"));
    }
}
