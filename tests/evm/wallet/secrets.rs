//! What nobody is to see, and what a person at a terminal sees.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use mesh_tests::harness::plain;
use mesh_tests::{binaries, command};

use super::purse::{PASSPHRASE, Purse};

const KEY: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

pub(super) fn tests() -> Vec<Trial> {
    vec![
        plain("wallet_shows_no_key_and_no_passphrase", shows_nothing),
        plain("wallet_asks_at_a_terminal_without_an_echo", terminal),
    ]
}

/// Everything that others could see of a run that waits, and of one that has ended.
fn shows_nothing() -> Result<()> {
    let purse = Purse::empty()?;
    let imported = purse.run_with(&["import", "-", "--light"], Some(KEY))?;
    let to = purse.book.provider.to_checksum(None);
    purse.book.chain.hold_transactions(true)?;
    let running = purse.start(&["send", &to, "1", "--ether", "--yes"])?;
    running.says("waiting for a block")?;
    let process = format!("/proc/{}", running.process_id());
    let mut seen = vec![imported.stdout, imported.stderr];
    for path in [
        format!("{process}/cmdline"),
        format!("{process}/environ"),
        purse.path("wallet.json"),
        purse.path("wallet.json.pending"),
    ] {
        seen.push(String::from_utf8_lossy(&fs::read(path)?).into_owned());
    }
    ensure!(
        seen.iter().any(|text| text.contains("--passphrase-file")),
        "{seen:?}"
    );
    purse.book.chain.pass(12)?;
    let said = running.end()?;
    seen.extend([said.stdout, said.stderr]);
    let seen = seen.join("\n").to_lowercase();
    for secret in [KEY, PASSPHRASE, &KEY[..16], "horse"] {
        ensure!(!seen.contains(secret), "{secret} in {seen}");
    }
    Ok(())
}

/// A person who types what is asked for, and sees everything that the terminal shows.
const PERSON: &str = r#"
import os, pty, sys, termios, time
answers = [line.split("=") for line in sys.argv[1].split("\n")]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
seen = b""
while True:
    try:
        some = os.read(terminal, 1000)
    except OSError:
        break
    if not some:
        break
    seen += some
    if answers and answers[0][0].encode() in seen:
        prompt, answer = answers.pop(0)
        # Nobody types as fast as a program: it waits until the echo is off, which it is within a moment.
        for _ in range(6000 if "N]" not in prompt else 0):
            if not termios.tcgetattr(terminal)[3] & termios.ECHO:
                break
            time.sleep(0.01)
        os.write(terminal, answer.encode() + b"\n")
sys.stdout.write(seen.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

/// What a person sees, and how it ends.
fn person(purse: &Purse, answers: &str, arguments: &[&str]) -> Result<(String, Option<i32>)> {
    let mut python = Command::new("python3");
    python.args(["-c", PERSON, answers]);
    python.arg(binaries::find("meshctl")?).arg("wallet");
    let usual = purse.usual();
    // Without the file of the passphrase.
    let usual = usual.iter().take(2).chain(usual.iter().skip(4));
    python.args(usual).args(arguments);
    let output = command::output(&mut python, None)?;
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((seen, output.status.code()))
}

fn terminal() -> Result<()> {
    let purse = Purse::empty()?;
    let new = ["new", "--light"];
    let (seen, code) = person(
        &purse,
        "New passphrase:=one two\nThe same again:=one twO",
        &new,
    )?;
    ensure!(
        code == Some(2) && seen.contains("the two passphrases differ"),
        "{seen}"
    );
    let (seen, code) = person(
        &purse,
        "New passphrase:=one two\nThe same again:=one two",
        &new,
    )?;
    ensure!(code == Some(0), "{seen}");
    ensure!(!seen.contains("one"), "{seen}");
    let address = purse.run(&["address"])?.stdout.trim().parse()?;
    let (chain, rich) = (&purse.book.chain, purse.book.anybody);
    chain.give_ether(rich, address, super::SMT)?;

    let to = purse.book.provider.to_checksum(None);
    let send = ["--confirmations", "1", "send", &to, "0.25", "--ether"];
    let before = chain.ether(purse.book.provider)?;
    let (seen, code) = person(&purse, "[y/N]=n", &send)?;
    ensure!(
        code == Some(1) && seen.contains("nothing was sent"),
        "{seen}"
    );
    let asked = format!("Pay 0.25 ether to {to} with a fee of 0.");
    ensure!(seen.contains(&asked), "{seen}");
    ensure!(chain.ether(purse.book.provider)? == before, "{seen}");
    let (seen, code) = person(&purse, "[y/N]=y\nPassphrase:=one two", &send)?;
    ensure!(code == Some(0) && !seen.contains("one two"), "{seen}");
    ensure!(chain.ether(purse.book.provider)? > before, "{seen}");
    Ok(())
}
