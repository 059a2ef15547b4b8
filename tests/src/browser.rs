//! Chromium without a window, told what to do over a pipe by its own protocol
//! (<https://chromedevtools.github.io/devtools-protocol/>).

#![allow(clippy::indexing_slicing, reason = "what JSON lacks is null")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::namespace::Namespace;

/// How long a start or an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is wrong with these on a machine for tests: no user namespaces within ours, little shared memory, no graphics.
const OPTIONS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
];

/// A browser with one tab. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    to: File,
    from: Receiver<Value>,
    session: String,
    next: u64,
    /// What `/status.json` is answered with, in place of what the router says.
    instead: Option<String>,
    complaints: Vec<String>,
}

impl Browser {
    /// Starts it in a namespace, with files of its own in `directory`, as a telephone with a screen of so many
    /// pixels whose user reads `language`.
    ///
    /// # Errors
    /// It is not installed, or does not answer.
    pub fn start(
        namespace: &Namespace,
        directory: &Path,
        width: u32,
        language: &str,
    ) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let (input, output) = (directory.join("to"), directory.join("from"));
        for pipe in [&input, &output] {
            let _ = fs::remove_file(pipe);
            mkfifo(pipe, Mode::S_IRWXU)?;
        }
        let child = spawn(namespace, directory, language)?;
        // The shell opens them in this order too.
        let to = File::options().write(true).open(&input)?;
        let from = BufReader::new(File::open(&output)?);
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for message in from.split(0).map_while(Result::ok) {
                let Ok(message) = serde_json::from_slice(&message) else {
                    continue;
                };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            to,
            from: receiver,
            session: String::new(),
            next: 0,
            instead: None,
            complaints: Vec::new(),
        };
        browser.open_tab(width, language)?;
        Ok(browser)
    }

    fn open_tab(&mut self, width: u32, language: &str) -> Result<()> {
        let target = self.call("Target.createTarget", json!({"url": "about:blank"}))?;
        let attached = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.call("Target.attachToTarget", attached)?;
        self.session = attached["sessionId"].as_str().context("session")?.into();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            self.call(domain, json!({}))?;
        }
        self.resize(width, 800, 1)?;
        let agent = self.value("navigator.userAgent")?;
        let agent = json!({"userAgent": agent, "acceptLanguage": language});
        self.call("Emulation.setUserAgentOverride", agent)?;
        Ok(())
    }

    fn resize(&mut self, width: u32, height: u32, scale: u32) -> Result<()> {
        let screen = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": true,
        });
        self.call("Emulation.setDeviceMetricsOverride", screen)
            .map(drop)
    }

    /// Has `/status.json` answered with this from now on, whatever the router says.
    ///
    /// # Errors
    /// The browser refuses.
    pub fn answer_instead(&mut self, status: String) -> Result<()> {
        self.instead = Some(status);
        let patterns = json!({"patterns": [{"urlPattern": "*/status.json"}]});
        self.call("Fetch.enable", patterns).map(drop)
    }

    /// Goes to a page and waits until `ready`, an expression, is true.
    ///
    /// # Errors
    /// There is no such page, or it never is.
    pub fn visit(&mut self, url: &str, ready: &str) -> Result<()> {
        let went = self.call("Page.navigate", json!({"url": url}))?;
        ensure!(went.get("errorText").is_none(), "{url}: {went}");
        self.wait(ready)
    }

    /// Waits until an expression is true.
    ///
    /// # Errors
    /// It never is.
    pub fn wait(&mut self, expression: &str) -> Result<()> {
        let begin = Instant::now();
        loop {
            let value = self.value(expression)?;
            if value == Value::Bool(true) {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                let text = self.text("document.body.innerText")?;
                bail!(
                    "{expression} is {value}; the page says:\n{text}\n{:?}",
                    self.complaints
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What an expression of JavaScript comes to.
    ///
    /// # Errors
    /// It throws.
    pub fn value(&mut self, expression: &str) -> Result<Value> {
        let asked = json!({"expression": expression, "returnByValue": true});
        let said = self.call("Runtime.evaluate", asked)?;
        ensure!(
            said.get("exceptionDetails").is_none(),
            "{expression}: {said}"
        );
        Ok(said["result"]["value"].clone())
    }

    /// The same of one that is a text.
    ///
    /// # Errors
    /// It throws, or is none.
    pub fn text(&mut self, expression: &str) -> Result<String> {
        let value = self.value(expression)?;
        let text = value.as_str().map(str::to_owned);
        text.with_context(|| format!("{expression} is {value}"))
    }

    /// What the page was refused, or did wrong, since the start.
    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Draws the whole page into a PNG file, with so many pixels for each of the page's.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn screenshot(&mut self, file: &Path, scale: u32) -> Result<()> {
        let width = self.value("document.documentElement.clientWidth")?;
        let height = self.value("Math.ceil(document.body.getBoundingClientRect().height)")?;
        let whole = |value: &Value| value.as_u64().and_then(|it| u32::try_from(it).ok());
        let (width, height) = (
            whole(&width).context("width")?,
            whole(&height).context("height")?,
        );
        self.resize(width, height, scale)?;
        // Drawn anew, at the new size.
        thread::sleep(Duration::from_millis(300));
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}))?;
        let data = decode(shot["data"].as_str().context("data")?)?;
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(file, data)?;
        self.resize(width, 800, 1)
    }

    fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        let id = self.send(method, params)?;
        let begin = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(begin.elapsed());
            let mut message = match self.from.recv_timeout(left) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => bail!("chromium does not answer {method}"),
                Err(RecvTimeoutError::Disconnected) => bail!("chromium has ended: {method}"),
            };
            if message["id"] == id {
                ensure!(message.get("error").is_none(), "{method}: {message}");
                return Ok(message["result"].take());
            }
            self.handle(&message)?;
        }
    }

    fn send(&mut self, method: &str, params: Value) -> Result<u64> {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.to.write_all(&bytes)?;
        Ok(self.next)
    }

    /// What it says unasked.
    fn handle(&mut self, message: &Value) -> Result<()> {
        let params = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "Fetch.requestPaused" => {
                let body = self.instead.clone().unwrap_or_default();
                let answer = json!({
                    "requestId": params["requestId"],
                    "responseCode": 200,
                    "responseHeaders": [{"name": "Content-Type", "value": "application/json"}],
                    "body": encode(body.as_bytes()),
                });
                self.send("Fetch.fulfillRequest", answer)?;
            }
            "Runtime.exceptionThrown" => self.complaints.push(params.to_string()),
            "Log.entryAdded" if params["entry"]["level"] == "error" => {
                self.complaints.push(params["entry"].to_string());
            }
            "Page.javascriptDialogOpening" => {
                self.complaints.push(params.to_string());
                self.send("Page.handleJavaScriptDialog", json!({"accept": true}))?;
            }
            _ => {}
        }
        Ok(())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The pipes are its files 3 and 4.
fn spawn(namespace: &Namespace, directory: &Path, language: &str) -> Result<Child> {
    let log = File::create(directory.join("chromium.log"))?;
    let data: PathBuf = directory.join("data");
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "exec chromium \"$@\" 3<\"$PIPES/to\" 4>\"$PIPES/from\"",
            "sh",
        ])
        .args(OPTIONS)
        .arg(format!("--lang={language}"))
        .arg(format!("--user-data-dir={}", data.display()))
        .env("PIPES", directory)
        .env("HOME", directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    namespace.within(|| command.spawn().context("start chromium"))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base 64 (RFC 4648, section 4).
fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = ALPHABET.get((bits >> (18 - 6 * at) & 63) as usize).copied();
            let digit = digit.filter(|_| at <= chunk.len()).unwrap_or(b'=');
            text.push(char::from(digit));
        }
    }
    text
}

fn decode(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in text.bytes().filter(|digit| *digit != b'=') {
        let value = ALPHABET.iter().position(|it| *it == digit);
        bits = bits << 6 | u32::try_from(value.context("not base 64")?)?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 255) as u8);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_is_that_of_the_rfc() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(plain.as_bytes()), coded);
            assert_eq!(decode(coded).unwrap(), plain.as_bytes());
        }
        assert!(decode("Z*==").is_err());
    }
}
