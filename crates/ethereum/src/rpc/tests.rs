//! Servers that are no good nodes, and TLS. What good ones answer is tested on one, in `tests/evm`.

mod tls;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use super::*;
use crate::bindings::SmtChequeBook::paidCall;

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(10),
    whole: Duration::from_secs(30),
    answer_bytes: 1000,
};

/// A server that says the same to one request, whatever it is, and then keeps silent.
fn server(answer: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).unwrap();
        // The client may leave while it is told too much.
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.read(&mut request);
    });
    address
}

fn node_with(answer: String, limits: Limits) -> Node {
    let url = format!("http://{}/v3/0123456789abcdef", server(answer));
    Node::new(url.parse().unwrap(), limits).unwrap()
}

fn node(status: &str, body: &str) -> Node {
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
    node_with(answer, LIMITS)
}

/// What becomes of a question.
fn ask(node: &Node) -> Result<u64, Error> {
    run(node.chain_id())
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    runtime.block_on(future)
}

/// A failure, whose text must not have the key in the URL.
fn failure<T>(result: Result<T, Error>) -> Error {
    let Err(error) = result else {
        panic!("it was taken for an answer");
    };
    let texts = format!("{error} {error:?}");
    assert!(!texts.contains("0123456789abcdef"), "{texts}");
    error
}

#[test]
fn an_answer_is_limited() {
    let body = "0".repeat(1001);
    let error = failure(ask(&node("200 OK", &body)));
    assert!(
        matches!(error, Error::TooLarge { limit: 1000, .. }),
        "{error}"
    );
    // Nor does a node that does not say how much it will be get further.
    let endless = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned() + &body;
    let error = failure(ask(&node_with(endless, LIMITS)));
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let body = format!("{:1000}", json!({"id": 0, "result": "0x7a69"}).to_string());
    assert_eq!(ask(&node("200 OK", &body)).unwrap(), 31337);
}

#[test]
fn a_node_that_keeps_silent_is_not_waited_for() {
    let impatient = Limits {
        whole: Duration::from_millis(50),
        ..LIMITS
    };
    let silent = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n".to_owned();
    for answer in [String::new(), silent] {
        let error = failure(ask(&node_with(answer, impatient)));
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
    }
}

#[test]
fn nobody_is_followed_elsewhere() {
    let moved = "HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let error = failure(ask(&node_with(moved.to_owned(), LIMITS)));
    assert!(
        matches!(error, Error::Status { status: 307, .. }),
        "{error}"
    );
}

#[test]
fn a_refused_key_is_not_repeated() {
    let error = failure(ask(&node("401 Unauthorized", "0123456789abcdef is wrong")));
    assert!(
        matches!(error, Error::Status { status: 401, .. }),
        "{error}"
    );
    let said = json!({"id": 0, "error": {"code": -32600, "message": "no 0123456789abcdef"}});
    let error = failure(ask(&node("200 OK", &said.to_string())));
    assert!(
        error
            .to_string()
            .ends_with("refused eth_chainId: no … (-32600)"),
        "{error}"
    );
}

#[test]
fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}/v3/0123456789abcdef")
        .parse()
        .unwrap();
    let error = failure(ask(&Node::new(url, LIMITS).unwrap()));
    let expected = format!("{address} cannot be reached: Connection refused (os error 111)");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn what_is_no_answer_is_told() {
    for body in [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"id": 0, "result": null}"#,
        r#"{"id": 0, "result": "0x10000000000000000"}"#,
        r#"{"id": 0, "result": -1}"#,
    ] {
        let error = failure(ask(&node("200 OK", body)));
        assert!(matches!(error, Error::Malformed { .. }), "{body}: {error}");
    }
}

#[test]
fn answers_of_a_batch_are_put_in_order() {
    let word = |number: u8| format!("0x{number:064x}");
    let body = json!([
        {"id": 2, "result": word(12)},
        {"id": 0, "result": word(10)},
        {"id": 1, "error": {"code": 3, "message": "execution reverted", "data": "0x"}},
        {"id": 7, "result": word(17)},
    ]);
    let results = batch(&body, 4).unwrap();
    let [first, second, third, fourth] = results.try_into().unwrap();
    assert_eq!(first.unwrap(), U256::from(10));
    assert!(matches!(second, Err(Error::Reverted(_))), "{second:?}");
    assert_eq!(third.unwrap(), U256::from(12));
    assert!(matches!(fourth, Err(Error::Malformed { .. })), "{fourth:?}");
}

#[test]
fn a_node_may_take_no_batch() {
    let body = json!({"id": null, "error": {"code": -32600, "message": "batch too large"}});
    let error = failure(batch(&body, 2));
    assert!(
        matches!(error, Error::Refused { code: -32600, .. }),
        "{error}"
    );
}

fn batch(body: &Value, count: usize) -> Result<Vec<Result<U256, Error>>, Error> {
    let node = node("200 OK", &body.to_string());
    let somebody = Address::repeat_byte(1);
    let call = paidCall {
        issuer: somebody,
        beneficiary: somebody,
    };
    run(node.calls(&vec![(somebody, call); count], BlockTag::Latest))
}
