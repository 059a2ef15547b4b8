//! What the wallet signs, asked by a node that may not be the one it should be.
#![cfg(feature = "redeem")]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Output;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use common::{meshctl, stderr_of};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The chain of the node.
const CHAIN_ID: u64 = 5;
const BOOK: &str = "0x00000000000000000000000000000000000000b1";
const TO: &str = "0x00000000000000000000000000000000000000b2";
/// What the node says that the cheque book pays.
const TOKEN: &str = "0x00000000000000000000000000000000000000b3";

/// A node that knows everything, wants a tip of 50 gwei, and takes nothing that it is given.
struct Node {
    port: u16,
    given: Receiver<String>,
}

impl Node {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, given) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let sender = sender.clone();
                thread::spawn(move || serve(stream.unwrap(), &sender));
            }
        });
        Self { port, given }
    }
}

fn serve(stream: TcpStream, given: &Sender<String>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(request) = read(&mut reader) {
        let mut answer = answer(&request, given);
        answer["jsonrpc"] = json!("2.0");
        answer["id"] = request["id"].clone();
        let body = answer.to_string();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        writer.write_all((head + &body).as_bytes()).unwrap();
    }
}

fn read(reader: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

fn answer(request: &Value, given: &Sender<String>) -> Value {
    match request["method"].as_str().unwrap() {
        "eth_chainId" => json!({ "result": format!("{CHAIN_ID:#x}") }),
        "eth_call" => json!({ "result": format!("0x{:064x}", 0xb3) }),
        "eth_getBalance" => json!({ "result": "0xde0b6b3a7640000" }),
        "eth_estimateGas" => json!({ "result": "0x5208" }),
        "eth_getTransactionCount" => json!({ "result": "0x0" }),
        "eth_maxPriorityFeePerGas" => json!({ "result": "0xba43b7400" }),
        "eth_getBlockByNumber" => json!({ "result": {
            "number": "0x1", "hash": null, "timestamp": "0x1", "baseFeePerGas": "0x1",
        }}),
        "eth_sendRawTransaction" => {
            let raw = request["params"][0].as_str().unwrap();
            given.send(raw.to_owned()).unwrap();
            json!({ "error": { "code": -32000, "message": "insufficient funds for gas" } })
        }
        "eth_getTransactionByHash" => json!({ "result": null }),
        other => panic!("{other}"),
    }
}

struct Wallet {
    node: Node,
    directory: TempDir,
}

impl Wallet {
    fn new() -> Self {
        let wallet = Self {
            node: Node::start(),
            directory: tempfile::tempdir().unwrap(),
        };
        private(wallet.path("passphrase"), "correct horse battery staple\n");
        let made = wallet.run("", &["new", "--light"]);
        assert!(made.status.success(), "{made:?}");
        wallet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a command with these lines in `wallet.yaml`.
    fn run(&self, settings: &str, arguments: &[&str]) -> Output {
        let port = self.node.port;
        let written = format!("rpc: http://127.0.0.1:{port}/key\nbook: '{BOOK}'\n{settings}");
        fs::write(self.path("wallet.yaml"), written).unwrap();
        let mut command = meshctl();
        command.arg("wallet").arg("--keystore");
        command.arg(self.path("wallet.json"));
        command
            .arg("--passphrase-file")
            .arg(self.path("passphrase"));
        command.arg("--config").arg(self.path("wallet.yaml"));
        command.args(arguments).output().unwrap()
    }

    /// What was signed: chain, nonce, tip and the rest, behind 0x, the type 2, and a list's length in two bytes.
    fn signs(&self, settings: &str) -> String {
        let output = self.run(settings, &["send", TO, "0.1", "--ether", "--yes"]);
        let stderr = stderr_of(&output, 1);
        assert!(stderr.contains("nothing was sent"), "{stderr}");
        self.node
            .given
            .try_recv()
            .unwrap()
            .split_off("0x02f8aa".len())
    }
}

fn private(path: PathBuf, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn nothing_is_signed_for_another_chain_than_the_file_names() {
    let wallet = Wallet::new();
    for arguments in [
        &["send", TO, "0.1", "--ether", "--yes"][..],
        &["deposit", "1", "--yes"],
        &["balance"],
    ] {
        let output = wallet.run("chain_id: 1\n", arguments);
        assert_eq!(
            stderr_of(&output, 2),
            format!(
                "meshctl: 127.0.0.1:{} is a node of chain 5, and chain_id in wallet.yaml is 1\n",
                wallet.node.port
            )
        );
    }
    assert!(!wallet.path("wallet.json.pending").exists());
    assert!(wallet.node.given.try_recv().is_err());
    for settings in ["chain_id: 5\n", ""] {
        let signed = wallet.signs(settings);
        assert!(signed.starts_with("0580"), "chain 5, nonce 0: {signed}");
    }
}

#[test]
fn a_tip_is_no_more_than_the_file_allows() {
    let wallet = Wallet::new();
    for (settings, tip) in [
        ("", "85012a05f200"),
        ("max_priority_fee_gwei: 2\n", "8477359400"),
        ("max_priority_fee_gwei: 0\n", "80"),
        ("max_priority_fee_gwei: 60\n", "850ba43b7400"),
    ] {
        let signed = wallet.signs(settings);
        assert!(
            signed.starts_with(&format!("0580{tip}")),
            "{settings}{signed}"
        );
    }
    for settings in ["max_priority_fee_gwei: -1\n", "chain_id: '1'\n"] {
        let output = wallet.run(settings, &["balance"]);
        assert!(stderr_of(&output, 2).contains("wallet.yaml"));
    }
}

#[test]
fn nothing_is_signed_for_another_token_than_the_file_names() {
    let wallet = Wallet::new();
    let other = format!("token: '{BOOK}'\n");
    for arguments in [
        &["send", TO, "1", "--yes"][..],
        &["send", TO, "1", "--ether", "--yes"],
        &["deposit", "1", "--yes"],
        &["balance"],
    ] {
        let said = stderr_of(&wallet.run(&other, arguments), 2);
        let expected =
            format!("the cheque book pays the token {TOKEN}, and token in wallet.yaml is {BOOK}");
        assert!(said.to_lowercase().contains(&expected), "{said}");
    }
    // Nobody has looked at what a node says, and --yes does not.
    for arguments in [
        ["send", TO, "1", "--yes"].as_slice(),
        &["deposit", "1", "--yes"],
    ] {
        let said = stderr_of(&wallet.run("", arguments), 2).to_lowercase();
        assert!(
            said.contains(&format!("put token: '{TOKEN}' into")),
            "{said}"
        );
    }
    assert!(!wallet.path("wallet.json.pending").exists());
    assert!(wallet.node.given.try_recv().is_err());

    let pinned = format!("token: '{TOKEN}'\n");
    let signed = wallet.run(&pinned, &["send", TO, "1", "--yes"]);
    assert!(stderr_of(&signed, 1).contains("nothing was sent"));
    assert!(wallet.node.given.try_recv().is_ok());
    for (settings, is_pinned) in [(pinned.as_str(), true), ("", false)] {
        let balance = wallet.run(settings, &["balance", "--json"]);
        let balance: Value = serde_json::from_slice(&balance.stdout).unwrap();
        assert_eq!(balance["token"].as_str().unwrap().to_lowercase(), TOKEN);
        assert_eq!(balance["token_is_pinned"], is_pinned);
        let address = wallet.run(settings, &["address", "--json"]);
        let address: Value = serde_json::from_slice(&address.stdout).unwrap();
        assert_eq!(address["token"].is_string(), is_pinned);
    }
}

/// The node wants 25 200 units of gas at 5 gwei and 2 wei.
#[test]
fn a_fee_is_no_more_than_the_file_allows() {
    let wallet = Wallet::new();
    let arguments = ["send", TO, "0.1", "--ether", "--yes"];
    for most in ["0", "0.000126000000050399"] {
        let refused = wallet.run(&format!("max_fee_ether: {most}\n"), &arguments);
        let expected = format!(
            "meshctl: the fee could be 0.0001260000000504 ether, as the node says, and is to be {most} at most (max_fee_ether)\n"
        );
        assert_eq!(stderr_of(&refused, 1), expected);
    }
    assert!(!wallet.path("wallet.json.pending").exists());
    assert!(wallet.node.given.try_recv().is_err());
    // Somebody was killed while they wrote.
    let draft = wallet.path(".wallet.json.pending.1.tmp");
    fs::write(&draft, "{").unwrap();
    wallet.signs("max_fee_ether: 0.0001260000000504\n");
    assert!(!draft.exists());
    for settings in ["max_fee_ether: -1\n", "max_fee_ether: 1e3\n"] {
        let output = wallet.run(settings, &["balance"]);
        assert!(stderr_of(&output, 2).contains("max_fee_ether in wallet.yaml"));
    }
}

#[test]
fn the_documentation_has_every_command() {
    let help = meshctl().args(["wallet", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let (commands, _) = commands.split_once("\n\n").unwrap();
    let documented = include_str!("../../docs/wallet.md");
    let names = commands
        .lines()
        .filter_map(|it| it.split_whitespace().next());
    let names: Vec<_> = names.filter(|name| *name != "help").collect();
    assert!(names.len() > 10, "{help}");
    for name in names {
        let begins = [format!("| `{name}`"), format!("| `{name} ")];
        let row = documented
            .lines()
            .find(|line| begins.iter().any(|it| line.starts_with(it)));
        assert!(row.is_some(), "{name} is in no row of the table");
    }
}
