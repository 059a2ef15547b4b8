//! Keystore files: ours, and those of others.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::harness::plain;
use mesh_tests::{command, contracts};

use super::purse::{PASSPHRASE, Purse};
use super::text;

/// The first account of every anvil.
const KEY: &str = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
const ADDRESS: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

pub(super) fn tests() -> Vec<Trial> {
    vec![
        plain("wallet_imports_what_another_implementation_wrote", imports),
        plain("wallet_files_are_read_by_another_implementation", is_read),
        plain("wallet_imports_digits_from_a_pipe_only", digits),
        plain("wallet_replaces_no_key", replaces_nothing),
        plain("wallet_files_are_for_their_owner", modes),
        plain(
            "wallet_stays_closed_with_another_passphrase",
            wrong_passphrase,
        ),
        plain("wallet_backup_is_opened_before_it_is_believed", backup),
    ]
}

/// Runs a few lines of Python with eth-keyfile.
fn python(script: &str, arguments: &[&str]) -> Result<String> {
    let mut python = Command::new(contracts::keyfile_python()?);
    python.args(["-c", script]).args(arguments);
    let output = command::output(&mut python, None)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{stderr}");
    Ok(String::from_utf8(output.stdout)?)
}

fn imports() -> Result<()> {
    for (kdf, iterations) in [
        ("scrypt", "4096"),
        ("scrypt", "262144"),
        ("pbkdf2", "100000"),
    ] {
        let purse = Purse::empty()?;
        let script = "import sys, json, eth_keyfile as k
print(json.dumps(k.create_keyfile_json(bytes.fromhex(sys.argv[1]), sys.argv[2].encode(),
    kdf=sys.argv[3], iterations=int(sys.argv[4]))))";
        let theirs = python(script, &[KEY, PASSPHRASE, kdf, iterations])?;
        let theirs = purse.write("theirs.json", theirs.as_bytes())?;
        let imported = purse.json(&["import", &theirs, "--light"])?;
        ensure!(text(&imported, "/address")? == ADDRESS, "{imported}");
        let sent = purse.json(&["send", ADDRESS, "1", "--ether", "--yes"])?;
        ensure!(text(&sent, "/from")? == ADDRESS, "{sent}");
    }
    Ok(())
}

fn is_read() -> Result<()> {
    for strength in [&[][..], &["--light"]] {
        let purse = Purse::empty()?;
        purse.run_with(&[&["import", "-"], strength].concat(), Some(KEY))?;
        let script = "import sys, json, eth_keyfile as k
print(k.decode_keyfile_json(json.load(open(sys.argv[1])), sys.argv[2].encode()).hex())";
        let key = python(script, &[&purse.path("wallet.json"), PASSPHRASE])?;
        ensure!(key.trim() == KEY, "they read another key");
    }
    Ok(())
}

fn digits() -> Result<()> {
    let purse = Purse::empty()?;
    let file = purse.write("key", KEY.as_bytes())?;
    let said = purse.fails(&["import", &file, "--light"], 1)?;
    ensure!(!said.stderr.contains("ac0974"), "{said:?}");
    for wrong in [&KEY[1..], &"0".repeat(64), "", "0x"] {
        let import = purse.run_with(&["import", "-", "--light"], Some(wrong));
        ensure!(import.is_err(), "{import:?}");
    }
    let digits = format!("0x{KEY}\n");
    let said = purse.run_with(&["import", "-", "--light"], Some(&digits))?;
    ensure!(said.stdout.starts_with(ADDRESS), "{said:?}");
    let address = purse.run(&["address"])?;
    ensure!(address.stdout == format!("{ADDRESS}\n"), "{address:?}");
    Ok(())
}

fn replaces_nothing() -> Result<()> {
    let purse = Purse::new()?;
    let before = fs::read(purse.path("wallet.json"))?;
    purse.fails(&["new", "--light"], 2)?;
    purse.fails(&["import", "-", "--light"], 2)?;
    purse.fails(&["backup", &purse.path("wallet.json")], 2)?;
    ensure!(
        fs::read(purse.path("wallet.json"))? == before,
        "the key is gone"
    );
    Ok(())
}

fn modes() -> Result<()> {
    let purse = Purse::new()?;
    for (name, arguments) in [
        ("wallet.json", ["address", "--json"]),
        ("passphrase", ["backup", &purse.path("copy.json")]),
    ] {
        let path = purse.path(name);
        let mode = fs::metadata(&path)?.permissions().mode() & 0o777;
        ensure!(mode == 0o600, "{name} has {mode:o}");
        for mode in [0o644, 0o640, 0o602] {
            fs::set_permissions(&path, Permissions::from_mode(mode))?;
            let said = purse.fails(&arguments, 5)?;
            ensure!(
                said.stderr.contains(&format!("chmod 600 {path}")),
                "{said:?}"
            );
        }
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    }
    Ok(())
}

fn wrong_passphrase() -> Result<()> {
    let purse = Purse::new()?;
    purse.write("passphrase", b"Correct horse battery staple\n")?;
    let to = purse.book.provider.to_checksum(None);
    let said = purse.fails(&["send", &to, "0.1", "--ether", "--yes"], 5)?;
    ensure!(said.stderr.contains("wrong passphrase"), "{said:?}");
    ensure!(!said.stderr.contains("horse"), "{said:?}");
    ensure!(!purse.has_pending(), "something was signed");
    purse.write("passphrase", b"\n")?;
    let other = purse.path("other.json");
    purse.fails(&["--keystore", &other, "new"], 2)?;
    Ok(())
}

fn backup() -> Result<()> {
    let purse = Purse::new()?;
    let copy = purse.path("copy.json");
    let said = purse.run(&["backup", &copy])?;
    ensure!(
        said.stdout.contains("which the passphrase opens\n"),
        "{said:?}"
    );
    ensure!(
        fs::read(&copy)? == fs::read(purse.path("wallet.json"))?,
        "no copy"
    );
    let mode = fs::metadata(&copy)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "it has {mode:o}");
    purse.write("passphrase", b"another\n")?;
    let other = purse.path("other.json");
    let said = purse.fails(&["backup", &other], 5)?;
    ensure!(said.stderr.contains("wrong passphrase"), "{said:?}");
    ensure!(!fs::exists(&other)?, "a copy that nobody can open");
    Ok(())
}
