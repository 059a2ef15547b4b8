//! Running a program and getting either its output or an error that explains itself.

use std::io::{ErrorKind, Write};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, anyhow, bail};

/// Runs `program` with words split at blanks and returns what it printed.
///
/// # Errors
/// It could not be started or did not exit with 0; the text holds the command and its stderr.
pub fn run(program: &str, arguments: &str) -> Result<String> {
    run_with(program, arguments, None)
}

/// Like [`run`], with `input` on its stdin.
///
/// # Errors
/// As for [`run`], with the input that was refused.
pub fn run_with(program: &str, arguments: &str, input: Option<&str>) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace());
    let output = output(&mut command, input)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut text = format!("{program} {arguments}: {}", output.status);
    for part in [output.stderr, output.stdout] {
        text.push('\n');
        text.push_str(String::from_utf8_lossy(&part).trim());
    }
    if let Some(input) = input {
        text.push_str("\ninput:\n");
        text.push_str(input.trim_end());
    }
    Err(anyhow!(text))
}

/// Runs a prepared command to its end.
///
/// # Errors
/// The program is not installed or could not be started.
pub fn output(command: &mut Command, input: Option<&str>) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if input.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    });
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("{program} is not installed; `make deps` installs what the laboratory needs")
        }
        Err(error) => return Err(error).with_context(|| format!("start {program}")),
    };
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        // A program that gave up reading says why on stderr.
        let _ = stdin.write_all(input.as_bytes());
    }
    child
        .wait_with_output()
        .with_context(|| format!("wait for {program}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_returned_and_input_is_fed() {
        assert_eq!(run("echo", "a  b").unwrap(), "a b\n");
        assert_eq!(run_with("cat", "", Some("text")).unwrap(), "text");
    }

    #[test]
    fn a_failure_names_the_command_and_its_complaint() {
        let text = run("ls", "/nowhere/at/all").unwrap_err().to_string();
        assert!(
            text.contains("ls /nowhere/at/all") && text.contains("No such file"),
            "{text}"
        );
    }

    #[test]
    fn a_program_that_is_not_there_points_to_the_installer() {
        let text = run("no-such-program", "").unwrap_err().to_string();
        assert!(text.contains("make deps"), "{text}");
    }
}
