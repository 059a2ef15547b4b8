//! What people and programs write: configuration, control requests, topologies.

use control_api::session::Incoming;
use control_api::{ErrorCode, Response, RpcError, Session};
use mesh_sim::topology::Topology;
use meshd::config::Config;

/// A configuration file: what is accepted is accepted again, and errors are one line.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Config::parse(text, "fuzz.yaml") {
        Ok(config) => {
            assert!(!config.mesh().is_empty(), "no mesh interface");
            let again = Config::parse(text, "fuzz.yaml").expect("accepted before");
            assert!(config.restart_keys_changed(&again).is_empty());
        }
        Err(error) => assert!(!error.to_string().trim().is_empty()),
    }
}

/// A connection to the control socket, whose bytes come in pieces: the first byte is their length.
/// What comes out does not depend on how they are cut, and each answer is one line.
pub fn session(data: &[u8]) {
    let Some((size, bytes)) = data.split_first() else {
        return;
    };
    let whole = answers(bytes, bytes.len().max(1));
    let pieces = answers(bytes, usize::from(*size).max(1));
    assert_eq!(whole, pieces);
    for line in whole {
        let text = std::str::from_utf8(&line).expect("answers are text");
        let (last, rest) = text.as_bytes().split_last().expect("answers are not empty");
        assert!(*last == b'\n' && !rest.contains(&b'\n'), "{text:?}");
        Response::<serde_json::Value>::parse(text.trim_end()).expect("answers can be read");
    }
}

fn answers(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    let mut session = Session::new();
    let mut answers = Vec::new();
    for piece in bytes.chunks(size) {
        session.handle_bytes(piece);
        while let Some(incoming) = session.poll_incoming() {
            match incoming {
                Incoming::Reject(line) => answers.push(line),
                Incoming::Call(call) => {
                    let what = format!("{:?}", call.method);
                    answers.extend(call.answer(Err(RpcError::new(ErrorCode::Failed, what))));
                }
            }
        }
    }
    answers
}

/// A topology file of the simulator: links join two different nodes there are, each pair once.
pub fn topology(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(topology) = Topology::from_json(text) else {
        return;
    };
    assert!(!topology.links.is_empty());
    let mut pairs = std::collections::BTreeSet::new();
    for link in &topology.links {
        assert!(link.a != link.b, "to itself");
        assert!(link.a.0.max(link.b.0) < topology.nodes.len());
        assert!(
            pairs.insert((link.a.min(link.b), link.a.max(link.b))),
            "twice"
        );
    }
    let _ = topology.is_connected();
}
