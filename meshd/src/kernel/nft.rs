//! Running the `nft` program: the only one that can compile rules.

use std::io;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::netlink::KernelError;
use super::program;

/// `nft` takes milliseconds, on a slow router with everything starting at once some seconds.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Applies commands, as nft(8) reads them, in one transaction: all of them, or none. Returns the process that did it.
pub(super) async fn apply(program: &Path, commands: &str) -> Result<Option<u32>, KernelError> {
    let (process, output) = match tokio::time::timeout(TIME_LIMIT, run_any(program, commands)).await
    {
        Ok(output) => output?,
        Err(_) => return Err(KernelError::NftTimeout(TIME_LIMIT)),
    };
    if output.status.success() {
        return Ok(process);
    }
    Err(KernelError::NftRefused(summary(&output)))
}

/// Runs the program under the first of its possible names that exists.
async fn run_any(program: &Path, input: &str) -> Result<(Option<u32>, Output), KernelError> {
    for candidate in program::candidates(program) {
        match run(&candidate, input).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(KernelError::NftUnusable {
                    program: candidate,
                    source,
                });
            }
            Ok(output) => return Ok(output),
        }
    }
    Err(KernelError::NftMissing(program.to_owned()))
}

async fn run(program: &Path, input: &str) -> io::Result<(Option<u32>, Output)> {
    let mut child = Command::new(program)
        .args(["-f", "-"])
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let process = child.id();
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input.as_bytes()).await {
            // It ended without reading: its status and its message say why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            result => result?,
        }
    }
    Ok((process, child.wait_with_output().await?))
}

/// What `nft` said, on one line: its messages come with empty lines, and some more than once.
fn summary(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let mut lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.dedup();
    if lines.is_empty() {
        return output.status.to_string();
    }
    lines.join("; ")
}
