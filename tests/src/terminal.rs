//! A program at a terminal of its own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, ttyname};

use crate::command;
use crate::wait::wait_for;

const PATIENCE: Duration = Duration::from_secs(20);

/// The terminal, and the program that has it. Dropping it kills the program.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keyboard: File,
    device: PathBuf,
    /// Whatever was written so far.
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts a program at a terminal of so many columns and rows.
    ///
    /// # Errors
    /// There is no terminal to be had, or no such program.
    pub fn start(program: &Command, columns: u16, rows: u16) -> Result<Self> {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).context("openpty")?;
        let device = ttyname(&pty.slave)?;
        let slave = File::from(pty.slave);
        // So that the terminal is the one that it finds as /dev/tty, too.
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "--wait"])
            .arg(program.get_program());
        command.args(program.get_args());
        for (name, value) in program.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command.env("TERM", "xterm");
        command.stdin(Stdio::from(slave.try_clone()?));
        command.stdout(Stdio::from(slave.try_clone()?));
        command.stderr(Stdio::from(slave));
        let child = command.spawn().context("setsid")?;
        let keyboard = File::from(pty.master);
        let written = Arc::new(Mutex::new(Vec::new()));
        follow(keyboard.try_clone()?, Arc::clone(&written));
        Ok(Self {
            child,
            keyboard,
            device,
            written,
        })
    }

    /// Types.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        Ok(self.keyboard.write_all(keys.as_bytes())?)
    }

    /// Everything that was written, control sequences included.
    #[must_use]
    pub fn text(&self) -> String {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&written).into_owned()
    }

    /// Waits until something is written that has these words, after what was written before `mark`.
    ///
    /// # Errors
    /// It is not; the text holds what is.
    pub fn wait_text(&self, mark: usize, words: &str) -> Result<()> {
        wait_for(&format!("{words:?} on the terminal"), PATIENCE, || {
            let text = self.text();
            let new = text.get(mark..).unwrap_or_default();
            ensure!(new.contains(words), "{new:?}");
            Ok(())
        })
    }

    /// Makes it another size, which the program is told.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        let device = self.device.display();
        command::run("stty", &format!("-F {device} rows {rows} cols {columns}")).map(drop)
    }

    /// Whether lines are edited and typing is shown, as a shell expects.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn is_in_order(&self) -> Result<bool> {
        let settings = command::run("stty", &format!("-F {} -a", self.device.display()))?;
        let has = |word| settings.split([' ', '\n', ';']).any(|it| it == word);
        Ok(has("icanon") && has("echo") && has("isig"))
    }

    /// Sends a signal to the program.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let setsid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{setsid}/task/{setsid}/children"))?;
        // Without a child it has become the program.
        let process = match children.split_whitespace().next() {
            Some(child) => child.parse()?,
            None => i32::try_from(setsid)?,
        };
        Ok(kill(Pid::from_raw(process), signal)?)
    }

    /// Waits for the end of the program.
    ///
    /// # Errors
    /// It goes on.
    pub fn wait_end(&mut self) -> Result<ExitStatus> {
        wait_for("the program to end", PATIENCE, || {
            match self.child.try_wait()? {
                Some(status) => Ok(status),
                None => bail!("it goes on"),
            }
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.signal(Signal::SIGKILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(mut screen: File, written: Arc<Mutex<Vec<u8>>>) {
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = screen.read(&mut bytes) {
            let new = bytes.get(..length).unwrap_or_default();
            written
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(new);
        }
    });
}
